"""The market's pages and their JSON. Everything is read from the chain's events; nothing here trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi.responses import HTMLResponse
from jinja2 import DictLoader, Environment, StrictUndefined

from ledger.audit.explain import euros
from market.agents.utility import WITHOUT_LIMIT_WH
from node.api import documents, resources
from node.api.bills import Finished, bill_resource, explained
from node.api.documents import UnknownSlotError
from node.api.models import BillResource
from node.api.problems import DESCRIBED, answer_with_problems
from node.api.projection import Projection
from node.api.version1 import TAGS, PaymentPlace, add_resources, address_of
from node.client.schemas import OutlookBody
from node.web.bill import bill_page

FILLS_SHOWN = 20
FILLS_SHOWN_PAST = 200
LEVELS_SHOWN = 12
SLOTS_SHOWN = 24
LOT_WH_MAX = 1_000_000
"""Quotes without limit are the largest quantity in whole lots, so up to a lot below it."""

DESCRIPTION = """One feeder's electricity market: delivery slots, their books, prices, and what is paid.

Numbers are whole and carry their unit at the end of their name: energies Wh, prices µ€/kWh, money n€, times
Unix seconds. Lists come in pieces; give a piece's `next` as `after`. Refusals are problem details (RFC 9457).
"""

SlotNumber = Annotated[int | None, Query(ge=0, lt=2**32, description="slot number")]


def create_api(
    projection: Projection,
    deployment: Mapping[str, Any],
    outlook: Callable[[int, int], OutlookBody] | None = None,
    finished: Finished | None = None,
) -> FastAPI:
    """The application over a projection. `deployment` is the document that clients start from.

    `outlook` gives what the utility publishes for a clearing of a slot, for oracles that are elsewhere.
    Of a record that is `finished` there are bills, and the page stays as it is.
    """
    app = FastAPI(
        title="Wattbook market",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
    )
    page = _template()
    answer_with_problems(app)
    add_resources(app, projection, finished)

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the market answers, and the newest block's time."""
        return {"ok": True, "now": projection.now()}

    @app.get("/deployment.json")
    def deployment_document() -> Any:
        """Addresses, terms, types to sign, ABIs."""
        return deployment

    @app.get("/slots.json")
    def slots() -> Any:
        """Slots with state and best prices."""
        return documents.slots_document(projection)

    @app.get("/book.json", responses=DESCRIBED)
    def book(slot: SlotNumber = None) -> Any:
        """Ladder of a slot."""
        return documents.book_document(projection, slot)

    @app.get("/fills.json", responses=DESCRIBED)
    def fills(slot: SlotNumber = None, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> Any:
        """Newest fills."""
        return documents.fills_document(projection, slot, limit)

    @app.get("/accounts/{address}.json", responses=DESCRIBED)
    def account(address: str) -> Any:
        """One account."""
        return documents.account_document(projection, address_of(address))

    @app.get("/outlook/{slot}/{purpose}.json", responses=DESCRIBED)
    def outlook_document(
        slot: Annotated[int, Path(ge=0, lt=2**32)], purpose: Annotated[int, Path(ge=0, le=1)]
    ) -> Any:
        """What the utility publishes for the charges (0) or prices (1) of a slot."""
        if outlook is None or slot not in projection.slots():
            raise UnknownSlotError(f"no outlook for slot {slot}")
        return outlook(slot, purpose).model_dump()

    @app.get("/", response_class=HTMLResponse, responses=DESCRIBED)
    def market(slot: SlotNumber = None) -> HTMLResponse:
        """The market on one page."""
        shown = (
            _page(projection, deployment, slot) if finished is None else _past(projection, deployment, slot)
        )
        return HTMLResponse(page.render(shown))

    @app.get("/bills/{place}.json", responses=DESCRIBED)
    def bill_document(place: PaymentPlace) -> BillResource:
        """A payment taken apart, of a finished record."""
        return bill_resource(explained(finished, place))

    @app.get("/bills/{place}", response_class=HTMLResponse, responses=DESCRIBED)
    def bill(place: PaymentPlace) -> HTMLResponse:
        """A payment taken apart as a page to read or print, of a finished record."""
        found = explained(finished, place)
        assert finished is not None  # explained would have refused
        return HTMLResponse(bill_page(found, finished.record, finished.name))

    return app


def _page(projection: Projection, deployment: Mapping[str, Any], slot: int | None) -> dict[str, Any]:
    """What the template shows."""
    listed = documents.slots_document(projection)
    alive = [row for row in listed["slots"] if row["state"] not in ("settled", "scheduled")]
    try:
        book = documents.book_document(projection, slot)
    except UnknownSlotError:
        if slot is not None:
            raise
        book = None
    return {
        "now": listed["now"],
        "slots": alive[:SLOTS_SHOWN],
        "book": book,
        "levels": LEVELS_SHOWN,
        "fills": documents.fills_document(projection, None, FILLS_SHOWN)["fills"],
        "payments": [],
        "live": True,
        "deployment": deployment,
    }


def _past(projection: Projection, deployment: Mapping[str, Any], slot: int | None) -> dict[str, Any]:
    """What the template shows of a finished record: every slot, and one with its fills and payments.

    Raises UnknownSlotError.
    """
    listed = documents.slots_document(projection)
    chosen = (
        slot if slot is not None else next((row["slot"] for row in listed["slots"] if row["fills"]), None)
    )
    payments = [] if chosen is None else list(resources.settlements(projection, chosen, None, None))
    return {
        "now": listed["now"],
        "slots": listed["slots"],
        "book": None if chosen is None else documents.book_document(projection, chosen),
        "levels": LEVELS_SHOWN,
        "fills": documents.fills_document(projection, chosen, FILLS_SHOWN_PAST)["fills"],
        "payments": [resources.settlement_resource(logged) for _, logged in reversed(payments)],
        "live": False,
        "deployment": deployment,
    }


def _template() -> Any:
    source = (files("node") / "web" / "templates" / "market.html").read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader({"market.html": source}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": _clock,
        "eur_per_mwh": _eur_per_mwh,
        "kwh": _kwh,
        "short": _short,
        "eur": euros,
    }
    return environment.get_template("market.html")


def _clock(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d %b %H:%M")


def _eur_per_mwh(price: int | None) -> str:
    return "–" if price is None else f"{price / 1_000:.1f}"


def _kwh(energy_wh: int) -> str:
    if energy_wh > WITHOUT_LIMIT_WH - LOT_WH_MAX:
        return "without limit"
    return f"{energy_wh / 1_000:,.1f}"


def _short(address: str) -> str:
    return f"{address[:8]}…{address[-4:]}"
