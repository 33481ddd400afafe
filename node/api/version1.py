"""Routes of the API, version 1: what exists keeps its name and meaning, members may be added."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse

from ledger.address import address_bytes, checksummed
from market.orders import Address
from node.api import resources
from node.api.bills import Bills
from node.api.feed import EVENT_STREAM, Feed, Listening, Moment, messages
from node.api.flows import Flows
from node.api.models import (
    AccountResource,
    BillResource,
    BookResource,
    FillResource,
    FlowsResource,
    MarketResource,
    OrderResource,
    PaymentKind,
    PositionResource,
    PricesResource,
    SettlementResource,
    SideName,
    SlotResource,
)
from node.api.paging import After, Direction, Limit, Piece, piece
from node.api.problems import DESCRIBED, described
from node.api.projection import Projection, State
from node.api.sources import UnknownAccountError
from node.client.serving import ending

VERSION = "/v1"
TAGS = [
    {"name": "market", "description": "The market and its delivery slots, their books and prices."},
    {"name": "trading", "description": "Orders and fills."},
    {"name": "accounts", "description": "Who takes part, and what they pay."},
    {"name": "documents", "description": "Where the market is, and proofs of its prices."},
    {"name": "pages", "description": "What people look at, and the same as JSON."},
]

T = TypeVar("T")

Slot = Annotated[int, Path(ge=0, lt=2**32, description="slot number")]
OfSlot = Annotated[int | None, Query(alias="slot", ge=0, lt=2**32, description="only of this slot")]
PaymentPlace = Annotated[
    str,
    Path(
        pattern=r"^[0-9]{1,10}:[0-9]{1,10}$", description="block and log of a settlement", examples=["184:7"]
    ),
]
AddressText = Annotated[str, Path(max_length=80, description="0x and 40 hexadecimal digits")]
OfAccount = Annotated[
    str | None, Query(alias="account", max_length=80, description="only of this account: 0x and 40 digits")
]


def address_of(text: str) -> Address:
    """The checksummed form. Raises UnknownAccountError for what is no address."""
    try:
        return checksummed(address_bytes(text))
    except ValueError:
        raise UnknownAccountError(f"{text[:80]}: not an address of 40 hexadecimal digits") from None


def add_resources(app: FastAPI, projection: Projection, flows: Flows, bills: Bills, *, live: bool) -> None:
    """Let an application answer with the market's resources, of a record with its bills."""
    _add_market(app, projection, live=live)
    _add_flows(app, flows)
    _add_trading(app, projection)
    _add_accounts(app, projection)

    _add_events(app, projection)

    @app.get(f"{VERSION}/bills/{{place}}", tags=["accounts"], responses=DESCRIBED)
    def bill(place: PaymentPlace) -> BillResource:
        """A payment taken apart."""
        return bills.resource(place)


def _add_market(app: FastAPI, projection: Projection, *, live: bool) -> None:
    @app.get(f"{VERSION}/market", tags=["market"])
    def market() -> MarketResource:
        """The market itself: where it is, its time and its terms."""
        return resources.market(projection, live=live)

    @app.get(f"{VERSION}/slots", tags=["market"], responses=DESCRIBED)
    def slots(
        state: State | None = None, after: After = None, limit: Limit = 100, first: Direction = "oldest"
    ) -> Piece[SlotResource]:
        """Delivery slots; `state` keeps those that have come so far."""
        found = resources.slots(projection, state)
        return piece(found, _itself, parts=1, after=after, limit=limit, first=first)

    @app.get(f"{VERSION}/slots/{{slot}}", tags=["market"], responses=DESCRIBED)
    def slot(slot: Slot) -> SlotResource:
        """One delivery slot."""
        return resources.slot_resource(projection, resources.slot_facts(projection, slot))

    @app.get(f"{VERSION}/slots/{{slot}}/book", tags=["market"], responses=DESCRIBED)
    def book(
        slot: Slot, energy_class: Annotated[int, Query(ge=0, le=resources.CLASSES_MAX)] = 0
    ) -> BookResource:
        """Ladder of one energy class of a slot."""
        return resources.book(projection, slot, energy_class)

    @app.get(f"{VERSION}/slots/{{slot}}/prices", tags=["market"], responses=DESCRIBED)
    def prices(slot: Slot) -> PricesResource:
        """Charges and prices of a slot by bus."""
        return resources.prices(projection, slot)


def _add_flows(app: FastAPI, flows: Flows) -> None:
    @app.get(f"{VERSION}/slots/{{slot}}/flows", tags=["market"], responses=DESCRIBED)
    def slot_flows(slot: Slot) -> FlowsResource:
        """Voltages and flows of a slot's newest clearing, from its proof."""
        return flows.of(slot)


