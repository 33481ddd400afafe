"""The three phases of a feeder: an unbalanced power flow, and what the balanced model does not see.

The flow is power-grid-model's (the `three-phase` extra): four-wire lines in symmetrical components, constant
powers between phase and neutral, Newton's method. What the feeder does not say is assumed:

- where the feeder's data have no zero-sequence impedance of a line, it is `zero_sequence` times the
  positive-sequence one, in r and x alike. With phases and a neutral of one cross-section
  R_0 = R + 3·R_n = 4·R, hence the default;
- negative-sequence impedances are the positive ones, and lines are transposed;
- the substation's three voltages are equal and stiff, and its neutral is earthed. Transformers are
  lines here, as in the balanced model. For one at the substation that is exact below it, whatever its earthed
  vector group; one further down that blocks the zero sequence (Dyn) would keep it from the lines above.

Voltages are per unit of the nominal phase-to-neutral voltage, powers of `base_mw`, which is of three phases,
currents of the line current that carries it: balanced phases show the balanced model's figures three times.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from market.feeder.model import Complexes, Feeder
from market.feeder.powerflow import LOADING_TOLERANCE, VOLTAGE_TOLERANCE_PU, Flow, violations
from market.units import Floats, Ints

PHASES = "abc"
ZERO_SEQUENCE = 4.0
"""Default of zero-sequence over positive-sequence impedance, where the data do not say it."""
UNBALANCE_MAX = 0.02
"""Most negative-sequence voltage as a share of the positive-sequence one, by EN 50160 (there: of means over
ten minutes, in 95 % of a week)."""
NODE_VOLTS, BASE_WATTS = 1e3, 1e6
"""Base of the numbers handed over: power-grid-model's own base power, and the voltage that makes 1 Ω 1 pu."""
STIFF_WATTS = 1e16
"""Short-circuit power of the substation: the voltage behind it moves by 1e-10 pu at full load."""
SETTLED_PU = 1e-9
"""Largest change of a voltage in the last step, which is quadratically better than the one before."""
STEPS = 50
ROTATION = np.exp(2j * np.pi / 3)


class ThreePhaseError(ValueError):
    """The unbalanced flow cannot be had: the extra is missing, or an input is wrong."""


class UnbalancedFlowError(ThreePhaseError):
    """No unbalanced flow is found: the load on a phase is beyond what the feeder can carry."""


@dataclass(frozen=True, eq=False)
class PhaseFlow:
    """A solved unbalanced flow of one period, pu.

    voltage: magnitude by bus and phase, and angle, rad; current: magnitude by line and phase at its sending
    end (entry 0 zero); unbalance: |V_2|/|V_1| by bus; loss: of all phases; net_import: by phase.
    """

    voltage: Floats
    angle: Floats
    current: Floats
    unbalance: Floats
    loss: float
    net_import: Floats

    @property
    def phasor(self) -> Complexes:
        """Complex voltage by bus and phase."""
        return np.asarray(self.voltage * np.exp(1j * self.angle))


@dataclass(frozen=True, slots=True)
class PhaseViolation:
    """A limit that a phase breaks where the balanced flow keeps it: at a bus, or in the line to it, pu.

    `phase` is empty for unbalance, a share, which is of all three.
    """

    bus: int
    phase: str
    what: Literal["voltage", "current", "unbalance"]
    value: float
    limit: float


def balanced(power: Floats) -> Floats:
    """A third of each bus's power on each phase, buses × 3."""
    return np.repeat(np.asarray(power, dtype=np.float64)[:, None] / 3, 3, axis=1)


def single_phase(buses: int, bus: Ints, phase: Ints, power: Floats) -> Floats:
    """Sum single-phase powers by bus and phase, buses × 3; `bus`, `phase` and `power` have one entry each."""
    return np.asarray(np.bincount(3 * bus + phase, power, 3 * buses).reshape(buses, 3))


