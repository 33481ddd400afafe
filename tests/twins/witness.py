"""What must hold after every call, seen in the contract's own storage and events alone.

The twin is not asked: it might be wrong in the same way. Books of money, queues of orders and postings
are kept here a second time, in the plainest way there is, from events; storage has to agree with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ledger import calls
from market.accounts import Position
from market.events import (
    AccountResettled,
    AccountSettled,
    Deposited,
    Event,
    ReadingPosted,
    RoleAccepted,
    SlotSettled,
    SubstationPosted,
    TradesCleared,
    Withdrawn,
)
from market.orders import (
    UINT8,
    UINT32,
    Address,
    ClosingPaused,
    FillVetoed,
    Flag,
    GateClosed,
    OrderPlaced,
    OrdersFilled,
    OrderVoided,
    Side,
    VetoPaused,
    VoidReason,
)
from market.settlement import Basis, Estimate, Member, Substation, Valuation, slot_identity
from market.slots import Rule, Tariff, Terms
from tests.twins.words import AccountWords, EntryField, LevelWords, PositionWord, Words, bits

TRADING = (OrderPlaced, OrdersFilled, OrderVoided, FillVetoed, VetoPaused, ClosingPaused, GateClosed)


@dataclass(slots=True)
class Resting:
    """An order as its events tell it; `number` is its place in the order of arrival."""

    number: int
    owner: int
    placed: OrderPlaced
    left: int

    @property
    def rank(self) -> tuple[int, int]:
        """Who is met first has the lowest: by price, then by arrival."""
        worse = -self.placed.tick if self.placed.side == Side.BID else self.placed.tick
        return worse, self.number


@dataclass(slots=True)
class SlotBook:
    """One slot by its events: what rests by class and side, limits by order, bills by account."""

    queues: dict[tuple[int, int], list[Resting]] = field(default_factory=lambda: defaultdict(list))
    placed: dict[tuple[int, int], OrderPlaced] = field(default_factory=dict)
    is_trading: bool = True
    is_closed: bool = False
    charges: tuple[int, ...] = ()
    readings: dict[Address, ReadingPosted] = field(default_factory=dict)
    cleared: dict[Address, int] = field(default_factory=dict)
    settled: dict[Address, AccountSettled] = field(default_factory=dict)
    resettled: dict[Address, AccountResettled] = field(default_factory=dict)
    substation: SubstationPosted | None = None
    is_settled: bool = False


class Witness:
    """Watches one market from its deployment on. `people` are all who may come to have an account."""

    def __init__(self, words: Words, terms: Terms, utility: Address, people: Iterable[Address]) -> None:
        self.words, self.terms, self.utility = words, terms, utility
        self.people = tuple(people)
        self.balances: dict[Address, int] = defaultdict(int)
        self.slots: dict[int, SlotBook] = defaultdict(SlotBook)
        self.checks = Counter[str]()
        self._arrived = 0
        self.scale = (1, 1)

    def see(self, call: calls.Call, outcome: tuple[Event, ...] | str) -> None:
        """Look at everything after a call."""
        events = () if isinstance(outcome, str) else outcome
        accounts = {who: found for who in self.people if (found := self.words.account(who)) is not None}
        self._ids = {account.id: who for who, account in accounts.items()}
        by_slot: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            self._book_money(event)
            if (slot := getattr(event, "slot", None)) is not None:
                by_slot[slot].append(event)
        for slot, told in by_slot.items():
            self._follow(slot, told, accounts)
        self._check_money(accounts)
        self._check_reserved(accounts)
        traded = {slot for slot, told in by_slot.items() if any(isinstance(e, TRADING) for e in told)}
        for slot in traded:
            self._check_book(slot, accounts)
            self._check_limits(slot, by_slot[slot], accounts)
        for slot, told in by_slot.items():
            self._check_bills(slot, told, accounts)
        if isinstance(call, calls.Withdraw) and events:
            taker = accounts[events[0].account]  # type: ignore[union-attr]
            assert taker.id == 0 or taker.balance >= taker.reserved

    # --- money ----------------------------------------------------------------------------------

    def _book_money(self, event: Event) -> None:
        balances = self.balances
        match event:
            case RoleAccepted(role=0, holder=holder):
                balances[holder] = balances.pop(self.utility, 0)
                for book in self.slots.values():
                    if self.utility in book.cleared:
                        book.cleared[holder] = book.cleared.pop(self.utility)
                self.utility = holder
            case Deposited():
                balances[event.account] += event.amount
            case Withdrawn():
                balances[event.account] -= event.amount
            case TradesCleared():
                balances[event.account] -= event.amount
            case AccountSettled() | AccountResettled():
                others = event.charge + event.closeout + event.imbalance + event.penalty
                trades = event.trades if isinstance(event, AccountSettled) else 0
                if event.account in self.slots[event.slot].cleared:
                    trades = 0
                balances[event.account] -= trades + others
                balances[self.utility] += others

    def _check_money(self, accounts: dict[Address, AccountWords]) -> None:
        """Every balance is what the events make it; tokens, clearing and backing fit to them."""
        for who, account in accounts.items():
            assert account.balance == self.balances[who], f"{who} has {account.balance}"
        uncovered = self.words.uncovered()
        clearing = {slot: self.words.clearing(slot) for slot in self.slots}
        for slot, book in self.slots.items():
            paid = book.cleared | {who: bill.trades for who, bill in book.settled.items()}
            assert clearing[slot] == sum(paid.values()) >= 0
            assert clearing[slot] == 0 or not book.is_settled
        utility = accounts[self.utility]
        assert uncovered == sum(max(0, a.reserved - a.balance) for a in accounts.values() if a is not utility)
        self.checks["backing"] += 1
        self.checks["backing, something uncovered"] += uncovered > 0
        assert utility.balance - utility.reserved - uncovered >= 0, "the utility backs too little"
        self.checks["token balance = Σ balances + Σ clearing"] += 1
        neur_per_unit, units_per_neur = self.scale
        held = sum(account.balance for account in accounts.values()) + sum(clearing.values())
        assert self.words.token_balance() * neur_per_unit == held * units_per_neur

    def _check_reserved(self, accounts: dict[Address, AccountWords]) -> None:
        """What an account has reserved is the sum over its slots."""
        self.checks["reserved = Σ reserves by slot"] += 1
        for who, account in accounts.items():
            reserves = [self.words.position(slot, account.id).reserve for slot in self.slots]
            assert account.reserved == sum(reserves), f"{who} has reserved {account.reserved}, not {reserves}"

    # --- orders by their events -----------------------------------------------------------------

    def _follow(self, slot: int, events: Sequence[Event], accounts: dict[Address, AccountWords]) -> None:
        """Place, fill and void in the order of the events: each maker has to be the one whose turn it is."""
        book = self.slots[slot]
        incoming: Resting | None = None
        for event in events:
            match event:
                case OrderPlaced():
                    self._rest(book, incoming)
                    self._arrived += 1
                    owner = accounts[event.trader].id
                    incoming = Resting(self._arrived, owner, event, event.quantity)
                    assert (owner, event.nonce) not in book.placed, "a nonce was used twice"
                    book.placed[owner, event.nonce] = event
                    if not book.charges:
                        book.charges = self.words.vector(slot, 0, self.terms.buses)
                case OrdersFilled():
                    assert incoming is not None
                    self._fill(book, incoming, event, accounts)
                case OrderVoided():
                    incoming = self._void(book, incoming, event, accounts)
                case FillVetoed() | VetoPaused() | ClosingPaused() | GateClosed():
                    book.is_trading = False
                case ReadingPosted():
                    book.readings[event.account] = event
                case SubstationPosted():
                    book.substation = event
                case TradesCleared():
                    assert event.account not in book.settled.keys() | book.cleared, "cleared twice"
                    assert event.amount != 0
                    book.cleared[event.account] = event.amount
                    self.checks["cleared before settlement"] += 1
                case AccountSettled():
                    assert event.account not in book.settled, "settled twice"
                    cleared = book.cleared.get(event.account)
                    assert cleared is None or cleared == event.trades
                    book.settled[event.account] = event
                case AccountResettled():
                    assert event.account not in book.resettled, "resettled twice"
                    book.resettled[event.account] = event
                case SlotSettled():
                    book.is_settled = True
            book.is_closed = book.is_closed or isinstance(event, GateClosed)
        self._rest(book, incoming)

    def _rest(self, book: SlotBook, incoming: Resting | None) -> None:
        """What is left of an order rests, where it crosses nothing."""
        if incoming is None or incoming.left == 0:
            return
        assert incoming.placed.flags != Flag.IMMEDIATE_OR_CANCEL, "an immediate order rests"
        placed = incoming.placed
        book.queues[placed.energy_class, placed.side].append(incoming)
        self.checks["book never crossed"] += 1
        bids, asks = (book.queues[placed.energy_class, side] for side in Side)
        if bids and asks:
            assert max(r.placed.tick for r in bids) < min(r.placed.tick for r in asks), "the book is crossed"

    def _fill(
        self,
        book: SlotBook,
        taker: Resting,
        event: OrdersFilled,
        accounts: dict[Address, AccountWords],
    ) -> None:
        order = taker.placed
        assert (event.taker, event.taker_nonce, event.taker_side) == (order.trader, order.nonce, order.side)
        queue = book.queues[order.energy_class, 1 - order.side]
        for maker in event.makers:
            owner, nonce, quantity = maker >> 40, maker >> 32 & UINT8, maker & UINT32
            turn = min(queue, key=lambda resting: resting.rank)
            self.checks["price-time priority"] += 1
            named = (turn.owner, turn.placed.nonce, turn.placed.tick)
            assert named == (owner, nonce, event.tick), f"{event}: it was the turn of {turn}"
            assert quantity == min(taker.left, turn.left) > 0
            assert owner != taker.owner, "an order met its own account's"
            taker.left -= quantity
            turn.left -= quantity
            if turn.left == 0:
                queue.remove(turn)
            for party in (taker, turn):
                self._check_limit(book, party, event.tick, accounts)

    def _check_limit(
        self, book: SlotBook, party: Resting, tick: int, accounts: dict[Address, AccountWords]
    ) -> None:
        """All-in at its own bus nobody pays more, or gets less, than was signed."""
        self.checks["limit as signed"] += 1
        bus = accounts[self._ids[party.owner]].bus
        all_in = 100 * tick + book.charges[bus]
        limit = party.placed.limit_price
        assert all_in <= limit if party.placed.side == Side.BID else all_in >= limit

    def _void(
        self,
        book: SlotBook,
        incoming: Resting | None,
        event: OrderVoided,
        accounts: dict[Address, AccountWords],
    ) -> Resting | None:
        """Take a resting order out of its queue; or what is left of the one that came in."""
        order = incoming.placed if incoming else None
        if order and incoming and (order.trader, order.nonce) == (event.trader, event.nonce):
            assert event.quantity == incoming.left
            return None
        owner = accounts[event.trader].id
        placed = book.placed[owner, event.nonce]
        queue = book.queues[placed.energy_class, placed.side]
        (voided,) = [r for r in queue if (r.owner, r.placed.nonce) == (owner, event.nonce)] or [None]
        if voided is not None:
            given_back = event.quantity - voided.left
            assert given_back == 0 or (given_back > 0 and not book.is_trading), (
                f"{event}: {voided.left} Wh rested"
            )
            queue.remove(voided)
        else:  # a veto gave it back
            assert event.reason == VoidReason.GATE_CLOSED and not book.is_trading
        return incoming

    # --- orders in storage ----------------------------------------------------------------------

    def _check_book(self, slot: int, accounts: dict[Address, AccountWords]) -> None:
        """Queues in storage are those of the events; positions and reserves are what they make together."""
        words, book, state = self.words, self.slots[slot], self.words.state(slot)
        held = {account.id: words.position(slot, account.id) for account in accounts.values()}
        by_id = {account.id: account for account in accounts.values()}
        tariff = tariff_of(state)
        is_closing, is_closed = bool(bits(state, 104, 104)), bool(bits(state, 101, 101))
        assert is_closed == book.is_closed
        if is_closed:
            self.checks["Σ energy = 0 and Σ trades = 0"] += 1
            assert sum(position.net for position in held.values()) == 0
            assert sum(position.trades for position in held.values()) == 0
            assert not any(sum(position.resting) for position in held.values())
        elif not is_closing:
            levels = list(words.levels(slot))
            self._check_queues(book, levels)
            self._check_positions(held, levels)
            for number, position in held.items():
                entries = [(lv, e) for lv in levels for e in lv.entries if e.trader == number]
                self._check_paid_in(position, entries)
                if number:  # what the utility pays is its trades alone
                    charge = book.charges[by_id[number].bus] if book.charges else 0
                    self._check_reserve(position, entries, charge, tariff, self._penalty(slot, number))
        if is_closed:
            for number, position in held.items():
                if not position.settled:
                    self._check_paid_in(position, [])
                if number and not position.settled:
                    charge = book.charges[by_id[number].bus] if book.charges else 0
                    self._check_reserve(position, [], charge, tariff, self._penalty(slot, number))

    def _check_queues(self, book: SlotBook, levels: Sequence[LevelWords]) -> None:
        """Before the first veto: the same orders rest, with as much left, in the same order."""
        if not book.is_trading:
            return
        self.checks["queues in storage = queues by events"] += 1
        found = defaultdict(list)
        for level in levels:
            rests = [(e.trader, e.nonce, level.tick, e.open) for e in level.entries if e.open]
            if rests:
                found[level.energy_class, int(level.side), level.tick] = rests
        expected = defaultdict(list)
        for (energy_class, side), queue in book.queues.items():
            for r in queue:
                key = (energy_class, int(side), r.placed.tick)
                expected[key].append((r.owner, r.placed.nonce, r.placed.tick, r.left))
        assert found == expected

    def _check_positions(self, held: dict, levels: Sequence[LevelWords]) -> None:
        """Before closing a maker's fill counts as resting, and its money is nobody's yet."""
        self.checks["positions = entries"] += 1
        resting = {number: [0, 0] for number in held}
        makers_net = makers_trades = 0
        for level in levels:
            sign = 1 if level.side == Side.BID else -1
            for entry in level.entries:
                resting[entry.trader][level.side] += entry.quantity
                makers_net += sign * entry.filled
                makers_trades += sign * entry.filled * 100 * level.tick
        for number, position in held.items():
            assert list(position.resting) == resting[number], f"account {number}"
            assert max(position.counts) <= 16
        assert sum(position.net for position in held.values()) == -makers_net
        assert sum(position.trades for position in held.values()) == -makers_trades

    def _penalty(self, slot: int, number: int) -> int:
        """What an account pays for its trades of classes if nothing is certified."""
        penalties = enumerate(self.terms.penalties_ueur_per_kwh, start=1)
        return sum(max(0, -self.words.class_net(slot, number, c)) * penalty for c, penalty in penalties)

    def _check_reserve(
        self,
        position: PositionWord,
        entries: Sequence[tuple[LevelWords, EntryField]],
        charge: int,
        tariff: Tariff,
        penalty: int,
    ) -> None:
        """No reading, and no hub price within the tariff, costs more than is reserved for it."""
        self.checks["reserve covers the worst case"] += 1
        self.checks["reserve covers the worst case, with a penalty"] += penalty > 0
        penalties = (0, *self.terms.penalties_ueur_per_kwh)
        reserved = position.reserve + (max(0, position.trades) if position.cleared else 0)
        for outcome in outcomes(self.terms.rule, charge, tariff):
            cost = outcome(position.net, position.trades) + penalty
            for level, entry in entries:
                is_bid = level.side == Side.BID
                bought = entry.quantity if is_bid else -entry.quantity
                owed = 0 if is_bid else entry.quantity * penalties[level.energy_class]
                cost += max(0, outcome(bought, bought * 100 * level.tick) + owed)
            assert cost <= reserved, f"{cost} n€ may be due, and {reserved} are reserved"

    def _check_paid_in(
        self, position: PositionWord, entries: Sequence[tuple[LevelWords, EntryField]]
    ) -> None:
        """What trades pay into the slot's clearing is reserved, or was cleared from there."""
        self.checks["reserve covers what is paid in"] += 1
        reserved = position.reserve + (max(0, position.trades) if position.cleared else 0)
        paid_in = position.trades
        for level, entry in entries:
            worth = entry.quantity * 100 * level.tick
            paid_in += max(0, worth if level.side == Side.BID else -worth)
        assert paid_in <= reserved, "what goes into the clearing is not reserved"

    def _check_limits(
        self, slot: int, events: Sequence[Event], accounts: dict[Address, AccountWords]
    ) -> None:
        """Who placed an order is within its capacity, its credit, and what it may sell."""
        for event in events:
            if not isinstance(event, OrderPlaced):
                continue
            self.checks["nobody beyond their limit"] += 1
            account = accounts[event.trader]
            position = self.words.position(slot, account.id)
            if event.side == Side.BID:
                assert position.net + position.resting[Side.BID] <= account.import_capacity
            else:
                assert -position.net + position.resting[Side.ASK] <= account.export_capacity
                assert event.energy_class == 0 or account.classes >> event.energy_class - 1 & 1
            assert account.id == 0 or account.reserved <= account.balance + account.credit_limit

    # --- bills ----------------------------------------------------------------------------------

    def _check_bills(self, slot: int, events: Sequence[Event], accounts: dict[Address, AccountWords]) -> None:
        """Once all have settled postings sum to 0 and the slot's identity holds; after resettlements too."""
        book = self.slots[slot]
        changed = any(isinstance(event, SlotSettled | AccountResettled) for event in events)
        if not (book.is_settled and changed):
            return
        self.checks["postings of a slot sum to 0"] += 1
        assert sum(bill.trades for bill in book.settled.values()) == 0
        self.checks["identity of the slot"] += 1
        utility_bill = next(
            bill for bill in book.settled.values() if accounts_id(accounts, bill.account) == 0
        )
        state = self.words.state(slot)
        charges = self.words.vector(slot, 0, self.terms.buses) if bits(state, 98, 98) else None
        prices = self.words.vector(slot, 1, self.terms.buses) if bits(state, 100, 100) else None
        rules = {bill.rule for who, bill in book.settled.items()}
        assert len(rules) == 1
        penalties = self.terms.penalties_ueur_per_kwh
        valuation = Valuation(Rule(rules.pop()), tariff_of(state), charges, prices, penalties)
        members, received = [], -utility_bill.trades
        for who, bill in book.settled.items():
            if bill is not utility_bill:
                members.append(self._member(slot, who, bill, accounts[who]))
                received += bill.charge + bill.closeout + bill.imbalance + bill.penalty
                if more := book.resettled.get(who):
                    received += more.charge + more.closeout + more.imbalance + more.penalty
        utility = Position(net_wh=utility_bill.contracted, trades_neur=utility_bill.trades)
        posted = book.substation
        substation = Substation(0, 0, (0,) * self.terms.buses)
        if posted is not None:
            passive = [posted.passive[b // 8] >> 32 * (b % 8) & UINT32 for b in range(self.terms.buses)]
            substation = Substation(posted.net_import, posted.wholesale, passive)
        self.checks["identity, without charges"] += charges is None
        self.checks["identity, without prices"] += prices is None
        self.checks["identity, with hub trades"] += utility_bill.trades != 0
        self.checks["identity, with the substation's reading"] += posted is not None
        self.checks["identity, with a resettlement"] += bool(book.resettled)
        identity = slot_identity(utility, members, substation, valuation)
        outside = valuation.tariff.retail * sum(substation.passive_wh)
        outside -= substation.wholesale * substation.net_import_wh
        assert identity.sources.total == received + outside

    def _member(self, slot: int, who: Address, bill: AccountSettled, account: AccountWords) -> Member:
        """An account with what it is settled by now."""
        book, classes = self.slots[slot], len(self.terms.penalties_ueur_per_kwh)
        more = book.resettled.get(who)
        by_reading = more is not None or bill.basis == Basis.READING
        metered = more.metered if more else bill.metered
        certified = book.readings[who].certified if by_reading else (0,) * classes
        nets = {c: self.words.class_net(slot, account.id, c) for c in range(1, classes + 1)}
        position = Position(net_wh=bill.contracted, class_net_wh=nets, trades_neur=bill.trades)
        return Member(account.bus, position, Estimate(metered, Basis(bill.basis), certified))


def accounts_id(accounts: dict[Address, AccountWords], who: Address) -> int:
    """Id of who settled; who handed over the utility's role since had id 0."""
    return accounts[who].id if who in accounts else 0


def tariff_of(state: int) -> Tariff:
    """Tariff in a slot's state word."""
    return Tariff(*(bits(state, first, first + 31, signed=True) for first in (0, 32, 64)))


def outcomes(rule: Rule, charge: int, tariff: Tariff):
    """What contracted energy and its trades come to: delivered, or not and closed out at either end."""

    def delivered(net: int, trades: int) -> int:
        return trades + charge * net

    if rule == Rule.DLMP:
        return (
            delivered,
            lambda net, trades: trades - tariff.hub_export * net,
            lambda net, trades: trades - tariff.hub_import * net,
        )

    def undelivered(net: int, trades: int) -> int:
        price = tariff.surplus_price(charge) if net > 0 else tariff.shortfall_price(charge)
        return trades + max(0, charge * net) - price * net

    return delivered, undelivered
