"""Consistent forgeries by people who have keys: a relayer, a trader, a utility, a quorum of oracles."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np

from ledger import calls
from ledger.bundle import Bundle
from ledger.calls import OracleSignature
from ledger.eip712 import digest
from ledger.keccak import keccak
from ledger.keys import Key, Signature
from ledger.record import Record, Sent
from ledger.token import transfer_codec
from ledger.transactions import assemble
from ledger.vectors import chunk_hash, pack, unpack
from market.events import (
    AccountRegistered,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    PricesChunk,
    PricesPosted,
)
from market.feeder.model import Feeder, Limits
from market.messages import ChargesHeader, PricesHeader
from market.orders import OrdersFilled
from market.pricing.certificate import certificate, encode_inputs
from market.pricing.conditions import Conditions
from market.pricing.socp import SocpClearing
from tests.audit.forge import (
    Place,
    RawLog,
    change_call,
    change_event,
    change_status,
    edit_receipt,
    found,
    put_transaction,
    rebuilt,
    shift_times,
    swap_transactions,
    with_unreadable,
    without_transaction,
)
from tests.audit.small_market import (
    METERS,
    NEW_ORACLES,
    ORACLES,
    RELAYER,
    SELLER,
    SLOT,
    UTILITY,
    conditions,
    small_feeder,
)
from tests.audit.tampering import Ground, Kind, Tampered, consistent

CERTIFICATE_HEADER = 56
"""Bytes before the first array: magic, version, claims, hash of the inputs, four sizes."""
A_MILLIONTH = 1e-6


def forged(name: str, check: str, place: str, forge: Callable[[Ground], Bundle]) -> Kind:
    """A bundle forged as a whole, every digest made to fit."""
    return Kind(name, check, lambda ground: consistent(forge(ground), place))


def call_of(record: Record, kind: type, number: int = 0) -> tuple[Sent, Any]:
    """The transaction with this number that made a kind of call, and the call."""
    sent = [each for each in record.sent if isinstance(each.call, kind)][number]
    return sent, sent.call


def relayed(ground: Ground, sent: Sent, call: calls.Call) -> Bundle:
    """The relayer sent this instead; the chain is said to have told the same."""
    return change_call(ground.bundle, sent, RELAYER, data=calls.encode(call))


# --- signatures ---------------------------------------------------------------------------------


def _order_signed_by_another(ground: Ground) -> Bundle:
    sent, call = call_of(ground.record, calls.PlaceOrders, 1)
    order = call.orders[0].order
    signed = calls.SignedOrder.by(SELLER, ground.record.domain, order)
    return relayed(ground, sent, replace(call, orders=(signed, *call.orders[1:])))


def _order_signed_by_nobody(ground: Ground) -> Bundle:
    """A signature whose r is no point of the curve."""
    sent, call = call_of(ground.record, calls.PlaceOrders, 1)
    unsigned = replace(call.orders[0], signature=Signature((5).to_bytes(32, "big"), (1).to_bytes(32, "big")))
    return relayed(ground, sent, replace(call, orders=(unsigned, *call.orders[1:])))


def _cancel_signed_by_another(ground: Ground) -> Bundle:
    sent, call = call_of(ground.record, calls.CancelOrder)
    signature = SELLER.sign(digest(ground.record.domain, call.cancel))
    return relayed(ground, sent, replace(call, signature=signature))


def _reading_of_the_old_meter(ground: Ground) -> Bundle:
    """After the meter was changed, the one before signs, and says the new epoch."""
    sent, call = call_of(ground.record, calls.PostReadings, 1)
    signed = calls.SignedReading.by(METERS[2], ground.record.domain, call.readings[2].reading)
    return relayed(ground, sent, replace(call, readings=(*call.readings[:2], signed)))


def _signatures_of(
    kind: type, number: int, keys: tuple[tuple[int, Key | None], ...]
) -> Callable[..., Bundle]:
    """A call of oracles with other signatures: of these keys by index, or its own where there is no key."""

    def forge(ground: Ground) -> Bundle:
        sent, call = call_of(ground.record, kind, number)
        own = {each.oracle: each for each in call.signatures}
        header = _prices_header(call, 2) if isinstance(call, calls.PostPrices) else None
        signatures = tuple(
            own[index]
            if key is None or header is None
            else OracleSignature.by(key, ground.record.domain, index, header)
            for index, key in keys
        )
        return relayed(ground, sent, replace(call, signatures=signatures))

    return forge


def _of_another_chain(ground: Ground) -> Bundle:
    sent, _ = call_of(ground.record, calls.CancelOrder)
    return change_call(ground.bundle, sent, RELAYER, chain_id=1)


def _signed_by_nobody(ground: Ground) -> Bundle:
    """A signature that no key gives: its r is no point of the curve."""
    sent, _ = call_of(ground.record, calls.CloseGate, 1)
    assert sent.signed is not None
    return put_transaction(ground.bundle, sent, assemble(sent.signed.transaction, 0, 5, 1))


def _unreadable_with_events(ground: Ground) -> Bundle:
    sent, _ = call_of(ground.record, calls.CloseGate, 1)
    return put_transaction(ground.bundle, sent, b"\x02" + bytes(40))


def _without_bytes(ground: Ground) -> Tampered:
    """A receipt of a transaction that is not there; the roots fit, the numbers cannot."""
    transactions = list(ground.bundle.transactions)
    transactions[16] = transactions[16][:-1]
    bundle = rebuilt(replace(ground.bundle, transactions=tuple(transactions)), 16)
    return consistent(bundle, "block 16 transaction 2")


SIGNATURES = (
    forged("order-signed-by-another", "signatures", "block 11 log 0", _order_signed_by_another),
    forged("order-signed-by-nobody", "signatures", "block 11 log 0", _order_signed_by_nobody),
    forged("cancel-signed-by-another", "signatures", "block 13 log 0", _cancel_signed_by_another),
    forged("reading-of-the-old-meter", "signatures", "block 28 log 2", _reading_of_the_old_meter),
    forged(
        "quorum-of-one-twice",
        "signatures",
        "block 21 log 0",
        _signatures_of(calls.PostPrices, 0, ((0, None), (0, None))),
    ),
    forged(
        "quorum-of-the-old-set",
        "signatures",
        "block 27 log 0",
        _signatures_of(calls.PostPrices, 1, ((0, ORACLES[0]), (1, ORACLES[1]))),
    ),
    forged(
        "quorum-swapped",
        "signatures",
        "block 27 log 0",
        _signatures_of(calls.PostPrices, 1, ((0, NEW_ORACLES[1]), (1, NEW_ORACLES[0]))),
    ),
    forged(
        "forecast-of-one-oracle",
        "signatures",
        "block 35 log 0",
        _signatures_of(calls.PostForecasts, 0, ((0, None),)),
    ),
    forged(
        "oracles-rotated-by-one",
        "signatures",
        "block 25 log 0",
        _signatures_of(calls.RotateOracles, 0, ((2, None),)),
    ),
    forged("transaction-of-another-chain", "signatures", "block 13 transaction 0", _of_another_chain),
    forged("transaction-of-nobody", "signatures", "block 20 transaction 0", _signed_by_nobody),
    forged("transaction-unreadable", "signatures", "block 20 transaction 0", _unreadable_with_events),
    Kind("transaction-without-bytes", "signatures", _without_bytes, raw=True),
)


# --- what was sent, and when --------------------------------------------------------------------


def _hidden_cancel(ground: Ground) -> Bundle:
    """The relayer never brought the cancel: he sent himself nothing, with the same nonce."""
    sent, _ = call_of(ground.record, calls.CancelOrder)
    bundle = edit_receipt(ground.bundle, Place(sent.block, sent.index, 0), lambda _: [])
    return change_call(bundle, sent, RELAYER, to=RELAYER.address, data=b"")


def _replayed_order(ground: Ground) -> Bundle:
    """The buyer's order once more, with the events it had, where others were brought."""
    first, call = call_of(ground.record, calls.PlaceOrders, 1)
    later, _ = call_of(ground.record, calls.PlaceOrders, 4)
    logs = _raw_logs(ground.bundle, first)
    bundle = edit_receipt(ground.bundle, Place(later.block, later.index, 0), lambda _: logs)
    return change_call(bundle, later, RELAYER, data=calls.encode(call))


