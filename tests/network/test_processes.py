"""A market of real processes: a testnet, two of its three oracles, four agents, one killed in a clearing."""

from __future__ import annotations

import io
import json
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import httpx
import pytest
from eth_account import Account
from typer.testing import CliRunner

from ledger.address import checksummed
from ledger.audit.clearings import clearings
from ledger.record import Record
from market.agents.utility import IMPORT_NONCE
from market.atc.messages import Purpose
from market.atc.responses import Responses, Stand
from market.units import WH_PER_MWH
from node.agent.devices import load, of_slot
from node.cli.app import app
from node.cli.joining import say
from node.client.joining import JoinError, keystore_key
from tests.network.clearing_case import KEYS
from tests.network.disclosure import as_said, disclosed, secrets
from tests.network.processes import COMMAND, ROOT, network
from tests.network.trading_day import LAST_ROUND_SECONDS, audited, clearing

AGENTS, KILLED, DOWN = 4, 1, 2
DEVICES = """[firm]
kw = 20.0
[flexible]
min_kw = 1.0
max_kw = {max_kw}
value_at_min_eur_per_mwh = 223.718293
value_at_max_eur_per_mwh = {last}
"""


OWN = """
name = "own"
[feeder]
name = "random:4:7"
[market]
gate_lead_seconds = 300
[[prosumer]]
bus = "3"
firm_kw = 20.0
flexible_kw = [1.0, 20.0]
"""


def devices(number: int) -> str:
    return DEVICES.format(max_kw=20.0 + number, last=88.193847 + 7.3 * number)


def test_a_slot_clears_and_settles_between_an_oracle_and_an_agent(tmp_path: Path):
    """The smallest market of real processes, on a feeder of its own; the testnet tells the agent's devices.

    Whoever is late on a busy machine has another turn.
    """
    scenario = tmp_path / "own.toml"
    scenario.write_text(OWN, "utf-8")
    with network(
        tmp_path,
        accounts=1,
        signers=1,
        devices=lambda number: None,
        scenario=scenario,
        oracles={0: ()},
        agents={0: ()},
        answer_seconds=2,
        turn_seconds=10,
    ) as net:
        exchange, terms = net.exchange, net.exchange.terms()
        slot, (account,) = net.next_slot(), [each["address"] for each in net.document["accounts"]]
        net.wait("charges", lambda: exchange.slot_of(slot).charges_complete)
        net.move_to(terms.opens(slot) + 1)
        net.wait("quotes", lambda: exchange.nonce_used(slot, net.document["utility"], IMPORT_NONCE))
        net.move_to(terms.opens(slot) + LAST_ROUND_SECONDS)
        net.wait("orders", lambda: slot in net.agents[0].ordered)
        net.move_to(terms.closing(slot) + 1)
        net.wait("prices", lambda: exchange.slot_of(slot).prices_complete)
        net.move_to(terms.end(slot) + 10)
        net.wait("settlement", lambda: exchange.slot_of(slot).settled)
        net.wait("bill", lambda: any(event["event"] == "bill" for event in net.agents[0].events))
        assert exchange.reading_of(slot, account).found
        record, report = audited(net, tmp_path / "bundle")
        said = net.transcript()
    assert report.ok, str(report)
    assert {each.feeder[0] for each in clearings(record)} == {"random:4:7"}
    answered = {(each["slot"], each["purpose"]) for each in said if each["kind"] == "answer"}
    assert {(slot, Purpose.CHARGES), (slot, Purpose.PRICES)} <= answered
    assert slot in {event["slot"] for event in net.agents[0].events if event["event"] == "bill"}


