"""The rounds between the two levels: augmented Lagrangian with alternating directions (DESIGN §7).

State z_k of prosumer k, weight ρ_k, bus weight w_b = 1/Σ_k(1/ρ_k). A round:

    p_k = argmin C_k(p) + ½ρ_k(p − z_k)²          y_k = ρ_k(z_k − p_k)        Z_k = 2p_k − z_k
    T, λ = argmin f(T) + Σ_b ½w_b(T_b − Σ_k Z_k)²  t_k = Z_k + (w_b/ρ_k)(T_b − Z_b)
    z_k ← z_k + F_k,  F_k = α(t_k − p_k)           with Anderson acceleration of the fixed point

and it ends when max|y_k − λ_b|/max(|λ_b|, 1) and max|T_b − Σp_k| are small. λ, the dual of the
utility's own balance, is the DLMP. Without acceleration this is ADMM with weights; with one weight
for everybody and α = 1 it is textbook ADMM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.anderson import Anderson
from market.atc.prosumers import LowerLevel, Response
from market.atc.upper import UpperLevel
from market.pricing.branchflow import NetworkPoint
from market.units import Floats

PRICE_TOLERANCE = 1e-5
"""Largest |y_k − λ_b|/max(|λ_b|, 1): looser stops let price errors of 2e-3 pass."""
BALANCE_TOLERANCE_PU = 1e-6
"""Largest |T_b − Σp_k|."""
FLATTEST, STEEPEST = 1e-1, 1e6
"""Bounds of a weight, €/MWh per pu: linear devices would ask for 0, rigid ones for infinity."""


@dataclass(frozen=True, slots=True)
class Method:
    """How rounds are made: κ, over-relaxation α, Anderson memory (0: none), one weight for all or not."""

    name: str
    kappa: float
    relaxation: float
    memory: int
    uniform: bool
    max_rounds: int


ATC = Method("atc", kappa=3.0, relaxation=1.6, memory=5, uniform=False, max_rounds=300)
ADMM = Method("admm", kappa=1.0, relaxation=1.0, memory=0, uniform=True, max_rounds=3_000)
METHODS = {method.name: method for method in (ATC, ADMM)}


@dataclass(frozen=True, slots=True)
class Round:
    """What a round left: relative price residual and balance residual, pu."""

    price_residual: float
    balance_residual: float

    @property
    def settled(self) -> bool:
        """Both residuals are within the stopping rule."""
        return self.price_residual <= PRICE_TOLERANCE and self.balance_residual <= BALANCE_TOLERANCE_PU


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


def weights(elasticity: Floats, method: Method) -> Floats:
    """ρ_k = κ/elasticity within bounds, €/MWh per pu; elasticities in pu per €/MWh."""
    rho = np.clip(method.kappa / np.maximum(elasticity, 1e-300), FLATTEST, STEEPEST)
    return np.full_like(rho, np.median(rho)) if method.uniform and len(rho) else rho


def coordinate(
    upper: UpperLevel, lower: LowerLevel, start: tuple[Floats, Floats], method: Method = ATC
) -> Agreement:
    """Exchange targets and answers until both levels agree; `start` is the state z and the weights ρ.

    `upper` must stand at the period, with w_b = 1/Σ(1/ρ_k). The result may be unsettled after
    `method.max_rounds`. Raises ClearingFailed when the utility's solver fails.
    """
    state, rho = start
    column = np.searchsorted(upper.buses, lower.bus)
    share = 1.0 / rho

    def by_bus(values: Floats) -> Floats:
        return np.bincount(column, values, len(upper.buses))

    spread = by_bus(share)
    acceleration = Anderson(method.memory, rho) if method.memory else None
    rounds: list[Round] = []
    while True:
        response = lower.respond(state, rho)
        target = 2.0 * response.power - state
        total = by_bus(target)
        point = upper.answer(total)
        granted = point.injection[upper.buses]
        price = point.price[upper.buses][column]
        rounds.append(
            Round(
                price_residual=_largest((response.price - price) / np.maximum(np.abs(price), 1.0)),
                balance_residual=_largest(granted - by_bus(response.power)),
            )
        )
        if rounds[-1].settled or len(rounds) >= method.max_rounds:
            return Agreement(point, response, tuple(rounds))
        copy = target + share / spread[column] * (granted - total)[column]
        residual = method.relaxation * (copy - response.power)
        state = acceleration.advance(state, residual) if acceleration else state + residual


def _largest(values: Floats) -> float:
    return float(np.max(np.abs(values), initial=0.0))
