"""Signed transactions on their way: fees, nonce, waiting, and the reason where the contract refused.

Raises what `ledger.chain.protocol` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Protocol, runtime_checkable

from ledger.chain.protocol import Chain, Halted, Receipt, Reverted, TransactionRefused
from ledger.keys import Key
from ledger.transactions import Transaction, decode_transaction, sign_transaction
from market.orders import Address

PRIORITY_FEE_WEI = 1_000_000_000
BASE_FEE_HEADROOM = 2
"""The fee cap allows for this many times the newest base fee: it rises by 12.5 % a block at most."""


NONCE_TRIES = 5
"""So often a nonce is asked for anew that somebody else with the same key has used."""
BUMP = (9, 8)
"""What a replacement offers of the fees before it: EIP-1559's own step; nodes ask for a tenth more."""
_TAKEN = ("nonce too low", "replacement transaction underpriced", "already known", "nonce already")
_TOO_MUCH_GAS = ("gas limit", "gas_limit", "gas cap")
"""What nodes say where a transaction asks for more gas than a transaction, or a block, may have."""


@runtime_checkable
class Replaces(Protocol):
    """A chain on which a transaction can get stuck, and that then asks for one with higher fees."""

    def on_stuck(self, transaction_hash: bytes, replacement: Callable[[int], bytes]) -> None:
        """Let waiting for the receipt end in a replacement, given the newest base fee."""


def send(chain: Chain, sender: Key, to: Address | None, data: bytes, gas: int) -> bytes:
    """Sign and hand over; returns the transaction's hash.

    Raises TransactionRefused, also where it asks for more gas than the network lets a transaction have.
    Threads with one key take turns, so that each gets a nonce of its own; where another process was
    faster, the nonce is asked for again.
    """
    if gas > (most := chain.transaction_gas_max):
        raise TransactionRefused(
            f"gas: a transaction asks for {gas}, more than the {most} of --transaction-gas"
        )
    with _turn(sender.address):
        for tries_left in reversed(range(NONCE_TRIES)):
            base_fee = chain.block().base_fee
            tip = PRIORITY_FEE_WEI if base_fee else 0  # where gas is free, senders need no coins
            transaction = Transaction(
                chain_id=chain.chain_id,
                nonce=chain.nonce(sender.address),
                to=to,
                data=data,
                gas=gas,
                max_fee_per_gas=BASE_FEE_HEADROOM * base_fee + tip,
                max_priority_fee_per_gas=tip,
            )
            try:
                transaction_hash = chain.send(sign_transaction(sender, transaction))
                break
            except TransactionRefused as refusal:
                if _says(refusal, _TOO_MUCH_GAS):
                    raise TransactionRefused(
                        f"{refusal}; it asks for {gas}: give the network's cap by --transaction-gas"
                    ) from None
                if not tries_left or not _says(refusal, _TAKEN):
                    raise
    if isinstance(chain, Replaces):
        chain.on_stuck(transaction_hash, _raising(sender, transaction))
    return transaction_hash


def _says(refusal: TransactionRefused, words: Iterable[str]) -> bool:
    said = str(refusal).lower()
    return any(each in said for each in words)


@cache
def _turn(_sender: Address) -> Lock:
    """One at a time for each key."""
    return Lock()


def _raising(sender: Key, transaction: Transaction) -> Callable[[int], bytes]:
    """Replacements of a transaction, each with higher fees than the one before."""
    latest = transaction

    def replacement(base_fee: int) -> bytes:
        nonlocal latest
        tip = raised(latest.max_priority_fee_per_gas)
        most = max(raised(latest.max_fee_per_gas), BASE_FEE_HEADROOM * base_fee + tip)
        latest = replace(latest, max_fee_per_gas=most, max_priority_fee_per_gas=tip)
        return sign_transaction(sender, latest)

    return replacement


def raised(fee_wei: int) -> int:
    """An eighth more, rounded up."""
    more, than = BUMP
    return -(-fee_wei * more // than)


def confirmed(chain: Chain, transaction_hash: bytes) -> Receipt:
    """Wait for the receipt. Raises Reverted with the contract's reason, ChainUnavailable on time-out."""
    receipt = chain.receipt(transaction_hash)
    if receipt.status != 1:
        raise why(chain, receipt)
    return receipt


def transaction_of(chain: Chain, receipt: Receipt) -> Transaction:
    """What a receipt is of, as it was sent."""
    raw = chain.block(receipt.block_number).transactions[receipt.transaction_index]
    return decode_transaction(raw).transaction


def why(chain: Chain, receipt: Receipt) -> Reverted:
    """Ask again for the reason, which receipts do not carry.

    On the block's own state first, since what failed left none behind and rules depend on its time; then
    on the state before, where something later in the block may have changed the answer.
    """
    transaction = transaction_of(chain, receipt)
    for number in (receipt.block_number, receipt.block_number - 1):
        try:
            chain.call(
                transaction.to,
                transaction.data,
                sender=receipt.sender,
                block=number,
                value=transaction.value,
                gas=transaction.gas,
            )
        except Reverted as reverted:
            return reverted
        except TransactionRefused:  # its sender has spent the coins since, or had not got them before
            continue
    if receipt.gas_used == transaction.gas:
        return Halted(f"out of gas: all {transaction.gas} were used")
    return Reverted("reverted, and does not any more")
