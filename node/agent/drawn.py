"""The devices that a testnet's scenario draws for an account, as a file for `wattbook agent`."""

from __future__ import annotations

import json

import numpy as np

from market.units import KW_PER_MW, Floats
from node.agent.devices import DeviceFile, Firm, Flexible, Generator
from node.scenario.world import World


def drawn(world: World, column: int) -> DeviceFile:
    """One prosumer's devices over the scenario's day from midnight UTC, as the last forecast sees them."""
    seen, kw = world.last, world.feeder.base_mw * KW_PER_MW
    devices = seen.devices

    def told(by_period: Floats) -> list[float]:
        return list(np.roll(by_period[:, column], world.first_slot % world.periods).tolist())

    gen_max, low, high = (told(each * kw) for each in (devices.gen_max, devices.load_min, devices.load_max))
    last_cost = devices.gen_cost + devices.gen_slope * devices.gen_max
    first_worth, last_worth = (
        devices.load_value - devices.load_slope * load for load in (devices.load_min, devices.load_max)
    )
    return DeviceFile(
        firm=Firm(kw=told(seen.firm_p * kw)),
        generator=Generator(
            max_kw=gen_max,
            cost_eur_per_mwh=told(devices.gen_cost),
            cost_at_max_eur_per_mwh=told(last_cost),
        ),
        flexible=Flexible(
            min_kw=low,
            max_kw=high,
            value_at_min_eur_per_mwh=told(first_worth),
            value_at_max_eur_per_mwh=told(last_worth),
        ),
    )


def as_toml(file: DeviceFile) -> str:
    """The file's text, which `node.agent.devices.load` reads."""
    lines = []
    for table, values in file.model_dump().items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
