"""Random lives of two slots, acted out by the contract and its twin: a Hypothesis state machine.

Most actions are good ones, so that slots get traded, priced and settled; every kind of bad one is mixed
in. What a strategy draws is small on purpose: few ticks, so that orders meet; few nonces, so that they
clash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ledger import calls, vectors
from ledger.keys import Key
from market.accounts import Account
from market.events import Event
from market.messages import CancelRequest, ChargesHeader, OracleSet, PricesHeader, Reading
from market.orders import NOBODY, Flag, Order, OrderPlaced, Side
from market.slots import Terms
from tests.twins.pair import GENESIS_SECOND, Pair, Signer, key_of

EUR = 10**9
TRADERS = 4
LATECOMER, STRANGER, HEIR = (key_of("person", i) for i in (4, 5, 6))
ORACLES = tuple(key_of("oracle", i) for i in range(4))
QUORUM = 2
INPUT_HASH, CERTIFICATE_HASH = b"\x11" * 32, b"\x22" * 32
FIRST_SLOT_START = GENESIS_SECOND + 20_000
LEVELS = 6
"""Limits lie on so many price levels between the hub's export and import price."""

often = st.integers(0, 5).map(lambda number: number > 0)
seldom = st.integers(0, 11).map(lambda number: number == 0)
price_shifts = st.sampled_from([0, 0, 0, 1, 99, 100, -1, -250])


def meter_of(trader: Key, epoch: int = 1) -> Key:
    """The key of an account's meter in an epoch."""
    return key_of("meter", trader.address, epoch)


