"""Consistent forgeries by people who have keys: a relayer, a trader, a utility."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ledger import calls
from ledger.bundle import Bundle
from ledger.calls import OracleSignature
from ledger.eip712 import digest
from ledger.keccak import keccak
from ledger.keys import Key, Signature
from ledger.record import Record, Sent
from ledger.token import transfer_codec
from ledger.transactions import assemble
from market.events import (
    AccountRegistered,
    Deposited,
    ReadingPosted,
)
from market.messages import ChargesHeader, PricesHeader
from market.orders import OrdersFilled
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
    UTILITY,
)
from tests.audit.tampering import Ground, Kind, Tampered, consistent


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


def charges_header(call: calls.PostCharges, epoch: int) -> ChargesHeader:
    return ChargesHeader(
        call.slot, epoch, keccak(b"".join(call.chunk_hashes)), call.input_hash, call.certificate_hash
    )


def prices_header(call: calls.PostPrices, epoch: int) -> PricesHeader:
    hashes = keccak(b"".join(call.chunk_hashes)), call.input_hash, call.certificate_hash
    return PricesHeader(call.slot, epoch, call.hub_price, call.forecast_import, *hashes)


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
        header = prices_header(call, 2) if isinstance(call, calls.PostPrices) else None
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


# --- certificates of generation ------------------------------------------------------------------


def _certified(ground: Ground, certified_wh: int) -> Bundle:
    """The buyer's meter signs generation in the first slot; it sells nothing, so that no bill changes."""
    sent, call = call_of(ground.record, calls.PostReadings)
    reading = replace(call.readings[0].reading, certified=(certified_wh,))
    signed = calls.SignedReading.by(METERS[0], ground.record.domain, reading)
    bundle = relayed(ground, sent, replace(call, readings=(signed, *call.readings[1:])))
    logged, event = found(ground.record, ReadingPosted)
    told = replace(event, certified=(certified_wh,))  # type: ignore[type-var]
    return change_event(bundle, ground.record, logged, told)


def _certified_by_no_source(ground: Ground) -> Bundle:
    """The utility never registered the buyer for solar energy, of which its meter certifies some."""
    bundle = _certified(ground, 100)
    sent, call = call_of(ground.record, calls.RegisterAccount)
    bundle = change_call(bundle, sent, UTILITY, data=calls.encode(replace(call, classes=0)))
    logged, event = found(ground.record, AccountRegistered)
    return change_event(bundle, ground.record, logged, replace(event, classes=0))  # type: ignore[type-var]


CERTIFICATES = (
    forged("certified-by-no-source", "readings", "certified of class 1, Wh", _certified_by_no_source),
    forged(
        "certified-beyond-the-connection",
        "readings",
        "certified, Wh",
        lambda ground: _certified(ground, 5_010),
    ),
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


def _transfer_of_another(kind: type, number: int, **parties: str) -> Callable[[Ground], Bundle]:
    """The token's own log of a deposit or withdrawal names somebody else."""

    def forge(ground: Ground) -> Bundle:
        sent, _ = call_of(ground.record, kind, number)
        codec = transfer_codec()
        at = next(i for i, logged in enumerate(sent.logs) if logged.log.topics[0] == codec.topic)
        log = sent.logs[at].log
        other = codec.encode(replace(codec.decode(log.topics, log.data), **parties))
        bundle = edit_receipt(
            ground.bundle,
            Place(sent.block, sent.index, at),
            lambda logs: [*logs[:at], (logs[at][0], *other), *logs[at + 1 :]],
        )
        return rebuilt(bundle, sent.block)

    return forge


TOKENS = (
    forged(
        "withdrawal-to-a-thief",
        "conservation",
        "block 42 log 0 Withdrawn",
        _transfer_of_another(calls.Withdraw, 0, receiver=RELAYER.address),
    ),
    forged(
        "deposit-from-a-stranger",
        "conservation",
        "block 6 log 5 Deposited",
        _transfer_of_another(calls.Deposit, 1, sender=RELAYER.address),
    ),
    forged("deposit-without-tokens", "conservation", "block 6 log 5 Deposited", _transfer_hidden),
    forged("tokens-taken", "conservation", "token balance", _tokens_taken),
    forged("deposit-invented", "conservation", "block 6 log 2 Deposited", _invented_deposit),
)

KINDS: tuple[Kind, ...] = (*SIGNATURES, *CERTIFICATES, *ORDER, *CODE, *TOKENS)
