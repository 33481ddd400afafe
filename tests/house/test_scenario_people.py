"""Prosumers told one by one, and coalitions of them: what becomes of their keys, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from market.feeder import FeederError
from node.scenario.loading import ScenarioError, load
from node.scenario.world import World, broken_by_passive_load, build

TWO = """
name = "two"
[slots]
start = 2026-06-23T10:00:00Z
count = 2
[bidding]
policy = "coalition"
coalitions = [[1, 2]]
[[prosumer]]
bus = "4"
firm_kw = 3.0
flexible_kw = [2.0, 10.0]
flexible_value_eur_per_mwh = [120.0, 200.0]
[[prosumer]]
bus = "33"
generator_kw = 20.0
generator_cost_eur_per_mwh = [5.0, 15.0]
"""
ENERGY_BITS = "above all that the contract's 32 bits of Wh hold"
REFUSED = {
    ('bus = "4"\n', ""): "prosumer.1.bus: missing",
    ('bus = "33"\n', 'bus = "33"\npv_kw = 2\n'): "prosumer.2.pv_kw: unknown key; allowed here: bus, firm_kw,",
    ("[2.0, 10.0]", "[10.0, 2.0]"): "flexible_kw = [10.0, 2.0] must be ordered",
    ("[2.0, 10.0]", "[2.0]"): "prosumer.1.flexible_kw = [2.0]: must be [low, high]",
    ("[2.0, 10.0]", "5"): "prosumer.1.flexible_kw = 5: must be a list",
    ("firm_kw = 3.0", "firm_kw = nan"): "prosumer.1.firm_kw = nan: must be",
    ("generator_kw = 20.0", "generator_kw = -1"): "prosumer.2.generator_kw = -1: must be",
    ("[5.0, 15.0]", "[15.0, 5.0]"): "generator_cost_eur_per_mwh = [15.0, 5.0] must be ordered",
    ("[[1, 2]]", "[[1, 3]]"): "bidding.coalitions: number 3, and there are 2 prosumers",
    ("[[1, 2]]", "[[1, 2], [2]]"): "nobody is in two",
    ("[[1, 2]]", "[]"): 'some with policy = "coalition", and none without',
    (
        "count = 2",
        'count = 2\n[market]\nrule = "tariff"',
    ): 'policy = "coalition" needs market.rule = "dlmp": by "tariff"',
    ('policy = "coalition"', 'policy = "forming"'): 'some with policy = "coalition", and none without',
    ("[[1, 2]]", "[[0]]"): "bidding.coalitions.1.1 = 0: must be",
}


def told(folder: Path, text: str = TWO) -> World:
    path = folder / "two.toml"
    path.write_text(text, encoding="utf-8")
    return build(load(path))


def test_who_is_told_has_what_was_told_in_every_slot(tmp_path: Path) -> None:
    world = told(tmp_path)
    kw = 1_000 * world.feeder.base_mw
    seen = world.actual.devices
    assert [world.feeder.bus_names[bus] for bus in world.bus] == ["4", "33"]
    assert np.allclose(world.actual.firm_p * kw, [[3, 0]] * 2)
    assert np.allclose(seen.load_min * kw, [[2, 0]] * 2) and np.allclose(seen.load_max * kw, [[10, 0]] * 2)
    assert np.allclose(seen.gen_max * kw, [[0, 20]] * 2)
    worth = [seen.load_value - seen.load_slope * load for load in (seen.load_max, seen.load_min)]
    assert np.allclose([each[:, 0] for each in worth], [[120, 120], [200, 200]])
    cost = [seen.gen_cost + seen.gen_slope * given for given in (0 * seen.gen_max, seen.gen_max)]
    assert np.allclose([each[:, 1] for each in cost], [[5, 5], [15, 15]])


def test_a_seed_draws_nothing_of_who_is_told(tmp_path: Path) -> None:
    one, other = told(tmp_path), told(tmp_path, "seed = 2\n" + TWO)
    assert np.array_equal(one.actual.firm_p, other.actual.firm_p)
    assert np.array_equal(one.actual.devices.load_value, other.actual.devices.load_value)


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change[1].split("\n")[0] or "nothing")
def test_what_cannot_be_is_refused_by_its_place(tmp_path: Path, change: tuple[str, str]) -> None:
    with pytest.raises(ScenarioError) as refusal:
        told(tmp_path, TWO.replace(*change))
    assert REFUSED[change] in str(refusal.value)


def test_a_capacity_that_no_order_could_have_is_refused(tmp_path: Path) -> None:
    text = TWO.replace("firm_kw = 3.0", "firm_kw = 100000").replace("T10", "T00")
    text = text.replace("count = 2", "count = 2\nseconds = 86400")
    with pytest.raises(ScenarioError, match=ENERGY_BITS):
        told(tmp_path, text)


@pytest.mark.parametrize("bus", ["1", "34", "house"])
def test_nobody_lives_where_no_bus_is_or_at_the_substation(tmp_path: Path, bus: str) -> None:
    with pytest.raises(FeederError, match=f"prosumer.bus = '{bus}': ieee33 has buses 2 to 33"):
        told(tmp_path, TWO.replace('bus = "33"', f'bus = "{bus}"'))


def test_coalitions_form_of_a_few_only(tmp_path: Path) -> None:
    forming = TWO.replace('coalition"\ncoalitions = [[1, 2]]', 'forming"')
    assert told(tmp_path, forming).scenario.bidding.together
    crowd = forming + '[[prosumer]]\nbus = "5"\nfirm_kw = 1.0\n' * 9
    with pytest.raises(ScenarioError, match="with 11 prosumers: at most 10 form coalitions"):
        told(tmp_path, crowd)


def test_limits_that_other_load_breaks_alone_are_told_by_the_worst() -> None:
    evening = {"slots.start": "2026-06-23T19:00:00Z", "slots.count": "2"}
    assert broken_by_passive_load(build(load("ieee33-day", evening))) == ""
    told = broken_by_passive_load(build(load("ieee33-day", evening | {"feeder.line_rating_mva": "0.5"})))
    assert told.startswith("load outside the market alone breaks limits in 2 of 2 slots")
    assert re.search(r"the worst, in slot [01]: line to bus 2: current \d\.\d+ pu, limit 0\.1", told)
    told = broken_by_passive_load(build(load("ieee33-day", evening | {"feeder.v_min_pu": "0.999"})))
    assert re.search(r"the worst, in slot [01]: bus (18|33): voltage 0\.9\d+ pu, limit 0\.99900 pu$", told)
