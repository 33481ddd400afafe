"""The one-shot double auctions and the continuous one, on a published case and on random ones."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.double_auction import (
    Grid,
    Offer,
    OfferError,
    Rule,
    auction,
    continuous,
    gains,
    gains_max,
    served,
    shortened,
)

BIDS = tuple(Offer(price, quantity) for price, quantity in ((28, 2), (26, 3), (24, 2), (20, 2), (15, 1)))
ASKS = tuple(Offer(price, quantity) for price, quantity in ((11, 2), (14, 2), (17, 2), (21, 3), (25, 1)))
GRID = Grid(30, 10)
deterministic = settings(derandomize=True, deadline=None, max_examples=80)
offers = st.lists(st.builds(Offer, st.integers(10, 30), st.integers(1, 6)), min_size=1, max_size=7)
few = st.lists(st.builds(Offer, st.integers(10, 30), st.just(1)), min_size=1, max_size=4)


def test_the_uniform_price_of_the_published_case():
    """7 at 22.5, 3 left over at 20, nothing with the grid; costs −27.5 %, revenue +117.5 %."""
    found = served(Rule.UNIFORM, BIDS, ASKS, GRID)
    assert found.award.paid == found.award.got == Fraction(45, 2)
    assert (found.award.volume, found.left) == (7, 3)
    half = Fraction(1, 2)
    assert found.award.sold == (3 * half, 3 * half, 3 * half, 5 * half, 0)
    assert sum(found.costs) / (10 * 30) - 1 == Fraction(-275, 1000)
    assert sum(found.revenues) / (10 * 10) - 1 == Fraction(1175, 1000)


def test_the_reduced_rules_leave_the_last_pair_out():
    reduced, two = (auction(rule, BIDS, ASKS) for rule in (Rule.REDUCE, Rule.TWO_PRICE))
    assert reduced.paid == reduced.got == Fraction(24 + 21, 2)
    assert (two.paid, two.got) == (24, 21)
    assert reduced.bought == two.bought == (2, 3, 0, 0, 0)
    assert reduced.volume == 5 and two.surplus == 15 and reduced.surplus == 0
    assert sum(reduced.sold) == 5 and reduced.sold[3] == 0


def test_a_marginal_offer_filled_in_part_is_its_own_rival():
    # Of the ask at 14 a part is left: the next ask, at 15, does not bound the price, the bid at 20 does.
    bids, asks = (Offer(20, 3),), (Offer(14, 5), Offer(15, 1))
    assert auction(Rule.UNIFORM, bids, asks).paid == 17
    # Filled whole, it does.
    assert auction(Rule.UNIFORM, (Offer(20, 5),), asks).paid == Fraction(29, 2)


@pytest.mark.parametrize("rule", Rule)
def test_nothing_trades_where_nothing_crosses(rule):
    found = auction(rule, (Offer(10, 2),), (Offer(11, 2),))
    assert found.volume == 0 and auction(rule, (), ASKS).volume == 0
    with pytest.raises(OfferError, match="a quantity of 0"):
        auction(rule, (Offer(10, 0),), ())
    with pytest.raises(OfferError, match="less than it pays"):
        Grid(9, 10)


@deterministic
@given(offers, offers, st.sampled_from(Rule))
def test_what_every_rule_keeps(bids, asks, rule):
    found = auction(rule, bids, asks)
    assert sum(found.sold) == found.volume and found.surplus >= 0
    for offer, bought in zip(bids, found.bought, strict=True):
        assert 0 <= bought <= offer.quantity and (bought == 0 or offer.price >= found.paid)
    for offer, sold in zip(asks, found.sold, strict=True):
        assert 0 <= sold <= offer.quantity and (sold == 0 or offer.price <= found.got)
    if rule is Rule.UNIFORM:
        assert gains(bids, asks, found.bought, found.sold) <= gains_max(bids, asks)
        assert found.surplus == 0


@deterministic
@given(offers, offers, st.sampled_from(Rule))
def test_everybody_is_served_and_money_adds_up(bids, asks, rule):
    found = served(rule, bids, asks, GRID)
    wanted, offered = sum(bid.quantity for bid in bids), sum(ask.quantity for ask in asks)
    with_grid = (wanted - found.award.volume - found.left, offered - found.award.volume - found.left)
    assert min(with_grid) == 0
    kept = sum(found.costs) - sum(found.revenues) - with_grid[0] * 30 + with_grid[1] * 10
    assert kept == found.award.surplus


@deterministic
@given(few, few)
def test_the_most_that_can_be_gained_is_what_a_search_finds(bids, asks):
    """On single units, every number of them."""
    best = max(
        gains(bids, asks, bought, sold)
        for bought in product((Fraction(0), Fraction(1)), repeat=len(bids))
        for sold in product((Fraction(0), Fraction(1)), repeat=len(asks))
        if sum(bought) == sum(sold)
    )
    assert best == gains_max(bids, asks)


@deterministic
@given(offers, offers, st.randoms(use_true_random=False))
def test_the_continuous_auction_leaves_nothing_that_crosses(bids, asks, chance):
    arrivals = [("bid", n) for n in range(len(bids))] + [("ask", n) for n in range(len(asks))]
    chance.shuffle(arrivals)
    trades = continuous(bids, asks, arrivals)
    bought, sold = [Fraction(0)] * len(bids), [Fraction(0)] * len(asks)
    for trade in trades:
        bought[trade.bid] += trade.quantity
        sold[trade.ask] += trade.quantity
        first = min(arrivals.index(("bid", trade.bid)), arrivals.index(("ask", trade.ask)))
        maker = bids[trade.bid] if arrivals[first][0] == "bid" else asks[trade.ask]
        assert trade.price == maker.price
        assert asks[trade.ask].price <= trade.price <= bids[trade.bid].price
    open_bids = [bid.price for bid, taken in zip(bids, bought, strict=True) if taken < bid.quantity]
    open_asks = [ask.price for ask, taken in zip(asks, sold, strict=True) if taken < ask.quantity]
    assert max(open_bids, default=0) < min(open_asks, default=99)
    assert gains(bids, asks, bought, sold) <= gains_max(bids, asks)


def test_the_continuous_auction_takes_what_the_book_takes():
    arrivals = [("bid", 0), ("ask", 0)]
    assert continuous([Offer(Fraction(41, 2), 3)], [Offer(20, 2)], arrivals)[0].price == Fraction(41, 2)
    for quantity in (Fraction(1, 2), 0, 2**32):
        with pytest.raises(OfferError):
            continuous([Offer(21, quantity)], [Offer(20, 2)], arrivals)


@deterministic
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 60))
def test_all_forgo_the_same_as_far_as_they_have_it(quantities, asked):
    total = Fraction(min(asked, sum(quantities)))
    left = shortened([Fraction(q) for q in quantities], total)
    assert sum(left) == total and min(left) >= 0
    forgone = [q - rest for q, rest in zip(quantities, left, strict=True)]
    assert all(less == max(forgone) or rest == 0 for less, rest in zip(forgone, left, strict=True))
