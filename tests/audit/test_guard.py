"""Who may ask the market's server, and what its answers let a browser do."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Finished
from node.api.guard import BODY_BYTES_MAX, guard
from node.api.limits import Buckets
from node.api.projection import Projection
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.small_market import BUYER, SLOT

PAGES = ("/", "/slots", "/account", f"/account?address={BUYER.address}", "/settlements", "/audit")
TWINS = ("/market.json", "/slots.json", "/account.json", "/settlements.json", "/audit.json")
OWN = ("localhost", "127.0.0.1:80", "[::1]:8000", "192.0.2.7", "Market.Example:8000")
REBOUND = ("evil.example", "localhost.evil.example", "", "a:b:c", "127.0.0.1@evil.example")
TAG = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def api(record: Record) -> Iterator[httpx.Client]:
    app = create_api(
        Projection(RecordSource(record)), {}, archive=Finished(record, f"out/{TAG}"), host="market.example"
    )
    with serving(app, listening("127.0.0.1", 0)) as url, httpx.Client(base_url=url) as visitor:
        yield visitor


@pytest.fixture
def echo() -> Iterator[httpx.Client]:
    """An application that takes posts: three at once, and none afterwards."""
    app = FastAPI()
    guard(app, "127.0.0.1", Buckets(1.0, 3, monotonic=lambda: 0.0))

    @app.post("/")
    def take(body: dict[str, str]) -> int:
        return len(body["text"])

    with serving(app, listening("127.0.0.1", 0)) as url, httpx.Client(base_url=url) as visitor:
        yield visitor


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and title of a refusal, which is a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    return answer.status_code, told["title"]


# --- what answers carry -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, *TWINS, "/static/live.js", "/nothing", "/v1/market"])
def test_every_answer_carries_the_policy(api: httpx.Client, path: str):
    headers = api.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_inline_script_or_style_and_nothing_from_elsewhere(api: httpx.Client, path: str):
    page = api.get(path, headers={"Accept": "text/html"}).text
    assert page.startswith("<!doctype html>")
    for part in ("<script>", "<style", " style=", " onclick=", "javascript:", "http://", "https://", TAG):
        assert part not in page, part


def test_a_bill_holds_no_inline_style_either(api: httpx.Client):
    place = api.get(f"/v1/settlements?slot={SLOT}").json()["items"][0]
    bill = api.get(f"/bills/{place['block']}:{place['log']}")
    assert bill.headers["content-security-policy"] == api.get("/").headers["content-security-policy"]
    assert "<style" not in bill.text
    assert TAG not in bill.text
    assert api.get("/static/bill.css").status_code == 200


def test_a_name_with_html_is_shown_as_what_it_is(api: httpx.Client):
    assert "out/&lt;script&gt;alert(1)&lt;/script&gt;" in api.get("/audit").text
    echoed = api.get(f"/account?address={TAG}", headers={"Accept": "text/html"})
    assert echoed.status_code == 404
    assert "&lt;script&gt;" in echoed.text
    assert TAG not in echoed.text


def test_who_looks_for_a_slot_that_is_not_there_sees_which_are(api: httpx.Client):
    slots = [each["slot"] for each in api.get("/v1/slots").json()["items"]]
    there = f"there are {len(slots)}, from {min(slots)} to {max(slots)}"
    seen = api.get("/?slot=3", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (seen.status_code, seen.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert there in seen.text and '<a href="/slots">' in seen.text
    assert api.get("/?slot=3").json()["detail"] == f"no slot 3; {there}"


def test_files_are_asked_for_once(api: httpx.Client):
    first = api.get("/static/pages.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = api.get("/static/pages.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert len(api.get("/static/plotly.min.js").content) > 1_000_000


@pytest.mark.parametrize("name", ["..%2fpages.py", "%2e%2e/templating.py", "nothing.js", "pages", ".js"])
def test_no_other_file_is_served(api: httpx.Client, name: str):
    assert api.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", [*PAGES, *TWINS, "/v1/slots", "/v1/events", "/static/live.js"])
def test_head_is_answered_as_get_without_its_body(api: httpx.Client, path: str):
    answer = api.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-security-policy" in answer.headers
    if path != "/v1/events":
        assert answer.headers["content-type"] == api.get(path).headers["content-type"]
    assert api.head("/nothing").status_code == 404
    assert api.head("/v1/cancels").status_code == 405, "as GET is"


# --- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", OWN)
def test_the_server_is_named_by_address_or_by_its_own_name(api: httpx.Client, host: str):
    assert api.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_was_rebound_is_refused(api: httpx.Client, host: str):
    assert problem(api.get("/health", headers={"Host": host})) == (421, "Misdirected Request")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_may_not_post(echo: httpx.Client, origin: str):
    answer = echo.post("/", json={"text": "x"}, headers={"Origin": origin})
    assert problem(answer) == (403, "Forbidden")


def test_its_own_pages_and_programs_may_post(echo: httpx.Client):
    own = str(echo.base_url).rstrip("/")
    assert echo.post("/", json={"text": "four"}, headers={"Origin": own}).json() == 4
    assert echo.post("/", json={"text": "four"}).json() == 4


def test_no_other_origin_is_told_that_it_may_ask(echo: httpx.Client):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in echo.options("/", headers=asked).headers


# --- how much, how often ------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(echo: httpx.Client):
    body = b'{"text": "' + b"x" * BODY_BYTES_MAX + b'"}'
    pieces = (body[start : start + 1_000] for start in range(0, len(body), 1_000))
    for content in (body, pieces):
        answer = echo.post("/", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert problem(answer)[0] == 413
    text = "x" * (BODY_BYTES_MAX - 12)
    assert echo.post("/", json={"text": text}).json() == len(text)


def test_who_posts_too_often_is_told_to_wait(echo: httpx.Client):
    answers = [echo.post("/", json={"text": ""}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert problem(answers[-1]) == (429, "Too Many Requests")
    assert answers[-1].headers["retry-after"] == "1"


def test_a_bucket_fills_up_again():
    now = [0.0]
    bucket = Buckets(2.0, 4, monotonic=lambda: now[0])
    assert [bucket.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert bucket.take("b") == 0, "another visitor has a bucket of their own"
    now[0] = 0.5
    assert (bucket.take("a"), bucket.take("a")) == (0, 0.5)
    now[0] = 100.0
    assert [bucket.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5], "no fuller than full"


def test_a_forged_event_id_is_refused(api: httpx.Client):
    for forged in ("184", "1:2:zzzzzzzz", "1:2:00000000\u00a0".encode().decode("latin-1"), "9" * 70, TAG):
        answer = api.get("/v1/events", headers={"Last-Event-ID": forged.encode("latin-1")})
        assert problem(answer)[0] == 422, forged
        assert answer.json()["type"] == "urn:wattbook:problem:cursor"
