"""The utility's own orders: its two hub quotes, and its bid for the load that does not trade.

It is at the substation, where ν = 0, so its limits are hub prices.
"""

from __future__ import annotations

from market.orders import Address, Order, Side
from market.slots import Tariff
from market.units import TICK_UEUR_PER_KWH, WH_PER_MWH

WITHOUT_LIMIT_WH = 2**31 - 1
"""Half of what the utility may have on one side of a slot: room for its quote and for its bid beside it."""
PLAIN = 0
"""The energy class of everything the utility trades."""
EXPORT_NONCE, IMPORT_NONCE, PASSIVE_NONCE = range(3)


def hub_quotes(
    utility: Address, slot: int, tariff: Tariff, *, lot_wh: int, bought_wh: int
) -> tuple[Order, ...]:
    """Bid at π_exp and ask at π_imp, rounded to ticks in favour of those it trades with.

    The ask is without limit. The bid is for `bought_wh`, all that prosumers can give: the utility's backing
    has to cover it, so it is no larger than it needs to be.

    A trader whose limit is exactly the utility's price at its bus so always reaches the quote. The bid
    stays a tick below the ask: an order that meets its owner's is voided.
    """
    ask = _floor(tariff.hub_import)
    bid = min(_ceil(tariff.hub_export), ask - TICK_UEUR_PER_KWH)
    quotes = (
        Order(
            utility,
            slot,
            EXPORT_NONCE,
            Side.BID,
            PLAIN,
            bid,
            min(bought_wh, WITHOUT_LIMIT_WH) // lot_wh * lot_wh,
        ),
        Order(utility, slot, IMPORT_NONCE, Side.ASK, PLAIN, ask, WITHOUT_LIMIT_WH // lot_wh * lot_wh),
    )
    return tuple(quote for quote in quotes if quote.quantity_wh)


def passive_bid(
    utility: Address, slot: int, tariff: Tariff, hub_price: int, energy_mwh: float, *, lot_wh: int
) -> tuple[Order, ...]:
    """Bid at the forecast λ_0 for the forecast passive load and losses, in whole lots; nothing for none.

    A tick below its own ask at most: at π_imp the two would meet, and the book would void the ask.
    Raises ValueError for an energy that is negative or beyond that.
    """
    quantity = round(energy_mwh * WH_PER_MWH / lot_wh) * lot_wh
    if not 0 <= quantity <= WITHOUT_LIMIT_WH:
        raise ValueError(f"passive load of {energy_mwh} MWh is not between 0 and {WITHOUT_LIMIT_WH} Wh")
    limit = min(_floor(hub_price), _floor(tariff.hub_import) - TICK_UEUR_PER_KWH)
    return (Order(utility, slot, PASSIVE_NONCE, Side.BID, PLAIN, limit, quantity),) if quantity else ()


def _floor(price: int) -> int:
    return price // TICK_UEUR_PER_KWH * TICK_UEUR_PER_KWH


def _ceil(price: int) -> int:
    return -(-price // TICK_UEUR_PER_KWH) * TICK_UEUR_PER_KWH
