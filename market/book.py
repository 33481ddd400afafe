"""The book of one slot: a continuous double auction in price-time priority, one axis of hub ticks a class.

Twin of `book.vy` and of the rules in `orders.vy`. The book belongs to one slot and keeps the slot's
positions; money is in the accounts it is given. Whatever faster matcher comes later has to answer
every command with the same events.

OrderRefused   raised by callers that place one order alone: its first broken rule
VetoRefused    the contract takes no veto yet
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from market.accounts import Account, Accounts, Position, Refused, require
from market.orders import (
    NOBODY,
    BookEvent,
    Cancel,
    CloseGate,
    Command,
    Flag,
    GateClosed,
    NonceCancelled,
    Order,
    OrderFilled,
    OrderPlaced,
    OrderRejected,
    OrderVoided,
    Place,
    Reject,
    Side,
    Veto,
    VoidReason,
)
from market.reserves import reserve_per_wh
from market.slots import Tariff, Terms
from market.units import TICK_MAX, ask_tick, bid_tick, hub_price

VISITS_MAX = 128
"""Resting orders one incoming order may meet."""
RESTING_MAX = 16
"""Resting orders of an account in a slot on one side."""
VOIDS_PER_CALL = 4_096
"""Entries of the placing list that one call of gate closure passes."""

OrderKey = tuple[int, int]
"""Account id and nonce: an order of the slot for good, since a nonce is never used twice."""


class OrderRefused(Refused):
    """An order sent alone broke the rule of `reject`."""

    def __init__(self, reject: Reject, order: Order) -> None:
        super().__init__(reject.rule, order)
        self.reject = reject


class VetoRefused(Refused):
    """The contract takes no veto."""

    def __init__(self, veto: Veto) -> None:
        super().__init__("book: no veto in this market", veto)


@dataclass(slots=True, eq=False)
class Incoming:
    """An accepted order on the hub's axis, with what is left of it; it becomes a resting order as it is."""

    account: Account
    nonce: int
    side: Side
    energy_class: int
    tick: int
    left_wh: int
    expiry: int

    @property
    def key(self) -> OrderKey:
        """Names the order within its slot."""
        return self.account.id, self.nonce

    def has_expired(self, time: int) -> bool:
        """Whether its expiry, if it has one, has come."""
        return self.expiry != 0 and time >= self.expiry


