"""The audit: re-derive everything from the chain's own record, and say what is wrong and where.

    audit(record) → Report        every check, or those named
    checks()      → names and what they do

Checks are pure and independent: all run, whatever one of them finds; on request every block is executed
again, too. `explain` takes a payment apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.audit.assumed import assumed
from ledger.audit.believed import believed_failures
from ledger.audit.checks import execution
from ledger.audit.checks.execution import CannotReplay
from ledger.audit.registry import CHECKS, REPLAY, NamedCheck, UnknownCheckError, checks, chosen
from ledger.audit.report import CheckResult, Report
from ledger.audit.verdict import Passed
from ledger.audit.verified import verified
from ledger.checkpoint import VerifierKey
from ledger.history import NoHistory
from ledger.record import Record
from market.findings import Finding


def audit(
    record: Record,
    names: Sequence[str] | None = None,
    head: bytes | None = None,
    keys: Sequence[VerifierKey] = (),
    *,
    execute: bool = False,
) -> Report:
    """Run all checks, or those named, against a record. Raises UnknownCheckError, CannotReplay.

    `head` is the hash of the chain's head as the auditor knows it from elsewhere; `keys` must all have
    signed the checkpoint. With `execute`, every block is executed again, too.
    """
    running = chosen(names)
    if head is not None:
        record = record.ending_at(head)
    if keys:
        record = record.signed_by(*keys)
    if execute:
        execution.beginning(record)
        running.append(REPLAY)
    results = tuple(_run(check, record) for check in running)
    believed = () if execute else believed_failures(record)
    return Report(results, tuple(verified(record, results)), tuple(assumed(record, results)), believed)


MONEY = ("settlement", "conservation")
"""The checks that verify amounts: quick ones, so that whoever shows amounts can run them first."""


def money_findings(record: Record) -> tuple[Finding, ...]:
    """What is wrong with a record's amounts, by the checks `MONEY` alone."""
    return tuple(finding for check in chosen(MONEY) for finding in _run(check, record).findings)


def _run(check: NamedCheck, record: Record) -> CheckResult:
    """One check to its end. What ends it early is a finding: no audit passes by being stopped."""
    items, findings = 0, []
    try:
        for verdict in check.run(record):
            items += 1
            if not isinstance(verdict, Passed):
                findings.append(verdict)
    except NoHistory as unknown:
        findings.append(_unfinished(check, f"exchange {record.exchange}", "its deployment", str(unknown)))
    except Exception as stop:  # a forged record may break any assumption
        what = f"{type(stop).__name__}: {stop}"
        findings.append(_unfinished(check, f"item {items + 1}", "a record that can be read", what))
    return CheckResult(check.name, check.description, items, tuple(findings))


def _unfinished(check: NamedCheck, where: str, expected: str, found: str) -> Finding:
    return Finding(check.name, where, expected, found, "not finished")


__all__ = [
    "CHECKS",
    "MONEY",
    "REPLAY",
    "CannotReplay",
    "CheckResult",
    "NamedCheck",
    "Report",
    "UnknownCheckError",
    "audit",
    "checks",
    "money_findings",
]
