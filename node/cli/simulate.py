"""`wattbook simulate`: trading sessions of a scenario, and the folder they leave."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, USAGE, complain, stop
from node.cli.options import (
    Json,
    ScenarioPath,
    Seed,
    Settings,
    TransactionGas,
    load_scenario,
    refusals,
    tell_doubt,
    tell_left_out,
)

if TYPE_CHECKING:
    from ledger.checkpoint import SignerKey

Progress = Callable[[int, int, str], None]


class LedgerKind(StrEnum):
    """What keeps the books of a session."""

    CHAIN = "chain"
    NONE = "none"


def simulate(
    scenario: ScenarioPath,
    out: Annotated[
        Path | None, typer.Option(help="Folder for tables, pictures, report and bundle; replaced whole.")
    ] = None,
    seed: Seed = None,
    rpc_url: Annotated[
        str | None, typer.Option(help="Trade on this node instead of the embedded chain.")
    ] = None,
    transaction_gas: TransactionGas = None,
    ledger: Annotated[
        LedgerKind,
        typer.Option(help="`none`: on the contract's twin alone, in a fraction of the time; no bundle."),
    ] = LedgerKind.CHAIN,
    checkpoint_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sign the bundle's checkpoint with this key.")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Trade the sessions of a scenario, from charges to settlement.

    Example: wattbook simulate ieee33-day --out out/demo --seed 7 --set forecast.error=0
    """
    if ledger is LedgerKind.NONE and (rpc_url or transaction_gas or checkpoint_key):
        absent = "no --rpc-url, no --transaction-gas and no --checkpoint-key"
        stop(f"--ledger none: without a chain there is {absent}", USAGE)
    loaded = load_scenario(scenario, settings, seed)
    signer = None if checkpoint_key is None else _signer(checkpoint_key)
    from ledger.bundle import BundleError  # noqa: PLC0415 - all of these load slowly
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from node.oracle.signers import OracleError  # noqa: PLC0415
    from node.scenario.world import broken_by_passive_load, build  # noqa: PLC0415
    from node.simulate.folder import OutputFolderError  # noqa: PLC0415
    from node.simulate.run import simulate as run  # noqa: PLC0415
    from node.simulate.run import simulate_without_ledger  # noqa: PLC0415

    try:
        with refusals(scenario):
            tell_left_out(loaded)
            world = build(loaded)
            tell_doubt(world.feeder)
            if breaking := broken_by_passive_load(world):
                complain(f"{scenario}: {breaking}", "warning")
        with refusals(scenario), _progress() as progress:
            if ledger is LedgerKind.NONE:
                summary = simulate_without_ledger(loaded, out, progress)
            else:
                summary = run(loaded, out, rpc_url, progress, signer, transaction_gas_max=transaction_gas)
    except OutputFolderError as refusal:
        stop(f"--out {refusal}", USAGE)
    except OracleError as failure:
        stop(f"{scenario}: {failure}", FAILED)
    except (ChainError, BundleError, OSError) as failure:
        stop(failure, FAILED)
    typer.echo(json.dumps(summary.to_json()) if as_json else summary.render(out))


def _signer(path: Path) -> SignerKey:
    """The key in a file that `audit key` made; leaves with 2 where it is none."""
    from ledger.checkpoint import NoteKeyError, SignerKey  # noqa: PLC0415 - loads slowly

    try:
        return SignerKey.parse(path.read_text().strip())
    except (NoteKeyError, OSError, ValueError) as refusal:
        stop(f"--checkpoint-key {path}: {refusal}", USAGE)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr where that is a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.console import Console  # noqa: PLC0415 - loads slowly
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("opening the market", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