def _add_trading(app: FastAPI, projection: Projection) -> None:
    @app.get(f"{VERSION}/orders", tags=["trading"], responses=DESCRIBED)
    def orders(
        *,
        slot: OfSlot = None,
        account: OfAccount = None,
        side: SideName | None = None,
        resting: Annotated[bool, Query(description="only those of which energy still rests")] = False,
        after: After = None,
        limit: Limit = 100,
        first: Direction = "oldest",
    ) -> Piece[OrderResource]:
        """Orders by slot, and within a slot as the contract took them."""
        found = resources.orders(projection, slot, wanted(account), side, resting)
        return piece(found, _itself, parts=2, after=after, limit=limit, first=first)

    @app.get(f"{VERSION}/fills", tags=["trading"], responses=DESCRIBED)
    def fills(
        *,
        slot: OfSlot = None,
        account: OfAccount = None,
        after: After = None,
        limit: Limit = 100,
        first: Direction = "oldest",
    ) -> Piece[FillResource]:
        """Fills in chain order, of an account on either side."""
        found = resources.fills(projection, slot, wanted(account))
        return piece(found, resources.fill_resource, parts=3, after=after, limit=limit, first=first)


def _add_accounts(app: FastAPI, projection: Projection) -> None:
    @app.get(f"{VERSION}/accounts", tags=["accounts"], responses=DESCRIBED)
    def accounts(
        after: After = None, limit: Limit = 100, first: Direction = "oldest"
    ) -> Piece[AccountResource]:
        """Registered accounts by id, the utility (0) among them."""
        found = (((number,), address) for number, address in projection.holders().items())

        def show(address: Address) -> AccountResource:
            return resources.account(projection, address)

        return piece(found, show, parts=1, after=after, limit=limit, first=first)

    @app.get(f"{VERSION}/accounts/{{address}}", tags=["accounts"], responses=DESCRIBED)
    def account(address: AddressText) -> AccountResource:
        """One account."""
        return resources.account(projection, address_of(address))

    @app.get(f"{VERSION}/accounts/{{address}}/positions", tags=["accounts"], responses=DESCRIBED)
    def positions(
        address: AddressText, after: After = None, limit: Limit = 100, first: Direction = "oldest"
    ) -> Piece[PositionResource]:
        """What an account has contracted, by slot."""
        found = resources.positions(projection, address_of(address))
        return piece(found, _itself, parts=1, after=after, limit=limit, first=first)

    @app.get(f"{VERSION}/settlements", tags=["accounts"], responses=DESCRIBED)
    def settlements(
        *,
        slot: OfSlot = None,
        account: OfAccount = None,
        kind: PaymentKind | None = None,
        after: After = None,
        limit: Limit = 100,
        first: Direction = "oldest",
    ) -> Piece[SettlementResource]:
        """Payments in chain order."""
        found = resources.settlements(projection, slot, wanted(account), kind)
        return piece(found, resources.settlement_resource, parts=2, after=after, limit=limit, first=first)


def _add_events(app: FastAPI, projection: Projection) -> None:
    feed, ends = Feed(projection), ending(app)

    @app.get(
        f"{VERSION}/events",
        tags=["market"],
        response_class=StreamingResponse,
        responses={
            **DESCRIBED,
            **described(503),
            200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}},
        },
    )
    async def events(
        request: Request,
        last_event_id: Annotated[
            str | None, Header(max_length=80, description="the last id that was seen")
        ] = None,
    ) -> StreamingResponse:
        """Every event of the contract as it happens (server-sent events), from now or from an id on.

        It takes no parameters, and of a finished market nothing comes. What is past is in the lists of
        orders, trades and settlements, and by `wattbook audit explain BUNDLE BLOCK:LOG`.
        """
        _require_no_parameters(request)
        since = None if last_event_id is None else Moment.parse(last_event_id)
        visitor = request.client.host if request.client else ""
        feed.enter(visitor)
        return Listening(feed, visitor, messages(feed, since, ends))


def _require_no_parameters(request: Request) -> None:
    """Of the stream of events, which has none. Raises RequestValidationError."""
    problem = "no such parameter: the stream begins now, or after the id in the header Last-Event-ID"
    faults = [
        {"type": "extra_forbidden", "loc": ("query", name), "msg": problem} for name in request.query_params
    ]
    if faults:
        raise RequestValidationError(faults)


def wanted(account: str | None) -> Address | None:
    """The account that a filter names, if any. Raises UnknownAccountError."""
    return None if account is None else address_of(account)


def _itself(item: T) -> T:
    return item
