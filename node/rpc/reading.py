"""Methods that read: blocks, transactions, state, fees, logs and filters."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ledger.chain.encoding import decode_header
from ledger.chain.protocol import Block, LogFilter
from ledger.chain.rules import next_base_fee
from ledger.keccak import keccak
from ledger.transactions import SignedTransaction, decode_transaction
from market.orders import NOBODY
from node.rpc import params
from node.rpc.engine import PRIORITY_FEE_WEI, Engine
from node.rpc.errors import InvalidParamsError
from node.rpc.views import (
    access_list_view,
    block_view,
    hexadecimal,
    log_view,
    pending_view,
    proof_view,
    raw_block,
    receipt_view,
    transaction_view,
)

FEE_HISTORY_MAX = 1_024
PROOF_KEYS_MAX = 1_024


# --- what chain this is ---------------------------------------------------------------------------


def chain_id(engine: Engine) -> str:
    """Chain id."""
    return hex(engine.chain.chain_id)


def net_version(engine: Engine) -> str:
    """Chain id as a decimal string."""
    return str(engine.chain.chain_id)


def accounts(engine: Engine) -> list[str]:
    """Unlocked accounts."""
    return list(engine.keys)


def sha3(engine: Engine, value: Any) -> str:
    """Keccak-256 of data."""
    return hexadecimal(keccak(params.data(value)))


# --- blocks and transactions ----------------------------------------------------------------------


def block_number(engine: Engine) -> str:
    """Number of the head."""
    return hex(engine.chain.head())


def block_by_number(engine: Engine, tag: Any, full: Any = False) -> Any:
    """Block by number or tag, null beyond the head."""
    whole = params.flag(full, "full transactions")
    if tag == params.PENDING:
        return pending_view(engine.chain, full=whole)
    block = _block_or_none(engine, tag)
    return None if block is None else _shown(engine, block, whole)


def block_by_hash(engine: Engine, block_hash: Any, full: Any = False) -> Any:
    """Block by hash, null for none."""
    number = engine.chain.block_number(params.data(block_hash, "block hash", 32))
    whole = params.flag(full, "full transactions")
    return None if number is None else _shown(engine, engine.chain.block(number), whole)


def transaction_count_of_block(engine: Engine, tag: Any) -> Any:
    """How many transactions a block has."""
    if tag == params.PENDING:
        return hex(len(engine.chain.waiting()))
    block = _block_or_none(engine, tag)
    return None if block is None else hex(len(block.transactions))


def transaction_count_by_hash(engine: Engine, block_hash: Any) -> Any:
    """How many transactions a block has, by its hash."""
    number = engine.chain.block_number(params.data(block_hash, "block hash", 32))
    return None if number is None else hex(len(engine.chain.block(number).transactions))


def transaction_by_hash(engine: Engine, transaction_hash: Any) -> Any:
    """Transaction in a block or waiting, null for none."""
    found = _find(engine, transaction_hash)
    return None if found is None else transaction_view(*found)


def transaction_by_place(engine: Engine, tag: Any, index: Any) -> Any:
    """Transaction by its block's number or hash, and its index."""
    block, place = _block_or_none(engine, tag), params.quantity(index, "index")
    if block is None or place >= len(block.transactions):
        return None
    return transaction_view(decode_transaction(block.transactions[place]), block, place)


def raw_transaction(engine: Engine, transaction_hash: Any) -> Any:
    """Transaction as the bytes that were signed and sent."""
    found = _find(engine, transaction_hash)
    return None if found is None else hexadecimal(found[0].raw)


def transaction_receipt(engine: Engine, transaction_hash: Any) -> Any:
    """Receipt, null while the transaction is in no block."""
    receipt = engine.chain.find_receipt(params.data(transaction_hash, "transaction hash", 32))
    if receipt is None:
        return None
    blob_fee = engine.chain.blob_base_fee(receipt.block_number)
    return receipt_view(receipt, engine.chain.block(receipt.block_number), blob_fee)


def block_receipts(engine: Engine, tag: Any) -> Any:
    """All receipts of a block."""
    if tag == params.PENDING:
        return []
    block = _block_or_none(engine, tag)
    if block is None:
        return None
    blob_fee = engine.chain.blob_base_fee(block.number)
    return [receipt_view(receipt, block, blob_fee) for receipt in engine.chain.receipts(block.number)]


def no_uncles(engine: Engine, _block: Any) -> str:
    """No block has uncles."""
    return "0x0"


def debug_raw_header(engine: Engine, tag: Any) -> str:
    """RLP of a header."""
    return hexadecimal(_block(engine, tag).header_rlp)


def debug_raw_block(engine: Engine, tag: Any) -> str:
    """RLP of a block."""
    return hexadecimal(raw_block(_block(engine, tag)))


