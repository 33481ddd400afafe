"""What can be asked of a chain that is kept: blocks, receipts, logs, state, and calls that leave nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.chain.archive import Archive
from ledger.chain.calls import Call, begun, least_gas, merged, names_all, succeeded
from ledger.chain.encoding import Header
from ledger.chain.evm import Account, Execution, Interpreter, Machine, Proof
from ledger.chain.logs import search
from ledger.chain.protocol import Block, Log, LogFilter, Receipt
from ledger.chain.rules import Fork
from ledger.chain.store import Store
from ledger.transactions import AccessList, Transaction
from market.orders import NOBODY, Address


class Reading(ABC):
    """The half of a chain that changes nothing; who builds on it says what the next header is."""

    _store: Store
    _archive: Archive
    _machine: Machine
    _chain_id: int
    _interpreter: Interpreter

    @abstractmethod
    def _next_header(self) -> Header:
        """That of a block that would be built now."""

    # --- blocks ---------------------------------------------------------------------------------

    def head(self) -> int:
        """Number of the newest block."""
        return self._archive.head

    def block(self, number: int | None = None) -> Block:
        """Block by number, the head without one. Raises KeyError where there is none."""
        return self._archive.at(number).block

    def block_number(self, block_hash: bytes) -> int | None:
        """Number of the block with this hash, None for none."""
        return self._archive.number_of(block_hash)

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block. Raises KeyError where there is none."""
        return self._archive.at(number).receipts

    def raw_receipts(self, number: int) -> Sequence[bytes]:
        """Consensus bytes of a block's receipts (EIP-2718). Raises KeyError where there is none."""
        return self._archive.at(number).raw_receipts

    def find_receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Receipt of a transaction that is in a block, None for others."""
        found = self._archive.find(transaction_hash)
        return None if found is None else self._archive.at(found[0]).receipts[found[1]]

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order."""
        return search(self._archive, which)

    # --- state ----------------------------------------------------------------------------------

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
        """Execute without a transaction, after a block; without one, in the next block.

        Raises Reverted with the reason, TransactionRefused where it cannot even begin.
        """
        return self.execute(Call(to, data, sender or NOBODY, value, gas), block).output

    def execute(
        self,
        call: Call,
        block: int | None = None,
        accounts: Mapping[Address, Account] = {},
        fields: Mapping[str, Any] = {},
    ) -> Execution:
        """Execute a call without a trace, in accounts and fields of the header that are set so beforehand.

        Raises Reverted.
        """
        machine, transaction = self._prepared(call, block, accounts, fields)
        return succeeded(machine.simulate(transaction, call.sender))

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas limit under which a transaction succeeds in the next block. Raises Reverted."""
        return self.estimate(Call(to, data, sender, value))

    def estimate(self, call: Call, accounts: Mapping[Address, Account] = {}, block: int | None = None) -> int:
        """Gas limit under which a call succeeds as a transaction of the next block, or after a past one.

        Raises Reverted.
        """
        machine, transaction = self._prepared(call, block, accounts)
        header = self._next_header() if block is None else self._archive.at(block).header
        return least_gas(machine, transaction, call.sender, self._fork(header))

    def access_list(self, call: Call, block: int | None = None) -> tuple[AccessList, Execution]:
        """What a call accesses, and what becomes of it where its access list says so (EIP-2930).

        Naming what is accessed changes the gas that is left, and so what code does: the list is widened
        until nothing is missing.
        """
        listed = call.access_list
        while True:
            machine, transaction = self._prepared(replace(call, access_list=listed), block, {})
            execution, accessed = machine.accessed(transaction, call.sender)
            if names_all(listed, accessed):
                return listed, execution
            listed = merged(listed, accessed)

    def prove(self, address: Address, slots: Sequence[int], block: int | None = None) -> Proof:
        """An account and words of its storage, as the state root of a block proves them."""
        return self._machine_after(block).prove(address, slots)

    def code(self, address: str, block: int | None = None) -> bytes:
        """Code at an address, empty for none."""
        return self._machine_after(block).code(address)

    def nonce_after(self, address: str, block: int | None = None) -> int:
        """Transactions an account has sent in the blocks up to `block`."""
        return self._machine_after(block).nonce(address)

    def balance(self, address: str, block: int | None = None) -> int:
        """Native coin, wei."""
        return self._machine_after(block).balance(address)

    def storage(self, address: str, slot: int, block: int | None = None) -> int:
        """Word of a contract's storage."""
        return self._machine_after(block).storage(address, slot)

    # --- machines -------------------------------------------------------------------------------

    def _machine_for(self, header: Header, ancestors: Iterable[bytes] = ()) -> Machine:
        return Machine(
            self._store,
            self._chain_id,
            header,
            ancestors,
            interpreter=self._interpreter,
            fork=self._fork(header),
        )

    def _machine_after(self, block: int | None) -> Machine:
        """Machine to read the state after a block with, the head's without one."""
        if block is None:
            return self._machine
        return self._machine_for(self._archive.at(block).header)

    def _prepared(
        self,
        call: Call,
        block: int | None,
        accounts: Mapping[Address, Account],
        fields: Mapping[str, Any] = {},
    ) -> tuple[Machine, Transaction]:
        """A machine in the next block, or after a past one, and the call as a transaction.

        Raises TransactionRefused where the call cannot even begin.
        """
        header = self._next_header() if block is None else self._archive.at(block).header
        ancestors = self._archive.ancestors(header.number - 1)
        header = replace(header, **fields)
        base_fee = header.base_fee if call.max_fee_per_gas or "base_fee" in fields else 0
        machine = self._machine_for(replace(header, base_fee=base_fee), ancestors)
        for address, account in accounts.items():
            machine.put(address, account)
        return machine, begun(call, header, self._fork(header), machine)

    def _fork(self, header: Header) -> Fork:
        return self._archive.schedule.at(header.timestamp)
