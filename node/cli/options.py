"""Options that several commands share, and reading a scenario with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, USAGE, complain, stop

if TYPE_CHECKING:
    from market.feeder.model import Feeder
    from node.scenario.schema import ScenarioFile

ScenarioPath = Annotated[
    str,
    typer.Argument(help="A TOML file, or a built-in scenario such as ieee33-day.", metavar="SCENARIO"),
]
Seed = Annotated[int | None, typer.Option(help="Seed of every random draw, instead of the scenario's.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for a scenario key, as forecast.error=0."),
]
TransactionGas = Annotated[
    int | None,
    typer.Option(
        help="Most gas that a transaction asks for: 16777216 where EIP-7825 holds.",
        metavar="N",
        min=21_000,
        show_default="28000000",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

GENERATION_REMEDY = "the scenario has generation: as pv_kw in profiles.file, or as [[prosumer]] at its bus"


def load_scenario(path: str, settings: Sequence[str] | None, seed: int | None) -> ScenarioFile:
    """Read a scenario with its overrides; leaves with status 2 where it breaks a rule."""
    from node.scenario import ScenarioError, load  # noqa: PLC0415 - pydantic loads slowly

    try:
        return load(path, overrides(settings), seed)
    except ScenarioError as refusal:
        stop(refusal, USAGE)
    except RecursionError:
        stop(f"{path}: not TOML that can be read: a value is nested too deeply", USAGE)


def overrides(settings: Sequence[str] | None) -> dict[str, str]:
    """Values of `--set` by scenario key; leaves with status 2 where one is no KEY=VALUE."""
    found: dict[str, str] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key:
            stop(f"--set {setting}: a setting is KEY=VALUE, as forecast.error=0", USAGE)
        found[key.strip()] = value.strip()
    return found


@contextmanager
def refusals(path: str) -> Iterator[None]:
    """Leave with status 2 where a scenario's feeder cannot be priced, with 1 where a solver gave up."""
    from market.feeder.model import FeederError  # noqa: PLC0415 - these load slowly
    from market.feeder.powerflow import PowerFlowError  # noqa: PLC0415
    from market.pricing.admission import ClearingFailed, PricingError  # noqa: PLC0415

    try:
        yield
    except (ClearingFailed, PowerFlowError) as failure:
        stop(f"{path}: {failure}", FAILED)
    except (FeederError, PricingError) as refusal:
        stop(f"{path}: {refusal}", USAGE)


def tell_left_out(scenario: ScenarioFile) -> tuple[str, ...]:
    """Say on stderr what the scenario's network has that is not in its feeder, and return that, in words."""
    from market.feeder.elements import GENERATION_LEFT_OUT  # noqa: PLC0415 - loads slowly
    from node.scenario.feeders import left_out  # noqa: PLC0415

    found = left_out(scenario.feeder)
    told = tuple(map(str, found))
    if told:
        remedies = [GENERATION_REMEDY for each in found if each.what == GENERATION_LEFT_OUT]
        what = "; ".join((*told, *remedies))
        complain(f"feeder.name: {scenario.feeder.name}: left out of the feeder: {what}", "warning")
    return told


def tell_doubt(feeder: Feeder) -> None:
    """Say on stderr where a feeder's own load is absurd for it, mostly since a unit is wrong."""
    from node.scenario.feeders import doubt  # noqa: PLC0415 - loads slowly

    if found := doubt(feeder):
        complain(f"feeder.name: {found}", "warning")
