"""Routes by which orders are drafted, signed on a testnet, and handed in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query

from ledger import eip712
from market.messages import CancelRequest
from market.orders import Address, Flag, Order, Side
from market.units import ask_tick, bid_tick, hub_price
from node.api import resources
from node.api.desk import BusyError, Desk, NoNonceError, ReadOnlyError
from node.api.models import (
    CancelDraftResource,
    CancelledResource,
    DraftResource,
    PlacedResource,
    SideName,
    SignatureResource,
    TestAccountResource,
)
from node.api.problems import DESCRIBED, described
from node.api.projection import Projection
from node.api.version1 import VERSION, address_of
from node.client.schemas import CancelBody, OrderBody, SignedCancelBody, SignedOrderBody, signature_text
from node.simulate.bookview import NONCES

SIDE_OF = {"bid": Side.BID, "ask": Side.ASK}
INT32 = 2**31
Trader = Annotated[str, Query(max_length=80, description="0x and 40 hexadecimal digits")]
SlotNumber = Annotated[int, Query(ge=0, lt=2**32)]
POSTED = described(403, 409, 413, 422, 429, 503)
"""How a post may be refused."""


def add_trading(app: FastAPI, projection: Projection, desk: Desk | None) -> None:
    """Let an application take signed orders; without a desk it refuses them."""

    @app.get(f"{VERSION}/drafts", tags=["trading"], responses={**DESCRIBED, **described(409)})
    def draft(
        *,
        trader: Trader,
        slot: SlotNumber,
        side: SideName,
        limit_ueur_per_kwh: Annotated[
            int, Query(ge=-INT32, lt=INT32, description="all-in at the trader's bus")
        ],
        quantity_wh: Annotated[int, Query(ge=1, lt=2**32)],
        energy_class: Annotated[int, Query(ge=0, le=resources.CLASSES_MAX)] = 0,
        immediate_or_cancel: bool = False,
    ) -> DraftResource:
        """An order with the lowest free nonce, as a wallet takes it to be signed; nothing is sent."""
        who = address_of(trader)
        order = Order(
            trader=who,
            slot=slot,
            nonce=_free_nonce(projection, slot, who),
            side=SIDE_OF[side],
            energy_class=energy_class,
            limit_ueur_per_kwh=limit_ueur_per_kwh,
            quantity_wh=quantity_wh,
            flags=Flag.IMMEDIATE_OR_CANCEL if immediate_or_cancel else Flag.NONE,
        )
        return _draft(projection, order)

    @app.post(f"{VERSION}/orders", tags=["trading"], status_code=201, responses=POSTED)
    def place(body: SignedOrderBody) -> PlacedResource:
        """Hand in a signed order; the answer comes when it is on the chain."""
        order = body.order()
        relayed = _open(desk).place(order, body.signed())
        try:
            placed = resources.order(projection, order.slot, order.trader, order.nonce)
        except LookupError:
            raise BusyError("the chain went back meanwhile: look whether the order is there") from None
        return PlacedResource(
            transaction_hash="0x" + relayed.transaction_hash.hex(), block=relayed.block, order=placed
        )

    _add_cancels(app, projection, desk)

    @app.get(f"{VERSION}/test-accounts", tags=["trading"])
    def test_accounts() -> list[TestAccountResource]:
        """Accounts that this server signs for: on a testnet that only its own machine reaches, else none."""
        return resources.test_accounts(projection, () if desk is None else desk.test_accounts)

    @app.post(f"{VERSION}/test-signatures", tags=["trading"], responses=POSTED)
    def test_signature(body: OrderBody) -> SignatureResource:
        """A test account's signature of an order."""
        return SignatureResource(signature=signature_text(_open(desk).sign(body.order())))


def _add_cancels(app: FastAPI, projection: Projection, desk: Desk | None) -> None:
    @app.get(f"{VERSION}/cancel-drafts", tags=["trading"], responses=DESCRIBED)
    def cancel_draft(
        trader: Trader, slot: SlotNumber, nonce: Annotated[int, Query(ge=0, lt=NONCES)]
    ) -> CancelDraftResource:
        """A cancel of an order's nonce, as a wallet takes it to be signed; nothing is sent."""
        who = address_of(trader)
        view = resources.slot_facts(projection, slot).view
        rests_wh = view.rests_wh(who, nonce) if nonce in view.resting_nonces(who) else 0
        typed = _typed(projection, CancelRequest(who, slot, nonce))
        return CancelDraftResource(trader=who, slot=slot, nonce=nonce, resting_wh=rests_wh, typed_data=typed)

    @app.post(f"{VERSION}/cancels", tags=["trading"], responses=POSTED)
    def cancel(body: SignedCancelBody) -> CancelledResource:
        """Hand in a signed cancel; the answer comes when it is on the chain."""
        request = body.request()
        relayed = _open(desk).cancel(request, body.signed())
        try:
            order = resources.order(projection, request.slot, request.trader, request.nonce)
        except LookupError:  # the nonce was never seen
            order = None
        return CancelledResource(
            transaction_hash="0x" + relayed.transaction_hash.hex(), block=relayed.block, order=order
        )

    @app.post(f"{VERSION}/test-cancel-signatures", tags=["trading"], responses=POSTED)
    def test_cancel_signature(body: CancelBody) -> SignatureResource:
        """A test account's signature of a cancel."""
        return SignatureResource(signature=signature_text(_open(desk).sign(body.request())))


def _open(desk: Desk | None) -> Desk:
    if desk is None:
        raise ReadOnlyError("orders are not taken here")
    return desk


def _free_nonce(projection: Projection, slot: int, trader: Address) -> int:
    nonce = resources.slot_facts(projection, slot).view.free_nonce(trader)
    if nonce is None:
        raise NoNonceError(f"{trader} has used every nonce of slot {slot}")
    return nonce


def _draft(projection: Projection, order: Order) -> DraftResource:
    """The order with what it means: its price at the hub, and what is paid or received at the limit."""
    charges = resources.slot_facts(projection, order.slot).charges
    charge = None if charges is None else charges[projection.source.standing(order.trader).bus]
    to_tick = bid_tick if order.side == Side.BID else ask_tick
    return DraftResource(
        **OrderBody.of(order).model_dump(),
        charge_ueur_per_kwh=charge,
        price_ueur_per_kwh=None if charge is None else hub_price(to_tick(order.limit_ueur_per_kwh, charge)),
        amount_at_limit_neur=order.limit_ueur_per_kwh * order.quantity_wh,
        typed_data=_typed(projection, order),
    )


def _typed(projection: Projection, message: Order | CancelRequest) -> dict[str, Any]:
    """What a wallet is given to sign."""
    source = projection.source
    return eip712.typed_data(eip712.Domain(source.chain_id, source.exchange), message)