def _raw_logs(bundle: Bundle, sent: Sent) -> list[RawLog]:
    taken: list[RawLog] = []

    def look(logs: list[RawLog]) -> list[RawLog]:
        taken.extend(logs)
        return logs

    edit_receipt(bundle, Place(sent.block, sent.index, 0), look)
    return taken


def _left_out(ground: Ground) -> Bundle:
    """The buyer's order and its fills vanish with their transaction."""
    logged, _ = found(ground.record, OrdersFilled)
    return without_transaction(ground.bundle, logged.log.block_number, logged.log.transaction_index)


def _left_out_behind_unreadable(ground: Ground) -> Bundle:
    """The last settlement vanishes, and bytes that cannot be read stand before the gap."""
    settle = [each for each in ground.record.sent if isinstance(each.call, calls.Settle)][1]
    bundle = without_transaction(ground.bundle, settle.block, settle.index)
    return with_unreadable(bundle, settle.block - 1)


def _outcome(kind: type, status: int) -> Callable[[Ground], Bundle]:
    """A call is said to have ended otherwise."""

    def forge(ground: Ground) -> Bundle:
        sent = next(
            each for each in ground.record.sent if isinstance(each.call, kind) and each.status != status
        )
        return change_status(ground.bundle, sent.block, sent.index, status)

    return forge


