"""What a record's events say, slot by slot: the facts that checks, bills and pages are derived from.

Nothing here is judged. Where a vector by bus is not complete, or not readable, it is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

from ledger import vectors
from ledger.record import Logged, Record, Sent
from ledger.trades import take_back
from market.accounts import NEUR_DIGITS, UTILITY_ID, Position, Role
from market.events import (
    AccountChanged,
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    ForecastsPosted,
    PricesChunk,
    PricesPosted,
    ReadingEstimated,
    ReadingPosted,
    RoleAccepted,
    SlotSettled,
    SlotsScheduled,
    SubstationPosted,
    TradesCleared,
    Withdrawn,
)
from market.exchange import SLOTS_PER_CALL
from market.orders import (
    NOBODY,
    Address,
    Fill,
    FillVetoed,
    GateClosed,
    OrderPlaced,
    OrdersFilled,
    OrderVoided,
    Side,
)
from market.settlement import Basis, Valuation, rule_in_force
from market.slots import Rule, Tariff, Terms

"""The contract schedules no more at once; an event that says otherwise is forged."""

E = TypeVar("E", bound=Event)

Registration = AccountRegistered | AccountChanged
"""Events that say what an account is registered for."""
Money = Deposited | Withdrawn | TradesCleared | AccountSettled | AccountResettled
"""Events that move money."""


@dataclass(frozen=True, slots=True)
class Movement:
    """An event that moved money, and the id of its account; None for an account that nobody registered.

    `cleared_neur` went from the account into its slot's clearing (out of it where negative): what a
    settlement tells of trades that were cleared before is not moved again. `to_utility_neur` went to the
    utility.
    """

    logged: Logged
    account: int | None
    event: Money
    cleared_neur: int = 0
    to_utility_neur: int = 0


def movements(record: Record) -> Iterator[tuple[Sent, tuple[Movement, ...]]]:
    """What each transaction moved, in chain order."""
    ids: dict[Address, int] = {}
    before: set[tuple[int, int | None]] = set()
    for sent in record.sent:
        yield sent, tuple(_movements(sent, ids, before))


def _movements(
    sent: Sent, ids: dict[Address, int], before: set[tuple[int, int | None]]
) -> Iterator[Movement]:
    for logged in sent.logs:
        match logged.event:
            case AccountRegistered() as registered:
                ids[registered.account] = registered.id
            case RoleAccepted(role=role, holder=holder) if role == Role.UTILITY:
                ids[holder] = UTILITY_ID
            case Deposited() | Withdrawn() as money:
                yield Movement(logged, ids.get(money.account), money)
            case TradesCleared() as paid:
                before.add((paid.slot, ids.get(paid.account)))
                yield Movement(logged, ids.get(paid.account), paid, paid.amount)
            case AccountSettled() | AccountResettled() as posted:
                cleared = 0
                if (
                    isinstance(posted, AccountSettled)
                    and (posted.slot, ids.get(posted.account)) not in before
                ):
                    cleared = posted.trades
                yield Movement(logged, ids.get(posted.account), posted, cleared, posted.beside_trades_neur)


@dataclass(frozen=True, slots=True)
class Measured:
    """By what an account can be settled: its reading or its estimate, with its place on the chain.

    It is what `market.settlement` settles by (`Metered`). An estimate certifies nothing.
    """

    logged: Logged
    basis: int
    net_energy: int
    certified: tuple[int, ...]


@dataclass(slots=True)
class Traded:
    """Who traded with whom in a slot, in chain order, each with the log that tells it.

    `fills` has one entry a maker; `vetoed` the parts of them that vetoes took back.
    """

    fills: list[tuple[Logged, Fill]] = field(default_factory=list)
    vetoed: list[tuple[Logged, Fill]] = field(default_factory=list)
    _standing: list[Fill] = field(default_factory=list)

    def fill(self, logged: Logged, filled: OrdersFilled, holders: Mapping[int, Address]) -> None:
        """Take in what an order took; makers are addressed as at that time."""
        fills = filled.fills(lambda number: holders.get(number, NOBODY))
        self._standing.extend(fills)
        self.fills.extend((logged, fill) for fill in fills)

    def veto(self, logged: Logged, veto: FillVetoed) -> None:
        """Take in what a veto took back."""
        self.vetoed.extend((logged, part) for part in take_back(self._standing, veto.quantity))


@dataclass(frozen=True, eq=False)
class SlotHistory:
    """Everything that happened in one delivery slot, in chain order."""

    slot: int
    terms: Terms
    tariff: Tariff | None
    scheduled: Logged | None
    logged: tuple[Logged, ...]
    traded: Traded = field(default_factory=Traded)

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

    @property
    def fills(self) -> list[tuple[Logged, Fill]]:
        """Trades by maker, vetoed or not."""
        return self.traded.fills

    @property
    def vetoed(self) -> list[tuple[Logged, Fill]]:
        """Parts of trades that were taken back, with the log of the veto."""
        return self.traded.vetoed

    @cached_property
    def voided(self) -> list[tuple[Logged, OrderVoided]]:
        """Quantities that will never trade."""
        return self.of(OrderVoided)

    @cached_property
    def gate_closed(self) -> tuple[Logged, GateClosed] | None:
        """Gate closure, with the number of accounts that must settle."""
        return self._only(GateClosed)

    @cached_property
    def forecasts(self) -> dict[int, ForecastsPosted]:
        """Forecast net energy of accounts, packed, by index."""
        return {event.index: event for _, event in reversed(self.of(ForecastsPosted))}

    @cached_property
    def readings(self) -> dict[Address, Measured]:
        """The first reading of each account, which is final; with as many classes as the market has."""
        classes = len(self.terms.penalties_ueur_per_kwh)
        return {
            event.account: Measured(
                logged, Basis.READING, event.net_energy, (*event.certified, *(0,) * classes)[:classes]
            )
            for logged, event in reversed(self.of(ReadingPosted))
        }

    @cached_property
    def estimates(self) -> dict[Address, Measured]:
        """The estimate of each account that had no reading in time."""
        nothing_certified = (0,) * len(self.terms.penalties_ueur_per_kwh)
        return {
            event.account: Measured(logged, event.basis, event.net_energy, nothing_certified)
            for logged, event in reversed(self.of(ReadingEstimated))
        }

    def measured(self, account: Address, before: Logged) -> Measured | None:
        """By what an account is settled at a place: the reading if it had come by then, else the estimate."""
        found = (self.readings.get(account), self.estimates.get(account))
        return next((each for each in found if each and each.logged.place < before.place), None)

    @cached_property
    def substation(self) -> tuple[Logged, SubstationPosted] | None:
        """The utility's reading at the substation."""
        return self._only(SubstationPosted)

    @cached_property
    def cleared(self) -> list[tuple[Logged, TradesCleared]]:
        """What accounts paid for their trades, or were paid, before they were settled."""
        return self.of(TradesCleared)

    @cached_property
    def settled(self) -> list[tuple[Logged, AccountSettled]]:
        """Accounts' postings."""
        return self.of(AccountSettled)

    @cached_property
    def resettled(self) -> list[tuple[Logged, AccountResettled]]:
        """What late readings changed of postings by estimate."""
        return self.of(AccountResettled)

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
    """A market's facts: who takes part, as what it was registered when, and what happened in each slot."""

    terms: Terms
    accounts: Mapping[int, AccountRegistered]
    ids: Mapping[Address, int]
    slots: Mapping[int, SlotHistory]
    utilities: tuple[Address, ...] = field(default=())
    registrations: Mapping[Address, Sequence[tuple[Logged, Registration]]] = field(default_factory=dict)

    @property
    def utility(self) -> Address:
        """Who holds the utility's role at the end."""
        return self.utilities[-1]

    def bus(self, account_id: int) -> int:
        """Bus of an account; the utility is at the substation."""
        return self.accounts[account_id].bus if account_id != UTILITY_ID else 0

    def positions(self, slot: SlotHistory) -> dict[int, Position]:
        """What each account id holds in a slot by fills and vetoes alone; strangers hold nothing."""
        positions: defaultdict[int, Position] = defaultdict(Position)
        changes = [(fill, 1) for _, fill in slot.fills] + [(part, -1) for _, part in slot.vetoed]
        for fill, direction in changes:
            of_taker, of_maker = (Side.BID, Side.ASK) if fill.taker_side == Side.BID else (Side.ASK, Side.BID)
            for trader, side in ((fill.taker, of_taker), (fill.maker, of_maker)):
                if trader not in self.ids:
                    continue
                position = positions[self.ids[trader]]
                position.trade(side, fill.energy_class, fill.tick, direction * fill.quantity)
        return positions

    def by_fallback(self, slot: SlotHistory) -> bool:
        """Whether a slot of a market with prices has none, so that the tariff rule settles it."""
        return self.terms.rule != Rule.TARIFF and slot.prices is None

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


