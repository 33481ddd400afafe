"""A chain that changes while it is followed: every block that went is told, and every one that came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from ledger.chain.following import Follower, Step
from ledger.chain.protocol import Block, Chain, ChainUnavailable, Log, LogFilter


@dataclass
class Changing:
    """A chain of block names, each with a log; `meanwhile` happens as logs were read."""

    names: list[bytes]
    meanwhile: Callable[[], None] = field(default=lambda: None)

    def head(self) -> int:
        return len(self.names) - 1

    def block(self, number: int) -> Block:
        if number > self.head():
            raise KeyError(number)
        return Block(number, self.names[number], b"", 0, 0, 0, 0, b"", (), ())

    def logs(self, which: LogFilter) -> tuple[Log, ...]:
        assert which.to_block is not None
        found = tuple(
            Log("", (), b"", number, self.names[number], b"", 0, 0)
            for number in range(which.from_block, which.to_block + 1)
        )
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        return found


def followed(changing: Changing) -> tuple[Follower, list[bytes], Callable[[Step], None]]:
    """A follower, what its reader holds, and how the reader takes a step."""
    held: list[bytes] = []

    def take(step: Step) -> None:
        if step.rewound_to is not None:
            del held[step.rewound_to + 1 :]
        held.extend(log.block_hash for log in step.logs)

    return Follower(cast(Chain, changing), LogFilter()), held, take


def names(first: int, letter: bytes, end: int) -> list[bytes]:
    return [letter + bytes([number]) for number in range(first, end)]


def test_a_rewind_is_told_after_the_node_was_gone() -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)
    take(follower.poll())
    changing.names[6:] = names(6, b"b", 12)

    def gone() -> None:
        raise ChainUnavailable("gone for a moment")

    changing.meanwhile = gone
    with pytest.raises(ChainUnavailable):
        follower.poll()
    step = follower.poll()
    take(step)
    assert (step.rewound_to, held) == (5, changing.names)


@pytest.mark.parametrize("second", [9, 3])
def test_a_rewind_is_told_where_the_chain_changes_again_meanwhile(second: int) -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)
    take(follower.poll())
    changing.names[6:] = names(6, b"b", 12)

    def again() -> None:
        changing.names[second:] = names(second, b"c", 13)

    changing.meanwhile = again
    take(follower.poll())
    assert held == changing.names
    take(follower.poll())
    assert held == changing.names


def test_blocks_that_change_while_they_are_read_are_read_again() -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)

    def change() -> None:
        changing.names[8:] = names(8, b"b", 11)

    changing.meanwhile = change
    take(follower.poll())
    assert held == changing.names
