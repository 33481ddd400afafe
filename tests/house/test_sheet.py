"""Tables on a terminal: whole names and numbers, at any width."""

from __future__ import annotations

import pytest

from node.cli.sheet import sheet

HEAD = ("rule", "cost €", "worse off", "what came of it")
ROWS = (
    ("a rule with a long name", "-1182.84", "0", "nothing worth telling of, for once"),
    ("another", "-999.50", "12", ""),
)


def test_a_wide_terminal_has_one_block() -> None:
    assert sheet(HEAD, ROWS, 80) == [
        "rule                       cost €  worse off  what came of it",
        "─" * 80,
        "a rule with a long name  -1182.84          0  nothing worth telling of, for once",
        "another                   -999.50         12",
    ]


def test_a_narrow_one_goes_on_below_with_the_names_again() -> None:
    assert sheet(HEAD, ROWS, 40) == [
        "rule                       cost €  worse",
        "                                     off",
        "─" * 40,
        "a rule with a long name  -1182.84      0",
        "another                   -999.50     12",
        "",
        "rule                     what came of it",
        "─" * 40,
        "a rule with a long name  nothing worth",
        "                         telling of, for",
        "                         once",
        "another",
    ]


@pytest.mark.parametrize("width", [1, 30, 50, 80])
def test_no_name_and_no_number_is_cut(width: int) -> None:
    lines = sheet(HEAD, ROWS, width)
    for name, cost, worse, _ in ROWS:
        assert any(line.startswith(name) and cost in line.split() for line in lines)
        assert any(line.startswith(name) and worse in line.split() for line in lines)


def test_no_rows() -> None:
    assert sheet(("rule", "cost"), (), 80) == ["rule  cost", "─" * 10]
