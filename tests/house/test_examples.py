"""The READMEs' examples in Python run as they stand; some on the session that the first of them trades."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path

import pytest

from ledger.record import Record
from node.api.archive import Finished
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.visiting import application, get, visiting
from tests.house.documents import blocks, page

BUNDLE = Path("out/demo/bundle")
"""Where documents have it."""


def run(path: str, *replaced: tuple[str, str], example: int = -1) -> str:
    """What an example of a page prints, the last if no other, with what is another here put in its place."""
    code = blocks(page(path), "python")[example]
    for shown, here in replaced:
        assert shown in code
        code = code.replace(shown, here)
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(code, path, "exec"), {})
    return said.getvalue()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the simulation says; its bundle is in the current folder while the module lasts."""
    with chdir(tmp_path_factory.mktemp("examples")):
        Path("out").mkdir()
        said = run("node/simulate/README.md", ("out/evening", str(BUNDLE.parent)))
        yield said


@pytest.fixture(scope="module")
def record(simulated: str) -> Record:
    return Record.from_bundle(BUNDLE)


def test_simulating(simulated: str):
    assert re.fullmatch(r"[1-9]\d* orders, [1-9]\d* fills; payments sum to 0\n", simulated)


def test_auditing(record: Record):
    with visiting(RecordSource(record), Finished(record, str(BUNDLE))) as api:
        payment = get(api, "/v1/settlements")["items"][-1]
    said = run("ledger/audit/README.md", ("103:2", f"{payment['block']}:{payment['log']}"))
    assert said.startswith("clean\n") and f"for slot {payment['slot']} " in said


def test_asking_the_api(record: Record):
    app = application(RecordSource(record), Finished(record, str(BUNDLE)))
    with serving(app, listening("127.0.0.1", 0)) as url:
        said = run("node/client/README.md", ("http://127.0.0.1:8000", url))
    assert re.fullmatch(r"(\d+ Wh at \d+ µ€/kWh\n)+", said)


def test_a_researchers_seeds():
    small = '{"slots.count": "1", "slots.start": "2026-06-23T11:00:00Z", "prosumers.count": "4"}'
    said = run("node/guides/researcher.md", ('{"prosumers.pv_mw": "8"}', small), example=0)
    heads, count, *_ = said.splitlines()
    assert (heads.split(), count.split()[0]) == (["welfare_gap", "saving_neur"], "count")


def test_a_researchers_prices():
    said = run("node/guides/researcher.md", example=1)
    assert said.startswith("[120.   120.57 ")


def test_pricing():
    said = run("node/price/README.md")
    assert re.fullmatch(r"bus 18: \d+\.\d\d €/MWh, \d+\.\d\d of it losses; proven: True\n", said)


def test_studying():
    lines = run("node/studies/README.md").splitlines()
    assert lines and all(re.match("(source|own check): comes out: ", line) for line in lines)
