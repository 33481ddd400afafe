"""The audit: re-derive everything from the chain's own record, and say what is wrong and where.

    audit(record) → Report        every check, or those named
    checks()      → names and what they do

Checks are pure and independent: all run, whatever one of them finds; on request every block is executed
again, too. `explain` takes a payment apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ledger.audit.checks import (
    artifacts,
    backing,
    checkpoint,
    conservation,
    execution,
    headers,
    lifecycle,
    matching,
    nonces,
    pricing,
    readings,
    responses,
    settlement,
    signatures,
)
from ledger.audit.checks.execution import CannotReplay
from ledger.audit.epochs import epochs
from ledger.audit.replay import replay
from ledger.audit.report import CheckResult, Report
from ledger.audit.verdict import Check, Passed
from ledger.checkpoint import VerifierKey
from ledger.history import NoHistory, history
from ledger.record import Record
from market.atc.responses import Stand
from market.findings import Finding

PLACES_SHOWN = 5


class UnknownCheckError(ValueError):
    """No check has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """A check with its name and what it does, in one line."""

    name: str
    description: str
    run: Check


CHECKS: tuple[NamedCheck, ...] = (
    NamedCheck("headers", "files, hash chain, transaction and receipt roots, blooms", headers.check),
    NamedCheck("checkpoint", "the head is the one you know, by --head or --checkpoint-key", checkpoint.check),
    NamedCheck("artifacts", "the deployed code is this version's source", artifacts.check),
    NamedCheck(
        "signatures", "senders, traders, meters and oracle quorums signed what they did", signatures.check
    ),
    NamedCheck("nonces", "no order, cancel or transaction was replayed or left out", nonces.check),
    NamedCheck("matching", "orders matched by the rules, replayed from calldata", matching.check_matching),
    NamedCheck("reserves", "nobody traded or withdrew beyond their funds", matching.check_reserves),
    NamedCheck("charges", "firm charges were signed, and their certificates hold", pricing.check_charges),
    NamedCheck("prices", "prices were signed, and their certificates hold", pricing.check_prices),
    NamedCheck("readings", "readings came once and in time, estimates are by the rule", readings.check),
    NamedCheck("settlement", "every posting follows from fills, readings and prices", settlement.check),
    NamedCheck(
        "conservation", "postings sum to zero, the slot's identity holds, tokens cover it", conservation.check
    ),
    NamedCheck("backing", "the utility's debts were funded after every transaction", backing.check),
    NamedCheck("lifecycle", "events came in their phase; settled slots settled everybody", lifecycle.check),
)
"""All checks, in the order in which they are reported."""

REPLAY = NamedCheck(execution.NAME, execution.DESCRIPTION, execution.check)
"""Runs on request, after the others: it takes longer than all of them."""


def checks() -> list[tuple[str, str]]:
    """Name and description of every check."""
    return [(check.name, check.description) for check in CHECKS]


def audit(
    record: Record,
    names: Sequence[str] | None = None,
    head: bytes | None = None,
    keys: Sequence[VerifierKey] = (),
    *,
    execute: bool = False,
) -> Report:
    """Run all checks, or those named, against a record. Raises UnknownCheckError, CannotReplay.

    `head` is the hash of the chain's head as the auditor knows it from elsewhere; `keys` must all have
    signed the checkpoint. With `execute`, every block is executed again, too.
    """
    known = {check.name: check for check in CHECKS}
    for name in names or ():
        if name not in known:
            raise UnknownCheckError(f"check {name!r}: there are {', '.join(known)}")
    if head is not None:
        record = record.ending_at(head)
    if keys:
        record = record.signed_by(*keys)
    chosen = [check for check in CHECKS if names is None or check.name in names]
    if execute:
        execution.beginning(record)
        chosen.append(REPLAY)
    results = tuple(_run(check, record) for check in chosen)
    return Report(results, tuple(_verified(record, results)), tuple(_assumed(record, results)))


def _run(check: NamedCheck, record: Record) -> CheckResult:
    """One check to its end. What ends it early is a finding: no audit passes by being stopped."""
    items, findings = 0, []
    try:
        for verdict in check.run(record):
            items += 1
            if not isinstance(verdict, Passed):
                findings.append(verdict)
    except NoHistory as unknown:
        findings.append(_unfinished(check, f"exchange {record.exchange}", "its deployment", str(unknown)))
    except Exception as stop:  # a forged record may break any assumption
        what = f"{type(stop).__name__}: {stop}"
        findings.append(_unfinished(check, f"item {items + 1}", "a record that can be read", what))
    return CheckResult(check.name, check.description, items, tuple(findings))


