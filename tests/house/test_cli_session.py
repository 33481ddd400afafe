"""Commands on a whole small session: simulate, audit, audit explain, and the same against a node."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from ledger.bundle import canonical_json
from node.simulate.folder import UNFINISHED
from node.testnet.running import running
from node.testnet.settings import Settings
from tests.house.commands import refused, told, wattbook
from tests.house.repository import ROOT

SUMMARY = (
    "slots orders fills volume_wh welfare_eur welfare_gap book_welfare_gap violations"
    " violations_delivered worse_off payments_sum_neur gas_used atc_iterations_max head_hash seconds"
)
"""What `simulate --json` prints at least."""
Edit = Callable[[Path], object]


@pytest.fixture(scope="module")
def verifier(scenario: Path) -> str:
    """The key whose other half, in a file beside the scenario, signs the session's checkpoint."""
    done = wattbook("audit", "key", "utility.example/market", "--out", scenario.with_name("checkpoint.key"))
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def session(scenario: Path, verifier: str) -> tuple[Path, str]:
    """A result folder, and what the command said of it."""
    out, key = scenario.with_name("out"), scenario.with_name("checkpoint.key")
    done = wattbook("simulate", scenario, "--out", out, "--checkpoint-key", key)
    assert (done.exit_code, done.stderr) == (0, "")
    return out, done.stdout


@pytest.fixture(scope="module")
def bundle(session: tuple[Path, str]) -> Path:
    return session[0] / "bundle"


@pytest.fixture(scope="module")
def payments(bundle: Path) -> list[str]:
    """Places of all payments, as the refusal of none lists them."""
    status, line = refused("audit", "explain", bundle)
    assert status == 2
    listed, _, number = line.partition("its payments are ")[2].removesuffix(" in all)").rpartition(" (")
    places = listed.split(", ")
    assert len(places) == int(number) == 5  # four prosumers and the utility
    return places


# --- simulate -----------------------------------------------------------------------------------


def test_summary_leads_on(session: tuple[Path, str]):
    out, summary = session
    assert "Sum to exactly 0" in summary
    assert f"wattbook audit {out / 'bundle'}" in summary
    assert (out / "report.html").is_file()


def test_simulate_as_json_keeps_its_promise(scenario: Path, session: tuple[Path, str]):
    summary = told("simulate", scenario)
    assert set(summary) >= set(SUMMARY.split())
    assert (summary["slots"], summary["payments_sum_neur"], summary["violations"]) == (1, 0, 0)
    manifest = json.loads((session[0] / "manifest.json").read_text())
    assert summary["head_hash"] == manifest["head_hash"], "the same inputs give the same chain"


def test_seed_and_settings_reach_the_session(scenario: Path, session: tuple[Path, str]):
    summary = told(
        "simulate", scenario, "--seed", 4, "--set", "forecast.error=0", "--set", "prosumers.count=3"
    )
    assert (summary["seed"], summary["participants"]) == (4, 3)
    manifest = json.loads((session[0] / "manifest.json").read_text())
    assert summary["head_hash"] != manifest["head_hash"]


