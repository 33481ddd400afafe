"""What an audit had to believe, in lines: what nothing in the record shows, and what was not looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ledger import bundle as bundles
from ledger.audit.beginning import first_hash
from ledger.audit.believed import believed_failures
from ledger.audit.checks import conservation, execution, pricing, readings, responses, settlement, vetoes
from ledger.audit.clearings import Clearing, clearings, unproved
from ledger.audit.registry import CHECKS
from ledger.audit.report import CheckResult
from ledger.audit.verdict import slots_text
from ledger.history import slots_of, token_decimals
from ledger.record import Record
from market.atc.responses import Stand
from market.pricing.certificate import Accuracy, Claim

PLACES_SHOWN = 5
REPLAY_NEEDS = "--replay needs genesis.json and all blocks: those of a node, with --genesis FILE"


def assumed(record: Record, results: Iterable[CheckResult]) -> list[str]:
    """What has to be believed of the record after these checks."""
    names = {result.name for result in results}
    lines = list(_head(record))
    left_out = [check.name for check in CHECKS if check.name not in names]
    if left_out:
        lines.append(f"whatever these checks would find, which were left out: {', '.join(left_out)}")
    lines += _makers_word(record)
    if execution.NAME not in names:
        lines += _unexecuted(record)
    if conservation.NAME in names:
        lines += _of_token(record)
    if kinds := names & {pricing.CHARGES, pricing.PRICES}:
        lines += _of_clearings(record, kinds)
        lines += _stood_in(record)
    if vetoes.NAME in names:
        lines += _unjudged(record)
    if names & {readings.NAME, settlement.NAME}:
        lines.append("meters measured what they signed")
        lines.append("the utility's word on its wholesale price and on the reading of the substation")
        lines += _estimated(record)
        lines += _overdue(record)
    return lines


def _head(record: Record) -> Iterator[str]:
    """Why this head should be the chain's."""
    if record.known_head is None and not record.known_keys:
        yield "this head is the chain's (name it with --head, or who signed it with --checkpoint-key)"
    elif record.known_head is None:
        signers = ", ".join(key.name for key in record.known_keys)
        yield f"this head is the chain's, as {signers} signed"


def _overdue(record: Record) -> Iterator[str]:
    """Trades that nobody was made to settle: no rule says when, so that no check finds it."""
    now = record.blocks[-1].header.timestamp
    late = [
        slot.slot
        for slot in slots_of(record)
        if slot.finished is None
        and slot.fills
        and now > max(slot.terms.prices_due(slot.slot), slot.terms.readings_due(slot.slot))
    ]
    if late:
        yield f"{slots_text(late)} will be settled: what was due is past, and trades there are not paid"


def _makers_word(record: Record) -> Iterator[str]:
    """What stands in a bundle and is held to nothing: whoever made it says so."""
    manifest = record.bundle.manifest
    if (manifest.scenario, manifest.seed) != (None, None):
        yield f"scenario {manifest.scenario!r} and seed {manifest.seed}, as the bundle's maker says"
    if record.bundle.notice:
        yield f"{bundles.NOTICE}: whose the data is and under which licence, as the bundle's maker says"
    if record.bundle.genesis and first_hash(record) is None:
        first = record.blocks[0].number
        yield f"{bundles.GENESIS} is the chain's: the record begins at block {first}, too late to compare"


def _of_token(record: Record) -> Iterator[str]:
    """What is believed of the money: the token is another contract, whose rules nobody derives again."""
    yield "the token's code: that tokens moved as its events say"
    if record.token_terms is None:
        decimals = token_decimals(record)
        yield f"the token has {decimals} decimals, as its deposits moved: the record lacks its creation"


