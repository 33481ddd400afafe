"""A market on the embedded chain: everything here goes through real transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType

import pytest

from ledger import vectors
from ledger.calls import OracleSignature, SignedOrder, SignedReading
from ledger.chain.embedded import CHAIN_ID, EmbeddedChain
from ledger.chain.protocol import Reverted
from ledger.eip712 import digest
from ledger.exchange import Exchange, deploy, deploy_token
from ledger.keccak import keccak
from ledger.keys import Key, derive
from ledger.sending import transaction_of
from ledger.state import Position
from ledger.token import Token
from market.events import Event
from market.messages import CancelRequest, ChargesHeader, ForecastsHeader, PricesHeader, Reading
from market.orders import Berth, Flag, Order, OrderPlaced, OrdersFilled, Side, Veto
from market.slots import Rule, Terms

GENESIS_SECOND = 900_000_000
INPUT_HASH, CERTIFICATE_HASH = b"\x11" * 32, b"\x22" * 32
EUR = 10**9

RETAIL, NETWORK_FEE, FIT = 300_000, 100_000, 50_000
CHARGES = (0, 1_000, 2_050, -3_000, 0, 0, 0, 0, 0, 0, 0, 70)
HUB_TICK = 100_000
"""Hub price of tick 1 000, which is 101 000, 102 050 and 97 000 at the buses of the three."""
PRICES = (
    120_000,
    125_000,
    122_000,
    115_000,
    120_000,
    120_000,
    120_000,
    120_000,
    120_000,
    120_000,
    120_000,
    9,
)
TERMS = Terms(buses=12, lot_wh=10, penalties_ueur_per_kwh=(30_000, 50_000))
VETO_GRACE = 300
NO_FILLS = b"\0" * 32
"""F before the first fill."""


@dataclass
class Market:
    """One deployed exchange, its people, and a slot to trade in.

    `buyer` is at bus 1, `other` at bus 2, `seller` at bus 3 (may sell class 1); all are rich. `newcomer` is
    not registered yet.
    """

    chain: EmbeddedChain
    exchange: Exchange
    token: Token
    terms: Terms
    relayer: Key
    utility: Key
    guardian: Key
    oracles: list[Key]
    buyer: Key = field(default_factory=lambda: derive(7, "buyer"))
    other: Key = field(default_factory=lambda: derive(7, "other"))
    seller: Key = field(default_factory=lambda: derive(7, "seller"))
    newcomer: Key = field(default_factory=lambda: derive(7, "newcomer"))
    slot: int = GENESIS_SECOND // 900 + 20
    signers: Sequence[int] = (0, 2, 3)
    nonces: dict[tuple[int, str], int] = field(default_factory=dict)

    # --- sending ---

    def do(self, transaction_hash: bytes) -> tuple[Event, ...]:
        return self.exchange.confirm(transaction_hash)

    def refused(self, rule: str, transaction_hash: bytes) -> None:
        receipt = self.chain.receipt(transaction_hash)
        assert receipt.status == 0
        # It changed nothing, so the block it was in answers the same at the same second.
        sent = transaction_of(self.chain, receipt)
        with pytest.raises(Reverted) as caught:
            self.chain.call(sent.to, sent.data, sender=receipt.sender, block=receipt.block_number)
        assert caught.value.reason == rule

    def at(self, second: int) -> None:
        """Let the next transaction run in a block of `second` exactly."""
        self.chain.set_next_timestamp(second)

    # --- people ---

    @property
    def traders(self) -> tuple[Key, Key, Key]:
        return self.buyer, self.other, self.seller

    @property
    def everyone(self) -> list[str]:
        return [self.exchange.account_at(i) for i in range(self.exchange.account_count())]

    def register(
        self,
        key: Key,
        bus: int,
        *,
        import_capacity: int = 100_000,
        export_capacity: int = 100_000,
        credit: int = 0,
        classes: int = 0,
        deposit: int = 100 * EUR,
    ) -> Key:
        self.do(
            self.exchange.register_account(
                key.address, bus, meter_of(key).address, import_capacity, export_capacity, credit, classes,
                sender=self.utility,
            )
        )  # fmt: skip
        if deposit:
            self.do(self.exchange.deposit(key.address, deposit, sender=self.relayer))
        return key

    def balance(self, key: Key) -> int:
        return self.exchange.account_of(key.address).balance

    def reserved(self, key: Key) -> int:
        return self.exchange.account_of(key.address).reserved

    def position(self, key: Key) -> Position:
        return self.exchange.position_of(self.slot, key.address)

    def total(self) -> int:
        """Σ balances + the slot's clearing, n€."""
        return sum(self.exchange.account_of(a).balance for a in self.everyone) + self.clearing()

    def clearing(self) -> int:
        """Of the slot, n€."""
        return self.exchange.slot_of(self.slot).clearing

    # --- trading ---

    def order(self, key: Key, side: Side, limit: int, quantity: int = 100, **more) -> Order:
        slot = more.pop("slot", self.slot)
        if "nonce" not in more:
            more["nonce"] = self.nonces[slot, key.address] = self.nonces.get((slot, key.address), -1) + 1
        energy_class = more.pop("energy_class", 0)
        return Order(
            key.address, slot, more.pop("nonce"), side, energy_class, limit, quantity,
            **{"flags": Flag.NONE} | more,
        )  # fmt: skip

    def bid(self, key: Key, limit: int, quantity: int = 100, **more) -> Order:
        return self.order(key, Side.BID, limit, quantity, **more)

    def ask(self, key: Key, limit: int, quantity: int = 100, **more) -> Order:
        return self.order(key, Side.ASK, limit, quantity, **more)

    def signed(self, key: Key, order: Order) -> SignedOrder:
        return SignedOrder.by(key, self.exchange.domain, order)

    def submit(self, key: Key, order: Order, sender: Key | None = None) -> bytes:
        """Send one order; returns the transaction's hash."""
        signature = key.sign(digest(self.exchange.domain, order))
        return self.exchange.place_order(order, signature, sender=sender or self.relayer)

    def place(self, key: Key, order: Order) -> list[Event]:
        """What followed `OrderPlaced`."""
        first, *rest = self.do(self.submit(key, order))
        assert isinstance(first, OrderPlaced) and first.nonce == order.nonce
        return rest

    def place_all(self, *signed: SignedOrder) -> tuple[Event, ...]:
        """Send orders in as many batches as it takes; all their events."""
        sent = self.exchange.place_orders(signed, sender=self.relayer)
        return tuple(event for one in sent for event in self.do(one))

    def crowd(self, count: int, limit: int = 100_000, quantity: int = 10) -> list[Key]:
        """`count` bids that rest, 16 each of as many accounts at bus 4 as it takes, in their order."""
        keys = [derive(7, "crowd", i) for i in range(-(-count // 16))]
        for key in keys:
            self.register(key, 4, deposit=EUR)
        owners = [keys[i // 16] for i in range(count)]
        events = self.place_all(*(self.signed(key, self.bid(key, limit, quantity)) for key in owners))
        assert [type(event) for event in events] == [OrderPlaced] * count
        return keys

    def cancel(self, key: Key, nonce: int, slot: int | None = None, berth: Berth | None = None) -> bytes:
        request = CancelRequest(key.address, self.slot if slot is None else slot, nonce)
        signature = key.sign(digest(self.exchange.domain, request))
        return self.exchange.cancel_order(request, signature, sender=self.relayer, berth=berth)

    def fills(self, events: Iterable[Event]) -> list[tuple[str, int, int, int]]:
        """Maker, its nonce, tick, Wh of each fill."""
        told = [event for event in events if isinstance(event, OrdersFilled)]
        address_of = cache(self.exchange.account_at)
        return [
            (f.maker, f.maker_nonce, f.tick, f.quantity) for event in told for f in event.fills(address_of)
        ]

    # --- veto ---

    def whole_vetoes(self) -> list[Veto]:
        """What would take back each fill of the slot whole, in the order of the fills: the chain of F."""
        taken: dict[tuple[str, int, int, int, int], int] = {}
        for event in self.exchange.history():
            if isinstance(event, OrdersFilled) and event.slot == self.slot:
                key = (event.taker, event.taker_nonce, event.energy_class, event.taker_side, event.tick)
                taken[key] = taken.get(key, 0) + event.quantity
        before, vetoes = NO_FILLS, []
        for (taker, nonce, energy_class, side, tick), quantity in taken.items():
            vetoes.append(Veto(taker, nonce, energy_class, side, tick, quantity, before, quantity, 0, 0))
            level = level_number(self.slot, energy_class, 1 - side, tick)
            fill = self.exchange.account_of(taker).id << 8 | nonce
            before = fill_hash(before, level, fill, quantity)
        return vetoes

    def veto(self, *vetoes: Veto, sender: Key | None = None) -> bytes:
        """Send vetoes; returns the transaction's hash."""
        return self.exchange.veto_fills(self.slot, vetoes, sender=sender or self.utility)

    # --- a slot's life ---

    def schedule(self, count: int = 1) -> None:
        self.do(self.exchange.schedule_slots(self.slot, count, RETAIL, NETWORK_FEE, FIT, sender=self.utility))

    def prove(self, message, signers: Sequence[int] | None = None) -> list[OracleSignature]:
        proving = self.signers if signers is None else signers
        return [OracleSignature.by(self.oracles[i], self.exchange.domain, i, message) for i in proving]

    def post_charges(self, charges: Sequence[int] = CHARGES, slot: int | None = None) -> None:
        slot = self.slot if slot is None else slot
        header = self.charges_header(charges, slot)
        self.do(
            self.exchange.post_charges(
                slot, vectors.chunk_hashes(charges), INPUT_HASH, CERTIFICATE_HASH, self.prove(header),
                sender=self.relayer,
            )
        )  # fmt: skip
        for index, words in enumerate(vectors.chunked(vectors.pack(charges))):
            self.do(self.exchange.post_charges_chunk(slot, index, words, sender=self.relayer))

    def charges_header(self, charges: Sequence[int] = CHARGES, slot: int | None = None) -> ChargesHeader:
        epoch = self.exchange.oracle_set().epoch
        values_hash = vectors.values_hash(charges)
        return ChargesHeader(
            self.slot if slot is None else slot, epoch, values_hash, INPUT_HASH, CERTIFICATE_HASH
        )

    def prices_header(self, prices: Sequence[int] = PRICES) -> PricesHeader:
        epoch = self.exchange.oracle_set().epoch
        values_hash = vectors.values_hash(prices)
        return PricesHeader(self.slot, epoch, prices[0], -77, values_hash, INPUT_HASH, CERTIFICATE_HASH)

    def open(self, charges: Sequence[int] = CHARGES) -> None:
        """Schedule the slot, post charges, and go to its opening."""
        self.schedule()
        self.post_charges(charges)
        self.at(self.terms.opens(self.slot))

    def close(self, limit: int = 512) -> tuple[Event, ...]:
        """Go to the end of the veto's time and close the gate, `limit` entries a call; all events."""
        self.chain.advance_to(self.terms.closing(self.slot))
        events: list[Event] = []
        while not self.exchange.slot_of(self.slot).gate_closed:
            events += self.do(self.exchange.close_gate(self.slot, limit, sender=self.relayer))
        return tuple(events)

    def post_prices(self, prices: Sequence[int] = PRICES) -> None:
        self.do(
            self.exchange.post_prices(
                self.slot, prices[0], -77, vectors.chunk_hashes(prices), INPUT_HASH, CERTIFICATE_HASH,
                self.prove(self.prices_header(prices)), sender=self.relayer,
            )
        )  # fmt: skip
        for index, words in enumerate(vectors.chunked(vectors.pack(prices))):
            self.do(self.exchange.post_prices_chunk(self.slot, index, words, sender=self.relayer))

    def reading(self, key: Key, net: int, certified: tuple[int, ...] = (0, 0), epoch: int = 1) -> Reading:
        return Reading(key.address, self.slot, net, certified, epoch)

    def signed_reading(self, key: Key, *reading, **more) -> SignedReading:
        return SignedReading.by(meter_of(key), self.exchange.domain, self.reading(key, *reading, **more))

    def submit_reading(self, signed: SignedReading) -> bytes:
        return self.exchange.post_reading(signed.reading, signed.signature, sender=self.relayer)

    def read(self, *readings: SignedReading) -> tuple[Event, ...]:
        """Post readings, after delivery."""
        self.at(self.terms.end(self.slot))
        (sent,) = self.exchange.post_readings(readings, sender=self.relayer)
        return self.do(sent)

    def settle(self, *accounts: str) -> tuple[Event, ...]:
        """Settle accounts once everybody has paid for their trades; all events of the settlement."""
        self.do(self.exchange.clear_trades(self.slot, self.everyone, sender=self.relayer))
        return self.do(self.exchange.settle(self.slot, accounts, sender=self.relayer))

    # --- estimates ---

    def forecast_words(self, forecast: Mapping[str, int]) -> tuple[int, ...]:
        """Net energy by account, in the words of accounts 0 to 255."""
        values = [0] * 256
        for account, net in forecast.items():
            values[self.exchange.account_of(account).id] = net
        return vectors.pack(values)

    def submit_forecasts(
        self,
        words: Sequence[int],
        index: int = 0,
        signers: Sequence[int] | None = None,
        wrong: Mapping[str, object] = MappingProxyType({}),
    ) -> bytes:
        """Send forecasts; `wrong` are fields that were signed otherwise. Returns the transaction's hash."""
        epoch = self.exchange.oracle_set().epoch
        header = ForecastsHeader(self.slot, epoch, index, vectors.chunk_hash(words))
        proofs = self.prove(replace(header, **wrong), signers)
        return self.exchange.post_forecasts(self.slot, index, words, proofs, sender=self.relayer)

    def submit_estimate(self, *accounts: str, words: Sequence[int] = (), index: int = 0) -> bytes:
        return self.exchange.estimate(self.slot, index, words, accounts, sender=self.relayer)

    def estimate(self, *accounts: str, words: Sequence[int] = ()) -> tuple[Event, ...]:
        return self.do(self.submit_estimate(*accounts, words=words))

    def resettle(self, *accounts: str) -> tuple[Event, ...]:
        return self.do(self.exchange.resettle(self.slot, accounts, sender=self.relayer))


def level_number(slot: int, energy_class: int, side: int, tick: int) -> int:
    """A level as the hash over fills names it; the side is the makers'."""
    rank = 32_768 + tick if side == Side.BID else 32_768 - tick
    return slot << 19 | energy_class << 17 | side << 16 | rank


def fill_hash(before: bytes, level: int, fill: int, quantity: int) -> bytes:
    """F after one more fill: keccak256(abi.encode(F before, level, id·2⁸ + nonce of the taker, Wh))."""
    return keccak(before + b"".join(number.to_bytes(32, "big") for number in (level, fill, quantity)))


def meter_of(key: Key) -> Key:
    """Every account's meter has a key of its own."""
    return derive(7, "meter", key.address)


def found(terms: Terms, decimals: int = 9, chain_id: int = CHAIN_ID) -> Market:
    """Deploy a market, and register its people; at the same address on every chain."""
    relayer, utility, guardian = (derive(7, name) for name in ("relayer", "utility", "guardian"))
    oracles = [derive(7, "oracle", i) for i in range(5)]
    funded = [
        relayer,
        utility,
        guardian,
        *(derive(7, name) for name in ("buyer", "other", "seller", "newcomer")),
    ]
    chain = EmbeddedChain(
        genesis_timestamp=GENESIS_SECOND, funded=[key.address for key in funded], chain_id=chain_id
    )
    token = deploy_token(chain, relayer, "Test euro", "TEUR", decimals)
    exchange = deploy(
        chain,
        relayer,
        token=token.address,
        utility=utility.address,
        guardian=guardian.address,
        oracles=[key.address for key in oracles],
        quorum=3,
        terms=terms,
    )
    market = Market(chain, exchange, token, terms, relayer, utility, guardian, oracles)
    market.do(token.mint(relayer.address, 10_000 * 10**decimals, sender=relayer))
    market.do(token.approve(exchange.address, 2**256 - 1, sender=relayer))
    market.register(market.buyer, 1)
    market.register(market.other, 2)
    market.register(market.seller, 3, classes=1)
    market.do(exchange.deposit(utility.address, 1_000 * EUR, sender=relayer))
    return market


def with_token(market: Market, token: Token) -> Market:
    """Another exchange of the same people, whose money is `token`."""
    exchange = deploy(
        market.chain,
        market.relayer,
        token=token.address,
        utility=market.utility.address,
        guardian=market.guardian.address,
        oracles=[key.address for key in market.oracles],
        quorum=3,
        terms=TERMS,
    )
    return replace(market, token=token, exchange=exchange)


def deal(market: Market, seller: Key, buyer: Key, tick: int, quantity: int, *, energy_class: int = 0) -> None:
    """A trade at a hub tick, whatever the charges of the two; nobody else is in the book."""
    for key, side in ((seller, Side.ASK), (buyer, Side.BID)):
        charge = CHARGES[market.exchange.account_of(key.address).bus]
        limit = tick * 100 + charge
        market.place(key, market.order(key, side, limit, quantity, energy_class=energy_class))


@pytest.fixture(scope="session")
def dlmp_base() -> Market:
    return found(TERMS)


@pytest.fixture(scope="session")
def veto_base() -> Market:
    return found(replace(TERMS, veto_grace=VETO_GRACE))


@pytest.fixture(scope="session")
def tariff_base() -> Market:
    return found(replace(TERMS, rule=Rule.TARIFF))


def _fresh(base: Market) -> Iterator[Market]:
    snapshot = base.chain.snapshot()
    yield replace(base, nonces={})
    assert base.chain.revert(snapshot)


@pytest.fixture
def market(dlmp_base: Market) -> Iterator[Market]:
    """A market of rule `dlmp` as it was deployed."""
    yield from _fresh(dlmp_base)


@pytest.fixture
def tariff_market(tariff_base: Market) -> Iterator[Market]:
    """A market of rule `tariff` as it was deployed."""
    yield from _fresh(tariff_base)


@pytest.fixture
def veto_market(veto_base: Market) -> Iterator[Market]:
    """A market with a veto as it was deployed."""
    yield from _fresh(veto_base)


@pytest.fixture
def vetoing(veto_market: Market) -> Market:
    """A market with a veto whose slot is open."""
    veto_market.open()
    return veto_market


@pytest.fixture
def trading(market: Market) -> Market:
    """A market whose slot is open."""
    market.open()
    return market
