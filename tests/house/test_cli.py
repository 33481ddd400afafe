"""The command line as a whole: it starts fast, helps, and refuses in one line. Then doctor."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from node import doctor
from node.cli.app import app
from tests.house.repository import PACKAGES, ROOT

HEAVY = ("cvxpy", "pandapower", "matplotlib", "pandas", "web3", "eth", "numpy", "pydantic", "fastapi")
COMMANDS = (
    "simulate",
    "audit",
    "audit explain",
    "audit journal",
    "audit key",
    "price",
    "doctor",
    "testnet",
    "serve",
    "study",
    "keystore",
    "replace account",
    "replace meter",
    "replace role",
    "replace oracles",
    "oracle",
    "agent",
    "bench",
)
BINARY = b"\xff\xfe\x00"


def wattbook(*arguments: str) -> Result:
    """Run the command in this process; an exception of ours is a failure of the test."""
    done = CliRunner().invoke(app, list(arguments), prog_name="wattbook", env={"COLUMNS": "100"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and the one line that a refusal prints, on stderr alone."""
    done = wattbook(*arguments)
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    return done.exit_code, done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The smallest market: one slot, four prosumers."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        'name = "tiny"\n[slots]\nstart = 2026-06-23T11:00:00Z\ncount = 1\n[prosumers]\ncount = 4\n'
    )
    return path


