"""Where a market lives: the file that who deploys it writes and everybody else reads.

It is JSON of the format `wattbook deployment 1`. These members are always there; a testnet's document has
more (accounts, terms, ABIs), and readers pass over what they do not know:

    {"format": "wattbook deployment 1", "chain_id": 31337, "genesis": "0x…", "exchange": "0x…",
     "token": "0x…", "first_block": 7, "exchange_code": "0x…"}

`genesis` is the hash of block 0, so that a development chain that was begun anew is told from the one that
was meant, and `exchange_code` the Keccak-256 of the code at the exchange's address.

DeploymentError   the file is none, or the chain has no such market; it names file and member
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.address import address_bytes, checksummed
from ledger.chain.protocol import Chain
from ledger.exchange import Exchange
from ledger.keccak import keccak
from ledger.token import Token
from market.orders import Address

FORMAT = "wattbook deployment 1"


class DeploymentError(ValueError):
    """The file does not say where a market is, or no such market is there."""


@dataclass(frozen=True, slots=True)
class MarketSite:
    """A market's place: the chain by its id and first block, the contracts, and the block they came in."""

    chain_id: int
    genesis: bytes
    exchange: Address
    token: Address
    first_block: int
    exchange_code: bytes

    @classmethod
    def of(cls, exchange: Exchange, token: Token, first_block: int) -> MarketSite:
        """The place of a market that is deployed."""
        chain = exchange.chain
        code = keccak(chain.code(exchange.address))
        return cls(chain.chain_id, chain.block(0).hash, exchange.address, token.address, first_block, code)

    def to_json(self) -> dict[str, Any]:
        """The members that are always there, the format first."""
        return {
            "format": FORMAT,
            "chain_id": self.chain_id,
            "genesis": "0x" + self.genesis.hex(),
            "exchange": self.exchange,
            "token": self.token,
            "first_block": self.first_block,
            "exchange_code": "0x" + self.exchange_code.hex(),
        }

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(self.to_json(), indent=2) + "\n", "utf-8")
        os.replace(partial, path)

    def open(self, chain: Chain) -> Exchange:
        """The market on a chain, which has to be the one meant. Raises DeploymentError, ChainError."""
        for what, expected, found in (
            ("chain_id", self.chain_id, chain.chain_id),
            ("genesis", "0x" + self.genesis.hex(), "0x" + chain.block(0).hash.hex()),
            (
                "exchange_code",
                "0x" + self.exchange_code.hex(),
                "0x" + keccak(chain.code(self.exchange)).hex(),
            ),
        ):
            if found != expected:
                raise DeploymentError(
                    f"{what}: the market is where it is {expected}; on this chain it is {found}"
                )
        return Exchange(chain, self.exchange)


def read_site(path: Path) -> MarketSite:
    """The place that a file names. Raises DeploymentError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as failure:
        raise DeploymentError(f"{path}: cannot be read: {failure.strerror}") from None
    except ValueError:
        raise DeploymentError(f"{path}: is not JSON") from None
    return site_of(document, path)


def site_of(document: Any, where: object) -> MarketSite:
    """The place that a document names, which came from `where`. Raises DeploymentError."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DeploymentError(f"{where}: its format is not {FORMAT!r}")

    def member(name: str, read: Callable[[Any], Any]) -> Any:
        try:
            return read(document[name])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DeploymentError(f"{where}: {name}: missing or malformed") from None

    return MarketSite(
        chain_id=member("chain_id", _count),
        genesis=member("genesis", _hash),
        exchange=member("exchange", _address),
        token=member("token", _address),
        first_block=member("first_block", _count),
        exchange_code=member("exchange_code", _hash),
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _hash(value: str) -> bytes:
    found = bytes.fromhex(value.removeprefix("0x"))
    if len(found) != 32:
        raise ValueError
    return found


def _address(value: str) -> Address:
    return checksummed(address_bytes(value))
