"""A cleared slot on three phases: each prosumer on one of them, and what the balanced schedule then does.

What is not prosumers' (passive load, the tie-break's energy) is spread evenly: that is many connections.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from market.feeder.powerflow import power_flow
from market.feeder.three_phase import (
    PHASES,
    ZERO_SEQUENCE,
    PhaseViolation,
    balanced,
    phases_of,
    require,
    single_phase,
    three_phase_flow,
    unseen_violations,
    zero_sequence_known,
    zero_sequence_told,
)
from market.units import Floats, Ints
from node.price.clearing import Cleared
from node.scenario.streams import stream

DRAWN, BALANCED = "drawn", "balanced"


@dataclass(frozen=True, slots=True)
class BusPhases:
    """One bus: voltage of each phase and of the balanced flow, pu; |V_2|/|V_1| as a share."""

    bus: str
    a_pu: float
    b_pu: float
    c_pu: float
    balanced_pu: float
    unbalance: float


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit that a phase breaks and the balanced flow keeps; pu, unbalance as a share."""

    bus: str
    phase: str
    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        phase = f", phase {self.phase}" if self.phase else ""
        if self.what == "unbalance":
            return f"bus {self.bus}: unbalance {100 * self.value:.2f} %, limit {100 * self.limit:g} %"
        return f"bus {self.bus}{phase}: {self.what} {self.value:.4f} pu, limit {self.limit:.4f} pu"


@dataclass(frozen=True, slots=True)
class PhaseTable:
    """A schedule on three phases. `prosumers` counts those on a, b and c, none of them where all is even.

    `zero_sequence_known` counts lines whose zero-sequence impedance is in the feeder's data; of the others it
    is `zero_sequence` times the positive-sequence one.
    """

    phases: str
    zero_sequence: float
    zero_sequence_known: int
    prosumers: tuple[int, int, int]
    buses: tuple[BusPhases, ...]
    loss_mw: float
    balanced_loss_mw: float
    unbalance_max: float
    unseen: tuple[Broken, ...]

    @property
    def impedances(self) -> str:
        """Where zero-sequence impedances are from, in words."""
        return zero_sequence_told(self.zero_sequence_known, len(self.buses) - 1, self.zero_sequence)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, by the names of its fields."""
        return asdict(self)


def admit(phases: str = DRAWN, zero_sequence: float = ZERO_SEQUENCE) -> None:
    """Refuse what no slot could be put on three phases with, before it is cleared. Raises ThreePhaseError."""
    require(zero_sequence)
    if phases not in (DRAWN, BALANCED):
        phases_of(phases, 0)


def three_phases(cleared: Cleared, phases: str = DRAWN, zero_sequence: float = ZERO_SEQUENCE) -> PhaseTable:
    """The slot's schedule in an unbalanced flow, prosumers on phases as `phases` says.

    `drawn` draws them from the scenario's seed; `balanced` spreads everybody evenly; letters such as `abc`
    name the phases of one prosumer after another and are repeated. Raises ThreePhaseError, PowerFlowError.
    """
    feeder = cleared.world.feeder
    on, assigned = _powers(cleared), _assigned(cleared, phases)
    if assigned is None:
        p, q = balanced(on.passive_p + on.by_bus(on.own_p)), balanced(on.passive_q + on.by_bus(on.own_q))
    else:
        p = balanced(on.passive_p) + single_phase(feeder.buses, on.bus, assigned, on.own_p)
        q = balanced(on.passive_q) + single_phase(feeder.buses, on.bus, assigned, on.own_q)
    even = power_flow(feeder, p.sum(axis=1), q.sum(axis=1))
    flow = three_phase_flow(feeder, p, q, zero_sequence=zero_sequence)
    count = np.bincount(assigned if assigned is not None else [], minlength=3)
    return PhaseTable(
        phases=phases,
        zero_sequence=zero_sequence,
        zero_sequence_known=zero_sequence_known(feeder),
        prosumers=(int(count[0]), int(count[1]), int(count[2])),
        buses=tuple(
            BusPhases(name, float(a), float(b), float(c), float(even_pu), float(unbalance))
            for name, (a, b, c), even_pu, unbalance in zip(
                feeder.bus_names, flow.voltage, np.sqrt(even.v[0]), flow.unbalance, strict=True
            )
        ),
        loss_mw=flow.loss * feeder.base_mw,
        balanced_loss_mw=float(even.loss[0]) * feeder.base_mw,
        unbalance_max=float(flow.unbalance.max()),
        unseen=tuple(_named(feeder.bus_names, each) for each in unseen_violations(feeder, flow, even)),
    )


def _named(names: tuple[str, ...], each: PhaseViolation) -> Broken:
    return Broken(names[each.bus], each.phase, each.what, each.value, each.limit)


@dataclass(frozen=True, eq=False)
class _Powers:
    """Net consumption of a slot, pu: prosumers' by prosumer, all other by bus."""

    bus: Ints
    own_p: Floats
    own_q: Floats
    passive_p: Floats
    passive_q: Floats

    def by_bus(self, of_prosumers: Floats) -> Floats:
        return np.asarray(np.bincount(self.bus, of_prosumers, len(self.passive_p)))


def _powers(cleared: Cleared) -> _Powers:
    """Take the schedule apart; load that is shed is missing at everybody on the bus alike."""
    world, solution, t = cleared.world, cleared.solution, cleared.period
    view, index, primal = world.forecast, cleared.table.slot, solution.primal
    served = 1.0 - primal.shed[t]
    lost = primal.shed[t, world.bus] * (view.firm_p[index] + view.devices.load_min[index])
    own = view.firm_p[index] + primal.load[t] - primal.gen[t] - lost
    if world.stores.storages.count:
        own = own + world.stores.by_owner(primal.charge[t] - primal.discharge[t], len(world.bus))
    return _Powers(
        bus=world.bus,
        own_p=own,
        own_q=served[world.bus] * view.firm_q[index],
        passive_p=served * view.passive_p[index] - primal.elastic[t],
        passive_q=served * view.passive_q[index],
    )


def _assigned(cleared: Cleared, phases: str) -> Ints | None:
    """Each prosumer's phase; None where everybody is spread evenly."""
    count = len(cleared.world.bus)
    if phases == BALANCED:
        return None
    if phases == DRAWN:
        rng = stream(cleared.world.scenario.seed, "phases")
        return np.asarray(rng.integers(0, len(PHASES), count), dtype=np.int64)
    return phases_of(phases, count)
