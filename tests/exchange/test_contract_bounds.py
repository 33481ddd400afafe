"""Every call at its bounds fits a block of 30 million gas: each worst case is built on a chain, and sent.

Gas here is what a transaction needs, before refunds, which come too late to help it fit. What each test
states is what contracts/README.md says of the call: the page derives the bounds from these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

from contracts import build
from ledger import vectors
from ledger.calls import SignedOrder
from ledger.chain.calls import Call as Message
from ledger.chain.protocol import TRANSACTION_GAS_MAX
from ledger.keccak import keccak
from ledger.keys import Key, derive
from ledger.sending import transaction_of
from market.events import AccountResettled, TradesCleared
from market.fills import chain
from market.messages import ForecastsHeader, OracleSet
from market.orders import (
    Berth,
    FillVetoed,
    Flag,
    GateClosed,
    Order,
    OrderPlaced,
    OrdersFilled,
    OrderVoided,
    Side,
    Veto,
)
from market.slots import Terms
from tests.exchange.conftest import (
    CERTIFICATE_HASH,
    FIT,
    GENESIS_SECOND,
    INPUT_HASH,
    NETWORK_FEE,
    RETAIL,
    Market,
    found,
    meter_of,
)

BUSES = 1_024
CLASSES = 3
TERMS = Terms(
    slot_seconds=60, open_lead=20_000, gate_lead=600, veto_grace=300, lot_wh=10, buses=BUSES,
    penalties_ueur_per_kwh=(30_000, 50_000, 70_000),
)  # fmt: skip
FIRST_SLOT = (GENESIS_SECOND + 40_000) // 60
CHARGES = tuple(10 * bus for bus in range(BUSES))
PEOPLE = 640
CREDIT = 10**18
ORDERS, VISITS, VISITS_OF_ONE = 64, 256, 128
ENTRIES, VETOES, GAPS, BATCH = 512, 64, 1_024, 100
GAPS_OF_ONE = 127
TAKEN, RESTING = 10, 10
"""Wh."""
GAS = {
    "a visit": 39_000,
    "an order": 219_500,
    "placeOrder": 5_200_000,
    "placeOrders": 26_500_000,
    "cancelOrder": 245_000,
    "closeGate": 22_300_000,
    "vetoFills": 15_600_000,
    "clearTrades": 3_800_000,
    "postReadings": 7_000_000,
    "estimate": 4_300_000,
    "settle": 4_700_000,
    "resettle": 4_500_000,
    "scheduleSlots": 23_400_000,
    "postChargesChunk": 800_000,
    "rotateOracles": 370_000,
    "postCharges": 270_000,
    "postForecasts": 230_000,
    "postSubstation": 190_000,
}
"""Gas at most, as contracts/README.md has it: of calls, and of what a batch of orders is made of."""


# --- the market -------------------------------------------------------------------------------------


class Crowd:
    """Many accounts, each at a bus whose charge is in another word than the next one's."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.keys = [derive(7, "many", number) for number in range(PEOPLE)]
        x = market.exchange
        self.confirm(
            x.register_account(
                key.address, 1 + number * 8 % (BUSES - 8), meter_of(key).address, 10**6, 10**6, CREDIT,
                2**CLASSES - 1, sender=market.utility,
            )
            for number, key in enumerate(self.keys)
        )  # fmt: skip
        self._buses = {key: 1 + number * 8 % (BUSES - 8) for number, key in enumerate(self.keys)}
        self._nonces: dict[tuple[int, str], Iterator[int]] = {}

    def confirm(self, sent: Iterable[bytes]) -> None:
        """Let all of it be mined, and have succeeded."""
        for transaction in list(sent):
            assert self.market.chain.receipt(transaction).status == 1

    def bus(self, key: Key) -> int:
        return self._buses[key]

    def open(self, slots: Sequence[int]) -> None:
        """Schedule slots, post all their charges, and go to where all are open."""
        x, market = self.market.exchange, self.market
        market.do(x.schedule_slots(slots[0], len(slots), RETAIL, NETWORK_FEE, FIT, sender=market.utility))
        hashes, chunks = vectors.chunk_hashes(CHARGES), list(vectors.chunked(vectors.pack(CHARGES)))
        for slot in slots:
            proofs = market.prove(market.charges_header(CHARGES, slot))
            header = x.post_charges(slot, hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=market.relayer)
            self.confirm([header])
            self.confirm(
                x.post_charges_chunk(slot, index, words, sender=market.relayer)
                for index, words in enumerate(chunks)
            )
        market.at(TERMS.opens(slots[-1]))
        market.chain.mine()

    def order(  # noqa: PLR0917
        self,
        key: Key,
        slot: int,
        side: Side,
        tick: int,
        quantity: int = RESTING,
        energy_class: int = 1,
        **more,
    ) -> SignedOrder:
        """An order at a hub tick, of the account's next nonce from 30 on."""
        nonces = self._nonces.setdefault((slot, key.address), (n % 256 for n in count(30)))
        limit = 100 * tick + CHARGES[self.bus(key)]
        order = Order(key.address, slot, next(nonces), side, energy_class, limit, quantity, **more)
        return self.market.signed(key, order)

    def place(self, orders: Sequence[SignedOrder]) -> None:
        """Place orders in as many batches as it takes; all are taken."""
        for first in range(0, len(orders), ORDERS):
            sent = self.market.exchange.place_orders(
                orders[first : first + ORDERS], sender=self.market.relayer
            )
            for transaction in sent:
                events = self.market.do(transaction)
                placed = sum(isinstance(event, OrderPlaced) for event in events)
                assert placed == len(orders[first : first + ORDERS])

    def with_gaps(
        self, key: Key, slot: int, side: Side, ticks: Sequence[int], gaps: int = 2
    ) -> list[SignedOrder]:
        """Orders that leave so many gaps at the ticks: an account voids its own by meeting them."""
        made = []
        at_once = 16 // gaps
        worst = min(ticks) if side == Side.BID else max(ticks)
        for first in range(0, len(ticks), at_once):
            made += [
                self.order(key, slot, side, t) for t in ticks[first : first + at_once] for _ in range(gaps)
            ]
            meeting = self.order(key, slot, Side(1 - side), worst, flags=Flag.IMMEDIATE_OR_CANCEL)
            made.append(meeting)
        return made


