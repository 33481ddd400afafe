"""Two ways to share a slot without a book: every meter on FiT/retail, and the mid-market rate.

Net energies are Wh per peer, consumption positive; prices µ€/kWh; bills n€, positive when the peer pays.
One µ€/kWh times one Wh is one n€, so prices and bills are exact fractions where a rate is averaged.

Mid-market rate: W. Tushar et al., "Peer-to-Peer Trading in Electricity Networks: An Overview", IEEE
Transactions on Smart Grid 11(4):3185–3200, 2020, after C. Long et al., IEEE PES General Meeting, 2017.
With demand D, supply Q and mid = (retail + fit)/2, the peers' exchange is at mid, and what is left over
with the grid is shared by the long side alone:

    Q ≥ D: buyers pay mid; sellers get (D·mid + (Q − D)·fit)/Q
    D > Q: sellers get mid; buyers pay (Q·mid + (D − Q)·retail)/D
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Exact = Fraction | int


class TariffError(ValueError):
    """Retail is below the feed-in tariff, so buying to sell would pay."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a watt-hour costs a buyer and brings a seller, µ€/kWh."""

    buy: Fraction
    sell: Fraction

    def bill(self, net_wh: Exact) -> Fraction:
        """What a peer pays for its net energy, n€."""
        return net_wh * (self.buy if net_wh > 0 else self.sell)


def retail_bill(net_wh: int, retail: int, fit: int) -> int:
    """FiT/retail: retail·net⁺ − fit·net⁻, n€. Raises TariffError."""
    _require_ordered(retail, fit)
    return retail * max(net_wh, 0) - fit * max(-net_wh, 0)


def mid_market_rates(net_wh: Sequence[Exact], retail: Exact, fit: Exact) -> Rates:
    """The mid-market rates of a slot from everybody's net energy. Raises TariffError."""
    _require_ordered(retail, fit)
    demand = sum((net for net in net_wh if net > 0), Fraction(0))
    supply = -sum((net for net in net_wh if net < 0), Fraction(0))
    mid = Fraction(retail + fit, 2)
    if supply >= demand:
        shared = (demand * mid + (supply - demand) * fit) / supply if supply else mid
        return Rates(buy=mid, sell=shared)
    return Rates(buy=(supply * mid + (demand - supply) * retail) / demand, sell=mid)


def mid_market_bills(net_wh: Sequence[Exact], retail: Exact, fit: Exact) -> tuple[Fraction, ...]:
    """Every peer's bill at the mid-market rate, n€, in their order. Raises TariffError.

    They sum to the FiT/retail bill of the community as one meter.
    """
    rates = mid_market_rates(net_wh, retail, fit)
    return tuple(rates.bill(net) for net in net_wh)


def _require_ordered(retail: Exact, fit: Exact) -> None:
    if retail < fit:
        raise TariffError(f"retail {retail} is below fit {fit}")
