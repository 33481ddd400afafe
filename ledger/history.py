"""What a record's events say, slot by slot: the facts that checks, bills and pages are derived from.

Nothing here is judged. Where a vector by bus is not complete, or not readable, it is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

from ledger import vectors
from ledger.record import Logged, Record
from market.accounts import NEUR_DIGITS, UTILITY_ID, Position
from market.events import (
    AccountRegistered,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    PricesChunk,
    PricesPosted,
    ReadingPosted,
    RoleAccepted,
    SlotSettled,
    SlotsScheduled,
    SubstationPosted,
)
from market.orders import Address, GateClosed, OrderFilled, OrderPlaced, OrderVoided, Side
from market.settlement import Valuation, rule_in_force
from market.slots import Tariff, Terms
from market.units import hub_price

ROLE_UTILITY = 0
SLOTS_PER_CALL = 1_024
"""The contract schedules no more at once; an event that says otherwise is forged."""

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, eq=False)
class SlotHistory:
    """Everything that happened in one delivery slot, in chain order."""

    slot: int
    terms: Terms
    tariff: Tariff | None
    scheduled: Logged | None
    logged: tuple[Logged, ...]

    def of(self, kind: type[E]) -> list[tuple[Logged, E]]:
        """Events of one kind with their places."""
        return [(logged, logged.event) for logged in self.logged if isinstance(logged.event, kind)]

    def _only(self, kind: type[E]) -> tuple[Logged, E] | None:
        found = self.of(kind)
        return found[0] if found else None

    @cached_property
    def charges_posted(self) -> tuple[Logged, ChargesPosted] | None:
        """Header of the firm charges."""
        return self._only(ChargesPosted)

    @cached_property
    def prices_posted(self) -> tuple[Logged, PricesPosted] | None:
        """Header of the prices."""
        return self._only(PricesPosted)

    @cached_property
    def charges_chunks(self) -> dict[int, tuple[Logged, ChargesChunk]]:
        """Chunks of the firm charges by index."""
        return {event.index: (logged, event) for logged, event in self.of(ChargesChunk)}

    @cached_property
    def prices_chunks(self) -> dict[int, tuple[Logged, PricesChunk]]:
        """Chunks of the prices by index."""
        return {event.index: (logged, event) for logged, event in self.of(PricesChunk)}

    @cached_property
    def charges(self) -> tuple[int, ...] | None:
        """ν_b by bus, µ€/kWh, if the vector is complete."""
        return self._vector(self.charges_posted, self.charges_chunks)

    @cached_property
    def prices(self) -> tuple[int, ...] | None:
        """λ_b by bus, µ€/kWh, if the vector is complete; entry 0 is λ_0."""
        return self._vector(self.prices_posted, self.prices_chunks)

    def _vector(
        self,
        posted: tuple[Logged, ChargesPosted | PricesPosted] | None,
        chunks: Mapping[int, tuple[Logged, ChargesChunk | PricesChunk]],
    ) -> tuple[int, ...] | None:
        if posted is None or sorted(chunks) != list(range(posted[1].chunks)):
            return None
        words = [word for index in sorted(chunks) for word in chunks[index][1].words]
        try:
            return vectors.unpack(words, self.terms.buses)
        except ValueError:
            return None

    @cached_property
    def placed(self) -> list[tuple[Logged, OrderPlaced]]:
        """Orders that were accepted."""
        return self.of(OrderPlaced)

    @cached_property
    def fills(self) -> list[tuple[Logged, OrderFilled]]:
        """Trades."""
        return self.of(OrderFilled)

    @cached_property
    def voided(self) -> list[tuple[Logged, OrderVoided]]:
        """Quantities that will never trade."""
        return self.of(OrderVoided)

    @cached_property
    def gate_closed(self) -> tuple[Logged, GateClosed] | None:
        """Gate closure, with the number of accounts that must settle."""
        return self._only(GateClosed)

    @cached_property
    def readings(self) -> dict[Address, tuple[Logged, ReadingPosted]]:
        """The first reading of each account, which is final."""
        return {event.account: (logged, event) for logged, event in reversed(self.of(ReadingPosted))}

    @cached_property
    def substation(self) -> tuple[Logged, SubstationPosted] | None:
        """The utility's reading at the substation."""
        return self._only(SubstationPosted)

    @cached_property
    def settled(self) -> list[tuple[Logged, AccountSettled]]:
        """Accounts' postings."""
        return self.of(AccountSettled)

    @cached_property
    def finished(self) -> Logged | None:
        """Where the slot's last account was settled."""
        found = self._only(SlotSettled)
        return found[0] if found else None

    def charge(self, bus: int) -> int:
        """ν_b, 0 where charges are incomplete."""
        return self.charges[bus] if self.charges is not None else 0


