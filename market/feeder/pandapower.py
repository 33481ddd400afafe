"""Feeders out of pandapower networks: what is radial and fed from one place, at nominal tap.

What becomes of the elements, all of it on the base of the feeder's own load:

- closed switches between buses and lines without impedance make one bus of two; an open switch takes its
  line or transformer out, and what is out of service is left out;
- lines, transformers, impedances and switches with a resistance are series impedances, parallel ones combined;
- a transformer stands at its neutral tap. Where its rated voltages are not those of its buses, per-unit
  voltages below it are of its no-load voltage, and voltage limits still mean the buses' nominal voltages;
- loads are nominal loads at constant power, unbalanced ones as the sum of their phases;
- the substation is where the external grid is, at the voltage that it holds.

`Imported.left_out` says what a feeder has no place for, with its size: charging of lines, magnetising of
transformers, shunts, tap positions, load at the substation, and generation, which `Imported` carries aside.
The flow is then pandapower's own with these set to zero.

FeederError
├── MeshedError     the branches close a loop: names the loop's buses
├── IslandedError   load or generation that nothing feeds: names the island's buses
├── SourcesError    no external grid, several on one feeder, or a choice between feeders to be made
└── ElementError    an element that is no part of a radial AC feeder; names it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from market.feeder.model import Feeder, FeederError, Limits
from market.feeder.tree import LoopError, Tree, rooted
from market.units import Floats, Ints

Network = Any
"""A `pandapower.pandapowerNet`: a dictionary of tables (pandas frames) by element."""

ZERO_OHM = 1e-6
"""No wire or contact between two buses has less; it stands for a connection without impedance."""
SWITCH_R_PER_X = 2.0
"""How pandapower splits the impedance of a closed switch by default."""
NAMED_MAX = 12
"""Buses that a message names before it counts the others."""
MW_PER_KW = 1e-3
FARAD_PER_NF = 1e-9
FOREIGN = ("trafo3w", "dcline", "xward", "ward", "motor", "svc", "tcsc", "ssc", "vsc", "b2b_vsc")
"""Elements that a radial feeder of lines, transformers and loads at constant power has no place for."""


class MeshedError(FeederError):
    """The branches close a loop; the message names its buses."""


class IslandedError(FeederError):
    """Load or generation that nothing feeds; the message names its buses."""


class SourcesError(FeederError):
    """Not exactly one external grid feeds the feeder; the message names those there are."""


class ElementError(FeederError):
    """An element that is no part of a radial AC feeder."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A feeder out of a network, and how to find the network's buses in it.

    position: the feeder's bus of each of the network's; voltage: nominal pu of the network per pu of the
    feeder, by bus (1 unless a transformer's rated voltages differ from its buses'); generation: MW and Mvar
    injected by bus, which the feeder's nominal load does not contain; left_out: what was left out, in words.
    """

    feeder: Feeder
    position: Mapping[int, int]
    voltage: Floats
    generation_mw: Floats
    generation_mvar: Floats
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A series impedance between two fused buses.

    z_per_mva: per unit on 1 MVA and the nominal voltage of `other`; ratio: no-load voltage at `other` per
    voltage at `one`, each in pu of its bus; rating_mva: what it carries at `other`'s nominal voltage (inf: no
    rating).
    """

    one: int
    other: int
    z_per_mva: complex
    ratio: float
    rating_mva: float


def imported(
    net: Network, name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False, part: int = 0
) -> Imported:
    """The feeder of a network; `part` chooses one, from 1, where several external grids feed several.

    Voltage limits are pu of the buses' nominal voltages; `rated` makes limits of the ratings in kA and MVA.
    Raises MeshedError, IslandedError, SourcesError, ElementError, and FeederError for a feeder without load.
    """
    return _Import(net, name, rated=rated).part(part, v_min, v_max)


