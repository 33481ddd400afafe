"""A pytest plugin: tests meet the contracts of another folder, and how they ended is written down.

    python -m pytest -p tests.exchange.other_artifacts --contracts FOLDER --endings FILE TEST...

FOLDER/artifacts holds an artifact of each contract. FILE gets an `Ending` in JSON for each phase of a test.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

import contracts


@dataclass(frozen=True)
class Ending:
    """How `phase` of `test` ended: `passed` or the like, and the name of what was raised, "" for nothing."""

    test: str
    phase: str
    outcome: str
    raised: str
    message: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Both options are needed."""
    parser.addoption("--contracts", type=Path, required=True)
    parser.addoption("--endings", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Let `contracts.load` find the other folder."""
    contracts.files = {contracts.__name__: config.getoption("--contracts")}.__getitem__
    contracts.load.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how a phase ended."""
    report = yield
    raised, message = ("", "") if call.excinfo is None else (call.excinfo.typename, call.excinfo.exconly())
    ending = Ending(item.nodeid, report.when, report.outcome, raised, message)
    with item.config.getoption("--endings").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(ending)) + "\n")
    return report
