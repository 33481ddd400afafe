"""What happened, as the chain recorded it: blocks, transactions with their calls, logs with their events.

A record is read once and judged by many checks. Whatever can be parsed is kept, right or wrong, with
its place on the chain; what could not be understood carries the reason instead of a value.

RecordError   nothing can be made of the source: it is not a market's record
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from ledger import bundle as bundles
from ledger import calls, events, rlp_bytes
from ledger.abi import AbiError
from ledger.address import checksummed
from ledger.bundle import Bundle, BundleError
from ledger.calls import Call, Deployment
from ledger.chain.encoding import BLOOM_BYTES, EncodingError, Header, created_address, decode_header
from ledger.chain.protocol import Chain, Log, LogFilter
from ledger.checkpoint import VerifierKey
from ledger.eip712 import Domain
from ledger.exchange import Exchange
from ledger.keccak import keccak
from ledger.token import TokenTerms, Transfer, created_terms, transfer_of
from ledger.transactions import SignedTransaction, TransactionFormatError, decode_transaction
from market.events import ChargesPosted, Event, OraclesRotated, PricesPosted
from market.orders import Address

E = TypeVar("E", bound=Event)

GAS_BYTES = 8
"""Gas is a number of 64 bits."""

NO_RECEIPT = "no receipt"
"""What is wrong with a transaction of which only its own bytes are there."""


class RecordError(Exception):
    """The source holds no market that can be audited; the message says why."""


def find_exchange(chain: Chain, address: Address | None) -> Exchange:
    """The market at an address, or the only one of a chain. Raises ChainError, RecordError."""
    which = LogFilter(topics=((events.topic(OraclesRotated),),))
    found = list(dict.fromkeys(log.address for log in chain.logs(which)))
    there = f"{len(found)} exchanges found" + (", the oldest first: " if found else "") + ", ".join(found)
    if address is None and len(found) != 1:
        raise RecordError(f"{there}; name one" if found else there)
    if address is not None and address not in found:
        raise RecordError(f"{address} is none of the {there}")
    return Exchange(chain, address or found[0])


@dataclass(frozen=True, slots=True)
class Logged:
    """A log at its place, with the event it is, or why it is none we know."""

    log: Log
    event: Event | None
    problem: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Block and log number: what came before has a smaller one."""
        return self.log.block_number, self.log.log_index

    @property
    def where(self) -> str:
        """Block and log number, as people and `audit explain` name it: `184:7`."""
        return f"{self.log.block_number}:{self.log.log_index}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction at its place, what it asked of the exchange, and what came of it.

    `signed` is None where the bytes are no transaction; `call` is None where it asks nothing of the
    exchange or cannot be read. `problem` says what could not be understood.
    """

    block: int
    index: int
    time: int
    raw: bytes
    signed: SignedTransaction | None
    call: Call | None
    status: int
    gas_used: int
    bloom: bytes
    logs: tuple[Logged, ...]
    problem: str = ""

    @property
    def where(self) -> str:
        """Its place as people read it."""
        return f"block {self.block} transaction {self.index}"

    @property
    def events(self) -> tuple[Event, ...]:
        """Events of the exchange it caused, in order."""
        return tuple(logged.event for logged in self.logs if logged.event is not None)

    @property
    def sender(self) -> Address | None:
        """Who signed it."""
        return self.signed.sender if self.signed else None

    def logged_of(self, kind: type[E]) -> list[tuple[Logged, E]]:
        """Its events of one kind with their places."""
        return [(logged, logged.event) for logged in self.logs if isinstance(logged.event, kind)]


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A block with its own bytes, from which everything else here was read."""

    header_rlp: bytes
    header: Header
    hash: bytes
    raw_transactions: tuple[bytes, ...]
    raw_receipts: tuple[bytes, ...]
    sent: tuple[Sent, ...]

    @property
    def number(self) -> int:
        """Its number by its header."""
        return self.header.number


