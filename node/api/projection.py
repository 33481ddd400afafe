"""The market as its events tell it, kept up to date block by block: what the pages and their JSON show."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from ledger.vectors import unpack
from market.accounts import UTILITY_ID, Role
from market.events import (
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Event,
    PricesChunk,
    PricesPosted,
    RoleAccepted,
    SlotSettled,
    SlotsScheduled,
    SubstationPosted,
    TradesCleared,
)
from market.exchange import SLOTS_PER_CALL
from market.orders import Address, Fill, GateClosed, OrdersFilled
from market.slots import Terms
from node.api.sources import Source, Told
from node.simulate.bookview import SlotView

BLOCKS_AT_ONCE = 500
SLOTS_KEPT = 500
NO_ACCOUNT = -1
ORDERS_KEPT = 100_000
"""Beyond so many, settled slots are forgotten, the oldest first: each order and its fills take about 2 kB."""
FILLS_KEPT = 20_000
PAYMENTS_KEPT = 20_000
"""A day of 200 accounts; what is older is in the record, not in the pages' memory."""

State = Literal["scheduled", "open", "closed", "priced", "metered", "settled"]
Payment = AccountSettled | AccountResettled | TradesCleared


@dataclass(frozen=True, slots=True)
class LoggedFill:
    """A fill with where and when it is on the chain; `item` is its number within the log."""

    block: int
    log: int
    item: int
    timestamp: int
    fill: Fill


@dataclass(frozen=True, slots=True)
class LoggedPayment:
    """What an account was told to pay, with where and when it is on the chain."""

    block: int
    log: int
    timestamp: int
    payment: Payment


@dataclass(slots=True)
class SlotFacts:
    """What the chain holds of a slot. `charges` and `prices` µ€/kWh by bus, None until complete.

    `cleared` names the proof of the newest clearing.
    """

    view: SlotView
    chunks: dict[str, dict[int, tuple[int, ...]]] = field(
        default_factory=lambda: {"charges": {}, "prices": {}}
    )
    expected: dict[str, int] = field(default_factory=dict)
    charges: tuple[int, ...] | None = None
    prices: tuple[int, ...] | None = None
    cleared: ChargesPosted | PricesPosted | None = None
    gate_closed: bool = False
    metered: bool = False
    settled: bool = False
    postings: dict[Address, AccountSettled] = field(default_factory=dict)
    resettlements: dict[Address, AccountResettled] = field(default_factory=dict)

    def state(self, terms: Terms, now: int) -> State:
        """The slot's state at a second, in the words of the life of a slot."""
        slot = self.view.slot
        if self.settled:
            return "settled"
        if self.metered:
            return "metered"
        if self.prices is not None:
            return "priced"
        if self.gate_closed or now >= terms.gate(slot):
            return "closed"
        return "open" if self.charges is not None and now >= terms.opens(slot) else "scheduled"


