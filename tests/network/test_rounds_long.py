"""The method of oracles between processes on random slots, with the weights that it has there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from market.atc.prosumers import Prosumers
from market.pricing.admission import ClearingFailed
from market.units import Floats
from node.oracle.coordinate import METHOD
from tests.market.atc_cases import RESIDUAL_STOP, cleared, spread
from tests.market.pricing_cases import stressed, usual


class Registered(Prosumers):
    """Prosumers of whom no more is known than their capacities, as of agents elsewhere."""

    def elasticity(self, window: float) -> Floats:
        """As if each could move its whole capacity over the window."""
        low, high = self.range()
        return (high - low) / window


@pytest.mark.long
@pytest.mark.parametrize("hard", [False, True], ids=["usual", "stressed"])
def test_200_random_slots_as_oracles_ask(hard: bool, record_property: Callable[[str, object], None]) -> None:
    """All usual slots settle, and most stressed ones; whatever settles is right."""
    rounds: list[int] = []
    unsettled: list[int] = []
    for seed in range(200):
        feeder, conditions = stressed(seed) if hard else usual(seed)
        try:
            solution, error = cleared(feeder, conditions, METHOD, Registered)
        except ClearingFailed:
            unsettled.append(seed)
            continue
        assert error <= RESIDUAL_STOP, seed
        rounds.append(solution.iterations)
    record_property("settled", len(rounds))
    record_property("rounds, median, 95 %, most", spread(rounds))
    record_property("not settled, by seed", unsettled)
    if hard:
        assert len(unsettled) <= 10
    else:
        assert not unsettled
        assert np.percentile(rounds, 95) <= 25
