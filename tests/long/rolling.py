"""A market of processes that goes on, slot after slot, and then runs out: no slot is passed over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.network.processes import Network
from tests.network.trading_day import READINGS_SECONDS, ordering, quiet

AFTER_GATE_SECONDS = 10
"""Some minutes are left for what is late: the next slot's charges come before it opens."""


@dataclass
class Rolling:
    """A market that is led from one slot to the next; `slots` are those that opened in turn."""

    net: Network
    slots: list[int] = field(default_factory=list)

    def next_slot(self, meanwhile: Callable[[], None]) -> None:
        """A quarter of an hour: one slot opens, one is in its last round of bidding, the gate of one closes.

        `meanwhile` happens whenever time has moved, before what is due then is waited for.
        """
        net, terms = self.net, self.net.exchange.terms()
        slot = self.slots[-1] + 1 if self.slots else net.next_slot()
        net.wait(f"charges of {slot}", lambda: self._charged(slot) or net.chain.now() >= terms.opens(slot))
        net.move_to(terms.opens(slot) + 1)
        self.slots.append(slot)
        meanwhile()
        quiet(net)
        closing = (terms.opens(slot) + terms.gate_lead) // terms.slot_seconds + 1
        if closing + 1 in self.slots:
            net.wait(f"orders of {closing + 1}", lambda: self._bid_for(closing + 1))
        if closing in self.slots:
            self._close(closing, meanwhile)

    def run_out(self) -> None:
        """Agents bid no more, and every slot that was traded in gets its prices and is settled."""
        net, terms = self.net, self.net.exchange.terms()
        stop_bidding(net)
        for slot in self.slots:
            if terms.prices_due(slot) > net.chain.now():
                self._close(slot)
        net.move_to(terms.end(self.slots[-1]) + READINGS_SECONDS)
        quiet(net)
        net.move_to(terms.readings_due(self.slots[-1]) + 1)
        for slot in filter(self._traded, self.slots):
            net.wait(f"settlement of {slot}", lambda slot=slot: net.exchange.slot_of(slot).settled)

    def _close(self, slot: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.net.move_to(self.net.exchange.terms().gate(slot) + AFTER_GATE_SECONDS)
        meanwhile()
        self.net.wait(f"prices of {slot}", lambda: not self._traded(slot) or self._priced(slot))

    def _charged(self, slot: int) -> bool:
        return self.net.exchange.slot_of(slot).charges_complete

    def _priced(self, slot: int) -> bool:
        return self.net.exchange.slot_of(slot).prices_complete

    def _traded(self, slot: int) -> bool:
        """Whether it opened, and somebody bid."""
        state = self.net.exchange.slot_of(slot)
        return state.charges_complete and state.ordered

    def _bid_for(self, slot: int) -> bool:
        """Whether an agent has bid, or none can: a slot that a fault left without charges never opens."""
        over = self.net.chain.now() >= self.net.exchange.terms().gate(slot)
        return over or not self._charged(slot) or ordering(self.net, slot) > 0


def stop_bidding(net: Network) -> None:
    """Begin every agent anew, without a policy: it answers oracles and reads its meter, and bids no more."""
    for agent in net.agents.values():
        greeted = agent.said.count('"ready"')
        agent.stop()
        agent.command += ("--policy", "none")
        agent.start()
        net.wait("it is back", lambda agent=agent, greeted=greeted: agent.said.count('"ready"') > greeted)
