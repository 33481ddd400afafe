"""The picture of the README: prices by bus on the market's page, at nine of the demo's day.

make demo && .venv/bin/python -m tests.browser.picture      takes it anew
"""

from __future__ import annotations

from pathlib import Path

from ledger.record import Record
from node.api.archive import Finished
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.visiting import application
from tests.browser.conftest import browser
from tests.programs import ROOT

BUNDLE = ROOT / "out" / "demo" / "bundle"
PICTURE = ROOT / "node" / "guides" / "market.png"
SLOT = 495_057
SECTION = "section:has(> #prices-title)"


def take(bundle: Path, picture: Path) -> None:
    """Write what Chromium shows of the page."""
    record = Record.from_bundle(bundle)
    app = application(RecordSource(record), Finished(record, str(bundle)))
    with serving(app, listening("127.0.0.1", 0)) as url, browser() as chromium:
        page = chromium.new_page(viewport={"width": 1_100, "height": 1_000}, color_scheme="light")
        page.goto(f"{url}/?slot={SLOT}")
        page.locator(SECTION).screenshot(path=picture)


if __name__ == "__main__":
    take(BUNDLE, PICTURE)
