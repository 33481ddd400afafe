"""`charges` and `prices`: what was posted is what oracles signed, and the certificate proves it.

For each slot: the chunks against the signed hash of values; the certificate and its inputs by their
hashes; the certificate itself by the NumPy-only checker; the integer prices that the certificate gives
against the posted ones, bus by bus; its hub prices against the tariff; the hub rule. Whether a quorum
signed is `signatures`. That the inputs are true is assumed; where they are agents' answers, see `responses`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ledger import bundle as bundles
from ledger import vectors
from ledger.audit.checks import responses
from ledger.audit.verdict import PASSED, Verdict, at, compare, of_slot
from ledger.history import SlotHistory, history
from ledger.keccak import keccak
from ledger.record import Logged, Record
from market.events import ChargesChunk, ChargesPosted, PricesChunk, PricesPosted
from market.feeder.model import Feeder, FeederError
from market.findings import Finding
from market.pricing import certificate as certificates
from market.pricing.conditions import Conditions, SlotPrices
from market.pricing.quantise import HubRuleBroken, check_hub_rule
from market.pricing.wire import FormatError
from market.slots import Tariff
from market.units import quantise_price

CHARGES, PRICES = "charges", "prices"
_GET_BUNDLE = "ask the oracles for the file; a bundle should hold it"

Chunks = Mapping[int, tuple[Logged, ChargesChunk | PricesChunk]]


@dataclass(frozen=True, slots=True)
class Proved:
    """What a certificate proves of a slot, which is one of its periods, and what it took as given."""

    prices: SlotPrices
    feeder: Feeder
    conditions: Conditions
    period: int


def check_charges(record: Record) -> Iterator[Verdict]:
    """One verdict a rule, chunk and bus of each slot's firm charges, and one a file that proves nothing."""
    yield from _unnamed(record)
    for slot in history(record):
        if slot.charges_posted is None:
            continue
        logged, posted = slot.charges_posted
        yield from _values(CHARGES, slot, logged, posted, slot.charges_chunks)
        if slot.charges is not None:
            yield compare(CHARGES, f"{at(logged, slot.terms)} bus 0", 0, slot.charges[0])
        proved = yield from _proof(CHARGES, record, slot, logged, posted)
        if proved is not None:
            yield from _tariff(CHARGES, slot, logged, proved)
            if slot.charges is not None:
                yield from _by_bus(CHARGES, slot, slot.charges_chunks, proved.prices.charges, slot.charges)


def check_prices(record: Record) -> Iterator[Verdict]:
    """One verdict a rule, chunk and bus of each slot's prices."""
    for slot in history(record):
        if slot.prices_posted is None:
            continue
        logged, posted = slot.prices_posted
        where = at(logged, slot.terms)
        yield from _values(PRICES, slot, logged, posted, slot.prices_chunks)
        if slot.prices is not None:
            whose = ("posted as the hub price", "in the chunk of bus 0")
            yield compare(PRICES, f"{where} bus 0, the hub", posted.hub_price, slot.prices[0], whose=whose)
            if slot.tariff is not None:
                yield _hub_rule(where, SlotPrices(slot.prices, posted.forecast_import), slot.tariff)
        proved = yield from _proof(PRICES, record, slot, logged, posted)
        if proved is not None:
            yield from _tariff(PRICES, slot, logged, proved)
            proved_import = proved.prices.forecast_import_wh
            yield compare(PRICES, f"{where} forecast import, Wh", proved_import, posted.forecast_import)
            if slot.prices is not None:
                yield from _by_bus(PRICES, slot, slot.prices_chunks, proved.prices.bus_price, slot.prices)


def _unnamed(record: Record) -> Iterator[Verdict]:
    """Certificates and inputs of the bundle that neither charges nor prices name: they prove nothing here."""
    for place, contents, named in (
        (bundles.CERTIFICATES, record.bundle.certificates, {each.certificate_hash for each in record.posted}),
        (bundles.INPUTS, record.bundle.inputs, {each.input_hash for each in record.posted}),
    ):
        for digest in contents:
            if digest in named:
                yield PASSED
            else:
                where = f"{place}/{digest.hex()}.bin"
                yield Finding(CHARGES, where, "charges or prices that name it", "none", "proves nothing")


# --- the vector ---------------------------------------------------------------------------------


def _values(
    name: str, slot: SlotHistory, logged: Logged, posted: ChargesPosted | PricesPosted, chunks: Chunks
) -> Iterator[Verdict]:
    """The chunks that came in against the signed hash of them all."""
    where = at(logged, slot.terms)
    if any(index >= posted.chunks for index in chunks):
        yield Finding(name, where, f"{posted.chunks} chunks", f"chunk {max(chunks)}", "one too many")
    elif len(chunks) == posted.chunks:
        hashes = b"".join(vectors.chunk_hash(chunks[index][1].words) for index in sorted(chunks))
        places = ", ".join(at(chunks[index][0], slot.terms) for index in sorted(chunks))
        difference = "the posted words are not those that were signed"
        yield compare(name, places, posted.values_hash, keccak(hashes), difference=difference)


