"""What a study is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
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


class Basis(StrEnum):
    """On whose word a claim stands; sources are mostly known by their abstracts.

    What is so by construction is so whatever the seed: it shows that the model is as said, nothing about the
    system.
    """

    SOURCE = "source"
    OURS = "own check"
    CONSTRUCTION = "by construction"

    @property
    def heading(self) -> str:
        """What stands above the claims on it."""
        return HEADINGS[self]


HEADINGS = {
    Basis.SOURCE: "Claims of the source",
    Basis.OURS: "Own checks: this model and its figures",
    Basis.CONSTRUCTION: "So by construction",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the source says, or that the study must show, and whether it came out so.

    `figure` is what was found; `note` says why where it did not come out. What is not `required` is a finding
    either way: that a source's claim is not reproduced fails no study. A bound in a source's claim is ours
    where the source names none.
    """

    what: str
    held: bool
    figure: str
    note: str = ""
    basis: Basis = Basis.OURS
    required: bool = True

    @property
    def outcome(self) -> str:
        """Whether it came out, in words."""
        if self.held:
            return "comes out"
        if self.required:
            return "does not come out"
        return "not reproduced" if self.basis is Basis.SOURCE else "is not so"

    @property
    def told(self) -> str:
        """The claim as people read it, without whether it came out."""
        return f"{self.what}: {self.figure}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Count:
    """Of the claims on one basis, how many there are and how many came out."""

    held: int
    claims: int

    def __str__(self) -> str:
        return f"{self.held} of {self.claims}" if self.claims else "none"


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

    def on(self, basis: Basis) -> tuple[Claim, ...]:
        """The claims on one basis, in order."""
        return tuple(claim for claim in self.claims if claim.basis is basis)

    def counts(self) -> dict[Basis, Count]:
        """How many came out, by basis; those without any are there too."""
        return {
            basis: Count(sum(claim.held for claim in self.on(basis)), len(self.on(basis))) for basis in Basis
        }

    def counts_to_json(self) -> dict[str, Value]:
        """How many came out of how many, by basis."""
        return {str(basis): asdict(count) for basis, count in self.counts().items()}

    def grouped(self) -> tuple[tuple[str, tuple[Claim, ...]], ...]:
        """The claims under their headings, the source's first."""
        return tuple((basis.heading, self.on(basis)) for basis in Basis if self.on(basis))

    @property
    def outcome(self) -> str:
        """How many claims came out, in words, the source's apart from the study's own."""
        counted = [f"{basis}: {count}" for basis, count in self.counts().items()]
        missed = sum(not (claim.held or claim.required) for claim in self.claims)
        return ", ".join(counted) + (f"; {missed} not so, which fails nothing" if missed else "")


@dataclass(frozen=True, slots=True)
class Study:
    """A published system by its name; `run` takes a seed and does the same for the same seed.

    `compare`, where a study has one, runs with auctions of a reader's own beside its own, by name, and under
    further settings of its `scenario`; without a scenario it takes none.
    """

    name: str
    about: str
    source: Source
    run: Callable[[int], Findings]
    compare: Callable[[int, Mapping[str, Auction], Mapping[str, str]], Findings] | None = None
    scenario: str | None = None
