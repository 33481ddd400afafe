"""Where resting orders are kept: a queue for each price, first in first out. Twin of `levels.vy`.

Entries are never moved and makers are never touched: whoever takes resting orders moves the `head` of a
level. What stands before the head is filled, each entry to its whole quantity; of the entry at the head
`taken_wh` is filled. A void takes the rest out of an entry's quantity, so what is left there is what was
filled of it, and an entry that nobody met is left as a gap.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import NamedTuple

from market.accounts import Account
from market.orders import Berth, Side

PLACES_MAX = 65_535
"""Entries a level has room for over the slot's life."""
GAPS_MAX = 128
"""Entries that a cancel at the head passes at most, its own counted; takers pass the others."""
GAPS_PER_CALL = 1_024
"""Gaps that the vetoes of one call go back over."""
ZERO_RANK = 32_768
"""Rank of tick 0 on either side; the higher a rank, the better for whoever meets it."""


def level_number(energy_class: int, side: Side, tick: int) -> int:
    """Names a level within its slot: class·2¹⁷ + side·2¹⁶ + rank."""
    rank = ZERO_RANK + (tick if side == Side.BID else -tick)
    return energy_class << 17 | side << 16 | rank


class Head(NamedTuple):
    """Place of the entry that is met next, and how much of it is filled."""

    place: int
    taken_wh: int


@dataclass(slots=True, eq=False)
class Entry:
    """An order that came to rest: its Wh less what was voided of them, and its expiry (0 for none)."""

    account: Account
    nonce: int
    quantity_wh: int
    expiry: int

    def has_expired(self, time: int) -> bool:
        """Whether its expiry, if it has one, has come."""
        return self.expiry != 0 and time >= self.expiry


@dataclass(slots=True, eq=False)
class Level:
    """All that came to rest at one tick of one side of a class."""

    energy_class: int
    side: Side
    tick: int
    entries: list[Entry] = field(default_factory=list)
    head: int = 0
    taken_wh: int = 0

    @property
    def is_passed(self) -> bool:
        """Whether nothing is left to meet."""
        return self.head == len(self.entries)

    def is_crossed_by(self, tick: int) -> bool:
        """Whether an order of the other side may trade here."""
        return tick >= self.tick if self.side == Side.ASK else tick <= self.tick

    def berth(self, place: int) -> Berth:
        """Where the entry at a place is, in the whole book."""
        return Berth(self.energy_class, self.side, self.tick, place)

    def open_wh(self, place: int) -> int:
        """Wh of an entry that still rest; 0 before the head and past the last entry."""
        if not self.head <= place < len(self.entries):
            return 0
        return self.entries[place].quantity_wh - (self.taken_wh if place == self.head else 0)

    def filled_wh(self, place: int) -> int:
        """Wh of an entry that were taken."""
        return self.entries[place].quantity_wh - self.open_wh(place)

    def resting_wh(self) -> int:
        """Wh of all entries that still rest."""
        return sum(self.open_wh(place) for place in range(self.head, len(self.entries)))

    def void(self, place: int) -> int:
        """Take out of an entry what still rests of it; returns those Wh."""
        open_wh = self.open_wh(place)
        self.entries[place].quantity_wh -= open_wh
        return open_wh

    def advance(self) -> None:
        """Pass the entry at the head."""
        self.head, self.taken_wh = self.head + 1, 0

    def pass_gaps(self) -> None:
        """Pass what has nothing to meet at the head, as far as a cancel does."""
        for _ in range(GAPS_MAX):
            if self.is_passed or self.open_wh(self.head) > 0:
                break
            self.advance()

    def before_gaps(self, head: Head, limit: int) -> Head:
        """A head that went back over the gaps behind which the last fill is, as many as `limit`."""
        place = head.place
        while head.place - place < limit and self.is_behind_gap(Head(place, head.taken_wh)):
            place -= 1
        return head._replace(place=place)

    def is_behind_gap(self, head: Head) -> bool:
        """Whether a head has nothing filled right before it, but an entry of which nothing was filled."""
        return head.taken_wh == 0 and head.place > 0 and self.entries[head.place - 1].quantity_wh == 0

    def given_back(self, head: Head, quantity_wh: int) -> Head:
        """A head that went back by so many Wh that were taken: they rest again."""
        place, taken_wh = head
        while quantity_wh > taken_wh:
            quantity_wh -= taken_wh
            place -= 1
            taken_wh = self.entries[place].quantity_wh
        return Head(place, taken_wh - quantity_wh)


class Shelf:
    """One side of one class's book: its levels, and which of them have entries to meet."""

    def __init__(self, energy_class: int, side: Side) -> None:
        self._energy_class = energy_class
        self._side = side
        self._levels: dict[int, Level] = {}
        self._marked: list[int] = []  # ticks of levels with entries to meet, ascending

    def level(self, tick: int) -> Level | None:
        """The level of a tick, None where no order ever came to rest."""
        return self._levels.get(tick)

    def opened(self, tick: int) -> Level:
        """The level of a tick, opened now if it was not before."""
        return self._levels.setdefault(tick, Level(self._energy_class, self._side, tick))

    @property
    def best(self) -> Level | None:
        """The level with the highest bids or the lowest asks; gaps may be all that it has."""
        if not self._marked:
            return None
        return self._levels[self._marked[-1 if self._side == Side.BID else 0]]

    def append(self, level: Level, entry: Entry) -> None:
        """Put an entry at the end of a level's queue."""
        if level.is_passed:
            insort(self._marked, level.tick)
        level.entries.append(entry)

    def unmark_if_passed(self, level: Level) -> None:
        """Forget a level with nothing left to meet, until the next order comes to rest there."""
        if level.is_passed:
            self._marked.remove(level.tick)
