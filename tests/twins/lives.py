"""Random lives of two slots, acted out by the contract and its twin; a seed draws the same life every time.

Time passes by itself: so many actions in each part of the slots' lives, and every life is led to its end,
with all accounts settled and paid out. Most actions are good ones; every kind of bad one is mixed in. What
is drawn from is small on purpose: few ticks, so that orders meet; few nonces, so that they clash.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from ledger import calls
from ledger.keys import Key
from market.messages import Reading
from market.slots import Rule, Terms
from tests.twins.delivery import REFUSED_FOR_MONEY, Delivery
from tests.twins.life import EUR, FIRST_SLOT_START, TRADERS, meter_of
from tests.twins.pair import Pair, Signer, key_of
from tests.twins.posting import ORACLES, QUORUM
from tests.twins.tally import Tally
from tests.twins.trading import Trading

MARKETS = {
    # A token finer than n€, three words by bus with values to spare, two classes, a veto.
    "dlmp, 2 classes": (
        Terms(rule=Rule.DLMP, lot_wh=2, buses=17, penalties_ueur_per_kwh=(40_000, 250_000), veto_grace=400),
        18,
    ),
    # A token coarser than n€, more buses than a chunk holds, one class, no veto.
    "tariff, 1 class": (Terms(rule=Rule.TARIFF, lot_wh=5, buses=260, penalties_ueur_per_kwh=(70_000,)), 6),
    # The fewest buses there may be, no class but the plain one, prices due before readings.
    "dlmp, 0 classes": (Terms(rule=Rule.DLMP, buses=2, price_grace=1_800, veto_grace=900), 9),
    # All classes that there may be, one of them without a penalty, a veto.
    "tariff, 3 classes": (
        Terms(rule=Rule.TARIFF, buses=9, penalties_ueur_per_kwh=(90_000, 0, 1_000), veto_grace=120),
        9,
    ),
    # All classes again, no veto, prices due after readings.
    "dlmp, 3 classes": (
        Terms(rule=Rule.DLMP, lot_wh=3, buses=33, price_grace=5_400, penalties_ueur_per_kwh=(1, 2, 300_000)),
        6,
    ),
}
FORTUNE_NEUR = 10**20
"""More than all bills of a life together."""
STEPS = 46
"""Actions that are drawn in a life, beside those of its beginning and its end."""

TRADE = ["place_batch"] * 4 + ["place_one"] * 2 + ["place_many_small", "pause_for_orders"]
TRADE += ["sweep", "sweep", "cancel", "cancel", "cancel_many", "cancel_many"]
UNTIMELY = ["place_batch", "place_one", "cancel"]
RUN = ["move_money", "change_account", "hand_over", "rotate_oracles", "schedule", "post_other_charges"]
VETO = ["veto"] * 3 + ["post_forecasts"]
DELIVER = [*["close_gate"] * 2, *["draw_prices"] * 5, "read_one", "read_everybody"]
DELIVER += ["post_substation", "post_forecasts", "clear_trades", "clear_trades", "settle", "settle", "settle"]
LATE = ["estimate"] * 3 + ["read_one", "read_everybody", "resettle", "resettle", "settle"]


class TwinLife(Trading, Delivery):
    """One life of a market, twice. `viewing` is the share of actions after which views are asked."""

    def __init__(self, pair: Pair, seed: str, viewing: float) -> None:
        self.pair, self.rng = pair, Random(seed)
        self.viewing, self.viewer = viewing, Random(f"views of {seed}")

    def live(self) -> None:
        """From deployment to the last payment."""
        self.begin()
        for _ in range(STEPS):
            self.act()
        self.finish()

    # --- the beginning --------------------------------------------------------------------------

    def begin(self) -> None:
        pair = self.pair
        pair.start_over()
        self.slots = [FIRST_SLOT_START // self.terms.slot_seconds + offset for offset in range(2)]
        self.slot_seen = self.slots[0]
        self.utility = pair.utility
        self.oracles = list(ORACLES)
        self.traders = [key_of("person", i) for i in range(TRADERS)]
        self.sent_nonces: dict[tuple[str, int], int] = {}
        for index, trader in enumerate(self.traders):
            self.register(trader, bus=1 + index % (self.terms.buses - 1))
        self.deposit(self.utility, self.choose([0, 10**6, EUR, 100 * EUR]))
        self.tariff = self.draw_tariff()
        retail, fee, fit = self.tariff
        schedule = calls.ScheduleSlots(self.slots[0], 2, retail, fee, fit)
        assert isinstance(pair.same(self.utility, schedule), tuple)
        for slot in self.slots:
            if self.seldom():
                self.draw_charges(slot, good=False)
            if not self.seldom():
                self.post_charges_of(slot, self.draw_vector(0, good=True))
        self.plan_time()
        self.plan_end()
        self.go(self.terms.opens(self.slots[-1]))
        for _ in range(2):
            self.place_batch()

    def plan_time(self) -> None:
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
            step += self.rng.randint(actions - 1, actions + 3)
            self.itinerary[step] = moment - self.choose([0, 0, 1])
        self.step = 0

    def plan_end(self) -> None:
        """How the slots end where the actions leave something open."""
        self.with_prices = self.often()
        self.last_metered = [self.rng.randint(-300, 300) for _ in range(8)]
        self.last_order = self.some(range(8))
        self.silent = set(self.some(range(1, 8))[: self.rng.randint(0, 3)])
        self.last_cuts = self.draw_cuts()
        self.last_forecast = self.choose([None, self.last_metered])

    def draw_cuts(self) -> list[int]:
        """How much of each last fill a veto takes."""
        return [self.rng.randint(1, 40) for _ in range(self.rng.randint(0, 5))]

    # --- actions --------------------------------------------------------------------------------

    def act(self) -> None:
        """One action that suits the time, or at times any; then time may pass."""
        now, terms, (first, second) = self.now(), self.terms, self.slots
        suited = TRADE * 3 if now < terms.gate(second) else []
        suited = suited + (DELIVER if now >= terms.gate(first) else [])
        if any(terms.gate(slot) <= now < terms.closing(slot) for slot in self.slots):
            suited += VETO * 3
        if now >= terms.readings_due(first):
            suited += LATE * 2
        name = self.choose(suited * 5 + UNTIMELY + RUN * 5 + VETO + DELIVER + LATE)
        getattr(self, name)()
        self.step += 1
        if self.step in self.itinerary:
            self.go(self.itinerary[self.step])
            for slot in self.slots:
                self.veto_last(slot, self.draw_cuts())

    # --- the end --------------------------------------------------------------------------------

    def finish(self) -> None:
        """Lead both slots to their ends, and pay out."""
        for slot in self.slots:
            self.end(slot)
        if self.viewer.random() < 4 * self.viewing:
            self.pair.compare_all(self.slots)
        assert self.pair.twin.accounts.clearing_neur == {}
        self.pay_out()

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
        if self.choose([False, False, True]):
            self.go(max(terms.final(slot), terms.prices_due(slot)))
            self.clear_all(slot)
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
        """Settle in two calls, half of the lives without money of the utility's, after all have paid."""
        half = len(people) // 2
        if self.choose([False, True]):
            everybody = calls.ClearTrades(slot, tuple(key.address for key in people))
            assert isinstance(self.pair.same(self.pair.payer, everybody), tuple)
        for part in (people[:half], people[half:]):
            if self.choose([False, True]):
                self.drain()
            self.backed(calls.Settle(slot, tuple(key.address for key in part)))
            self.overdraw()
        assert self.pair.twin.slot(slot).settled

    def clear_all(self, slot: int) -> None:
        """From T2 on nobody waits for what it gets for trades, whatever the utility has."""
        self.drain()
        book, accounts = self.pair.twin.slot(slot).book, self.pair.twin.accounts
        everybody = tuple(account.address for account in accounts)
        for _ in range(2):
            assert isinstance(self.pair.same(self.pair.payer, calls.ClearTrades(slot, everybody)), tuple)
        for account in tuple(accounts):
            position = book.position(account)
            if position.trades_neur and not (position.cleared or position.settled):
                owes = calls.Settle(slot, (account.address,))
                assert isinstance(self.pair.same(self.pair.payer, owes), tuple)
        self.pair.witness.checks["nobody waits for its trades"] += 1

    def backed(self, call: calls.Settle | calls.Resettle) -> None:
        """Settle or resettle; where the utility cannot back the result, somebody pays in for it."""
        for amount_neur in (100 * EUR, FORTUNE_NEUR):
            outcome = self.pair.same(self.pair.payer, call)
            if isinstance(call, calls.Settle) and outcome in REFUSED_FOR_MONEY:
                self.check_refused(call.slot, set(call.accounts), str(outcome))
            if outcome == "settlement: clear first":
                people = tuple(account.address for account in self.pair.twin.accounts)
                cleared = self.pair.same(self.pair.payer, calls.ClearTrades(call.slot, people))
                assert isinstance(cleared, tuple), cleared
                outcome = self.pair.same(self.pair.payer, call)
            if outcome != "settlement: utility unfunded":
                assert isinstance(outcome, tuple), outcome
                return
            self.deposit(self.utility, amount_neur)
        assert isinstance(self.pair.same(self.pair.payer, call), tuple)

    def drain(self) -> None:
        """The utility takes out all that it may."""
        free = self.pair.twin.accounts.backing_neur
        taken = self.pair.same(self.utility, calls.Withdraw(free - free % self.pair.neur_per_unit))
        assert isinstance(taken, tuple), taken

    def overdraw(self) -> None:
        """The utility asks for a token unit more than is its own while others are still to settle."""
        accounts, unit = self.pair.twin.accounts, self.pair.neur_per_unit
        free = max(0, accounts.backing_neur)
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


@cache
def deployed(name: str) -> Pair:
    """A market of `MARKETS`, deployed once a process."""
    terms, decimals = MARKETS[name]
    return Pair(terms, decimals, ORACLES, QUORUM)


def live(name: str, number: int, viewing: float) -> Tally:
    """Live a life by its number; what was done in it. Raises AssertionError that names it."""
    pair = deployed(name)
    pair.start_over()
    life = TwinLife(pair, f"{name}: {number}", viewing)
    try:
        life.live()
    except AssertionError as found:
        found.add_note(f"market {name!r}, life {number}, action {pair.tally.actions}")
        raise
    pair.tally.lives[name] += 1
    pair.tally.checks.update(pair.witness.checks)
    return pair.tally
