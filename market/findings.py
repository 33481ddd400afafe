"""What a check found wrong, as a value: the certificate's checker and the audit share this record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: which check, where, both values as people read them, and what to do next.

    `difference` is the size of the break in the unit the values are in; `next` may be empty.
    """

    check: str
    where: str
    expected: str
    found: str
    difference: str
    next: str = ""

    def __str__(self) -> str:
        lines = f"error[{self.check}] {self.where}\n  expected {self.expected}  found {self.found}"
        lines += f"  ({self.difference})" if self.difference else ""
        return lines + (f"\n  try: {self.next}" if self.next else "")