class TwinMachine(RuleBasedStateMachine):
    """Both implementations of one market; subclasses say which `pair`."""

    pair: Pair

    @property
    def terms(self) -> Terms:
        return self.pair.terms

    # --- a market comes to be -------------------------------------------------------------------

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        pair = self.pair
        pair.start_over()
        self.slots = [FIRST_SLOT_START // self.terms.slot_seconds + offset for offset in range(2)]
        self.slot_seen = self.slots[0]
        self.utility = pair.utility
        self.oracles = list(ORACLES)
        self.traders = [key_of("person", i) for i in range(TRADERS)]
        self.sent_nonces: dict[tuple[str, int], int] = {}
        for index, trader in enumerate(self.traders):
            self.register(data, trader, bus=1 + index % (self.terms.buses - 1))
        self.deposit(self.utility, data.draw(st.sampled_from([0, 10**6, EUR, 100 * EUR])))
        self.tariff = self.draw_tariff(data)
        retail, fee, fit = self.tariff
        schedule = calls.ScheduleSlots(self.slots[0], 2, retail, fee, fit)
        assert isinstance(pair.same(self.utility, schedule), tuple)
        for slot in self.slots if data.draw(often) else self.slots[:1]:
            self.post_charges(data, slot, good=True)
        self.go(self.terms.opens(self.slots[-1]))

    def draw_tariff(self, data: st.DataObject) -> tuple[int, int, int]:
        fit = data.draw(st.integers(-50_000, 80_000))
        width = data.draw(st.sampled_from([0, 700, 50_000, 200_000]))
        fee = data.draw(st.integers(-10_000, 120_000))
        return fit + width + fee, fee, fit

    def register(self, data: st.DataObject, trader: Key, bus: int) -> None:
        call = calls.RegisterAccount(
            trader.address,
            bus,
            meter_of(trader).address,
            data.draw(st.sampled_from([40, 200, 10_000])),
            data.draw(st.sampled_from([40, 200, 10_000])),
            data.draw(st.sampled_from([0, 10**7, EUR])),
            data.draw(st.integers(0, 3)),
        )
        self.pair.same(self.utility, call)
        self.deposit(trader, data.draw(st.sampled_from([0, 10**7, EUR, EUR])))

    def deposit(self, owner: Key, amount_neur: int) -> None:
        whole = amount_neur - amount_neur % self.pair.neur_per_unit
        self.pair.same(self.pair.payer, calls.Deposit(owner.address, whole))

    # --- what all rules use ---------------------------------------------------------------------

    def now(self) -> int:
        """Second of the next block."""
        return self.pair.chain.now()

    def go(self, second: int) -> None:
        """Let the next block be at `second`, if that is still to come."""
        if second >= self.now():
            self.pair.chain.set_next_timestamp(second)

    def account(self, key: Key) -> Account | None:
        return self.pair.twin.accounts.find(key.address)

    def draw_slot(self, data: st.DataObject) -> int:
        """Mostly one of the two; seldom one that is not scheduled."""
        return data.draw(st.sampled_from([*self.slots * 4, self.slots[-1] + 3]))

    def draw_person(self, data: st.DataObject) -> Key:
        """Mostly a trader; the utility, a latecomer or a stranger at times."""
        others = [self.utility, LATECOMER, STRANGER]
        return data.draw(st.sampled_from([*self.traders * 3, *others]))

    def draw_signer(self, data: st.DataObject, right: Key) -> Signer:
        if not data.draw(seldom):
            return Signer(right)
        wrong = [Signer(STRANGER), Signer(right, malleated=True), Signer(None)]
        return data.draw(st.sampled_from(wrong))

    def check_touched(self, slot: int, events: tuple[Event, ...] | str) -> None:
        """State of the slot, and of every account that the events name."""
        pair = self.pair
        self.slot_seen = slot
        pair.compare_slot(slot)
        pair.compare_money()
        for name in {
            getattr(event, role, None) for event in events for role in ("trader", "maker", "account")
        }:
            account = None if name is None else pair.twin.accounts.find(name)
            if account is not None:
                pair.compare_account(account)
                pair.compare_position(slot, account)

    # --- orders ---------------------------------------------------------------------------------

    def draw_order(self, data: st.DataObject) -> tuple[Order, Signer]:
        trader = self.draw_person(data)
        slot = self.draw_slot(data)
        order = Order(
            trader.address,
            slot,
            self.draw_nonce(data, trader, slot),
            data.draw(st.sampled_from(Side)),
            data.draw(st.sampled_from([0, 0, 0, 1, 2])),
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

    @rule(data=st.data())
    def place_one(self, data: st.DataObject) -> None:
        order, signer = self.draw_order(data)
        self.check_orders([(order, signer)], self.pair.place(self.pair.payer, order, signer))

    def place_batch(self, data: st.DataObject) -> None:
        orders = [self.draw_order(data) for _ in range(data.draw(st.integers(0, 10)))]
        events = self.pair.place_all(self.pair.payer, orders)
        if orders:
            self.check_orders(orders, events)

    # Trading is most of a slot's life, so batches are drawn from several rules.
    place_batch_first = rule(data=st.data())(place_batch)
    place_batch_second = rule(data=st.data())(place_batch)
    place_batch_third = rule(data=st.data())(place_batch)

    @rule(data=st.data())
    def place_many_small(self, data: st.DataObject) -> None:
        """One trader fills up one side of the book: the limit of resting orders."""
        order, _ = self.draw_order(data)
        trader = data.draw(st.sampled_from(self.traders))
        slot = data.draw(st.sampled_from(self.slots))
        good = replace(order, trader=trader.address, slot=slot, quantity_wh=self.terms.lot_wh)
        orders = [
            (replace(good, nonce=self.draw_nonce(data, trader, slot)), Signer(trader)) for _ in range(18)
        ]
        self.check_orders(orders, self.pair.place_all(self.pair.payer, orders))

    @rule(data=st.data())
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

    @rule(data=st.data())
    def close_gate(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        limit = data.draw(st.sampled_from([0, 1, 3, 5_000]))
        if data.draw(often):
            self.go(self.terms.gate(slot))
        self.check_touched(slot, self.pair.same(self.pair.payer, calls.CloseGate(slot, limit)))

    # --- charges and prices ---------------------------------------------------------------------

    def draw_quorum(self, data: st.DataObject, good: bool) -> list[tuple[int, Signer]]:
        order = [(index, Signer(key)) for index, key in enumerate(self.oracles)]
        if good or data.draw(often):
            return order[1:3]
        return data.draw(
            st.sampled_from(
                [
                    order[:1],
                    order,
                    [order[2], order[0]],
                    [order[0], order[0]],
                    [order[0], (9, order[1][1])],
                    [order[0], (1, Signer(STRANGER))],
                    [order[0], (1, Signer(self.oracles[1], malleated=True))],
                ]
            )
        )

    def draw_vector(self, data: st.DataObject, substation: int, good: bool) -> list[int]:
        """Values near the substation's, at few buses apart from each other."""
        shifts = st.sampled_from([0, 0, 100, -100, 1_234, -30_000, 40_001])
        pattern = [substation + data.draw(shifts) for _ in range(TRADERS)]
        values = [substation, *(pattern[i % TRADERS] for i in range(self.terms.buses - 1))]
        if not good and data.draw(seldom):
            values[0] += 1
        return values

    def draw_words(self, data: st.DataObject, values: list[int], good: bool) -> list[tuple[int, ...]]:
        """The chunks as posted; seldom with a value beyond the last bus, which the hashes commit to."""
        words = list(vectors.pack(values))
        if not good and data.draw(seldom):
            words[-1] |= 1 << 255
        return list(vectors.chunked(words))

    def post_charges(self, data: st.DataObject, slot: int, good: bool) -> None:
        chunks = self.draw_words(data, self.draw_vector(data, 0, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        if not good and data.draw(seldom):
            hashes = hashes[1:]
        epoch = self.pair.twin.oracles.epoch
        header = ChargesHeader(slot, epoch, vectors.keccak(b"".join(hashes)), INPUT_HASH, CERTIFICATE_HASH)
        proofs, named = self.pair.prove(header, self.draw_quorum(data, good))
        arguments = (slot, hashes, INPUT_HASH, CERTIFICATE_HASH)
        self.pair.plain(self.pair.payer, calls.PostCharges(*arguments, proofs), *arguments, named)
        for index, words in self.draw_chunks(data, chunks, good):
            self.pair.same(self.pair.payer, calls.PostChargesChunk(slot, index, words))

    def draw_chunks(
        self, data: st.DataObject, chunks: list[tuple[int, ...]], good: bool
    ) -> list[tuple[int, tuple[int, ...]]]:
        """All chunks, in any order; or some, again, one that is none, one that is wrong."""
        numbered = list(enumerate(chunks))
        if good:
            return numbered
        numbered += [numbered[0], (len(chunks), chunks[0]), (0, (1, *chunks[0][1:])), (0, chunks[0][1:])]
        return data.draw(st.lists(st.sampled_from(numbered), max_size=4))

    @rule(data=st.data())
    def post_other_charges(self, data: st.DataObject) -> None:
        """Too late, or for a slot nobody scheduled, unless time has stood still."""
        slot = self.draw_slot(data)
        self.post_charges(data, slot, good=False)
        self.check_touched(slot, ())

    @rule(data=st.data(), good=often)
    def post_prices(self, data: st.DataObject, good: bool) -> None:
        slot = self.draw_slot(data)
        retail, fee, fit = self.tariff
        hub = data.draw(st.sampled_from([fit, retail - fee, (fit + retail - fee) // 2]))
        if not good and data.draw(seldom):
            hub = data.draw(st.sampled_from([fit - 1, retail - fee + 1]))
        if data.draw(often):
            self.go(self.terms.gate(slot))
        chunks = self.draw_words(data, self.draw_vector(data, hub, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        epoch = self.pair.twin.oracles.epoch
        values_hash = vectors.keccak(b"".join(hashes))
        header = PricesHeader(slot, epoch, hub, -55, values_hash, INPUT_HASH, CERTIFICATE_HASH)
        proofs, named = self.pair.prove(header, self.draw_quorum(data, good))
        arguments = (slot, hub, -55, hashes, INPUT_HASH, CERTIFICATE_HASH)
        self.pair.plain(self.pair.payer, calls.PostPrices(*arguments, proofs), *arguments, named)
        for index, words in self.draw_chunks(data, chunks, good):
            self.pair.same(self.pair.payer, calls.PostPricesChunk(slot, index, words))
        self.check_touched(slot, ())
        self.pair.compare_vectors(slot, (0, 1, 2, self.terms.buses - 1))

    @rule(data=st.data())
    def rotate_oracles(self, data: st.DataObject) -> None:
        keys = data.draw(st.permutations(ORACLES))[: data.draw(st.integers(3, 4))]
        addresses = tuple(key.address for key in keys)
        if data.draw(seldom):
            addresses = (addresses[0], addresses[0], addresses[1])
        quorum = data.draw(st.sampled_from([QUORUM, QUORUM, QUORUM, 0, 5]))
        present = OracleSet(self.pair.twin.oracles.epoch, quorum, addresses)
        proofs, named = self.pair.prove(present, self.draw_quorum(data, good=False))
        call = calls.RotateOracles(addresses, quorum, proofs)
        if isinstance(self.pair.plain(self.pair.payer, call, addresses, quorum, named), tuple):
            self.oracles = list(keys)

    # --- readings and settlement ----------------------------------------------------------------

    def draw_reading(self, data: st.DataObject, trader: Key, slot: int) -> tuple[Reading, Signer]:
        account = self.account(trader)
        contracted = 0 if account is None else self.pair.twin.slot(slot).book.position(account).net_wh
        metered = st.sampled_from([contracted, 0, contracted // 2, -contracted, contracted + 7, -2_000])
        classes = len(self.terms.penalties_ueur_per_kwh)
        certified = tuple(data.draw(st.sampled_from([0, 3, 50])) for _ in range(classes))
        epoch = 1 if account is None else account.meter_epoch
        reading = Reading(trader.address, slot, data.draw(metered), certified, epoch)
        if data.draw(seldom):
            spoilt = [replace(reading, epoch=epoch + 1), replace(reading, certified=(*certified, 0))]
            if classes < 7:
                reading = data.draw(st.sampled_from(spoilt))
        return reading, self.draw_signer(data, meter_of(trader, epoch))

    @rule(data=st.data())
    def read_one(self, data: st.DataObject) -> None:
        slot, trader = self.draw_slot(data), self.draw_person(data)
        reading, signer = self.draw_reading(data, trader, slot)
        self.check_touched(slot, self.pair.read(self.pair.payer, reading, signer))

    @rule(data=st.data())
    def read_everybody(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        if data.draw(often):
            self.go(self.terms.end(slot))
        people = [*self.traders, LATECOMER, *([self.utility] if data.draw(seldom) else [])]
        readings = [self.draw_reading(data, trader, slot) for trader in people]
        self.check_touched(slot, self.pair.read_all(self.pair.payer, readings))
        for trader in people:
            if (account := self.account(trader)) is not None:
                self.pair.compare_reading(slot, account)

    @rule(data=st.data())
    def post_substation(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        words = vectors.pack([0, *range(1, self.terms.buses)], signed=False)
        if data.draw(seldom):
            words = (*words[:-1], words[-1] | 1 << 255) if data.draw(st.booleans()) else words[1:]
        sender = self.utility if data.draw(often) else self.pair.payer
        call = calls.PostSubstation(slot, -123_456, data.draw(price_shifts), words)
        self.check_touched(slot, self.pair.same(sender, call))

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        people = [self.utility, *self.traders, *([LATECOMER] if self.account(LATECOMER) else [])]
        if data.draw(seldom):
            people.append(STRANGER)
        chosen = data.draw(st.lists(st.sampled_from(people), max_size=7))
        call = calls.Settle(slot, tuple(key.address for key in chosen))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))

    @precondition(lambda self: self.pair.twin.slot(self.slot_seen).book.gate_closed)
    @rule(data=st.data())
    def settle_everybody(self, data: st.DataObject) -> None:
        """The way a slot should end: prices or none, all readings, all accounts in any order."""
        slot = self.slot_seen
        self.go(self.terms.end(slot))
        readings = [self.draw_reading(data, trader, slot) for trader in [*self.traders, LATECOMER]]
        self.pair.read_all(self.pair.payer, readings)
        if data.draw(seldom):
            self.go(self.terms.prices_due(slot))
        people = data.draw(st.permutations([self.utility, *self.traders]))
        call = calls.Settle(slot, tuple(key.address for key in people))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))

    # --- money, accounts, roles -----------------------------------------------------------------

    @rule(data=st.data())
    def move_money(self, data: st.DataObject) -> None:
        owner = self.draw_person(data)
        account = self.account(owner)
        free = 0 if account is None else account.balance_neur - account.reserved_neur
        amounts = st.sampled_from([0, 1, 10**7, max(0, free), max(0, free) + 1, 2**126])
        amount = data.draw(amounts)
        if data.draw(st.booleans()):
            amount -= amount % self.pair.neur_per_unit
        if data.draw(st.booleans()):
            self.pair.same(owner, calls.Withdraw(amount))
        else:
            self.pair.same(
                self.pair.payer, calls.Deposit(owner.address, min(amount, 2**126 - 1) % (10 * EUR))
            )
        self.check_touched(self.slot_seen, ())
        if account is not None:
            self.pair.compare_account(account)

    @rule(data=st.data())
    def change_account(self, data: st.DataObject) -> None:
        owner = self.draw_person(data)
        sender = self.utility if data.draw(often) else owner
        bus = data.draw(st.integers(0, self.terms.buses))
        account = self.account(owner)
        epoch = 1 if account is None else account.meter_epoch + 1
        sizes = (data.draw(st.sampled_from([0, 100, 10_000])), 300, 10**6, data.draw(st.integers(0, 3)))
        meter = meter_of(owner, epoch).address
        choices: list[calls.Call] = [
            calls.SetAccount(owner.address, *sizes),
            calls.SetMeter(owner.address, meter),
            calls.SetMeter(owner.address, NOBODY),
            calls.RegisterAccount(LATECOMER.address, bus, meter_of(LATECOMER).address, *sizes),
            calls.RegisterAccount(owner.address, 1, meter, *sizes),
        ]
        call = data.draw(st.sampled_from(choices[: 4 if owner is STRANGER else 5]))
        self.check_touched(self.slot_seen, self.pair.same(sender, call))

    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        """Roles change hands in two steps; a heir has the utility's account, debts and orders."""
        heirs = [HEIR, self.pair.utility, self.traders[0]]
        heir, role = data.draw(st.sampled_from(heirs)), data.draw(st.sampled_from([0, 0, 1, 2]))
        holder = self.utility if role == 0 else self.pair.people[self.pair.twin.guardian]
        if data.draw(seldom):
            holder = self.traders[0]
        self.pair.same(holder, calls.ProposeRole(role, heir.address))
        taker = heir if data.draw(often) else STRANGER
        accepted = self.pair.same(taker, calls.AcceptRole(role))
        if isinstance(accepted, tuple) and role == 0:
            self.utility = heir
        assert self.pair.exchange.utility() == self.pair.twin.accounts.utility.address
        assert self.pair.exchange.guardian() == self.pair.twin.guardian

    @rule(data=st.data())
    def pause_for_one_order(self, data: st.DataObject) -> None:
        guardian = self.pair.people[self.pair.twin.guardian]
        sender = guardian if data.draw(often) else STRANGER
        self.pair.same(sender, calls.Pause())
        order, signer = self.draw_order(data)
        self.pair.place(self.pair.payer, order, signer)
        self.pair.place_all(self.pair.payer, [(order, signer)])
        self.pair.same(sender, calls.Unpause())

    @rule(data=st.data())
    def schedule(self, data: st.DataObject) -> None:
        first = self.slots[0] + data.draw(st.sampled_from([0, 1, 2, 30, 31, 32]))
        retail, fee, fit = self.tariff
        count = data.draw(st.sampled_from([0, 1, 2, 1_025]))
        fit += data.draw(st.sampled_from([0, 0, 0, 300_000]))
        sender = self.utility if data.draw(often) else self.pair.payer
        self.pair.same(sender, calls.ScheduleSlots(first, count, retail, fee, fit))

    # --- time -----------------------------------------------------------------------------------

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """To the next moment at which a rule of a slot changes, or just before it."""
        terms = self.terms
        moments = sorted(
            moment - early
            for slot in self.slots
            for moment in (terms.gate(slot), terms.end(slot), terms.prices_due(slot), terms.final(slot))
            for early in (1, 0)
            if moment - early >= self.now()
        )
        if moments and data.draw(st.booleans()):
            self.go(moments[0])

    def teardown(self) -> None:
        if hasattr(self, "slots"):
            self.pair.compare_all(self.slots)


def orders_placed(events: tuple[Event, ...] | str) -> int:
    """How many orders of a call were taken."""
    return sum(isinstance(event, OrderPlaced) for event in events)
