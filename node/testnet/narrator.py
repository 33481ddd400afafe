"""A line on the console for every transaction: what was called, by whom, its gas, why it reverted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from threading import Event as Flag

import contracts
from ledger import sending
from ledger.abi import signature
from ledger.chain.protocol import Block, Chain, ChainError, Receipt
from ledger.keccak import keccak
from ledger.transactions import decode_transaction
from market.orders import Address

LOOK_SECONDS = 0.5


def clock_time(timestamp: int) -> str:
    """A Unix second as people read it: day and time of day, UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%b %d %H:%MZ")


class Narrator:
    """Tells of each new block's transactions. `names` are addresses that have a name."""

    def __init__(self, chain: Chain, names: Mapping[Address, str], tell: Callable[[str], None]) -> None:
        self._chain = chain
        self._names = names
        self._tell = tell
        self._seen = chain.head()

    def run(self, stop: Flag) -> None:
        """Look for new blocks until `stop` is set, and once more then."""
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Tell what is new."""
        head = self._chain.head()
        first, self._seen = min(self._seen, head) + 1, head  # a snapshot may have been gone back to
        for number in range(first, head + 1):
            try:
                for line in self._lines(number):
                    self._tell(line)
            except (KeyError, ChainError):  # the block was taken back meanwhile
                return

    def _lines(self, number: int) -> Iterator[str]:
        block = self._chain.block(number)
        for receipt in self._chain.receipts(number):
            yield self._line(block, receipt)

    def _line(self, block: Block, receipt: Receipt) -> str:
        transaction = decode_transaction(block.transactions[receipt.transaction_index]).transaction
        target = "creates" if transaction.to is None else self._name(transaction.to)
        what = receipt.contract if transaction.to is None else call_name(transaction.data)
        outcome = "ok" if receipt.status == 1 else f"reverted: {sending.why(self._chain, receipt)}"
        return (
            f"block {block.number}  0x{receipt.transaction_hash.hex()[:8]}  {self._name(receipt.sender)} ->"
            f" {target} {what}  {receipt.gas_used:,} gas  {outcome}"
        )

    def _name(self, address: Address) -> str:
        return self._names.get(address, f"{address[:6]}..{address[-4:]}")


def call_name(data: bytes) -> str:
    """Name of the function that calldata calls, its selector where it is none of ours."""
    if not data:
        return "transfer of coins"
    return _selectors().get(data[:4], "0x" + data[:4].hex())


@cache
def _selectors() -> dict[bytes, str]:
    """Function names of exchange and token by selector."""
    return {
        keccak(signature(entry).encode())[:4]: entry["name"]
        for name in ("Exchange", "Token")
        for entry in contracts.load(name).abi
        if entry["type"] == "function"
    }
