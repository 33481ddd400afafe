"""Nothing that oracles and agents say to one another holds a cost parameter of anybody."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from market.atc.alternating import FIRST_REBALANCE, PRICE_WINDOW_EUR_PER_MWH
from market.atc.messages import (
    MILLIWATTS_PER_MW,
    NEUR_PER_KWH_PER_EUR_PER_MWH,
    Answer,
    Question,
)
from market.pricing.certificate import decode
from node.client.schemas import ProposalBody
from node.oracle.app import receive
from node.oracle.coordinate import AskedAgents
from node.oracle.rounds import OpenClearing
from node.oracle.verify import bring
from tests.network.clearing_case import CAPACITY_MW, FILES, balanced, case, feeder_33, honest, newton
from tests.network.disclosure import as_said, disclosed, secrets

BASES = (feeder_33().base_mw, 1 / feeder_33().base_mw, 2.0, 4.0, 0.25)
"""Per unit, and half or quarter powers as in ½ax² and in energies of a quarter of an hour."""


def transcript() -> bytes:
    """All of a clearing: questions, answers with signatures, and what is put before other oracles."""
    said: list[Any] = []

    def told(kind: str, message: Question | Answer) -> None:
        said.append({"kind": kind, **{key: _plain(value) for key, value in asdict(message).items()}})

    def respond(opened: OpenClearing, question: Question) -> None:
        body = honest(question)
        said.append(body.model_dump())
        receive(opened, body.model_dump_json().encode())

    clearing = case(respond, told=told)
    brought = bring(clearing.run(balanced()), newton())
    body = ProposalBody(
        slot=1,
        purpose=1,
        oracle=0,
        inputs="0x" + brought.inputs.hex(),
        certificate="0x" + brought.certificate.hex(),
        rounds="0x" + clearing.rounds().hex(),
        signature="0x" + "00" * 64,
    )
    point = decode(brought.certificate).point
    proof = [float(value) for block in (point.lines, point.buses, point.devices) for value in block.ravel()]
    return as_said([*said, body.model_dump(), proof])


def _plain(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def test_no_cost_parameter_stands_in_a_clearing():
    said = transcript()
    assert len(said) > 20_000, "a whole clearing"
    found = {number: disclosed(secrets(file), BASES, said) for number, file in enumerate(FILES)}
    assert not any(found.values()), found


@pytest.mark.parametrize("scale", [1.0, 1_000.0, 1e-6, feeder_33().base_mw])
def test_one_that_did_would_be_found(scale: float):
    secret = secrets(FILES[1])
    for name, value in secret.items():
        assert disclosed(secret, BASES, as_said([{"weights": [value * scale]}])) == [name]


def test_a_weight_is_what_the_registered_capacity_says_to_the_last_round():
    """One that followed the answers of who is alone at a bus would tell β: ρ'²/ρ, once rebalanced."""
    asked: list[Question] = []

    def told(kind: str, message: Question | Answer) -> None:
        if isinstance(message, Question):
            asked.append(message)

    ended = case(lambda opened, question: receive(opened, _sent(question)), told=told).run(balanced())
    assert ended.round > FIRST_REBALANCE
    eur_per_mwh_per_mw = PRICE_WINDOW_EUR_PER_MWH / (2 * CAPACITY_MW / MILLIWATTS_PER_MW)
    registered = round(eur_per_mwh_per_mw * NEUR_PER_KWH_PER_EUR_PER_MWH)
    assert {question.weights for question in asked} == {(registered,)}


def _sent(question: Question) -> bytes:
    return honest(question).model_dump_json().encode()


def test_weights_from_elasticity_would_tell_slopes(monkeypatch: pytest.MonkeyPatch):
    """What the closed forms' weights are, κ/(1/a + 1/β), is β itself of who has no generator."""
    betas = {key: secrets(file)["beta"] for key, file in enumerate(FILES)}

    def elastic(self: AskedAgents, window: float) -> Any:
        return np.array([1e-3 / beta for beta in betas.values()])  # kW per €/MWh, in MW

    monkeypatch.setattr(AskedAgents, "elasticity", elastic)
    said = transcript()
    assert "beta" in disclosed(secrets(FILES[0]), BASES, said)
