"""All studies in one run, and their report: the mechanisms side by side, then each study by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from market.feeder.three_phase import ThreePhaseError
from node.simulate.canvas import LIGHT, data_uri, svg
from node.studies.auctions import Auction
from node.studies.community import LEVELS
from node.studies.comparison import GROUP, LEFT_OUT, Comparison, compared
from node.studies.failures import told
from node.studies.files import write_findings, write_json
from node.studies.registry import Entry, load
from node.studies.side_by_side import draw
from node.studies.study import Findings, Study, Value
from node.web.templating import environment

REPORT = "report.html"
COMPARISON, SIDE_BY_SIDE = "comparison.json", "comparison.svg"


@dataclass(frozen=True, eq=False)
class Ran:
    """A study and what it found, or why it could not run."""

    study: Study
    findings: Findings | None
    missing: str = ""

    @classmethod
    def of(cls, study: Study, seed: int, others: Mapping[str, Auction], settings: Mapping[str, str]) -> Ran:
        """Run it, beside a reader's auctions where it compares some, by settings where it has the day.

        One that needs an extra that is not there, or fails, says so and holds up no other.
        """
        try:
            if study.compare is None:
                return cls(study, study.run(seed))
            return cls(study, study.compare(seed, others, settings if study.scenario else {}))
        except ThreePhaseError as refusal:
            return cls(study, None, str(refusal))
        except Exception as failure:
            return cls(study, None, f"it failed with {told(failure)}")

    @property
    def held(self) -> int:
        """How many claims came out."""
        return 0 if self.findings is None else sum(1 for claim in self.findings.claims if claim.held)

    @property
    def passed(self) -> bool:
        """Whether it ran and all that have to did."""
        return self.findings is not None and self.findings.passed

    @property
    def outcome(self) -> str:
        """In words."""
        if self.findings is None:
            return f"not run: {self.missing}"
        return self.findings.outcome

    def to_json(self) -> dict[str, Value]:
        """In figures."""
        claims = 0 if self.findings is None else len(self.findings.claims)
        return {
            "ran": self.findings is not None,
            "passed": self.passed,
            "missing": self.missing,
            "held": self.held,
            "claims": claims,
            "by_basis": None if self.findings is None else self.findings.counts_to_json(),
        }


@dataclass(frozen=True, eq=False)
class Whole:
    """Everything that a run of all studies found."""

    seed: int
    comparison: Comparison
    studies: tuple[Ran, ...]

    @property
    def passed(self) -> bool:
        """Whether every study ran and every claim of each held that has to."""
        return all(ran.passed for ran in self.studies)

    def to_json(self) -> dict[str, Value]:
        """The comparison, and by study whether it passed and how many claims held."""
        return {
            "seed": self.seed,
            "passed": self.passed,
            "comparison": self.comparison.to_json(),
            "studies": {ran.study.name: ran.to_json() for ran in self.studies},
        }


def run_all(
    seed: int,
    entries: Sequence[Entry],
    others: Mapping[str, Auction],
    settings: Mapping[str, str],
    tell: Callable[[str], None] = lambda what: None,
) -> Whole:
    """The comparison, then the studies one after the other; `tell` hears what is next.

    `settings` change the scenario of the comparison, and of studies of the same day. Raises ScenarioError,
    and AuctionError for an auction of the reader's own that decides what cannot be.
    """
    tell("comparison")
    comparison = compared(seed, others, settings)
    found = []
    for entry in entries:
        tell(entry.name)
        found.append(Ran.of(load(entry.name), seed, others, settings))
    return Whole(seed, comparison, tuple(found))


def write(whole: Whole, out: Path) -> None:
    """One page, the comparison as a picture for print, by study a picture and its figures. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {
        ran.study.name: write_findings(ran.study.name, ran.findings, out)
        for ran in whole.studies
        if ran.findings is not None
    }
    write_json(out / COMPARISON, whole.comparison.to_json())
    side_by_side = svg(lambda: draw(whole.comparison, LIGHT), LIGHT)
    (out / SIDE_BY_SIDE).write_bytes(side_by_side)
    (out / REPORT).write_text(render(whole, side_by_side, pictures), encoding="utf-8", newline="")


def render(whole: Whole, side_by_side: bytes, pictures: Mapping[str, bytes]) -> str:
    """The page, which holds all that it shows."""
    return (
        environment({})
        .get_template("studies.html")
        .render(
            whole=whole,
            comparison=whole.comparison.tables(),
            left_out=LEFT_OUT,
            group=GROUP,
            levels=LEVELS,
            side_by_side=data_uri(side_by_side),
            pictures={name: data_uri(each) for name, each in pictures.items()},
        )
    )
