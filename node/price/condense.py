"""A feeder of many buses as a feeder of few: neighbours are drawn as one.

Going from the ends towards the substation, buses are gathered until there are enough of them for a group; the
bus nearest to the substation is its head. Groups are connected, and the line into a group is the line into
its head. The substation, whose price is the hub's, stays alone unless very many lines leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.units import Floats, Ints

WHOLE_MAX, GROUPS_MAX = 400, 200
"""Feeders with more buses than the first are drawn by groups, of which there are at most the second."""


@dataclass(frozen=True, eq=False)
class Condensed:
    """Groups of buses, the substation's first: `head`, `parent` and `size` by group, `group` by bus."""

    head: Ints
    parent: Ints
    group: Ints
    size: Ints

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.head)

    @property
    def whole(self) -> bool:
        """Whether every bus is a group of its own."""
        return self.groups == len(self.group)

    def mean(self, by_bus: Floats) -> Floats:
        """Mean over the buses of each group."""
        return np.asarray(np.bincount(self.group, by_bus, self.groups) / self.size)

    def largest(self, by_bus: Floats) -> Floats:
        """Largest value in each group."""
        found = np.full(self.groups, -np.inf)
        np.maximum.at(found, self.group, by_bus)
        return found


def condense(parent: Ints, whole_max: int, groups_max: int) -> Condensed:
    """Gather a tree of more than `whole_max` buses into at most `groups_max` groups.

    parent[0] = −1, parent[j] < j; `groups_max` is at least 4.
    """
    buses, above = len(parent), parent.tolist()
    first = above.count(0)
    alone = first <= groups_max // 4
    others_max = groups_max - 1 - alone * first
    enough = -(-buses // others_max) if buses > whole_max else 1
    gathered = [1] * buses
    for bus in range(buses - 1, 0, -1):
        if gathered[bus] < enough:
            gathered[above[bus]] += gathered[bus]
    heads = [0, *(b for b in range(1, buses) if gathered[b] >= enough or (alone and above[b] == 0))]
    number = {bus: k for k, bus in enumerate(heads)}
    group = [0] * buses
    for bus in range(1, buses):
        group[bus] = number.get(bus, group[above[bus]])
    return Condensed(
        head=np.array(heads, dtype=np.int64),
        parent=np.array([-1, *(group[above[bus]] for bus in heads[1:])], dtype=np.int64),
        group=np.array(group, dtype=np.int64),
        size=np.bincount(group, minlength=len(heads)).astype(np.int64),
    )
