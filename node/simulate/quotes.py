"""The utility's part in a slot: its two quotes at the hub, and its bid for the load that does not trade."""

from __future__ import annotations

from market.agents.utility import hub_quotes, passive_bid
from market.orders import Address, Order
from node.oracle.signers import Proposal
from node.scenario.world import World


def utility_orders(
    world: World, utility: Address, slot: int, index: int, charges: Proposal
) -> tuple[Order, ...]:
    """Orders of the utility in chain slot `slot`, which is the world's slot `index`.

    It bids the forecast λ_0 for the forecast passive load and the losses of the clearing behind the charges.
    """
    primal = charges.solution.primal
    loss = float((world.feeder.r_pu * primal.l[charges.period]).sum())
    passive = float(world.forecast.passive_p[index].sum())
    energy_mwh = (passive + loss) * world.feeder.base_mw * world.hours
    return quotes(world, utility, slot, charges.prices.hub_price, energy_mwh)


def quotes(world: World, utility: Address, slot: int, hub_price: int, energy_mwh: float) -> tuple[Order, ...]:
    """Both hub quotes, and the bid at `hub_price` for the load that does not trade."""
    lot_wh, bought_wh = world.terms.lot_wh, int(world.export_capacity_wh.sum())
    return (
        *hub_quotes(utility, slot, world.tariff, lot_wh=lot_wh, bought_wh=bought_wh),
        *passive_bid(utility, slot, world.tariff, hub_price, energy_mwh, lot_wh=lot_wh),
    )
