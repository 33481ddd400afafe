"""The pages in Chromium: a server that restarts, a wallet on another chain, and what axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from node.api.app import create_api
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import LiveSource
from node.bench.started import until
from node.client.serving import listening, serving
from node.testnet.running import Running
from tests.browser.conftest import give_wallet, move_to, open_slot, pages

pytestmark = [pytest.mark.long, pytest.mark.needs("chromium", "playwright")]


def buy(net: Running, slot: int, quantity_wh: int) -> dict[str, Any]:
    """A test account buys from the utility; the order as it was placed."""
    with httpx.Client(base_url=net.document["api_url"]) as api:
        trader = net.document["accounts"][7]["address"]
        asked = {"slot": slot, "side": "bid", "limit_ueur_per_kwh": 240_000, "quantity_wh": quantity_wh}
        drafted = api.get("/v1/drafts", params={"trader": trader, **asked}).json()
        order = {"trader": trader, "nonce": drafted["nonce"], **asked}
        signature = api.post("/v1/test-signatures", json=order).json()
        return dict(api.post("/v1/orders", json=order | signature).json())


# --- a wallet -----------------------------------------------------------------------------------


def test_wallet_on_another_chain_signs_nothing(net: Running, open_tab: Any):
    tab = open_tab()
    asked = give_wallet(net, tab, 6, chain_id=1)
    tab.page.goto(f"/?slot={open_slot(net)}")
    tab.page.get_by_label("Account").select_option("wallet")
    tab.page.get_by_label("Energy, kWh").fill("0.3")
    tab.page.get_by_label("Limit, €/kWh").fill("0.1")
    tab.page.get_by_role("button", name="Review").click()
    tab.page.get_by_role("button", name="Sign and send").click()
    tab.sees(".answer", f"the wallet is on chain 1, the market on {net.document['chain_id']}")
    assert asked == []


# --- a server that restarts ---------------------------------------------------------------------


class Noting:
    """Notes the id from which each listener goes on."""

    def __init__(self, app: ASGIApp, resumed: list[str | None]) -> None:
        self.app, self.resumed = app, resumed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/v1/events":
            self.resumed.append(Headers(scope=scope).get("last-event-id"))
        await self.app(scope, receive, send)


@contextmanager
def served_again(net: Running, port: int, resumed: list[str | None]) -> Iterator[int]:
    """The market's pages by a server of its own, which knows nothing of an earlier one; its port.

    Ids from which listeners go on are noted in `resumed`.
    """
    market = net.market
    session = market.session
    source = LiveSource(
        market.chain, session.exchange, session.token, market.first_block, clock=market.chain.now
    )
    proofs = Proofs(session.inputs, session.certificates)
    taken = listening("127.0.0.1", port)
    app = create_api(Projection(source), {}, proofs=proofs)
    app.add_middleware(Noting, resumed=resumed)
    with serving(app, taken):
        yield taken.getsockname()[1]


def test_page_goes_on_after_a_restart_without_a_gap(net: Running, open_tab: Any):
    slot, tab = open_slot(net), open_tab()
    tab.forgiven = ("Failed to load resource: net::ERR_",)  # while the server is away
    resumed: list[str | None] = []
    with served_again(net, 0, resumed) as port:
        tab.page.goto(f"http://127.0.0.1:{port}/?slot={slot}")
        tab.sees("#status", "live")
        buy(net, slot, 1_100)
        tab.sees("#tape tbody tr", "1.100")
        seen = tab.page.locator("#status").get_attribute("data-event")
    tab.sees("#status", "stale")
    while_away = buy(net, slot, 1_200)
    with served_again(net, port, resumed):
        tab.sees("#status", "block")
        tab.sees("#tape tbody tr", "1.200")
        tab.page.locator("#status[data-state=live]").wait_for()
        buy(net, slot, 1_300)
        tab.sees("#tape tbody tr", "1.300")
        told = tab.page.locator("#tape tbody tr td:nth-child(3)").all_inner_texts()
        assert told[:3] == ["1.300", "1.200", "1.100"]
        assert seen in resumed, "the browser resumed by the id it saw last"
        assert (
            int(tab.page.locator("#status").get_attribute("data-event").split(":")[0]) > while_away["block"]
        )


def settled(net: Running) -> str:
    """Place of a payment; where there is none yet, time goes on until there is."""
    api = net.document["api_url"]
    if not httpx.get(f"{api}/v1/settlements").json()["items"]:
        traded = open_slot(net)
        end = httpx.get(f"{api}/v1/slots/{traded}").json()["end_unix_seconds"]
        buy(net, traded, 900)
        move_to(net, end + 10)
        until(lambda: bool(httpx.get(f"{api}/v1/settlements").json()["items"]), "nothing was settled")
    paid = httpx.get(f"{api}/v1/settlements").json()["items"][0]
    return f"{paid['block']}:{paid['log']}"


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.needs("axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_axe_finds_nothing(net: Running, open_tab: Any, scheme: str, width: int):
    tab = open_tab(color_scheme=scheme, viewport={"width": width, "height": 800})
    tab.forgiven = ("Failed to load resource: the server responded with a status of 404",)
    tab.page.goto("/audit")
    tab.sees("#badge", "No check found anything wrong")
    for place in (*pages(net), f"/bills/{settled(net)}"):
        tab.page.goto(place)
        tab.has_no_violations()
