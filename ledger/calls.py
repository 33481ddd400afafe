"""Calls of the exchange as records: what a sender asks, encoded as calldata and read back from it.

One record for each state-changing function, its members in the ABI's order. The gateway sends them;
the audit reads them from the chain and hands them to the twin.

UnknownCallError   the selector is no state-changing function of the contract
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import get_args

import contracts
from ledger.abi import Codec, FunctionCodec, function_codec, record_codec
from ledger.eip712 import Domain, digest
from ledger.keys import Key, Signature
from market.messages import (
    CancelRequest,
    ChargesHeader,
    ForecastsHeader,
    OracleSet,
    PricesHeader,
    Reading,
)
from market.orders import Address, Berth, Order, Veto
from market.slots import Terms


class UnknownCallError(ValueError):
    """The calldata calls no state-changing function of the exchange."""


# --- signed messages ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order and its trader's signature."""

    order: Order
    signature: Signature

    @classmethod
    def by(cls, key: Key, domain: Domain, order: Order) -> SignedOrder:
        """Sign with the trader's key."""
        return cls(order, key.sign(digest(domain, order)))


@dataclass(frozen=True, slots=True)
class SignedReading:
    """A reading and its meter's signature."""

    reading: Reading
    signature: Signature

    @classmethod
    def by(cls, key: Key, domain: Domain, reading: Reading) -> SignedReading:
        """Sign with the meter's key."""
        return cls(reading, key.sign(digest(domain, reading)))


@dataclass(frozen=True, slots=True)
class OracleSignature:
    """One oracle's part of a quorum; `oracle` is its index in the set."""

    oracle: int
    r: bytes
    vs: bytes

    @property
    def signature(self) -> Signature:
        """The EIP-2098 pair."""
        return Signature(self.r, self.vs)

    @classmethod
    def by(
        cls,
        key: Key,
        domain: Domain,
        oracle: int,
        message: ChargesHeader | PricesHeader | ForecastsHeader | OracleSet,
    ) -> OracleSignature:
        """Sign with the key of the set's oracle number `oracle`."""
        return cls(oracle, *key.sign(digest(domain, message)))


# --- accounts and roles -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegisterAccount:
    """The utility registers an account."""

    account: Address
    bus: int
    meter_key: Address
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int


@dataclass(frozen=True, slots=True)
class SetAccount:
    """The utility changes capacities, credit limit, classes."""

    account: Address
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int


@dataclass(frozen=True, slots=True)
class SetMeter:
    """The utility puts a new meter key in force."""

    account: Address
    meter_key: Address


@dataclass(frozen=True, slots=True)
class ProposeRole:
    """First step of handing over a role."""

    role: int
    successor: Address


@dataclass(frozen=True, slots=True)
class AcceptRole:
    """Second step, by the successor."""

    role: int


@dataclass(frozen=True, slots=True)
class Pause:
    """The guardian stops order entry."""


@dataclass(frozen=True, slots=True)
class Unpause:
    """The guardian lets order entry go on."""


@dataclass(frozen=True, slots=True)
class RotateOracles:
    """A quorum of the present oracles installs the next set."""

    oracles: tuple[Address, ...]
    quorum: int
    signatures: tuple[OracleSignature, ...]


@dataclass(frozen=True, slots=True)
class Deposit:
    """The caller's tokens go into an account's balance; n€."""

    account: Address
    amount: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The caller takes n€ out of its balance."""

    amount: int


# --- a slot, in the order of its life -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScheduleSlots:
    """The utility fixes the tariff of slots, µ€/kWh."""

    first: int
    count: int
    retail: int
    network_fee: int
    fit: int


@dataclass(frozen=True, slots=True)
class PostCharges:
    """The firm charges' header with its quorum."""

    slot: int
    chunk_hashes: tuple[bytes, ...]
    input_hash: bytes
    certificate_hash: bytes
    signatures: tuple[OracleSignature, ...]


@dataclass(frozen=True, slots=True)
class PostChargesChunk:
    """One chunk of the firm charges."""

    slot: int
    index: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """One signed order: reverts where a rule is broken."""

    order: Order
    signature: Signature


@dataclass(frozen=True, slots=True)
class PlaceOrders:
    """A batch of signed orders: bad ones are skipped."""

    orders: tuple[SignedOrder, ...]


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """A signed cancel, and where the order rests."""

    cancel: CancelRequest
    signature: Signature
    berth: Berth


@dataclass(frozen=True, slots=True)
class VetoFills:
    """The utility takes back fills, the last of the slot first."""

    slot: int
    vetoes: tuple[Veto, ...]


@dataclass(frozen=True, slots=True)
class CloseGate:
    """Credit makers and void what rests, `limit` entries of the slot's levels."""

    slot: int
    limit: int


@dataclass(frozen=True, slots=True)
class PostPrices:
    """The prices' header with its quorum."""

    slot: int
    hub_price: int
    forecast_import: int
    chunk_hashes: tuple[bytes, ...]
    input_hash: bytes
    certificate_hash: bytes
    signatures: tuple[OracleSignature, ...]