@pytest.fixture(scope="module")
def crowd_base() -> Crowd:
    return Crowd(replace(found(TERMS), slot=FIRST_SLOT))


@pytest.fixture
def crowd(crowd_base: Crowd) -> Iterator[Crowd]:
    """The market, and nothing placed in it."""
    chain = crowd_base.market.chain
    snapshot = chain.snapshot()
    crowd_base._nonces.clear()
    yield crowd_base
    assert chain.revert(snapshot)


def spent(market: Market, send: Callable[[], bytes | tuple[bytes, ...]]) -> int:
    """Gas that a transaction needs, before refunds; sent by the gateway with its own limit it succeeds."""
    chain = market.chain
    chain.mine()
    state = chain.snapshot()
    sent = send()
    (transaction,) = sent if isinstance(sent, tuple) else (sent,)
    receipt = chain.receipt(transaction)
    called = transaction_of(chain, receipt)
    assert chain.revert(state)
    assert called.gas <= TRANSACTION_GAS_MAX
    execution = chain.execute(Message(called.to, called.data, receipt.sender))
    needed = max(execution.gas_spent, execution.gas_used)
    assert receipt.status == 1, f"out of gas: {needed} of {called.gas} are needed"
    return needed


# --- order entry ------------------------------------------------------------------------------------


def expired_in_the_way(
    crowd: Crowd, slot: int, visits: int, makers: Sequence[Key], pushers: Sequence[Key]
) -> Order:
    """Bids for a taker to meet: all expired but the last, each the third of a level of its own words."""
    market = crowd.market
    ticks = [256 * number - 16_000 for number in range(visits)]
    half = len(ticks) // 2
    crowd.place(crowd.with_gaps(pushers[0], slot, Side.BID, ticks[:half] or ticks))
    if half:
        crowd.place(crowd.with_gaps(pushers[1], slot, Side.BID, ticks[half:]))
    expiry = market.chain.now() + 2_000
    lasting, *expiring = ticks
    orders = [crowd.order(makers[0], slot, Side.BID, lasting, TAKEN)]
    orders += [
        crowd.order(maker, slot, Side.BID, tick, expiry=expiry)
        for maker, tick in zip(makers[1:], expiring, strict=True)
    ]
    crowd.place(orders)


def taker(crowd: Crowd, key: Key, slot: int) -> SignedOrder:
    """An ask of the account's first class trade in a slot: it takes one bid, and is the first to rest."""
    return crowd.order(key, slot, Side.ASK, -16_000, TAKEN + RESTING)


