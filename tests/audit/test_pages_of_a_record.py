"""The pages over the small market's record: what they show, and where they lead."""

from __future__ import annotations

import re

import httpx

from ledger.audit.explain import explain
from ledger.record import Record
from node.api.commands import Commands
from node.api.flows import Flows
from node.api.pages import market_page
from node.api.projection import Projection
from node.api.proofs import NO_PROOFS, Proofs
from node.api.sources import RecordSource
from node.api.views import Views
from node.web.bill import bill_page
from tests.audit.small_market import BUYER, SILENT, SLOT
from tests.audit.visiting import get, items, visiting


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
