"""A testnet that runs: chain, servers and the market's threads, started and stopped together."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

from ledger.bundle import GENESIS, collect
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.lmdb import ForeignFolderError
from ledger.chain.protocol import ChainError, LogFilter
from ledger.events import topic
from ledger.keys import TEST_MNEMONIC, Key, mnemonic_keys
from ledger.record import Record as ChainRecord
from market.events import SlotsScheduled
from market.feeder.model import FeederError
from market.pricing.admission import PricingError
from node.api.app import create_api
from node.api.archive import Growing
from node.api.desk import Desk
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import LiveSource
from node.client.serving import serving, url_of
from node.rpc.app import create_app
from node.rpc.engine import Engine, wall_clock
from node.scenario.feeders import doubt, marketable
from node.scenario.loading import ScenarioError
from node.scenario.schema import ScenarioFile
from node.scenario.world import World, broken_by_passive_load
from node.simulate.run import genesis_of
from node.testnet.chain import HeldClock
from node.testnet.deployment import describe, devices, public
from node.testnet.market import Market, cast_of, deploy_market, desk_key, payers, resume_market
from node.testnet.narrator import Narrator
from node.testnet.operator import Operator
from node.testnet.outlook import publish
from node.testnet.proofs import keep
from node.testnet.record import NAME, Record, read_record, write_json, write_record, write_whole
from node.testnet.scenario import Kept
from node.testnet.settings import FolderError, PortError, SettingError, Settings
from node.testnet.world import SLOT_SECONDS, usual, world_of

PREPARATION_SECONDS = 3_600
"""Chain time before the first opening in which a new market is deployed, a second a transaction."""
LOG_LEVEL = "error"

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Running:
    """A testnet that can be used: its market, its engine and the document for its clients."""

    market: Market
    engine: Engine
    document: dict[str, Any]
    resumed: bool


@contextmanager
def running(
    settings: Settings, tell: Say, complain: Say, started: Callable[[], None] = lambda: None
) -> Iterator[Running]:
    """A testnet while the context lasts; `started` is called before anybody is told that it can be used.

    Raises StartError, and ChainError for a chain that is damaged.
    """
    with ExitStack() as stack:
        _check_writable(settings.config_out)
        rpc_socket = stack.enter_context(_listening(settings.host, settings.port, "--port"))
        api_socket = stack.enter_context(_listening(settings.host, settings.api_port, "--api-port"))
        clock = HeldClock(_preparation(wall_clock()))
        record = None if settings.data is None else read_record(settings.data)
        with _of_scenario():
            scenario, kept = _scenario(settings, record)
            keys = _keys(settings, scenario, record)
            world = world_of(len(keys), settings.oracles, scenario)
            _warn(world, complain)
        engine = _open(settings, clock, keys, record)
        stop = engine.stopping
        stack.callback(engine.chain.close)
        stack.callback(stop.set)
        _keep_genesis(engine.chain, settings.data)
        cast = cast_of(keys, settings.oracles)
        if record is None:
            market = deploy_market(engine, cast, world, stop)
            if settings.data is not None:
                kept.write(settings.data)
                write_record(settings.data, market.record)
        else:
            market = resume_market(engine, cast, world, record, stop)
        if settings.data is not None:
            keep(market.session, settings.data)
        document = describe(
            market, rpc_url=url_of(rpc_socket), api_url=url_of(api_socket), mnemonic=settings.words
        )
        operator = Operator(
            market,
            tell,
            complain,
            oracles_elsewhere=settings.oracles_elsewhere,
            meters_elsewhere=settings.meters_elsewhere,
        )
        if record is not None:
            operator.find_unsettled()
        operator.open_ahead(max(wall_clock(), market.chain.now()))
        _let_go(engine, clock)
        operator.step()
        engine.before_jump = operator.prepare
        engine.block_time_seconds = settings.block_time_seconds
        engine.automine = settings.block_time_seconds is None
        narrator = Narrator(
            market.chain, _names(market), lambda line: tell(line) if engine.narrated else None
        )
        outlook = partial(publish, market, horizon=settings.horizon)
        projection = _projection(market)
        api = create_api(
            projection,
            public(document),
            outlook,
            proofs=Proofs(market.session.inputs, market.session.certificates),
            archive=Growing(projection.source, partial(_read, market)),
            desk=_desk(market, api_socket),
            host=settings.host,
            devices=partial(devices, market) if settings.words == TEST_MNEMONIC else None,
        )
        stack.enter_context(serving(create_app(engine, origins=settings.origins), rpc_socket, LOG_LEVEL))
        stack.enter_context(serving(api, api_socket, LOG_LEVEL))
        stack.enter_context(_thread("market", operator.run, stop))
        stack.enter_context(_thread("narrator", narrator.run, stop))
        started()
        if settings.config_out is not None:
            write_json(settings.config_out, document)
        yield Running(market, engine, document, record is not None)


# --- the scenario -------------------------------------------------------------------------------


@contextmanager
def _of_scenario() -> Iterator[None]:
    """Whatever a scenario's world cannot be is a setting that is not allowed."""
    try:
        yield
    except (ScenarioError, FeederError, PricingError) as refusal:
        raise SettingError(f"--scenario: {refusal}") from None


def _scenario(settings: Settings, record: Record | None) -> tuple[ScenarioFile, Kept]:
    """The scenario to build, and what a data folder keeps of it. One that holds a market has its own.

    Raises FeederError, FolderError.
    """
    if settings.data is None or record is None:
        asked = settings.scenario or usual()
        return asked, Kept.of(asked)
    kept = Kept.read(settings.data) or Kept.of(usual())  # folders of earlier versions keep none
    if settings.scenario is not None and (other := kept.differing(Kept.of(settings.scenario))):
        raise FolderError(
            f"--data {settings.data}: holds a market of the scenario {kept.document.name}, and --scenario"
            f" differs in {', '.join(other)}; leave --scenario out, or name another folder"
        )
    return kept.lying_in(settings.data), kept


