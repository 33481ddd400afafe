"""The contract on the embedded chain and its readable twin, driven by the same calls and compared.

Every call is a transaction of its own, in a block of its own. What the contract answers (its events, or
the string it reverts with) has to be what the twin answers, and then so has the state that was touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import calls
from ledger.calls import OracleSignature, SignedOrder, SignedReading
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import Receipt, Reverted
from ledger.eip712 import Message, digest
from ledger.exchange import GasBudget, deploy, deploy_token
from ledger.keccak import keccak
from ledger.keys import CURVE_ORDER, Key, Signature, derive
from ledger.state import Account, Best, Position, RestingOrder, SlotState, StoredReading
from market.accounts import Account as TwinAccount
from market.accounts import Refused
from market.events import Event
from market.exchange import Caller
from market.exchange import Exchange as Twin
from market.messages import CancelRequest, Reading
from market.orders import Address, Berth, Order, Side
from market.settlement import Estimate
from market.slots import Terms
from tests.twins.tally import Tally
from tests.twins.witness import Witness
from tests.twins.words import AccountWords, PositionWord, Words

GENESIS_SECOND = 900_000_000
MOST_GAS = GasBudget(28_000_000)
FUNDS_EUR = 10**13
"""What the payer of every deposit has, in whole token units."""


def key_of(*name: str | int) -> Key:
    """Key of somebody in these tests."""
    return derive(11, *name)


@dataclass(frozen=True, slots=True)
class Signer:
    """How a message is signed: by `key`, in its other (high-s) form if `malleated`, or not at all."""

    key: Key | None
    malleated: bool = False

    def sign(self, pair: Pair, message: Message) -> Signature:
        """The signature that goes to the contract."""
        if self.key is None:
            return Signature(b"\0" * 32, b"\x01" * 32)
        signature = self.key.sign(digest(pair.exchange.domain, message))
        if not self.malleated:
            return signature
        flipped = CURVE_ORDER - signature.s | (1 - signature.y_parity) << 255
        return Signature(signature.r, flipped.to_bytes(32, "big"))

    @property
    def named(self) -> Address | None:
        """Whom the signature names: what the twin is told."""
        return None if self.key is None or self.malleated else self.key.address


class Pair:
    """One market twice. `payer` has tokens and pays gas for those who only sign."""

    def __init__(self, terms: Terms, decimals: int, oracles: Sequence[Key], quorum: int) -> None:
        self.payer, self.utility, self.guardian = key_of("payer"), key_of("utility"), key_of("guardian")
        self.people = {key.address: key for key in (self.payer, self.utility, self.guardian)}
        self.people |= {key.address: key for key in (key_of("person", i) for i in range(12))}
        self.chain = EmbeddedChain(genesis_timestamp=GENESIS_SECOND, funded=list(self.people))
        self.token = deploy_token(self.chain, self.payer, "Test euro", "TEUR", decimals)
        self.neur_per_unit = 10 ** max(0, 9 - decimals)
        self.units_per_neur = 10 ** max(0, decimals - 9)
        self.terms, self.decimals = terms, decimals
        self.oracles, self.quorum = tuple(oracles), quorum
        self.exchange = deploy(
            self.chain,
            self.payer,
            token=self.token.address,
            utility=self.utility.address,
            guardian=self.guardian.address,
            oracles=[key.address for key in oracles],
            quorum=quorum,
            terms=terms,
        )
        supply = FUNDS_EUR * 10**decimals
        self.exchange.confirm(self.token.mint(self.payer.address, supply, sender=self.payer))
        self.exchange.confirm(self.token.approve(self.exchange.address, supply, sender=self.payer))
        self._fresh = self.chain.snapshot()
        self.start_over()

    def start_over(self) -> None:
        """Both as they were deployed."""
        assert self.chain.revert(self._fresh)
        self._fresh = self.chain.snapshot()
        self.twin = Twin(
            self.utility.address,
            self.guardian.address,
            [key.address for key in self.oracles],
            self.quorum,
            self.terms,
            token_decimals=self.decimals,
            hash_of=keccak,
        )
        assert self.exchange.history() == self.twin.deployed()
        self.tally = Tally()
        words = Words(self.chain, self.exchange.address, self.token.address)
        self.witness = Witness(words, self.terms, self.utility.address, self.people)
        self.witness.scale = (self.neur_per_unit, self.units_per_neur)

    # --- calling both ---------------------------------------------------------------------------

    def both(
        self, sender: Key, call: calls.Call, answer: Callable[[Caller], tuple[Event, ...]]
    ) -> tuple[Event, ...] | str:
        """Send a call and ask the twin; returns the events, or the rule it breaks."""
        sent = self.exchange.send(call, sender, MOST_GAS)
        receipt = self.chain.receipt(sent)
        time = self.chain.block(receipt.block_number).timestamp
        by = Caller(sender.address, time)
        try:
            expected: tuple[Event, ...] | str = answer(by)
        except Refused as refusal:
            expected = refusal.rule
        found = self.exchange.events(receipt) if receipt.status == 1 else self.reason(call, receipt)
        assert found == expected, f"{call} by {by}:\n contract {found}\n twin     {expected}"
        self.tally.count(call, found, self.terms)
        self.compare_words()
        self.witness.see(call, found)
        return found

    def reason(self, call: calls.Call, receipt: Receipt) -> str:
        """Why the contract refused: alone in its block it changed nothing, so it refuses again there."""
        try:
            self.chain.call(
                self.exchange.address,
                calls.encode(call),
                sender=receipt.sender,
                block=receipt.block_number,
            )
        except Reverted as reverted:
            return reverted.reason
        raise AssertionError(f"{call} failed, and succeeds when it is asked again")

    def plain(self, sender: Key, call: calls.Call, *arguments: Any) -> tuple[Event, ...] | str:
        """A call without signatures."""
        return self.both(sender, call, lambda by: _method(self.twin, call)(by, *arguments))

    def same(self, sender: Key, call: calls.Call) -> tuple[Event, ...] | str:
        """A call without signatures, whose record has the twin's arguments in order."""
        arguments = [getattr(call, name) for name in call.__dataclass_fields__]
        return self.plain(sender, call, *arguments)

    def place(self, sender: Key, order: Order, signer: Signer) -> tuple[Event, ...] | str:
        """One order alone."""
        call = calls.PlaceOrder(order, signer.sign(self, order))
        return self.both(sender, call, lambda by: self.twin.place_order(by, order, signer.named))

    def place_all(self, sender: Key, orders: Sequence[tuple[Order, Signer]]) -> tuple[Event, ...] | str:
        """A batch of orders."""
        signed = tuple(SignedOrder(order, signer.sign(self, order)) for order, signer in orders)
        named = [(order, signer.named) for order, signer in orders]
        return self.both(sender, calls.PlaceOrders(signed), lambda by: self.twin.place_orders(by, named))

    def cancel(
        self, sender: Key, request: CancelRequest, berth: Berth, signer: Signer
    ) -> tuple[Event, ...] | str:
        """A signed cancel of what rests at `berth`."""
        call = calls.CancelOrder(request, signer.sign(self, request), berth)
        return self.both(sender, call, lambda by: self.twin.cancel_order(by, request, berth, signer.named))

    def read(self, sender: Key, reading: Reading, signer: Signer) -> tuple[Event, ...] | str:
        """One reading alone."""
        call = calls.PostReading(reading, signer.sign(self, reading))
        return self.both(sender, call, lambda by: self.twin.post_reading(by, reading, signer.named))

    def read_all(self, sender: Key, readings: Sequence[tuple[Reading, Signer]]) -> tuple[Event, ...] | str:
        """A batch of readings."""
        signed = tuple(SignedReading(reading, signer.sign(self, reading)) for reading, signer in readings)
        named = [(reading, signer.named) for reading, signer in readings]
        return self.both(sender, calls.PostReadings(signed), lambda by: self.twin.post_readings(by, named))

    def prove(
        self, message: Message, signers: Sequence[tuple[int, Signer]]
    ) -> tuple[tuple[OracleSignature, ...], list[tuple[int, Address | None]]]:
        """A quorum's signatures, for the contract and for the twin."""
        proofs = tuple(OracleSignature(index, *signer.sign(self, message)) for index, signer in signers)
        return proofs, [(index, signer.named) for index, signer in signers]

    # --- comparing state ------------------------------------------------------------------------

    def compare_words(self) -> None:
        """All accounts, and all they have in slots that were ever touched, in the contract's storage."""
        words, accounts = self.witness.words, self.twin.accounts
        assert words.uncovered() == accounts.uncovered_neur
        for account in accounts:
            assert words.account(account.address) == AccountWords(
                account.id,
                account.bus,
                account.capacity_wh(Side.BID),
                account.capacity_wh(Side.ASK),
                account.reserved_neur,
                account.balance_neur,
                account.classes,
                account.meter_epoch,
                account.credit_limit_neur,
            )
            for slot in self.witness.slots:
                self._compare_position_word(words, slot, account)

    def _compare_position_word(self, words: Words, slot: int, account: TwinAccount) -> None:
        book = self.twin.slot(slot).book
        held, found = book.position(account), words.position(slot, account.id)
        assert found == PositionWord(
            found.used_nonces,
            (held.resting_wh[Side.BID], held.resting_wh[Side.ASK]),
            (held.resting_count[Side.BID], held.resting_count[Side.ASK]),
            held.reserve_neur,
            held.net_wh,
            held.trades_neur,
            held.settled,
            held.cleared,
        ), f"account {account.id} in slot {slot}"
        for energy_class in range(1, len(self.terms.penalties_ueur_per_kwh) + 1):
            net_wh = words.class_net(slot, account.id, energy_class)
            assert net_wh == held.class_net_wh.get(energy_class, 0)

    def compare_account(self, account: TwinAccount) -> None:
        """Everything known of an account."""
        expected = Account(
            account.id,
            account.bus,
            account.meter_key,
            account.meter_epoch,
            account.import_capacity_wh,
            account.export_capacity_wh,
            account.credit_limit_neur,
            account.classes,
            account.balance_neur,
            account.reserved_neur,
        )
        assert self.exchange.account_of(account.address) == expected

    def compare_position(self, slot: int, account: TwinAccount) -> None:
        """What an account holds in a slot, by class too, and its reading."""
        state = self.twin.slot(slot)
        held = state.book.position(account)
        resting_wh, count = held.resting_wh, held.resting_count
        assert self.exchange.position_of(slot, account.address) == Position(
            held.net_wh,
            resting_wh[Side.BID],
            resting_wh[Side.ASK],
            count[Side.BID],
            count[Side.ASK],
            held.reserve_neur,
            held.trades_neur,
            held.settled,
            held.cleared,
        )
        for energy_class in range(1, len(self.terms.penalties_ueur_per_kwh) + 1):
            found = self.exchange.class_net_of(slot, account.address, energy_class)
            assert found == held.class_net_wh.get(energy_class, 0)

    def compare_reading(self, slot: int, account: TwinAccount) -> None:
        """The final reading, or the estimate that stands in for it."""
        metered = self.twin.slot(slot).metered(account)
        expected = StoredReading(False, 0, (), 0)
        if isinstance(metered, Estimate):
            expected = StoredReading(False, metered.net_energy, metered.certified, 0, metered.basis)
        if isinstance(metered, Reading):
            expected = StoredReading(True, metered.net_energy, metered.certified, metered.epoch)
        assert self.exchange.reading_of(slot, account.address) == expected

    def compare_order(self, slot: int, account: TwinAccount, nonce: int) -> None:
        """Whether a nonce is used, and what rests of its order."""
        book = self.twin.slot(slot).book
        expected = RestingOrder(*(book.resting(account, nonce) or (Berth(), 0)))
        assert self.exchange.order_of(slot, account.address, nonce) == expected
        used = self.exchange.nonce_used(slot, account.address, nonce)
        assert used == book.nonce_used(account, nonce)

    def compare_best(self, slot: int, energy_class: int) -> None:
        """Best levels of a class on both sides; they do not cross."""
        book = self.twin.slot(slot).book
        views = {Side.BID: self.exchange.best_bid, Side.ASK: self.exchange.best_ask}
        found = {}
        for side, view in views.items():
            best = book.best(energy_class, side)
            found[side] = view(slot, energy_class)
            assert found[side] == (Best(False, 0, 0) if best is None else Best(True, *best))
            if best is not None:
                tick, quantity_wh = best
                assert self.exchange.level_of(slot, energy_class, side, tick) == quantity_wh
        if found[Side.BID].found and found[Side.ASK].found:
            assert found[Side.BID].tick < found[Side.ASK].tick

    def compare_slot(self, slot: int) -> None:
        """How far a slot has come."""
        state = self.twin.slot(slot)
        book, tariff = state.book, state.tariff
        charges, prices = state.charges, state.prices
        assert self.exchange.slot_of(slot) == SlotState(
            scheduled=tariff is not None,
            retail=0 if tariff is None else tariff.retail,
            network_fee=0 if tariff is None else tariff.network_fee,
            fit=0 if tariff is None else tariff.fit,
            charges_posted=charges is not None,
            charges_complete=book.charges is not None,
            prices_posted=prices is not None,
            prices_complete=state.bus_prices is not None,
            gate_closed=book.gate_closed,
            substation_posted=state.substation is not None,
            settled=state.settled,
            ordered=book.ordered,
            closing=book.closing,
            accounts=book.snapshot or 0,
            settled_accounts=state.settled_accounts,
            clearing=self.twin.accounts.clearing_neur.get(slot, 0),
        )

    def compare_vectors(self, slot: int, buses: Iterable[int]) -> None:
        """Charges and prices of some buses."""
        state = self.twin.slot(slot)
        for bus in buses:
            charges, prices = state.book.charges, state.bus_prices
            assert self.exchange.charge_of(slot, bus) == (0 if charges is None else charges[bus])
            assert self.exchange.price_of(slot, bus) == (0 if prices is None else prices[bus])

    def compare_money(self) -> None:
        """Sums over accounts; and that the token covers them, and the utility what they lack."""
        accounts = self.twin.accounts
        assert self.exchange.uncovered() == accounts.uncovered_neur
        assert self.exchange.backing() == accounts.backing_neur
        assert accounts.backing_neur >= 0
        held = self.token.balance_of(self.exchange.address)
        assert held * self.neur_per_unit == accounts.held_neur * self.units_per_neur

    def compare_all(self, slots: Sequence[int]) -> None:
        """Everything that the contract shows."""
        accounts = list(self.twin.accounts)
        assert self.exchange.account_count() == len(accounts)
        assert self.exchange.utility() == self.twin.accounts.utility.address
        assert self.exchange.guardian() == self.twin.guardian
        assert self.exchange.paused() == self.twin.paused
        oracles = self.exchange.oracle_set()
        assert oracles.epoch == self.twin.oracles.epoch
        assert oracles.quorum == self.twin.oracles.quorum
        assert oracles.oracles == self.twin.oracles.members
        self.compare_money()
        for account in accounts:
            assert self.exchange.account_at(account.id) == account.address
            self.compare_account(account)
        for slot in slots:
            self.compare_slot(slot)
            self.compare_vectors(slot, (0, 1, self.terms.buses - 1))
            for energy_class in range(len(self.terms.penalties_ueur_per_kwh) + 1):
                self.compare_best(slot, energy_class)
            for account in accounts:
                self.compare_position(slot, account)
                self.compare_reading(slot, account)


def _method(twin: Twin, call: calls.Call) -> Callable[..., tuple[Event, ...]]:
    """The twin's method of a call: its name in snake case."""
    name = type(call).__name__
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    method: Callable[..., tuple[Event, ...]] = getattr(twin, snake[1:])
    return method
