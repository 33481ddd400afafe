"""What is said in a clearing between processes: an oracle's question to an agent, and the agent's answer.

Both are whole numbers, so that they are signed as they are and mean the same on every machine: powers in
milliwatts, what is injected positive; weights in n€/kWh per MW. One entry a period. A question asks for the
proximal step of `market.atc.prosumers`; an answer says the power and nothing else. What it cost the agent
stays with the agent: of its marginal price μ = weight·(target − power) the oracle learns no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from market.orders import Address
from market.units import Floats

MILLIWATTS_PER_MW = 1_000_000_000
NEUR_PER_KWH_PER_EUR_PER_MWH = 1_000_000
WEIGHT_MAX = 2**62
"""n€/kWh per MW: a weight fits the 64 bits that are signed of it."""
POWER_MAX = 2**62
"""mW, likewise."""


class Purpose(IntEnum):
    """What a clearing of a slot is for."""

    CHARGES = 0
    PRICES = 1


@dataclass(frozen=True, slots=True)
class Listening:
    """What an agent signs to be told its questions: that it is the account's own."""

    agent: Address


@dataclass(frozen=True, slots=True)
class Question:
    """One agent's target and weight by period in a round of the clearing that one oracle coordinates."""

    agent: Address
    slot: int
    purpose: int
    oracle: int
    round: int
    weights: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The powers that an agent answers, bound to the question by its EIP-712 hash."""

    agent: Address
    slot: int
    purpose: int
    oracle: int
    round: int
    question: bytes
    powers: tuple[int, ...]


def answer_to(question: Question, question_hash: bytes, powers: tuple[int, ...]) -> Answer:
    """The answer that says these powers; `question_hash` is the question's EIP-712 hash."""
    return Answer(
        agent=question.agent,
        slot=question.slot,
        purpose=question.purpose,
        oracle=question.oracle,
        round=question.round,
        question=question_hash,
        powers=powers,
    )


def milliwatts(power_pu: Floats, base_mw: float) -> tuple[int, ...]:
    """Powers as they are sent, kept within 64 bits."""
    rounded = np.rint(np.asarray(power_pu) * (base_mw * MILLIWATTS_PER_MW))
    return tuple(int(power) for power in np.clip(rounded, -POWER_MAX, POWER_MAX))


def per_unit(power_mw: tuple[int, ...] | list[int], base_mw: float) -> Floats:
    """Powers as they are computed with."""
    return np.array(power_mw, dtype=np.float64) / (base_mw * MILLIWATTS_PER_MW)


def sent_weights(weight: Floats, base_mw: float) -> tuple[int, ...]:
    """Weights, €/MWh per pu, as they are sent: never 0, which would ask for nothing."""
    rounded = np.rint(np.asarray(weight) * (NEUR_PER_KWH_PER_EUR_PER_MWH / base_mw))
    return tuple(int(each) for each in np.clip(rounded, 1, WEIGHT_MAX))


def weights_of(sent: tuple[int, ...] | list[int], base_mw: float) -> Floats:
    """Weights as they are computed with, €/MWh per pu."""
    return np.array(sent, dtype=np.float64) * (base_mw / NEUR_PER_KWH_PER_EUR_PER_MWH)


def marginal_prices(question: Question, powers: tuple[int, ...]) -> Floats:
    """μ by period, €/MWh, that an answer shows: weight·(target − power)."""
    gap = np.array(question.targets, dtype=np.float64) - np.array(powers, dtype=np.float64)
    weights = np.array(question.weights, dtype=np.float64)
    return np.asarray(weights * gap / (MILLIWATTS_PER_MW * float(NEUR_PER_KWH_PER_EUR_PER_MWH)))
