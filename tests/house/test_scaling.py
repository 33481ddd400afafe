"""SCALING.md: its formula gives what a session was measured to take, and its table is the formula's."""

from __future__ import annotations

import re
from dataclasses import replace

from ledger.gas import ORDERS
from node.bench import needs, scaling, town
from node.bench.needs import Activity, scaled, usual
from node.workers.crew import Alone
from tests.house.repository import ROOT

PAGE = (ROOT / "SCALING.md").read_text("utf-8")
DEMO = Activity(slots=24, buses=33, accounts=60, orders=3_555, batches=111, ordering=1_462, entries=1_499)
"""What the demo's day had, as `activity_of` counts it in its bundle."""
CAPPED = replace(DEMO, batches=488)
"""The same under a cap of 2^24 gas a transaction."""

GAS_TOLERANCE = 0.03
TOLERANCES = {
    "gas of a session, as its receipts have it": GAS_TOLERANCE,
    "gas of its setting up, likewise": 0.01,
    "bytes of its transactions, as they are": 0.05,
    "bytes of its bundle, as they are": 0.05,
    "words of storage of a session's slots, as the state has them": 0.15,
}
"""Share by which the formula may miss: an order's gas depends on the book it meets, words on its levels."""


def test_the_formula_gives_what_another_session_took():
    rows = {row.name: row for row in scaling.one()}
    assert rows.keys() == TOLERANCES.keys()
    for name, tolerance in TOLERANCES.items():
        assert abs(rows[name].ratio - 1.0) <= tolerance, (name, rows[name].ratio)


def test_feeders_of_a_town_have_chains_of_their_own_and_the_formula_s_gas():
    two = town.traded(Alone(), 2)
    assert len({each.head for each in two}) == 2
    for each in two:
        assert each.orders > 0 and abs(each.gas / each.formula_gas - 1.0) <= GAS_TOLERANCE


def test_the_formula_gives_the_gas_of_the_demo_s_day():
    shown = re.search(r"Chain +([\d,]+) gas", (ROOT / "README.md").read_text("utf-8"))
    told = re.search(r"takes ([\d ]+) gas instead of ([\d ]+),", PAGE)
    capped, whole = (int(gas.replace(" ", "")) for gas in told.groups())
    assert whole == int(shown[1].replace(",", ""))
    for day, measured in ((DEMO, whole), (CAPPED, capped)):
        # 0.2 % when it was fitted
        assert abs((day.gas + day.setup_gas) / measured - 1.0) <= 0.01


def test_the_page_s_table_is_the_formula_s():
    for cells in needs.places():
        assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_tells_the_units():
    units = {name: unit for name, unit in vars(needs).items() if re.search("_(GAS|BYTES|WORDS)$", name)}
    del units["BLOCK_GAS"]  # told as 30 million
    assert len(units) > 10
    assert not [name for name, unit in units.items() if f"{unit:,}".replace(",", " ") not in PAGE]


def test_many_slots_need_so_many_times_as_much():
    one = usual(accounts=200, buses=128)
    assert one.gas > usual(accounts=100, buses=128).gas > usual(accounts=100, buses=33).gas
    # more calls, each with its base, and nothing else
    capped = usual(accounts=200, buses=128, together=8)
    assert capped.gas - one.gas == (capped.batches - one.batches) * needs.BATCH_GAS


def test_eight_orders_a_call_fit_a_capped_transaction_and_nine_do_not():
    cap = 2**24  # EIP-7825
    assert ORDERS.limit(8) <= cap < ORDERS.limit(9)


def test_three_digits_and_a_letter():
    shown = {0.04: "0.04", 7: "7", 42_135: "42.1 k", 999.6: "1 k", 1e6: "1 M", 3.64e12: "3.64 T"}
    assert {value: scaled(value) for value in shown} == shown
