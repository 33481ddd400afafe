"""An agent on the chain: orders by its policy, its meter's reading, its bill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ledger import eip712
from ledger.chain.protocol import Reverted, TimedChain
from ledger.exchange import Exchange
from ledger.keys import Key
from ledger.state import SlotState
from market.agents.policies import LAST_NONCE, AgentView, Policy
from market.agents.utility import IMPORT_NONCE
from market.events import Event as ChainEvent
from market.messages import Reading
from market.orders import Order, OrdersFilled, OrderVoided, Side, VoidReason
from market.slots import Tariff
from market.units import eur_per_mwh, quantise_energy
from node.agent.household import IN_MW, Household
from node.client.http import Client
from node.scenario.streams import stream

SECONDS_PER_HOUR = 3_600
BILL = (
    "contracted_wh",
    "metered_wh",
    "basis",
    "trades_neur",
    "charge_neur",
    "closeout_neur",
    "imbalance_neur",
    "penalty_neur",
    "total_neur",
)
"""What an agent tells of a payment, as the market's server does."""
MARGIN_SECONDS = 5
"""No order is sent nearer to the gate."""

Event = dict[str, Any]
"""What the agent tells of: `event`, `slot`, and its figures."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How an agent trades: its policy, if any, and in how many rounds between opening and gate."""

    policy: Policy | None
    rounds: int = 4


def outcome(order: Order, happened: Iterable[ChainEvent]) -> Event:
    """What became of an order at once: `filled_wh`, and `voided_wh` with its reason; what is left rests."""
    told: Event = {"filled_wh": 0}
    for event in happened:
        match event:
            case OrdersFilled(taker=order.trader, taker_nonce=order.nonce):
                told["filled_wh"] += event.quantity
            case OrderVoided(trader=order.trader, nonce=order.nonce):
                told |= {"voided_wh": event.quantity, "void_reason": VoidReason(event.reason).name.lower()}
    return told