@pytest.mark.long  # it goes by the wall clock, which a busy machine is behind
def test_a_slot_is_charged_traded_and_priced(tmp_path: Path):
    """One oracle is down, so that in some slot's turn another has to follow; an agent dies in the prices."""
    with network(
        tmp_path,
        accounts=AGENTS,
        devices=devices,
        oracles={number: () for number in range(3) if number != DOWN},
        agents={number: ("killed",) if number == KILLED else () for number in range(AGENTS)},
        answer_seconds=15,  # a busy machine's agents are not to be held for silent ones
        turn_seconds=40,
    ) as net:
        exchange, terms = net.exchange, net.exchange.terms()
        slot = net.next_slot()
        net.wait("charges", lambda: exchange.slot_of(slot).charges_complete)
        net.move_to(terms.opens(slot) + 1)
        net.wait("orders", lambda: exchange.slot_of(slot).ordered)
        net.move_to(terms.closing(slot) + 1)
        net.wait("prices", lambda: exchange.slot_of(slot).prices_complete)
        assert net.agents[KILLED].started.wait(60) == -9
        record, report = audited(net, tmp_path / "bundle")
        addresses = [account["address"] for account in net.document["accounts"]]
        transcript = net.transcript()
        bad = httpx.post(f"{net.urls[0]}/answer", content=json.dumps({"powers": [float("nan")]}))
    assert report.ok, str(report)
    found = clearing(record, slot)
    assert found.signers == (0, 1)
    # at its last answer, or at its forecast where the next oracle's turn came before the first one had posted
    assert found.standing(Stand.HELD) | found.standing(Stand.FORECAST) == {addresses[KILLED]}
    assert len(found.standing(Stand.ANSWERED)) == AGENTS - 1
    assert any(line.startswith(f"slot {slot}: missing from a clearing") for line in report.assumed)
    assert {message["kind"] for message in transcript} == {"question", "answer"}
    assert (bad.status_code, bad.json()["refusal"]) == (400, "malformed")
    for number in range(AGENTS):
        secret = secrets(load(tmp_path / f"agent-{number}.toml"))
        assert not disclosed(secret, (0.25, 2.0, 4.0), as_said(transcript))
    assert_inputs_are_these(record, found.responses)


MILLIWATTS_PER_WATT = 1_000
BATTERY = """[storage]
charge_kw = 6.0
discharge_kw = 6.0
energy_kwh = 12.0
start_kwh = 6.0
left_eur_per_mwh = {left}
"""


@pytest.mark.long  # as above
def test_batteries_are_cleared_over_several_slots_traded_and_metered(tmp_path: Path):
    """One values what is left above all prices and charges, one below them and gives what it has."""
    left = {0: 900.0, 1: 0.0}
    with network(
        tmp_path,
        accounts=AGENTS,
        devices=lambda number: (
            devices(number) + (BATTERY.format(left=left[number]) if number in left else "")
        ),
        oracles=dict.fromkeys(range(3), ()),
        agents=dict.fromkeys(range(AGENTS), ()),
        answer_seconds=10,
        turn_seconds=60,
        horizon=6,
    ) as net:
        exchange, terms = net.exchange, net.exchange.terms()
        slot = net.next_slot()
        net.wait("charges", lambda: exchange.slot_of(slot).charges_complete)
        net.move_to(terms.opens(slot) + LAST_ROUND_SECONDS)
        net.wait("orders", lambda: all(slot in each.ordered for each in net.agents.values()))
        net.move_to(terms.closing(slot) + 1)
        net.wait("prices", lambda: exchange.slot_of(slot).prices_complete)
        net.move_to(terms.end(slot) + 10)
        addresses = [account["address"] for account in net.document["accounts"]]
        net.wait("readings", lambda: all(exchange.reading_of(slot, each).found for each in addresses))
        metered = [exchange.reading_of(slot, each).net_energy for each in addresses]
        record, report = audited(net, tmp_path / "bundle")
    assert report.ok, str(report)
    found = clearing(record, slot)
    assert found.responses.conditions.periods == 6
    assert len(found.standing(Stand.ANSWERED)) == AGENTS
    # what was answered for the slot is what was metered, but for the residual stop and whole Wh
    standings = found.responses.standings
    answered_wh = [-each.powers[0] * 0.25 / MILLIWATTS_PER_WATT for each in standings]
    assert metered == pytest.approx(answered_wh, abs=3)
    files = [load(tmp_path / f"agent-{number}.toml") for number in range(AGENTS)]
    without_wh = [
        -of_slot(file, slot).best_mw(found.posted[each.bus] / 1_000) * 0.25 * WH_PER_MWH
        for file, each in zip(files, standings, strict=True)
    ]
    assert metered[2:] == pytest.approx(without_wh[2:], abs=1)
    assert metered[0] > without_wh[0] + 100 and metered[1] < without_wh[1] - 100


