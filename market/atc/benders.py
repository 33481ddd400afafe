"""Benders decomposition: the utility learns each prosumer's cost by cuts, and decides every power itself.

    master   min f(T) + Σθ_k   subject to   T_b = Σ t_k,  low ≤ t ≤ high,
                                            θ_k ≥ C_k(tⁱ) + y_kⁱ·(t_k − tⁱ) for each cut i
    answer   C_k(t_k) and its slope y_k, which is the next cut

the multi-cut form (J. Birge and F. Louveaux, European Journal of Operational Research 34(3):384–392, 1988) of
J. Benders, Numerische Mathematik 4:238–252, 1962, and A. Geoffrion, Journal of Optimization Theory and
Applications 10(4):237–260, 1972. Prosumers here disclose what their power costs, and the range of it. The
master's problem grows with prosumers and rounds; it knows costs as polygons, so the last digits of its prices
are late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from market.atc.alternating import first_weights
from market.atc.extended import Extension, Rows
from market.atc.prosumers import DisclosesCost, LowerLevel, Response
from market.atc.rounds import Agreement, Grant, Link, Round, Utility, is_over
from market.atc.upper import single
from market.pricing.admission import ClearingFailed
from market.units import Floats


@dataclass(frozen=True, slots=True)
class Benders:
    """A Method."""

    name: str
    patience: int = 100
    max_rounds: int = 200

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        network = single(upper, self.name)
        if not isinstance(lower, DisclosesCost):
            raise TypeError(f"{self.name}: these prosumers do not tell what a power costs them")
        link = Link.between(upper, lower)
        low, high = lower.range()
        rho = first_weights(lower, 1.0)
        cuts = _Cuts(link, low, high)
        response = lower.at_price(price)
        rounds: list[Round] = []
        grant: Grant | None = None
        while True:
            cuts.add(response, lower.cost(response))
            try:
                grant, added = network.extended(cuts.extension())
            except ClearingFailed:
                # thousands of cuts that nearly touch are more than the master's solver can tell apart
                if grant is None:
                    raise
                break
            wanted = np.clip(added[: len(price)], low, high)
            # at a corner any slope is right, and the price asked along with the power picks one
            response = lower.respond(wanted + link.spread(grant.price) / rho, rho)
            rounds.append(link.measure(grant, response))
            if rounds[-1].settled or is_over(rounds, self.patience, self.max_rounds):
                break
        messages = 2 * (len(rounds) + 1) * len(price)
        # down: power and price; up: power, cost and slope
        return Agreement(grant, response, tuple(rounds), messages, numbers=5 * messages // 2)


class _Cuts:
    """The master's rows over T, t and θ; one block of cuts a round."""

    def __init__(self, link: Link, low: Floats, high: Floats) -> None:
        count = len(link.column)
        self._link = link
        eye, no = sp.identity(count, format="csr"), sp.csr_array((count, count))
        self._below: list[sp.csr_array] = [sp.csr_array(sp.hstack([each, no])) for each in (eye, -eye)]
        self._bound = [high, -low]
        member = sp.csr_array((np.ones(count), (link.column, np.arange(count))), (link.buses, count))
        self._equal = Rows(
            sp.csr_array(sp.identity(link.buses)),
            sp.csr_array(sp.hstack([-member, sp.csr_array((link.buses, count))])),
            np.zeros(link.buses),
        )

    def add(self, response: Response, cost: Floats) -> None:
        """C + y·(t − p) ≤ θ."""
        eye = sp.identity(len(cost), format="csr")
        self._below.append(sp.csr_array(sp.hstack([sp.diags_array(response.price), -eye])))
        self._bound.append(response.price * response.power - cost)

    def extension(self) -> Extension:
        """The master of the cuts so far."""
        count, buses = len(self._link.column), self._link.buses
        bound = np.concatenate(self._bound)
        return Extension(
            injection_cost=np.zeros(buses),
            cost=np.concatenate([np.zeros(count), np.ones(count)]),
            equal=self._equal,
            below=Rows(sp.csr_array((len(bound), buses)), sp.csr_array(sp.vstack(self._below)), bound),
        )


BENDERS = Benders("benders")
