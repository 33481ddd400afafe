"""What a clearing refuses before it starts, each rule by name.

PricingError (ValueError)
├── ConditionsError    shapes, numbers or bounds of the conditions are not usable
├── HubError           π_imp < π_exp in a period, so the hub would be a money pump
├── SubstationVoltage  v0 lies outside a bus's limits, so shedding everything would not help
└── ClearingFailed     the solver ended without an answer
"""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions
from market.units import Floats


class PricingError(ValueError):
    """Root of what pricing refuses."""


class ConditionsError(PricingError):
    """Conditions that cannot be priced: wrong shape, not finite, or a bound above its opposite."""


class HubError(PricingError):
    """The utility's asking price is below its bid at the hub."""


class SubstationVoltage(PricingError):  # noqa: N818 - named by the rule
    """The substation's voltage is outside the limits of a bus."""


class ClearingFailed(PricingError):  # noqa: N818 - named by the rule
    """The solver ended without an answer; the message carries its status."""


def admit(feeder: Feeder, conditions: Conditions) -> None:
    """Refuse, by name, a feeder and conditions that no clearing could price. Raises PricingError."""
    _admit_shapes(feeder, conditions)
    _admit_devices(conditions)
    hub = conditions.hub
    for t in range(conditions.periods):
        if hub.import_price[t] < hub.export_price[t]:
            raise HubError(
                f"hub: period {t} asks {hub.import_price[t]:g} €/MWh, below its bid {hub.export_price[t]:g}"
            )
    limits = feeder.limits
    for b in range(feeder.buses):
        if not limits.v_min[b] <= feeder.v0 <= limits.v_max[b]:
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
        if not np.all(np.isfinite(array)):
            raise ConditionsError(
                f"conditions: {name} is not finite at {np.argwhere(~np.isfinite(array))[0]}"
            )
    if not (np.isfinite(conditions.voll) and conditions.voll > 0):
        raise ConditionsError(f"conditions: voll is {conditions.voll}, expected above 0")
    outside = (devices.bus < 0) | (devices.bus >= feeder.buses)
    if np.any(outside):
        column = int(np.flatnonzero(outside)[0])
        raise ConditionsError(f"conditions: device {column} is at bus {devices.bus[column]}, unknown")


def _admit_devices(conditions: Conditions) -> None:
    """Convex costs and bounds in order."""
    devices = conditions.devices
    broken = {
        "gen_slope below 0": devices.gen_slope < 0,
        "load_slope below 0": devices.load_slope < 0,
        "gen_max below 0": devices.gen_max < 0,
        "load_max below load_min": devices.load_max < devices.load_min,
        "load_min below 0": devices.load_min < 0,
    }
    for rule, where in broken.items():
        if np.any(where):
            period, column = np.argwhere(where)[0]
            raise ConditionsError(f"conditions: device {column} in period {period} has {rule}")


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
