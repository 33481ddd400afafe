"""What the utility publishes for a clearing: feeder, passive load, tariff, and what it expects of accounts.

Nothing here is a cost. The forecasts are what accounts would inject if nothing of theirs answered a price:
they stand in for whoever never answers.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from market.atc.messages import Purpose, milliwatts
from market.pricing.certificate import encode_inputs
from market.pricing.conditions import Conditions, Devices
from market.units import Floats
from node.client.schemas import ForecastBody, OutlookBody
from node.scenario.world import Outlook, World
from node.testnet.market import Market


def publish(market: Market, slot: int, purpose: int) -> OutlookBody:
    """The outlook of a slot: the opening forecast for its charges, the last one for its prices."""
    world, index = market.world, market.index(slot)
    seen = world.forecast if purpose == Purpose.CHARGES else world.last
    expected = milliwatts(forecast_injection(seen, index), world.feeder.base_mw)
    return OutlookBody(
        slot=slot,
        purpose=purpose,
        inputs="0x" + encode_inputs(world.feeder, passive_conditions(world, seen, index)).hex(),
        forecasts=[
            ForecastBody(agent=key.address, powers=[power])
            for key, power in zip(market.accounts, expected, strict=True)
        ],
    )


def forecast_injection(seen: Outlook, index: int) -> Floats:
    """What each account would inject at no price in particular, pu."""
    devices = seen.devices
    return np.asarray(devices.gen_max[index] - devices.load_max[index] - seen.firm_p[index])


def passive_conditions(world: World, seen: Outlook, index: int) -> Conditions:
    """A slot without anybody's devices or own load; reactive power of all load, which nobody is asked for."""
    known = world.conditions(index, seen)
    nothing = np.zeros((1, 0))
    none = {field.name: nothing for field in fields(Devices) if field.name != "bus"}
    return replace(
        known,
        fixed_p=seen.passive_p[index : index + 1],
        devices=Devices(bus=np.zeros(0, dtype=np.int64), **none),
    )
