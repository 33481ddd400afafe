"""The market's pages and its API, over what the chain's events tell; signed orders are relayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from node.api.archive import Archive
from node.api.assets import add_assets
from node.api.bills import Bills
from node.api.commands import Commands, addressed
from node.api.desk import Desk
from node.api.flows import Flows
from node.api.guard import guard
from node.api.heads import answer_heads
from node.api.openapi import describe, operation_id
from node.api.pages import add_pages
from node.api.problems import DESCRIBED, answer_with_problems
from node.api.projection import Projection
from node.api.proofs import NO_PROOFS, Proofs, file_of
from node.api.resources import UnknownSlotError
from node.api.sources import UnknownAccountError
from node.api.trading import add_trading
from node.api.version1 import TAGS, add_resources
from node.api.views import Views
from node.client.schemas import OutlookBody

DESCRIPTION = """One feeder's electricity market: delivery slots, their books, prices, and what is paid.

Numbers are whole and carry their unit at the end of their name: energies Wh, prices µ€/kWh, money n€, times
Unix seconds. Lists come in pieces; give a piece's `next` as `after`. Refusals are problem details (RFC 9457).
"""

DOCUMENTS: list[str | Enum] = ["documents"]
URLS = ("rpc_url", "api_url")
OCTETS = "application/octet-stream"
OF_OCTETS: dict[int | str, dict[str, Any]] = DESCRIBED | {200: {"content": {OCTETS: {}}}}
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal")]


def create_api(
    projection: Projection,
    deployment: Mapping[str, Any],
    outlook: Callable[[int, int], OutlookBody] | None = None,
    archive: Archive | None = None,
    *,
    proofs: Proofs = NO_PROOFS,
    desk: Desk | None = None,
    host: str = "127.0.0.1",
    devices: Callable[[int], Mapping[str, Any]] | None = None,
) -> FastAPI:
    """The application over a projection. `deployment` is the document that clients start from.

    `outlook` gives what the utility publishes for a clearing of a slot, for oracles that are elsewhere.
    The `archive` has the record, without which there are no bills and no audit. `proofs` are its clearings',
    or those that the market's own oracles made so far. The `desk` takes signed orders; without one
    there is nothing but reading. `host` is where the server is to be found. `devices` tells what a test
    account has, by its number, and raises UnknownAccountError where there is none.
    """
    app = FastAPI(
        title="Wattbook market",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
    )
    describe(app)
    answer_with_problems(app)
    answer_heads(app)
    guard(app, host)
    add_assets(app)
    flows, bills = Flows(projection, proofs), Bills(projection, archive)
    commands = Commands(deployment, projection, archive, proofs)
    views = Views(projection, commands, flows, archive, desk)
    add_resources(app, projection, flows, bills, live=views.live)
    add_pages(app, projection, views, bills)
    add_trading(app, projection, desk)
    _add_proofs(app, proofs)

    @app.get("/health", tags=DOCUMENTS)
    def health() -> dict[str, Any]:
        """Whether the market answers, and the newest block's time."""
        return {"ok": True, "now": projection.now()}

    @app.get("/deployment.json", tags=DOCUMENTS)
    def deployment_document(request: Request) -> Any:
        """Addresses, terms, types to sign, ABIs."""
        visited = str(request.base_url)
        urls = {name: addressed(deployment[name], visited) for name in URLS if name in deployment}
        return {**deployment, **urls}

    @app.get("/outlook/{slot}/{purpose}.json", responses=DESCRIBED, tags=DOCUMENTS)
    def outlook_document(
        slot: Annotated[int, Path(ge=0, lt=2**32)],
        purpose: Annotated[int, Path(ge=0, le=1, description="0 charges, 1 prices")],
    ) -> Any:
        """What the utility publishes for the charges (0) or prices (1) of a slot."""
        if outlook is None or slot not in projection.slots():
            raise UnknownSlotError(f"no outlook for slot {slot}")
        return outlook(slot, purpose).model_dump()

    @app.get("/devices/{number}.json", responses=DESCRIBED, tags=DOCUMENTS)
    def devices_document(
        number: Annotated[int, Path(ge=0, lt=2**16, description="as the deployment lists the accounts")],
    ) -> Any:
        """Devices of a testnet's account, as a file of `wattbook agent --devices` has them."""
        if devices is None:
            raise UnknownAccountError(f"account {number}: nobody here tells its devices")
        return devices(number)

    return app


def _add_proofs(app: FastAPI, proofs: Proofs) -> None:
    """The routes at which oracles serve theirs, too."""

    @app.get("/certificates/{digest}", response_class=Response, responses=OF_OCTETS, tags=DOCUMENTS)
    def certificate(digest: Digest) -> Response:
        """A certificate of charges or prices, by the SHA-256 that the chain has of it."""
        return Response(file_of(proofs.certificates, digest), media_type=OCTETS)

    @app.get("/inputs/{digest}", response_class=Response, responses=OF_OCTETS, tags=DOCUMENTS)
    def inputs(digest: Digest) -> Response:
        """What a clearing was given, likewise."""
        return Response(file_of(proofs.inputs, digest), media_type=OCTETS)
