"""What prosumers with storages do without the market: each plans its own periods against retail and FiT.

With storages a prosumer's periods hang together, so there is no closed form; everybody's own problem stands
beside the others' in one quadratic programme, solved by Clarabel. Powers are pu, prices €/MWh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Conditions
from market.pricing.storages import OVERLAP_PU, one_way, states
from market.units import Floats, Ints

TOLERANCE = 1e-9
OVERLAP_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Moves:
    """A schedule with storages: generation and load, periods × devices; the rest periods × storages.

    energy: state at the end of each period, pu·h.
    """

    gen: Floats
    load: Floats
    charge: Floats
    discharge: Floats
    energy: Floats


def alone_with_storages(
    conditions: Conditions, firm_p: Floats, owner: Ints, retail: Floats, fit: Floats
) -> Moves:
    """Cheapest schedule of everybody for itself: what it buys costs retail, what it sells brings FiT.

    firm_p: periods × devices; owner: the device column that each storage stands beside; retail, fit: by
    period. Raises ClearingFailed.
    """
    allowed = conditions
    for _ in range(OVERLAP_ROUNDS):
        moves = _solve(allowed, firm_p, owner, retail, fit)
        if not np.any(np.minimum(moves.charge, moves.discharge) > OVERLAP_PU):
            break
        # energy that nobody takes at a negative FiT is not burnt by storages
        allowed = replace(allowed, storages=one_way(allowed.storages, moves, OVERLAP_PU))
    return moves


def _solve(conditions: Conditions, firm_p: Floats, owner: Ints, retail: Floats, fit: Floats) -> Moves:
    """Columns: shares of generation and load, bought and sold power; shares of charge, discharge, state."""
    devices, storages, hours = conditions.devices, conditions.storages, conditions.hours
    periods, people, stored = conditions.periods, devices.count, storages.count
    gen_max, least = devices.gen_max.ravel(), devices.load_min.ravel()
    span = devices.load_max.ravel() - least
    charge, discharge = storages.charge_max.ravel(), storages.discharge_max.ravel()
    room = (storages.energy_max - storages.energy_min).ravel()
    one = sp.eye_array(periods * people)
    # who a storage of a period belongs to, among everybody of that period
    column = np.arange(periods * stored)
    row = np.repeat(np.arange(periods), stored) * people + np.tile(owner, periods)
    mine = sp.csr_array((np.ones(len(column)), (row, column)), shape=(periods * people, len(column)))
    balance: list[Any] = [
        *(sp.diags_array(gen_max), -sp.diags_array(span), one, -one),
        *(-mine @ sp.diags_array(charge), mine @ sp.diags_array(discharge), None),
    ]
    into, out = (
        np.tile(each, periods) for each in (storages.charge_efficiency, storages.discharge_efficiency)
    )
    change = sp.eye_array(len(column)) - sp.eye_array(len(column), k=-stored)
    state: list[Any] = [
        *(None, None, None, None),
        *(
            -sp.diags_array(into * charge),
            sp.diags_array(discharge / out),
            change @ sp.diags_array(room) / hours,
        ),
    ]
    floor = storages.energy_min
    known = np.vstack([storages.energy_start, floor[:-1]]) - floor - storages.drain
    worth = (devices.load_value.ravel() - devices.load_slope.ravel() * least) * span
    left = np.zeros_like(floor)
    left[-1] = -storages.final_value / hours
    wear, slope = np.tile(storages.wear, periods), np.tile(storages.wear_slope, periods)
    linear = [
        *(devices.gen_cost.ravel() * gen_max, -worth, np.repeat(retail, people), -np.repeat(fit, people)),
        *(wear * charge, wear * discharge, left.ravel() * room),
    ]
    nothing = np.zeros(periods * people)
    curvature = [
        *(devices.gen_slope.ravel() * gen_max**2, devices.load_slope.ravel() * span**2, nothing, nothing),
        *(slope * charge**2, slope * discharge**2, np.zeros(len(column))),
    ]
    sizes = np.cumsum([len(part) for part in linear])
    every = sp.eye_array(int(sizes[-1]))
    # everything is at least 0; all but bought and sold power at most 1
    share = np.r_[0 : sizes[1], sizes[3] : sizes[-1]]
    rows: list[Any] = [sp.block_array([balance, state]), -every, sp.csr_array(every)[share]]
    matrix = sp.csc_array(sp.vstack(rows))
    bound = np.concatenate(
        [firm_p.ravel() + least, known.ravel() / hours, np.zeros(int(sizes[-1])), np.ones(len(share))]
    )
    equalities = periods * (people + stored)
    answer = clarabel.DefaultSolver(
        sp.csc_array(sp.diags_array(np.concatenate(curvature))),
        np.concatenate(linear),
        matrix,
        bound,
        [clarabel.ZeroConeT(equalities), clarabel.NonnegativeConeT(len(bound) - equalities)],
        _settings(),
    ).solve()
    if str(answer.status) not in ("Solved", "AlmostSolved"):
        raise ClearingFailed(f"prosumers alone, {periods} periods: solver says {answer.status}")
    shares = [np.clip(part, 0.0, 1.0) for part in np.split(np.asarray(answer.x), sizes[:-1])]
    by_device, by_storage = (periods, people), (periods, stored)
    charged = (charge * shares[4]).reshape(by_storage)
    given = (discharge * shares[5]).reshape(by_storage)
    return Moves(
        gen=(gen_max * shares[0]).reshape(by_device),
        load=(least + span * shares[1]).reshape(by_device),
        charge=charged,
        discharge=given,
        energy=states(storages, charged, given, hours),
    )


def _settings() -> clarabel.DefaultSettings:
    """Silent; one thread: runs repeat."""
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    return settings
