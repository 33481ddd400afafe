"""The wheel; a small session made by hand: random trades and readings, settled by the market's formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

from market.accounts import Position
from market.comparison import Trades
from market.events import AccountSettled
from market.feeder.powerflow import Violation
from market.messages import Reading
from market.orders import Fill, OrderPlaced, OrderVoided, Side, VoidReason
from market.pricing.conditions import Components, SlotPrices
from market.settlement import Cause, Valuation, amount_neur, delivered_wh, settle, settle_trades
from market.slots import Rule, Tariff
from node.simulate.bills import trades_by_account
from node.simulate.result import DayResult, Ledger, NetworkState, Participant, SlotResult, Welfare
from tests.house.commands import TINY
from tests.house.repository import ROOT

PARENT = (-1, 0, 1, 1, 3)
RATING = (np.inf, 4.0, np.inf, 2.0, 2.0)
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
SLOT_SECONDS = 3_600
FIRST_START = 1_782_172_800  # 2026-06-23T00:00:00Z
UTILITY = "0x" + "0" * 39 + "1"
NAMES = ("first", "second", 'third, "quoted"', "<b>fourth</b> & co", "fifth")

MakeDay = Callable[..., DayResult]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest scenario, in a file of a folder of its own."""
    path = tmp_path_factory.mktemp("scenario") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is shipped, as one file."""
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(built)


@pytest.fixture(scope="session")
def make_day() -> MakeDay:
    """Build a session: `seed` draws it, `shift` moves its slot numbers on the chain."""
    return build_day


@pytest.fixture(scope="session")
def day() -> DayResult:
    """A session of three slots and five prosumers under rule `dlmp`."""
    return build_day()


def build_day(
    seed: int = 13,
    rule: Rule = Rule.DLMP,
    slots: int = 3,
    shift: int = 0,
    violations: Sequence[Violation] = (),
) -> DayResult:
    """A whole session; every number is a function of the arguments."""
    rng = np.random.default_rng(seed)
    participants = tuple(
        Participant(name, f"0x{k + 2:040x}", 1 + k % 4, 5.0, 1.0, 1.0, 20_000, 20_000)
        for k, name in enumerate(NAMES)
    )
    return DayResult(
        scenario_name="by-hand",
        seed=seed,
        rule=rule.name.lower(),
        feeder_name="five-bus",
        bus_names=("S", "A", "B", "C", "D"),
        parent=np.array(PARENT),
        rating=np.array(RATING),
        slot_seconds=SLOT_SECONDS,
        utility_address=UTILITY,
        participants=participants,
        slots=tuple(
            _slot(
                rng,
                index=index,
                shift=shift,
                rule=rule,
                participants=participants,
                violations=violations,
            )
            for index in range(slots)
        ),
        orders_rejected=2,
        ledger=Ledger(
            gas_used=1_234_567,
            head_number=99,
            head_hash="0x" + "ab" * 32,
            exchange_address="0x" + "c" * 40,
        ),
        seconds=1.5,
    )


def _slot(
    rng: np.random.Generator,
    *,
    index: int,
    shift: int,
    rule: Rule,
    participants: Sequence[Participant],
    violations: Sequence[Violation],
) -> SlotResult:
    start = FIRST_START + index * SLOT_SECONDS
    slot = start // SLOT_SECONDS + shift
    charges, prices = _prices(rng), _prices(rng)
    placed, fills, voided = _trading(rng, slot, participants)
    traded = trades_by_account(fills)
    metered = rng.integers(-9_000, 9_000, len(participants))
    passive = np.append(0, rng.integers(0, 30_000, len(PARENT) - 1))
    valuation = Valuation(rule, TARIFF, charges.charges, prices.bus_price)
    settled = tuple(
        settled_record(slot, who, traded.get(who.address, Trades()), int(m), valuation)
        for who, m in zip(participants, metered, strict=True)
    )
    own = traded.get(UTILITY, Trades())
    hub_trades = amount_neur(settle_trades(Position(net_wh=own.net_wh, trades_neur=own.net_neur)))
    return SlotResult(
        index=index,
        slot=slot,
        start=start,
        tariff=TARIFF,
        wholesale=int(rng.integers(-10_000, 200_000)),
        charges=charges,
        prices=prices,
        components=Components(*(rng.normal(0, 10, (1, len(PARENT))) for _ in range(4))),
        reactive_price=rng.normal(0, 1, len(PARENT)),
        atc_rounds=10 + index,
        atc_error=1e-6 * (index + 1),
        charges_shed_wh=np.zeros(len(PARENT), dtype=np.int64),
        prices_shed_wh=np.zeros(len(PARENT), dtype=np.int64),
        placed=placed,
        fills=fills,
        voided=voided,
        contracted_wh=np.array([record.contracted for record in settled]),
        metered_wh=metered,
        passive_wh=passive,
        import_wh=int(metered.sum() + passive.sum() + 321),
        scheduled=_state(rng, violations),
        delivered=_state(rng, ()),
        settled=settled,
        utility=AccountSettled(slot, UTILITY, int(rule), 0, own.net_wh, 0, 0, hub_trades, 0, 0, 0, 0),
        welfare=Welfare(-100.0, -90.0, -140.0, -101.0, -95.0, -145.0, -80.0),
    )


def _prices(rng: np.random.Generator) -> SlotPrices:
    """λ_0 within the tariff's hub prices; λ_b near it, sometimes above retail or below the feed-in tariff."""
    hub = int(rng.integers(TARIFF.hub_export, TARIFF.hub_import + 1))
    return SlotPrices((hub, *(int(hub + nu) for nu in rng.integers(-120_000, 120_000, len(PARENT) - 1))), 5)


