"""The market as its events tell it, kept up to date block by block: what the pages and their JSON show."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock

from ledger.chain.protocol import Chain, LogFilter
from ledger.events import decode
from ledger.exchange import Exchange
from ledger.history import ROLE_UTILITY
from ledger.token import Token
from ledger.vectors import unpack
from market.accounts import UTILITY_ID
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
)
from market.orders import Address, Fill, GateClosed, OrdersFilled
from market.slots import Terms
from node.simulate.bookview import SlotView

BLOCKS_AT_ONCE = 500
SLOTS_KEPT = 500
FILLS_KEPT = 500


@dataclass(frozen=True, slots=True)
class LoggedFill:
    """A fill with where and when it is on the chain."""

    block: int
    log: int
    timestamp: int
    fill: Fill


@dataclass(slots=True)
class SlotFacts:
    """What the chain holds of a slot. `charges` and `prices` µ€/kWh by bus, None until complete."""

    view: SlotView
    chunks: dict[str, dict[int, tuple[int, ...]]] = field(
        default_factory=lambda: {"charges": {}, "prices": {}}
    )
    expected: dict[str, int] = field(default_factory=dict)
    charges: tuple[int, ...] | None = None
    prices: tuple[int, ...] | None = None
    gate_closed: bool = False
    metered: bool = False
    settled: bool = False
    postings: dict[Address, AccountSettled] = field(default_factory=dict)
    resettlements: dict[Address, AccountResettled] = field(default_factory=dict)

    def state(self, terms: Terms, now: int) -> str:
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
    """Slots, books and fills of one exchange. Each method brings it up to date first, from any thread.

    `clock` gives the chain's time, Unix seconds, where it goes on without blocks; else the head's counts.
    """

    def __init__(
        self,
        chain: Chain,
        exchange: Exchange,
        token: Token,
        first_block: int,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.exchange = exchange
        self.token = token
        self.terms = exchange.terms()
        self._chain = chain
        self._first_block = first_block
        self._clock = clock
        self._lock = Lock()
        self._clear()

    def now(self) -> int:
        """The chain's time, by which slots open and close."""
        return self._chain.block().timestamp if self._clock is None else self._clock()

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

    # --- inside ---------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._slots: dict[int, SlotFacts] = {}
        self._fills: deque[LoggedFill] = deque(maxlen=FILLS_KEPT)
        self._holders: dict[int, Address] = {}
        self._seen = self._first_block - 1
        self._seen_hash = self._chain.block(self._seen).hash

    def _refresh(self) -> None:
        head = self._chain.head()
        if head < self._seen or self._chain.block(self._seen).hash != self._seen_hash:
            self._clear()  # the chain went back to a snapshot
        while self._seen < head:
            last = min(self._seen + BLOCKS_AT_ONCE, head)
            which = LogFilter(self._seen + 1, last, addresses=(self.exchange.address,))
            for log in self._chain.logs(which):
                self._take(decode(log.topics, log.data), log.block_number, log.log_index)
            self._seen = last
        self._seen_hash = self._chain.block(self._seen).hash

    def _take(self, event: Event, block: int, log: int) -> None:
        match event:
            case AccountRegistered():
                self._holders[event.id] = event.account
            case RoleAccepted(role=role, holder=holder) if role == ROLE_UTILITY:
                self._holders[UTILITY_ID] = holder
            case SlotsScheduled():
                for slot in range(event.first, event.first + event.count):
                    self._slots[slot] = SlotFacts(SlotView(slot, self._address_of))
                self._forget_oldest()
            case _:
                self._take_of_slot(event, block, log)

    def _address_of(self, number: int) -> Address:
        return self._holders[number]

    def _take_of_slot(self, event: Event, block: int, log: int) -> None:
        facts = self._slots.get(getattr(event, "slot", -1))
        if facts is None:
            return
        match event:
            case ChargesPosted():
                facts.expected["charges"] = event.chunks
            case PricesPosted():
                facts.expected["prices"] = event.chunks
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
            timestamp = self._chain.block(block).timestamp
            fills = event.fills(self._address_of)
            self._fills.extend(LoggedFill(block, log, timestamp, fill) for fill in fills)

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


def open_slots(slots: dict[int, SlotFacts], terms: Terms, now: int) -> Iterator[int]:
    """Numbers of the slots that can be traded in, in order."""
    return (slot for slot, facts in slots.items() if facts.state(terms, now) == "open")
