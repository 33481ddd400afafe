"""Keys that change: each signature counts by the key of its time, and the report says whose counted when."""

from __future__ import annotations

from dataclasses import replace

from ledger.audit import audit
from ledger.audit.epochs import epochs
from ledger.bundle import Bundle
from ledger.record import Record
from market.events import MeterChanged, OraclesRotated, ReadingPosted, RoleAccepted
from tests.audit.forge import change_event, found
from tests.audit.small_market import (
    GUARDIAN,
    NEIGHBOUR,
    NEW_GUARDIAN,
    NEW_METER,
    NEW_UTILITY,
    UTILITY,
)


def test_report_says_whose_keys_counted_when(record: Record) -> None:
    """Oracles and the neighbour's meter change between the first slot and the others; readings are ten."""

    def block(kind: type, number: int) -> int:
        return found(record, kind, number)[0].log.block_number

    told = list(epochs(record))
    made = block(OraclesRotated, 0)
    assert told[:4] == [
        f"oracle set 1, 2 of 3, from block {made}: signed charges 3×, prices 1×, forecasts 0×",
        f"oracle set 2, 2 of 3, from block {block(OraclesRotated, 1)}: signed charges 0×, prices 2×,"
        " forecasts 1×",
        "first keys of 3 meters: signed 7 readings",
        f"meter key 2 of {NEIGHBOUR.address}, {NEW_METER.address}, from block {block(MeterChanged, 0)}:"
        " signed 1 reading",
    ]
    holders = [line.rpartition(": ")[2] for line in told[4:]]
    assert holders == [UTILITY.address, GUARDIAN.address, NEW_GUARDIAN.address, NEW_UTILITY.address]
    assert told[-1].startswith(f"utility from block {block(RoleAccepted, 3)}: ")
    report = audit(record)
    assert [line for line in report.verified if line in told] == told


def test_a_reading_of_the_key_before_is_found_and_no_epoch_told(bundle: Bundle, record: Record) -> None:
    number = next(
        number
        for number, logged in enumerate(
            each for each in record.logged if isinstance(each.event, ReadingPosted)
        )
        if logged.event.account == NEIGHBOUR.address and logged.event.epoch == 2  # type: ignore[union-attr]
    )
    logged, event = found(record, ReadingPosted, number)
    lie = Record.of(change_event(bundle, record, logged, replace(event, epoch=1)), proves_itself=False)  # type: ignore[call-arg]
    report = audit(lie, ["signatures"])
    assert not report.ok
    assert not any(line.startswith("oracle set") for line in report.verified)
