"""A testnet of a scenario: its feeder and people, a day of quarter hours, and what the data folder keeps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from ledger.audit import audit
from ledger.record import Record
from market.feeder import FeederError
from node.agent.drawn import drawn
from node.cli.app import app
from node.scenario.loading import ScenarioError, load
from node.testnet.running import running
from node.testnet.settings import FolderError, SettingError, Settings
from node.testnet.world import world_of
from tests.grids import grid_json
from tests.patience import PATIENCE_SECONDS, eventually

FIRST_ORDER = Path(__file__).with_name("first_order.py")
HOURS, QUARTERS = 24, 4
OWN = """
name = "own"
[feeder]
name = "grid.json"
[slots]
start = 2026-06-23T11:00:00Z
[tariff]
retail_eur_per_mwh = 300.0
[market]
gate_lead_seconds = 600
[profiles]
file = "measured.csv"
[forecast]
error = 0.0
[[prosumer]]
bus = "house 2"
firm_kw = 4.0
[[prosumer]]
bus = "house 4"
flexible_kw = [1.0, 3.0]
generator_kw = 6.0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A scenario with its network and hourly loads of one bus, 1 kW more each hour."""
    (tmp_path / "grid.json").write_text(grid_json(), "utf-8")
    rows = [f"house 3,{hour},{hour + 1}" for hour in range(HOURS)]
    (tmp_path / "measured.csv").write_text("\n".join(["bus,slot,load_kw", *rows, ""]), "utf-8")
    path = tmp_path / "own.toml"
    path.write_text(OWN, "utf-8")
    return path


def settings(scenario: Path, accounts: int | None = None, **overrides: str) -> Settings:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return Settings(port=0, api_port=0, accounts=accounts, scenario=load(scenario, given))


def get(url: str) -> Any:
    answer = httpx.get(url)
    answer.raise_for_status()
    return answer.json()


# --- the world ----------------------------------------------------------------------------------


def test_each_quarter_hour_has_the_load_of_its_hour_from_the_scenarios_start_on(own: Path) -> None:
    world = world_of(2, scenario=load(own))
    kw = world.actual.passive_p[:, world.feeder.bus_names.index("house 3")] * world.feeder.base_mw * 1e3
    assert kw == pytest.approx(np.repeat(np.arange(1, HOURS + 1), QUARTERS))
    assert world.first_slot % world.periods == 11 * QUARTERS
    assert (world.terms.slot_seconds, world.terms.gate_lead, world.terms.buses) == (900, 600, 5)
    assert world.tariff.retail == 300_000


def test_devices_are_told_by_the_time_of_day(tmp_path: Path) -> None:
    """The sun is up at noon UTC, whenever the scenario's day begins."""
    (tmp_path / "sun.toml").write_text('name = "sun"\n[profiles]\nclouds = 0.0\n', "utf-8")
    for start in ("2026-06-23T00:00:00Z", "2026-06-23T11:00:00Z"):
        world = world_of(1, scenario=load(tmp_path / "sun.toml", {"slots.start": start}))
        power = drawn(world, 0).generator.max_kw
        assert isinstance(power, list)
        assert power[12 * QUARTERS] > 0.8 * max(power) > 0, start
        assert power[0] == 0, start


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"slots.count": "23"},
            r"profiles\.file: slots\.count = 23: 23 slots of 3600 s end before the 96",
        ),
        ({"slots.seconds": "300", "slots.count": "24"}, r"slots\.seconds = 300: must be a multiple of 900"),
        ({"batteries.share": "0.5"}, r"a testnet's accounts have none, .*set batteries\.share=0"),
        ({"slots.start": "2026-06-23T11:05:00Z", "slots.seconds": "300"}, "is not a multiple of 900 s"),
        ({"prosumer": '[{bus = "house 2"}]'}, "prosumer: 1 are listed, and there are 2 accounts"),
    ],
)
def test_what_a_testnet_cannot_be_is_refused(own: Path, overrides: dict[str, str], message: str) -> None:
    with pytest.raises((FeederError, ScenarioError), match=message):
        world_of(2, scenario=load(own, overrides))


