"""Ways to tamper with a market's record, by name: what each edits, which check must find it, and where.

A raw edit changes files and leaves the rest; a forgery is consistent: roots, hashes and digests are rebuilt,
and the forger has the keys that the kind says. `tamper_files`, `tamper_events`, `tamper_calls`,
`tamper_quorum` hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ledger import bundle as bundles
from ledger.audit import audit
from ledger.audit.report import Report
from ledger.bundle import Bundle
from ledger.checkpoint import VerifierKey
from ledger.record import Logged, Record
from market.events import Event
from tests.audit.forge import change_event, found, insert_event

Edit = Callable[[Event], Event | None]


@dataclass(frozen=True)
class Ground:
    """The honest market, as bundle and as record."""

    bundle: Bundle
    record: Record

    @classmethod
    def of(cls, bundle: Bundle) -> Ground:
        """Read an honest bundle."""
        return cls(bundle, Record.of(bundle, proves_itself=False))


@dataclass(frozen=True)
class Tampered:
    """The files as somebody left them, the place that a finding must name, and what the auditor knows."""

    files: dict[str, bytes]
    place: str
    head: bytes | None = None
    keys: tuple[VerifierKey, ...] = ()

    @property
    def record(self) -> Record:
        """What the files say, to somebody who knows what the auditor knows."""
        record = Record.of(bundles.decode(self.files), proves_itself=True)
        return replace(record, known_head=self.head, known_keys=self.keys)

    def report(self) -> Report:
        """The audit of it."""
        return audit(self.record)


@dataclass(frozen=True)
class Kind:
    """A way to tamper: its name, the check that must find it, and how it is done."""

    name: str
    check: str
    tamper: Callable[[Ground], Tampered]
    raw: bool = False


def consistent(bundle: Bundle, place: str) -> Tampered:
    """A forged bundle with every digest made to fit."""
    return Tampered(bundles.encode(bundle), place)


def told_at(logged: Logged) -> str:
    """A log's place as findings write it."""
    return f"block {logged.log.block_number} log {logged.log.log_index}"


# --- forged events ------------------------------------------------------------------------------


def lie(  # noqa: PLR0917 - a row of a table
    name: str, check: str, kind: type[Event], number: int, edit: Edit, place: str = ""
) -> Kind:
    """One event says something else, or is gone; it is found at its place, or at its transaction's."""

    def tamper(ground: Ground) -> Tampered:
        logged, event = found(ground.record, kind, number)
        other = edit(event)
        where = told_at(logged)
        if other is None:
            where = f"block {logged.log.block_number} "
        return consistent(change_event(ground.bundle, ground.record, logged, other), place or where)

    return Kind(name, check, tamper)


def told_again(  # noqa: PLR0917 - an event, what becomes of it, and where it goes
    name: str,
    check: str,
    kind: type[Event],
    number: int,
    after: tuple[type[Event], int],
    edit: Edit = lambda event: event,
    place: str = "",
) -> Kind:
    """An event of the record stands in it once more, changed or not, after another log."""

    def tamper(ground: Ground) -> Tampered:
        _, event = found(ground.record, kind, number)
        logged, _ = found(ground.record, *after)
        added = edit(event)
        assert added is not None
        where = f"block {logged.log.block_number} log {logged.log.log_index + 1}"
        return consistent(insert_event(ground.bundle, ground.record, logged, added), place or where)

    return Kind(name, check, tamper)


def drop(_: Event) -> None:
    """The event is gone."""
    return None


def put(**fields: object) -> Edit:
    """Other values of some fields."""
    return lambda event: replace(event, **fields)  # type: ignore[type-var]


def add(field: str, change: int) -> Edit:
    """A field that is a little more, or less."""
    return lambda event: replace(event, **{field: getattr(event, field) + change})  # type: ignore[type-var]
