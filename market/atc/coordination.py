"""The rounds between the two levels: augmented Lagrangian with alternating directions (README.md).

State z_k of prosumer k, weight ρ_k, bus weight w_b = 1/Σ_k(1/ρ_k). A round:

    p_k = argmin C_k(p) + ½ρ_k(p − z_k)²          y_k = ρ_k(z_k − p_k)         Z_k = 2p_k − z_k
    T, λ = argmin f(T) + Σ_b ½w_b(T_b − Z_b)²      t_k = Z_k + (w_b/ρ_k)(T_b − Z_b),  Z_b = Σ_k Z_k
    z_k ← z_k + F_k,  F_k = α(t_k − p_k)           with Anderson acceleration of the fixed point

until max|y_k − λ_b|/max(|λ_b|, 1) and max|T_b − Σp_k| are small. λ, the dual of the utility's own
balance, is the DLMP. Without acceleration and rebalancing this is ADMM with weights; with one weight
for everybody and α = 1 besides it is textbook ADMM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.anderson import Anderson
from market.atc.prosumers import LowerLevel, Response
from market.atc.upper import UpperLevel
from market.pricing.branchflow import NetworkPoint
from market.units import Floats, Ints

PRICE_TOLERANCE = 1e-5
"""Largest |y_k − λ_b|/max(|λ_b|, 1): looser stops let price errors of 2e-3 pass."""
BALANCE_TOLERANCE_PU = 1e-6
"""Largest |T_b − Σp_k|."""
PRICE_WINDOW_EUR_PER_MWH = 100.0
"""Δ: a device counts as spread over at least this range of prices when weights are chosen."""
FLATTEST, STEEPEST = 1e-1, 1e5
"""Bounds of a weight, €/MWh per pu."""
STEEPEST_START = 1e4
"""Bound of the first weights: small and rigid devices would ask for more than the network can tell."""
FIRST_REBALANCE, REBALANCE_EVERY, LAST_REBALANCE = 5, 8, 61
"""Rounds after which weights are adapted. The last is early, so that weights are fixed in the end."""
LARGEST_REBALANCE = 10.0
ACCELERATED_ROUNDS = 200
"""After so many rounds the steps are plain: slower, but they cannot go round in circles."""


@dataclass(frozen=True, slots=True)
class Method:
    """How rounds are made.

    kappa: κ; relaxation: α; memory: of the acceleration (0: none); uniform: one weight for everybody;
    rebalance: adapt the weights of buses to the progress seen; patience: give up when that many rounds
    came no nearer than the best before them; max_rounds: give up after that many in any case.
    """

    name: str
    kappa: float
    relaxation: float
    memory: int
    uniform: bool
    rebalance: bool
    patience: int
    max_rounds: int


ATC = Method(
    "atc",
    kappa=1.0,
    relaxation=1.6,
    memory=5,
    uniform=False,
    rebalance=True,
    patience=200,
    max_rounds=500,
)
ADMM = Method(
    "admm",
    kappa=1.0,
    relaxation=1.0,
    memory=0,
    uniform=True,
    rebalance=False,
    patience=1_000,
    max_rounds=5_000,
)
METHODS = {method.name: method for method in (ATC, ADMM)}


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


@dataclass(frozen=True, eq=False)
class Agreement:
    """Where the levels met: the utility's point, the prosumers' response, the rounds it took."""

    point: NetworkPoint
    response: Response
    rounds: tuple[Round, ...]

    @property
    def settled(self) -> bool:
        """The last round satisfied the stopping rule."""
        return self.rounds[-1].settled


def coordinate(upper: UpperLevel, lower: LowerLevel, price: Floats, method: Method = ATC) -> Agreement:
    """Exchange targets and answers until both levels agree, from a first guess of the price of each prosumer.

    `upper` must stand at the period. The result is unsettled where rounds stall or run out. Raises
    ClearingFailed when the utility's solver fails.
    """
    link = _Link(np.searchsorted(upper.buses, lower.bus), len(upper.buses))
    rho = _first_weights(lower, method)
    response = lower.at_price(price)
    state = response.power + response.price / rho
    progress = _Progress(link)
    acceleration = _reweighed(upper, link, rho, method)
    rounds: list[Round] = []
    finish = False
    while True:
        response = lower.respond(state, rho)
        progress.add(response)
        target = 2.0 * response.power - state
        point = upper.answer(link.total(target), finish=finish)
        found = _measure(upper, link, point, response)
        if found.settled and not finish:
            finish = True
            point = upper.answer(link.total(target), finish=True)
            found = _measure(upper, link, point, response)
        granted = point.injection[upper.buses]
        rounds.append(found)
        if rounds[-1].settled or _is_over(rounds, method):
            return Agreement(point, response, tuple(rounds))
        share = 1.0 / rho
        copy = target + share * link.spread((granted - link.total(target)) / link.total(share))
        residual = method.relaxation * (copy - response.power)
        accelerated = acceleration is not None and len(rounds) <= ACCELERATED_ROUNDS
        state = acceleration.advance(state, residual) if acceleration and accelerated else state + residual
        if method.rebalance and _is_rebalance(len(rounds)):
            # the same powers and prices, seen through other weights
            last = lower.respond(state, rho)
            rho = np.clip(rho * progress.factor(rho), FLATTEST, STEEPEST)
            state = last.power + last.price / rho
            progress = _Progress(link)
            acceleration = _reweighed(upper, link, rho, method)


@dataclass(frozen=True, eq=False)
class _Link:
    """Which injection bus each prosumer is at."""

    column: Ints
    buses: int

    def total(self, by_prosumer: Floats) -> Floats:
        """Sum by injection bus."""
        return np.asarray(np.bincount(self.column, by_prosumer, self.buses), dtype=np.float64)

    def spread(self, by_bus: Floats) -> Floats:
        """Each prosumer's bus's value."""
        return np.asarray(by_bus[self.column])


class _Progress:
    """How far powers and prices of the lower level moved since the weights were set."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._last: Response | None = None
        self._power: Floats = np.zeros(len(link.column))
        self._price: Floats = np.zeros(len(link.column))

    def add(self, response: Response) -> None:
        """Count one more answer."""
        if self._last is not None:
            self._power = self._power + (response.power - self._last.power) ** 2
            self._price = self._price + (response.price - self._last.price) ** 2
        self._last = response

    def factor(self, rho: Floats) -> Floats:
        """By how much to scale each weight: halfway, in logarithms, to where ρ·|Δp| and |Δy| balance."""
        moved = self._link.total(rho * self._power)
        priced = self._link.total(self._price / rho)
        ratio = np.where((moved > 0) & (priced > 0), priced / np.where(moved > 0, moved, 1.0), 1.0)
        factor = np.clip(ratio**0.25, 1.0 / LARGEST_REBALANCE, LARGEST_REBALANCE)
        return self._link.spread(factor)


