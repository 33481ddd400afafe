"""The same session on anvil and on the embedded chain: an independent client agrees on every unit of gas.

Two hours of the demo's day in every run, all of the day in the long one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.bundle import read
from ledger.chain.encoding import make_block, read_receipts
from ledger.chain.protocol import Receipt, TransactionRefused
from ledger.chain.rpc import RpcChain
from ledger.deployment import read_site
from ledger.gas import ORDERS, ORDERS_PER_TRANSACTION
from ledger.keys import mnemonic_keys
from ledger.record import Record
from ledger.sending import send
from ledger.transactions import decode_transaction
from node.scenario import load
from node.scenario.schema import ScenarioFile
from node.simulate.run import simulate
from node.simulate.summary import Summary
from tests.chains.rebuilt import anvil

GENESIS = 1_782_000_000
"""Before the scenario's day, so that its slots keep their numbers and signatures are the same."""
HOURS = {"slots.count": "2", "prosumers.count": "12", "prosumers.pv_mw": "2"}
TABLES = ("orders", "fills", "prices", "lines", "violations", "bills", "utility")

pytestmark = pytest.mark.needs("anvil")


@dataclass(frozen=True)
class Sessions:
    """One scenario on both chains: folders, summaries, and what anvil's market says at the end."""

    scenario: ScenarioFile
    embedded: Path
    anvil: Path
    summaries: tuple[Summary, Summary]
    events_on_anvil: int


@pytest.fixture(
    scope="module", params=[HOURS, pytest.param({}, marks=pytest.mark.long)], ids=["hours", "day"]
)
def sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    scenario = load("ieee33-day", request.param)
    parent = tmp_path_factory.mktemp("sessions")
    ours = simulate(scenario, parent / "embedded")
    with anvil("--timestamp", GENESIS) as node:
        theirs = simulate(scenario, parent / "anvil", node.url)
        site = read_site(parent / "anvil" / "deployment.json")
        market = site.open(RpcChain(node.url))  # as anybody else would find it
        events = len(market.history(site.first_block))
    yield Sessions(scenario, parent / "embedded", parent / "anvil", (ours, theirs), events)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_same(sessions: Sessions, name: str) -> None:
    assert (sessions.embedded / f"{name}.csv").read_bytes() == (sessions.anvil / f"{name}.csv").read_bytes()


def test_payments_sum_to_nothing_on_both(
    sessions: Sessions, record_property: Callable[[str, object], None]
) -> None:
    ours, theirs = (summary.to_json() for summary in sessions.summaries)
    assert ours["payments_sum_neur"] == theirs["payments_sum_neur"] == 0
    assert ours["gas_used"] == theirs["gas_used"]
    with (sessions.anvil / "fills.csv").open(encoding="utf-8", newline="") as table:
        fills = sum(1 for _ in csv.DictReader(table))
    assert ours["fills"] == theirs["fills"] == fills > 0
    record_property("orders", ours["orders"])
    record_property("fills", fills)


def test_receipts_are_the_same_gas_included(
    sessions: Sessions, record_property: Callable[[str, object], None]
) -> None:
    """Blocks differ, since anvil gives each transaction one; transactions, logs and gas do not."""
    embedded, anvil = (_receipts(folder / "bundle") for folder in (sessions.embedded, sessions.anvil))
    assert len(embedded) >= 50
    assert embedded == anvil
    record_property("receipts", len(embedded))


def test_bundle_from_anvil_audits_clean(sessions: Sessions) -> None:
    report = audit(Record.from_bundle(sessions.anvil / "bundle"))
    assert report.findings == ()


def test_the_deployment_file_leads_to_the_market(sessions: Sessions) -> None:
    assert sessions.events_on_anvil > 50
    assert not (sessions.embedded / "deployment.json").exists()  # that chain is gone


def test_a_network_that_caps_a_transaction_s_gas_carries_the_session(
    sessions: Sessions, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Under EIP-7825 whole batches are refused; smaller ones end in the same fills, prices and payments."""
    cap = 2**24
    with anvil("--timestamp", GENESIS, "--enable-tx-gas-limit", fork="osaka") as node:
        payer = mnemonic_keys(1)[0]
        with pytest.raises(TransactionRefused, match="by --transaction-gas"):
            send(RpcChain(node.url), payer, payer.address, b"", ORDERS.limit(ORDERS_PER_TRANSACTION))
        capped = simulate(sessions.scenario, tmp_path / "capped", node.url, transaction_gas_max=cap)
    for name in TABLES:
        file = f"{name}.csv"
        assert (sessions.embedded / file).read_bytes() == (tmp_path / "capped" / file).read_bytes(), name
    assert capped.to_json()["payments_sum_neur"] == 0
    whole, cut = (_asked(folder / "bundle") for folder in (sessions.embedded, tmp_path / "capped"))
    assert max(cut) <= cap < max(whole)
    assert len(cut) > len(whole)
    record_property("capped gas", capped.to_json()["gas_used"])


def _asked(folder: Path) -> list[int]:
    """Gas that each transaction of a bundle asked for."""
    blocks = read(folder).transactions
    return [decode_transaction(raw).transaction.gas for block in blocks for raw in block]


def _receipts(folder: Path) -> list[tuple[object, ...]]:
    bundle = read(folder)
    found: list[tuple[object, ...]] = []
    for header, transactions, raws in zip(bundle.headers, bundle.transactions, bundle.receipts, strict=True):
        block = make_block(header, transactions)
        found.extend(_substance(receipt) for receipt in read_receipts(block, raws))
    return found


def _substance(receipt: Receipt) -> tuple[object, ...]:
    """What does not depend on the block a transaction came into, or on the price of gas."""
    logs = tuple((log.address, log.topics, log.data) for log in receipt.logs)
    return receipt.sender, receipt.to, receipt.contract, receipt.status, receipt.gas_used, logs
