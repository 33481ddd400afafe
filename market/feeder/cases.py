"""The published feeders: one CSV file each in `cases/`, one loader for all.

A file starts with `# key: value` lines (a value may go on, indented, in the next line): title, kv, source,
remark, and the losses and lowest voltage at nominal load that the literature prints. Each row is a line and
the load at its far end, by that end: `from,to,r_ohm,x_ohm` with buses numbered as in the paper; then
`p_kw,q_kvar`, or `s_kva` where the paper gives one power factor; then `rating_a` where there are ratings.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from market.feeder.model import Feeder, FeederError, Limits
from market.units import Floats

NAMES = ("ieee33", "ieee69", "ieee85", "ieee118zh", "ieee136ma", "ieee141")


@dataclass(frozen=True, eq=False)
class Case:
    """A published feeder as its paper prints it; arrays have one entry a line, in the file's order.

    Published figures are at nominal load with 1.0 pu at the substation.
    """

    name: str
    title: str
    kv: float
    source: str
    remark: str
    losses_kw: float
    lowest_v_pu: float
    lowest_v_bus: str
    start: Floats
    end: Floats
    r_ohm: Floats
    x_ohm: Floats
    load_kw: Floats
    load_kvar: Floats
    rating_a: Floats


def read(name: str) -> Case:
    """The case of a name, from the package's data. Raises FeederError for an unknown name."""
    if name not in NAMES:
        raise FeederError(f"feeder {name!r} is not built in; known: {', '.join(NAMES)}")
    text = (files("market.feeder") / "cases" / f"{name}.csv").read_text(encoding="utf-8")
    unfolded = re.sub(r"\n#  +", " ", text)
    head = dict(line[2:].split(": ", 1) for line in unfolded.splitlines() if line.startswith("# "))
    rows = list(csv.DictReader(line for line in unfolded.splitlines() if not line.startswith("#")))
    load_kw, load_kvar = _loads(head, rows)
    return Case(
        name=name,
        title=head["title"],
        kv=float(head["kv"]),
        source=head["source"],
        remark=head["remark"],
        losses_kw=float(head["losses_kw"]),
        lowest_v_pu=float(head["lowest_v_pu"]),
        lowest_v_bus=head["lowest_v_bus"],
        start=_column(rows, "from"),
        end=_column(rows, "to"),
        r_ohm=_column(rows, "r_ohm"),
        x_ohm=_column(rows, "x_ohm"),
        load_kw=load_kw,
        load_kvar=load_kvar,
        rating_a=_column(rows, "rating_a") if "rating_a" in rows[0] else np.full(len(rows), np.inf),
    )


def _column(rows: Sequence[dict[str, str]], name: str) -> Floats:
    return np.array([float(row[name]) for row in rows])


def _loads(head: dict[str, str], rows: Sequence[dict[str, str]]) -> tuple[Floats, Floats]:
    if "s_kva" not in rows[0]:
        return _column(rows, "p_kw"), _column(rows, "q_kvar")
    apparent, factor = _column(rows, "s_kva"), float(head["power_factor"])
    return apparent * factor, apparent * np.sqrt(1 - factor**2)


def feeder(name: str, v_min: float, v_max: float, *, rated: bool) -> Feeder:
    """A case on a base of its own peak load, with 1.0 pu at the substation; limits in pu at every bus.

    `rated` applies the file's ratings where it has any; else lines have none. Raises FeederError.
    """
    case = read(name)
    buses = len(case.end) + 1
    base_mw = float(case.load_kw.sum() / 1e3)
    base_ohm = case.kv**2 / base_mw
    base_a = base_mw / (np.sqrt(3.0) * case.kv) * 1e3
    rating = case.rating_a / base_a if rated else np.full(buses - 1, np.inf)
    return Feeder(
        name=name,
        bus_names=("1", *(str(int(bus)) for bus in case.end)),
        parent=np.array([-1, *(case.start.astype(np.int64) - 1)]),
        r_pu=_behind(case.r_ohm / base_ohm),
        x_pu=_behind(case.x_ohm / base_ohm),
        limits=Limits(v_min=np.full(buses, v_min), v_max=np.full(buses, v_max), i_max=_behind(rating)),
        base_mw=base_mw,
        v0=1.0,
        nominal_p_mw=_behind(case.load_kw / 1e3),
        nominal_q_mvar=_behind(case.load_kvar / 1e3),
    )


def _behind(by_line: Floats) -> Floats:
    """Values by bus: nothing at the substation, then those of the lines."""
    return np.concatenate([[0.0], by_line])
