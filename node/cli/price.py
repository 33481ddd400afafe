"""`wattbook price`: the prices of one slot, bus by bus, as a table, as pictures, and on three phases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, USAGE, complain, stop, writing
from node.cli.options import (
    Json,
    ScenarioPath,
    Seed,
    Settings,
    load_scenario,
    refusals,
    tell_doubt,
    tell_left_out,
)

if TYPE_CHECKING:
    from node.price import BusPrice, Cleared, PriceTable
    from node.price.phases import PhaseTable

PRICES = {"dlmp": "DLMP", "energy": "energy", "loss": "loss", "voltage": "v-limit", "congestion": "congest."}
PRICES |= {"nuc": "NUC", "dlmp_q": "reactive"}
"""Prices and their heads."""
LEGEND = (
    "€/MWh: DLMP = energy + loss + v-limit (of voltage limits) + congest. (of line ratings); NUC is the"
    " network usage charge, DLMP less hub price; reactive is €/Mvarh."
)
LOADING = " Loading is that of the line to the bus."
ROWS_MAX = 200
"""Larger feeders show the buses at both ends of the prices."""
ENDS = 15
"""How many at each end."""
WIDTH = 80
NAME_MAX = 18
"""Longer names of buses lose their middle, so that prices, voltage and loading fit beside them."""
SHED_MW = 1e-9
"""Less is a rounding of the solver."""
BROKEN_MAX = 10
"""More broken limits than this are counted."""


def price(
    scenario: ScenarioPath,
    slot: Annotated[int, typer.Option(help="Index of the slot in the scenario, from 0.")] = 0,
    method: Annotated[
        str,
        typer.Option(
            help="atc, three-levels, four-levels, admm, app, benders, newton, socp, direct or lindistflow."
        ),
    ] = "atc",
    penalty: Annotated[
        str | None,
        typer.Option(
            help="Of atc: quadratic, lagrangian, augmented, al-ad, accelerated, tdqa, exponential,"
            " second-order."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page, its pictures (SVG) and tables (CSV).")
    ] = None,
    three_phase: Annotated[
        bool, typer.Option("--three-phase", help="Run the schedule on three phases (extra three-phase).")
    ] = False,
    phases: Annotated[
        str | None,
        typer.Option(
            help="Prosumers' phases: drawn from the seed (default), balanced, or letters as abc, repeated."
        ),
    ] = None,
    zero_sequence: Annotated[
        float | None,
        typer.Option(
            help="Zero- over positive-sequence impedance of lines whose data lack it; 4 by default."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            help="Processes that hold the prosumers of a very large feeder (extra ray); 0: this one.", min=0
        ),
    ] = 0,
    seed: Seed = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Clear one slot of a scenario on its forecast: DLMPs, their components, charges.

    Example: wattbook price ieee33-day --slot 9 --method newton --out out/noon --three-phase
    """
    if not three_phase and (phases is not None or zero_sequence is not None):
        stop(f"{'--zero-sequence' if phases is None else '--phases'}: only with --three-phase", USAGE)
    loaded = load_scenario(scenario, settings, seed)
    from node.price import MethodError, SlotError, clear  # noqa: PLC0415 - loads slowly
    from node.workers.crew import WorkersError  # noqa: PLC0415

    on_phases = _on_phases(phases, zero_sequence) if three_phase else None
    try:
        with refusals(scenario):
            cleared = clear(loaded, slot, method, penalty, workers)
            left_out = tell_left_out(loaded)
            unbalanced = None if on_phases is None else on_phases(cleared)
    except (MethodError, SlotError) as refusal:
        stop(refusal, USAGE)
    except WorkersError as failure:
        stop(f"--workers {workers}: {failure}", FAILED)
    written = _write(cleared, out, unbalanced) if out is not None else ()
    if as_json:
        also = {} if unbalanced is None else {"three_phase": unbalanced.to_json()}
        typer.echo(json.dumps(cleared.table.to_json() | {"left_out": left_out} | also))
    else:
        _show(cleared.table)
        if unbalanced is not None:
            _show_phases(unbalanced)
        if written:
            typer.echo(f"written: {written[0]}, with {', '.join(path.name for path in written[1:])}")
    tell_doubt(cleared.world.feeder)
    _warn(cleared.table)


def _warn(table: PriceTable) -> None:
    """Say on stderr what a reader of the prices has to know."""
    if table.shed_mw > SHED_MW:
        complain(
            f"slot {table.slot}: {table.shed_mw:,.3f} MW of load is shed: the feeder cannot serve it within"
            " its limits, and DLMPs are those of scarcity",
            "warning",
        )
    if not table.certified:
        complain(f"--method {table.method}: not certified: {table.doubt}", "warning")


