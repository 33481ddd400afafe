"""What tests of the whole twin share: one tariff, one trade, a slot led to its readings."""

from __future__ import annotations

import pytest

from ledger import vectors
from market.accounts import Refused
from market.messages import Reading
from market.orders import Order, Side
from tests.market.twin_cases import (
    CERTIFICATE_HASH,
    INPUT_HASH,
    ORACLES,
    PRICES,
    SLOT,
    TRADERS,
    UTILITY,
    Market,
    terms,
    trader,
)


def order(index: int, nonce: int, side: Side, limit: int, quantity: int = 100) -> Order:
    return Order(trader(index), SLOT, nonce, side, 0, limit, quantity)


def traded(market: Market) -> Market:
    """Trader 0 bought 100 Wh of trader 2 at hub price 100 000."""
    market.place(order(2, 0, Side.ASK, 100_000), order(0, 0, Side.BID, 101_000))
    return market


def metered(market: Market, *nets: int) -> Market:
    """Closed, priced, and read: net energies of the first traders, 0 for the others."""
    market.close()
    market.post_prices(PRICES)
    for index in range(TRADERS):
        market.read(index, nets[index] if index < len(nets) else 0)
    return market


def everybody() -> list[str]:
    return [UTILITY, *(trader(index) for index in range(TRADERS))]


def refused(rule: str):
    """The contract's revert string, and nothing else of it."""
    return pytest.raises(Refused, match=rf"^{rule}( \(|$)")


def late(market: Market, second: int) -> Market:
    market.now = second
    return market


WORDS = vectors.pack(PRICES)
HASHES = vectors.chunk_hashes(PRICES)
GOOD_READING = Reading(trader(0), SLOT, 10, (0, 0), 1)
START = terms().opens(SLOT)
END = terms().end(SLOT)


def quorum(*indices: int):
    return [(index, ORACLES[index]) for index in indices]


def post_charges(m: Market, slot: int = SLOT + 1, hashes=HASHES, signed=None):
    signed = quorum(0, 1, 2) if signed is None else signed
    return m.exchange.post_charges(m.by(), slot, hashes, INPUT_HASH, CERTIFICATE_HASH, signed)


def post_prices(m: Market, hub: int = PRICES[0], hashes=HASHES, signed=None, slot: int = SLOT):
    signed = quorum(0, 1, 2) if signed is None else signed
    return m.exchange.post_prices(m.by(), slot, hub, 0, hashes, INPUT_HASH, CERTIFICATE_HASH, signed)