def slots_of(record: Record) -> tuple[SlotHistory, ...]:
    """What happened in each slot, in order of time; nothing where the deployment cannot be read."""
    try:
        return tuple(history(record))
    except NoHistory:
        return ()


@lru_cache(maxsize=4)
def history(record: Record) -> History:
    """Sort a record's events. Raises NoHistory where its deployment cannot be read."""
    if record.deployment is None:
        raise NoHistory("the record holds no creation of an exchange at this address whose code is known")
    terms = record.deployment.terms
    tariffs: dict[int, tuple[Logged, Tariff]] = {}
    accounts: dict[int, AccountRegistered] = {}
    ids: dict[Address, int] = {}
    holders: dict[int, Address] = {}
    utilities: list[Address] = []
    registrations: defaultdict[Address, list[tuple[Logged, Registration]]] = defaultdict(list)
    by_slot: defaultdict[int, list[Logged]] = defaultdict(list)
    traded: defaultdict[int, Traded] = defaultdict(Traded)
    for logged in record.logged:
        match logged.event:
            case AccountRegistered() as registered:
                accounts[registered.id] = registered
                ids[registered.account] = registered.id
                holders[registered.id] = registered.account
                registrations[registered.account].append((logged, registered))
            case AccountChanged() as changed:
                registrations[changed.account].append((logged, changed))
            case RoleAccepted(role=role, holder=holder) if role == Role.UTILITY:
                ids[holder] = UTILITY_ID
                holders[UTILITY_ID] = holder
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
                if isinstance(event, OrdersFilled):
                    traded[event.slot].fill(logged, event, holders)
                elif isinstance(event, FillVetoed):
                    traded[event.slot].veto(logged, event)
    slots = {}
    for slot in sorted(tariffs.keys() | by_slot.keys()):
        scheduled_in, tariff = tariffs.get(slot, (None, None))
        slots[slot] = SlotHistory(
            slot, terms, tariff, scheduled_in, tuple(by_slot.get(slot, ())), traded.get(slot, Traded())
        )
    return History(terms, accounts, ids, slots, tuple(utilities), registrations)