def phases_of(letters: str, count: int) -> Ints:
    """Phases 0 to 2 of `count` connections from letters, which are repeated as needed.

    `abc` goes around, `a` puts all on one. Raises ThreePhaseError for another letter, and for none.
    """
    if not letters or set(letters) - set(PHASES):
        raise ThreePhaseError(f"phases {letters!r}: letters a, b and c, one a connection")
    return np.array([PHASES.index(letters[k % len(letters)]) for k in range(count)], dtype=np.int64)


def require(zero_sequence: float = ZERO_SEQUENCE) -> None:
    """Raise ThreePhaseError where no flow can be had: without the extra, with a ratio not above 0."""
    if find_spec("power_grid_model") is None:
        raise ThreePhaseError(
            "power-grid-model, which solves unbalanced flows, is not installed:"
            " pip install 'wattbook[three-phase]'"
        )
    if not (np.isfinite(zero_sequence) and zero_sequence > 0):
        raise ThreePhaseError(f"zero_sequence = {zero_sequence:g}: a ratio above 0")


def zero_sequence_known(feeder: Feeder) -> int:
    """How many lines have a zero-sequence impedance in the feeder's data."""
    given = feeder.zero_sequence_pu
    return 0 if given is None else int(np.count_nonzero(~np.isnan(given[1:])))


def zero_sequence_told(known: int, lines: int, zero_sequence: float = ZERO_SEQUENCE) -> str:
    """Where zero-sequence impedances are from, in words; the data have those of `known` lines."""
    assumed = f"{zero_sequence:g} times the positive-sequence ones"
    if known == lines:
        return "zero-sequence impedances are those of the feeder's data"
    if not known:
        return f"zero-sequence impedances, which its data lack, are assumed as {assumed}"
    return (
        f"zero-sequence impedances of {known} of {lines} lines are those of the feeder's data, of the others"
        f" they are assumed as {assumed}"
    )


def three_phase_flow(
    feeder: Feeder, p: Floats, q: Floats, *, zero_sequence: float = ZERO_SEQUENCE
) -> PhaseFlow:
    """Solve the unbalanced flow of net consumption p, q by bus and phase, buses × 3, pu.

    `zero_sequence` is for lines whose zero-sequence impedance the feeder's data lack.
    Raises ThreePhaseError without the extra, for a line without impedance, a power that is not finite or a
    ratio that is not above 0; UnbalancedFlowError where no solution is found.
    """
    require(zero_sequence)
    for bus in np.flatnonzero(~np.all(np.isfinite(p) & np.isfinite(q), axis=1))[:1]:
        raise ThreePhaseError(f"feeder {feeder.name}: power at bus {feeder.bus_names[bus]} is not finite")
    for bus in np.flatnonzero((feeder.r_pu[1:] == 0) & (feeder.x_pu[1:] == 0))[:1] + 1:
        raise ThreePhaseError(f"feeder {feeder.name}: line to bus {feeder.bus_names[bus]} has no impedance")
    output = _solve(feeder, p, q, zero_sequence)
    node, line = output["node"], output["line"]
    voltage = node["u_pu"]
    phasor = voltage * np.exp(1j * node["u_angle"])
    positive = np.abs(phasor @ np.array([1, ROTATION, ROTATION**2]))
    negative = np.abs(phasor @ np.array([1, ROTATION**2, ROTATION]))
    base_amperes = BASE_WATTS / (np.sqrt(3) * NODE_VOLTS)
    return PhaseFlow(
        voltage=np.asarray(voltage),
        angle=np.asarray(node["u_angle"]),
        current=np.vstack([np.zeros(3), line["i_from"] / base_amperes]),
        unbalance=np.asarray(negative / positive),
        loss=float((line["p_from"] + line["p_to"]).sum() / BASE_WATTS),
        net_import=np.asarray(output["source"]["p"][0] / BASE_WATTS),
    )


