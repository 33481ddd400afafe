"""The API's resources over the small market's record: what they say is what the chain and the audit say."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ledger.audit.explain import explain
from ledger.history import history
from ledger.record import Record
from ledger.token import Token
from market.orders import NOBODY, NonceCancelled, OrderPlaced, OrderVoided, Side
from node.api import projection
from node.api.app import create_api
from node.api.archive import Archive, Finished, Growing
from node.api.commands import Commands
from node.api.flows import Flows
from node.api.pages import market_page
from node.api.projection import Projection
from node.api.proofs import NO_PROOFS, Proofs
from node.api.sources import LiveSource, RecordSource, Source
from node.api.verification import Verification, Verified
from node.api.views import Views
from node.client.http import Client
from node.client.serving import listening, serving
from node.simulate.bookview import SlotView
from node.web.bill import bill_page
from tests.audit.small_market import BUYER, NEW_UTILITY, SILENT, SLOT, TRADERS, UTILITY, SmallMarket

LISTS = ("/v1/slots", "/v1/orders", "/v1/fills", "/v1/accounts", "/v1/settlements")


@pytest.fixture(scope="module")
def source(record: Record) -> RecordSource:
    return RecordSource(record)


@contextmanager
def visiting(source: Source, archive: Archive | None = None) -> Iterator[httpx.Client]:
    """A visitor of a server over a source."""
    site = {"exchange": source.exchange, "chain_id": source.chain_id}
    bundle = archive.record.bundle if isinstance(archive, Finished) else None
    proofs = Proofs() if bundle is None else Proofs(bundle.inputs, bundle.certificates)
    app = create_api(Projection(source), site, archive=archive, proofs=proofs)
    with serving(app, listening("127.0.0.1", 0)) as url, httpx.Client(base_url=url) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def api(source: RecordSource, record: Record) -> Iterator[httpx.Client]:
    with visiting(source, Finished(record, "out/bundle")) as visitor:
        yield visitor


def get(api: httpx.Client, path: str) -> Any:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(api: httpx.Client, path: str, limit: int = 500) -> Iterator[Any]:
    """All items of a list, piece by piece."""
    after = ""
    while True:
        found = get(api, f"{path}{'&' if '?' in path else '?'}limit={limit}{after}")
        assert len(found["items"]) <= limit
        yield from found["items"]
        if found["next"] is None:
            return
        after = f"&after={found['next']}"


# --- what is told -------------------------------------------------------------------------------


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


def test_a_record_says_of_accounts_what_the_contract_holds(
    source: RecordSource, traded_market: SmallMarket, record: Record
):
    assert record.deployment is not None
    token = Token(traded_market.chain, record.deployment.token)
    live = LiveSource(traded_market.chain, traded_market.exchange, token, source.first_block)
    for who in (*(key.address for key in TRADERS), NEW_UTILITY.address):
        untold = {"reserved": None, "wallet_units": None}  # by no event
        assert source.standing(who) == replace(live.standing(who), **untold)


def test_a_record_shows_what_its_chain_shows(api: httpx.Client, traded_market: SmallMarket, record: Record):
    assert record.deployment is not None
    token = Token(traded_market.chain, record.deployment.token)
    source = LiveSource(traded_market.chain, traded_market.exchange, token, first_block=1)
    with visiting(source) as live:
        for path in ("/v1/slots", "/v1/orders", "/v1/fills", "/v1/settlements", f"/v1/slots/{SLOT}/book"):
            assert get(live, path) == get(api, path), path
        assert get(live, "/v1/market") == {**get(api, "/v1/market"), "live": True}


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


def test_without_the_proof_a_slot_is_not_called_uncleared(source: RecordSource):
    with visiting(source) as visitor:
        told = get(visitor, f"/market.json?slot={SLOT}")["shown"]
        page = visitor.get(f"/?slot={SLOT}").text
    assert told["flows"] is None
    assert told["slot"]["state"] == "settled"
    assert "The map needs the proof of the clearing, which is not here" in page
    assert "not cleared yet" not in page


def test_slots_are_told_as_the_page_shows_them(api: httpx.Client):
    told = get(api, "/slots.json")["slots"]
    assert told == list(items(api, "/v1/slots"))[::-1]
    rows = re.findall(r'<a href="/\?slot=([0-9]+)">\1</a>', api.get("/slots").text)
    assert rows == [str(slot["slot"]) for slot in told]


def test_positions_of_an_account_are_where_it_traded(api: httpx.Client):
    found = list(items(api, f"/v1/accounts/{BUYER.address.lower()}/positions"))
    assert SLOT in [position["slot"] for position in found]
    settled = {
        payment["slot"]: payment["contracted_wh"]
        for payment in items(api, f"/v1/settlements?account={BUYER.address}&kind=settlement")
    }
    assert all(position["contracted_wh"] == settled[position["slot"]] for position in found)


# --- bills and pages ----------------------------------------------------------------------------


def test_every_payment_has_its_bill(api: httpx.Client, record: Record):
    for payment in items(api, f"/v1/settlements?slot={SILENT}"):
        place = f"{payment['block']}:{payment['log']}"
        bill = get(api, f"/v1/bills/{place}")
        assert bill == get(api, f"/bills/{place}.json")
        assert (
            bill["posted_neur"] == payment["total_neur"] == sum(line["amount_neur"] for line in bill["lines"])
        )
        page = api.get(f"/bills/{place}").text
        alone = bill_page(explain(record, place), record)
        lines, same_lines = (text[text.index("<dl") : text.rindex("</dl>")] for text in (page, alone))
        assert lines == same_lines
        assert f"wattbook audit explain out/bundle {place}\nwattbook audit out/bundle<" in page
        assert links(page) >= {
            f"/account?address={payment['account']}",
            f"/?slot={payment['slot']}",
            f"/settlements?slot={payment['slot']}",
            f"/bills/{place}.json",
            "/",
        }


def links(page: str) -> set[str]:
    return set(re.findall(r'href="(/[^"]*)"', page))


def test_payments_are_chosen_by_form(api: httpx.Client):
    every = get(api, "/settlements.json")
    assert get(api, "/settlements.json?kind=&slot=&account=") == every, "as a form sends what is empty"
    told = get(api, f"/settlements.json?kind=settlement&slot={SLOT}&account=")
    assert {(paid["kind"], paid["slot"]) for paid in told["payments"]["items"]} == {("settlement", SLOT)}
    assert api.get("/settlements.json?kind=d&account=&slot=null").status_code == 422
    page = api.get(f"/settlements?kind=clearing&account={BUYER.address}").text
    assert "<option selected>clearing</option>" in page
    assert f'name="account" pattern="0x[0-9a-fA-F]{{40}}" size="20" value="{BUYER.address}"' in page


def test_pages_of_a_record_stay_and_lead_to_the_bills(api: httpx.Client):
    page = api.get(f"/?slot={SLOT}").text
    assert "A finished record" in page
    assert "http-equiv" not in page
    assert "live.js" not in page
    paid = api.get(f"/settlements?slot={SLOT}").text
    linked = set(re.findall(r'href="/bills/([0-9]+:[0-9]+)"', paid))
    told = items(api, f"/v1/settlements?slot={SLOT}")
    assert linked == {f"{payment['block']}:{payment['log']}" for payment in told} != set()
    assert f"Slot {SLOT}" in api.get("/").text, "the first slot in which somebody traded"


@pytest.fixture(scope="module")
def live_source(traded_market: SmallMarket, record: Record) -> LiveSource:
    """The same market while it goes on."""
    assert record.deployment is not None
    token = Token(traded_market.chain, record.deployment.token)
    return LiveSource(traded_market.chain, traded_market.exchange, token, first_block=1)


def test_a_market_that_goes_on_tells_the_same_bills_and_is_audited(
    live_source: LiveSource, api: httpx.Client, record: Record
):
    read: list[Record] = []
    archive = Growing(live_source, lambda: read.append(record) or record)  # type: ignore[func-returns-value]
    with visiting(live_source, archive) as live:
        for payment in items(api, f"/v1/settlements?slot={SILENT}"):
            bill = f"/v1/bills/{payment['block']}:{payment['log']}"
            assert get(live, bill) == get(api, bill)
        page = live.get(bill.removeprefix("/v1")).text
        assert f"wattbook audit URL --exchange {record.exchange}" in page
        told = live.get("/v1/bills/1:0")
        assert (told.status_code, told.json()["type"]) == (404, "urn:wattbook:problem:unknown-payment")
        assert len(read) == 1
        assert get(live, "/audit.json")["checked_here"]


def test_a_record_is_read_again_where_it_ends_too_soon_or_the_chain_went_back(
    source: RecordSource, record: Record
):
    head = record.blocks[-1].number
    shorter = replace(record, blocks=record.blocks[:-1])
    told = [shorter, record, record]
    archive = Growing(source, lambda: told.pop(0))
    assert archive.reaching(head - 1) is archive.reaching(1) is shorter
    assert archive.reaching(head) is archive.reaching(head - 1) is record
    source_of_less = RecordSource(shorter)
    gone_back = Growing(source_of_less, lambda: record)
    assert gone_back.reaching(1) is record
    assert not gone_back._holds(record)


def test_the_audit_runs_again_where_there_is_more_after_a_rest(record: Record):
    seconds = [0.0]
    runs: list[int] = []

    class Slow:
        finished = False

        def reaching(self, block: int) -> Record:
            runs.append(block)
            seconds[0] += 2.0
            return record

    head = record.blocks[-1].number
    verification = Verification(Slow(), lambda: seconds[0])

    def newest(block: int) -> Verified:
        while (found := verification.newest(block)) is None:
            time.sleep(0.01)
        return found

    assert newest(head).report.ok
    assert newest(head).block == head
    assert newest(head + 1).block == head
    assert runs == [head], "nothing is new, and then it rests for ten times as long as it took"
    seconds[0] += 20.0
    newest(head + 1)
    until = time.monotonic() + 60
    while len(runs) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert runs == [head, head + 1]


def test_an_audit_that_breaks_off_is_told_and_begun_again(record: Record, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("threading.excepthook", lambda failure: None)
    seconds, head = [0.0], record.blocks[-1].number

    class Broken:
        finished = False
        fails = True

        def reaching(self, block: int) -> Record:
            seconds[0] += 1.0
            if self.fails:
                raise ValueError("nobody thought of this")
            return record

    archive = Broken()
    verification = Verification(archive, lambda: seconds[0])

    def until(what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end
            time.sleep(0.01)

    assert verification.newest(head) is None
    until(lambda: verification.broke_off)
    archive.fails = False
    assert verification.newest(head) is None
    assert verification.broke_off, "it rests first"
    seconds[0] += 10.0
    until(lambda: verification.newest(head) is not None)
    assert not verification.broke_off
    assert verification.newest(head - 1) is None, "the chain went back"


def test_names_that_others_chose_are_escaped(source: RecordSource, record: Record):
    views = Views(
        (shown := Projection(source)),
        Commands({}, shown, None, NO_PROOFS),
        Flows(shown, Proofs(record.bundle.inputs, record.bundle.certificates)),
        None,
        None,
    )
    tag = "<img src=x>"
    view = views.market(SLOT)
    assert view.shown is not None and view.shown.flows is not None
    flows = view.shown.flows
    hostile = flows.model_copy(
        update={"feeder": tag, "buses": [bus.model_copy(update={"name": tag}) for bus in flows.buses]}
    )
    page = market_page(view.model_copy(update={"shown": view.shown.model_copy(update={"flows": hostile})}))
    assert "&lt;img src=x&gt;" in page
    assert tag not in page


def test_without_a_record_there_are_no_bills(live_source: LiveSource):
    with visiting(live_source) as live:
        answer = live.get("/v1/bills/184:7")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:wattbook:problem:unknown-payment")


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


def test_orders_of_a_utility_that_was_handed_over_are_found_again():
    former, present = UTILITY.address, NEW_UTILITY.address
    view = SlotView(SLOT, lambda number: present, lambda address: former if address == present else address)
    view.apply([OrderPlaced(SLOT, former, 7, Side.BID, 0, 10, 1_000, 500, 0, 0)])
    view.apply([OrderVoided(SLOT, present, 7, 200, 0)])
    assert (view.rests_wh(former, 7), view.rests_wh(present, 7), view.next_nonce(present)) == (300, 300, 8)


def test_nonces_are_free_until_placed_or_cancelled():
    view = SlotView(SLOT, lambda number: BUYER.address)

    def used(*nonces: int) -> None:
        view.apply([OrderPlaced(SLOT, BUYER.address, nonce, 0, 0, 1, 1, 1, 0, 0) for nonce in nonces])

    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (0, 0)
    view.apply([NonceCancelled(SLOT, BUYER.address, 0)])
    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (1, 1)
    used(255)
    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (1, 256)
    used(1, 2, 4)
    assert view.free_nonce(BUYER.address) == 3
    used(*range(255))
    assert view.free_nonce(BUYER.address) is None


def test_settled_slots_are_forgotten_where_there_are_too_many_orders(
    source: RecordSource, monkeypatch: pytest.MonkeyPatch
):
    whole = Projection(source)
    slots, payments = whole.slots(), whole.payments()
    orders = sum(len(facts.view.placed) for facts in slots.values())
    traded = [slot for slot, facts in slots.items() if facts.view.placed and facts.settled]
    monkeypatch.setattr(projection, "ORDERS_KEPT", orders - 1)
    held = _views_in_memory(traded[0])
    less = Projection(source)
    with less._lock:
        less._refresh()
        less._forget_oldest()
    assert traded[0] not in less.slots()
    assert set(traded[1:]) <= less.slots().keys()
    assert less.payments() == payments, "what was paid is told all the same"
    assert _views_in_memory(traded[0]) == held, "nothing else holds on to what was forgotten"


def _views_in_memory(slot: int) -> int:
    gc.collect()
    return sum(type(each) is SlotView and each.slot == slot for each in gc.get_objects())


# --- lists in pieces ----------------------------------------------------------------------------


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


# --- refusals -----------------------------------------------------------------------------------


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


# --- the description ----------------------------------------------------------------------------


def test_every_number_of_the_description_has_its_unit_or_is_a_count(api: httpx.Client):
    units = ("_wh", "_ueur_per_kwh", "_neur", "_seconds", "_units")
    counts = {
        *("chain_id", "head_block", "buses", "bus", "id", "slot", "orders", "fills", "nonce", "energy_class"),
        *("block", "log", "item", "maker_nonce", "taker_nonce", "meter_epoch", "status", "items", "parent"),
    }
    schemas = get(api, "/openapi.json")["components"]["schemas"]
    for name, schema in schemas.items():
        for member, kind in schema.get("properties", {}).items():
            kinds = {each.get("type") for each in kind.get("anyOf", [kind])}
            assert "integer" not in kinds or member in counts or member.endswith(units), (name, member)


def test_every_resource_is_described_with_its_answers(api: httpx.Client):
    document = get(api, "/openapi.json")
    for path, operations in document["paths"].items():
        if not path.startswith("/v1/") or path == "/v1/events":  # a stream: described by its media type
            continue
        for operation in operations.values():
            assert operation["description"]
            assert operation["tags"]
            for status, answer in operation["responses"].items():
                if status in {"200", "201"}:
                    assert "$ref" in str(answer["content"]["application/json"]["schema"]), path
                else:
                    assert list(answer["content"]) == ["application/problem+json"]
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


def test_proofs_are_handed_out_by_their_digest(api: httpx.Client, record: Record) -> None:
    assert len(record.proofs_missing) == 0
    client = Client(str(api.base_url))
    for kind, files in (("certificates", record.bundle.certificates), ("inputs", record.bundle.inputs)):
        for digest, content in files.items():
            assert client.proof(kind, digest) == content
        assert api.get(f"/{kind}/{bytes(32).hex()}").json()["type"] == "urn:wattbook:problem:unknown-proof"
        assert api.get(f"/{kind}/00").status_code == 422
