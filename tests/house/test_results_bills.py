"""Bills against FiT/retail split exactly; the utility's identity holds and notices a wrong unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.accounts import Position
from market.comparison import Kind, Prices, Term, Trades, tariff_bill
from market.events import AccountSettled
from market.messages import Reading
from market.orders import Fill, Side
from market.settlement import Cause, Valuation, amount_neur, delivered_wh, settle
from market.slots import Rule, Tariff
from node.simulate.bills import (
    Bill,
    FillsMismatchError,
    accounts,
    bill,
    in_words,
    slot_bills,
    total,
    trades_by_account,
)
from node.simulate.result import DayResult
from node.simulate.utility import day_utility_result, utility_result

TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
HUB = 100_000
prices = st.integers(-200_000, 400_000)
energies = st.integers(-20_000, 20_000)
sides = st.tuples(st.integers(0, 20_000), st.integers(-30, 300))
"""Energy in Wh and its price in €/MWh."""


def settled_bill(
    trades: Trades, metered: int, charge: int, price: int, *, rule: Rule = Rule.DLMP, hub: int = HUB
) -> Bill:
    """A bill at bus 1, settled by the market's own formula."""
    contracted = trades.net_wh
    position = Position(net_wh=contracted, trades_neur=trades.net_neur)
    reading = Reading(account="0x", slot=1, net_energy=metered, certified=(), epoch=1)
    postings = settle(position, reading, 1, Valuation(rule, TARIFF, (0, charge), (hub, price)))
    amounts = (amount_neur(postings, cause) for cause in Cause)
    delivered = delivered_wh(contracted, metered)
    record = AccountSettled(1, "0x", int(rule), 0, contracted, metered, delivered, *amounts)
    return bill(record, trades, Prices(TARIFF, charge, price))


def bought(energy_wh: int, price: int) -> Trades:
    return Trades(bought_wh=energy_wh, bought_neur=energy_wh * price)


def sold(energy_wh: int, price: int) -> Trades:
    return Trades(sold_wh=energy_wh, sold_neur=energy_wh * price)


# --- one bill -----------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    purchase=sides,
    sale=sides,
    metered=energies,
    charge=prices,
    price=prices,
    hub=prices,
    rule=st.sampled_from(Rule),
)
def test_terms_sum_to_the_difference(
    *,
    purchase: tuple[int, int],
    sale: tuple[int, int],
    metered: int,
    charge: int,
    price: int,
    hub: int,
    rule: Rule,
) -> None:
    trades = Trades(purchase[0], purchase[0] * purchase[1] * 1_000, sale[0], sale[0] * sale[1] * 1_000)
    found = settled_bill(trades, metered, charge, price, rule=rule, hub=hub)
    assert sum(term.difference_neur for term in found.terms) == found.total_neur - found.tariff_neur
    assert all(term.energy_wh >= 0 for term in found.terms)
    assert len({term.kind for term in found.terms}) == len(found.terms)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    energy=st.integers(1, 20_000),
    price_each=st.integers(-300, 300),
    metered=energies,
    charge=prices,
    price=prices,
    hub=prices,
)
def test_terms_under_dlmp_are_what_their_names_say(
    *, energy: int, price_each: int, metered: int, charge: int, price: int, hub: int
) -> None:
    each = price_each * 1_000
    found = settled_bill(bought(energy, each), metered, charge, price, hub=hub)
    delivered = max(0, min(energy, metered))
    beyond = metered - delivered
    meter = TARIFF.retail if metered > 0 else TARIFF.fit
    assert found.term(Kind.BOUGHT) == (each - TARIFF.hub_import) * delivered
    assert found.term(Kind.NETWORK_IMPORT) == (charge - TARIFF.network_fee) * delivered
    assert found.term(Kind.UNCONSUMED) == (each - hub) * (energy - delivered)
    assert found.term(Kind.EXTRA_IMPORT) + found.term(Kind.EXTRA_EXPORT) == (price - meter) * beyond
    assert found.term(Kind.SOLD) == found.term(Kind.ROUND_TRIP) == 0


@pytest.mark.parametrize(
    ("trades", "metered", "charge", "price", "cause"),
    [
        (bought(1_000, 170_000), 1_000, 80_000, 180_000, Term(Kind.BOUGHT, 1_000, 10_000_000)),
        (bought(1_000, 160_000), 1_000, 90_000, 190_000, Term(Kind.NETWORK_IMPORT, 1_000, 10_000_000)),
        (bought(1_000, 130_000), 0, 5_000, 105_000, Term(Kind.UNCONSUMED, 1_000, 30_000_000)),
        (Trades(), 1_000, 0, 250_000, Term(Kind.EXTRA_IMPORT, 1_000, 10_000_000)),
        (sold(1_000, 60_000), -1_000, 0, 100_000, Term(Kind.SOLD, 1_000, 10_000_000)),
        (sold(1_000, 70_000), -1_000, -5_000, 95_000, Term(Kind.NETWORK_EXPORT, 1_000, 5_000_000)),
        (sold(1_000, 80_000), 0, 0, 100_000, Term(Kind.UNINJECTED, 1_000, 20_000_000)),
        (Trades(), -1_000, 0, 60_000, Term(Kind.EXTRA_EXPORT, 1_000, 10_000_000)),
        (Trades(500, 80_000_000, 500, 75_000_000), 0, 0, 100_000, Term(Kind.ROUND_TRIP, 500, 5_000_000)),
    ],
)
def test_the_cause_of_a_higher_bill_is_named(
    trades: Trades, metered: int, charge: int, price: int, cause: Term
) -> None:
    found = settled_bill(trades, metered, charge, price)
    assert found.worse_off
    assert found.causes == (cause,)
    assert found.difference_neur == cause.difference_neur
    assert in_words(found.causes[0]).endswith(f": +{cause.difference_neur / 1e9:.2f}\N{NO-BREAK SPACE}€")


