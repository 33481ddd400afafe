"""Forecasts: who posts them, when, and which account's each place is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import vectors
from ledger.keys import derive
from market.events import ForecastsPosted, ReadingEstimated
from tests.exchange.conftest import EUR
from tests.exchange.estimating import BY_FORECAST, to_t1


def test_a_quorum_posts_forecasts_after_the_gate_and_before_readings_are_due(trading):
    market = trading
    words = market.forecast_words({market.buyer.address: -5, market.seller.address: 2**31 - 1})
    assert words[0] == (2**32 - 5) << 32 | (2**31 - 1) << 96 and not any(words[1:])
    market.at(market.terms.closing(market.slot) - 1)
    market.refused("forecasts: before closing", market.submit_forecasts(words))
    assert market.do(market.submit_forecasts(words, signers=(1, 2, 4))) == (
        ForecastsPosted(market.slot, 1, 0, words, 0b10110),
    )
    market.refused("forecasts: already posted", market.submit_forecasts(words))
    # Another index is another forecast, whether there are accounts or not.
    market.do(market.submit_forecasts(words, index=65_535))
    to_t1(market, -1)
    market.do(market.submit_forecasts(words, index=1))
    market.refused("forecasts: too late", market.submit_forecasts(words, index=2))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_forecast_is_of_256_accounts(trading, length):
    market = trading
    market.at(market.terms.gate(market.slot))
    market.refused("forecasts: wrong length", market.submit_forecasts((0,) * length))
    market.do(market.submit_forecasts((0,) * 32))


def test_forecasts_are_signed_as_they_are(trading):
    market = trading
    words = market.forecast_words({market.buyer.address: 5})
    market.at(market.terms.gate(market.slot))
    other = vectors.chunk_hash(market.forecast_words({market.buyer.address: 6}))
    for wrong in ({"index": 1}, {"epoch": 2}, {"slot": market.slot + 1}, {"values_hash": other}):
        market.refused("oracle: bad signature", market.submit_forecasts(words, wrong=wrong))
    market.refused("oracle: quorum not reached", market.submit_forecasts(words, signers=(0, 1)))
    market.refused("oracle: signers not ascending", market.submit_forecasts(words, signers=(1, 0, 2)))
    market.refused("oracle: signers not ascending", market.submit_forecasts(words, signers=(1, 1, 2)))
    market.do(market.submit_forecasts(words))


def test_forecasts_are_of_scheduled_slots(market):
    words = market.forecast_words({})
    market.at(market.terms.gate(market.slot))
    market.refused("slots: not scheduled", market.submit_forecasts(words))


def test_accounts_beyond_the_first_256_are_in_the_next_forecast(market):
    x = market.exchange
    market.open()
    keys = [derive(7, "many", index) for index in range(253)]
    for key in keys:
        market.register(key, 4, deposit=0)
    assert [x.account_of(keys[i].address).id for i in (251, 252)] == [255, 256]
    market.close()
    market.post_prices()
    first = vectors.pack([7] * 256)
    second = vectors.pack([9, *[0] * 255])
    market.do(market.submit_forecasts(first, index=0))
    market.do(market.submit_forecasts(second, index=1))
    to_t1(market)
    last, next_one = keys[251].address, keys[252].address
    market.refused("settlement: not in this forecast", market.submit_estimate(next_one, words=first))
    market.refused("settlement: not in this forecast", market.submit_estimate(last, words=second, index=1))
    assert [
        *market.do(market.submit_estimate(last, words=first)),
        *market.do(market.submit_estimate(next_one, words=second, index=1)),
    ] == [
        ReadingEstimated(market.slot, last, 7, BY_FORECAST),
        ReadingEstimated(market.slot, next_one, 9, BY_FORECAST),
    ]


def test_every_place_of_a_forecast_is_the_accounts_own(market):
    """Ids 1 to 10 are over two words, each with a value of its own."""
    market.open()
    keys = [*market.traders, *(derive(7, "more", index) for index in range(7))]
    for key in keys[3:]:
        market.register(key, 4, deposit=EUR)
    market.close()
    market.post_prices()
    nets = {key.address: 11 * (index + 1) for index, key in enumerate(keys)}
    words = market.forecast_words(nets)
    market.do(market.submit_forecasts(words))
    to_t1(market)
    events = market.estimate(*nets, words=words)
    assert [(event.account, event.net_energy) for event in events] == list(nets.items())
    assert {event.basis for event in events} == {BY_FORECAST}
    stored = replace(market.exchange.reading_of(market.slot, keys[9].address))
    assert not stored.found