def _by_bus(
    name: str, slot: SlotHistory, chunks: Chunks, expected: Sequence[int], found: Sequence[int]
) -> Iterator[Verdict]:
    if len(expected) != len(found):
        yield compare(name, f"{of_slot(slot.slot, slot.terms)} buses", len(expected), len(found))
        return
    per_chunk = vectors.VALUES_PER_WORD * vectors.WORDS_PER_CHUNK
    for bus, (proved, posted) in enumerate(zip(expected, found, strict=True)):
        where = f"{at(chunks[bus // per_chunk][0], slot.terms)} bus {bus}, µ€/kWh"
        yield compare(name, where, proved, posted, hint="compare with the certificate's own price")


# --- the proof ----------------------------------------------------------------------------------


def _proof(
    name: str, record: Record, slot: SlotHistory, logged: Logged, posted: ChargesPosted | PricesPosted
) -> Generator[Verdict, None, Proved | None]:
    """Verdicts on the certificate; returns what it proves, None where nothing can be read."""
    where = at(logged, slot.terms)
    proof = record.bundle.certificates.get(posted.certificate_hash)
    given = record.bundle.inputs.get(posted.input_hash)
    for what, digest, content in (
        ("certificate", posted.certificate_hash, proof),
        ("inputs", posted.input_hash, given),
    ):
        if content is None and record.proves_itself:
            yield Finding(name, f"{where} {what}", digest.hex(), "no such file", "missing", _GET_BUNDLE)
    if proof is None or given is None:
        return None
    try:
        answered = responses.read(given)
        feeder, conditions = (
            certificates.decode_inputs(given) if answered is None else (answered.feeder, answered.given())
        )
        period = period_of(name, slot, conditions)
        prices = (
            None if period is None else certificates.prices(proof, feeder, period, hours=conditions.hours)
        )
    except (FormatError, FeederError, ValueError) as error:
        yield Finding(name, f"{where} certificate", "readable bytes", str(error), "not a certificate")
        return None
    findings = certificates.check(proof, feeder, conditions)
    yield from _located(name, where, findings)
    if answered is not None:
        yield from responses.check(name, where, record, slot, logged, answered)
        yield responses.check_settled(name, where, answered, proof)
    if period is None or prices is None:
        yield Finding(name, f"{where} certificate", *_other_slots(name, slot, conditions))
        return None
    return Proved(prices, feeder, conditions, period)


def period_of(name: str, slot: SlotHistory, conditions: Conditions) -> int | None:
    """Which period of a clearing a slot's values come from; None where it is not of this slot.

    Slots that storages couple are cleared together: charges are any of the day's, prices the first of what
    is left of it. A clearing of one slot need not say which it is.
    """
    if conditions.first_slot == 0 and conditions.periods == 1:
        return 0
    period = slot.slot - conditions.first_slot
    last = conditions.periods - 1 if name == CHARGES else 0
    return period if 0 <= period <= last else None


def _other_slots(name: str, slot: SlotHistory, conditions: Conditions) -> tuple[str, str, str]:
    first = conditions.first_slot
    expected = (
        f"a clearing of slot {slot.slot}" if name == CHARGES else f"a clearing from slot {slot.slot} on"
    )
    return expected, f"one of slots {first} to {first + conditions.periods - 1}", "other slots"


def _located(name: str, where: str, findings: Iterable[Finding]) -> Iterator[Verdict]:
    """The checker's findings as ours, or one that passed."""
    empty = True
    for finding in findings:
        empty = False
        yield replace(finding, check=name, where=f"{where} certificate, {finding.check}, {finding.where}")
    if empty:
        yield PASSED


def _tariff(name: str, slot: SlotHistory, logged: Logged, proved: Proved) -> Iterator[Verdict]:
    """The hub prices that the certificate was given against the slot's tariff."""
    if slot.tariff is None:
        yield Finding(name, at(logged, slot.terms), "a scheduled slot", "no tariff", "never scheduled")
        return
    hub = proved.conditions.hub
    for what, prices, expected in (
        ("π_imp", hub.import_price, slot.tariff.hub_import),
        ("π_exp", hub.export_price, slot.tariff.hub_export),
    ):
        given = int(quantise_price(prices)[proved.period])
        yield compare(name, f"{at(logged, slot.terms)} certificate's {what}, µ€/kWh", expected, given)


def _hub_rule(where: str, prices: SlotPrices, tariff: Tariff) -> Verdict:
    try:
        check_hub_rule(prices, tariff)
    except HubRuleBroken as broken:
        return Finding(PRICES, f"{where} hub rule", "a hub price by the rule", str(broken), "")
    return PASSED
