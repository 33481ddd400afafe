"""Gas of the contract on the embedded chain, as receipts have it, beside figures that others published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.chain.protocol import Receipt
from market.events import SlotSettled
from market.orders import OrderPlaced, OrdersFilled, Side
from node.bench.open_slot import OpenSlot
from node.bench.row import Row, WrongWork

ASK, BID = 120_000, 110_000
"""Hub prices that do not meet, µ€/kWh."""
STEP = 1_000
DEPTH = 10
QUANTITY_WH = 1_000
BATCH_ORDERS, BATCH_ACCOUNTS = 200, 60
BUYERS = 20

TRANSAX = ("TRANSAX, checks no signature", 77_000)
PROTOTYPE = ("an early prototype, fewer rules", 24_000)
AUCTION = ("an energy auction contract", 1_550_000)
# DEx.top, smart-contract/dextop-gas-cost.md: MatchOrders_BothNew, _ExistingAndNew (1x), HardCancelOrder
DEXTOP_PAIR = ("DEx.top, both orders new", 136_159)
DEXTOP_KNOWN = ("DEx.top, one order known before", 110_885)
DEXTOP_CANCEL = ("DEx.top, hard cancel", 37_813)
# github.com/clober-dex/benchmark: the least gas of the four exchanges there, and our goal
MAKERS: dict[int, tuple[tuple[str, float], float]] = {
    1: (("Kuru, in Clober's public benchmark", 143_738), 100_000),
    10: (("Clober, its public benchmark", 153_941), 160_000),
    100: (("Clober, its public benchmark", 153_941), 800_000),
}
"""Peer and goal by number of makers."""


BEFORE_THE_BOOK = (
    "35,000 are spent before the book is looked at: transaction, data, signature, account, slot,"
    " position, charge"
)
BEHIND_WHY = f"{BEFORE_THE_BOOK}; what an order must change of them, 8,700"
LEVEL_WHY = f"{BEFORE_THE_BOOK}; a level made takes 20,000"
FIRST_WHY = f"{LEVEL_WHY}, a position 17,100"
VERY_FIRST_WHY = f"{FIRST_WHY}, marks and summary of a side 39,100"
POSITION_WHY = "a position made takes 17,100"
CANCEL_WHY = "voids the entry and gives back reserve and marks at once: 17,000 that closing could take over"
BATCH_WHY = (
    "accounts and positions are met cold, since a batch is bounded so that it fits any block; then positions"
    " and levels that are made"
)
TRADE_WHY = "two orders 110,700, two readings 82,700 (kept until settlement), two settlements 61,900"
"""What stands in the way of the goals, by parts: `contracts/README.md`, Gas goals."""


def rows() -> Iterable[Row]:
    """Gas by what is done, each transaction whole: base cost, signature check, reserve, events."""
    market = OpenSlot.create(traders=max(MAKERS) + 1)
    for measure in (_rest, _cross, _cancel, _batch):
        yield from measure(market)
        market.reopen()
    for makers in MAKERS:
        yield from _sweep(market, makers)
        market.reopen()
    yield _whole_trades()


def _rest(market: OpenSlot) -> Iterator[Row]:
    """Among orders of others on both sides, one a price."""
    others = range(len(market.traders) - DEPTH, len(market.traders))
    market.place_batch(
        [
            market.order(
                trader, nonce, side, price + STEP * (level if side == Side.ASK else -level), QUANTITY_WH
            )
            for level, trader in enumerate(others)
            for nonce, (side, price) in enumerate(((Side.ASK, ASK), (Side.BID, BID)))
        ]
    )
    prices = ASK + STEP // 2, ASK + STEP + STEP // 2, ASK
    first, further, behind = (
        market.place(market.order(0, nonce, Side.ASK, price, QUANTITY_WH))
        for nonce, price in enumerate(prices)
    )
    yield _gas("rest: the account's first in the slot", first, 75_000, TRANSAX, FIRST_WHY)
    yield _gas("rest: a further order, new price", further, 55_000, TRANSAX, LEVEL_WHY)
    yield _gas("rest: a further order, behind another's", behind, 55_000, TRANSAX, BEHIND_WHY)


def _cross(market: OpenSlot) -> Iterator[Row]:
    maker, newcomer, active = range(3)
    rested, _ = (market.place(market.order(maker, nonce, Side.ASK, ASK, QUANTITY_WH)) for nonce in range(2))
    market.place(market.order(active, 0, Side.BID, BID, QUANTITY_WH))
    first = market.place(market.order(newcomer, 0, Side.BID, ASK, QUANTITY_WH))
    further = market.place(market.order(active, 1, Side.BID, ASK, QUANTITY_WH))
    for receipt in (first, further):
        _check_fills(market, [receipt], 1)
    yield _gas("rest: the slot's very first order", rested, 75_000, TRANSAX, VERY_FIRST_WHY)
    yield _gas("cross one: the account's first in the slot", first, 85_000, DEXTOP_KNOWN, POSITION_WHY)
    yield _gas("cross one: a further order", further, 85_000, DEXTOP_KNOWN)
    pair = rested.gas_used + first.gas_used
    yield Row("a pair: the slot's very first order, then crossed", pair, "gas", *DEXTOP_PAIR)


def _cancel(market: OpenSlot) -> Iterator[Row]:
    kept, cancelled = (
        market.order(0, nonce, Side.ASK, ASK + nonce * STEP, QUANTITY_WH) for nonce in range(2)
    )
    market.place_batch([kept, cancelled])
    yield _gas("cancel", market.cancel(cancelled), 32_000, DEXTOP_CANCEL, CANCEL_WHY)


def _batch(market: OpenSlot) -> Iterator[Row]:
    receipts = market.place_batch(market.mixed_flow(BATCH_ACCOUNTS, BATCH_ORDERS))
    placed = sum(isinstance(event, OrderPlaced) for event in market.events(*receipts))
    if placed != BATCH_ORDERS:
        raise WrongWork(f"{placed} of {BATCH_ORDERS} orders were placed")
    gas = sum(receipt.gas_used for receipt in receipts) / BATCH_ORDERS
    name = f"an order of {BATCH_ORDERS} in {len(receipts)} batches, {BATCH_ACCOUNTS} accounts"
    yield Row(name, gas, "gas", *PROTOTYPE, goal=26_000, why=BATCH_WHY)


def _sweep(market: OpenSlot, makers: int) -> Iterator[Row]:
    """One taker takes all that so many accounts offer at one price; closing then credits the makers."""
    taker, *others = range(makers + 1)
    market.place_batch([market.order(trader, 0, Side.ASK, ASK, QUANTITY_WH) for trader in others])
    receipt = market.place(market.order(taker, 0, Side.BID, ASK, makers * QUANTITY_WH))
    _check_fills(market, [receipt], makers)
    name = f"one taker against {makers} maker{'s' if makers > 1 else ''}, one price"
    peer, goal = MAKERS[makers]
    yield _gas(name, receipt, goal, peer)
    whole = receipt.gas_used + sum(closed.gas_used for closed in market.close_gate())
    yield Row(f"{name}, and the makers credited", whole, "gas", *peer)


def _whole_trades() -> Row:
    """As many sellers as buyers, each pair one trade: bids to settlement, prices and readings included."""
    market = OpenSlot.create(traders=2 * BUYERS)
    sellers, buyers = range(BUYERS), range(BUYERS, 2 * BUYERS)
    placed = market.place_batch(
        [market.order(trader, 0, Side.ASK, BID, QUANTITY_WH) for trader in sellers]
        + [market.order(trader, 0, Side.BID, BID, QUANTITY_WH) for trader in buyers]
    )
    settled = market.settle()
    if not any(isinstance(event, SlotSettled) for event in market.events(*settled)):
        raise WrongWork("the slot is not settled")
    _check_fills(market, placed, BUYERS)
    gas = sum(receipt.gas_used for receipt in placed + settled) / BUYERS
    return Row(
        f"a trade, bids to settlement, {BUYERS} × {BUYERS}", gas, "gas", *AUCTION, goal=120_000, why=TRADE_WHY
    )


def _check_fills(market: OpenSlot, receipts: Iterable[Receipt], fills: int) -> None:
    events = market.events(*receipts)
    found = sum(len(event.makers) for event in events if isinstance(event, OrdersFilled))
    if found != fills:
        raise WrongWork(f"{found} fills, {fills} were meant")


def _gas(name: str, receipt: Receipt, goal: float, peer: tuple[str, float], why: str | None = None) -> Row:
    return Row(name, receipt.gas_used, "gas", *peer, goal=goal, why=why)
