"""Random calls of one open slot, many a block: a session of any length, from deployment to settlement."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ledger import calls, sending
from ledger.eip712 import digest
from ledger.keys import derive
from ledger.transactions import Transaction, sign_transaction
from market.messages import CancelRequest
from market.orders import Flag, Order, Side
from node.bench.open_slot import SLOT, OpenSlot

TRADERS, PER_BLOCK = 60, 20


def session(rounds: int) -> OpenSlot:
    """A market after so many blocks of calls, and its settlement."""
    market = OpenSlot.create(TRADERS)
    flow = Flow(market)
    for _ in range(rounds):
        for _ in range(PER_BLOCK):
            flow.act()
        market.chain.mine()
    market.settle()
    exchange, relayer = market.exchange, market.relayer
    everybody = [trader.address for trader in market.traders]
    exchange.settle_all(SLOT, everybody, sender=relayer)  # none is left
    exchange.resettle(SLOT, everybody[:10], sender=relayer)  # nor was one estimated
    exchange.close_gate(SLOT, 10, sender=relayer)  # reverts
    market.chain.mine()
    return market


class Flow:
    """Random calls on an open slot, drawn so that each kind succeeds often and fails at times."""

    def __init__(self, market: OpenSlot) -> None:
        self.market = market
        self.rng = np.random.default_rng(7)
        self.orders: list[Order] = []
        self.nonces = Counter[int]()

    def order(self) -> Order:
        """A good order mostly; else one that is dust, off the range, expired, replayed, or too large."""
        rng, market = self.rng, self.market
        trader = int(rng.integers(TRADERS))
        side = Side(int(rng.integers(2)))
        price = 115_000 + 500 * int(rng.integers(-12, 13))
        order = market.order(trader, self.nonces[trader] % 256, side, price, 100 * int(rng.integers(1, 30)))
        self.nonces[trader] += 1
        match int(rng.integers(24)):
            case 0:
                return replace(order, quantity_wh=order.quantity_wh + 1)
            case 1:
                return replace(order, limit_ueur_per_kwh=5_000_000)
            case 2:
                return replace(order, expiry=1)
            case 3:
                return replace(order, quantity_wh=40_000_000)
            case 4:
                return replace(order, energy_class=1)
            case 5 if self.orders:
                return self.orders[int(rng.integers(len(self.orders)))]
            case 6:
                return replace(order, flags=Flag.IMMEDIATE_OR_CANCEL)
            case _:
                return order

    def act(self) -> None:
        """Send one transaction, or several that belong together."""
        market, exchange = self.market, self.market.exchange
        match int(self.rng.integers(12)):
            case 0:
                signed = [market.sign(self.kept()) for _ in range(8)]
                exchange.place_orders(signed, sender=market.relayer)
            case 1 | 2 if self.orders:
                self.cancel()
            case 3:
                exchange.deposit(
                    self.somebody().address, int(self.rng.integers(10**9)), sender=market.relayer
                )
            case 4:
                exchange.withdraw(int(self.rng.integers(10**9)), sender=market.relayer)
            case 5:
                self.run_out_of_gas()
            case 6:
                order = self.kept()
                forged = market.sign(replace(order, quantity_wh=order.quantity_wh + 100)).signature
                exchange.place_order(order, forged, sender=market.relayer)
            case _:
                order = self.kept()
                exchange.place_order(order, market.sign(order).signature, sender=market.relayer)

    def kept(self) -> Order:
        self.orders.append(self.order())
        return self.orders[-1]

    def somebody(self) -> Any:
        """A trader, or one who is not registered."""
        who = int(self.rng.integers(TRADERS + 6))
        return self.market.traders[who] if who < TRADERS else derive(1, "stranger", who)

    def cancel(self) -> None:
        """Where the order rests, or rested, or never did; mostly signed by its trader."""
        market, exchange = self.market, self.market.exchange
        order = self.orders[int(self.rng.integers(len(self.orders)))]
        request = CancelRequest(order.trader, order.slot, order.nonce)
        owner = next(key for key in market.traders if key.address == order.trader)
        key = owner if self.rng.random() < 0.9 else market.relayer
        exchange.cancel_order(request, key.sign(digest(exchange.domain, request)), sender=market.relayer)

    def run_out_of_gas(self) -> None:
        """Enough to begin with, and not to end."""
        market, chain, order = self.market, self.market.chain, self.kept()
        call = calls.PlaceOrder(order, market.sign(order).signature)
        transaction = Transaction(
            chain_id=chain.chain_id,
            nonce=chain.nonce(market.relayer.address),
            to=market.exchange.address,
            data=calls.encode(call),
            gas=int(self.rng.integers(30_000, 60_000)),
            max_fee_per_gas=10**13,
            max_priority_fee_per_gas=sending.PRIORITY_FEE_WEI,
        )
        chain.send(sign_transaction(market.relayer, transaction))
