"""`wattbook agent`: one account of a market that runs elsewhere."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.joining import (
    DEFAULT_MARKET,
    Keystore,
    MarketUrl,
    PasswordFile,
    Quiet,
    RpcUrl,
    one_of,
    refusals,
    say,
    servers,
    until_stopped,
)
from node.cli.options import TransactionGas

if TYPE_CHECKING:
    from market.agents.policies import Policy
    from node.agent.devices import DeviceFile
    from node.agent.trading import Trader
    from node.client.complaints import Complaints
    from node.client.joining import Joined

LOOK_SECONDS = 2.0


class PolicyName(StrEnum):
    """The bidding policies."""

    TRUTHFUL = "truthful"
    ZIC = "zic"
    NONE = "none"


def agent(
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    transaction_gas: TransactionGas = None,
    account: Annotated[
        int | None, typer.Option(help="Which of a testnet's accounts, from 0.", metavar="N", min=0)
    ] = None,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    devices: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with what it can do.", metavar="FILE", show_default="the testnet's own draw"
        ),
    ] = None,
    oracle: Annotated[
        list[str] | None,
        typer.Option(help="An oracle's server to answer to; may be repeated.", metavar="URL"),
    ] = None,
    meter: Annotated[
        bool, typer.Option("--meter", help="Sign readings too, with the meter key the testnet tells.")
    ] = False,
    meter_keystore: Annotated[
        Path | None, typer.Option(help="The meter's key file, under the same password.", metavar="FILE")
    ] = None,
    policy: Annotated[PolicyName, typer.Option(help="How it bids.")] = PolicyName.TRUTHFUL,
    markup: Annotated[float, typer.Option(help="First mark-up on the true value.", min=0, max=1)] = 0.1,
    rounds: Annotated[int, typer.Option(help="Rounds of bidding in a slot.", min=1, max=12)] = 4,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Answer clearings for one account, trade by a policy, read meter and bill, until Ctrl-C.

    Example: wattbook agent --account 3 --oracle http://127.0.0.1:8100 --oracle http://127.0.0.1:8101
    """
    one_of(account=account, keystore=keystore)
    oracles = servers("--oracle", oracle)
    stopped = until_stopped()

    def tell(event: dict[str, Any]) -> None:
        if as_json:
            say(json.dumps(event))
        elif not quiet:
            say("  ".join(f"{name} {value}" for name, value in event.items()))

    def complain(line: str) -> None:
        typer.echo(" ".join(line.split()), err=True)

    with refusals():
        from node.agent.answering import Answering  # noqa: PLC0415 - these load slowly
        from node.agent.devices import load  # noqa: PLC0415
        from node.agent.household import Household  # noqa: PLC0415
        from node.agent.trading import SECONDS_PER_HOUR, Habits, Trader  # noqa: PLC0415
        from node.client.complaints import Complaints  # noqa: PLC0415
        from node.client.joining import join, keystore_key, known_key  # noqa: PLC0415

        own = None if devices is None else load(devices)
        joined = join(market, rpc_url, transaction_gas)
        document = joined.document
        if keystore is not None:
            key = keystore_key(keystore, password_file)
        else:
            key = known_key(document, f"--account {account}", ("accounts", account or 0, "private_key"))
        meter_key = None
        if meter_keystore is not None:
            meter_key = keystore_key(meter_keystore, password_file, "--meter-keystore")
        elif meter:
            meter_key = known_key(document, "--meter", ("accounts", account or 0, "meter_private_key"))
        hours = joined.exchange.terms().slot_seconds / SECONDS_PER_HOUR
        household = Household(own or _drawn(joined, account), hours)
        answering = Answering(joined.chain, joined.exchange, key, household, complain)
        trader = Trader(
            joined.chain,
            joined.exchange,
            key,
            meter=meter_key,
            household=household,
            habits=Habits(_policy(policy, markup), rounds),
            market=joined.market,
            told=tell,
        )
        threads = [Thread(target=answering.run, args=(url, stopped), daemon=True) for url in oracles]
        for thread in threads:
            thread.start()
        tell({"event": "ready", "account": key.address, "oracles": len(threads)})
        complaints = Complaints(complain)
        while not stopped.wait(LOOK_SECONDS):
            _step(trader, complaints)


def _step(trader: Trader, complaints: Complaints) -> None:
    """Trade on whatever happens: a node that is gone for a while is told once, and asked again."""
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from node.client.http import ServiceError  # noqa: PLC0415

    try:
        trader.step()
        complaints.well("agent: goes on")
    except (ChainError, ServiceError) as failure:
        complaints.wrong(f"agent: {failure}")


def _drawn(joined: Joined, account: int | None) -> DeviceFile:
    """What the testnet's scenario has for an account, as its market tells."""
    from node.client.joining import JoinError  # noqa: PLC0415

    if account is None:
        raise JoinError("--devices: needed with --keystore; only a testnet's accounts have devices drawn")
    from node.agent.devices import told  # noqa: PLC0415 - loads slowly

    return told(joined.market.devices(account), f"{joined.market.url}: account {account}")


def _policy(name: PolicyName, markup: float) -> Policy | None:
    from market.agents.policies import Truthful, ZeroIntelligenceConstrained  # noqa: PLC0415

    if name is PolicyName.NONE:
        return None
    return Truthful(markup) if name is PolicyName.TRUTHFUL else ZeroIntelligenceConstrained()
