"""The methods of the server, by name. Each takes the engine and the request's parameters.

Bodies are short on purpose: parameters are read by `params`, answers shaped by `views`, and the chain
does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.rpc import altering, driving, reading

Method = Callable[..., Any]


def _constant(answer: Any) -> Method:
    return lambda _engine: answer


_EVM = (
    *("setNextBlockTimestamp", "increaseTime", "setTime", "snapshot", "revert", "setAutomine"),
    *("setIntervalMining", "setBlockGasLimit"),
)
"""Methods that anvil also has under its own name."""

_ALIASES: dict[str, Method] = {
    "mine": driving.mine_many,
    "getAutomine": driving.get_automine,
    "metadata": altering.metadata,
    "setLoggingEnabled": altering.set_logging,
    "setMinGasPrice": altering.refused(altering.PRICED),
    "setBalance": altering.set_balance,
    "setNonce": altering.set_nonce,
    "setCode": altering.set_code,
    "setStorageAt": altering.set_storage_at,
    "setNextBlockBaseFeePerGas": altering.set_base_fee,
    "dropTransaction": altering.drop_transaction,
    "impersonateAccount": altering.refused(altering.IMPERSONATION),
    "stopImpersonatingAccount": altering.refused(altering.IMPERSONATION),
    "autoImpersonateAccount": altering.refused(altering.IMPERSONATION),
}
"""Methods that anvil and hardhat have under their names."""

METHODS: dict[str, Method] = {
    "web3_clientVersion": _constant(altering.CLIENT_VERSION),
    "web3_sha3": reading.sha3,
    "net_version": reading.net_version,
    "net_listening": _constant(True),
    "net_peerCount": _constant("0x0"),
    "eth_chainId": reading.chain_id,
    "eth_syncing": _constant(False),
    "eth_accounts": reading.accounts,
    "eth_requestAccounts": reading.accounts,
    "eth_coinbase": _constant("0x" + 40 * "0"),
    "eth_blockNumber": reading.block_number,
    "eth_getBlockByNumber": reading.block_by_number,
    "eth_getBlockByHash": reading.block_by_hash,
    "eth_getBlockTransactionCountByNumber": reading.transaction_count_of_block,
    "eth_getBlockTransactionCountByHash": reading.transaction_count_by_hash,
    "eth_getUncleCountByBlockNumber": reading.no_uncles,
    "eth_getUncleCountByBlockHash": reading.no_uncles,
    "eth_getTransactionByHash": reading.transaction_by_hash,
    "eth_getTransactionByBlockNumberAndIndex": reading.transaction_by_place,
    "eth_getTransactionByBlockHashAndIndex": reading.transaction_by_place,
    "eth_getRawTransactionByHash": reading.raw_transaction,
    "eth_getTransactionReceipt": reading.transaction_receipt,
    "eth_getBlockReceipts": reading.block_receipts,
    "eth_getTransactionCount": reading.transaction_count,
    "eth_getBalance": reading.balance,
    "eth_getCode": reading.code,
    "eth_getStorageAt": reading.storage_at,
    "eth_call": reading.call,
    "eth_estimateGas": reading.estimate_gas,
    "eth_createAccessList": reading.access_list,
    "eth_getProof": reading.proof,
    "eth_gasPrice": reading.gas_price,
    "eth_maxPriorityFeePerGas": reading.priority_fee,
    "eth_blobBaseFee": reading.blob_base_fee,
    "eth_feeHistory": reading.fee_history,
    "eth_sendRawTransaction": driving.send_raw_transaction,
    "eth_sendTransaction": driving.send_transaction,
    "eth_signTransaction": driving.sign_transaction,
    "eth_sign": driving.sign,
    "personal_sign": driving.personal_sign,
    "eth_signTypedData": driving.sign_typed_data,
    "eth_signTypedData_v4": driving.sign_typed_data,
    "eth_getLogs": reading.logs,
    "eth_newFilter": reading.new_filter,
    "eth_newBlockFilter": reading.new_block_filter,
    "eth_newPendingTransactionFilter": reading.new_pending_filter,
    "eth_getFilterChanges": reading.filter_changes,
    "eth_getFilterLogs": reading.filter_logs,
    "eth_uninstallFilter": reading.uninstall_filter,
    "debug_getRawHeader": reading.debug_raw_header,
    "debug_getRawBlock": reading.debug_raw_block,
    "debug_getRawTransaction": reading.raw_transaction,
    "debug_getRawReceipts": reading.debug_raw_receipts,
    "debug_traceTransaction": altering.refused(altering.TRACES),
    "debug_traceCall": altering.refused(altering.TRACES),
    "trace_transaction": altering.refused(altering.TRACES),
    "txpool_status": altering.pool_status,
    "txpool_content": altering.pool_content,
    "txpool_inspect": altering.pool_inspect,
    "eth_simulateV1": altering.refused(altering.SIMULATED),
    "eth_fillTransaction": altering.refused(altering.FILLED),
    "evm_mine": driving.mine,
    "evm_mine_detailed": driving.mine_detailed,
    "evm_setNextBlockTimestamp": driving.set_next_block_timestamp,
    "evm_increaseTime": driving.increase_time,
    "evm_setTime": driving.set_time,
    "evm_snapshot": driving.snapshot,
    "evm_revert": driving.revert,
    "evm_setAutomine": driving.set_automine,
    "evm_setIntervalMining": altering.set_interval,
    "evm_setBlockGasLimit": altering.set_gas_limit,
    "anvil_getIntervalMining": altering.get_interval,
    "anvil_setCoinbase": altering.set_coinbase,
    "anvil_dropAllTransactions": altering.drop_all,
    "anvil_dumpState": altering.dump_state,
    "anvil_loadState": altering.load_state,
    "anvil_nodeInfo": altering.node_info,
    "anvil_addBalance": altering.add_balance,
    "anvil_removePoolTransactions": altering.remove_of_sender,
    "anvil_setBlockTimestampInterval": altering.set_timestamp_interval,
    "anvil_removeBlockTimestampInterval": altering.remove_timestamp_interval,
    "anvil_rollback": altering.rollback,
    "anvil_reorg": altering.refused(altering.REORGANISED),
    "anvil_reset": altering.reset,
    "hardhat_reset": altering.reset,
}
"""Every method of the server; the aliases are added to it."""

METHODS |= {f"anvil_{name}": METHODS[f"evm_{name}"] for name in _EVM}
METHODS |= {
    f"{prefix}_{name}": method for prefix in ("anvil", "hardhat") for name, method in _ALIASES.items()
}