class Ladder:
    """Resting orders of one side of one class: levels by tick, each a queue in the order of placing."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._ticks: list[int] = []  # ascending, one for each level that holds an order
        self._levels: dict[int, OrderedDict[OrderKey, Incoming]] = {}

    @property
    def best_tick(self) -> int | None:
        """Highest bid or lowest ask, None where nothing rests."""
        if not self._ticks:
            return None
        return self._ticks[-1] if self._side == Side.BID else self._ticks[0]

    def first(self) -> Incoming | None:
        """The order that trades next: oldest of the best level."""
        tick = self.best_tick
        return None if tick is None else next(iter(self._levels[tick].values()))

    def level(self, tick: int) -> Sequence[Incoming]:
        """Orders resting at a tick, oldest first."""
        return tuple(self._levels.get(tick, OrderedDict()).values())

    def quantity_wh(self, tick: int) -> int:
        """Energy resting at a tick."""
        return sum(order.left_wh for order in self.level(tick))

    def add(self, order: Incoming) -> None:
        """Put an order at the end of its level."""
        if order.tick not in self._levels:
            insort(self._ticks, order.tick)
            self._levels[order.tick] = OrderedDict()
        self._levels[order.tick][order.key] = order

    def remove(self, order: Incoming) -> None:
        """Take an order out, and its level if that is empty then."""
        level = self._levels[order.tick]
        del level[order.key]
        if not level:
            del self._levels[order.tick]
            self._ticks.remove(order.tick)


class Book:
    """One slot's book. `tariff` and `charges` (ν by bus, µ€/kWh) are None until they are known.

    `accounts` is shared with the market: reserves are taken from it. A book whose charges are not
    known refuses orders; cancels kill nonces even then.
    """

    def __init__(
        self,
        slot: int,
        terms: Terms,
        accounts: Accounts,
        tariff: Tariff | None = None,
        charges: Sequence[int] | None = None,
    ) -> None:
        self.slot = slot
        self.terms = terms
        self.accounts = accounts
        self.tariff = tariff
        self.charges = charges
        self.passed = 0
        self.snapshot: int | None = None
        self._nonces: set[OrderKey] = set()
        self._orders: dict[OrderKey, Incoming] = {}
        self._placing_list: list[Incoming] = []
        self._ladders: dict[tuple[int, Side], Ladder] = {}
        self._positions: dict[int, Position] = {}

    def apply(self, command: Command) -> tuple[BookEvent, ...]:
        """Carry out a command and return its events.

        A bad order changes nothing and answers with OrderRejected alone. Raises Refused for a cancel or
        a gate closure that breaks a rule, VetoRefused for a veto.
        """
        match command:
            case Place():
                return self._place(command)
            case Cancel():
                return self._cancel(command)
            case CloseGate():
                return self._close_gate(command)
            case Veto():
                raise VetoRefused(command)

    # --- what anybody may look at ---------------------------------------------------------------

    @property
    def gate_closed(self) -> bool:
        """Whether everything that rested is voided and the accounts that settle are fixed."""
        return self.snapshot is not None

    def position(self, account: Account) -> Position:
        """An account's position; an empty one where it has not traded."""
        return self._positions.get(account.id) or Position()

    def held(self, account: Account) -> Position:
        """An account's position, to be changed."""
        return self._positions.setdefault(account.id, Position())

    def resting(self, account: Account, nonce: int) -> Incoming | None:
        """What rests of an order, None if nothing does."""
        return self._orders.get((account.id, nonce))

    def nonce_used(self, account: Account, nonce: int) -> bool:
        """Whether a nonce was placed or cancelled."""
        return (account.id, nonce) in self._nonces

    def best(self, energy_class: int, side: Side) -> tuple[int, int] | None:
        """Best tick of a side and the Wh there; None where nothing rests or closing has begun."""
        ladder = self._ladders.get((energy_class, side))
        if ladder is None or ladder.best_tick is None or self._closing:
            return None
        return ladder.best_tick, ladder.quantity_wh(ladder.best_tick)

    def level_wh(self, energy_class: int, side: Side, tick: int) -> int:
        """Wh resting at a tick, 0 once closing has begun."""
        ladder = self._ladders.get((energy_class, side))
        return 0 if ladder is None or self._closing else ladder.quantity_wh(tick)

    def charge(self, account: Account) -> int:
        """ν of an account's bus; 0 where the charges are not known."""
        return 0 if self.charges is None else self.charges[account.bus]

    @property
    def placed(self) -> int:
        """Length of the placing list: orders that ever came to rest."""
        return len(self._placing_list)

    @property
    def _closing(self) -> bool:
        return self.passed > 0 or self.gate_closed

    # --- placing --------------------------------------------------------------------------------

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
        if order.quantity_wh == 0 or order.quantity_wh % terms.lot_wh != 0:
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
        if account.is_utility:
            return None
        in_side_wh = position.net_wh if side == Side.BID else -position.net_wh
        most_wh = in_side_wh + position.resting_wh[side] + order.quantity_wh
        if most_wh > (account.import_capacity_wh if side == Side.BID else account.export_capacity_wh):
            return Reject.OVER_CAPACITY
        needed_neur = order.quantity_wh * self._reserve_per_wh(account, side, self._tick(order, account))
        if account.spendable_neur < needed_neur:
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
        taker = Incoming(
            account,
            order.nonce,
            Side(order.side),
            order.energy_class,
            self._tick(order, account),
            order.quantity_wh,
            order.expiry,
        )
        self._nonces.add(taker.key)
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
        return (placed, *self._match(taker, order.flags, command.time))

    def _match(self, taker: Incoming, flags: int, time: int) -> Iterator[BookEvent]:
        """Visit what crosses, best level first and oldest first; then rest or void what is left."""
        visits = 0
        while taker.left_wh > 0 and visits < VISITS_MAX:
            maker = self._crossed_by(taker)
            if maker is None:
                break
            visits += 1
            if maker.has_expired(time):
                yield self._void(maker, VoidReason.EXPIRED)
            elif maker.account is taker.account:
                yield self._void(maker, VoidReason.OWN_ORDER)
            else:
                yield self._fill(maker, taker)
        if taker.left_wh == 0:
            return
        if visits == VISITS_MAX:
            yield self._voided(taker, VoidReason.VISITS)
        elif flags == Flag.IMMEDIATE_OR_CANCEL:
            yield self._voided(taker, VoidReason.IMMEDIATE_OR_CANCEL)
        else:
            self._rest(taker)

    def _crossed_by(self, taker: Incoming) -> Incoming | None:
        """The first order of the other side, if it crosses."""
        ladder = self._ladders.get((taker.energy_class, Side(1 - taker.side)))
        maker = None if ladder is None else ladder.first()
        if maker is None:
            return None
        bid, ask = (taker, maker) if taker.side == Side.BID else (maker, taker)
        return maker if bid.tick >= ask.tick else None

    def _fill(self, maker: Incoming, taker: Incoming) -> OrderFilled:
        """Trade at the maker's tick. The maker's reserve stays as it is, since it rested at that tick."""
        quantity_wh = min(maker.left_wh, taker.left_wh)
        for order in (maker, taker):
            order.left_wh -= quantity_wh
            self._trade(order, maker.tick, quantity_wh)
        self._withdraw_from_rest(maker, quantity_wh)
        self._reserve(taker, maker.tick, quantity_wh)
        return OrderFilled(
            self.slot,
            taker.energy_class,
            maker.tick,
            quantity_wh,
            maker.account.address,
            maker.nonce,
            taker.account.address,
            taker.nonce,
            taker.side,
        )

    def _trade(self, order: Incoming, tick: int, quantity_wh: int) -> None:
        """Book a fill into a position."""
        bought_wh = quantity_wh if order.side == Side.BID else -quantity_wh
        position = self.held(order.account)
        position.net_wh += bought_wh
        position.trades_neur += bought_wh * hub_price(tick)
        if order.energy_class != 0:
            nets = position.class_net_wh
            nets[order.energy_class] = nets.get(order.energy_class, 0) + bought_wh

    # --- resting orders -------------------------------------------------------------------------

    def _rest(self, order: Incoming) -> None:
        ladder = self._ladders.setdefault((order.energy_class, order.side), Ladder(order.side))
        ladder.add(order)
        self._orders[order.key] = order
        self._placing_list.append(order)
        position = self.held(order.account)
        position.resting_wh[order.side] += order.left_wh
        position.resting_count[order.side] += 1
        self._reserve(order, order.tick, order.left_wh)

    def _withdraw_from_rest(self, order: Incoming, quantity_wh: int) -> None:
        """Take energy off a resting order whose `left_wh` is already lower; at 0 it rests no longer."""
        position = self.held(order.account)
        position.resting_wh[order.side] -= quantity_wh
        if order.left_wh == 0:
            position.resting_count[order.side] -= 1
            del self._orders[order.key]
            self._ladders[order.energy_class, order.side].remove(order)

    def _void(self, order: Incoming, reason: VoidReason) -> OrderVoided:
        """Void what is left of a resting order and release its reserve."""
        event = self._voided(order, reason)
        quantity_wh, order.left_wh = order.left_wh, 0
        self._withdraw_from_rest(order, quantity_wh)
        self._reserve(order, order.tick, -quantity_wh)
        return event

    def _voided(self, order: Incoming, reason: VoidReason) -> OrderVoided:
        return OrderVoided(self.slot, order.account.address, order.nonce, order.left_wh, reason)

    def _reserve_per_wh(self, account: Account, side: Side, tick: int) -> int:
        if account.is_utility:
            return 0  # backing covers it
        if self.tariff is None:
            raise ValueError(f"slot {self.slot} has no tariff, so nothing in it can have a reserve")
        return reserve_per_wh(self.terms.rule, side, hub_price(tick), self.charge(account), self.tariff)

    def _reserve(self, order: Incoming, tick: int, quantity_wh: int) -> None:
        """Reserve for energy of an order at a tick; a negative quantity releases."""
        change_neur = quantity_wh * self._reserve_per_wh(order.account, order.side, tick)
        self.accounts.reserve(order.account, self.held(order.account), change_neur)

    # --- cancel and gate closure ----------------------------------------------------------------

    def _cancel(self, command: Cancel) -> tuple[BookEvent, ...]:
        account = self.accounts.get(command.trader)
        require(command.signer == command.trader, "book: bad signature", command)
        require(command.time < self.terms.gate(self.slot), "book: gate passed", command)
        cancelled = NonceCancelled(self.slot, command.trader, command.nonce)
        order = self.resting(account, command.nonce)
        if order is not None:
            return cancelled, self._void(order, VoidReason.CANCELLED)
        require(not self.nonce_used(account, command.nonce), "book: nothing to cancel", command)
        self._nonces.add((account.id, command.nonce))
        return (cancelled,)

    def _close_gate(self, command: CloseGate) -> tuple[BookEvent, ...]:
        require(command.time >= self.terms.gate(self.slot), "book: before the gate", command)
        require(not self.gate_closed, "book: gate is closed", self.slot)
        end = self.passed + min(command.limit, VOIDS_PER_CALL)
        entries = self._placing_list[self.passed : end]
        events: list[BookEvent] = [
            self._void(order, VoidReason.GATE_CLOSED) for order in entries if order.left_wh > 0
        ]
        self.passed += len(entries)
        if self.passed == len(self._placing_list):
            self.snapshot = len(self.accounts)
            events.append(GateClosed(self.slot, self.snapshot))
        return tuple(events)
