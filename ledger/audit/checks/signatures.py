"""`signatures`: whoever acted on the chain had signed it.

Transaction senders; the trader behind every order and cancel that took effect; the quorum behind
charges, prices, forecasts and new oracle sets; the meter behind every reading. Keys are those in force when
the transaction came. Each event must have its signed message in the calldata of its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.audit.signing import signer
from ledger.audit.verdict import PASSED, Verdict, at, compare
from ledger.calls import (
    CancelOrder,
    OracleSignature,
    PlaceOrder,
    PlaceOrders,
    PostCharges,
    PostForecasts,
    PostPrices,
    PostReading,
    PostReadings,
    RotateOracles,
    SignedOrder,
    SignedReading,
)
from ledger.eip712 import Message
from ledger.keccak import keccak
from ledger.record import Logged, Record, Sent
from ledger.vectors import chunk_hash
from market.events import (
    AccountRegistered,
    ChargesPosted,
    ForecastsPosted,
    MeterChanged,
    OraclesRotated,
    PricesPosted,
    ReadingPosted,
)
from market.findings import Finding
from market.messages import FIRST_EPOCH, ChargesHeader, ForecastsHeader, OracleSet, PricesHeader
from market.orders import Address, NonceCancelled, Order, OrderPlaced, OrderVoided, VoidReason

NAME = "signatures"

Posted = ChargesPosted | PricesPosted | ForecastsPosted
"""What a quorum of oracles signed."""


@dataclass
class _Keys:
    """Who may sign what at this point of the chain."""

    oracles: OraclesRotated = field(default_factory=lambda: OraclesRotated(0, 0, ()))
    meters: dict[Address, tuple[Address, int]] = field(default_factory=dict)

    def learn(self, sent: Sent) -> None:
        """Take over what a transaction put in force."""
        for event in sent.events:
            match event:
                case AccountRegistered(account=account, meter_key=meter):
                    self.meters[account] = (meter, FIRST_EPOCH)
                case MeterChanged(account=account, meter_key=meter, epoch=epoch):
                    self.meters[account] = (meter, epoch)
                case OraclesRotated():
                    self.oracles = event


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a transaction, order, cancel, reading and quorum."""
    keys = _Keys()
    for sent in record.sent:
        yield _sender(record, sent)
        if sent.status == 1:
            yield from _orders(record, sent)
            yield from _cancels(record, sent)
            yield from _readings(record, sent, keys)
            yield from _quorums(record, sent, keys)
        keys.learn(sent)


def _sender(record: Record, sent: Sent) -> Verdict:
    """Whether somebody sent it; what cannot be read and left no trace in the market is others' business."""
    if sent.signed is None and sent.raw and not sent.events:
        return PASSED
    if sent.signed is None:
        return Finding(NAME, sent.where, "a transaction", "unreadable bytes", sent.problem)
    if sent.sender is None:
        return Finding(NAME, sent.where, "a valid signature", "none", "nobody sent this transaction")
    chain_id = sent.signed.transaction.chain_id
    if chain_id is None:  # of before EIP-155: every chain takes it
        return PASSED
    return compare(NAME, f"{sent.where} chain id", record.domain.chain_id, chain_id)


# --- orders and cancels -------------------------------------------------------------------------


def signed_orders(sent: Sent) -> tuple[SignedOrder, ...]:
    """Orders a transaction carries, single or in a batch."""
    match sent.call:
        case PlaceOrder(order=order, signature=signature):
            return (SignedOrder(order, signature),)
        case PlaceOrders(orders=orders):
            return orders
        case _:
            return ()


def _as_placed(order: Order, tick: int) -> OrderPlaced:
    """The event an order leaves when it is accepted at `tick`."""
    return OrderPlaced(
        slot=order.slot,
        trader=order.trader,
        nonce=order.nonce,
        side=order.side,
        energy_class=order.energy_class,
        tick=tick,
        limit_price=order.limit_ueur_per_kwh,
        quantity=order.quantity_wh,
        flags=order.flags,
        expiry=order.expiry,
    )


