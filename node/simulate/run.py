"""From a scenario to a result folder: open a chain, trade the day on it, write what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ledger.bundle import canonical_json, write_bundle
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.genesis import genesis_document
from ledger.chain.protocol import TRANSACTION_GAS_MAX, Chain, Clock
from ledger.chain.rpc import RpcChain
from ledger.checkpoint import SignerKey
from ledger.deployment import MarketSite
from market.units import KW_PER_MW
from node.oracle.signers import Oracles
from node.scenario.feeders import marketable, notice
from node.scenario.schema import ScenarioFile
from node.scenario.world import World, build
from node.simulate.appraisal import Reference
from node.simulate.day import CHARGES_LEAD_SECONDS, TradingDay
from node.simulate.folder import check_output, replacing, write_manifest, write_results
from node.simulate.ledgerless import SimulatedClock, TwinSession
from node.simulate.result import NO_LEDGER, DayResult, Ledger, Participant, SlotResult, Storage
from node.simulate.session import Cast, Session
from node.simulate.summary import Summary, summarise

DAY_SECONDS = 86_400
SETUP_SECONDS = 1_200
"""Chain time that deployment and registration may take, one second a transaction."""

Progress = Callable[[int, int, str], None]


def simulate(
    scenario: ScenarioFile,
    out: Path | None = None,
    rpc_url: str | None = None,
    progress: Progress = lambda done, total, what: None,
    signer: SignerKey | None = None,
    *,
    transaction_gas_max: int | None = None,
) -> Summary:
    """Run a scenario's session and write its result folder, if one is named; a `signer` signs its bundle.

    The chain is the embedded one unless `rpc_url` names a node; on a node whose time is later than the
    scenario's, slots move by whole days and nothing else changes. No transaction asks for more gas than
    `transaction_gas_max`, where that is given. Raises FeederError, OracleError,
    ChainError, OutputFolderError, and ClearingFailed where there is nothing to measure a slot against.
    """
    if out is not None:
        check_output(out)
    result, session, first_block = traded_on_chain(
        build(scenario), rpc_url, progress, transaction_gas_max=transaction_gas_max
    )
    if out is not None:
        site = None if rpc_url is None else MarketSite.of(session.exchange, session.token, first_block)
        _write(result, session, out, first_block, notice(scenario.feeder), site, signer)
    return summarise(result)


def traded_on_chain(
    world: World,
    rpc_url: str | None = None,
    progress: Progress = lambda done, total, what: None,
    *,
    transaction_gas_max: int | None = None,
) -> tuple[DayResult, Session, int]:
    """Trade a world's session on a chain: what happened, the market, the first block that is its own."""
    started = time.perf_counter()
    marketable(world.feeder)
    scenario = world.scenario
    cast = Cast.from_seed(scenario.seed, scenario.oracle.signers, len(world.bus))
    chain, clock = _open_chain(world, cast, rpc_url, transaction_gas_max or TRANSACTION_GAS_MAX)
    first_block = chain.head() + 1
    method, quorum = scenario.oracle.method, scenario.oracle.quorum
    oracles = Oracles(world.feeder, cast.oracles, quorum, method)
    session = Session.open(
        chain,
        cast,
        world.terms,
        oracles,
        quorum=quorum,
        token_decimals=scenario.market.token_decimals,
    )
    day = TradingDay(
        world,
        session,
        clock,
        Reference(world.feeder, storages=world.stores.storages.count > 0),
        shift=_shift(world, clock),
        progress=progress,
    )
    slots = day.run()
    head = chain.block()
    ledger = Ledger(
        gas_used=sum(chain.block(number).gas_used for number in range(first_block, head.number + 1)),
        head_number=head.number,
        head_hash="0x" + head.hash.hex(),
        exchange_address=session.exchange.address,
    )
    seconds = time.perf_counter() - started
    return _result(world, cast, slots, day.rejected, ledger, seconds), session, first_block


