"""Execution by py-evm under the rules of a block's fork: the only module that knows its virtual machine.

py-evm executes; headers, receipts, fees and what a transaction must satisfy beforehand are ours, so
that its classes stay behind this page. The fast interpreter knows the opcodes of Cancun and Prague;
blocks of earlier forks, which only an imported chain has, are always executed by py-evm's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import rlp
from eth.constants import CREATE_CONTRACT_ADDRESS, SYSTEM_ADDRESS
from eth.exceptions import VMError
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.constants import BEACON_ROOTS_ADDRESS
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.paris.state import ParisState
from eth.vm.forks.prague.constants import HISTORY_STORAGE_ADDRESS
from eth.vm.forks.prague.state import PragueState
from eth.vm.forks.shanghai.state import ShanghaiState
from eth.vm.interrupt import EVMMissingData
from eth.vm.message import Message
from trie import HexaryTrie
from trie.exceptions import MissingTraversalNode, MissingTrieNode

from ledger.address import address_bytes, checksummed
from ledger.chain.accounts import Accounts
from ledger.chain.encoding import Header, RawLog
from ledger.chain.interpreter import quiet
from ledger.chain.protocol import DamagedChainError
from ledger.chain.rules import Fork, blank_header, floor_gas, initcode_gas, intrinsic_gas
from ledger.chain.store import Store
from ledger.chain.translate import COMPUTATIONS
from ledger.chain.tries import EMPTY_ROOT
from ledger.keccak import keccak
from ledger.transactions import AccessList, Transaction
from market.orders import Address

__all__ = ["Account", "Execution", "Interpreter", "Machine", "Proof", "blank_header"]

REFUND_QUOTIENT = 5
GAS_OF_SYSTEM_CALLS = 30_000_000


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a transaction's message: `error` None is success, else the rule it broke.

    `gas_spent` is before refunds and the calldata floor, `gas_used` after them. `created` are contracts
    that it created.
    """

    error: str | None
    output: bytes
    gas_spent: int
    gas_used: int
    logs: tuple[RawLog, ...]
    created: tuple[Address, ...] = ()

    @property
    def reverted(self) -> bool:
        """Whether the contract refused, rather than the machine."""
        return self.error == "revert"


@dataclass(frozen=True, slots=True)
class Account:
    """What may be set of an account: None leaves a part as it is; `storage` are the words that change."""

    balance_wei: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    storage: Mapping[int, int] | None = None
    storage_emptied: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """An account in the state trie with the nodes that lead to it, and words of its storage with theirs."""

    nodes: tuple[bytes, ...]
    nonce: int
    balance_wei: int
    storage_root: bytes
    code_hash: bytes
    words: tuple[tuple[int, int, tuple[bytes, ...]], ...]


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
    max_fee_per_blob_gas: int
    blob_versioned_hashes: tuple[bytes, ...]


Interpreter = Literal["fast", "stock"]
"""Translated code over storage of our own, or py-evm as it is: slower, and equal in every result."""
_STATES = {
    Fork.PARIS: ParisState,
    Fork.SHANGHAI: ShanghaiState,
    Fork.CANCUN: CancunState,
    Fork.PRAGUE: PragueState,
}


@cache
def _state_class(fork: Fork, interpreter: Interpreter) -> Any:
    """py-evm's state of a fork, for transactions that were checked before.

    py-evm's own executor would recover each sender twice more.
    """
    state = _STATES[fork]
    executor = type(
        "Executor",
        (state.transaction_executor_class,),
        {"validate_transaction": lambda self, transaction: None},
    )
    parts = {"transaction_executor_class": executor}
    if interpreter == "fast":
        parts["account_db_class"] = Accounts
        parts["computation_class"] = COMPUTATIONS.get(fork, state.computation_class)
    elif fork >= Fork.CANCUN:
        stock = state.computation_class
        parts["computation_class"] = type(stock.__name__, (stock,), {"opcodes": quiet(stock.opcodes)})
    return type("State", (state,), parts)


