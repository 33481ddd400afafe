"""Execution by py-evm under the rules of Prague: the only module that knows its virtual machine.

py-evm executes; headers, receipts, fees and what a transaction must satisfy beforehand are ours, so
that its classes stay behind this page. System contracts (EIP-2935, EIP-4788) are not deployed here,
and without them their calls at the start of a block do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.exceptions import VMError
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor

from ledger.address import address_bytes
from ledger.chain.accounts import Accounts
from ledger.chain.encoding import EMPTY_ROOT, Header, RawLog
from ledger.chain.store import Store
from ledger.chain.translate import TranslatedComputation
from ledger.keccak import keccak
from ledger.transactions import Transaction
from market.orders import Address

GAS_TRANSACTION = 21_000
GAS_CREATION = 32_000
GAS_ZERO_BYTE = 4
GAS_NONZERO_BYTE = 16
GAS_FLOOR_PER_TOKEN = 10
GAS_ACCESS_ADDRESS = 2_400
GAS_ACCESS_KEY = 1_900
GAS_INITCODE_WORD = 2
INITCODE_MAX_BYTES = 49_152
REFUND_QUOTIENT = 5

BASE_FEE_CHANGE_DENOMINATOR = 8
ELASTICITY = 2

EMPTY_REQUESTS_HASH = sha256().digest()
"""Requests hash of a block without requests (EIP-7685)."""
EMPTY_UNCLES_HASH = keccak(b"\xc0")


def intrinsic_gas(transaction: Transaction) -> int:
    """Gas a transaction costs before any code runs (EIP-2028, 2930, 3860)."""
    zeros = transaction.data.count(0)
    cost = GAS_TRANSACTION + zeros * GAS_ZERO_BYTE + (len(transaction.data) - zeros) * GAS_NONZERO_BYTE
    if transaction.to is None:
        cost += GAS_CREATION + _initcode_gas(transaction)
    for _, keys in transaction.access_list:
        cost += GAS_ACCESS_ADDRESS + GAS_ACCESS_KEY * len(keys)
    return cost


def floor_gas(transaction: Transaction) -> int:
    """Gas a transaction pays at least, for its calldata (EIP-7623)."""
    zeros = transaction.data.count(0)
    return GAS_TRANSACTION + GAS_FLOOR_PER_TOKEN * (zeros + 4 * (len(transaction.data) - zeros))


def _initcode_gas(transaction: Transaction) -> int:
    return GAS_INITCODE_WORD * -(-len(transaction.data) // 32) if transaction.to is None else 0


def next_base_fee(parent: Header) -> int:
    """Base fee of the block after `parent`, wei per gas (EIP-1559)."""
    base_fee, target = parent.base_fee or 0, parent.gas_limit // ELASTICITY
    change = base_fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
    if parent.gas_used > target:
        return base_fee + max(change, 1)
    return base_fee - change


def blank_header(parent: Header | None, timestamp: int, gas_limit: int, base_fee: int) -> Header:
    """Header of a block before execution, with the constants of proof of stake (EIP-3675, 4399)."""
    return Header(
        parent_hash=bytes(32) if parent is None else keccak(parent.encode()),
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=bytes(20),
        state_root=EMPTY_ROOT if parent is None else parent.state_root,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        logs_bloom=bytes(256),
        difficulty=0,
        number=0 if parent is None else parent.number + 1,
        gas_limit=gas_limit,
        gas_used=0,
        timestamp=timestamp,
        extra_data=b"",
        mix_hash=bytes(32),
        nonce=bytes(8),
        base_fee=base_fee,
        withdrawals_root=EMPTY_ROOT,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_root=bytes(32),
        requests_hash=EMPTY_REQUESTS_HASH,
    )


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a transaction's message: `error` None is success, else the rule it broke.

    `gas_spent` is before refunds and the calldata floor, `gas_used` after them.
    """

    error: str | None
    output: bytes
    gas_spent: int
    gas_used: int
    logs: tuple[RawLog, ...]

    @property
    def reverted(self) -> bool:
        """Whether the contract refused, rather than the machine."""
        return self.error == "revert"


@dataclass(frozen=True, slots=True, repr=False)
class _Executable:
    """What py-evm's executor asks of a transaction, with the sender known and everything checked."""

    sender: bytes
    nonce: int
    to: bytes
    value: int
    data: bytes
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...]
    intrinsic_gas: int
    type_id: int


class _Executor(PragueTransactionExecutor):  # type: ignore[misc]  # py-evm is untyped
    """Executor of transactions that were checked before; py-evm would recover each sender twice more."""

    def validate_transaction(self, transaction: _Executable) -> None:
        pass


