"""Alternating directions: ATC's augmented Lagrangian exactly minimised on both sides in turn.

State z_k of prosumer k, weight ρ_k, bus weight w_b = 1/Σ_k(1/ρ_k). A round:

    p_k = argmin C_k(p) + ½ρ_k(p − z_k)²          y_k = ρ_k(z_k − p_k)         Z_k = 2p_k − z_k
    T, λ = argmin f(T) + Σ_b ½w_b(T_b − Z_b)²      t_k = Z_k + (w_b/ρ_k)(T_b − Z_b),  Z_b = Σ_k Z_k
    z_k ← z_k + F_k,  F_k = α(t_k − p_k)           with Anderson acceleration of the fixed point

λ, the dual of the utility's own balance, is the DLMP. Without acceleration and rebalancing this is AL-AD
(S. Tosserams, L. Etman, P. Papalambros, J. Rooda, "An augmented Lagrangian relaxation for analytical target
cascading using the alternating direction method of multipliers", Structural and Multidisciplinary
Optimization 31(3):176–189, 2006), which is ADMM with weights; with one weight for everybody and α = 1
besides it is textbook ADMM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.anderson import Anderson
from market.atc.prosumers import LowerLevel, Response
from market.atc.rounds import Agreement, Grant, Link, Round, Utility, is_over
from market.pricing.admission import ClearingFailed
from market.units import Floats

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
PROBE_TOLERANCE = 3e-5
"""Prices no farther ahead are right: with the stopping rule's 1e-5 that is less than the 1e-4 it promises."""
RIGID = 1e-10
"""Slope of who did not move between two answers, pu per €/MWh: next to none beside the network's own."""


@dataclass(frozen=True, slots=True)
class AlternatingDirections:
    """A Method by its settings.

    kappa: κ; relaxation: α; memory: of the acceleration (0: none); uniform: one weight for everybody;
    rebalance: adapt the weights of buses to the progress seen; patience: give up when that many rounds came
    no nearer than the best before them; max_rounds: give up after that many in any case; probes: how often to
    go on where residuals are small and prices may yet be far, see `_ahead`.
    """

    name: str
    kappa: float = 1.0
    relaxation: float = 1.0
    memory: int = 0
    uniform: bool = False
    rebalance: bool = False
    patience: int = 1_000
    max_rounds: int = 5_000
    probes: int = 0

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        link = Link.between(upper, lower)
        rho = first_weights(lower, self.kappa, uniform=self.uniform)
        response = lower.at_price(price)
        state = response.power + response.price / rho
        progress = _Progress(link)
        acceleration = self._reweighed(upper, link, rho)
        rounds: list[Round] = []
        asked_beside = 1  # for where the rounds begin
        grant: Grant | None = None
        probes = self.probes
        while True:
            before, response = (response if rounds else None), lower.respond(state, rho)
            progress.add(response)
            target = 2.0 * response.power - state
            try:
                grant = upper.answer(link.total(target))
            except ClearingFailed:
                if grant is None:
                    raise
                break
            found = link.measure(grant, response)
            rounds.append(found)
            if found.settled and probes and before is not None:
                probes -= 1
                ahead = _ahead(upper, link, before, response)
                acceleration = self._reweighed(upper, link, rho)
                if ahead is not None:
                    state = ahead.power + ahead.price / rho
                    continue
            if found.settled or is_over(rounds, self.patience, self.max_rounds):
                break
            share = 1.0 / rho
            copy = target + share * link.spread((grant.injection - link.total(target)) / link.total(share))
            residual = self.relaxation * (copy - response.power)
            if acceleration is not None and len(rounds) <= ACCELERATED_ROUNDS:
                state = acceleration.advance(state, residual)
            else:
                state = state + residual
            if self.rebalance and _is_rebalance(len(rounds)):
                # the same powers and prices, seen through other weights
                last = lower.respond(state, rho)
                asked_beside += 1
                rho = np.clip(rho * progress.factor(rho), FLATTEST, STEEPEST)
                state = last.power + last.price / rho
                progress = _Progress(link)
                acceleration = self._reweighed(upper, link, rho)
        return Agreement.by_one_number(grant, response, rounds, len(rho), beside=asked_beside)

    def _reweighed(self, upper: Utility, link: Link, rho: Floats) -> Anderson | None:
        """Tell the utility w_b = 1/Σ(1/ρ_k), and forget what was learnt under other weights."""
        upper.reweigh(1.0 / link.total(1.0 / rho))
        return Anderson(self.memory, rho) if self.memory else None


ACCELERATED = AlternatingDirections(
    "accelerated", relaxation=1.6, memory=5, rebalance=True, patience=200, max_rounds=500, probes=5
)
"""Alternating directions with curvature weights, over-relaxed, accelerated."""
AL_AD = AlternatingDirections("al-ad")
"""As published: weights, nothing else."""
ADMM = AlternatingDirections("admm", uniform=True)
"""Textbook ADMM."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """Powers and prices at which prosumers and network would meet, one entry a prosumer."""

    power: Floats
    price: Floats


def _ahead(upper: Utility, link: Link, before: Response, last: Response) -> _Guess | None:
    """Where all would meet if each went on from its last answer as it came to it.

    None where that is at the prices that were settled at, or where nobody can tell.

    Where hardly anybody flexes, residuals are small far from the price too: balances say little about it. So
    the utility is asked beside the rounds what it makes of the lines through everybody's last two answers. It
    must be told its weights again afterwards.
    """
    moved = last.price - before.price
    slope = (last.power - before.power) / np.where(moved == 0.0, np.inf, moved)
    slope = np.clip(slope, RIGID, 1.0 / FLATTEST)
    upper.reweigh(1.0 / link.total(slope))
    try:
        price = link.spread(upper.answer(link.total(last.power - slope * last.price)).price)
    except ClearingFailed:
        return None
    apart = np.abs(price - last.price) / np.maximum(np.abs(price), 1.0)
    if np.max(apart, initial=0.0) <= PROBE_TOLERANCE:
        return None
    return _Guess(last.power + slope * (price - last.price), price)


class _Progress:
    """How far powers and prices of the lower level moved since the weights were set."""

    def __init__(self, link: Link) -> None:
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


def first_weights(lower: LowerLevel, kappa: float, *, uniform: bool = False) -> Floats:
    """ρ_k = κ/elasticity within bounds, €/MWh per pu; the median for everybody where `uniform`."""
    elasticity = np.maximum(lower.elasticity(PRICE_WINDOW_EUR_PER_MWH), kappa / STEEPEST_START)
    rho = np.maximum(kappa / elasticity, FLATTEST)
    return np.full_like(rho, np.median(rho)) if uniform and len(rho) else rho


def _is_rebalance(rounds: int) -> bool:
    """Whether weights are adapted after this many rounds."""
    return (
        rounds <= LAST_REBALANCE
        and rounds >= FIRST_REBALANCE
        and ((rounds - FIRST_REBALANCE) % REBALANCE_EVERY == 0)
    )
