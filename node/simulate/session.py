"""One market on one chain: who takes part, and the phases of a slot as transactions.

`simulate` drives the phases on simulated time, `testnet` on the wall clock. Nothing here waits or
looks at a clock: whoever calls decides when.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field

from ledger import eip712
from ledger.chain.protocol import Chain, LogFilter, Reverted
from ledger.events import events_of, topic
from ledger.exchange import Exchange, SignedOrder, SignedReading, Token, deploy, deploy_token
from ledger.keys import Key, derive, mnemonic_keys
from ledger.vectors import chunk_hashes, chunked, pack
from market.events import AccountResettled, AccountSettled, Event, ForecastsPosted, SlotSettled
from market.messages import Reading
from market.oracle import VALUES_PER_CHUNK
from market.orders import Address, GateClosed, Order
from market.pricing.conditions import Conditions
from market.slots import Tariff, Terms
from node.oracle.signers import Oracles, Proposal, Signer, charges_header, prices_header

CLOSE_GATE_BATCH = 100
UTILITY_FUNDS_NEUR = 1_000_000 * 10**9
"""What the utility deposits before trading starts, so that settlement is funded."""
UNFUNDED = "settlement: utility unfunded"


class Unfunded(RuntimeError):  # noqa: N818 (it says what happened)
    """The utility owes accounts more than it has; all others of the slot are settled."""


@dataclass(frozen=True, eq=False)
class Cast:
    """Everybody's keys. Utility, guardian and relayer pay gas; the others only sign."""

    utility: Key
    guardian: Key
    relayer: Key
    oracles: tuple[Key, ...]
    prosumers: tuple[Key, ...]
    meters: tuple[Key, ...]

    @classmethod
    def from_seed(cls, seed: int, oracles: int, prosumers: int) -> Cast:
        """Keys of a simulated session: gas payers from the well-known test mnemonic, the rest by the seed."""
        *_, guardian, relayer, utility = mnemonic_keys(10)
        return cls(
            utility=utility,
            guardian=guardian,
            relayer=relayer,
            oracles=tuple(derive(seed, "oracle", i) for i in range(oracles)),
            prosumers=tuple(derive(seed, "prosumer", i) for i in range(prosumers)),
            meters=tuple(derive(seed, "meter", i) for i in range(prosumers)),
        )

    @property
    def payers(self) -> tuple[Address, ...]:
        """Who needs the chain's own coin."""
        return self.utility.address, self.guardian.address, self.relayer.address


@dataclass(frozen=True, slots=True)
class Member:
    """What the utility registers of a prosumer; bit c − 1 of `classes`: it may sell class c."""

    bus: int
    import_capacity_wh: int
    export_capacity_wh: int
    credit_limit_neur: int
    deposit_neur: int
    classes: int = 0


