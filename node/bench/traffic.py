"""A busy market: a thousand orders that rest, then orders that are filled at once, as long as anybody asks.

A testnet gets them over JSON-RPC, as from any client. Its accounts place them in turn; what all have bought
they sell again, so that nobody's capacity is used up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from ledger.calls import SignedOrder
from ledger.chain.rpc import RpcChain
from ledger.exchange import Exchange
from ledger.keys import Key
from market.events import Event
from market.orders import Flag, Order, OrderRejected, Side
from market.units import TICK_UEUR_PER_KWH
from node.bench.row import WrongWork
from node.client.http import Client

RESTING_UEUR_PER_KWH = 20_000
"""How far from the utility's quotes the nearest of those rests that nobody meets."""
CROSSING_UEUR_PER_KWH = 10_000
"""How far beyond them those go that meet the utility alone."""
ROUND_UEUR_PER_KWH = 300
"""How much farther each account's next order rests."""


class Traffic:
    """Orders of a testnet's accounts in the slot that is open longest; `document` tells its clients where."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        client = Client(document["api_url"])
        self.slot = max(each["slot"] for each in client.items("slots", state="open"))
        book, prices = (client.resource(f"slots/{self.slot}/{what}") for what in ("book", "prices"))
        self._quote_ueur_per_kwh = book["asks"][0]["price_ueur_per_kwh"]
        charges = [each["charge_ueur_per_kwh"] for each in prices["buses"]]
        self._exchange = Exchange(RpcChain(document["rpc_url"]), document["exchange"])
        self._lot_wh = document["terms"]["lot_wh"]
        accounts = document["accounts"]
        self._keys = [Key(bytes.fromhex(each["private_key"][2:])) for each in accounts]
        self._charge_ueur_per_kwh = [charges[each["bus"]] for each in accounts]
        self._nonces = [count() for _ in accounts]
        self._filled = self._orders_that_are_filled()

    def rest(self, orders: int) -> None:
        """Let so many rest on both sides, on many levels. Raises WrongWork."""
        resting = []
        for number in range(orders):
            turn, account = divmod(number, len(self._keys))
            away = RESTING_UEUR_PER_KWH + TICK_UEUR_PER_KWH * account + ROUND_UEUR_PER_KWH * turn
            side = Side(turn % 2)
            resting.append(self._signed(account, side, -away if side == Side.BID else away, Flag.NONE))
        self._place(resting)

    def step(self, orders: int) -> tuple[int, int]:
        """Place the next orders that are filled at once; their block, and its events. Raises WrongWork."""
        block, told = self._place([next(self._filled) for _ in range(orders)])
        return block, len(told)

    def _orders_that_are_filled(self) -> Iterator[SignedOrder]:
        while True:
            for side, away in ((Side.BID, CROSSING_UEUR_PER_KWH), (Side.ASK, -CROSSING_UEUR_PER_KWH)):
                for account in range(len(self._keys)):
                    yield self._signed(account, side, away, Flag.IMMEDIATE_OR_CANCEL)

    def _signed(self, account: int, side: Side, away_ueur_per_kwh: int, flags: Flag) -> SignedOrder:
        """One lot, at a distance from the utility's quote at the hub."""
        limit = self._quote_ueur_per_kwh + away_ueur_per_kwh + self._charge_ueur_per_kwh[account]
        key, nonce = self._keys[account], next(self._nonces[account])
        order = Order(key.address, self.slot, nonce, side, 0, limit, self._lot_wh, flags)
        return SignedOrder.by(key, self._exchange.domain, order)

    def _place(self, orders: Sequence[SignedOrder]) -> tuple[int, Sequence[Event]]:
        """The last block, and the events; the first account relays."""
        sent = self._exchange.place_orders(orders, sender=self._keys[0])
        told = [event for each in sent for event in self._exchange.confirm(each)]
        for event in told:
            if isinstance(event, OrderRejected):
                raise WrongWork(f"an order was refused with code {event.code}")
        return self._exchange.chain.receipt(sent[-1]).block_number, told
