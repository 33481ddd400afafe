"""Who trades together in a slot: as the scenario tells, or as coalitions form by merging and splitting."""

from __future__ import annotations

from collections.abc import Sequence

from market.agents.policies import AgentView
from market.mechanisms.coalitions import Peers, merge_and_split
from node.scenario.schema import FORMING, BiddingSection

Coalitions = tuple[tuple[int, ...], ...]
"""Prosumers by number from 1; who is in none trades alone."""


def coalitions_of(bidding: BiddingSection, views: Sequence[AgentView]) -> Coalitions:
    """The coalitions of a slot, which last as long as it trades; `views` are those of its first round."""
    return formed(views) if bidding.policy == FORMING else bidding.coalitions


def formed(views: Sequence[AgentView]) -> Coalitions:
    """Coalitions that gain by no further merger or split, of what each wants at its public price.

    A coalition's worth is what the utility's two hub prices make of what its members together want or have
    (`market.mechanisms.coalitions`); charges between buses are left out of it.
    """
    wanted_wh = tuple(int(view.wanted_wh(view.anchor)) for view in views)
    tariff = views[0].tariff
    partition = merge_and_split(Peers(wanted_wh, tariff.hub_import, tariff.hub_export))
    return tuple(tuple(peer + 1 for peer in sorted(coalition)) for coalition in partition)


def partners_in(coalitions: Coalitions) -> dict[int, tuple[int, ...]]:
    """By prosumer, who else is in its coalition."""
    return {
        number: tuple(other for other in coalition if other != number)
        for coalition in coalitions
        for number in coalition
    }
