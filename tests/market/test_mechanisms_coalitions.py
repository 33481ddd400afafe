"""Which coalitions form, which hold, and the witnesses of those that do not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from market.mechanisms.baselines import mid_market_bills
from market.mechanisms.coalitions import (
    CoalitionError,
    Peers,
    c_stable,
    gain_of_every_member,
    hp_stable,
    in_core,
    merge_and_split,
    partitions,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=60)
nets = st.lists(st.integers(-9, 9), min_size=1, max_size=6)


def peers(*net: int) -> Peers:
    return Peers(tuple(net), price=30, fit=10)


def payoffs(known: Peers) -> list[Fraction]:
    return [-bill for bill in mid_market_bills(known.net, known.price, known.fit)]


def test_worth_is_what_the_grid_pays():
    known = peers(4, -3, -6)
    assert [known.worth(members) for members in ([0], [1], [0, 1], [0, 1, 2])] == [-120, 30, -30, 50]


def test_who_wants_and_who_has_merge():
    assert merge_and_split(peers(4, -3)) == (frozenset({0, 1}),)
    # Two who both want gain nothing by each other.
    assert merge_and_split(peers(4, 3)) == (frozenset({0}), frozenset({1}))


@deterministic
@given(nets)
def test_what_forms_is_stable_against_merging_and_splitting(net):
    known = peers(*net)
    assert hp_stable(known, merge_and_split(known)).stable


@deterministic
@given(nets)
def test_all_together_withstands_everything(net):
    """v is superadditive, so the coalition of all is D_c-stable, and worth the most."""
    known = peers(*net)
    everybody = (frozenset(range(len(net))),)
    assert c_stable(known, everybody).stable and hp_stable(known, everybody).stable
    best = max([sum(map(known.worth, split)) for split in partitions(range(len(net)))], default=None)
    assert best is None or known.worth(everybody[0]) >= best


@deterministic
@given(nets)
def test_a_verdict_of_no_has_a_witness_that_gains(net):
    known = peers(*net)
    for verdict in (hp_stable(known, known.alone), c_stable(known, known.alone)):
        if not verdict.stable:
            before, after = (sum(map(known.worth, side)) for side in (verdict.before, verdict.after))
            assert verdict.gain == after - before > 0 or verdict.step == "superadditivity"
    assume(min(net) < 0 < max(net))
    assert not hp_stable(known, known.alone).stable


def test_the_mid_market_rate_is_outside_the_core():
    """The one who has what two want could ask for more than the middle price of one of them."""
    known = peers(5, 5, -5)
    verdict = in_core(known, payoffs(known))
    assert not verdict.stable and verdict.gain > 0
    (blocking,) = verdict.after
    assert known.worth(blocking) - sum(payoffs(known)[peer] for peer in blocking) == verdict.gain


@deterministic
@given(nets)
def test_no_coalition_pays_every_member_more_by_the_same_rate(net):
    known = peers(*net)
    assert gain_of_every_member(known, payoffs(known)).stable


def test_a_share_of_a_unit_is_not_lost():
    """Cut to whole units the second has nothing to pay for, and the first a witness that is none."""
    known = Peers((Fraction(19, 10), Fraction(-1, 10)), price=30, fit=10)
    paid = [Fraction(-56), Fraction(2)]
    assert in_core(known, paid).stable and gain_of_every_member(known, paid).stable


def test_what_forms_may_fall_to_a_set_across_it():
    """By two merges of two the second best forms: D_hp-stable, and 1 and 4 could do better together."""
    known = peers(2, 2, -9, -4)
    formed = merge_and_split(known)
    assert formed == (frozenset({0, 2}), frozenset({1, 3})) and hp_stable(known, formed).stable
    verdict = c_stable(known, formed)
    assert (verdict.step, verdict.after) == ("incompatible set", (frozenset({0, 3}),)) and verdict.gain == 40


@pytest.mark.parametrize(
    ("net", "price", "fit", "says"),
    [
        ((), 30, 10, "without peers"),
        ((1, -1), 9, 10, "9 is below its feed-in tariff 10"),
        ((1.5, -1), 30, 10, "verdicts are exact"),
        ((1, float("nan")), 30, 10, "verdicts are exact"),
    ],
)
def test_peers_that_cannot_be(net, price, fit, says):
    with pytest.raises(CoalitionError, match=says):
        Peers(net, price, fit)


def test_what_is_refused():
    with pytest.raises(CoalitionError, match="11 peers"):
        hp_stable(peers(*range(11)), ())
    for partition in ((frozenset({0}),), (frozenset({0, 1}), frozenset())):
        with pytest.raises(CoalitionError, match="each peer in one coalition"):
            hp_stable(peers(1, 2), partition)
    for judge in (in_core, gain_of_every_member):
        with pytest.raises(CoalitionError, match="do not sum"):
            judge(peers(1, -2), [Fraction(0), Fraction(0)])
        for count in (1, 3):
            with pytest.raises(CoalitionError, match=f"{count} payoffs for 2 peers"):
                judge(peers(1, -1), [Fraction(0)] * count)
        with pytest.raises(CoalitionError, match="fractions alone"):
            judge(peers(1, -1), [0.5, -0.5])
        with pytest.raises(CoalitionError, match="11 peers"):
            judge(peers(*range(11)), [Fraction(0)] * 11)
