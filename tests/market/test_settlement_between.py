"""Who delivers a contract priced between feed-in tariff and retail is never worse off for it."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from market.accounts import Position
from market.mechanisms.baselines import retail_bill
from market.settlement import Basis, Estimate, Valuation, amount_neur, settle
from market.slots import Rule, Tariff

prices = st.integers(-300_000, 600_000)
tariffs = st.builds(
    lambda fit, margin, fee: Tariff(retail=fit + margin + fee, network_fee=fee, fit=fit),
    st.integers(-50_000, 200_000),
    st.integers(0, 200_000),
    st.integers(0, 100_000),
)


@given(
    rule=st.sampled_from(Rule),
    tariff=tariffs,
    share=st.fractions(0, 1, max_denominator=1_000),
    vectors=st.tuples(prices, prices),
    net_wh=st.integers(-(10**6), 10**6),
)
def test_a_delivered_position_between_the_two_tariffs(
    rule: Rule, tariff: Tariff, share: Fraction, vectors: tuple[int, int], net_wh: int
) -> None:
    hub, charge = vectors
    all_in = tariff.fit + int(share * (tariff.retail - tariff.fit))
    valuation = Valuation(rule, tariff, (0, charge), (hub, hub + charge))
    position = Position(net_wh=net_wh, trades_neur=net_wh * (all_in - charge))
    paid = amount_neur(settle(position, Estimate(net_wh, Basis.READING, ()), 1, valuation))
    assert paid == net_wh * all_in, "nothing but the trade and its charge"
    assert paid <= retail_bill(net_wh, tariff.retail, tariff.fit)
