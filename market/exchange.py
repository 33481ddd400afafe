"""The readable twin of the contract: every call, with the same rules, the same state and the same events.

`contracts/README.md` is the specification of both; one stateful test drives both, and the audit replays
the chain's calls through this one. A call takes who calls and when (`Caller`), the arguments of the ABI
in its order, and in the place of each signature whom it names (None if it is invalid). It returns the
contract's events in the contract's order. A call that breaks a rule raises `Refused` and changes nothing.

Outside the twin: the token, so a deposit always arrives; calldata beyond its type's range and arithmetic
beyond 128 bits, which the contract reverts without a name.

Refused           a rule is broken; `rule` is the revert string (tree in `market.accounts`)
OrderRefused      an order sent alone broke the rule of `reject`
ReadingRefused    a reading sent alone broke the rule of `reject`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market.accounts import Account, Accounts, Refused, Transfer, require
from market.book import Book, OrderRefused
from market.events import (
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    OraclesRotated,
    Paused,
    PricesChunk,
    PricesPosted,
    ReadingPosted,
    ReadingRejected,
    RoleAccepted,
    RoleProposed,
    SlotSettled,
    SlotsScheduled,
    SubstationPosted,
    Unpaused,
    Withdrawn,
)
from market.messages import CancelRequest, Reading, ReadingReject
from market.oracle import Hash, Oracles, PostedVector, Signed, require_tail_empty, word_count
from market.orders import NOBODY, Address, Cancel, CloseGate, Order, OrderRejected, Place, Reject
from market.settlement import (
    Cause,
    Posting,
    Valuation,
    amount_neur,
    delivered_wh,
    rule_in_force,
    settle,
    settle_trades,
)
from market.slots import Tariff, Terms

BUSES_MAX = 1_024
TOKEN_DECIMALS_MAX = 36
SLOTS_PER_CALL = 1_024
SLOT_LIMIT = 2**32
"""Slots are numbered in 32 bits."""
UTILITY, GUARDIAN = 0, 1
"""Roles."""
BY_READING = 0
"""Basis of a settlement: a signed reading."""


def require_sound(terms: Terms) -> None:
    """Refuse terms under which no slot could go its way."""
    in_order = terms.open_lead > terms.gate_lead and terms.resettle_grace >= terms.meter_grace
    in_range = terms.slot_seconds > 0 and terms.lot_wh > 0 and 2 <= terms.buses <= BUSES_MAX
    penalties = terms.penalties_ueur_per_kwh
    require(in_order and in_range and min(penalties, default=0) >= 0, "slots: bad terms", terms)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a call, and the Unix second of the block it is in."""

    sender: Address
    time: int


class ReadingRefused(Refused):
    """A reading sent alone broke the rule of `reject`."""

    def __init__(self, reject: ReadingReject, reading: Reading) -> None:
        super().__init__(reject.rule, reading)
        self.reject = reject


class Slot:
    """All that is known of one slot. `book` takes cancels before anything else is known."""

    def __init__(self, number: int, terms: Terms, accounts: Accounts) -> None:
        self.book = Book(number, terms, accounts)
        self.charges: PostedVector | None = None
        self.prices: PostedVector | None = None
        self.readings: dict[int, Reading] = {}
        self.substation: SubstationPosted | None = None
        self.settled_accounts = 0

    @property
    def tariff(self) -> Tariff | None:
        """The tariff, None while the slot is not scheduled."""
        return self.book.tariff

    @property
    def bus_prices(self) -> tuple[int, ...] | None:
        """λ by bus, None until the prices are complete."""
        return None if self.prices is None else self.prices.values

    @property
    def settled(self) -> bool:
        """Whether every account of the snapshot has settled."""
        return self.settled_accounts == self.book.snapshot


