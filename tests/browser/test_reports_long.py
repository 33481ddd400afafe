"""The reports that commands write, in Chromium: nothing that axe finds, and nothing wider than the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market.feeder.powerflow import Violation
from node.simulate.report import render_report
from node.studies.registry import ENTRIES
from node.studies.whole import run_all, write
from tests.browser.conftest import Tab
from tests.house.conftest import build_day

pytestmark = [pytest.mark.long, pytest.mark.needs("chromium", "playwright", "axe-core")]
LOOKS = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one quick study and of the mechanisms side by side in one slot."""
    folder = tmp_path_factory.mktemp("studies")
    slots = {"slots.count": "1", "slots.start": "2026-06-23T11:00:00Z", "prosumers.count": "10"}
    write(run_all(1, [entry for entry in ENTRIES if entry.name == "stackelberg"], {}, slots), folder)
    return folder / "report.html"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The report of a session with bills that are higher and limits that are broken."""
    path = tmp_path / "report.html"
    high = Violation(period=0, bus=2, what="voltage", value=1.12, limit=1.1)
    path.write_text(render_report(build_day(violations=(high,))), encoding="utf-8")
    return path


def looked_at(chromium: Any, path: Path) -> None:
    for width, scheme in LOOKS:
        context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        tab = Tab(context)
        tab.page.goto(path.as_uri())
        tab.has_no_violations()
        assert tab.wrong == []
        context.close()


def test_axe_finds_nothing_in_the_report_of_a_session(chromium: Any, session: Path):
    looked_at(chromium, session)


def test_axe_finds_nothing_in_the_report_of_studies(chromium: Any, studies: Path):
    looked_at(chromium, studies)
