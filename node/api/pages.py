"""Routes of the pages, each with the same contents as JSON beside it."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse

from node.api.bills import Finished, bill_resource, explained
from node.api.documents import slots_document
from node.api.guard import CONTENT_SECURITY_POLICY, security_policy
from node.api.models import BillResource, PaymentKind
from node.api.paging import After
from node.api.problems import DESCRIBED
from node.api.projection import Projection
from node.api.version1 import OfSlot, PaymentPlace, wanted
from node.api.views import AccountView, AuditView, MarketView, SettlementsView, Views
from node.web.bill import bill_page
from node.web.pages import render

AddressQuery = Annotated[
    str | None, Query(alias="address", max_length=80, description="0x and 40 hexadecimal digits")
]
AccountQuery = Annotated[
    str | None, Query(alias="account", max_length=80, description="0x and 40 hexadecimal digits")
]
Kind = Annotated[PaymentKind | None, Query(description="only payments of this kind")]
STYLE_BEGINS, STYLE_ENDS = "<style>", "</style>"


def add_pages(app: FastAPI, projection: Projection, views: Views, finished: Finished | None) -> None:
    """Let an application show the pages."""
    _add_market(app, views)
    _add_accounts(app, views)
    _add_bills(app, finished)

    @app.get("/slots", response_class=HTMLResponse, responses=DESCRIBED)
    def slots() -> HTMLResponse:
        """The life of every slot."""
        return _page("slots.html", views.slots())

    @app.get("/slots.json")
    def slots_json() -> Any:
        """Slots with state and best prices."""
        return slots_document(projection)


def _add_market(app: FastAPI, views: Views) -> None:
    @app.get("/", response_class=HTMLResponse, responses=DESCRIBED)
    def market(slot: OfSlot = None) -> HTMLResponse:
        """The market on one page."""
        return _page("market.html", views.market(slot))

    @app.get("/market.json", responses=DESCRIBED)
    def market_json(slot: OfSlot = None) -> MarketView:
        """What the market's page shows."""
        return views.market(slot)

    @app.get("/audit", response_class=HTMLResponse, responses=DESCRIBED)
    def audit() -> HTMLResponse:
        """Whether the record holds."""
        return _page("audit.html", views.audit())

    @app.get("/audit.json")
    def audit_json() -> AuditView:
        """What the audit's page shows."""
        return views.audit()


def _add_accounts(app: FastAPI, views: Views) -> None:
    @app.get("/account", response_class=HTMLResponse, responses=DESCRIBED)
    def account(address: AddressQuery = None) -> HTMLResponse:
        """One account, or those there are."""
        return _page("account.html", views.account(wanted(address)))

    @app.get("/account.json", responses=DESCRIBED)
    def account_json(address: AddressQuery = None) -> AccountView:
        """What the account's page shows."""
        return views.account(wanted(address))

    @app.get("/settlements", response_class=HTMLResponse, responses=DESCRIBED)
    def settlements(
        slot: OfSlot = None, account: AccountQuery = None, kind: Kind = None, after: After = None
    ) -> HTMLResponse:
        """Payments, newest first."""
        return _page("settlements.html", views.settlements(slot, wanted(account), kind, after))

    @app.get("/settlements.json", responses=DESCRIBED)
    def settlements_json(
        slot: OfSlot = None, account: AccountQuery = None, kind: Kind = None, after: After = None
    ) -> SettlementsView:
        """What the settlements' page shows."""
        return views.settlements(slot, wanted(account), kind, after)


def _add_bills(app: FastAPI, finished: Finished | None) -> None:
    @app.get("/bills/{place}.json", responses=DESCRIBED)
    def bill_document(place: PaymentPlace) -> BillResource:
        """A payment taken apart, of a finished record."""
        return bill_resource(explained(finished, place))

    @app.get("/bills/{place}", response_class=HTMLResponse, responses=DESCRIBED)
    def bill(place: PaymentPlace) -> HTMLResponse:
        """A payment taken apart as a page to read or print, of a finished record."""
        found = explained(finished, place)
        assert finished is not None  # explained would have refused
        return _with_own_style(bill_page(found, finished.record, finished.name))


def _page(template: str, view: Any) -> HTMLResponse:
    return HTMLResponse(render(template, view=view, market=view.market))


def _with_own_style(page: str) -> HTMLResponse:
    """A page that carries its style in itself, which the policy names by its hash."""
    style = page.partition(STYLE_BEGINS)[2].partition(STYLE_ENDS)[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return HTMLResponse(
        page, headers={CONTENT_SECURITY_POLICY: security_policy(style_src=f"'sha256-{digest}'")}
    )
