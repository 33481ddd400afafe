"""Every study runs, its claims come out, and it says the same again."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from market.atc.levels import FOUR_LEVELS, THREE_LEVELS
from market.feeder.powerflow import violations
from market.orders import VetoReason
from node.cli.sheet import sheet
from node.scenario import load as scenario
from node.scenario.world import build
from node.studies.auctions import AUCTIONS
from node.studies.community import ALONE, alone, metered
from node.studies.comparison import LEFT_OUT
from node.studies.cosimulation import over as cosimulated
from node.studies.curtailment import curtailed
from node.studies.decomposition import compared_sizes
from node.studies.dispatch import BY_HUB, BY_WHOLESALE
from node.studies.microgrid_heating import PEERS, winter
from node.studies.microgrid_slot import MISSING_WH
from node.studies.microgrid_slot import traded as platform_slot
from node.studies.peak_hour import LED, USUAL
from node.studies.region_prices import drawn, equilibrium, limited, searched
from node.studies.registry import ENTRIES, UnknownStudy, load
from node.studies.study import Basis, Claim, Count, Findings
from node.studies.utility import over as utility_over
from node.studies.whole import Ran, run_all, write
from tests.house.commands import wattbook

NAMES = [entry.name for entry in ENTRIES]
LONG = {"utility", "decomposition", "cosimulation"}
"""Studies that take longer than a test should; what they show is tested on less of it."""
PARAMETERS = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in NAMES]


@pytest.fixture(scope="module", params=PARAMETERS)
def ran(request: pytest.FixtureRequest) -> tuple[str, Findings]:
    return request.param, found(request.param)


@cache
def found(name: str) -> Findings:
    """What a study finds with the seed that it has by default."""
    return load(name).run(1)


def failed(findings: Findings) -> list[Claim]:
    """Claims that have to come out and do not."""
    return [claim for claim in findings.claims if claim.required and not claim.held]


QUICK = ("stackelberg", "coalitions", "sharing-regions", "vpp")
"""Studies of a second or two."""
OTHER_SEEDS = (0, 2, 5)
SEEDED = [name for name in NAMES if name not in {"decomposition", "microgrid-platform"}]
"""All but one whose day is the demo's, and one whose means over winters need not show it in every draw."""


@pytest.mark.parametrize("seed", OTHER_SEEDS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in SEEDED]
)
def test_its_claims_come_out_by_other_seeds(name: str, seed: int) -> None:
    assert not failed(load(name).run(seed))


def test_its_claims_come_out(ran: tuple[str, Findings]) -> None:
    _, findings = ran
    assert findings.claims and not failed(findings)


def test_it_says_what_json_can_say(ran: tuple[str, Findings]) -> None:
    _, findings = ran
    assert json.loads(json.dumps(findings.figures)) == findings.figures
    for table in findings.tables:
        assert all(len(row) == len(table.head) for row in table.rows)


def test_its_tables_fit_a_terminal(ran: tuple[str, Findings]) -> None:
    _, findings = ran
    for table in findings.tables:
        assert all(len(line) <= 80 for line in sheet(table.head, table.rows, 80)), table.title


def test_the_registry_says_what_a_study_says_of_itself() -> None:
    for entry in ENTRIES:
        study = load(entry.name)
        assert (study.name, study.about) == (entry.name, entry.about)
        assert study.source.citation and study.source.taken and study.source.added
    with pytest.raises(UnknownStudy, match="no such study; there are baselines"):
        load("nobody")


@pytest.mark.parametrize(
    "name",
    ["stackelberg", "peak-hour", "coalitions", "sharing-regions", "microgrid-platform", "energy-classes"],
)
def test_a_reconstruction_is_told_as_one(name: str) -> None:
    assert [note for note in found(name).notes if note.startswith("A reconstruction: ")]


