"""A market of real processes: the testnet, its oracles, its agents, each a command of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ledger.chain.rpc import RpcChain
from ledger.deployment import site_of
from ledger.exchange import Exchange

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from node.cli import main; main()")
MISBEHAVING = (sys.executable, "-m", "tests.network.misbehaving")
PATIENCE_SECONDS = 600
"""Far more than anything here takes, on a machine that is busy."""

SPARE_SECONDS = 400
"""Before a slot opens, so that a busy machine still gets its charges posted."""


@dataclass
class Process:
    """A command that was started, whatever became of it since, and all that it said."""

    command: tuple[str, ...]
    log: Path
    started: subprocess.Popen[str] = field(init=False)
    _killed_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again; what it says goes behind what it said."""
        with self.log.open("a") as output:
            self.started = subprocess.Popen(self.command, cwd=ROOT, stdout=output, stderr=output, text=True)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.started.poll() is None

    @property
    def said(self) -> str:
        """Everything on either stream so far."""
        return self.log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What an agent with `--json` told of."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    @property
    def ordered(self) -> set[int]:
        """Slots for which an agent told of an order."""
        return {event["slot"] for event in self.events if event["event"] == "order"}

    @property
    def processor_seconds(self) -> float:
        """User and system time of the life it has now and of those that were killed, of all its threads."""
        return self._killed_seconds + (_processor_seconds(self.started.pid) if self.runs else 0.0)

    def kill(self) -> None:
        """At once, as a machine that loses its power."""
        self._killed_seconds = self.processor_seconds
        self.started.kill()
        self.started.wait()

    def stop(self) -> None:
        """As Ctrl-C does; at once where that takes too long."""
        self.started.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.started.wait(10)
        self.kill()


def _processor_seconds(pid: int) -> float:
    """User and system time of a process: fields 14 and 15 of proc(5)'s stat, behind its name in brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Network:
    """A running market: `document` is the testnet's, `oracles` and `agents` by number."""

    folder: Path
    testnet: Process
    document: dict[str, Any]
    chain: RpcChain
    exchange: Exchange
    urls: list[str]
    oracles: dict[int, Process] = field(default_factory=dict)
    agents: dict[int, Process] = field(default_factory=dict)

    def move_to(self, second: int) -> None:
        """Let the chain's time go on from a second, if it has not come that far by itself."""
        for method, params in (("evm_setNextBlockTimestamp", [second]), ("evm_mine", [])):
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = httpx.post(self.document["rpc_url"], json=call, timeout=60).json()
            if "error" in answer:
                assert "is not later than the head's" in answer["error"]["message"], answer

    def next_slot(self) -> int:
        """The next slot to open that leaves its oracles some minutes before it does."""
        terms = self.exchange.terms()
        return (self.chain.now() + SPARE_SECONDS + terms.open_lead) // terms.slot_seconds + 1

    def told(self) -> str:
        """The end of what everybody said, for a failure's message."""
        everybody = {"testnet": self.testnet.log}
        everybody |= {f"oracle {n}": each.log for n, each in self.oracles.items()}
        everybody |= {f"agent {n}": each.log for n, each in self.agents.items()}
        return "\n".join(f"--- {name}\n{log.read_text()[-1_500:]}" for name, log in everybody.items())

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        """Until something holds; fails with what everybody said."""
        until_second = time.monotonic() + PATIENCE_SECONDS
        while not until():
            assert time.monotonic() < until_second, f"{what}: never\n{self.told()}"
            time.sleep(0.05)

    def proofs(self, kind: str) -> dict[str, bytes]:
        """Certificates or inputs that any oracle kept, by their file's name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob(f"oracle-*/{kind}/*.bin"))}

    def transcript(self) -> list[dict[str, Any]]:
        """What oracles and agents said to each other."""
        lines = [path.read_text().splitlines() for path in sorted(self.folder.glob("oracle-*.jsonl"))]
        return [json.loads(line) for each in lines for line in each]


@contextmanager
def network(
    folder: Path,
    *,
    accounts: int,
    signers: int = 3,
    devices: Callable[[int], str | None],
    oracles: dict[int, tuple[str, ...]],
    agents: dict[int, tuple[str, ...]],
    answer_seconds: float,
    turn_seconds: float,
    horizon: int = 1,
    data: Path | None = None,
    scenario: Path | None = None,
) -> Iterator[Network]:
    """A testnet with these processes; how one misbehaves is its tuple, empty for who does not.

    `devices` is the TOML of an account, None for those that the testnet tells. An oracle that is not named is
    down. With a `data` folder the testnet can be started again, where everybody finds it.
    """
    with ExitStack() as stack:
        config = folder / "testnet.json"
        kept = () if data is None else ("--data", str(data))
        port, api_port = (0, 0) if data is None else _free_ports(2)
        ports = ("--port", str(port), "--api-port", str(api_port), "--config-out", str(config))
        sizes = ("--accounts", str(accounts), "--oracles", str(signers))
        world = () if scenario is None else ("--scenario", str(scenario))
        left_out = ("--without-oracles", "--without-meters", "--horizon", str(horizon))
        testnet = stack.enter_context(
            _run(folder / "testnet.log", *COMMAND, "testnet", *sizes, *world, *ports, *left_out, *kept)
        )
        document = _document(config, testnet)
        chain = RpcChain(document["rpc_url"])
        urls = [f"http://127.0.0.1:{port}" for port in _free_ports(len(document["oracles"]))]
        started = Network(folder, testnet, document, chain, site_of(document, config).open(chain), urls)
        market = ("--market", document["api_url"])
        for number, misbehaviour in agents.items():
            own = _written(folder / f"agent-{number}.toml", devices(number))
            started.agents[number] = stack.enter_context(
                _run(
                    folder / f"agent-{number}.log",
                    *(MISBEHAVING if misbehaviour else COMMAND),
                    *misbehaviour,
                    *("agent", *market, "--account", str(number), *own, "--meter", "--json"),
                    *(word for url in urls for word in ("--oracle", url)),
                )
            )
        started.wait(
            "agents are ready",
            lambda: all('"ready"' in each.said for each in started.agents.values()),
        )
        for number, misbehaviour in oracles.items():
            peers = [word for url in urls if url != urls[number] for word in ("--peer", url)]
            started.oracles[number] = stack.enter_context(
                _run(
                    folder / f"oracle-{number}.log",
                    *(MISBEHAVING if misbehaviour else COMMAND),
                    *misbehaviour,
                    *("oracle", *market, "--testnet-oracle", str(number)),
                    *("--port", urls[number].rpartition(":")[2], *peers),
                    *("--data", str(folder / f"oracle-{number}")),
                    *("--transcript", str(folder / f"oracle-{number}.jsonl")),
                    *("--answer-seconds", str(answer_seconds), "--turn-seconds", str(turn_seconds)),
                )
            )
        yield started


def _written(path: Path, devices: str | None) -> tuple[str, ...]:
    """An agent's option for its devices, where it has a file of its own."""
    if devices is None:
        return ()
    path.write_text(devices)
    return "--devices", str(path)


@contextmanager
def _run(log: Path, *command: str) -> Iterator[Process]:
    process = Process(command, log)
    try:
        yield process
    finally:
        process.stop()


def _document(config: Path, testnet: Process) -> Any:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not config.exists():
        assert testnet.runs and time.monotonic() < ends, testnet.said
        time.sleep(0.05)
    return json.loads(config.read_text())


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]