def assert_inputs_are_these(record: Record, responses: Responses) -> None:
    """The bytes that the chain has the hash of are those of this clearing, and read back as they were."""
    encoded = responses.encode()
    assert encoded in record.bundle.inputs.values()
    assert Responses.decode(encoded, checksummed).encode() == encoded


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("oracle",), "--testnet-oracle or --keystore: give exactly one of them"),
        (("agent", "--account", "1", "--keystore", "k.json"), "--account or --keystore: give exactly one"),
        (("oracle", "--testnet-oracle", "x"), "Invalid value for '--testnet-oracle'"),
        (("oracle", "--testnet-oracle", "-1"), "Input should be greater than or equal to 0"),
        (("oracle", "--testnet-oracle", "0", "--peer", "8101"), "--peer 8101: is no server's URL"),
        (("agent", "--account", "0", "--oracle", "ftp://x"), "--oracle ftp://x: is no server's URL"),
        (("agent", "--account", "0", "--devices", "none.toml"), "none.toml: "),
    ],
)
def test_wrong_usage_is_one_line(words: tuple[str, ...], message: str):
    done = CliRunner().invoke(app, words, prog_name="wattbook")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr


def test_a_line_is_said_in_one_piece():
    """Else another thread's words could come between a line and its end, where stdout is unbuffered."""

    class Pieces(io.StringIO):
        def write(self, piece: str) -> int:
            written.append(piece)
            return len(piece)

    written: list[str] = []
    with redirect_stdout(Pieces()):
        say("a line")
    assert [piece for piece in written if piece] == ["a line\n"]


def test_a_market_that_is_not_there_is_told_in_one_line():
    words = [*COMMAND, "agent", "--account", "1", "--market", "http://127.0.0.1:1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: http://127.0.0.1:1: does not answer: no connection\n"


def test_a_new_key_is_in_a_keystore_of_its_owners(tmp_path: Path):
    keystore, password = tmp_path / "key.json", tmp_path / "password"
    password.write_text("open sesame\n")
    words = ("keystore", "--out", str(keystore), "--password-file", str(password))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert keystore_key(keystore, password).address == done.stdout.strip()
    assert keystore.stat().st_mode & 0o777 == 0o600
    document = json.loads(keystore.read_text())
    assert (document["version"], document["crypto"]["kdf"]) == (3, "scrypt")
    again = CliRunner().invoke(app, words)
    assert (again.exit_code, json.loads(keystore.read_text())) == (2, document)
    assert again.stderr.endswith("is there already, and a key is never written over\n")
    password.write_text("\n")
    empty = CliRunner().invoke(app, ("keystore", "--out", "never", "--password-file", str(password)))
    assert (empty.exit_code, "holds no password" in empty.stderr) == (2, True)


def test_a_key_comes_from_a_keystore_under_its_password(tmp_path: Path):
    keystore, password = tmp_path / "key.json", tmp_path / "password"
    keystore.write_text(json.dumps(Account.encrypt(KEYS[0].secret, "open sesame", iterations=2)))
    password.write_text("open sesame\n")
    assert keystore_key(keystore, password).address == KEYS[0].address
    password.write_text("open\n")
    with pytest.raises(JoinError, match="the password does not open it"):
        keystore_key(keystore, password)
    keystore.write_text("{}")
    with pytest.raises(JoinError, match="not a keystore of version 3"):
        keystore_key(keystore, password)
    with pytest.raises(JoinError, match="no such file"):
        keystore_key(tmp_path / "none", password)
    with pytest.raises(JoinError, match="needs --password-file"):
        keystore_key(keystore, None)
