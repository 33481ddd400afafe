"""Write the committed report of `make long`: `report.py REPORT [--lives LIVES] [--junit FILE...]`.

LIVES is the folder of `lives.py`; FILE is what pytest made of the other long tests, several where they were
run in parts. Without LIVES what the report says of lives stays, and so do the rows of tests that were not run
again. What depends on the machine or the hour is left out, so that the same run gives the same page; only how
smoothly a browser shows a busy market is told, by the test that measures it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree

from tests.long.lives import LIVES_PER_UNIT, MILLION, VIEWING, contract_hash, counted, drawing_hash
from tests.programs import ROOT
from tests.twins.lives import MARKETS
from tests.twins.tally import Tally, rules

VERSIONS = ("vyper", "py-evm")


TESTS = "## Other long tests"
Rows = dict[str, str]
"""A row of the table by the test's name."""


def whole(lives: Path, first: int, rows: Rows) -> str:
    """The report of a whole run."""
    heading = "# The long tests\n\nWritten by `make long`. Every draw follows from a number."
    return "\n\n".join([heading, *lives_part(lives, first), *tests_part(rows)]) + "\n"


def renewed(report: str, rows: Rows) -> str:
    """A report with the rows of tests that were run again."""
    before, _, after = report.partition(TESTS)
    kept = {line.split("|")[1].strip(): line for line in after.splitlines() if line.startswith("| `")}
    return before + "\n\n".join(tests_part({**kept, **rows})) + "\n"


def lives_part(folder: Path, first: int) -> Iterator[str]:
    """What random lives did on the contract and in its twin."""
    units, total = counted(folder, first // LIVES_PER_UNIT)
    after = first + units * LIVES_PER_UNIT
    yield "## Lives of contract and twin"
    yield (
        f"Lives {first} to {after - 1} of each of {len(MARKETS)} markets: **{total.actions} actions**, each a"
        " transaction on the embedded chain and a call of the twin; none is of the twin alone."
        f" {goes_on(total.actions, after)}"
    )
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    yield (
        f"Contract code `{contract_hash()}`, drawing `{drawing_hash()}` (what these cover is in"
        f" `tests/long/lives.py`), Python {python_version()}, {versions}."
    )
    yield (
        "After every action: the contract's answer (events in order, or the rule it reverts with) is the"
        " twin's; every account and position in storage is the twin's; and the invariants below hold in"
        f" storage and events, without the twin. After {VIEWING:.0%} of the actions, and at the end of"
        f" {4 * VIEWING:.0%} of the lives, the views are asked too. What breaks any of this stops the run:"
        " nothing did."
    )
    yield table("Market", "lives", total.lives)
    yield table("Invariant, by how often it was looked at", "times", total.checks)
    yield table("Call that succeeded", "times", total.done)
    yield table("Event", "times", total.events)
    yield table("What came about", "times", {**total.features, **by_kind(total)})
    yield table("Rule that a call broke", "times", {rule: total.refused[rule] for rule in rules()})
    yield table("Reject code in a batch", "times", rejected(total))


def goes_on(actions: int, after: int) -> str:
    """How far this is from the million."""
    if actions >= MILLION:
        return ""
    return (
        f"`make long FIRST={after}` goes on where this ends, {MILLION - actions} actions short of a million."
    )


def by_kind(total: Tally) -> dict[str, int]:
    """Codes other than those of rules."""
    return {name: count for name, count in total.codes.items() if name not in rules()}


def rejected(total: Tally) -> dict[str, int]:
    """Codes of orders and readings, in their order."""
    return {rule: total.codes[rule] for rule in rules() if rule.startswith(("order:", "reading:"))}


def table(what: str, number: str, counts: Mapping[str, int]) -> str:
    """One row for each count."""
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    return "\n".join([f"| {what} | {number} |", "|---|---|", *rows])


def tests_part(rows: Rows) -> Iterator[str]:
    """One row for each of the other long tests."""
    yield TESTS
    if not rows:
        yield "Not run for this report."
        return
    yield "Each as it ended when it was last run, and at which commit:"
    yield "\n".join(["| test | outcome | commit | counted |", "|---|---|---|---|", *rows.values()])


def rows_of(junit: Sequence[Path], commit: str) -> Rows:
    """What was run."""
    names = ((f"`{case.get('name')}`", case) for case in cases(junit))
    return {name: f"| {name} | {outcome(case)} | {commit} | {counted_by(case)} |" for name, case in names}


def cases(junit: Sequence[Path]) -> list[ElementTree.Element]:
    return [case for path in junit for case in ElementTree.parse(path).getroot().iter("testcase")]


def counted_by(case: ElementTree.Element) -> str:
    """What a test says of itself by `record_property`."""
    return ", ".join(f"{each.get('name')}: {each.get('value')}" for each in case.iter("property"))


def outcome(case: ElementTree.Element) -> str:
    """How a test ended."""
    found = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
    return found[0] if found else "passed"


def head() -> str:
    """The commit that was run, short; with a + where the tree has changes that it has not."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    return commit + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> int:
    """Write and show the report; 1 where a test failed, so that make stops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--lives", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--junit", type=Path, nargs="+", default=[])
    asked = parser.parse_args()
    rows = rows_of(asked.junit, head())
    if asked.lives is None:
        text = renewed(asked.report.read_text("utf-8"), rows)
    else:
        text = whole(asked.lives, asked.first, rows)
    asked.report.write_text(text, "utf-8")
    print(text)
    if not asked.junit:
        return 0
    outcomes = [outcome(case) for case in cases(asked.junit)]
    return int(not outcomes or any(found != "passed" for found in outcomes))


if __name__ == "__main__":
    sys.exit(main())
