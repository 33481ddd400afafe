"""One clearing in this process: six agents with devices that nobody else is told of, and an oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from ledger import eip712
from ledger.eip712 import Domain
from ledger.keys import Key, derive
from market.atc.messages import Answer, Listening, Question, answer_to
from market.atc.responses import Responses
from market.feeder import load
from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Devices, Hub
from market.pricing.newton import NewtonClearing
from node.agent.devices import DeviceFile, Flexible, Generator
from node.agent.household import Household
from node.client.schemas import AnswerBody, signature_text
from node.oracle.coordinate import Outlook, coordinate
from node.oracle.inquiries import Inquiry
from node.oracle.replay import encode
from node.oracle.rounds import Member, OpenClearing
from node.oracle.signers import Brought
from node.oracle.verify import Known, bring, claimed, verify

DOMAIN = Domain(31_337, "0x" + "22" * 20)
SLOT, PURPOSE, ORACLE = 1_994_763, 1, 0
ORACLE_KEY = derive(7, "oracle")
STRANGER = derive(7, "stranger")
BUSES = (5, 5, 12, 18, 24, 30)
CAPACITY_MW = 400_000_000
"""What everybody registered, mW: 400 kW."""

FILES = tuple(
    DeviceFile(
        generator=Generator(
            max_kw=110.0 * (k % 2),
            cost_eur_per_mwh=13.719_283 + 41.377_19 * k,
            cost_at_max_eur_per_mwh=171.938_417 + 11.031_77 * k,
        ),
        flexible=Flexible(
            min_kw=11.0,
            max_kw=140.0 + 7.0 * k,
            value_at_min_eur_per_mwh=237.190_351 + 3.717_39 * k,
            value_at_max_eur_per_mwh=61.730_29 + 9.373_13 * k,
        ),
    )
    for k in range(len(BUSES))
)
KEYS = tuple(derive(7, "agent", k) for k in range(len(BUSES)))
NUMBER = {key.address: k for k, key in enumerate(KEYS)}


@cache
def outlook() -> Outlook:
    """The IEEE 33-bus feeder at half its nominal load."""
    feeder = feeder_33()
    nothing = np.zeros((1, 0))
    none = {field.name: nothing for field in fields(Devices) if field.name != "bus"}
    return Outlook(
        feeder,
        Conditions(
            fixed_p=0.5 * feeder.nominal_p_mw[None] / feeder.base_mw,
            fixed_q=0.5 * feeder.nominal_q_mvar[None] / feeder.base_mw,
            hub=Hub(np.array([160.0]), np.array([70.0])),
            devices=Devices(bus=np.zeros(0, dtype=np.int64), **none),
            hours=0.25,
        ),
    )


@cache
def balanced() -> Outlook:
    """The same with next to no passive load between far hub prices: a price in between, and many rounds."""
    given = outlook().conditions
    hub = Hub(np.array([300.0]), np.array([20.0]))
    fixed = {"fixed_p": 0.1 * given.fixed_p, "fixed_q": 0.1 * given.fixed_q}
    return Outlook(feeder_33(), replace(given, hub=hub, **fixed))


@cache
def feeder_33() -> Feeder:
    return load("ieee33")


@cache
def newton() -> NewtonClearing:
    return NewtonClearing(feeder_33())


def members() -> tuple[Member, ...]:
    """The accounts as they are registered; everybody is forecast to take 50 kW."""
    return tuple(
        Member(key.address, bus, -CAPACITY_MW, CAPACITY_MW, (-50_000_000,))
        for key, bus in zip(KEYS, BUSES, strict=True)
    )


def honest(question: Question) -> AnswerBody:
    """What the agent's devices answer, signed."""
    number = NUMBER[question.agent]
    powers = Household(FILES[number], np.nan).powers(question)
    answer = answer_to(question, eip712.struct_hash(question), powers)
    return signed(answer, KEYS[number])


def listens(key: Key) -> dict[str, str]:
    """Headers by which an agent shows an oracle that it is the account's own."""
    signature = key.sign(eip712.digest(DOMAIN, Listening(key.address)))
    return {"Authorization": f"Wattbook {signature_text(signature)}"}


def signed(answer: Answer, key: Key) -> AnswerBody:
    return AnswerBody.of(answer, key.sign(eip712.digest(DOMAIN, answer)))


@dataclass
class Case:
    """A clearing that runs in one thread: `respond` sees each question as its round begins."""

    opened: OpenClearing

    def run(self, published: Outlook | None = None) -> Responses:
        return coordinate(self.opened, published or outlook(), newton())

    def rounds(self) -> bytes:
        """Every answer so far, as other oracles are shown them."""
        return encode(self.opened.history, 1)


def case(
    respond: Callable[[OpenClearing, Question], None],
    *,
    told: Callable[[str, Question | Answer], None] = lambda kind, message: None,
    answer_seconds: float = 0.0,
) -> Case:
    """Agents that answer at once, or never: `answer_seconds` is 0, so that nobody waits."""

    def everybody() -> None:
        for key in KEYS:
            found = opened.question(key.address)
            if found is not None:
                respond(opened, found[0])

    opened = OpenClearing(
        DOMAIN,
        ORACLE_KEY,
        slot=SLOT,
        purpose=PURPOSE,
        oracle=ORACLE,
        members=members(),
        answer_seconds=answer_seconds,
        told=told,
        on_round=everybody,
    )
    return Case(opened)


def known() -> Known:
    """What another oracle knows by itself, which asked too and heard nobody."""
    return Known(SLOT, PURPOSE, ORACLE, outlook(), members(), DOMAIN, unheard)


def unheard(question: Question) -> Inquiry:
    return Inquiry(question, ORACLE_KEY.sign(eip712.digest(DOMAIN, question)), second=0)


def known_right(ended: Responses, clearing: Case) -> bool:
    """Another oracle, with a solver of its own, finds the same prices from the bytes alone."""
    brought = replace(bring(ended, newton()), rounds=clearing.rounds())
    found = verify(brought, known(), NewtonClearing(feeder_33()))
    return found.encode() == brought.inputs and claims(brought).prices == brought.prices


def claims(brought: Brought) -> Brought:
    """What another oracle reads in the bytes."""
    return claimed((brought.inputs, brought.certificate, brought.rounds), known())
