"""The API's resources over the small market's record: what they say is what the chain and the audit say."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from ledger.audit.explain import explain
from ledger.history import history
from ledger.record import Record
from market.orders import NOBODY
from node.api.sources import LiveSource, RecordSource
from node.client.http import Client
from tests.audit.small_market import BUYER, NEW_UTILITY, SILENT, SLOT, TRADERS, UTILITY
from tests.audit.visiting import get, items, visiting

LISTS = ("/v1/slots", "/v1/orders", "/v1/fills", "/v1/accounts", "/v1/settlements")


# --- what is told --------------------------------------------------------------------------------


def test_market_names_its_head(api: httpx.Client, record: Record):
    market = get(api, "/v1/market")
    head = record.blocks[-1]
    assert (market["head_block"], market["head_hash"]) == (head.number, "0x" + head.hash.hex())
    assert (market["live"], market["buses"], market["lot_wh"]) == (False, 3, 10)


def test_every_slot_is_listed_with_its_state(api: httpx.Client):
    states = {slot["slot"]: slot["state"] for slot in items(api, "/v1/slots")}
    assert states[SLOT] == states[SILENT] == "settled"
    assert [slot["slot"] for slot in items(api, "/v1/slots?state=settled")] == [
        number for number, state in states.items() if state == "settled"
    ]
    one = get(api, f"/v1/slots/{SLOT}")
    assert one["start_unix_seconds"] == SLOT * 900 == one["end_unix_seconds"] - 900
    assert one in list(items(api, "/v1/slots"))


def test_energy_of_every_order_is_filled_rests_or_is_gone(api: httpx.Client):
    orders = list(items(api, "/v1/orders"))
    assert orders
    parts = ("filled_wh", "resting_wh", "voided_wh", "vetoed_wh")
    assert all(order["quantity_wh"] == sum(order[part] for part in parts) for order in orders)
    assert all(order[part] >= 0 for order in orders for part in parts)
    assert any(order["vetoed_wh"] for order in orders if order["slot"] == SILENT)
    assert not any(order["resting_wh"] for order in orders), "every gate is closed"
    assert all(order["void_reasons"] for order in orders if order["voided_wh"])


def test_fills_are_those_of_the_history(api: httpx.Client, record: Record):
    expected = sorted(
        (*logged.place, fill.quantity, fill.maker, fill.taker)
        for each in history(record)
        for logged, fill in each.fills
    )
    told = [
        (fill["block"], fill["log"], fill["quantity_wh"], fill["maker"], fill["taker"])
        for fill in items(api, "/v1/fills")
    ]
    assert sorted(told) == expected != []


def test_settlements_add_up_and_are_what_explain_takes_apart(api: httpx.Client, record: Record):
    told = list(items(api, "/v1/settlements"))
    assert {payment["kind"] for payment in told} >= {"settlement", "resettlement"}
    for payment in told:
        explained = explain(record, f"{payment['block']}:{payment['log']}")
        assert (payment["slot"], payment["account"]) == (explained.slot, explained.account)
        assert payment["total_neur"] == explained.posted_neur == explained.total_neur
    for slot in {payment["slot"] for payment in told}:
        of_slot = items(api, f"/v1/settlements?slot={slot}&kind=settlement")
        assert sum(payment["trades_neur"] for payment in of_slot) == 0, "buyers alone pay sellers"


def test_prices_by_bus_are_those_of_the_history(api: httpx.Client, record: Record):
    slot = history(record).slots[SLOT]
    told = get(api, f"/v1/slots/{SLOT}/prices")["buses"]
    assert [bus["charge_ueur_per_kwh"] for bus in told] == list(slot.charges or ())
    assert [bus["price_ueur_per_kwh"] for bus in told] == list(slot.prices or ())


def test_a_record_says_of_accounts_what_the_contract_holds(source: RecordSource, live_source: LiveSource):
    for who in (*(key.address for key in TRADERS), NEW_UTILITY.address):
        untold = {"reserved": None, "wallet_units": None}  # by no event
        assert source.standing(who) == replace(live_source.standing(who), **untold)


def test_a_record_shows_what_its_chain_shows(api: httpx.Client, live_source: LiveSource):
    with visiting(live_source) as live:
        for path in ("/v1/slots", "/v1/orders", "/v1/fills", "/v1/settlements", f"/v1/slots/{SLOT}/book"):
            assert get(live, path) == get(api, path), path
        assert get(live, "/v1/market") == {**get(api, "/v1/market"), "live": True}


def test_a_utility_that_was_handed_over_is_one_account(
    live_source: LiveSource, api: httpx.Client, source: RecordSource
):
    with visiting(live_source) as live:
        for visitor in (live, api):
            former, present = (get(visitor, f"/v1/accounts/{who.address}") for who in (UTILITY, NEW_UTILITY))
            assert former == present
            assert (present["id"], present["address"]) == (0, NEW_UTILITY.address)
            for kind in ("settlements", "orders", "fills"):
                queries = [f"/v1/{kind}?account={who.address}" for who in (UTILITY, NEW_UTILITY)]
                ours, theirs = (list(items(visitor, query)) for query in queries)
                assert ours == theirs != []


def test_flows_are_those_of_the_certificate(api: httpx.Client, record: Record):
    posted = history(record).slots[SLOT].prices_posted
    assert posted is not None
    told = get(api, f"/v1/slots/{SLOT}/flows")
    assert (told["clearing"], told["feeder"]) == ("prices", "two buses")
    assert [bus["name"] for bus in told["buses"]] == ["hub", "village", "farm"]
    assert [bus["parent"] for bus in told["buses"]] == [None, 0, 1]
    assert all(0.9 <= bus["voltage_pu"] <= 1.1 and bus["loading"] is None for bus in told["buses"])
    import_wh = told["buses"][1]["flow_mw"] * 0.25 * 1e6  # of a quarter of an hour, over the only first line
    assert import_wh == pytest.approx(posted[1].forecast_import, abs=1), "which is a whole number"
    drawn = api.get(f"/?slot={SLOT}").text
    assert all(f"<title>line to bus {bus}: " in drawn for bus in (1, 2))


def test_positions_of_an_account_are_where_it_traded(api: httpx.Client):
    found = list(items(api, f"/v1/accounts/{BUYER.address.lower()}/positions"))
    assert SLOT in [position["slot"] for position in found]
    settled = {
        payment["slot"]: payment["contracted_wh"]
        for payment in items(api, f"/v1/settlements?account={BUYER.address}&kind=settlement")
    }
    assert all(position["contracted_wh"] == settled[position["slot"]] for position in found)


def test_proofs_are_handed_out_by_their_digest(api: httpx.Client, record: Record) -> None:
    assert len(record.proofs_missing) == 0
    client = Client(str(api.base_url))
    for kind, files in (("certificates", record.bundle.certificates), ("inputs", record.bundle.inputs)):
        for digest, content in files.items():
            assert client.proof(kind, digest) == content
        assert api.get(f"/{kind}/{bytes(32).hex()}").json()["type"] == "urn:wattbook:problem:unknown-proof"
        assert api.get(f"/{kind}/00").status_code == 422


# --- lists in pieces -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_pieces_make_the_whole_list_in_both_directions(api: httpx.Client, path: str):
    whole = list(items(api, path))
    assert len(whole) > 2
    limit = max(2, len(whole) // 3)
    assert list(items(api, path, limit)) == whole
    assert list(items(api, f"{path}?first=newest", limit)) == whole[::-1]


def test_filters_keep_what_they_say(api: httpx.Client):
    whole = list(items(api, "/v1/orders"))
    mine = [order for order in whole if order["trader"] == BUYER.address]
    assert list(items(api, f"/v1/orders?account={BUYER.address}")) == mine != []
    asks = [order for order in whole if (order["side"], order["slot"]) == ("ask", SLOT)]
    assert list(items(api, f"/v1/orders?side=ask&slot={SLOT}")) == asks != []
    assert list(items(api, "/v1/orders?resting=true")) == []
    fills = [fill for fill in items(api, "/v1/fills") if BUYER.address in (fill["maker"], fill["taker"])]
    assert list(items(api, f"/v1/fills?account={BUYER.address}")) == fills != []


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/slots/3", 404, "urn:wattbook:problem:unknown-slot"),
        ("/v1/orders?slot=3", 404, "urn:wattbook:problem:unknown-slot"),
        (f"/v1/slots/{SILENT - 1}/flows", 404, "urn:wattbook:problem:unknown-flows"),
        (f"/v1/accounts/{NOBODY}", 404, "urn:wattbook:problem:unknown-account"),
        ("/v1/accounts/0x12", 404, "urn:wattbook:problem:unknown-account"),
        ("/v1/fills?account=nobody", 404, "urn:wattbook:problem:unknown-account"),
        ("/v1/bills/1:0", 404, "urn:wattbook:problem:unknown-payment"),
        ("/v1/bills/last", 422, "urn:wattbook:problem:input"),
        ("/?slot=3", 404, "urn:wattbook:problem:unknown-slot"),
        ("/v1/fills?after=7", 422, "urn:wattbook:problem:cursor"),
        ("/v1/slots?after=<b>", 422, "urn:wattbook:problem:cursor"),
        ("/v1/slots?limit=0", 422, "urn:wattbook:problem:input"),
        ("/v1/slots?limit=501", 422, "urn:wattbook:problem:input"),
        ("/v1/slots?state=late", 422, "urn:wattbook:problem:input"),
        ("/v1/slots/-1", 422, "urn:wattbook:problem:input"),
        (f"/v1/slots/{SLOT}/book?energy_class=4", 422, "urn:wattbook:problem:input"),
        ("/v2/slots", 404, "about:blank"),
    ],
)
def test_refusals_are_problem_documents(api: httpx.Client, path: str, status: int, kind: str):
    answer = api.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, kind)
    assert problem["title"]
    assert problem["detail"]


def test_nothing_can_be_changed(api: httpx.Client):
    order = {
        "trader": NOBODY,
        "slot": SLOT,
        "nonce": 0,
        "side": "bid",
        "limit_ueur_per_kwh": 0,
        "quantity_wh": 10,
    }
    for path, body in (
        ("/v1/orders", order | {"signature": "0x" + "00" * 64}),
        ("/v1/test-signatures", order),
    ):
        answer = api.post(path, json=body)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:wattbook:problem:read-only")
    assert get(api, "/v1/test-accounts") == []
    answer = api.post("/v1/fills", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["title"] == "Method Not Allowed"
