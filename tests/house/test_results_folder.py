"""Summary, tables, pictures, report and manifest: complete, readable back, and the same bytes every time."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from market.comparison import Kind
from market.events import AccountResettled
from market.feeder.powerflow import Violation
from node.simulate import report
from node.simulate.bills import accounts
from node.simulate.canvas import DARK
from node.simulate.folder import write_manifest, write_results
from node.simulate.plots import PLOTS, Plot, draw
from node.simulate.report import render_report
from node.simulate.result import NO_LEDGER, DayResult
from node.simulate.summary import gap, summarise
from node.simulate.tables import SLOT_COLUMNS, storages, tables
from tests.house.documents import page

MakeDay = Callable[..., DayResult]
TABLES = ("orders", "fills", "prices", "lines", "violations", "bills", "utility")
LOW = Violation(period=0, bus=3, what="voltage", value=0.89, limit=0.9)


@pytest.fixture(scope="module")
def folder(day: DayResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "nested" / "out"
    write_results(day, out)
    (out / "bundle").mkdir()
    (out / "bundle" / "headers.bin").write_bytes(b"\0\1")
    write_manifest(out, day)
    return out


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are read for their words alone: pictures are most of the time that one takes."""
    monkeypatch.setattr(report, "PLOTS", ())


def rows(day: DayResult, name: str) -> list[dict[str, str]]:
    table = next(table for table in tables(day) if table.name == name)
    return list(csv.DictReader(table.to_csv().splitlines()))


# --- summary ------------------------------------------------------------------------------------


def test_summary_has_the_documented_keys(day: DayResult) -> None:
    documented = (
        "slots orders fills volume_wh welfare_eur welfare_gap book_welfare_gap violations"
        " violations_delivered worse_off payments_sum_neur gas_used atc_iterations_max head_hash seconds"
    )
    found = json.loads(json.dumps(summarise(day).to_json()))
    assert set(documented.split()) <= found.keys()
    assert found["slots"] == 3
    assert found["orders"] == 3 * 25
    assert found["fills"] == 3 * 12
    assert found["volume_wh"] == sum(fill.quantity for slot in day.slots for fill in slot.fills)
    assert 0 < found["volume_peer_wh"] < found["volume_wh"]
    assert found["payments_sum_neur"] == 0
    assert found["atc_iterations_max"] == 12
    assert found["atc_error_max"] == pytest.approx(3e-6, rel=1e-12)
    assert found["loss_wh"] == 3 * 321
    assert found["welfare_gap"] == pytest.approx(10 / 50, rel=1e-12)
    assert found["book_welfare_gap"] == pytest.approx(6 / 50, rel=1e-12)


def test_worse_off_counts_days_and_slots(day: DayResult) -> None:
    found = summarise(day)
    bills = [line for line in rows(day, "bills") if line["worse_off"] == "1"]
    assert found.worse_off == sum(account.day.difference_neur > 0 for account in accounts(day))
    assert found.worse_off_slots == len(bills)
    assert 0 < found.worse_off < 5 < found.worse_off_slots


def test_gap_of_a_market_without_stakes_is_unknown() -> None:
    assert gap(1.0, 1.0, 1.0) is None
    assert gap(-3.0, -2.0, -4.0) == 0.5
    assert gap(5.0, 5.0, 1.0) == 0.0


def test_text_says_what_is_bad(make_day: MakeDay) -> None:
    bad = summarise(make_day(violations=(LOW,))).render(Path("out/demo"))
    assert "3 LIMITS BROKEN" in bad
    assert "PAID MORE" in bad
    assert "wattbook audit out/demo/bundle" in bad
    assert "Sum to exactly 0" in bad


@pytest.mark.usefixtures("without_pictures")
def test_planned_shedding_is_told_wherever_prices_are(day: DayResult) -> None:
    """150 Wh and 250 Wh in an hour of the second slot's charges, 300 Wh in its prices: at most 400 W."""
    assert "SCARCITY" not in summarise(day).render() + render_report(day)
    quiet, short, *rest = day.slots
    short = replace(
        short, charges_shed_wh=np.array([0, 0, 0, 150, 250]), prices_shed_wh=np.array([0] * 4 + [300])
    )
    scarce = replace(day, slots=(quiet, short, *rest))
    found = summarise(scarce)
    assert (found.shed_slots, found.shed_mw_max) == (1, 0.0004)
    for text in (found.render(), render_report(scarce)):
        assert "IN 1 SLOT CHARGES OR PRICES ARE SCARCITY PRICES" in " ".join(text.split())
    at_d = [line for line in rows(scarce, "prices") if line["bus_name"] == "D"]
    assert [line["charge_shed_wh"] for line in at_d] == ["0", "250", "0"]
    assert [line["dlmp_shed_wh"] for line in at_d] == ["0", "300", "0"]


@pytest.mark.usefixtures("without_pictures")
def test_broken_limits_are_told_by_place_and_name(make_day: MakeDay) -> None:
    day = make_day(slots=1, violations=(LOW,))
    [line] = rows(day, "violations")
    assert (line["flow"], line["what"], line["bus"], line["bus_name"]) == ("scheduled", "voltage", "3", "C")
    assert (float(line["value_pu"]), float(line["limit_pu"])) == (LOW.value, LOW.limit)
    assert "bus C: voltage 0.89000 pu, limit 0.90000 pu" in render_report(day)