class Projection:
    """Slots, books, fills, payments of one market, from any thread; each method reads what is new first."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.terms = source.terms
        self._lock = Lock()
        self._clear()

    def now(self) -> int:
        """The market's time, by which slots open and close."""
        return self.source.now()

    def slots(self) -> dict[int, SlotFacts]:
        """Known slots by number, in order."""
        with self._lock:
            self._refresh()
            return dict(sorted(self._slots.items()))

    def fills(self) -> tuple[LoggedFill, ...]:
        """The newest fills, newest first."""
        with self._lock:
            self._refresh()
            return tuple(reversed(self._fills))

    def payments(self) -> tuple[LoggedPayment, ...]:
        """The newest settlements, resettlements and clearings, newest first."""
        with self._lock:
            self._refresh()
            return tuple(reversed(self._payments))

    def holders(self) -> dict[int, Address]:
        """Addresses of accounts by id, the utility's 0."""
        with self._lock:
            self._refresh()
            return dict(sorted(self._holders.items()))

    def holder(self, address: Address) -> Address:
        """Who holds an account now that an address had: the utility's is handed over."""
        with self._lock:
            self._refresh()
            return self._holders.get(self._ids.get(address, NO_ACCOUNT), address)

    def addresses(self, address: Address) -> frozenset[Address]:
        """All that the account of an address ever had; of nobody's the address alone."""
        with self._lock:
            self._refresh()
            number = self._ids.get(address, NO_ACCOUNT)
            return frozenset((address, *(each for each, owner in self._ids.items() if owner == number)))

    def buses(self) -> dict[Address, int]:
        """The bus of each registered account, which never changes."""
        with self._lock:
            self._refresh()
            return dict(self._buses)

    # --- inside ---------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._slots: dict[int, SlotFacts] = {}
        self._fills: deque[LoggedFill] = deque(maxlen=FILLS_KEPT)
        self._payments: deque[LoggedPayment] = deque(maxlen=PAYMENTS_KEPT)
        self._holders: dict[int, Address] = {}
        self._buses: dict[Address, int] = {}
        self._ids: dict[Address, int] = {}
        self._first_holders: dict[int, Address] = {}
        self._seen = self.source.first_block - 1
        self._seen_hash = self.source.block_hash(self._seen)

    def _refresh(self) -> None:
        source = self.source
        head = source.head()
        if head < self._seen or source.block_hash(self._seen) != self._seen_hash:
            self._clear()  # the chain went back to a snapshot
        while self._seen < head:
            last = min(self._seen + BLOCKS_AT_ONCE, head)
            for told in source.events(self._seen + 1, last):
                self._take(told)
            self._seen = last
        self._seen_hash = source.block_hash(self._seen)

    def _take(self, told: Told) -> None:
        match told.event:
            case AccountRegistered() as event:
                self._hold(event.id, event.account)
                self._buses[event.account] = event.bus
            case RoleAccepted(role=role, holder=holder) if role == Role.UTILITY:
                self._hold(UTILITY_ID, holder)
            case SlotsScheduled() as event:
                for slot in range(event.first, event.first + min(event.count, SLOTS_PER_CALL)):
                    self._slots[slot] = SlotFacts(SlotView(slot, self._address_of, self._first_holder))
                self._forget_oldest()
            case _:
                self._take_of_slot(told)

    def _hold(self, number: int, holder: Address) -> None:
        self._holders[number] = holder
        self._ids[holder] = number
        self._first_holders.setdefault(number, holder)

    def _first_holder(self, address: Address) -> Address:
        return self._first_holders.get(self._ids.get(address, NO_ACCOUNT), address)

    def _address_of(self, number: int) -> Address:
        return self._holders[number]

    def _take_of_slot(self, told: Told) -> None:
        event: Event = told.event
        if isinstance(event, Payment):
            self._payments.append(
                LoggedPayment(told.block, told.log, self.source.block_time(told.block), event)
            )
        facts = self._slots.get(getattr(event, "slot", -1))
        if facts is None:
            return
        match event:
            case ChargesPosted():
                facts.expected["charges"], facts.cleared = event.chunks, event
            case PricesPosted():
                facts.expected["prices"], facts.cleared = event.chunks, event
            case ChargesChunk():
                facts.charges = self._vector(facts, "charges", event)
            case PricesChunk():
                facts.prices = self._vector(facts, "prices", event)
            case GateClosed():
                facts.gate_closed = True
            case SubstationPosted():
                facts.metered = True
            case AccountSettled():
                facts.postings[event.account] = event
            case AccountResettled():
                facts.resettlements[event.account] = event
            case SlotSettled():
                facts.settled = True
            case _:
                facts.view.apply((event,))
        if isinstance(event, OrdersFilled):
            timestamp = self.source.block_time(told.block)
            self._fills.extend(
                LoggedFill(told.block, told.log, item, timestamp, fill)
                for item, fill in enumerate(event.fills(self._address_of))
            )

    def _vector(
        self, facts: SlotFacts, name: str, chunk: ChargesChunk | PricesChunk
    ) -> tuple[int, ...] | None:
        """The vector, once all its chunks are there."""
        chunks = facts.chunks[name]
        chunks[chunk.index] = chunk.words
        if len(chunks) < facts.expected[name]:
            return None
        return unpack([word for index in sorted(chunks) for word in chunks[index]], self.terms.buses)

    def _forget_oldest(self) -> None:
        for slot in sorted(self._slots)[:-SLOTS_KEPT]:
            del self._slots[slot]
        orders = sum(len(facts.view.placed) for facts in self._slots.values())
        for slot, facts in sorted(self._slots.items()):
            if orders <= ORDERS_KEPT:
                break
            if facts.settled:
                orders -= len(facts.view.placed)
                del self._slots[slot]
