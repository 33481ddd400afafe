"""Orders that are handed in over the API and in a browser: what is signed, what is refused, what is seen."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from eth_account import Account

from ledger import eip712
from ledger.exchange import Exchange
from ledger.keys import Key, Signature
from market.messages import CancelRequest
from market.orders import Flag, Order, Side
from node.client.http import Client, RefusedError
from node.client.schemas import SignedOrderBody
from node.testnet.market import desk_key
from node.testnet.running import Running
from tests.audit.described import answers_as_described
from tests.browser.conftest import give_wallet, move_to, open_slot, pages, rpc

pytestmark = pytest.mark.usefixtures("net")
WH, UEUR = 1_500, 240_000
RENEWED_AT_LEAST_EVERY_MS = 10_000
"""As in `live.js`."""


def get(net: Running, path: str, **query: Any) -> Any:
    answer = httpx.get(net.document["api_url"] + path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(net: Running, path: str, body: Any) -> tuple[int, Any]:
    answer = httpx.post(net.document["api_url"] + path, json=body)
    return answer.status_code, answer.json()


def draft(net: Running, account: int, **changed: Any) -> dict[str, Any]:
    asked = {"side": "bid", "limit_ueur_per_kwh": UEUR, "quantity_wh": WH, "slot": open_slot(net)}
    trader = net.document["accounts"][account]["address"]
    return dict(get(net, "/v1/drafts", trader=trader, **asked | changed))


def body_of(drafted: dict[str, Any], signature: str) -> dict[str, Any]:
    """What is handed in: the draft's own members, and the signature."""
    message = {
        *("trader", "slot", "nonce", "side", "energy_class", "limit_ueur_per_kwh", "quantity_wh"),
        *("immediate_or_cancel", "expiry_unix_seconds", "relayer"),
    }
    return {name: drafted[name] for name in message} | {"signature": signature}


def signed_elsewhere(net: Running, drafted: dict[str, Any], account: int) -> str:
    """By eth-account, as a wallet would: 65 bytes r ‖ s ‖ v."""
    key = Account.from_key(net.document["accounts"][account]["private_key"])
    signature: bytes = key.sign_typed_data(full_message=drafted["typed_data"]).signature
    return "0x" + signature.hex().removeprefix("0x")


def hand_in(net: Running, account: int, **changed: Any) -> dict[str, Any]:
    """An order that its account signs and hands in; its draft."""
    drafted = draft(net, account, **changed)
    assert post(net, "/v1/orders", body_of(drafted, signed_elsewhere(net, drafted, account)))[0] == 201
    return drafted


# --- over the API -------------------------------------------------------------------------------


def test_draft_says_what_is_signed(net: Running):
    drafted = draft(net, 1)
    message = drafted["typed_data"]["message"]
    assert (message["quantity"], message["limitPrice"], message["side"]) == (WH, UEUR, 0)
    assert drafted["typed_data"]["domain"]["verifyingContract"] == net.document["exchange"]
    assert drafted["amount_at_limit_neur"] == WH * UEUR
    assert 0 <= UEUR - drafted["charge_ueur_per_kwh"] - drafted["price_ueur_per_kwh"] < 100, "a tick at most"


def test_order_that_a_wallet_signed_is_placed_and_seen(net: Running):
    drafted = draft(net, 1)
    status, placed = post(net, "/v1/orders", body_of(drafted, signed_elsewhere(net, drafted, 1)))
    assert status == 201, placed
    assert placed["order"]["filled_wh"] == WH, "the utility sells without limit"
    fill = get(net, "/v1/fills", slot=drafted["slot"], account=drafted["trader"])["items"][-1]
    assert (fill["quantity_wh"], fill["price_ueur_per_kwh"], fill["block"]) == (WH, 160_000, placed["block"])
    assert draft(net, 1)["nonce"] == drafted["nonce"] + 1


def test_nonces_that_were_skipped_or_cancelled_lock_nobody_out(net: Running):
    exchange, trader = net.market.session.exchange, net.market.accounts[9]
    slot = open_slot(net)
    unseen = CancelRequest(trader.address, slot, draft(net, 9)["nonce"])
    exchange.confirm(exchange.cancel_order(unseen, sign(exchange, trader, unseen), sender=desk_key()))
    drafted = draft(net, 9)
    assert drafted["nonce"] == unseen.nonce + 1
    last = Order(trader.address, slot, 255, Side.BID, 0, 100_000, 100, Flag.NONE)
    exchange.confirm(exchange.place_order(last, sign(exchange, trader, last), sender=desk_key()))
    assert draft(net, 9)["nonce"] == drafted["nonce"]
    assert post(net, "/v1/orders", body_of(drafted, signed_elsewhere(net, drafted, 9)))[0] == 201