def test_claims_of_the_source_are_counted_apart() -> None:
    said = (
        Claim("peers gain", True, "32"),
        Claim("prices sink", False, "3", "limits", Basis.SOURCE, required=False),
        Claim("loads shift", False, "0", required=False),
    )
    findings = Findings({}, (), said, lambda figure, theme: None)
    assert findings.outcome == (
        "source: 0 of 1, own check: 1 of 2, by construction: none; 2 not so, which fails nothing"
    )
    assert [claim.outcome for claim in said] == ["comes out", "not reproduced", "is not so"]
    assert findings.passed and said[1].told == "prices sink: 3 (limits)"
    assert [heading for heading, _ in findings.grouped()] == [Basis.SOURCE.heading, Basis.OURS.heading]


def test_constants_of_a_reconstruction_are_no_claims_of_its_source() -> None:
    counted = {name: found(name).counts() for name in ("stackelberg", "energy-classes", "vpp")}
    assert counted["stackelberg"] == {
        Basis.SOURCE: Count(1, 1), Basis.OURS: Count(5, 5), Basis.CONSTRUCTION: Count(0, 0),
    }  # fmt: skip
    assert all(counted[name][Basis.SOURCE] == Count(0, 0) for name in ("energy-classes", "vpp"))


def test_the_golden_figures() -> None:
    """Of the cases that the sources work out: auctions, the leader's price."""
    case = found("double-auction").figures["case"]
    assert case == {
        "price": 22.5, "quantity": 7, "left_over": 3, "left_over_price": 20, "with_grid": 0,
        "buyers_cost_change": -0.275, "sellers_revenue_change": 1.175,
    }  # fmt: skip
    game = found("stackelberg").figures
    assert (round(game["choke_price"], 4), round(game["threshold"], 3)) == (29.8644, 92.881)
    assert game["inelastic_share_left"] == pytest.approx(0.4)


def test_welfare_is_gained_or_changes_hands_and_no_rule_gains_more_than_the_best() -> None:
    rules = found("baselines").figures["rules"]
    best, without = rules[BY_WHOLESALE], rules[ALONE]
    assert best["violations"] == 0 and best["cost_eur"] is None is rules[BY_HUB]["utility_eur"]
    for name, each in rules.items():
        # Within the 0.01 € that meters of whole Wh leave of 1 440 readings at up to 0.24 €/kWh.
        assert each["welfare_eur"] <= best["welfare_eur"] + 0.01, name
        if each["cost_eur"] is not None:
            shares = each["utility_eur"] + each["kept_eur"] - each["cost_eur"]
            assert each["welfare_eur"] == pytest.approx(shares)
    assert rules[BY_HUB]["welfare_eur"] > without["welfare_eur"]
    money = found("baselines").tables[0]
    assert money.head[1:5] == (
        "welfare gains €", "prosumers save €", "utility loses €", "auctioneer keeps €",
    )  # fmt: skip
    for row in money.rows[:-2]:
        gained, saved, lost, kept = map(float, row[1:5])
        assert gained == pytest.approx(saved - lost + kept, abs=0.02), "four figures rounded to cents"


def test_sharing_regions_by_other_levels() -> None:
    """Of another draw, four levels come to the prices of three, and the search finds a gain where one is."""
    case = limited(equilibrium(drawn(2)))
    three, four = (equilibrium(case, method) for method in (THREE_LEVELS, FOUR_LEVELS))
    assert np.abs(three.price - four.price).max() < 1e-5
    moved = replace(three, price=three.price + np.array([0.0, 0.5, 0.0, 0.0]))
    assert min(searched(moved, 1).at_cost, searched(moved, 1).in_flow) > 1e-6
    assert searched(moved, 0).at_cost <= 1e-6, "another region's price is not its own"


def test_a_provider_that_foresees_prices_gains_where_a_line_binds() -> None:
    """With limits by euros, without them by cents: what the claim about posted prices does not say."""
    told = found("sharing-regions").figures["regions"]
    gains = [[each[f"gain_if_foreseen{when}"] for each in told] for when in ("", "_without_limits")]
    assert max(gains[0]) > 1.0 and 1e-3 < max(gains[1]) < 0.1
    assert all(each["best_gain_at_cost_without_limits"] <= 1e-6 for each in told)


