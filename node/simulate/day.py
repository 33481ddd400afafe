"""A session of trading on simulated time: every slot from its charges to its settlement.

Phases of overlapping slots interleave by their times. What each needs is drawn beforehand
(`node.scenario.world`); what each leaves is collected in a `SlotResult`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from ledger.chain.protocol import Clock
from ledger.keys import Key
from market.agents.policies import AgentView, Coalition, Policy, Truthful, ZeroIntelligenceConstrained
from market.events import AccountResettled, AccountSettled
from market.orders import Order, Side
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Clearing, Components, Conditions, Devices, SlotPrices
from market.units import Floats, Ints, quantise_energy
from node.oracle.signers import OracleError, Proposal, Signer
from node.scenario.streams import stream
from node.scenario.world import World, period
from node.simulate.appraisal import appraise, price_error
from node.simulate.bookview import SlotView
from node.simulate.coalitions import Coalitions, coalitions_of, partners_in
from node.simulate.delivery import Delivery, deliver, deliver_on_tariff, scheduled_state
from node.simulate.ledgerless import TwinSession
from node.simulate.meters import corrected, late_readings, readings_of
from node.simulate.quotes import utility_orders
from node.simulate.result import SlotResult, StoredSlot, Welfare
from node.simulate.session import Member, Session

if TYPE_CHECKING:
    from node.simulate.storing import Storing

CHARGES_LEAD_SECONDS = 240
"""Charges go out this long before a slot opens."""
FIRST_ROUND_SECONDS = 60
AFTER_GATE_SECONDS = 60
AFTER_DELIVERY_SECONDS = 60
LATE_READINGS_SECONDS = 300
"""Readings that come too late for a settlement come so long after it."""
PHASE_SECONDS = 180
"""What a phase may take on a chain that gives every transaction a block of its own."""


class Phase(IntEnum):
    """Phases of a slot, in the order they run when due at one moment."""

    SETTLE = 0
    SETTLE_LATER = 1
    CORRECT = 2
    PRICES = 3
    GATE = 4
    CHARGES = 5
    QUOTES = 6
    ROUND = 7


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
    priced_on: Conditions | None = None
    delivery: Delivery | None = None
    settled: tuple[AccountSettled, ...] = ()
    resettled: tuple[AccountResettled, ...] = ()
    uncharged: str = ""
    unpriced: str = ""
    contracted_wh: dict[str, int] = field(default_factory=dict)
    coalitions: Coalitions = ()


class TradingDay:
    """Runs a world through a session. `shift` is added to the scenario's slot numbers on the chain."""

    def __init__(
        self,
        world: World,
        session: Session | TwinSession,
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
        self._queue: list[Due] = []
        self._slots = [
            _Progress(SlotView(self.chain_slot(i), session.address_of)) for i in range(world.periods)
        ]
        self._rngs = [stream(world.scenario.seed, "agents", k) for k in range(len(world.bus))]
        self._arrivals = stream(world.scenario.seed, "arrivals")
        self._late = late_readings(world)
        self._policy = _policy(world)
        self._storing = _storing(world, reference, self.chain_slot(0))
        self._days: dict[int, tuple[Proposal, tuple[Signer, ...]] | str] = {}
        self._day_conditions: dict[int, Conditions] = {}
        self._day_central: dict[int, Floats] = {}
        self._keys = {key.address: key for key in session.cast.prosumers}

    def chain_slot(self, index: int) -> int:
        """Number on the chain of the scenario's slot `index`."""
        return self.world.first_slot + self.shift + index

    def run(self) -> tuple[SlotResult, ...]:
        """Trade, deliver and settle every slot; results in the scenario's order."""
        self._prepare()
        self._queue = self._agenda()
        done = 0
        while self._queue:
            due = heapq.heappop(self._queue)
            self.clock.advance_to(due.time)
            _PHASES[due.phase](self, due)
            done += 1
            total = done + len(self._queue)
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
            closing = terms.closing(slot)
            agenda.append(Due(closing, Phase.GATE, index))
            agenda.append(Due(closing + AFTER_GATE_SECONDS, Phase.PRICES, index))
            agenda.append(Due(terms.end(slot) + AFTER_DELIVERY_SECONDS, Phase.SETTLE, index))
        heapq.heapify(agenda)
        return agenda

    # --- phases ---------------------------------------------------------------------------------

    def _charges(self, due: Due) -> None:
        """The firm charges; a slot for which the oracles can prove none is not traded."""
        slot, conditions = self._slots[due.index], self.world.conditions(due.index, self.world.forecast)
        if self._storing is not None:
            self._charges_of_day(due, self._storing)
            return
        try:
            slot.charges = self.session.post_charges(slot.view.slot, conditions)
        except OracleError as failure:
            slot.uncharged = str(failure)

    def _charges_of_day(self, due: Due, storing: Storing) -> None:
        """The same with storages: the first slot of a day has the whole day cleared, and planned."""
        slot, day = self._slots[due.index], self.world.day_of(due.index)
        if day.start not in self._days:
            ahead = self._day_conditions[day.start] = storing.day_ahead(due.index)
            try:
                self._days[day.start] = self.session.oracles.agree(ahead)
            except OracleError as failure:
                self._days[day.start] = str(failure)
            agreed = self._days[day.start]
            storing.plan(due.index, None if isinstance(agreed, str) else agreed[0].solution.primal)
        agreed = self._days[day.start]
        if isinstance(agreed, str):
            slot.uncharged = agreed
            return
        proposal, signers = agreed
        own = proposal.of_period(self.world.feeder, due.index - day.start, hours=self.world.hours)
        slot.charges = self.session.publish_charges(slot.view.slot, own, signers)

    def _quotes(self, due: Due) -> None:
        """The utility's two hub quotes, and its bid for the forecast passive load and losses."""
        slot, utility = self._slots[due.index], self.session.cast.utility
        if slot.charges is None:
            return
        orders = utility_orders(self.world, utility.address, slot.view.slot, due.index, slot.charges)
        self._place(slot.view, [(utility, order) for order in orders])

    def _round(self, due: Due) -> None:
        """Every prosumer's agent, in seeded order, answers the book as the round found it."""
        slot = self._slots[due.index]
        if slot.charges is None:
            return
        orders: list[tuple[Key, Order]] = []
        devices = period(self.world.forecast.devices, due.index)
        views = [self._view(k, due, devices) for k in range(len(self.world.bus))]
        if due.round == 0:
            slot.coalitions = coalitions_of(self.world.scenario.bidding, views)
        partners = partners_in(slot.coalitions)
        for k in self._arrivals.permutation(len(views)):
            view = views[k]
            if others := partners.get(int(k) + 1):
                view = replace(view, partners=tuple(views[other - 1] for other in others))
            key = self.session.cast.prosumers[k]
            orders.extend((key, order) for order in self._policy.orders(view, self._rngs[k]))
        self._place(slot.view, orders)

    def _gate(self, due: Due) -> None:
        slot = self._slots[due.index]
        slot.view.apply(self.session.close_gate(slot.view.slot))
        slot.contracted_wh = dict(slot.view.contracted)

    def _prices(self, due: Due) -> None:
        slot, storing = self._slots[due.index], self._storing
        conditions = (
            storing.rest_of_day(due.index) if storing else self.world.conditions(due.index, self.world.last)
        )
        slot.priced_on = conditions
        try:
            slot.prices = self.session.post_prices(slot.view.slot, conditions)
        except OracleError as failure:
            slot.unpriced = str(failure)
        if storing is not None:
            storing.follow(due.index, slot.prices.solution.primal if slot.prices else None)

    def _settle(self, due: Due) -> None:
        """Delivery happened: meters and substation are read, and everybody is settled."""
        self._read(due.index)
        terms, wait = self.world.terms, 0
        if self._slots[due.index].prices is None:
            # the contract waits for prices until T_p, and settles by the tariff rule from then on
            wait = terms.price_grace
        if self._late[due.index].any():
            # and for readings until T1; from then on it takes estimates
            wait = max(wait, terms.meter_grace)
        if wait:
            heapq.heappush(self._queue, Due(due.time + wait, Phase.SETTLE_LATER, due.index))
        else:
            self._settle_now(due)

    def _settle_now(self, due: Due) -> None:
        slot, late = self._slots[due.index], bool(self._late[due.index].any())
        if late:
            self.session.estimate(slot.view.slot)
            heapq.heappush(self._queue, Due(due.time + LATE_READINGS_SECONDS, Phase.CORRECT, due.index))
        slot.settled = self.session.settle(slot.view.slot)

    def _correct(self, due: Due) -> None:
        """Late readings come in, and correct what was settled by estimates."""
        slot, late = self._slots[due.index], self._late[due.index]
        assert slot.delivery is not None
        number, metered = slot.view.slot, slot.delivery.metered_wh
        self.session.post_readings(number, readings_of(metered, late))
        accounts = [self.session.cast.prosumers[k].address for k in np.flatnonzero(late)]
        slot.resettled = self.session.resettle(number, accounts)
        slot.settled = corrected(slot.settled, slot.resettled)

    def _read(self, index: int) -> None:
        slot, number = self._slots[index], self.chain_slot(index)
        charging = self._storing.done(index) if self._storing else None
        if slot.prices is not None:
            slot.delivery = deliver(self.world, index, slot.prices.prices, slot.prices.solution, charging)
        else:
            slot.delivery = deliver_on_tariff(
                self.world, index, self._charges_of(slot).charges, self._contracted(slot), charging
            )
        self.session.post_readings(number, readings_of(slot.delivery.metered_wh, ~self._late[index]))
        self.session.post_substation(
            number,
            slot.delivery.import_wh,
            int(self.world.wholesale[index]),
            [int(energy) for energy in slot.delivery.passive_wh],
        )

    # --- inside ---------------------------------------------------------------------------------

    def _place(self, view: SlotView, orders: Sequence[tuple[Key, Order]]) -> None:
        if orders:
            view.apply(self.session.place(orders))

    def _view(self, k: int, due: Due, devices: Devices) -> AgentView:
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
            devices=devices,
            column=k,
            firm_p=float(world.forecast.firm_p[due.index, k]) + self._planned(due.index, k),
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

    def _planned(self, index: int, k: int) -> float:
        """What a prosumer's storages take in a slot by the day-ahead plan, pu: it is traded with the rest."""
        return float(self._storing.planned(index)[k]) if self._storing else 0.0

    def _contracted(self, slot: _Progress) -> Ints:
        """Net contracted energy by prosumer, Wh."""
        everybody = self.session.cast.prosumers
        return np.array([slot.contracted_wh.get(key.address, 0) for key in everybody], dtype=np.int64)

    def _charges_of(self, slot: _Progress) -> SlotPrices:
        """The prices behind the firm charges; flat zeros where none were posted."""
        return slot.charges.prices if slot.charges else SlotPrices((0,) * self.world.feeder.buses, 0)

    def _prices_of(self, slot: _Progress, index: int) -> SlotPrices:
        """The posted prices; where there are none, the identity's reference λ_b = ω + ν_b."""
        if slot.prices is not None:
            return slot.prices.prices
        wholesale = int(self.world.wholesale[index])
        return SlotPrices(tuple(wholesale + charge for charge in self._charges_of(slot).charges), 0)

    def _result(self, index: int) -> SlotResult:
        """What the slot left. Raises ClearingFailed, by the slot, where no central clearing ends."""
        try:
            return self._measured(index)
        except ClearingFailed as failure:
            raise ClearingFailed(f"slot {index}: {failure}") from failure

    def _measured(self, index: int) -> SlotResult:
        slot, world = self._slots[index], self.world
        assert slot.delivery is not None
        contracted = self._contracted(slot)
        settled = {record.account: record for record in slot.settled}
        proposals = [
            (name, each, conditions)
            for name, each, conditions in (
                ("charges", slot.charges, self._charged_on(index)),
                ("prices", slot.prices, slot.priced_on),
            )
            if each is not None and conditions is not None
        ]
        shed_wh = {name: self._shed_wh(each, known) for name, each, known in proposals}
        none_wh = np.zeros(world.feeder.buses, dtype=np.int64)
        return SlotResult(
            index=index,
            slot=slot.view.slot,
            start=(world.first_slot + index) * world.terms.slot_seconds,
            tariff=world.tariff,
            wholesale=int(world.wholesale[index]),
            charges=self._charges_of(slot),
            prices=self._prices_of(slot, index),
            components=slot.prices.solution.components if slot.prices else _no_components(world),
            reactive_price=(
                slot.prices.solution.duals.reactive[0] if slot.prices else np.full(world.feeder.buses, np.nan)
            ),
            atc_rounds=0
            if self._is_central
            else max((each.solution.iterations for _, each, _ in proposals if not each.fallback), default=0),
            atc_error=0.0
            if self._is_central
            else max((self._error(each, known) for _, each, known in proposals), default=0.0),
            charges_shed_wh=shed_wh.get("charges", none_wh),
            prices_shed_wh=shed_wh.get("prices", none_wh),
            placed=tuple(slot.view.placed),
            fills=tuple(slot.view.fills),
            voided=tuple(slot.view.voided),
            contracted_wh=contracted,
            metered_wh=slot.delivery.metered_wh,
            passive_wh=slot.delivery.passive_wh,
            import_wh=slot.delivery.import_wh,
            scheduled=scheduled_state(world, index, contracted, world.last),
            delivered=slot.delivery.state,
            settled=tuple(settled[key.address] for key in self.session.cast.prosumers),
            utility=settled[self.session.cast.utility.address],
            welfare=self._welfare(index, slot.delivery, contracted),
            fallback="; ".join(f"{name}: {each.fallback}" for name, each, _ in proposals if each.fallback),
            coalitions=slot.coalitions,
            uncharged=slot.uncharged,
            unpriced=slot.unpriced,
            late=int(self._late[index].sum()),
            resettled=slot.resettled,
            stored=self._stored(index),
        )

    @property
    def _is_central(self) -> bool:
        """Whether slots are cleared together by what they would be compared with."""
        return self._storing is not None and self.world.scenario.oracle.method != "atc"

    def _charged_on(self, index: int) -> Conditions | None:
        """The conditions behind a slot's charges."""
        if self._storing is None:
            return self.world.conditions(index, self.world.forecast)
        return self._day_conditions.get(self.world.day_of(index).start)

    def _shed_wh(self, proposal: Proposal, known: Conditions) -> Ints:
        """Firm load by bus that a proposal's clearing plans to shed in its slot, Wh."""
        shed = proposal.solution.primal.shed[proposal.period] * known.firm_p[proposal.period]
        return quantise_energy(shed, self.world.feeder.base_mw, self.world.hours)

    def _error(self, proposal: Proposal, known: Conditions) -> float:
        """How far a proposal's DLMPs are from the reference, which clears a day's charges once."""
        day = next((first for first, ahead in self._day_conditions.items() if ahead is known), None)
        central = self._day_central.get(day) if day is not None else None
        if central is None:
            central = self._reference(self.world.feeder, known).duals.price
        if day is not None:
            self._day_central[day] = central
        return price_error(central, proposal)

    def _welfare(self, index: int, delivery: Delivery, contracted: Ints) -> Welfare:
        if self._storing is not None:
            return self._storing.appraise(index, delivery.gen, delivery.load, contracted)
        return appraise(self.world, index, self._reference, delivery, contracted)

    def _stored(self, index: int) -> StoredSlot | None:
        prices = self._slots[index].prices
        price = None if prices is None else prices.solution.duals.price[0]
        return self._storing.result(index, price) if self._storing else None

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
    Phase.SETTLE_LATER: TradingDay._settle_now,
    Phase.CORRECT: TradingDay._correct,
}


def _no_components(world: World) -> Components:
    """Of prices that were not found."""
    none = np.full((1, world.feeder.buses), np.nan)
    return Components(energy=none, loss=none, voltage=none, congestion=none)


def _storing(world: World, reference: Clearing, first_slot: int) -> Storing | None:
    """The storages in time, imported only where there are some: their clearings load slowly."""
    if not world.stores.storages.count:
        return None
    from node.simulate.storing import Storing  # noqa: PLC0415

    return Storing(world, reference, first_slot)


def _policy(world: World) -> Policy:
    section = world.scenario.bidding
    if section.policy == "zic":
        return ZeroIntelligenceConstrained()
    truthful = Truthful(markup=section.markup)
    return Coalition(truthful) if section.together else truthful
