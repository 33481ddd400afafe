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

from market.accounts import Accounts, Refused, Role, require
from market.book import OrderRefused
from market.delivery import Slot
from market.events import (
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    ForecastsPosted,
    OraclesRotated,
    Paused,
    PricesChunk,
    PricesPosted,
    ReadingPosted,
    ReadingRejected,
    RoleAccepted,
    RoleProposed,
    SlotsScheduled,
    SubstationPosted,
    Unpaused,
    Withdrawn,
)
from market.messages import CancelRequest, Reading, ReadingReject
from market.oracle import (
    WORDS_PER_CHUNK,
    Hash,
    Oracles,
    PostedVector,
    Signed,
    require_tail_empty,
    word_count,
)
from market.orders import (
    NOBODY,
    Address,
    Berth,
    Cancel,
    CloseGate,
    Order,
    OrderRejected,
    Place,
    Reject,
    Veto,
    VetoFills,
)
from market.slots import Tariff, Terms

BUSES_MAX = 1_024
TOKEN_DECIMALS_MAX = 36
SLOTS_PER_CALL = 1_024
VISITS_PER_CALL = 256
"""Entries met by the orders of a batch after which no further one is looked at."""
SLOT_LIMIT = 2**32
"""Slots are numbered in 32 bits."""
EXPIRY_LIMIT_SECONDS = 2**21
"""A slot is open for less: an expiry is kept as 21 bits of seconds before the gate."""
"""Roles."""


