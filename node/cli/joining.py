"""Options that `oracle`, `agent` and `replace` share, and how processes stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated
from urllib.parse import urlsplit

import typer

from node.cli.errors import FAILED, USAGE, stop

MarketUrl = Annotated[str, typer.Option("--market", help="The market's server.", metavar="URL")]
RpcUrl = Annotated[
    str | None,
    typer.Option("--rpc-url", help="A node of the chain.", show_default="the one the market names"),
]
Keystore = Annotated[
    Path | None, typer.Option(help="Key file (Web3 Secret Storage, version 3).", metavar="FILE")
]
PasswordFile = Annotated[Path | None, typer.Option(help="File with the keystore's password.", metavar="FILE")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
DEFAULT_MARKET = "http://127.0.0.1:8000"


def until_stopped() -> Event:
    """Set by the first interrupt or termination."""
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


@contextmanager
def refusals() -> Iterator[None]:
    """Leave with 2 for what can never work as it was asked, with 1 for what does not work now."""
    from ledger.chain.protocol import ChainError  # noqa: PLC0415 - these load slowly
    from node.agent.devices import DeviceError  # noqa: PLC0415
    from node.client.http import ServiceError  # noqa: PLC0415
    from node.client.joining import JoinError  # noqa: PLC0415
    from node.client.replacing import ReplacementError  # noqa: PLC0415
    from node.client.serving import PortTakenError  # noqa: PLC0415

    try:
        yield
    except (JoinError, DeviceError, ReplacementError) as refusal:
        stop(refusal, USAGE)
    except (ServiceError, ChainError, PortTakenError) as failure:
        stop(failure, FAILED)


def say(line: str) -> None:
    """A line on stdout, in one piece, whoever else speaks at that moment."""
    print(f"{line}\n", end="", flush=True)


def one_of(**given: object) -> None:
    """Exactly one of these options; leaves with 2 otherwise."""
    named = [f"--{name.replace('_', '-')}" for name in given]
    if sum(value is not None for value in given.values()) != 1:
        stop(f"{' or '.join(named)}: give exactly one of them", USAGE)


def servers(option: str, urls: Sequence[str] | None) -> tuple[str, ...]:
    """Servers by their URLs, each once; leaves with 2 where one has none."""
    for url in urls or ():
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            stop(f"{option} {url}: is no server's URL, as http://127.0.0.1:8101", USAGE)
    return tuple(dict.fromkeys(urls or ()))
