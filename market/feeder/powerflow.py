"""Power flow of a radial feeder: the backward/forward sweep in branch-flow variables.

The equations are those of M. E. Baran and F. F. Wu, "Optimal sizing of capacitors placed on a radial
distribution system", IEEE Transactions on Power Delivery 4(1):735–743, 1989 (DistFlow), with squared
magnitudes: line j feeds bus j from π(j),

    P_j = p_j + Σ_children P + r_j l_j        v_j = v_π − 2(r_j P_j + x_j Q_j) + (r_j² + x_j²) l_j
    Q_j = q_j + Σ_children Q + x_j l_j        l_j = (P_j² + Q_j²) / v_π

so P_j, Q_j enter line j at its sending end. A sweep sums loads towards the substation with the last
currents, then drops voltages outwards; it is repeated until nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.units import Floats

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

    def __str__(self) -> str:
        return (
            f"period {self.period} bus {self.bus}: {self.what} {self.value:.5f} pu, limit {self.limit:.5f} pu"
        )


def power_flow(feeder: Feeder, p: Floats, q: Floats) -> Flow:
    """Solve the flow for net consumption p, q at every bus, pu; periods × buses, or one period's buses.

    Raises PowerFlowError, naming the period, where no solution is found.
    """
    p, q = np.atleast_2d(np.asarray(p, dtype=np.float64)), np.atleast_2d(np.asarray(q, dtype=np.float64))
    parent, r, x = feeder.parent, feeder.r_pu, feeder.x_pu
    v = np.full_like(p, feeder.v0**2)
    current = np.zeros_like(p)
    for _ in range(SWEEPS):
        flow_p = _towards_substation(feeder, p + r * current)
        flow_q = _towards_substation(feeder, q + x * current)
        drop = 2 * (r * flow_p + x * flow_q) - (r**2 + x**2) * current
        moved_v = np.empty_like(v)
        moved_v[:, 0] = feeder.v0**2
        for j in range(1, feeder.buses):
            moved_v[:, j] = moved_v[:, parent[j]] - drop[:, j]
        collapsed = ~np.all(moved_v > 0, axis=1)
        if np.any(collapsed):
            raise PowerFlowError(_unsettled(feeder, collapsed))
        moved_current = (flow_p**2 + flow_q**2) / moved_v[:, parent]
        moved_current[:, 0] = 0.0
        change = np.maximum(np.abs(moved_v - v).max(axis=1), np.abs(moved_current - current).max(axis=1))
        v, current = moved_v, moved_current
        if np.all(change <= SETTLED_PU * np.maximum(1.0, current.max(axis=1))):
            return _flow(feeder, flow_p, flow_q, current, v)
    raise PowerFlowError(_unsettled(feeder, change > SETTLED_PU))


def _unsettled(feeder: Feeder, periods: npt.NDArray[np.bool_]) -> str:
    """Message for periods without a solution."""
    first = int(np.flatnonzero(periods)[0])
    return f"feeder {feeder.name}: period {first} has more load than the feeder can carry"


def _towards_substation(feeder: Feeder, by_bus: Floats) -> Floats:
    """Sum of a quantity over the subtree of every bus, periods × buses."""
    total = by_bus.copy()
    for j in range(feeder.buses - 1, 0, -1):
        total[:, feeder.parent[j]] += total[:, j]
    return total


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