ORDER = (
    forged("cancel-hidden", "matching", "block 20 log 2", _hidden_cancel),
    forged("order-and-its-fills-replayed", "nonces", "block 17 log 0", _replayed_order),
    forged("transaction-left-out", "nonces", "block 12 transaction 0", _left_out),
    forged("transaction-left-out-behind", "nonces", "block 25 transaction 0", _left_out_behind_unreadable),
    forged(
        "transactions-turned-around",
        "nonces",
        "block 24 transaction 0",
        lambda g: swap_transactions(g.bundle, 24),
    ),
    forged("orders-late", "lifecycle", "block 17 log 0", lambda g: shift_times(g.bundle, 17, 6_000)),
    forged("pause-by-a-stranger", "lifecycle", "block 16 transaction 2", _outcome(calls.Pause, 1)),
    forged(
        "cancel-refused-for-nothing", "lifecycle", "block 13 transaction 0", _outcome(calls.CancelOrder, 0)
    ),
    forged("order-refused-for-nothing", "matching", "block 15 transaction 0", _outcome(calls.PlaceOrder, 0)),
)


# --- code ---------------------------------------------------------------------------------------


def _other_code(ground: Ground) -> Bundle:
    """One word of the code changed: another sender, and code that nobody compiled from this source."""
    creation = ground.record.creation
    assert creation is not None
    raw = creation.raw.replace(b"exchange: paused", b"exchange: passed")
    return put_transaction(ground.bundle, creation, raw)


def _other_code_by_the_deployer(ground: Ground) -> Bundle:
    """The same, signed by who deployed: the contract has its address, and other code."""
    creation = ground.record.creation
    assert creation is not None
    assert creation.signed is not None
    code = creation.signed.transaction.data.replace(b"exchange: paused", b"exchange: passed")
    return change_call(ground.bundle, creation, UTILITY, data=code)


def _other_terms(ground: Ground) -> Bundle:
    """Constructor arguments that the constructor refuses."""
    creation, deployment = ground.record.creation, ground.record.deployment
    assert creation is not None
    assert deployment is not None
    return change_call(
        ground.bundle, creation, UTILITY, data=calls.encode_deployment(replace(deployment, quorum=9))
    )


def _other_artifact(ground: Ground) -> Bundle:
    artifacts = dict(ground.bundle.artifacts)
    artifacts["Registry"] = artifacts["Registry"].replace(b'"compiler": "', b'"compiler": "0')
    return replace(ground.bundle, artifacts=artifacts)


def _manifest(**fields: Any) -> Callable[[Ground], Bundle]:
    return lambda ground: replace(ground.bundle, manifest=replace(ground.bundle.manifest, **fields))


def _unknown_log(ground: Ground) -> Bundle:
    """A log of the exchange that is none of its events."""
    bundle = edit_receipt(
        ground.bundle, Place(13, 0, 0), lambda logs: [*logs, (logs[0][0], (bytes(32),), b"")]
    )
    return rebuilt(bundle, 13)