def _on_phases(phases: str | None, zero_sequence: float | None) -> Callable[[Cleared], PhaseTable]:
    """How a cleared slot is put on three phases; leaves at once where it could not be."""
    from market.feeder.three_phase import (  # noqa: PLC0415 - loads slowly
        ZERO_SEQUENCE,
        ThreePhaseError,
        UnbalancedFlowError,
    )
    from node.price.phases import DRAWN, admit, three_phases  # noqa: PLC0415 - as above

    how = (DRAWN if phases is None else phases, ZERO_SEQUENCE if zero_sequence is None else zero_sequence)
    try:
        admit(*how)
    except ThreePhaseError as refusal:
        stop(f"--three-phase: {refusal}", USAGE)

    def run(cleared: Cleared) -> PhaseTable:
        try:
            return three_phases(cleared, *how)
        except ThreePhaseError as failure:
            stop(f"--three-phase: {failure}", FAILED if isinstance(failure, UnbalancedFlowError) else USAGE)

    return run


def _write(cleared: Cleared, out: Path, phases: PhaseTable | None) -> tuple[Path, ...]:
    from node.price.page import write_page  # noqa: PLC0415 - matplotlib loads slowly

    with writing(out):
        return tuple(out / name for name in write_page(cleared, out, phases))


def _show(table: PriceTable) -> None:
    proof = "certificate holds" if table.certified else "not certified"
    typer.echo(f"{table.scenario}, slot {table.slot}, {table.method}\n")
    rated = any(bus.loading is not None for bus in table.buses)
    heads = (*PRICES.values(), "v_pu", *("loading",) * rated)
    rows = [_row(bus, rated) for bus in table.buses]
    if len(rows) <= ROWS_MAX:
        _sheet(("bus", *heads), rows)
    else:
        order = sorted(range(len(rows)), key=lambda bus: (table.buses[bus].dlmp, bus))
        _sheet(("cheapest", *heads), [rows[bus] for bus in order[:ENDS]])
        typer.echo(f"\n… {len(rows) - 2 * ENDS:,} buses between; --json and --out have all …\n")
        _sheet(("dearest", *heads), [rows[bus] for bus in order[-ENDS:]])
    typer.echo(f"\n{fill(LEGEND + LOADING * rated, WIDTH)}")
    exchange = "import" if table.import_mw >= 0 else "export"
    shed = f", load shed {table.shed_mw:.3f} MW" if table.shed_mw > SHED_MW else ""
    typer.echo(
        f"\nhub price {table.hub_price:.3f} €/MWh, {exchange} {abs(table.import_mw):.3f} MW{shed}\n"
        f"{table.status}, {table.iterations} rounds, residual {table.residual:.1e}, {proof},"
        f" {table.seconds:.3f} s"
    )


def _row(bus: BusPrice, rated: bool) -> tuple[str, ...]:
    """A bus's cells; the substation, and lines without a rating, have no loading."""
    prices = (f"{getattr(bus, name):z.3f}" for name in PRICES)
    loading = "–" if bus.loading is None else f"{100 * bus.loading:.1f}%"
    return (bus.bus, *prices, f"{bus.v_pu:.4f}", *(loading,) * rated)


def _show_phases(table: PhaseTable) -> None:
    from node.price.page import assignment  # noqa: PLC0415
    from node.simulate.wording import power  # noqa: PLC0415

    how = f"On three phases, pu: {assignment(table)}; {table.impedances}."
    typer.echo(f"\n{fill(how, WIDTH)}\n")
    worst = sorted(range(len(table.buses)), key=lambda bus: (-table.buses[bus].unbalance, bus))
    shown = range(len(worst)) if len(worst) <= ROWS_MAX else worst[: 2 * ENDS]
    heads = ("bus" if len(worst) <= ROWS_MAX else "least balanced", "a", "b", "c", "balanced", "unbalance")
    rows = [
        (
            each.bus,
            *(f"{v:.4f}" for v in (each.a_pu, each.b_pu, each.c_pu, each.balanced_pu)),
            f"{100 * each.unbalance:.2f} %",
        )
        for each in (table.buses[bus] for bus in shown)
    ]
    _sheet(heads, rows)
    typer.echo(
        f"\nlosses {power(table.loss_mw)}, {power(table.balanced_loss_mw)} balanced; unbalance at most"
        f" {100 * table.unbalance_max:.2f} % at {table.buses[worst[0]].bus}"
    )
    broken = table.unseen
    typer.echo(f"limits broken that the balanced flow keeps: {len(broken) or 'none'}")
    for each in broken[:BROKEN_MAX]:
        typer.echo(f"  {each}")
    if len(broken) > BROKEN_MAX:
        typer.echo(f"  … and {len(broken) - BROKEN_MAX} more, which --json has")


def _sheet(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as what they hold, names to the left, numbers to the right."""
    lines = [tuple(heads), *((_short(name), *numbers) for name, *numbers in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        name, *numbers = line
        cells = (f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True))
        typer.echo("  ".join((f"{name:<{widths[0]}}", *cells)).rstrip())


def _short(name: str) -> str:
    return name if len(name) <= NAME_MAX else f"{name[: NAME_MAX // 2]}…{name[-(NAME_MAX - 1) // 2 :]}"