def _trading(
    rng: np.random.Generator, slot: int, participants: Sequence[Participant]
) -> tuple[tuple[OrderPlaced, ...], tuple[Fill, ...], tuple[OrderVoided, ...]]:
    """Pairs of orders that meet, the utility among them, and one that expires unmet."""
    addresses = [UTILITY, *(who.address for who in participants)]
    placed, fills = [], []
    for nonce in range(12):
        maker, taker = rng.choice(len(addresses), 2, replace=False)
        tick, quantity = int(rng.integers(600, 1_700)), int(rng.integers(1, 40)) * 100
        taker_side = int(rng.integers(0, 2))
        for who, side in ((maker, 1 - taker_side), (taker, taker_side)):
            placed.append(OrderPlaced(slot, addresses[who], nonce, side, 0, tick, tick * 100, quantity, 0, 0))
        fills.append(
            Fill(slot, 0, tick, quantity, addresses[maker], nonce, addresses[taker], nonce, taker_side)
        )
    expiry = slot * SLOT_SECONDS - 1_800
    unmet = OrderPlaced(slot, addresses[1], 77, Side.BID, 0, 700, 72_345, 500, 0, expiry)
    void = OrderVoided(slot, addresses[1], 77, 500, VoidReason.GATE_CLOSED)
    return (*placed, unmet), tuple(fills), (void,)


def settled_record(
    slot: int, who: Participant, trades: Trades, metered: int, valuation: Valuation
) -> AccountSettled:
    """What the contract would post of an account."""
    position = Position(net_wh=trades.net_wh, trades_neur=trades.net_neur)
    reading = Reading(account=who.address, slot=slot, net_energy=metered, certified=(), epoch=1)
    postings = settle(position, reading, who.bus, valuation)
    return AccountSettled(
        slot,
        who.address,
        int(valuation.rule),
        0,
        trades.net_wh,
        metered,
        delivered_wh(trades.net_wh, metered),
        *(amount_neur(postings, cause) for cause in Cause),
    )


def _state(rng: np.random.Generator, violations: Sequence[Violation]) -> NetworkState:
    lines = np.append(0.0, rng.normal(0, 1, len(PARENT) - 1))
    return NetworkState(
        voltage=rng.uniform(0.95, 1.05, len(PARENT)),
        current=np.abs(lines),
        flow_mw=lines,
        flow_mvar=lines / 2,
        loss_mw=0.01,
        import_mw=float(rng.normal(1, 0.5)),
        violations=tuple(violations),
    )
