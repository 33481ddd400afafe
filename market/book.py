"""The book of one slot: a continuous double auction in price-time priority, one axis of hub ticks a class.

Twin of `book.vy`, of the rules in `orders.vy` and of `positions.vy`; queues of resting orders are in
`market.levels`. The book belongs to one slot and keeps the slot's positions; money is in the accounts it
is given. Whoever takes resting orders changes their levels and its own position, not the makers': these are
credited when the gate closes. Whatever faster matcher comes later has to answer every command with the
same events.

OrderRefused   raised by callers that place one order alone: its first broken rule
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from market.accounts import (
    RESERVE_MAX_NEUR,
    RESERVED_MAX_NEUR,
    Account,
    Accounts,
    Position,
    Refused,
    require,
)
from market.fills import NO_FILLS, TakenLevel, names_a_level, shortened, vetoed
from market.levels import GAPS_PER_CALL, PLACES_MAX, Entry, Head, Level, Shelf
from market.oracle import Hash
from market.orders import (
    NOBODY,
    Berth,
    BookEvent,
    Cancel,
    CloseGate,
    ClosingPaused,
    Command,
    FillVetoed,
    Flag,
    GateClosed,
    NonceCancelled,
    Order,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Place,
    Reject,
    Side,
    Veto,
    VetoFills,
    VetoPaused,
    VoidReason,
)
from market.reserves import reserve_per_wh
from market.slots import Tariff, Terms
from market.units import TICK_MAX, ask_tick, bid_tick, hub_price

VISITS_MAX = 128
"""Entries one incoming order may meet."""
MAKERS_PER_EVENT = 16
"""Makers that one `OrdersFilled` names at most."""
RESTING_MAX = 16
"""Orders of an account in a slot on one side that came to rest and were not voided."""
TRADES_MAX_NEUR = 2**50 * hub_price(1)
"""Worth of an account's trades in a slot, bought less sold, beyond which it places no more."""
ENTRIES_PER_CALL = 512
"""Entries that one call of gate closure goes through."""

OrderKey = tuple[int, int]
"""Account id and nonce: an order of the slot for good, since a nonce is never used twice."""


class OrderRefused(Refused):
    """An order sent alone broke the rule of `reject`."""

    def __init__(self, reject: Reject, order: Order) -> None:
        super().__init__(reject.rule, order)
        self.reject = reject


@dataclass(slots=True, eq=False)
class Incoming:
    """An accepted order on the hub's axis, with what is left of it and the entries it visited."""

    account: Account
    order: Order
    side: Side
    tick: int
    left_wh: int
    visits: int = 0