def test_energy_classes_on_the_chain() -> None:
    """Where nobody cares both books trade at one price and nobody is punished for a class."""
    told = found("energy-classes").figures
    indifferent, green = told["book"]
    assert indifferent["plain_prices_ueur_per_kwh"] == indifferent["solar_prices_ueur_per_kwh"]
    assert green["plain_prices_ueur_per_kwh"] < green["solar_prices_ueur_per_kwh"]
    assert indifferent["solar_wh"] > 0 and green["solar_wh"] > 0
    refused = ["order: not registered seller"]
    assert indifferent["rejected"] == green["rejected"] == refused and told["refusal"] == refused[0]
    assert told["audit_ok"] and told["penalty_neur"] > told["laundering_gain_neur"] > 0
    assert told["penalty_if_the_meter_lies_neur"] == 0, "a meter is believed"


def test_wind_at_the_energy_of_the_sun() -> None:
    """Scaled, both generate the same, and the wind still blows at its own hours."""
    sunny, windy = winter(1, 0, 0), winter(1, 0, PEERS)
    scaled = windy.scaled_to(sunny.generated_kwh)
    assert windy.generated_kwh > 1.5 * sunny.generated_kwh == pytest.approx(1.5 * scaled.generated_kwh)
    assert np.corrcoef(scaled.generation[:, 0], windy.generation[:, 0])[0, 1] == pytest.approx(1.0)
    assert np.array_equal(scaled.load, sunny.load)


def test_a_slot_of_the_microgrid() -> None:
    """The large order came last: of its last fill as much is taken back as the line cannot carry, no more."""
    slot = platform_slot(1)
    assert (slot.late_order, slot.late_cancel) == ("order: slot not open", "book: gate passed")
    (veto,) = slot.vetoed
    assert veto.taker == slot.filled[-1].taker and 0 < veto.quantity < slot.filled[-1].quantity
    assert (veto.reason, veto.element) == (VetoReason.LOADING, 1) and slot.broken and not slot.left
    assert (slot.vetoes.items, slot.vetoes.findings) == (3, ()), "for its limit, for the least, for the rest"
    assert [each.imbalance for each in slot.settled] == [MISSING_WH * slot.shortfall_price] + [0] * 9
    told = "vetoed for loading of the line to bus 1: bought"
    assert any(line.what.startswith(told) for line in slot.vetoed_bill.lines)
    assert slot.audit_ok


def test_the_peak_hour() -> None:
    """Its cases on a chain against the closed form."""
    figures = found("peak-hour").figures
    usual, led = (figures["cases"][name] for name in (USUAL, LED))
    assert figures["price"] == pytest.approx(29.8644, abs=5e-5)
    for name, by_prices_wh in figures["net_by_prices_wh"].items():
        # The closed form at the prices of nine buses; meters show whole watt-hours.
        assert figures["cases"][name]["prosumers_net_wh"] == pytest.approx(by_prices_wh, abs=10)
    taken_less, imported_less = (usual[what] - led[what] for what in ("prosumers_net_wh", "import_wh"))
    # What is not taken saves its losses too, at most by the margin of the dearest bus when more was taken.
    assert 0 < taken_less < imported_less < taken_less * usual["dearest_bus_over_hub"]
    members = sorted(number for coalition in led["coalitions"] for number in coalition)
    assert members == list(range(1, 10)) and len(led["coalitions"]) < 9
    buyers, sellers = figures["worse_by_eur"][:5], figures["worse_by_eur"][5:]
    for case in figures["cases"].values():
        parts = ("bought_of_utility_wh", "sold_to_utility_wh", "among_peers_wh")
        assert sum(case[part] for part in parts) == case["traded_wh"] and not case["among_peers_wh"]
    assert led["sold_to_utility_wh"] > 0 == led["bought_of_utility_wh"] < usual["bought_of_utility_wh"]
    assert min(buyers) > 0 > max(sellers), "who has pays less, who wants pays more, than at the usual price"