def _unfinished(check: NamedCheck, where: str, expected: str, found: str) -> Finding:
    return Finding(check.name, where, expected, found, "not finished")


def _verified(record: Record, results: Iterable[CheckResult]) -> list[str]:
    """How much was looked at; only checks that passed count."""
    first, last = record.blocks[0], record.blocks[-1]
    lines = [
        f"blocks {first.number} to {last.number} of chain {record.domain.chain_id}, head 0x{last.hash.hex()}",
        f"exchange {record.exchange}",
    ]
    try:
        slots = list(history(record))
    except NoHistory:
        slots = []
    if slots:
        placed, fills, settled = (
            sum(len(part) for part in parts)
            for parts in zip(*((slot.placed, slot.fills, slot.settled) for slot in slots), strict=True)
        )
        number = f"{len(slots)} slot{'s' * (len(slots) > 1)}"
        lines.append(f"{number}, {placed:_} orders, {fills:_} fills, {settled:_} postings")
    if any(result.ok for result in results if result.name == signatures.NAME):
        lines += epochs(record)
    passed = [result.name for result in results if result.ok and result.items]
    return [*lines, f"passed: {', '.join(passed) or 'nothing'}"]


def _assumed(record: Record, results: Iterable[CheckResult]) -> list[str]:
    names = {result.name for result in results}
    lines = []
    if record.known_head is None and not record.known_keys:
        lines.append("this head is the chain's (name it with --head, or who signed it with --checkpoint-key)")
    elif record.known_head is None:
        signers = ", ".join(key.name for key in record.known_keys)
        lines.append(f"this head is the chain's, as {signers} signed")
    if REPLAY.name not in names:
        lines += _unexecuted(record)
    if names & {"charges", "prices"}:
        lines.append("prosumers' responses, which certificates take as given, were truthful")
        lines.append("feeder, limits and loads, which certificates take as given, are what the oracles say")
        try:
            unproved = pricing.slots_without_certificate(record)
        except NoHistory:
            unproved = 0
        if unproved:
            lines.append(f"prices of {unproved} slots: a node keeps no certificates, a bundle does")
        lines += _stood_in(record)
    if names & {"readings", "settlement"}:
        lines.append("meters measured what they signed")
        lines.append("the utility's word on its wholesale price and on the reading of the substation")
        lines += _estimated(record)
    return lines


def _unexecuted(record: Record) -> Iterator[str]:
    """What receipts and headers are believed as long as nobody executes the chain again."""
    yield "state roots: transactions were not executed again by an Ethereum client (--replay)"
    if record.bundle.genesis:
        yield "genesis.json, which only --replay holds to the chain"
    try:
        failed = [step.sent.where for step in replay(record).steps if step.believed]
    except NoHistory:
        failed = []
    if failed:
        yield f"calls failed for want of gas or tokens, as their receipts say: {_places(failed)}"
    unread = [sent.where for sent in record.sent if sent.signed is None and sent.raw and not sent.events]
    if unread:
        yield f"transactions of kinds that are not read here are of nobody's concern: {_places(unread)}"


def _stood_in(record: Record) -> Iterator[str]:
    """Who did not answer a clearing between processes, so that something else stood in."""
    for stand, what in ((Stand.HELD, "their last answer"), (Stand.FORECAST, "the utility's forecast")):
        for slot, accounts in sorted(responses.standing_so(record, stand).items()):
            named = ", ".join(sorted(accounts))
            yield f"slot {slot}: missing from a clearing, where {what} stood in: {named}"


def _estimated(record: Record) -> Iterator[str]:
    """Who was settled by an estimate, since no reading came in time."""
    try:
        slots = list(history(record))
    except NoHistory:
        return
    for slot in slots:
        accounts = sorted(account for account in slot.estimates if account not in slot.readings)
        if accounts:
            yield f"slot {slot.slot}: no reading came, so that an estimate settled: {', '.join(accounts)}"


def _places(places: list[str]) -> str:
    """The first places, and how many more there are."""
    shown = ", ".join(places[:PLACES_SHOWN])
    return shown if len(places) <= PLACES_SHOWN else f"{shown} and {len(places) - PLACES_SHOWN} more"


__all__ = [
    "CHECKS",
    "REPLAY",
    "CannotReplay",
    "CheckResult",
    "NamedCheck",
    "Report",
    "UnknownCheckError",
    "audit",
    "checks",
]