def from_json(
    text: str, name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False, part: int = 0
) -> Imported:
    """As `imported`, from the text of a pandapower JSON file. Raises FeederError where it is none."""
    import pandapower  # noqa: PLC0415 - slow to import

    try:
        net = pandapower.from_json_string(text)
    except Exception as error:
        raise FeederError(f"feeder {name}: not a pandapower JSON file: {error}") from None
    if not isinstance(net, pandapower.pandapowerNet):
        raise FeederError(f"feeder {name}: not a pandapower JSON file: it holds no network")
    return imported(net, name, v_min, v_max, rated=rated, part=part)


class _Import:
    """One network on its way to a feeder."""

    def __init__(self, net: Network, name: str, *, rated: bool) -> None:
        self.net, self.name, self.rated = net, name, rated
        live = net.bus[net.bus.in_service.astype(bool)]
        self.kv = {int(bus): float(kv) for bus, kv in live.vn_kv.items()}
        self.label = _labels(live)
        self.fuse = _Fusion(self.kv)
        self.branches: list[_Branch] = []
        self._connect()

    # --- branches -----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Fuse what has no impedance; keep the others, parallel ones combined."""
        found = [*self._switches(), *self._lines(), *self._impedances(), *self._transformers()]
        for branch in found:
            if branch.z_per_mva == 0:
                self.fuse.join(branch.one, branch.other)
        between: dict[tuple[int, int], list[_Branch]] = {}
        for branch in found:
            one, other = self.fuse.of(branch.one), self.fuse.of(branch.other)
            if one != other:
                along = _turned(branch) if one > other else branch
                between.setdefault((min(one, other), max(one, other)), []).append(along)
        self.branches = [self._combined(ends, each) for ends, each in sorted(between.items())]

    def _combined(self, ends: tuple[int, int], parallel: Sequence[_Branch]) -> _Branch:
        first = parallel[0]
        if any(abs(each.ratio - first.ratio) > 1e-12 for each in parallel):
            raise MeshedError(
                f"feeder {self.name}: transformers of different ratio in parallel between"
                f" {self._names(ends)} drive a current around their loop"
            )
        admittance = [1 / each.z_per_mva for each in parallel]
        total = sum(admittance)
        # Current divides as admittances do, and the first to reach its rating limits all.
        rating = min(each.rating_mva * abs(total / y) for each, y in zip(parallel, admittance, strict=True))
        return _Branch(*ends, 1 / total, first.ratio, rating)

    def _live(self, *buses: Any) -> bool:
        return all(int(bus) in self.kv for bus in buses)

    def _open(self, kind: str) -> set[int]:
        """Elements of a kind that an open switch takes out."""
        switch = self.net.switch
        return {int(k) for k in switch.element[(switch.et == kind) & ~switch.closed.astype(bool)]}

    def _switches(self) -> Iterable[_Branch]:
        switch = self.net.switch
        for row in switch[(switch.et == "b") & switch.closed.astype(bool)].itertuples():
            if self._live(row.bus, row.element):
                size = float(getattr(row, "z_ohm", 0.0) or 0.0)
                z = size * (SWITCH_R_PER_X + 1j) / abs(SWITCH_R_PER_X + 1j)
                yield self._wire(int(row.bus), int(row.element), z, np.inf)

    def _lines(self) -> Iterable[_Branch]:
        out = self._open("l")
        for row in self.net.line[self.net.line.in_service.astype(bool)].itertuples():
            if row.Index not in out and self._live(row.from_bus, row.to_bus):
                z = complex(row.r_ohm_per_km, row.x_ohm_per_km) * row.length_km / row.parallel
                carries_ka = row.max_i_ka * row.df * row.parallel
                yield self._wire(int(row.from_bus), int(row.to_bus), z, carries_ka)

    def _wire(self, one: int, other: int, z_ohm: complex, carries_ka: float) -> _Branch:
        kv = self.kv[one]
        z_per_mva = z_ohm / kv**2 if abs(z_ohm) > ZERO_OHM else 0.0
        return _Branch(one, other, z_per_mva, 1.0, _rating(np.sqrt(3.0) * kv * carries_ka))

    def _impedances(self) -> Iterable[_Branch]:
        for row in self.net.impedance[self.net.impedance.in_service.astype(bool)].itertuples():
            if not self._live(row.from_bus, row.to_bus):
                continue
            if (row.rft_pu, row.xft_pu) != (row.rtf_pu, row.xtf_pu):
                raise ElementError(f"feeder {self.name}: impedance {row.Index} differs by direction")
            z = complex(row.rft_pu, row.xft_pu) / row.sn_mva
            yield _Branch(int(row.from_bus), int(row.to_bus), z, 1.0, np.inf)

    def _transformers(self) -> Iterable[_Branch]:
        out = self._open("t")
        for row in self.net.trafo[self.net.trafo.in_service.astype(bool)].itertuples():
            if row.Index in out or not self._live(row.hv_bus, row.lv_bus):
                continue
            hv, lv = int(row.hv_bus), int(row.lv_bus)
            size, r = row.vk_percent / 100, row.vkr_percent / 100
            above, below = row.vn_hv_kv / self.kv[hv], row.vn_lv_kv / self.kv[lv]
            z = complex(r, np.sqrt(size**2 - r**2)) * below**2 / (row.sn_mva * row.parallel)
            carries_mva = row.sn_mva * row.df * row.parallel / below
            yield _Branch(hv, lv, z, below / above, _rating(carries_mva))

    # --- one part -----------------------------------------------------------------------------------------

    def part(self, part: int, v_min: float, v_max: float) -> Imported:
        sources = self._sources()
        self._islands(sources)
        root = self._choose(sources, part)
        tree = self._tree(root, sources)
        place = {int(node): k for k, node in enumerate(tree.node)}
        position = {bus: place[node] for bus in self.kv if (node := self.fuse.of(bus)) in place}
        self._foreign(position)
        load_mw, load_mvar = self._powers(position, ("load", "asymmetric_load"))
        generation = self._powers(position, ("sgen", "asymmetric_sgen", "gen"))
        said = self._left_out(position, load_mw[0], float(generation[0].sum()))
        load_mw[0] = load_mvar[0] = 0.0
        base_mw = float(load_mw.sum())
        if not base_mw > 0:
            raise FeederError(f"feeder {self.name}: {base_mw} MW of load; its base is its load")
        return self._assembled(
            tree, position, sources[root], (v_min, v_max), base_mw, (load_mw, load_mvar), generation, said
        )

    def _assembled(
        self,
        tree: Tree,
        position: Mapping[int, int],
        v0: float,
        v_limits: tuple[float, float],
        base_mw: float,
        load: tuple[Floats, Floats],
        generation: tuple[Floats, Floats],
        said: tuple[str, ...],
    ) -> Imported:
        buses = len(tree.node)
        voltage, z, rating = np.ones(buses), np.zeros(buses, dtype=np.complex128), np.zeros(buses)
        for j in range(1, buses):
            branch = self.branches[tree.branch[j]]
            if branch.one != tree.node[tree.parent[j]]:
                branch = _turned(branch)
            voltage[j] = voltage[tree.parent[j]] * branch.ratio
            z[j] = branch.z_per_mva * base_mw / voltage[j] ** 2
            rating[j] = branch.rating_mva * voltage[j] / base_mw
        limits = Limits(
            v_min=v_limits[0] / voltage,
            v_max=v_limits[1] / voltage,
            i_max=rating if self.rated else np.where(np.arange(buses) > 0, np.inf, 0.0),
        )
        feeder = Feeder(
            name=self.name,
            bus_names=tuple(self.label[int(node)] for node in tree.node),
            parent=tree.parent,
            r_pu=z.real.copy(),
            x_pu=z.imag.copy(),
            limits=limits,
            base_mw=base_mw,
            v0=v0,
            nominal_p_mw=load[0],
            nominal_q_mvar=load[1],
        )
        return Imported(feeder, position, voltage, *generation, said)

    def _sources(self) -> dict[int, float]:
        """Fused buses with an external grid, in the order of the table, and the voltage each holds."""
        grids = [self.net.ext_grid[self.net.ext_grid.in_service.astype(bool)]]
        if "slack" in self.net.gen:
            grids.append(self.net.gen[self.net.gen.in_service.astype(bool) & self.net.gen.slack.astype(bool)])
        return {
            self.fuse.of(int(row.bus)): float(row.vm_pu)
            for table in grids
            for row in table.itertuples()
            if self._live(row.bus)
        }

    def _choose(self, sources: Mapping[int, float], part: int) -> int:
        nodes = list(sources)
        listed = ", ".join(f"#{k + 1} (at bus {self.label[node]})" for k, node in enumerate(nodes))
        if not nodes:
            raise SourcesError(f"feeder {self.name}: no external grid feeds it")
        if part == 0 and len(nodes) > 1:
            raise SourcesError(f"feeder {self.name} has {len(nodes)} parts, name one: {listed}")
        if part > len(nodes):
            raise SourcesError(f"feeder {self.name} has no part #{part}; there are {listed}")
        return nodes[max(part, 1) - 1]

    def _tree(self, root: int, sources: Mapping[int, float]) -> Tree:
        try:
            tree = rooted(root, max(self.kv) + 1, [(each.one, each.other) for each in self.branches])
        except LoopError as loop:
            raise MeshedError(
                f"feeder {self.name} is meshed: a loop through {self._names(loop.nodes)}; open a switch in it"
            ) from None
        fed = [node for node in sources if node in set(tree.node.tolist())]
        if len(fed) > 1:
            raise SourcesError(f"feeder {self.name} is fed from several places at once: {self._names(fed)}")
        return tree

    def _islands(self, sources: Iterable[int]) -> None:
        """Refuse load or generation that no external grid reaches."""
        reach = self._reach()
        fed = {reach.of(node) for node in sources}
        for kind in ("load", "asymmetric_load", "sgen", "asymmetric_sgen", "gen"):
            table = self.net.get(kind)
            if table is None or not len(table):
                continue
            for bus in table.bus[table.in_service.astype(bool)]:
                if self._live(bus) and reach.of(int(bus)) not in fed:
                    island = [each for each in self.kv if reach.of(each) == reach.of(int(bus))]
                    raise IslandedError(
                        f"feeder {self.name}: nothing feeds the island of {self._names(island)},"
                        f" which has {kind} at bus {self.label[int(bus)]}"
                    )

    def _reach(self) -> _Fusion:
        """Buses that branches connect."""
        reach = _Fusion(self.kv)
        for bus in self.kv:
            reach.join(bus, self.fuse.of(bus))
        for branch in self.branches:
            reach.join(branch.one, branch.other)
        return reach

    def _foreign(self, position: Mapping[int, int]) -> None:
        for kind in FOREIGN:
            table = self.net.get(kind)
            if table is None or not len(table):
                continue
            ends = [column for column in table.columns if column == "bus" or column.endswith("_bus")]
            for row in table[table.in_service.astype(bool)].itertuples():
                if any(getattr(row, end) in position for end in ends):
                    raise ElementError(
                        f"feeder {self.name}: {kind} {row.Index} ({row.name}) is no part of a radial feeder;"
                        " replace it by lines, transformers and loads"
                    )

    # --- powers -------------------------------------------------------------------------------------------

    def _powers(self, position: Mapping[int, int], kinds: Iterable[str]) -> tuple[Floats, Floats]:
        """Sum of the elements' nominal powers by bus, MW and Mvar."""
        buses = max(position.values()) + 1
        total_p, total_q = np.zeros(buses), np.zeros(buses)
        for kind in kinds:
            table = self.net.get(kind)
            if table is None or not len(table):
                continue
            table = table[table.in_service.astype(bool) & table.bus.isin(list(position))]
            if "slack" in table:
                table = table[~table.slack.astype(bool)]
            at = table.bus.map(position).to_numpy(dtype=np.int64)
            scale = table.scaling.to_numpy(dtype=np.float64)
            for total, column in ((total_p, "p{}_mw"), (total_q, "q{}_mvar")):
                phases = ("_a", "_b", "_c") if kind.startswith("asymmetric") else ("",)
                for phase in phases:
                    if column.format(phase) in table:
                        power = table[column.format(phase)].to_numpy(dtype=np.float64)
                        np.add.at(total, at, scale * power)
        return total_p, total_q

    def _left_out(
        self, position: Mapping[int, int], at_root_mw: float, generated_mw: float
    ) -> tuple[str, ...]:
        """What the feeder has no place for, in words, with its size."""
        sizes = (
            ("charging of lines", self._charging_mvar(position), "Mvar"),
            ("magnetising of transformers", self._magnetising_mva(position), "MVA"),
            ("shunts", self._shunts_mvar(position), "Mvar"),
            ("load at the substation", at_root_mw, "MW"),
            ("generation", generated_mw, "MW"),
        )
        said = [f"{what}: {size:.4g} {unit}" for what, size, unit in sizes if abs(size) > 0]
        moved = [
            f"tap {row.tap_pos:g} of transformer {row.Index}"
            for row in self._of_part("trafo", "lv_bus", position)
            if np.isfinite(row.tap_pos) and np.isfinite(row.tap_neutral) and row.tap_pos != row.tap_neutral
        ]
        return (*said, *moved)

    def _of_part(self, kind: str, end: str, position: Mapping[int, int]) -> list[Any]:
        table = self.net.get(kind)
        if table is None or not len(table):
            return []
        rows = table[table.in_service.astype(bool) & table[end].isin(list(position))]
        return list(rows.itertuples())

    def _charging_mvar(self, position: Mapping[int, int]) -> float:
        """Reactive power of the lines' capacitance at nominal voltage: 2πf·C·V²."""
        omega = 2 * np.pi * self.net.f_hz
        return sum(
            omega
            * row.c_nf_per_km
            * FARAD_PER_NF
            * row.length_km
            * row.parallel
            * self.kv[int(row.from_bus)] ** 2
            for row in self._of_part("line", "from_bus", position)
        )

    def _magnetising_mva(self, position: Mapping[int, int]) -> float:
        return sum(
            row.parallel * max(row.i0_percent / 100 * row.sn_mva, row.pfe_kw * MW_PER_KW)
            for row in self._of_part("trafo", "lv_bus", position)
        )

    def _shunts_mvar(self, position: Mapping[int, int]) -> float:
        return sum(row.q_mvar * row.step for row in self._of_part("shunt", "bus", position))

    def _names(self, buses: Iterable[int]) -> str:
        labels = [self.label[int(bus)] for bus in buses]
        more = len(labels) - NAMED_MAX
        return (
            f"bus{'es' * (len(labels) > 1)} "
            + ", ".join(labels[:NAMED_MAX])
            + (f" and {more} more" if more > 0 else "")
        )