def _begins_late(ground: Ground) -> Bundle:
    """The blocks up to the deployment are not there."""
    parts = {name: getattr(ground.bundle, name)[5:] for name in ("headers", "transactions", "receipts")}
    return replace(ground.bundle, manifest=replace(ground.bundle.manifest, first_block=5), **parts)


CODE = (
    forged("code-of-another", "artifacts", "exchange 0x", _other_code),
    forged("code-of-the-deployer", "artifacts", "block 4 transaction 0 code", _other_code_by_the_deployer),
    forged("deployment-refused", "matching", "the deployment", _other_terms),
    forged("artifact-of-another", "artifacts", "artifacts/Registry.json", _other_artifact),
    forged("manifest-token", "artifacts", "manifest, token", _manifest(token="0x" + "22" * 20)),
    forged("manifest-deployment", "artifacts", "manifest, deployment block", _manifest(deployment_block=3)),
    forged("log-of-no-event", "artifacts", "block 13 log 1", _unknown_log),
    forged("deployment-left-out", "artifacts", "exchange 0x", _begins_late),
)


# --- a quorum that lies -------------------------------------------------------------------------


def _charges_header(call: calls.PostCharges, epoch: int) -> ChargesHeader:
    return ChargesHeader(
        call.slot, epoch, keccak(b"".join(call.chunk_hashes)), call.input_hash, call.certificate_hash
    )


def _prices_header(call: calls.PostPrices, epoch: int) -> PricesHeader:
    hashes = keccak(b"".join(call.chunk_hashes)), call.input_hash, call.certificate_hash
    return PricesHeader(call.slot, epoch, call.hub_price, call.forecast_import, *hashes)


def collude(
    ground: Ground, kind: type, proofs: tuple[bytes, ...] = (), given: tuple[bytes, ...] = (), **other: Any
) -> Bundle:
    """Oracles 0 and 2 sign something else for the first slot, and it is on the chain as if it had been so."""
    sent, call = call_of(ground.record, kind)
    call = replace(call, **other)
    header = _charges_header(call, 1) if isinstance(call, calls.PostCharges) else _prices_header(call, 1)
    domain = ground.record.domain
    signatures = tuple(OracleSignature.by(ORACLES[i], domain, i, header) for i in (0, 2))
    posted = ChargesPosted if isinstance(call, calls.PostCharges) else PricesPosted
    logged, event = found(ground.record, posted)
    told = {
        name: getattr(header, name)
        for name in ("hub_price", "forecast_import", "values_hash", "input_hash", "certificate_hash")
        if hasattr(header, name)
    }
    bundle = change_event(ground.bundle, ground.record, logged, replace(event, **told))
    bundle = change_call(bundle, sent, RELAYER, data=calls.encode(replace(call, signatures=signatures)))
    return replace(
        bundle,
        certificates={**bundle.certificates, **{sha256(each).digest(): each for each in proofs}},
        inputs={**bundle.inputs, **{sha256(each).digest(): each for each in given}},
    )


def _false_proof(kind: type, place: int) -> Callable[[Ground], Bundle]:
    """A certificate with one number a millionth off, signed for by a quorum."""

    def forge(ground: Ground) -> Bundle:
        _, call = call_of(ground.record, kind)
        honest = ground.bundle.certificates[call.certificate_hash]
        at = CERTIFICATE_HEADER + 8 * place
        (number,) = struct.unpack_from("<d", honest, at)
        assert number
        false = honest[:at] + struct.pack("<d", number * (1 + A_MILLIONTH)) + honest[at + 8 :]
        return collude(ground, kind, (false,), certificate_hash=sha256(false).digest())

    return forge


def _unreadable_proof(kind: type) -> Callable[[Ground], Bundle]:
    def forge(ground: Ground) -> Bundle:
        return collude(ground, kind, (b"nothing",), certificate_hash=sha256(b"nothing").digest())

    return forge


