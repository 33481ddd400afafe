"""Feeders out of pandapower networks: what is radial and fed from one place, at nominal tap.

What becomes of the elements, all of it on the base of the feeder's own load:

- closed switches between buses and lines without impedance make one bus of two; an open switch takes its
  line or transformer out, and what is out of service is left out;
- lines, transformers, impedances and switches with a resistance are series impedances; parallel ones become
  one, whose rating is what they carry when the first of them is at its own;
- a transformer stands at its neutral tap. Where its rated voltages are not those of its buses, per-unit
  voltages below it are of its no-load voltage, and voltage limits still mean the buses' nominal voltages;
- loads are nominal loads at constant power, unbalanced ones as the sum of their phases;
- zero-sequence impedances of lines and transformers come along where there are some; only the unbalanced flow
  reads them;
- the substation is where the external grid is, at the voltage that it holds.

`Imported.left_out` says what a feeder has no place for, with its size: charging of lines, magnetising of
transformers, shunts, storages, tap positions, load at the substation, and generation, which `Imported`
carries aside. The flow is pandapower's own with these set to zero.

FeederError
├── MeshedError     the branches close a loop: names the loop's buses
├── IslandedError   load or generation that nothing feeds: names the island's buses
├── SourcesError    no external grid, several on one feeder, or a choice between feeders to be made
└── ElementError    an element that is no part of a radial AC feeder: names it
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from market.feeder.elements import (
    GENERATION,
    LOADS,
    Branch,
    ElementError,
    Elements,
    LeftOut,
    Network,
    listed,
    named_buses,
)
from market.feeder.model import Complexes, Feeder, FeederError, Limits
from market.feeder.tree import LoopError, Tree, rooted
from market.units import Floats

__all__ = [
    "ElementError",
    "Imported",
    "IslandedError",
    "MeshedError",
    "SourcesError",
    "from_json",
    "imported",
    "name_and_part",
]

SAME_RATIO = 1e-9
"""Transformers in parallel whose ratios differ by more drive a current around their loop."""


class MeshedError(FeederError):
    """The branches close a loop; the message names its buses."""


class IslandedError(FeederError):
    """Load or generation that nothing feeds; the message names its buses."""


class SourcesError(FeederError):
    """Not exactly one external grid feeds the feeder; the message names those there are."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A feeder out of a network, and how to find the network's buses in it.

    position: the feeder's bus of each of the network's; voltage: nominal pu of the network per pu of the
    feeder, by bus (1 unless a transformer's rated voltages differ from its buses'); generation: MW and Mvar
    injected by bus, which the feeder's nominal load does not contain; left_out: what was left out.
    """

    feeder: Feeder
    position: Mapping[int, int]
    voltage: Floats
    generation_mw: Floats
    generation_mvar: Floats
    left_out: tuple[LeftOut, ...]


def imported(
    net: Network, name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False, part: int = 0
) -> Imported:
    """The feeder of a network; `part` chooses one, from 1, where several external grids feed several.

    Voltage limits are pu of the buses' nominal voltages; `rated` makes limits of the ratings in kA and MVA.
    Raises MeshedError, IslandedError, SourcesError, ElementError, and FeederError for a feeder without load.
    """
    return _Import(net, name).part(part, v_min, v_max, rated=rated)


def from_json(
    text: str, name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False, part: int = 0
) -> Imported:
    """As `imported`, from the text of a pandapower JSON file. Raises FeederError where it is none."""
    import pandapower  # noqa: PLC0415 - slow to import

    try:
        net = pandapower.from_json_string(text)
    except Exception as error:  # pandapower raises whatever its decoder meets
        reason = str(error).partition("\n")[0]
        raise FeederError(f"feeder {name}: not a pandapower JSON file: {reason}") from None
    if not isinstance(net, pandapower.pandapowerNet):
        raise FeederError(f"feeder {name}: not a pandapower JSON file: it holds no network")
    return imported(net, name, v_min, v_max, rated=rated, part=part)


def name_and_part(name: str) -> tuple[str, int]:
    """A network's name without the `#PART` behind it, and that number, 0 where there is none.

    Raises FeederError where what stands behind the `#` is no whole number from 1.
    """
    network, mark, part = name.rpartition("#")
    if not mark or "/" in part:  # of a file's folder
        return name, 0
    if not re.fullmatch("[1-9][0-9]{0,8}", part):
        raise FeederError(f"feeder {name!r}: #{part} is no part; parts are numbered from #1")
    return network, int(part)


class _Import:
    """One network on its way to a feeder: what is connected, what feeds it, what tree it makes."""

    def __init__(self, net: Network, name: str) -> None:
        self.name, self.elements = name, Elements(net, name)
        self.fuse = _Fusion(self.elements.kv)
        found = list(self.elements.branches())
        for branch in found:
            if branch.z_per_mva == 0:
                self.fuse.join(branch.one, branch.other)
        between: dict[tuple[int, int], list[Branch]] = {}
        for branch in found:
            one, other = self.fuse.of(branch.one), self.fuse.of(branch.other)
            if one != other:
                along = branch.turned() if one > other else branch
                between.setdefault((min(one, other), max(one, other)), []).append(along)
        self.branches = [self._combined(ends, each) for ends, each in sorted(between.items())]

    def _combined(self, ends: tuple[int, int], parallel: Sequence[Branch]) -> Branch:
        ratio = parallel[0].ratio
        if any(abs(each.ratio - ratio) > SAME_RATIO for each in parallel):
            raise MeshedError(
                f"feeder {self.name} is meshed: branches of different ratio in parallel between"
                f" {self._names(ends)}"
            )
        admittance = [1 / each.z_per_mva for each in parallel]
        total = sum(admittance)
        # Current divides as admittances do, and the first to reach its rating limits all.
        rating = min(each.rating_mva * abs(total / y) for each, y in zip(parallel, admittance, strict=True))
        zero = 1 / sum(1 / each.zero_per_mva for each in parallel)
        return Branch(*ends, 1 / total, ratio, rating, zero)

    def part(self, part: int, v_min: float, v_max: float, *, rated: bool) -> Imported:
        sources = self._sources()
        self._refuse_islands(sources)
        root = self._choose(list(sources), part)
        tree = self._tree(root, sources)
        place = {int(node): k for k, node in enumerate(tree.node)}
        position = {bus: place[node] for bus in self.elements.kv if (node := self.fuse.of(bus)) in place}
        self.elements.refuse_foreign(position)
        load_mw, load_mvar = self.elements.powers(LOADS, position)
        load_mw[0] = load_mvar[0] = 0.0
        base_mw = float(load_mw.sum())
        if not base_mw > 0:
            raise FeederError(
                f"feeder {self.name}: {base_mw:.6g} MW of load; its base is its load, which must be above 0:"
                " put load behind the substation, and generation among the generators (sgen)"
            )
        voltage, z_pu, zero_pu, rating = self._lines(tree, base_mw)
        feeder = Feeder(
            name=self.name,
            bus_names=tuple(self.elements.label[int(node)] for node in tree.node),
            parent=tree.parent,
            r_pu=z_pu.real.copy(),
            x_pu=z_pu.imag.copy(),
            limits=Limits(
                v_min=v_min / voltage,
                v_max=v_max / voltage,
                i_max=rating if rated else np.where(rating > 0, np.inf, 0.0),
            ),
            base_mw=base_mw,
            v0=sources[root],
            nominal_p_mw=load_mw,
            nominal_q_mvar=load_mvar,
            zero_sequence_pu=None if np.isnan(zero_pu[1:]).all() else zero_pu,
        )
        generation = self.elements.powers(GENERATION, position)
        return Imported(
            feeder, position, voltage, *generation, self.elements.left_out(position, feeder.bus_names)
        )

    def _lines(self, tree: Tree, base_mw: float) -> tuple[Floats, Complexes, Complexes, Floats]:
        """By bus: nominal pu per pu of the feeder; of the line to it, 0 at the root, impedance and rating.

        Impedances are the positive-sequence and the zero-sequence one.
        """
        buses = len(tree.node)
        voltage, rating = np.ones(buses), np.zeros(buses)
        z_pu, zero_pu = np.zeros((2, buses), dtype=np.complex128)
        for j in range(1, buses):
            branch = self.branches[tree.branch[j]]
            if branch.one != tree.node[tree.parent[j]]:
                branch = branch.turned()
            voltage[j] = voltage[tree.parent[j]] * branch.ratio
            z_pu[j] = branch.z_per_mva * base_mw / voltage[j] ** 2
            zero_pu[j] = branch.zero_per_mva * base_mw / voltage[j] ** 2
            rating[j] = branch.rating_mva * voltage[j] / base_mw
        return voltage, z_pu, zero_pu, rating

    def _sources(self) -> dict[int, float]:
        """Fused buses with an external grid, in the order of the table, and the voltage that each holds."""
        tables = [self.elements.of("ext_grid")]
        generators = self.elements.of("gen")
        if "slack" in generators:
            tables.append(generators[generators.slack.astype(bool)])
        return {
            self.fuse.of(int(row.bus)): float(row.vm_pu) for table in tables for row in table.itertuples()
        }

    def _choose(self, nodes: Sequence[int], part: int) -> int:
        if not nodes:
            raise SourcesError(f"feeder {self.name}: no external grid feeds it")
        if part == 0 and len(nodes) > 1:
            self._refuse_joined(nodes)
            raise SourcesError(f"feeder {self.name} has {len(nodes)} parts, name one: {self._parts(nodes)}")
        if part > len(nodes):
            raise SourcesError(f"feeder {self.name}: no part #{part}; parts are {self._parts(nodes)}")
        return nodes[max(part, 1) - 1]

    def _tree(self, root: int, sources: Collection[int]) -> Tree:
        ends = [(each.one, each.other) for each in self.branches]
        try:
            tree = rooted(root, max(self.elements.kv) + 1, ends)
        except LoopError as loop:
            parts = f"; parts are {self._parts(sources)}" if len(sources) > 1 else ""
            raise MeshedError(
                f"feeder {self.name} is meshed: a loop through {self._names(loop.nodes)};"
                f" open a switch in it{parts}"
            ) from None
        self._refuse_several(sorted(set(tree.node.tolist()).intersection(sources)))
        return tree

    def _refuse_several(self, fed: Sequence[int]) -> None:
        """One feeder has one external grid."""
        if len(fed) > 1:
            raise SourcesError(
                f"feeder {self.name} is fed from several places at once: {self._names(fed)};"
                " take all external grids but one out of service, or open a switch between them"
            )

    def _refuse_joined(self, sources: Iterable[int]) -> None:
        """External grids of one feeder are no parts to choose from."""
        reach, together = self._reach(), dict[int, list[int]]()
        for node in sources:
            together.setdefault(reach.of(node), []).append(node)
        for fed in together.values():
            self._refuse_several(fed)

    def _reach(self) -> _Fusion:
        """Sets of buses that branches connect."""
        reach = _Fusion(self.elements.kv)
        for bus in self.elements.kv:
            reach.join(bus, self.fuse.of(bus))
        for branch in self.branches:
            reach.join(branch.one, branch.other)
        return reach

    def _refuse_islands(self, sources: Iterable[int]) -> None:
        """Load and generation need an external grid somewhere; buses without either may be dead."""
        reach = self._reach()
        fed = {reach.of(node) for node in sources}
        for kind in (*LOADS, *GENERATION):
            for row in self.elements.of(kind).itertuples():
                if fed and reach.of(int(row.bus)) not in fed:
                    island = [bus for bus in self.elements.kv if reach.of(bus) == reach.of(int(row.bus))]
                    raise IslandedError(
                        f"feeder {self.name}: nothing feeds the island of {self._names(island)},"
                        f" which has {kind} at bus {self.elements.label[int(row.bus)]}"
                    )

    def _names(self, buses: Iterable[int]) -> str:
        return named_buses([self.elements.label[int(bus)] for bus in buses])

    def _parts(self, sources: Iterable[int]) -> str:
        """The parts by number, each with the bus that its external grid is at."""
        return listed([f"#{k} (at {self._names([node])})" for k, node in enumerate(sources, start=1)])


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
