"""What every method of coordination shares: rounds, their residuals, when to stop, what was said.

A method takes both levels and a first guess of the prices to an `Agreement`. All of them are judged alike,
at the end of each round: by how far each prosumer's marginal price y_k is from the DLMP of its bus, and by
how far the utility's injection T_b is from what the prosumers of the bus decided, Σp_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from market.atc.prosumers import LowerLevel, Response
from market.pricing.branchflow import NetworkPoint
from market.units import Floats, Ints

PRICE_TOLERANCE = 1e-5
"""Largest |y_k − λ_b|/max(|λ_b|, 1): looser stops let price errors of 2e-3 pass."""
BALANCE_TOLERANCE_PU = 1e-6
"""Largest |T_b − Σp_k|."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round left: relative price residual and balance residual, pu."""

    price_residual: float
    balance_residual: float

    @property
    def excess(self) -> float:
        """The larger residual as a multiple of what the stopping rule allows."""
        return max(self.price_residual / PRICE_TOLERANCE, self.balance_residual / BALANCE_TOLERANCE_PU)

    @property
    def settled(self) -> bool:
        """Both residuals are within the stopping rule."""
        return self.excess <= 1.0

    @property
    def apart(self) -> str:
        """How far apart the levels are, in words."""
        return f"prices {self.price_residual:.1e} and balances {self.balance_residual:.1e} pu apart"


@dataclass(frozen=True, eq=False)
class Grant:
    """The utility's answer: T and λ by injection bus, and the point of its network behind them by period."""

    injection: Floats
    price: Floats
    points: tuple[NetworkPoint, ...]


class Utility(Protocol):
    """The upper level as the rounds see it: of one period, or of several, one after the other."""

    @property
    def buses(self) -> Ints:
        """Number of each injection bus, rising; the second period's come after the first one's."""
        ...

    def reweigh(self, weight: Floats) -> None:
        """Set w_b by injection bus, €/MWh per pu."""
        ...

    def answer(self, target: Floats) -> Grant:
        """T and λ for targets Z_b by injection bus. Raises ClearingFailed."""
        ...


@dataclass(frozen=True, eq=False)
class Agreement:
    """Where the levels met: what the utility granted, the prosumers' response, the rounds it took.

    numbers: how many numbers went from one level to another, both ways, all rounds together and where they
    began; messages: how many messages carried them, one a sender and receiver each time.
    """

    grant: Grant
    response: Response
    rounds: tuple[Round, ...]
    messages: int
    numbers: int

    @staticmethod
    def by_one_number(
        grant: Grant, response: Response, rounds: Sequence[Round], prosumers: int, *, beside: int = 1
    ) -> Agreement:
        """Where each question takes one number down to every prosumer and one up.

        One a round, and those beside: where the rounds begin, and wherever all are asked once more.
        """
        said = 2 * (len(rounds) + beside) * prosumers
        return Agreement(grant, response, tuple(rounds), messages=said, numbers=said)

    @property
    def settled(self) -> bool:
        """The last round satisfied the stopping rule."""
        return self.rounds[-1].settled


class Method(Protocol):
    """A way to bring both levels together."""

    @property
    def name(self) -> str:
        """What solutions say they were found by."""
        ...

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Exchange answers until both levels agree, from a first guess of the price of each prosumer.

        `upper` must stand at the period. The result is unsettled where rounds stall or run out. Raises
        ClearingFailed when the utility's solver fails.
        """
        ...


@dataclass(frozen=True, eq=False)
class Link:
    """Which injection bus each prosumer is at."""

    column: Ints
    buses: int

    @staticmethod
    def between(upper: Utility, lower: LowerLevel) -> Link:
        """The prosumers' places among the utility's injection buses."""
        return Link(np.searchsorted(upper.buses, lower.bus), len(upper.buses))

    def total(self, by_prosumer: Floats) -> Floats:
        """Sum by injection bus."""
        return np.asarray(np.bincount(self.column, by_prosumer, self.buses), dtype=np.float64)

    def mean(self, by_prosumer: Floats) -> Floats:
        """Mean by injection bus."""
        return self.total(by_prosumer) / self.total(np.ones(len(by_prosumer)))

    def spread(self, by_bus: Floats) -> Floats:
        """Each prosumer's bus's value."""
        return np.asarray(by_bus[self.column])

    def measure(self, grant: Grant, response: Response) -> Round:
        """Both residuals of a round."""
        price = self.spread(grant.price)
        apart = (response.price - price) / np.maximum(np.abs(price), 1.0)
        imbalance = grant.injection - self.total(response.power)
        return Round(
            price_residual=float(np.max(np.abs(apart), initial=0.0)),
            balance_residual=float(np.max(np.abs(imbalance), initial=0.0)),
        )


def is_over(rounds: list[Round], patience: int, max_rounds: int) -> bool:
    """Whether to give up: no rounds left, or none of the last `patience` came nearer than one before."""
    if len(rounds) <= patience:
        return len(rounds) >= max_rounds
    best = min(rounds[:-patience], key=lambda each: each.excess)
    stalled = all(each.excess >= best.excess for each in rounds[-patience:])
    return stalled or len(rounds) >= max_rounds
