"""Refusals of the twin: each by its rule, and none leaves a trace."""

from __future__ import annotations

import pytest

from ledger import vectors
from market.events import (
    ChargesPosted,
)
from market.messages import CancelRequest
from market.orders import NOBODY, Berth, Side
from tests.market.exchange_cases import (
    END,
    GOOD_READING,
    START,
    WORDS,
    late,
    order,
    post_charges,
    post_prices,
    quorum,
    refused,
)
from tests.market.twin_cases import (
    BUSES,
    CHARGES,
    GUARDIAN,
    ORACLES,
    PRICES,
    RICH_NEUR,
    SLOT,
    TARIFF,
    UTILITY,
    Market,
    market_of,
    meter,
    picture,
    trader,
)


@pytest.fixture
def market() -> Market:
    return market_of(TARIFF, bus_charges=CHARGES)


REFUSED = {
    "register: not the utility": (
        "accounts: not the utility",
        lambda m: m.exchange.register_account(m.by(), trader(8), 1, meter(8), 0, 0, 0, 0),
    ),
    "register: substation": (
        "accounts: no such bus",
        lambda m: m.exchange.register_account(m.by(UTILITY), trader(8), 0, meter(8), 0, 0, 0, 0),
    ),
    "register: beyond the last bus": (
        "accounts: no such bus",
        lambda m: m.exchange.register_account(m.by(UTILITY), trader(8), BUSES, meter(8), 0, 0, 0, 0),
    ),
    "register: again": (
        "accounts: already registered",
        lambda m: m.exchange.register_account(m.by(UTILITY), trader(0), 1, meter(8), 0, 0, 0, 0),
    ),
    "register: no meter": (
        "accounts: nobody",
        lambda m: m.exchange.register_account(m.by(UTILITY), trader(8), 1, NOBODY, 0, 0, 0, 0),
    ),
    "set account: a stranger's": (
        "accounts: unknown account",
        lambda m: m.exchange.set_account(m.by(UTILITY), trader(99), 0, 0, 0, 0),
    ),
    "set account: the utility's": (
        "accounts: is the utility",
        lambda m: m.exchange.set_account(m.by(UTILITY), UTILITY, 0, 0, 0, 0),
    ),
    "set meter: nobody": (
        "accounts: nobody",
        lambda m: m.exchange.set_meter(m.by(UTILITY), trader(0), NOBODY),
    ),
    "role: by another": (
        "accounts: not the guardian",
        lambda m: m.exchange.propose_role(m.by(UTILITY), 1, trader(0)),
    ),
    "role: unknown": (
        "accounts: no such role",
        lambda m: m.exchange.propose_role(m.by(UTILITY), 2, trader(0)),
    ),
    "role: not proposed": ("accounts: not the successor", lambda m: m.exchange.accept_role(m.by(), 0)),
    "pause: by another": ("accounts: not the guardian", lambda m: m.exchange.pause(m.by(UTILITY))),
    "unpause: not paused": ("accounts: nothing to change", lambda m: m.exchange.unpause(m.by(GUARDIAN))),
    "deposit: for a stranger": (
        "accounts: unknown account",
        lambda m: m.exchange.deposit(m.by(), trader(99), 1),
    ),
    "deposit: too much": (
        "accounts: amount too large",
        lambda m: m.exchange.deposit(m.by(), trader(0), 2**80),
    ),
    "withdraw: a stranger": ("accounts: unknown account", lambda m: m.exchange.withdraw(m.by(), 1)),
    "withdraw: reserved": (
        "accounts: insufficient funds",
        lambda m: m.exchange.withdraw(m.by(trader(0)), RICH_NEUR - 10_100_000 + 1),
    ),
    "schedule: too many": (
        "slots: too many",
        lambda m: m.exchange.schedule_slots(m.by(UTILITY), SLOT + 9, 1_025, 3, 1, 2),
    ),
    "schedule: import below export": (
        "slots: import below export",
        lambda m: m.exchange.schedule_slots(m.by(UTILITY), SLOT + 9, 1, 3, 1, 3),
    ),
    "schedule: one is scheduled": (
        "slots: opening passed",
        lambda m: m.exchange.schedule_slots(m.by(UTILITY), SLOT, 2, 3, 1, 2),
    ),
    "schedule: beyond the last": (
        "slots: no such slot",
        lambda m: m.exchange.schedule_slots(m.by(UTILITY), 2**32 - 1, 2, 3, 1, 2),
    ),
    "charges: not scheduled": ("slots: not scheduled", post_charges),
    "charges: late": ("charges: opening passed", lambda m: post_charges(m, SLOT)),
    "charges: again": (
        "charges: already posted",
        lambda m: post_charges(late(m, START - 1), SLOT),
    ),
    "charges chunk: again": (
        "oracle: chunk already posted",
        lambda m: m.exchange.post_charges_chunk(late(m, START - 1).by(), SLOT, 0, vectors.pack(CHARGES)),
    ),
    "prices: early": ("prices: before closing", post_prices),
    "prices: off range": (
        "prices: hub price off range",
        lambda m: post_prices(late(m, END), TARIFF.hub_import + 1),
    ),
    "prices: no quorum": (
        "oracle: quorum not reached",
        lambda m: post_prices(late(m, END), signed=quorum(0, 1)),
    ),
    "prices: one twice": (
        "oracle: signers not ascending",
        lambda m: post_prices(late(m, END), signed=quorum(0, 1, 1)),
    ),
    "prices: a stranger": (
        "oracle: no such oracle",
        lambda m: post_prices(late(m, END), signed=[*quorum(0, 1), (4, ORACLES[3])]),
    ),
    "prices: forged": (
        "oracle: bad signature",
        lambda m: post_prices(late(m, END), signed=[*quorum(0, 1), (2, ORACLES[3])]),
    ),
    "prices: no chunks": (
        "oracle: wrong number of chunks",
        lambda m: post_prices(late(m, END), hashes=()),
    ),
    "prices chunk: no header": (
        "oracle: header not posted",
        lambda m: m.exchange.post_prices_chunk(late(m, END).by(), SLOT, 0, WORDS),
    ),
    "substation: early": (
        "substation: not due",
        lambda m: m.exchange.post_substation(late(m, END - 1).by(UTILITY), SLOT, 0, 0, WORDS),
    ),
    "substation: wrong length": (
        "substation: wrong length",
        lambda m: m.exchange.post_substation(late(m, END).by(UTILITY), SLOT, 0, 0, (0, 0)),
    ),
    "substation: beyond the last bus": (
        "oracle: value beyond the last bus",
        lambda m: m.exchange.post_substation(late(m, END).by(UTILITY), SLOT, 0, 0, (1 << 32 * BUSES,)),
    ),
    "gate: early": ("book: before closing", lambda m: m.exchange.close_gate(m.by(), SLOT, 1)),
    "gate: not scheduled": ("slots: not scheduled", lambda m: m.exchange.close_gate(m.by(), SLOT + 1, 1)),
    "cancel: forged": (
        "book: bad signature",
        lambda m: m.exchange.cancel_order(m.by(), CancelRequest(trader(0), SLOT + 7, 0), Berth(), trader(1)),
    ),
    "order alone": (
        "order: nonce used",
        lambda m: m.exchange.place_order(m.by(), order(0, 0, Side.BID, 90_000), trader(0)),
    ),
    "reading alone": (
        "reading: not due",
        lambda m: m.exchange.post_reading(m.by(), GOOD_READING, meter(0)),
    ),
    "oracles: bad set": (
        "oracle: bad set",
        lambda m: m.exchange.rotate_oracles(m.by(), (ORACLES[0], ORACLES[0]), 1, quorum(0, 1, 2)),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_call_changes_nothing(market, case):
    rule, call = REFUSED[case]
    market.place(order(0, 0, Side.BID, 101_000))
    before = picture(market.exchange)
    with refused(rule):
        call(market)
    assert picture(market.exchange) == before


def test_a_chunk_must_be_the_one_that_was_signed(market):
    late(market, END)
    post_prices(market)
    for words in ((WORDS[0] + (1 << 32),), (*WORDS, 0), ()):
        with refused("oracle: wrong chunk"):
            market.exchange.post_prices_chunk(market.by(), SLOT, 0, words)
    with refused("oracle: no such chunk"):
        market.exchange.post_prices_chunk(market.by(), SLOT, 1, WORDS)
    market.exchange.post_prices_chunk(market.by(), SLOT, 0, WORDS)
    assert market.exchange.slot(SLOT).bus_prices == PRICES


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ((PRICES[0] + 1, *PRICES[1:]), "prices: substation is not the hub price"),
        ((*PRICES, 0, 0, 1), "oracle: value beyond the last bus"),
    ],
)
def test_signed_vectors_that_are_wrong_are_refused(market, values, rule):
    late(market, END)
    post_prices(market, hashes=vectors.chunk_hashes(values))
    with refused(rule):
        market.exchange.post_prices_chunk(market.by(), SLOT, 0, vectors.pack(values))


def test_a_long_vector_comes_in_chunks_in_any_order():
    buses = 300
    market = market_of(TARIFF, bus_charges=None, buses=buses)
    values = tuple((-1) ** bus * bus * 1_000 for bus in range(buses))
    late(market, START - 1)
    (posted,) = post_charges(market, SLOT, vectors.chunk_hashes(values))
    assert isinstance(posted, ChargesPosted)
    assert (posted.chunks, posted.signers, posted.values_hash) == (2, 0b111, vectors.values_hash(values))
    first, second = vectors.chunked(vectors.pack(values))
    market.exchange.post_charges_chunk(market.by(), SLOT, 1, second)
    assert market.exchange.slot(SLOT).book.charges is None
    market.exchange.post_charges_chunk(market.by(), SLOT, 0, first)
    assert market.exchange.slot(SLOT).book.charges == values
