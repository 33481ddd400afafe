"""The continuous auction and the call auction over arrays of orders, for studies of hundreds of thousands.

`matched` is the book's matching (`market.book`) and nothing else: price-time priority, partial fills at the
maker's price, void of expired and own orders that are met, at most 128 visits, immediate-or-cancel. Orders
are taken as admitted: accounts, reserves, capacities, cancels and gates are the book's business. One suite
holds both to the rules. `called` clears all orders at once, at one price: the most energy that bids and asks
allow, best prices first and at equal ones the first to come.

Both are deterministic: whole numbers, and ties by arrival. Ticks are those of the book, energies Wh; arrays
have one entry an order, in the order of arrival.

OrdersError   orders that cannot be: arrays of several lengths or of other than whole numbers, or a number
              that the book has no place for
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from heapq import heappop, heappush

import numpy as np

from market.book import VISITS_MAX
from market.levels import PLACES_MAX
from market.orders import UINT32, Side, VoidReason
from market.units import TICK_MAX, Ints, hub_price

ON_THE_BOOK = 0
"""Stands for no reason: nothing of the order was voided."""


class OrdersError(ValueError):
    """Orders that cannot be matched; the message names the first at fault."""


FOREVER = 2**63 - 1
RANGES = (
    ("trader", -FOREVER - 1, FOREVER),
    ("side", Side.BID, Side.ASK),
    ("tick", -TICK_MAX, TICK_MAX),
    ("quantity_wh", 1, UINT32),
    ("time", 0, FOREVER),
    ("expiry", 0, FOREVER),
    ("immediate", 0, 1),
)
"""What an order of the book can hold, from and to; sums of such quantities fit 64 bits."""


@dataclass(frozen=True, eq=False)
class Orders:
    """Orders of one slot and class as they come, at a `time` that does not fall.

    `expiry` is a Unix second, 0 for none; `immediate` marks immediate-or-cancel. Whole numbers of any kind
    are taken, and held as 64 bits. Raises OrdersError.
    """

    trader: Ints
    side: Ints
    tick: Ints
    quantity_wh: Ints
    time: Ints
    expiry: Ints
    immediate: Ints

    def __post_init__(self) -> None:
        for each in fields(self):
            column = getattr(self, each.name)
            if column.dtype.kind not in "iu":
                raise OrdersError(f"{each.name}: numbers are {column.dtype}, not whole")
            if column.shape != (len(self.trader),):
                raise OrdersError(
                    f"{each.name}: {column.shape}, not one number for each of {len(self.trader)}"
                )
        for name, low, high in RANGES:
            column = getattr(self, name)
            for place in np.flatnonzero((column < low) | (column > high))[:1]:
                raise OrdersError(f"order {place}: {name} {column[place]}, not from {low:d} to {high:d}")
        # Narrow and unsigned numbers would wrap where orders are compared and summed.
        for each in fields(self):
            object.__setattr__(self, each.name, getattr(self, each.name).astype(np.int64, copy=False))
        for place in np.flatnonzero(np.diff(self.time) < 0)[:1] + 1:
            raise OrdersError(f"order {place}: time {self.time[place]}, before that of the order before it")

    @classmethod
    def plain(cls, trader: Ints, side: Ints, tick: Ints, quantity_wh: Ints) -> Orders:
        """Orders that never expire and may rest."""
        none = np.zeros(len(trader), dtype=np.int64)
        return cls(trader, side, tick, quantity_wh, none, none, none)

    @property
    def count(self) -> int:
        """Number of orders."""
        return len(self.trader)


@dataclass(frozen=True, eq=False)
class Matched:
    """Fills in the order in which they came about; by order what rests in the end, and why the rest is void.

    `fills` is fills × 4: places of taker and maker, Wh, and the tick, which is the maker's. `reason` is a
    `VoidReason`, 0 where nothing was voided.
    """

    fills: Ints
    resting_wh: Ints
    reason: Ints


def matched(orders: Orders) -> Matched:
    """Take orders one after the other, each meeting the best of the other side first."""
    traders, sides, ticks = orders.trader.tolist(), orders.side.tolist(), orders.tick.tolist()
    times, expiries, immediate = orders.time.tolist(), orders.expiry.tolist(), orders.immediate.tolist()
    open_wh = orders.quantity_wh.tolist()
    reason = [ON_THE_BOOK] * orders.count
    fills: list[int] = []
    # By side: queues and heads by rank, the lower the better for a taker, and a heap of those to be met.
    queues: tuple[dict[int, list[int]], ...] = ({}, {})
    heads: tuple[dict[int, int], ...] = ({}, {})
    waiting: tuple[list[int], ...] = ([], [])
    for taker, (side, tick, now) in enumerate(zip(sides, ticks, times, strict=True)):
        left, open_wh[taker], visits = open_wh[taker], 0, 0
        other = 1 - side
        ranks, worst = waiting[other], tick if side == Side.BID else -tick
        while left and ranks and ranks[0] <= worst and visits < VISITS_MAX:
            rank = ranks[0]
            queue, head = queues[other][rank], heads[other][rank]
            at = rank if side == Side.BID else -rank
            while left and head < len(queue) and visits < VISITS_MAX:
                visits += 1
                maker = queue[head]
                rests = open_wh[maker]
                if 0 < expiries[maker] <= now:
                    reason[maker], open_wh[maker] = VoidReason.EXPIRED, 0
                elif traders[maker] == traders[taker]:
                    reason[maker], open_wh[maker] = VoidReason.OWN_ORDER, 0
                else:
                    quantity = rests if rests < left else left
                    left -= quantity
                    open_wh[maker] = rests - quantity
                    fills += (taker, maker, quantity, at)
                head += not open_wh[maker]
            heads[other][rank] = head
            if head == len(queue):
                heappop(ranks)
        if not left:
            continue
        rank = -tick if side == Side.BID else tick
        queue = queues[side].setdefault(rank, [])
        if visits == VISITS_MAX:
            reason[taker] = VoidReason.VISITS
        elif immediate[taker]:
            reason[taker] = VoidReason.IMMEDIATE_OR_CANCEL
        elif len(queue) == PLACES_MAX:
            reason[taker] = VoidReason.LEVEL_FULL
        else:
            if heads[side].setdefault(rank, 0) == len(queue):
                heappush(waiting[side], rank)
            queue.append(taker)
            open_wh[taker] = left
    return Matched(
        fills=np.array(fills, dtype=np.int64).reshape(-1, 4),
        resting_wh=np.array(open_wh, dtype=np.int64),
        reason=np.array(reason, dtype=np.int64),
    )


@dataclass(frozen=True, eq=False)
class Called:
    """A call auction: Wh of each order that trade, and the one price, µ€/kWh; None where nothing trades."""

    traded_wh: Ints
    price_ueur_per_kwh: int | None

    @property
    def volume_wh(self) -> int:
        """Energy that changes hands."""
        return int(self.traded_wh.sum()) // 2


def called(orders: Orders) -> Called:
    """Clear all orders at once; expiry, immediacy and who trades have no meaning here.

    A trader may meet itself: at one price, that is neither energy nor money.

    The price is the middle of those at which the winners would trade and no other would: between the last
    bid and the last ask that trade, and beyond what a next one offers where the last is filled whole.
    """
    bids, asks = (np.flatnonzero(orders.side == side) for side in (Side.BID, Side.ASK))
    bids = bids[np.argsort(-orders.tick[bids], kind="stable")]
    asks = asks[np.argsort(orders.tick[asks], kind="stable")]
    demand, supply = (np.cumsum(orders.quantity_wh[side]) for side in (bids, asks))
    willing = np.searchsorted(orders.tick[asks], orders.tick[bids], side="right")
    offered = np.concatenate([[0], supply])[willing]
    volume = int(np.minimum(demand, offered).max(initial=0))
    traded = np.zeros(orders.count, dtype=np.int64)
    if not volume:
        return Called(traded, None)
    for side, running in ((bids, demand), (asks, supply)):
        quantity = orders.quantity_wh[side]
        traded[side] = np.clip(volume - (running - quantity), 0, quantity)
    last_bid, last_ask = (int(np.searchsorted(running, volume)) for running in (demand, supply))
    low, high = int(orders.tick[asks[last_ask]]), int(orders.tick[bids[last_bid]])
    if demand[last_bid] == volume and last_bid + 1 < len(bids):
        low = max(low, int(orders.tick[bids[last_bid + 1]]))
    if supply[last_ask] == volume and last_ask + 1 < len(asks):
        high = min(high, int(orders.tick[asks[last_ask + 1]]))
    return Called(traded, (hub_price(low) + hub_price(high)) // 2)
