"""The testnet behind the JSON-RPC server: one embedded chain, its lock, unlocked accounts, filters."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from threading import Event as Flag
from threading import RLock
from typing import Any

from ledger.chain.calls import Call
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import LogFilter
from ledger.keys import Key
from ledger.transactions import FEE_MARKET, Transaction, sign_transaction
from market.orders import Address
from node.rpc.errors import InternalError, InvalidParamsError
from node.rpc.feeds import Feed, Kind
from node.rpc.params import CallRequest

PRIORITY_FEE_WEI = 1_000_000_000
"""Tip that is suggested, and paid for unlocked accounts."""

SLICE_STEPS = 16
"""Steps of long work, each about a block, that are done without letting anybody else in."""
SLICE_PAUSE_SECONDS = 0.002
"""How long the lock is free then: enough for those who wait to wake up and take it."""
BLOCK_TIME_MAX_SECONDS = 86_400
FILTERS_MAX = 1_000


class Engine:
    """Everything a client can change, behind `lock`: take it for each use from more than one thread.

    With `automine` each transaction gets a block at once; otherwise blocks come by `mine_waiting`, which
    the server calls every `block_time_seconds`, or by the client's own evm_mine. `before_jump` gets
    the second to which a client is about to move time, while time still stands, and may build blocks.
    Long work is done in slices between which others get the lock, and ends once `stopping` is set.
    `narrated` is whether the console tells of blocks.
    """

    def __init__(
        self,
        chain: EmbeddedChain,
        accounts: Sequence[Key] = (),
        *,
        block_time_seconds: int | None = None,
    ) -> None:
        self.chain = chain
        self.keys: dict[Address, Key] = {key.address: key for key in accounts}
        self.block_time_seconds = block_time_seconds
        self.automine = block_time_seconds is None
        self.lock = RLock()
        self.stopping = Flag()
        self.narrated = True
        self.before_jump: Callable[[int], None] = lambda timestamp: None
        self.filters: dict[int, Feed] = {}
        self._filters_made = 0

    # --- transactions ---------------------------------------------------------------------------

    def send_raw(self, raw: bytes) -> bytes:
        """Take a signed transaction, and mine it at once under automine.

        Raises TransactionRefused; and ChainError where its block cannot be built or written, after which
        it does not wait, so that it can be sent again.
        """
        transaction_hash = self.chain.send(raw)
        if self.automine and self.chain.ready():
            try:
                self.chain.mine()
            except Exception:
                if self.chain.drop(transaction_hash):
                    raise
        return transaction_hash

    def send_unlocked(self, request: CallRequest) -> bytes:
        """Sign for an unlocked account and send, filling in what the request leaves out."""
        return self.send_raw(self.signed(request))

    def signed(self, request: CallRequest) -> bytes:
        """Raw transaction of an unlocked account."""
        key = self.key(request.sender)
        if request.chain_id not in (None, self.chain.chain_id):
            raise InvalidParamsError(f"chainId: {request.chain_id} is not {self.chain.chain_id}")
        call = Call(request.to, request.data, key.address, request.value, access_list=request.access_list)
        fee, tip = self._fees(request)
        transaction = Transaction(
            chain_id=self.chain.chain_id,
            nonce=self.chain.nonce(key.address) if request.nonce is None else request.nonce,
            to=request.to,
            data=request.data,
            value=request.value,
            gas=self.chain.estimate(call) if request.gas is None else request.gas,
            max_fee_per_gas=fee,
            max_priority_fee_per_gas=tip,
            access_list=request.access_list,
            type=request.type,
        )
        return sign_transaction(key, transaction)

    def _fees(self, request: CallRequest) -> tuple[int, int]:
        """The most that is paid per gas and the tip of it, wei; what a request leaves out is filled in."""
        if request.type != FEE_MARKET:
            price = request.gas_price
            price = self.chain.next_base_fee() + PRIORITY_FEE_WEI if price is None else price
            return price, price
        fee, tip = request.max_fee_per_gas, request.max_priority_fee_per_gas
        if tip is None:
            tip = PRIORITY_FEE_WEI if fee is None else min(PRIORITY_FEE_WEI, fee)
        return 2 * self.chain.next_base_fee() + tip if fee is None else fee, tip

    def key(self, address: Address | None) -> Key:
        """Key of an unlocked account."""
        if address is None:
            raise InvalidParamsError("from: missing; name an account of eth_accounts")
        if address not in self.keys:
            raise InvalidParamsError(f"from: {address} is not unlocked here; sign, and send it raw")
        return self.keys[address]

    # --- blocks and time ------------------------------------------------------------------------

    def mine_waiting(self) -> None:
        """Build one block, empty or not."""
        with self.lock:
            self.chain.mine_block()

    def mine_ready(self) -> Iterator[None]:
        """Build blocks until all is in that can be; each step is one block."""
        while waiting := len(self.chain.ready()):
            self.chain.mine_block()
            if len(self.chain.ready()) >= waiting:
                return
            yield

    def finished(self, work: Generator[None, None, Any]) -> Any:
        """Do long work a slice at a time, the lock free in between; returns what it returns.

        Raises InternalError where the node is being stopped meanwhile.
        """
        while True:
            with self.lock:
                try:
                    for _ in range(SLICE_STEPS):
                        next(work)
                except StopIteration as end:
                    return end.value
            if self.stopping.wait(SLICE_PAUSE_SECONDS):
                raise InternalError("the node is being stopped")

    def set_interval(self, seconds: int) -> None:
        """Build blocks every so many seconds, and none at once; with 0, none comes by itself any more."""
        if seconds > BLOCK_TIME_MAX_SECONDS:
            raise InvalidParamsError(f"seconds: {seconds}, more than {BLOCK_TIME_MAX_SECONDS}")
        self.block_time_seconds = seconds or None
        self.automine = False

    def increase_time(self, seconds: int) -> None:
        """Let the next block be at least `seconds` later than it would be."""
        self.before_jump(self.chain.now() + seconds)
        self.chain.advance_to(self.chain.now() + seconds)

    def set_next_timestamp(self, timestamp: int) -> None:
        """Let the next block carry exactly `timestamp`, which must be later than the head's."""
        self.before_jump(timestamp)
        try:
            self.chain.set_next_timestamp(timestamp)
        except ValueError as refusal:
            raise InvalidParamsError(str(refusal)) from None

    # --- filters --------------------------------------------------------------------------------

    def install(self, kind: Kind, which: LogFilter | None = None) -> int:
        """Install a filter; returns its number. The oldest gives way beyond 1 000."""
        self._filters_made += 1
        self.filters[self._filters_made] = Feed(self.chain, kind, which)
        if len(self.filters) > FILTERS_MAX:
            self.uninstall(min(self.filters))
        return self._filters_made

    def uninstall(self, number: int) -> bool:
        """Remove a filter; False if there is none."""
        feed = self.filters.pop(number, None)
        if feed is not None:
            feed.close()
        return feed is not None

    def filter(self, number: int) -> Feed:
        """An installed filter."""
        if number not in self.filters:
            raise InvalidParamsError(f"filter: there is no filter {hex(number)}")
        return self.filters[number]


def wall_clock() -> int:
    """Unix seconds of this machine: the time source of a testnet."""
    return int(time.time())
