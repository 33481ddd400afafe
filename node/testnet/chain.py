"""The engine's chain as the market's own processes use it, and the clock that it follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event as Flag

from ledger.chain.protocol import Block, ChainUnavailable, Log, LogFilter, Receipt
from node.rpc.engine import Engine, wall_clock

RECEIPT_POLL_SECONDS = 0.05
RECEIPT_POLLS_MAX = 2_400


class StoppingError(Exception):
    """The testnet is being stopped: a transaction's block is not waited for."""


class HeldClock:
    """Time source of a testnet's chain: held at a second until `release`, this machine's clock from then on.

    Charges must be on the chain before a slot opens. Held in the past, the clock lets a market that
    starts now have slots that opened two hours ago.
    """

    def __init__(self, second: int, wall: Callable[[], int] = wall_clock) -> None:
        self._second: int | None = second
        self._wall = wall

    def __call__(self) -> int:
        """Unix second."""
        return self._wall() if self._second is None else self._second

    def release(self) -> None:
        """Follow this machine's clock."""
        self._second = None


class EngineChain:
    """`Chain` over a running engine: each call takes the engine's lock for itself alone.

    Under automine a receipt is there at once; otherwise it is waited for, until `stop` is set.
    """

    def __init__(self, engine: Engine, stop: Flag) -> None:
        self.engine = engine
        self._stop = stop

    @property
    def chain_id(self) -> int:
        """Chain id that transactions and signatures name."""
        return self.engine.chain.chain_id

    @property
    def transaction_gas_max(self) -> int:
        """Most gas that one transaction may ask for."""
        return self.engine.chain.transaction_gas_max

    @property
    def moves(self) -> bool:
        """Whether blocks come by themselves; otherwise somebody builds them by hand."""
        return self.engine.automine or self.engine.block_time_seconds is not None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Every transaction gets a block at once meanwhile, and nobody else gets at the chain."""
        with self.engine.lock:
            before, self.engine.automine = self.engine.automine, True
            try:
                yield
            finally:
                self.engine.automine = before

    def now(self) -> int:
        """Unix second that the next block will carry at least."""
        with self.engine.lock:
            return self.engine.chain.now()

    def send(self, raw_transaction: bytes) -> bytes:
        """Hand over a signed transaction; returns its hash. Raises TransactionRefused, ChainError."""
        with self.engine.lock:
            return self.engine.send_raw(raw_transaction)

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction, waited for.

        Raises ChainUnavailable, TransactionRefused, KeyError, StoppingError.
        """
        for _ in range(RECEIPT_POLLS_MAX):
            with self.engine.lock:
                found = self.engine.chain.find_receipt(transaction_hash)
                if found is None and self.engine.automine:
                    found = self.engine.chain.receipt(transaction_hash)
            if found is not None:
                return found
            if self._stop.wait(RECEIPT_POLL_SECONDS):
                raise StoppingError
        raise ChainUnavailable(f"transaction 0x{transaction_hash.hex()} is in no block yet")

    def call(
        self,
        to: str | None,
        data: bytes,
        *,
        sender: str | None = None,
        block: int | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> bytes:
        """Execute without a transaction. Raises Reverted, TransactionRefused."""
        with self.engine.lock:
            return self.engine.chain.call(to, data, sender=sender, block=block, value=value, gas=gas)

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas a transaction would need. Raises Reverted."""
        with self.engine.lock:
            return self.engine.chain.estimate_gas(to, data, sender=sender, value=value)

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order."""
        with self.engine.lock:
            return self.engine.chain.logs(which)

    def block(self, number: int | None = None) -> Block:
        """Block by number, the head without one. Raises KeyError where there is none."""
        with self.engine.lock:
            return self.engine.chain.block(number)

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block. Raises KeyError where there is none."""
        with self.engine.lock:
            return self.engine.chain.receipts(number)

    def head(self) -> int:
        """Number of the newest block."""
        with self.engine.lock:
            return self.engine.chain.head()

    def code(self, address: str) -> bytes:
        """Code at an address, empty for none."""
        with self.engine.lock:
            return self.engine.chain.code(address)

    def nonce(self, address: str) -> int:
        """Next transaction nonce, waiting ones counted."""
        with self.engine.lock:
            return self.engine.chain.nonce(address)

    def balance(self, address: str) -> int:
        """Native coin, wei."""
        with self.engine.lock:
            return self.engine.chain.balance(address)

    def mine(self) -> int:
        """Put what waits into blocks; returns the head's number."""
        with self.engine.lock:
            return self.engine.chain.mine()
