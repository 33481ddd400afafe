"""The exchange at an address of a chain: one typed method for each entry of its ABI.

State-changing methods take records of ours and the key that sends, and return the transaction's hash
without waiting; `confirm` waits and answers with the events. Batches are cut into transactions that
ask for no more gas than the chain lets one have. Reads return frozen records. Raises what
`ledger.chain.protocol` names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import contracts
from ledger import calls, events, gas, sending
from ledger.abi import arguments_encoder, result_decoder
from ledger.calls import Call, Deployment, OracleSignature, SignedOrder, SignedReading
from ledger.chain.protocol import Chain, LogFilter, Receipt
from ledger.eip712 import Domain
from ledger.gas import GasBudget
from ledger.keys import Key, Signature
from ledger.state import Account, Best, Parts, Position, RestingOrder, SlotState, StoredReading
from ledger.token import Token, deploy_token
from market.events import Event
from market.messages import CancelRequest, OracleSet, Reading
from market.orders import Address, Berth, Order, OrderRejected, Reject, Veto
from market.slots import Tariff, Terms

__all__ = [
    "Exchange",
    "GasBudget",
    "OracleSignature",
    "SignedOrder",
    "SignedReading",
    "Token",
    "deploy",
    "deploy_token",
]

DEPLOY_GAS = 15_000_000


class Exchange:
    """Gateway to one deployed exchange."""

    def __init__(self, chain: Chain, address: Address) -> None:
        self.chain = chain
        self.address = address

    @property
    def domain(self) -> Domain:
        """Where signatures for this exchange count."""
        return Domain(self.chain.chain_id, self.address)

    # --- sending and waiting --------------------------------------------------------------------

    def send(self, call: Call, sender: Key, budget: GasBudget = gas.SINGLE_CALL, items: int = 1) -> bytes:
        """Send any call; returns the transaction's hash. Raises TransactionRefused."""
        return sending.send(self.chain, sender, self.address, calls.encode(call), budget.limit(items))

    def confirm(self, transaction_hash: bytes) -> tuple[Event, ...]:
        """Wait for a transaction and return its events. Raises Reverted with the contract's reason."""
        return self.events(sending.confirmed(self.chain, transaction_hash))

    def events(self, receipt: Receipt) -> tuple[Event, ...]:
        """Events of this exchange in a receipt."""
        return events.events_of(receipt.logs, self.address)

    def history(self, from_block: int = 0, to_block: int | None = None) -> tuple[Event, ...]:
        """All events of a range of blocks, in chain order."""
        which = LogFilter(from_block, to_block, addresses=(self.address,))
        return events.events_of(self.chain.logs(which), self.address)

    # --- accounts and roles ---------------------------------------------------------------------

    def register_account(  # noqa: PLR0917 - the order of the ABI
        self,
        account: Address,
        bus: int,
        meter_key: Address,
        import_capacity: int,
        export_capacity: int,
        credit_limit: int,
        classes: int,
        *,
        sender: Key,
    ) -> bytes:
        """Register an account (utility); capacities Wh a slot, credit n€."""
        call = calls.RegisterAccount(
            account, bus, meter_key, import_capacity, export_capacity, credit_limit, classes
        )
        return self.send(call, sender)

    def set_account(
        self,
        account: Address,
        import_capacity: int,
        export_capacity: int,
        credit_limit: int,
        classes: int,
        *,
        sender: Key,
    ) -> bytes:
        """Change an account (utility)."""
        return self.send(
            calls.SetAccount(account, import_capacity, export_capacity, credit_limit, classes), sender
        )

    def set_meter(self, account: Address, meter_key: Address, *, sender: Key) -> bytes:
        """Put a new meter key in force (utility)."""
        return self.send(calls.SetMeter(account, meter_key), sender)

    def propose_role(self, role: int, successor: Address, *, sender: Key) -> bytes:
        """Propose who takes over a role (its holder)."""
        return self.send(calls.ProposeRole(role, successor), sender)

    def accept_role(self, role: int, *, sender: Key) -> bytes:
        """Take over a role (the successor)."""
        return self.send(calls.AcceptRole(role), sender)

    def pause(self, *, sender: Key) -> bytes:
        """Stop order entry (guardian)."""
        return self.send(calls.Pause(), sender)

    def unpause(self, *, sender: Key) -> bytes:
        """Let order entry go on (guardian)."""
        return self.send(calls.Unpause(), sender)

    def rotate_oracles(
        self, oracles: Sequence[Address], quorum: int, signatures: Sequence[OracleSignature], *, sender: Key
    ) -> bytes:
        """Install the next set of oracles, signed by a quorum of the present one."""
        call = calls.RotateOracles(tuple(oracles), quorum, tuple(signatures))
        return self.send(call, sender, gas.SIGNATURES, len(oracles) + len(signatures))

    def deposit(self, account: Address, amount: int, *, sender: Key) -> bytes:
        """Put n€ of the sender's tokens into an account's balance."""
        return self.send(calls.Deposit(account, amount), sender)

    def withdraw(self, amount: int, *, sender: Key) -> bytes:
        """Take n€ out of the sender's balance."""
        return self.send(calls.Withdraw(amount), sender)

    # --- a slot, in the order of its life -------------------------------------------------------

    def schedule_slots(
        self, first: int, count: int, retail: int, network_fee: int, fit: int, *, sender: Key
    ) -> bytes:
        """Fix the tariff of up to 1 024 slots, µ€/kWh (utility)."""
        call = calls.ScheduleSlots(first, count, retail, network_fee, fit)
        return self.send(call, sender, gas.SLOTS, count)

    def schedule_all(self, first: int, count: int, tariff: Tariff, *, sender: Key) -> tuple[bytes, ...]:
        """Fix the tariff of any number of slots (utility), in as many transactions as it takes."""
        return tuple(
            self.schedule_slots(
                batch[0], len(batch), tariff.retail, tariff.network_fee, tariff.fit, sender=sender
            )
            for batch in self._batches(range(first, first + count), gas.SLOTS)
        )

    def post_charges(
        self,
        slot: int,
        chunk_hashes: Sequence[bytes],
        input_hash: bytes,
        certificate_hash: bytes,
        signatures: Sequence[OracleSignature],
        *,
        sender: Key,
    ) -> bytes:
        """Post the header of the firm charges with its quorum."""
        call = calls.PostCharges(slot, tuple(chunk_hashes), input_hash, certificate_hash, tuple(signatures))
        return self.send(call, sender, gas.SIGNATURES, len(signatures))

    def post_charges_chunk(self, slot: int, index: int, words: Sequence[int], *, sender: Key) -> bytes:
        """Post one chunk of the firm charges."""
        return self.send(calls.PostChargesChunk(slot, index, tuple(words)), sender, gas.WORDS, len(words))

    def place_order(self, order: Order, signature: Signature, *, sender: Key) -> bytes:
        """Relay one signed order; it reverts where it breaks a rule."""
        return self.send(calls.PlaceOrder(order, signature), sender, gas.ORDERS)

    def place_orders(self, orders: Sequence[SignedOrder], *, sender: Key) -> tuple[bytes, ...]:
        """Relay signed orders in order, in as many transactions as it takes; bad ones are skipped."""
        return tuple(
            self.send(calls.PlaceOrders(batch), sender, gas.ORDERS, len(batch))
            for batch in self._batches(orders, gas.ORDERS)
        )

    def relay_orders(self, orders: Sequence[SignedOrder], *, sender: Key) -> tuple[Event, ...]:
        """Relay signed orders in order and wait; what a batch skipped for its visits is sent again.

        Returns the events without the skips that were made good. Raises Reverted.
        """
        told: list[Event] = []
        waiting = tuple(orders)
        while waiting:
            batch = waiting[: self._fits(gas.ORDERS)]
            (sent,) = self.place_orders(batch, sender=sender)
            found = self.confirm(sent)
            kept = [event for event in found if not _is_unseen(event)]
            told += kept
            waiting = waiting[len(batch) - (len(found) - len(kept)) :]
        return tuple(told)

    def cancel_order(
        self, cancel: CancelRequest, signature: Signature, *, sender: Key, berth: Berth | None = None
    ) -> bytes:
        """Relay a signed cancel; without a berth the node is asked where the order rests."""
        if berth is None:
            berth = self.order_of(cancel.slot, cancel.trader, cancel.nonce).berth
        return self.send(calls.CancelOrder(cancel, signature, berth), sender)

    def veto_fills(self, slot: int, vetoes: Sequence[Veto], *, sender: Key) -> bytes:
        """Take back up to 64 fills, the last of the slot first (utility)."""
        return self.send(calls.VetoFills(slot, tuple(vetoes)), sender, gas.VETOES, len(vetoes))

    def veto_all(self, slot: int, vetoes: Sequence[Veto], *, sender: Key) -> tuple[bytes, ...]:
        """Take back any number of fills likewise, in as many transactions as it takes."""
        return tuple(
            self.veto_fills(slot, batch, sender=sender) for batch in self._batches(vetoes, gas.VETOES)
        )

    def close_gate(self, slot: int, limit: int, *, sender: Key) -> bytes:
        """Credit makers and void what rests, up to `limit` entries of the slot's levels, or what gas lets."""
        entries = min(limit, self._fits(gas.ENTRIES))
        return self.send(calls.CloseGate(slot, entries), sender, gas.ENTRIES, entries)

    def post_prices(  # noqa: PLR0917 - the order of the ABI
        self,
        slot: int,
        hub_price: int,
        forecast_import: int,
        chunk_hashes: Sequence[bytes],
        input_hash: bytes,
        certificate_hash: bytes,
        signatures: Sequence[OracleSignature],
        *,
        sender: Key,
    ) -> bytes:
        """Post the header of the prices with its quorum; µ€/kWh, Wh."""
        call = calls.PostPrices(
            slot,
            hub_price,
            forecast_import,
            tuple(chunk_hashes),
            input_hash,
            certificate_hash,
            tuple(signatures),
        )
        return self.send(call, sender, gas.SIGNATURES, len(signatures))

    def post_prices_chunk(self, slot: int, index: int, words: Sequence[int], *, sender: Key) -> bytes:
        """Post one chunk of the prices."""
        return self.send(calls.PostPricesChunk(slot, index, tuple(words)), sender, gas.WORDS, len(words))

    def post_forecasts(
        self,
        slot: int,
        index: int,
        words: Sequence[int],
        signatures: Sequence[OracleSignature],
        *,
        sender: Key,
    ) -> bytes:
        """Post forecast net energy (packed Wh) of accounts 256·index to 256·index + 255 with its quorum."""
        call = calls.PostForecasts(slot, index, tuple(words), tuple(signatures))
        return self.send(call, sender, gas.SIGNATURES, len(signatures))

    def post_reading(self, reading: Reading, signature: Signature, *, sender: Key) -> bytes:
        """Relay one signed reading; it reverts where it breaks a rule."""
        return self.send(calls.PostReading(reading, signature), sender)

    def post_readings(self, readings: Sequence[SignedReading], *, sender: Key) -> tuple[bytes, ...]:
        """Relay signed readings, in as many transactions as it takes; bad ones are skipped."""
        return tuple(
            self.send(calls.PostReadings(batch), sender, gas.READINGS, len(batch))
            for batch in self._batches(readings, gas.READINGS)
        )

    def post_substation(
        self, slot: int, net_import: int, wholesale: int, passive: Sequence[int], *, sender: Key
    ) -> bytes:
        """Post the substation's energy (Wh), the wholesale price, packed passive energy by bus (utility)."""
        call = calls.PostSubstation(slot, net_import, wholesale, tuple(passive))
        return self.send(call, sender, gas.WORDS, len(passive))

    def estimate(
        self, slot: int, index: int, words: Sequence[int], accounts: Sequence[Address], *, sender: Key
    ) -> bytes:
        """Estimate up to 100 accounts by the forecast `words`, which are none where none was posted."""
        call = calls.Estimate(slot, index, tuple(words), tuple(accounts))
        return self.send(call, sender, gas.ACCOUNTS, len(accounts))

    def estimate_all(
        self, slot: int, index: int, words: Sequence[int], accounts: Sequence[Address], *, sender: Key
    ) -> tuple[bytes, ...]:
        """Estimate any number of accounts of one index, in as many transactions as it takes."""
        return tuple(
            self.estimate(slot, index, words, batch, sender=sender)
            for batch in self._batches(accounts, gas.ACCOUNTS)
        )

    def clear_trades(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> bytes:
        """Move the money for trades of up to 100 accounts ahead of settlement."""
        return self.send(calls.ClearTrades(slot, tuple(accounts)), sender, gas.ACCOUNTS, len(accounts))

    def clear_all(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> tuple[bytes, ...]:
        """Clear the trades of any number of accounts, in as many transactions as it takes."""
        batches = self._batches(accounts, gas.ACCOUNTS)
        return tuple(self.clear_trades(slot, batch, sender=sender) for batch in batches)

    def settle(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> bytes:
        """Settle up to 100 accounts of a slot."""
        return self.send(calls.Settle(slot, tuple(accounts)), sender, gas.ACCOUNTS, len(accounts))

    def settle_all(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> tuple[bytes, ...]:
        """Settle any number of accounts; where it takes several transactions, trades are cleared first."""
        one_does = len(accounts) <= self._fits(gas.ACCOUNTS)
        cleared = () if one_does else self.clear_all(slot, accounts, sender=sender)
        batches = self._batches(accounts, gas.ACCOUNTS)
        return *cleared, *(self.settle(slot, batch, sender=sender) for batch in batches)

    def resettle(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> bytes:
        """Post what late readings change of up to 100 settlements by estimate."""
        return self.send(calls.Resettle(slot, tuple(accounts)), sender, gas.ACCOUNTS, len(accounts))

    def resettle_all(self, slot: int, accounts: Sequence[Address], *, sender: Key) -> tuple[bytes, ...]:
        """Post what late readings change of any number of accounts, in as many transactions as it takes."""
        batches = self._batches(accounts, gas.ACCOUNTS)
        return tuple(self.resettle(slot, batch, sender=sender) for batch in batches)

    # --- reads ----------------------------------------------------------------------------------

    def account_of(self, account: Address, block: int | None = None) -> Account:
        """An account's record. Raises Reverted for one that is not registered."""
        found: Account = self._read("accountOf", Account, account, block=block)
        return found

    def account_at(self, account_id: int) -> Address:
        """Address of an account's number."""
        return str(self._read("accountAt", str, account_id))

    def account_count(self) -> int:
        """Number of accounts, the utility included."""
        return int(self._read("accountCount", int))

    def slot_of(self, slot: int, block: int | None = None) -> SlotState:
        """How far a slot has come."""
        found: SlotState = self._read("slotOf", SlotState, slot, block=block)
        return found

    def order_of(self, slot: int, trader: Address, nonce: int) -> RestingOrder:
        """A resting order."""
        found: RestingOrder = self._read("orderOf", RestingOrder, slot, trader, nonce)
        return found

    def nonce_used(self, slot: int, trader: Address, nonce: int) -> bool:
        """Whether a nonce is consumed."""
        return bool(self._read("nonceUsed", bool, slot, trader, nonce))

    def position_of(self, slot: int, account: Address, block: int | None = None) -> Position:
        """An account's position in a slot."""
        found: Position = self._read("positionOf", Position, slot, account, block=block)
        return found

    def class_net_of(self, slot: int, account: Address, energy_class: int) -> int:
        """Net energy of a class in a slot, Wh, bought positive; classes from 1."""
        return int(self._read("classNetOf", int, slot, account, energy_class))

    def best_bid(self, slot: int, energy_class: int) -> Best:
        """Highest bid level."""
        found: Best = self._read("bestBid", Best, slot, energy_class)
        return found

    def best_ask(self, slot: int, energy_class: int) -> Best:
        """Lowest ask level."""
        found: Best = self._read("bestAsk", Best, slot, energy_class)
        return found

    def level_of(self, slot: int, energy_class: int, side: int, tick: int) -> int:
        """Quantity that rests at a tick, Wh."""
        return int(self._read("levelOf", int, slot, energy_class, side, tick))

    def charge_of(self, slot: int, bus: int) -> int:
        """Firm charge ν_b, µ€/kWh; 0 until the vector is complete."""
        return int(self._read("chargeOf", int, slot, bus))

    def price_of(self, slot: int, bus: int) -> int:
        """Price λ_b, µ€/kWh; 0 until the vector is complete."""
        return int(self._read("priceOf", int, slot, bus))

    def reading_of(self, slot: int, account: Address) -> StoredReading:
        """The final reading of an account, or the estimate that stands in for it."""
        found: StoredReading = self._read("readingOf", StoredReading, slot, account)
        return found

    def terms(self) -> Terms:
        """What the market fixed at deployment."""
        found: Terms = self._read("terms", Terms)
        return found

    def oracle_set(self) -> OracleSet:
        """The oracles in force."""
        found: OracleSet = self._read("oracleSet", OracleSet)
        return found

    def uncovered(self) -> int:
        """Σ max(0, reserved − balance) over all but the utility, n€."""
        return int(self._read("uncovered", int))

    def backing(self) -> int:
        """Utility balance − reserved − uncovered, n€; never negative."""
        return int(self._read("backing", int))

    def utility(self) -> Address:
        """Holder of the utility's role."""
        return str(self._read("utility", str))

    def guardian(self) -> Address:
        """Holder of the guardian's role."""
        return str(self._read("guardian", str))

    def token(self) -> Token:
        """The market's money."""
        return Token(self.chain, str(self._read("token", str)))

    def paused(self) -> bool:
        """Whether order entry is stopped."""
        return bool(self._read("paused", bool))

    def parts(self) -> Parts:
        """Where the codes are that the exchange runs by delegation."""
        found: Parts = self._read("parts", Parts)
        return found

    def domain_separator(self) -> bytes:
        """EIP-712 domain separator as the contract computes it."""
        return bytes(self._read("domainSeparator", bytes))

    # --- inside ---------------------------------------------------------------------------------

    def _fits(self, budget: GasBudget) -> int:
        """Most items of one transaction on this chain."""
        return budget.fits(self.chain.transaction_gas_max)

    def _batches(self, items: Sequence[Any], budget: GasBudget) -> Iterator[tuple[Any, ...]]:
        """The items in order, as many at a time as fit a transaction."""
        size = self._fits(budget)
        return (tuple(items[first : first + size]) for first in range(0, len(items), size))

    def _read(self, name: str, annotation: Any, *values: Any, block: int | None = None) -> Any:
        entry = _views()[name]
        answer = self.chain.call(self.address, arguments_encoder(entry)(*values), block=block)
        return result_decoder(entry, annotation)(answer)


@cache
def _views() -> dict[str, Any]:
    return {
        entry["name"]: entry
        for entry in contracts.load("Exchange").abi
        if entry["type"] == "function" and entry["stateMutability"] in ("view", "pure")
    }


def _is_unseen(event: Event) -> bool:
    """Whether an order was skipped without being looked at, as all after it in its batch."""
    return isinstance(event, OrderRejected) and event.code == Reject.TOO_MANY_VISITS


def deploy(
    chain: Chain,
    sender: Key,
    *,
    token: Address,
    utility: Address,
    guardian: Address,
    oracles: Sequence[Address],
    quorum: int,
    terms: Terms,
) -> Exchange:
    """Deploy an exchange, the blueprints of its parts first, and wait for it. Raises Reverted."""
    parts = (_created(chain, sender, calls.encode_blueprint(name)) for name in ("Clearinghouse", "Registry"))
    deployment = Deployment(token, utility, guardian, tuple(oracles), quorum, terms, *parts)
    return Exchange(chain, _created(chain, sender, calls.encode_deployment(deployment)))


def _created(chain: Chain, sender: Key, creation_code: bytes) -> Address:
    receipt = sending.confirmed(chain, sending.send(chain, sender, None, creation_code, DEPLOY_GAS))
    assert receipt.contract is not None, "a creation that succeeded has an address"
    return receipt.contract
