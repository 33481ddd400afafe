"""The world of a scenario: prosumers drawn onto the feeder, and what they and the weather do.

Everything is a function of the scenario and its seed. Each kind of draw has a stream of its own,
named by the seed and a word, so that one more prosumer does not change the weather.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from market import feeder as feeders
from market.agents import profiles
from market.feeder.model import Feeder, FeederError, Limits
from market.pricing.conditions import Conditions, Devices, Hub
from market.pricing.storages import reachable, tube, window
from market.slots import Rule, Tariff, Terms
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH, Floats, Ints
from node.scenario.schema import PV_CAPACITY, ScenarioFile
from node.scenario.storages import Stores, draw
from node.scenario.streams import stream

AZIMUTHS_DEG = (110.0, 180.0, 250.0)
"""Roofs face one of these: east by south, south, west by south."""
FORECAST_FLOOR = 0.05
"""A forecast keeps at least this share of a load, so that its value curve stays defined."""
DAY_SECONDS = 86_400
TOGETHER_MAX = 96
"""Slots that storages couple and one clearing holds: a day of quarter hours, seconds for a solver."""


@dataclass(frozen=True, eq=False)
class Outlook:
    """What happens, or is expected to: arrays periods × buses or periods × prosumers, pu."""

    passive_p: Floats
    passive_q: Floats
    firm_p: Floats
    firm_q: Floats
    devices: Devices


@dataclass(frozen=True, eq=False)
class World:
    """A drawn scenario.

    `actual` is what is delivered; `forecast` what everybody knows when the slot opens; `last` the last
    forecast, from which prices are cleared. Peaks are pu by prosumer; capacities Wh a slot. What storages
    can do is the same in all three.
    """

    scenario: ScenarioFile
    feeder: Feeder
    terms: Terms
    tariff: Tariff
    wholesale: Ints
    bus: Ints
    load_peak: Floats
    pv_peak: Floats
    import_capacity_wh: Ints
    export_capacity_wh: Ints
    actual: Outlook
    forecast: Outlook
    last: Outlook
    stores: Stores

    @property
    def hours(self) -> float:
        """Length of a slot."""
        return self.scenario.slots.seconds / 3_600

    @property
    def periods(self) -> int:
        """Number of slots."""
        return self.scenario.slots.count

    @property
    def first_slot(self) -> int:
        """The first slot's number in the scenario's own calendar."""
        return int(self.scenario.slots.start.timestamp()) // self.scenario.slots.seconds

    @property
    def names(self) -> tuple[str, ...]:
        """Prosumers' names in tables."""
        width = len(str(len(self.bus)))
        return tuple(f"prosumer-{k + 1:0{width}d}" for k in range(len(self.bus)))

    def conditions(self, index: int, outlook: Outlook | None = None) -> Conditions:
        """Clearing inputs of one slot, on the opening forecast unless another outlook is given."""
        view = outlook or self.forecast
        return Conditions(
            fixed_p=(view.passive_p[index] + self.by_bus(view.firm_p[index]))[None, :],
            fixed_q=(view.passive_q[index] + self.by_bus(view.firm_q[index]))[None, :],
            hub=Hub(
                import_price=np.array([self.tariff.hub_import / UEUR_PER_KWH_PER_EUR_PER_MWH]),
                export_price=np.array([self.tariff.hub_export / UEUR_PER_KWH_PER_EUR_PER_MWH]),
            ),
            devices=period(view.devices, index),
            hours=self.hours,
            voll=self.scenario.oracle.voll_eur_per_mwh,
        )

    def day_of(self, index: int) -> range:
        """The slots that are cleared together with a slot: its day of the session, or a part of it."""
        length = min(DAY_SECONDS // self.scenario.slots.seconds, TOGETHER_MAX)
        first = index // length * length
        return range(first, min(first + length, self.periods))

    def day_conditions(
        self, slots: range, outlook: Outlook, energy: Floats, first_slot: int = 0
    ) -> Conditions:
        """Clearing inputs of several slots, from a state of the storages before the first.

        `first_slot` is the number on the chain of the first of them. What a state can no longer meet is
        asked as far as it can; what slots after the last need is a least state of the last.
        """
        ends = window(self.stores.storages, slots.start, self.periods, energy)
        least, _ = tube(ends, self.hours)
        storages = window(ends, 0, len(slots))
        floor = storages.energy_min.copy()
        floor[-1] = np.minimum(least[len(slots)], storages.energy_max[-1])
        conditions = [self.conditions(index, outlook) for index in slots]
        rows = [one.devices for one in conditions]
        return Conditions(
            fixed_p=np.vstack([one.fixed_p for one in conditions]),
            fixed_q=np.vstack([one.fixed_q for one in conditions]),
            hub=Hub(
                import_price=np.concatenate([one.hub.import_price for one in conditions]),
                export_price=np.concatenate([one.hub.export_price for one in conditions]),
            ),
            devices=Devices(
                bus=self.bus,
                **{name: np.vstack([getattr(one, name) for one in rows]) for name in DEVICE_ARRAYS},
            ),
            hours=self.hours,
            voll=self.scenario.oracle.voll_eur_per_mwh,
            storages=reachable(replace(storages, energy_min=floor), self.hours),
            first_slot=first_slot,
        )

    def by_bus(self, by_prosumer: Floats) -> Floats:
        """Sum a row of prosumers by bus."""
        return cast(Floats, np.bincount(self.bus, by_prosumer, self.feeder.buses))


def period(devices: Devices, index: int) -> Devices:
    """One period of the devices, still periods × devices."""
    rows = {name: getattr(devices, name)[index : index + 1] for name in DEVICE_ARRAYS}
    return Devices(bus=devices.bus, **rows)


DEVICE_ARRAYS = (
    "gen_cost",
    "gen_slope",
    "gen_max",
    "load_value",
    "load_slope",
    "load_min",
    "load_max",
)


def build(scenario: ScenarioFile) -> World:
    """Draw the world of a scenario. Raises FeederError for a feeder that cannot be used."""
    feeder = _feeder(scenario)
    rng = stream(scenario.seed, "prosumers")
    bus = _place(scenario.prosumers.count, feeder, rng)
    load_peak = _split_load(scenario.prosumers.load_share, bus, feeder, rng)
    pv_peak = _split_pv(scenario, len(bus), feeder, rng)
    actual = _actual(scenario, feeder, bus, load_peak, pv_peak)
    errors = _forecast_errors(scenario, len(bus))
    hours = scenario.slots.seconds / 3_600
    slot_wh = feeder.base_mw * hours * WH_PER_MWH
    lot = scenario.market.lot_wh
    stores = draw(scenario, bus, feeder.base_mw)
    taking, giving = (_peak(stores, power, len(bus)) for power in ("charge_max", "discharge_max"))
    return World(
        scenario=scenario,
        feeder=feeder,
        terms=_terms(scenario, feeder),
        tariff=_tariff(scenario),
        wholesale=_wholesale(scenario),
        bus=bus,
        load_peak=load_peak,
        pv_peak=pv_peak,
        import_capacity_wh=_capacity(2.0 * load_peak + taking, slot_wh, lot),
        export_capacity_wh=_capacity(PV_CAPACITY * pv_peak + giving, slot_wh, lot),
        actual=actual,
        forecast=_seen(actual, errors, 1.0),
        last=_seen(actual, errors, scenario.forecast.last),
        stores=stores,
    )


def _peak(stores: Stores, power: str, prosumers: int) -> Floats:
    """Largest power of each prosumer's storages together, pu."""
    peak = getattr(stores.storages, power).max(axis=0, initial=0.0)
    return stores.by_owner(peak, prosumers)


def _feeder(scenario: ScenarioFile) -> Feeder:
    section = scenario.feeder
    try:
        feeder = feeders.load(section.name)
    except FeederError as error:
        raise FeederError(f"feeder.name: {error}") from None
    rating = np.inf if section.line_rating_mva is None else section.line_rating_mva / feeder.base_mw
    limits = Limits(
        v_min=np.full(feeder.buses, section.v_min_pu),
        v_max=np.full(feeder.buses, section.v_max_pu),
        i_max=np.full(feeder.buses, rating),
    )
    return replace(feeder, limits=limits)


def _terms(scenario: ScenarioFile, feeder: Feeder) -> Terms:
    market = scenario.market
    return Terms(
        slot_seconds=scenario.slots.seconds,
        open_lead=market.open_lead_seconds,
        gate_lead=market.gate_lead_seconds,
        price_grace=market.price_grace_seconds,
        meter_grace=market.meter_grace_seconds,
        resettle_grace=market.resettle_grace_seconds,
        veto_grace=market.veto_grace_seconds,
        rule=Rule.DLMP if market.rule == "dlmp" else Rule.TARIFF,
        lot_wh=market.lot_wh,
        buses=feeder.buses,
    )


def _ueur(eur_per_mwh: float) -> int:
    return round(eur_per_mwh * UEUR_PER_KWH_PER_EUR_PER_MWH)


def _tariff(scenario: ScenarioFile) -> Tariff:
    tariff = scenario.tariff
    return Tariff(
        retail=_ueur(tariff.retail_eur_per_mwh),
        network_fee=_ueur(tariff.network_fee_eur_per_mwh),
        fit=_ueur(tariff.fit_eur_per_mwh),
    )


def _wholesale(scenario: ScenarioFile) -> Ints:
    """Wholesale price of each slot, µ€/kWh, by the hour of the day it starts in."""
    prices = scenario.wholesale.eur_per_mwh
    start = int(scenario.slots.start.timestamp())
    hours = [(start + k * scenario.slots.seconds) // 3_600 % 24 for k in range(scenario.slots.count)]
    return np.array([_ueur(prices[hour % len(prices)]) for hour in hours], dtype=np.int64)


def _place(count: int, feeder: Feeder, rng: np.random.Generator) -> Ints:
    """One prosumer on each loaded bus first, in random order, then by the buses' load."""
    loaded = np.flatnonzero(feeder.nominal_p_mw > 0)
    loaded = loaded[loaded > 0]
    first = rng.permutation(loaded)[:count]
    weights = feeder.nominal_p_mw[loaded] / feeder.nominal_p_mw[loaded].sum()
    rest = rng.choice(loaded, count - len(first), p=weights)
    return np.sort(np.concatenate([first, rest])).astype(np.int64)


def _split_load(share: float, bus: Ints, feeder: Feeder, rng: np.random.Generator) -> Floats:
    """Each bus's prosumer share of the nominal load, split unevenly among its prosumers, pu."""
    weight = rng.uniform(0.5, 1.5, len(bus))
    total = np.bincount(bus, weight, feeder.buses)
    return weight / total[bus] * feeder.nominal_p_mw[bus] * share / feeder.base_mw


def _split_pv(scenario: ScenarioFile, count: int, feeder: Feeder, rng: np.random.Generator) -> Floats:
    """Peak of each prosumer's PV, pu; at least one has some where the scenario wants any."""
    weight = rng.uniform(0.5, 1.5, count) * (rng.random(count) < scenario.prosumers.pv_share)
    if scenario.prosumers.pv_mw == 0:
        return np.zeros(count)
    if not weight.any():
        weight[0] = 1.0
    return cast(Floats, weight / weight.sum() * scenario.prosumers.pv_mw / feeder.base_mw)


def _capacity(peak: Floats, slot_wh: float, lot: int) -> Ints:
    """Registered capacity a slot: the peak with its margin, in whole lots."""
    return (np.ceil(peak * slot_wh / lot) * lot).astype(np.int64)


def _actual(scenario: ScenarioFile, feeder: Feeder, bus: Ints, load_peak: Floats, pv_peak: Floats) -> Outlook:
    """Delivery: standard load profiles with individual noise, PV under seeded clouds."""
    slots, section, profile = scenario.slots, scenario.prosumers, scenario.profiles
    rng = stream(scenario.seed, "load")
    passive_shape = profiles.standard_load(profile.passive, slots.start, slots.seconds, slots.count)
    own_shape = profiles.standard_load(profile.prosumers, slots.start, slots.seconds, slots.count)
    noise = np.exp(rng.normal(0.0, 0.15, (slots.count, len(bus))))
    load = own_shape[:, None] * noise * load_peak
    taken = np.bincount(bus, load_peak, feeder.buses)
    passive_p = passive_shape[:, None] * np.maximum(feeder.nominal_p_mw / feeder.base_mw - taken, 0.0)
    tan_phi = np.divide(
        feeder.nominal_q_mvar,
        feeder.nominal_p_mw,
        out=np.zeros(feeder.buses),
        where=feeder.nominal_p_mw > 0,
    )
    firm_p = load * (1.0 - section.flexible_share)
    return Outlook(
        passive_p=passive_p,
        passive_q=passive_p * tan_phi,
        firm_p=firm_p,
        firm_q=firm_p * tan_phi[bus],
        devices=_devices(scenario, bus, load * section.flexible_share, pv_peak),
    )


def _devices(scenario: ScenarioFile, bus: Ints, flexible: Floats, pv_peak: Floats) -> Devices:
    section = scenario.prosumers
    count = len(bus)
    rng = stream(scenario.seed, "devices")
    low = rng.uniform(*section.flexible_value_low_eur_per_mwh, count)
    high = rng.uniform(*section.flexible_value_high_eur_per_mwh, count)
    floor = rng.uniform(*section.flexible_floor, count)
    gen_cost = rng.uniform(0.0, 5.0, count)
    gen_rise = rng.uniform(5.0, 15.0, count)
    roof = rng.integers(0, len(AZIMUTHS_DEG), count)
    load_max = flexible
    load_min = floor * flexible
    width = load_max - load_min
    slope = np.divide(high - low, width, out=np.zeros_like(width), where=width > 0)
    sun = _sun(scenario)[:, roof]
    ones = np.ones((scenario.slots.count, 1))
    rise = np.divide(gen_rise, pv_peak, out=np.zeros(count), where=pv_peak > 0)
    return Devices(
        bus=bus,
        gen_cost=ones * gen_cost,
        gen_slope=ones * rise,
        gen_max=sun * pv_peak,
        load_value=low + slope * load_max,
        load_slope=slope,
        load_min=load_min,
        load_max=load_max,
    )


def _sun(scenario: ScenarioFile) -> Floats:
    """PV output per unit of peak, periods × roofs, all under the same clouds."""
    slots, place = scenario.slots, scenario.profiles
    columns = [
        profiles.pv_output(
            slots.start,
            slots.seconds,
            slots.count,
            latitude=place.latitude,
            longitude=place.longitude,
            tilt_deg=place.tilt_deg,
            azimuth_deg=azimuth,
            clouds=place.clouds,
            rng=stream(scenario.seed, "clouds"),
        )
        for azimuth in AZIMUTHS_DEG
    ]
    return np.column_stack(columns)


@dataclass(frozen=True, eq=False)
class _Errors:
    """Relative forecast errors: passive and sun by period, load periods × prosumers."""

    passive: Floats
    sun: Floats
    load: Floats


def _forecast_errors(scenario: ScenarioFile, count: int) -> _Errors:
    periods, error = scenario.slots.count, scenario.forecast.error
    ones = np.ones(periods)

    def relative(*name: str | int) -> Floats:
        return profiles.forecast(ones, stream(scenario.seed, "forecast", *name), error) - 1.0

    return _Errors(
        passive=relative("passive") / 2.0,  # the sum of many loads is easier to foresee than one
        sun=relative("sun"),
        load=np.column_stack([relative("load", k) for k in range(count)]),
    )


def _seen(actual: Outlook, errors: _Errors, share: float) -> Outlook:
    """The world as a forecast that still has `share` of the errors shows it."""
    passive = 1.0 + share * errors.passive[:, None]
    sun = 1.0 + share * errors.sun[:, None]
    load = np.maximum(1.0 + share * errors.load, FORECAST_FLOOR)
    devices = actual.devices
    load_max, load_min = devices.load_max * load, devices.load_min * load
    low = devices.load_value - devices.load_slope * devices.load_max
    slope = devices.load_slope / load
    return Outlook(
        passive_p=actual.passive_p * passive,
        passive_q=actual.passive_q * passive,
        firm_p=actual.firm_p * load,
        firm_q=actual.firm_q * load,
        devices=replace(
            devices,
            gen_max=devices.gen_max * sun,
            load_max=load_max,
            load_min=load_min,
            load_slope=slope,
            load_value=low + slope * load_max,
        ),
    )