class Trader:
    """One account's business with the exchange. `step` does what is due; the agent pays its own gas."""

    def __init__(
        self,
        chain: TimedChain,
        exchange: Exchange,
        key: Key,
        *,
        meter: Key | None,
        household: Household,
        habits: Habits,
        market: Client,
        told: Callable[[Event], None],
    ) -> None:
        self._chain, self._exchange, self._key, self._meter = chain, exchange, key, meter
        self._household, self._habits, self._market, self._told = household, habits, market, told
        self._terms = exchange.terms()
        self._account = exchange.account_of(key.address)
        self._rng = stream(0, "agent", key.address)
        self._traded: dict[int, int] = {}
        self._nonces: dict[int, int] = {}
        self._unread: set[int] = set()
        self._unbilled: set[int] = set()
        self._followed: int | None = None

    def step(self) -> None:
        """Everything that is due now; what fails is tried again. Raises ChainError, ServiceError."""
        now, terms = self._chain.now(), self._terms
        self._follow(now)
        for slot in range((now + terms.gate_lead) // terms.slot_seconds, self._newest(now) + 1):
            self._trade(slot, now)
        for slot in sorted(self._unread):
            if now >= terms.end(slot):
                self._read(slot, now)
        for slot in sorted(self._unbilled):
            if now >= terms.end(slot):
                self._bill(slot)

    def _newest(self, now: int) -> int:
        """The last slot that has opened."""
        return (now + self._terms.open_lead) // self._terms.slot_seconds

    def _follow(self, now: int) -> None:
        """Note slots that have opened since: each is to be read and billed, whether it is traded in or not.

        At first those that an agent before this one may have left open too.
        """
        terms, exchange = self._terms, self._exchange
        if self._followed is None:
            self._followed = max((now - terms.resettle_grace) // terms.slot_seconds - 2, -1)
        while self._followed < self._newest(now):
            slot = self._followed + 1
            state = exchange.slot_of(slot)
            if state.scheduled and not state.settled:
                self._unbilled.add(slot)
            if state.scheduled and not exchange.reading_of(slot, self._key.address).found:
                self._unread.add(slot)
            self._followed = slot

    # --- orders ---------------------------------------------------------------------------------

    def _trade(self, slot: int, now: int) -> None:
        """Act once in each round of a slot."""
        opens, gate = self._terms.opens(slot), self._terms.gate(slot)
        if not opens <= now < gate - MARGIN_SECONDS:
            return
        rounds = self._habits.rounds
        number = (now - opens) * rounds // (gate - opens)
        if self._traded.get(slot, -1) >= number:
            return
        state = self._exchange.slot_of(slot)
        if not state.charges_complete or not (number == rounds - 1 or self._is_quoted(slot)):
            return
        self._traded[slot] = number
        if self._habits.policy is not None:
            for order in self._habits.policy.orders(self._view(slot, number, state), self._rng):
                self._place(order)

    def _is_quoted(self, slot: int) -> bool:
        """Whether the utility's offers have come: before, who only takes would find nobody in the book.

        Its ask is always among them. They may never come, so the last round does not wait for them.
        """
        return self._exchange.nonce_used(slot, self._exchange.utility(), IMPORT_NONCE)

    def _place(self, order: Order) -> None:
        signature = self._key.sign(eip712.digest(self._exchange.domain, order))
        self._nonces[order.slot] = order.nonce + 1
        told: Event = {
            "event": "order",
            "slot": order.slot,
            "side": Side(order.side).name.lower(),
            "limit_ueur_per_kwh": order.limit_ueur_per_kwh,
            "quantity_wh": order.quantity_wh,
        }
        try:
            sent = self._exchange.place_order(order, signature, sender=self._key)
            told |= outcome(order, self._exchange.confirm(sent))
        except Reverted as refusal:
            told["refused"] = str(refusal)
        self._told(told)

    def _view(self, slot: int, number: int, state: SlotState) -> AgentView:
        exchange, account, own = self._exchange, self._account, self._household.own(slot)
        position = exchange.position_of(slot, self._key.address)
        bid, ask = exchange.best_bid(slot, 0), exchange.best_ask(slot, 0)
        return AgentView(
            trader=self._key.address,
            slot=slot,
            bus=account.bus,
            round=number,
            rounds=self._habits.rounds,
            charge=exchange.charge_of(slot, account.bus),
            tariff=Tariff(retail=state.retail, network_fee=state.network_fee, fit=state.fit),
            lot_wh=self._terms.lot_wh,
            hours=self._terms.slot_seconds / SECONDS_PER_HOUR,
            base_mw=IN_MW,
            devices=own.devices,
            column=0,
            firm_p=own.firm_mw,
            contracted_wh=position.net,
            resting_bid_wh=position.resting_bids,
            resting_ask_wh=position.resting_asks,
            best_bid=bid.tick if bid.found else None,
            best_ask=ask.tick if ask.found else None,
            next_nonce=self._next_nonce(slot),
            import_capacity_wh=account.import_capacity,
            export_capacity_wh=account.export_capacity,
        )

    def _next_nonce(self, slot: int) -> int:
        """The first nonce that this account has not used, asked of the chain when it is begun anew."""
        if slot not in self._nonces:
            free = (
                number
                for number in range(LAST_NONCE + 1)
                if not self._exchange.nonce_used(slot, self._key.address, number)
            )
            self._nonces[slot] = next(free, LAST_NONCE + 1)
        return self._nonces[slot]

    # --- after delivery -------------------------------------------------------------------------

    def _read(self, slot: int, now: int) -> None:
        """Devices followed the price, the storage its plan; all the contract where there is no price.

        Without charges nobody traded, and everybody did what pays without a market. A reading is kept until
        the chain has one, or refuses it by a rule.
        """
        posted = self._exchange.reading_of(slot, self._key.address).found
        if posted or self._meter is None or now >= self._terms.final(slot):
            self._unread.discard(slot)
            return
        net_wh = self._net_wh(slot)
        reading = Reading(self._key.address, slot, net_wh, (), self._account.meter_epoch)
        signature = self._meter.sign(eip712.digest(self._exchange.domain, reading))
        told: Event = {"event": "reading", "slot": slot, "net_energy_wh": net_wh}
        try:
            self._exchange.confirm(self._exchange.post_reading(reading, signature, sender=self._key))
        except Reverted as refusal:
            told["refused"] = str(refusal)
        self._unread.discard(slot)
        self._told(told)

    def _net_wh(self, slot: int) -> int:
        """What the meter shows of a slot."""
        state, own = self._exchange.slot_of(slot), self._household.own(slot)
        if state.charges_complete and not state.prices_complete:
            return self._exchange.position_of(slot, self._key.address).net
        if state.prices_complete:
            injected_mw = own.best_mw(float(eur_per_mwh(self._exchange.price_of(slot, self._account.bus))))
        else:
            injected_mw = own.alone_mw(float(eur_per_mwh(state.retail)), float(eur_per_mwh(state.fit)))
        hours = self._terms.slot_seconds / SECONDS_PER_HOUR
        return -int(quantise_energy(injected_mw, IN_MW, hours))

    def _bill(self, slot: int) -> None:
        """What the slot came to, once it is settled."""
        mine = self._key.address
        for paid in self._market.items("settlements", slot=slot, account=mine, kind="settlement"):
            self._unbilled.discard(slot)
            self._told({"event": "bill", "slot": slot} | {name: paid[name] for name in BILL})