def test_the_worst_of_the_broken_limits_is_in_the_summary(make_day: MakeDay) -> None:
    over = Violation(period=0, bus=2, what="current", value=2.2, limit=2.0)
    day = make_day(slots=2, violations=(LOW, over))
    told = "2026-06-23T00:00:00Z: line to bus B: current 2.20000 pu, limit 2.00000 pu"
    assert summarise(day).worst_violation == told
    assert f"The worst: {told}; violations.csv has all." in " ".join(summarise(day).render().split())
    first = day.slots[0]
    delivered = replace(first, delivered=replace(first.delivered, violations=(LOW,)))
    assert "bus C: voltage" in summarise(replace(day, slots=(delivered,))).worst_violation
    assert summarise(make_day()).worst_violation == ""


def test_lines_have_a_loading_where_they_have_a_rating(day: DayResult) -> None:
    flow = day.slots[0].delivered
    found = [line["delivered_loading"] for line in rows(day, "lines")[:4]]
    assert found == [
        "" if np.isinf(rating) else f"{current / rating:.6f}"
        for current, rating in zip(flow.current[1:], day.rating[1:], strict=True)
    ]
    free = replace(day, rating=np.full(5, np.inf))
    [network] = [plot for plot in PLOTS if plot.name == "network"]
    assert draw(network, free) != draw(network, day)


def test_late_readings_and_what_they_corrected_are_told(day: DayResult) -> None:
    def change(account: int, charge: int) -> AccountResettled:
        return AccountResettled(1, day.participants[account].address, 5, 5, charge, -100, 0, 0)

    late = replace(
        day.slots[0], late=3, resettled=(change(0, 2_000_000_100), change(1, -999_999_900), change(2, 100))
    )
    summary = summarise(replace(day, slots=(late, *day.slots[1:])))
    assert (summary.late_readings, summary.corrections, summary.corrected_neur) == (3, 2, 3_000_000_000)
    told = "3 readings came too late: their accounts were settled by estimates. 2 of these"
    assert f"{told} the reading then changed, by 3.00 € in all." in " ".join(summary.render().split())
    assert "Meters" not in summarise(day).render()


@pytest.mark.usefixtures("without_pictures")
def test_without_a_chain_nothing_is_said_to_be_signed(day: DayResult) -> None:
    assert "signed orders" in summarise(day).render() and "a contract on a chain" in render_report(day)
    without = replace(day, ledger=NO_LEDGER)
    assert "signed" not in summarise(without).render() and "a contract on a chain" not in render_report(
        without
    )


def test_text_says_what_is_good(day: DayResult) -> None:
    text = summarise(replace(day, slots=(), participants=())).render()
    assert "Nobody paid more" in text
    assert "nothing to gain" in text
    assert "Next:" not in text


# --- tables -------------------------------------------------------------------------------------


def test_tables_are_those_documented(day: DayResult) -> None:
    assert tuple(table.name for table in tables(day)) == TABLES
    for table in tables(day):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert len(set(table.columns)) == len(table.columns)


def test_every_column_is_described(day: DayResult) -> None:
    """By file, in its own order, after the two that all have."""
    told = re.split(r"^### `(\w+)\.csv`$", page("node/simulate/README.md"), flags=re.MULTILINE)
    described = {
        name: [column for line in text.splitlines() if line.startswith("| `") for column in _named(line)]
        for name, text in zip(told[1::2], told[2::2], strict=True)
    }
    made = (*tables(day), storages(day))
    assert described == {table.name: list(table.columns[len(SLOT_COLUMNS) :]) for table in made}


def _named(row: str) -> list[str]:
    return re.findall(r"`(\w+)`", row.split("|")[1])


def test_bills_read_back_add_up(day: DayResult) -> None:
    for line in rows(day, "bills"):
        parts = ("trades", "charge", "closeout", "imbalance", "penalty")
        assert int(line["total_neur"]) == sum(int(line[f"{part}_neur"]) for part in parts)
        over = sum(int(line[f"over_{kind}_neur"]) for kind in Kind)
        assert int(line["total_neur"]) - int(line["tariff_neur"]) == over == -int(line["saving_neur"])


def test_fills_read_back_give_the_settled_trades(day: DayResult) -> None:
    bills = {(line["slot_index"], line["prosumer"]): int(line["trades_neur"]) for line in rows(day, "bills")}
    found = dict.fromkeys(bills, 0)
    for line in rows(day, "fills"):
        assert int(line["money_neur"]) == int(line["quantity_wh"]) * int(line["hub_price_ueur_per_kwh"])
        for who, sign in (("buyer", 1), ("seller", -1)):
            if line[who] != "utility":
                found[line["slot_index"], line[who]] += sign * int(line["money_neur"])
    assert found == bills


