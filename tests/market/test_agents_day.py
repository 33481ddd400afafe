from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from ledger.keccak import keccak
from market.accounts import Accounts
from market.agents.policies import AgentView, Policy, Truthful, ZeroIntelligenceConstrained
from market.agents.utility import hub_quotes, passive_bid
from market.agents.welfare import alone_schedule, contracted_schedule, gap, welfare
from market.atc.clearing import AtcClearing
from market.book import Book
from market.orders import Order, OrderPlaced, OrderRejected, OrderVoided, Place, Side
from market.pricing.quantise import quantise
from market.slots import Terms
from market.units import WH_PER_MWH, hub_price
from node.simulate.bookview import SlotView
from tests.market.trading_day import PROSUMERS, TARIFF, Hour, midsummer

UTILITY, SENDER = "utility", "relayer"
ROUNDS = 4
TERMS = Terms(slot_seconds=3_600, lot_wh=100)
SLOT = 500_000
TRADING = TERMS.opens(SLOT)


def names() -> list[str]:
    return [f"prosumer-{k}" for k in range(PROSUMERS)]


@dataclass
class Session:
    """One hour traded in the twin: its book, every order sent, every event, and what traders see of them."""

    book: Book
    accounts: Accounts
    hour: Hour
    charges: tuple[int, ...]
    base_mw: float
    capacity_wh: int
    sent: list[Order] = field(default_factory=list)
    events: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen = SlotView(SLOT, lambda number: self.accounts.at(number).address)

    def place(self, order: Order) -> None:
        self.sent.append(order)
        events = self.book.apply(Place(order, TRADING, SENDER, order.trader))
        self.events.extend(events)
        self.seen.apply(events)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def held_wh(self, name: str) -> int:
        """Contracted by fills, a maker's too, whom the book credits only when the gate closes."""
        return self.seen.contracted.get(name, 0)

    def view(self, k: int, turn: int, hub: int) -> AgentView:
        account = self.accounts.get(names()[k])
        nonces = [order.nonce for order in self.sent if order.trader == account.address]
        return AgentView(
            trader=account.address,
            slot=SLOT,
            bus=account.bus,
            round=turn,
            rounds=ROUNDS,
            charge=self.charges[account.bus],
            tariff=TARIFF,
            lot_wh=TERMS.lot_wh,
            hours=1.0,
            base_mw=self.base_mw,
            devices=self.hour.conditions.devices,
            column=k,
            firm_p=float(self.hour.firm_p[k]),
            contracted_wh=self.held_wh(account.address),
            resting_bid_wh=self.seen.resting_wh(account.address, Side.BID),
            resting_ask_wh=self.seen.resting_wh(account.address, Side.ASK),
            best_bid=self.seen.best(Side.BID),
            best_ask=self.seen.best(Side.ASK),
            next_nonce=max(nonces, default=-1) + 1,
            import_capacity_wh=self.capacity_wh,
            export_capacity_wh=self.capacity_wh,
            hub_price=hub,
        )


def trade(feeder, hour: Hour, clearing, policy: Policy, seed: int = 1) -> tuple[Session, object]:
    """Charges from the clearing, the utility's quotes, then rounds in seeded order."""
    solution = clearing(feeder, hour.conditions)
    prices = quantise(solution, feeder, hours=1.0)
    accounts = Accounts(UTILITY)
    largest = int(0.2 * feeder.base_mw * WH_PER_MWH)
    for name, bus in zip(names(), hour.conditions.devices.bus, strict=True):
        accounts.register(name, int(bus), "meter", largest, largest, 10**15, 0)
    book = Book(SLOT, TERMS, accounts, keccak, TARIFF, prices.charges)
    session = Session(book, accounts, hour, prices.charges, feeder.base_mw, largest)
    loss = float((feeder.r_pu * solution.primal.l[0]).sum())
    accounts.utility.balance_neur = 10**18
    quotes = hub_quotes(UTILITY, SLOT, TARIFF, lot_wh=TERMS.lot_wh, bought_wh=PROSUMERS * largest)
    passive_mwh = (hour.passive_p + loss) * feeder.base_mw
    bid = passive_bid(UTILITY, SLOT, TARIFF, prices.hub_price, passive_mwh, lot_wh=TERMS.lot_wh)
    for order in (*quotes, *bid):
        session.place(order)
    assert not session.seen.fills and not session.of(OrderVoided)
    arrivals = np.random.default_rng(seed)
    rngs = [np.random.default_rng([seed, k]) for k in range(PROSUMERS)]
    for turn in range(ROUNDS):
        views = [(k, session.view(k, turn, prices.hub_price)) for k in arrivals.permutation(PROSUMERS)]
        for order in [order for k, view in views for order in policy.orders(view, rngs[k])]:
            session.place(order)
    return session, solution