@dataclass(frozen=True, eq=False)
class Record:
    """One market's whole record.

    `proves_itself`: it comes from a bundle with its own files. `known_head` is the hash of the head
    that the auditor has from elsewhere, `known_keys` whose signatures of a checkpoint the auditor trusts.
    """

    bundle: Bundle
    blocks: tuple[RecordedBlock, ...]
    proves_itself: bool
    known_head: bytes | None = None
    known_keys: tuple[VerifierKey, ...] = ()

    @classmethod
    def from_bundle(cls, folder: Path) -> Record:
        """Read a bundle's folder. Raises BundleError."""
        return cls.of(bundles.read(folder), proves_itself=True)

    @classmethod
    def from_url(
        cls, url: str, exchange: Address | None = None, proofs: Sequence[Path] = (), genesis: bytes = b""
    ) -> Record:
        """Read a market from a node, as `from_chain`. Raises ChainError, RecordError."""
        from ledger.chain.rpc import RpcChain  # noqa: PLC0415 - loads slowly

        return cls.from_chain(RpcChain(url), exchange, proofs, genesis)

    @classmethod
    def from_chain(
        cls, chain: Chain, exchange: Address | None = None, proofs: Sequence[Path] = (), genesis: bytes = b""
    ) -> Record:
        """Read the market at `exchange`, or the only one of a chain, which has no certificates.

        `proofs` are folders in which oracles kept theirs. With the chain's `genesis.json`, the record begins
        at its first block, so that it can be executed again. Raises ChainError, RecordError.
        """
        market = find_exchange(chain, exchange)
        certificates, inputs = (
            [path.read_bytes() for folder in proofs for path in sorted((folder / kind).glob("*.bin"))]
            for kind in (bundles.CERTIFICATES, bundles.INPUTS)
        )
        bundle = bundles.collect(
            market,
            certificates=certificates,
            inputs=inputs,
            first_block=1 if genesis else None,
            genesis=genesis,
        )
        return cls.of(bundle, proves_itself=False)

    @classmethod
    def of(cls, bundle: Bundle, *, proves_itself: bool) -> Record:
        """Read a bundle in memory. Raises BundleError where a header or receipt cannot be parsed."""
        blocks = []
        for position, header_rlp in enumerate(bundle.headers):
            transactions = bundle.transactions[position] if position < len(bundle.transactions) else ()
            receipts = bundle.receipts[position] if position < len(bundle.receipts) else ()
            try:
                blocks.append(_read_block(header_rlp, transactions, receipts, bundle.manifest.exchange))
            except (EncodingError, ValueError) as error:
                raise BundleError(f"block {bundle.manifest.first_block + position}: {error}") from None
        if not blocks:
            raise BundleError("headers.rlp: no block")
        return cls(bundle, tuple(blocks), proves_itself)

    def begun_by(self, genesis: bytes) -> Record:
        """The same record, with the `genesis.json` that the auditor has of its chain."""
        return replace(self, bundle=replace(self.bundle, genesis=genesis))

    def ending_at(self, head: bytes) -> Record:
        """The same record, audited by someone who knows the head's hash."""
        return replace(self, known_head=head)

    def signed_by(self, *keys: VerifierKey) -> Record:
        """The same record, audited by someone who trusts these keys."""
        return replace(self, known_keys=keys)

    @property
    def domain(self) -> Domain:
        """Where signatures of this market count."""
        return Domain(self.bundle.manifest.chain_id, self.exchange)

    @property
    def exchange(self) -> Address:
        """The contract that is audited."""
        return self.bundle.manifest.exchange

    @cached_property
    def sent(self) -> tuple[Sent, ...]:
        """All transactions in chain order."""
        return tuple(sent for block in self.blocks for sent in block.sent)

    @cached_property
    def logged(self) -> tuple[Logged, ...]:
        """All logs of the exchange in chain order, events or not."""
        return tuple(
            logged for sent in self.sent for logged in sent.logs if logged.log.address == self.exchange
        )

    @cached_property
    def posted(self) -> tuple[ChargesPosted | PricesPosted, ...]:
        """Headers of charges and prices in chain order, each of which names a certificate and its inputs."""
        return tuple(
            each.event for each in self.logged if isinstance(each.event, ChargesPosted | PricesPosted)
        )

    @property
    def proofs_missing(self) -> tuple[tuple[str, bytes], ...]:
        """Files that charges and prices name and the bundle has not: the folder of each, and its SHA-256."""
        named = dict.fromkeys(
            pair
            for each in self.posted
            for pair in (
                (bundles.CERTIFICATES, each.certificate_hash),
                (bundles.INPUTS, each.input_hash),
            )
        )
        here = {bundles.CERTIFICATES: self.bundle.certificates, bundles.INPUTS: self.bundle.inputs}
        return tuple((place, digest) for place, digest in named if digest not in here[place])

    def with_proofs(self, files: Mapping[tuple[str, bytes], bytes]) -> Record:
        """The same record with certificates and inputs that somebody kept, by folder and SHA-256."""
        brought = {
            place: {digest: content for (folder, digest), content in files.items() if folder == place}
            for place in (bundles.CERTIFICATES, bundles.INPUTS)
        }
        bundle = replace(
            self.bundle,
            certificates={**self.bundle.certificates, **brought[bundles.CERTIFICATES]},
            inputs={**self.bundle.inputs, **brought[bundles.INPUTS]},
        )
        return replace(self, bundle=bundle)

    @cached_property
    def calls(self) -> tuple[Sent, ...]:
        """Transactions that succeeded and asked something of the exchange, in chain order."""
        return tuple(sent for sent in self.sent if sent.call is not None and sent.status == 1)

    @cached_property
    def creation(self) -> Sent | None:
        """The transaction that made the exchange; None where no direct transaction of the record did."""
        for sent in self.sent:
            if sent.signed and sent.status == 1 and created_address(sent.signed) == self.exchange:
                return sent
        return None

    @cached_property
    def deployment(self) -> Deployment | None:
        """Constructor arguments; None where the creation is neither this version's code nor the bundle's.

        That the code is this version's is for a check to say: an older bundle can still be read.
        """
        if self.creation is None or self.creation.signed is None:
            return None
        code = self.creation.signed.transaction.data
        for bytecode in (None, bundles.artifact_bytecode(self.bundle, "Exchange")):
            try:
                return calls.decode_deployment(code, bytecode)
            except (AbiError, calls.UnknownCallError):
                continue
        return None

    @cached_property
    def token(self) -> Address:
        """The ERC-20 that the exchange was made for; the manifest's where that is not known."""
        return self.deployment.token if self.deployment else self.bundle.manifest.token

    @cached_property
    def token_terms(self) -> TokenTerms | None:
        """How the token was made; None where no direct transaction of the record did, or by other code.

        What receipts say of that transaction does not count: its sender signed the arguments.
        """
        for sent in self.sent:
            if sent.signed and created_address(sent.signed) == self.token:
                try:
                    return created_terms(sent.signed.transaction.data)
                except AbiError:
                    return None
        return None

    @cached_property
    def transfers(self) -> tuple[tuple[Log, Transfer], ...]:
        """Movements of the market's token, in chain order; what is no ERC-20 transfer is passed over."""
        return tuple(self._transfers())

    def _transfers(self) -> Iterator[tuple[Log, Transfer]]:
        for sent in self.sent:
            for logged in sent.logs:
                if logged.log.address != self.token:
                    continue
                try:
                    transfer = transfer_of(logged.log)
                except AbiError:
                    continue
                if transfer is not None:
                    yield logged.log, transfer