def test_a_batch_of_orders(crowd):
    market = crowd.market
    slots = [FIRST_SLOT + number for number in range(ORDERS)]
    crowd.open(slots)
    takers, pushers, makers = crowd.keys[:ORDERS], crowd.keys[64:70], iter(crowd.keys[70:])
    met = [1] * (ORDERS - 3)
    met += [VISITS_OF_ONE - 1, VISITS - 1 - sum(met) - (VISITS_OF_ONE - 1), VISITS_OF_ONE - 1]
    assert sum(met[:-1]) == VISITS - 1, "the last but one leaves a visit to be made"
    for slot, visits in zip(slots, met, strict=True):
        expired_in_the_way(crowd, slot, visits, [next(makers) for _ in range(visits)], pushers)
    market.at(market.chain.now() + 2_000)
    market.chain.mine()
    batch = [taker(crowd, key, slot) for key, slot in zip(takers, slots, strict=True)]
    needed = spent(market, lambda: market.exchange.place_orders(batch, sender=market.relayer))
    last = spent(market, lambda: market.exchange.place_orders(batch[-1:], sender=market.relayer))
    one = spent(market, lambda: market.exchange.place_orders(batch[:1], sender=market.relayer))
    assert needed < GAS["placeOrders"]
    assert last < GAS["placeOrder"]
    assert (last - one) // (VISITS_OF_ONE - 2) < GAS["a visit"]
    visits = sum(met) - ORDERS
    assert (needed - visits * GAS["a visit"]) // ORDERS < GAS["an order"]
    assert ORDERS * GAS["an order"] + visits * GAS["a visit"] < TRANSACTION_GAS_MAX
    (sent,) = market.exchange.place_orders(batch, sender=market.relayer)
    events = market.do(sent)
    kinds = [type(event) for event in events]
    assert kinds.count(OrderPlaced) == kinds.count(OrdersFilled) == ORDERS
    assert kinds.count(OrderVoided) == sum(met) - ORDERS


def test_a_cancel(crowd):
    """Of a level's last order, with as many gaps behind it as a cancel passes, and another level to find."""
    market, slot, tick = crowd.market, FIRST_SLOT, 1_000
    crowd.open([slot])
    owners = [key for key in crowd.keys[:9] for _ in range(16)][15 : 15 + 1 + GAPS_OF_ONE]
    orders = [crowd.order(key, slot, Side.ASK, tick) for key in owners]
    crowd.place([*orders, crowd.order(crowd.keys[-1], slot, Side.ASK, 2 * tick)])

    def cancel(place: int) -> bytes:
        nonce = orders[place].order.nonce
        return market.cancel(owners[place], nonce, slot, Berth(1, Side.ASK, tick, place))

    for place in range(len(orders) - 1, 0, -1):
        market.do(cancel(place))
    needed = spent(market, lambda: cancel(0))
    assert GAS["cancelOrder"] - 20_000 < needed < GAS["cancelOrder"]
    assert [type(event) for event in market.do(cancel(0))] == [OrderVoided]
    assert market.exchange.best_ask(slot, 1).tick == 2 * tick


# --- after the gate ---------------------------------------------------------------------------------