def simulate_without_ledger(
    scenario: ScenarioFile,
    out: Path | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Summary:
    """The same session on the contract's twin alone; its folder has no bundle. Raises as `simulate` does."""
    if out is not None:
        check_output(out)
    result = traded_without_ledger(build(scenario), progress)
    if out is not None:
        with replacing(out) as partial:
            write_results(result, partial)
            write_manifest(partial, result)
    return summarise(result)


def traded_without_ledger(world: World, progress: Progress = lambda done, total, what: None) -> DayResult:
    """Trade a world's session on the contract's twin alone; one oracle clears, since all find the same."""
    started = time.perf_counter()
    marketable(world.feeder)
    scenario = world.scenario
    cast = Cast.from_seed(scenario.seed, 1, len(world.bus))
    clock = SimulatedClock(world.terms.opens(world.first_slot) - CHARGES_LEAD_SECONDS)
    oracles = Oracles(world.feeder, cast.oracles, 1, scenario.oracle.method)
    session = TwinSession(clock, cast, world.terms, oracles, scenario.market.token_decimals)
    reference = Reference(world.feeder, storages=world.stores.storages.count > 0)
    day = TradingDay(world, session, clock, reference, progress=progress)
    slots = day.run()
    return _result(world, cast, slots, day.rejected, NO_LEDGER, time.perf_counter() - started)


def _result(  # noqa: PLR0917 - a day and what it ran on
    world: World,
    cast: Cast,
    slots: tuple[SlotResult, ...],
    rejected: int,
    ledger: Ledger,
    seconds: float,
) -> DayResult:
    scenario = world.scenario
    return DayResult(
        scenario_name=scenario.name,
        seed=scenario.seed,
        rule=scenario.market.rule,
        feeder_name=world.feeder.name,
        bus_names=world.feeder.bus_names,
        parent=world.feeder.parent,
        rating=world.feeder.limits.i_max,
        slot_seconds=world.terms.slot_seconds,
        utility_address=cast.utility.address,
        participants=_participants(world, cast),
        slots=slots,
        orders_rejected=rejected,
        ledger=ledger,
        seconds=seconds,
        storages=_storages(world),
    )


def _open_chain(
    world: World, cast: Cast, rpc_url: str | None, transaction_gas_max: int
) -> tuple[Chain, Clock]:
    if rpc_url is not None:
        remote = RpcChain(rpc_url, transaction_gas_max=transaction_gas_max)
        return remote, remote
    opening = world.terms.opens(world.first_slot) - CHARGES_LEAD_SECONDS
    chain = EmbeddedChain(
        genesis_timestamp=opening - SETUP_SECONDS,
        funded=cast.payers,
        transaction_gas_max=transaction_gas_max,
    )
    return chain, chain


def _shift(world: World, clock: Clock) -> int:
    """Whole days, in slots, by which the session must move so that its first charges lie ahead."""
    opening = world.terms.opens(world.first_slot) - CHARGES_LEAD_SECONDS
    late = clock.now() + SETUP_SECONDS // 2 - opening
    days = max(0, -(-late // DAY_SECONDS))
    return days * DAY_SECONDS // world.terms.slot_seconds


def _participants(world: World, cast: Cast) -> tuple[Participant, ...]:
    base_kw = world.feeder.base_mw * KW_PER_MW
    flexible = world.flexible_share
    return tuple(
        Participant(
            name=name,
            address=key.address,
            bus=int(world.bus[k]),
            pv_kw=float(world.generator_peak[k] * base_kw),
            firm_kw=float(world.load_peak[k] * (1 - flexible[k]) * base_kw),
            flexible_kw=float(world.load_peak[k] * flexible[k] * base_kw),
            import_capacity_wh=int(world.import_capacity_wh[k]),
            export_capacity_wh=int(world.export_capacity_wh[k]),
        )
        for k, (name, key) in enumerate(zip(world.names, cast.prosumers, strict=True))
    )


def _storages(world: World) -> tuple[Storage, ...]:
    base_kw, stores = world.feeder.base_mw * KW_PER_MW, world.stores
    return tuple(
        Storage(
            name=name,
            owner=world.names[owner],
            bus=int(world.bus[owner]),
            energy_kwh=float(stores.storages.energy_max[:, k].max() * base_kw),
            power_kw=float(stores.storages.charge_max[:, k].max() * base_kw),
        )
        for k, (name, owner) in enumerate(zip(stores.names, stores.owner.tolist(), strict=True))
    )


def _write(  # noqa: PLR0917 - a result and what goes with it
    result: DayResult,
    session: Session,
    out: Path,
    first_block: int,
    told: str,
    site: MarketSite | None,
    signer: SignerKey | None,
) -> None:
    """Write the folder; on a chain that stays, also where the market is on it."""
    with replacing(out) as partial:
        write_results(result, partial)
        write_bundle(
            session.chain,
            session.exchange,
            partial / "bundle",
            certificates=session.certificates.values(),
            inputs=session.inputs.values(),
            scenario=result.scenario_name,
            seed=result.seed,
            first_block=first_block,
            genesis=genesis_of(session.chain),
            notice=told,
            signer=signer,
        )
        if site is not None:
            site.write(partial / "deployment.json")
        write_manifest(partial, result)


def genesis_of(chain: Chain) -> bytes:
    """How a chain of our own began; nothing of a node, which does not tell."""
    begun = chain.begun if isinstance(chain, EmbeddedChain) else None
    return b"" if begun is None else canonical_json(genesis_document(begun))