@pytest.mark.long
def test_the_utility_at_noon() -> None:
    """Two slots in which a rating binds: firm charges keep it, near the optimum; the loop goes in circles."""
    noon = utility_over(1, {"slots.start": "2026-06-23T10:00:00Z", "slots.count": "2"})
    assert not failed(noon)
    slots = noon.figures["half_half"]
    assert len(slots) == 2 and not any(slot["settled"] for slot in slots)
    for slot in slots:
        assert slot["firm_violations"] == 0 and max(slot["violations"]) > 0
        # What the book leaves untraded by ticks and by who met whom is 0.14 € here; none beats the optimum.
        assert -0.2 < slot["firm_welfare_less_eur"] < 0
    for rule in noon.figures["rules"].values():
        assert 0 < len(rule["spend_more"]) < len(noon.figures["alone"]["bills_eur"]), (
            "limits cost some, not all"
        )


def test_exports_are_cut_to_the_limits_and_no_further() -> None:
    """At noon under a rating that sun alone breaks: by one share, which a per cent less would not do."""
    noon = {"slots.seconds": "7200", "slots.count": "1", "slots.start": "2026-06-23T10:00:00Z"}
    world = build(scenario("ieee33-day", {**noon, "feeder.line_rating_mva": "1.9"}, 1))
    (free,), (cut,) = alone(world).net_wh, curtailed(world).net_wh
    assert violations(world.feeder, alone(world).flow) and not violations(world.feeder, curtailed(world).flow)
    assert (cut == free)[free >= 0].all(), "who takes goes on taking"
    shares = cut[free < 0] / free[free < 0]
    share = 1 - np.rint(100 * (1 - shares.mean())) / 100
    # Meters count whole Wh, so that both are half of one off at most.
    assert np.abs(cut - share * free)[free < 0].max() <= 1
    less = np.where(free < 0, (share + 0.01) * free, free)
    assert violations(world.feeder, metered(world, np.rint(less[None, :]).astype(int), 0 * less).flow)


@pytest.mark.long
def test_decomposition_of_few_prosumers() -> None:
    few = compared_sizes((10,), rounds_max=60)
    assert not failed(few)
    methods = few.figures["sizes"][0]["methods"]
    assert {name for name, told in methods.items() if not told["settled"]} == {"quadratic", "lagrangian"}


def test_cosimulation_by_the_hour() -> None:
    hourly = cosimulated(1, ((1.0, 3.0), (1.0, 5.0)), 3_600)
    assert not failed(hourly)
    without, with_trade, *beyond = hourly.figures["days"]
    assert all(day["steps_beyond_limits"] > 0 for day in beyond)
    assert without["traded_kwh"] == 0 < with_trade["traded_kwh"]
    assert without["voltage_max_pu"] != with_trade["voltage_max_pu"], "trade does something to the network"
    assert json.loads(json.dumps(hourly.figures)) == hourly.figures


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_is_none_is_refused(seed: int) -> None:
    done = wattbook("study", "vpp", "--seed", seed)
    assert done.exit_code == 2 and "--seed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_all_in_one_report(tmp_path: Path) -> None:
    """Of two quick studies and two slots; the whole of it is a long test."""
    entries = [entry for entry in ENTRIES if entry.name in {"stackelberg", "vpp"}]
    slots = {"slots.count": "2", "slots.start": "2026-06-23T11:00:00Z", "prosumers.count": "20"}
    whole = run_all(1, entries, {"mine": AUCTIONS["reduce"]}, slots)
    assert whole.passed
    mechanisms = whole.comparison.to_json()
    assert list(mechanisms) == [
        "FiT/retail", "mid-market rate", "uniform", "reduce", "two-price", "continuous", "mine",
        "Wattbook, rule dlmp", "Wattbook, rule tariff", "Wattbook, coalitions of 10", BY_HUB, BY_WHOLESALE,
    ]  # fmt: skip
    assert mechanisms["mine"] == mechanisms["reduce"]
    assert mechanisms["Wattbook, rule dlmp"]["better_off"] > 0
    for place in ("a", "b"):
        write(whole, tmp_path / place)
    page = (tmp_path / "a" / "report.html").read_text()
    for words in (
        "stackelberg",
        "vpp",
        "Without a row",
        LEFT_OUT[0][0],
        "Wattbook, rule tariff",
        "source: 1 of 1, own check: 5 of 5, by construction: none",
        "data:image/svg",
    ):
        assert words in page
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["comparison.json", "comparison.svg", "report.html", "stackelberg-1.csv",
                     "stackelberg.json", "stackelberg.svg", "vpp-1.csv", "vpp.json", "vpp.svg"]  # fmt: skip
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_every_study_has_a_row_or_a_reason() -> None:
    compared = {"baselines", "double-auction", "utility"}
    told = " ".join(what for what, _ in LEFT_OUT)
    assert {name for name in NAMES if name not in compared and name not in told} == set()


