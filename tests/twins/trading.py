"""Random orders and cancels, good and bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from ledger import calls
from ledger.keys import Key
from market.events import Event
from market.messages import CancelRequest
from market.orders import Flag, Order, Side
from tests.twins.life import STRANGER, Life, often, price_shifts, seldom
from tests.twins.pair import Signer

LEVELS = 6
"""Limits lie on so many price levels between the hub's export and import price."""


class Trading(Life):
    """What traders do. `sent_nonces` counts by trader and slot."""

    sent_nonces: dict[tuple[str, int], int]

    def draw_order(self, data: st.DataObject) -> tuple[Order, Signer]:
        trader = self.draw_person(data)
        slot = self.draw_slot(data)
        order = Order(
            trader.address,
            slot,
            self.draw_nonce(data, trader, slot),
            data.draw(st.sampled_from(Side)),
            data.draw(st.sampled_from([0] * 6 + [1, 2])),
            self.draw_limit(data, trader, slot),
            self.terms.lot_wh * data.draw(st.integers(1, 12)),
            data.draw(st.sampled_from([Flag.NONE, Flag.NONE, Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])),
            data.draw(st.sampled_from([0, 0, 0, 60, 900])),
        )
        if order.expiry:
            order = replace(order, expiry=self.now() + order.expiry)
        if data.draw(seldom):
            order = self.spoil(data, order)
        return order, self.draw_signer(data, trader)

    def draw_nonce(self, data: st.DataObject, trader: Key, slot: int) -> int:
        """Mostly the next, seldom any of the first ones."""
        if data.draw(seldom):
            return data.draw(st.integers(0, 9))
        place = trader.address, slot
        self.sent_nonces[place] = self.sent_nonces.get(place, -1) + 1
        return self.sent_nonces[place] % 256

    def draw_limit(self, data: st.DataObject, trader: Key, slot: int) -> int:
        """A limit on one of a few levels of the hub's axis, as it looks at the trader's bus."""
        retail, fee, fit = self.tariff
        account = self.account(trader)
        charge = 0 if account is None else self.pair.twin.slot(slot).book.charge(account)
        level = fit + (retail - fee - fit) * data.draw(st.integers(-1, LEVELS + 1)) // LEVELS
        return level + charge + data.draw(price_shifts)

    def spoil(self, data: st.DataObject, order: Order) -> Order:
        """Break one rule that the other draws seldom break."""
        spoilt = [
            replace(order, side=2),
            replace(order, flags=2),
            replace(order, energy_class=3),
            replace(order, quantity_wh=0),
            replace(order, quantity_wh=order.quantity_wh + 1),
            replace(order, quantity_wh=self.terms.lot_wh * 4_000),
            replace(order, limit_ueur_per_kwh=4_000_000),
            replace(order, limit_ueur_per_kwh=-4_000_000),
            replace(order, limit_ueur_per_kwh=2**31 - 1),
            replace(order, expiry=self.now()),
            replace(order, relayer=STRANGER.address),
            replace(order, relayer=self.pair.payer.address),
        ]
        return data.draw(st.sampled_from(spoilt))

    def check_orders(self, orders: Sequence[tuple[Order, Signer]], events: tuple[Event, ...] | str) -> None:
        for slot, energy_class in {(order.slot, order.energy_class) for order, _ in orders}:
            self.check_touched(slot, [e for e in events if getattr(e, "slot", None) == slot])
            if energy_class <= len(self.terms.penalties_ueur_per_kwh):
                self.pair.compare_best(slot, energy_class)
        order, _ = orders[0]
        account = self.pair.twin.accounts.find(order.trader)
        if account is not None:
            self.pair.compare_order(order.slot, account, order.nonce)

    def place_one(self, data: st.DataObject) -> None:
        order, signer = self.draw_order(data)
        self.check_orders([(order, signer)], self.pair.place(self.pair.payer, order, signer))

    def place_batch(self, data: st.DataObject) -> None:
        orders = [self.draw_order(data) for _ in range(data.draw(st.integers(2, 12)))]
        self.check_orders(orders, self.pair.place_all(self.pair.payer, orders))

    def place_many_small(self, data: st.DataObject) -> None:
        """One trader fills up one side of the book: the limit of resting orders."""
        order, _ = self.draw_order(data)
        trader = data.draw(st.sampled_from(self.traders))
        slot = data.draw(st.sampled_from(self.slots))
        good = replace(order, trader=trader.address, slot=slot, quantity_wh=self.terms.lot_wh)
        orders = [replace(good, nonce=self.draw_nonce(data, trader, slot)) for _ in range(17)]
        last = replace(good, nonce=self.draw_nonce(data, trader, slot), flags=Flag.IMMEDIATE_OR_CANCEL)
        signed = [(order, Signer(trader)) for order in (*orders, last)]
        self.check_orders(signed, self.pair.place_all(self.pair.payer, signed))

    def cancel(self, data: st.DataObject) -> None:
        trader = self.draw_person(data)
        slot = self.draw_slot(data)
        nonces = [order.nonce for order in self.resting(trader, slot)]
        nonce = data.draw(st.sampled_from(nonces * 3 + [0, 5, 255]))
        request = CancelRequest(trader.address, slot, nonce)
        events = self.pair.cancel(self.pair.payer, request, self.draw_signer(data, trader))
        self.check_touched(slot, events)
        account = self.account(trader)
        if account is not None:
            self.pair.compare_order(slot, account, nonce)

    def resting(self, trader: Key, slot: int) -> list[CancelRequest]:
        account = self.account(trader)
        book = self.pair.twin.slot(slot).book
        return [
            CancelRequest(trader.address, slot, nonce)
            for nonce in range(self.sent_nonces.get((trader.address, slot), -1) + 1)
            if account is not None and book.resting(account, nonce) is not None
        ]

    def pause_for_orders(self, data: st.DataObject) -> None:
        guardian = self.pair.people[self.pair.twin.guardian]
        sender = guardian if data.draw(often) else STRANGER
        self.pair.same(sender, calls.Pause())
        order, signer = self.draw_order(data)
        self.pair.place(self.pair.payer, order, signer)
        self.pair.place_all(self.pair.payer, [(order, signer)])
        self.pair.same(sender, calls.Unpause())
