"""What physically happens in a slot: devices answer the posted prices, the feeder carries it, meters read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market.agents.welfare import alone_schedule
from market.feeder.model import Feeder
from market.feeder.powerflow import Flow, PowerFlowError, power_flow, violations
from market.pricing.conditions import Devices, SlotPrices, Solution
from market.units import WH_PER_MWH, Floats, Ints, eur_per_mwh, quantise_energy
from node.scenario.world import Outlook, World, period
from node.simulate.result import NetworkState

INDIFFERENT_EUR_PER_MWH = 1e-6
"""A linear device whose marginal cost is this close to the price follows its ATC target."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """A delivered slot: devices' powers (pu, by prosumer), readings (Wh), and the network's state."""

    gen: Floats
    load: Floats
    metered_wh: Ints
    passive_wh: Ints
    import_wh: int
    state: NetworkState


def deliver(
    world: World, index: int, prices: SlotPrices, solution: Solution, charging: Floats | None = None
) -> Delivery:
    """Dispatch actual devices at the posted λ_b, solve the AC flow, quantise the meters.

    `charging` is what storages take by prosumer, pu: prices of one slot alone do not dispatch them, so they
    follow the schedule that the prices come from.
    """
    price = eur_per_mwh(np.asarray(prices.bus_price))[world.bus]
    devices = period(world.actual.devices, index)
    gen, load = dispatch(devices, price, solution.primal.gen[0], solution.primal.load[0])
    return _carry(world, index, gen, load, charging)


def deliver_on_tariff(
    world: World, index: int, charges: Sequence[int], contracted_wh: Ints, charging: Floats | None = None
) -> Delivery:
    """A slot without prices: everyone keeps to the contract unless λ⁺_b or λ⁻_b make it worth leaving.

    `charges` are ν_b by bus, µ€/kWh; `contracted_wh` net by prosumer; `charging` as in `deliver`.
    """
    tariff, actual = world.tariff, world.actual
    more = np.array([tariff.shortfall_price(charges[bus]) for bus in world.bus])
    less = np.array([tariff.surplus_price(charges[bus]) for bus in world.bus])
    contracted = contracted_wh / (world.feeder.base_mw * world.hours * WH_PER_MWH)
    firm = actual.firm_p[index] if charging is None else actual.firm_p[index] + charging
    gen, load = alone_schedule(
        world.conditions(index, actual),
        (firm - contracted)[None, :],
        eur_per_mwh(more)[None, :],
        eur_per_mwh(less)[None, :],
    )
    return _carry(world, index, gen[0], load[0], charging)


def _carry(world: World, index: int, gen: Floats, load: Floats, charging: Floats | None) -> Delivery:
    """The AC flow of what devices and storages do, and what meters read of it."""
    actual = world.actual
    net = actual.firm_p[index] + load - gen
    if charging is not None:
        net = net + charging
    p = actual.passive_p[index] + world.by_bus(net)
    q = actual.passive_q[index] + world.by_bus(actual.firm_q[index])
    flow = _flow(world, index, p, q)
    base, hours = world.feeder.base_mw, world.hours
    return Delivery(
        gen=gen,
        load=load,
        metered_wh=quantise_energy(net, base, hours),
        passive_wh=quantise_energy(actual.passive_p[index], base, hours),
        import_wh=int(quantise_energy(flow.net_import[0], base, hours)),
        state=network_state(world.feeder, flow),
    )


def dispatch(
    devices: Devices, price: Floats, gen_target: Floats, load_target: Floats
) -> tuple[Floats, Floats]:
    """Best response of each device to its price in one period; an indifferent one follows its target.

    `price`, targets and results are by device; powers pu, prices €/MWh.
    """
    gen_max, load_min, load_max = devices.gen_max[0], devices.load_min[0], devices.load_max[0]
    gen = _respond(
        price - devices.gen_cost[0], devices.gen_slope[0], np.zeros_like(gen_max), gen_max, gen_target
    )
    load = _respond(devices.load_value[0] - price, devices.load_slope[0], load_min, load_max, load_target)
    return gen, load


def _respond(margin: Floats, slope: Floats, low: Floats, high: Floats, target: Floats) -> Floats:
    """argmax margin·x − ½·slope·x² on [low, high]; linear devices go to a bound, or to the target."""
    linear = slope <= 0
    curved = np.divide(margin, slope, out=np.zeros_like(margin), where=~linear)
    bound = np.where(margin > INDIFFERENT_EUR_PER_MWH, high, low)
    straight = np.where(np.abs(margin) <= INDIFFERENT_EUR_PER_MWH, target, bound)
    return np.clip(np.where(linear, straight, curved), low, high)


def scheduled_state(world: World, index: int, contracted_wh: Ints, outlook: Outlook) -> NetworkState:
    """AC flow of the schedule at gate closure: contracts as net consumption, passive load as forecast."""
    net = contracted_wh / (world.feeder.base_mw * world.hours * WH_PER_MWH)
    p = outlook.passive_p[index] + world.by_bus(net)
    q = outlook.passive_q[index] + world.by_bus(outlook.firm_q[index])
    return network_state(world.feeder, _flow(world, index, p, q))


def _flow(world: World, index: int, p: Floats, q: Floats) -> Flow:
    """The AC flow of a slot. Raises PowerFlowError, naming the slot."""
    try:
        return power_flow(world.feeder, p, q)
    except PowerFlowError as failure:
        raise PowerFlowError(f"slot {index}: {failure}") from None


def network_state(feeder: Feeder, flow: Flow) -> NetworkState:
    """A one-period flow as people read it: magnitudes, MW, and the limits it breaks."""
    base = feeder.base_mw
    return NetworkState(
        voltage=np.sqrt(flow.v[0]),
        current=np.sqrt(flow.l[0]),
        flow_mw=flow.p[0] * base,
        flow_mvar=flow.q[0] * base,
        loss_mw=float(flow.loss[0]) * base,
        import_mw=float(flow.net_import[0]) * base,
        violations=violations(feeder, flow),
    )
