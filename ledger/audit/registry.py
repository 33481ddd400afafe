"""The audit's checks by name: what each is called, what it does in one line, and in which order they run."""

from __future__ import annotations

from collections.abc import Sequence
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
    settlement,
    signatures,
    vetoes,
)
from ledger.audit.verdict import Check


class UnknownCheckError(ValueError):
    """No check has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """A check with its name and what it does, in one line."""

    name: str
    description: str
    run: Check


CHECKS: tuple[NamedCheck, ...] = (
    NamedCheck("headers", "files, genesis, hash chain, transaction and receipt roots, blooms", headers.check),
    NamedCheck("checkpoint", "the head is the one you know, by --head or --checkpoint-key", checkpoint.check),
    NamedCheck("artifacts", "the deployed code is this version's source", artifacts.check),
    NamedCheck(
        "signatures", "senders, traders, meters and oracle quorums signed what they did", signatures.check
    ),
    NamedCheck("nonces", "nothing was replayed, no transaction is missing between two others", nonces.check),
    NamedCheck("matching", "orders matched by the rules, replayed from calldata", matching.check_matching),
    NamedCheck("reserves", "nobody traded or withdrew beyond their funds", matching.check_reserves),
    NamedCheck(
        "charges",
        "firm charges are those signed for, and what the certificates at hand prove",
        pricing.check_charges,
    ),
    NamedCheck(
        "prices", "prices are those signed for, and what the certificates at hand prove", pricing.check_prices
    ),
    NamedCheck(
        "vetoes", "fills were taken back for limits that they broke, the least that is enough", vetoes.check
    ),
    NamedCheck("readings", "readings came once and in time, estimates are by the rule", readings.check),
    NamedCheck("settlement", "every posting follows from fills, readings and prices", settlement.check),
    NamedCheck(
        "conservation", "a slot's trades sum to zero, its identity holds, tokens cover it", conservation.check
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


def chosen(names: Sequence[str] | None) -> list[NamedCheck]:
    """The checks of these names in the order of the report, or all. Raises UnknownCheckError."""
    known = {check.name: check for check in CHECKS}
    for name in names or ():
        if name not in known:
            raise UnknownCheckError(f"check {name!r}: there are {', '.join(known)}")
    return [check for check in CHECKS if names is None or check.name in names]