@dataclass(eq=False)
class Session:
    """A deployed market with its cast. Each phase sends, waits, and returns the contract's events."""

    chain: Chain
    exchange: Exchange
    token: Token
    terms: Terms
    cast: Cast
    oracles: Oracles
    certificates: MutableMapping[bytes, bytes] = field(default_factory=dict)
    inputs: MutableMapping[bytes, bytes] = field(default_factory=dict)
    _addresses: dict[int, Address] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        chain: Chain,
        cast: Cast,
        terms: Terms,
        oracles: Oracles,
        *,
        quorum: int,
        token_decimals: int,
    ) -> Session:
        """Deploy token and exchange, and fund the utility."""
        token = deploy_token(chain, cast.utility, "Wattbook Euro", "WEUR", token_decimals)
        exchange = deploy(
            chain,
            cast.utility,
            token=token.address,
            utility=cast.utility.address,
            guardian=cast.guardian.address,
            oracles=oracles.addresses,
            quorum=quorum,
            terms=terms,
        )
        session = cls(chain, exchange, token, terms, cast, oracles)
        session._allow_deposits()
        session.deposit(cast.utility.address, UTILITY_FUNDS_NEUR)
        return session

    @property
    def domain(self) -> eip712.Domain:
        """Where signatures of this market count."""
        return eip712.Domain(self.chain.chain_id, self.exchange.address)

    def address_of(self, number: int) -> Address:
        """Who has an account's number; asked of the chain once, since prosumers keep theirs."""
        if number not in self._addresses:
            self._addresses[number] = self.exchange.account_at(number)
        return self._addresses[number]

    # --- before trading -------------------------------------------------------------------------

    def register(self, members: Sequence[Member]) -> None:
        """Register the cast's prosumers in order and fund them."""
        utility = self.cast.utility
        registered = [
            self.exchange.register_account(
                key.address,
                member.bus,
                meter.address,
                member.import_capacity_wh,
                member.export_capacity_wh,
                member.credit_limit_neur,
                member.classes,
                sender=utility,
            )
            for key, meter, member in zip(self.cast.prosumers, self.cast.meters, members, strict=True)
        ]
        self._confirm_all(registered)
        self._confirm_all(
            [
                self.exchange.deposit(key.address, member.deposit_neur, sender=utility)
                for key, member in zip(self.cast.prosumers, members, strict=True)
            ]
        )

    def deposit(self, account: Address, amount_neur: int) -> None:
        """The utility's own tokens go into somebody's balance."""
        self._confirm(self.exchange.deposit(account, amount_neur, sender=self.cast.utility))

    def schedule(self, first: int, count: int, tariff: Tariff) -> None:
        """Fix the tariff of `count` slots."""
        self._confirm_all(self.exchange.schedule_all(first, count, tariff, sender=self.cast.utility))

    # --- the phases of a slot -------------------------------------------------------------------

    def post_charges(self, slot: int, conditions: Conditions) -> Proposal:
        """Clear the forecast and post the firm charge of each bus. Raises OracleError."""
        return self.publish_charges(slot, *self.oracles.agree(conditions))

    def publish_charges(self, slot: int, proposal: Proposal, signers: Sequence[Signer]) -> Proposal:
        """Post the firm charges that a quorum agreed on."""
        self._keep(proposal)
        header = charges_header(slot, self.exchange.oracle_set().epoch, proposal)
        values = proposal.prices.charges
        self._confirm(
            self.exchange.post_charges(
                slot,
                chunk_hashes(values),
                header.input_hash,
                header.certificate_hash,
                tuple(signer.sign(self.domain, header) for signer in signers),
                sender=self.cast.relayer,
            )
        )
        for index, words in enumerate(chunked(pack(values))):
            self._confirm(self.exchange.post_charges_chunk(slot, index, words, sender=self.cast.relayer))
        return proposal

    def post_prices(self, slot: int, conditions: Conditions) -> Proposal:
        """Clear the last forecast and post the prices. Raises OracleError."""
        proposal, signers = self.oracles.agree(conditions)
        self._keep(proposal)
        header = prices_header(slot, self.exchange.oracle_set().epoch, proposal)
        values = proposal.prices.bus_price
        self._confirm(
            self.exchange.post_prices(
                slot,
                header.hub_price,
                header.forecast_import,
                chunk_hashes(values),
                header.input_hash,
                header.certificate_hash,
                tuple(signer.sign(self.domain, header) for signer in signers),
                sender=self.cast.relayer,
            )
        )
        for index, words in enumerate(chunked(pack(values))):
            self._confirm(self.exchange.post_prices_chunk(slot, index, words, sender=self.cast.relayer))
        return proposal

    def place(self, orders: Sequence[tuple[Key, Order]]) -> tuple[Event, ...]:
        """Sign each order with its trader's key and relay them in order."""
        signed = [SignedOrder(order, key.sign(eip712.digest(self.domain, order))) for key, order in orders]
        return self.exchange.relay_orders(signed, sender=self.cast.relayer)

    def close_gate(self, slot: int) -> tuple[Event, ...]:
        """Credit makers and void what rests, in as many calls as it takes."""
        events: tuple[Event, ...] = ()
        while True:
            found = self._confirm(self.exchange.close_gate(slot, CLOSE_GATE_BATCH, sender=self.cast.relayer))
            events += found
            if any(isinstance(event, GateClosed) for event in found):
                return events

    def post_readings(
        self,
        slot: int,
        net_energy_wh: Iterable[int | None],
        certified_wh: Iterable[tuple[int, ...]] | None = None,
    ) -> tuple[Event, ...]:
        """Every prosumer's meter signs its reading, in the cast's order; None is of a meter that is silent.

        Certified generation is by class.
        """
        cast, signed = self.cast, []
        by_class = [()] * len(cast.prosumers) if certified_wh is None else certified_wh
        for key, meter, energy, certified in zip(
            cast.prosumers, cast.meters, net_energy_wh, by_class, strict=True
        ):
            if energy is None:
                continue
            reading = Reading(key.address, slot, net_energy=int(energy), certified=certified, epoch=1)
            signed.append(SignedReading(reading, meter.sign(eip712.digest(self.domain, reading))))
        return self._confirm_all(self.exchange.post_readings(signed, sender=self.cast.relayer))

    def post_substation(self, slot: int, import_wh: int, wholesale: int, passive_wh: Sequence[int]) -> None:
        """The utility's reading at the substation, the wholesale price, and passive energy by bus."""
        self._confirm(
            self.exchange.post_substation(
                slot, import_wh, wholesale, pack(passive_wh, signed=False), sender=self.cast.utility
            )
        )

    def estimate(self, slot: int) -> tuple[Event, ...]:
        """Put estimates where prosumers' readings are missing, from T1 on, by what was forecast of them."""
        accounts = [key.address for key in self.cast.prosumers]
        by_index: dict[int, list[Address]] = {}
        for account in accounts:
            index = self.exchange.account_of(account).id // VALUES_PER_CHUNK
            by_index.setdefault(index, []).append(account)
        return self._confirm_all(
            sent
            for index, members in by_index.items()
            for sent in self.exchange.estimate_all(
                slot, index, self._forecasts_of(slot, index), members, sender=self.cast.relayer
            )
        )

    def settle(self, slot: int) -> tuple[AccountSettled, ...]:
        """Settle every account, the utility too, in bounded batches; in order of registration.

        Raises Unfunded where the utility cannot pay what it owes: then all are settled that need not wait.
        """
        accounts = [self.cast.utility.address, *(key.address for key in self.cast.prosumers)]
        try:
            events = self._confirm_all(self.exchange.settle_all(slot, accounts, sender=self.cast.relayer))
        except Reverted as refusal:
            if refusal.reason != UNFUNDED:
                raise
            events = self._settle_each(slot, accounts)
        if not any(isinstance(event, SlotSettled) for event in events):
            raise RuntimeError(f"slot {slot}: not every account of its snapshot settled")
        return tuple(event for event in events if isinstance(event, AccountSettled))

    def resettle(self, slot: int, accounts: Sequence[Address]) -> tuple[AccountResettled, ...]:
        """Post what late readings change of settlements by estimate."""
        events = self._confirm_all(self.exchange.resettle_all(slot, accounts, sender=self.cast.relayer))
        return tuple(event for event in events if isinstance(event, AccountResettled))

    # --- inside ---------------------------------------------------------------------------------

    def _settle_each(self, slot: int, accounts: Sequence[Address]) -> tuple[Event, ...]:
        """Clear all trades, then settle one by one, those last to whom the utility owes more than it has."""
        relayer = self.cast.relayer
        for _ in range(2):  # who gets money may come before those who pay it
            self._confirm_all(self.exchange.clear_all(slot, accounts, sender=relayer))
        events: list[Event] = []
        waiting = list(accounts)
        while waiting:
            refused = []
            for account in waiting:
                try:
                    events += self._confirm(self.exchange.settle(slot, [account], sender=relayer))
                except Reverted as refusal:
                    if refusal.reason != UNFUNDED:
                        raise
                    refused.append(account)
            if len(refused) == len(waiting):
                raise Unfunded(f"slot {slot}: {len(refused)} accounts wait until the utility has money")
            waiting = refused
        return tuple(events)

    def _forecasts_of(self, slot: int, index: int) -> tuple[int, ...]:
        """Words that were posted as forecasts of an index, none where none were."""
        topics = ((topic(ForecastsPosted),), (slot.to_bytes(32, "big"),))
        logs = self.chain.logs(LogFilter(addresses=(self.exchange.address,), topics=topics))
        posted = [
            event for event in events_of(logs, self.exchange.address) if isinstance(event, ForecastsPosted)
        ]
        return next((event.words for event in posted if event.index == index), ())

    def _allow_deposits(self) -> None:
        """The utility mints test tokens for itself and lets the exchange take them."""
        supply = 10**12 * 10**self.token.decimals
        self._confirm(self.token.mint(self.cast.utility.address, supply, sender=self.cast.utility))
        self._confirm(self.token.approve(self.exchange.address, supply, sender=self.cast.utility))

    def _keep(self, proposal: Proposal) -> None:
        """Before anything is posted: what is on the chain can be proved, whatever ends this process."""
        self.certificates[proposal.certificate_hash] = proposal.certificate
        self.inputs[proposal.input_hash] = proposal.inputs

    def _confirm(self, transaction_hash: bytes) -> tuple[Event, ...]:
        return self.exchange.confirm(transaction_hash)

    def _confirm_all(self, transaction_hashes: Iterable[bytes]) -> tuple[Event, ...]:
        return tuple(event for sent in transaction_hashes for event in self.exchange.confirm(sent))