def _tariff(scheduled: SlotsScheduled) -> Tariff | None:
    try:
        return Tariff(scheduled.retail, scheduled.network_fee, scheduled.fit)
    except ValueError:  # a forged event; the contract refuses such a tariff
        return None


def token_decimals(record: Record) -> int:
    """Decimals of the market's token by its creation; where the record lacks that, by its deposits.

    9 where there is no deposit either, for then nothing is measured by them.
    """
    created = record.token_terms
    return _moved_decimals(record) if created is None else created.decimals


def _moved_decimals(record: Record) -> int:
    """Decimals by which the first deposit that moved tokens alone was moved."""
    units_by_transaction: defaultdict[bytes, list[int]] = defaultdict(list)
    for log, transfer in record.transfers:
        if transfer.receiver == record.exchange:
            units_by_transaction[log.transaction_hash].append(transfer.amount)
    for logged in record.logged:
        if isinstance(logged.event, Deposited):
            neur, units = logged.event.amount, units_by_transaction.get(logged.log.transaction_hash, [])
            if len(units) == 1 and min(neur, units[0]) > 0:
                return NEUR_DIGITS + _digits(units[0] // neur) - _digits(neur // units[0])
    return NEUR_DIGITS


def _digits(ratio: int) -> int:
    """Zeros of the power of ten that a ratio is, or is just above."""
    return len(str(ratio)) - 1
