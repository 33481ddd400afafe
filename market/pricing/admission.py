"""What a clearing refuses before it starts, each rule by name.

PricingError (ValueError)
├── ConditionsError    shapes, numbers or bounds of the conditions are not usable
│   └── StorageError   a storage's own numbers contradict each other, or it cannot meet its needs
├── HubError           π_imp < π_exp in a period, so the hub would be a money pump
├── SubstationVoltage  v0 lies outside a bus's limits, so shedding everything would not help
├── Infeasible         no schedule brings storages what they need: proven, of the relaxation
└── ClearingFailed     the solver ended without an answer, or with one that is none
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Devices, Storages
from market.pricing.storages import BY_PERIOD, BY_STORAGE, tube
from market.units import Floats

DEVICE_FLOORS = (
    ("gen_slope", "", "€/MWh per pu"),
    ("load_slope", "", "€/MWh per pu"),
    ("gen_max", "", "pu"),
    ("load_max", "load_min", "pu"),
    ("load_min", "", "pu"),
)
STORAGE_FLOORS = (
    ("wear", "", "€/MWh"),
    ("wear_slope", "", "€/MWh per pu"),
    ("charge_max", "", "pu"),
    ("discharge_max", "", "pu"),
    ("drain", "", "pu·h"),
    ("energy_min", "", "pu·h"),
    ("energy_max", "energy_min", "pu·h"),
)
"""What is not below 0, or not below another array, and its unit."""


class PricingError(ValueError):
    """Root of what pricing refuses."""


class ConditionsError(PricingError):
    """Conditions that cannot be priced: wrong shape, not finite, or a bound above its opposite."""


class StorageError(ConditionsError):
    """A storage that cannot be: a broken bound, or a need that its power cannot meet in time."""


class HubError(PricingError):
    """The utility's asking price is below its bid at the hub."""


class SubstationVoltage(PricingError):  # noqa: N818 - named by the rule
    """The substation's voltage is outside the limits of a bus."""


class Infeasible(PricingError):  # noqa: N818 - named by the rule
    """Not even the relaxed problem has a schedule, so the true power flow has none."""


class ClearingFailed(PricingError):  # noqa: N818 - named by the rule
    """The solver ended without an answer; the message carries its status, or the residual it left."""


def admit(feeder: Feeder, conditions: Conditions) -> None:
    """Refuse, by name, a feeder and conditions that no clearing could price. Raises PricingError."""
    admit_conditions(feeder, conditions)
    admit_feeder(feeder)


def admit_conditions(feeder: Feeder, conditions: Conditions) -> None:
    """Refuse conditions that no clearing of this feeder could price. Raises PricingError."""
    _admit_shapes(feeder, conditions)
    _admit_devices(conditions)
    if conditions.storages.count:
        _admit_storages(feeder, conditions)
    hub = conditions.hub
    for t in range(conditions.periods):
        if hub.import_price[t] < hub.export_price[t]:
            raise HubError(
                f"hub: period {t} asks {hub.import_price[t]:g} €/MWh,"
                f" below its bid {hub.export_price[t]:g} €/MWh"
            )


def admit_feeder(feeder: Feeder) -> None:
    """Refuse a feeder that could not be within its limits with nothing connected. Raises PricingError."""
    limits = feeder.limits
    outside = ~((limits.v_min <= feeder.v0) & (feeder.v0 <= limits.v_max))
    for b in np.flatnonzero(outside)[:1]:
        raise SubstationVoltage(
            f"feeder {feeder.name}: substation at {feeder.v0:g} pu is outside the limits"
            f" {limits.v_min[b]:g} to {limits.v_max[b]:g} pu of bus {feeder.bus_names[b]}"
        )


def _admit_shapes(feeder: Feeder, conditions: Conditions) -> None:
    """Every array finite and periods × buses or periods × devices."""
    periods, devices = conditions.periods, conditions.devices
    by_bus, by_device = (periods, feeder.buses), (periods, devices.count)
    expected = {
        "fixed_p": (conditions.fixed_p, by_bus),
        "fixed_q": (conditions.fixed_q, by_bus),
        "hub.import_price": (conditions.hub.import_price, (periods,)),
        "hub.export_price": (conditions.hub.export_price, (periods,)),
        **{f"devices.{name}": (array, by_device) for name, array in device_arrays(conditions).items()},
    }
    for name, (array, shape) in expected.items():
        if np.shape(array) != shape:
            raise ConditionsError(f"conditions: {name} has shape {np.shape(array)}, expected {shape}")
    # all at once, and one by one only to say where
    if not np.isfinite(np.concatenate([array.ravel() for array, _ in expected.values()])).all():
        name, array = next((n, a) for n, (a, _) in expected.items() if not np.isfinite(a).all())
        raise ConditionsError(f"conditions: {name} is not finite at {np.argwhere(~np.isfinite(array))[0]}")
    for name, number, unit in (("voll", conditions.voll, "€/MWh"), ("hours", conditions.hours, "h")):
        if not 0 < number < np.inf:
            raise ConditionsError(f"conditions: {name} is {number} {unit}, expected above 0")
    outside = (devices.bus < 0) | (devices.bus >= feeder.buses)
    if outside.any():
        column = int(np.flatnonzero(outside)[0])
        raise ConditionsError(f"conditions: device {column} is at bus {devices.bus[column]}, unknown")


