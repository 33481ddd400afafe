"""What the tables of a pandapower network say: its live buses, its branches, and the powers at its buses.

Only what is in service, at buses in service, and not behind an open switch. Branches are series impedances;
transformers stand at their neutral tap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from market.feeder.model import FeederError
from market.units import Floats

Network = Any
"""A `pandapower.pandapowerNet`: a dictionary of tables (pandas frames) by element."""

VOLTAGE_SHARES = (
    "const_z_percent",  # before pandapower 3
    "const_i_percent",
    "const_z_p_percent",
    "const_z_q_percent",
    "const_i_p_percent",
    "const_i_q_percent",
)
"""Columns of a load that say how much of it goes with voltage."""
LOADS = ("load", "asymmetric_load")
NAMED_MAX = 12
"""Buses, or parts, that a message names before it counts the others."""
GENERATION_LEFT_OUT = "generation"
"""What `LeftOut.what` says of it."""
GENERATION = ("sgen", "asymmetric_sgen", "gen")
FOREIGN = ("trafo3w", "dcline", "xward", "ward", "motor", "svc", "tcsc", "ssc", "vsc", "b2b_vsc")
"""Elements that a radial feeder of lines, transformers and loads at constant power has no place for."""
FINITE = {
    "line": ("length_km", "r_ohm_per_km", "x_ohm_per_km"),
    "impedance": ("rft_pu", "xft_pu", "rtf_pu", "xtf_pu"),
    "trafo": ("vk_percent", "vkr_percent"),
    "load": ("p_mw", "q_mvar", "scaling"),
    "sgen": ("p_mw", "q_mvar", "scaling"),
    "gen": ("p_mw", "scaling"),
}
"""Columns without whose number an element cannot be had: what is not a number would pass for no impedance."""
ZERO_SEQUENCE = {
    "line": ("r0_ohm_per_km", "x0_ohm_per_km"),
    "trafo": ("vkr0_percent", "vk0_percent"),
}
"""Columns of zero-sequence impedances, which may be missing or empty."""
EARTHED = ("Dyn", "Yzn", "YNyn")
"""Vector groups through which, or against whose earth, zero-sequence current flows below a transformer."""
UNKNOWN = complex("nan+nanj")
"""A zero-sequence impedance that the data do not have."""
POSITIVE = {
    "bus": ("vn_kv",),
    "ext_grid": ("vm_pu",),
    "line": ("parallel",),
    "impedance": ("sn_mva",),
    "trafo": ("sn_mva", "vn_hv_kv", "vn_lv_kv", "parallel"),
}
"""Columns that are divided by, and voltages."""
PRESENT = {
    "switch": ("bus", "element", "et", "closed"),
    "line": ("c_nf_per_km", "df", "max_i_ka"),
    "trafo": ("df", "i0_percent", "pfe_kw", "tap_neutral", "tap_pos"),
    "asymmetric_load": ("scaling",),
    "asymmetric_sgen": ("scaling",),
    "shunt": ("q_mvar", "step"),
}
"""Other columns that are read."""
ENDS = {"line": ("from_bus", "to_bus"), "impedance": ("from_bus", "to_bus"), "trafo": ("hv_bus", "lv_bus")}
"""Columns that name an element's buses; of all others it is `bus`."""
ZERO_OHM = 1e-6
"""No wire or contact between two buses has less; it stands for a connection without impedance."""
SWITCH_R_PER_X = 2.0
"""How pandapower splits the impedance of a closed switch by default."""
MW_PER_KW = 1e-3
FARAD_PER_NF = 1e-9


class ElementError(FeederError):
    """An element that is no part of a radial AC feeder; the message names it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that a feeder has no place for: what it is, and in words how much of it there is."""

    what: str
    amount: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.amount}" if self.amount else self.what


