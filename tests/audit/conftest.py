"""The small market's bundle, traded once for all tests of the audit."""

from __future__ import annotations

import pytest

from ledger.bundle import Bundle
from ledger.record import Record
from market.slots import Rule
from tests.audit.small_market import SmallMarket, traded


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
