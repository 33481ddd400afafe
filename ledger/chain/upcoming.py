"""What is settled of blocks that are not built yet: their time, gas limit, base fee and coinbase.

A record of all of it, so that who goes back to a snapshot gets back what was settled then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Settings of the blocks to come; `exact_timestamp` and `base_fee` are those of the next one alone.

    `clock_offset` is what is added to a clock that the chain follows, in seconds, and
    `timestamp_interval` the seconds from block to block where no clock is followed but that.
    """

    not_before: int = 0
    clock_offset: int = 0
    exact_timestamp: int | None = None
    timestamp_interval: int | None = None
    gas_limit: int | None = None
    base_fee: int | None = None
    coinbase: bytes = bytes(20)

    def timestamp(self, parent: int, clock: int | None) -> int:
        """Unix second of the next block, given its parent's and what the clock says."""
        if self.exact_timestamp is not None:
            return self.exact_timestamp
        if self.timestamp_interval is not None:
            return max(parent + self.timestamp_interval, self.not_before)
        followed = 0 if clock is None else clock + self.clock_offset
        return max(parent + 1, self.not_before, followed)

    def advanced_to(self, timestamp: int, clock: int | None) -> Upcoming:
        """With the next block no earlier than `timestamp`, and the clock gone on as far."""
        exact, ahead = self.exact_timestamp, 0 if clock is None else timestamp - clock
        return replace(
            self,
            not_before=max(self.not_before, timestamp),
            exact_timestamp=None if exact is not None and exact < timestamp else exact,
            clock_offset=max(self.clock_offset, ahead),
        )

    def exactly_at(self, timestamp: int, clock: int | None) -> Upcoming:
        """With the next block at `timestamp`, and time going on from there."""
        return replace(
            self,
            not_before=0,
            exact_timestamp=timestamp,
            clock_offset=self.clock_offset if clock is None else timestamp - clock,
        )

    def after_block(self) -> Upcoming:
        """Without what was for one block, which is built now."""
        return replace(self, exact_timestamp=None, base_fee=None)
