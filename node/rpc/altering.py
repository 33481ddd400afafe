"""Methods of anvil's and hardhat's that set what no transaction could: accounts, the next block, the pool.

What is set of an account is part of the chain here: it gets a block of its own, so that it is kept in a data
folder and every state hashes to its header. What this node cannot do is refused with what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.chain.dump import DumpError
from ledger.chain.evm import Account
from ledger.transactions import decode_transaction
from node.rpc import params
from node.rpc.engine import BLOCK_TIME_MAX_SECONDS, Engine
from node.rpc.errors import InvalidParamsError, MethodNotFoundError
from node.rpc.views import address_view, hexadecimal, transaction_view

GAS_LIMIT_RANGE = range(1_000_000, 1 << 40)
BASE_FEE_MAX_WEI = 10**18
CODE_MAX_BYTES = 24_576
CLIENT_VERSION = "Wattbook/1"


# --- accounts -------------------------------------------------------------------------------------


def set_balance(engine: Engine, account: Any, balance: Any) -> bool:
    """Let an account have so many wei."""
    return _put(engine, account, Account(balance_wei=params.quantity(balance, "balance")))


def set_nonce(engine: Engine, account: Any, nonce: Any) -> bool:
    """Let an account have sent so many transactions."""
    count = params.quantity(nonce, "nonce")
    if count >= 1 << 64:
        raise InvalidParamsError("nonce: 64 bits at most")
    return _put(engine, account, Account(nonce=count))


def set_code(engine: Engine, account: Any, code: Any) -> bool:
    """Let an account have this code."""
    decoded = params.data(code, "code")
    if len(decoded) > CODE_MAX_BYTES:
        raise InvalidParamsError(f"code: {len(decoded)} bytes, more than {CODE_MAX_BYTES} (EIP-170)")
    return _put(engine, account, Account(code=decoded))


def set_storage_at(engine: Engine, account: Any, slot: Any, word: Any) -> bool:
    """Let a word of a contract's storage have this value."""
    storage = {params.storage_key(slot): params.quantity(word, "word")}
    return _put(engine, account, Account(storage=storage))


def _put(engine: Engine, account: Any, parts: Account) -> bool:
    engine.chain.put({params.address(account): parts})
    return True


def add_balance(engine: Engine, account: Any, wei: Any) -> bool:
    """Let an account have so many wei more."""
    balance = engine.chain.balance(params.address(account)) + params.quantity(wei, "balance")
    if balance >= 1 << 256:
        raise InvalidParamsError("balance: 256 bits at most")
    return _put(engine, account, Account(balance_wei=balance))


# --- the next block -------------------------------------------------------------------------------


def set_gas_limit(engine: Engine, limit: Any) -> bool:
    """Let blocks from the next one on have this gas limit."""
    gas = params.quantity(limit, "gas limit")
    if gas not in GAS_LIMIT_RANGE:
        raise InvalidParamsError(f"gas limit: {gas} is below {GAS_LIMIT_RANGE[0]} or beyond reason")
    engine.chain.set_next_block(gas_limit=gas)
    return True


def set_base_fee(engine: Engine, fee: Any) -> None:
    """Let the next block have this base fee."""
    wei = params.quantity(fee, "base fee")
    if wei > BASE_FEE_MAX_WEI:
        raise InvalidParamsError(f"base fee: {wei} is more than {BASE_FEE_MAX_WEI} wei")
    engine.chain.set_next_block(base_fee=wei)


def set_coinbase(engine: Engine, account: Any) -> None:
    """Let tips of blocks from the next one on go to this account."""
    engine.chain.set_next_block(coinbase=params.address(account))


def set_interval(engine: Engine, seconds: Any) -> None:
    """Build a block every so many seconds, and none at once; 0 ends that."""
    engine.set_interval(params.quantity(seconds, "seconds"))


def get_interval(engine: Engine) -> int | None:
    """Seconds between blocks, null where they do not come by themselves."""
    return engine.block_time_seconds


def set_timestamp_interval(engine: Engine, seconds: Any) -> None:
    """Let each block be so many seconds after the one before, whatever the clock says."""
    interval = params.quantity(seconds, "seconds")
    if not 1 <= interval <= BLOCK_TIME_MAX_SECONDS:
        raise InvalidParamsError(f"seconds: {interval} is not from 1 to {BLOCK_TIME_MAX_SECONDS}")
    engine.chain.set_timestamp_interval(interval)


def remove_timestamp_interval(engine: Engine) -> bool:
    """Let blocks follow the clock again; false where they did."""
    return engine.chain.set_timestamp_interval(None)


# --- the pool -------------------------------------------------------------------------------------


def drop_transaction(engine: Engine, transaction_hash: Any) -> str | None:
    """Let a waiting transaction wait no longer."""
    wanted = params.data(transaction_hash, "transaction hash", 32)
    return hexadecimal(wanted) if engine.chain.drop(wanted) else None


def drop_all(engine: Engine) -> None:
    """Let no transaction wait any longer."""
    for signed in engine.chain.waiting():
        engine.chain.drop(signed.hash)


def remove_of_sender(engine: Engine, account: Any) -> None:
    """Let no transaction of a sender wait any longer."""
    sender = params.address(account)
    for signed in engine.chain.waiting():
        if signed.sender == sender:
            engine.chain.drop(signed.hash)


def pool_inspect(engine: Engine) -> dict[str, dict[str, dict[str, str]]]:
    """Transactions that wait, each in a line of words, by sender and nonce."""
    return {
        kind: {
            sender: {nonce: _in_words(each) for nonce, each in by_nonce.items()}
            for sender, by_nonce in senders.items()
        }
        for kind, senders in pool_content(engine).items()
    }


