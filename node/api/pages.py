"""Routes of the pages, each with the same contents as JSON beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from threading import Lock
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BeforeValidator, Field

from node.api.assets import style_ids
from node.api.bills import Bills
from node.api.models import BillResource, PaymentKind
from node.api.paging import After
from node.api.problems import DESCRIBED
from node.api.projection import Projection
from node.api.version1 import OfSlot, PaymentPlace, wanted
from node.api.views import AccountView, AuditView, MarketView, SettlementsView, SlotsView, Views
from node.web.api_docs import api_of
from node.web.bill import bill_among_pages
from node.web.feeder_map import feeder_map
from node.web.pages import render

NONE_IF_EMPTY = BeforeValidator(lambda text: text or None)
"""A form sends its empty fields, too."""
AddressQuery = Annotated[
    str | None, Query(alias="address", max_length=80, description="0x and 40 hexadecimal digits")
]
AccountQuery = Annotated[
    Annotated[str, Field(max_length=80)] | None,
    NONE_IF_EMPTY,
    Query(alias="account", description="0x and 40 hexadecimal digits"),
]
Kind = Annotated[PaymentKind | None, NONE_IF_EMPTY, Query(description="only payments of this kind")]
SlotFilter = Annotated[
    Annotated[int, Field(ge=0, lt=2**32)] | None,
    NONE_IF_EMPTY,
    Query(alias="slot", description="only of this slot"),
]
PAGES_KEPT = 64
PAGES: list[str | Enum] = ["pages"]


class _Kept:
    """Pages as they were rendered for the newest block and second: many who look cost as much as one."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._pages: OrderedDict[str, tuple[tuple[bytes, int], str]] = OrderedDict()
        self._lock = Lock()

    def page(self, request: Request, make: Callable[[], str]) -> HTMLResponse:
        """The page of a request, made if it is not there."""
        source, url = self._projection.source, str(request.url)
        with self._lock:
            moment = source.block_hash(source.head()), source.now()
            if url not in self._pages or self._pages[url][0] != moment:
                self._pages[url] = moment, make()
            self._pages.move_to_end(url)
            while len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
            return HTMLResponse(self._pages[url][1])


def add_pages(app: FastAPI, projection: Projection, views: Views, bills: Bills) -> None:
    """Let an application show the pages."""
    kept = _Kept(projection)
    _add_market(app, views, kept)
    _add_accounts(app, views, kept)
    _add_bills(app, views, bills)
    _add_docs(app)

    @app.get("/slots", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def slots(request: Request) -> HTMLResponse:
        """The life of every slot."""
        return kept.page(request, lambda: _page("slots.html", views.slots()))

    @app.get("/slots.json", tags=PAGES)
    def slots_json() -> SlotsView:
        """What the slots' page shows."""
        return views.slots()


def _add_market(app: FastAPI, views: Views, kept: _Kept) -> None:
    @app.get("/", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def market(request: Request, slot: OfSlot = None) -> HTMLResponse:
        """The market on one page."""
        return kept.page(request, lambda: market_page(views.market(slot)))

    @app.get("/market.json", responses=DESCRIBED, tags=PAGES)
    def market_json(slot: OfSlot = None) -> MarketView:
        """What the market's page shows."""
        return views.market(slot)

    @app.get("/audit", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def audit(request: Request) -> HTMLResponse:
        """Whether the record holds."""
        return HTMLResponse(_page("audit.html", views.audit(_visited(request))))

    @app.get("/audit.json", tags=PAGES)
    def audit_json(request: Request) -> AuditView:
        """What the audit's page shows."""
        return views.audit(_visited(request))


def _add_accounts(app: FastAPI, views: Views, kept: _Kept) -> None:
    @app.get("/account", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def account(request: Request, address: AddressQuery = None) -> HTMLResponse:
        """One account, or those there are."""
        return kept.page(
            request,
            lambda: _page("account.html", views.account(wanted(address), _visited(request))),
        )

    @app.get("/account.json", responses=DESCRIBED, tags=PAGES)
    def account_json(request: Request, address: AddressQuery = None) -> AccountView:
        """What the account's page shows."""
        return views.account(wanted(address), _visited(request))

    @app.get("/settlements", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def settlements(
        request: Request,
        slot: SlotFilter = None,
        account: AccountQuery = None,
        kind: Kind = None,
        after: After = None,
    ) -> HTMLResponse:
        """Payments, newest first."""
        return kept.page(
            request,
            lambda: _page("settlements.html", views.settlements(slot, wanted(account), kind, after)),
        )

    @app.get("/settlements.json", responses=DESCRIBED, tags=PAGES)
    def settlements_json(
        slot: SlotFilter = None, account: AccountQuery = None, kind: Kind = None, after: After = None
    ) -> SettlementsView:
        """What the settlements' page shows."""
        return views.settlements(slot, wanted(account), kind, after)


def _add_bills(app: FastAPI, views: Views, bills: Bills) -> None:
    @app.get("/bills/{place}.json", responses=DESCRIBED, tags=PAGES)
    def bill_document(place: PaymentPlace) -> BillResource:
        """A payment taken apart."""
        return bills.resource(place)

    @app.get("/bills/{place}", response_class=HTMLResponse, responses=DESCRIBED, tags=PAGES)
    def bill(request: Request, place: PaymentPlace) -> HTMLResponse:
        """A payment taken apart as a page to read or print."""
        found, record = bills.find(place)
        commands, visited = views.commands, _visited(request)
        return HTMLResponse(
            bill_among_pages(
                found, record, audit=commands.audit(visited), explain=commands.explain(visited, found.place)
            )
        )


def _add_docs(app: FastAPI) -> None:
    @app.get("/docs", response_class=HTMLResponse, tags=PAGES)
    def docs() -> HTMLResponse:
        """The API, for who writes a program."""
        return HTMLResponse(render("docs.html", api=api_of(app.openapi())))


def _page(template: str, view: Any, **more: Any) -> str:
    return render(template, view=view, market=view.market, **more)


def market_page(view: MarketView) -> str:
    """The market on one page, as HTML."""
    shown = view.shown
    drawn = None if shown is None or shown.flows is None else feeder_map(shown.flows, shown.prices)
    return _page("market.html", view, feeder=drawn, style_ids=style_ids())


def _visited(request: Request) -> str:
    """This server's URL as the visitor reached it; the guard has seen that it is one of its own."""
    return str(request.base_url).rstrip("/")
