"""One slot from its scheduling to the last resettlement: all that is known of it, and what follows of that.

Twin of `readings.vy` and `settlement.vy`. Who may call, and when, is in `market.exchange`.
"""

from __future__ import annotations

from collections.abc import Sequence

from market.accounts import Account, Accounts, Refused, Transfer, require
from market.book import Book
from market.events import (
    AccountResettled,
    AccountSettled,
    Event,
    ReadingEstimated,
    SlotSettled,
    SubstationPosted,
    TradesCleared,
)
from market.messages import Reading, ReadingReject
from market.oracle import VALUES_PER_CHUNK, Hash, PostedVector, value_at
from market.orders import Address
from market.settlement import (
    Basis,
    Cause,
    Estimate,
    Posting,
    Valuation,
    amount_neur,
    delivered_wh,
    estimate,
    resettle,
    rule_in_force,
    settle,
    settle_trades,
)
from market.slots import Tariff, Terms


class Slot:
    """All that is known of one slot. `book` takes cancels before anything else is known.

    `forecasts` holds packed words by index, `readings` and `estimates` are by account id; `resettled` are
    the ids whose reading has taken the place of their estimate.
    """

    def __init__(self, number: int, terms: Terms, accounts: Accounts, hash_of: Hash) -> None:
        self.number = number
        self.terms = terms
        self.accounts = accounts
        self.book = Book(number, terms, accounts, hash_of)
        self.charges: PostedVector | None = None
        self.prices: PostedVector | None = None
        self.forecasts: dict[int, tuple[int, ...]] = {}
        self.readings: dict[int, Reading] = {}
        self.estimates: dict[int, Estimate] = {}
        self.resettled: set[int] = set()
        self.substation: SubstationPosted | None = None
        self.settled_accounts = 0

    @property
    def tariff(self) -> Tariff | None:
        """The tariff, None while the slot is not scheduled."""
        return self.book.tariff

    def require_scheduled(self) -> Tariff:
        """The tariff of a slot that has one. Raises Refused."""
        if self.tariff is None:
            raise Refused("slots: not scheduled", self.number)
        return self.tariff

    @property
    def bus_prices(self) -> tuple[int, ...] | None:
        """λ by bus, None until the prices are complete."""
        return None if self.prices is None else self.prices.values

    @property
    def settled(self) -> bool:
        """Whether every account of the snapshot has settled."""
        return self.settled_accounts == self.book.snapshot

    def valuation(self, time: int) -> Valuation:
        """The rule in force and the slot's prices. Raises Refused while these may still come."""
        tariff = self.require_scheduled()
        require(self.book.gate_closed, "settlement: gate is open", self.number)
        if self.bus_prices is None:
            require(time >= self.terms.prices_due(self.number), "settlement: no prices yet", self.number)
        return Valuation(
            rule_in_force(self.terms.rule, self.bus_prices),
            tariff,
            self.book.charges,
            self.bus_prices,
            self.terms.penalties_ueur_per_kwh,
        )

    def _require_in_snapshot(self, account: Account) -> None:
        in_snapshot = self.book.snapshot is not None and account.id < self.book.snapshot
        require(in_snapshot, "settlement: not in the snapshot", account.address)

    # --- readings and estimates -----------------------------------------------------------------

    def reject_reading(self, reading: Reading, signer: Address | None, time: int) -> ReadingReject | None:
        """The first rule that a reading breaks, None where it is good."""
        account = self.accounts.find(reading.account)
        if account is None or account.is_utility:
            return ReadingReject.UNKNOWN_ACCOUNT
        if signer != account.meter_key:
            return ReadingReject.BAD_SIGNATURE
        due = self.terms.end(self.number) <= time < self.terms.final(self.number)
        if self.tariff is None or not due:
            return ReadingReject.NOT_DUE
        if reading.epoch != account.meter_epoch:
            return ReadingReject.WRONG_EPOCH
        if account.id in self.readings:
            return ReadingReject.ALREADY_FINAL
        if len(reading.certified) != len(self.terms.penalties_ueur_per_kwh):
            return ReadingReject.WRONG_CLASSES
        if not account.carries(reading.net_energy):
            return ReadingReject.OUT_OF_RANGE
        return None

    def estimate(
        self, index: int, words: Sequence[int], addresses: Sequence[Address], time: int
    ) -> tuple[Event, ...]:
        """Put estimates where readings are missing; accounts that need none are skipped.

        `words` is the forecast of the accounts from 256·index on, empty where none was posted: then it is 0
        for all of them. Raises Refused, and estimates nobody, for an account that cannot be estimated by it.
        """
        found: dict[int, Estimate] = {}
        for address in addresses:
            account = self.accounts.prosumer(address)
            block, place = divmod(account.id, VALUES_PER_CHUNK)
            require(block == index, "settlement: not in this forecast", address)
            self._require_in_snapshot(account)
            if account.id not in self.readings | self.estimates | found:
                forecast_wh = value_at(words, place) if words else 0
                position = self.book.position(account)
                found[account.id] = estimate(position, forecast_wh, account.bus, self.valuation(time))
        self.estimates |= found
        return tuple(
            ReadingEstimated(self.number, self.accounts.at(number).address, it.net_energy, it.basis)
            for number, it in found.items()
        )

    def metered(self, account: Account) -> Reading | Estimate | None:
        """What an account is settled by: its reading, or else its estimate, if it has either."""
        return self.readings.get(account.id) or self.estimates.get(account.id)

    # --- settlement -----------------------------------------------------------------------------

    def clear_trades(self, addresses: Sequence[Address], time: int) -> tuple[Event, ...]:
        """Move money for trades ahead of settlement: payers' from their reserves into the slot's clearing.

        Out of it, as far as it goes, those are paid for whom it is certain that they owe nothing else. Skips
        accounts for which there is nothing to do, and addresses that have none. Raises Refused.
        """
        self.require_scheduled()
        require(self.book.gate_closed, "settlement: gate is open", self.number)
        due: dict[int, Transfer] = {}
        clearing_neur = self.accounts.clearing_neur.get(self.number, 0)
        for account in filter(None, map(self.accounts.find, addresses)):
            position = self.book.position(account)
            trades_neur = position.trades_neur
            if position.settled or position.cleared or account.id in due or trades_neur == 0:
                continue
            if trades_neur > 0 or (clearing_neur + trades_neur >= 0 and self._owes_nothing(account, time)):
                released_neur = trades_neur if trades_neur > 0 else position.reserve_neur
                due[account.id] = Transfer(self.number, account, trades_neur, 0, released_neur)
                clearing_neur += trades_neur
        self.accounts.post(due.values())
        for transfer in due.values():
            position = self.book.position(transfer.account)
            position.reserve_neur -= transfer.released_neur
            position.cleared = True
        return tuple(TradesCleared(self.number, it.account.address, it.trades_neur) for it in due.values())

    def _owes_nothing(self, account: Account, time: int) -> bool:
        """Whether all that an account still settles besides its trades is in its favour, for good."""
        if account.is_utility:
            return True
        has_rule = self.bus_prices is not None or time >= self.terms.prices_due(self.number)
        is_final = account.id in self.readings or (
            account.id in self.estimates and time >= self.terms.final(self.number)
        )
        if not (has_rule and is_final):
            return False
        postings = self.bill(account, self.valuation(time))
        return amount_neur(postings) <= amount_neur(postings, Cause.TRADES)

    def settle(self, addresses: Sequence[Address], time: int) -> tuple[Event, ...]:
        """Settle accounts of the snapshot, skipping those that are. Raises Refused, and settles nobody."""
        valuation = self.valuation(time)
        bills: dict[int, tuple[Posting, ...]] = {}
        for address in addresses:
            account = self.accounts.get(address)
            self._require_in_snapshot(account)
            if account.id not in bills and not self.book.position(account).settled:
                bills[account.id] = self.bill(account, valuation)
        self._post(bills)
        events: list[Event] = []
        for number, postings in bills.items():
            events.append(self._settled(self.accounts.at(number), valuation, postings))
            if self.settled:
                events.append(SlotSettled(self.number))
        return tuple(events)

    def resettle(self, addresses: Sequence[Address], time: int) -> tuple[Event, ...]:
        """Post what readings change of settlements by estimate; accounts without such a change are skipped.

        Raises Refused, and resettles nobody.
        """
        valuation = self.valuation(time)
        changes: dict[int, tuple[Posting, ...]] = {}
        for address in addresses:
            account = self.accounts.prosumer(address)
            position = self.book.position(account)
            reading, estimated = self.readings.get(account.id), self.estimates.get(account.id)
            if reading and estimated and position.settled and account.id not in self.resettled:
                changes[account.id] = resettle(position, estimated, reading, account.bus, valuation)
        self._post(changes)
        self.resettled |= changes.keys()
        return tuple(self._resettled(self.accounts.at(number), changes[number]) for number in changes)

    def bill(self, account: Account, valuation: Valuation) -> tuple[Posting, ...]:
        """What an account would pay and get now. Raises Refused where it has neither reading nor estimate."""
        position = self.book.position(account)
        if account.is_utility:
            return settle_trades(position)
        metered = self.metered(account)
        if metered is None:
            raise Refused("settlement: no reading", account.address)
        return settle(position, metered, account.bus, valuation)

    def _post(self, bills: dict[int, tuple[Posting, ...]]) -> None:
        """Move the money of all bills, or none: trades to the slot's clearing, all else to the utility."""
        self.accounts.post(self._transfer(self.accounts.at(n), postings) for n, postings in bills.items())

    def _transfer(self, account: Account, postings: Sequence[Posting]) -> Transfer:
        position, trades_neur = self.book.position(account), amount_neur(postings, Cause.TRADES)
        to_utility_neur = amount_neur(postings) - trades_neur
        due_neur = 0 if position.cleared else trades_neur
        return Transfer(self.number, account, due_neur, to_utility_neur, position.reserve_neur)

    def _settled(self, account: Account, valuation: Valuation, postings: Sequence[Posting]) -> AccountSettled:
        """Mark an account settled and release its reserve."""
        position = self.book.held(account)
        position.settled = True
        position.reserve_neur = 0
        self.settled_accounts += 1
        metered = self.metered(account)
        if account.id in self.readings and account.id in self.estimates:
            self.resettled.add(account.id)  # the reading came before anything was settled by the estimate
        metered_wh = 0 if metered is None else metered.net_energy
        return AccountSettled(
            self.number,
            account.address,
            valuation.rule,
            metered.basis if isinstance(metered, Estimate) else Basis.READING,
            position.net_wh,
            metered_wh,
            delivered_wh(position.net_wh, metered_wh),
            *(amount_neur(postings, cause) for cause in Cause),
        )

    def _resettled(self, account: Account, changes: Sequence[Posting]) -> AccountResettled:
        metered_wh = self.readings[account.id].net_energy
        return AccountResettled(
            self.number,
            account.address,
            metered_wh,
            delivered_wh(self.book.position(account).net_wh, metered_wh),
            *(posting.amount_neur for posting in changes),
        )
