"""Vetoes that are refused: what is no last fill, by whom, when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import vectors
from ledger.keys import derive
from market.orders import Side
from tests.exchange.conftest import CERTIFICATE_HASH, INPUT_HASH, PRICES, VETO_GRACE, Market
from tests.exchange.vetoing import BUYER, IOC, OTHER, SELLER, TICK, asks, picture, to_the_gate


@pytest.fixture
def filled(vetoing: Market) -> Market:
    """Two fills at the gate: the buyer took 30, the other 50."""
    asks(vetoing, 100)
    vetoing.place(vetoing.buyer, vetoing.bid(vetoing.buyer, BUYER, 30, **IOC))
    vetoing.place(vetoing.other, vetoing.bid(vetoing.other, OTHER, 50, **IOC))
    to_the_gate(vetoing)
    return vetoing


WRONG = {
    "taker": {"taker": derive(7, "buyer").address},
    "nonce": {"taker_nonce": 1},
    "class": {"energy_class": 1},
    "class beyond": {"energy_class": 4},
    "last class": {"energy_class": 255},
    "side": {"taker_side": Side.ASK},
    "no side": {"taker_side": 2},
    "far side": {"taker_side": 255},
    "tick": {"tick": TICK + 1},
    "mirrored tick": {"tick": -TICK},
    "no tick": {"tick": -32_768},
    "last tick": {"tick": 32_767},
    "more": {"quantity": 51},
    "less": {"quantity": 49, "cut": 1},
    "before": {"before": b"\0" * 32},
    "before flipped": {"before": b"\xff" * 32},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_veto_names_the_fill_exactly(filled, wrong):
    veto = filled.whole_vetoes()[-1]
    before = picture(filled)
    filled.refused("veto: not the last fill", filled.veto(replace(veto, **wrong)))
    assert picture(filled) == before
    filled.do(filled.veto(veto))


def test_a_cut_is_of_what_was_filled(filled):
    veto = filled.whole_vetoes()[-1]
    for cut in (0, 51, 2**32 - 1):
        filled.refused("veto: more than was filled", filled.veto(replace(veto, cut=cut)))
    filled.do(filled.veto(replace(veto, cut=1)))
    # The same again is not the last fill: 49 are left of it.
    filled.refused("veto: not the last fill", filled.veto(replace(veto, cut=1)))
    filled.refused("veto: more than was filled", filled.veto(replace(veto, quantity=49, cut=50)))


def test_a_fill_that_was_taken_back_is_not_taken_back_again(filled):
    first, second = filled.whole_vetoes()
    filled.do(filled.veto(second))
    filled.refused("veto: not the last fill", filled.veto(second))
    filled.do(filled.veto(first))
    for again in (first, second):
        filled.refused("veto: not the last fill", filled.veto(again))
    assert filled.exchange.position_of(filled.slot, filled.buyer.address).net == 0


def test_vetoes_are_the_utilitys(filled):
    veto = filled.whole_vetoes()[-1]
    for sender in (filled.relayer, filled.guardian, filled.buyer, filled.other):
        filled.refused("accounts: not the utility", filled.veto(veto, sender=sender))
    filled.refused("accounts: not the utility", filled.veto(sender=filled.relayer))
    assert filled.do(filled.veto()) == ()


def test_the_taker_is_an_account(filled):
    stranger = replace(filled.whole_vetoes()[-1], taker=derive(7, "stranger").address)
    filled.refused("accounts: unknown account", filled.veto(stranger))


def test_a_veto_has_its_time(vetoing):
    market, buyer = vetoing, vetoing.buyer
    asks(market, 100)
    market.place(buyer, market.bid(buyer, BUYER, 30, **IOC))
    (veto,) = market.whole_vetoes()
    part = replace(veto, cut=10)
    to_the_gate(market, -1)
    market.refused("veto: not now", market.veto(part))
    market.do(market.veto(part))
    market.refused("book: gate passed", market.cancel(market.seller, 0))
    to_the_gate(market, VETO_GRACE - 2)
    x = market.exchange
    market.refused("book: before closing", x.close_gate(market.slot, 9, sender=market.relayer))
    market.do(market.veto(replace(part, quantity=20)))
    market.refused("veto: not now", market.veto(replace(part, quantity=10)))
    market.close(1)
    market.refused("veto: not now", market.veto(replace(part, quantity=10)))


def test_prices_wait_for_the_end_of_vetoes(vetoing):
    """And forecasts: what is priced and estimated is what nobody takes back any more."""
    market = vetoing
    proofs = market.prove(market.prices_header())
    to_the_gate(market, VETO_GRACE - 2)
    market.refused("forecasts: before closing", market.submit_forecasts(market.forecast_words({})))
    header = market.exchange.post_prices(
        market.slot, PRICES[0], -77, vectors.chunk_hashes(PRICES), INPUT_HASH, CERTIFICATE_HASH, proofs,
        sender=market.relayer,
    )  # fmt: skip
    market.refused("prices: before closing", header)
    market.post_prices()
    market.do(market.submit_forecasts(market.forecast_words({})))


def test_a_veto_is_of_a_scheduled_slot(filled):
    veto = filled.whole_vetoes()[-1]
    for vetoes in ([veto], []):
        sent = filled.exchange.veto_fills(filled.slot - 1, vetoes, sender=filled.utility)
        filled.refused("slots: not scheduled", sent)


def test_a_batch_of_no_vetoes_has_its_time_too(vetoing):
    to_the_gate(vetoing, -1)
    vetoing.refused("veto: not now", vetoing.veto())
    assert vetoing.do(vetoing.veto()) == ()


def test_a_market_without_veto_has_none(trading):
    market, buyer = trading, trading.buyer
    asks(market, 100)
    market.place(buyer, market.bid(buyer, BUYER, 30, **IOC))
    (veto,) = market.whole_vetoes()
    for later in (-1, 1, 300):
        to_the_gate(market, later)
        market.refused("veto: not now", market.veto(veto))
    market.close()
    market.refused("veto: not now", market.veto(veto))


def test_a_fill_of_one_slot_is_none_of_another(veto_market):
    """The same orders in two slots: the hash names the slot through the level."""
    market = veto_market
    market.schedule(count=2)
    market.post_charges()
    market.post_charges(slot=market.slot + 1)
    market.at(market.terms.opens(market.slot + 1))
    for slot in (market.slot, market.slot + 1):
        market.place(market.seller, market.ask(market.seller, SELLER, 100, slot=slot))
        market.place(market.buyer, market.bid(market.buyer, BUYER, 30, slot=slot))
    (veto,) = market.whole_vetoes()
    (foreign,) = replace(market, slot=market.slot + 1).whole_vetoes()
    assert foreign == veto
    to_the_gate(market)
    market.do(market.veto(veto))
    # Its twin of the next slot stands, and cannot be used here.
    market.refused("veto: not the last fill", market.veto(foreign))
    later = replace(market, slot=market.slot + 1)
    assert later.position(market.buyer).net == 30