def debug_raw_receipts(engine: Engine, tag: Any) -> list[str]:
    """Receipts in their consensus bytes."""
    return [hexadecimal(raw) for raw in engine.chain.raw_receipts(_block(engine, tag).number)]


def _shown(engine: Engine, block: Block, full: bool) -> dict[str, Any]:
    """A block; after the merge its total difficulty is that of the chain's beginning."""
    beginning = decode_header(engine.chain.block(0).header_rlp)
    return block_view(block, full=full, total_difficulty=beginning.difficulty)


def _block_or_none(engine: Engine, tag: Any) -> Block | None:
    """The block of a tag, number or hash; None beyond the head."""
    if isinstance(tag, str) and len(tag) == params.HASH_DIGITS:
        number = engine.chain.block_number(params.data(tag, "block hash", 32))
        return None if number is None else engine.chain.block(number)
    if isinstance(tag, dict) or tag is None or params.is_tag(tag):
        return engine.chain.block(params.block(engine.chain, tag))
    try:
        return engine.chain.block(params.quantity(tag, "block"))
    except KeyError:
        return None


def _block(engine: Engine, tag: Any) -> Block:
    block = _block_or_none(engine, tag)
    if block is None:
        raise InvalidParamsError(f"block: there is no block {tag}")
    return block


def _find(engine: Engine, transaction_hash: Any) -> tuple[SignedTransaction, Block | None, int | None] | None:
    """A transaction with its block and index, or waiting, or None."""
    wanted = params.data(transaction_hash, "transaction hash", 32)
    receipt = engine.chain.find_receipt(wanted)
    if receipt is not None:
        block = engine.chain.block(receipt.block_number)
        index = receipt.transaction_index
        return decode_transaction(block.transactions[index]), block, index
    waiting = next((signed for signed in engine.chain.waiting() if signed.hash == wanted), None)
    return None if waiting is None else (waiting, None, None)


# --- state ----------------------------------------------------------------------------------------


def balance(engine: Engine, account: Any, tag: Any = "latest") -> str:
    """Native coin of an account, wei."""
    block = params.block(engine.chain, tag)
    return hex(engine.chain.balance(params.address(account), block))


def code(engine: Engine, account: Any, tag: Any = "latest") -> str:
    """Code of a contract."""
    block = params.block(engine.chain, tag)
    return hexadecimal(engine.chain.code(params.address(account), block))


def storage_at(engine: Engine, account: Any, slot: Any, tag: Any = "latest") -> str:
    """Word of a contract's storage."""
    block = params.block(engine.chain, tag)
    word = engine.chain.storage(params.address(account), params.storage_key(slot), block)
    return hexadecimal(word.to_bytes(32, "big"))


def transaction_count(engine: Engine, account: Any, tag: Any = "latest") -> str:
    """Transactions of an account, with the waiting ones for the pending block."""
    address = params.address(account)
    block = params.block(engine.chain, tag)
    return hex(engine.chain.nonce(address) if block is None else engine.chain.nonce_after(address, block))


def call(
    engine: Engine,
    transaction: Any,
    tag: Any = "latest",
    overrides: Any = None,
    block_overrides: Any = None,
) -> str:
    """Output of a call without a transaction, after a block and in its time; `pending` is the next one."""
    request, block = params.call_request(transaction), params.block(engine.chain, tag)
    accounts, fields = params.overrides(overrides), params.block_overrides(block_overrides)
    execution = engine.chain.execute(request.call(), block, accounts, fields)
    return hexadecimal(execution.output)


def estimate_gas(engine: Engine, transaction: Any, tag: Any = "latest", overrides: Any = None) -> str:
    """Gas limit under which a transaction succeeds in the next block, or after one before the head."""
    request, accounts = params.call_request(transaction), params.overrides(overrides)
    block = params.block(engine.chain, tag)
    call = request.call(sender=next(iter(engine.keys), NOBODY))
    return hex(engine.chain.estimate(call, accounts, None if block == engine.chain.head() else block))


def access_list(engine: Engine, transaction: Any, tag: Any = "latest") -> dict[str, Any]:
    """Accounts and words that a transaction accesses, and its gas where it says so (EIP-2930)."""
    request, block = params.call_request(transaction), params.block(engine.chain, tag)
    listed, execution = engine.chain.access_list(request.call(), block)
    answer = {"accessList": access_list_view(listed), "gasUsed": hex(execution.gas_used)}
    return answer if execution.error is None else answer | {"error": execution.error}