def test_gate_closure(crowd):
    """Every entry alone on its level, filled in part: its maker is credited in a new word, and voided."""
    market, slot = crowd.market, FIRST_SLOT
    crowd.open([slot])
    makers, takers = crowd.keys[:ENTRIES], crowd.keys[ENTRIES:]
    orders = []
    for number, maker in enumerate(makers):
        tick = 20_000 - 10 * number
        orders.append(crowd.order(maker, slot, Side.ASK, tick, TAKEN + RESTING))
        buyer = takers[number // 200]
        orders.append(crowd.order(buyer, slot, Side.BID, tick, TAKEN, flags=Flag.IMMEDIATE_OR_CANCEL))
    crowd.place(orders)
    market.at(TERMS.closing(slot))
    needed = spent(market, lambda: market.exchange.close_gate(slot, ENTRIES, sender=market.relayer))
    assert needed < GAS["closeGate"]
    events = market.do(market.exchange.close_gate(slot, ENTRIES, sender=market.relayer))
    assert [type(event) for event in events] == [OrderVoided] * ENTRIES + [GateClosed]


def test_vetoes(crowd):
    """As many fills as a call takes back, each of as many makers as an order meets, behind gaps."""
    market, slot = crowd.market, FIRST_SLOT
    crowd.open([slot])
    makers, takers, pushers = crowd.keys[:512], crowd.keys[512 : 512 + VETOES], crowd.keys[600:]
    ticks = [1_000 + 256 * number for number in range(VETOES)]
    sold = [ticks[number // VISITS_OF_ONE] for number in range(VETOES * VISITS_OF_ONE)]
    crowd.place([crowd.order(makers[n % len(makers)], slot, Side.ASK, tick) for n, tick in enumerate(sold)])
    for taken, tick in zip(takers, ticks, strict=True):
        crowd.place([crowd.order(taken, slot, Side.BID, tick, RESTING * VISITS_OF_ONE)])
    for pusher, turns in zip(pushers, (15, 15, 15, 15, 4), strict=False):
        crowd.place(crowd.with_gaps(pusher, slot, Side.ASK, [ticks[-1]] * turns, 16))
    market.at(TERMS.gate(slot))
    vetoes = vetoes_of(market, slot)
    needed = spent(market, lambda: market.exchange.veto_fills(slot, vetoes, sender=market.utility))
    assert needed < GAS["vetoFills"]
    events = market.do(market.exchange.veto_fills(slot, vetoes, sender=market.utility))
    assert [type(event) for event in events] == [FillVetoed] * VETOES


def vetoes_of(market: Market, slot: int) -> list[Veto]:
    """Vetoes of the slot's last fills, whole, the last first."""
    x = market.exchange
    fills = chain(slot, x.history(), lambda who: x.account_of(who).id, keccak)
    return [fill.veto(x.account_at(fill.taker_id), fill.quantity_wh, 0, 0) for fill in reversed(fills)][
        :VETOES
    ]


# --- from delivery to resettlement ------------------------------------------------------------------


def post_prices(crowd: Crowd, slot: int) -> None:
    market, x = crowd.market, crowd.market.exchange
    prices = tuple(FIT + 1_000 + charge for charge in CHARGES)
    proofs = market.prove(market.prices_header(prices))
    hashes = vectors.chunk_hashes(prices)
    sent = [
        x.post_prices(
            slot, prices[0], -77, hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=market.relayer
        )
    ]
    crowd.confirm(sent)
    chunks = vectors.chunked(vectors.pack(prices))
    crowd.confirm(
        x.post_prices_chunk(slot, index, words, sender=market.relayer) for index, words in enumerate(chunks)
    )


def test_clearing_trades(crowd):
    """Accounts that bought on credit, and sellers that delivered; at as many words of their own as can be."""
    market, slot, x = crowd.market, FIRST_SLOT, crowd.market.exchange
    buyers, sellers = crowd.keys[:BATCH], crowd.keys[BATCH : 2 * BATCH]
    crowd.open([slot])
    classes = range(1, CLASSES + 1)
    crowd.place([crowd.order(key, slot, Side.ASK, 1_000, 10, c) for key in sellers for c in classes])
    crowd.place([crowd.order(key, slot, Side.BID, 1_000, 10, c) for key in buyers for c in classes])
    market.close(ENTRIES)
    post_prices(crowd, slot)
    market.at(TERMS.end(slot))
    readings = [market.signed_reading(key, -1_000, (10,) * CLASSES) for key in sellers]
    (sent,) = x.post_readings(readings, sender=market.relayer)
    assert len(market.do(sent)) == BATCH

    def clear(keys: Iterable[Key]) -> bytes:
        return x.clear_trades(slot, [key.address for key in keys], sender=market.relayer)

    for keys in (buyers, sellers):
        assert spent(market, partial(clear, keys)) < GAS["clearTrades"]
        assert [type(event) for event in market.do(clear(keys))] == [TradesCleared] * BATCH


def test_readings_estimates_and_settlement(crowd):
    """Accounts that sold in every class, have nothing, and are estimated before they are read."""
    market, slot, x, relayer = crowd.market, FIRST_SLOT, crowd.market.exchange, crowd.market.relayer
    sellers, buyers = crowd.keys[:BATCH], crowd.keys[BATCH : BATCH + CLASSES]
    crowd.open([slot])
    classes = range(1, CLASSES + 1)
    crowd.place([crowd.order(key, slot, Side.ASK, 1_000, 10, c) for key in sellers for c in classes])
    crowd.place(
        [
            crowd.order(key, slot, Side.BID, 1_000, 10 * BATCH, c)
            for c, key in zip(classes, buyers, strict=True)
        ]
    )
    market.close(ENTRIES)
    market.do(x.clear_trades(slot, [key.address for key in buyers], sender=relayer))
    post_prices(crowd, slot)
    words = market.forecast_words({key.address: 900 for key in sellers})
    market.do(market.submit_forecasts(words))
    market.at(TERMS.readings_due(slot))
    names = [key.address for key in sellers]
    readings = [market.signed_reading(key, 10**6, (7, 8, 9)) for key in sellers]
    assert spent(market, lambda: x.post_readings(readings, sender=relayer)) < GAS["postReadings"]
    assert spent(market, lambda: x.estimate(slot, 0, words, names, sender=relayer)) < GAS["estimate"]
    market.do(x.estimate(slot, 0, words, names, sender=relayer))
    before = market.chain.snapshot()
    (sent,) = x.post_readings(readings, sender=relayer)
    assert len(market.do(sent)) == BATCH
    assert spent(market, lambda: x.settle(slot, names, sender=relayer)) < GAS["settle"]
    assert market.chain.revert(before)
    market.do(x.settle(slot, names, sender=relayer))
    (sent,) = x.post_readings(readings, sender=relayer)
    market.do(sent)
    assert spent(market, lambda: x.resettle(slot, names, sender=relayer)) < GAS["resettle"]
    assert [type(event) for event in market.resettle(*names)] == [AccountResettled] * BATCH
    assert x.uncovered() > 0


# --- what is posted and scheduled -------------------------------------------------------------------


def test_what_a_quorum_of_sixteen_posts(crowd):
    market, slot, x, relayer = crowd.market, FIRST_SLOT, crowd.market.exchange, crowd.market.relayer
    oracles = [derive(7, "oracle", number) for number in range(16)]
    members = tuple(key.address for key in oracles)
    full = replace(market, oracles=oracles, signers=range(16))

    def rotate(by: Market) -> bytes:
        epoch = x.oracle_set().epoch
        proofs = by.prove(OracleSet(epoch, 16, members))
        return x.rotate_oracles(members, 16, proofs, sender=relayer)

    assert spent(market, lambda: rotate(market)) < GAS["rotateOracles"]
    market.do(rotate(market))
    assert spent(market, lambda: rotate(full)) < GAS["rotateOracles"]
    market.do(x.schedule_slots(slot, 1, RETAIL, NETWORK_FEE, FIT, sender=market.utility))
    hashes, chunks = vectors.chunk_hashes(CHARGES), list(vectors.chunked(vectors.pack(CHARGES)))
    proofs = full.prove(full.charges_header(CHARGES, slot))

    def post() -> bytes:
        return x.post_charges(slot, hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=relayer)

    assert spent(market, post) < GAS["postCharges"]
    market.do(post())
    needed = spent(market, lambda: x.post_charges_chunk(slot, 3, chunks[3], sender=relayer))
    assert needed < GAS["postChargesChunk"]
    market.at(TERMS.closing(slot))
    words = (2**256 - 1,) * 32
    forecasts = full.prove(ForecastsHeader(slot, 2, 0, vectors.chunk_hash(words)))
    needed = spent(market, lambda: x.post_forecasts(slot, 0, words, forecasts, sender=relayer))
    assert needed < GAS["postForecasts"]
    market.at(TERMS.end(slot))
    passive = (2**256 - 1,) * (BUSES // 8)
    needed = spent(market, lambda: x.post_substation(slot, 9, 9, passive, sender=market.utility))
    assert needed < GAS["postSubstation"]


def test_a_schedule(crowd):
    x, utility = crowd.market.exchange, crowd.market.utility
    needed = spent(
        crowd.market,
        lambda: x.schedule_slots(FIRST_SLOT, 1_024, RETAIL, NETWORK_FEE, FIT, sender=utility),
    )
    assert needed < GAS["scheduleSlots"]


def test_the_page_shows_the_bounds():
    page = (build.SOURCES.parent / "README.md").read_text("utf-8")
    table = page.split("\n## Bounds\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    shown = {row[0].strip().strip("`"): row[2].strip() for row in cells if row[2].strip()[0].isdigit()}
    assert {name: int(gas.replace(" ", "")) for name, gas in shown.items()} == GAS
