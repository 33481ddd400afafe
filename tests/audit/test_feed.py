"""Events as they happen: nothing is left out or told twice, from whichever id a listener goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ledger.bundle import Bundle
from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Finished
from node.api.feed import END_OF_BLOCK, Feed, Moment, TooManyListenersError
from node.api.paging import CursorError
from node.api.projection import Projection
from node.api.sources import RecordSource
from node.client.serving import listening, serving


@dataclass(frozen=True)
class Heard:
    """One server-sent event."""

    id: str
    kind: str
    data: Any


def read(text: str) -> Heard:
    """The event of a message."""
    members = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    return Heard(members["id"], members["event"], json.loads(members["data"]))


class Growing(RecordSource):
    """A chain of which so many blocks are there: the real record, up to a head that the test moves."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.at = super().head()

    def head(self) -> int:
        return self.at


@pytest.fixture
def source(record: Record) -> Growing:
    return Growing(record)


def test_no_visitor_takes_every_place(source: Growing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.api.feed.LISTENERS_MAX", 5)
    monkeypatch.setattr("node.api.feed.LISTENERS_A_VISITOR", 3)
    feed = Feed(Projection(source))
    for visitor in ("one", "one", "one", "other", "other"):
        feed.enter(visitor)
    with pytest.raises(TooManyListenersError, match="5 listen already"):
        feed.enter("third")
    feed.leave("other")
    with pytest.raises(TooManyListenersError, match="3 listen from one already"):
        feed.enter("one")
    feed.enter("third")


def test_a_burst_takes_no_more_places_than_there_are(source: Growing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.api.feed.LISTENERS_A_VISITOR", 4)
    with serving(create_api(Projection(source), {}), listening("127.0.0.1", 0)) as url:
        for _ in range(2):  # the second time all have left
            told = asyncio.run(burst(f"{url}/v1/events", 12))
            assert sorted(told) == [200] * 4 + [503] * 8


async def burst(url: str, number: int) -> list[int]:
    """The statuses of so many listeners at once, who leave when all have been answered."""
    async with (
        httpx.AsyncClient(limits=httpx.Limits(max_connections=number)) as visitor,
        AsyncExitStack() as stack,
    ):
        streams = [stack.enter_async_context(visitor.stream("GET", url)) for _ in range(number)]
        return [answer.status_code for answer in await asyncio.gather(*streams)]


def heard(feed: Feed, since: Moment) -> list[Heard]:
    """All that came after a moment, however many looks that takes."""
    found: list[Heard] = []
    while True:
        reached, told = feed.after(since)
        found += map(read, map(bytes.decode, told))
        if reached == since:
            return found
        since = reached


def beginning(source: RecordSource) -> Moment:
    before = source.first_block
    return Moment(before, END_OF_BLOCK, source.block_hash(before)[:4].hex())


def test_every_event_is_told_once_in_chain_order(source: Growing, record: Record):
    told = heard(Feed(Projection(source)), beginning(source))
    expected = [
        (*logged.place, type(logged.event).__name__) for logged in record.logged if logged.event is not None
    ]
    assert [(each.data["block"], each.data["log"], each.kind) for each in told] == expected != []


def test_any_id_leads_to_the_rest(source: Growing):
    feed = Feed(Projection(source))
    told = heard(feed, beginning(source))
    for number in range(0, len(told), 9):
        moment = Moment.parse(told[number].id)
        assert feed.holds(moment)
        assert heard(Feed(Projection(source)), moment) == told[number + 1 :], "by a server started anew, too"


def test_what_a_block_adds_is_told_to_who_waits(source: Growing):
    end, feed = source.at, Feed(Projection(source))
    whole = heard(feed, beginning(source))
    parts: list[Heard] = []
    at = beginning(source)
    for head in range(source.first_block, end + 1):
        source.at = head
        at, told = feed.after(at)
        parts += map(read, map(bytes.decode, told))
    assert parts == whole


def test_another_chain_does_not_hold_an_id(source: Growing, tariff_bundle: Bundle):
    other = Feed(Projection(RecordSource(Record.of(tariff_bundle, proves_itself=False))))
    moment = Feed(Projection(source)).now()
    assert not other.holds(moment)
    source.at = moment.block - 1
    assert not Feed(Projection(source)).holds(moment), "the chain went back"


@pytest.mark.parametrize(
    "text", ["", "7", "184:7", "184:7:9F3C01AB", "-1:0:00000000", "1:2:00000000\n", "a" * 80]
)
def test_what_is_no_id_is_refused(text: str):
    with pytest.raises(CursorError, match="is no id of these events"):
        Moment.parse(text)


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(record: Record) -> Iterator[str]:
    app = create_api(Projection(RecordSource(record)), {}, archive=Finished(record, "out/bundle"))
    with serving(app, listening("127.0.0.1", 0)) as at:
        yield at


def first_of(url: str, last_event_id: str | None) -> Heard:
    """The first event that a listener gets."""
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    with httpx.stream("GET", f"{url}/v1/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = ""
        for piece in answer.iter_text():
            text += piece
            if "\n\n" in text:
                return read(text.split("\n\n")[0])
    raise AssertionError("the stream ended")


def test_listeners_begin_now_go_on_where_they_were_or_are_told_to_begin_again(url: str, record: Record):
    now = first_of(url, None)
    assert (now.kind, Moment.parse(now.id).block) == ("begin", record.blocks[-1].number)
    told = heard(Feed(Projection(RecordSource(record))), beginning(RecordSource(record)))
    assert first_of(url, told[5].id) == told[6]
    forged = first_of(url, f"{record.blocks[-1].number}:0:00000000")
    assert (forged.kind, forged.id) == ("reset", now.id)


def test_a_forged_id_is_a_problem_document(url: str):
    answer = httpx.get(f"{url}/v1/events", headers={"Last-Event-ID": "<script>"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:wattbook:problem:cursor")


def test_unknown_parameters_are_refused_one_by_one(url: str):
    answer = httpx.get(f"{url}/v1/events?after=60:16&limit=2")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:wattbook:problem:input")
    assert [fault["where"] for fault in answer.json()["faults"]] == ["query.after", "query.limit"]
    assert "Last-Event-ID" in answer.json()["detail"]


def test_who_waits_is_told_of_the_next_block_and_of_a_chain_that_went_back(source: Growing, record: Record):
    told = heard(Feed(Projection(source)), beginning(source))
    end, source.at = source.at, Moment.parse(told[-1].id).block - 1
    app = create_api(Projection(source), {}, archive=Finished(record, "out/bundle"))
    with serving(app, listening("127.0.0.1", 0)) as at, httpx.stream("GET", f"{at}/v1/events") as answer:
        pieces = answer.iter_text()
        assert read(next(pieces)).kind == "begin"
        source.at = end
        assert read(next(pieces).split("\n\n")[0]) in told
        source.at = end - 2
        later = next(piece for piece in pieces if "event: reset" in piece)
        assert Moment.parse(read(later).id).block == end - 2


def test_a_server_that_stops_lets_its_listeners_go(source: Growing, record: Record):
    app = create_api(Projection(source), {}, archive=Finished(record, "out/bundle"))
    with httpx.Client() as client:
        with serving(app, listening("127.0.0.1", 0)) as at:
            answer = client.send(client.build_request("GET", f"{at}/v1/events"), stream=True)
            pieces = answer.iter_text()
            assert read(next(pieces)).kind == "begin"
        assert list(pieces) == [], "an answer that was cut off would raise"