def _warn(world: World, complain: Say) -> None:
    """Say what is wrong with a feeder, and does not keep a market from running on it.

    Raises FeederError, PricingError for one that no market can have.
    """
    marketable(world.feeder)
    for found in (doubt(world.feeder), broken_by_passive_load(world)):
        if found:
            complain(f"warning: {found}")


# --- the chain ----------------------------------------------------------------------------------


def _preparation(wall: int) -> int:
    """Second at which a new chain begins: before the slots opened that can be traded in now."""
    openings_ago = 9
    return (wall // SLOT_SECONDS - openings_ago) * SLOT_SECONDS - PREPARATION_SECONDS


def _keys(settings: Settings, scenario: ScenarioFile, record: Record | None) -> tuple[Key, ...]:
    """The accounts' keys, those of a folder that holds a market. Raises SettingError."""
    count = settings.accounts
    if count is None:
        count = scenario.population if record is None else len(record.accounts)
    try:
        keys = mnemonic_keys(count, settings.words)
    except ValueError as refusal:
        raise SettingError(f"--mnemonic: {str(refusal).removeprefix('mnemonic: ')}") from None
    if record is not None and record.accounts != tuple(key.address for key in keys):
        raise SettingError(
            f"--data {settings.data}: holds a market of {len(record.accounts)} accounts from"
            f" {record.accounts[0]} on; start it with that --mnemonic and --accounts, or name another folder"
        )
    return keys


def _open(settings: Settings, clock: HeldClock, keys: tuple[Key, ...], record: Record | None) -> Engine:
    """Engine over the chain, a new one where no market is recorded. Raises SettingError, FolderError."""
    try:
        chain = EmbeddedChain(
            genesis_timestamp=clock(),
            time_source=clock,
            funded=payers(cast_of(keys, settings.oracles)),
            data=settings.data,
        )
    except ForeignFolderError as refusal:
        raise SettingError(f"--data {refusal}") from None
    except (ChainError, OSError) as failure:
        raise FolderError(f"--data {failure}" if settings.data else str(failure)) from None
    if record is None and _was_used(chain):
        chain.close()
        raise FolderError(
            f"--data {settings.data}: holds a market, but {NAME}, which says where it is on the chain, is"
            " missing: bring it back, or name another folder"
        )
    return Engine(chain, keys)


def _keep_genesis(chain: EmbeddedChain, folder: Path | None) -> None:
    """Let the data folder tell how its chain began, as `audit --genesis` takes it. Raises FolderError."""
    genesis = genesis_of(chain)
    if folder is not None and genesis:
        write_whole(folder / GENESIS, genesis)


def _was_used(chain: EmbeddedChain) -> bool:
    """Whether a market on the chain got as far as slots; one whose start was cut short is begun again."""
    return bool(chain.logs(LogFilter(topics=((topic(SlotsScheduled),),))))


def _check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before anything costly is begun. Raises SettingError."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"--config-out {path}: is no file in a folder that exists")
    probe = path.with_name(path.name + ".partial")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        probe.unlink()
    except OSError as failure:
        raise SettingError(f"--config-out {path}: cannot be written: {failure.strerror}") from None


def _let_go(engine: Engine, clock: HeldClock) -> None:
    """Let time run. A chain that was moved ahead of this machine's clock goes on from where it is."""
    with engine.lock:
        clock.release()
        engine.chain.advance_to(engine.chain.now())


def _names(market: Market) -> dict[str, str]:
    session, cast = market.session, market.session.cast
    names = {session.exchange.address: "exchange", session.token.address: "token"}
    names |= {
        cast.utility.address: "utility",
        cast.guardian.address: "guardian",
        cast.relayer.address: "relayer",
        desk_key().address: "desk",
    }
    return names


def _projection(market: Market) -> Projection:
    session, chain = market.session, market.chain
    return Projection(LiveSource(chain, session.exchange, session.token, market.first_block, clock=chain.now))


def _read(market: Market) -> ChainRecord:
    """The market's record as it is now."""
    session = market.session
    bundle = collect(
        session.exchange,
        certificates=tuple(session.certificates.values()),
        inputs=tuple(session.inputs.values()),
    )
    return ChainRecord.of(bundle, proves_itself=False)


def _desk(market: Market, listening: socket.socket) -> Desk:
    """Takes orders; it signs for the accounts only where nobody but this machine can ask it to."""
    loopback = ip_address(listening.getsockname()[0]).is_loopback
    return Desk(market.session.exchange, desk_key(), market.accounts if loopback else ())


# --- servers and threads ------------------------------------------------------------------------


@contextmanager
def _listening(host: str, port: int, option: str) -> Iterator[socket.socket]:
    """A socket of ours at an address, before anything costly is begun. Raises SettingError, PortError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as failure:  # a label too long for IDNA raises the latter
        reason = failure.strerror if isinstance(failure, OSError) else "is no name of a host"
        raise SettingError(f"--host {host}: {reason}; name an address of this machine") from None
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen()
        except OSError as failure:
            if failure.errno == errno.EADDRNOTAVAIL:
                raise SettingError(f"--host {host}: is no address of this machine") from None
            reason = (failure.strerror or "cannot be used").lower()
            raise PortError(f"{option} {port}: {reason} at {host}; name another one") from None
        yield listening


@contextmanager
def _thread(name: str, run: Callable[[Flag], None], stop: Flag) -> Iterator[None]:
    thread = Thread(target=run, args=(stop,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
