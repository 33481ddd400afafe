"""The folder of a priced slot: tables as CSV, pictures as SVG, and one page that holds them all.

The same scenario, slot and method give the same bytes: no time, no machine, no seconds that a solver took.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from market.atc.rounds import Round
from node.price.clearing import BusPrice, Cleared, PriceTable
from node.price.phases import BALANCED, DRAWN, BusPhases, PhaseTable
from node.price.pictures import pictures
from node.simulate.canvas import LIGHT, Shown
from node.simulate.wording import MINUS, NBSP, power
from node.web.templating import environment

OWN = {"phases.csv", "phases.svg", "rounds.csv", "rounds.svg"}
"""Files that not every slot has: of three phases, and of methods with rounds."""
ROWS_MAX = 1_000
"""More buses than this have their rows in the CSV alone."""


def write_page(cleared: Cleared, out: Path, phases: PhaseTable | None = None) -> tuple[str, ...]:
    """Write the page, its pictures and tables into `out`, made where it is missing; files' names, page first.

    Files of an earlier slot are replaced or removed, others left alone. Raises OSError where the folder
    cannot be written.
    """
    drawn = [(each, each.svg(LIGHT)) for each in pictures(cleared, phases)]
    shown = [each.shown(light) for each, light in drawn]
    contents = {"price.html": _page(cleared, shown, phases).encode()}
    contents["buses.csv"] = _csv(BusPrice, cleared.table.buses)
    if phases is not None:
        contents["phases.csv"] = _csv(BusPhases, phases.buses)
    if cleared.rounds:
        contents["rounds.csv"] = _csv(Round, cleared.rounds)
    contents |= {f"{each.name}.svg": light for each, light in drawn}
    out.mkdir(parents=True, exist_ok=True)
    for name in OWN - contents.keys():
        (out / name).unlink(missing_ok=True)
    for name, content in contents.items():
        (out / name).write_bytes(content)
    return tuple(contents)


def _csv(kind: type, rows: Sequence[Any]) -> bytes:
    """Rows under the names of their fields; what is None stays empty."""
    names = [each.name for each in fields(kind)]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return file.getvalue().encode()


def _page(cleared: Cleared, shown: Sequence[Shown], phases: PhaseTable | None) -> str:
    table, feeder = cleared.table, cleared.world.feeder
    dear = max(table.buses, key=lambda bus: bus.dlmp)
    cheap = min(table.buses, key=lambda bus: bus.dlmp)
    low = min(table.buses, key=lambda bus: bus.v_pu)
    high = max(table.buses, key=lambda bus: bus.v_pu)
    loads = [bus for bus in table.buses if bus.loading is not None]
    return (
        _environment()
        .get_template("price.html")
        .render(
            table=table,
            feeder=feeder,
            slot_start=f"{cleared.start.astimezone(UTC):%d %B %Y, %H:%M} UTC",
            dear=dear,
            cheap=cheap,
            low=low,
            high=high,
            loaded=max(loads, key=lambda bus: bus.loading or 0.0) if loads else None,
            pictures=shown,
            phases=phases,
            assigned="" if phases is None else assignment(phases),
            rows=table.buses if len(table.buses) <= ROWS_MAX else (),
            proof=proof(table),
        )
    )


def assignment(phases: PhaseTable) -> str:
    """Who is on which phase, in words."""
    if phases.phases == BALANCED:
        return "everybody spread evenly over the phases"
    a, b, c = phases.prosumers
    how = "drawn from the seed" if phases.phases == DRAWN else f"as given, {phases.phases}"
    return f"prosumers on one phase each, {how} (a {a}, b {b}, c {c}), all other load spread evenly"


def proof(table: PriceTable) -> str:
    """Whether the certificate holds, in words."""
    return "certificate holds" if table.certified else f"not certified: {table.doubt}"


@cache
def _environment() -> Environment:
    price: Callable[[float], str] = lambda eur: f"{eur:z,.3f}".replace("-", MINUS)  # noqa: E731
    filters: dict[str, Callable[..., Any]] = {
        "price": price,
        "power": power,
        "percent": lambda share: f"{100 * share:.2f}{NBSP}%",
    }
    return environment(filters)
