"""`wattbook testnet`: a market to trade on, on this machine."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ledger.chain.protocol import ChainError, DamagedChainError
from node.cli import errors as problem
from node.cli.options import Settings as ScenarioSettings
from node.cli.options import load_scenario, refusals, tell_left_out
from node.testnet.settings import SettingError, Settings, StartError

if TYPE_CHECKING:
    from node.scenario.schema import ScenarioFile
    from node.testnet.running import Running

NO_FORKING = (
    "--fork-url: the testnet is a chain of its own and forks none; run `anvil --fork-url URL`, and give its"
    " address to `wattbook simulate --rpc-url`"
)
SHUTDOWN = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = 130


def testnet(
    port: Annotated[int, typer.Option(help="Port of the JSON-RPC (HTTP and WebSocket).")] = 8545,
    api_port: Annotated[int, typer.Option(help="Port of the market's pages and their JSON.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine by default.")
    ] = "127.0.0.1",
    data: Annotated[
        Path | None, typer.Option(help="Folder to keep the chain in, and to resume from; else in memory.")
    ] = None,
    accounts: Annotated[
        int | None,
        typer.Option(help="Prosumers with known keys, 1 to 200.", show_default="the scenario's, else 10"),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="TOML file or built-in scenario with feeder, people, tariff and rules; of [slots] the start"
            " alone counts: the day from then on repeats in quarter hours.",
            metavar="SCENARIO",
            show_default="a small IEEE 33-bus one",
        ),
    ] = None,
    overrides: ScenarioSettings = None,
    block_time: Annotated[
        int | None,
        typer.Option(help="Seconds between blocks.", show_default="a block for each transaction"),
    ] = None,
    mnemonic: Annotated[
        str | None,
        typer.Option(help="BIP-39 words of the accounts.", show_default="the well-known test ones"),
    ] = None,
    config_out: Annotated[
        Path | None, typer.Option(help="File to write addresses, keys, terms and ABIs to, as JSON.")
    ] = None,
    oracles: Annotated[int, typer.Option(help="Oracles, of which more than half must agree.")] = 3,
    without_oracles: Annotated[
        bool,
        typer.Option("--without-oracles", help="Leave charges and prices to `wattbook oracle` processes."),
    ] = False,
    horizon: Annotated[
        int,
        typer.Option(
            help="Slots that `wattbook oracle` clears together, 1 to 96; batteries need more than 1."
        ),
    ] = 1,
    without_meters: Annotated[
        bool, typer.Option("--without-meters", help="Leave readings to `wattbook agent` processes.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of web pages that may call the JSON-RPC, * for all; may be repeated.",
            show_default="pages of this machine",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    fork_url: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a local market: chain, contracts, oracles, utility, meters and pages, until Ctrl-C.

    Example: wattbook testnet --data my-market --config-out testnet.json
    On your own feeder: wattbook testnet --scenario day.toml --set feeder.name=grid.json
    """
    stop = Event()

    def interrupt() -> None:
        """End the start where it is; what is written is whole, and the next start goes on or begins again."""
        stop.set()
        raise KeyboardInterrupt

    def be_ready() -> None:
        _on_shutdown(stop.set)
        if stop.is_set():  # in a callback of its own, as of the import lock, Python swallows what is raised
            raise KeyboardInterrupt

    _on_shutdown(interrupt)

    def tell(line: str) -> None:
        if not quiet:
            print(line, flush=True)

    try:
        if fork_url is not None:
            raise SettingError(NO_FORKING)
        settings = Settings(
            port,
            api_port,
            host,
            data,
            accounts,
            block_time,
            mnemonic,
            config_out,
            oracles=oracles,
            oracles_elsewhere=without_oracles,
            meters_elsewhere=without_meters,
            horizon=horizon,
            origins=tuple(allow_origin or ()),
            scenario=_loaded(scenario, overrides),
        )
        from node.testnet.running import running  # noqa: PLC0415 - loads slowly

        tell("wattbook testnet: starting ...")
        with running(settings, tell, _complain, be_ready) as net:
            for line in greeting(net, settings):
                tell(line)
            stop.wait()
            tell("stopping ...")
    except SettingError as refusal:
        problem.stop(refusal, problem.USAGE)
    except StartError as refusal:
        problem.stop(refusal, problem.FAILED)
    except DamagedChainError as damage:
        problem.stop(f"--data {data}: {damage}; bring back a copy, or name another folder", problem.FAILED)
    except ChainError as failure:
        problem.stop(failure, problem.FAILED)
    except KeyboardInterrupt:
        tell("stopped before it was ready")
        raise typer.Exit(INTERRUPTED) from None


def _loaded(scenario: str | None, overrides: list[str] | None) -> ScenarioFile | None:
    """The scenario that was asked for, and on stderr what its network has that no feeder has a place for."""
    if scenario is None:
        if overrides:
            raise SettingError(f"--set {overrides[0]}: only with --scenario")
        return None
    loaded = load_scenario(scenario, overrides, None)
    with refusals(scenario):
        tell_left_out(loaded)
    return loaded


def _on_shutdown(do: Callable[[], object]) -> None:
    for number in SHUTDOWN:
        signal.signal(number, lambda *_: do())


def greeting(net: Running, settings: Settings) -> list[str]:
    """What a visitor needs, as lines: accounts, keys, addresses, where to go."""
    document = net.document
    first_block = document["first_block"]
    lines = ["", "Accounts (coins for gas, tokens in the wallet, tokens deposited)"]
    for number, account in enumerate(document["accounts"]):
        lines.append(
            f"  ({number}) {account['address']}  {account['private_key']}  bus {account['bus_name']}"
        )
    return [
        *lines,
        f"Mnemonic: {document['mnemonic']}",
        f"WARNING: {document['warning']}.",
        "",
        f"Token     {document['token']}  ({document['token_decimals']} decimals)",
        f"Exchange  {document['exchange']}  (chain {document['chain_id']}, from block {first_block})",
        f"Feeder    {document['feeder']}  ({document['terms']['buses']} buses)",
        f"Scenario  {document['scenario']}  (its day from {_start(net)} UTC on repeats)",
        f"JSON-RPC  {document['rpc_url']}",
        f"Market    {document['api_url']}",
        *(
            []
            if _is_loopback(net)
            else ["WARNING: whoever reaches this address can spend from these accounts."]
        ),
        "",
        f"Ready. {_state(net, settings)}; Ctrl-C stops.",
    ]


def _start(net: Running) -> str:
    """When the scenario's day begins."""
    return f"{net.market.world.scenario.slots.start.astimezone(UTC):%Y-%m-%d %H:%M}"


def _state(net: Running, settings: Settings) -> str:
    """How far the market is, and whom it waits for."""
    resumed = "The market was resumed" if net.resumed else ""
    if not settings.oracles_elsewhere:
        return resumed or "Slots are open"
    waits = "No slot opens before oracles have posted its charges"
    return f"{resumed}. {waits}" if resumed else waits


def _is_loopback(net: Running) -> bool:
    host = urlsplit(net.document["rpc_url"]).hostname
    return host is not None and ip_address(host).is_loopback


def _complain(line: str) -> None:
    typer.echo(" ".join(line.split()), err=True)
