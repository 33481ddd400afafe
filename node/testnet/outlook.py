"""What the utility publishes for a clearing: feeder, passive load, tariff, and what it expects of accounts.

Nothing here is a cost. The forecasts are what accounts would inject if nothing of theirs answered a price:
they stand in for whoever never answers.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from market.atc.messages import Purpose, milliwatts
from market.pricing.certificate import encode_inputs
from market.pricing.conditions import Conditions, Devices, Hub
from market.units import Floats
from node.client.schemas import ForecastBody, OutlookBody
from node.scenario.world import Outlook, World
from node.testnet.market import Market

HUB_PRICES = ("import_price", "export_price")


def publish(market: Market, slot: int, purpose: int, *, horizon: int = 1) -> OutlookBody:
    """The outlook of a slot and those after it: the opening forecast for charges, the last one for prices."""
    world = market.world
    indices = [market.index(slot + t) for t in range(horizon)]
    seen = world.forecast if purpose == Purpose.CHARGES else world.last
    injected = np.stack([forecast_injection(seen, index) for index in indices])
    known = passive_conditions(world, seen, indices)
    if horizon > 1:
        known = replace(known, first_slot=slot)
    return OutlookBody(
        slot=slot,
        purpose=purpose,
        inputs="0x" + encode_inputs(world.feeder, known).hex(),
        forecasts=[
            ForecastBody(agent=key.address, powers=list(milliwatts(powers, world.feeder.base_mw)))
            for key, powers in zip(market.accounts, injected.T, strict=True)
        ],
    )


def forecast_injection(seen: Outlook, index: int) -> Floats:
    """What each account would inject at no price in particular, pu."""
    devices = seen.devices
    return np.asarray(devices.gen_max[index] - devices.load_max[index] - seen.firm_p[index])


def passive_conditions(world: World, seen: Outlook, indices: list[int]) -> Conditions:
    """Slots without anybody's devices or own load; reactive power of all load, which nobody is asked for."""
    known = [world.conditions(index, seen) for index in indices]
    nothing = np.zeros((len(indices), 0))
    none = {field.name: nothing for field in fields(Devices) if field.name != "bus"}
    return replace(
        known[0],
        fixed_p=seen.passive_p[indices],
        fixed_q=np.vstack([each.fixed_q for each in known]),
        hub=Hub(*(np.concatenate([getattr(each.hub, name) for each in known]) for name in HUB_PRICES)),
        devices=Devices(bus=np.zeros(0, dtype=np.int64), **none),
    )
