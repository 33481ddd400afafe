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
    return [-bill for bill in mid_market_bills([int(net) for net in known.net], 30, 10)]


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


def test_what_is_refused():
    with pytest.raises(CoalitionError, match="11 peers"):
        hp_stable(peers(*range(11)), ())
    with pytest.raises(CoalitionError, match="each peer in one coalition"):
        hp_stable(peers(1, 2), (frozenset({0}),))
    with pytest.raises(CoalitionError, match="do not sum"):
        in_core(peers(1, -2), [Fraction(0), Fraction(0)])
