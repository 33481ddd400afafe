"""The phases of a slot on the contract's twin alone: no chain, no signatures, no blocks.

For studies that need no proof: `market.exchange` has every rule of the contract, so fills, bills and the
utility's result are those of the same session on a chain (a test compares all tables). One oracle clears,
since its peers would find the same; nothing is kept that an audit could read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ledger.keccak import keccak
from ledger.keys import Key
from ledger.vectors import chunk_hashes, chunked, pack
from market.events import AccountResettled, AccountSettled, Event
from market.exchange import Caller, Exchange
from market.messages import Reading
from market.oracle import VALUES_PER_CHUNK
from market.orders import Address, GateClosed, Order, OrderRejected, Reject
from market.pricing.conditions import Conditions
from market.slots import Tariff, Terms
from node.oracle.signers import Oracles, Proposal, Signer
from node.simulate.session import CLOSE_GATE_BATCH, UTILITY_FUNDS_NEUR, Cast, Member


@dataclass(slots=True)
class SimulatedClock:
    """Time that is told, and never waits."""

    time: int

    def now(self) -> int:
        """The present Unix second."""
        return self.time

    def advance_to(self, timestamp: int) -> None:
        """Go there; time never goes back."""
        self.time = max(self.time, timestamp)


@dataclass(eq=False)
class TwinSession:
    """A market of one twin with its cast; each phase returns the events that the contract would emit."""

    clock: SimulatedClock
    cast: Cast
    terms: Terms
    oracles: Oracles
    token_decimals: int
    twin: Exchange = field(init=False)
    _addresses: list[Address] = field(init=False)

    def __post_init__(self) -> None:
        self.twin = Exchange(
            self.cast.utility.address,
            self.cast.guardian.address,
            self.oracles.addresses,
            self.oracles.quorum,
            self.terms,
            token_decimals=self.token_decimals,
            hash_of=keccak,
        )
        self._addresses = [self.cast.utility.address]
        self.twin.deposit(self._by(self.cast.utility), self.cast.utility.address, UTILITY_FUNDS_NEUR)

    def address_of(self, number: int) -> Address:
        """Who has an account's number."""
        return self._addresses[number]

    def register(self, members: Sequence[Member]) -> None:
        """Register the cast's prosumers in order and fund them."""
        by = self._by(self.cast.utility)
        for key, meter, member in zip(self.cast.prosumers, self.cast.meters, members, strict=True):
            self.twin.register_account(
                by,
                key.address,
                member.bus,
                meter.address,
                member.import_capacity_wh,
                member.export_capacity_wh,
                member.credit_limit_neur,
                member.classes,
            )
            self.twin.deposit(by, key.address, member.deposit_neur)
            self._addresses.append(key.address)

    def schedule(self, first: int, count: int, tariff: Tariff) -> None:
        """Fix the tariff of `count` slots."""
        self.twin.schedule_slots(
            self._by(self.cast.utility), first, count, tariff.retail, tariff.network_fee, tariff.fit
        )

    # --- the phases of a slot -------------------------------------------------------------------

    def post_charges(self, slot: int, conditions: Conditions) -> Proposal:
        """Clear the forecast and post the firm charge of each bus. Raises OracleError."""
        return self.publish_charges(slot, *self.oracles.agree(conditions))

    def publish_charges(self, slot: int, proposal: Proposal, signers: Sequence[Signer]) -> Proposal:
        """Post the firm charges that the oracles agreed on."""
        by, values = self._by(self.cast.relayer), proposal.prices.charges
        hashes = proposal.input_hash, proposal.certificate_hash
        self.twin.post_charges(by, slot, chunk_hashes(values), *hashes, _signed(signers))
        self._in_chunks(values, lambda index, words: self.twin.post_charges_chunk(by, slot, index, words))
        return proposal

    def post_prices(self, slot: int, conditions: Conditions) -> Proposal:
        """Clear the last forecast and post the prices. Raises OracleError."""
        proposal, signers = self.oracles.agree(conditions)
        by, prices = self._by(self.cast.relayer), proposal.prices
        self.twin.post_prices(
            by,
            slot,
            prices.hub_price,
            prices.forecast_import_wh,
            chunk_hashes(prices.bus_price),
            proposal.input_hash,
            proposal.certificate_hash,
            _signed(signers),
        )
        self._in_chunks(
            prices.bus_price, lambda index, words: self.twin.post_prices_chunk(by, slot, index, words)
        )
        return proposal

    def place(self, orders: Sequence[tuple[Key, Order]]) -> tuple[Event, ...]:
        """Place orders in order; what a batch skips for its visits is placed by the next, as on a chain."""
        by, told = self._by(self.cast.relayer), list[Event]()
        waiting = [(order, key.address) for key, order in orders]
        while waiting:
            events = self.twin.place_orders(by, waiting)
            kept = [event for event in events if not _is_unseen(event)]
            told += kept
            skipped = len(events) - len(kept)
            waiting = waiting[len(waiting) - skipped :]
        return tuple(told)

    def close_gate(self, slot: int) -> tuple[Event, ...]:
        """Credit makers and void what rests."""
        events: tuple[Event, ...] = ()
        while not any(isinstance(event, GateClosed) for event in events):
            events += self.twin.close_gate(self._by(self.cast.relayer), slot, CLOSE_GATE_BATCH)
        return events

    def post_readings(self, slot: int, net_energy_wh: Iterable[int | None]) -> tuple[Event, ...]:
        """Every prosumer's reading, in the cast's order; None is of a meter that is silent."""
        readings = [
            (Reading(key.address, slot, int(energy), certified=(), epoch=1), meter.address)
            for key, meter, energy in zip(self.cast.prosumers, self.cast.meters, net_energy_wh, strict=True)
            if energy is not None
        ]
        return self.twin.post_readings(self._by(self.cast.relayer), readings)

    def post_substation(self, slot: int, import_wh: int, wholesale: int, passive_wh: Sequence[int]) -> None:
        """The utility's reading at the substation, the wholesale price, and passive energy by bus."""
        words = pack(passive_wh, signed=False)
        self.twin.post_substation(self._by(self.cast.utility), slot, import_wh, wholesale, words)

    def estimate(self, slot: int) -> tuple[Event, ...]:
        """Put estimates where prosumers' readings are missing, from T1 on; nothing is forecast of them."""
        by = self._by(self.cast.relayer)
        batches = range(0, len(self._addresses), VALUES_PER_CHUNK)  # account numbers are places in the list
        return tuple(
            event
            for index, first in enumerate(batches)
            for event in self.twin.estimate(
                by, slot, index, (), self._addresses[max(first, 1) : first + VALUES_PER_CHUNK]
            )
        )

    def resettle(self, slot: int, accounts: Sequence[Address]) -> tuple[AccountResettled, ...]:
        """Post what late readings change of settlements by estimate."""
        events = self.twin.resettle(self._by(self.cast.relayer), slot, accounts)
        return tuple(event for event in events if isinstance(event, AccountResettled))

    def settle(self, slot: int) -> tuple[AccountSettled, ...]:
        """Settle every account, the utility too, in order of registration."""
        events = self.twin.settle(self._by(self.cast.relayer), slot, self._addresses)
        return tuple(event for event in events if isinstance(event, AccountSettled))

    # --- inside ---------------------------------------------------------------------------------

    def _by(self, key: Key) -> Caller:
        return Caller(key.address, self.clock.time)

    def _in_chunks(
        self, values: Sequence[int], post: Callable[[int, Sequence[int]], tuple[Event, ...]]
    ) -> None:
        for index, words in enumerate(chunked(pack(values))):
            post(index, words)


def _signed(signers: Sequence[Signer]) -> list[tuple[int, Address]]:
    return [(signer.index, signer.key.address) for signer in signers]


def _is_unseen(event: Event) -> bool:
    return isinstance(event, OrderRejected) and event.code == Reject.TOO_MANY_VISITS
