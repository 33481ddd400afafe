"""What holds of settlement for any contracts, readings, prices and tariffs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.messages import Reading
from market.orders import Side
from market.reserves import reserve_per_wh
from market.settlement import (
    Basis,
    Cause,
    Estimate,
    Member,
    Metered,
    Substation,
    Valuation,
    amount_neur,
    delivered_wh,
    estimate,
    resettle,
    rule_in_force,
    settle,
    settle_trades,
    settle_utility,
    slot_identity,
)
from market.slots import Rule, Tariff
from market.units import hub_price
from tests.market.twin_cases import (
    BUSES,
    TARIFF,
    Trade,
    bus_prices,
    charge_values,
    charges,
    members,
    position_of,
    reading,
    rules,
    tariffs,
    trades,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=300)
energies = st.integers(-3_000, 3_000)


@st.composite
def valuations(draw: st.DrawFn, rule: Rule | None = None, classes: int = 0) -> Valuation:
    """Any prices; without a quorum the tariff rule, with or without charges."""
    tariff = draw(tariffs())
    prices = draw(
        st.one_of(bus_prices(tariff), st.just(None) if rule is not Rule.DLMP else bus_prices(tariff))
    )
    market_rule = draw(rules) if rule is None else rule
    posted = draw(st.one_of(charges, st.just(None)))
    penalties = tuple(draw(st.integers(0, 300_000)) for _ in range(classes))
    return Valuation(rule_in_force(market_rule, prices), tariff, posted, prices, penalties)


def utility_of(others: list[Member]):
    """The utility's position: what the others bought of it, at a price of its own."""
    bought_wh = -sum(member.contracted_wh for member in others)
    position = position_of([])
    position.net_wh = bought_wh
    position.trades_neur = -sum(member.position.trades_neur for member in others)
    return position


def bill(member: Member, valuation: Valuation):
    return settle(member.position, member.reading, member.bus, valuation)


# --- delivered energy ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contracted", "metered", "delivered"),
    [
        (50, 70, 50),
        (50, 30, 30),
        (50, -10, 0),
        (-50, -70, -50),
        (-50, -30, -30),
        (-50, 10, 0),
        (0, 9, 0),
        (5, 0, 0),
    ],
)
def test_delivered(contracted, metered, delivered):
    assert delivered_wh(contracted, metered) == delivered


# --- one bill by hand ---------------------------------------------------------------------------


def test_a_bill_under_dlmp_term_by_term():
    valuation = Valuation(Rule.DLMP, TARIFF, (0, 1_000), (120_000, 130_000), (40_000,))
    position = position_of([Trade(Side.BID, 1_150, 100)])
    position.class_net_wh[1] = -30
    postings = settle(position, Reading("0x", 1, 80, (10,), 1), 1, valuation)
    assert [(p.cause, p.energy_wh, p.price, p.amount_neur) for p in postings] == [
        (Cause.TRADES, 100, None, 100 * 115_000),
        (Cause.CHARGE, 80, 1_000, 80_000),
        (Cause.CLOSEOUT, 20, 10_000, 200_000),
        (Cause.IMBALANCE, -20, 130_000, -2_600_000),
        (Cause.PENALTY, 20, 40_000, 800_000),
    ]
    # What was not delivered is worth the hub price: 100·π + 80·ν − 20·λ_0.
    assert amount_neur(postings) - 800_000 == 100 * 115_000 + 80 * 1_000 - 20 * 120_000


@pytest.mark.parametrize(
    ("contracted", "metered", "charge", "expected"),
    [
        (100, 80, 1_000, 100 * 1_000 - 20 * 80_000),  # a cost is due on the whole contract
        (100, 80, -1_000, 80 * -1_000 - 20 * (80_000 - 1_000)),  # a benefit on what is delivered
        (100, 130, 1_000, 100 * 1_000 + 30 * 300_000),
        (100, 130, 150_000, 100 * 150_000 + 30 * 350_000),  # λ⁺ = π_imp + ν where that is above retail
        (-100, -80, 1_000, -80 * 1_000 + 20 * 300_000),
        (-100, -130, -1_000, 100 * 1_000 - 30 * (80_000 - 1_000)),
    ],
)
def test_a_bill_under_tariff(contracted, metered, charge, expected):
    valuation = Valuation(Rule.TARIFF, TARIFF, (0, charge))
    side = Side.BID if contracted > 0 else Side.ASK
    postings = settle(position_of([Trade(side, 0, abs(contracted))]), reading(metered), 1, valuation)
    assert amount_neur(postings) == expected
    assert amount_neur(postings, Cause.CLOSEOUT) == 0


