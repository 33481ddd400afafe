"""Signed transactions on their way: fees, nonce, waiting, and the reason where the contract refused.

Raises what `ledger.chain.protocol` names.
"""

from __future__ import annotations

from ledger.chain.protocol import Chain, Receipt, Reverted
from ledger.keys import Key
from ledger.transactions import Transaction, decode_transaction, sign_transaction
from market.orders import Address

GAS_PER_TRANSACTION_MAX = 28_000_000
"""No transaction asks for more, so that each fits a block of 30 million."""

PRIORITY_FEE_WEI = 1_000_000_000
BASE_FEE_HEADROOM = 2
"""The fee cap allows for this many times the newest base fee: it rises by 12.5 % a block at most."""


def send(chain: Chain, sender: Key, to: Address | None, data: bytes, gas: int) -> bytes:
    """Sign and hand over; returns the transaction's hash. Raises TransactionRefused."""
    transaction = Transaction(
        chain_id=chain.chain_id,
        nonce=chain.nonce(sender.address),
        to=to,
        data=data,
        gas=gas,
        max_fee_per_gas=BASE_FEE_HEADROOM * chain.block().base_fee + PRIORITY_FEE_WEI,
        max_priority_fee_per_gas=PRIORITY_FEE_WEI,
    )
    return chain.send(sign_transaction(sender, transaction))


def confirmed(chain: Chain, transaction_hash: bytes) -> Receipt:
    """Wait for the receipt. Raises Reverted with the contract's reason, ChainUnavailable on time-out."""
    receipt = chain.receipt(transaction_hash)
    if receipt.status != 1:
        raise why(chain, receipt)
    return receipt


def why(chain: Chain, receipt: Receipt) -> Reverted:
    """Ask again for the reason, which receipts do not carry.

    On the block's own state first, since what failed left none behind and rules depend on its time; then
    on the state before, where something later in the block may have changed the answer.
    """
    raw = chain.block(receipt.block_number).transactions[receipt.transaction_index]
    transaction = decode_transaction(raw).transaction
    if receipt.gas_used == transaction.gas:
        return Reverted(f"out of gas: all {transaction.gas} were used")
    if transaction.to is None:
        return Reverted("the constructor refused")
    for number in (receipt.block_number, receipt.block_number - 1):
        try:
            chain.call(transaction.to, transaction.data, sender=receipt.sender, block=number)
        except Reverted as reverted:
            return reverted
    return Reverted("reverted, and does not any more")
