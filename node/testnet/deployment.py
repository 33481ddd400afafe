"""What a client needs to trade, as one JSON document; and the record by which a data folder is resumed.

The document has a version, `wattbook deployment 1`; the record `wattbook testnet 1`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import contracts
from ledger.eip712 import typed_data
from ledger.keys import TEST_MNEMONIC
from market.orders import NOBODY, Order, Side
from node.testnet.settings import FolderError

if TYPE_CHECKING:
    from node.testnet.market import Market

DOCUMENT_FORMAT = "wattbook deployment 1"
RECORD_FORMAT = "wattbook testnet 1"
RECORD_NAME = "deployment.json"
WARNING = "everybody knows these keys: never send anything of value to these addresses on any network"


@dataclass(frozen=True, slots=True)
class Record:
    """What a data folder remembers of its market."""

    exchange: str
    token: str
    first_block: int
    accounts: tuple[str, ...]


def read_record(folder: Path) -> Record | None:
    """The record of a data folder, None where it holds no market yet. Raises FolderError."""
    path = folder / RECORD_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != RECORD_FORMAT:
            raise FolderError(f"{path}: its format is not {RECORD_FORMAT!r}")
        return Record(
            exchange=str(document["exchange"]),
            token=str(document["token"]),
            first_block=int(document["first_block"]),
            accounts=tuple(str(address) for address in document["accounts"]),
        )
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise FolderError(f"{path}: cannot be read: {failure.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FolderError(f"{path}: damaged; name another data folder") from None


def write_record(folder: Path, market: Market) -> None:
    """Remember the market in the data folder. Raises FolderError."""
    record = Record(
        exchange=market.session.exchange.address,
        token=market.session.token.address,
        first_block=market.first_block,
        accounts=tuple(key.address for key in market.accounts),
    )
    write_json(folder / RECORD_NAME, {"format": RECORD_FORMAT, **asdict(record)})


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write whole or not at all, readable by its owner only. Raises FolderError."""
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
        partial.replace(path)
    except OSError as failure:
        raise FolderError(f"{path}: cannot be written: {failure.strerror}") from None


def describe(market: Market, *, rpc_url: str, api_url: str, mnemonic: str) -> dict[str, Any]:
    """The document: where everything is, the terms, what wallets sign, the ABIs, the accounts with keys."""
    session, world = market.session, market.world
    cast, exchange = session.cast, session.exchange
    example = typed_data(exchange.domain, Order(NOBODY, 0, 0, Side.BID, 0, 0, 0))
    return {
        "format": DOCUMENT_FORMAT,
        "rpc_url": rpc_url,
        "api_url": api_url,
        "chain_id": session.chain.chain_id,
        "exchange": exchange.address,
        "token": session.token.address,
        "token_decimals": session.token.decimals,
        "first_block": market.first_block,
        "utility": cast.utility.address,
        "guardian": cast.guardian.address,
        "relayer": cast.relayer.address,
        "oracles": [key.address for key in cast.oracles],
        "terms": {
            **asdict(session.terms),
            "rule": session.terms.rule.name.lower(),
            "penalties_ueur_per_kwh": list(session.terms.penalties_ueur_per_kwh),
        },
        "tariff_ueur_per_kwh": asdict(world.tariff),
        "eip712": {
            "domain": example["domain"],
            "types": {name: members for name, members in example["types"].items() if name != "EIP712Domain"},
        },
        "accounts": [
            {
                "address": key.address,
                "private_key": "0x" + key.secret.hex(),
                "bus": int(world.bus[k]),
                "import_capacity_wh": int(world.import_capacity_wh[k]),
                "export_capacity_wh": int(world.export_capacity_wh[k]),
            }
            for k, key in enumerate(market.accounts)
        ],
        "mnemonic": mnemonic,
        "warning": WARNING,
        "abi": {name.lower(): list(contracts.load(name).abi) for name in ("Exchange", "Token")},
    }


def public(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it is served: keys stay out of it unless they are the well-known ones."""
    if document["mnemonic"] == TEST_MNEMONIC:
        return dict(document)
    accounts = [
        {name: value for name, value in account.items() if name != "private_key"}
        for account in document["accounts"]
    ]
    return {name: value for name, value in document.items() if name != "mnemonic"} | {"accounts": accounts}
