"""Whether enough accounts answered a clearing that prices may come of it.

An oracle that reaches no agent, or says that it reached none, could else set prices by forecasts alone. At
least half of the accounts must have answered the last round. Who is known as silent does not count: an
account that left every question of a clearing unanswered, which this oracle itself coordinated and others
answered. What another oracle says of silence is not taken for known; a signed answer is, whoever shows it.
"""

from __future__ import annotations

from market.atc.responses import Responses, Stand
from market.orders import Address
from node.oracle.verify import ObjectionError

SHARE_LEAST = 0.5


class Attendance:
    """What one oracle knows of who is there."""

    def __init__(self) -> None:
        self._silent: frozenset[Address] = frozenset()

    def asked(self, ended: Responses) -> None:
        """Learn from a clearing that this oracle coordinated; where nobody answered it is cut off itself."""
        unheard = {each.agent for each in ended.of(Stand.FORECAST)}
        if len(unheard) < len(ended.standings):
            self._silent |= unheard
        self.shown(ended)

    def shown(self, ended: Responses) -> None:
        """Learn who answered from another's clearing, whose signatures were verified."""
        self._silent -= {each.agent for each in ended.standings if each.stand is not Stand.FORECAST}

    def require(self, ended: Responses) -> None:
        """Raise ObjectionError where too few answered."""
        answered = len(ended.answered)
        expected = sum(each.agent not in self._silent for each in ended.standings)
        if ended.standings and (not answered or answered < SHARE_LEAST * expected):
            raise ObjectionError(
                f"{answered} accounts answered the last round of {expected} that are not known as silent;"
                f" {SHARE_LEAST:.0%} are needed"
            )
