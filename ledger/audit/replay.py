"""The record's calls, done again by the readable twin: what the contract must have answered.

The twin gets the decoded calldata, the senders, the blocks' times, and whom each signature names: none
of the recorded events. So a forged event changes nothing of what is expected after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from dataclasses import dataclass, fields
from functools import lru_cache

from ledger import calls
from ledger.audit.signing import signer
from ledger.calls import Call, OracleSignature
from ledger.eip712 import Message
from ledger.history import NoHistory, token_decimals
from ledger.keccak import keccak
from ledger.record import Record, Sent
from ledger.vectors import chunk_hash
from market.accounts import Refused
from market.events import Event
from market.exchange import Caller, Exchange
from market.messages import ChargesHeader, ForecastsHeader, OracleSet, PricesHeader
from market.oracle import Signed

OUT_OF_GAS_SHARE = (62, 64)
"""A call that used this share of its gas may have failed by that: a sub-call keeps 1/64 back (EIP-150)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction: what the twin answers, or by which rule it refuses (then there are no events).

    `believed`: that it failed is what its receipt says, for the twin knows no rule that it breaks, and
    nothing of gas or of the token's refusals.
    """

    sent: Sent
    expected: tuple[Event, ...]
    refused: str | None = None
    believed: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """All steps until the end, or until `stopped` says why it could not go on after the last one."""

    steps: tuple[Step, ...]
    stopped: str | None = None


@lru_cache(maxsize=4)
def replay(record: Record) -> Replay:
    """Do every call of a record again. Raises NoHistory where its deployment cannot be read."""
    steps: list[Step] = []
    try:
        steps.extend(_steps(record))
    except (Refused, ValueError, LookupError, TypeError, ArithmeticError) as stop:  # only of a forged record
        return Replay(tuple(steps), f"{type(stop).__name__}: {stop}")
    return Replay(tuple(steps))


def _steps(record: Record) -> Iterator[Step]:
    deployment, creation = record.deployment, record.creation
    if deployment is None or creation is None:
        raise NoHistory("the record holds no creation of an exchange at this address whose code is known")
    twin = Exchange(
        deployment.utility,
        deployment.guardian,
        deployment.oracles,
        deployment.quorum,
        deployment.terms,
        token_decimals=token_decimals(record),
        hash_of=keccak,
    )
    for sent in record.sent:
        if sent is creation:
            yield Step(sent, twin.deployed())
        elif sent.call is None or sent.sender is None:
            yield Step(sent, ())
        else:
            yield _step(record, twin, sent, sent.call, Caller(sent.sender, sent.time))


def _step(record: Record, twin: Exchange, sent: Sent, call: Call, by: Caller) -> Step:
    """What the twin answers to one call, which changes it only where the call may have succeeded."""
    if _ran_out_of_gas(sent):
        return Step(sent, (), believed=True)
    stopped_by_token = sent.status != 1 and isinstance(call, calls.Deposit | calls.Withdraw)
    try:
        expected = _answer(record, _with_own_accounts(twin) if stopped_by_token else twin, call, by)
    except Refused as refusal:
        return Step(sent, (), refusal.rule)
    return Step(sent, (), believed=True) if stopped_by_token else Step(sent, expected)


def _with_own_accounts(twin: Exchange) -> Exchange:
    """A twin in which money may move without moving in the other."""
    other = copy(twin)
    other.accounts = deepcopy(twin.accounts)
    return other


def _ran_out_of_gas(sent: Sent) -> bool:
    """Whether a call may have failed for want of gas."""
    if sent.status == 1 or sent.signed is None:
        return False
    part, whole = OUT_OF_GAS_SHARE
    return sent.gas_used * whole >= sent.signed.transaction.gas * part


def _answer(record: Record, twin: Exchange, call: Call, by: Caller) -> tuple[Event, ...]:
    """The twin's events for one call. Raises Refused."""
    match call:
        case calls.PlaceOrder(order=order, signature=signature):
            return twin.place_order(by, order, signer(record, order, signature))
        case calls.PlaceOrders(orders=orders):
            signed = [(each.order, signer(record, each.order, each.signature)) for each in orders]
            return twin.place_orders(by, signed)
        case calls.CancelOrder(cancel=cancel, signature=signature, berth=berth):
            return twin.cancel_order(by, cancel, berth, signer(record, cancel, signature))
        case calls.PostReading(reading=reading, signature=signature):
            return twin.post_reading(by, reading, signer(record, reading, signature))
        case calls.PostReadings(readings=readings):
            read = [(each.reading, signer(record, each.reading, each.signature)) for each in readings]
            return twin.post_readings(by, read)
        case calls.PostCharges() | calls.PostPrices() | calls.PostForecasts() | calls.RotateOracles():
            quorum = _quorum(record, _signed_by_oracles(call, twin.oracles.epoch), call.signatures)
            *arguments, _ = (getattr(call, item.name) for item in fields(call))
            events: tuple[Event, ...] = _method(twin, call)(by, *arguments, quorum)
            return events
        case _:
            arguments = [getattr(call, item.name) for item in fields(call)]
            events = _method(twin, call)(by, *arguments)
            return events


def _signed_by_oracles(
    call: calls.PostCharges | calls.PostPrices | calls.PostForecasts | calls.RotateOracles, epoch: int
) -> Message:
    """The message behind a quorum's signatures."""
    match call:
        case calls.RotateOracles():
            return OracleSet(epoch, call.quorum, call.oracles)
        case calls.PostCharges():
            values_hash = keccak(b"".join(call.chunk_hashes))
            return ChargesHeader(call.slot, epoch, values_hash, call.input_hash, call.certificate_hash)
        case calls.PostPrices():
            return PricesHeader(
                call.slot,
                epoch,
                call.hub_price,
                call.forecast_import,
                keccak(b"".join(call.chunk_hashes)),
                call.input_hash,
                call.certificate_hash,
            )
        case calls.PostForecasts():
            return ForecastsHeader(call.slot, epoch, call.index, chunk_hash(call.words))


def _quorum(record: Record, message: Message, signatures: tuple[OracleSignature, ...]) -> list[Signed]:
    return [(each.oracle, signer(record, message, each.signature)) for each in signatures]


def _method(twin: Exchange, call: Call) -> Callable[..., tuple[Event, ...]]:
    """The twin's method of a call: the same words, in snake case."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(call).__name__).lower()
    method: Callable[..., tuple[Event, ...]] = getattr(twin, name)
    return method