@pytest.mark.long
def test_every_study_in_one_run(tmp_path: Path) -> None:
    told = json.loads(wattbook("study", "all", "--out", tmp_path, "--json").stdout)
    assert told["passed"] and set(told["studies"]) == set(NAMES)
    assert " ms" not in (tmp_path / "report.html").read_text(), "no file has timings"


def test_the_seven_components_are_where_the_table_says() -> None:
    components = found("local-market").tables[1].rows
    assert len(components) == 7
    root = Path(__file__).parents[2]
    for _, _, where in components:
        assert all((root / place).exists() for place in where.split(", ")), where


def test_the_command(tmp_path: Path) -> None:
    listed = wattbook("study", "--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == NAMES
    said = wattbook("study", "coalitions", "--seed", 3, "--json", "--out", tmp_path / "a")
    told = json.loads(said.stdout)
    assert told["study"] == "coalitions" and told["passed"] and told["seed"] == 3
    assert [claim["basis"] for claim in told["claims"]] == [
        "by construction", "own check", "own check", "own check", "by construction",
    ]  # fmt: skip
    assert told["by_basis"]["own check"] == {"held": 3, "claims": 3}
    wattbook("study", "coalitions", "--seed", 3, "--out", tmp_path / "b")
    tables = json.loads((tmp_path / "a" / "coalitions.json").read_text())["tables"]
    assert tables["coalitions-2.csv"] == "Witnesses"
    head, *rows = csv.reader((tmp_path / "a" / "coalitions-2.csv").read_text().splitlines())
    assert head == ["of", "nets", "step", "from", "to", "gain"] and len(rows) == 3
    for name in ("coalitions.json", "coalitions.svg", *tables):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_study_that_fails_is_told_and_holds_up_no_other() -> None:
    def run(seed: int) -> Findings:
        raise ZeroDivisionError(f"with seed {seed}")

    ran = Ran.of(replace(load("vpp"), run=run), 3, {}, {})
    line = run.__code__.co_firstlineno + 1
    assert not ran.passed
    assert (
        ran.outcome
        == f"not run: it failed with ZeroDivisionError: with seed 3 (test_studies.py, line {line})"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("study",), "name a study"),
        (("study", "nobody"), "no such study; there are"),
        (("study", "all"), "name a folder"),
        (("study", "all", "--out", "/dev/null/out"), "Not a directory; name another folder"),
        (("study", "decomposition", "--out", "/dev/null/out"), "Not a directory; name another folder"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], says: str) -> None:
    refused = wattbook(*words)
    assert refused.exit_code == 2
    assert says in refused.stderr and refused.stderr.count("\n") == 1