class Book:
    """One slot's book. `tariff` and `charges` (ν by bus, µ€/kWh) are None until they are known.

    `accounts` is shared with the market: reserves are taken from it. A book whose charges are not
    known refuses orders; cancels kill nonces even then. `fills` holds, in markets with a veto, what every
    order took of every level, the last at the end; the contract keeps its hash alone. `visits` counts
    the entries that orders have met.
    """

    def __init__(  # noqa: PLR0917 - what a slot is made of
        self,
        slot: int,
        terms: Terms,
        accounts: Accounts,
        hash_of: Hash,
        tariff: Tariff | None = None,
        charges: Sequence[int] | None = None,
    ) -> None:
        self.slot = slot
        self.terms = terms
        self.accounts = accounts
        self.tariff = tariff
        self.charges = charges
        self.fills: list[TakenLevel] = []
        self.visits = 0
        self.closing = False
        self.snapshot: int | None = None
        self._hash_of = hash_of
        self._nonces: set[OrderKey] = set()
        classes = range(len(terms.penalties_ueur_per_kwh) + 1)
        self._shelves = {(c, side): Shelf(c, side) for c in classes for side in Side}
        self._opened: list[Level] = []
        self._berths: dict[OrderKey, tuple[Level, int]] = {}
        self._positions: dict[int, Position] = {}
        self._passed = 0

    def apply(self, command: Command) -> tuple[BookEvent, ...]:
        """Carry out a command and return its events.

        A bad order changes nothing and answers with OrderRejected alone. Raises Refused for a cancel, a
        veto or a gate closure that breaks a rule.
        """
        match command:
            case Place():
                return self._place(command)
            case Cancel():
                return self._cancel(command)
            case VetoFills():
                return self._veto_fills(command)
            case CloseGate():
                return self._close_gate(command)

    # --- what anybody may look at ---------------------------------------------------------------

    @property
    def ordered(self) -> bool:
        """Whether an order ever came to rest."""
        return bool(self._opened)

    @property
    def gate_closed(self) -> bool:
        """Whether closing went past the last entry and the accounts that settle are fixed."""
        return self.snapshot is not None

    def position(self, account: Account) -> Position:
        """An account's position; an empty one where it has not traded."""
        return self._positions.get(account.id) or Position()

    def held(self, account: Account) -> Position:
        """An account's position, to be changed."""
        return self._positions.setdefault(account.id, Position())

    def resting(self, account: Account, nonce: int) -> tuple[Berth, int] | None:
        """Where an order rests, and its Wh; None where nothing of it does or closing has begun."""
        level, place = self._berths.get((account.id, nonce), (None, 0))
        if level is None or self.closing or level.open_wh(place) == 0:
            return None
        return level.berth(place), level.open_wh(place)

    def nonce_used(self, account: Account, nonce: int) -> bool:
        """Whether a nonce was placed or cancelled."""
        return (account.id, nonce) in self._nonces

    def best(self, energy_class: int, side: Side) -> tuple[int, int] | None:
        """Best tick of a side and the Wh there, 0 if gaps are all that is left to meet; None if nothing is.

        It is what an order would meet: energy that a veto gave back to a level that had been passed does
        not count, and nothing does once closing has begun.
        """
        level = self._shelves[energy_class, side].best
        return None if level is None or self.closing else (level.tick, level.resting_wh())

    def level_wh(self, energy_class: int, side: Side, tick: int) -> int:
        """Wh resting at a tick, 0 once closing has begun."""
        level = self._shelves[energy_class, side].level(tick)
        return 0 if level is None or self.closing else level.resting_wh()

    def charge(self, account: Account) -> int:
        """ν of an account's bus; 0 where the charges are not known."""
        return 0 if self.charges is None else self.charges[account.bus]

    # --- entry ----------------------------------------------------------------------------------

    def reject(self, command: Place) -> Reject | None:
        """The first rule that an order breaks, None where it is good."""
        order, terms = command.order, self.terms
        account = self.accounts.find(order.trader)
        if account is None:
            return Reject.UNKNOWN_TRADER
        if command.signer != order.trader:
            return Reject.BAD_SIGNATURE
        if order.relayer not in (NOBODY, command.sender):
            return Reject.WRONG_RELAYER
        if not self._is_open(command.time):
            return Reject.SLOT_NOT_OPEN
        if order.expiry != 0 and command.time >= order.expiry:
            return Reject.EXPIRED
        if self.nonce_used(account, order.nonce):
            return Reject.NONCE_USED
        if order.side not in (Side.BID, Side.ASK) or order.flags not in (
            Flag.NONE,
            Flag.IMMEDIATE_OR_CANCEL,
        ):
            return Reject.MALFORMED
        if order.energy_class > len(terms.penalties_ueur_per_kwh):
            return Reject.UNKNOWN_CLASS
        if order.side == Side.ASK and not account.may_sell(order.energy_class):
            return Reject.NOT_REGISTERED_SELLER
        if order.quantity_wh == 0 or order.quantity_wh % terms.lot_wh:
            return Reject.NOT_WHOLE_LOTS
        if not -TICK_MAX <= self._tick(order, account) <= TICK_MAX:
            return Reject.PRICE_OFF_RANGE
        return self._reject_size(order, account)

    def _reject_size(self, order: Order, account: Account) -> Reject | None:
        """The rules on what an account may have at once."""
        position, side = self.position(account), Side(order.side)
        rests = order.flags != Flag.IMMEDIATE_OR_CANCEL
        if rests and position.resting_count[side] >= RESTING_MAX:
            return Reject.TOO_MANY_RESTING
        most_wh = position.in_side_wh(side) + position.resting_wh[side] + order.quantity_wh
        if most_wh > account.capacity_wh(side) or abs(position.trades_neur) > TRADES_MAX_NEUR:
            return Reject.OVER_CAPACITY
        per_wh = self._reserve_per_wh(account, order.energy_class, side, self._tick(order, account))
        needed_neur = order.quantity_wh * per_wh
        fits = (
            position.reserve_neur + needed_neur <= RESERVE_MAX_NEUR
            and account.reserved_neur + needed_neur <= RESERVED_MAX_NEUR
        )
        if not (fits and self.accounts.affords(account, needed_neur)):
            return Reject.INSUFFICIENT_FUNDS
        return None

    def _is_open(self, time: int) -> bool:
        known = self.tariff is not None and self.charges is not None
        return known and self.terms.opens(self.slot) <= time < self.terms.gate(self.slot)

    def _tick(self, order: Order, account: Account) -> int:
        to_tick = bid_tick if order.side == Side.BID else ask_tick
        return to_tick(order.limit_ueur_per_kwh, self.charge(account))

    def _place(self, command: Place) -> tuple[BookEvent, ...]:
        order = command.order
        reject = self.reject(command)
        if reject is not None:
            return (OrderRejected(order.slot, order.trader, order.nonce, reject),)
        account = self.accounts.get(order.trader)
        taker = Incoming(account, order, Side(order.side), self._tick(order, account), order.quantity_wh)
        self._nonces.add((account.id, order.nonce))
        placed = OrderPlaced(
            self.slot,
            order.trader,
            order.nonce,
            order.side,
            order.energy_class,
            taker.tick,
            order.limit_ueur_per_kwh,
            order.quantity_wh,
            order.flags,
            order.expiry,
        )
        return (placed, *self._match(taker, command.time), *self._rest(taker))

    # --- matching -------------------------------------------------------------------------------

    def _match(self, taker: Incoming, time: int) -> Iterator[BookEvent]:
        """Meet level after level of the other side, the best first, while they cross."""
        shelf = self._shelves[taker.order.energy_class, Side(1 - taker.side)]
        while taker.left_wh > 0 and taker.visits < VISITS_MAX:
            level = shelf.best
            if level is None or not level.is_crossed_by(taker.tick):
                break
            yield from self._meet(level, taker, time)
            shelf.unmark_if_passed(level)

    def _meet(self, level: Level, taker: Incoming, time: int) -> Iterator[BookEvent]:
        """Visit the entries of a level, oldest first: pass gaps, void expired and own orders, fill others."""
        before_wh, makers = taker.left_wh, list[int]()
        while taker.left_wh > 0 and taker.visits < VISITS_MAX and not level.is_passed:
            taker.visits += 1
            self.visits += 1
            entry, open_wh = level.entries[level.head], level.open_wh(level.head)
            if open_wh == 0:
                pass  # a gap
            elif entry.has_expired(time):
                yield self._void(level, level.head, VoidReason.EXPIRED)
            elif entry.account is taker.account:
                yield self._void(level, level.head, VoidReason.OWN_ORDER)
            else:
                filled_wh = min(taker.left_wh, open_wh)
                taker.left_wh -= filled_wh
                level.taken_wh += filled_wh
                makers.append(entry.account.id << 40 | entry.nonce << 32 | filled_wh)
                if len(makers) == MAKERS_PER_EVENT:
                    yield _filled(taker, level, makers)
                    makers = []
            if level.open_wh(level.head) == 0:
                level.advance()
        if makers:
            yield _filled(taker, level, makers)
        if taker.left_wh < before_wh:
            self._take(taker, level, before_wh - taker.left_wh)

    def _take(self, taker: Incoming, level: Level, quantity_wh: int) -> None:
        """Book what an order took of a level: for the taker alone, and as the slot's last fill."""
        order = taker.order
        position = self.held(taker.account)
        position.trade(taker.side, level.energy_class, level.tick, quantity_wh)
        self._reserve(taker.account, level.energy_class, taker.side, level.tick, quantity_wh)
        if self.terms.veto_grace > 0:
            self.fills.append(
                TakenLevel(
                    self.fill_hash,
                    taker.account.id,
                    order.nonce,
                    taker.side,
                    level.energy_class,
                    level.tick,
                    quantity_wh,
                )
            )

    def _rest(self, taker: Incoming) -> Iterator[BookEvent]:
        """Let what is left of an order rest, or void it."""
        order = taker.order
        shelf = self._shelves[order.energy_class, taker.side]
        level = shelf.level(taker.tick)
        is_full = level is not None and len(level.entries) == PLACES_MAX
        if taker.left_wh == 0:
            return
        if taker.visits == VISITS_MAX:
            yield self._voided(taker, VoidReason.VISITS)
        elif order.flags == Flag.IMMEDIATE_OR_CANCEL:
            yield self._voided(taker, VoidReason.IMMEDIATE_OR_CANCEL)
        elif is_full:
            yield self._voided(taker, VoidReason.LEVEL_FULL)
        else:
            if level is None:
                level = shelf.opened(taker.tick)
                self._opened.append(level)
            self._berths[taker.account.id, order.nonce] = level, len(level.entries)
            shelf.append(level, Entry(taker.account, order.nonce, taker.left_wh, order.expiry))
            position = self.held(taker.account)
            position.resting_wh[taker.side] += taker.left_wh
            position.resting_count[taker.side] += 1
            self._reserve(taker.account, level.energy_class, taker.side, taker.tick, taker.left_wh)

    def _voided(self, taker: Incoming, reason: VoidReason) -> OrderVoided:
        return OrderVoided(self.slot, taker.account.address, taker.order.nonce, taker.left_wh, reason)

    # --- resting orders -------------------------------------------------------------------------

    def _void(self, level: Level, place: int, reason: VoidReason) -> OrderVoided:
        """Void what rests of an entry: it leaves the position and releases its reserve."""
        entry = level.entries[place]
        quantity_wh = level.void(place)
        position = self.held(entry.account)
        position.resting_wh[level.side] -= quantity_wh
        # Closing may void an order again of which a veto gave back a part.
        if reason != VoidReason.GATE_CLOSED:
            position.resting_count[level.side] -= 1
        self._reserve(entry.account, level.energy_class, level.side, level.tick, -quantity_wh)
        return OrderVoided(self.slot, entry.account.address, entry.nonce, quantity_wh, reason)

    def _reserve_per_wh(self, account: Account, energy_class: int, side: Side, tick: int) -> int:
        if account.is_utility:
            return max(0, hub_price(tick) if side == Side.BID else -hub_price(tick))
        if self.tariff is None:
            raise ValueError(f"slot {self.slot} has no tariff, so nothing in it can have a reserve")
        return reserve_per_wh(
            self.terms.rule,
            side,
            hub_price(tick),
            self.charge(account),
            self.tariff,
            self.terms.penalty(energy_class),
        )

    def _reserve(self, account: Account, energy_class: int, side: Side, tick: int, quantity_wh: int) -> None:
        """Reserve for energy at a tick; a negative quantity releases."""
        change_neur = quantity_wh * self._reserve_per_wh(account, energy_class, side, tick)
        self.accounts.reserve(account, self.held(account), change_neur)

    # --- cancel ---------------------------------------------------------------------------------

    def _cancel(self, command: Cancel) -> tuple[BookEvent, ...]:
        account = self.accounts.get(command.trader)
        require(command.signer == command.trader, "book: bad signature", command)
        require(command.time < self.terms.gate(self.slot), "book: gate passed", command)
        if not self.nonce_used(account, command.nonce):
            self._nonces.add((account.id, command.nonce))
            return (NonceCancelled(self.slot, command.trader, command.nonce),)
        berth, _ = self.resting(account, command.nonce) or (None, 0)
        require(berth == command.berth, "book: nothing to cancel", command)
        level, place = self._berths[account.id, command.nonce]
        voided = self._void(level, place, VoidReason.CANCELLED)
        if place == level.head:
            level.pass_gaps()
            self._shelves[level.energy_class, level.side].unmark_if_passed(level)
        return (voided,)

    # --- veto -----------------------------------------------------------------------------------

    @property
    def fill_hash(self) -> bytes:
        """F: the hash over all fills of the slot in their order, as the contract keeps it."""
        return self.fills[-1].hash(self.slot, self._hash_of) if self.fills else NO_FILLS

    def _veto_fills(self, command: VetoFills) -> tuple[BookEvent, ...]:
        """Take back fills, the last first; all of the call that gaps leave room for or, refused, none."""
        in_time = self.terms.gate(self.slot) <= command.time < self.terms.closing(self.slot)
        require(self.tariff is not None, "slots: not scheduled", self.slot)
        require(in_time, "veto: not now", command.time)
        left, room = self.fills, GAPS_PER_CALL
        heads: dict[Level, Head] = {}
        done: list[Veto] = []
        paused: list[VetoPaused] = []
        for veto in command.vetoes:
            require(names_a_level(veto), "veto: not the last fill", veto)
            named = TakenLevel.named_by(veto, self.accounts.get(veto.taker).id)
            require(left[-1:] == [named], "veto: not the last fill", veto)
            require(0 < veto.cut <= veto.quantity, "veto: more than was filled", veto)
            level = self._shelves[veto.energy_class, Side(1 - veto.taker_side)].opened(veto.tick)
            passed = heads.get(level, Head(level.head, level.taken_wh))
            head = heads[level] = level.before_gaps(passed, room)
            if level.is_behind_gap(head):
                paused = [VetoPaused(self.slot, level.energy_class, level.side, level.tick, head.place)]
                break
            room -= passed.place - head.place
            heads[level] = level.given_back(head, veto.cut)
            left = shortened(left, veto.cut)
            done.append(veto)
        self.fills = left
        for level, head in heads.items():
            level.head, level.taken_wh = head
        return (*(self._take_back(veto) for veto in done), *paused)

    def _take_back(self, veto: Veto) -> FillVetoed:
        """Undo the taker's trade; what the makers traded last rests again, until closing voids it."""
        taker, side = self.accounts.get(veto.taker), Side(veto.taker_side)
        self.held(taker).trade(side, veto.energy_class, veto.tick, -veto.cut)
        self._reserve(taker, veto.energy_class, side, veto.tick, -veto.cut)
        return vetoed(self.slot, veto)

    # --- gate closure ---------------------------------------------------------------------------

    def _close_gate(self, command: CloseGate) -> tuple[BookEvent, ...]:
        """Go through the entries, the level opened last first; past the last one the gate is closed."""
        require(command.time >= self.terms.closing(self.slot), "book: before closing", command)
        require(not self.gate_closed, "book: gate is closed", self.slot)
        self.closing = True
        entries = [(level, place) for level in reversed(self._opened) for place in range(len(level.entries))]
        end = self._passed + min(command.limit, ENTRIES_PER_CALL)
        events: list[BookEvent] = []
        for level, place in entries[self._passed : end]:
            self._credit_maker(level, place)
            if level.open_wh(place) > 0:
                events.append(self._void(level, place, VoidReason.GATE_CLOSED))
        self._passed = min(end, len(entries))
        if self._passed == len(entries):
            self.snapshot = len(self.accounts)
            events.append(GateClosed(self.slot, self.snapshot))
        else:
            level, place = entries[self._passed]
            events.append(ClosingPaused(self.slot, level.energy_class, level.side, level.tick, place))
        return tuple(events)

    def _credit_maker(self, level: Level, place: int) -> None:
        """Move what was filled of an entry from resting to traded; the reserve, for that tick, stays."""
        filled_wh = level.filled_wh(place)
        if filled_wh > 0:
            position = self.held(level.entries[place].account)
            position.resting_wh[level.side] -= filled_wh
            position.trade(level.side, level.energy_class, level.tick, filled_wh)


def _filled(taker: Incoming, level: Level, makers: Sequence[int]) -> OrdersFilled:
    """What an order took of a level, or up to 16 makers of it."""
    return OrdersFilled(
        taker.order.slot,
        taker.account.address,
        taker.order.nonce,
        taker.side,
        level.energy_class,
        level.tick,
        tuple(makers),
    )