def proof(engine: Engine, account: Any, slots: Any, tag: Any = "latest") -> dict[str, Any]:
    """An account and words of its storage with Merkle proofs (EIP-1186)."""
    address, block = params.address(account), params.block(engine.chain, tag)
    keys = [params.storage_key(slot) for slot in params.items(slots, "storage keys")]
    if len(keys) > PROOF_KEYS_MAX:
        raise InvalidParamsError(f"storage keys: {len(keys)}, more than {PROOF_KEYS_MAX}")
    return proof_view(address, engine.chain.prove(address, keys, block), slots)


# --- fees -----------------------------------------------------------------------------------------


def gas_price(engine: Engine) -> str:
    """Base fee of the next block and the suggested tip."""
    return hex(engine.chain.next_base_fee() + PRIORITY_FEE_WEI)


def priority_fee(engine: Engine) -> str:
    """Suggested tip."""
    return hex(PRIORITY_FEE_WEI)


def blob_base_fee(engine: Engine) -> str:
    """Price of blob gas in the next block."""
    return hex(engine.chain.blob_base_fee())


def fee_history(engine: Engine, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
    """Base fees, fullness and tips of past blocks."""
    last = params.block(engine.chain, newest)
    last = engine.chain.head() if last is None else last
    blocks = min(params.quantity(count, "block count"), FEE_HISTORY_MAX, last + 1)
    ranks = _percentiles(percentiles)
    history = [engine.chain.block(number) for number in range(last + 1 - blocks, last + 1)]
    following = next_base_fee(decode_header(engine.chain.block(last).header_rlp))
    answer: dict[str, Any] = {
        "oldestBlock": hex(last + 1 - blocks),
        "baseFeePerGas": [hex(block.base_fee) for block in history] + [hex(following)],
        "gasUsedRatio": [block.gas_used / block.gas_limit for block in history],
    }
    if ranks:
        answer["reward"] = [[hex(tip) for tip in _tips(engine, block, ranks)] for block in history]
    return answer


def _percentiles(value: Any) -> list[float]:
    ranks = [] if value is None else value
    numbers = isinstance(ranks, list) and all(
        isinstance(rank, int | float) and not isinstance(rank, bool) and 0 <= rank <= 100 for rank in ranks
    )
    if not numbers or sorted(ranks) != ranks:
        raise InvalidParamsError("reward percentiles: not ascending numbers from 0 to 100")
    return list(ranks)


def _tips(engine: Engine, block: Block, ranks: list[float]) -> list[int]:
    """Tip at each percentile of the block's gas, cheapest first (geth's eth_feeHistory)."""
    tips = []
    for raw, receipt in zip(block.transactions, engine.chain.receipts(block.number), strict=True):
        transaction = decode_transaction(raw).transaction
        most = transaction.max_fee_per_gas - block.base_fee
        tips.append((min(transaction.max_priority_fee_per_gas, most), receipt.gas_used))
    tips.sort()
    answer = []
    for rank in ranks:
        threshold = block.gas_used * rank / 100
        cumulative = accumulate(gas_used for _, gas_used in tips)
        paid = (tip for (tip, _), gas in zip(tips, cumulative, strict=True) if gas >= threshold)
        answer.append(next(paid, 0))
    return answer


# --- logs and filters -----------------------------------------------------------------------------


def logs(engine: Engine, which: Any) -> list[Any]:
    """Logs of past blocks."""
    return _log_views(engine, params.log_filter(engine.chain, which))


def new_filter(engine: Engine, which: Any) -> str:
    """Install a filter on logs."""
    return hex(engine.install("logs", params.log_filter(engine.chain, which)))


def new_block_filter(engine: Engine) -> str:
    """Install a filter on blocks."""
    return hex(engine.install("newHeads"))


def new_pending_filter(engine: Engine) -> str:
    """Install a filter on transactions that come to wait."""
    return hex(engine.install("newPendingTransactions"))


def filter_changes(engine: Engine, number: Any) -> list[Any]:
    """What is new since the filter was asked last."""
    feed = engine.filter(params.quantity(number, "filter"))
    return feed.logs() if feed.kind == "logs" else list(feed.hashes())


def filter_logs(engine: Engine, number: Any) -> list[Any]:
    """All logs of a filter."""
    feed = engine.filter(params.quantity(number, "filter"))
    if feed.kind != "logs":
        raise InvalidParamsError("filter: it is not on logs")
    params.check_span(engine.chain, feed.which)
    return _log_views(engine, feed.which)


def uninstall_filter(engine: Engine, number: Any) -> bool:
    """Remove a filter."""
    return engine.uninstall(params.quantity(number, "filter"))


def _log_views(engine: Engine, which: LogFilter) -> list[Any]:
    shown = engine.chain.logs(which)
    return [log_view(log, engine.chain.block(log.block_number)) for log in shown]
