"""No rule of the audit can be broken without some kind of tampering showing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.mutants import survivors, tampered_records

KNOWN = Path(__file__).with_name("survivors.txt")
"""Mutants that break no rule, each under the reason why."""


@pytest.mark.long
def test_every_broken_rule_is_noticed() -> None:
    count, left = survivors(tampered_records())
    assert count > 500
    lines = [line for line in KNOWN.read_text().splitlines() if line and not line.startswith("#")]
    assert sorted(set(left)) == sorted(lines)
