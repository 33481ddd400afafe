"""Price levels as queues: bids of one tick, who takes them, what is left of them."""

from __future__ import annotations

from ledger.keys import Key
from ledger.state import RestingOrder
from market.orders import Berth, Flag, Side
from tests.exchange.conftest import Market

# At the buyer's bus the charge is 1 000, at the other's 2 050, at the seller's -3 000: the same hub
# tick 1 000 is a limit of 101 000, 102 050, 97 000. A level has two entries in its own word, and three in
# each word that follows: places 2, 5, 8, … begin a word.

TICK = 1_000
LIMIT = {"buyer": 101_000, "other": 102_050, "seller": 97_000}


def queue(market: Market, quantities: list[int]) -> list[tuple[Key, int]]:
    """Bids at one tick by the buyer and the other in turn; their keys and nonces by place."""
    berths = []
    for place, quantity in enumerate(quantities):
        key, limit = (market.buyer, LIMIT["buyer"]) if place % 2 == 0 else (market.other, LIMIT["other"])
        order = market.bid(key, limit, quantity)
        assert market.place(key, order) == []
        berths.append((key, order.nonce))
    return berths


def sell(market: Market, quantity: int, **more) -> list:
    """The seller takes bids at the tick; fills as keys and Wh, then everything that is no fill."""
    more = {"flags": Flag.IMMEDIATE_OR_CANCEL} | more
    return market.place(market.seller, market.ask(market.seller, LIMIT["seller"], quantity, **more))


def taken(market: Market, events) -> list[tuple[str, int, int]]:
    return [(maker, nonce, quantity) for maker, nonce, _, quantity in market.fills(events)]


def resting(market: Market, berths: list[tuple[Key, int]]) -> list[int]:
    """Wh at rest by place, as `orderOf` tells them; the berths are checked on the way."""
    found = []
    for place, (key, nonce) in enumerate(berths):
        order = market.exchange.order_of(market.slot, key.address, nonce)
        if order.quantity:
            assert order.berth == Berth(0, Side.BID, TICK, place)
        else:
            assert order == RestingOrder(Berth(), 0)
        found.append(order.quantity)
    assert market.exchange.level_of(market.slot, 0, Side.BID, TICK) == sum(found)
    return found
