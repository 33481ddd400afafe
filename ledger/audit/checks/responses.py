"""The responses that a clearing between processes ended with, where they are the inputs of a certificate.

They are of this slot and of every account, each answer is signed by its account's key and of the round that
it counts for, and the rounds had settled. Whether somebody who is held was asked in time no record tells: the
report names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ledger import clearing
from ledger.address import checksummed
from ledger.audit.verdict import PASSED, Verdict, compare
from ledger.history import SlotHistory
from ledger.record import Logged, Record
from market.atc.messages import Purpose
from market.atc.responses import Responses, Stand, Standing, is_responses
from market.events import AccountRegistered
from market.findings import Finding
from market.orders import Address
from market.pricing.certificate import decode
from market.pricing.wire import FormatError

CLEARING_SECONDS_MAX = 600
"""An account that was registered so shortly before a posting may have come after its clearing began."""


def read(given: bytes) -> Responses | None:
    """The responses that inputs are, None where they are devices. Raises FormatError, FeederError."""
    return Responses.decode(given, checksummed) if is_responses(given) else None


def check(  # noqa: PLR0917 - a clearing and its place
    name: str, where: str, record: Record, slot: SlotHistory, logged: Logged, found: Responses
) -> Iterator[Verdict]:
    """One verdict for the clearing's slot, its accounts, and each account's answer."""
    purpose = Purpose.CHARGES if name == "charges" else Purpose.PRICES
    of = f"{where} responses"
    yield compare(name, f"{of}, slot and purpose", (slot.slot, purpose), (found.slot, found.purpose))
    yield _accounts(name, of, record, logged, found)
    for standing in found.standings:
        if standing.question is not None:
            yield from _answer(name, f"{of}, {standing.agent}", record, found, standing)


def check_settled(name: str, where: str, found: Responses, proof: bytes) -> Verdict:
    """Answers and certificate are of one mind."""
    try:
        certified = decode(proof)
    except FormatError as failure:
        return Finding(name, f"{where} certificate", "readable bytes", str(failure), "not a certificate")
    if found.settled(certified.primal, certified.duals):
        return PASSED
    left = str(found.measure(certified.primal, certified.duals))
    return Finding(name, f"{where} responses", "residuals within the stopping rule", left, "not settled")


def standing_so(record: Record, stand: Stand) -> dict[int, set[Address]]:
    """Accounts that stand so in the clearings of a record's bundle, by slot."""
    names: dict[int, set[Address]] = {}
    for given in record.bundle.inputs.values():
        try:
            found = read(given)
        except ValueError:  # for the checks to find
            continue
        for each in found.of(stand) if found else ():
            names.setdefault(found.slot if found else 0, set()).add(each.agent)
    return names


def _accounts(name: str, of: str, record: Record, logged: Logged, found: Responses) -> Verdict:
    """Every account in order of registration, but those that came while the clearing ran."""
    times = _times(record)
    posted = times[logged.log.block_number]
    registered = [(at, event) for at, event in _registered(record) if at.place < logged.place]
    expected = [(event.account, event.bus) for _, event in registered]
    present = [(each.agent, each.bus) for each in found.standings]
    late = [
        times[at.log.block_number] > posted - CLEARING_SECONDS_MAX for at, _ in registered[len(present) :]
    ]
    if present == expected[: len(present)] and all(late):
        return PASSED
    strange = [agent for agent, _ in present if agent not in dict(expected)]
    missing = [agent for agent, _ in expected if agent not in dict(present)]
    difference = f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(strange) or 'none'}"
    return Finding(name, of, f"{len(expected)} accounts at their buses", str(len(present)), difference)


@lru_cache(maxsize=4)
def _registered(record: Record) -> list[tuple[Logged, AccountRegistered]]:
    """All registrations in chain order."""
    return [(at, at.event) for at in record.logged if isinstance(at.event, AccountRegistered)]


@lru_cache(maxsize=4)
def _times(record: Record) -> dict[int, int]:
    """Second of each block."""
    return {block.number: block.header.timestamp for block in record.blocks}


def _answer(name: str, where: str, record: Record, found: Responses, standing: Standing) -> Iterator[Verdict]:
    """An answer that counts was signed by its account, for the round it counts for."""
    question = standing.question
    assert question is not None
    signed = clearing.signer(record.domain, question, standing)
    yield compare(name, f"{where}, signature", standing.agent, signed)
    last = question.round == found.round
    expected = standing.stand is Stand.ANSWERED
    yield compare(name, f"{where}, answers the last round", expected, last)