def test_dlmp_without_prices_is_refused_and_falls_back_to_the_tariff():
    with pytest.raises(ValueError, match="cannot settle a slot without prices"):
        Valuation(Rule.DLMP, TARIFF)
    assert rule_in_force(Rule.DLMP, None) is Rule.TARIFF
    assert rule_in_force(Rule.DLMP, (1, 2)) is Rule.DLMP
    assert rule_in_force(Rule.TARIFF, (1, 2)) is Rule.TARIFF


def test_readings_have_an_entry_for_each_class():
    valuation = Valuation(Rule.TARIFF, TARIFF, penalties=(1, 2))
    with pytest.raises(ValueError, match=r"shorter|longer"):
        settle(position_of([]), reading(0, (1,)), 1, valuation)


# --- conservation and the identity --------------------------------------------------------------


@deterministic
@given(st.data())
def test_all_postings_of_a_slot_sum_to_zero(data):
    """The utility's, which comes from sums by bus, against the bills one by one."""
    valuation, others = data.draw(valuations(classes=2)), data.draw(members(classes=2))
    utility = settle_utility(utility_of(others), others, valuation)
    bills = [bill(member, valuation) for member in others]
    for cause in Cause:
        assert amount_neur(utility, cause) == -sum(amount_neur(postings, cause) for postings in bills)
    assert settle_trades(utility_of(others)) == utility[:1]


@deterministic
@given(st.data())
def test_the_slots_identity_holds_to_the_unit(data):
    valuation, others = data.draw(valuations(classes=1)), data.draw(members(classes=1))
    substation = Substation(
        data.draw(st.integers(-20_000, 20_000)),
        data.draw(st.integers(-500_000, 500_000)),
        (0, *(data.draw(st.integers(0, 5_000)) for _ in range(BUSES - 1))),
    )
    identity = slot_identity(utility_of(others), others, substation, valuation)
    assert identity.result == identity.sources.total and identity.holds
    if valuation.rule is Rule.DLMP:
        sources = identity.sources
        assert (sources.charge_margin, sources.imbalance_margin, sources.closeout_forgone) == (0, 0, 0)


def test_the_identity_fails_where_energy_was_lost():
    """It is no tautology: contracts that nobody sold break it."""
    valuation = Valuation(Rule.DLMP, TARIFF, (0, 0), (120_000, 130_000))
    buyer = Member(1, position_of([Trade(Side.BID, 1_150, 100)]), reading(100))
    substation = Substation(100, 120_000, (0, 0))
    assert slot_identity(utility_of([buyer]), [buyer], substation, valuation).holds
    assert not slot_identity(position_of([]), [buyer], substation, valuation).holds


def test_the_sources_of_a_result_by_hand():
    """One buyer of 100 Wh at bus 1 from the utility's ask, 10 Wh passive there, 4 Wh of loss."""
    valuation = Valuation(Rule.DLMP, TARIFF, (0, 1_000), (120_000, 130_000))
    buyer = Member(1, position_of([Trade(Side.BID, 2_000, 100)]), reading(90))
    sources = slot_identity(
        utility_of([buyer]), [buyer], Substation(104, 110_000, (0, 10)), valuation
    ).sources
    assert sources.surplus == 10_000 * (90 + 10) - 120_000 * 4
    assert sources.basis == (1_000 - 10_000) * 90
    assert sources.hub_margin == 120_000 * -100 + 100 * 200_000
    assert sources.passive_margin == (300_000 - 130_000) * 10
    assert sources.wholesale_margin == (120_000 - 110_000) * 104
    assert sources.penalties == 0


# --- estimates ----------------------------------------------------------------------------------


@st.composite
def forecasts(draw: st.DrawFn, others: list[Member]) -> list[int]:
    """Of each account what was forecast: its contract, nothing, or any energy."""
    return [draw(st.one_of(st.just(member.contracted_wh), st.just(0), energies)) for member in others]


def settled_by(member: Member, metered: Metered) -> Member:
    return replace(member, reading=metered)


