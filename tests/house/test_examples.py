"""Every example in Python of every page runs as it stands, here or in a test that is named here."""

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
from tests.house.repository import files

BUNDLE = Path("out/demo/bundle")
"""Where documents have it."""
HERE = {
    "ledger/README.md": (0, 1, 2),  # the third follows the chain of the second
    "ledger/audit/README.md": (0,),
    "market/README.md": (0,),
    "market/feeder/README.md": (0,),
    "market/pricing/README.md": (0,),
    "node/client/README.md": (0,),
    "node/guides/researcher.md": (0, 1),
    "node/price/README.md": (0,),
    "node/simulate/README.md": (0,),
    "node/studies/README.md": (1,),
    "node/workers/README.md": (0,),
}
"""By page the examples that this module runs."""
ELSEWHERE = {
    ("README.md", 0): "needs a testnet that runs: tests/rpc/test_testnet.py, which has it as first_order.py",
    ("node/studies/README.md", 0): "a file for a study: tests/house/test_study_rules.py",
}
"""The others, each with the reason and the test that runs it."""


def run(path: str, *replaced: tuple[str, str], examples: tuple[int, ...] | None = None) -> str:
    """What examples of a page print one after the other, with what is another here put in its place."""
    shown = blocks(page(path), "python")
    code = "".join(shown[number] for number in examples or HERE[path])
    for there, here in replaced:
        assert there in code
        code = code.replace(there, here)
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(code, path, "exec"), {"__name__": "__main__"})
    return said.getvalue()


def test_none_is_left_out():
    pages = [str(path) for path in files() if path.suffix == ".md"]
    shown = {(path, number) for path in pages for number in range(len(blocks(page(path), "python")))}
    here = {(path, number) for path, numbers in HERE.items() for number in numbers}
    assert shown == here | ELSEWHERE.keys() and not here & ELSEWHERE.keys()


def test_the_first_order_is_the_one_that_a_testnet_is_sent():
    assert blocks(page("README.md"), "python")[0] == page("tests/rpc/first_order.py")


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
    said = run("node/guides/researcher.md", ('{"prosumers.pv_mw": "8"}', small), examples=(0,))
    heads, count, *_ = said.splitlines()
    assert (heads.split(), count.split()[0]) == (["welfare_gap", "saving_neur"], "count")


def test_a_researchers_prices():
    said = run("node/guides/researcher.md", examples=(1,))
    assert said.startswith("[120.   120.57 ")


def test_pricing():
    said = run("node/price/README.md")
    assert re.fullmatch(r"bus 18: \d+\.\d\d €/MWh, \d+\.\d\d of it losses; proven: True\n", said)


def test_studying():
    lines = run("node/studies/README.md").splitlines()
    assert lines and all(re.match("(source|own check): comes out: ", line) for line in lines)


def test_signing_sending_and_following():
    run("ledger/README.md")  # its own assertions


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("market/README.md", "300 Wh at a hub price of 92.0 €/MWh\n"),
        ("market/feeder/README.md", "202.7\n"),
        ("market/pricing/README.md", "137662\n"),
    ],
)
def test_what_a_page_says_beside_its_code(path: str, said: str):
    assert run(path) == said


def test_dividing_work():
    *prices, gaps = run(
        "node/workers/README.md", ("workers=2", "workers=0"), ("range(1, 9)", "range(1, 3)")
    ).splitlines()
    assert len(" ".join(prices).strip("[]").split()) == 33 and len(gaps.split(",")) == 2
