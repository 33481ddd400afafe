"""A market of oracles and agents in this process, on a time that only the test moves.

Chain, contract, operator, market's server, oracles' servers and votes between them are the real ones. Agents
answer in the thread that asks, as soon as there is a round, so that nobody waits for anybody: who does not
answer then is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event as Flag

from ledger.chain.embedded import EmbeddedChain
from ledger.exchange import Exchange
from ledger.keys import TEST_MNEMONIC, mnemonic_keys
from market.agents.policies import Truthful
from node.agent.answering import Answering
from node.agent.devices import DeviceFile
from node.agent.household import Household
from node.agent.trading import Event, Habits, Trader
from node.api.app import create_api
from node.api.projection import Projection
from node.api.sources import LiveSource
from node.client.http import Client
from node.client.schemas import QuestionBody
from node.client.serving import listening, serving
from node.oracle.app import create_app, receive
from node.oracle.process import OracleProcess, Timing
from node.rpc.engine import Engine
from node.testnet.deployment import describe, public
from node.testnet.market import Market, cast_of, deploy_market, payers
from node.testnet.operator import Operator
from node.testnet.outlook import publish
from node.testnet.world import world_of

GENESIS = 1_795_289_400
"""In the evening: what is traded is the night, when nobody injects."""
TURN_SECONDS = 60
NOWHERE = "http://127.0.0.1:9"
"""Where an oracle that is down would be: nothing listens on the discard port."""

Mute = Callable[[int, QuestionBody], bool]
"""Whether an agent, by number, leaves a question unanswered."""


@dataclass
class Clock:
    """The one time of everything: the chain's, the oracles' and the operator's."""

    chain: EmbeddedChain

    def __call__(self) -> float:
        return float(self.chain.now())

    def to(self, second: int) -> None:
        self.chain.advance_to(max(second, self.chain.now()))


@dataclass
class Network:
    """`step` lets everybody do what is due; `mute` may be changed at any time, and oracles put down or up."""

    market: Market
    clock: Clock
    operator: Operator
    oracles: list[OracleProcess]
    answering: list[Answering]
    traders: list[Trader]
    mute: Mute = lambda number, body: False
    down: set[int] = field(default_factory=set)
    servers: list[ExitStack] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    events: list[tuple[int, Event]] = field(default_factory=list)

    @property
    def exchange(self) -> Exchange:
        """The contract."""
        return self.market.session.exchange

    def step(self) -> None:
        """Everybody in turn: the operator, oracles that are up, agents, and the operator again."""
        self.operator.step()
        for number, oracle in enumerate(self.oracles):
            if number not in self.down:
                oracle.step()
        for trader in self.traders:
            trader.step()
        self.operator.step()

    def to(self, second: int, until: Callable[[], bool] = lambda: True) -> None:
        """Go on from a second, turn after turn where something has not happened yet."""
        self.clock.to(second)
        for _ in range(2 * len(self.oracles)):
            self.step()
            if until():
                return
            self.clock.to(self.clock.chain.now() + TURN_SECONDS)
        raise AssertionError("\n".join(["never", *self.said[-30:]]))

    def put_down(self, number: int) -> None:
        """Stop an oracle, its server too."""
        self.down.add(number)
        self.servers[number].close()

    def answer(self, oracle: OracleProcess) -> None:
        """Agents' answers to what an oracle has just begun to ask."""
        for number, answering in enumerate(self.answering):
            found = oracle.question(self.market.accounts[number].address)
            if found is None:
                continue
            body = QuestionBody.of(*found)
            if not self.mute(number, body):
                receive(oracle, answering.answer(body).model_dump_json().encode())


@contextmanager
def network(
    files: list[DeviceFile], folder: Path, *, oracles: int = 3, idle: frozenset[int] = frozenset()
) -> Iterator[Network]:
    """As many accounts as device files, idle ones without orders; oracles keep their proofs in `folder`."""
    with ExitStack() as stack:
        keys = mnemonic_keys(len(files))
        cast = cast_of(keys, oracles)
        chain = EmbeddedChain(genesis_timestamp=GENESIS, funded=payers(cast))
        stack.callback(chain.close)
        stop = Flag()
        market = deploy_market(Engine(chain, keys), cast, world_of(len(files), oracles), stop)
        said: list[str] = []
        clock = Clock(chain)
        operator = Operator(
            market, said.append, said.append, clock, oracles_elsewhere=True, meters_elsewhere=True
        )
        session = market.session
        url = stack.enter_context(_served(lambda: _api(market)))
        client, exchange = Client(url), session.exchange
        sockets = [listening("127.0.0.1", 0) for _ in cast.oracles]
        urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        processes = [
            OracleProcess(
                market.chain,
                exchange,
                key,
                client,
                [other for other in urls if other != own],
                timing=Timing(answer_seconds=0.0, turn_seconds=TURN_SECONDS),
                data=folder / f"oracle-{number}",
                tell=said.append,
            )
            for number, (key, own) in enumerate(zip(cast.oracles, urls, strict=True))
        ]
        households = [Household(file, 0.25) for file in files]
        started = Network(
            market,
            clock,
            operator,
            processes,
            [
                Answering(market.chain, exchange, key, each, said.append)
                for key, each in zip(keys, households, strict=True)
            ],
            [],
            said=said,
        )
        for number, (key, meter, household) in enumerate(zip(keys, cast.meters, households, strict=True)):
            started.traders.append(
                Trader(
                    market.chain,
                    exchange,
                    key,
                    meter=meter,
                    household=household,
                    habits=Habits(None if number in idle else Truthful(0.1), rounds=1),
                    market=client,
                    told=partial(_told, started, number),
                )
            )
        for process, socket in zip(processes, sockets, strict=True):
            server = stack.enter_context(ExitStack())
            server.enter_context(serving(create_app(process), socket))
            started.servers.append(server)
            process.on_round = partial(started.answer, process)
        yield started


def _told(net: Network, number: int, event: Event) -> None:
    net.events.append((number, event))


@contextmanager
def _served(make) -> Iterator[str]:  # type: ignore[no-untyped-def]
    with serving(make(), listening("127.0.0.1", 0)) as url:
        yield url


def _api(market: Market):  # type: ignore[no-untyped-def]
    session = market.session
    document = describe(market, rpc_url=NOWHERE, api_url=NOWHERE, mnemonic=TEST_MNEMONIC)
    source = LiveSource(
        market.chain, session.exchange, session.token, market.first_block, clock=market.chain.now
    )
    projection = Projection(source)
    return create_api(projection, public(document), partial(publish, market))