def _orders(record: Record, sent: Sent) -> Iterator[Verdict]:
    carried = signed_orders(sent)
    by_key: dict[tuple[Address, int, int], list[SignedOrder]] = {}
    for signed in carried:
        by_key.setdefault((signed.order.trader, signed.order.slot, signed.order.nonce), []).append(signed)
    for logged, placed in sent.logged_of(OrderPlaced):
        same = [
            signed
            for signed in by_key.get((placed.trader, placed.slot, placed.nonce), ())
            if _as_placed(signed.order, placed.tick) == placed
        ]
        what = f"{at(logged)} order {placed.nonce} of {placed.trader}"
        if not same:
            yield Finding(NAME, what, "this order in the calldata", "none", "nobody signed it")
        elif any(signer(record, each.order, each.signature) == placed.trader for each in same):
            yield PASSED
        else:
            found = signer(record, same[0].order, same[0].signature)
            yield Finding(NAME, what, placed.trader, found or "no valid signature", "not the trader's")


def _cancels(record: Record, sent: Sent) -> Iterator[Verdict]:
    cancelled_orders: list[tuple[Logged, NonceCancelled | OrderVoided]] = [*sent.logged_of(NonceCancelled)]
    cancelled_orders += [
        (logged, voided)
        for logged, voided in sent.logged_of(OrderVoided)
        if voided.reason == VoidReason.CANCELLED
    ]
    for logged, cancelled in cancelled_orders:
        what = f"{at(logged)} cancel of order {cancelled.nonce}"
        call = sent.call
        asked = (
            (call.cancel.trader, call.cancel.slot, call.cancel.nonce)
            if isinstance(call, CancelOrder)
            else None
        )
        if not isinstance(call, CancelOrder) or asked != (cancelled.trader, cancelled.slot, cancelled.nonce):
            yield Finding(NAME, what, "this cancel in the calldata", "none", "nobody signed it")
        else:
            found = signer(record, call.cancel, call.signature)
            yield compare(NAME, what, cancelled.trader, found, difference="not the trader's")


# --- readings -----------------------------------------------------------------------------------


def signed_readings(sent: Sent) -> tuple[SignedReading, ...]:
    """Readings a transaction carries, single or in a batch."""
    match sent.call:
        case PostReading(reading=reading, signature=signature):
            return (SignedReading(reading, signature),)
        case PostReadings(readings=readings):
            return readings
        case _:
            return ()


def _readings(record: Record, sent: Sent, keys: _Keys) -> Iterator[Verdict]:
    carried = signed_readings(sent)
    for logged, posted in sent.logged_of(ReadingPosted):
        what = f"{at(logged)} reading of {posted.account}"
        same = [
            each
            for each in carried
            if (each.reading.slot, each.reading.account, each.reading.net_energy)
            == (posted.slot, posted.account, posted.net_energy)
            and (each.reading.certified, each.reading.epoch) == (posted.certified, posted.epoch)
        ]
        meter, epoch = keys.meters.get(posted.account, ("no meter", 0))
        if not same:
            yield Finding(NAME, what, "this reading in the calldata", "none", "nobody signed it")
        elif epoch != posted.epoch:
            yield compare(NAME, f"{what} key epoch", epoch, posted.epoch)
        else:
            found = {signer(record, each.reading, each.signature) for each in same}
            yield (
                PASSED
                if meter in found
                else compare(NAME, what, meter, found.pop(), difference="not the meter's")
            )


# --- quorums ------------------------------------------------------------------------------------


