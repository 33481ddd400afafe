from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.baselines import (
    Rates,
    TariffError,
    mid_market_bills,
    mid_market_rates,
    retail_bill,
)

RETAIL, FIT = 240_000, 70_000
MID = (RETAIL + FIT) // 2
NETS = st.lists(st.integers(-(10**7), 10**7), max_size=12)
TARIFFS = st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**6)).map(lambda t: (t[0] + t[1], t[0]))


def test_retail_bill_buys_at_retail_and_sells_at_fit():
    assert retail_bill(1_500, RETAIL, FIT) == 1_500 * RETAIL
    assert retail_bill(-1_500, RETAIL, FIT) == -1_500 * FIT
    assert retail_bill(0, RETAIL, FIT) == 0


def test_with_a_surplus_sellers_share_what_the_grid_pays_less():
    rates = mid_market_rates([1_000, -4_000], RETAIL, FIT)
    assert rates == Rates(Fraction(MID), Fraction(1_000 * MID + 3_000 * FIT, 4_000))


def test_with_a_deficit_buyers_share_what_the_grid_charges_more():
    rates = mid_market_rates([3_000, 1_000, -1_000], RETAIL, FIT)
    assert rates == Rates(Fraction(1_000 * MID + 3_000 * RETAIL, 4_000), Fraction(MID))


def test_in_balance_everybody_has_the_middle():
    assert mid_market_rates([2_000, -2_000], RETAIL, FIT) == Rates(Fraction(MID), Fraction(MID))
    assert mid_market_rates([], RETAIL, FIT) == Rates(Fraction(MID), Fraction(MID))


def test_an_odd_middle_is_not_rounded():
    assert mid_market_bills([1, -1], 4, 1) == (Fraction(5, 2), Fraction(-5, 2))


@settings(derandomize=True, deadline=None)
@given(nets=NETS, tariff=TARIFFS)
def test_bills_sum_to_the_communitys_own(nets, tariff):
    retail, fit = tariff
    assert sum(mid_market_bills(nets, retail, fit)) == retail_bill(sum(nets), retail, fit)


@settings(derandomize=True, deadline=None)
@given(nets=NETS, tariff=TARIFFS)
def test_nobody_is_worse_off_than_on_fit_and_retail(nets, tariff):
    retail, fit = tariff
    for net, bill in zip(nets, mid_market_bills(nets, retail, fit), strict=True):
        assert bill <= retail_bill(net, retail, fit)


def test_retail_below_fit_is_refused():
    for refused in (
        lambda: retail_bill(1, 69_999, FIT),
        lambda: mid_market_rates([1], 69_999, FIT),
        lambda: mid_market_bills([1], 69_999, FIT),
    ):
        with pytest.raises(TariffError, match="retail 69999 is below fit 70000"):
            refused()