def _first_weights(lower: LowerLevel, method: Method) -> Floats:
    """ρ_k = κ/elasticity within bounds; the median for everybody where the method is uniform."""
    elasticity = np.maximum(lower.elasticity(PRICE_WINDOW_EUR_PER_MWH), method.kappa / STEEPEST_START)
    rho = np.maximum(method.kappa / elasticity, FLATTEST)
    return np.full_like(rho, np.median(rho)) if method.uniform and len(rho) else rho


def _reweighed(upper: UpperLevel, link: _Link, rho: Floats, method: Method) -> Anderson | None:
    """Tell the utility w_b = 1/Σ(1/ρ_k), and forget what was learnt under other weights."""
    upper.reweigh(1.0 / link.total(1.0 / rho))
    return Anderson(method.memory, rho) if method.memory else None


def _is_rebalance(rounds: int) -> bool:
    """Whether weights are adapted after this many rounds."""
    return (
        rounds <= LAST_REBALANCE
        and rounds >= FIRST_REBALANCE
        and ((rounds - FIRST_REBALANCE) % REBALANCE_EVERY == 0)
    )


def _is_over(rounds: list[Round], method: Method) -> bool:
    """Whether to give up: no rounds left, or none of the last ones came nearer."""
    if len(rounds) <= method.patience:
        return len(rounds) >= method.max_rounds
    best = min(rounds[: -method.patience], key=lambda each: each.excess)
    stalled = all(each.excess >= best.excess for each in rounds[-method.patience :])
    return stalled or len(rounds) >= method.max_rounds


def _measure(upper: UpperLevel, link: _Link, point: NetworkPoint, response: Response) -> Round:
    price = link.spread(point.price[upper.buses])
    apart = (response.price - price) / np.maximum(np.abs(price), 1.0)
    imbalance = point.injection[upper.buses] - link.total(response.power)
    return Round(
        price_residual=float(np.max(np.abs(apart), initial=0.0)),
        balance_residual=float(np.max(np.abs(imbalance), initial=0.0)),
    )