# --- start and help -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["-m", "node"], ["-c", "from node.cli import main; main()"]])
def test_help_loads_nothing_heavy(command: list[str]):
    """Seconds are not asserted, but what makes them is: Python itself lists what it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:2] == ["Usage:", "wattbook"]
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded  # the listing lists
    assert loaded.isdisjoint(HEAVY)


def test_installed_script_is_this_command():
    script = Path(sys.executable).with_name("wattbook")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"wattbook {version('wattbook')}\n"


def test_version():
    assert wattbook("--version").stdout == f"wattbook {version('wattbook')}\n"


def test_commands_are_all_there_and_no_other():
    group: Any = typer.main.get_command(app)
    assert set(group.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_of_the_command(command: str):
    done = wattbook(*command.split(), "--help")
    assert done.exit_code == 0
    assert f"Example: wattbook {command}" in done.stdout


def test_without_a_command_the_help_is_shown():
    done = wattbook()
    assert done.exit_code == 2
    assert "Example: wattbook simulate" in done.output
    assert "error:" not in done.output


# --- wrong usage --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "bogus",
            f"bogus: no such command; there are {', '.join(COMMANDS)}",
        ),
        ("--bogus", "No such option: --bogus"),
        ("simulate", "Missing argument 'SCENARIO'"),
        ("simulate ieee33-day --seed x", "'--seed'"),
        ("simulate ieee33-day --nope", "--nope"),
        ("price", "Missing argument 'SCENARIO'"),
        ("price ieee33-day surplus", "surplus"),
        ("price ieee33-day --slot noon", "'--slot'"),
        ("price ieee33-day --slot 24", "--slot 24: ieee33-day has slots 0 to 23"),
        ("price ieee33-day --slot -1", "--slot -1: ieee33-day has slots 0 to 23"),
        ("price ieee33-day --method simplex", "atc, three-levels, four-levels, admm, app, benders"),
        ("price ieee33-day --penalty cubic", "quadratic, lagrangian, augmented, al-ad, accelerated, tdqa"),
        ("price ieee33-day --method socp --penalty tdqa", "only --method atc has penalties"),
        ("audit", "name a bundle's folder or a node's URL"),
        ("audit  --json", "name a bundle's folder or a node's URL"),
        ("audit explain ", "name a bundle's folder or a node's URL"),
        ("simulate ", "no scenario; name a TOML file or one of: ieee33-day"),
        ("audit explain", "Missing argument 'BUNDLE|URL'"),
        ("audit out --head 0x12", "--head 0x12: a block hash has 32 bytes"),
        ("audit out --genesis genesis.json", "--genesis genesis.json: goes with --replay, or with --out"),
        ("audit out --replay --genesis nowhere", "--genesis [Errno 2]"),
        ("audit out --checkpoint-key abc", "--checkpoint-key key 'abc': a key is NAME+ID+BASE64"),
        (
            "audit journal out --out journal.txt",
            "a journal's file ends in .sqlite, .csv, .parquet, .beancount",
        ),
        ("audit key somebody", "Missing option '--out'"),
        ("audit key a+b --out nowhere", "key name 'a+b': printable ASCII without space or plus"),
        ("simulate ieee33-day --checkpoint-key nowhere", "--checkpoint-key nowhere: "),
        ("audit out --exchange 0x12", "--exchange 0x12: '0x12' is no address"),
        ("keystore --out key.json", "Missing option '--password-file'"),
        ("keystore --out key.json --password-file nowhere", "--password-file [Errno 2]"),
        ("doctor who", "who"),
        ("testnet --port x", "'--port'"),
        ("serve", "Missing argument 'BUNDLE|URL'"),
        ("serve nowhere", "nowhere: no such folder"),
        ("serve out --api-port 65536", "'--api-port'"),
    ],
)
def test_wrong_usage_is_status_2_in_one_line(arguments: str, says: str):
    status, line = refused(*arguments.split(" "))
    assert status == 2
    assert says in line


def test_refusal_names_the_help_to_read():
    assert refused("audit", "explain")[1].endswith("(see wattbook audit explain --help)")


def test_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("node.doctor.examine", interrupted)
    done = wattbook("doctor")
    assert (done.exit_code, done.output) == (130, "")


# --- scenarios that are none --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["simulate", "price"])
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("forecast.eror=0", "forecast.eror: unknown key; allowed here: error, last"),
        ("colour=1", "colour: unknown key; allowed here: batteries, bidding, description"),
        ("forecast.error=much", "forecast.error = 'much'"),
        ("forecast.error=2", "forecast.error = 2"),
        ("prosumers.pv_mw=nan", "prosumers.pv_mw = nan: must be a finite number"),
        ("prosumers.count=0", "prosumers.count = 0"),
        ("seed=-1", "seed = -1"),
        ("feeder=3", "feeder = 3"),
        ("feeder.name=ring", "feeder 'ring' is not built in; known: ieee33"),
        ("feeder.v_min_pu=1.05", "substation at 1 pu is outside the limits 1.05 to 1.1 pu"),
        ("tariff.network_fee_eur_per_mwh=300", "is below fit_eur_per_mwh"),
        ("oracle.quorum=9", "quorum = 9 is more than signers = 3"),
        ("prosumers.count=true", "prosumers.count = true: must be a whole number"),
        ('seed="1"', "seed = '1': must be a whole number"),
        ("seed=18446744073709551616", "seed = 18446744073709551616: must be less than"),
        ("prosumers.pv_mw=1e9", "prosumers.pv_mw = 1000000000.0: must be less than or equal to 1000"),
        ("prosumers.deposit_eur=1e300", "prosumers.deposit_eur = 1e+300: must be less than"),
        ("prosumers.flexible_floor=[0.1]", "prosumers.flexible_floor = [0.1]: must be [low, high]"),
        ("slots.start=9999-01-01T00:00:00Z", "must end by 2105-01-01"),
        ("slots.start=1970-01-01T00:00:00Z", "is before 1972-01-01"),
        ("slots.start=2026-06-23T11:00:00", "must be a time with its offset"),
        ('slots.start="2026-06-23T11:00:00Z"', "as 2026-06-23T00:00:00Z, without quotes"),
        ("slots.seconds=7200", "is not a multiple of 7200 s"),
        ("market.resettle_grace_seconds=600", "is below meter_grace_seconds = 3600"),
        ("market.veto_grace_seconds=900", "veto_grace_seconds = 900 must be below gate_lead_seconds = 900"),
    ],
)
def test_setting_that_is_not_allowed(scenario: Path, command: str, setting: str, says: str):
    status, line = refused(command, str(scenario), "--set", setting)
    assert status == 2
    assert line.startswith(f"{scenario}: ")
    assert says in line


@pytest.mark.parametrize("setting", ["forecast.error", "=3", "slots..count=1", "name.first=x"])
def test_setting_that_is_none(scenario: Path, setting: str):
    status, line = refused("price", str(scenario), "--set", setting)
    assert status == 2
    assert f"--set {setting.partition('=')[0]}" in line


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BINARY, "not UTF-8 text"),
        (b"", "name: missing"),
        (b"name = ", "not TOML: "),
        (b'name = "x"\nname = "y"\n', "not TOML: "),
        (b'name = "x"\nseed = ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_file_that_is_no_scenario(tmp_path: Path, content: bytes, says: str):
    path = tmp_path / "other.toml"
    path.write_bytes(content)
    status, line = refused("simulate", str(path))
    assert status == 2
    assert line.startswith(f"{path}: ")
    assert says in line


def test_missing_scenario_names_those_there_are(tmp_path: Path):
    for path in (tmp_path / "missing.toml", tmp_path):
        status, line = refused("simulate", str(path))
        assert status == 2
        assert line.startswith(f"{path}: ")
        assert line.endswith(
            "a TOML file or one of: ieee33-day, ieee33-storage-day, peak-hour, simbench-lv-day"
        )


# --- doctor -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers() -> dict[str, doctor.Answer]:
    return {answer.question: answer for answer in doctor.examine()}


def test_this_installation_is_sound(answers: dict[str, doctor.Answer]):
    assert [answer for answer in answers.values() if not answer.ok] == []
    asked = "\n".join(answers)
    for subject in (*PACKAGES, "Python", "coincurve", "Clarabel", "Exchange", "Keccak"):
        assert subject in asked


def test_doctor_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def ill() -> Iterator[doctor.Answer]:
        yield doctor.Answer("well", True, "yes")
        yield doctor.Answer("fed", False, "no", "eat")

    monkeypatch.setattr(doctor, "QUESTIONS", (ill,))
    done = wattbook("doctor")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == ["ok  well: yes", "NO  fed: no", "    to do: eat"]
    told = wattbook("doctor", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["ok"] is False
    assert json.loads(told.stdout)["answers"][1] == {
        "question": "fed",
        "ok": False,
        "found": "no",
        "remedy": "eat",
    }


def test_doctor_survives_what_it_examines(monkeypatch: pytest.MonkeyPatch):
    def _limbs() -> Iterator[doctor.Answer]:
        yield doctor.Answer("one", True, "fine")
        raise ImportError("no module named leg")

    monkeypatch.setattr(doctor, "QUESTIONS", (_limbs,))
    well, ill = doctor.examine()
    assert well.ok
    assert (ill.question, ill.ok, ill.found) == ("limbs", False, "ImportError: no module named leg")


def test_doctor_finds_another_owner_of_an_import_name(monkeypatch: pytest.MonkeyPatch):
    claimed = {"market": ["wattbook", "bazaar"], "node": ["wattbook"]}
    monkeypatch.setattr(doctor, "packages_distributions", lambda: claimed)
    answers = dict(zip(doctor.PACKAGES, doctor._owners(), strict=True))
    assert [name for name, answer in answers.items() if not answer.ok] == ["market"]
    assert answers["market"].found == "bazaar"


def test_doctor_finds_a_folder_that_hides_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "__init__.py").touch()
    (tmp_path / "node.py").touch()
    (tmp_path / "market").mkdir()  # no package: a folder of results, say, which hides nothing
    monkeypatch.syspath_prepend(tmp_path)
    answers = dict(zip(doctor.PACKAGES, doctor._owners(), strict=True))
    assert {name: answer.found for name, answer in answers.items() if not answer.ok} == {
        "ledger": str(tmp_path / "ledger"),
        "node": str(tmp_path / "node.py"),
    }
    assert str(tmp_path / "node.py") in answers["node"].remedy


def test_doctor_finds_a_slow_signer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ECC_BACKEND_CLASS", "eth_keys.backends.NativeECCBackend")
    (answer,) = doctor._signatures()
    assert (answer.ok, answer.found) == (False, "NativeECCBackend")


def test_doctor_finds_an_artifact_of_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sources = ROOT / "contracts" / "src"
    for source in sources.glob("*.vy"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    with (tmp_path / "Token.vy").open("a") as changed:
        changed.write("# another line\n")
    monkeypatch.setattr("contracts.build.SOURCES", tmp_path)
    assert [answer.question for answer in doctor._artifacts() if not answer.ok] == [
        "contract Token is compiled from its source"
    ]
