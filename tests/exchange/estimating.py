"""A slot whose readings stay away: what was traded and forecast, who is settled for how much."""

from __future__ import annotations

from market.events import AccountResettled, AccountSettled
from tests.exchange.conftest import Market

BY_READING, BY_CONTRACT, BY_FORECAST = 0, 1, 2
CONTRACTED = 200


def traded(market: Market, energy_class: int = 0, prices: bool = True) -> None:
    """The buyer bought 200 Wh of the seller at hub tick 1 000; closed, priced."""
    market.open()
    market.place(market.seller, market.ask(market.seller, 97_000, CONTRACTED, energy_class=energy_class))
    market.place(market.buyer, market.bid(market.buyer, 101_000, CONTRACTED, energy_class=energy_class))
    market.close()
    if prices:
        market.post_prices()


def forecast(market: Market, **nets: int) -> tuple[int, ...]:
    """Post a forecast of these people; its words."""
    words = market.forecast_words({getattr(market, name).address: net for name, net in nets.items()})
    market.do(market.submit_forecasts(words))
    return words


def to_t1(market: Market, later: int = 0) -> None:
    market.at(market.terms.readings_due(market.slot) + later)


def settled(market: Market, *accounts: str) -> list[AccountSettled]:
    return [event for event in market.settle(*accounts) if isinstance(event, AccountSettled)]


def money(bill: AccountSettled | AccountResettled) -> tuple[int, int, int, int]:
    return bill.charge, bill.closeout, bill.imbalance, bill.penalty


def people(market: Market) -> list[str]:
    return [key.address for key in market.traders]