def _values(
    kind: type, chunk_call: type, chunk_event: type[ChargesChunk | PricesChunk], **changes: int
) -> Callable[[Ground], Bundle]:
    """Other values by bus, in calldata, hashes and events, signed for by a quorum."""

    def forge(ground: Ground) -> Bundle:
        sent, chunk = call_of(ground.record, chunk_call)
        values = list(unpack(chunk.words, 3))
        for bus, change in changes.items():
            values[int(bus.removeprefix("bus_"))] += change
        words = pack(values)
        hub = {"hub_price": values[0]} if kind is calls.PostPrices else {}
        bundle = collude(ground, kind, chunk_hashes=(chunk_hash(words),), **hub)
        logged, event = found(ground.record, chunk_event)
        assert isinstance(event, chunk_event)
        bundle = change_event(bundle, ground.record, logged, replace(event, words=words))
        return change_call(bundle, sent, RELAYER, data=calls.encode(replace(chunk, words=words)))

    return forge


@cache
def _cleared_of_two(first_slot: int) -> tuple[bytes, bytes]:
    """A right certificate of two slots cleared together, and its inputs."""
    feeder, given = small_feeder(), conditions(small_feeder(), 0.8)

    def twice(part: Any) -> Any:
        rows = {
            each.name: np.repeat(getattr(part, each.name), 2, axis=0)
            for each in fields(part)
            if isinstance(getattr(part, each.name), np.ndarray) and each.name != "bus"
        }
        return replace(part, **rows)

    both = replace(twice(given), first_slot=first_slot, hub=twice(given.hub), devices=twice(given.devices))
    return certificate(SocpClearing(feeder)(feeder, both), feeder, both), encode_inputs(feeder, both)


@cache
def _cleared_elsewhere() -> tuple[bytes, bytes]:
    """A right certificate of a feeder with one bus less, and its inputs."""
    whole = small_feeder()
    feeder = Feeder(
        name="one bus",
        bus_names=whole.bus_names[:2],
        parent=whole.parent[:2],
        r_pu=whole.r_pu[:2],
        x_pu=whole.x_pu[:2],
        limits=Limits(np.full(2, 0.9), np.full(2, 1.1), np.full(2, np.inf)),
        base_mw=whole.base_mw,
        v0=whole.v0,
        nominal_p_mw=whole.nominal_p_mw[:2],
        nominal_q_mvar=whole.nominal_q_mvar[:2],
    )
    given = conditions(whole, 0.8)
    devices = replace(given.devices, bus=np.array([1, 1]))
    given = replace(given, fixed_p=given.fixed_p[:, :2], fixed_q=given.fixed_q[:, :2], devices=devices)
    return certificate(SocpClearing(feeder)(feeder, given), feeder, given), encode_inputs(feeder, given)


@cache
def _cleared(load: float, first_slot: int = 0, import_price: float = 220.0) -> tuple[bytes, bytes]:
    """A right certificate of something else, and its inputs."""
    feeder, given = small_feeder(), conditions(small_feeder(), load)
    other: Conditions = replace(
        given,
        first_slot=first_slot,
        hub=replace(given.hub, import_price=given.hub.import_price * 0 + import_price),
    )
    return certificate(SocpClearing(feeder)(feeder, other), feeder, other), encode_inputs(feeder, other)


def _proof_of_else(
    kind: type, cleared: Callable[..., tuple[bytes, bytes]], *about: float
) -> Callable[[Ground], Bundle]:
    """A right proof of another load, slot, hub price or feeder, signed for by a quorum."""

    def forge(ground: Ground) -> Bundle:
        proof, given = cleared(*about)
        hashes = {"certificate_hash": sha256(proof).digest(), "input_hash": sha256(given).digest()}
        return collude(ground, kind, (proof,), (given,), **hashes)

    return forge


charges_of_a_day = _proof_of_else(calls.PostCharges, _cleared_of_two, SLOT - 1)
"""No forgery: charges of the second slot of two that were cleared together, as those of a day are."""

CHARGES = calls.PostCharges, calls.PostChargesChunk, ChargesChunk
PRICES = calls.PostPrices, calls.PostPricesChunk, PricesChunk
OTHER_SLOT = SLOT + 9
OTHER_HUB = 219.0

