"""Where a chain begins: its id, first header, accounts, and the forks to come.

`development` makes one for a testnet; `read_genesis` reads the `genesis.json` that Geth and most clients
take, `genesis_document` writes one. Only chains that are past the merge at their first block can be run here.

GenesisError   the document is no such genesis; the message names the key
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ledger.address import checksummed
from ledger.chain.encoding import Header
from ledger.chain.evm import Account
from ledger.chain.protocol import ChainError
from ledger.chain.rules import Fork, Schedule, blank_header
from market.orders import Address

GENESIS_BASE_FEE_WEI = 1_000_000_000

_OLD_FORKS = (
    *("homesteadBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock"),
    *("constantinopleBlock", "petersburgBlock", "istanbulBlock", "berlinBlock", "londonBlock"),
)
"""Forks before the merge, which the first block must have behind it."""


class GenesisError(ChainError):
    """The document is no genesis of a chain that can be run here."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """A chain's beginning; the header's state root is that of the accounts, and filled in when they are."""

    chain_id: int
    header: Header
    accounts: tuple[tuple[Address, Account], ...]
    schedule: Schedule


def development(
    chain_id: int, timestamp: int, gas_limit: int, funded: Iterable[Address], funding_wei: int
) -> Genesis:
    """A testnet under Prague from its first block, with coins for `funded`."""
    accounts = tuple((address, Account(balance_wei=funding_wei)) for address in dict.fromkeys(funded))
    return Genesis(
        chain_id, blank_header(None, timestamp, gas_limit, GENESIS_BASE_FEE_WEI), accounts, Schedule()
    )


def read_genesis(document: Mapping[str, Any]) -> Genesis:
    """The genesis in a `genesis.json`. Raises GenesisError."""
    config, accounts = _mapping(document, "config"), _mapping(document, "alloc")
    for name in _OLD_FORKS:
        if config.get(name) != 0:
            raise GenesisError(f"genesis: {name} is {config.get(name)!r}; only chains with 0 are run here")
    difficulty = _number(document, "difficulty", 0)
    if _number(config, "terminalTotalDifficulty", -1) not in range(difficulty + 1):
        raise GenesisError("genesis: terminalTotalDifficulty: the merge must be done at the first block")
    schedule = Schedule(*(_second(config, name) for name in ("shanghaiTime", "cancunTime", "pragueTime")))
    if (later := config.get("osakaTime")) is not None:
        raise GenesisError(f"genesis: osakaTime is {later}; this chain knows the forks up to Prague")
    return Genesis(
        chain_id=_number(config, "chainId"),
        header=_header(document, difficulty, schedule),
        accounts=tuple(
            (_address(name), _account(name, _mapping(accounts, name))) for name in sorted(accounts)
        ),
        schedule=schedule,
    )


def genesis_document(genesis: Genesis) -> dict[str, Any]:
    """The one `genesis.json` of a genesis: forks in force at the first block are written as of second 0."""
    header, schedule = genesis.header, genesis.schedule
    forks = (
        ("shanghaiTime", schedule.shanghai),
        ("cancunTime", schedule.cancun),
        ("pragueTime", schedule.prague),
    )
    config = {"chainId": genesis.chain_id, "terminalTotalDifficulty": 0} | dict.fromkeys(_OLD_FORKS, 0)
    document = {
        "config": config
        | {name: second * (second > header.timestamp) for name, second in forks if second is not None},
        "alloc": {address: _entry(account) for address, account in genesis.accounts},
        "baseFeePerGas": hex(header.base_fee or 0),
        "coinbase": _hex(header.coinbase),
        "difficulty": hex(header.difficulty),
        "extraData": _hex(header.extra_data),
        "gasLimit": hex(header.gas_limit),
        "mixHash": _hex(header.mix_hash),
        "nonce": _hex(header.nonce),
        "timestamp": hex(header.timestamp),
    }
    if header.parent_beacon_root is not None:
        document |= {
            "blobGasUsed": hex(header.blob_gas_used or 0),
            "excessBlobGas": hex(header.excess_blob_gas or 0),
            "parentBeaconBlockRoot": _hex(header.parent_beacon_root),
        }
    return document


def _entry(account: Account) -> dict[str, Any]:
    """An account of `alloc`, with the parts that are set."""
    words = {f"0x{slot:064x}": f"0x{word:064x}" for slot, word in (account.storage or {}).items()}
    parts = {"code": _hex(account.code or b""), "nonce": hex(account.nonce or 0), "storage": words}
    return {"balance": hex(account.balance_wei or 0)} | {
        name: part for name, part in parts.items() if part not in ("0x", "0x0", {})
    }


def _hex(value: bytes) -> str:
    return f"0x{value.hex()}"


def _header(document: Mapping[str, Any], difficulty: int, schedule: Schedule) -> Header:
    timestamp = _number(document, "timestamp", 0)
    blank = blank_header(
        None,
        timestamp,
        _number(document, "gasLimit"),
        _number(document, "baseFeePerGas", GENESIS_BASE_FEE_WEI),
        fork := schedule.at(timestamp),
    )
    header = replace(
        blank,
        coinbase=_bytes(document, "coinbase", 20),
        difficulty=difficulty,
        extra_data=_bytes(document, "extraData"),
        mix_hash=_bytes(document, "mixHash", 32),
        nonce=_number(document, "nonce", 0).to_bytes(8, "big"),
    )
    if fork >= Fork.CANCUN:
        header = replace(
            header,
            blob_gas_used=_number(document, "blobGasUsed", 0),
            excess_blob_gas=_number(document, "excessBlobGas", 0),
            parent_beacon_root=_bytes(document, "parentBeaconBlockRoot", 32),
        )
    return header


def _account(address: str, entry: Mapping[str, Any]) -> Account:
    storage = _mapping(entry, "storage") if entry.get("storage") else {}
    return Account(
        balance_wei=_number(entry, "balance", 0),
        nonce=_number(entry, "nonce", 0),
        code=_bytes(entry, "code"),
        storage={_integer(slot, f"{address} storage"): _number(storage, slot) for slot in storage},
    )


# --- reading ------------------------------------------------------------------------------------


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise GenesisError(f"genesis: {key}: not an object")
    return value


def _number(document: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = document.get(key)
    if value is None and default is not None:
        return default
    return _integer(value, key)


def _integer(value: Any, key: str) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        raise GenesisError(f"genesis: {key}: {value!r} is no number") from None
    if not 0 <= number < 1 << 256:
        raise GenesisError(f"genesis: {key}: {value!r} does not fit in 256 bits")
    return number


def _second(config: Mapping[str, Any], key: str) -> int | None:
    return None if config.get(key) is None else _number(config, key)


def _bytes(document: Mapping[str, Any], key: str, length: int | None = None) -> bytes:
    value = document.get(key)
    if value is None:
        return bytes(length or 0)
    try:
        decoded = bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise GenesisError(f"genesis: {key}: {value!r} is not hexadecimal") from None
    if length is not None and len(decoded) != length:
        raise GenesisError(f"genesis: {key}: {len(decoded)} bytes instead of {length}")
    return decoded


def _address(name: str) -> Address:
    return checksummed(_bytes({"alloc": name}, "alloc", 20))
