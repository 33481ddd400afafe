"""The responses that a clearing between processes ended with, and what they leave the utility to solve.

Of every registered account it says where it stands: it *answered* the last round, was *held* at an earlier
answer since it gave no other in time, or never answered and stands at its *forecast*. An answer p to target z
and weight ρ is all that is known of a prosumer, and is enough: the utility's last round is

    min f(T) + Σ_b ½w_b(T_b − Z_b)²,   w_b = 1/Σ_k(1/ρ_k),   Z_b = Σ_k (2p_k − z_k)

with whoever is held or forecast as firm load. That is a clearing like any other, with a generator a bus and
no device of anybody, so any solver prices it and any certificate proves it; where the residuals of `measure`
are within the stopping rule its λ is the price of the feeder. Bytes: RESPONSES.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from market.atc.messages import Question, marginal_prices, per_unit, weights_of
from market.atc.rounds import Round
from market.atc.upper import pull
from market.feeder.model import Feeder
from market.orders import Address
from market.pricing.certificate import decode_inputs, encode_inputs
from market.pricing.conditions import Conditions, Devices, Duals, Primal
from market.pricing.wire import FormatError, Reader, Writer
from market.units import Floats, Ints

MAGIC, VERSION = b"WBRS", 1
UINT8_MAX, UINT16_MAX = 2**8 - 1, 2**16 - 1
ADDRESS_BYTES, SIGNATURE_BYTES = 20, 64
SETTLED_EXCESS = 2.0
"""Residuals that responses may have against a certificate, as multiples of the stopping rule: rounds measure
against their own last answer, a certificate is solved once more from the beginning."""


class Stand(IntEnum):
    """Where an account stands at the end of a clearing."""

    ANSWERED = 0
    HELD = 1
    FORECAST = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """One account: its powers by period, mW; the question they answer and the signature, unless forecast."""

    agent: Address
    bus: int
    stand: Stand
    powers: tuple[int, ...]
    question: Question | None = None
    signature: bytes = b""


@dataclass(frozen=True, eq=False)
class Responses:
    """All accounts of a clearing. `conditions` are what the utility publishes: passive load, no devices."""

    feeder: Feeder
    conditions: Conditions
    slot: int
    purpose: int
    oracle: int
    round: int
    standings: tuple[Standing, ...]

    @property
    def answered(self) -> tuple[Standing, ...]:
        """Who answered the last round."""
        return self.of(Stand.ANSWERED)

    def of(self, stand: Stand) -> tuple[Standing, ...]:
        """Everybody who stands so."""
        return tuple(each for each in self.standings if each.stand is stand)

    def firm(self) -> Conditions:
        """The utility's conditions with everybody who did not answer the last round as firm load."""
        silent = [each for each in self.standings if each.stand is not Stand.ANSWERED]
        return firm_with(self.feeder, self.conditions, silent)

    def given(self) -> Conditions:
        """What is left to solve: firm load, and the pull of the last answers as a generator a bus."""
        bus = np.array([each.bus for each in self.answered], dtype=np.int64)
        buses = np.unique(bus)
        column = np.searchsorted(buses, bus)
        pulls = []
        for period in range(self.conditions.periods):
            weight, target, power = self._entries(period)
            towards, share = (
                np.asarray(np.bincount(column, each, len(buses)), dtype=np.float64)
                for each in (2.0 * power - target, 1.0 / weight)
            )
            pulls.append(pull(buses, 1.0 / share, towards, np.zeros(len(buses))))
        return replace(self.firm(), devices=_stacked(buses, pulls))

    def measure(self, primal: Primal, duals: Duals) -> Round:
        """Residuals of the answers against a solution of `given`, as the rounds measure them."""
        worst = Round(0.0, 0.0)
        bus = np.array([each.bus for each in self.answered], dtype=np.int64)
        if not len(bus):
            return worst
        buses, column = np.unique(bus, return_inverse=True)
        for period in range(self.conditions.periods):
            _, _, power = self._entries(period)
            price = duals.price[period, bus]
            shown = np.array([_shown(each, period) for each in self.answered])
            apart = np.abs(shown - price) / np.maximum(np.abs(price), 1.0)
            injected = primal.gen[period] - primal.load[period]
            gap = np.abs(injected - np.bincount(column, power, len(buses)))
            worst = Round(
                max(worst.price_residual, float(apart.max())), max(worst.balance_residual, float(gap.max()))
            )
        return worst

    def settled(self, primal: Primal, duals: Duals) -> bool:
        """Whether the rounds had settled where a certificate says the prices are."""
        return self.measure(primal, duals).excess <= SETTLED_EXCESS

    def _entries(self, period: int) -> tuple[Floats, Floats, Floats]:
        """Weight, target and power of everybody who answered, pu."""
        asked = [(each.question, each.powers[period]) for each in self.answered if each.question]
        base_mw = self.feeder.base_mw
        return (
            weights_of([question.weights[period] for question, _ in asked], base_mw),
            per_unit([question.targets[period] for question, _ in asked], base_mw),
            per_unit([power for _, power in asked], base_mw),
        )

    # --- bytes ----------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """Canonical bytes, which `decode` reads."""
        base = encode_inputs(self.feeder, self.conditions)
        writer = Writer(MAGIC, VERSION)
        writer.counts(len(base))
        writer.raw(base)
        writer.counts(self.slot, self.purpose, self.oracle, self.round, len(self.standings))
        for each in self.standings:
            writer.raw(bytes.fromhex(each.agent[2:]))
            asked = 0 if each.question is None else each.question.round
            writer.counts(each.bus, each.stand, asked)
            writer.ints(_signed(each.powers))
            if each.question is not None:
                writer.ints(_signed(each.question.weights))
                writer.ints(_signed(each.question.targets))
                writer.raw(each.signature)
        return writer.bytes()

    @classmethod
    def decode(cls, data: bytes, checksummed: Callable[[bytes], Address]) -> Responses:
        """Read what `encode` wrote, judging nothing. Raises FormatError, FeederError.

        `checksummed` makes an address of 20 bytes: hashing is not done here.
        """
        reader = Reader(data, MAGIC, VERSION)
        feeder, conditions = decode_inputs(reader.raw(*reader.counts(1)))
        if conditions.devices.count or conditions.storages.count:
            raise FormatError("responses come with no devices")
        slot, purpose, oracle, last, count = reader.counts(5)
        _require_fit(purpose, oracle, last)
        periods = conditions.periods

        def numbers() -> tuple[int, ...]:
            return tuple(int(number) for number in reader.ints(periods))

        standings = []
        for _ in range(count):
            agent = checksummed(reader.raw(ADDRESS_BYTES))
            bus, stand, asked = reader.counts(3)
            powers = numbers()
            if stand not in list(Stand) or bus >= feeder.buses:
                raise FormatError(f"{agent}: stand {stand} at bus {bus}, of {feeder.buses} buses")
            if stand == Stand.FORECAST:
                standings.append(Standing(agent, bus, Stand.FORECAST, powers))
                continue
            _require_fit(purpose, oracle, asked)
            question = Question(agent, slot, purpose, oracle, asked, numbers(), numbers())
            if min(question.weights) < 1:
                raise FormatError(f"{agent}: a weight below 1")
            standings.append(
                Standing(agent, bus, Stand(stand), powers, question, reader.raw(SIGNATURE_BYTES))
            )
        reader.end()
        return cls(feeder, conditions, slot, purpose, oracle, last, tuple(standings))