@contextmanager
def _whole() -> Iterator[None]:
    """Say that the chain is damaged where a part of its state is not there."""
    try:
        yield
    except (EVMMissingData, MissingTrieNode, MissingTraversalNode) as missing:
        raise DamagedChainError(f"a part of the state is missing: {missing}") from None


class Machine:
    """The state that `header.state_root` stands for, in the block whose header is `header`.

    `ancestors` are the hashes of the blocks before it, newest first (BLOCKHASH). Where the store lost a
    part of the state, what needs it raises DamagedChainError.
    """

    @_whole()
    def __init__(
        self,
        store: Store,
        chain_id: int,
        header: Header,
        ancestors: Iterable[bytes] = (),
        *,
        interpreter: Interpreter = "fast",
        fork: Fork = Fork.PRAGUE,
    ) -> None:
        self._header = header
        self._fork = fork
        self._store = store
        context = ExecutionContext(
            coinbase=header.coinbase,
            timestamp=header.timestamp,
            block_number=header.number,
            difficulty=header.difficulty,
            mix_hash=header.mix_hash,
            gas_limit=header.gas_limit,
            prev_hashes=ancestors,
            chain_id=chain_id,
            base_fee_per_gas=header.base_fee,
            excess_blob_gas=header.excess_blob_gas or 0,
        )
        self._state = _state_class(fork, interpreter)(store, context, header.state_root)

    @_whole()
    def begin(self) -> None:
        """Do what a block does first, where the contracts for it are deployed (EIP-4788, EIP-2935)."""
        if self._fork >= Fork.CANCUN:
            self._system_call(BEACON_ROOTS_ADDRESS, self._header.parent_beacon_root or bytes(32))
        if self._fork >= Fork.PRAGUE:
            self._system_call(HISTORY_STORAGE_ADDRESS, self._header.parent_hash)

    def _system_call(self, contract: bytes, data: bytes) -> None:
        code = self._state.get_code(contract)
        if not code:
            return
        self._state.lock_changes()
        message = Message(
            gas=GAS_OF_SYSTEM_CALLS, to=contract, sender=SYSTEM_ADDRESS, value=0, data=data, code=code
        )
        context = self._state.transaction_context_class(gas_price=0, origin=SYSTEM_ADDRESS)
        self._state.computation_class.apply_message(self._state, message, context)

    @_whole()
    def apply(self, transaction: Transaction, sender: Address) -> Execution:
        """Execute a transaction that satisfies the rules of its block. Its effects stay."""
        # the values before this transaction are what SSTORE's price compares with (EIP-2200)
        self._state.lock_changes()
        return self._execute(transaction, sender)

    @_whole()
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
        computation = self._state.apply_transaction(
            _executable(transaction, address_bytes(sender), self._fork)
        )
        spent = transaction.gas - computation.get_gas_remaining()
        refund = min(computation.get_gas_refund(), spent // REFUND_QUOTIENT)
        return Execution(
            error=_rule(computation.error) if computation.is_error else None,
            output=computation.output,
            gas_spent=spent,
            gas_used=max(spent - refund, floor_gas(transaction, self._fork)),
            logs=tuple(
                (address, tuple(topic.to_bytes(32, "big") for topic in topics), data)
                for address, topics, data in computation.get_log_entries()
            ),
            created=tuple(checksummed(address) for address in getattr(computation, "contracts_created", ())),
        )

    @_whole()
    def accessed(self, transaction: Transaction, sender: Address) -> tuple[Execution, AccessList]:
        """Execute without a trace, and tell what an access list of it would name (EIP-2930).

        Left out are accounts that are warm in any case, unless words of them are accessed: the sender, the
        recipient, the coinbase, precompiles, and contracts that it creates.
        """
        accounts = self._state._account_db
        before = self._state.snapshot()
        try:
            self._state.lock_changes()
            execution = self._execute(transaction, sender)
            keys = accounts.accessed() if isinstance(accounts, Accounts) else ()
        finally:
            self._state.revert(before)
        free = {
            address_bytes(sender),
            self._header.coinbase,
            *self._state.computation_class.get_precompiles(),
        }
        free |= {address_bytes(address) for address in (transaction.to, *execution.created) if address}
        slots: dict[bytes, list[bytes]] = {}
        for key in keys:
            if isinstance(key, tuple):
                slots.setdefault(key[0], []).append(key[1].to_bytes(32, "big"))
            elif key not in free:
                slots.setdefault(key, [])
        return execution, tuple((checksummed(address), tuple(words)) for address, words in slots.items())

    @_whole()
    def persist(self) -> bytes:
        """Write the changes to the store; returns the state root."""
        self._state.persist()
        root: bytes = self._state.state_root
        return root

    @_whole()
    def credit(self, address: Address, amount_wei: int) -> None:
        """Add coins that come from outside the chain (EIP-4895)."""
        self._state.delta_balance(address_bytes(address), amount_wei)

    @_whole()
    def put(self, address: Address, account: Account) -> None:
        """Set parts of an account."""
        key = address_bytes(address)
        if account.balance_wei is not None:
            self._state.set_balance(key, account.balance_wei)
        if account.nonce is not None:
            self._state.set_nonce(key, account.nonce)
        if account.code is not None:
            self._state.set_code(key, account.code)
        if account.storage_emptied:
            self._state.delete_storage(key)
        for slot, word in (account.storage or {}).items():
            self._state.set_storage(key, slot, word)

    @_whole()
    def prove(self, address: Address, slots: Iterable[int]) -> Proof:
        """An account and words of its storage as the state root proves them (EIP-1186)."""
        path = keccak(address_bytes(address))
        nodes, record = _proved(self._store, self._header.state_root, path)
        fields = rlp.decode(record) if record else [b"", b"", EMPTY_ROOT, keccak(b"")]
        words = []
        for slot in slots:
            found, word = _proved(self._store, fields[2], keccak(slot.to_bytes(32, "big")))
            words.append((slot, int.from_bytes(rlp.decode(word) if word else b"", "big"), found))
        nonce, balance_wei = (int.from_bytes(field, "big") for field in fields[:2])
        return Proof(nodes, nonce, balance_wei, fields[2], fields[3], tuple(words))

    @_whole()
    def balance(self, address: Address) -> int:
        """Native coin, wei."""
        return int(self._state.get_balance(address_bytes(address)))

    @_whole()
    def nonce(self, address: Address) -> int:
        """Transactions the account has sent."""
        return int(self._state.get_nonce(address_bytes(address)))

    @_whole()
    def code(self, address: Address) -> bytes:
        """Code at an address, empty for none."""
        code: bytes = self._state.get_code(address_bytes(address))
        return code

    @_whole()
    def storage(self, address: Address, slot: int) -> int:
        """Word of a contract's storage."""
        return int(self._state.get_storage(address_bytes(address), slot))


def _proved(store: Store, root: bytes, path: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """Nodes of a trie towards a path, the root first, and the value there; no nodes of an empty trie."""
    if root == EMPTY_ROOT:
        return (), b""
    trie = HexaryTrie(store, root)
    return tuple(rlp.encode(node) for node in trie.get_proof(path)), trie[path]


def _executable(transaction: Transaction, sender: bytes, fork: Fork = Fork.PRAGUE) -> _Executable:
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
        intrinsic_gas=intrinsic_gas(transaction, fork) - initcode_gas(transaction, fork),
        type_id=transaction.type,
        max_fee_per_blob_gas=transaction.max_fee_per_blob_gas,
        blob_versioned_hashes=transaction.blob_hashes,
    )


def _rule(error: VMError) -> str:
    """Name of a rule of the machine in words: OutOfGas is "out of gas"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
