"""Blocks, transactions, receipts, logs and proofs as JSON-RPC shows them (execution-apis)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rlp

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header, decode_withdrawal
from ledger.chain.evm import Proof
from ledger.chain.protocol import Block, Log, Receipt
from ledger.chain.rules import blob_gas
from ledger.transactions import (
    BLOB,
    FEE_MARKET,
    LEGACY,
    AccessList,
    SignedTransaction,
    decode_transaction,
)
from market.orders import Address

WORD_DIGITS = 2 + 64


def hexadecimal(value: bytes) -> str:
    """Data as `0x…`."""
    return "0x" + value.hex()


def address_view(address: Address | None) -> str | None:
    """An address in small letters, as other clients show it."""
    return None if address is None else address.lower()


def block_view(block: Block, *, full: bool, total_difficulty: int = 0) -> dict[str, Any]:
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
        "totalDifficulty": total_difficulty,
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
    if header.withdrawals_root is not None:
        view["withdrawals"] = [_withdrawal_view(each) for each in block.withdrawals]
    return view | {"uncles": []}


def header_view(block: Block) -> dict[str, Any]:
    """A block's header, as subscribers get it."""
    body = {"transactions", "uncles", "withdrawals", "size", "totalDifficulty"}
    return {name: value for name, value in block_view(block, full=False).items() if name not in body}


def _withdrawal_view(encoded: bytes) -> dict[str, Any]:
    withdrawal = decode_withdrawal(rlp.decode(encoded))
    return {
        "index": hex(withdrawal.index),
        "validatorIndex": hex(withdrawal.validator),
        "address": address_view(withdrawal.to),
        "amount": hex(withdrawal.amount_gwei),
    }


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
        "from": address_view(signed.sender),
        "to": address_view(transaction.to),
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
        view["accessList"] = access_list_view(transaction.access_list)
    if transaction.type == BLOB:
        view["maxFeePerBlobGas"] = hex(transaction.max_fee_per_blob_gas)
        view["blobVersionedHashes"] = [hexadecimal(each) for each in transaction.blob_hashes]
    if transaction.type in (FEE_MARKET, BLOB):
        view["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        view["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    return view


def access_list_view(access_list: AccessList) -> list[dict[str, Any]]:
    """An access list."""
    return [
        {"address": address_view(address), "storageKeys": [hexadecimal(key) for key in keys]}
        for address, keys in access_list
    ]


def receipt_view(receipt: Receipt, block: Block, blob_fee: int = 1) -> dict[str, Any]:
    """A receipt; `blob_fee` is the price of blob gas in its block."""
    signed = decode_transaction(block.transactions[receipt.transaction_index])
    view = {
        "transactionHash": hexadecimal(receipt.transaction_hash),
        "transactionIndex": hex(receipt.transaction_index),
        "blockHash": hexadecimal(receipt.block_hash),
        "blockNumber": hex(receipt.block_number),
        "from": address_view(receipt.sender),
        "to": address_view(receipt.to),
        "contractAddress": address_view(receipt.contract),
        "status": hex(receipt.status),
        "type": hex(receipt.type),
        "gasUsed": hex(receipt.gas_used),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "effectiveGasPrice": hex(_price(signed, block)),
        "logsBloom": hexadecimal(receipt.logs_bloom),
        "logs": [log_view(log, block) for log in receipt.logs],
    }
    if receipt.type == BLOB:
        view |= {"blobGasUsed": hex(blob_gas(signed.transaction)), "blobGasPrice": hex(blob_fee)}
    return view


def log_view(log: Log, block: Block) -> dict[str, Any]:
    """A log."""
    return {
        "address": address_view(log.address),
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
    """RLP of a block: header, transactions (typed ones as strings), no uncles, withdrawals."""
    transactions = [
        raw if decode_transaction(raw).transaction.type else rlp.decode(raw) for raw in block.transactions
    ]
    items = [rlp.decode(block.header_rlp), transactions, []]
    if decode_header(block.header_rlp).withdrawals_root is not None:
        items.append([rlp.decode(withdrawal) for withdrawal in block.withdrawals])
    encoded: bytes = rlp.encode(items)
    return encoded


def proof_view(address: Address, proof: Proof, keys: Sequence[str | int]) -> dict[str, Any]:
    """An account's proof; keys of storage are words where the client wrote words, else quantities."""
    return {
        "address": address_view(address),
        "accountProof": [hexadecimal(node) for node in proof.nodes],
        "balance": hex(proof.balance_wei),
        "codeHash": hexadecimal(proof.code_hash),
        "nonce": hex(proof.nonce),
        "storageHash": hexadecimal(proof.storage_root),
        "storageProof": [
            {
                "key": key if isinstance(key, str) and len(key) == WORD_DIGITS else hex(slot),
                "value": hex(word),
                "proof": [hexadecimal(node) for node in nodes],
            }
            for key, (slot, word, nodes) in zip(keys, proof.words, strict=True)
        ],
    }


def _price(signed: SignedTransaction, block: Block | None) -> int:
    """Wei per gas that a transaction pays, or offers while it waits."""
    transaction = signed.transaction
    if block is None:
        return transaction.max_fee_per_gas
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + block.base_fee)


def _shown(value: bytes | int) -> str:
    return hex(value) if isinstance(value, int) else hexadecimal(value)