def test_a_cheaper_bill_has_no_causes() -> None:
    found = settled_bill(bought(1_000, 100_000), 1_000, 10_000, 110_000)
    assert not found.worse_off
    assert found.causes == ()
    assert found.saving_neur == 1_000 * (240_000 - 110_000)


def test_tariff_bill_has_retail_for_import_and_fit_for_export() -> None:
    assert tariff_bill(TARIFF, 3) == 720_000
    assert tariff_bill(TARIFF, -3) == -210_000
    assert tariff_bill(TARIFF, 0) == 0


def test_penalty_is_a_cause() -> None:
    record = AccountSettled(1, "0x", 0, 0, 0, 0, 0, 0, 0, 0, 0, 7)
    found = bill(record, Trades(), Prices(TARIFF, 0, HUB))
    assert found.causes == (Term(Kind.PENALTY, 0, 7),)


@pytest.mark.parametrize("trades", [bought(1_000, 100_001), bought(900, 100_000), Trades()])
def test_fills_that_do_not_sum_to_the_settlement_are_refused(trades: Trades) -> None:
    record = AccountSettled(1, "0xabc", 0, 0, 1_000, 1_000, 1_000, 100_000_000, 0, 0, 0, 0)
    with pytest.raises(FillsMismatchError, match="fills of 0xabc"):
        bill(record, trades, Prices(TARIFF, 0, HUB))


def test_fills_count_for_both_parties() -> None:
    fill = Fill(1, 0, 5, 100, "maker", 0, "taker", 0, Side.ASK)
    assert trades_by_account([fill, fill]) == {
        "maker": Trades(bought_wh=200, bought_neur=100_000),
        "taker": Trades(sold_wh=200, sold_neur=100_000),
    }


def test_a_sum_of_bills_keeps_every_term(day: DayResult) -> None:
    bills = slot_bills(day.slots[0], day.participants)
    whole = total(bills)
    assert whole.total_neur == sum(one.total_neur for one in bills)
    assert all(whole.term(kind) == sum(one.term(kind) for one in bills) for kind in Kind)
    assert whole.difference_neur == sum(term.difference_neur for term in whole.terms)


# --- the utility --------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("seed", range(5))
def test_postings_sum_to_zero_and_the_identity_holds(
    make_day: Callable[..., DayResult], seed: int, rule: Rule
) -> None:
    day = make_day(seed, rule)
    for slot in day.slots:
        found = utility_result(slot, day.participants)
        assert found.payments == 0
        assert found.unexplained == 0
    whole = day_utility_result(day)
    assert whole.result == whole.network + whole.losses + whole.sources.total - whole.sources.surplus


@pytest.mark.parametrize("rule", Rule)
def test_at_equal_readings_savings_are_the_utilitys_loss(
    make_day: Callable[..., DayResult], rule: Rule
) -> None:
    day = make_day(3, rule)
    saving = sum(account.day.saving_neur for account in accounts(day))
    found = day_utility_result(day)
    assert saving == found.without_market - found.result
    assert saving != 0


def test_the_network_fee_is_lost_on_what_prosumers_buy(day: DayResult):
    """From the bills: on retail each kWh bought at a meter pays it, and so does other load, market or not."""
    found = day_utility_result(day)
    bought = [(slot.tariff, max(each.metered, 0)) for slot in day.slots for each in slot.settled]
    lost = sum(tariff.network_fee * metered_wh for tariff, metered_wh in bought)
    assert lost > 0
    assert found.fee_without_market - found.fee_on_load == lost
    (tariff,) = {tariff for tariff, _ in bought}
    assert found.fee_on_load * tariff.retail == found.retail * tariff.network_fee
    assert found.charges == sum(each.charge for slot in day.slots for each in slot.settled)


@pytest.mark.parametrize("field", ["charge", "closeout", "imbalance"])
def test_one_nano_euro_too_much_is_noticed(day: DayResult, field: str) -> None:
    slot = day.slots[0]
    wrong = replace(slot.settled[2], **{field: getattr(slot.settled[2], field) + 1})
    forged = replace(slot, settled=(*slot.settled[:2], wrong, *slot.settled[3:]))
    found = utility_result(forged, day.participants)
    assert found.payments == 1
    assert found.unexplained == 1
