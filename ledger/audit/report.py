"""What an audit says: every check with its findings, what was verified, and what had to be assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ledger.audit.believed import BelievedFailure, told
from ledger.audit.verdict import counted
from market.findings import Finding

SHOWN = 12
"""Findings of one check that are told one by one to people; programs read them all."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: how many things it looked at, and what was wrong."""

    name: str
    description: str
    items: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing was wrong."""
        return not self.findings

    @property
    def status(self) -> str:
        """`ok`, `wrong`, or `nothing`: the record has nothing that the check is about."""
        if self.findings:
            return "wrong"
        return "ok" if self.items else "nothing"

    @property
    def verdict(self) -> str:
        """The status, with how many are wrong."""
        return f"{len(self.findings)} wrong" if self.findings else self.status


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one audit; `believed` are the calls that failed as far as receipts say."""

    checks: tuple[CheckResult, ...]
    verified: tuple[str, ...]
    assumed: tuple[str, ...]
    believed: tuple[BelievedFailure, ...] = ()

    @property
    def ok(self) -> bool:
        """No check found anything wrong."""
        return all(result.ok for result in self.checks)

    @property
    def items(self) -> int:
        """How many things were looked at; where it is 0, nothing is verified."""
        return sum(result.items for result in self.checks)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong, in the order of the checks."""
        return tuple(finding for result in self.checks for finding in result.findings)

    @property
    def conclusion(self) -> str:
        """The verdict in one line; a clean one says so where money is believed not to have moved."""
        if number := len(self.findings):
            return counted(number, "finding")
        failed = told(self.believed)
        if failed:
            return f"clean, but {failed}, which --replay decides"
        return "clean" if self.items else "nothing there to verify"

    def to_json(self) -> dict[str, Any]:
        """`ok, checks: [{name, ok, status, items, findings}], verified, assumed, believed`.

        `ok` is None where nothing was looked at, in the report as in a check.
        """
        return {
            "ok": _told(self.ok, self.items),
            "checks": [
                {
                    "name": result.name,
                    "ok": _told(result.ok, result.items),
                    "status": result.status,
                    "items": result.items,
                    "findings": [asdict(finding) for finding in result.findings],
                }
                for result in self.checks
            ],
            "verified": list(self.verified),
            "assumed": list(self.assumed),
            "believed": [asdict(failure) for failure in self.believed],
        }

    def __str__(self) -> str:
        """As people read it: first findings, one line a check, what was verified, what assumed."""
        width = max((len(result.name) for result in self.checks), default=0)
        lines = [line for result in self.checks for line in _first(result)]
        lines += [
            f"{result.name:<{width}}  {result.verdict:>9}  {result.items:>7,} items  {result.description}"
            for result in self.checks
        ]
        lines += [f"verified: {line}" for line in self.verified]
        lines += [f"assumed: {line}" for line in self.assumed]
        return "\n".join(lines)


def _first(result: CheckResult) -> Iterator[str]:
    """The first findings of a check; of many, most follow from the first."""
    yield from map(str, result.findings[:SHOWN])
    if (more := len(result.findings) - SHOWN) > 0:
        yield f"{result.name}: {more} more, of which most follow from the first (all: --json)"


def _told(ok: bool, items: int) -> bool | None:
    """Who looked at nothing found nothing wrong, and has nothing to say for it."""
    return ok if items or not ok else None
