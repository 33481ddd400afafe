"""Write the committed report of `make long`: `report.py LIVES REPORT [--first LIFE] [--junit FILE...]`.

LIVES is the folder of `lives.py`; FILE is what pytest made of the other long tests, several where they were
run in parts. What depends on the machine or the hour is left out, so that the same run gives the same page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree

from tests.long.lives import LIVES_PER_UNIT, MILLION, VIEWING, contract_hash, counted, drawing_hash
from tests.twins.lives import MARKETS
from tests.twins.tally import Tally, rules

VERSIONS = ("vyper", "py-evm")


def page(lives: Path, first: int, junit: Sequence[Path]) -> str:
    """The whole report."""
    heading = "# The long tests\n\nWritten by `make long`. Every draw follows from a number."
    return "\n\n".join([heading, *lives_part(lives, first), *tests_part(junit)]) + "\n"


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


def tests_part(junit: Sequence[Path]) -> Iterator[str]:
    """One row for each of the other long tests."""
    yield "## Other long tests"
    if not junit:
        yield "Not run for this report."
        return
    yield "Those that were run for this report:"
    rows = [f"| `{case.get('name')}` | {outcome(case)} | {counted_by(case)} |" for case in cases(junit)]
    yield "\n".join(["| test | outcome | counted |", "|---|---|---|", *rows])


def cases(junit: Sequence[Path]) -> list[ElementTree.Element]:
    return [case for path in junit for case in ElementTree.parse(path).getroot().iter("testcase")]


def counted_by(case: ElementTree.Element) -> str:
    """What a test says of itself by `record_property`."""
    return ", ".join(f"{each.get('name')}: {each.get('value')}" for each in case.iter("property"))


def outcome(case: ElementTree.Element) -> str:
    """How a test ended."""
    found = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
    return found[0] if found else "passed"


def main() -> int:
    """Write and show the report; 1 where a test failed, so that make stops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lives", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--junit", type=Path, nargs="+", default=[])
    asked = parser.parse_args()
    asked.report.write_text(page(asked.lives, asked.first, asked.junit), "utf-8")
    print(asked.report.read_text("utf-8"))
    if not asked.junit:
        return 0
    outcomes = [outcome(case) for case in cases(asked.junit)]
    return int(not outcomes or any(found != "passed" for found in outcomes))


if __name__ == "__main__":
    sys.exit(main())