def _unexecuted(record: Record) -> Iterator[str]:
    """What receipts and headers are believed as long as nobody executes the chain again."""
    can_be_executed = record.bundle.genesis and first_hash(record) is not None
    how = "--replay" if can_be_executed else REPLAY_NEEDS
    yield f"state roots: transactions were not executed again by an Ethereum client ({how})"
    proof = "; --replay proves it or finds that it did not" if can_be_executed else ""
    for failure in believed_failures(record):
        yield f"{failure} failed for want of gas or tokens, as its receipt says{proof}"
    unread = [sent.where for sent in record.sent if sent.signed is None and sent.raw and not sent.events]
    if unread:
        yield f"transactions of kinds that are not read here are of nobody's concern: {_places(unread)}"


# --- clearings ----------------------------------------------------------------------------------


def _of_clearings(record: Record, kinds: Collection[str]) -> Iterator[str]:
    """What certificates take as given, what they do not claim, and where there are none."""
    found = [each for each in clearings(record) if each.kind in kinds]
    if found:
        yield "prosumers' responses, which certificates take as given, were truthful"
        yield (
            "feeder, limits and loads, which certificates take as given, are what the oracles say:"
            f" {_feeders(found)}"
        )
    for what, some in (
        ("a local optimum, not the best of all", [each for each in found if each.claim is Claim.LOCAL]),
        (
            "as far as a method comes that stops early: that prices support the schedule to some 1e-5",
            [each for each in found if each.accuracy is Accuracy.STOPPED],
        ),
    ):
        if some:
            yield f"{_named(some)}: their certificates prove no more than {what}"
    for kind, slots in unproved(record).items():
        if kind in kinds:
            yield f"{kind} of {slots_text(slots)}, whose certificates are not at hand (--proofs)"


def _feeders(found: Iterable[Clearing]) -> str:
    """The feeder that all clearings name; else each with its slots, since the chain knows of none."""
    by_feeder: dict[tuple[str, bytes], list[Clearing]] = {}
    for each in found:
        by_feeder.setdefault(each.feeder, []).append(each)
    named = {f"{name!r} (0x{digest.hex()})": some for (name, digest), some in by_feeder.items()}
    if len(named) == 1:
        return f"one throughout, {next(iter(named))}"
    told = "; ".join(f"{feeder} in {_named(some)}" for feeder, some in named.items())
    return f"{len(named)} that differ, {told}"


def _named(some: Iterable[Clearing]) -> str:
    """Which clearings they are: `charges of slots 7 to 9, prices of slot 7`."""
    slots: dict[str, set[int]] = {}
    for each in some:
        slots.setdefault(each.kind, set()).add(each.slot)
    return ", ".join(f"{kind} of {slots_text(of_kind)}" for kind, of_kind in slots.items())


def _stood_in(record: Record) -> Iterator[str]:
    """Who did not answer a clearing between processes, so that something else stood in."""
    for stand, what in ((Stand.HELD, "their last answer"), (Stand.FORECAST, "the utility's forecast")):
        for slot, accounts in sorted(responses.standing_so(record, stand).items()):
            named = ", ".join(sorted(accounts))
            yield f"slot {slot}: missing from a clearing, where {what} stood in: {named}"


def _unjudged(record: Record) -> Iterator[str]:
    """Vetoes of which the record does not show what the feeder carried beside the fills."""
    slots = vetoes.unjudged(record)
    if slots:
        yield (
            f"vetoes of {slots_text(slots)} were due, and for the limits that they name: no inputs at hand"
            " tell the load outside the market from the traders' own"
        )


def _estimated(record: Record) -> Iterator[str]:
    """Who was settled by an estimate, since no reading came in time."""
    for slot in slots_of(record):
        accounts = sorted(account for account in slot.estimates if account not in slot.readings)
        if accounts:
            yield f"slot {slot.slot}: no reading came, so that an estimate settled: {', '.join(accounts)}"


def _places(places: list[str]) -> str:
    """The first places, and how many more there are."""
    shown = ", ".join(places[:PLACES_SHOWN])
    return shown if len(places) <= PLACES_SHOWN else f"{shown} and {len(places) - PLACES_SHOWN} more"