def test_progress_is_for_terminals(scenario: Path):
    """On a terminal there is a bar on stderr; stdout is one JSON object all the same."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "node", "simulate", str(scenario), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs) as started:
        os.close(theirs)
        drawn = b""
        try:
            while part := os.read(ours, 65_536):
                drawn += part
        except OSError:  # Linux says so when the other end is closed
            pass
        assert started.stdout is not None
        assert json.loads(started.stdout.read())["slots"] == 1
    os.close(ours)
    assert b"opening the market" in drawn


def test_folder_of_something_else_is_left_alone(scenario: Path, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "out"):
        status, line = refused("simulate", scenario, "--out", out)
        assert status == 2
        assert line.startswith(f"--out {out}: ")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thesis.txt", "mine")]


def test_result_replaces_an_earlier_one_and_nothing_else(scenario: Path, tmp_path: Path):
    out = tmp_path / "out"
    for rule in ("dlmp", "tariff"):
        wattbook("simulate", scenario, "--out", out, "--set", f"market.rule={rule}")
        assert json.loads((out / "manifest.json").read_bytes())["rule"] == rule
    (out / "plots" / "thesis.svg").write_text("mine")
    before = sorted(path for path in tmp_path.rglob("*"))
    status, line = refused("simulate", scenario, "--out", out)
    assert (status, line.split(":")[1].split(",")[0]) == (2, " holds plots/thesis.svg")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_what_a_killed_run_left_is_cleared(scenario: Path, tmp_path: Path):
    out, left = tmp_path / "out", tmp_path / "out.partial"
    left.mkdir()
    (left / "thesis.txt").write_text("mine")
    status, line = refused("simulate", scenario, "--out", out)
    assert (status, line.startswith(f"--out {left}: in the way")) == (2, True)
    (left / UNFINISHED).touch()
    wattbook("simulate", scenario, "--out", out)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]


def test_node_that_does_not_answer(scenario: Path):
    nobody = "http://127.0.0.1:1"
    status, line = refused("simulate", scenario, "--rpc-url", nobody)
    assert (status, line) == (1, f"{nobody} does not answer: [Errno 111] Connection refused")
    status, line = refused("audit", nobody)
    assert (status, line.startswith(f"{nobody} does not answer")) == (3, True)


# --- audit --------------------------------------------------------------------------------------


def test_clean_audit_says_what_it_verified(bundle: Path):
    done = wattbook("audit", bundle)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "clean"
    assert any(line.startswith("settlement ") and " ok " in line for line in lines)
    assert any(line.startswith("verified: ") for line in lines)
    assert any(line.startswith("assumed: ") and "--head" in line for line in lines)


def test_audit_as_json_keeps_its_promise(bundle: Path):
    report = told("audit", bundle)
    assert set(report) >= {"ok", "checks", "verified", "assumed", "chain_id", "exchange", "head_block"}
    assert f"wattbook {report['version']}\n" == wattbook("--version").stdout
    held = wattbook("audit", bundle, "--check", "checkpoint", "--head", report["head_hash"])
    assert held.exit_code == 0
    assert report["ok"] is True
    said = {check["name"]: check["ok"] for check in report["checks"] if check["status"] != "ok"}
    assert said == {"checkpoint": None, "vetoes": None}, "no head is known, and nothing was vetoed"
    assert all(check["findings"] == [] for check in report["checks"])


def test_checks_can_be_listed_and_chosen(bundle: Path):
    listed = [line.split()[0] for line in wattbook("audit", "--list").stdout.splitlines()]
    assert listed == [check["name"] for check in told("audit", bundle)["checks"]]
    chosen = told("audit", bundle, "--check", "prices", "--check", "headers")["checks"]
    assert [check["name"] for check in chosen] == ["headers", "prices"]
    alone = wattbook("audit", bundle, "--check", "checkpoint")
    assert (alone.exit_code, alone.stdout.splitlines()[-1]) == (3, "nothing there to verify")
    status, line = refused("audit", bundle, "--check", "fills")
    assert status == 2
    assert line.startswith("check 'fills': there are headers, ")


def test_replay_executes_every_block_again(bundle: Path, tmp_path: Path):
    report = told("audit", bundle, "--check", "headers", "--replay")
    assert [check["name"] for check in report["checks"]] == ["headers", "execution"]
    assert not any("--replay" in line for line in report["assumed"])
    manifest = json.loads((bundle / "manifest.json").read_text())
    parts = {name: digest for name, digest in manifest["files"].items() if name != "genesis.json"}
    bare = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    (bare / "genesis.json").rename(tmp_path / "genesis.json")
    (bare / "manifest.json").write_bytes(canonical_json(manifest | {"files": parts}))
    status, line = refused("audit", bare, "--replay")
    assert (status, line.partition(": ")[2]) == (
        3,
        "without the chain's genesis.json nothing can be executed (--genesis FILE)",
    )
    report = told("audit", bare, "--check", "nonces", "--replay", "--genesis", tmp_path / "genesis.json")
    assert report["ok"] is True


def test_head_that_is_known_is_no_assumption(bundle: Path, session: tuple[Path, str]):
    head = json.loads((session[0] / "manifest.json").read_text())["head_hash"]
    assert not any("--head" in line for line in told("audit", bundle, "--head", head)["assumed"])
    report = told("audit", bundle, "--head", "0x" + "11" * 32, status=1)
    assert [check["name"] for check in report["checks"] if check["status"] == "wrong"] == ["checkpoint"]


def test_checkpoint_is_that_of_a_known_key(bundle: Path, verifier: str, tmp_path: Path):
    told_in_a_file = tmp_path / "key"
    told_in_a_file.write_text(verifier + "\n")
    report = told("audit", bundle, "--checkpoint-key", told_in_a_file)
    assert "this head is the chain's, as utility.example/market signed" in report["assumed"]
    assert wattbook("audit", "key", "utility.example/market", "--out", tmp_path / "other").exit_code == 0
    other = wattbook("audit", "key", "somebody", "--out", tmp_path / "another").stdout.strip()
    report = told("audit", bundle, "--checkpoint-key", verifier, "--checkpoint-key", other, status=1)
    assert [check["name"] for check in report["checks"] if check["status"] == "wrong"] == ["checkpoint"]


def test_key_is_never_written_over_and_is_its_owners(tmp_path: Path):
    path = tmp_path / "checkpoint.key"
    wattbook("audit", "key", "somebody", "--out", path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    status, line = refused("audit", "key", "somebody", "--out", path)
    assert (status, path.read_bytes()) == (2, before)
    assert line.endswith("is there already, and a key is never written over")


def test_findings_are_status_1_in_the_words_of_a_finding(bundle: Path, tmp_path: Path):
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    proof = min((copy / "certificates").iterdir())
    proof.write_bytes(proof.read_bytes() + b"!")
    done = wattbook("audit", copy)
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.startswith("error[headers] ")
    assert "expected " in done.stdout and "found " in done.stdout
    assert "finding" in done.stdout.splitlines()[-1]
    assert told("audit", copy, status=1)["ok"] is False


def _cut(name: str) -> Edit:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def _rewrite(**fields: object) -> Edit:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **fields}))

    return edit


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (_cut("headers.rlp"), "headers.rlp"),
        (_cut("transactions.rlp"), "transactions.rlp"),
        (_cut("receipts.rlp"), "receipts.rlp"),
        (_cut("manifest.json"), "manifest.json"),
        (_cut("checkpoint"), "checkpoint"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (lambda folder: (folder / "receipts.rlp").unlink(), "receipts.rlp"),
        (lambda folder: shutil.rmtree(folder / "certificates"), "certificates"),
        (_rewrite(version=1), "manifest.json: not a wattbook-bundle of version 2"),
        (_rewrite(files=[]), "manifest.json: files: not names and digests"),
        (_rewrite(exchange="0x12"), "manifest.json: not an address"),
    ],
)
def test_bundle_that_cannot_be_read_is_status_3(bundle: Path, tmp_path: Path, edit: Edit, names: str):
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    edit(copy)
    for command in (("audit", copy), ("audit", "explain", copy, "1:1")):
        status, line = refused(*command)
        assert status == 3
        assert line.startswith(str(copy))
        assert names in line


@pytest.mark.parametrize("name", ["manifest.json", "headers.rlp"])
def test_bundle_that_is_nested_without_end(bundle: Path, tmp_path: Path, name: str):
    """In a process of its own: the virtual machine, once loaded, lifts Python's limit of recursion."""
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    nested = b"\xc0"
    while len(nested) < 10_000:
        size = len(nested)
        nested = (bytes([0xC0 + size]) if size < 56 else b"\xf9" + size.to_bytes(2, "big")) + nested
    (copy / name).write_bytes(b"[" * 100_000 if name == "manifest.json" else nested)
    command = [sys.executable, "-m", "node", "audit", str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    line = f"error: {copy}: a file is nested too deeply to be a bundle's\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", line)


