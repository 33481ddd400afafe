"""One account's devices and storage behind one meter: the joint proximal step against a convex solver's."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from market.atc.metered import Meter
from market.atc.prosumers import Prosumers
from market.atc.storages import StorageLevel
from market.pricing.conditions import Devices, Storages

HOURS = 0.25


def drawn(seed: int, periods: int = 24) -> tuple[Devices, Storages]:
    """An account with a generator that varies, a flexible load, and a battery or a vehicle; MW."""
    rng = np.random.default_rng([5, seed])
    linear = rng.random() < 0.3

    def each(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (1, periods))

    load_min = each(0.0, 0.002)
    devices = Devices(
        bus=np.zeros(periods, dtype=np.int64),
        gen_cost=each(0.0, 60.0),
        gen_slope=0.0 * each(0, 1) if linear else each(500.0, 20_000.0),
        gen_max=each(0.0, 0.008) * (rng.random((1, periods)) < 0.6),
        load_value=each(100.0, 260.0),
        load_slope=each(2_000.0, 30_000.0),
        load_min=load_min,
        load_max=load_min + each(0.0, 0.004),
    )
    power, energy = rng.uniform(0.002, 0.01), rng.uniform(0.004, 0.02)
    home = np.ones((periods, 1))
    drain = np.zeros((periods, 1))
    least = np.full((periods, 1), 0.1 * energy)
    if seed % 2:  # a vehicle: away for a while, and takes a little with it
        away = slice(periods // 3, periods // 2)
        home[away] = 0.0
        drain[periods // 2] = 0.2 * energy
    storage = Storages(
        bus=np.zeros(1, dtype=np.int64),
        charge_max=power * home,
        discharge_max=power * home,
        energy_min=least,
        energy_max=np.full((periods, 1), energy),
        drain=drain,
        energy_start=np.array([0.55 * energy]),
        charge_efficiency=np.array([0.95]),
        discharge_efficiency=np.array([0.93]),
        wear=np.array([rng.uniform(0.0, 8.0)]),
        wear_slope=np.array([1.0 / power]),
        final_value=np.array([rng.uniform(60.0, 160.0)]),
    )
    return devices, storage


def asked(seed: int, periods: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Targets and weights as the rounds ask with them: prices of 40 to 250 €/MWh."""
    rng = np.random.default_rng([6, seed])
    weight = np.exp(rng.uniform(np.log(500.0), np.log(50_000.0), periods))
    return rng.uniform(-0.01, 0.01, periods) + rng.uniform(40.0, 250.0, periods) / weight, weight