def firm_with(feeder: Feeder, conditions: Conditions, silent: Iterable[Standing]) -> Conditions:
    """The utility's conditions with some accounts' powers as firm load."""
    fixed = conditions.fixed_p.copy()
    for each in silent:
        fixed[:, each.bus] -= per_unit(each.powers, feeder.base_mw)
    return replace(conditions, fixed_p=fixed)


def is_responses(data: bytes) -> bool:
    """Whether inputs are responses of agents, and not devices."""
    return data[: len(MAGIC)] == MAGIC


def _require_fit(purpose: int, oracle: int, number: int) -> None:
    """Raise FormatError where a question cannot be of this purpose, oracle or round: see `messages`."""
    if max(purpose, oracle) > UINT8_MAX or number > UINT16_MAX:
        raise FormatError(f"no question is of purpose {purpose}, oracle {oracle}, round {number}")


def _shown(standing: Standing, period: int) -> float:
    assert standing.question is not None
    return float(marginal_prices(standing.question, standing.powers)[period])


def _signed(values: tuple[int, ...]) -> Ints:
    return np.array(values, dtype=np.int64)


def _stacked(buses: Ints, pulls: list[Devices]) -> Devices:
    """One period's pulls above the other's."""
    names = ("gen_cost", "gen_slope", "gen_max", "load_value", "load_slope", "load_min", "load_max")
    return Devices(bus=buses, **{name: np.vstack([getattr(each, name) for each in pulls]) for name in names})