@deterministic
@given(st.data())
def test_an_estimate_is_what_costs_the_account_more(data):
    valuation, others = data.draw(valuations(classes=1)), data.draw(members(classes=1))
    for member, forecast_wh in zip(others, data.draw(forecasts(others)), strict=True):
        found = estimate(member.position, forecast_wh, member.bus, valuation)
        costs = {
            basis: amount_neur(
                bill(settled_by(member, Estimate(energy_wh, basis, (0,))), valuation),
                Cause.CHARGE,
                Cause.CLOSEOUT,
                Cause.IMBALANCE,
            )
            for basis, energy_wh in ((Basis.CONTRACT, member.contracted_wh), (Basis.FORECAST, forecast_wh))
        }
        assert costs[found.basis] == max(costs.values())
        assert found.net_energy == (member.contracted_wh if found.basis == Basis.CONTRACT else forecast_wh)
        assert found.certified == (0,)
        if costs[Basis.CONTRACT] == max(costs.values()):
            assert found.basis is Basis.CONTRACT


@deterministic
@given(st.data())
def test_estimates_and_resettlement_leave_what_readings_alone_would(data):
    """Sums to zero and the identity with some settled by estimate, and with the differences in the totals."""
    valuation, read = data.draw(valuations(classes=2)), data.draw(members(classes=2))
    guessed = [
        settled_by(member, estimate(member.position, forecast_wh, member.bus, valuation))
        if data.draw(st.booleans())
        else member
        for member, forecast_wh in zip(read, data.draw(forecasts(read)), strict=True)
    ]
    substation = Substation(data.draw(energies), 90_000, (0, 7, 0, 300, 0))
    for others in (guessed, read):
        bills = [bill(member, valuation) for member in others]
        utility = settle_utility(utility_of(others), others, valuation)
        assert amount_neur(utility) == -sum(amount_neur(postings) for postings in bills)
        assert slot_identity(utility_of(others), others, substation, valuation).holds
    for was, now in zip(guessed, read, strict=True):
        change = resettle(now.position, was.reading, now.reading, now.bus, valuation)
        assert [posting.cause for posting in change] == [cause for cause in Cause if cause != Cause.TRADES]
        for posting in change:
            before = amount_neur(bill(was, valuation), posting.cause)
            assert before + posting.amount_neur == amount_neur(bill(now, valuation), posting.cause)
        assert amount_neur(bill(was, valuation), Cause.TRADES) == amount_neur(
            bill(now, valuation), Cause.TRADES
        )


@deterministic
@given(st.data())
def test_who_would_have_metered_the_forecast_gains_nothing_by_silence(data):
    valuation, others = data.draw(valuations(classes=1)), data.draw(members(classes=1))
    for member in others:
        silent = estimate(member.position, member.metered_wh, member.bus, valuation)
        assert amount_neur(bill(settled_by(member, silent), valuation)) >= amount_neur(
            bill(member, valuation)
        )


# --- no money pump ------------------------------------------------------------------------------


@st.composite
def loops(draw: st.DrawFn, same_bus: bool = False) -> list[tuple[int, list[Trade]]]:
    """Accounts (bus, fills) that trade among themselves alone."""
    count = draw(st.integers(2, 5))
    home = draw(st.integers(1, BUSES - 1))
    buses = [home if same_bus else draw(st.integers(1, BUSES - 1)) for _ in range(count)]
    held: list[list[Trade]] = [[] for _ in range(count)]
    for _ in range(draw(st.integers(1, 6))):
        buyer = draw(st.integers(0, count - 1))
        seller = (buyer + draw(st.integers(1, count - 1))) % count
        tick, quantity = draw(st.integers(-32_767, 32_767)), draw(st.integers(1, 500))
        held[buyer].append(Trade(Side.BID, tick, quantity))
        held[seller].append(Trade(Side.ASK, tick, quantity))
    return list(zip(buses, held, strict=True))


@deterministic
@given(loops(), valuations(Rule.DLMP))
def test_dlmp_who_delivers_nothing_nets_to_exactly_nothing(loop, valuation):
    assert total(loop, valuation, metered=lambda held: 0) == 0


@deterministic
@given(loops(), valuations(Rule.TARIFF))
def test_tariff_who_delivers_nothing_pays(loop, valuation):
    assert total(loop, valuation, metered=lambda held: 0) >= 0


@deterministic
@given(loops(same_bus=True), valuations())
def test_a_loop_delivered_at_one_bus_earns_nothing(loop, valuation):
    """Two meters of one owner, one feeding the other: the pair consumes nothing."""
    paid = total(loop, valuation, metered=lambda held: position_of(held).net_wh)
    assert paid == 0 if valuation.rule is Rule.DLMP else paid >= 0


