"""Power flow of a radial feeder: the backward/forward sweep in branch-flow variables.

The equations are those of M. E. Baran and F. F. Wu, "Optimal sizing of capacitors placed on a radial
distribution system", IEEE Transactions on Power Delivery 4(1):735–743, 1989 (DistFlow), with squared
magnitudes: line j feeds bus j from π(j),

    P_j = p_j + Σ_children P + r_j l_j        v_j = v_π − 2(r_j P_j + x_j Q_j) + (r_j² + x_j²) l_j
    Q_j = q_j + Σ_children Q + x_j l_j        l_j = (P_j² + Q_j²) / v_π

so P_j, Q_j enter line j at its sending end. A sweep sums loads towards the substation with the last
currents, then drops voltages outwards; it is repeated until nothing moves.

Both directions are running sums along one walk around the tree, since what hangs below a bus is contiguous
in it: a sweep costs a few passes over arrays, however deep the feeder is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.units import Floats, Ints

SETTLED_PU = 1e-13
"""Largest change in l or v of the last sweep; far below what any limit or price can tell."""
SWEEPS = 500
"""A loadable feeder contracts by at least 0.9 a sweep; who is not settled by then has no solution."""
VOLTAGE_TOLERANCE_PU = 1e-4
"""A voltage beyond its limit by more is a violation."""
LOADING_TOLERANCE = 1e-3
"""A current beyond its rating by more than this share of it is a violation."""


class PowerFlowError(ValueError):
    """The sweep does not settle: the load is beyond what the feeder can carry."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A solved power flow, periods × buses (lines by the bus they feed, entry 0 zero), pu.

    p, q: flow into line j at its sending end; l: squared current; v: squared voltage;
    loss, net_import, reactive_import: one value a period.
    """

    p: Floats
    q: Floats
    l: Floats  # noqa: E741 - the symbol of the branch-flow model
    v: Floats
    loss: Floats
    net_import: Floats
    reactive_import: Floats


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a flow breaks: voltage magnitude at a bus or current magnitude in the line to it, pu."""

    period: int
    bus: int
    what: Literal["voltage", "current"]
    value: float
    limit: float

    @property
    def beyond(self) -> float:
        """By which part of the limit it is broken."""
        return abs(self.value / self.limit - 1)

    def told(self, bus_names: Sequence[str]) -> str:
        """Where, what, and by how much, in words."""
        place = f"{'bus' if self.what == 'voltage' else 'line to bus'} {bus_names[self.bus]}"
        return f"{place}: {self.what} {self.value:.5f} pu, limit {self.limit:.5f} pu"


def power_flow(feeder: Feeder, p: Floats, q: Floats) -> Flow:
    """Solve the flow for net consumption p, q at every bus, pu; periods × buses, or one period's buses.

    Raises PowerFlowError, naming period, net load and bus, where no solution is found.
    """
    p, q = np.atleast_2d(np.asarray(p, dtype=np.float64)), np.atleast_2d(np.asarray(q, dtype=np.float64))
    parent, r, x = feeder.parent, feeder.r_pu, feeder.x_pu
    walk = _walk(feeder)
    v = np.full_like(p, feeder.v0**2)
    current = np.zeros_like(p)
    for _ in range(SWEEPS):
        flow_p = walk.towards_substation(p + r * current)
        flow_q = walk.towards_substation(q + x * current)
        drop = 2 * (r * flow_p + x * flow_q) - (r**2 + x**2) * current
        drop[:, 0] = 0.0
        moved_v = feeder.v0**2 - walk.outwards(drop)
        collapsed = ~np.all(moved_v > 0, axis=1)
        if np.any(collapsed):
            raise PowerFlowError(_unsettled(feeder, p, collapsed, -moved_v))
        moved_current = (flow_p**2 + flow_q**2) / moved_v.take(parent, axis=1)
        moved_current[:, 0] = 0.0
        moves = np.maximum(np.abs(moved_v - v), np.abs(moved_current - current))
        change, v, current = moves.max(axis=1), moved_v, moved_current
        if np.all(change <= SETTLED_PU * np.maximum(1.0, current.max(axis=1))):
            return _flow(feeder, flow_p, flow_q, current, v)
    raise PowerFlowError(_unsettled(feeder, p, change > SETTLED_PU, moves))


