"""How good a slot was: welfare against the central optimum, and DLMPs against the central solve."""

from __future__ import annotations

import numpy as np

from market.pricing.conditions import Clearing, Conditions
from node.oracle.signers import Proposal
from node.scenario.world import World


def price_error(reference: Clearing, world: World, conditions: Conditions, proposal: Proposal) -> float:
    """Largest relative difference of a proposal's DLMPs from the reference clearing's."""
    central = reference(world.feeder, conditions).duals.price[0]
    found = proposal.solution.duals.price[0]
    return float(np.max(np.abs(found - central) / np.maximum(np.abs(central), 1.0)))
