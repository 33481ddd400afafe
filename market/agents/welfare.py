"""Welfare of schedules, and how much of the possible gain a market reached.

Welfare is what devices are worth less what the import costs at the hub: W = −(Σ C_k + h(import)), the
import being that of the AC power flow, losses included. Firm load is the same in every schedule and
left out. Three schedules matter: the central optimum (W*), everyone alone on FiT/retail (W_0), and the
one that contracts commit everybody to. Schedules are generation and flexible load, periods × devices,
pu; welfare is in € by period.
"""

from __future__ import annotations

import numpy as np

from market.atc.prosumers import Prosumers, Response, cost
from market.feeder.model import Feeder
from market.feeder.powerflow import power_flow
from market.pricing.conditions import Conditions, Hub
from market.units import Floats

Schedule = tuple[Floats, Floats]
"""Generation and flexible load, periods × devices, pu."""


def welfare(feeder: Feeder, conditions: Conditions, schedule: Schedule, hub: Hub | None = None) -> Floats:
    """Welfare by period, €; the import counts at the hub's prices, or at those of another `hub`.

    Raises PowerFlowError for a schedule that the feeder cannot carry.
    """
    gen, load = schedule
    prices = hub or conditions.hub
    injection = np.array(
        [np.bincount(conditions.devices.bus, row, feeder.buses) for row in np.atleast_2d(gen - load)]
    )
    imported = power_flow(feeder, conditions.fixed_p - injection, conditions.fixed_q).net_import
    hub_cost = prices.import_price * np.maximum(imported, 0.0) + prices.export_price * np.minimum(
        imported, 0.0
    )
    return np.asarray(-(cost(conditions.devices, gen, load) + hub_cost) * feeder.base_mw * conditions.hours)


def contracted_schedule(conditions: Conditions, firm_p: Floats, contracted_p: Floats) -> Schedule:
    """Cheapest schedule in which every prosumer's net consumption is what it contracted, bought positive.

    firm_p, contracted_p: periods × devices, pu. Where devices cannot follow they go as far as they can;
    the rest is met by the hub, as it would be in delivery.
    """
    rows = [
        Prosumers(conditions.devices, t).at_power(firm_p[t] - contracted_p[t])
        for t in range(conditions.periods)
    ]
    return _schedule(rows)


def alone_schedule(conditions: Conditions, firm_p: Floats, retail: Floats, fit: Floats) -> Schedule:
    """What everyone does without the market: buys at retail, sells at FiT, else feeds its own load.

    firm_p: periods × devices, pu; retail, fit: €/MWh by period, or by period and device.
    """
    rows = []
    for t in range(conditions.periods):
        prosumers = Prosumers(conditions.devices, t)
        everyone = np.ones(prosumers.count)
        buying, selling = prosumers.at_price(retail[t] * everyone), prosumers.at_price(fit[t] * everyone)
        # net consumption 0 where it is worth neither buying at retail nor selling at FiT
        power = np.clip(firm_p[t], selling.power, buying.power)
        rows.append(prosumers.at_power(power))
    return _schedule(rows)


def gap(central: float, reached: float, alone: float) -> float:
    """(W* − W)/|W* − W_0|: 0 is the optimum, 1 what everyone gets alone; 0 where nothing could be gained."""
    possible = abs(central - alone)
    return (central - reached) / possible if possible > 0 else 0.0


def _schedule(rows: list[Response]) -> Schedule:
    return np.array([row.gen for row in rows]), np.array([row.load for row in rows])
