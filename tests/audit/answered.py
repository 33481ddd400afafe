"""The small market's morning with prices from its traders' signed answers, and lies about these.

Buyer and seller answer every round; the neighbour never answers for the charges, and stops after the third
round for the prices. A lie changes the file of the responses, under the name that the oracles signed, or
brings a certificate of other answers: what the checks of responses must find, whatever the digest says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from hashlib import sha256

import numpy as np

from ledger import eip712
from ledger.address import checksummed
from ledger.bundle import Bundle
from ledger.keys import Key
from ledger.record import Record
from market.atc.messages import Purpose, Question, answer_to
from market.atc.responses import Responses, Stand
from market.events import ChargesPosted, PricesPosted
from market.pricing.conditions import Conditions, Devices, SlotPrices
from market.pricing.newton import NewtonClearing
from market.slots import Rule
from node.agent.devices import DeviceFile, Flexible, Generator
from node.agent.household import Household
from node.oracle.coordinate import Outlook, coordinate
from node.oracle.rounds import Member, OpenClearing
from node.oracle.signers import clear_and_prove
from node.oracle.verify import bring
from tests.audit.forge import found
from tests.audit.small_market import (
    BUSES,
    BUYER,
    NEIGHBOUR,
    ORACLES,
    SELLER,
    SLOT,
    TRADERS,
    UTILITY,
    SmallMarket,
    conditions,
    small_feeder,
)

CAPACITY_MW, FORECAST_MW = 20_000_000, -1_000_000
"""What each registered, and what is forecast of it, in mW: 20 kW both ways, and 1 kW of load."""
ROUNDS = {Purpose.CHARGES: 0, Purpose.PRICES: 3}
"""How many rounds the neighbour answers."""
DEVICES = {
    SELLER.address: DeviceFile(
        generator=Generator(max_kw=15.0, cost_eur_per_mwh=20.0, cost_at_max_eur_per_mwh=180.0)
    ),
    BUYER.address: DeviceFile(
        flexible=Flexible(
            min_kw=1.0, max_kw=14.0, value_at_min_eur_per_mwh=240.0, value_at_max_eur_per_mwh=60.0
        )
    ),
    NEIGHBOUR.address: DeviceFile(
        flexible=Flexible(
            min_kw=0.5, max_kw=4.0, value_at_min_eur_per_mwh=220.0, value_at_max_eur_per_mwh=80.0
        )
    ),
}


def passive(load: float) -> Conditions:
    """What the utility publishes: firm load, and no device of anybody."""
    nothing = {each.name: np.zeros((1, 0)) for each in fields(Devices) if each.name != "bus"}
    none = Devices(bus=np.zeros(0, dtype=np.int64), **nothing)
    return replace(conditions(small_feeder(), load), devices=none)


@dataclass
class AnsweredMarket(SmallMarket):
    """The small market, cleared by asking its traders; `early` keeps what the second round would end with."""

    clearing: tuple[int, Purpose] = field(init=False)
    early: Responses = field(init=False)

    def post_charges(self, slot: int, load: float) -> None:
        self.clearing = slot, Purpose.CHARGES
        super().post_charges(slot, load)

    def post_prices(self, slot: int, load: float) -> None:
        self.clearing = slot, Purpose.PRICES
        super().post_prices(slot, load)

    def clear(self, load: float) -> tuple[SlotPrices, bytes, bytes]:
        """Ask the traders until they and the utility agree; prices, input hash, certificate hash."""
        newton = NewtonClearing(small_feeder())
        brought = bring(self._asked(Outlook(small_feeder(), passive(load)), newton), newton)
        self.inputs.append(brought.inputs)
        self.certificates.append(brought.certificate)
        return brought.prices, sha256(brought.inputs).digest(), sha256(brought.certificate).digest()

    def _asked(self, outlook: Outlook, newton: NewtonClearing) -> Responses:
        slot, purpose = self.clearing

        def respond() -> None:
            if opened.round == 3:
                self.early = Responses(
                    outlook.feeder, outlook.conditions, slot, purpose, 0, 2, tuple(opened.standings())
                )
            for trader in TRADERS:
                asked = opened.question(trader.address)
                if asked is not None and (trader is not NEIGHBOUR or asked[0].round <= ROUNDS[purpose]):
                    self._answer(opened, trader, asked[0])

        opened = OpenClearing(
            self.exchange.domain,
            ORACLES[0],
            slot=slot,
            purpose=purpose,
            oracle=0,
            members=[
                Member(trader.address, bus, -CAPACITY_MW, CAPACITY_MW, (FORECAST_MW,))
                for trader, bus in zip(TRADERS, BUSES, strict=True)
            ],
            answer_seconds=0.0,
            on_round=respond,
        )
        return coordinate(opened, outlook, newton)

    def _answer(self, opened: OpenClearing, trader: Key, question: Question) -> None:
        powers = Household(DEVICES[trader.address], np.nan).powers(question)
        answer = answer_to(question, eip712.struct_hash(question), powers)
        opened.take(answer, trader.sign(eip712.digest(self.exchange.domain, answer)))


@cache
def answered() -> tuple[Bundle, Responses]:
    """The bundle of an honest morning, and its prices' responses before they had settled."""
    market = AnsweredMarket(Rule.DLMP)
    market.trade_one_slot()
    return market.bundle(), market.early


