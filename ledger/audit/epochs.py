"""Whose keys counted when: each oracle set, each meter key that took another's place, each holder of a role.

An audit verifies every signature with the key in force at its place; this says of each key what it signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ledger.audit.verdict import counted
from ledger.record import Record
from market.accounts import Role
from market.events import (
    AccountRegistered,
    ChargesPosted,
    ForecastsPosted,
    MeterChanged,
    OraclesRotated,
    PricesPosted,
    ReadingPosted,
    RoleAccepted,
)
from market.messages import FIRST_EPOCH
from market.orders import Address

ROLES = {int(role): role.name.lower() for role in Role}


@dataclass
class _Seen:
    """Keys in order of appearance, with the blocks from which they count, and what each signed."""

    sets: list[tuple[int, OraclesRotated]] = field(default_factory=list)
    posted: Counter[tuple[int, str]] = field(default_factory=Counter)
    meters: int = 0
    changed: list[tuple[int, MeterChanged]] = field(default_factory=list)
    read: Counter[tuple[Address, int]] = field(default_factory=Counter)
    roles: list[tuple[int, RoleAccepted]] = field(default_factory=list)


def epochs(record: Record) -> Iterator[str]:
    """One line an oracle set, one for all first meter keys, one a later meter key, one a holder of a role."""
    seen = _seen(record)
    for block, rotated in seen.sets:
        signed = ", ".join(
            f"{kind} {seen.posted[rotated.epoch, kind]:,}×" for kind in ("charges", "prices", "forecasts")
        )
        yield (
            f"oracle set {rotated.epoch}, {rotated.quorum} of {len(rotated.oracles)}, from block {block}:"
            f" signed {signed}"
        )
    first = sum(count for (_, epoch), count in seen.read.items() if epoch == FIRST_EPOCH)
    if seen.meters:
        yield f"first keys of {counted(seen.meters, 'meter')}: signed {counted(first, 'reading')}"
    for block, changed in seen.changed:
        signed = counted(seen.read[changed.account, changed.epoch], "reading")
        yield (
            f"meter key {changed.epoch} of {changed.account}, {changed.meter_key}, from block {block}:"
            f" signed {signed}"
        )
    for block, accepted in seen.roles:
        yield f"{ROLES.get(accepted.role, 'another role')} from block {block}: {accepted.holder}"


def _seen(record: Record) -> _Seen:
    seen = _Seen()
    for logged in record.logged:
        block = logged.log.block_number
        match logged.event:
            case OraclesRotated() as rotated:
                seen.sets.append((block, rotated))
            case ChargesPosted(epoch=epoch):
                seen.posted[epoch, "charges"] += 1
            case PricesPosted(epoch=epoch):
                seen.posted[epoch, "prices"] += 1
            case ForecastsPosted(epoch=epoch):
                seen.posted[epoch, "forecasts"] += 1
            case AccountRegistered():
                seen.meters += 1
            case MeterChanged() as changed:
                seen.changed.append((block, changed))
            case ReadingPosted(account=account, epoch=epoch):
                seen.read[account, epoch] += 1
            case RoleAccepted() as accepted:
                seen.roles.append((block, accepted))
    return seen
