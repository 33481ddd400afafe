"""Keeps the market going: schedules slots and takes each through its phases, by the chain's own time.

What is due is read from the chain each time, so that a node that was stopped or a snapshot gone back to
need no care of their own: the operator does what the contract still allows. After a jump in time, slots
with orders are closed, priced while there is time, and settled; those without are passed over. Charges
count only before a slot opens, so that a market whose time has jumped would stand until the next opening;
therefore the operator is told of a jump beforehand (`prepare`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from threading import Condition
from threading import Event as Flag

import numpy as np

from ledger.chain.protocol import ChainError
from ledger.state import SlotState
from market.agents.utility import IMPORT_NONCE
from market.feeder.powerflow import power_flow
from market.orders import OrderRejected, Reject
from market.slots import Terms
from market.units import NEUR_PER_EUR, WH_PER_MWH, Ints, quantise_energy
from node.oracle.signers import OracleError, Proposal
from node.scenario.streams import stream
from node.simulate.quotes import utility_orders
from node.testnet.chain import StoppingError
from node.testnet.elsewhere import Readings, forecast_orders
from node.testnet.market import SEED, Market
from node.testnet.narrator import clock_time

TICK_SECONDS = 1.0
CHARGES_AHEAD_SECONDS = 1_800
"""Charges go out this long before a slot opens."""
SCHEDULED_AT_ONCE = 24
BEFORE_OPENING_SECONDS = 30
"""Nothing that must be on the chain before a slot opens is begun later than this before it."""
TRADING_SECONDS_MIN = 300
"""A slot whose gate is nearer than this is not worth opening."""
AFTER_DELIVERY_SECONDS = 5
SLOTS_LOOKED_BACK = 200
"""How far a resumed market looks for slots that were not settled."""
DEVIATION_SHARE = 0.05
"""Standard deviation of what test meters read, as a share of what was contracted."""
READINGS_SECONDS = 60
"""How long after delivery meters elsewhere may take before the substation is read without them."""
RETRY_SECONDS = 20.0
ATTEMPTS_MAX = 3
JUMP_SECONDS = 60
"""Chain time that gains this much on the machine's clock between two looks was moved by somebody."""
CALM_SECONDS = 4.0
"""How long the operator lets somebody move time before it acts again."""
TURN_SECONDS = 10.0
"""How long a jump in time waits for the operator to finish what it is at."""


class Phase(Enum):
    """What can be due for a slot, in the order of its life."""

    CHARGES = "charges"
    QUOTES = "quotes"
    GATE = "gate closure"
    PRICES = "prices"
    METERS = "readings"
    SETTLE = "settlement"


def due(terms: Terms, slot: int, state: SlotState, now: int, *, quoted: bool) -> Phase | None:
    """The phase that a scheduled slot is due for at chain second `now`, None for none.

    `quoted` says whether the utility's orders are in. Charges are not among them: they are due ahead.
    """
    if now < terms.opens(slot) or state.settled or not state.charges_complete:
        return None  # without charges nobody could trade
    if now < terms.gate(slot):
        return None if quoted else Phase.QUOTES
    if not state.gate_closed:
        return Phase.GATE if now >= terms.closing(slot) else None
    if not state.prices_posted and now < terms.prices_due(slot) - BEFORE_OPENING_SECONDS:
        return Phase.PRICES
    if now < terms.end(slot) + AFTER_DELIVERY_SECONDS:
        return None
    if not state.substation_posted:
        return Phase.METERS
    if state.prices_complete or now >= terms.prices_due(slot):
        return Phase.SETTLE
    return None


def passed_over(terms: Terms, slot: int, state: SlotState, now: int) -> bool:
    """Whether time passed a slot without trade: it opened without charges, or no order ever rested in it."""
    if now < terms.gate(slot):
        return now >= terms.opens(slot) and not state.charges_complete
    return not state.ordered


@dataclass(slots=True)
class _Failure:
    """How often a slot's phase failed, and the monotonic second before which it is not tried again."""

    attempts: int
    not_before: float


