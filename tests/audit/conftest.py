"""The small market's bundle, traded once for all tests of the audit."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ledger.bundle import Bundle
from ledger.record import Record
from ledger.token import Token
from market.slots import Rule
from node.api.archive import Finished
from node.api.sources import LiveSource, RecordSource
from tests.audit.small_market import SmallMarket, traded
from tests.audit.visiting import visiting


@pytest.fixture(scope="session")
def traded_market() -> SmallMarket:
    """The market after its last slot, on the chain that it traded on; rule `dlmp`."""
    market = SmallMarket(Rule.DLMP)
    market.trade()
    return market


@pytest.fixture(scope="session")
def bundle(traded_market: SmallMarket) -> Bundle:
    """Two slots under rule `dlmp`."""
    return traded_market.bundle()


@pytest.fixture(scope="session")
def tariff_bundle() -> Bundle:
    """The same two slots under rule `tariff`."""
    return traded(Rule.TARIFF)


@pytest.fixture(scope="session")
def record(bundle: Bundle) -> Record:
    """What the bundle says."""
    return Record.of(bundle, proves_itself=False)


@pytest.fixture(scope="module")
def source(record: Record) -> RecordSource:
    """The market's events, from its record."""
    return RecordSource(record)


@pytest.fixture(scope="module")
def live_source(traded_market: SmallMarket, record: Record) -> LiveSource:
    """The same market while it goes on."""
    assert record.deployment is not None
    token = Token(traded_market.chain, record.deployment.token)
    return LiveSource(traded_market.chain, traded_market.exchange, token, first_block=1)


@pytest.fixture(scope="module")
def api(source: RecordSource, record: Record) -> Iterator[httpx.Client]:
    """A visitor of the record's server."""
    with visiting(source, Finished(record, "out/bundle")) as visitor:
        yield visitor