class Exchange:
    """One market: accounts, oracles, slots, and the calls that change them."""

    def __init__(
        self,
        utility: Address,
        guardian: Address,
        oracles: Sequence[Address],
        quorum: int,
        terms: Terms,
        *,
        token_decimals: int,
        hash_of: Hash,
    ) -> None:
        """Deploy. `hash_of` is Keccak-256, `token_decimals` those of the ERC-20. Raises Refused."""
        require_sound(terms)
        require(token_decimals <= TOKEN_DECIMALS_MAX, "accounts: too many decimals", token_decimals)
        require(NOBODY not in (utility, guardian), "accounts: nobody")
        self.terms = terms
        self.accounts = Accounts(utility, token_decimals)
        self.guardian = guardian
        self.oracles = Oracles(1, quorum, tuple(oracles))
        self.paused = False
        self._hash_of = hash_of
        self._successors: dict[int, Address] = {}
        self._slots: dict[int, Slot] = {}

    def deployed(self) -> tuple[Event, ...]:
        """Events of the constructor, for as long as nothing has been handed over."""
        return (
            RoleAccepted(UTILITY, self.accounts.utility.address),
            RoleAccepted(GUARDIAN, self.guardian),
            OraclesRotated(self.oracles.epoch, self.oracles.quorum, self.oracles.members),
        )

    def slot(self, number: int) -> Slot:
        """A slot, to be read; an empty one where nothing has happened."""
        return self._slots.get(number) or Slot(number, self.terms, self.accounts)

    # --- accounts and roles ---------------------------------------------------------------------

    def register_account(  # noqa: PLR0917 - the order of the ABI
        self,
        by: Caller,
        account: Address,
        bus: int,
        meter_key: Address,
        import_capacity: int,
        export_capacity: int,
        credit_limit: int,
        classes: int,
    ) -> tuple[Event, ...]:
        """The utility registers an account at a bus other than the substation."""
        self._require_utility(by)
        require(0 < bus < self.terms.buses, "accounts: no such bus", bus)
        return (
            self.accounts.register(
                account, bus, meter_key, import_capacity, export_capacity, credit_limit, classes
            ),
        )

    def set_account(  # noqa: PLR0917 - the order of the ABI
        self,
        by: Caller,
        account: Address,
        import_capacity: int,
        export_capacity: int,
        credit_limit: int,
        classes: int,
    ) -> tuple[Event, ...]:
        """The utility changes what may change of an account."""
        self._require_utility(by)
        return (self.accounts.change(account, import_capacity, export_capacity, credit_limit, classes),)

    def set_meter(self, by: Caller, account: Address, meter_key: Address) -> tuple[Event, ...]:
        """The utility puts a new meter key in force."""
        self._require_utility(by)
        return (self.accounts.change_meter(account, meter_key),)

    def propose_role(self, by: Caller, role: int, successor: Address) -> tuple[Event, ...]:
        """The holder of a role names a successor, or nobody."""
        if role == UTILITY:
            self._require_utility(by)
        else:
            require(role == GUARDIAN, "accounts: no such role", role)
            self._require_guardian(by)
        self._successors[role] = successor
        return (RoleProposed(role, successor),)

    def accept_role(self, by: Caller, role: int) -> tuple[Event, ...]:
        """The successor takes the role; the utility's id goes with it."""
        require(self._successors.get(role) == by.sender, "accounts: not the successor", by.sender)
        if role == UTILITY:
            self.accounts.hand_over_utility(by.sender)
        else:
            self.guardian = by.sender
        del self._successors[role]
        return (RoleAccepted(role, by.sender),)

    def pause(self, by: Caller) -> tuple[Event, ...]:
        """The guardian stops order entry."""
        self._set_paused(by, True)
        return (Paused(),)

    def unpause(self, by: Caller) -> tuple[Event, ...]:
        """The guardian lets order entry go on."""
        self._set_paused(by, False)
        return (Unpaused(),)

    def rotate_oracles(
        self, by: Caller, oracles: Sequence[Address], quorum: int, signed: Sequence[Signed]
    ) -> tuple[Event, ...]:
        """A quorum of the present set, signing its epoch, installs the next."""
        self.oracles.require_quorum(signed)
        self.oracles = Oracles(self.oracles.epoch + 1, quorum, tuple(oracles))
        return (OraclesRotated(self.oracles.epoch, quorum, self.oracles.members),)

    # --- money ----------------------------------------------------------------------------------

    def deposit(self, by: Caller, account: Address, amount: int) -> tuple[Event, ...]:
        """Tokens of the caller go into an account's balance."""
        self.accounts.deposit(account, amount)
        return (Deposited(account, by.sender, amount),)

    def withdraw(self, by: Caller, amount: int) -> tuple[Event, ...]:
        """The caller takes out what is free."""
        self.accounts.withdraw(by.sender, amount)
        return (Withdrawn(by.sender, amount),)

    # --- before trading -------------------------------------------------------------------------

    def schedule_slots(  # noqa: PLR0917 - the order of the ABI
        self, by: Caller, first: int, count: int, retail: int, network_fee: int, fit: int
    ) -> tuple[Event, ...]:
        """The utility fixes the tariff of slots that have not begun to open, once; all or none."""
        self._require_utility(by)
        require(count <= SLOTS_PER_CALL, "slots: too many", count)
        require(retail - network_fee >= fit, "slots: import below export")
        numbers = range(first, first + count)
        for number in numbers:
            require(number < SLOT_LIMIT, "slots: no such slot", number)
            require(by.time < self.terms.opens(number), "slots: opening passed", number)
            require(self.slot(number).tariff is None, "slots: already scheduled", number)
        for number in numbers:
            slot = self._slots.setdefault(number, self.slot(number))
            slot.book.tariff = Tariff(retail, network_fee, fit)
        return (SlotsScheduled(first, count, retail, network_fee, fit),)

    def post_charges(  # noqa: PLR0917 - the order of the ABI
        self,
        by: Caller,
        slot: int,
        chunk_hashes: Sequence[bytes],
        input_hash: bytes,
        certificate_hash: bytes,
        signed: Sequence[Signed],
    ) -> tuple[Event, ...]:
        """A quorum's charges, before the slot opens, once; the chunks follow."""
        scheduled, _ = self._scheduled(slot)
        require(by.time < self.terms.opens(slot), "charges: opening passed", slot)
        require(scheduled.charges is None, "charges: already posted", slot)
        vector = PostedVector(
            self.terms.buses, chunk_hashes, self._hash_of, 0, "charges: substation is not zero"
        )
        signers = self.oracles.require_quorum(signed)
        scheduled.charges = vector
        return (
            ChargesPosted(
                slot,
                self.oracles.epoch,
                len(chunk_hashes),
                vector.values_hash,
                input_hash,
                certificate_hash,
                signers,
            ),
        )

    def post_charges_chunk(
        self, by: Caller, slot: int, index: int, words: Sequence[int]
    ) -> tuple[Event, ...]:
        """A chunk of the charges, before the slot opens; with the last one the charges are in force."""
        require(by.time < self.terms.opens(slot), "charges: opening passed", slot)
        vector = self.slot(slot).charges
        self._add_chunk(vector, slot, index, words)
        if vector is not None and vector.values is not None:
            self._slots[slot].book.charges = vector.values
        return (ChargesChunk(slot, index, tuple(words)),)

    # --- trading --------------------------------------------------------------------------------

    def place_order(self, by: Caller, order: Order, signer: Address | None) -> tuple[Event, ...]:
        """One order alone. Raises OrderRefused where it breaks a rule."""
        require(not self.paused, "exchange: paused")
        events = self._place(by, order, signer)
        match events[0]:
            case OrderRejected(code=code):
                raise OrderRefused(Reject(code), order)
            case _:
                return events

    def place_orders(self, by: Caller, signed: Sequence[tuple[Order, Address | None]]) -> tuple[Event, ...]:
        """A batch of orders with their signers; one that breaks a rule is skipped with an event."""
        require(not self.paused, "exchange: paused")
        return tuple(event for order, signer in signed for event in self._place(by, order, signer))

    def cancel_order(self, by: Caller, cancel: CancelRequest, signer: Address | None) -> tuple[Event, ...]:
        """A trader's cancel, before the gate; it needs no scheduled slot."""
        slot = self.slot(cancel.slot)
        events = slot.book.apply(Cancel(cancel.trader, cancel.nonce, by.time, signer))
        self._slots[cancel.slot] = slot
        return events

    def close_gate(self, by: Caller, slot: int, limit: int) -> tuple[Event, ...]:
        """Void what rests, `limit` entries of the placing list; at its end the gate is closed."""
        scheduled, _ = self._scheduled(slot)
        return scheduled.book.apply(CloseGate(by.time, limit))

    # --- prices, readings -----------------------------------------------------------------------

    def post_prices(  # noqa: PLR0917 - the order of the ABI
        self,
        by: Caller,
        slot: int,
        hub_price: int,
        forecast_import: int,
        chunk_hashes: Sequence[bytes],
        input_hash: bytes,
        certificate_hash: bytes,
        signed: Sequence[Signed],
    ) -> tuple[Event, ...]:
        """A quorum's prices, from the gate on and before T_p, once; the chunks follow."""
        scheduled, tariff = self._scheduled(slot)
        require(by.time >= self.terms.gate(slot), "prices: before the gate", slot)
        require(by.time < self.terms.prices_due(slot), "prices: too late", slot)
        require(scheduled.prices is None, "prices: already posted", slot)
        in_range = tariff.hub_export <= hub_price <= tariff.hub_import
        require(in_range, "prices: hub price off range", hub_price)
        rule = "prices: substation is not the hub price"
        vector = PostedVector(self.terms.buses, chunk_hashes, self._hash_of, hub_price, rule)
        signers = self.oracles.require_quorum(signed)
        scheduled.prices = vector
        return (
            PricesPosted(
                slot,
                self.oracles.epoch,
                hub_price,
                forecast_import,
                len(chunk_hashes),
                vector.values_hash,
                input_hash,
                certificate_hash,
                signers,
            ),
        )

    def post_prices_chunk(self, by: Caller, slot: int, index: int, words: Sequence[int]) -> tuple[Event, ...]:
        """A chunk of the prices, before T_p; with the last one the prices are in force."""
        require(by.time < self.terms.prices_due(slot), "prices: too late", slot)
        self._add_chunk(self.slot(slot).prices, slot, index, words)
        return (PricesChunk(slot, index, tuple(words)),)

    def post_reading(self, by: Caller, reading: Reading, signer: Address | None) -> tuple[Event, ...]:
        """One reading alone. Raises ReadingRefused where it breaks a rule."""
        reject = self._reject_reading(by, reading, signer)
        if reject is not None:
            raise ReadingRefused(reject, reading)
        return (self._take_reading(reading),)

    def post_readings(
        self, by: Caller, signed: Sequence[tuple[Reading, Address | None]]
    ) -> tuple[Event, ...]:
        """A batch of readings with their signers; one that breaks a rule is skipped with an event."""
        events: list[Event] = []
        for reading, signer in signed:
            reject = self._reject_reading(by, reading, signer)
            if reject is None:
                events.append(self._take_reading(reading))
            else:
                events.append(ReadingRejected(reading.slot, reading.account, reject))
        return tuple(events)

    def post_substation(
        self, by: Caller, slot: int, net_import: int, wholesale: int, passive: Sequence[int]
    ) -> tuple[Event, ...]:
        """The utility's reading at the substation, the wholesale price, packed passive energy; once."""
        self._require_utility(by)
        scheduled, _ = self._scheduled(slot)
        require(by.time >= self.terms.end(slot), "substation: not due", slot)
        require(scheduled.substation is None, "substation: already posted", slot)
        require(len(passive) == word_count(self.terms.buses), "substation: wrong length", len(passive))
        require_tail_empty(passive[-1], self.terms.buses)
        scheduled.substation = SubstationPosted(slot, net_import, wholesale, tuple(passive))
        return (scheduled.substation,)

    # --- settlement -----------------------------------------------------------------------------

    def settle(self, by: Caller, slot: int, accounts: Sequence[Address]) -> tuple[Event, ...]:
        """Settle accounts of the snapshot, skipping those that are; all of the call or, refused, none."""
        scheduled, _ = self._scheduled(slot)
        snapshot = scheduled.book.snapshot
        if snapshot is None:
            raise Refused("settlement: gate is open", slot)
        valuation = self._valuation(by, slot, scheduled)
        bills: dict[int, tuple[Posting, ...]] = {}
        for address in accounts:
            account = self.accounts.get(address)
            require(account.id < snapshot, "settlement: not in the snapshot", address)
            if account.id not in bills and not scheduled.book.position(account).settled:
                bills[account.id] = self._bill(scheduled, account, valuation)
        self.accounts.post(
            Transfer(
                self.accounts.at(account_id),
                amount_neur(postings, Cause.TRADES),
                amount_neur(postings) - amount_neur(postings, Cause.TRADES),
            )
            for account_id, postings in bills.items()
        )
        events: list[Event] = []
        for account_id, postings in bills.items():
            account = self.accounts.at(account_id)
            events.append(self._settled(slot, scheduled, account, valuation, postings))
            if scheduled.settled:
                events.append(SlotSettled(slot))
        return tuple(events)

    def _valuation(self, by: Caller, slot: int, scheduled: Slot) -> Valuation:
        """The rule in force and the slot's prices. Raises Refused while prices may still come."""
        _, tariff = self._scheduled(slot)
        if scheduled.bus_prices is None:
            require(by.time >= self.terms.prices_due(slot), "settlement: no prices yet", slot)
        return Valuation(
            rule_in_force(self.terms.rule, scheduled.bus_prices),
            tariff,
            scheduled.book.charges,
            scheduled.bus_prices,
            self.terms.penalties_ueur_per_kwh,
        )

    @staticmethod
    def _bill(scheduled: Slot, account: Account, valuation: Valuation) -> tuple[Posting, ...]:
        position = scheduled.book.position(account)
        if account.is_utility:
            return settle_trades(position)
        reading = scheduled.readings.get(account.id)
        if reading is None:
            raise Refused("settlement: no reading", account.address)
        return settle(position, reading, account.bus, valuation)

    def _settled(
        self,
        slot: int,
        scheduled: Slot,
        account: Account,
        valuation: Valuation,
        postings: Sequence[Posting],
    ) -> AccountSettled:
        """Mark an account settled and release its reserve."""
        position = scheduled.book.held(account)
        position.settled = True
        self.accounts.reserve(account, position, -position.reserve_neur)
        scheduled.settled_accounts += 1
        contracted_wh = position.net_wh
        metered_wh = 0 if account.is_utility else scheduled.readings[account.id].net_energy
        return AccountSettled(
            slot,
            account.address,
            valuation.rule,
            BY_READING,
            contracted_wh,
            metered_wh,
            delivered_wh(contracted_wh, metered_wh),
            *(amount_neur(postings, cause) for cause in Cause),
        )

    # --- inside ---------------------------------------------------------------------------------

    def _scheduled(self, number: int) -> tuple[Slot, Tariff]:
        slot = self.slot(number)
        if slot.tariff is None:
            raise Refused("slots: not scheduled", number)
        return slot, slot.tariff

    def _require_utility(self, by: Caller) -> None:
        require(by.sender == self.accounts.utility.address, "accounts: not the utility", by.sender)

    def _require_guardian(self, by: Caller) -> None:
        require(by.sender == self.guardian, "accounts: not the guardian", by.sender)

    def _set_paused(self, by: Caller, paused: bool) -> None:
        self._require_guardian(by)
        require(self.paused != paused, "accounts: nothing to change")
        self.paused = paused

    def _place(self, by: Caller, order: Order, signer: Address | None) -> tuple[Event, ...]:
        return self.slot(order.slot).book.apply(Place(order, by.time, by.sender, signer))

    @staticmethod
    def _add_chunk(vector: PostedVector | None, slot: int, index: int, words: Sequence[int]) -> None:
        if vector is None:
            raise Refused("oracle: header not posted", slot)
        vector.add(index, words)

    def _reject_reading(self, by: Caller, reading: Reading, signer: Address | None) -> ReadingReject | None:
        """The first rule that a reading breaks, None where it is good."""
        account = self.accounts.find(reading.account)
        slot = self.slot(reading.slot)
        if account is None or account.is_utility:
            return ReadingReject.UNKNOWN_ACCOUNT
        if signer != account.meter_key:
            return ReadingReject.BAD_SIGNATURE
        due = self.terms.end(reading.slot) <= by.time < self.terms.final(reading.slot)
        if slot.tariff is None or not due:
            return ReadingReject.NOT_DUE
        if reading.epoch != account.meter_epoch:
            return ReadingReject.WRONG_EPOCH
        if account.id in slot.readings:
            return ReadingReject.ALREADY_FINAL
        if len(reading.certified) != len(self.terms.penalties_ueur_per_kwh):
            return ReadingReject.WRONG_CLASSES
        return None

    def _take_reading(self, reading: Reading) -> ReadingPosted:
        account = self.accounts.get(reading.account)
        self._slots[reading.slot].readings[account.id] = reading
        return ReadingPosted(
            reading.slot, reading.account, reading.net_energy, reading.certified, reading.epoch
        )