class Operator:
    """Oracles, utility, meters and relayer of a testnet's market, on one thread."""

    def __init__(
        self,
        market: Market,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        oracles_elsewhere: bool = False,
        meters_elsewhere: bool = False,
    ) -> None:
        self._market = market
        self._session = market.session
        self._exchange = market.session.exchange
        self._terms = market.session.terms
        self._tell = tell
        self._complain = complain
        self._monotonic = monotonic
        self._oracles_elsewhere = oracles_elsewhere
        self._readings = Readings(market) if meters_elsewhere else None
        self._tracked: set[int] = set()
        self._charges: dict[int, Proposal] = {}
        self._failures: dict[int, _Failure] = {}
        self._quoted: set[int] = set()
        self._waited: set[tuple[int, Phase]] = set()
        self._turn_free = Condition(market.chain.engine.lock)
        self._at_work = False
        self._drift: float | None = None
        self._calm_at = 0.0

    # --- living ---------------------------------------------------------------------------------

    def run(self, stop: Flag) -> None:
        """Do what is due, until `stop` is set."""
        while not stop.wait(TICK_SECONDS):
            try:
                if self._market.chain.moves and not self._time_is_moving():
                    self.step()
            except StoppingError:
                return
            except Exception as failure:  # the market must outlive whatever a client does to its chain
                self._complain(f"market: {type(failure).__name__}: {failure}")
                stop.wait(RETRY_SECONDS)

    def find_unsettled(self) -> None:
        """Look for slots that a resumed market has still to serve: past ones, open ones, charged ones."""
        terms = self._terms
        newest = (self._market.chain.now() + CHARGES_AHEAD_SECONDS + terms.open_lead) // terms.slot_seconds
        for slot in range(newest - SLOTS_LOOKED_BACK, newest + 1):
            state = self._exchange.slot_of(slot)
            if state.charges_complete and not state.settled:  # without charges nobody could trade
                self._tracked.add(slot)

    def open_ahead(self, target: int) -> None:
        """Schedule and charge the slots that will be open at chain second `target`, and the next to open."""
        now, terms = self._market.chain.now(), self._terms
        earliest = now + BEFORE_OPENING_SECONDS + terms.open_lead
        tradable = target + TRADING_SECONDS_MIN + terms.gate_lead
        first = max(earliest, tradable) // terms.slot_seconds + 1
        last = (target + CHARGES_AHEAD_SECONDS + terms.open_lead) // terms.slot_seconds
        for slot in range(first, last + 1):
            self._announce(slot)

    def prepare(self, target: int) -> None:
        """Before time jumps to second `target`: let a slot be open then, if none would be.

        Takes the engine's lock, and builds blocks. Never raises: whoever moves time is not to blame.
        """
        chain, terms = self._market.chain, self._terms
        newest = (target + terms.open_lead) // terms.slot_seconds
        lasting = (target + terms.slot_seconds + TRADING_SECONDS_MIN + terms.gate_lead) // terms.slot_seconds
        try:
            if not chain.moves or terms.opens(newest) < chain.now() + BEFORE_OPENING_SECONDS:
                return
            if any(self._exchange.slot_of(slot).charges_complete for slot in range(lasting + 1, newest + 1)):
                return
            with self._turn_free:
                if self._turn_free.wait_for(lambda: not self._at_work, TURN_SECONDS):
                    with chain.at_once():
                        self._announce(newest)
        except Exception as failure:
            self._complain(f"market: before a jump in time: {type(failure).__name__}: {failure}")

    def _announce(self, slot: int) -> None:
        """Schedule a slot, post its charges, and see to it from now on."""
        with self._turn():
            state = self._exchange.slot_of(slot)
            if not state.scheduled:
                self._session.schedule(slot, self._unscheduled(slot), self._market.world.tariff)
            self._tracked.add(slot)
            if not state.charges_posted and not self._oracles_elsewhere:
                self._attempt(slot, Phase.CHARGES)

    def _unscheduled(self, first: int) -> int:
        """How many slots from `first` on can be scheduled together."""
        following = range(1, SCHEDULED_AT_ONCE)
        return next((n for n in following if self._exchange.slot_of(first + n).scheduled), SCHEDULED_AT_ONCE)

    def step(self) -> None:
        """Everything that is due now: slots that can be traded in before those that are past."""
        now = self._market.chain.now()
        self.open_ahead(now)
        for slot in sorted(self._tracked, key=lambda slot: (now >= self._terms.gate(slot), slot)):
            self._serve(slot)

    def _serve(self, slot: int) -> None:
        """Take a slot through whatever is due for it."""
        while True:
            state = self._exchange.slot_of(slot)
            now = self._market.chain.now()
            if state.settled or not state.scheduled or passed_over(self._terms, slot, state, now):
                if (slot, Phase.CHARGES) in self._waited and not state.charges_complete:
                    self._tell(f"market  {self._name(slot)}  opened without charges: nobody can trade in it")
                self._forget(slot)
                return
            utility = self._session.cast.utility.address
            quoted = slot in self._quoted or (
                state.charges_complete and self._exchange.nonce_used(slot, utility, IMPORT_NONCE)
            )
            phase = due(self._terms, slot, state, now, quoted=quoted)
            if self._oracles_elsewhere and not state.charges_complete:
                self._wait_for("the oracles' charges", slot, Phase.CHARGES, self._terms.opens(slot))
            if phase is None or self._waits_for_others(phase, slot, now):
                return
            with self._turn():
                if not self._attempt(slot, phase):
                    return

    def _waits_for_others(self, phase: Phase, slot: int, now: int) -> bool:
        """Whether others have to act first: oracles, or meters that still have time."""
        if phase is Phase.PRICES:
            if self._oracles_elsewhere:
                self._wait_for("the oracles' prices", slot, phase, self._terms.prices_due(slot))
            return self._oracles_elsewhere
        if self._readings is None or phase not in (Phase.METERS, Phase.SETTLE):
            return False
        waits_until = self._terms.end(slot) + READINGS_SECONDS
        if phase is Phase.SETTLE:
            waits_until = self._terms.readings_due(slot)
        if now >= waits_until or not self._readings.missing(slot):
            return False
        self._wait_for("meters", slot, phase, waits_until)
        return True

    def _wait_for(self, whom: str, slot: int, phase: Phase, until: int) -> None:
        """Tell once whom a slot waits for, and until which chain second."""
        if (slot, phase) not in self._waited:
            self._waited.add((slot, phase))
            self._tell(f"market  {self._name(slot)}  waits for {whom} until {clock_time(until)}")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time sends for the operators, whose transactions are numbered; reading needs no turn."""
        with self._turn_free:
            self._turn_free.wait_for(lambda: not self._at_work)
            self._at_work = True
        try:
            yield
        finally:
            with self._turn_free:
                self._at_work = False
                self._turn_free.notify_all()

    def _attempt(self, slot: int, phase: Phase) -> bool:
        """Run a phase; after a failure wait before the next attempt, and give the slot up in the end."""
        failure = self._failures.get(slot)
        if failure is not None and self._monotonic() < failure.not_before:
            return False
        try:
            said = _PHASES[phase](self, slot)
        except (ChainError, OracleError, KeyError, ValueError, RuntimeError) as refusal:
            attempts = 1 if failure is None else failure.attempts + 1
            self._failures[slot] = _Failure(attempts, self._monotonic() + RETRY_SECONDS)
            self._complain(f"market  {self._name(slot)}  {phase.value} failed: {refusal}")
            if attempts >= ATTEMPTS_MAX:
                self._complain(f"market  {self._name(slot)}  given up after {attempts} attempts")
                self._forget(slot)
            return False
        self._failures.pop(slot, None)
        self._tell(f"market  {self._name(slot)}  {phase.value}: {said}")
        return True

    def _forget(self, slot: int) -> None:
        self._tracked.discard(slot)
        self._charges.pop(slot, None)
        self._failures.pop(slot, None)
        self._quoted.discard(slot)
        self._waited = {waited for waited in self._waited if waited[0] != slot}

    def _time_is_moving(self) -> bool:
        """Whether somebody moved the chain's time within the last seconds: what is due may soon be past."""
        drift = self._market.chain.now() - self._monotonic()
        if self._drift is not None and drift - self._drift > JUMP_SECONDS:
            self._calm_at = self._monotonic() + CALM_SECONDS
        self._drift = drift
        return self._monotonic() < self._calm_at

    def _name(self, slot: int) -> str:
        return f"slot {slot} ({clock_time(self._terms.start(slot))})"

    # --- phases ---------------------------------------------------------------------------------

    def _post_charges(self, slot: int) -> str:
        world = self._market.world
        conditions = world.conditions(self._market.index(slot), world.forecast)
        self._charges[slot] = self._session.post_charges(slot, conditions)
        return f"posted for {world.feeder.buses} buses, opens {clock_time(self._terms.opens(slot))}"

    def _quote(self, slot: int) -> str:
        world, index, utility = self._market.world, self._market.index(slot), self._session.cast.utility
        charges = self._charges.get(slot)
        if self._oracles_elsewhere:
            orders = forecast_orders(world, utility.address, slot, index)
        else:
            if charges is None:  # posted by a process that was stopped since
                charges, _ = self._session.oracles.agree(world.conditions(index, world.forecast))
            orders = utility_orders(world, utility.address, slot, index, charges)
        events = self._session.place([(utility, order) for order in orders])
        rejected = [Reject(event.code) for event in events if isinstance(event, OrderRejected)]
        for reject in rejected:
            if reject is not Reject.INSUFFICIENT_FUNDS:
                raise RuntimeError(f"the utility's order was refused: {reject.rule}")
        self._quoted.add(slot)
        placed = f"the utility placed {len(orders) - len(rejected)} orders"
        if rejected:  # it may come into money, but an order that lacks it is no reason to stop the market
            placed += f", and has no money for {len(rejected)} more"
        return f"{placed}, gate closes {clock_time(self._terms.gate(slot))}"

    def _close(self, slot: int) -> str:
        self._session.close_gate(slot)
        return "makers are credited, what rested is voided"

    def _post_prices(self, slot: int) -> str:
        world = self._market.world
        proposal = self._session.post_prices(slot, world.conditions(self._market.index(slot), world.last))
        prices = proposal.prices.bus_price
        return f"posted, {min(prices) / 1_000:.1f} to {max(prices) / 1_000:.1f} EUR/MWh"

    def _meter(self, slot: int) -> str:
        """Meters read what was contracted and a seeded deviation; the substation what then flows."""
        world, index = self._market.world, self._market.index(slot)
        base_mw, hours = world.feeder.base_mw, world.hours
        if self._readings is None:
            metered = self._deviating(slot)
            self._session.post_readings(slot, metered.tolist())
        else:
            metered = self._readings.energies(slot)
        net = world.by_bus(metered / (base_mw * hours * WH_PER_MWH))
        passive = world.actual.passive_p[index]
        flow = power_flow(world.feeder, passive + net, world.actual.passive_q[index])
        self._session.post_substation(
            slot,
            int(quantise_energy(flow.net_import[0], base_mw, hours)),
            int(world.wholesale[index]),
            [int(energy) for energy in quantise_energy(passive, base_mw, hours)],
        )
        return f"{len(metered)} meters, {int(metered.sum())} Wh net"

    def _deviating(self, slot: int) -> Ints:
        """What was contracted and a seeded deviation, by account, Wh."""
        contracted = np.array(
            [self._exchange.position_of(slot, key.address).net for key in self._market.accounts]
        )
        deviation = stream(SEED, "testnet", "meter", slot).normal(0.0, DEVIATION_SHARE, len(contracted))
        return np.asarray(contracted + np.rint(deviation * np.abs(contracted)).astype(np.int64))

    def _settle(self, slot: int) -> str:
        now, terms = self._market.chain.now(), self._terms
        if now >= (terms.final(slot) if self._readings is None else terms.readings_due(slot)):
            self._session.estimate(slot)  # meters were silent, or time was moved past T2
        settled = self._session.settle(slot)
        paid = sum(
            record.total_neur for record in settled if record.account != self._session.cast.utility.address
        )
        return f"{len(settled)} accounts, prosumers paid {paid / NEUR_PER_EUR:.2f} EUR net"


_PHASES: dict[Phase, Callable[[Operator, int], str]] = {
    Phase.CHARGES: Operator._post_charges,
    Phase.QUOTES: Operator._quote,
    Phase.GATE: Operator._close,
    Phase.PRICES: Operator._post_prices,
    Phase.METERS: Operator._meter,
    Phase.SETTLE: Operator._settle,
}