def _admit_devices(conditions: Conditions) -> None:
    """Convex costs and bounds in order."""
    devices = conditions.devices
    room = (
        devices.gen_slope,
        devices.load_slope,
        devices.gen_max,
        devices.load_max - devices.load_min,
        devices.load_min,
    )
    # all at once, and one by one only to say where
    if np.minimum.reduce(np.concatenate([array.ravel() for array in room]), initial=0.0) < 0:
        _refuse_below(devices, DEVICE_FLOORS, "device")


def _refuse_below(record: Devices | Storages, floors: Sequence[tuple[str, str, str]], kind: str) -> None:
    """Raise for the first number below 0, or below its own in another array."""
    error = StorageError if isinstance(record, Storages) else ConditionsError
    for name, floor, unit in floors:
        array = getattr(record, name)
        least = getattr(record, floor) if floor else np.zeros_like(array)
        for *period, column in np.argwhere(array < least)[:1]:
            at = (*period, column)
            when = f" in period {period[0]}" if period else ""
            limit = f"{floor}, {least[at]:g} {unit}" if floor else "0"
            raise error(f"conditions: {kind} {column}{when} has {name} {array[at]:g} {unit}, below {limit}")


def refuse_storages(conditions: Conditions, method: str) -> None:
    """For methods that clear one period at a time. Raises StorageError where storages couple them."""
    if conditions.storages.count:
        raise StorageError(
            f"{method} clears one period at a time, and {conditions.storages.count} storages couple"
            f" {conditions.periods} periods; use socp or direct"
        )


ROUNDING_PU_H = 1e-9
"""How far a state may miss its bounds by: sums of powers over a day, rounded."""


def _admit_storages(feeder: Feeder, conditions: Conditions) -> None:
    """Shapes, signs, order of bounds, and that every need can be met."""
    storages, periods = conditions.storages, conditions.periods
    shapes = dict.fromkeys(BY_PERIOD, (periods, storages.count)) | dict.fromkeys(
        BY_STORAGE, (storages.count,)
    )
    for name, shape in shapes.items():
        array = getattr(storages, name)
        if np.shape(array) != shape:
            raise StorageError(f"conditions: storages.{name} has shape {np.shape(array)}, expected {shape}")
        if not np.all(np.isfinite(array)):
            raise StorageError(f"conditions: storages.{name} is not finite")
    outside = (storages.bus < 0) | (storages.bus >= feeder.buses)
    for column in np.flatnonzero(outside)[:1]:
        raise StorageError(
            f"conditions: storage {column} has bus {storages.bus[column]}, outside 0 to {feeder.buses - 1}"
        )
    for name in ("charge_efficiency", "discharge_efficiency"):
        share = getattr(storages, name)
        for column in np.flatnonzero((share <= 0) | (share > 1))[:1]:
            raise StorageError(f"conditions: storage {column} has {name} {share[column]:g}, outside (0, 1]")
    _refuse_below(storages, STORAGE_FLOORS, "storage")
    _admit_needs(conditions)


def _admit_needs(conditions: Conditions) -> None:
    """A path of states within the bounds exists from energy_start on."""
    storages = conditions.storages
    least, most = tube(storages, conditions.hours)
    start = storages.energy_start
    for column in range(storages.count):
        low, high = least[:, column], most[:, column]
        if start[column] < low[0] - ROUNDING_PU_H:
            raise StorageError(
                f"conditions: storage {column} starts with {start[column]:g} pu·h and cannot meet what later"
                f" periods need of it: that takes {low[0]:g} pu·h at its charging power"
            )
        if start[column] > high[0] + ROUNDING_PU_H:
            raise StorageError(
                f"conditions: storage {column} starts with {start[column]:g} pu·h and cannot get rid of it"
                f" in time: at most {high[0]:g} pu·h at its discharging power"
            )
        if np.any(low > high + ROUNDING_PU_H):
            period = int(np.argmax(low - high))
            raise StorageError(
                f"conditions: storage {column} can meet no bounds from period {period} on:"
                f" its power or capacity is {low[period] - high[period]:g} pu·h too small"
            )


def device_arrays(conditions: Conditions) -> dict[str, Floats]:
    """The devices' periods × devices arrays by name, in the order of the record."""
    devices = conditions.devices
    return {
        "gen_cost": devices.gen_cost,
        "gen_slope": devices.gen_slope,
        "gen_max": devices.gen_max,
        "load_value": devices.load_value,
        "load_slope": devices.load_slope,
        "load_min": devices.load_min,
        "load_max": devices.load_max,
    }
