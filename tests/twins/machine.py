"""Random lives of two slots, acted out by the contract and its twin: a Hypothesis state machine.

Time passes by itself: so many actions in each part of the slots' lives, and every life is led to its end,
with all accounts settled and paid out. Most actions are good ones; every kind of bad one is mixed in. What
a strategy draws is small on purpose: few ticks, so that orders meet; few nonces, so that they clash.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ledger import calls
from ledger.keys import Key
from market.messages import Reading
from tests.twins.delivery import Delivery
from tests.twins.invariants import check_record
from tests.twins.life import EUR, FIRST_SLOT_START, TRADERS, meter_of, often, seldom
from tests.twins.pair import Signer, key_of
from tests.twins.posting import ORACLES
from tests.twins.trading import Trading

TRADE = ["place_batch"] * 4 + ["place_one"] * 2 + ["place_many_small", "pause_for_orders"]
TRADE += ["sweep", "sweep", "cancel", "cancel", "cancel_many", "cancel_many"]
RUN = ["move_money", "change_account", "hand_over", "rotate_oracles", "schedule", "post_other_charges"]
VETO = ["veto"] * 3 + ["post_forecasts"]
DELIVER = ["close_gate", "close_gate", "draw_prices", "draw_prices", "read_one", "read_everybody"]
DELIVER += ["post_substation", "post_forecasts", "settle", "settle", "settle"]
LATE = ["estimate"] * 3 + ["read_one", "read_everybody", "resettle", "resettle", "settle"]


class TwinMachine(Trading, Delivery, RuleBasedStateMachine):
    """Both implementations of one market; subclasses say which `pair`."""

    # --- the beginning --------------------------------------------------------------------------

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        pair = self.pair
        pair.start_over()
        self.slots = [FIRST_SLOT_START // self.terms.slot_seconds + offset for offset in range(2)]
        pair.slots = self.slots
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
        for slot in self.slots:
            if data.draw(seldom):
                self.draw_charges(data, slot, good=False)
            if not data.draw(seldom):
                self.post_charges_of(slot, self.draw_vector(data, 0, good=True))
        self.plan_time(data)
        self.plan_end(data)
        self.go(self.terms.opens(self.slots[-1]))
        for _ in range(2):
            self.place_batch(data)

    def plan_time(self, data: st.DataObject) -> None:
        """After how many actions each moment comes at which a rule changes; some just before it."""
        terms, (first, second) = self.terms, self.slots
        moments = {
            terms.gate(first): 14,
            terms.closing(first): 3,
            terms.gate(second): 4,
            terms.closing(second): 3,
            terms.end(first): 4,
            terms.end(second): 4,
            terms.prices_due(first): 3,
            terms.readings_due(first): 4,
            terms.final(first): 4,
        }
        self.itinerary: dict[int, int] = {}
        step = 2
        for moment, actions in sorted(moments.items()):
            step += data.draw(st.integers(actions - 1, actions + 3))
            self.itinerary[step] = moment - data.draw(st.sampled_from([0, 0, 1]))
        self.step = 0

    def plan_end(self, data: st.DataObject) -> None:
        """How the slots end where the actions leave something open."""
        self.with_prices = data.draw(often)
        self.last_metered = data.draw(st.lists(st.integers(-300, 300), min_size=8, max_size=8))
        self.last_order = data.draw(st.permutations(range(8)))
        self.silent = data.draw(st.sets(st.sampled_from(range(1, 8)), max_size=3))
        self.last_cuts = data.draw(st.lists(st.integers(1, 40), max_size=5))
        self.last_forecast = data.draw(st.one_of(st.none(), st.just(self.last_metered)))

    # --- actions --------------------------------------------------------------------------------

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        """One action that suits the time, or at times any; then time may pass."""
        now, terms, (first, second) = self.now(), self.terms, self.slots
        suited = TRADE * 3 if now < terms.gate(second) else []
        suited = suited + (DELIVER if now >= terms.gate(first) else [])
        if any(terms.gate(slot) <= now < terms.closing(slot) for slot in self.slots):
            suited += VETO * 3
        if now >= terms.readings_due(first):
            suited += LATE * 2
        name = data.draw(
            st.sampled_from(suited * 4 + TRADE + RUN * 4 + VETO + DELIVER + LATE), label="action"
        )
        getattr(self, name)(data)
        self.step += 1
        if self.step in self.itinerary:
            self.go(self.itinerary[self.step])
            for slot in self.slots:
                self.veto_last(slot, data.draw(st.lists(st.integers(1, 40), max_size=5)))

    # --- the end --------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "step"):
            for slot in self.slots:
                self.end(slot)
            self.pair.compare_all(self.slots)
            assert self.pair.twin.accounts.clearing_neur == 0
            self.pay_out()
            check_record(self.pair.exchange)

    def end(self, slot: int) -> None:
        """Veto, close, price, read, estimate and settle what is not; then some who were silent are read."""
        pair, terms, book = self.pair, self.terms, self.pair.twin.slot(slot).book
        self.go(terms.gate(slot))
        self.veto_last(slot, self.last_cuts)
        self.go(terms.closing(slot))
        while not book.gate_closed:
            assert isinstance(pair.same(pair.payer, calls.CloseGate(slot, 7)), tuple)
        if self.with_prices and self.now() < terms.prices_due(slot):
            _, _, fit = self.tariff
            self.post_prices_of(slot, [fit] * terms.buses)
        if self.last_forecast is not None:
            self.post_forecasts_of(slot, self.last_forecast)
        self.go(terms.end(slot))
        people = [pair.people[pair.twin.accounts.at(i).address] for i in range(book.snapshot or 0)]
        readings = [self.last_reading(slot, index, who) for index, who in enumerate(people)]
        pair.read_all(pair.payer, [it for index, it in enumerate(readings) if index not in self.silent])
        self.go(max(terms.readings_due(slot), terms.prices_due(slot)))
        words = pair.twin.slot(slot).forecasts.get(0, ())
        prosumers = tuple(key.address for key in people if key.address != self.utility.address)
        assert isinstance(pair.same(pair.payer, calls.Estimate(slot, 0, words, prosumers)), tuple)
        self.settle_all(slot, [people[index] for index in self.last_order if index < len(people)])
        pair.read_all(pair.payer, readings)
        self.backed(calls.Resettle(slot, prosumers))

    def last_reading(self, slot: int, index: int, who: Key) -> tuple[Reading, Signer]:
        account = self.account(who)
        epoch = 1 if account is None else account.meter_epoch
        certified = (1,) * len(self.terms.penalties_ueur_per_kwh)
        reading = Reading(who.address, slot, self.last_metered[index], certified, epoch)
        return reading, Signer(meter_of(who, epoch))

    def settle_all(self, slot: int, people: Sequence[Key]) -> None:
        """Settle in two calls."""
        half = len(people) // 2
        for part in (people[:half], people[half:]):
            self.backed(calls.Settle(slot, tuple(key.address for key in part)))
            self.overdraw()
        assert self.pair.twin.slot(slot).settled

    def backed(self, call: calls.Settle | calls.Resettle) -> None:
        """Settle or resettle; where the utility cannot back the result, somebody pays in for it."""
        if self.pair.same(self.pair.payer, call) == "settlement: utility unfunded":
            self.deposit(self.utility, 100 * EUR)
            assert isinstance(self.pair.same(self.pair.payer, call), tuple)

    def overdraw(self) -> None:
        """The utility asks for a token unit more than is its own while others are still to settle."""
        accounts, unit = self.pair.twin.accounts, self.pair.neur_per_unit
        free = max(0, accounts.backing_neur - max(0, accounts.clearing_neur))
        call = calls.Withdraw(free - free % unit + unit)
        assert self.pair.same(self.utility, call) == "accounts: insufficient funds"

    def pay_out(self) -> None:
        """Everybody takes out all they can, the utility last; less than a token unit stays."""
        accounts = self.pair.twin.accounts
        for account in [*list(accounts)[1:], accounts.utility]:
            free = accounts.backing_neur if account.is_utility else account.balance_neur
            if free >= 0:
                call = calls.Withdraw(free - free % self.pair.neur_per_unit)
                withdrawn = self.pair.same(self.pair.people[account.address], call)
                assert isinstance(withdrawn, tuple), withdrawn
        self.pair.compare_money()
        assert accounts.backing_neur < self.pair.neur_per_unit