def welfares(feeder, session: Session, solution) -> np.ndarray:
    """W*, W of the contracts, W_0 of the hour, €."""
    conditions, firm = session.hour.conditions, session.hour.firm_p[None]
    held = [session.held_wh(name) for name in names()]
    contracted = np.array([held]) / (feeder.base_mw * WH_PER_MWH)
    schedules = (
        (solution.primal.gen, solution.primal.load),
        contracted_schedule(conditions, firm, contracted),
        alone_schedule(conditions, firm, np.array([TARIFF.retail / 1e3]), np.array([TARIFF.fit / 1e3])),
    )
    return np.array([welfare(feeder, conditions, schedule)[0] for schedule in schedules])


@pytest.fixture(scope="module")
def day():
    """The whole day traded truthfully."""
    feeder, hours = midsummer()
    clearing = AtcClearing(feeder)
    return feeder, [trade(feeder, hour, clearing, Truthful(), seed) for seed, hour in enumerate(hours)]


def test_truthful_traders_reach_the_optimum(day):
    feeder, sessions = day
    by_hour = np.array([welfares(feeder, *session) for session in sessions])
    central, reached, alone = by_hour.sum(axis=0)
    # the project promises 0.10; whole lots of 100 Wh alone cost about 0.01
    assert 0.0 <= gap(central, reached, alone) <= 0.05
    assert central - alone > 0.02 * abs(central)
    # an hour cannot beat the optimum but for the tie-break's and the solver's tolerance
    assert np.all(by_hour[:, 1] <= by_hour[:, 0] + 1e-3)


def test_the_day_is_busy_and_no_order_is_refused(day):
    _, sessions = day
    assert sum(len(session.of(OrderPlaced)) for session, _ in sessions) >= 1_000
    assert sum(len(session.seen.fills) for session, _ in sessions) >= 300
    assert not [event for session, _ in sessions for event in session.of(OrderRejected)]
    between_peers = [
        fill
        for session, _ in sessions
        for fill in session.seen.fills
        if UTILITY not in (fill.maker, fill.taker)
    ]
    assert len(between_peers) >= 100


def test_limits_are_never_worse_than_the_utility(day):
    _, sessions = day
    for session, _ in sessions:
        for order in session.sent:
            if order.trader == UTILITY:
                continue
            charge = session.charges[session.accounts.get(order.trader).bus]
            if order.side == Side.BID:
                assert order.limit_ueur_per_kwh <= TARIFF.hub_import + charge
            else:
                assert order.limit_ueur_per_kwh >= TARIFF.hub_export + charge


def test_nobody_trades_at_a_loss(day):
    # each fill against the marginal value where it leads to; 0.1 €/MWh for a watt-hour at a corner
    _, sessions = day
    for session, _ in sessions[::3]:
        held = dict.fromkeys(names(), 0)
        for fill in session.seen.fills:
            for who, side in ((fill.taker, fill.taker_side), (fill.maker, 1 - fill.taker_side)):
                if who == UTILITY:
                    continue
                sign = 1 if side == Side.BID else -1
                held[who] += sign * fill.quantity
                view = session.view(names().index(who), 0, 0)
                paid = hub_price(fill.tick) + view.charge
                assert sign * (view.curve.value(held[who]) - paid) >= -100


def test_orders_are_a_handful_per_trader_with_nonces_of_their_own(day):
    _, sessions = day
    for session, _ in sessions:
        for name in names():
            nonces = [order.nonce for order in session.sent if order.trader == name]
            assert nonces == list(range(len(nonces)))
            assert len(nonces) <= 2 * ROUNDS


def test_everything_wanted_is_contracted_at_the_end(day):
    _, sessions = day
    for session, solution in sessions:
        price = np.round(solution.duals.price[0] * 1e3)
        for k, name in enumerate(names()):
            view = session.view(k, ROUNDS - 1, int(price[0]))
            held = session.held_wh(name)
            low, high = sorted(
                (view.curve.net_wh(view.dearest, held), view.curve.net_wh(view.cheapest, held))
            )
            assert low <= held <= high


@pytest.mark.parametrize("seed", [3, 4])
def test_other_days_are_traded_as_well(seed):
    feeder, hours = midsummer(seed)
    clearing = AtcClearing(feeder)
    totals = np.zeros(3)
    for hour in hours[5:20:2]:
        totals += welfares(feeder, *trade(feeder, hour, clearing, Truthful(markup=0.6)))
    assert gap(*totals) <= 0.05


def test_zero_intelligence_trades_without_loss_but_leaves_more_on_the_table(day):
    feeder, sessions = day
    clearing, hour = AtcClearing(feeder), midsummer()[1][12]
    session, solution = trade(feeder, hour, clearing, ZeroIntelligenceConstrained())
    assert len(session.seen.fills) > 50
    assert not session.of(OrderRejected)
    assert gap(*welfares(feeder, session, solution)) > gap(*welfares(feeder, *sessions[12]))


def test_a_day_repeats_for_its_seed_and_differs_for_another():
    feeder, hours = midsummer()

    def sent(seed):
        return trade(feeder, hours[12], AtcClearing(feeder), ZeroIntelligenceConstrained(), seed)[0].sent

    assert sent(5) == sent(5)
    assert sent(5) != sent(6)
