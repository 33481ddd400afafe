"""A tree out of a list of branches: numbering from the root outwards, or the loop or island in the way.

Nodes are 0 … count − 1 in the caller's numbering; branches are pairs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market.units import Ints

NOBODY = -1


class LoopError(ValueError):
    """The branches close a loop; `nodes` are those on it, in order."""

    def __init__(self, nodes: tuple[int, ...]) -> None:
        super().__init__(f"a loop through {nodes}")
        self.nodes = nodes


@dataclass(frozen=True, eq=False)
class Tree:
    """Nodes reached from a root, which comes first; a node comes before what hangs below it.

    node: the caller's number of each; parent: position of the node above (−1 for the root); branch: the
    branch that leads to it (−1 for the root); unreached: the caller's numbers of all other nodes.
    """

    node: Ints
    parent: Ints
    branch: Ints
    unreached: Ints


def rooted(root: int, count: int, branches: Sequence[tuple[int, int]]) -> Tree:
    """Number the tree of the branches from its root outwards, depth first. Raises LoopError."""
    around: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for k, (one, other) in enumerate(branches):
        around[one].append((other, k))
        around[other].append((one, k))
    place = [NOBODY] * count
    node: list[int] = []
    parent: list[int] = []
    by: list[int] = []
    waiting = [(root, NOBODY, NOBODY)]
    while waiting:
        here, above, via = waiting.pop()
        if place[here] != NOBODY:
            raise LoopError(_loop(node, parent, above, place[here]))
        place[here] = len(node)
        node.append(here)
        parent.append(above)
        by.append(via)
        waiting.extend((next_, place[here], k) for next_, k in sorted(around[here], reverse=True) if k != via)
    unreached = [each for each in range(count) if place[each] == NOBODY]
    return Tree(*(np.array(each, dtype=np.int64) for each in (node, parent, by, unreached)))


def _loop(node: list[int], parent: list[int], one: int, other: int) -> tuple[int, ...]:
    """The nodes on the tree's way between two positions that a branch joins once more."""
    left, right = [one], [other]
    while left[-1] != right[-1]:
        longer = left if left[-1] > right[-1] else right  # what is above has a smaller position
        longer.append(parent[longer[-1]])
    return tuple(node[each] for each in (*left, *reversed(right[:-1])))
