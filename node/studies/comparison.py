"""Every mechanism that can run a day, on the same day and feeder, by what each is praised for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from market.events import AccountSettled
from market.feeder.powerflow import violations
from node.scenario import load
from node.scenario.world import build
from node.studies.community import (
    AUCTIONS,
    Auction,
    Benefits,
    Day,
    alone,
    at_mid_market_rate,
    benefits,
    metered,
    traded,
)
from node.studies.study import Table, Value

SCENARIO = "ieee33-day"
ALONE = "FiT/retail"
RULES = ("dlmp", "tariff")
OURS = "Wattbook"


@dataclass(frozen=True, eq=False)
class Mechanism:
    """A day under one mechanism, and the limits that it breaks."""

    name: str
    found: Benefits
    broken: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """All mechanisms on one day of one feeder."""

    feeder: str
    prosumers: int
    slots: int
    mechanisms: tuple[Mechanism, ...]

    def table(self) -> Table:
        """One row a mechanism."""
        without = self.mechanisms[0].found.cost_eur
        rows = tuple(
            (
                each.name,
                f"{each.found.renewable_use:.1%}",
                f"{each.found.cost_eur:.2f}",
                f"{without - each.found.cost_eur:+.2f}",
                f"{each.found.peak_import_mw:.3f}",
                f"{each.found.losses_mwh:.4f}",
                f"{each.found.loading_pu:.3f}",
                str(each.broken),
                str(each.found.better_off),
                str(each.found.worse_off),
            )
            for each in self.mechanisms
        )
        head = ("mechanism", "sun used", "cost €", "saved €", "peak MW", "losses MWh", "line pu", "broken",
                "better off", "worse off")  # fmt: skip
        title = f"The same {self.slots} slots of {self.prosumers} prosumers on {self.feeder}"
        return Table(title, head, rows)

    def to_json(self) -> dict[str, Value]:
        """By mechanism, the benefits by their names."""
        return {
            each.name: {
                "renewable_use": each.found.renewable_use,
                "cost_eur": each.found.cost_eur,
                "peak_import_mw": each.found.peak_import_mw,
                "losses_mwh": each.found.losses_mwh,
                "loading_pu": each.found.loading_pu,
                "violations": each.broken,
                "better_off": each.found.better_off,
                "worse_off": each.found.worse_off,
            }
            for each in self.mechanisms
        }


def compared(seed: int, others: Mapping[str, Auction], settings: Mapping[str, str]) -> Comparison:
    """The day under every mechanism and auctions of a reader's own; `settings` are the scenario's."""
    world = build(load(SCENARIO, dict(settings), seed))
    without = alone(world)
    days = {ALONE: without, "mid-market rate": at_mid_market_rate(world)}
    for name, auction in {**AUCTIONS, **others}.items():
        days[name] = traded(world, auction, seed)
    for rule in RULES:
        days[f"{OURS}, rule {rule}"] = _by_contract(seed, rule, settings)
    mechanisms = tuple(
        Mechanism(name, benefits(world, day, without), len(violations(world.feeder, day.flow)))
        for name, day in days.items()
    )
    return Comparison(world.feeder.name, len(world.bus), world.periods, mechanisms)


def _by_contract(seed: int, rule: str, settings: Mapping[str, str]) -> Day:
    """The day in the real market: charges, the book, prices, delivery and settlement, without a chain."""
    from node.simulate.run import traded_without_ledger  # noqa: PLC0415 - loads solvers

    world = build(load(SCENARIO, {**settings, "market.rule": rule}, seed))
    day = traded_without_ledger(world)
    net = np.array([slot.metered_wh for slot in day.slots], dtype=np.int64)
    bills = np.array([[_bill(settled) for settled in slot.settled] for slot in day.slots], dtype=np.float64)
    return metered(world, net, bills)


def _bill(settled: AccountSettled) -> int:
    """What an account pays for a slot, n€."""
    return settled.trades + settled.charge + settled.closeout + settled.imbalance + settled.penalty