def _in_words(transaction: dict[str, Any]) -> str:
    """Recipient, value, gas and price, in Geth's words."""
    value, gas = int(transaction["value"], 16), int(transaction["gas"], 16)
    price = int(transaction.get("maxFeePerGas") or transaction["gasPrice"], 16)
    return f"{transaction['to'] or 'contract creation'}: {value} wei + {gas} gas × {price} wei"


def pool_content(engine: Engine) -> dict[str, dict[str, dict[str, Any]]]:
    """Transactions that wait, by sender and nonce: `pending` could run now, `queued` wait for others."""
    ready = {signed.hash for signed in engine.chain.ready()}
    content: dict[str, dict[str, dict[str, Any]]] = {"pending": {}, "queued": {}}
    for signed in engine.chain.waiting():
        kind = content["pending" if signed.hash in ready else "queued"]
        of_sender = kind.setdefault(str(address_view(signed.sender)), {})
        of_sender[str(signed.transaction.nonce)] = transaction_view(decode_transaction(signed.raw))
    return content


def pool_status(engine: Engine) -> dict[str, str]:
    """How many transactions wait."""
    ready = len(engine.chain.ready())
    return {"pending": hex(ready), "queued": hex(len(engine.chain.waiting()) - ready)}


# --- the whole chain ------------------------------------------------------------------------------


def dump_state(engine: Engine) -> str:
    """The whole chain, for `anvil_loadState` of a node of the same chain id."""
    return hexadecimal(engine.chain.dump())


def load_state(engine: Engine, dumped: Any) -> bool:
    """Be the chain that was dumped."""
    try:
        engine.chain.load(params.data(dumped, "state"))
    except DumpError as refusal:
        raise InvalidParamsError(str(refusal)) from None
    return True


def node_info(engine: Engine) -> dict[str, Any]:
    """What this node runs."""
    head = engine.chain.block()
    return {
        "currentBlockNumber": head.number,
        "currentBlockTimestamp": head.timestamp,
        "currentBlockHash": hexadecimal(head.hash),
        "hardFork": engine.chain.fork().name.lower(),
        "transactionOrder": "fifo",
        "environment": {
            "baseFee": engine.chain.next_base_fee(),
            "chainId": engine.chain.chain_id,
            "gasLimit": head.gas_limit,
        },
        "forkConfig": {"forkUrl": None, "forkBlockNumber": None, "forkRetryBackoff": None},
    }


def metadata(engine: Engine) -> dict[str, Any]:
    """What this node is and where it is; the instance is named by its first block."""
    head = engine.chain.block()
    return {
        "clientVersion": CLIENT_VERSION,
        "chainId": engine.chain.chain_id,
        "instanceId": hexadecimal(engine.chain.block(0).hash),
        "latestBlockNumber": head.number,
        "latestBlockHash": hexadecimal(head.hash),
        "forkedNetwork": None,
        "snapshots": {
            hex(number): {"blockNumber": block.number, "blockHash": hexadecimal(block.hash)}
            for number, block in engine.chain.snapshots().items()
        },
    }


def rollback(engine: Engine, blocks: Any = None) -> None:
    """Take back the last block, or so many of them, with their transactions."""
    try:
        engine.chain.roll_back(1 if blocks is None else params.quantity(blocks, "blocks"))
    except ValueError as refusal:
        raise InvalidParamsError(str(refusal)) from None


def set_logging(engine: Engine, enabled: Any) -> None:
    """Let the console tell of each transaction, or be silent."""
    engine.narrated = params.flag(enabled, "logging")


def reset(_engine: Engine, options: Any = None) -> None:
    """Refused: a fork of another chain, and a chain begun anew."""
    forking = options.get("forking") if isinstance(options, dict) else None
    if isinstance(forking, dict) and forking.get("jsonRpcUrl"):
        raise MethodNotFoundError(
            "no forking here: run `anvil --fork-url URL`, and point Wattbook at it with --rpc-url"
        )
    raise MethodNotFoundError(
        "no reset here: take evm_snapshot at first and evm_revert to it, or restart the node"
    )


def refused(reason: str) -> Callable[..., None]:
    """A method that this node does not have, and what to do instead."""

    def refuse(_engine: Engine, *_arguments: Any) -> None:
        raise MethodNotFoundError(reason)

    return refuse


IMPERSONATION = (
    "every transaction here is signed by its sender: give an account of your own coins by anvil_setBalance,"
    " or call from any address by eth_call"
)
SIMULATED = (
    "no eth_simulateV1 here: ask for each call by eth_call, which takes overrides of accounts and of the"
    " block; or take evm_snapshot, send the transactions, read, and evm_revert"
)
FILLED = (
    "no eth_fillTransaction here: eth_estimateGas, eth_getTransactionCount and eth_maxPriorityFeePerGas say"
    " what is to be filled in, and eth_sendTransaction fills it in for unlocked accounts"
)
REORGANISED = (
    "no anvil_reorg here: anvil_rollback takes blocks back, and what is sent then is in other blocks"
)
PRICED = (
    "no least gas price here: the base fee of EIP-1559 is the least, and"
    " anvil_setNextBlockBaseFeePerGas sets it"
)
TRACES = (
    "no traces here: for the reason of a revert call it again by eth_call, for what it reads by"
    " eth_createAccessList, or run the session on anvil (--rpc-url), which has debug_traceTransaction"
)
