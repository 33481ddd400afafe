"""Other chains beside ours: a node that ends, hangs or errs is told so, and everyone else keeps a figure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from node.bench import chain, nodes
from node.bench.row import Row

SIZES = {"ORDERS": 4, "ACCOUNTS": 2, "BATCH": 4, "RUNS": 1, "TESTER_ORDERS": 4}
SERVING = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

RESULTS = {"eth_getTransactionReceipt": {"status": "0x1"}}

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        requests = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = [{"id": each["id"], "result": RESULTS.get(each["method"], "0x1")} for each in requests]
        for each in requests:
            meet(each["method"])
        said = json.dumps(answers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass

def meet(method):
    MEETING

HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""
SOUND = SERVING.replace("MEETING", "pass")
SILENT = SERVING.replace("MEETING", "time.sleep(600)")
STOPPING = SERVING.replace("MEETING", "method == 'evm_revert' and time.sleep(600)")
FAILING = SERVING.replace('{"status": "0x1"}', '{"status": "0x0"}').replace("MEETING", "pass")
BABBLING = SERVING.replace("json.dumps(answers)", "'busy'").replace("MEETING", "pass")
ENDING = "raise SystemExit(1)"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that programs are looked for in."""
    folder = tmp_path / "node" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    for name, size in SIZES.items():
        monkeypatch.setattr(chain, name, size)
    return folder


def install(programs: Path, name: str, source: str) -> None:
    program = programs / name
    program.write_text(f"#!{sys.executable} -S\n{source}", "utf-8")
    program.chmod(0o755)


def told() -> tuple[dict[str, Row], dict[str, Row]]:
    """The rows of our flow of single orders and of batches, each by its peer."""
    rows = [row for row in chain.rows() if "single ones" not in row.name]
    assert all(row.value > 0 for row in rows)
    by_peer = [{row.name.rpartition(", and ")[2]: row for row in rows[start : start + 4]} for start in (0, 4)]
    return by_peer[0], by_peer[1]


def test_a_node_that_ends_at_once_has_no_figure_and_the_others_have(programs: Path):
    install(programs, "anvil", ENDING)
    install(programs, "hardhat", SOUND)
    for rows in told():
        ours, *others = rows.values()
        assert ours.peer_value is not None
        gone, sound = rows["anvil"], rows["hardhat"]
        assert gone.peer is not None and gone.peer.startswith("anvil, ended with status 1, after ")
        assert (gone.peer_value, gone.ratio, gone.spread) == (None, None, None)
        assert sound.peer == "hardhat, same run" and sound.peer_value is not None
        assert any(row.name.rpartition(", and ")[2].startswith("eth-tester") for row in others)


def test_a_node_that_does_not_answer_is_given_up(programs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nodes, "CALL_SECONDS", 2.0)
    monkeypatch.setattr(chain, "_tester_rate", lambda _: None)
    install(programs, "anvil", SILENT)
    install(programs, "hardhat", STOPPING)
    for rows in told():
        for name in ("anvil", "hardhat"):
            who = rows[name].peer
            assert who is not None and who.startswith(f"{name}, given up after ")
            assert (rows[name].peer_value, rows[name].ratio) == (None, None)
        assert next(iter(rows.values())).peer_value is not None


def test_a_run_has_an_end_however_soon_each_answer_comes(programs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nodes, "RUN_SECONDS", 0.0)
    assert how_it_ended(programs, SOUND).startswith("given up after ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (BABBLING, "said 'busy', which is no answer, after "),
        ("raise SystemExit(7)", "ended with status 7, after "),
    ],
    ids=["babbling", "ending"],
)
def test_how_a_node_ended_is_told(programs: Path, source: str, says: str):
    assert how_it_ended(programs, source).startswith(says)


def test_a_node_that_cannot_be_started_is_told(programs: Path):
    (programs / "anvil").write_text("#!/no/such/interpreter\n", "utf-8")
    (programs / "anvil").chmod(0o755)
    market = chain.OpenSlot.create(1)
    with nodes.node("anvil", market.chain, market.relayer.address) as other:
        assert other == "cannot be started: No such file or directory"


def test_a_node_whose_transactions_fail_is_asked_nothing_more(programs: Path):
    install(programs, "anvil", FAILING)
    market = chain.OpenSlot.create(1)
    with nodes.node("anvil", market.chain, market.relayer.address) as other:
        assert isinstance(other, nodes.Node) and other.ended is None
        for _ in range(2):
            other.reopen()
            other.execute([b"one", b"two"])
            assert other.ended is not None and other.ended.startswith("2 of 2 transactions failed, after ")


def how_it_ended(programs: Path, source: str) -> str:
    install(programs, "anvil", source)
    market = chain.OpenSlot.create(1)
    with nodes.node("anvil", market.chain, market.relayer.address) as other:
        assert isinstance(other, str)
        return other
