"""The ERC-20 that a market's money is: the part of it the exchange and its testnet need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import contracts
from ledger import sending
from ledger.abi import Codec, EventCodec, arguments_encoder, event_codec, record_codec, result_decoder
from ledger.chain.protocol import Chain, Log
from ledger.keys import Key
from market.orders import Address

CALL_GAS = 150_000
DEPLOY_GAS = 3_000_000


@dataclass(frozen=True, slots=True)
class Transfer:
    """`amount` token units moved; minted where `sender` is nobody, burnt where `receiver` is."""

    sender: Address
    receiver: Address
    amount: int


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """Constructor arguments."""

    name: str
    symbol: str
    decimals: int


@cache
def _entries() -> dict[str, Any]:
    return {entry.get("name", entry["type"]): entry for entry in contracts.load("Token").abi}


@cache
def transfer_codec() -> EventCodec:
    """Codec of ERC-20's `Transfer(address indexed,address indexed,uint256)`."""
    indexed = {"type": "address", "indexed": True}
    inputs = [
        {"name": "sender", **indexed},
        {"name": "receiver", **indexed},
        {"name": "amount", "type": "uint256"},
    ]
    return event_codec({"name": "Transfer", "inputs": inputs}, Transfer)


def transfer_of(log: Log) -> Transfer | None:
    """The transfer a token's log records; None for its other events. Raises AbiDecodeError."""
    codec = transfer_codec()
    if not log.topics or log.topics[0] != codec.topic:
        return None
    transfer: Transfer = codec.decode(log.topics, log.data)
    return transfer


class Token:
    """An ERC-20 at an address of a chain; amounts in its own smallest units."""

    def __init__(self, chain: Chain, address: Address) -> None:
        self.chain = chain
        self.address = address

    @cached_property
    def decimals(self) -> int:
        """Digits after the point."""
        return int(self._read("decimals", int))

    def balance_of(self, account: Address) -> int:
        """Units an account holds."""
        return int(self._read("balanceOf", int, account))

    def allowance(self, owner: Address, spender: Address) -> int:
        """Units `spender` may still take from `owner`."""
        return int(self._read("allowance", int, owner, spender))

    def mint(self, account: Address, amount: int, *, sender: Key) -> bytes:
        """Make test money; returns the transaction's hash."""
        return self._send("mint", sender, account, amount)

    def approve(self, spender: Address, amount: int, *, sender: Key) -> bytes:
        """Let `spender` take up to `amount`; returns the transaction's hash."""
        return self._send("approve", sender, spender, amount)

    def transfer(self, receiver: Address, amount: int, *, sender: Key) -> bytes:
        """Move the sender's own; returns the transaction's hash."""
        return self._send("transfer", sender, receiver, amount)

    def _send(self, name: str, sender: Key, *values: Any) -> bytes:
        data = arguments_encoder(_entries()[name])(*values)
        return sending.send(self.chain, sender, self.address, data, CALL_GAS)

    def _read(self, name: str, annotation: Any, *values: Any) -> Any:
        entry = _entries()[name]
        answer = self.chain.call(self.address, arguments_encoder(entry)(*values))
        return result_decoder(entry, annotation)(answer)


@cache
def _constructor() -> Codec:
    return record_codec(_entries()["constructor"]["inputs"], TokenTerms)


def created_terms(creation_code: bytes) -> TokenTerms | None:
    """Constructor arguments behind this version's bytecode; None behind other code. Raises AbiError."""
    bytecode = contracts.load("Token").bytecode
    if not creation_code.startswith(bytecode):
        return None
    terms: TokenTerms = _constructor().decode(creation_code[len(bytecode) :], 0)
    return terms


def deploy_token(chain: Chain, sender: Key, name: str, symbol: str, decimals: int) -> Token:
    """Deploy the testnet's ERC-20 and wait for it. Raises Reverted."""
    data = contracts.load("Token").bytecode + _constructor().encode(TokenTerms(name, symbol, decimals))
    receipt = sending.confirmed(chain, sending.send(chain, sender, None, data, DEPLOY_GAS))
    assert receipt.contract is not None, "a creation that succeeded has an address"
    return Token(chain, receipt.contract)
