"""From a cleared period to the integers that are posted: λ_b, λ_0 and the forecast import."""

from __future__ import annotations

from typing import Protocol

from market.feeder.model import Feeder
from market.pricing.conditions import Duals, Primal, SlotPrices
from market.slots import Tariff
from market.units import quantise_energy, quantise_price


class HubRuleBroken(ValueError):  # noqa: N818 - named by the rule
    """The integer hub price is outside [π_exp, π_imp], so the contract would refuse it."""


class Priced(Protocol):
    """What has a schedule and its prices: a Solution, or a certificate that was read."""

    @property
    def primal(self) -> Primal:
        """The schedule."""

    @property
    def duals(self) -> Duals:
        """Its prices."""


def quantise(priced: Priced, feeder: Feeder, period: int = 0, *, hours: float) -> SlotPrices:
    """Round one period's λ_b and import half-even to µ€/kWh and Wh; charges ν_b follow as int λ_b − int λ_0.

    Raises ValueError on a price that is not finite or does not fit the contract's 32 bits.
    """
    imported = quantise_energy(priced.primal.net_import[period], feeder.base_mw, hours)
    return SlotPrices(
        bus_price=tuple(int(price) for price in quantise_price(priced.duals.price[period])),
        forecast_import_wh=int(imported),
    )


def check_hub_rule(prices: SlotPrices, tariff: Tariff) -> None:
    """Refuse integer prices whose λ_0 breaks the hub rule. Raises HubRuleBroken.

    At the end that the import's sign selects, in between when the feeder balances itself; an import
    of less than half a watt-hour is none.
    """
    low = tariff.hub_import if prices.forecast_import_wh > 0 else tariff.hub_export
    high = tariff.hub_export if prices.forecast_import_wh < 0 else tariff.hub_import
    if not low <= prices.hub_price <= high:
        raise HubRuleBroken(
            f"hub price {prices.hub_price} µ€/kWh with an import of {prices.forecast_import_wh} Wh"
            f" must be from {low} to {high} µ€/kWh"
        )
