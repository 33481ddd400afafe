"""Ten houses of a microgrid through winter days: sun or wind, heaters that choose, with trade and without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from market.mechanisms.microgrid import chance_to_run, price_of_running
from market.slots import Tariff
from market.units import Floats
from node.scenario.streams import stream

PEERS, WINDY = 10, 3
DAYS, SLOTS = 60, 48
HOURS = 0.5
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
UEUR_PER_EUR = 1e6
RETAIL, FIT = TARIFF.retail / UEUR_PER_EUR, TARIFF.fit / UEUR_PER_EUR
"""€/kWh; trade inside the microgrid is at the middle."""
LATER = 0.20
"""What heat costs who waits, €/kWh: between the middle and retail, since spare energy may come, or not."""
HEATER_KW = 1.5
WARMEST_C, COLDEST_C, OUTSIDE_C = 21.5, 19.0, 6.0
HOURS_TO_COOL = np.linspace(45.0, 80.0, PEERS)
"""By house: in an hour it loses the difference to outside divided by this."""
DEGREES_PER_KWH = 0.45


@dataclass(frozen=True, eq=False)
class Winter:
    """Loads without heaters and generation, kW, days·slots × peers."""

    load: Floats
    generation: Floats

    @property
    def generated_kwh(self) -> float:
        """What all of them generate."""
        return float(self.generation.sum() * HOURS)

    def scaled_to(self, generated_kwh: float) -> Winter:
        """The same with so much generation of all together, at every time in proportion."""
        return Winter(self.load, self.generation * (generated_kwh / self.generated_kwh))


@dataclass(frozen=True, eq=False)
class Heated:
    """Net consumption with heaters, kWh, days·slots × peers, and the chances of those that had a choice."""

    net: Floats
    mixed: int

    @property
    def exchange(self) -> float:
        """Energy that crosses the microgrid's border either way, kWh."""
        return float(np.abs(self.net.sum(axis=1)).sum())

    @property
    def peak(self) -> float:
        """Mean of the days' greatest import, kW."""
        return float(self.net.sum(axis=1).reshape(DAYS, SLOTS).max(axis=1).mean() / HOURS)


@dataclass(frozen=True, eq=False)
class Compared:
    """The same winter without trade and with it, and what is generated in either, kWh."""

    generated_kwh: float
    without: Heated
    with_trade: Heated

    @property
    def exchange_kwh(self) -> float:
        """How much more crosses the border with trade, kWh."""
        return self.with_trade.exchange - self.without.exchange

    @property
    def exchange_share(self) -> float:
        """The same as a share of what crosses it without."""
        return self.exchange_kwh / self.without.exchange

    @property
    def peak_share(self) -> float:
        """How much higher the mean daily peak is with trade, as a share of the one without."""
        return self.with_trade.peak / self.without.peak - 1.0

    @property
    def used_kwh(self) -> float:
        """What heaters take more with trade, kWh."""
        return float(self.with_trade.net.sum() - self.without.net.sum())


def compared(seed: int, number: int, windy: int, *, as_sunny: bool = False) -> Compared:
    """One winter of a seed with so many windy houses, without trade and with it: the same heaters' luck.

    `as_sunny` scales generation to what it is with sun alone.
    """
    houses = winter(seed, number, windy)
    if as_sunny:
        houses = houses.scaled_to(winter(seed, number, 0).generated_kwh)
    draws = stream(seed, "heaters", number).uniform(size=houses.load.shape)
    return Compared(
        houses.generated_kwh, heated(houses, draws, trading=False), heated(houses, draws, trading=True)
    )


def winter(seed: int, number: int, windy: int) -> Winter:
    """One winter of a seed: the same houses with sun, of which the first `windy` have wind instead."""
    rng = stream(seed, "microgrid", number)
    hour = np.arange(SLOTS) * HOURS
    evening = np.exp(-(((hour - 18.5) / 2.5) ** 2)) + 0.5 * np.exp(-(((hour - 7.5) / 1.5) ** 2))
    load = 0.2 + 0.6 * evening[:, None] * rng.uniform(0.6, 1.4, PEERS)
    load = np.tile(load, (DAYS, 1)) * rng.uniform(0.8, 1.2, (DAYS * SLOTS, PEERS))
    sun = np.clip(np.cos((hour - 12.5) * np.pi / 9), 0.0, None)
    sky = rng.uniform(0.3, 1.0, DAYS)
    pv = (sky[:, None] * sun).ravel()[:, None] * rng.uniform(1.0, 4.0, PEERS)
    gusts = rng.normal(size=DAYS * SLOTS)
    blowing = np.empty(DAYS * SLOTS)
    level = 0.0
    for t, gust in enumerate(gusts):
        level = blowing[t] = 0.97 * level + 0.243 * gust
    turbine = np.clip(0.35 + 0.3 * blowing, 0.0, 1.0)[:, None] * 3.0
    wind = np.arange(PEERS) < windy
    return Winter(load, np.where(wind, turbine, pv))


def heated(winter_of: Winter, draws: Floats, *, trading: bool) -> Heated:
    """Run the heaters: who is cold must, who is warm may not, the others choose, by `draws` from [0, 1)."""
    energy = HEATER_KW * HOURS
    indoors = np.linspace(COLDEST_C, WARMEST_C, PEERS)
    net = (winter_of.load - winter_of.generation) * HOURS
    mixed = 0
    for t in range(len(net)):
        after = indoors + HOURS / HOURS_TO_COOL * (OUTSIDE_C - indoors)
        must, may = after < COLDEST_C, after + DEGREES_PER_KWH * energy <= WARMEST_C
        free = may & ~must
        on = must | (free & (_own_price(net[t], energy) <= LATER))
        others = free & ~on
        if trading and others.any():
            chance = _chance(int(others.sum()), net[t].sum() + energy * on.sum(), energy)
            mixed += 0.0 < chance < 1.0
            on |= others & (draws[t] < chance)
        net[t] += energy * on
        indoors = after + DEGREES_PER_KWH * energy * on
    return Heated(net, mixed)


def _own_price(net: Floats, energy: float) -> Floats:
    """What heat costs each alone: what its own spare energy would have earned, and the rest at retail."""
    own = np.minimum(np.maximum(-net, 0.0), energy)
    return np.asarray((own * FIT + (energy - own) * RETAIL) / energy)


def _chance(undecided: int, net_of_all: float, energy: float) -> float:
    """The chance at which each of the undecided runs, where all together have spare energy or none."""
    spare = max(-float(net_of_all), 0.0)
    price = partial(price_of_running, spare=spare, energy=energy, mid=0.5 * (RETAIL + FIT), retail=RETAIL)
    return chance_to_run(undecided, LATER, price)