def sign(exchange: Exchange, key: Key, message: Order | CancelRequest) -> Signature:
    return key.sign(eip712.digest(exchange.domain, message))


def test_what_rests_is_cancelled_by_its_trader_alone(net: Running):
    drafted = hand_in(net, 8, limit_ueur_per_kwh=90_000)
    wanted = {name: drafted[name] for name in ("trader", "slot", "nonce")}
    asked = get(net, "/v1/cancel-drafts", **wanted)
    assert (asked["resting_wh"], asked["typed_data"]["primaryType"]) == (WH, "Cancel")
    types = net.document["eip712"]["cancel_types"]
    assert asked["typed_data"]["types"]["Cancel"] == types["Cancel"]
    forged = wanted | {"signature": signed_elsewhere(net, asked, 7)}
    assert post(net, "/v1/cancels", forged)[1]["type"] == "urn:wattbook:problem:signature"
    signed = wanted | {"signature": signed_elsewhere(net, asked, 8)}
    status, cancelled = post(net, "/v1/cancels", signed)
    assert status == 200, cancelled
    order = cancelled["order"]
    assert (order["resting_wh"], order["voided_wh"], order["void_reasons"]) == (0, WH, ["cancelled"])
    status, refusal = post(net, "/v1/cancels", signed)
    assert (status, refusal["type"]) == (409, "urn:wattbook:problem:order-refused")


def test_nonce_that_was_not_seen_is_cancelled_too(net: Running):
    wanted = {name: draft(net, 7)[name] for name in ("trader", "slot", "nonce")}
    assert get(net, "/v1/cancel-drafts", **wanted)["resting_wh"] == 0
    signature = post(net, "/v1/test-cancel-signatures", wanted)[1]
    status, cancelled = post(net, "/v1/cancels", wanted | signature)
    assert (status, cancelled["order"]) == (200, None)
    assert draft(net, 7)["nonce"] == wanted["nonce"] + 1


def test_test_account_is_signed_for_as_its_key_would(net: Running):
    drafted = draft(net, 2, side="ask", immediate_or_cancel=True)
    order = body_of(drafted, "")
    del order["signature"]
    status, told = post(net, "/v1/test-signatures", order)
    assert status == 200
    elsewhere = bytes.fromhex(signed_elsewhere(net, drafted, 2)[2:])
    r, s, v = elsewhere[:32], elsewhere[32:64], elsewhere[64]
    assert told["signature"] == "0x" + (r + bytes([s[0] | (v - 27) << 7]) + s[1:]).hex()
    assert post(net, "/v1/orders", order | told)[0] == 201
    accounts = get(net, "/v1/test-accounts")
    assert [each["address"] for each in accounts] == [each["address"] for each in net.document["accounts"]]


def test_what_the_contract_refuses_costs_no_block(net: Running):
    drafted = draft(net, 3)
    signed = body_of(drafted, signed_elsewhere(net, drafted, 3))
    assert post(net, "/v1/orders", signed)[0] == 201
    head = get(net, "/v1/market")["head_block"]
    status, refusal = post(net, "/v1/orders", signed)
    assert (status, refusal["type"]) == (409, "urn:wattbook:problem:order-refused")
    assert refusal["detail"] == "order: nonce used"
    assert get(net, "/v1/market")["head_block"] == head


def test_somebody_else_s_signature_is_refused(net: Running):
    drafted = draft(net, 3)
    forged = [signed_elsewhere(net, drafted, 4), "0x" + "00" * 64, "0x" + "ff" * 65]
    forged.append(signed_elsewhere(net, draft(net, 3, quantity_wh=WH + 100), 3))
    for signature in forged:
        status, refusal = post(net, "/v1/orders", body_of(drafted, signature))
        assert (status, refusal["type"]) == (422, "urn:wattbook:problem:signature"), signature


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"quantity_wh": -1}, "body.quantity_wh"),
        ({"quantity_wh": "1500"}, "body.quantity_wh"),
        ({"limit_ueur_per_kwh": 0.24}, "body.limit_ueur_per_kwh"),
        ({"nonce": 256}, "body.nonce"),
        ({"side": "buy"}, "body.side"),
        ({"trader": "<b>"}, "body.trader"),
        ({"signature": "0x12"}, "body.signature"),
        ({"extra": 1}, "body.extra"),
    ],
)
def test_malformed_order_is_refused_by_the_member_that_is_wrong(
    net: Running, changed: dict[str, Any], where: str
):
    status, refusal = post(net, "/v1/orders", body_of(draft(net, 3), "0x" + "00" * 64) | changed)
    assert (status, refusal["type"]) == (422, "urn:wattbook:problem:input")
    assert [fault["where"] for fault in refusal["faults"]] == [where]


