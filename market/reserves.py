"""What a prosumer's order reserves: the most that one Wh of it can cost under any reading.

The price fallback is left out: where no quorum posts prices, a `dlmp` market settles by the tariff, which
can cost more than was reserved; credit limits and backing stand behind that.
"""

from __future__ import annotations

from market.orders import Side
from market.slots import Rule, Tariff


def reserve_per_wh(  # noqa: PLR0917 - what a price depends on
    rule: Rule, side: Side, hub_price: int, charge: int, tariff: Tariff, penalty: int
) -> int:
    """Reserve of one Wh at hub price π for an account at charge ν, n€/Wh (= µ€/kWh), never negative.

    Leaving apart what flows beyond the contract, which has its own price, a contracted Wh is either
    delivered or not, so the two ends bound every reading:

    - delivered, it costs π + ν (an ask: −(π + ν)), and at least π (−π): a charge that the utility owes does
      not lower it, so that what goes into the slot's clearing is covered whatever the utility owes;
    - not delivered, under `dlmp` it closes out at λ_0 ∈ [π_exp, π_imp]: a bid loses at most π − π_exp, an
      ask π_imp − π;
    - not delivered, under `tariff` a bid pays π, the charge where it is a cost, and gets λ⁻; an ask gets π,
      pays the charge where it is a cost, and λ⁺.

    An ask pays its class's `penalty` besides, 0 for plain energy: a reading may certify nothing, and an
    estimate never does.
    """
    if side == Side.BID:
        delivered = hub_price + max(charge, 0)
        if rule == Rule.DLMP:
            undelivered = hub_price - tariff.hub_export
        else:
            undelivered = delivered - tariff.surplus_price(charge)
    else:
        delivered = max(-charge, 0) - hub_price
        if rule == Rule.DLMP:
            undelivered = tariff.hub_import - hub_price
        else:
            undelivered = delivered + tariff.shortfall_price(charge)
        return max(0, max(delivered, undelivered) + penalty)
    return max(0, delivered, undelivered)