class _Fusion:
    """Disjoint sets of buses; each is named by its lowest bus."""

    def __init__(self, buses: Iterable[int]) -> None:
        self._above = {bus: bus for bus in buses}

    def of(self, bus: int) -> int:
        """The lowest bus of the set that a bus is in."""
        above = self._above
        while above[bus] != bus:
            above[bus] = above[above[bus]]
            bus = above[bus]
        return bus

    def join(self, one: int, other: int) -> None:
        """Make one set of two buses' sets."""
        low, high = sorted((self.of(one), self.of(other)))
        self._above[high] = low


def _turned(branch: _Branch) -> _Branch:
    """The same branch seen from its other end."""
    ratio = branch.ratio
    return _Branch(
        one=branch.other,
        other=branch.one,
        z_per_mva=branch.z_per_mva / ratio**2,
        ratio=1 / ratio,
        rating_mva=branch.rating_mva * ratio,
    )


def _rating(mva: float) -> float:
    """A rating in MVA; none given is none."""
    return float(mva) if np.isfinite(mva) and mva > 0 else np.inf


def _labels(buses: Any) -> dict[int, str]:
    """A name for every bus: its own where that is unique, else with its number, else its number."""
    own = {int(bus): str(name).strip() if name is not None else "" for bus, name in buses.name.items()}
    count: dict[str, int] = {}
    for name in own.values():
        count[name] = count.get(name, 0) + 1
    return {
        bus: str(bus) if name in ("", "nan", "None") else name if count[name] == 1 else f"{name} ({bus})"
        for bus, name in own.items()
    }