def _solve(feeder: Feeder, p: Floats, q: Floats, zero_sequence: float) -> dict[str, Any]:
    """power-grid-model's answer for nodes, lines and the source, each in the order of buses."""
    from power_grid_model import LoadGenType, PowerGridModel, initialize_array  # noqa: PLC0415 - an extra
    from power_grid_model.errors import IterationDiverge, SparseMatrixError  # noqa: PLC0415

    def table(kind: str, first_id: int, count: int, **columns: Any) -> Any:
        rows = initialize_array("input", kind, count)
        rows["id"] = first_id + np.arange(count)
        for name, column in columns.items():
            rows[name] = column
        return rows

    n = feeder.buses
    r, x = feeder.r_pu[1:], feeder.x_pu[1:]
    ends = {"from_node": feeder.parent[1:], "to_node": np.arange(1, n), "from_status": 1, "to_status": 1}
    no_shunt = {"c1": 0.0, "tan1": 0.0, "c0": 0.0, "tan0": 0.0}
    zero = _zero_sequence(feeder, zero_sequence)[1:]
    stiff = {"u_ref": feeder.v0, "sk": STIFF_WATTS, "rx_ratio": 0.1, "z01_ratio": 1.0}
    power = {"p_specified": BASE_WATTS * p, "q_specified": BASE_WATTS * q}
    try:
        model = PowerGridModel(
            {
                "node": table("node", 0, n, u_rated=NODE_VOLTS),
                "line": table("line", n, n - 1, r1=r, x1=x, r0=zero.real, x0=zero.imag, **ends, **no_shunt),
                "source": table("source", 2 * n, 1, node=0, status=1, **stiff),
                "asym_load": table(
                    "asym_load", 3 * n, n, node=np.arange(n), status=1, type=LoadGenType.const_power, **power
                ),
            }
        )
        answer: dict[str, Any] = model.calculate_power_flow(
            symmetric=False, error_tolerance=SETTLED_PU, max_iterations=STEPS
        )
    except (IterationDiverge, SparseMatrixError):
        raise UnbalancedFlowError(
            f"feeder {feeder.name}: no unbalanced flow found; the load on a phase is beyond what it can carry"
        ) from None
    return answer


def _zero_sequence(feeder: Feeder, ratio: float) -> Complexes:
    """Zero-sequence impedance by line: the data's, else the ratio's."""
    assumed = np.asarray(ratio * (feeder.r_pu + 1j * feeder.x_pu), dtype=np.complex128)
    given = feeder.zero_sequence_pu
    if given is None:
        return assumed
    return np.asarray(np.where(np.isnan(given), assumed, given), dtype=np.complex128)


def unseen_violations(feeder: Feeder, flow: PhaseFlow, seen: Flow) -> tuple[PhaseViolation, ...]:
    """Limits that a phase breaks and the balanced flow `seen`, of one period, keeps; by bus.

    By as much as `powerflow.violations` asks for: 1e-4 pu of voltage, 0.1 % of loading. Unbalance above
    EN 50160's 2 % counts too: the balanced model has none.
    """
    known = {(each.what, each.bus) for each in violations(feeder, seen)}
    limits = feeder.limits
    low, high, rating = (limit[:, None] for limit in (limits.v_min, limits.v_max, limits.i_max))
    broken: tuple[tuple[Literal["voltage", "current"], Floats, Floats, Any], ...] = (
        ("voltage", flow.voltage, limits.v_min, low - flow.voltage > VOLTAGE_TOLERANCE_PU),
        ("voltage", flow.voltage, limits.v_max, flow.voltage - high > VOLTAGE_TOLERANCE_PU),
        ("current", flow.current, limits.i_max, flow.current > rating * (1 + LOADING_TOLERANCE)),
    )
    found = [
        PhaseViolation(int(bus), PHASES[phase], what, float(value[bus, phase]), float(limit[bus]))
        for what, value, limit, beyond in broken
        for bus, phase in np.argwhere(beyond)
        if (what, int(bus)) not in known
    ]
    found += [
        PhaseViolation(int(bus), "", "unbalance", float(flow.unbalance[bus]), UNBALANCE_MAX)
        for bus in np.flatnonzero(flow.unbalance > UNBALANCE_MAX)
    ]
    return tuple(sorted(found, key=lambda each: (each.bus, each.what, each.phase)))
