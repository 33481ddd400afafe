"""Trades first, prices after: one round of trading by hand, and loops that settle and that do not."""

from __future__ import annotations

import numpy as np
import pytest

from market.mechanisms.half_half import Traded, outer_loop, trade
from market.units import Floats

IMPORT, EXPORT = 160.0, 70.0
EXACT = 1e-9
"""€/MWh; the pool's price is found by halving."""


def linear(price: Floats) -> Floats:
    """A buyer who takes 2 − p/100, and a seller who gives p/100."""
    return np.array([2.0 - price[0] / 100, -price[1] / 100])


def test_without_charges_peers_meet_in_the_middle() -> None:
    found = trade(linear, np.zeros(2), IMPORT, EXPORT, 0.0)
    assert found.pool_price == pytest.approx(100.0, abs=EXACT)
    assert found.net.sum() == pytest.approx(0.0, abs=EXACT)


def test_a_charge_between_two_peers_is_on_both() -> None:
    found = trade(linear, np.array([10.0, -10.0]), IMPORT, EXPORT, 0.0)
    assert found.price == pytest.approx([110.0, 90.0], abs=EXACT)
    assert found.net == pytest.approx([0.9, -0.9], abs=EXACT)


def test_the_utility_bears_half_of_what_it_trades() -> None:
    """Two buyers and nobody to sell: both buy of the utility, at half of their charge."""
    found = trade(lambda price: 2.0 - price / 100, np.array([30.0, 10.0]), IMPORT, EXPORT, 0.0)
    assert found.price == pytest.approx([IMPORT + 15.0, IMPORT + 5.0], abs=1e-6)


def test_what_the_utility_needs_raises_the_price() -> None:
    without, more = (trade(linear, np.zeros(2), IMPORT, EXPORT, need) for need in (0.0, 0.4))
    assert more.pool_price == pytest.approx(without.pool_price + 20.0, abs=EXACT)


def traded(charge: Floats) -> Traded:
    return Traded(0.0, charge, charge)


def test_a_loop_that_settles() -> None:
    loop = outer_loop(traded, lambda found: 4.0 + found.net / 2, np.zeros(1), 1e-3, 50)
    assert loop.settled and loop.rounds == len(loop.charges) < 20
    assert loop.charges[-1] == pytest.approx([8.0], abs=2e-3)


def test_a_loop_that_goes_round_in_circles() -> None:
    loop = outer_loop(traded, lambda found: 4.0 - found.net, np.zeros(1), 1e-3, 50)
    assert not loop.settled and loop.rounds == 50
    assert [float(charge[0]) for charge in loop.charges[-2:]] == [0.0, 4.0]
