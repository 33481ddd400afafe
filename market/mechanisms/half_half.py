"""Trades first, prices after: each side of a trade pays half of the difference between its ends' prices.

J. Kim, Y. Dvorkin, "A P2P-dominant Distribution System Architecture", IEEE Transactions on Power Systems
35(4), 2020 (arXiv 1902.03940): peers agree on trades knowing what the network would charge them, the utility
runs its network with these trades as they are, and the prices by bus that come of it are the charges of the
next round. The functions here are a reconstruction. Of a trade from i to j each side pays (λ_j − λ_i)/2;
where the other side is the utility at the substation, a peer pays its own half, (λ_b − λ_0)/2, and the
utility bears the other.

With charges ν_b = λ_b − λ_0 a pool price μ at the substation makes all bilateral trades equally good: the
two halves of a trade add up to ν_j − ν_i, so that a peer at b trades with peers at μ + ν_b, and with the
utility at π_imp + ν_b/2 or π_exp + ν_b/2. It takes what is better, so its price is

    clip(μ + ν_b, π_exp + ν_b/2, π_imp + ν_b/2).

μ balances what peers trade among themselves; where at a limit of the clip a peer trades with both, the
utility takes the rest. The utility is a peer too, at the substation: it needs what passive load takes.

Powers are per unit, consumption positive; prices €/MWh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from market.units import Floats

BISECTIONS = 60
"""The pool's price is then as exact as a float."""


@dataclass(frozen=True, eq=False)
class Traded:
    """What one round of trading comes to: the pool's price, and by peer its price and net power."""

    pool_price: float
    price: Floats
    net: Floats


@dataclass(frozen=True, eq=False)
class Outer:
    """The loop: charges and trades of each round, and whether charges and prices met in the end."""

    charges: tuple[Floats, ...]
    trades: tuple[Traded, ...]
    settled: bool

    @property
    def rounds(self) -> int:
        """How often peers traded."""
        return len(self.trades)


def trade(
    demand: Callable[[Floats], Floats],
    charge: Floats,
    hub_import: float,
    hub_export: float,
    utility_need: float,
) -> Traded:
    """The trades of peers whose net demand at their prices is `demand`, at charges ν by peer.

    `utility_need` is what the utility buys of peers, wherever that is cheaper than upstream.
    """
    low, high = hub_export + charge / 2, hub_import + charge / 2

    def pool_demand(price: float) -> float:
        at = np.clip(price + charge, low, high)
        net = demand(at)
        # Who would rather buy of the utility, or sell to it, is not in the pool.
        inside = np.where(net > 0, price + charge <= high, price + charge >= low)
        return float(net[inside].sum()) + utility_need

    bottom, top = hub_export, hub_import
    for _ in range(BISECTIONS):
        middle = (bottom + top) / 2
        bottom, top = (middle, top) if pool_demand(middle) > 0 else (bottom, middle)
    price = (bottom + top) / 2
    at = np.clip(price + charge, low, high)
    return Traded(price, at, demand(at))


def outer_loop(
    trading: Callable[[Floats], Traded],
    pricing: Callable[[Traded], Floats],
    start: Floats,
    tolerance: float,
    rounds_max: int,
) -> Outer:
    """Trade at charges, price what was traded, charge that; until charges move by no more than `tolerance`.

    `pricing` gives the charges by peer that a round's trades lead to. Not settled after `rounds_max`
    rounds, it ends where it is.
    """
    charge, charges, trades = start, [], []
    for _ in range(rounds_max):
        traded = trading(charge)
        charges.append(charge)
        trades.append(traded)
        after = pricing(traded)
        if float(np.abs(after - charge).max()) <= tolerance:
            return Outer(tuple(charges), tuple(trades), settled=True)
        charge = after
    return Outer(tuple(charges), tuple(trades), settled=False)