# --- reading ------------------------------------------------------------------------------------


def _read_block(
    header_rlp: bytes, transactions: tuple[bytes, ...], receipts: tuple[bytes, ...], exchange: Address
) -> RecordedBlock:
    header = decode_header(header_rlp)
    block_hash = keccak(header_rlp)
    sent = []
    first_log = gas_before = 0
    for index, (raw, raw_receipt) in enumerate(zip_longest(transactions, receipts)):
        one = _read_sent(header, block_hash, index, raw or b"", raw_receipt, first_log, gas_before, exchange)
        sent.append(one)
        first_log += len(one.logs)
        gas_before += one.gas_used
    return RecordedBlock(header_rlp, header, block_hash, transactions, receipts, tuple(sent))


def _read_sent(  # noqa: PLR0917 - the place of one transaction, and its bytes
    header: Header,
    block_hash: bytes,
    index: int,
    raw: bytes,
    raw_receipt: bytes | None,
    first_log: int,
    gas_before: int,
    exchange: Address,
) -> Sent:
    signed, call, problem = _read_transaction(raw, exchange)
    status, cumulative, bloom, raw_logs = (
        (0, gas_before, b"", []) if raw_receipt is None else _read_receipt(raw_receipt)
    )
    logs = tuple(
        _logged(
            Log(
                address=checksummed(address),
                topics=tuple(topics),
                data=data,
                block_number=header.number,
                block_hash=block_hash,
                transaction_hash=signed.hash if signed else keccak(raw),
                transaction_index=index,
                log_index=first_log + position,
            ),
            exchange,
        )
        for position, (address, topics, data) in enumerate(raw_logs)
    )
    return Sent(
        block=header.number,
        index=index,
        time=header.timestamp,
        raw=raw,
        signed=signed,
        call=call,
        status=status,
        gas_used=cumulative - gas_before,
        bloom=bloom,
        logs=logs,
        problem=problem if raw_receipt is not None else NO_RECEIPT,
    )


def _read_transaction(raw: bytes, exchange: Address) -> tuple[SignedTransaction | None, Call | None, str]:
    try:
        signed = decode_transaction(raw)
    except TransactionFormatError as error:
        return None, None, str(error)
    if signed.transaction.to != exchange:
        return signed, None, ""
    try:
        return signed, calls.decode(signed.transaction.data), ""
    except (AbiError, calls.UnknownCallError) as error:
        return signed, None, f"calldata: {error}"


def _read_receipt(raw: bytes) -> tuple[int, int, bytes, list[Any]]:
    """Status, cumulative gas, bloom and logs of a receipt's bytes. Raises ValueError."""
    try:
        items = rlp_bytes.decode(raw[1:] if raw[:1] < b"\x80" else raw)
        status, cumulative, bloom, logs = items
        if status not in (b"", b"\1") or not isinstance(bloom, bytes) or len(bloom) != BLOOM_BYTES:
            raise ValueError("not a status and a bloom")
        if not isinstance(cumulative, bytes) or cumulative[:1] == b"\0" or len(cumulative) > GAS_BYTES:
            raise ValueError("cumulative gas is no number in its one form")
        for address, topics, data in logs:
            if [len(part) for part in (address, *topics)] != [20] + [32] * len(topics) or len(topics) > 4:
                raise ValueError("a log is not address and topics")
            if not all(isinstance(part, bytes) for part in (address, *topics, data)):
                raise ValueError("a log is not address, topics and data")
    except (TypeError, ValueError) as error:
        raise ValueError(f"receipt: {error}") from None
    return int.from_bytes(status, "big"), int.from_bytes(cumulative, "big"), bloom, logs


def _logged(log: Log, exchange: Address) -> Logged:
    if log.address != exchange:
        return Logged(log, None)
    try:
        return Logged(log, events.decode(log.topics, log.data))
    except (AbiError, events.UnknownEventError) as error:
        return Logged(log, None, str(error))