def test_accounts_are_the_scenarios_prosumers(own: Path) -> None:
    with pytest.raises(SettingError, match=r"^--accounts 3: the scenario lists 2 \[\[prosumer\]\]"):
        settings(own, accounts=3)
    with pytest.raises(SettingError, match=r"^--scenario: 201 prosumers, .* at most 200 accounts"):
        settings(own, prosumer="[]", prosumers__count="201")
    assert settings(own, accounts=3, prosumer="[]", prosumers__count="201").accounts == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "seed=2"], "--set seed=2: only with --scenario"),
        (["--scenario", "none.toml"], "none.toml: No such file or directory"),
        (
            ["--scenario", "ieee33-storage-day", "--accounts", "2"],
            "--scenario: [batteries] and [vehicles]",
        ),
        (
            ["--scenario", "ieee33-day", "--accounts", "2", "--set", "feeder.name=random:1100:1"],
            "--scenario: feeder.name: feeder random:1100:1 has 1100 buses, and a market prices at most 1024",
        ),
    ],
)
def test_the_command_refuses_before_there_is_a_market(
    tmp_path: Path, options: list[str], message: str
) -> None:
    data = tmp_path / "data"
    ports = ["--port", "0", "--api-port", "0"]
    done = CliRunner().invoke(app, ["testnet", *ports, "--data", str(data), *options])
    assert (done.exit_code, data.exists()) == (2, False), done.output
    assert f"error: {message}" in done.output


# --- a market -----------------------------------------------------------------------------------


def test_a_slot_on_a_feeder_of_ones_own_is_traded_settled_and_resumed(own: Path, tmp_path: Path) -> None:
    """The files are gone when the market is resumed, and another scenario is refused."""
    data, complaints = tmp_path / "data", list[str]()
    asked = replace(settings(own), data=data)
    with running(asked, lambda line: None, complaints.append) as net:
        url, rpc_url = net.document["api_url"], net.document["rpc_url"]
        assert [net.document[name] for name in ("scenario", "feeder")] == ["own", "grid.json"]
        assert [each["bus_name"] for each in net.document["accounts"]] == ["house 2", "house 4"]
        assert get(f"{url}/devices/0.json")["firm"]["kw"] == pytest.approx([4.0] * HOURS * QUARTERS)
        assert httpx.get(f"{url}/devices/2.json").status_code == 404
        visitor = [sys.executable, str(FIRST_ORDER), url]
        said = subprocess.run(visitor, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
        slot = int(said.stdout.split()[-1])
        jump = {"jsonrpc": "2.0", "id": 1, "method": "evm_increaseTime", "params": [10_000]}
        httpx.post(rpc_url, json=jump, timeout=PATIENCE_SECONDS).raise_for_status()
        eventually(lambda: get(f"{url}/v1/slots/{slot}")["state"] == "settled")
        flows = get(f"{url}/v1/slots/{slot}/flows")
        assert [flows["feeder"], *(each["name"] for each in flows["buses"])] == [
            "grid.json",
            *(f"house {k}" for k in range(5)),
        ]
    for name in ("grid.json", "measured.csv", "own.toml"):
        (own.parent / name).rename(own.parent / f"old-{name}")
    with running(replace(asked, scenario=None), lambda line: None, complaints.append) as net:
        assert net.resumed
        assert (net.document["feeder"], len(net.document["accounts"])) == ("grid.json", 2)
        record = Record.from_url(net.document["rpc_url"])
        report = audit(record)
    assert report.ok, str(report)
    assert complaints == []
    for name in ("grid.json", "measured.csv", "own.toml"):
        (own.parent / f"old-{name}").rename(own.parent / name)
    (own.parent / "measured.csv").write_text("bus,slot,load_kw\n", "utf-8")
    with pytest.raises(FolderError, match=r"scenario own, and --scenario differs in seed, profiles\.csv;"):
        start(replace(settings(own, seed="2"), data=data))
    (data / "scenario.json").write_text("{", "utf-8")
    with pytest.raises(FolderError, match=r"scenario\.json: damaged"):
        start(replace(asked, scenario=None))


def start(asked: Settings) -> None:
    """Start, and stop at once."""
    with running(asked, print, print):
        pass