def _unsettled(feeder: Feeder, p: Floats, periods: npt.NDArray[np.bool_], distress: Floats) -> str:
    """Message for periods without a solution: the first, its net load, and the bus in most distress."""
    first = int(np.flatnonzero(periods)[0])
    load_mw = float(p[first].sum()) * feeder.base_mw
    worst = feeder.bus_names[int(distress[first].argmax())]
    return (
        f"feeder {feeder.name}: period {first} has more load than the feeder can carry:"
        f" with {load_mw:,.3f} MW net no voltage is found at bus {worst}"
    )


@dataclass(frozen=True, eq=False)
class _Walk:
    """A walk around the tree, depth first: where it comes to each bus and where it leaves it for good.

    `order` has the buses as they are met. By bus: `place` counts those met before it, `after` these, it and
    those below; `enter` is the step on which it is met. By step, two a bus: the line that it goes along
    (`step_line`), and whether outwards or back (`step_sign`, 1 or −1).
    """

    order: Ints
    place: Ints
    after: Ints
    enter: Ints
    step_line: Ints
    step_sign: Floats

    def towards_substation(self, by_bus: Floats) -> Floats:
        """Sum of a quantity over the subtree of every bus, periods × buses."""
        running = np.zeros((len(by_bus), len(self.order) + 1))
        np.cumsum(by_bus.take(self.order, axis=1), axis=1, out=running[:, 1:])
        return np.asarray(running.take(self.after, axis=1) - running.take(self.place, axis=1))

    def outwards(self, by_line: Floats) -> Floats:
        """Sum of a quantity over the lines between the substation and every bus, periods × buses."""
        steps = by_line.take(self.step_line, axis=1) * self.step_sign
        return np.asarray(np.cumsum(steps, axis=1).take(self.enter, axis=1))


@lru_cache(maxsize=16)
def _walk(feeder: Feeder) -> _Walk:
    """The walk of a feeder, which every flow on it repeats."""
    parent = feeder.parent.tolist()
    size, depth, place = [1] * len(parent), [0] * len(parent), [0] * len(parent)
    for j in range(len(parent) - 1, 0, -1):
        size[parent[j]] += size[j]
    free = [1] * len(parent)  # the next place below each bus
    for j in range(1, len(parent)):
        above = parent[j]
        depth[j], place[j] = depth[above] + 1, free[above]
        free[above] += size[j]
        free[j] = place[j] + 1
    places, sizes = np.array(place), np.array(size)
    enter = 2 * places - np.array(depth)
    along = np.argsort(np.concatenate([enter, enter + 2 * sizes - 1]))
    return _Walk(
        order=np.argsort(places),
        place=places,
        after=places + sizes,
        enter=enter,
        step_line=along % len(parent),
        step_sign=np.where(along < len(parent), 1.0, -1.0),
    )


def _flow(feeder: Feeder, flow_p: Floats, flow_q: Floats, current: Floats, v: Floats) -> Flow:
    """Put the sweep's arrays into a record: what the substation's entry summed up is the import."""
    net_import, reactive_import = flow_p[:, 0].copy(), flow_q[:, 0].copy()
    flow_p[:, 0] = flow_q[:, 0] = 0.0
    return Flow(
        p=flow_p,
        q=flow_q,
        l=current,
        v=v,
        loss=current @ feeder.r_pu,
        net_import=net_import,
        reactive_import=reactive_import,
    )


def violations(feeder: Feeder, flow: Flow) -> tuple[Violation, ...]:
    """Limits that the flow breaks by more than 1e-4 pu of voltage or 0.1 % of loading, by period and bus."""
    voltage, current = np.sqrt(flow.v), np.sqrt(np.maximum(flow.l, 0.0))
    limits = feeder.limits
    found = [
        Violation(int(t), int(b), "voltage", float(voltage[t, b]), float(limit[b]))
        for limit, beyond in (
            (limits.v_min, limits.v_min - voltage > VOLTAGE_TOLERANCE_PU),
            (limits.v_max, voltage - limits.v_max > VOLTAGE_TOLERANCE_PU),
        )
        for t, b in np.argwhere(beyond)
    ]
    overloaded = current > limits.i_max * (1 + LOADING_TOLERANCE)
    overloaded[:, 0] = False
    found += [
        Violation(int(t), int(b), "current", float(current[t, b]), float(limits.i_max[b]))
        for t, b in np.argwhere(overloaded)
    ]
    return tuple(sorted(found, key=lambda each: (each.period, each.bus, each.what)))
