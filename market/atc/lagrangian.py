"""The ordinary Lagrangian: prices alone, moved by the imbalance they cause.

    T = argmin f(T) + y·T,  low ≤ T ≤ high        p_k = argmin C_k(p) − y_b·p        y ← y + α(T − Σp)

with α = a·w_b/√(1 + i) in round i: the subgradient method with diminishing steps (N. Shor, "Minimization
Methods for Non-Differentiable Functions", Springer, 1985; H. Kim, W. Chen, M. Wiecek, "Lagrangian
coordination for enhancing the convergence of analytical target cascading", AIAA Journal 44(10):2197–2207,
2006). Without a pull towards what the prosumers said, the utility jumps between the bounds of what they may
do, which it must be told: here their registered range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from market.atc.alternating import first_weights
from market.atc.extended import Extension, Rows, nothing
from market.atc.prosumers import LowerLevel
from market.atc.rounds import Agreement, Link, Round, Utility, is_over
from market.atc.upper import single
from market.units import Floats


@dataclass(frozen=True, slots=True)
class OrdinaryLagrangian:
    """A Method. step: a, the first step as a share of the weight w_b."""

    name: str
    step: float
    patience: int = 400
    max_rounds: int = 1_000

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        network = single(upper, self.name)
        link = Link.between(upper, lower)
        weight = 1.0 / link.total(1.0 / first_weights(lower, 1.0))
        low, high = (link.total(each) for each in lower.range())
        eye, none = sp.identity(link.buses, format="csr"), sp.csr_array((2 * link.buses, 0))
        box = Rows(sp.csr_array(sp.vstack([eye, -eye])), none, np.concatenate([high, -low]))
        multiplier = link.mean(price)
        rounds: list[Round] = []
        while True:
            extension = Extension(multiplier, np.zeros(0), nothing(link.buses, 0), box)
            grant = network.extended(extension)[0]
            response = lower.at_price(link.spread(multiplier))
            rounds.append(link.measure(grant, response))
            if rounds[-1].settled or is_over(rounds, self.patience, self.max_rounds):
                return Agreement.by_one_number(grant, response, rounds, len(price), beside=0)
            missing = grant.injection - link.total(response.power)
            multiplier = multiplier + self.step / np.sqrt(len(rounds)) * weight * missing


LAGRANGIAN = OrdinaryLagrangian("lagrangian", step=0.3)
