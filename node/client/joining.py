"""Joining a market that runs elsewhere: where it is, and the keys of who joins.

JoinError   the market or a key cannot be used; the message names the option and what was allowed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.chain.protocol import TRANSACTION_GAS_MAX
from ledger.chain.rpc import RpcChain
from ledger.deployment import DeploymentError, site_of
from ledger.exchange import Exchange
from ledger.keys import InvalidKeyError, Key
from node.client.http import Client


class JoinError(ValueError):
    """A market, or a key, that cannot be used."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A market as a process elsewhere uses it: its document, its chain, its exchange, its server."""

    document: Mapping[str, Any]
    chain: RpcChain
    exchange: Exchange
    market: Client


def join(market_url: str, rpc_url: str | None, transaction_gas_max: int | None = None) -> Joined:
    """The market that a server tells of, for senders that ask for so much gas at most.

    Raises JoinError, ServiceError, ChainError.
    """
    client = Client(market_url)
    document = client.deployment()
    node = rpc_url or document.get("rpc_url")
    if not isinstance(node, str):
        raise JoinError(f"{market_url}: names no node; give --rpc-url")
    chain = RpcChain(node, transaction_gas_max=transaction_gas_max or TRANSACTION_GAS_MAX)
    try:
        return Joined(document, chain, site_of(document, market_url).open(chain), client)
    except DeploymentError as refusal:
        raise JoinError(str(refusal)) from None


def known_key(document: Mapping[str, Any], option: str, path: tuple[str | int, ...]) -> Key:
    """A key that a testnet's document tells everybody. Raises JoinError."""
    found: Any = document
    try:
        for step in path:
            if isinstance(step, int) and step < 0:
                raise IndexError
            found = found[step]
        return Key.from_hex(found)
    except (KeyError, IndexError, TypeError, AttributeError, InvalidKeyError):
        raise JoinError(
            f"{option}: the market's document has no such key; only a testnet tells its keys, others take"
            " --keystore"
        ) from None


def keystore_key(keystore: Path, password_file: Path | None, option: str = "--keystore") -> Key:
    """The key of a Web3 Secret Storage file (version 3) under the password in a file. Raises JoinError."""
    from eth_account import Account  # noqa: PLC0415 - loads slowly

    if password_file is None:
        raise JoinError(f"{option} {keystore}: needs --password-file")
    for path in (keystore, password_file):
        if not path.is_file():
            raise JoinError(f"{option}: {path}: no such file")
    try:
        password = password_file.read_text("utf-8").rstrip("\r\n")
        return Key(bytes(Account.decrypt(json.loads(keystore.read_text("utf-8")), password)))
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as failure:
        raise JoinError(f"{option} {keystore}: {_why(failure)}") from None


def _why(failure: Exception) -> str:
    wrong = str(failure) == "MAC mismatch"
    return "the password does not open it" if wrong else f"not a keystore of version 3 ({failure})"
