"""pandapower's AC optimal power flow on our conditions: the peer that engineers know.

It is run in a process of its own, as it may take more time and memory than there is. It knows no shedding
and no tie-break, and buys at the substation at the import price alone: for conditions that need neither,
and in which the feeder imports, its problem is ours. Its first guess is a power flow, and where that does
not converge a flat one.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions
from market.units import Floats
from node.bench.peers import Reply
from node.bench.timing import seconds

NOMINAL_KV = 10.0
"""Any: everything is in pu of it."""
GUESSES = ("pf", "flat")
MEMORY_BYTES = 6 * 2**30
"""What it gets: its matrices of thousands of buses and devices would take all there is."""


@contextmanager
def solver(feeder: Feeder, conditions: Conditions, patience_seconds: float) -> Iterator[Callable[[], Reply]]:
    """What clears one period time after time, or is given up: it found prices by bus, €/MWh."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, feeder, conditions), daemon=True)
    process.start()
    there.close()

    def solve() -> Reply:
        with suppress(BrokenPipeError):  # that it ended is read below
            here.send("solve")
        arrived: list[bool] = []
        waited = seconds(lambda: arrived.append(here.poll(patience_seconds)))
        if arrived == [False]:
            return Reply(patience_seconds, ended=f"given up after {patience_seconds:g} s")
        try:
            reply: Reply = here.recv()
        except (EOFError, ConnectionResetError):
            return Reply(waited, ended=f"broken down after {waited:.3g} s")
        return reply

    try:
        with suppress(EOFError, ConnectionResetError):  # that it ended is read above
            here.recv()  # everything is loaded and built
        yield solve
    finally:
        process.kill()
        process.join()


def _work(there: Connection, feeder: Feeder, conditions: Conditions) -> None:
    """Build, say so, solve whenever that is asked for."""
    net = network(feeder, conditions)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    there.send("built")
    while there.recv():
        there.send(solved(deepcopy(net)))  # no run finds what the last one left in it


def solved(net: Any) -> Reply:
    """The optimal power flow of a network, by the guess that converges first."""
    spent = 0.0
    for guess in GUESSES:
        ends: list[str] = []
        took = seconds(lambda: ends.append(_end(net, guess)))  # noqa: B023 - called at once
        if ends == ["converged"]:
            return Reply(took, net.res_bus.lam_p.to_numpy())
        spent += took
        if ends != ["not converged after"]:
            break
    return Reply(spent, ended=f"{ends[0]} {spent:.3g} s")


def _end(net: Any, guess: str) -> str:
    """Solve from a first guess; how it ended."""
    import pandapower  # noqa: PLC0415 - slow to import

    try:
        pandapower.runopp(net, init=guess, numba=False, calculate_voltage_angles=False)
    except pandapower.OPFNotConverged:
        return "not converged after"
    except MemoryError:
        return f"out of {MEMORY_BYTES >> 30} GB after"
    return "converged"


def network(feeder: Feeder, conditions: Conditions) -> Any:
    """Feeder and conditions of one period as pandapower has them."""
    import pandapower  # noqa: PLC0415

    base, devices = feeder.base_mw, conditions.devices
    net = pandapower.create_empty_network(sn_mva=base)
    pandapower.create_buses(
        net,
        feeder.buses,
        vn_kv=NOMINAL_KV,
        min_vm_pu=feeder.limits.v_min,
        max_vm_pu=feeder.limits.v_max,
    )
    wide = 10 * base
    pandapower.create_ext_grid(
        net, 0, vm_pu=feeder.v0, min_p_mw=-wide, max_p_mw=wide, min_q_mvar=-wide, max_q_mvar=wide
    )
    ohm = NOMINAL_KV**2 / base
    pandapower.create_lines_from_parameters(
        net,
        feeder.parent[1:],
        np.arange(1, feeder.buses),
        length_km=1.0,
        r_ohm_per_km=feeder.r_pu[1:] * ohm,
        x_ohm_per_km=feeder.x_pu[1:] * ohm,
        c_nf_per_km=0.0,
        max_i_ka=1e3,
    )
    firm_p = conditions.fixed_p[0] + np.bincount(devices.bus, _still(conditions), feeder.buses)
    loaded = np.flatnonzero((firm_p != 0) | (conditions.fixed_q[0] != 0))
    pandapower.create_loads(
        net,
        loaded,
        p_mw=firm_p[loaded] * base,
        q_mvar=conditions.fixed_q[0, loaded] * base,
        controllable=False,
    )
    pandapower.create_poly_cost(net, 0, "ext_grid", cp1_eur_per_mw=float(conditions.hub.import_price[0]))
    _flexible(net, "sgen", pandapower.create_sgens, conditions, base)
    _flexible(net, "load", pandapower.create_loads, conditions, base)
    return net


def _still(conditions: Conditions) -> Floats:
    """Load of devices that have no choice."""
    low, high = conditions.devices.load_min[0], conditions.devices.load_max[0]
    return np.where(high > low, 0.0, low)


def _flexible(net: Any, kind: str, create: Any, conditions: Conditions, base: float) -> None:
    """Generators, or loads with what they are worth as a negative cost; nobody has reactive power."""
    import pandapower  # noqa: PLC0415

    devices = conditions.devices
    if kind == "sgen":
        low, high = np.zeros(devices.count), devices.gen_max[0]
        cost, slope = devices.gen_cost[0], devices.gen_slope[0]
    else:
        low, high = devices.load_min[0], devices.load_max[0]
        # it turns a load into a negative generator by turning the signs of its cost's coefficients, of the
        # quadratic one too: that of a convex cost has to be given as a negative one
        cost, slope = -devices.load_value[0], -devices.load_slope[0]
    free = np.flatnonzero(high > low)
    if not len(free):
        return
    created = create(
        net,
        devices.bus[free],
        p_mw=(low + high)[free] / 2 * base,
        q_mvar=0.0,
        min_p_mw=low[free] * base,
        max_p_mw=high[free] * base,
        min_q_mvar=0.0,
        max_q_mvar=0.0,
        controllable=True,
    )
    pandapower.create_poly_costs(
        net, created, kind, cp1_eur_per_mw=cost[free], cp2_eur_per_mw2=slope[free] / base / 2
    )