@dataclass(frozen=True, slots=True)
class Branch:
    """A series impedance between two buses.

    z_per_mva: per unit on 1 MVA and the nominal voltage of `other`; ratio: no-load voltage at `other` per
    voltage at `one`, each in pu of its bus; rating_mva: what it carries at `other`'s nominal voltage (inf: no
    rating); zero_per_mva: as z_per_mva for the zero sequence, UNKNOWN where the data have none.
    """

    one: int
    other: int
    z_per_mva: complex
    ratio: float
    rating_mva: float
    zero_per_mva: complex = UNKNOWN

    def turned(self) -> Branch:
        """The same branch seen from its other end."""
        return Branch(
            one=self.other,
            other=self.one,
            z_per_mva=self.z_per_mva / self.ratio**2,
            ratio=1 / self.ratio,
            rating_mva=self.rating_mva * self.ratio,
            zero_per_mva=self.zero_per_mva / self.ratio**2,
        )


class Elements:
    """A network's elements; `name` is the feeder's, for messages. kv, label: by live bus."""

    def __init__(self, net: Network, name: str) -> None:
        self.net, self.name = net, name
        self._refuse_unreadable()
        live = net.bus[net.bus.in_service.astype(bool)]
        self.kv = {int(bus): float(kv) for bus, kv in live.vn_kv.items()}
        self.label = _labels(live)

    def _refuse_unreadable(self) -> None:
        """Raise ElementError for a table or column that is not there, a bus or a number that is none."""
        for kind in ("bus", "switch"):
            if self.net.get(kind) is None:
                raise ElementError(f"feeder {self.name}: the network has no table {kind!r}")
        for kind in dict.fromkeys((*FINITE, *POSITIVE, *PRESENT)):
            table = self.net.get(kind)
            if table is None or not len(table):
                continue
            finite, positive = FINITE.get(kind, ()), POSITIVE.get(kind, ())
            ends = () if kind in ("bus", "switch") else ENDS.get(kind, ("bus",))
            own = () if kind == "switch" else ("in_service",)
            for column in (*own, *ends, *finite, *positive, *PRESENT.get(kind, ())):
                if column not in table:
                    raise ElementError(f"feeder {self.name}: table {kind!r} has no column {column!r}")
            if own:
                self._refuse_rows(kind, table[table.in_service.astype(bool)], ends, finite, positive)

    def _refuse_rows(
        self, kind: str, table: Any, ends: Iterable[str], finite: Iterable[str], positive: Iterable[str]
    ) -> None:
        """Raise ElementError for the first bus that the network does not have, or number that is none."""
        wrong = [(end, ~table[end].isin(self.net.bus.index), "a bus of the network") for end in ends]
        wrong += [(column, ~np.isfinite(_numbers(table[column])), "a finite number") for column in finite]
        for column in positive:
            numbers = _numbers(table[column])
            wrong.append((column, ~(np.isfinite(numbers) & (numbers > 0)), "a number above 0"))
        for column in (each for each in ZERO_SEQUENCE.get(kind, ()) if each in table):
            numbers = _numbers(table[column])
            valid = np.isfinite(numbers) & (numbers >= 0)
            wrong.append((column, table[column].notna() & ~valid, "a number from 0, or empty"))
        for column, where, wanted in wrong:
            for index, value in table[column][where][:1].items():
                raise ElementError(
                    f"feeder {self.name}: {kind} {index} has {column} {value!s}, which must be {wanted}"
                )

    def of(self, kind: str, end: str = "bus", among: Mapping[int, Any] | None = None) -> Any:
        """Table of a kind's elements that are in service at live buses, or at those given."""
        table = self.net.get(kind)
        if table is None or not len(table):
            return self.net.bus.iloc[:0]
        return table[
            table.in_service.astype(bool) & table[end].isin(list(self.kv if among is None else among))
        ]

    # --- branches -----------------------------------------------------------------------------------------

    def branches(self) -> Iterator[Branch]:
        """All branches; those without impedance have z_per_mva 0. Raises ElementError."""
        yield from self._switches()
        yield from self._lines()
        yield from self._impedances()
        yield from self._transformers()

    def _joined(self, kind: str, one: str, other: str, switch: str = "") -> Iterator[Any]:
        """Rows of a kind of branch with both ends live and no open switch."""
        switches = self.net.switch
        out = set(switches.element[(switches.et == switch) & ~switches.closed.astype(bool)])
        for row in self.of(kind, one).itertuples():
            if row.Index not in out and getattr(row, other) in self.kv:
                yield row

    def _switches(self) -> Iterator[Branch]:
        switch = self.net.switch
        for row in switch[(switch.et == "b") & switch.closed.astype(bool)].itertuples():
            if row.bus in self.kv and row.element in self.kv:
                size = float(getattr(row, "z_ohm", 0.0) or 0.0)
                z_ohm = size * (SWITCH_R_PER_X + 1j) / abs(SWITCH_R_PER_X + 1j)
                yield self._wire(row.bus, row.element, z_ohm, np.inf)

    def _lines(self) -> Iterator[Branch]:
        for row in self._joined("line", "from_bus", "to_bus", "l"):
            z_ohm = complex(row.r_ohm_per_km, row.x_ohm_per_km) * row.length_km / row.parallel
            zero_ohm = _given(row, "line") * row.length_km / row.parallel
            carries_ka = row.max_i_ka * row.df * row.parallel
            yield self._wire(row.from_bus, row.to_bus, z_ohm, carries_ka, zero_ohm)

    def _wire(
        self, one: int, other: int, z_ohm: complex, carries_ka: float, zero_ohm: complex = UNKNOWN
    ) -> Branch:
        kv = self.kv[one]
        z_per_mva = z_ohm / kv**2 if abs(z_ohm) > ZERO_OHM else 0j
        rating_mva = _rating(np.sqrt(3.0) * kv * carries_ka)
        return Branch(int(one), int(other), z_per_mva, 1.0, rating_mva, zero_ohm / kv**2)

    def _impedances(self) -> Iterator[Branch]:
        for row in self._joined("impedance", "from_bus", "to_bus"):
            if (row.rft_pu, row.xft_pu) != (row.rtf_pu, row.xtf_pu):
                raise ElementError(f"feeder {self.name}: impedance {row.Index} differs by direction")
            z_per_mva = complex(row.rft_pu, row.xft_pu) / row.sn_mva
            yield Branch(int(row.from_bus), int(row.to_bus), z_per_mva, 1.0, np.inf)

    def _transformers(self) -> Iterator[Branch]:
        for row in self._joined("trafo", "hv_bus", "lv_bus", "t"):
            hv, lv = int(row.hv_bus), int(row.lv_bus)
            above, below = row.vn_hv_kv / self.kv[hv], row.vn_lv_kv / self.kv[lv]
            own_mva = row.sn_mva * row.parallel
            z_per_mva = self._short_circuit(row, "vkr_percent", "vk_percent") * below**2 / own_mva
            earthed = getattr(row, "vector_group", None) in EARTHED and _given(row, "trafo") is not UNKNOWN
            zero = self._short_circuit(row, *ZERO_SEQUENCE["trafo"]) if earthed else UNKNOWN
            carries_mva = row.sn_mva * row.df * row.parallel / below
            yield Branch(hv, lv, z_per_mva, below / above, _rating(carries_mva), zero * below**2 / own_mva)

    def _short_circuit(self, row: Any, resistive: str, size: str) -> complex:
        """Impedance in pu of the transformer's own from its short-circuit voltages. Raises ElementError."""
        z, r = getattr(row, size) / 100, getattr(row, resistive) / 100
        if not 0 <= r <= z:
            raise ElementError(
                f"feeder {self.name}: trafo {row.Index} has {resistive} {100 * r:g}, which must"
                f" be from 0 to its {size}, {100 * z:g}"
            )
        return complex(r, np.sqrt(z**2 - r**2))

    # --- powers -------------------------------------------------------------------------------------------

    def powers(self, kinds: Iterable[str], position: Mapping[int, int]) -> tuple[Floats, Floats]:
        """Sums of nominal powers, MW and Mvar, by the position that each bus is given."""
        totals = np.zeros((2, max(position.values()) + 1))
        for kind in kinds:
            table = self.of(kind, among=position)
            if "slack" in table:
                table = table[~table.slack.astype(bool)]
            at = table.bus.map(position).to_numpy(dtype=np.int64) if len(table) else []
            phases = ("_a", "_b", "_c") if kind.startswith("asymmetric") else ("",)
            for total, column in zip(totals, ("p{}_mw", "q{}_mvar"), strict=True):
                for own in (column.format(phase) for phase in phases):
                    if own in table and len(table):
                        np.add.at(total, at, (table.scaling * table[own]).to_numpy(dtype=np.float64))
        return totals[0], totals[1]

    def refuse_foreign(self, position: Mapping[int, int]) -> None:
        """Raises ElementError for an element in service that no radial feeder has."""
        for kind in FOREIGN:
            table = self.net.get(kind)
            if table is None or not len(table):
                continue
            ends = [column for column in table.columns if column == "bus" or column.endswith("_bus")]
            for row in table[table.in_service.astype(bool)].itertuples():
                if any(getattr(row, end) in position for end in ends):
                    raise ElementError(
                        f"feeder {self.name}: {kind} {row.Index} ({row.name}) is no part of a radial feeder;"
                        " put lines, transformers and loads in its place"
                    )

    def left_out(self, position: Mapping[int, int], names: Sequence[str]) -> tuple[LeftOut, ...]:
        """What a feeder of series impedances and constant loads has no place for, with its size.

        position: the feeder's bus of each of the network's; names: of the feeder's buses.
        """
        lines, trafos = self.of("line", "from_bus", position), self.of("trafo", "lv_bus", position)
        omega = 2 * np.pi * self.net.f_hz
        farad = FARAD_PER_NF * sum(
            row.c_nf_per_km * row.length_km * row.parallel * self.kv[int(row.from_bus)] ** 2
            for row in lines.itertuples()
        )
        magnetising = sum(
            row.parallel * max(row.i0_percent / 100 * row.sn_mva, row.pfe_kw * MW_PER_KW)
            for row in trafos.itertuples()
        )
        shunts = sum(row.q_mvar * row.step for row in self.of("shunt", among=position).itertuples())
        stores = len(self.of("storage", among=position))
        generation, _ = self.powers(GENERATION, position)
        root, _ = self.powers(LOADS, position)
        varying = sum(
            row.p_mw * row.scaling
            for row in self.of("load", among=position).itertuples()
            if any(getattr(row, share, 0.0) > 0 for share in VOLTAGE_SHARES)
        )
        sizes = (
            ("charging of lines", omega * farad, "Mvar"),
            ("magnetising of transformers", magnetising, "MVA"),
            ("shunts", shunts, "Mvar"),
            ("storages", stores, "of them"),
            ("dependence on voltage of loads", varying, "MW"),
            ("load at the substation", root[0], "MW"),
            (
                GENERATION_LEFT_OUT,
                generation.sum(),
                f"MW at {named_buses([name for name, mw in zip(names, generation, strict=True) if mw])}",
            ),
        )
        moved = [
            LeftOut(f"tap {row.tap_pos:g} of transformer {row.Index}")
            for row in trafos.itertuples()
            if np.isfinite(row.tap_pos) and np.isfinite(row.tap_neutral) and row.tap_pos != row.tap_neutral
        ]
        found = [LeftOut(what, f"{size:.4g} {unit}") for what, size, unit in sizes if abs(size) > 0]
        return (*found, *moved)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def named_buses(names: Sequence[str]) -> str:
    """Buses in words."""
    return f"{'bus' if len(names) == 1 else 'buses'} {listed(names)}"


def _numbers(column: Any) -> Floats:
    """A column as numbers; NaN for what is none."""
    import pandas as pd  # noqa: PLC0415 - only who has a network needs it

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _given(row: Any, kind: str) -> complex:
    """The two columns of a zero-sequence impedance; UNKNOWN where one is missing or empty, or both are 0."""
    real, imaginary = (getattr(row, column, None) for column in ZERO_SEQUENCE[kind])
    if real is None or imaginary is None or np.isnan(real) or np.isnan(imaginary):
        return UNKNOWN
    return complex(real, imaginary) or UNKNOWN


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
