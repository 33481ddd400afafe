"""Fills before a gate, and what a veto takes back of them."""

from __future__ import annotations

from market.orders import FillVetoed, Flag, Veto
from tests.exchange.conftest import Market

# At the buyer's bus the charge is 1 000, at the other's 2 050, at the seller's -3 000: the same hub
# tick 1 000 is a limit of 101 000, 102 050, 97 000.
TICK = 1_000
BUYER, OTHER, SELLER = 101_000, 102_050, 97_000
IOC = {"flags": Flag.IMMEDIATE_OR_CANCEL}


def asks(market: Market, *quantities: int, energy_class: int = 0) -> None:
    """The seller's asks at the tick, in their order."""
    for quantity in quantities:
        market.place(market.seller, market.ask(market.seller, SELLER, quantity, energy_class=energy_class))


def to_the_gate(market: Market, later: int = 0) -> None:
    market.at(market.terms.gate(market.slot) + later)


def picture(market: Market) -> dict:
    """What everybody has in the slot, and everybody's money; without nonces."""
    x, slot = market.exchange, market.slot
    return {
        address: (x.position_of(slot, address), x.class_net_of(slot, address, 1), x.account_of(address))
        for address in market.everyone
    }


def taken_back(veto: Veto, slot: int) -> FillVetoed:
    return FillVetoed(
        slot, veto.taker, veto.taker_nonce, veto.taker_side, veto.energy_class, veto.tick, veto.cut,
        veto.reason, veto.element,
    )  # fmt: skip
