"""The small market's bundle, traded once for all tests of the audit."""

from __future__ import annotations

import pytest

from ledger.bundle import Bundle
from ledger.record import Record
from market.slots import Rule
from tests.audit.small_market import traded


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """Two slots under rule `dlmp`."""
    return traded()


@pytest.fixture(scope="session")
def tariff_bundle() -> Bundle:
    """The same two slots under rule `tariff`."""
    return traded(Rule.TARIFF)


@pytest.fixture(scope="session")
def record(bundle: Bundle) -> Record:
    """What the bundle says."""
    return Record.of(bundle, proves_itself=False)