def solved(devices: Devices, of: Storages, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same step by a conic solver: power at the meter."""
    periods = len(target)
    g, d, c, e = (cp.Variable(periods, nonneg=True) for _ in range(4))
    n = cp.Variable(periods)  # discharge − charge, with c and e its two parts
    power = g - d + n
    stored = of.charge_efficiency[0] * c - e / of.discharge_efficiency[0]
    state = of.energy_start[0] + cp.cumsum(HOURS * stored - of.drain[:, 0])
    cost = (
        devices.gen_cost[0] @ g
        + 0.5 * devices.gen_slope[0] @ cp.square(g)
        - devices.load_value[0] @ d
        + 0.5 * devices.load_slope[0] @ cp.square(d)
        + of.wear[0] * cp.sum(c + e)
        + 0.5 * of.wear_slope[0] * cp.sum_squares(cp.hstack([c, e]))
        - of.final_value[0] * state[periods - 1] / HOURS
        + 0.5 * weight @ cp.square(power - target)
    )
    limits = [
        *(n == e - c, g <= devices.gen_max[0], d >= devices.load_min[0], d <= devices.load_max[0]),
        *(c <= of.charge_max[:, 0], e <= of.discharge_max[:, 0]),
        *(state >= of.energy_min[:, 0], state <= of.energy_max[:, 0]),
    ]
    problem = cp.Problem(cp.Minimize(cost), limits)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-11)
    assert problem.status == "optimal"
    return np.asarray(power.value)


@pytest.mark.parametrize("seed", range(14))
def test_the_step_is_the_solvers(seed: int) -> None:
    (devices, storage), (target, weight) = drawn(seed), asked(seed)
    found = Meter(devices, storage, HOURS).respond(target, weight)
    # the solver's own gap; powers are 1e-2 MW, a milliwatt is 1e-9
    np.testing.assert_allclose(found.power, solved(devices, storage, target, weight), atol=2e-6)
    assert (found.energy >= storage.energy_min[:, 0] - 1e-12).all()
    assert (found.energy <= storage.energy_max[:, 0] + 1e-12).all()
    assert np.minimum(found.charge, found.discharge).max() <= 1e-12


@pytest.mark.parametrize("seed", range(14))
def test_no_small_change_of_the_schedule_is_cheaper(seed: int) -> None:
    """Sharper than any solver: the storage would take the marginal price at the meter for its own."""
    (devices, storage), (target, weight) = drawn(seed), asked(seed)
    meter = Meter(devices, storage, HOURS)
    found = meter.respond(target, weight)
    again = meter.respond(target, weight)
    np.testing.assert_allclose(again.power, found.power, atol=1e-12)
    price, injected = weight * (target - found.power), found.discharge - found.charge
    best = StorageLevel(storage, HOURS).respond((injected + price / weight)[:, None], weight[:, None])
    np.testing.assert_allclose(best.power[:, 0], injected, atol=1e-11)


def test_a_storage_that_cannot_move_leaves_the_devices_alone() -> None:
    devices, storage = drawn(0)
    nothing = 0.0 * storage.charge_max
    idle = replace(
        storage, charge_max=nothing, discharge_max=nothing, energy_min=nothing, energy_start=np.array([0.0])
    )
    target, weight = asked(0)
    found = Meter(devices, idle, HOURS).respond(target, weight)
    assert found.power.tolist() == Prosumers(devices).respond(target, weight).power.tolist()


@pytest.mark.parametrize("value_at_max", [95.5, 159.0, 160.0], ids=["curved", "nearly linear", "linear"])
def test_who_gives_all_it_has_over_slots_of_one_price_is_answered(value_at_max: float) -> None:
    """Six slots so alike that rounding is as large as what there is to gain."""
    slots = 6
    nothing, every = np.zeros((1, slots)), np.ones((1, slots))
    slope = (160.0 - value_at_max) / 0.02
    devices = Devices(
        bus=np.zeros(slots, dtype=np.int64),
        gen_cost=nothing,
        gen_slope=nothing,
        gen_max=nothing,
        load_value=(160.0 + slope * 0.001) * every,
        load_slope=slope * every,
        load_min=0.001 * every,
        load_max=0.021 * every,
    )
    _, storage = drawn(0, slots)
    power = np.full((slots, 1), 0.006)
    storage = replace(
        storage, charge_max=power, discharge_max=power, energy_min=0.0 * power, energy_max=2.0 * power
    )
    storage = replace(storage, wear_slope=np.array([1 / 0.006]), final_value=np.zeros(1))
    rng = np.random.default_rng(8)
    for _ in range(25):
        meter = Meter(devices, replace(storage, energy_start=rng.uniform(0.0, 0.012, 1)), HOURS)
        weight = np.full(slots, np.exp(rng.uniform(np.log(50.0), np.log(5_000.0))))
        target = rng.uniform(120.0, 200.0) / weight + rng.uniform(-1e-3, 1e-3, slots)
        found = meter.respond(target, weight)
        price = weight * (target - found.power)
        load = found.discharge - found.charge - found.power
        worth = devices.load_value[0] - devices.load_slope[0] * load
        inside = (load > 0.001 + 1e-9) & (load < 0.021 - 1e-9)
        # the devices are at the price that the answer shows, to what a tenth of a milliwatt changes of it
        np.testing.assert_allclose(price[inside], worth[inside], atol=1e-5)