def require_sound(terms: Terms) -> None:
    """Refuse terms under which no slot could go its way."""
    in_order = 0 < terms.open_lead - terms.gate_lead < EXPIRY_LIMIT_SECONDS
    in_order = in_order and terms.resettle_grace >= terms.meter_grace
    in_order = in_order and terms.resettle_grace > 0  # else no reading would ever be in time
    in_order = in_order and terms.veto_grace <= terms.gate_lead  # fills are certain before delivery begins
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
            RoleAccepted(Role.UTILITY, self.accounts.utility.address),
            RoleAccepted(Role.GUARDIAN, self.guardian),
            OraclesRotated(self.oracles.epoch, self.oracles.quorum, self.oracles.members),
        )

    def slot(self, number: int) -> Slot:
        """A slot, to be read; an empty one where nothing has happened."""
        return self._slots.get(number) or Slot(number, self.terms, self.accounts, self._hash_of)

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
        if role == Role.UTILITY:
            self._require_utility(by)
        else:
            require(role == Role.GUARDIAN, "accounts: no such role", role)
            self._require_guardian(by)
        self._successors[role] = successor
        return (RoleProposed(role, successor),)

    def accept_role(self, by: Caller, role: int) -> tuple[Event, ...]:
        """The successor takes the role; the utility's id goes with it."""
        require(self._successors.get(role) == by.sender, "accounts: not the successor", by.sender)
        if role == Role.UTILITY:
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
        scheduled = self._scheduled(slot)
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
        """A batch of orders with their signers; one that breaks a rule is skipped with an event.

        So are all that come after `VISITS_PER_CALL` entries were met.
        """
        require(not self.paused, "exchange: paused")
        events: list[Event] = []
        visits = 0
        for order, signer in signed:
            if visits >= VISITS_PER_CALL:
                events.append(OrderRejected(order.slot, order.trader, order.nonce, Reject.TOO_MANY_VISITS))
                continue
            before = self.slot(order.slot).book.visits
            events += self._place(by, order, signer)
            visits += self.slot(order.slot).book.visits - before
        return tuple(events)

    def cancel_order(
        self, by: Caller, cancel: CancelRequest, berth: Berth, signer: Address | None
    ) -> tuple[Event, ...]:
        """A trader's cancel, before the gate; it needs no scheduled slot."""
        slot = self.slot(cancel.slot)
        events = slot.book.apply(Cancel(cancel.trader, cancel.nonce, berth, by.time, signer))
        self._slots[cancel.slot] = slot
        return events

    def veto_fills(self, by: Caller, slot: int, vetoes: Sequence[Veto]) -> tuple[Event, ...]:
        """The utility takes back fills, the last of all first, after the gate and before its closing."""
        self._require_utility(by)
        return self.slot(slot).book.apply(VetoFills(tuple(vetoes), by.time))

    def close_gate(self, by: Caller, slot: int, limit: int) -> tuple[Event, ...]:
        """Credit makers and void what rests, `limit` entries; past the last one the gate is closed."""
        return self._scheduled(slot).book.apply(CloseGate(by.time, limit))

    # --- prices, forecasts, readings -----------------------------------------------------------

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
        """A quorum's prices, once nothing can be vetoed any more and before T_p, once; the chunks follow."""
        scheduled = self._scheduled(slot)
        tariff = scheduled.require_scheduled()
        require(by.time >= self.terms.closing(slot), "prices: before closing", slot)
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

    def post_forecasts(
        self, by: Caller, slot: int, index: int, words: Sequence[int], signed: Sequence[Signed]
    ) -> tuple[Event, ...]:
        """A quorum's forecast of accounts 256·index to 256·index + 255, from closing on, before T1, once."""
        scheduled = self._scheduled(slot)
        require(by.time >= self.terms.closing(slot), "forecasts: before closing", slot)
        require(by.time < self.terms.readings_due(slot), "forecasts: too late", slot)
        require(index not in scheduled.forecasts, "forecasts: already posted", index)
        require(len(words) == WORDS_PER_CHUNK, "forecasts: wrong length", len(words))
        signers = self.oracles.require_quorum(signed)
        scheduled.forecasts[index] = tuple(words)
        return (ForecastsPosted(slot, self.oracles.epoch, index, tuple(words), signers),)

    def post_reading(self, by: Caller, reading: Reading, signer: Address | None) -> tuple[Event, ...]:
        """One reading alone. Raises ReadingRefused where it breaks a rule."""
        reject = self.slot(reading.slot).reject_reading(reading, signer, by.time)
        if reject is not None:
            raise ReadingRefused(reject, reading)
        return (self._take_reading(reading),)

    def post_readings(
        self, by: Caller, signed: Sequence[tuple[Reading, Address | None]]
    ) -> tuple[Event, ...]:
        """A batch of readings with their signers; one that breaks a rule is skipped with an event."""
        events: list[Event] = []
        for reading, signer in signed:
            reject = self.slot(reading.slot).reject_reading(reading, signer, by.time)
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
        scheduled = self._scheduled(slot)
        require(by.time >= self.terms.end(slot), "substation: not due", slot)
        require(scheduled.substation is None, "substation: already posted", slot)
        require(len(passive) == word_count(self.terms.buses), "substation: wrong length", len(passive))
        require_tail_empty(passive[-1], self.terms.buses)
        scheduled.substation = SubstationPosted(slot, net_import, wholesale, tuple(passive))
        return (scheduled.substation,)

    # --- settlement -----------------------------------------------------------------------------

    def estimate(
        self, by: Caller, slot: int, index: int, words: Sequence[int], accounts: Sequence[Address]
    ) -> tuple[Event, ...]:
        """From T1 on: estimates for accounts without a reading, by what was forecast of them."""
        posted = self._scheduled(slot).forecasts.get(index, ())
        require(tuple(words) == posted, "settlement: not the forecast", index)
        require(by.time >= self.terms.readings_due(slot), "settlement: readings may still come", slot)
        return self.slot(slot).estimate(index, words, accounts, by.time)

    def clear_trades(self, by: Caller, slot: int, accounts: Sequence[Address]) -> tuple[Event, ...]:
        """Move money for trades ahead of settlement; all of the call or, refused, nothing."""
        return self.slot(slot).clear_trades(accounts, by.time)

    def settle(self, by: Caller, slot: int, accounts: Sequence[Address]) -> tuple[Event, ...]:
        """Settle accounts of the snapshot, skipping those that are; all of the call or, refused, none."""
        return self.slot(slot).settle(accounts, by.time)

    def resettle(self, by: Caller, slot: int, accounts: Sequence[Address]) -> tuple[Event, ...]:
        """Post what late readings change of settlements by estimate; all of the call or, refused, none."""
        return self.slot(slot).resettle(accounts, by.time)

    # --- inside ---------------------------------------------------------------------------------

    def _scheduled(self, number: int) -> Slot:
        slot = self.slot(number)
        slot.require_scheduled()
        return slot

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

    def _take_reading(self, reading: Reading) -> ReadingPosted:
        account = self.accounts.get(reading.account)
        self._slots[reading.slot].readings[account.id] = reading
        return ReadingPosted(
            reading.slot, reading.account, reading.net_energy, reading.certified, reading.epoch
        )
