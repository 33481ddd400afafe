"""How much an audit looked at, in lines: only what checks that passed have seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ledger.audit.checks import headers, matching, settlement, signatures
from ledger.audit.epochs import epochs
from ledger.audit.report import CheckResult
from ledger.audit.verdict import counted, slots_text
from ledger.history import history, slots_of
from ledger.record import Record


def verified(record: Record, results: Sequence[CheckResult]) -> list[str]:
    """What the record is, and how much of it was looked at; only checks that passed count."""
    passed = {result.name for result in results if result.ok and result.items}
    first, last = record.blocks[0], record.blocks[-1]
    held = "" if headers.NAME in passed else ", as the record says"
    lines = [
        f"blocks {first.number} to {last.number} of chain {record.domain.chain_id},"
        f" head 0x{last.hash.hex()}{held}",
        f"exchange {record.exchange}",
    ]
    if looked_at := ", ".join(_looked_at(record, passed)):
        lines.append(looked_at)
    if settlement.NAME in passed:
        lines += _by_fallback(record)
    if signatures.NAME in passed:
        lines += epochs(record)
    names = [result.name for result in results if result.name in passed]
    return [*lines, f"passed: {', '.join(names) or 'nothing'}"]


def _by_fallback(record: Record) -> Iterator[str]:
    """Slots that the market's own rule did not settle."""
    known = history(record)
    slots = [slot.slot for slot in known if slot.settled and known.by_fallback(slot)]
    if slots:
        yield f"{slots_text(slots)} settled by the tariff rule, since no prices were posted by T_p"


def _looked_at(record: Record, passed: Collection[str]) -> Iterator[str]:
    """Slots, and what of them the checks that passed derive again."""
    slots = slots_of(record)
    if slots and matching.MATCHING in passed:
        open_slots = [slot.slot for slot in slots if slot.finished is None]
        finished = len(slots) - len(open_slots)
        settled = f", {finished} of them settled (not {slots_text(open_slots)})" if open_slots else ""
        yield f"{counted(len(slots), 'slot')}{settled}"
        yield counted(sum(len(slot.placed) for slot in slots), "order")
        yield counted(sum(len(slot.fills) for slot in slots), "fill")
    if slots and settlement.NAME in passed:
        yield counted(sum(len(slot.settled) for slot in slots), "posting")
