"""What holds for every test: the same examples every time, and no test left out in silence.

A test that runs a program beside Wattbook says so, `@pytest.mark.needs("anvil")`, and finds it with
`tests.programs.find`. Where the program is missing the test is skipped, and the end of the run names it;
under `WATTBOOK_REQUIRE=all` nothing may be skipped, but what reads data from elsewhere that nothing installs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from tests.programs import NOT_INSTALLED, find

settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")

REQUIRE = "WATTBOOK_REQUIRE"
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_configure() -> None:
    """Refuse a requirement that nobody meant: a typing error would let tests be skipped."""
    if os.environ.get(REQUIRE, "") not in {"", "all"}:
        raise pytest.UsageError(f"{REQUIRE}={os.environ[REQUIRE]}: only `all` has a meaning")


SLOW = (
    "test_contract_faults", "test_tampering", "test_same_results", "test_bench",
    "test_contract_artifacts", "test_studies", "test_contract_bounds", "test_contract_and_twin",
    "test_independent", "test_contract_optimiser", "test_newton_agreement", "test_anvil",
)  # fmt: skip
"""Files of few long tests, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files come first, so that no worker is left alone with one in the end."""
    rank = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(SLOW)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are not all there."""
    needed = [program for mark in item.iter_markers("needs") for program in mark.args]
    if missing := [program for program in needed if find(program) is None]:
        pytest.skip(f"no {', '.join(missing)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test is a failure where everything is required."""
    report = yield
    return _required(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So is a file that is skipped as a whole."""
    report = yield
    return _required(report)


def _required(report: Report) -> Report:
    required = os.environ.get(REQUIRE) == "all" and not hasattr(report, "wasxfail")
    if report.skipped and required and not _reason(report).startswith(NOT_INSTALLED):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE}=all, and this was skipped: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for what was left out and why."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"skipped: {reason} ({count} test{'s' if count > 1 else ''})")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    where = report.longrepr
    text = where[2] if isinstance(where, tuple) else str(where)
    return text.removeprefix("Skipped: ")
