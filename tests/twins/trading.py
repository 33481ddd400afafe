"""Random orders, cancels and vetoes, good and bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger import calls
from ledger.keccak import keccak
from ledger.keys import Key
from market.events import Event
from market.fills import TakenLevel
from market.messages import CancelRequest
from market.orders import NOBODY, Berth, Flag, Order, Side, Veto
from tests.twins.life import PRICE_SHIFTS, STRANGER, Life
from tests.twins.pair import Signer

LEVELS = 3
"""Limits lie on so many price levels between the hub's export and import price."""


class Trading(Life):
    """What traders do. `sent_nonces` counts by trader and slot."""

    sent_nonces: dict[tuple[str, int], int]

    def draw_order(self) -> tuple[Order, Signer]:
        trader = self.draw_person()
        slot = self.draw_open_slot()
        order = Order(
            trader.address,
            slot,
            self.draw_nonce(trader, slot),
            self.choose(list(Side)),
            self.choose([0] * 6 + [*range(len(self.terms.penalties_ueur_per_kwh) + 1)]),
            self.draw_limit(trader, slot),
            self.terms.lot_wh * self.choose([1, 2, 3, 4, 7, 12, 30]),
            self.choose([Flag.NONE, Flag.NONE, Flag.NONE, Flag.IMMEDIATE_OR_CANCEL]),
            self.choose([0, 0, 0, 60, 900]),
            self.choose([NOBODY] * 9 + [self.pair.payer.address]),
        )
        if order.expiry:
            order = replace(order, expiry=self.now() + order.expiry)
        if self.seldom():
            order = self.spoil(order)
        return order, self.draw_signer(trader)

    def draw_open_slot(self) -> int:
        """Mostly one that takes orders now."""
        now, terms = self.now(), self.terms
        is_open = [slot for slot in self.slots if terms.opens(slot) <= now < terms.gate(slot)]
        return self.draw_slot() if self.seldom() else self.choose(is_open or self.slots)

    def draw_nonce(self, trader: Key, slot: int) -> int:
        """Mostly the next, seldom any of the first ones."""
        if self.seldom():
            return self.rng.randint(0, 9)
        place = trader.address, slot
        self.sent_nonces[place] = self.sent_nonces.get(place, -1) + 1
        return self.sent_nonces[place] % 256

    def draw_limit(self, trader: Key, slot: int) -> int:
        """A limit on one of a few levels of the hub's axis, as it looks at the trader's bus."""
        retail, fee, fit = self.tariff
        account = self.account(trader)
        charge = 0 if account is None else self.pair.twin.slot(slot).book.charge(account)
        level = fit + (retail - fee - fit) * self.rng.randint(-1, LEVELS + 1) // LEVELS
        return level + charge + self.choose(PRICE_SHIFTS)

    def spoil(self, order: Order) -> Order:
        """Break one rule that the other draws seldom break."""
        spoilt = [
            replace(order, side=2),
            replace(order, flags=2),
            replace(order, energy_class=4),
            replace(order, energy_class=len(self.terms.penalties_ueur_per_kwh) + 1),
            replace(order, quantity_wh=0),
            replace(order, quantity_wh=order.quantity_wh + 1),
            replace(order, quantity_wh=self.terms.lot_wh * 4_000),
            replace(order, limit_ueur_per_kwh=4_000_000),
            replace(order, limit_ueur_per_kwh=-4_000_000),
            replace(order, limit_ueur_per_kwh=2**31 - 1),
            replace(order, expiry=self.now()),
            replace(order, relayer=STRANGER.address),
        ]
        return self.choose(spoilt)

    def check_orders(self, orders: Sequence[tuple[Order, Signer]], events: tuple[Event, ...] | str) -> None:
        for slot, energy_class in {(order.slot, order.energy_class) for order, _ in orders}:
            viewed = self.check_touched(slot, [e for e in events if getattr(e, "slot", None) == slot])
            if viewed and energy_class <= len(self.terms.penalties_ueur_per_kwh):
                self.pair.compare_best(slot, energy_class)
        order, _ = orders[0]
        account = self.pair.twin.accounts.find(order.trader)
        if account is not None and self.views():
            self.pair.compare_order(order.slot, account, order.nonce)

    def place_one(self) -> None:
        order, signer = self.draw_order()
        self.check_orders([(order, signer)], self.pair.place(self.pair.payer, order, signer))

    def place_batch(self) -> None:
        orders = [self.draw_order() for _ in range(self.rng.randint(2, 12))]
        self.check_orders(orders, self.pair.place_all(self.pair.payer, orders))

    def sweep(self) -> None:
        """One trader takes much of what there is on one side: many makers, several levels."""
        retail, fee, fit = self.tariff
        side = self.choose(list(Side))
        trader, slot = self.choose([*self.traders, self.utility]), self.draw_open_slot()
        limit = (retail - fee if side == Side.BID else fit) + 50_000 * (1 - 2 * side)
        lots = self.choose([5, 13, 50])
        flags = self.choose([Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])
        nonce = self.draw_nonce(trader, slot)
        order = Order(trader.address, slot, nonce, side, 0, limit, lots * self.terms.lot_wh, flags)
        self.check_orders([(order, Signer(trader))], self.pair.place(self.pair.payer, order, Signer(trader)))

    def place_many_small(self) -> None:
        """One trader fills up one side of the book: the limit of resting orders."""
        order, _ = self.draw_order()
        trader = self.choose(self.traders)
        slot = self.choose(self.slots)
        good = replace(order, trader=trader.address, slot=slot, quantity_wh=self.terms.lot_wh)
        orders = [replace(good, nonce=self.draw_nonce(trader, slot)) for _ in range(17)]
        last = replace(good, nonce=self.draw_nonce(trader, slot), flags=Flag.IMMEDIATE_OR_CANCEL)
        signed = [(order, Signer(trader)) for order in (*orders, last)]
        self.check_orders(signed, self.pair.place_all(self.pair.payer, signed))

    def cancel(self) -> None:
        """Mostly what rests, where it rests; also dead and unseen nonces, and places of others."""
        trader = self.draw_person()
        slot = self.draw_slot()
        berths = self.resting(trader, slot)
        nonce = self.choose(list(berths) * 3 + [0, 5, 255])
        berth = berths.get(nonce, Berth(0, Side.ASK, self.draw_tick(), 0))
        if self.seldom():
            berth = self.elsewhere(berth)
        request = CancelRequest(trader.address, slot, nonce)
        events = self.pair.cancel(self.pair.payer, request, berth, self.draw_signer(trader))
        viewed = self.check_touched(slot, events)
        account = self.account(trader)
        if viewed and account is not None:
            self.pair.compare_order(slot, account, nonce)

    def resting(self, trader: Key, slot: int) -> dict[int, Berth]:
        """Where orders of a trader rest, by nonce."""
        account = self.account(trader)
        if account is None:
            return {}
        book = self.pair.twin.slot(slot).book
        found = {nonce: book.resting(account, nonce) for nonce in range(256)}
        return {nonce: resting[0] for nonce, resting in found.items() if resting is not None}

    def draw_tick(self) -> int:
        retail, fee, fit = self.tariff
        return (fit + (retail - fee - fit) * self.rng.randint(0, LEVELS) // LEVELS) // 100

    def elsewhere(self, berth: Berth) -> Berth:
        others = [
            replace(berth, place=berth.place + 1),
            replace(berth, place=2**16 - 1),
            replace(berth, side=1 - berth.side),
            replace(berth, side=2),
            replace(berth, energy_class=berth.energy_class + 1),
            replace(berth, energy_class=4),
            replace(berth, tick=-(2**15)),
        ]
        return self.choose(others)

    def cancel_many(self) -> None:
        """All that one trader has at rest goes, in any order: gaps at heads and behind them."""
        trader, slot = self.choose(self.traders), self.choose(self.slots)
        for nonce in self.some(list(self.resting(trader, slot)))[:6]:
            berth = self.resting(trader, slot).get(nonce, Berth())
            request = CancelRequest(trader.address, slot, nonce)
            self.check_touched(slot, self.pair.cancel(self.pair.payer, request, berth, Signer(trader)))

    def veto(self) -> None:
        """The last fills of a slot, wholly or in part; or something that is not the last fill."""
        slot = self.draw_slot()
        fills = list(self.pair.twin.slot(slot).book.fills)
        vetoes = []
        for _ in range(self.rng.randint(0, 4)):
            if fills:
                last = fills.pop()
                cut = self.choose([last.quantity_wh, self.rng.randint(1, last.quantity_wh)])
                vetoes.append(self.veto_of(last, cut))
                if cut < last.quantity_wh:
                    fills.append(replace(last, quantity_wh=last.quantity_wh - cut))
        if vetoes and self.seldom():
            vetoes[-1] = self.spoil_veto(vetoes[-1])
        sender = self.utility if self.often() else self.pair.payer
        events = self.pair.same(sender, calls.VetoFills(slot, tuple(vetoes)))
        viewed = self.check_touched(slot, events)
        for energy_class in range(len(self.terms.penalties_ueur_per_kwh) + 1) if viewed else ():
            self.pair.compare_best(slot, energy_class)

    def veto_last(self, slot: int, cuts: Sequence[int]) -> None:
        """If it is time, one veto after the other of the fill that is last then: so many Wh, or all of it."""
        for cut in cuts:
            fills = self.pair.twin.slot(slot).book.fills
            if fills and self.terms.gate(slot) <= self.now() < self.terms.closing(slot):
                veto = self.veto_of(fills[-1], min(cut, fills[-1].quantity_wh))
                assert isinstance(self.pair.same(self.utility, calls.VetoFills(slot, (veto,))), tuple)

    def veto_of(self, fill: TakenLevel, cut: int) -> Veto:
        taker = self.pair.twin.accounts.at(fill.taker_id).address
        return fill.veto(taker, cut, reason=cut % 3, element=cut)

    def spoil_veto(self, veto: Veto) -> Veto:
        spoilt = [
            replace(veto, cut=0),
            replace(veto, cut=veto.quantity + 1),
            replace(veto, quantity=veto.quantity + 1),
            replace(veto, before=keccak(veto.before)),
            replace(veto, taker=STRANGER.address),
            replace(veto, taker=STRANGER.address, taker_side=2),
            replace(veto, taker_nonce=(veto.taker_nonce + 1) % 256),
            replace(veto, energy_class=4),
            replace(veto, tick=-(2**15)),
        ]
        return self.choose(spoilt)

    def pause_for_orders(self) -> None:
        guardian = self.pair.people[self.pair.twin.guardian]
        sender = guardian if self.often() else STRANGER
        for _ in range(1 + self.seldom()):
            self.pair.same(sender, calls.Pause())
        order, signer = self.draw_order()
        self.pair.place(self.pair.payer, order, signer)
        self.pair.place_all(self.pair.payer, [(order, signer)])
        self.pair.same(sender, calls.Unpause())