# --- lies ---------------------------------------------------------------------------------------


def records() -> Iterator[Callable[[], Record]]:
    """The honest record, and one of each lie about charges and about prices."""
    yield lambda: Record.of(answered()[0], proves_itself=True)
    for lie in (*LIES, UNSETTLED):
        yield partial(told, lie)
        if lie != OF_PRICES:
            yield partial(told, lie, ChargesPosted)


def told(lie: str, kind: type[ChargesPosted] | type[PricesPosted] = PricesPosted) -> Record:
    """The record in which a slot's responses are others; `kind` says those of charges or of prices."""
    bundle, early = answered()
    _, posted = found(Record.of(bundle, proves_itself=False), kind)
    assert isinstance(posted, ChargesPosted | PricesPosted)
    honest = Responses.decode(bundle.inputs[posted.input_hash], checksummed)
    other = early if lie == UNSETTLED else LIES[lie](honest)
    proof = clear_and_prove(other.feeder, other.given(), NewtonClearing(other.feeder)).certificate
    return Record.of(
        replace(
            bundle,
            inputs={**bundle.inputs, posted.input_hash: other.encode()},
            certificates={**bundle.certificates, posted.certificate_hash: proof},
        ),
        proves_itself=False,
    )


def _with(changed: int, **changes: object) -> Callable[[Responses], Responses]:
    """One standing of them is another."""

    def edit(honest: Responses) -> Responses:
        standings = list(honest.standings)
        standings[changed] = replace(standings[changed], **changes)  # type: ignore[arg-type]
        return replace(honest, standings=tuple(standings))

    return edit


UNSETTLED = "not settled"
OF_PRICES = "answered, though held"
"""Nobody is held in the clearing of charges."""
LIES: dict[str, Callable[[Responses], Responses]] = {
    "another power": _with(0, powers=(-7_000_000,)),
    "another bus": _with(1, bus=1),
    "a stranger": _with(1, agent=UTILITY.address),
    "the last left out": lambda honest: replace(honest, standings=honest.standings[:-1]),
    "the first left out": lambda honest: replace(honest, standings=honest.standings[1:]),
    "somebody twice": lambda honest: replace(honest, standings=(*honest.standings, honest.standings[0])),
    "held, though it answered": _with(0, stand=Stand.HELD),
    OF_PRICES: _with(2, stand=Stand.ANSWERED),
    "another slot": lambda honest: replace(honest, slot=SLOT + 1),
    "another purpose": lambda honest: replace(honest, purpose=Purpose(1 - honest.purpose)),
}
