"""`wattbook price`: the prices of one slot, bus by bus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import USAGE, complain, stop
from node.cli.options import Json, ScenarioPath, Seed, Settings, load_scenario, refusals

if TYPE_CHECKING:
    from node.price import PriceTable


def price(
    scenario: ScenarioPath,
    slot: Annotated[int, typer.Option(help="Index of the slot in the scenario, from 0.")] = 0,
    method: Annotated[str, typer.Option(help="atc, admm, newton, socp, direct or lindistflow.")] = "atc",
    seed: Seed = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Clear one slot of a scenario on its forecast: DLMPs, their components, charges.

    Example: wattbook price ieee33-day --slot 9 --method socp
    """
    loaded = load_scenario(scenario, settings, seed)
    from node.price import MethodError, SlotError  # noqa: PLC0415 - loads slowly
    from node.price import price as run  # noqa: PLC0415

    try:
        with refusals(scenario):
            table = run(loaded, slot, method)
    except (MethodError, SlotError) as refusal:
        stop(refusal, USAGE)
    if as_json:
        typer.echo(json.dumps(table.to_json()))
    else:
        _show(table)
    if not table.certified:
        complain(f"--method {method}: not certified: {table.doubt}", "warning")


def _show(table: PriceTable) -> None:
    from rich.console import Console  # noqa: PLC0415 - loads slowly
    from rich.table import Table  # noqa: PLC0415

    proof = "certificate holds" if table.certified else "not certified"
    sheet = Table(
        title=f"{table.scenario}, slot {table.slot}, {table.method}: €/MWh",
        caption=f"hub price {table.hub_price:.3f} €/MWh, import {table.import_mw:.3f} MW, {table.status},"
        f" {table.iterations} rounds, residual {table.residual:.1e}, {proof}, {table.seconds:.3f} s",
    )
    columns = ("bus", "dlmp", "energy", "loss", "voltage", "congestion", "nuc", "dlmp_q")
    for name in columns:
        sheet.add_column(name, justify="right")
    for bus in table.buses:
        sheet.add_row(bus.bus, *(f"{getattr(bus, name):z.3f}" for name in columns[1:]))
    Console().print(sheet)
