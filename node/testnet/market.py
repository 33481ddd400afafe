"""The testnet's market: deployed on a new chain, or found again on the one in the data folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event as Flag

from ledger.exchange import Exchange
from ledger.keys import Key, derive
from ledger.token import Token
from market.slots import Terms
from node.oracle.signers import Oracles
from node.rpc.engine import Engine
from node.scenario.world import World
from node.simulate.session import Cast, Member, Session
from node.testnet.chain import EngineChain
from node.testnet.record import Record
from node.testnet.settings import FolderError

SEED = 0
"""Of the operators' keys and the meters' deviations; the weather has the scenario's own."""
WALLET_EUR = 1_000
"""Tokens that each account finds in its wallet, beside what is deposited for it."""


@dataclass(frozen=True, eq=False)
class Market:
    """A session on the engine's chain, the world behind its prices, and the block it was deployed in."""

    session: Session
    world: World
    first_block: int
    chain: EngineChain

    @property
    def accounts(self) -> tuple[Key, ...]:
        """The registered prosumers, whose keys everybody knows."""
        return self.session.cast.prosumers

    @property
    def terms(self) -> Terms:
        """What was fixed at deployment."""
        return self.session.terms

    @property
    def record(self) -> Record:
        """What a data folder must remember to resume it."""
        session = self.session
        return Record(
            exchange=session.exchange.address,
            token=session.token.address,
            first_block=self.first_block,
            accounts=tuple(key.address for key in self.accounts),
        )

    def index(self, slot: int) -> int:
        """The world's slot at the same time of day (UTC) as a slot of the chain."""
        return (slot - self.world.first_slot) % self.world.periods


def cast_of(accounts: Sequence[Key], oracles: int = 3) -> Cast:
    """Everybody's keys; the operators' are from seed streams of their own and collide with no others."""
    return Cast(
        utility=derive(SEED, "testnet", "utility"),
        guardian=derive(SEED, "testnet", "guardian"),
        relayer=derive(SEED, "testnet", "relayer"),
        oracles=tuple(derive(SEED, "testnet", "oracle", i) for i in range(oracles)),
        prosumers=tuple(accounts),
        meters=tuple(derive(SEED, "testnet", "meter", i) for i in range(len(accounts))),
    )


def payers(cast: Cast) -> tuple[str, ...]:
    """Who has coins from the first block on: operators, prosumers, and those who pay for a simulation."""
    ours = (cast.utility, cast.guardian, cast.relayer, *cast.oracles, *cast.prosumers)
    addresses = {key.address for key in ours} | {desk_key().address}
    return tuple(sorted(addresses | paying_keys_of_simulations()))


def desk_key() -> Key:
    """Who pays for orders that visitors hand in, and for nothing else: operators never wait for it."""
    return derive(SEED, "testnet", "desk")


def paying_keys_of_simulations() -> frozenset[str]:
    """Addresses that pay for gas when a simulation runs on this node."""
    cast = Cast.from_seed(SEED, 0, 0)
    return frozenset(key.address for key in (cast.utility, cast.guardian, cast.relayer))


def deploy_market(engine: Engine, cast: Cast, world: World, stop: Flag) -> Market:
    """Deploy token and exchange, register the accounts and fund them. Raises ChainError."""
    chain = EngineChain(engine, stop)
    first_block = chain.head() + 1
    section = world.scenario
    session = Session.open(
        chain,
        cast,
        world.terms,
        _oracles(cast, world),
        quorum=section.oracle.quorum,
        token_decimals=section.market.token_decimals,
    )
    session.register(
        [
            Member(
                bus=int(bus),
                import_capacity_wh=int(taking),
                export_capacity_wh=int(giving),
                credit_limit_neur=round(section.prosumers.credit_limit_eur * 10**9),
                deposit_neur=round(section.prosumers.deposit_eur * 10**9),
            )
            for bus, taking, giving in zip(
                world.bus, world.import_capacity_wh, world.export_capacity_wh, strict=True
            )
        ]
    )
    amount = WALLET_EUR * 10**session.token.decimals
    for key in cast.prosumers:
        chain.receipt(session.token.mint(key.address, amount, sender=cast.utility))
    return Market(session, world, first_block, chain)


def resume_market(engine: Engine, cast: Cast, world: World, record: Record, stop: Flag) -> Market:
    """The market that a data folder's record names. Raises FolderError where the chain has no such market."""
    chain = EngineChain(engine, stop)
    if not chain.code(record.exchange) or not chain.code(record.token):
        raise FolderError(f"the data folder's chain has no exchange at {record.exchange}")
    exchange, token = Exchange(chain, record.exchange), Token(chain, record.token)
    terms = exchange.terms()
    members = tuple(key.address for key in cast.oracles)
    if exchange.oracle_set().oracles != members:
        raise FolderError(
            f"the exchange at {record.exchange} has other oracles: give their number (--oracles)"
        )
    if terms != world.terms or exchange.utility() != cast.utility.address:
        raise FolderError(f"the exchange at {record.exchange} is not of this version's testnet")
    session = Session(chain, exchange, token, terms, cast, _oracles(cast, world))
    return Market(session, world, record.first_block, chain)


def _oracles(cast: Cast, world: World) -> Oracles:
    oracle = world.scenario.oracle
    return Oracles(world.feeder, cast.oracles, oracle.quorum, oracle.method)
