"""A clearing with agents elsewhere: rounds of alternating directions, without slopes, to the residual stop.

`market.atc.alternating` as it is, with messages in place of the prosumers' closed forms. Weights come from
registered capacities, which everybody knows, as if each were spread over Δ = 100 €/MWh, and stay as they are:
a weight that follows what an agent answers tells the slope of its costs. Every question follows from what is
published and from the answers before it, so whoever has those can ask again (`replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from market.atc.alternating import ACCELERATED
from market.atc.messages import milliwatts, per_unit, sent_weights, weights_of
from market.atc.prosumers import Response
from market.atc.responses import Responses, firm_with
from market.atc.rounds import Agreement, Grant, Utility
from market.atc.upper import UpperLevel
from market.feeder.model import Feeder
from market.orders import Address
from market.pricing.conditions import Conditions
from market.pricing.newton import NewtonClearing
from market.units import Floats, Ints
from node.oracle.rounds import AgentsLostError, EndlessError, Member, Rounds
from node.oracle.signers import OracleError

METHOD = replace(ACCELERATED, name="network", rebalance=False, patience=60, max_rounds=200)


class NotSettledError(OracleError):
    """The rounds did not bring utility and agents together; the message says how near they came."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """What the utility publishes for a clearing: its feeder, its conditions without anybody's devices."""

    feeder: Feeder
    conditions: Conditions


class AskedAgents:
    """The agents of one clearing; implements LowerLevel. Entries are agents, period by period."""

    def __init__(self, opened: Rounds, members: Sequence[Member], feeder: Feeder, periods: int) -> None:
        self._opened, self._members = opened, members
        self._base_mw, self._periods = feeder.base_mw, periods
        at = np.array([member.bus for member in members], dtype=np.int64)
        self.bus: Ints = (np.arange(periods)[:, None] * feeder.buses + at).ravel()

    def elasticity(self, window: float) -> Floats:
        """As if each could move its whole registered capacity over the window."""
        low, high = self.range()
        return (high - low) / window

    def range(self) -> tuple[Floats, Floats]:
        """Registered capacities."""
        low, high = (
            np.tile(
                per_unit([getattr(member, name) for member in self._members], self._base_mw), self._periods
            )
            for name in ("least", "most")
        )
        return low, high

    def at_price(self, price: Floats) -> Response:
        """Where rounds begin, which nobody is asked: what each said last, or what is forecast of it."""
        power = per_unit([power for powers in self._last() for power in powers], self._base_mw)
        return _response(power, price)

    def _last(self) -> list[tuple[int, ...]]:
        """Last powers, period by period."""
        return list(zip(*(self._opened.last(member) for member in self._members), strict=True))

    def respond(self, target: Floats, weight: Floats) -> Response:
        """One round of questions. Raises AgentsLostError, EndlessError."""
        targets, weights = milliwatts(target, self._base_mw), sent_weights(weight, self._base_mw)
        answers = self._opened.ask(self._by_agent(weights), self._by_agent(targets))
        powers = [answers[member.agent][t] for t in range(self._periods) for member in self._members]
        power = per_unit(powers, self._base_mw)
        asked = per_unit(targets, self._base_mw)
        return _response(power, weights_of(weights, self._base_mw) * (asked - power))

    def _by_agent(self, entries: tuple[int, ...]) -> dict[Address, tuple[int, ...]]:
        count = len(self._members)
        return {member.agent: entries[k::count] for k, member in enumerate(self._members)}


class _Watched:
    """A utility that remembers its last prices, from which rounds begin anew; implements Utility."""

    def __init__(self, utility: Utility) -> None:
        self._utility = utility
        self.granted: Grant | None = None

    @property
    def buses(self) -> Ints:
        """Number of each injection bus."""
        return self._utility.buses

    def reweigh(self, weight: Floats) -> None:
        """Set w_b."""
        self._utility.reweigh(weight)

    def answer(self, target: Floats) -> Grant:
        """T and λ."""
        self.granted = self._utility.answer(target)
        return self.granted


def coordinate(opened: Rounds, outlook: Outlook, newton: NewtonClearing) -> Responses:
    """Rounds until utility and agents agree. Raises NotSettledError, PricingError."""
    feeder, conditions = outlook.feeder, outlook.conditions
    price = _first_price(conditions, feeder, opened.present)
    while members := opened.present:
        silent = [each for each in opened.standings() if each.agent not in {m.agent for m in members}]
        utility = _Watched(_utility(feeder, firm_with(feeder, conditions, silent), members, newton))
        agents = AskedAgents(opened, members, feeder, conditions.periods)
        try:
            _require_settled(METHOD(utility, agents, price.ravel()[agents.bus]))
        except AgentsLostError:
            if utility.granted is not None:
                price = price.copy()
                price.ravel()[utility.buses] = utility.granted.price
            continue
        except EndlessError as failure:
            raise NotSettledError(str(failure)) from None
        break
    return Responses(
        feeder=feeder,
        conditions=conditions,
        slot=opened.slot,
        purpose=opened.purpose,
        oracle=opened.oracle,
        round=opened.round,
        standings=opened.standings(),
    )


def _utility(
    feeder: Feeder, conditions: Conditions, members: Sequence[Member], newton: NewtonClearing
) -> Utility:
    buses = np.array([member.bus for member in members], dtype=np.int64)
    return UpperLevel(feeder, conditions, buses, newton)


def _first_price(conditions: Conditions, feeder: Feeder, members: Sequence[Member]) -> Floats:
    """Periods × buses: the hub price at the end that the forecast import selects."""
    injected = np.zeros(conditions.periods)
    for member in members:
        injected += per_unit(member.forecast, feeder.base_mw)
    importing = conditions.fixed_p.sum(axis=1) > injected
    price = np.where(importing, conditions.hub.import_price, conditions.hub.export_price)
    return np.repeat(price[:, None], feeder.buses, axis=1)


def _require_settled(agreement: Agreement) -> None:
    if not agreement.settled:
        rounds = agreement.rounds
        raise NotSettledError(f"no agreement after {len(rounds)} rounds, {rounds[-1].apart}")


def _response(power: Floats, price: Floats) -> Response:
    """An answer without slope, and without what is behind it."""
    return Response(
        power=power,
        price=price,
        slope=np.zeros_like(power),
        low=price,
        high=price,
        gen=np.maximum(power, 0.0),
        load=np.maximum(-power, 0.0),
    )
