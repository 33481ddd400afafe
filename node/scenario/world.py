"""The world of a scenario: its people on the feeder, and what they and the weather do.

Everything is a function of the scenario and its seed. Each kind of draw has a stream of its own,
named by the seed and a word, so that one more prosumer does not change the weather.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from market.agents.profiles import forecast as forecasted
from market.feeder.model import Feeder
from market.feeder.powerflow import PowerFlowError, power_flow, violations
from market.pricing.admission import admit_feeder
from market.pricing.conditions import Conditions, Devices, Hub
from market.pricing.storages import reachable, tube, window
from market.slots import Rule, Tariff, Terms
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH, Floats, Ints
from node.scenario import feeders
from node.scenario.people import People, people
from node.scenario.schema import PV_CAPACITY, ScenarioFile, SlotsSection
from node.scenario.series import held, read
from node.scenario.storages import Stores, draw
from node.scenario.streams import stream

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
    flexible_share: Floats
    generator_peak: Floats
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
            hub=Hub.of(self.tariff),
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


def broken_by_passive_load(world: World) -> str:
    """Limits that load outside the market breaks alone, in words; empty where it keeps them all.

    Raises SubstationVoltage where not even a feeder without load would keep them.
    """
    feeder, view = world.feeder, world.actual
    admit_feeder(feeder)
    try:
        broken = violations(feeder, power_flow(feeder, view.passive_p, view.passive_q))
    except PowerFlowError as failure:
        return f"load outside the market alone: {failure}"
    if not broken:
        return ""
    worst = max(broken, key=lambda each: each.beyond)
    return (
        f"load outside the market alone breaks limits in {len({each.period for each in broken})} of"
        f" {world.periods} slots, which only generation could mend; the worst, in slot {worst.period}:"
        f" {worst.told(feeder.bus_names)}"
    )


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


def build(scenario: ScenarioFile, file_slots: SlotsSection | None = None) -> World:
    """Draw the world of a scenario. Raises FeederError for a feeder or profiles that cannot be used.

    file_slots: those of the profiles' file, where they are longer than the scenario's from the same start.
    """
    feeder, series = feeders.find(scenario.feeder), None
    if scenario.profiles.file is not None:
        series = read(scenario.profiles.file, feeder, file_slots or scenario.slots)
        series = held(series, file_slots or scenario.slots, scenario.slots)
        feeder = series.on(feeder)
    those = people(scenario, feeder, series)
    count = len(those.bus)
    actual = _actual(feeder, those)
    errors = _forecast_errors(scenario, count)
    hours = scenario.slots.seconds / 3_600
    slot_wh = feeder.base_mw * hours * WH_PER_MWH
    lot = scenario.market.lot_wh
    stores = draw(scenario, those.bus, feeder.base_mw)
    taking, giving = (_peak(stores, power, count) for power in ("charge_max", "discharge_max"))
    return World(
        scenario=scenario,
        feeder=feeder,
        terms=_terms(scenario, feeder),
        tariff=_tariff(scenario),
        wholesale=_wholesale(scenario),
        bus=those.bus,
        load_peak=those.load_peak,
        flexible_share=those.flexible_share,
        generator_peak=those.generator_peak,
        import_capacity_wh=_capacity(2.0 * those.load_peak + taking, slot_wh, lot),
        export_capacity_wh=_capacity(PV_CAPACITY * those.generator_peak + giving, slot_wh, lot),
        actual=actual,
        forecast=_seen(actual, errors, 1.0),
        last=_seen(actual, errors, scenario.forecast.last),
        stores=stores,
    )


def _peak(stores: Stores, power: str, prosumers: int) -> Floats:
    """Largest power of each prosumer's storages together, pu."""
    peak = getattr(stores.storages, power).max(axis=0, initial=0.0)
    return stores.by_owner(peak, prosumers)


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


def _capacity(peak: Floats, slot_wh: float, lot: int) -> Ints:
    """Registered capacity a slot: the peak with its margin, in whole lots."""
    return (np.ceil(peak * slot_wh / lot) * lot).astype(np.int64)


def _actual(feeder: Feeder, those: People) -> Outlook:
    """What is delivered: theirs, and what their load leaves of each bus's own."""
    taken = np.bincount(those.bus, those.load_peak, feeder.buses)
    passive_peak = np.maximum(feeder.nominal_p_mw / feeder.base_mw - taken, 0.0)
    tan_phi = np.divide(
        feeder.nominal_q_mvar,
        feeder.nominal_p_mw,
        out=np.zeros(feeder.buses),
        where=feeder.nominal_p_mw > 0,
    )
    return Outlook(
        passive_p=those.shapes.passive * passive_peak,
        passive_q=those.shapes.passive_q * passive_peak * tan_phi,
        firm_p=those.firm_p,
        firm_q=those.firm_p * tan_phi[those.bus],
        devices=those.devices,
    )


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
        return forecasted(ones, stream(scenario.seed, "forecast", *name), error) - 1.0

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
