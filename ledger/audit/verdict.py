"""A check's answer: one verdict for each thing it looked at, so that a report says how much was verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from ledger.record import Logged, Record
from market.findings import Finding
from market.slots import Terms

_T = TypeVar("_T")

SECONDS_PER_MINUTE, SECONDS_PER_HOUR, SECONDS_PER_DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Passed:
    """One thing was looked at and is right."""


PASSED: Final = Passed()

Verdict = Finding | Passed
Check = Callable[[Record], Iterable[Verdict]]


def compare(
    check: str,
    where: str,
    expected: object,
    found: object,
    *,
    difference: str = "",
    hint: str = "",
    whose: tuple[str, str] = ("", ""),
) -> Verdict:
    """Passed where both are equal, else the finding that shows them; `whose` says where each value stands.

    It is for values that stand both in the record, so that either may be the wrong one.
    """
    if expected == found:
        return PASSED
    if not difference and isinstance(expected, int) and isinstance(found, int):
        difference = amount_difference(expected, found)
    wanted, had = (
        ", ".join(filter(None, pair)) for pair in zip((text(expected), text(found)), whose, strict=True)
    )
    return Finding(check, where, wanted, had, difference, hint)


def amount_difference(expected: int, found: int) -> str:
    """`1 too much` or `1 too little`."""
    gap = found - expected
    return f"{abs(gap):,} too {'much' if gap > 0 else 'little'}"


def text(value: object) -> str:
    """A value as people read it in a finding: digits grouped, bytes in hexadecimal."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{int(value):,}"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)


def clock(unix_seconds: int) -> str:
    """Time of day, UTC: `12:00Z`."""
    hours, rest = divmod(unix_seconds % SECONDS_PER_DAY, SECONDS_PER_HOUR)
    return f"{hours:02}:{rest // SECONDS_PER_MINUTE:02}Z"


def of_slot(slot: int, terms: Terms) -> str:
    """A slot in a finding's place: its number and the time it starts."""
    return f"slot {slot} ({clock(terms.start(slot))})"


def slots_text(slots: Iterable[int]) -> str:
    """Slots as people read them, runs of them by their ends: `slots 7 to 9, 12`."""
    numbers = sorted(set(slots))
    told = ", ".join(
        str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}"
        for run in runs(numbers, lambda slot: slot + 1)
    )
    return f"slot {told}" if len(numbers) == 1 else f"slots {told}"


def runs(items: Iterable[_T], following: Callable[[_T], _T]) -> list[list[_T]]:
    """Items in their order, cut wherever one is not what follows the one before."""
    found: list[list[_T]] = []
    for item in items:
        if found and item == following(found[-1][-1]):
            found[-1].append(item)
        else:
            found.append([item])
    return found


def counted(number: int, what: str) -> str:
    """How many there are of something whose plural ends in s: `1 slot`, `2,752 fills`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def at(logged: Logged, terms: Terms | None = None) -> str:
    """Place of a log: slot where it has one, block and log number."""
    place = f"block {logged.log.block_number} log {logged.log.log_index}"
    slot = getattr(logged.event, "slot", None)
    return f"{of_slot(slot, terms)} {place}" if slot is not None and terms is not None else place
