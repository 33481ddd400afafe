"""Where the market's events come from: a chain that goes on, or the record of one that is finished.

`LiveSource` reads a chain and asks the exchange where accounts stand. `RecordSource` reads a bundle alone, so
that the same pages and resources show a market whose chain is no longer running.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from ledger.chain.protocol import Chain, LogFilter, Reverted
from ledger.events import decode
from ledger.exchange import Exchange
from ledger.history import NoHistory
from ledger.journal import balances, entries
from ledger.record import Logged, Record
from ledger.token import Token
from market.accounts import UTILITY_ID, Role
from market.events import AccountChanged, AccountRegistered, Event, MeterChanged, RoleAccepted
from market.orders import NOBODY, Address
from market.slots import Terms


class UnknownAccountError(LookupError):
    """The address is not registered."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A registered account as it stands; capacities Wh a slot, money n€, `wallet_units` of the token.

    `reserved` and `wallet_units` are None where only events are known: none tells them.
    """

    id: int
    bus: int
    meter_key: Address
    meter_epoch: int
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int
    balance: int
    reserved: int | None
    wallet_units: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """An event and its place on the chain."""

    block: int
    log: int
    event: Event


class Source(Protocol):
    """One market's events, its terms, and its accounts."""

    @property
    def exchange(self) -> Address:
        """The contract."""

    @property
    def chain_id(self) -> int:
        """The chain that it is on."""

    @property
    def terms(self) -> Terms:
        """What was fixed at deployment."""

    @property
    def first_block(self) -> int:
        """Where the market begins."""

    def now(self) -> int:
        """The market's time, Unix seconds."""

    def head(self) -> int:
        """Number of the newest block."""

    def block_hash(self, number: int) -> bytes:
        """Hash of a block; of the one before the first, too."""

    def block_time(self, number: int) -> int:
        """Unix second of a block."""

    def events(self, first: int, last: int) -> Iterable[Told]:
        """Events of the exchange in a range of blocks, both ends included, in chain order."""

    def standing(self, address: Address) -> Standing:
        """An account as it stands. Raises UnknownAccountError."""


class LiveSource:
    """A market on a chain. `clock` gives its time where it goes on without blocks; else the head's counts."""

    def __init__(
        self,
        chain: Chain,
        exchange: Exchange,
        token: Token,
        first_block: int,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.exchange = exchange.address
        self.chain_id = chain.chain_id
        self.terms = exchange.terms()
        self.first_block = first_block
        self._chain = chain
        self._gateway = exchange
        self._token = token
        self._clock = clock

    def now(self) -> int:
        """The chain's time, by which slots open and close."""
        return self._chain.block().timestamp if self._clock is None else self._clock()

    def head(self) -> int:
        """Number of the newest block."""
        return self._chain.head()

    def block_hash(self, number: int) -> bytes:
        """Hash of a block."""
        return self._chain.block(number).hash

    def block_time(self, number: int) -> int:
        """Unix second of a block."""
        return self._chain.block(number).timestamp

    def events(self, first: int, last: int) -> Iterator[Told]:
        """Events in a range of blocks."""
        for log in self._chain.logs(LogFilter(first, last, addresses=(self.exchange,))):
            yield Told(log.block_number, log.log_index, decode(log.topics, log.data))

    def standing(self, address: Address) -> Standing:
        """What the contract holds of an account. Raises UnknownAccountError."""
        try:
            account = self._gateway.account_of(address)
        except Reverted as refusal:
            raise UnknownAccountError(f"{address}: {refusal.reason}") from None
        return Standing(**asdict(account), wallet_units=self._token.balance_of(address))


class RecordSource:
    """A market whose record is at hand and grows no more; its time is the last block's.

    Raises NoHistory where the record does not show its deployment.
    """

    def __init__(self, record: Record) -> None:
        if record.deployment is None:
            raise NoHistory("the record holds no creation of an exchange at this address whose code is known")
        self.exchange = record.exchange
        self.chain_id = record.domain.chain_id
        self.terms = record.deployment.terms
        self.first_block = record.blocks[0].number
        self._blocks = {block.number: block for block in record.blocks}
        self._head = record.blocks[-1]
        self._before_first = record.blocks[0].header.parent_hash
        self._logged = record.logged
        self._standings = _standings(record)

    def now(self) -> int:
        """Second of the last block."""
        return self._head.header.timestamp

    def head(self) -> int:
        """Number of the last block."""
        return self._head.number

    def block_hash(self, number: int) -> bytes:
        """Hash of a block."""
        return self._before_first if number == self.first_block - 1 else self._blocks[number].hash

    def block_time(self, number: int) -> int:
        """Unix second of a block."""
        return self._blocks[number].header.timestamp

    def events(self, first: int, last: int) -> Iterator[Told]:
        """Events in a range of blocks; what is no event of ours is for the audit to name."""
        start = bisect_left(self._logged, (first, 0), key=_place)
        end = bisect_left(self._logged, (last + 1, 0), key=_place)
        for logged in self._logged[start:end]:
            if logged.event is not None:
                yield Told(*logged.place, logged.event)

    def standing(self, address: Address) -> Standing:
        """What events say of an account. Raises UnknownAccountError."""
        try:
            return self._standings[address]
        except KeyError:
            raise UnknownAccountError(f"{address}: is not registered") from None


def _place(logged: Logged) -> tuple[int, int]:
    return logged.place


def _standings(record: Record) -> dict[Address, Standing]:
    """Accounts by address at the end of a record; who holds the utility's role stands for id 0."""
    found: dict[Address, Standing] = {}
    utility = NOBODY
    for logged in record.logged:
        match logged.event:
            case AccountRegistered() as event:
                found[event.account] = _registered(event)
            case AccountChanged() as event:
                found[event.account] = replace(
                    found[event.account],
                    import_capacity=event.import_capacity,
                    export_capacity=event.export_capacity,
                    credit_limit=event.credit_limit,
                    classes=event.classes,
                )
            case MeterChanged(account=account, meter_key=meter_key, epoch=epoch):
                found[account] = replace(found[account], meter_key=meter_key, meter_epoch=epoch)
            case RoleAccepted(role=role, holder=holder) if role == Role.UTILITY:
                utility = holder
            case _:
                pass
    found[utility] = Standing(UTILITY_ID, 0, NOBODY, 0, 0, 0, 0, 0, 0, None, None)
    balance_neur = balances(tuple(entries(record)))
    return {who: replace(each, balance=balance_neur.get(each.id, 0)) for who, each in found.items()}


def _registered(event: AccountRegistered) -> Standing:
    return Standing(
        id=event.id,
        bus=event.bus,
        meter_key=event.meter_key,
        meter_epoch=1,
        import_capacity=event.import_capacity,
        export_capacity=event.export_capacity,
        credit_limit=event.credit_limit,
        classes=event.classes,
        balance=0,
        reserved=None,
        wallet_units=None,
    )
