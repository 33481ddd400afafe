"""One slot of a scenario, cleared: its prices bus by bus, on paper, and on three phases."""

from __future__ import annotations

from node.price.clearing import (
    METHODS,
    BusPrice,
    Cleared,
    MethodError,
    PriceTable,
    SlotError,
    clear,
    price,
)

__all__ = ["METHODS", "BusPrice", "Cleared", "MethodError", "PriceTable", "SlotError", "clear", "price"]
