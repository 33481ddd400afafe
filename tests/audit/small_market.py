"""One small market, really traded: embedded chain, real contract, real signatures, real certificates.

Three prosumers on two buses behind the substation, three slots of 15 minutes: a morning in which the sun
at bus 2 is sold at bus 1 and to the utility; a slot in which nobody trades with the other; and one in which
the utility vetoes fills and meters are silent: estimates stand in, and two readings come late. Between them
oracles rotate, a meter is changed, the guardian pauses and hands over; calls fail; in the end the utility
hands over too. Class 1 is solar energy, of which the seller sells more than is certified.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from ledger.bundle import Bundle, canonical_json, collect, write
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.genesis import genesis_document
from ledger.eip712 import digest
from ledger.exchange import Exchange, OracleSignature, SignedOrder, SignedReading, deploy, deploy_token
from ledger.keccak import keccak
from ledger.keys import Key, derive
from ledger.transactions import LEGACY, Transaction, sign_transaction
from ledger.vectors import WORDS_PER_CHUNK, chunk_hash, chunk_hashes, chunked, pack, values_hash
from market.events import Event
from market.feeder.model import Feeder, Limits
from market.fills import chain as chained
from market.messages import (
    CancelRequest,
    ChargesHeader,
    ForecastsHeader,
    OracleSet,
    PricesHeader,
    Reading,
)
from market.orders import Order, Side
from market.pricing.certificate import certificate, encode_inputs
from market.pricing.conditions import Conditions, Devices, Hub, SlotPrices
from market.pricing.quantise import quantise
from market.pricing.socp import SocpClearing
from market.slots import Rule, Tariff, Terms

SLOT = 1_950_000
SILENT = SLOT + 3
"""The slot of vetoes and estimates; the one before it is scheduled and left alone."""
VETO_SECONDS = 120
NEUR = 10**9
TARIFF = Tariff(retail=300_000, network_fee=80_000, fit=70_000)
WHOLESALE = 90_000
QUORUM = 2
SOLAR, SOLAR_PENALTY = 1, 50_000

UTILITY, GUARDIAN, RELAYER = (derive(7, name) for name in ("utility", "guardian", "relayer"))
NEW_UTILITY, NEW_GUARDIAN = (derive(7, name) for name in ("next utility", "next guardian"))
ORACLES = tuple(derive(7, "oracle", i) for i in range(3))
NEW_ORACLES = (ORACLES[2], ORACLES[0], derive(7, "oracle", 3))
TRADERS = tuple(derive(7, "trader", i) for i in range(3))
METERS = tuple(derive(7, "meter", i) for i in range(3))
NEW_METER = derive(7, "meter", 3)
BUSES = (1, 2, 2)
SELLER, BUYER, NEIGHBOUR = TRADERS[1], TRADERS[0], TRADERS[2]


def small_feeder() -> Feeder:
    """Substation, and two buses one behind the other: lines short enough for no limit to bind."""
    return Feeder(
        name="two buses",
        bus_names=("hub", "village", "farm"),
        parent=np.array([-1, 0, 1]),
        r_pu=np.array([0.0, 0.02, 0.03]),
        x_pu=np.array([0.0, 0.01, 0.02]),
        limits=Limits(np.full(3, 0.9), np.full(3, 1.1), np.full(3, np.inf)),
        base_mw=0.1,
        v0=1.0,
        nominal_p_mw=np.array([0.0, 0.04, 0.02]),
        nominal_q_mvar=np.array([0.0, 0.01, 0.005]),
    )


def conditions(feeder: Feeder, load: float) -> Conditions:
    """Firm load at a share of the nominal one, a generator at the farm, a flexible load in the village."""
    absent, one = np.zeros((1, 2)), np.ones((1, 2))
    return Conditions(
        fixed_p=load * feeder.nominal_p_mw[None] / feeder.base_mw,
        fixed_q=load * feeder.nominal_q_mvar[None] / feeder.base_mw,
        hub=Hub(np.array([TARIFF.hub_import / 1_000]), np.array([TARIFF.hub_export / 1_000])),
        devices=Devices(
            bus=np.array([2, 1]),
            gen_cost=np.array([[80.0, 0.0]]),
            gen_slope=np.array([[50.0, 0.0]]),
            gen_max=np.array([[0.3, 0.0]]),
            load_value=np.array([[0.0, 250.0]]),
            load_slope=np.array([[0.0, 400.0]]) + absent,
            load_min=absent,
            load_max=0.2 * one * np.array([[0.0, 1.0]]),
        ),
        hours=0.25,
    )


@dataclass
class SmallMarket:
    """The market while it trades. Every step waits for its transactions and returns their events."""

    rule: Rule
    chain: EmbeddedChain = field(init=False)
    exchange: Exchange = field(init=False)
    terms: Terms = field(init=False)
    certificates: list[bytes] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    feeder: Feeder = field(default_factory=small_feeder)
    oracles: tuple[Key, ...] = ORACLES
    oracle_epoch: int = 1
    meters: list[tuple[Key, int]] = field(default_factory=lambda: [(meter, 1) for meter in METERS])

    def __post_init__(self) -> None:
        self.terms = Terms(
            buses=3,
            lot_wh=10,
            rule=self.rule,
            penalties_ueur_per_kwh=(SOLAR_PENALTY,),
            veto_grace=VETO_SECONDS,
        )
        start = self.terms.opens(SLOT) - 600
        senders = (UTILITY, GUARDIAN, RELAYER, SELLER, NEW_UTILITY, NEW_GUARDIAN)
        self.chain = EmbeddedChain(genesis_timestamp=start, funded=[key.address for key in senders])
        token = deploy_token(self.chain, UTILITY, "Test Euro", "TEUR", 6)
        self.exchange = deploy(
            self.chain,
            UTILITY,
            token=token.address,
            utility=UTILITY.address,
            guardian=GUARDIAN.address,
            oracles=[key.address for key in ORACLES],
            quorum=QUORUM,
            terms=self.terms,
        )
        waiting = [
            token.mint(UTILITY.address, 10**15, sender=UTILITY),
            token.approve(self.exchange.address, 10**15, sender=UTILITY),
        ]
        for transaction in waiting:
            self.chain.receipt(transaction)
        self.confirm(
            self.exchange.deposit(UTILITY.address, 1_000 * NEUR, sender=UTILITY),
            *(
                self.exchange.register_account(
                    trader.address, bus, meter.address, 5_000, 5_000, 10 * NEUR, SOLAR, sender=UTILITY
                )
                for trader, bus, meter in zip(TRADERS, BUSES, METERS, strict=True)
            ),
            *(self.exchange.deposit(trader.address, 50 * NEUR, sender=UTILITY) for trader in TRADERS),
            self.exchange.schedule_slots(
                SLOT, 4, TARIFF.retail, TARIFF.network_fee, TARIFF.fit, sender=UTILITY
            ),
        )

    def confirm(self, *transactions: bytes) -> tuple[Event, ...]:
        """Events of transactions, once they are in a block."""
        return tuple(event for each in transactions for event in self.exchange.confirm(each))

    # --- a slot's phases ------------------------------------------------------------------------

    def given(self, load: float) -> Conditions:
        """What a clearing is given."""
        return conditions(self.feeder, load)

    def clear(self, load: float) -> tuple[SlotPrices, bytes, bytes]:
        """Clear the feeder; prices, input hash, certificate hash."""
        feeder = self.feeder
        given = self.given(load)
        solution = SocpClearing(feeder)(feeder, given)
        self.inputs.append(encode_inputs(feeder, given))
        self.certificates.append(certificate(solution, feeder, given))
        hashes = (sha256(self.inputs[-1]).digest(), sha256(self.certificates[-1]).digest())
        return quantise(solution, feeder, hours=given.hours), *hashes

    def post_charges(self, slot: int, load: float) -> None:
        prices, input_hash, certificate_hash = self.clear(load)
        header = ChargesHeader(
            slot, self.oracle_epoch, values_hash(prices.charges), input_hash, certificate_hash
        )
        hashes = chunk_hashes(prices.charges)
        signatures = self.signed(header)
        exchange, chunks = self.exchange, chunked(pack(prices.charges))
        self.confirm(
            exchange.post_charges(slot, hashes, input_hash, certificate_hash, signatures, sender=RELAYER),
            *(exchange.post_charges_chunk(slot, i, words, sender=RELAYER) for i, words in enumerate(chunks)),
        )

    def post_prices(self, slot: int, load: float) -> None:
        prices, input_hash, certificate_hash = self.clear(load)
        values, forecast = prices.bus_price, prices.forecast_import_wh
        header = PricesHeader(
            slot=slot,
            epoch=self.oracle_epoch,
            hub_price=prices.hub_price,
            forecast_import=forecast,
            values_hash=values_hash(values),
            input_hash=input_hash,
            certificate_hash=certificate_hash,
        )
        exchange = self.exchange
        self.confirm(
            exchange.post_prices(
                slot,
                prices.hub_price,
                forecast,
                chunk_hashes(values),
                input_hash,
                certificate_hash,
                self.signed(header),
                sender=RELAYER,
            ),
            *(
                exchange.post_prices_chunk(slot, i, words, sender=RELAYER)
                for i, words in enumerate(chunked(pack(values)))
            ),
        )

    def signed(
        self, message: ChargesHeader | PricesHeader | ForecastsHeader | OracleSet
    ) -> tuple[OracleSignature, ...]:
        """Oracles 0 and 2 of the present set sign."""
        return tuple(OracleSignature.by(self.oracles[i], self.exchange.domain, i, message) for i in (0, 2))

    def sign(  # noqa: PLR0917 - in the order of the EIP-712 type
        self,
        trader: Key,
        slot: int,
        nonce: int,
        side: Side,
        limit: int,
        quantity: int,
        energy_class: int = 0,
    ) -> SignedOrder:
        """A signed order; the limit is all-in at the trader's bus."""
        order = Order(trader.address, slot, nonce, side, energy_class, limit, quantity)
        return SignedOrder.by(trader, self.exchange.domain, order)

    def place(self, *orders: SignedOrder) -> tuple[Event, ...]:
        return self.confirm(*self.exchange.place_orders(orders, sender=RELAYER))

    def cancel(self, trader: Key, slot: int, nonce: int) -> tuple[Event, ...]:
        request = CancelRequest(trader.address, slot, nonce)
        signature = trader.sign(digest(self.exchange.domain, request))
        return self.confirm(self.exchange.cancel_order(request, signature, sender=RELAYER))

    def read_meters(self, slot: int, *measured: tuple[int, int]) -> None:
        """Net energy and certified solar generation of each prosumer."""
        readings = [
            self.reading(slot, number, net_energy, solar)
            for number, (net_energy, solar) in enumerate(measured)
        ]
        self.confirm(*self.exchange.post_readings(readings, sender=RELAYER))

    def reading(self, slot: int, number: int, net_energy: int, solar: int) -> SignedReading:
        """What a prosumer's meter signs."""
        meter, epoch = self.meters[number]
        reading = Reading(TRADERS[number].address, slot, net_energy, (solar,), epoch)
        return SignedReading.by(meter, self.exchange.domain, reading)

    def settle(self, slot: int) -> tuple[Event, ...]:
        accounts = [UTILITY.address, *(trader.address for trader in TRADERS)]
        first = self.exchange.settle(slot, accounts[:2], sender=RELAYER)
        return self.confirm(first, self.exchange.settle(slot, accounts[2:], sender=RELAYER))

    # --- the whole day --------------------------------------------------------------------------

    def trade(self) -> None:
        """All slots, from charges to settlement, and what happens around them."""
        for slot in (SLOT, SLOT + 1, SILENT):
            self.post_charges(slot, 0.8)
        self.chain.advance_to(self.terms.opens(SILENT))
        self._morning()
        self._quiet()
        self._trade_to_be_vetoed()
        self._deliver(SLOT, 1.0, (1_700, 0), (-2_300, 150), (40, 0))
        self._housekeeping()
        self._deliver(SLOT + 1, 0.9, (300, 0), (-500, 0), (0, 0))
        self._veto()
        self._stay_silent()
        self._ending()

    def trade_one_slot(self) -> None:
        """The morning alone, from charges to settlement."""
        self.post_charges(SLOT, 0.8)
        self.chain.advance_to(self.terms.opens(SLOT))
        self._morning()
        self._deliver(SLOT, 1.0, (1_700, 0), (-2_300, 150), (40, 0))

    @classmethod
    def of_one_slot(cls, rule: Rule = Rule.DLMP) -> SmallMarket:
        """A market that traded the morning alone."""
        market = cls(rule)
        market.trade_one_slot()
        return market

    def _deliver(self, slot: int, load: float, *measured: tuple[int, int]) -> None:
        """Gate closure, prices, readings, settlement."""
        self.chain.advance_to(self.terms.closing(slot))
        self.confirm(self.exchange.close_gate(slot, 100, sender=RELAYER))
        self.post_prices(slot, load)
        self.chain.advance_to(self.terms.end(slot))
        self.read_meters(slot, *measured)
        self.read_substation(slot, sum(net_energy for net_energy, _ in measured) + 3_600)
        self.settle(slot)

    def read_substation(self, slot: int, imported: int) -> None:
        passive = pack((0, 2_000, 1_500), signed=False)
        self.confirm(self.exchange.post_substation(slot, imported, WHOLESALE, passive, sender=UTILITY))

    def _housekeeping(self) -> None:
        """New oracles, a new meter, a new guardian, a pause."""
        addresses = [key.address for key in NEW_ORACLES]
        quorum = self.signed(OracleSet(self.oracle_epoch, QUORUM, tuple(addresses)))
        exchange = self.exchange
        self.confirm(
            exchange.rotate_oracles(addresses, QUORUM, quorum, sender=RELAYER),
            exchange.set_meter(NEIGHBOUR.address, NEW_METER.address, sender=UTILITY),
            exchange.set_account(NEIGHBOUR.address, 4_000, 4_000, 0, 0, sender=UTILITY),
            exchange.pause(sender=GUARDIAN),
            exchange.unpause(sender=GUARDIAN),
            exchange.propose_role(1, NEW_GUARDIAN.address, sender=GUARDIAN),
            exchange.accept_role(1, sender=NEW_GUARDIAN),
        )
        self.oracles, self.oracle_epoch = NEW_ORACLES, 2
        self.meters[2] = (NEW_METER, 2)

    def _ending(self) -> None:
        """The seller takes money out; the utility hands over, and its successor takes money out."""
        exchange = self.exchange
        self.confirm(
            exchange.withdraw(NEUR, sender=SELLER),
            exchange.propose_role(0, NEW_UTILITY.address, sender=UTILITY),
            exchange.accept_role(0, sender=NEW_UTILITY),
            exchange.withdraw(2 * NEUR, sender=NEW_UTILITY),
        )

    def _morning(self) -> None:
        """Asks that rest, a bid that crosses two of them, a cancel, an own order, a rejected one."""
        ask, bid = Side.ASK, Side.BID
        self.place(
            self.sign(SELLER, SLOT, 1, ask, 100_000, 900),
            self.sign(SELLER, SLOT, 2, ask, 120_000, 1_000),
            self.sign(NEIGHBOUR, SLOT, 1, ask, 110_000, 500),
            self.sign(NEIGHBOUR, SLOT, 2, ask, 115_000, 5),
            self.sign(UTILITY, SLOT, 1, ask, TARIFF.hub_import, 4_000_000),
        )
        self.place(self.sign(BUYER, SLOT, 1, bid, 200_000, 1_800))
        self.place(
            self.sign(NEIGHBOUR, SLOT, 3, bid, 105_000, 200),
            self.sign(UTILITY, SLOT, 2, bid, 122_000, 300),
            self.sign(BUYER, SLOT, 2, bid, 90_000, 100),
            self.sign(NEIGHBOUR, SLOT, 4, ask, 104_000, 50),
        )
        self.cancel(BUYER, SLOT, 2)
        self.place(
            self.sign(SELLER, SLOT, 3, ask, 130_000, 200, SOLAR),
            self.sign(BUYER, SLOT, 3, bid, 140_000, 200, SOLAR),
        )
        alone = self.sign(NEIGHBOUR, SLOT, 5, ask, 190_000, 100)
        self.confirm(self.exchange.place_order(alone.order, alone.signature, sender=RELAYER))
        self._refused()

    def _refused(self) -> None:
        """Calls that break a rule: they are in the record, and changed nothing."""
        again = self.sign(NEIGHBOUR, SLOT, 5, Side.ASK, 180_000, 100)
        for sent in (
            self.exchange.place_order(again.order, again.signature, sender=RELAYER),
            self.exchange.close_gate(SLOT, 100, sender=RELAYER),
            self.exchange.pause(sender=RELAYER),
        ):
            assert self.chain.receipt(sent).status == 0

    def _quiet(self) -> None:
        """Two orders that do not meet."""
        self.place(
            self.sign(SELLER, SLOT + 1, 1, Side.ASK, 150_000, 400),
            self.sign(BUYER, SLOT + 1, 1, Side.BID, 90_000, 400),
        )

    # --- the slot of vetoes and estimates -------------------------------------------------------

    def _trade_to_be_vetoed(self) -> None:
        """The buyer takes two levels of plain energy, then solar energy of the neighbour."""
        ask, bid = Side.ASK, Side.BID
        self.place(
            self.sign(SELLER, SILENT, 1, ask, 100_000, 600),
            self.sign(SELLER, SILENT, 2, ask, 110_000, 600),
            self.sign(NEIGHBOUR, SILENT, 1, ask, 130_000, 200, SOLAR),
            self.sign(BUYER, SILENT, 1, bid, 200_000, 900),
            self.sign(BUYER, SILENT, 2, bid, 200_000, 200, SOLAR),
        )
        self.cancel(NEIGHBOUR, SILENT, 9)

    def _veto(self) -> None:
        """A line is overloaded: all of the last fill is taken back, and a third of the one before."""
        self.chain.advance_to(self.terms.gate(SILENT))
        events = [event for event in self.exchange.history() if getattr(event, "slot", 0) == SILENT]
        plain, solar = chained(SILENT, events, lambda address: self.exchange.account_of(address).id, keccak)[
            -2:
        ]
        vetoes = [solar.veto(BUYER.address, 200, 2, 1), plain.veto(BUYER.address, 100, 2, 1)]
        self.confirm(self.exchange.veto_fills(SILENT, vetoes, sender=UTILITY))

    def _stay_silent(self) -> None:
        """No reading comes in time. The buyer's replaces an estimate, the seller's a settlement.

        What is paid for trades was cleared before that.
        """
        exchange, terms, first = self.exchange, self.terms, 0
        self.chain.advance_to(terms.closing(SILENT))
        self.confirm(exchange.close_gate(SILENT, 2, sender=RELAYER))
        everybody = [trader.address for trader in TRADERS]
        closing = exchange.close_gate(SILENT, 2, sender=RELAYER)
        self.confirm(closing, exchange.clear_trades(SILENT, [UTILITY.address, *everybody], sender=RELAYER))
        self.post_prices(SILENT, 1.0)
        forecast = pack((0, 900, -2_000, 300))
        words = forecast + (0,) * (WORDS_PER_CHUNK - len(forecast))
        header = ForecastsHeader(SILENT, self.oracle_epoch, first, chunk_hash(words))
        self.confirm(exchange.post_forecasts(SILENT, first, words, self.signed(header), sender=RELAYER))
        self.chain.advance_to(terms.end(SILENT))
        self.read_substation(SILENT, 4_000)
        self.chain.advance_to(terms.readings_due(SILENT))
        self.confirm(exchange.estimate(SILENT, first, words, everybody, sender=RELAYER))
        self.confirm(*exchange.post_readings([self.reading(SILENT, 0, 850, 0)], sender=RELAYER))
        self.settle(SILENT)
        late = self.reading(SILENT, 1, -700, 0)
        self.confirm(exchange.post_reading(late.reading, late.signature, sender=RELAYER))
        self.confirm(exchange.resettle(SILENT, everybody, sender=RELAYER))

    def bundle(self) -> Bundle:
        assert self.chain.begun is not None
        return collect(
            self.exchange,
            certificates=self.certificates,
            inputs=self.inputs,
            scenario="small",
            seed=7,
            first_block=0,
            genesis=canonical_json(genesis_document(self.chain.begun)),
        )


def shared(market: SmallMarket) -> SmallMarket:
    """The market on a chain of others, too: a transfer of before EIP-155, a deposit that a rule refuses."""
    chain = market.chain
    legacy = Transaction(None, chain.nonce(RELAYER.address), SELLER.address, type=LEGACY)
    sent = chain.send(sign_transaction(RELAYER, replace(legacy, max_fee_per_gas=10**10)))
    odd = market.exchange.deposit(UTILITY.address, 1, sender=UTILITY)
    assert [chain.receipt(each).status for each in (sent, odd)] == [1, 0]
    return market


def traded(rule: Rule = Rule.DLMP) -> Bundle:
    """The bundle of the whole day."""
    market = SmallMarket(rule)
    market.trade()
    return market.bundle()


def written(bundle: Bundle, folder: Path) -> Path:
    """The bundle as a folder."""
    write(bundle, folder)
    return folder
