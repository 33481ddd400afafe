"""One figure beside a peer's: what every benchmark returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from node.bench.timing import Times

Unit = Literal["s", "ms", "µs"]
PER_SECOND: Mapping[Unit, float] = {"s": 1.0, "ms": 1e3, "µs": 1e6}


class WrongWork(RuntimeError):  # noqa: N818 - what was measured, not what failed
    """What was measured is not what was meant, so its figure says nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, and whom it is compared with.

    `peer` says who and where its figure is from: of the same run, or published. `goal` is where the
    figure has to be, and `better` which side of the goal is right. `runs` says how often ours was timed, then
    how often the peer was, where that was in the same run; nothing where nothing was timed. `spread` has the
    least and the greatest ratio of single runs; none where each ran once. A point of a curve has its name and
    the size it is at; a power fitted to a curve has as many `points` as it rests on, and as its spread the
    powers of single runs. `why` says what stands in the way of the goal, for where it is missed.
    """

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    goal: float | None = None
    better: Literal["less", "more"] = "less"
    runs: tuple[int, ...] = ()
    spread: tuple[float, float] | None = None
    curve: str | None = None
    size: float | None = None
    points: int | None = None
    why: str | None = None

    @classmethod
    def timed(
        cls,
        name: str,
        unit: Unit,
        ours: Times,
        peer: str | None = None,
        theirs: Times | float | None = None,
        *,
        goal: float | None = None,
        curve: str | None = None,
        size: float | None = None,
        why: str | None = None,
    ) -> Row:
        """Our median beside a peer's: its times of the same run, or what was published, in the row's unit."""
        scale = PER_SECOND[unit]
        runs: tuple[int, ...] = (len(ours.seconds),)
        spread = None
        if isinstance(theirs, Times):
            runs += (len(theirs.seconds),)
            spread = ours.over(theirs) if max(runs) > 1 else None
            theirs = scale * theirs.median
        return cls(
            name,
            scale * ours.median,
            unit,
            peer,
            theirs,
            goal,
            runs=runs,
            spread=spread,
            curve=curve,
            size=size,
            why=why,
        )

    @property
    def ratio(self) -> float | None:
        """value / peer_value, None without a peer's figure; below 1 is ahead where less is better."""
        return self.value / self.peer_value if self.peer_value else None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met, None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "less" else self.value >= self.goal

    @property
    def missed_by(self) -> float | None:
        """How many times too much, or where more is better too little; None where the goal is met."""
        if self.reached is not False or not self.goal or not self.value:
            return None
        return self.value / self.goal if self.better == "less" else self.goal / self.value

    def to_json(self) -> dict[str, Any]:
        """The row as JSON, by the names above."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": self.peer_value,
            "ratio": self.ratio,
            "runs": self.runs or None,
            "spread": self.spread,
            "goal": self.goal,
            "better": self.better,
            "reached": self.reached,
            "why": self.why if self.reached is False else None,
            "curve": self.curve,
            "size": self.size,
            "points": self.points,
        }


def rows_to_json(measured: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Rows by group, each with the group's name."""
    return [{"group": name, **row.to_json()} for name, rows in measured.items() for row in rows]


def runs_in_words(row: Row) -> str:
    """How often ours and the peer's were timed: "3 each", "3, its 1", "1"; nothing where nothing was."""
    ours, *theirs = (*map(str, row.runs),) or ("",)
    if not theirs:
        return ours
    return f"{ours} each" if theirs == [ours] else f"{ours}, its {theirs[0]}"


def range_in_words(row: Row) -> str:
    """Of what single runs are, as "0.4 to 0.7", and of a power how many points it rests on; or nothing."""
    told = [] if row.spread is None else ["{:.3g} to {:.3g}".format(*row.spread)]
    if row.points is not None:
        told.append(f"{row.points} points")
    return f" ({', '.join(told)})" if told else ""


def number(value: float) -> str:
    """Three digits, or all of a whole number's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