@dataclass(frozen=True, eq=False)
class History:
    """A market's facts: who takes part and what happened in each slot."""

    terms: Terms
    accounts: Mapping[int, AccountRegistered]
    ids: Mapping[Address, int]
    slots: Mapping[int, SlotHistory]
    utilities: tuple[Address, ...] = field(default=())

    @property
    def utility(self) -> Address:
        """Who holds the utility's role at the end."""
        return self.utilities[-1]

    def bus(self, account_id: int) -> int:
        """Bus of an account; the utility is at the substation."""
        return self.accounts[account_id].bus if account_id != UTILITY_ID else 0

    def positions(self, slot: SlotHistory) -> dict[int, Position]:
        """What each account id holds in a slot, from its fills alone. Raises KeyError on a stranger."""
        positions: defaultdict[int, Position] = defaultdict(Position)
        for _, fill in slot.fills:
            taker_buys = fill.taker_side == Side.BID
            for trader, buys in ((fill.taker, taker_buys), (fill.maker, not taker_buys)):
                position = positions[self.ids[trader]]
                energy_wh = fill.quantity if buys else -fill.quantity
                position.net_wh += energy_wh
                position.trades_neur += energy_wh * hub_price(fill.tick)
                if fill.energy_class:
                    traded = position.class_net_wh.get(fill.energy_class, 0)
                    position.class_net_wh[fill.energy_class] = traded + energy_wh
        return positions

    def valuation(self, slot: SlotHistory) -> Valuation | None:
        """By what a slot's energy is valued; None where it was never scheduled."""
        if slot.tariff is None:
            return None
        return Valuation(
            rule=rule_in_force(self.terms.rule, slot.prices),
            tariff=slot.tariff,
            charges=slot.charges,
            prices=slot.prices,
            penalties=self.terms.penalties_ueur_per_kwh,
        )

    def __iter__(self) -> Iterator[SlotHistory]:
        """Slots in order of time."""
        return iter(self.slots[slot] for slot in sorted(self.slots))


class NoHistory(ValueError):  # noqa: N818 - named for what is missing
    """The record does not show how the market was made, so its terms are not known."""


@lru_cache(maxsize=4)
def history(record: Record) -> History:
    """Sort a record's events. Raises NoHistory where its deployment cannot be read."""
    if record.deployment is None:
        raise NoHistory("the record holds no creation of an exchange at this address whose code is known")
    terms = record.deployment.terms
    tariffs: dict[int, tuple[Logged, Tariff]] = {}
    accounts: dict[int, AccountRegistered] = {}
    ids: dict[Address, int] = {}
    utilities: list[Address] = []
    by_slot: defaultdict[int, list[Logged]] = defaultdict(list)
    for logged in record.logged:
        match logged.event:
            case AccountRegistered() as registered:
                accounts[registered.id] = registered
                ids[registered.account] = registered.id
            case RoleAccepted(role=role, holder=holder) if role == ROLE_UTILITY:
                ids[holder] = UTILITY_ID
                utilities.append(holder)
            case SlotsScheduled() as scheduled:
                tariff = _tariff(scheduled)
                if tariff is not None and scheduled.count <= SLOTS_PER_CALL:
                    for slot in range(scheduled.first, scheduled.first + scheduled.count):
                        tariffs.setdefault(slot, (logged, tariff))
            case None:
                pass
            case event:
                of_slot: int | None = getattr(event, "slot", None)
                if of_slot is not None:
                    by_slot[of_slot].append(logged)
    slots = {}
    for slot in sorted(tariffs.keys() | by_slot.keys()):
        scheduled_in, tariff = tariffs.get(slot, (None, None))
        slots[slot] = SlotHistory(slot, terms, tariff, scheduled_in, tuple(by_slot.get(slot, ())))
    return History(terms, accounts, ids, slots, tuple(utilities))


def _tariff(scheduled: SlotsScheduled) -> Tariff | None:
    try:
        return Tariff(scheduled.retail, scheduled.network_fee, scheduled.fit)
    except ValueError:  # a forged event; the contract refuses such a tariff
        return None


def token_decimals(record: Record) -> int:
    """Decimals of the market's token, from the first deposit's n€ and token units; 9 where there is none.

    With more than 9 decimals every n€ is a whole number of units, so that 9 stands for them too.
    """
    units_by_transaction: defaultdict[bytes, list[int]] = defaultdict(list)
    for log, transfer in record.transfers:
        if transfer.receiver == record.exchange:
            units_by_transaction[log.transaction_hash].append(transfer.amount)
    for logged in record.logged:
        if isinstance(logged.event, Deposited):
            units = units_by_transaction.get(logged.log.transaction_hash, [])
            if len(units) == 1 and 0 < units[0] <= logged.event.amount:
                return NEUR_DIGITS - (len(str(logged.event.amount // units[0])) - 1)
    return NEUR_DIGITS