class _StockState(PragueState):  # type: ignore[misc]  # py-evm is untyped
    transaction_executor_class = _Executor


class _FastState(_StockState):
    account_db_class = Accounts
    computation_class = TranslatedComputation


Interpreter = Literal["fast", "stock"]
"""Translated code over storage of our own, or py-evm as it is: slower, and equal in every result."""
_STATES: dict[Interpreter, type[_StockState]] = {"fast": _FastState, "stock": _StockState}


class Machine:
    """The state `parent_root` stands for, in the block whose header is `header`.

    `ancestors` are the hashes of the blocks before it, newest first (BLOCKHASH).
    """

    def __init__(
        self,
        store: Store,
        chain_id: int,
        header: Header,
        ancestors: Iterable[bytes] = (),
        *,
        interpreter: Interpreter = "fast",
    ) -> None:
        context = ExecutionContext(
            coinbase=header.coinbase,
            timestamp=header.timestamp,
            block_number=header.number,
            difficulty=0,
            mix_hash=header.mix_hash,
            gas_limit=header.gas_limit,
            prev_hashes=ancestors,
            chain_id=chain_id,
            base_fee_per_gas=header.base_fee,
            excess_blob_gas=0,
        )
        self._state = _STATES[interpreter](store, context, header.state_root)

    def apply(self, transaction: Transaction, sender: Address) -> Execution:
        """Execute a transaction that satisfies the rules of its block. Its effects stay."""
        # the values before this transaction are what SSTORE's price compares with (EIP-2200)
        self._state.lock_changes()
        return self._execute(transaction, sender)

    def simulate(self, transaction: Transaction, sender: Address) -> Execution:
        """Execute without a trace, on a machine whose base fee is 0: nobody pays for gas here."""
        before = self._state.snapshot()
        try:
            return self._execute(transaction, sender)
        except VMError as failure:  # the sender cannot pay the value
            return Execution(_rule(failure), b"", transaction.gas, transaction.gas, ())
        finally:
            self._state.revert(before)

    def _execute(self, transaction: Transaction, sender: Address) -> Execution:
        computation = self._state.apply_transaction(_executable(transaction, address_bytes(sender)))
        spent = transaction.gas - computation.get_gas_remaining()
        refund = min(computation.get_gas_refund(), spent // REFUND_QUOTIENT)
        return Execution(
            error=_rule(computation.error) if computation.is_error else None,
            output=computation.output,
            gas_spent=spent,
            gas_used=max(spent - refund, floor_gas(transaction)),
            logs=tuple(
                (address, tuple(topic.to_bytes(32, "big") for topic in topics), data)
                for address, topics, data in computation.get_log_entries()
            ),
        )

    def persist(self) -> bytes:
        """Write the changes to the store; returns the state root."""
        self._state.persist()
        root: bytes = self._state.state_root
        return root

    def fund(self, address: Address, balance_wei: int) -> None:
        """Give an account its first coins."""
        self._state.set_balance(address_bytes(address), balance_wei)

    def balance(self, address: Address) -> int:
        """Native coin, wei."""
        return int(self._state.get_balance(address_bytes(address)))

    def nonce(self, address: Address) -> int:
        """Transactions the account has sent."""
        return int(self._state.get_nonce(address_bytes(address)))

    def code(self, address: Address) -> bytes:
        """Code at an address, empty for none."""
        code: bytes = self._state.get_code(address_bytes(address))
        return code

    def storage(self, address: Address, slot: int) -> int:
        """Word of a contract's storage."""
        return int(self._state.get_storage(address_bytes(address), slot))


def _executable(transaction: Transaction, sender: bytes) -> _Executable:
    return _Executable(
        sender=sender,
        nonce=transaction.nonce,
        to=CREATE_CONTRACT_ADDRESS if transaction.to is None else address_bytes(transaction.to),
        value=transaction.value,
        data=transaction.data,
        gas=transaction.gas,
        max_fee_per_gas=transaction.max_fee_per_gas,
        max_priority_fee_per_gas=transaction.max_priority_fee_per_gas,
        access_list=tuple(
            (address_bytes(address), tuple(int.from_bytes(key, "big") for key in keys))
            for address, keys in transaction.access_list
        ),
        # py-evm charges the words of initcode inside the computation
        intrinsic_gas=intrinsic_gas(transaction) - _initcode_gas(transaction),
        type_id=transaction.type,
    )


def _rule(error: VMError) -> str:
    """Name of a rule of the machine in words: OutOfGas is "out of gas"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