@dataclass(frozen=True, slots=True)
class PostPricesChunk:
    """One chunk of the prices."""

    slot: int
    index: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PostForecasts:
    """Forecast net energy of the accounts from 256·index on, with its quorum."""

    slot: int
    index: int
    words: tuple[int, ...]
    signatures: tuple[OracleSignature, ...]


@dataclass(frozen=True, slots=True)
class PostReading:
    """One signed reading: reverts where a rule is broken."""

    reading: Reading
    signature: Signature


@dataclass(frozen=True, slots=True)
class PostReadings:
    """A batch of signed readings: bad ones are skipped."""

    readings: tuple[SignedReading, ...]


@dataclass(frozen=True, slots=True)
class PostSubstation:
    """The utility's reading at the substation, wholesale price, passive energy by bus (packed)."""

    slot: int
    net_import: int
    wholesale: int
    passive: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate these accounts, whose readings stayed away, by their forecast (empty where there is none)."""

    slot: int
    index: int
    words: tuple[int, ...]
    accounts: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class ClearTrades:
    """Move these accounts' money for trades into the slot's clearing, or out of it."""

    slot: int
    accounts: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle the slot for these accounts."""

    slot: int
    accounts: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Resettle:
    """Post what late readings change of these accounts' settlements by estimate."""

    slot: int
    accounts: tuple[Address, ...]


Call = (
    RegisterAccount
    | SetAccount
    | SetMeter
    | ProposeRole
    | AcceptRole
    | Pause
    | Unpause
    | RotateOracles
    | Deposit
    | Withdraw
    | ScheduleSlots
    | PostCharges
    | PostChargesChunk
    | PlaceOrder
    | PlaceOrders
    | CancelOrder
    | VetoFills
    | CloseGate
    | PostPrices
    | PostPricesChunk
    | PostForecasts
    | PostReading
    | PostReadings
    | PostSubstation
    | Estimate
    | ClearTrades
    | Settle
    | Resettle
)


def _function(record: type) -> str:
    """Name in the ABI: the record's own, in lower camel case."""
    name = record.__name__
    return name[0].lower() + name[1:]


@cache
def _codecs() -> dict[type, FunctionCodec]:
    """Codec of each call. Raises AbiMismatchError, UnknownCallError where ABI and records differ."""
    entries = {
        entry["name"]: entry
        for entry in contracts.load("Exchange").abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    records = {_function(record): record for record in get_args(Call)}
    unmatched = entries.keys() ^ records.keys()
    if unmatched:
        raise UnknownCallError(f"ABI and records differ in: {', '.join(sorted(unmatched))}")
    return {records[name]: function_codec(entry, records[name]) for name, entry in entries.items()}


@cache
def _by_selector() -> dict[bytes, FunctionCodec]:
    return {codec.selector: codec for codec in _codecs().values()}


def encode(call: Call) -> bytes:
    """Calldata of a call. Raises AbiError."""
    return _codecs()[type(call)].encode(call)


def decode(calldata: bytes) -> Call:
    """The call that calldata asks for. Raises UnknownCallError, AbiDecodeError."""
    codec = _by_selector().get(calldata[:4])
    if codec is None:
        raise UnknownCallError(f"no function of the exchange has the selector 0x{calldata[:4].hex()}")
    call: Call = codec.decode(calldata)
    return call


# --- deployment ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deployment:
    """Constructor arguments of the exchange."""

    token: Address
    utility: Address
    guardian: Address
    oracles: tuple[Address, ...]
    quorum: int
    terms: Terms
    clearinghouse: Address
    registry: Address


@cache
def _constructor() -> Codec:
    entry = next(entry for entry in contracts.load("Exchange").abi if entry["type"] == "constructor")
    return record_codec(entry["inputs"], Deployment)


def encode_blueprint(name: str) -> bytes:
    """Creation code of the blueprint from which the exchange creates a part of itself (EIP-5202)."""
    return contracts.deploying(contracts.blueprint(contracts.load(name).bytecode))


def encode_deployment(deployment: Deployment) -> bytes:
    """Creation code: the artifact's bytecode, then the arguments. Raises AbiError."""
    return contracts.load("Exchange").bytecode + _constructor().encode(deployment)


def decode_deployment(creation_code: bytes, bytecode: bytes | None = None) -> Deployment:
    """Constructor arguments behind the bytecode, this version's if no other is given.

    Raises UnknownCallError where the code starts with another bytecode, AbiDecodeError.
    """
    bytecode = contracts.load("Exchange").bytecode if bytecode is None else bytecode
    if not bytecode or not creation_code.startswith(bytecode):
        raise UnknownCallError("the creation code does not start with the bytecode")
    deployment: Deployment = _constructor().decode(creation_code[len(bytecode) :], 0)
    return deployment
