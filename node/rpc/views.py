"""Blocks, transactions, receipts and logs as JSON-RPC shows them (execution-apis)."""

from __future__ import annotations

from typing import Any

import rlp

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.protocol import Block, Log, Receipt
from ledger.transactions import FEE_MARKET, LEGACY, SignedTransaction, decode_transaction


def hexadecimal(value: bytes) -> str:
    """Data as `0x…`."""
    return "0x" + value.hex()


def block_view(block: Block, *, full: bool) -> dict[str, Any]:
    """A block with its transactions, or only their hashes."""
    header = decode_header(block.header_rlp)
    fields: dict[str, bytes | int | None] = {
        "hash": block.hash,
        "parentHash": header.parent_hash,
        "sha3Uncles": header.uncles_hash,
        "miner": header.coinbase,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "difficulty": header.difficulty,
        "totalDifficulty": 0,
        "number": header.number,
        "gasLimit": header.gas_limit,
        "gasUsed": header.gas_used,
        "timestamp": header.timestamp,
        "extraData": header.extra_data,
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "baseFeePerGas": header.base_fee,
        "withdrawalsRoot": header.withdrawals_root,
        "blobGasUsed": header.blob_gas_used,
        "excessBlobGas": header.excess_blob_gas,
        "parentBeaconBlockRoot": header.parent_beacon_root,
        "requestsHash": header.requests_hash,
        "size": len(raw_block(block)),
    }
    view: dict[str, Any] = {name: _shown(value) for name, value in fields.items() if value is not None}
    view["transactions"] = (
        [
            transaction_view(decode_transaction(raw), block, index)
            for index, raw in enumerate(block.transactions)
        ]
        if full
        else [hexadecimal(transaction_hash) for transaction_hash in block.transaction_hashes]
    )
    return view | {"uncles": [], "withdrawals": []}


def pending_view(chain: EmbeddedChain, *, full: bool) -> dict[str, Any]:
    """The block to come: the head's fields with what is known of the next one, and no hash."""
    head = chain.block()
    view = block_view(head, full=False)
    waiting = chain.waiting()
    return view | {
        "hash": None,
        "nonce": None,
        "parentHash": hexadecimal(head.hash),
        "number": hex(head.number + 1),
        "timestamp": hex(chain.now()),
        "baseFeePerGas": hex(chain.next_base_fee()),
        "gasUsed": "0x0",
        "transactions": [
            transaction_view(signed) if full else hexadecimal(signed.hash) for signed in waiting
        ],
    }


def transaction_view(
    signed: SignedTransaction, block: Block | None = None, index: int | None = None
) -> dict[str, Any]:
    """A transaction, in a block or waiting."""
    transaction = signed.transaction
    view: dict[str, Any] = {
        "hash": hexadecimal(signed.hash),
        "blockHash": None if block is None else hexadecimal(block.hash),
        "blockNumber": None if block is None else hex(block.number),
        "transactionIndex": None if index is None else hex(index),
        "type": hex(transaction.type),
        "nonce": hex(transaction.nonce),
        "from": signed.sender,
        "to": transaction.to,
        "value": hex(transaction.value),
        "input": hexadecimal(transaction.data),
        "gas": hex(transaction.gas),
        "gasPrice": hex(_price(signed, block)),
        "v": hex(signed.v),
        "r": hex(int.from_bytes(signed.signature.r, "big")),
        "s": hex(signed.signature.s),
    }
    if transaction.chain_id is not None:
        view["chainId"] = hex(transaction.chain_id)
    if transaction.type != LEGACY:
        view["yParity"] = hex(signed.signature.y_parity)
        view["accessList"] = [
            {"address": address, "storageKeys": [hexadecimal(key) for key in keys]}
            for address, keys in transaction.access_list
        ]
    if transaction.type == FEE_MARKET:
        view["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        view["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    return view


def receipt_view(receipt: Receipt, block: Block) -> dict[str, Any]:
    """A receipt."""
    signed = decode_transaction(block.transactions[receipt.transaction_index])
    return {
        "transactionHash": hexadecimal(receipt.transaction_hash),
        "transactionIndex": hex(receipt.transaction_index),
        "blockHash": hexadecimal(receipt.block_hash),
        "blockNumber": hex(receipt.block_number),
        "from": receipt.sender,
        "to": receipt.to,
        "contractAddress": receipt.contract,
        "status": hex(receipt.status),
        "type": hex(receipt.type),
        "gasUsed": hex(receipt.gas_used),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "effectiveGasPrice": hex(_price(signed, block)),
        "logsBloom": hexadecimal(receipt.logs_bloom),
        "logs": [log_view(log, block) for log in receipt.logs],
    }


def log_view(log: Log, block: Block) -> dict[str, Any]:
    """A log."""
    return {
        "address": log.address,
        "topics": [hexadecimal(topic) for topic in log.topics],
        "data": hexadecimal(log.data),
        "blockNumber": hex(log.block_number),
        "blockHash": hexadecimal(log.block_hash),
        "blockTimestamp": hex(block.timestamp),
        "transactionHash": hexadecimal(log.transaction_hash),
        "transactionIndex": hex(log.transaction_index),
        "logIndex": hex(log.log_index),
        "removed": False,
    }


def raw_block(block: Block) -> bytes:
    """RLP of a block: header, transactions (typed ones as strings), no uncles, no withdrawals."""
    transactions = [
        raw if decode_transaction(raw).transaction.type else rlp.decode(raw) for raw in block.transactions
    ]
    encoded: bytes = rlp.encode([rlp.decode(block.header_rlp), transactions, [], []])
    return encoded


def _price(signed: SignedTransaction, block: Block | None) -> int:
    """Wei per gas that a transaction pays, or offers while it waits."""
    transaction = signed.transaction
    if block is None:
        return transaction.max_fee_per_gas
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + block.base_fee)


def _shown(value: bytes | int) -> str:
    return hex(value) if isinstance(value, int) else hexadecimal(value)
