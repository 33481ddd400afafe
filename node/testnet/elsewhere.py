"""What the operator needs where oracles and meters are elsewhere, and only the chain tells of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from market.feeder.powerflow import power_flow
from market.orders import Address, Order
from market.units import Ints
from node.scenario.world import World
from node.simulate.quotes import quotes
from node.testnet.market import Market
from node.testnet.outlook import forecast_injection


class Readings:
    """The readings of a slot as the chain has them, each asked for until it is there."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._found: dict[tuple[int, Address], int] = {}

    def missing(self, slot: int) -> list[Address]:
        """Accounts without a reading so far."""
        return [who for who, energy in self._by_account(slot) if energy is None]

    def energies(self, slot: int) -> Ints:
        """Net energy by account, Wh: what was read, else what was contracted."""
        exchange = self._market.session.exchange
        return np.array(
            [
                exchange.position_of(slot, who).net if energy is None else energy
                for who, energy in self._by_account(slot)
            ],
            dtype=np.int64,
        )

    def _by_account(self, slot: int) -> Iterator[tuple[Address, int | None]]:
        for key in self._market.accounts:
            known = self._found.get((slot, key.address))
            if known is None:
                reading = self._market.session.exchange.reading_of(slot, key.address)
                if reading.found:
                    known = self._found[slot, key.address] = reading.net_energy
            yield key.address, known


def forecast_orders(world: World, utility: Address, slot: int, index: int) -> tuple[Order, ...]:
    """The utility's orders by its own forecast flow, since it has no clearing to read λ_0 and losses from."""
    seen = world.forecast
    taken = world.by_bus(-forecast_injection(seen, index))
    reactive = seen.passive_q[index] + world.by_bus(seen.firm_q[index])
    flow = power_flow(world.feeder, seen.passive_p[index] + taken, reactive)
    imports = float(flow.net_import[0]) > 0
    energy_mwh = float(seen.passive_p[index].sum() + flow.loss[0]) * world.feeder.base_mw * world.hours
    hub_price = world.tariff.hub_import if imports else world.tariff.hub_export
    return quotes(world, utility, slot, hub_price, energy_mwh)
