"""A session of trading on simulated time: every slot from its charges to its settlement.

Phases of overlapping slots interleave by their times. What each needs is drawn beforehand
(`node.scenario.world`); what each leaves is collected in a `SlotResult`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from ledger.chain.protocol import Clock
from ledger.keys import Key
from market.agents.policies import AgentView, Policy, Truthful, ZeroIntelligenceConstrained
from market.events import AccountSettled
from market.orders import Order, Side
from market.pricing.conditions import Clearing
from node.oracle.signers import Proposal
from node.scenario.world import World, period, stream
from node.simulate.appraisal import appraise, price_error
from node.simulate.bookview import SlotView
from node.simulate.delivery import Delivery, deliver, scheduled_state
from node.simulate.quotes import utility_orders
from node.simulate.result import SlotResult
from node.simulate.session import Member, Session

CHARGES_LEAD_SECONDS = 240
"""Charges go out this long before a slot opens."""
FIRST_ROUND_SECONDS = 60
AFTER_GATE_SECONDS = 60
AFTER_DELIVERY_SECONDS = 60
PHASE_SECONDS = 180
"""What a phase may take on a chain that gives every transaction a block of its own."""


class Phase(IntEnum):
    """Phases of a slot, in the order they run when due at one moment."""

    SETTLE = 0
    PRICES = 1
    GATE = 2
    CHARGES = 3
    QUOTES = 4
    ROUND = 5


@dataclass(order=True, frozen=True, slots=True)
class Due:
    """A phase of a slot and when it is due (Unix second on the chain); `round` counts trading rounds."""

    time: int
    phase: Phase
    index: int
    round: int = 0


@dataclass(eq=False)
class _Progress:
    """What one slot has so far."""

    view: SlotView
    charges: Proposal | None = None
    prices: Proposal | None = None
    delivery: Delivery | None = None
    settled: tuple[AccountSettled, ...] = ()
    contracted_wh: dict[str, int] = field(default_factory=dict)


class TradingDay:
    """Runs a world through a session. `shift` is added to the scenario's slot numbers on the chain."""

    def __init__(
        self,
        world: World,
        session: Session,
        clock: Clock,
        reference: Clearing,
        *,
        shift: int = 0,
        progress: Callable[[int, int, str], None] = lambda done, total, what: None,
    ) -> None:
        self.world = world
        self.session = session
        self.clock = clock
        self.shift = shift
        self._reference = reference
        self._report = progress
        self._slots = [_Progress(SlotView(self.chain_slot(i))) for i in range(world.periods)]
        self._rngs = [stream(world.scenario.seed, "agents", k) for k in range(len(world.bus))]
        self._arrivals = stream(world.scenario.seed, "arrivals")
        self._policy = _policy(world)
        self._keys = {key.address: key for key in session.cast.prosumers}

    def chain_slot(self, index: int) -> int:
        """Number on the chain of the scenario's slot `index`."""
        return self.world.first_slot + self.shift + index

    def run(self) -> tuple[SlotResult, ...]:
        """Trade, deliver and settle every slot; results in the scenario's order."""
        self._prepare()
        queue = self._agenda()
        total, done = len(queue), 0
        while queue:
            due = heapq.heappop(queue)
            self.clock.advance_to(due.time)
            _PHASES[due.phase](self, due)
            done += 1
            self._report(done, total, f"slot {due.index + 1}/{self.world.periods} {due.phase.name.lower()}")
        return tuple(self._result(index) for index in range(self.world.periods))

    # --- preparation ----------------------------------------------------------------------------

    def _prepare(self) -> None:
        world, section = self.world, self.world.scenario.prosumers
        members = [
            Member(
                bus=int(bus),
                import_capacity_wh=int(taking),
                export_capacity_wh=int(giving),
                credit_limit_neur=round(section.credit_limit_eur * 10**9),
                deposit_neur=round(section.deposit_eur * 10**9),
            )
            for bus, taking, giving in zip(
                world.bus, world.import_capacity_wh, world.export_capacity_wh, strict=True
            )
        ]
        self.session.register(members)
        self.session.schedule(self.chain_slot(0), world.periods, world.tariff)

    def _agenda(self) -> list[Due]:
        terms, rounds = self.world.terms, self.world.scenario.bidding.rounds
        agenda: list[Due] = []
        for index in range(self.world.periods):
            slot = self.chain_slot(index)
            opens, gate = terms.opens(slot), terms.gate(slot)
            agenda.append(Due(opens - CHARGES_LEAD_SECONDS, Phase.CHARGES, index))
            agenda.append(Due(opens, Phase.QUOTES, index))
            first = opens + FIRST_ROUND_SECONDS
            step = (gate - PHASE_SECONDS - first) // rounds
            agenda.extend(Due(first + k * step, Phase.ROUND, index, k) for k in range(rounds))
            agenda.append(Due(gate, Phase.GATE, index))
            agenda.append(Due(gate + AFTER_GATE_SECONDS, Phase.PRICES, index))
            agenda.append(Due(terms.end(slot) + AFTER_DELIVERY_SECONDS, Phase.SETTLE, index))
        heapq.heapify(agenda)
        return agenda

    # --- phases ---------------------------------------------------------------------------------

    def _charges(self, due: Due) -> None:
        conditions = self.world.conditions(due.index, self.world.forecast)
        self._slots[due.index].charges = self.session.post_charges(self.chain_slot(due.index), conditions)

    def _quotes(self, due: Due) -> None:
        """The utility's two hub quotes, and its bid for the forecast passive load and losses."""
        slot, utility = self._slots[due.index], self.session.cast.utility
        assert slot.charges is not None
        orders = utility_orders(self.world, utility.address, slot.view.slot, due.index, slot.charges)
        self._place(slot.view, [(utility, order) for order in orders])

    def _round(self, due: Due) -> None:
        """Every prosumer's agent, in seeded order, answers the book as the round found it."""
        slot = self._slots[due.index]
        orders: list[tuple[Key, Order]] = []
        for k in self._arrivals.permutation(len(self.world.bus)):
            view = self._view(int(k), due)
            key = self.session.cast.prosumers[k]
            orders.extend((key, order) for order in self._policy.orders(view, self._rngs[k]))
        self._place(slot.view, orders)

    def _gate(self, due: Due) -> None:
        slot = self._slots[due.index]
        slot.view.apply(self.session.close_gate(slot.view.slot))
        slot.contracted_wh = dict(slot.view.contracted)

    def _prices(self, due: Due) -> None:
        conditions = self.world.conditions(due.index, self.world.last)
        self._slots[due.index].prices = self.session.post_prices(self.chain_slot(due.index), conditions)

    def _settle(self, due: Due) -> None:
        """Delivery happened: meters and substation are read, and everybody is settled."""
        slot, number = self._slots[due.index], self.chain_slot(due.index)
        assert slot.prices is not None
        slot.delivery = deliver(self.world, due.index, slot.prices.prices, slot.prices.solution)
        self.session.post_readings(number, slot.delivery.metered_wh)
        self.session.post_substation(
            number,
            slot.delivery.import_wh,
            int(self.world.wholesale[due.index]),
            [int(energy) for energy in slot.delivery.passive_wh],
        )
        slot.settled = self.session.settle(number)

    # --- inside ---------------------------------------------------------------------------------

    def _place(self, view: SlotView, orders: Sequence[tuple[Key, Order]]) -> None:
        if orders:
            view.apply(self.session.place(orders))

    def _view(self, k: int, due: Due) -> AgentView:
        world, slot = self.world, self._slots[due.index]
        assert slot.charges is not None
        view, address = slot.view, self.session.cast.prosumers[k].address
        bus = int(world.bus[k])
        return AgentView(
            trader=address,
            slot=view.slot,
            bus=bus,
            round=due.round,
            rounds=world.scenario.bidding.rounds,
            charge=slot.charges.prices.charges[bus],
            tariff=world.tariff,
            lot_wh=world.terms.lot_wh,
            hours=world.hours,
            base_mw=world.feeder.base_mw,
            devices=period(world.forecast.devices, due.index),
            column=k,
            firm_p=float(world.forecast.firm_p[due.index, k]),
            contracted_wh=view.contracted.get(address, 0),
            resting_bid_wh=view.resting_wh(address, Side.BID),
            resting_ask_wh=view.resting_wh(address, Side.ASK),
            best_bid=view.best(Side.BID),
            best_ask=view.best(Side.ASK),
            next_nonce=view.next_nonce(address),
            import_capacity_wh=int(world.import_capacity_wh[k]),
            export_capacity_wh=int(world.export_capacity_wh[k]),
            hub_price=slot.charges.prices.hub_price,
        )

    def _result(self, index: int) -> SlotResult:
        slot, world = self._slots[index], self.world
        assert slot.charges is not None and slot.prices is not None and slot.delivery is not None
        prosumers = self.session.cast.prosumers
        contracted = np.array([slot.contracted_wh.get(key.address, 0) for key in prosumers], dtype=np.int64)
        settled = {record.account: record for record in slot.settled}
        solution = slot.prices.solution
        return SlotResult(
            index=index,
            slot=slot.view.slot,
            start=(world.first_slot + index) * world.terms.slot_seconds,
            tariff=world.tariff,
            wholesale=int(world.wholesale[index]),
            charges=slot.charges.prices,
            prices=slot.prices.prices,
            components=solution.components,
            reactive_price=solution.duals.reactive[0],
            atc_rounds=max(
                (each.solution.iterations for each in (slot.charges, slot.prices) if not each.fallback),
                default=0,
            ),
            atc_error=max(
                price_error(self._reference, world, world.conditions(index, world.forecast), slot.charges),
                price_error(self._reference, world, world.conditions(index, world.last), slot.prices),
            ),
            placed=tuple(slot.view.placed),
            fills=tuple(slot.view.fills),
            voided=tuple(slot.view.voided),
            contracted_wh=contracted,
            metered_wh=slot.delivery.metered_wh,
            passive_wh=slot.delivery.passive_wh,
            import_wh=slot.delivery.import_wh,
            scheduled=scheduled_state(world, index, contracted, world.last),
            delivered=slot.delivery.state,
            settled=tuple(settled[key.address] for key in prosumers),
            utility=settled[self.session.cast.utility.address],
            welfare=appraise(world, index, self._reference, slot.delivery, contracted),
            fallback="; ".join(
                f"{name}: {each.fallback}"
                for name, each in (("charges", slot.charges), ("prices", slot.prices))
                if each.fallback
            ),
        )

    @property
    def rejected(self) -> int:
        """Orders that the contract skipped."""
        return sum(len(slot.view.rejected) for slot in self._slots)


_PHASES: dict[Phase, Callable[[TradingDay, Due], None]] = {
    Phase.CHARGES: TradingDay._charges,
    Phase.QUOTES: TradingDay._quotes,
    Phase.ROUND: TradingDay._round,
    Phase.GATE: TradingDay._gate,
    Phase.PRICES: TradingDay._prices,
    Phase.SETTLE: TradingDay._settle,
}


def _policy(world: World) -> Policy:
    section = world.scenario.bidding
    if section.policy == "zic":
        return ZeroIntelligenceConstrained()
    return Truthful(markup=section.markup)