def test_orders_account_for_their_quantity(day: DayResult) -> None:
    for line in rows(day, "orders"):
        assert int(line["quantity_wh"]) == int(line["filled_wh"]) + int(line["voided_wh"])
    unmet = [line for line in rows(day, "orders") if line["void_reason"]]
    assert [line["void_reason"] for line in unmet] == ["gate_closed"] * 3
    assert unmet[0]["expires"] == "2026-06-22T23:30:00Z"


def test_names_and_addresses_survive_csv(day: DayResult) -> None:
    assert all(day.bus_names[int(line["bus"])] == line["bus_name"] for line in rows(day, "bills"))
    named = {line["prosumer"]: line["address"] for line in rows(day, "bills")}
    assert named == {who.name: who.address for who in day.participants}


def test_prices_and_lines_have_a_row_a_slot_and_place(day: DayResult) -> None:
    found = rows(day, "prices")
    assert len(found) == 3 * 5
    assert [int(line["dlmp_ueur_per_kwh"]) for line in found[:5]] == list(day.slots[0].prices.bus_price)
    assert [(line["from_bus_name"], line["to_bus_name"]) for line in rows(day, "lines")[:4]] == [
        ("S", "A"),
        ("A", "B"),
        ("A", "C"),
        ("C", "D"),
    ]


def test_moving_the_slots_on_the_chain_changes_no_table(day: DayResult, make_day: MakeDay) -> None:
    moved = make_day(shift=24)
    assert moved.slots[0].slot != day.slots[0].slot
    assert [table.to_csv() for table in tables(moved)] == [table.to_csv() for table in tables(day)]


def test_negative_zero_is_zero(day: DayResult) -> None:
    slot = replace(day.slots[0], reactive_price=np.full(5, -0.0))
    assert {line["dlmp_q_eur_per_mvarh"] for line in rows(replace(day, slots=(slot,)), "prices")} == {
        "0.000000"
    }


# --- pictures and page --------------------------------------------------------------------------


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_pictures_are_wellformed_and_depend_on_the_session(
    plot: Plot, day: DayResult, make_day: MakeDay
) -> None:
    drawn = draw(plot, day)
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<dc:date>" not in drawn
    assert draw(plot, make_day(2)) != drawn
    assert draw(plot, day, DARK) != drawn


def test_pictures_of_one_quiet_slot_can_be_drawn(day: DayResult) -> None:
    slot = day.slots[0]
    quiet = replace(
        slot,
        fills=(),
        settled=tuple(
            replace(s, contracted=0, delivered=0, trades=0, charge=0, closeout=0) for s in slot.settled
        ),
        delivered=replace(slot.delivered, flow_mw=np.zeros(5)),
    )
    for plot in PLOTS:
        assert draw(plot, replace(day, slots=(quiet,)))


class Page(HTMLParser):
    """Collects what a test asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone_and_names_every_bill(day: DayResult) -> None:
    page = Page(render_report(day))
    assert page.tags.count("img") == len(PLOTS)
    assert len(page.sources) == 2 * len(PLOTS)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert "script" not in page.tags
    assert all(who.name in page.text for who in day.participants)
    assert page.text.count("Paid more:") == summarise(day).worse_off


@pytest.mark.usefixtures("without_pictures")
def test_page_escapes_what_comes_from_outside(make_day: MakeDay) -> None:
    day = make_day(violations=(LOW,))
    html = render_report(replace(day, bus_names=("S", "A", "B", "<script>alert(1)</script>", "D")))
    assert "<script" not in html
    assert "&lt;b&gt;fourth&lt;/b&gt; &amp; co" in html
    assert Page(html).tags.count("b") == 0


@pytest.mark.usefixtures("without_pictures")
def test_page_says_when_a_posting_is_wrong(day: DayResult) -> None:
    slot = day.slots[0]
    wrong = replace(slot.settled[0], charge=slot.settled[0].charge + 1)
    forged = replace(slot, settled=(wrong, *slot.settled[1:]))
    page = Page(render_report(replace(day, slots=(forged,))))
    assert "The two sides differ by 1 n€" in page.text


# --- folder -------------------------------------------------------------------------------------


def test_manifest_lists_every_file_with_its_hash(day: DayResult, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == present - {"manifest.json"}
    assert {f"{name}.csv" for name in TABLES} | {"report.html", "bundle/headers.bin"} <= present
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    assert manifest["head_hash"] == day.ledger.head_hash


def test_time_spent_is_in_no_file(day: DayResult, folder: Path, tmp_path: Path) -> None:
    write_results(replace(day, seconds=987.654), tmp_path)
    assert_same_files(folder, tmp_path)


def test_another_process_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    # Loading pandapower changes matplotlib for the whole process, and no picture of ours.
    script = (
        "import sys, pandapower.plotting; from pathlib import Path;"
        "from tests.house.conftest import build_day;"
        "from node.simulate.folder import write_results; write_results(build_day(), Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "17", "TZ": "Asia/Tokyo"}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, env=environment, check=True)
    assert_same_files(folder, tmp_path)


def assert_same_files(expected: Path, found: Path) -> None:
    names = {p.relative_to(found) for p in found.rglob("*") if p.is_file()}
    assert len(names) == len(TABLES) + len(PLOTS) + 1
    for name in names:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
