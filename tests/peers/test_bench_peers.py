"""Other packages beside ours: asked in environments of their own, in turns, and said so where they fail."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from select import select

import numpy as np
import pytest

from market.pricing.newton import NewtonClearing
from node.bench import lossless, matching
from node.bench.day import demo_day
from node.bench.matched_orders import CALL, drawn, traded_wh
from node.bench.peers import ASSUME, GSY, PYMARKET, PYPSA, TESP, Peer, Reply, compared, peer_process
from node.bench.timing import again
from tests.peers import adapter
from tests.peers import install as installing

ECHO = """
import json, sys, time
question = json.load(open(sys.argv[2]))
print(json.dumps("1.0"), flush=True)
for number, _ in enumerate(sys.stdin, 1):
    exec(question)
    print(json.dumps({"seconds": float(number), "found": number}), flush=True)
"""
ORDERS = 200


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A package that counts its runs, in an environment with this Python."""
    return here("echo", ECHO, tmp_path, monkeypatch)


def here(name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """An environment of that name, which has this Python and no packages, and what runs there."""
    monkeypatch.setenv("WATTBOOK_PEERS", str(tmp_path))
    (tmp_path / "adapter.py").write_text(source, "utf-8")
    (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / name / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / name / "installed.txt").write_text("", "utf-8")
    return Peer(name, name)


def counted() -> tuple[list[int], Callable[[], object]]:
    runs: list[int] = []
    return runs, lambda: runs.append(1)


def test_both_take_turns(echo: Peer):
    runs, work = counted()
    found = compared(again(work), echo, "pass", patience_seconds=60, runs=3)
    assert len(runs) == 1 + 3, "one before, to warm up"
    assert found.theirs is not None and found.theirs.seconds == (1.0, 2.0, 3.0)
    row = found.row("a thing", "echo", "counts")
    assert (row.peer, row.peer_value, found.found) == ("echo 1.0: counts, same run", 2.0, 3)
    assert row.spread == found.ours.over(found.theirs)
    assert found.row("a thing", "echo", "counts", "ms").peer_value == 2_000.0


def test_who_takes_too_long_is_given_up(echo: Peer):
    found = compared(again(lambda: None), echo, "time.sleep(600)", patience_seconds=0.2, runs=3)
    row = found.row("a thing", "echo", "counts")
    assert row.peer == "echo 1.0, given up after 0.2 s"
    assert (row.peer_value, row.ratio, row.spread) == (None, None, None), "who fails is not beaten"


def test_who_finds_no_trade_is_not_beaten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    echo = here(
        "echo",
        ECHO.replace("exec(question)", "traded = 0 if question['auction'] == 'idle' else 7").replace(
            '"found": number', '"found": traded'
        ),
        tmp_path,
        monkeypatch,
    )
    monkeypatch.setattr(matching, "OTHERS", ((CALL, echo, "idle"), (CALL, echo, "busy")))
    idle, busy = matching._beside(ORDERS)
    assert idle.peer == "echo 1.0, finds no trade, after 2 s"
    assert (idle.peer_value, idle.ratio, idle.spread) == (None, None, None)
    assert busy.peer is not None and busy.peer.startswith("echo 1.0: trades 0.") and busy.peer_value == 2.0


def test_who_takes_long_is_not_asked_again(echo: Peer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.bench.peers.LONG_SECONDS", 1.5)
    found = compared(again(lambda: None), echo, "pass", patience_seconds=60, runs=5)
    assert found.row("a thing", "echo", "counts").runs == (2, 2), "its second run took 2 s, as it says"


def test_who_breaks_down_says_why(echo: Peer):
    found = compared(again(lambda: None), echo, "number > 1 and 1 / 0", patience_seconds=60, runs=3)
    assert found.ended is not None
    assert re.fullmatch(r"ZeroDivisionError: division by zero, after [\d.e-]+ s", found.ended)
    assert found.theirs is not None and len(found.theirs.seconds) == 2, "it is not asked a third time"


def test_a_package_that_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = Path(adapter.__file__).read_text("utf-8")
    peer = here("gsy", source, tmp_path, monkeypatch)
    found = compared(again(lambda: None), peer, {"orders": []}, patience_seconds=60, runs=2)
    assert found.ended is not None
    assert found.ended.startswith("ModuleNotFoundError: No module named 'gsy_framework', after ")


def test_an_end_before_the_question_is_read_is_told(tmp_path: Path):
    silent = tmp_path / "silent.py"
    silent.write_text("raise SystemExit(3)", "utf-8")
    with peer_process(Path(sys.executable), (str(silent),), "x") as process:
        assert isinstance(process, Reply) and process.ended is not None
        assert process.ended.startswith("ended with status 3, after ")


def test_who_says_half_a_line_or_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.bench.peers.LOADING_SECONDS", 0.2)
    hung = tmp_path / "hung.py"
    for words in ("", "sys.stdout.write('\"half'); sys.stdout.flush()"):
        hung.write_text(f"import sys, time\n{words}\ntime.sleep(600)", "utf-8")
        with peer_process(Path(sys.executable), (str(hung),), "x" * 1_000_000) as process:
            assert isinstance(process, Reply) and process.ended == "given up after 0.2 s"


@pytest.mark.parametrize(
    "said",
    [
        "loading...",
        "7",
        '{"seconds": "1", "found": 2}',
        '{"seconds": 0.0, "found": 2}',
    ],
)
def test_who_says_what_is_no_reply_has_no_figure(echo: Peer, said: str):
    found = compared(again(lambda: None), echo, f"print({said!r}, flush=True)", patience_seconds=60, runs=3)
    row = found.row("a thing", "echo", "counts")
    assert found.ended is not None and found.ended.startswith(f"said {said!r}, which is no reply, after ")
    assert (row.peer_value, row.ratio) == (None, None)


def test_who_says_no_version_is_not_asked(tmp_path: Path):
    odd = tmp_path / "odd.py"
    odd.write_text("print(7)", "utf-8")
    with peer_process(Path(sys.executable), (str(odd),), "x") as process:
        assert isinstance(process, Reply) and process.ended == "said '7', which is no reply, after 0 s"


def test_who_cannot_be_started_is_told(echo: Peer):
    assert echo.python is not None
    echo.python.unlink()
    echo.python.symlink_to("gone")
    found = compared(again(lambda: None), echo, "pass", patience_seconds=60, runs=3)
    assert found.ended == "cannot be started: No such file or directory"


def test_who_closes_its_output_and_lives_is_not_waited_for(echo: Peer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.bench.peers.ENDING_SECONDS", 0.1)
    question = "sys.stdout.close(); import os; os.close(1); time.sleep(600)"
    found = compared(again(lambda: None), echo, question, patience_seconds=60, runs=3)
    assert found.ended is not None and found.ended.startswith("closed its output, after ")


def test_what_a_package_started_ends_with_it(echo: Peer, tmp_path: Path):
    """A child that holds the output open is neither waited for nor left."""
    held = tmp_path / "held"
    os.mkfifo(held)
    question = f"""
import subprocess
with open({str(held)!r}, "wb") as writing:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[writing.fileno()])
"""
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert compared(again(lambda: None), echo, question, patience_seconds=60, runs=1).ended is None
        assert select([reading], [], [], 60)[0] and os.read(reading, 1) == b"", (
            "closed once the child is gone"
        )
    finally:
        os.close(reading)


def test_what_a_package_leaves_behind_is_not_where_the_benchmark_runs(
    echo: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    found = compared(again(lambda: None), echo, "open('package.log', 'w').close()", 60, runs=1)
    assert found.ended is None and not (tmp_path / "package.log").exists()


def test_who_is_not_installed_is_named_without_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATTBOOK_PEERS", str(tmp_path))
    row = compared(again(lambda: None), GSY, {}, 1.0, runs=1).row("a thing", GSY.title, "")
    assert row.name == "a thing, which is not installed"
    assert (row.peer, row.peer_value, row.ratio) == (None, None, None) and row.value > 0


def test_an_environment_counts_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WATTBOOK_PEERS", str(tmp_path))
    nothing = {Peer("nothing", "Nothing"): (str(tmp_path / "no-such-package"),)}
    monkeypatch.setattr(installing, "REQUIREMENTS", nothing)
    assert installing.main([]) == 1
    assert "not installed: Nothing: ERROR: " in capsys.readouterr().err
    assert next(iter(nothing)).python is None, "half an environment is none"
    assert installing.main(["other"]) == 2
    assert "other: no such peer; there are nothing" in capsys.readouterr().err


def test_every_package_can_be_asked():
    assert sorted(adapter.PACKAGES) == sorted(peer.name for peer in installing.REQUIREMENTS)
    for peer, (wanted, *_) in installing.REQUIREMENTS.items():
        assert wanted.startswith(f"{adapter.PACKAGES[peer.name][0]}==")


@pytest.mark.long
@pytest.mark.parametrize(
    ("peer", "kind", "least"),
    [
        (ASSUME, "pay-as-clear", 1.0),
        (GSY, "pay-as-clear", 0.99),
        (PYMARKET, "huang", 0.9),
        (TESP, "double auction", 1.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_auctions_of_others_trade_what_ours_does(peer: Peer, kind: str, least: float):
    """At one price for all the most energy is a number; the mechanisms that give up some of it say so."""
    if peer.python is None:
        pytest.skip(f"{peer.title}, which `make bench` installs")
    orders = drawn(ORDERS, ORDERS)
    columns = orders.trader, orders.side, orders.tick, orders.quantity_wh
    question = {"auction": kind, "orders": np.stack(columns, axis=1).tolist()}
    found = compared(again(lambda: None), peer, question, patience_seconds=60, runs=1)
    assert found.ended is None
    share = found.found / traded_wh(CALL, orders)
    assert least - 1e-9 <= share <= 1 + 1e-9


@pytest.mark.long
def test_a_linear_optimum_is_of_the_same_problem():
    if PYPSA.python is None:
        pytest.skip(f"{PYPSA.title}, which `make bench` installs")
    world = demo_day(10)
    conditions = world.conditions(19)
    question = lossless.question(world.feeder, conditions)
    found = compared(again(lambda: None), PYPSA, question, patience_seconds=120, runs=1)
    ours = NewtonClearing(world.feeder)(world.feeder, conditions)
    # what it leaves out are losses: some hundredths of λ at the far ends of this feeder
    assert found.found == pytest.approx(ours.duals.price[0], rel=0.1)
