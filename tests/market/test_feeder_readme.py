"""The README's table is what the code gives, row by row."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import market.feeder
from market.feeder import BUILT_IN, load
from market.feeder.model import FeederError
from market.feeder.shipped import NETWORKS
from tests.market.feeder_flows import row

PAGE = (Path(market.feeder.__file__).parent / "README.md").read_text(encoding="utf-8")
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `([^`]*)` \| \d+ \|.*$", PAGE, re.MULTILINE)}
QUICK = {
    *BUILT_IN,
    "pandapower:cigre-lv",
    "pandapower:cigre-mv",
    "pandapower:kerber-dorf",
    "pandapower:mv-open-ring",
    "pandapower:oberrhein#1",
    "pandapower:voltage-control-rural-1",
    "simbench:1-LV-rural1--0-sw",
}


def check(name: str) -> None:
    if name.startswith("simbench:") and importlib.util.find_spec("simbench") is None:
        pytest.skip("simbench is not installed")
    assert ROWS[name].startswith(row(name))


@pytest.mark.parametrize("name", sorted(QUICK))
def test_rows_are_what_the_code_gives(name: str) -> None:
    check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(ROWS) - QUICK))
def test_all_other_rows_are_too(name: str) -> None:
    check(name)


def test_every_name_has_a_row() -> None:
    plain = {name.partition("#")[0] for name in ROWS}
    assert plain == {*BUILT_IN, *(f"pandapower:{name}" for name in NETWORKS)} | {
        name for name in ROWS if name.startswith("simbench:")
    }
    assert list(ROWS)[: len(BUILT_IN)] == list(BUILT_IN)


def test_the_part_without_a_row_is_meshed() -> None:
    assert "pandapower:schutterwald#13" not in ROWS
    with pytest.raises(FeederError, match="is meshed: a loop through buses N3209"):
        load("pandapower:schutterwald#13")


def test_every_module_is_told_of() -> None:
    for module in Path(market.feeder.__file__).parent.glob("*.py"):
        assert f"`{module.name}`" in PAGE, module.name
