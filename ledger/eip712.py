"""EIP-712: the bytes that traders, meters and oracles sign.

Every type string of the contract stands here once, and nowhere else on this side. A record's fields
are the type's members in the same order (`market.orders`, `market.messages`, `market.atc.messages`), so
that encoding is by position.

EncodingError   a field does not fit the member's type; the message names both
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from ledger.address import address_bytes
from ledger.keccak import keccak
from market.atc.messages import Answer, Listening, Question
from market.messages import (
    CancelRequest,
    ChargesHeader,
    ForecastsHeader,
    OracleSet,
    PricesHeader,
    Reading,
)
from market.orders import Address, Order

DOMAIN_NAME = "Wattbook"
DOMAIN_VERSION = "1"

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
ORDER_TYPE = (
    "Order(address trader,uint32 slot,uint8 nonce,uint8 side,uint8 energyClass,int32 limitPrice,"
    "uint32 quantity,uint8 flags,uint32 expiry,address relayer)"
)
CANCEL_TYPE = "Cancel(address trader,uint32 slot,uint8 nonce)"
CHARGES_TYPE = (
    "Charges(uint32 slot,uint32 epoch,bytes32 valuesHash,bytes32 inputHash,bytes32 certificateHash)"
)
PRICES_TYPE = (
    "Prices(uint32 slot,uint32 epoch,int32 hubPrice,int64 forecastImport,"
    "bytes32 valuesHash,bytes32 inputHash,bytes32 certificateHash)"
)
FORECASTS_TYPE = "Forecasts(uint32 slot,uint32 epoch,uint16 index,bytes32 valuesHash)"
READING_TYPE = "Reading(address account,uint32 slot,int64 netEnergy,uint32[] certified,uint32 epoch)"
ORACLE_SET_TYPE = "OracleSet(uint32 epoch,uint8 quorum,address[] oracles)"

# These never reach the contract: oracles and agents sign them for each other (node/oracle/README.md).
LISTENING_TYPE = "Listening(address agent)"
QUESTION_TYPE = (
    "Question(address agent,uint32 slot,uint8 purpose,uint8 oracle,uint16 round,"
    "uint64[] weights,int64[] targets)"
)
ANSWER_TYPE = (
    "Answer(address agent,uint32 slot,uint8 purpose,uint8 oracle,uint16 round,"
    "bytes32 question,int64[] powers)"
)

Message = (
    Order
    | CancelRequest
    | ChargesHeader
    | PricesHeader
    | ForecastsHeader
    | Reading
    | OracleSet
    | Listening
    | Question
    | Answer
)


class EncodingError(ValueError):
    """A field of a message does not fit its type, so there is nothing to sign."""


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: one contract on one chain."""

    chain_id: int
    contract: Address


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a type: its Solidity type and name, and the record's attribute that fills it."""

    solidity_type: str
    name: str
    attribute: str
    encode: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Schema:
    """A type string taken apart, with its hash (EIP-712 `typeHash`)."""

    name: str
    type_string: str
    type_hash: bytes
    members: tuple[Member, ...]

    def encode(self, message: Message) -> bytes:
        """Encode per EIP-712 `encodeData`, the type hash in front. Raises EncodingError."""
        words = [self.type_hash]
        for member in self.members:
            value = getattr(message, member.attribute)
            try:
                words.append(member.encode(value))
            except (ValueError, TypeError, OverflowError, AttributeError):
                raise EncodingError(
                    f"{self.name}.{member.name}: {value!r} is not of type {member.solidity_type}"
                ) from None
        return b"".join(words)


def _encoder(solidity_type: str) -> Callable[[Any], bytes]:
    """How a value of `solidity_type` becomes its 32-byte word."""
    if solidity_type.endswith("[]"):
        encode_item = _encoder(solidity_type[:-2])
        return lambda values: keccak(b"".join(encode_item(value) for value in values))
    if solidity_type == "address":
        return lambda value: bytes(12) + address_bytes(value)
    if solidity_type == "bytes32":
        return _bytes32
    signed = solidity_type.startswith("int")
    bits = int(solidity_type.removeprefix("int" if signed else "uint"))
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def integer(value: int) -> bytes:
        if not lowest <= value <= highest:
            raise ValueError(value)
        return value.to_bytes(32, "big", signed=signed)

    return integer


def _bytes32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(value)
    return bytes(value)


def _members(type_string: str) -> list[tuple[str, str]]:
    """Solidity type and name of each member of a type string."""
    inside = type_string[type_string.index("(") + 1 : -1]
    return [(solidity_type, name) for solidity_type, name in (part.split(" ") for part in inside.split(","))]


def _schema(record: type[Message], type_string: str) -> Schema:
    attributes = [field.name for field in fields(record)]
    members = tuple(
        Member(solidity_type, name, attribute, _encoder(solidity_type))
        for (solidity_type, name), attribute in zip(_members(type_string), attributes, strict=True)
    )
    return Schema(type_string[: type_string.index("(")], type_string, keccak(type_string.encode()), members)


SCHEMAS: dict[type[Message], Schema] = {
    record: _schema(record, type_string)
    for record, type_string in (
        (Order, ORDER_TYPE),
        (CancelRequest, CANCEL_TYPE),
        (ChargesHeader, CHARGES_TYPE),
        (PricesHeader, PRICES_TYPE),
        (ForecastsHeader, FORECASTS_TYPE),
        (Reading, READING_TYPE),
        (OracleSet, ORACLE_SET_TYPE),
        (Listening, LISTENING_TYPE),
        (Question, QUESTION_TYPE),
        (Answer, ANSWER_TYPE),
    )
}
"""The schema of each record that is signed."""


@lru_cache(maxsize=256)
def separator(domain: Domain) -> bytes:
    """EIP-712 domain separator, 32 bytes."""
    return keccak(
        keccak(DOMAIN_TYPE.encode())
        + keccak(DOMAIN_NAME.encode())
        + keccak(DOMAIN_VERSION.encode())
        + domain.chain_id.to_bytes(32, "big")
        + bytes(12)
        + address_bytes(domain.contract)
    )


def struct_hash(message: Message) -> bytes:
    """EIP-712 `hashStruct`, 32 bytes. Raises EncodingError."""
    return keccak(SCHEMAS[type(message)].encode(message))


def digest(domain: Domain, message: Message) -> bytes:
    """EIP-712 digest that the signature covers, 32 bytes. Raises EncodingError."""
    return keccak(b"\x19\x01" + separator(domain) + struct_hash(message))


def typed_data(domain: Domain, message: Message) -> dict[str, Any]:
    """The message as wallets take it (`eth_signTypedData_v4`): JSON-ready, hashes in hexadecimal.

    Raises EncodingError.
    """
    schema = SCHEMAS[type(message)]
    schema.encode(message)
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for kind, name in _members(DOMAIN_TYPE)],
            schema.name: [{"name": member.name, "type": member.solidity_type} for member in schema.members],
        },
        "primaryType": schema.name,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.contract,
        },
        "message": {member.name: _json(getattr(message, member.attribute)) for member in schema.members},
    }


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return int(value) if isinstance(value, int) else value
