"""Where signed orders and cancels are handed in: checked, tried without cost, relayed by who pays the gas.

On a testnet that only this machine reaches, the desk also signs for the test accounts; their keys stay here.

ReadOnlyError         the market takes no orders here: its record is finished, or nobody relays
SignatureError        the signature is not the trader's
OrderRefusedError     the contract refuses the order; the message is its rule
NoTestAccountError    the address is none of the accounts that are signed for here
NoNonceError          the trader has used every nonce of the slot
NoCoinsError          who relays has no coins for gas
BusyError             too many orders wait for their block
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from ledger import calls, eip712
from ledger.chain.protocol import ChainError, Reverted
from ledger.exchange import Exchange
from ledger.gas import ORDERS, SINGLE_CALL, GasBudget
from ledger.keys import Key, Signature, recover
from market.messages import CancelRequest
from market.orders import Address, Order

WAITING_MAX = 16


class ReadOnlyError(Exception):
    """The market takes no orders here."""


class SignatureError(ValueError):
    """The signature is not the trader's."""


class OrderRefusedError(Exception):
    """The contract refuses the order."""


class NoTestAccountError(LookupError):
    """Nobody signs here for this address."""


class NoNonceError(LookupError):
    """The trader has used every nonce of the slot."""


class NoCoinsError(Exception):
    """Who relays orders has no coins for gas; the message says whom to send some."""


class BusyError(Exception):
    """Too many orders wait, or the chain does not take them."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """Where an order is on the chain."""

    transaction_hash: bytes
    block: int


class Desk:
    """Relays signed orders; `relayer` pays, `signed_for` are test accounts. Any thread may ask."""

    def __init__(self, exchange: Exchange, relayer: Key, signed_for: Sequence[Key] = ()) -> None:
        self._exchange, self._relayer = exchange, relayer
        self._keys = {key.address: key for key in signed_for}
        self._waiting = BoundedSemaphore(WAITING_MAX)

    @property
    def test_accounts(self) -> tuple[Address, ...]:
        """Addresses that are signed for here."""
        return tuple(self._keys)

    def sign(self, message: Order | CancelRequest) -> Signature:
        """A test account's signature. Raises NoTestAccountError."""
        try:
            key = self._keys[message.trader]
        except KeyError:
            raise NoTestAccountError(f"{message.trader}: no test account of this server") from None
        return key.sign(eip712.digest(self._exchange.domain, message))

    def place(self, order: Order, signature: Signature) -> Relayed:
        """Relay an order and wait for its block.

        Raises SignatureError, OrderRefusedError, NoCoinsError, BusyError.
        """
        self._check(order, signature)
        return self._relay(lambda: calls.PlaceOrder(order, signature), ORDERS)

    def cancel(self, request: CancelRequest, signature: Signature) -> Relayed:
        """Relay a cancel likewise, of an order that rests or of a nonce that was not seen yet."""
        self._check(request, signature)
        at = self._exchange.order_of
        return self._relay(
            lambda: calls.CancelOrder(
                request, signature, at(request.slot, request.trader, request.nonce).berth
            ),
            SINGLE_CALL,
        )

    def _check(self, message: Order | CancelRequest, signature: Signature) -> None:
        """Raises SignatureError."""
        signer = recover(eip712.digest(self._exchange.domain, message), signature)
        if signer != message.trader:
            raise SignatureError(f"signed by {signer or 'nobody'}, not by {message.trader}")

    def _relay(self, call_of: Callable[[], calls.Call], budget: GasBudget) -> Relayed:
        """Try a call without cost, then send it and wait."""
        exchange = self._exchange
        with self._turn():
            try:
                call = call_of()
                self._try(call, budget)
                sent = exchange.send(call, self._relayer, budget)
                exchange.confirm(sent)
                return Relayed(sent, exchange.chain.receipt(sent).block_number)
            except Reverted as refusal:
                raise OrderRefusedError(refusal.reason) from None
            except ChainError as failure:
                self._check_coins()
                raise BusyError(f"the chain did not take it: {failure}") from None

    def _check_coins(self) -> None:
        """Whether gas can be paid at all. Raises NoCoinsError."""
        chain, relayer = self._exchange.chain, self._relayer.address
        if chain.balance(relayer) < ORDERS.limit(1) * chain.block().base_fee:
            raise NoCoinsError(f"{relayer}, which pays for orders here, has no coins for gas: send it some")

    def _try(self, call: calls.Call, budget: GasBudget) -> None:
        """What the contract would refuse costs nobody gas. Raises Reverted."""
        self._exchange.chain.call(
            self._exchange.address,
            calls.encode(call),
            sender=self._relayer.address,
            gas=budget.limit(1),
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise BusyError(f"{WAITING_MAX} orders wait for their block already")
        try:
            yield
        finally:
            self._waiting.release()
