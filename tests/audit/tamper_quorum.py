"""Consistent forgeries by a quorum of oracles: it has the keys, and signs what its clearing did not give."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np

from ledger import calls
from ledger.bundle import Bundle
from ledger.calls import OracleSignature
from ledger.vectors import chunk_hash, pack, unpack
from market.events import (
    ChargesChunk,
    ChargesPosted,
    PricesChunk,
    PricesPosted,
)
from market.feeder.model import Feeder, Limits
from market.pricing.certificate import certificate, encode_inputs
from market.pricing.conditions import Conditions
from market.pricing.socp import SocpClearing
from tests.audit.forge import (
    change_call,
    change_event,
    found,
)
from tests.audit.small_market import (
    ORACLES,
    RELAYER,
    SLOT,
    conditions,
    small_feeder,
)
from tests.audit.tamper_calls import call_of, charges_header, forged, prices_header
from tests.audit.tampering import Ground, Kind

CERTIFICATE_HEADER = 56
"""Bytes before the first array: magic, version, claims, hash of the inputs, four sizes."""
A_MILLIONTH = 1e-6


def collude(
    ground: Ground, kind: type, proofs: tuple[bytes, ...] = (), given: tuple[bytes, ...] = (), **other: Any
) -> Bundle:
    """Oracles 0 and 2 sign something else for the first slot, and it is on the chain as if it had been so."""
    sent, call = call_of(ground.record, kind)
    call = replace(call, **other)
    header = charges_header(call, 1) if isinstance(call, calls.PostCharges) else prices_header(call, 1)
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


def _false_proofs(name: str, kind: type, block: int, *, other_load: float, load: float) -> Iterator[Kind]:
    """A proof that is false, one that is none, and right ones of another load and of another slot."""
    header, chunk = f"block {block} log 0", f"block {block} log 1"
    for what, place, forge in (
        ("false", header, _false_proof(kind, 1)),
        ("unreadable", header, _unreadable_proof(kind)),
        ("of-another-load", chunk, _proof_of_else(kind, _cleared, other_load)),
        ("of-another-slot", header, _proof_of_else(kind, _cleared, load, OTHER_SLOT)),
    ):
        yield forged(f"{name}-proof-{what}", name, place, forge)


KINDS: tuple[Kind, ...] = (
    *_false_proofs("charges", calls.PostCharges, 7, other_load=0.7, load=0.8),
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
    *_false_proofs("prices", calls.PostPrices, 21, other_load=0.5, load=1.0),
    forged(
        "prices-proof-of-another-hub",
        "prices",
        "block 21 log 0",
        _proof_of_else(calls.PostPrices, _cleared, 1.0, 0, OTHER_HUB),
    ),
    forged("prices-by-a-lying-quorum", "prices", "block 21 log 1 bus 2", _values(*PRICES, bus_2=1)),
    forged("hub-price-against-the-rule", "prices", "block 21 log 0 hub rule", _values(*PRICES, bus_0=10**6)),
)