@deterministic
@given(loops(same_bus=True), valuations(Rule.TARIFF), st.data())
def test_tariff_a_loop_at_one_bus_pays_however_much_of_it_is_delivered(loop, valuation, data):
    """Readings that sum to zero at the bus, anywhere between nothing and the whole contract."""
    share = data.draw(st.integers(0, 100))
    nets = [position_of(held).net_wh for _, held in loop]
    metered = [net * share // 100 for net in nets]
    metered[0] -= sum(metered)  # what rounding left over
    bills = [
        settle(position_of(held), reading(m), bus, valuation)
        for (bus, held), m in zip(loop, metered, strict=True)
    ]
    assert sum(amount_neur(postings) for postings in bills) >= 0


@deterministic
@given(loops(), valuations())
def test_a_loop_of_silent_meters_earns_nothing_where_nothing_was_forecast(loop, valuation):
    """Each has what costs it more of its contract and 0: no less than who delivers nothing pays."""
    assert sum(amount_neur(settle_silent(held, 0, bus, valuation)) for bus, held in loop) >= 0


def settle_silent(held, forecast_wh, bus, valuation):
    position = position_of(held)
    return settle(position, estimate(position, forecast_wh, bus, valuation), bus, valuation)


def total(loop, valuation, metered) -> int:
    """What the accounts of a loop pay together."""
    return sum(
        amount_neur(settle(position_of(held), reading(metered(held)), bus, valuation)) for bus, held in loop
    )


# --- reserves and limits ------------------------------------------------------------------------


def reserve_of(held: list[Trade], rule: Rule, charge: int, tariff: Tariff) -> int:
    return sum(
        f.quantity_wh * reserve_per_wh(rule, f.side, hub_price(f.tick), charge, tariff, 0) for f in held
    )


@deterministic
@given(trades, valuations(Rule.DLMP), energies, st.integers(1, BUSES - 1))
def test_dlmp_reserves_cover_every_reading(held, valuation, metered, bus):
    """Beyond the contract energy has its own price: what is left is at most what was reserved."""
    assert valuation.prices is not None
    postings = settle(position_of(held), reading(metered), bus, valuation)
    net_wh = position_of(held).net_wh
    spot = valuation.prices[bus] * (metered - delivered_wh(net_wh, metered))
    cost = amount_neur(postings) - spot
    assert cost <= reserve_of(held, Rule.DLMP, valuation.charge(bus), valuation.tariff)


@deterministic
@given(trades, valuations(Rule.TARIFF), energies, st.integers(1, BUSES - 1))
def test_tariff_reserves_cover_every_reading(held, valuation, metered, bus):
    """Readings between nothing and the contract; what flows beyond these has λ⁺ or λ⁻."""
    net_wh = position_of(held).net_wh
    charge, tariff = valuation.charge(bus), valuation.tariff
    nearest = min(max(metered, min(0, net_wh)), max(0, net_wh))
    beyond = metered - nearest
    spot = beyond * (tariff.shortfall_price(charge) if beyond > 0 else tariff.surplus_price(charge))
    postings = settle(position_of(held), reading(metered), bus, valuation)
    cost = amount_neur(postings) - spot
    assert cost <= reserve_of(held, Rule.TARIFF, charge, tariff)


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("side", Side)
def test_reserves_are_no_larger_than_needed(rule, side):
    """Some reading and price cost exactly what is reserved."""
    fill, charge = Trade(side, 1_500, 10), 20_000
    needed = reserve_of([fill], rule, charge, TARIFF)
    costs = [
        amount_neur(
            settle(position_of([fill]), reading(metered), 1, Valuation(rule, TARIFF, (0, charge), prices))
        )
        for metered in (0, 10 if side == Side.BID else -10)
        for prices in ((TARIFF.hub_export, 0), (TARIFF.hub_import, 0))
    ]
    assert needed == max(0, *costs)


@deterministic
@given(st.data(), valuations(), charge_values)
def test_nobody_is_beyond_the_limit_on_delivered_contracts(data, valuation, slack):
    """Fills at ticks that keep a limit: all-in, a delivered contract costs no more, or earns no less."""
    bus, side = data.draw(st.integers(1, BUSES - 1)), data.draw(st.sampled_from(Side))
    held = [Trade(side, f.tick, f.quantity_wh) for f in data.draw(trades)]
    all_in = [hub_price(f.tick) + valuation.charge(bus) for f in held]
    signed = [price + abs(slack) if side == Side.BID else price - abs(slack) for price in all_in]
    position = position_of(held)
    paid = amount_neur(settle(position, reading(position.net_wh), bus, valuation))
    worth = sum(limit * f.quantity_wh for limit, f in zip(signed, held, strict=True))
    assert paid <= worth if side == Side.BID else -paid >= worth
