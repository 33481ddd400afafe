"""A deployed market on an embedded chain of its own, with one slot that is open, and orders for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import calls, sending, vectors
from ledger.calls import OracleSignature, SignedOrder, SignedReading
from ledger.chain.embedded import CHAIN_ID, EmbeddedChain
from ledger.chain.evm import Interpreter
from ledger.chain.protocol import Receipt
from ledger.eip712 import digest
from ledger.exchange import Exchange, deploy, deploy_token
from ledger.gas import ORDERS
from ledger.keys import Key, derive
from ledger.transactions import Transaction, sign_transaction
from market.events import Event
from market.messages import CancelRequest, ChargesHeader, PricesHeader, Reading
from market.orders import GateClosed, Order, Side
from market.slots import Tariff, Terms
from node.scenario.streams import stream

SEED = 1
ORACLE = derive(SEED, "oracle")
GENESIS_SECOND = 1_700_000_100
TERMS = Terms()
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
CHARGES = tuple(-40 * bus for bus in range(TERMS.buses))
"""ν by bus, µ€/kWh: none is a multiple of the tick, so that limits have to be rounded."""
PRICES = tuple(115_000 + charge for charge in CHARGES)
"""λ by bus, µ€/kWh."""
SLOT = GENESIS_SECOND // TERMS.slot_seconds + 16
IMBALANCE_WH = 37
"""Metered beyond what was contracted, so that every posting has something to post."""
CAPACITY_WH = 10_000_000
DEPOSIT_NEUR = 10_000 * 10**9
SUPPLY_NEUR = 10**18
EPOCH = 1
HASH = bytes(32)
"""Of inputs and certificates that nobody reads."""
ENTRIES_PER_CALL = 200
FEE_HEADROOM = 100
"""So many times the base fee is what signed transactions can bear: full blocks raise it by 12.5 % each."""
FLOW_PRICE, FLOW_STEP = 115_000, 500
"""Middle of the mixed flow at the hub and the distance of its prices, µ€/kWh."""


@dataclass(eq=False)
class OpenSlot:
    """The market, the key that pays gas for everybody, and the registered traders."""

    chain: EmbeddedChain
    exchange: Exchange
    relayer: Key
    traders: tuple[Key, ...]
    _opened: int = 0

    @classmethod
    def create(cls, traders: int, interpreter: Interpreter = "fast", chain_id: int = CHAIN_ID) -> OpenSlot:
        """Deploy, register and fund the traders, post charges, and go to the slot's opening."""
        relayer, guardian = derive(SEED, "relayer"), derive(SEED, "guardian")
        chain = EmbeddedChain(
            genesis_timestamp=GENESIS_SECOND,
            funded=[relayer.address],
            chain_id=chain_id,
            interpreter=interpreter,
        )
        token = deploy_token(chain, relayer, "Test euro", "TEUR", 9)
        exchange = deploy(
            chain,
            relayer,
            token=token.address,
            utility=relayer.address,
            guardian=guardian.address,
            oracles=[ORACLE.address],
            quorum=1,
            terms=TERMS,
        )
        market = cls(chain, exchange, relayer, tuple(derive(SEED, "trader", i) for i in range(traders)))
        market.confirm(
            token.mint(relayer.address, SUPPLY_NEUR, sender=relayer),
            token.approve(exchange.address, SUPPLY_NEUR, sender=relayer),
        )
        market._register()
        market._open()
        return market

    def _register(self) -> None:
        sent = []
        for number, trader in enumerate(self.traders):
            bus, meter = _bus(number), _meter(number).address
            sent.append(
                self.exchange.register_account(
                    trader.address, bus, meter, CAPACITY_WH, CAPACITY_WH, 0, 0, sender=self.relayer
                )
            )
            sent.append(self.exchange.deposit(trader.address, DEPOSIT_NEUR, sender=self.relayer))
        self.confirm(*sent)

    def _open(self) -> None:
        exchange, relayer = self.exchange, self.relayer
        header = ChargesHeader(SLOT, EPOCH, vectors.values_hash(CHARGES), HASH, HASH)
        proof = [OracleSignature.by(ORACLE, exchange.domain, 0, header)]
        hashes = vectors.chunk_hashes(CHARGES)
        self.confirm(
            exchange.schedule_slots(SLOT, 1, TARIFF.retail, TARIFF.network_fee, TARIFF.fit, sender=relayer),
            exchange.post_charges(SLOT, hashes, HASH, HASH, proof, sender=relayer),
            *(
                exchange.post_charges_chunk(SLOT, index, words, sender=relayer)
                for index, words in enumerate(vectors.chunked(vectors.pack(CHARGES)))
            ),
        )
        self.chain.advance_to(TERMS.opens(SLOT))
        self.chain.mine()
        self._opened = self.chain.snapshot()

    def reopen(self) -> None:
        """Forget all that happened since the slot opened."""
        self.chain.revert(self._opened)
        self._opened = self.chain.snapshot()

    # --- orders ---------------------------------------------------------------------------------

    def order(self, trader: int, nonce: int, side: Side, price_ueur_per_kwh: int, quantity_wh: int) -> Order:
        """An order of trader number `trader` that is worth `price_ueur_per_kwh` at the hub."""
        limit = price_ueur_per_kwh + CHARGES[_bus(trader)]
        return Order(self.traders[trader].address, SLOT, nonce, side, 0, limit, quantity_wh)

    def mixed_flow(self, traders: int, count: int) -> list[Order]:
        """Orders of the first traders in turn, sides and prices drawn, so that some meet and some rest."""
        rng = stream(SEED, "bench", "flow")
        orders = []
        for number in range(count):
            side = Side(int(rng.integers(2)))
            concession = FLOW_STEP * int(rng.integers(-40, 11))
            price = FLOW_PRICE + (concession if side == Side.BID else -concession)
            quantity_wh = 100 * int(rng.integers(1, 21))
            orders.append(self.order(number % traders, number // traders, side, price, quantity_wh))
        return orders

    # --- acting ---------------------------------------------------------------------------------

    def confirm(self, *sent: bytes) -> tuple[Receipt, ...]:
        """Receipts of transactions. Raises Reverted where one failed."""
        return tuple(sending.confirmed(self.chain, transaction) for transaction in sent)

    def sign(self, order: Order) -> SignedOrder:
        """The order with its trader's signature."""
        return SignedOrder.by(self._key(order.trader), self.exchange.domain, order)

    def place(self, order: Order) -> Receipt:
        """Place one order alone."""
        signature = self.sign(order).signature
        return self.confirm(self.exchange.place_order(order, signature, sender=self.relayer))[0]

    def place_batch(self, orders: Sequence[Order]) -> tuple[Receipt, ...]:
        """Place orders in as few transactions as the gateway sends."""
        signed = [self.sign(order) for order in orders]
        return self.confirm(*self.exchange.place_orders(signed, sender=self.relayer))

    def cancel(self, order: Order) -> Receipt:
        """Cancel what rests of an order."""
        request = CancelRequest(order.trader, order.slot, order.nonce)
        signature = self._key(order.trader).sign(digest(self.exchange.domain, request))
        return self.confirm(self.exchange.cancel_order(request, signature, sender=self.relayer))[0]

    def close_gate(self) -> tuple[Receipt, ...]:
        """Credit the makers and void what rests, in as many calls as it takes."""
        self.chain.advance_to(TERMS.closing(SLOT))
        receipts: tuple[Receipt, ...] = ()
        while not any(isinstance(event, GateClosed) for event in self.events(*receipts[-1:])):
            receipts += self.confirm(self.exchange.close_gate(SLOT, ENTRIES_PER_CALL, sender=self.relayer))
        return receipts

    def settle(self) -> tuple[Receipt, ...]:
        """Everything from the gate to the last account's settlement, the utility's included."""
        exchange, relayer = self.exchange, self.relayer
        header = PricesHeader(SLOT, EPOCH, PRICES[0], 0, vectors.values_hash(PRICES), HASH, HASH)
        proof = [OracleSignature.by(ORACLE, exchange.domain, 0, header)]
        hashes = vectors.chunk_hashes(PRICES)
        closed = self.close_gate()
        priced = self.confirm(
            exchange.post_prices(SLOT, PRICES[0], 0, hashes, HASH, HASH, proof, sender=relayer),
            *(
                exchange.post_prices_chunk(SLOT, index, words, sender=relayer)
                for index, words in enumerate(vectors.chunked(vectors.pack(PRICES)))
            ),
        )
        self.chain.advance_to(TERMS.end(SLOT))
        readings = [self._reading(number) for number in range(len(self.traders))]
        everybody = [relayer.address, *(trader.address for trader in self.traders)]
        settled = self.confirm(
            *exchange.post_readings(readings, sender=relayer),
            *exchange.settle_all(SLOT, everybody, sender=relayer),
        )
        return (*closed, *priced, *settled)

    def _reading(self, number: int) -> SignedReading:
        trader = self.traders[number].address
        net_wh = self.exchange.position_of(SLOT, trader).net + IMBALANCE_WH
        return SignedReading.by(
            _meter(number), self.exchange.domain, Reading(trader, SLOT, net_wh, (), EPOCH)
        )

    def events(self, *receipts: Receipt) -> tuple[Event, ...]:
        """What the exchange said in these transactions, in order."""
        return tuple(event for receipt in receipts for event in self.exchange.events(receipt))

    def transactions(self, orders: Sequence[Order], batch: int) -> tuple[bytes, ...]:
        """Signed transactions that place the orders, alone or in batches, ready to be sent to this chain."""
        signed = [self.sign(order) for order in orders]
        if batch == 1:
            placings: list[calls.Call] = [calls.PlaceOrder(each.order, each.signature) for each in signed]
        else:
            placings = [
                calls.PlaceOrders(tuple(signed[first : first + batch]))
                for first in range(0, len(signed), batch)
            ]
        base_fee, nonce = self.chain.block().base_fee, self.chain.nonce(self.relayer.address)
        return tuple(
            sign_transaction(
                self.relayer,
                Transaction(
                    chain_id=self.chain.chain_id,
                    nonce=nonce + number,
                    to=self.exchange.address,
                    data=calls.encode(placing),
                    gas=ORDERS.limit(batch),
                    max_fee_per_gas=FEE_HEADROOM * base_fee + sending.PRIORITY_FEE_WEI,
                    max_priority_fee_per_gas=sending.PRIORITY_FEE_WEI,
                ),
            )
            for number, placing in enumerate(placings)
        )

    def _key(self, trader: str) -> Key:
        return next(key for key in self.traders if key.address == trader)


def _bus(trader: int) -> int:
    """Traders are spread over the feeder."""
    return 1 + trader % (TERMS.buses - 1)


def _meter(trader: int) -> Key:
    return derive(SEED, "meter", trader)