def _quorums(record: Record, sent: Sent, keys: _Keys) -> Iterator[Verdict]:
    """Charges, prices and forecasts, and sets of oracles, each against the set in force."""
    call = sent.call
    signatures = (
        call.signatures if isinstance(call, PostCharges | PostPrices | PostForecasts | RotateOracles) else ()
    )
    by_quorum: list[tuple[Logged, Posted]] = []
    by_quorum += sent.logged_of(ChargesPosted)
    by_quorum += sent.logged_of(PricesPosted)
    by_quorum += sent.logged_of(ForecastsPosted)
    for logged, posted in by_quorum:
        what = f"{at(logged)} {type(posted).__name__}"
        mask = valid_signers(record, _as_signed(posted, keys.oracles.epoch), signatures, keys.oracles)
        yield compare(NAME, f"{what} oracle epoch", keys.oracles.epoch, posted.epoch)
        yield _enough(what, mask, keys.oracles)
        whose = ("by valid signatures", "by the event")
        yield compare(NAME, f"{what} signers", _names(mask), _names(posted.signers), whose=whose)
        if isinstance(call, PostCharges | PostPrices) and not isinstance(posted, ForecastsPosted):
            yield _values_hash(logged, posted, call.chunk_hashes)
    for logged, rotated in sent.logged_of(OraclesRotated):
        yield from _rotation(record, signatures, logged, rotated, keys.oracles)


def _as_signed(posted: Posted, epoch: int) -> ChargesHeader | PricesHeader | ForecastsHeader:
    """What oracles must have signed for this to be posted."""
    if isinstance(posted, ForecastsPosted):
        return ForecastsHeader(posted.slot, epoch, posted.index, chunk_hash(posted.words))
    hashes = (posted.values_hash, posted.input_hash, posted.certificate_hash)
    if isinstance(posted, ChargesPosted):
        return ChargesHeader(posted.slot, epoch, *hashes)
    return PricesHeader(posted.slot, epoch, posted.hub_price, posted.forecast_import, *hashes)


def _values_hash(
    logged: Logged, posted: ChargesPosted | PricesPosted, chunk_hashes: Sequence[bytes]
) -> Verdict:
    expected = keccak(b"".join(chunk_hashes))
    return compare(
        NAME, f"{at(logged)} values hash", expected, posted.values_hash, difference="not what was sent"
    )


def _rotation(
    record: Record,
    signatures: Sequence[OracleSignature],
    logged: Logged,
    rotated: OraclesRotated,
    oracles: OraclesRotated,
) -> Iterator[Verdict]:
    what = f"{at(logged)} oracle set {rotated.epoch}"
    yield compare(NAME, f"{what} epoch", oracles.epoch + 1, rotated.epoch)
    if rotated.epoch == FIRST_EPOCH:
        deployed = record.deployment
        expected = (deployed.oracles, deployed.quorum) if deployed else None
        yield compare(NAME, what, expected, (rotated.oracles, rotated.quorum), difference="not as deployed")
        return
    message = OracleSet(oracles.epoch, rotated.quorum, rotated.oracles)
    yield _enough(what, valid_signers(record, message, signatures, oracles), oracles)


def valid_signers(
    record: Record, message: Message, signatures: Sequence[OracleSignature], oracles: OraclesRotated
) -> int:
    """Bit i: oracle i of the set signed the message."""
    mask = 0
    for each in signatures:
        if each.oracle < len(oracles.oracles):
            found = signer(record, message, each.signature)
            mask |= (found == oracles.oracles[each.oracle]) << each.oracle
    return mask


def _enough(what: str, mask: int, oracles: OraclesRotated) -> Verdict:
    if oracles.quorum and mask.bit_count() >= oracles.quorum:
        return PASSED
    return Finding(
        NAME,
        what,
        f"{oracles.quorum} of {len(oracles.oracles)} oracles",
        f"{mask.bit_count()}: {_names(mask)}",
        "no quorum signed it",
    )


def _names(mask: int) -> str:
    """Oracles of a mask, by their number in the set."""
    return ", ".join(str(i) for i in range(mask.bit_length()) if mask >> i & 1) or "none"
