"""Random orders for the auctions outside the chain, and what these make of them; quick to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

import numpy as np

from market.mechanisms.matching import Orders, called, matched
from node.scenario.streams import stream

SEED = 1
CONTINUOUS, CALL = "continuous auction", "call auction of full volume"


def drawn(count: int, accounts: int) -> Orders:
    """Sides and ticks drawn evenly, as for `book`, of so many accounts in turn."""
    rng = stream(SEED, "bench", "book")
    sides = rng.integers(2, size=count)
    ticks = rng.integers(700, 1_601, size=count)
    return Orders.plain(np.arange(count) % accounts, sides, ticks, 100 * rng.integers(1, 101, size=count))


def _continuous(orders: Orders) -> bytes:
    return matched(orders).fills.tobytes()


def _called(orders: Orders) -> bytes:
    return called(orders).traded_wh.tobytes()


AUCTIONS: Mapping[str, Callable[[Orders], bytes]] = {
    CONTINUOUS: _continuous,
    CALL: _called,
}


def traded_wh(name: str, orders: Orders) -> int:
    """The energy that changes hands in an auction."""
    if name == CALL:
        return int(called(orders).traded_wh.sum()) // 2
    return int(matched(orders).fills[:, 2].sum())


def digest(name: str, count: int, accounts: int) -> str:
    """The hash of what an auction makes of so many drawn orders."""
    return sha256(AUCTIONS[name](drawn(count, accounts))).hexdigest()
