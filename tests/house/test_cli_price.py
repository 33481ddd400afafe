"""`wattbook price` by every method on a small scenario: they agree, are certified, and show every bus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from node.price import METHODS
from tests.house.commands import told, wattbook

TABLE = "buses hub_price import_mw iterations residual certified seconds"
BUS = "bus dlmp energy loss voltage congestion nuc dlmp_q"
"""What `price --json` prints at least, of the slot and of each bus."""
AGREEMENT = 1e-4
"""Relative difference that methods may have on the same conditions: what ATC's stop rule promises."""
STOP = 1e-5
"""Relative residual at which ATC's rounds end: the components of its DLMP add up as far as that."""


@pytest.fixture(scope="module")
def central(scenario: Path) -> Any:
    return told("price", scenario, "--method", "socp")


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"lindistflow"}))
def test_methods_agree_and_are_certified(scenario: Path, central: Any, method: str):
    table = told("price", scenario, "--method", method)
    assert set(table) >= set(TABLE.split())
    assert table["certified"] is True
    assert len(table["buses"]) == 33
    for bus, reference in zip(table["buses"], central["buses"], strict=True):
        assert set(bus) >= set(BUS.split())
        assert bus["bus"] == reference["bus"]
        assert bus["dlmp"] == pytest.approx(reference["dlmp"], rel=AGREEMENT)
        parts = bus["energy"] + bus["loss"] + bus["voltage"] + bus["congestion"]
        assert parts == pytest.approx(bus["dlmp"], rel=STOP)
        assert bus["nuc"] == pytest.approx(bus["dlmp"] - table["hub_price"], abs=1e-9)


def test_prices_without_losses_are_not_certified_and_say_so(scenario: Path):
    done = wattbook("price", scenario, "--method", "lindistflow", "--json")
    table = json.loads(done.stdout)
    assert (done.exit_code, table["certified"]) == (0, False)
    assert {bus["loss"] for bus in table["buses"]} == {0.0}
    assert done.stderr == f"warning: --method lindistflow: not certified: {table['doubt']}\n"


def test_table_shows_every_bus_with_its_components(scenario: Path):
    done = wattbook("price", scenario, "--method", "direct")
    assert (done.exit_code, done.stderr) == (0, "")
    head, *rows = [line.split() for line in done.stdout.splitlines() if re.match(r"bus |\d+ ", line)]
    assert [row[0] for row in rows] == [str(bus) for bus in range(1, 34)]
    assert head[1:] == ["DLMP", "energy", "loss", "v-limit", "congest.", "NUC", "reactive", "v_pu"]
    assert all(len(row) == len(head) for row in rows)
    assert "certificate holds" in " ".join(done.stdout.split())


def test_table_shows_loading_where_lines_have_ratings(scenario: Path):
    arguments = ("price", scenario, "--method", "newton", "--set", "feeder.line_rating_mva=3")
    buses = told(*arguments)["buses"]
    head, *rows = [
        line.split() for line in wattbook(*arguments).stdout.splitlines() if re.match(r"bus |\d+ ", line)
    ]
    assert head[-2:] == ["v_pu", "loading"]
    assert [row[-2] for row in rows] == [f"{bus['v_pu']:.4f}" for bus in buses]
    assert [row[-1] for row in rows] == ["–", *(f"{100 * bus['loading']:.1f}%" for bus in buses[1:])]


def test_who_sheds_load_is_warned(scenario: Path):
    arguments = ("price", scenario, "--method", "newton")
    done = wattbook(*arguments, "--set", "feeder.v_min_pu=0.9999")
    shed = re.fullmatch(
        r"warning: slot 0: (\S+) MW of load is shed: the feeder cannot serve .*\n", done.stderr
    )
    assert shed is not None and done.exit_code == 0
    assert f"load shed {shed[1]} MW" in done.stdout


def test_settings_and_slot_change_the_prices(scenario: Path, central: Any):
    scarce = told("price", scenario, "--method", "socp", "--set", "tariff.retail_eur_per_mwh=300")
    assert scarce["hub_price"] > central["hub_price"]
    noon, evening = (told("price", "ieee33-day", "--method", "direct", "--slot", slot) for slot in (11, 19))
    assert noon["import_mw"] < evening["import_mw"]
