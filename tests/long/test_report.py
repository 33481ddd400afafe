"""The committed report is of the contract as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.long.lives import MILLION, contract_hash, drawing_hash

REPORT = Path(__file__).with_name("REPORT.md")


def test_the_report_is_of_this_contract() -> None:
    """A change of the contract, or of how lives are drawn, asks for `make long` again."""
    text = REPORT.read_text("utf-8")
    assert f"Contract code `{contract_hash()}`, drawing `{drawing_hash()}`" in text
    (actions,) = re.findall(r"\*\*(\d+) actions\*\*", text)
    assert int(actions) >= MILLION
