"""`wattbook oracle`: one of the market's price signers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.errors import USAGE, stop
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
    from ledger.keys import Key
    from market.atc.messages import Answer, Question
    from node.client.joining import Joined


def oracle(
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    transaction_gas: TransactionGas = None,
    testnet_oracle: Annotated[
        int | None, typer.Option(help="Which of a testnet's oracles, from 0.", metavar="N", min=0)
    ] = None,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port for agents and other oracles.", min=0, max=65_535)] = 8100,
    peer: Annotated[
        list[str] | None, typer.Option(help="Another oracle's server; may be repeated.", metavar="URL")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder to keep certificates and inputs in.", metavar="DIR")
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(
            help="File to write every question and answer to, a JSON object a line.", metavar="FILE"
        ),
    ] = None,
    answer_seconds: Annotated[
        float,
        typer.Option(help="How long a round waits for answers; the same for all oracles.", min=0.1, max=600),
    ] = 5.0,
    turn_seconds: Annotated[
        float, typer.Option(help="How long a turn lasts; the same for all oracles.", min=1, max=3_600)
    ] = 60.0,
    quiet: Quiet = False,
) -> None:
    """Clear slots with the agents in turn, check and sign what other oracles bring, until Ctrl-C.

    Example: wattbook oracle --testnet-oracle 0 --port 8100 --peer http://127.0.0.1:8101
    """
    one_of(testnet_oracle=testnet_oracle, keystore=keystore)
    peers = servers("--peer", peer)
    stopped = until_stopped()

    def tell(line: str) -> None:
        if not quiet:
            say(line)

    with refusals(), ExitStack() as stack:
        from node.client.joining import join, keystore_key, known_key  # noqa: PLC0415 - these load slowly
        from node.client.serving import listening, serving  # noqa: PLC0415
        from node.oracle.app import create_app  # noqa: PLC0415
        from node.oracle.process import OracleProcess, Timing  # noqa: PLC0415

        taken = stack.enter_context(listening(host, port))
        joined = join(market, rpc_url, transaction_gas)
        if keystore is not None:
            key = keystore_key(keystore, password_file)
        else:
            path = ("oracle_private_keys", testnet_oracle or 0)
            key = known_key(joined.document, f"--testnet-oracle {testnet_oracle}", path)
        index = _index(joined, key)
        process = OracleProcess(
            joined.chain,
            joined.exchange,
            key,
            joined.market,
            peers,
            timing=Timing(answer_seconds=answer_seconds, turn_seconds=turn_seconds),
            data=data,
            tell=tell,
            told=_transcript(stack, transcript),
        )
        url = stack.enter_context(serving(create_app(process), taken))
        tell(f"oracle {index} {key.address} at {url}")
        process.run(stopped)


def _index(joined: Joined, key: Key) -> int:
    """The key's place in the market's set; leaves with 2 where it has none."""
    members = joined.exchange.oracle_set().oracles
    if key.address not in members:
        stop(f"{key.address}: is none of the market's oracles, {', '.join(members)}", USAGE)
    return members.index(key.address)


def _transcript(stack: ExitStack, path: Path | None) -> Callable[[str, Question | Answer], None]:
    """Writes what is said, line by line."""
    if path is None:
        return lambda kind, message: None
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    try:
        file = stack.enter_context(path.open("a", encoding="utf-8"))
    except OSError as failure:
        stop(f"--transcript {path}: cannot be written: {failure.strerror}", USAGE)

    def write(kind: str, message: Question | Answer) -> None:
        entry: dict[str, Any] = {"kind": kind, **asdict(message)}
        if "question" in entry:
            entry["question"] = "0x" + entry["question"].hex()
        print(json.dumps(entry), file=file, flush=True)

    return write
