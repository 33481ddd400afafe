"""What a study is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme
    from node.studies.auctions import Auction

Value = float | int | str | bool | None | Sequence["Value"] | Mapping[str, "Value"]
"""What JSON can say."""
Draw = Callable[["Figure", "Theme"], None]
"""Draws the study's picture into an empty figure, in a theme's colours."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who published the system, what is taken from there, and what had to be added to make it run."""

    citation: str
    taken: str
    added: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; cells are as they are shown. What is `timed` is in no file."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the source says, or that the study must show, and whether it came out so.

    `figure` is what was found; `note` says why where it did not come out. What is so `by_construction`,
    whatever the seed, is told as such: it shows that the model is as said, nothing about the system. What is
    not `required` is a finding either way: that a source's claim is not reproduced fails no study.
    """

    what: str
    held: bool
    figure: str
    note: str = ""
    by_construction: bool = False
    required: bool = True

    @property
    def outcome(self) -> str:
        """Whether it came out, in words."""
        if self.held:
            return "comes out"
        return "does not come out" if self.required else "not reproduced"

    @property
    def told(self) -> str:
        """The claim as people read it, without whether it came out."""
        aside = "; ".join(filter(None, (self.note, "by construction" if self.by_construction else "")))
        return f"{self.what}: {self.figure}" + (f" ({aside})" if aside else "")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found: figures for programs, tables and claims for people, a picture."""

    figures: Mapping[str, Value]
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    draw: Draw
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every claim held that has to."""
        return all(claim.held for claim in self.claims if claim.required)


@dataclass(frozen=True, slots=True)
class Study:
    """A published system by its name; `run` takes a seed and does the same for the same seed.

    `compare`, where a study has one, runs with auctions of a reader's own beside its own, by name.
    """

    name: str
    about: str
    source: Source
    run: Callable[[int], Findings]
    compare: Callable[[int, Mapping[str, Auction]], Findings] | None = None
