"""Shares of losses: by branch, by path, by trade; against what each must add up to."""

from __future__ import annotations

import numpy as np
import pytest

from market.feeder import load
from market.feeder.model import Feeder
from market.feeder.random import random_feeder
from market.feeder.three_phase import PhaseFlow, balanced, phases_of, single_phase, three_phase_flow
from market.mechanisms.loss_allocation import branch_shares, factors, pro_rata, shares, trade_losses
from market.units import Floats

pytest.importorskip("power_grid_model")

SETTLED_PU = 1e-9
"""What the study promises, and what the flow is settled to."""


def unbalanced(feeder: Feeder, seed: int) -> tuple[PhaseFlow, Floats, Floats]:
    """Every bus on one phase, half of them injecting, well within what the feeder carries."""
    rng = np.random.default_rng(seed)
    phase = rng.permutation(phases_of("abc", feeder.buses))
    power = rng.uniform(-0.3, 0.3, feeder.buses) * feeder.nominal_p_mw / feeder.base_mw
    power[0] = 0.0
    p = single_phase(feeder.buses, np.arange(feeder.buses), phase, power)
    q = 0.3 * np.abs(p)
    return three_phase_flow(feeder, p, q), p, q


@pytest.mark.parametrize("seed", range(4))
def test_shares_add_up_to_the_losses(seed: int) -> None:
    feeder = random_feeder(40, np.random.default_rng(seed))
    flow, p, q = unbalanced(feeder, seed)
    found = shares(flow, p, q)
    assert flow.loss > 100 * SETTLED_PU, "there is something to share"
    assert abs(found.sum() - flow.loss) < SETTLED_PU
    assert (found < 0).any() and (found > 0).any()


def test_branch_by_branch_it_is_the_same() -> None:
    feeder = load("ieee33")
    flow, p, q = unbalanced(feeder, 1)
    by_branch = [branch_shares(feeder, flow, p, q, line) for line in range(1, feeder.buses)]
    assert np.abs(np.sum(by_branch, axis=0) - shares(flow, p, q)).max() < 1e-15
    assert by_branch[0][1:].any() and not by_branch[-1][: feeder.buses - 1].any()
    # What a branch loses, by its own impedances: self and mutual ones of phases and neutral, Z_0 = 4·Z_1.
    last = feeder.buses - 1
    current = ((p[last] + 1j * q[last]) / flow.phasor[last]).conj()
    z = complex(feeder.r_pu[last], feeder.x_pu[last])
    lost = (current.conj() @ (z * (np.eye(3) + np.ones((3, 3)))) @ current).real
    # In these units powers of a phase are in shares of three phases' base: three times the current.
    assert by_branch[-1].sum() == pytest.approx(3 * lost, rel=1e-6)


def test_trades_bear_what_their_parties_do() -> None:
    feeder = load("ieee33")
    flow, _, _ = unbalanced(feeder, 2)
    unit = factors(flow).active.ravel()
    seller, buyer = np.array([5, 9, 5]), np.array([60, 61, 5])
    power = np.array([0.01, 0.02, 0.03])
    borne = trade_losses(unit, seller, buyer, power)
    assert borne[2] == 0, "nothing flows between a house and itself"
    taken = np.bincount(buyer, power, unit.size) - np.bincount(seller, power, unit.size)
    assert borne.sum() == pytest.approx(float(unit @ taken), abs=1e-15)
    forth_and_back = trade_losses(unit, buyer, seller, power)
    assert np.abs(borne + forth_and_back).max() < 1e-18


def test_balanced_phases_share_alike() -> None:
    feeder = load("ieee33")
    p, q = (balanced(each / feeder.base_mw) for each in (feeder.nominal_p_mw, feeder.nominal_q_mvar))
    found = shares(three_phase_flow(feeder, p, q), p, q)
    assert np.abs(found - found[:, :1]).max() < SETTLED_PU
    assert 1e3 * feeder.base_mw * found.sum() == pytest.approx(202.7, abs=0.05), "as published, kW"


def test_pro_rata_is_blind() -> None:
    found = pro_rata(6.0, np.array([1.0, -2.0, 0.0]))
    assert found.tolist() == [2.0, 4.0, 0.0]