def test_wrong_path_is_status_2(bundle: Path, session: tuple[Path, str], tmp_path: Path):
    assert refused("audit", tmp_path / "missing") == (2, f"{tmp_path / 'missing'}: no such folder")
    assert refused("audit", bundle / "manifest.json")[0] == 2
    result = session[0]
    assert refused("audit", result) == (2, f"{result}: a result folder; its bundle is {result / 'bundle'}")


def test_bundle_of_another_exchange_is_not_taken_for_it(bundle: Path):
    exchange = json.loads((bundle / "manifest.json").read_text())["exchange"]
    assert told("audit", bundle, "--exchange", exchange.lower())["ok"] is True
    other = "0x" + "1" * 40
    assert refused("audit", bundle, "--exchange", other) == (
        2,
        f"--exchange {other}: {bundle} is the record of {exchange}",
    )


# --- examples -----------------------------------------------------------------------------------


def demo_examples(command: str) -> list[str]:
    """What a command's help says to type on the demo's bundle, without the program's name."""
    shown = wattbook(*command.split(), "--help").stdout
    return re.findall(r"wattbook (audit .*out/demo/bundle.*?)\s*$", shown, re.M)


@pytest.mark.parametrize("command", ["audit", "audit explain", "audit journal"])
def test_examples_of_the_help_run(
    bundle: Path, payments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    """On this bundle with its own payment; the README has the demo's, which a long test explains."""
    monkeypatch.chdir(tmp_path)
    examples = demo_examples(command)
    assert examples
    for example in examples:
        words = example.replace("out/demo/bundle", str(bundle)).split()
        if "explain" in words:
            assert example in (ROOT / "README.md").read_text("utf-8")
            words[-1] = payments[0]
        done = wattbook(*words)
        assert (done.exit_code, done.stderr) == (0, "")


# --- audit explain ------------------------------------------------------------------------------


def test_lines_add_up_to_the_payment(bundle: Path, payments: list[str]):
    explained = [told("audit", "explain", bundle, place) for place in payments]
    for each in explained:
        assert all(
            set(line) >= {"what", "amount_neur", "source"} and line["source"] for line in each["lines"]
        )
        assert sum(line["amount_neur"] for line in each["lines"]) == each["posted_neur"]
        assert each["lines"]


def test_payment_by_account_and_slot_is_the_same(bundle: Path, payments: list[str]):
    for place in payments:
        each = told("audit", "explain", bundle, place)
        assert told("audit", "explain", bundle, f"{each['account'].lower()}@{each['slot']}") == each


def test_payment_by_number_and_slot_is_the_same(bundle: Path, payments: list[str]):
    slot = told("audit", "explain", bundle, payments[0])["slot"]
    numbered = [told("audit", "explain", bundle, f"{number}@{slot}") for number in range(len(payments))]
    assert sorted(each["place"] for each in numbered) == sorted(payments)


def test_day_and_slot_hold_the_same_payments(bundle: Path, payments: list[str]):
    whole = told("audit", "explain", bundle, payments[0])
    slot = told("audit", "explain", bundle, f"@{whole['slot']}")
    assert [payment["place"] for payment in slot["payments"]] == payments
    day = told("audit", "explain", bundle, f"{whole['account']}@2026-06-23")
    assert [payment["lines"] for payment in day["payments"]] == [whole["lines"]]
    assert refused("audit", "explain", bundle, "@7")[0] == 2
    result = told("audit", "explain", bundle, f"utility@{whole['slot']}")
    assert result["result_neur"] == result["explained_neur"]
    days = told("audit", "explain", bundle, "utility@2026-06-23")
    assert days["slots"] == [{name: value for name, value in result.items() if name != "verified"}]
    assert refused("audit", "explain", bundle, "utility@7")[0] == 2


def test_a_bill_can_be_printed(bundle: Path, payments: list[str], tmp_path: Path):
    page = tmp_path / "bill.html"
    whole = told("audit", "explain", bundle, payments[1], "--page", page)
    assert all(line["what"] in unescape(page.read_text("utf-8")) for line in whole["lines"])
    status, line = refused("audit", "explain", bundle, payments[1], "--page", tmp_path / "none" / "bill.html")
    assert (status, line.startswith("--page [Errno 2]")) == (2, True)


def test_explanation_as_text_names_its_sources(bundle: Path, payments: list[str]):
    done = wattbook("audit", "explain", bundle, payments[0])
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"in all  [{payments[0]}]" in done.stdout


@pytest.mark.parametrize(
    ("payment", "says"),
    [
        ("1:1", "payment 1:1: no account was settled there"),
        ("first", "payment 'first': a place is BLOCK:LOG"),
        ("0x12@3", "'0x12' is no address"),
        ("5@3", "payment 5@3: accounts are 0, the utility, to 4"),
        ("0x" + "1" * 40 + "@3", "in slot 3: no account was settled there"),
        ("0x" + "1" * 40 + "@noon", "the slot of ACCOUNT@SLOT is a number"),
        ("1@2026-13-01", "payment 1@2026-13-01: 2026-13-01 is no date (month must be in 1..12)"),
    ],
)
def test_payment_that_is_none(bundle: Path, payments: list[str], payment: str, says: str):
    status, line = refused("audit", "explain", bundle, payment)
    assert status == 2
    assert says in line
    assert line.endswith(f"its payments are {', '.join(payments)} (5 in all)") or "no address" in line


# --- the same commands against a node -----------------------------------------------------------


def test_simulate_and_audit_on_a_node(scenario: Path, session: tuple[Path, str], tmp_path: Path):
    embedded = told("simulate", scenario)
    with running(Settings(port=0, api_port=0, accounts=1), lambda line: None, lambda line: None) as net:
        url, first = net.document["rpc_url"], net.document["exchange"]
        services = (
            "--proofs",
            url,
            "--proofs",
            net.document["api_url"],
        )  # a node has none, and is asked in vain
        own = told("audit", url, *services, "--out", tmp_path / "own")  # the only exchange needs no name
        assert own["ok"] is True
        assert told("audit", tmp_path / "own")["assumed"] == own["assumed"]
        remote = told("simulate", scenario, "--rpc-url", url, "--out", tmp_path / "out")
        status, line = refused("audit", url)
        assert status == 3
        assert all(address in line for address in (first, remote["exchange"], "--exchange"))
        kept = tmp_path / "kept"
        without = wattbook("audit", url, "--exchange", remote["exchange"], "--out", kept)
        assert (without.exit_code, without.stderr.partition(": ")[0]) == (0, "note")
        assert "--proofs says who has them" in without.stderr
        assert (
            refused("audit", url, "--exchange", remote["exchange"], "--out", kept)[0] == 2
        )  # is there already
        assert refused("audit", url, "--exchange", "0x" + "1" * 40)[0] == 3
    assert told("audit", tmp_path / "out" / "bundle")["ok"] is True
    assert refused("audit", kept, "--out", tmp_path / "again") == (
        2,
        f"--out {tmp_path / 'again'}: {kept} is a bundle already",
    )
    offline = told("audit", kept, status=1)["checks"]
    assert {check["name"] for check in offline if check["status"] == "wrong"} == {"charges", "prices"}
    missing = [finding["difference"] for check in offline for finding in check["findings"]]
    assert set(missing) == {"missing"}, "a node has no proofs of prices; all else verifies offline"
    for figure in ("orders", "fills", "volume_wh", "bills_neur"):
        assert remote[figure] == embedded[figure]
    assert (tmp_path / "out" / "fills.csv").is_file()