def test_form_of_another_origin_cannot_post(net: Running):
    url = net.document["api_url"]
    other = {"Origin": "https://evil.example"}
    assert httpx.post(f"{url}/v1/orders", json={}, headers=other).status_code == 403
    plain = httpx.post(f"{url}/v1/test-signatures", content="{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 422, "what a form can send without being asked is no JSON"


def test_without_coins_for_gas_it_is_told_whom_to_send_some(net: Running):
    relayer = desk_key().address
    before = rpc(net, "eth_getBalance", relayer, "latest")
    rpc(net, "anvil_setBalance", relayer, "0x0")
    drafted = draft(net, 9)
    status, refusal = post(net, "/v1/orders", body_of(drafted, signed_elsewhere(net, drafted, 9)))
    assert (status, refusal["type"]) == (503, "urn:wattbook:problem:no-coins")
    assert relayer in refusal["detail"]
    rpc(net, "anvil_setBalance", relayer, before)
    assert post(net, "/v1/orders", body_of(drafted, signed_elsewhere(net, drafted, 9)))[0] == 201


@pytest.mark.needs("schemathesis")
def test_a_market_that_goes_on_answers_as_described(net: Running):
    assert answers_as_described(net.document["api_url"], examples=1) > 30


def test_map_numbers_buses_as_accounts_do(net: Running):
    slot = open_slot(net)
    shown = httpx.get(net.document["api_url"] + "/", params={"slot": slot}).text
    numbers = [str(bus["bus"]) for bus in get(net, f"/v1/slots/{slot}/prices")["buses"]]
    assert sorted(re.findall(r"<title>bus (\w+):", shown)) == sorted(numbers)
    assert sorted(re.findall(r">(\w+)</text>", shown)) == sorted(numbers)
    assert sorted(re.findall(r"<title>line to bus (\w+):", shown)) == sorted(numbers[1:])


# --- the shared client --------------------------------------------------------------------------


def test_client_reads_places_and_follows(net: Running):
    client = Client(net.document["api_url"])
    slot, start = open_slot(net), next(client.events()).id
    drafted = client.resource(
        "drafts",
        trader=net.document["accounts"][8]["address"],
        slot=slot,
        side="bid",
        limit_ueur_per_kwh=UEUR,
        quantity_wh=WH,
        immediate_or_cancel=True,
    )
    body = body_of(drafted, signed_elsewhere(net, drafted, 8))
    placed = client.place(SignedOrderBody.model_validate(body))
    heard = []
    for event in client.events(start):
        heard.append(event.kind)
        if event.data.get("block") == placed["block"]:
            break
    assert "OrderPlaced" in heard
    assert placed["order"] in client.items("orders", slot=slot, limit=2)
    with pytest.raises(RefusedError, match="nonce used"):
        client.place(SignedOrderBody.model_validate(body))
    with pytest.raises(RefusedError, match="no id of these events"):
        next(client.events("here"))


# --- in a browser -------------------------------------------------------------------------------


@pytest.mark.needs("chromium", "playwright")
def test_order_is_placed_with_the_keyboard_and_seen_without_reload(net: Running, open_tab: Any):
    tab = open_tab(color_scheme="dark", viewport={"width": 360, "height": 800})
    page, slot = tab.page, open_slot(net)
    page.goto(f"/?slot={slot}")
    tab.sees("#status", "live")
    page.evaluate("window.loadedOnce = true")
    assert page.evaluate("document.documentElement.scrollWidth") == 360, "nothing is wider than a telephone"
    page.get_by_label("Energy, kWh").focus()
    page.keyboard.type("0.7")
    page.keyboard.press("Tab")
    page.keyboard.type("0.1")
    page.keyboard.press("Enter")
    tab.sees(
        ".sentence", f"You buy up to 0.700 kWh in slot {slot} at no more than 0.1000 €/kWh: at most 0.07 €"
    )
    page.keyboard.press("Enter")
    tab.sees(".answer", "0.000 kWh filled, 0.700 kWh rest.")
    assert page.evaluate("document.activeElement.className") == "answer", "the keyboard goes on from there"
    tab.sees("#book tr.bid", "0.700")
    page.get_by_label("Energy, kWh").fill("0.55")
    assert page.locator(".answer").inner_text() == "", "what was said is of another order"
    page.get_by_role("button", name="Review").click()
    tab.sees(".answer.error", "0.550 kWh is not a number of whole lots, which are of 0.100 kWh")
    assert page.locator(".signed").is_hidden()
    hand_in(net, 5, slot=slot, quantity_wh=2_300)
    tab.sees("#tape tbody tr", "2.300")
    assert page.evaluate("window.loadedOnce"), "without reload"


@pytest.mark.needs("chromium", "playwright")
def test_wallet_signs_what_is_shown(net: Running, open_tab: Any):
    tab, slot = open_tab(), open_slot(net)
    asked = give_wallet(net, tab, 6)
    tab.page.goto(f"/?slot={slot}")
    tab.page.get_by_label("Account").select_option("wallet")
    tab.page.get_by_label("sell").check()
    tab.page.get_by_label("Energy, kWh").fill("0.3")
    tab.page.get_by_label("Limit, €/kWh").fill("0.2")
    tab.page.get_by_role("button", name="Review").click()
    tab.sees(".sentence", f"You sell up to 0.300 kWh in slot {slot} at no less than 0.2000 €/kWh")
    assert asked == [], "nothing is signed before it is shown"
    tab.page.get_by_role("button", name="Sign and send").click()
    tab.sees(".answer", "0.000 kWh filled, 0.300 kWh rest.")
    tab.sees("#book tr.ask", "0.300")
    (typed,) = asked
    seller = net.document["accounts"][6]["address"]
    assert (typed["primaryType"], typed["message"]["trader"]) == ("Order", seller)
    assert (typed["message"]["quantity"], typed["message"]["limitPrice"]) == (300, 200_000)


@pytest.mark.needs("chromium", "playwright")
def test_what_rests_is_cancelled_on_the_page(net: Running, open_tab: Any):
    drafted = hand_in(net, 2, limit_ueur_per_kwh=80_000, quantity_wh=1_900)
    tab, slot, nonce = open_tab(), drafted["slot"], drafted["nonce"]
    tab.page.goto(f"/account?address={drafted['trader']}")
    tab.sees("#status", "live")
    tab.page.get_by_role("button", name=f"Cancel order {nonce} of slot {slot}").click()
    tab.sees(".sentence", f"You cancel order {nonce} of slot {slot}, of which 1.900 kWh rest.")
    tab.page.get_by_role("button", name="Sign and send").click()
    tab.sees(".answer", "Cancelled in block")
    tab.sees("#orders tbody tr", "1.900 (cancelled)")


@pytest.mark.needs("chromium", "playwright")
def test_the_keyboard_and_what_was_scrolled_stay_where_they_were(net: Running, open_tab: Any):
    drafted = hand_in(net, 5, limit_ueur_per_kwh=60_000)
    tab = open_tab(viewport={"width": 360, "height": 800})
    page = tab.page
    page.goto(f"/account?address={drafted['trader']}")
    tab.sees("#status", "live")
    page.evaluate("document.querySelector('#bill .scroll').scrollLeft = 40")
    page.evaluate("document.querySelector('#bill caption').textContent = 'of before'")
    name = f"Cancel order {drafted['nonce']} of slot {drafted['slot']}"
    page.get_by_role("button", name=name).focus()
    hand_in(net, 5, limit_ueur_per_kwh=50_000, quantity_wh=1_700)
    tab.sees("#orders tbody tr", "1.700")
    assert page.evaluate("document.activeElement.ariaLabel") == name
    tab.sees("#bill caption", "Each payment by what it is for")
    assert page.evaluate("document.querySelector('#bill .scroll').scrollLeft") == 40
    wanted = {key: drafted[key] for key in ("trader", "slot", "nonce")}
    signed = wanted | post(net, "/v1/test-cancel-signatures", wanted)[1]
    assert post(net, "/v1/cancels", signed)[0] == 200
    tab.sees("#orders tbody tr", "(cancelled)")
    assert page.evaluate("document.activeElement.ariaLabel") == "Orders", "its button is gone"


@pytest.mark.needs("chromium", "playwright")
def test_a_wallet_takes_back_what_is_its_own_alone(net: Running, open_tab: Any):
    drafted = hand_in(net, 4, limit_ueur_per_kwh=70_000)
    tab, other = open_tab(), open_tab()
    asked = give_wallet(net, tab, 4)
    assert give_wallet(net, other, 6) == []
    for each in (other, tab):
        each.page.goto(f"/account?address={drafted['trader']}")
        each.page.locator("#cancel").evaluate("section => section.removeAttribute('data-test-account')")
        each.page.get_by_role("button", name=f"Cancel order {drafted['nonce']} of slot").click()
    other.sees(".answer.error", f"this is the account {drafted['trader']}: choose that one in the wallet")
    assert other.page.locator(".signed").is_hidden()
    tab.page.get_by_role("button", name="Sign and send").click()
    tab.sees(".answer", "Cancelled in block")
    assert [typed["primaryType"] for typed in asked] == ["Cancel"]


@pytest.mark.needs("chromium", "playwright")
def test_a_draft_that_is_not_what_was_typed_in_is_not_signed(net: Running, open_tab: Any):
    tab, slot = open_tab(), open_slot(net)

    def other(route: Any) -> None:
        told = route.fetch().json()
        told["typed_data"]["message"]["expiry"] = 1
        route.fulfill(json=told)

    tab.page.route("**/v1/drafts?*", other)
    tab.page.goto(f"/?slot={slot}")
    tab.page.get_by_label("Energy, kWh").fill("0.3")
    tab.page.get_by_label("Limit, €/kWh").fill("0.1")
    tab.page.get_by_role("button", name="Review").click()
    tab.sees(".answer.error", "the server drafted something else than was asked for; nothing was signed")
    assert tab.page.locator(".signed").is_hidden()


@pytest.mark.needs("chromium", "playwright")
def test_a_page_whose_market_hangs_is_stale_until_it_answers(net: Running, open_tab: Any):
    tab, hanging = open_tab(), []

    def never_answered(route: Any) -> None:
        hanging.append(route)

    tab.page.clock.install()
    tab.page.goto("/slots")
    tab.sees("#status", "live")
    tab.page.route("**/slots", never_answered)
    tab.page.clock.fast_forward(RENEWED_AT_LEAST_EVERY_MS)
    tab.sees("#status", "stale: the market does not answer")
    assert hanging, "nothing happened, and it was asked all the same"
    tab.page.unroute("**/slots")
    tab.page.clock.fast_forward(RENEWED_AT_LEAST_EVERY_MS)
    tab.page.locator("#status[data-state=live]").wait_for()


@pytest.mark.needs("chromium", "playwright")
def test_first_paint_needs_no_javascript(net: Running, open_tab: Any):
    tab, slot = open_tab(java_script_enabled=False), open_slot(net)
    tab.page.goto(f"/?slot={slot}")
    tab.sees("h1", f"Slot {slot}")
    tab.sees("#book tr.ask", "0.1600")
    tab.sees("#slots tr.chosen", "open")
    tab.page.locator(".feeder svg[role=img] circle.bus").first.wait_for()
    assert tab.page.locator("#order").is_hidden()
    for place in pages(net)[:-1]:
        tab.page.goto(place)
        tab.page.locator("main h1").wait_for()


@pytest.mark.needs("chromium", "playwright")
def test_an_order_is_followed_to_its_bill_and_the_audit(net: Running, open_tab: Any):
    """Last here: it moves time."""
    second = get(net, "/v1/slots", state="open")["items"][1]
    slot, tab = second["slot"], open_tab(viewport={"width": 1280, "height": 900})
    page = tab.page
    page.goto(f"/?slot={slot}")
    tab.sees("#status", "live")
    page.evaluate("window.loadedOnce = true")
    page.get_by_label("Energy, kWh").fill("0.9")
    page.get_by_label("Limit, €/kWh").fill("0.24")
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Sign and send").click()
    tab.sees(".answer", "0.900 kWh filled, 0.000 kWh rest.")
    tab.sees("#tape tbody tr", "0.900")
    tab.sees("#facts", "fills: 1,")
    goes_on = open_tab()
    goes_on.page.goto("/")
    goes_on.sees("h1", f"Slot {slot - 1}")
    move_to(net, second["gate_unix_seconds"] + 1)
    tab.sees("#facts", "priced")
    page.locator("#trade").wait_for(state="hidden")
    goes_on.sees("h1", f"Slot {slot + 1}")
    goes_on.page.locator("#order").wait_for()
    move_to(net, second["end_unix_seconds"] + 10)
    tab.sees("#facts", "settled")
    assert page.evaluate("window.loadedOnce"), "without reload"
    buyer = net.document["accounts"][0]["address"]
    page.goto(f"/account?address={buyer}")
    (paid,) = get(net, "/v1/settlements", account=buyer, slot=slot, kind="settlement")["items"]
    page.get_by_role("link", name=f"{paid['block']}:{paid['log']}").click()
    tab.sees("h1", f"for slot {slot}")
    tab.sees("tbody tr", "900 Wh")
    page.goto("/audit")
    tab.sees("#badge", "No check found anything wrong")
