"""Auctions of a reader's own: beside the others where they are possible, refused in one line where not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from market.mechanisms.double_auction import Grid, Offer
from node.studies import double_auction
from node.studies.auctions import AUCTIONS, AuctionError, Outcome, decided
from node.studies.community import offers
from node.studies.comparison import NAMES, drawn
from node.studies.dispatch import BY_HUB, BY_WHOLESALE
from node.studies.rules import RuleFileError, load_rules
from tests.house.commands import wattbook

README = Path(__file__).parents[2] / "node" / "studies" / "README.md"
OWN_RULE = README.read_text().split("```python\n")[1].split("```")[0]
"""The rule that the README shows."""
NEIGHBOUR = "beside_a_rule"


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a rule's file adds to modules and their paths is gone after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith("rule_") or name == NEIGHBOUR]:
        del sys.modules[name]


def written(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.write_text(code)
    return path


# --- from a file ---------------------------------------------------------------------------------


def test_it_runs_beside_the_others_and_the_claims_are_about_it_too(tmp_path: Path) -> None:
    printing = OWN_RULE.replace("    for b, bid", "    print('no result')\n    for b, bid")
    path = written(tmp_path, "first_come.py", f"{printing}\nprint('none either')\n")
    few = ("--set", "prosumers.count=8")
    told = json.loads(wattbook("study", "baselines", "--rule", path, *few, "--json").stdout)
    assert list(told["rules"])[-3:] == ["first_come", BY_HUB, BY_WHOLESALE] and told["passed"]
    assert told["rules"]["first_come"]["cost_eur"] < told["rules"]["FiT/retail"]["cost_eur"]
    claims = {claim["what"]: claim["figure"] for claim in told["claims"]}
    assert "nobody keeps money under first_come" in claims
    assert "first_come 0" in claims["no prosumer is worse off in any auction"]
    assert "first_come -" in claims["trading costs the community no more than FiT/retail does"]
    assert told["settings"] == {"prosumers.count": "8"}
    for found in told["auctions"].values():
        assert found["first_come"]["paid_eur_per_mwh"] != found["uniform"]["paid_eur_per_mwh"]
        assert found["first_come"]["owners_saved_eur"] != found["uniform"]["owners_saved_eur"]


@pytest.mark.parametrize("rule", ["uniform", "two-price"])
def test_in_random_cases_an_own_rule_is_what_it_is(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double_auction, "CASES", 50)
    found = double_auction.random_cases(1, {"mine": AUCTIONS[rule]})
    mine, known = found["mine"].to_json(), found[rule].to_json()
    assert mine.pop("lying_helps_with_left_over") == mine["lying_helps"], "it leaves nothing over"
    known.pop("lying_helps_with_left_over")
    assert mine == pytest.approx(known, rel=1e-12), "sums of 50 floats"


def test_in_random_cases_an_own_rule_is_told_by_the_case() -> None:
    with pytest.raises(AuctionError, match="rule mine, random case 0: it returns NoneType"):
        double_auction.compare(1, {"mine": lambda *_: None}, {})


def test_offers_at_own_prices_are_the_same_energy_at_prices_that_nobody_shares() -> None:
    noon = {"slots.count": "1", "slots.start": "2026-06-23T11:00:00Z", "prosumers.count": "6"}
    world = drawn(1, noon)
    shared, own = offers(world, 0), offers(world, 0, shared=False)
    edges = {world.tariff.fit, world.tariff.retail}
    for side, owners in (("bids", "bidders"), ("asks", "askers")):
        totals = [sum(each.quantity for each in getattr(found, side)) for found in (shared, own)]
        assert totals[0] == totals[1] > 0
        whose: dict[int, set[int]] = {}
        for offer, owner in zip(getattr(own, side), getattr(own, owners), strict=True):
            whose.setdefault(int(offer.price), set()).add(int(owner))
        assert all(len(known) == 1 for price, known in whose.items() if price not in edges)
        assert sorted(whose) == list(whose), "by rising price"
        # The grid's two and between them what each one's flexible energy is worth.
        assert len(whose) > len({offer.price for offer in getattr(shared, side)})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("vpp", "--set", "prosumers.count=8"), "vpp takes no settings of a day"),
        (("double-auction", "--set", "prosumers.count=8"), "double-auction takes no settings of a day"),
        (("baselines", "--set", "prosumers=8"), "prosumers"),
        (("baselines", "--set", "prosumers.count"), "a setting is KEY=VALUE"),
        (("baselines", "--set", "batteries.share=0.5"), "batteries.share = 0.5: auctions of single slots"),
    ],
)
def test_settings_that_make_no_day_to_compare_are_refused(words: tuple[str, ...], says: str) -> None:
    refused = wattbook("study", *words)
    assert refused.exit_code == 2
    assert says in refused.stderr and refused.stderr.count("\n") == 1


def test_a_file_may_have_dataclasses_and_neighbours(tmp_path: Path) -> None:
    written(tmp_path, f"{NEIGHBOUR}.py", "HALF = 2\n")
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport beside_a_rule\n"
        "@dataclass\nclass Half:\n    of: int = beside_a_rule.HALF\n"
        "def auction(bids, asks, grid, rng):\n    return Half().of\n"
    )
    rules = load_rules([written(tmp_path, "mine.py", code)], NAMES)
    assert rules["mine"]([], [], Grid(30, 10), np.random.default_rng(0)) == 2


@pytest.mark.parametrize(
    ("study", "code", "says"),
    [
        ("baselines", None, "no such Python file"),
        ("baselines", "", "it has no function auction"),
        ("baselines", "\n1 / 0", "mine.py: ZeroDivisionError: division by zero (mine.py, line 2)"),
        ("baselines", "raise SystemExit(7)", "mine.py: SystemExit: 7 (mine.py, line 1)"),
        ("baselines", "def auction(:", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("baselines", OWN_RULE.replace(") / 2", ")"), "rule mine, slot "),
        ("vpp", OWN_RULE, "vpp compares no auctions"),
    ],
)
def test_what_is_no_auction_is_told_in_one_line(
    tmp_path: Path, study: str, code: str | None, says: str
) -> None:
    path = tmp_path / "mine.py"
    if code is not None:
        path.write_text(code)
    refused = wattbook("study", study, "--rule", path)
    assert refused.exit_code == 2
    assert says in refused.stderr and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["uniform.py", "fit-retail.py", "Mid-Market-Rate.py", "wattbook-rule-dlmp.py"]
)
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    refused = wattbook("study", "all", "--out", tmp_path / "out", "--rule", written(tmp_path, name, "1 / 0"))
    assert refused.exit_code == 2 and "is the name of what is compared already" in refused.stderr


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    paths = [written(tmp_path, "mine.py", OWN_RULE), written(tmp_path / "b", "mine.py", OWN_RULE)]
    with pytest.raises(RuleFileError, match=f"mine is the name of {paths[0]}; rename the file"):
        load_rules(paths, NAMES)


# --- what it decides -----------------------------------------------------------------------------

BIDS, ASKS, GRID = (Offer(28, 10), Offer(29, 5)), (Offer(12, 8),), Grid(30, 10)


def decide(found: object) -> object:
    return decided("rule mine, slot 3", lambda *_: found, BIDS, ASKS, grid=GRID, rng=np.random.default_rng(0))


def of_pair(bought: object, sold: object, paid: object, got: object) -> Outcome:
    return Outcome([bought, 0], [sold], [paid, 0], [got])


def test_what_is_possible_is_taken_exactly() -> None:
    found = decide(of_pair(8, 8, 8 * 28, 8 * 12))
    assert (found.bought, found.costs, found.revenues) == ((8, 0), (224, 0), (96,))
    numbers = np.array([0.1, 0.0]), np.array([0.1]), np.array([2.0, 0.0]), np.array([2.0])
    assert decide(Outcome(*numbers)).bought == (Fraction(0.1), 0)
    assert decide(of_pair(np.int64(3), 3.0000001, 3 * 20, 60)).bought == (3, 0), "floats may miss a little"


def test_a_rule_is_shown_offers_by_rising_price_and_its_amounts_are_put_back() -> None:
    seen: list[list[int]] = []

    def dearest(bids: Sequence[Offer], asks: Sequence[Offer], *_: object) -> Outcome:
        seen.append([offer.price for offer in (*bids, *asks)])
        return Outcome([0, 0, 4], [4, 0], [0, 0, 60], [60, 0])

    bids, asks = (Offer(20, 5), Offer(28, 9), Offer(19, 5)), (Offer(15, 8), Offer(12, 8))
    found = decided("rule mine", dearest, bids, asks, grid=GRID, rng=np.random.default_rng(0))
    assert seen == [[19, 20, 28, 12, 15]]
    assert (found.bought, found.costs) == ((0, 4, 0), (0, 60, 0))
    assert (found.sold, found.revenues) == ((0, 4), (0, 60))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "it returns NoneType, not an Outcome"),
        (Outcome(3, [0], [0], [0]), "bought is 3, no sequence"),
        (Outcome([0, 0], [0], [0], [0]), "2 amounts and 1 sums for 2 bids"),
        (of_pair(11, 8, 0, 0), "11 Wh of bids[0], which offers 10"),
        (of_pair(-1, 8, 0, 0), "-1 Wh of bids[0], which offers 10"),
        (of_pair(5, 6, 100, 100), "5 Wh are bought and 6 sold"),
        (of_pair(5, 5, float("nan"), 100), "costs[0] is nan, no finite number"),
        (of_pair(5, 5, 100, float("inf")), "revenues[0] is inf, no finite number"),
        (of_pair(5, 5, "100", 100), "costs[0] is '100', no finite number"),
        (of_pair(5, 5, 141, 100), "bids[0] pays 141 n€ for 5 Wh, 28.2 µ€/kWh, above its limit of 28"),
        (of_pair(0, 0, 1, 0), "bids[0] pays 1 n€ for 0 Wh, above its limit of 28"),
        (of_pair(5, 5, 100, 59), "asks[0] gets 59 n€ for 5 Wh, 11.8 µ€/kWh, below its limit of 12"),
        (of_pair(5, 5, 100, 101), "sellers get 1 n€ more than buyers pay"),
        (of_pair(5, 5, -(10**9), 100), "sellers get 1000000100 n€ more than buyers pay"),
    ],
)
def test_what_cannot_be_is_told_by_rule_slot_and_offer(found: object, says: str) -> None:
    with pytest.raises(AuctionError) as caught:
        decide(found)
    assert str(caught.value).startswith("rule mine, slot 3: ") and says in str(caught.value)


def _fails(bids: Sequence[Offer], *_: object) -> Outcome:
    return bids[0].nope


def _leaves(*_: object) -> Outcome:
    raise SystemExit(7)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (_fails, f"no attribute 'nope' (test_study_rules.py, line {_fails.__code__.co_firstlineno + 1})"),
        (_leaves, f"SystemExit: 7 (test_study_rules.py, line {_leaves.__code__.co_firstlineno + 1})"),
        (lambda bids: bids, "TypeError"),
    ],
)
def test_a_rule_that_fails_is_told_with_its_line(rule: object, says: str) -> None:
    with pytest.raises(AuctionError) as caught:
        decided("rule mine, slot 3", rule, BIDS, ASKS, grid=GRID, rng=np.random.default_rng(0))
    assert str(caught.value).startswith("rule mine, slot 3: ") and says in str(caught.value)