QUORUM = (
    forged("charges-proof-false", "charges", "block 7 log 0", _false_proof(calls.PostCharges, 1)),
    forged("charges-proof-unreadable", "charges", "block 7 log 0", _unreadable_proof(calls.PostCharges)),
    forged(
        "charges-proof-of-another-load",
        "charges",
        "block 7 log 1",
        _proof_of_else(calls.PostCharges, _cleared, 0.7),
    ),
    forged(
        "charges-proof-of-another-slot",
        "charges",
        "block 7 log 0",
        _proof_of_else(calls.PostCharges, _cleared, 0.8, OTHER_SLOT),
    ),
    forged("charges-by-a-lying-quorum", "charges", "block 7 log 1 bus 2", _values(*CHARGES, bus_2=1)),
    forged("charges-at-the-hub-by-quorum", "charges", "block 7 log 0 bus 0", _values(*CHARGES, bus_0=1)),
    forged(
        "charges-proof-of-two-slots",
        "charges",
        "block 7 log 0",
        _proof_of_else(calls.PostCharges, _cleared_of_two, 0),
    ),
    forged(
        "charges-proof-of-another-feeder",
        "charges",
        "slot 1950000 (12:00Z) buses",
        _proof_of_else(calls.PostCharges, _cleared_elsewhere),
    ),
    forged(
        "prices-proof-of-the-slot-before",
        "prices",
        "block 21 log 0",
        _proof_of_else(calls.PostPrices, _cleared_of_two, SLOT - 1),
    ),
    forged("prices-proof-false", "prices", "block 21 log 0", _false_proof(calls.PostPrices, 1)),
    forged("prices-proof-unreadable", "prices", "block 21 log 0", _unreadable_proof(calls.PostPrices)),
    forged(
        "prices-proof-of-another-load",
        "prices",
        "block 21 log 1",
        _proof_of_else(calls.PostPrices, _cleared, 0.5),
    ),
    forged(
        "prices-proof-of-another-slot",
        "prices",
        "block 21 log 0",
        _proof_of_else(calls.PostPrices, _cleared, 1.0, OTHER_SLOT),
    ),
    forged(
        "prices-proof-of-another-hub",
        "prices",
        "block 21 log 0",
        _proof_of_else(calls.PostPrices, _cleared, 1.0, 0, OTHER_HUB),
    ),
    forged("prices-by-a-lying-quorum", "prices", "block 21 log 1 bus 2", _values(*PRICES, bus_2=1)),
    forged("hub-price-against-the-rule", "prices", "block 21 log 0 hub rule", _values(*PRICES, bus_0=10**6)),
)


# --- tokens -------------------------------------------------------------------------------------


def _transfer_hidden(ground: Ground) -> Bundle:
    """A deposit whose tokens never came."""
    sent, _ = call_of(ground.record, calls.Deposit, 1)
    bundle = edit_receipt(ground.bundle, Place(sent.block, sent.index, 0), lambda logs: logs[:1])
    return rebuilt(bundle, sent.block)


def _tokens_taken(ground: Ground) -> Bundle:
    """All tokens left the exchange in a transaction that says nothing of it."""
    token = bytes.fromhex(ground.bundle.manifest.token[2:])
    parties = tuple(bytes(12) + bytes.fromhex(each[2:]) for each in (ground.record.exchange, SELLER.address))
    taken = (token, (transfer_codec().topic, *parties), (10**12).to_bytes(32, "big"))
    return rebuilt(edit_receipt(ground.bundle, Place(13, 0, 0), lambda logs: [*logs, taken]), 13)


def _invented_deposit(ground: Ground) -> Bundle:
    """A deposit as big as a real one, in the place of a registration."""
    _, deposit = found(ground.record, Deposited, 1)
    registration, _ = found(ground.record, AccountRegistered)
    return change_event(ground.bundle, ground.record, registration, deposit)


TOKENS = (
    forged("deposit-without-tokens", "conservation", "block 6 log 5 Deposited", _transfer_hidden),
    forged("tokens-taken", "conservation", "token balance", _tokens_taken),
    forged("deposit-invented", "conservation", "block 6 log 2 Deposited", _invented_deposit),
)

KINDS: tuple[Kind, ...] = (*SIGNATURES, *ORDER, *CODE, *QUORUM, *TOKENS)
