"""Turn pytest's JUnit file of `make long` into the report that is committed: `report.py JUNIT REPORT`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from platform import python_version
from xml.etree import ElementTree

HEADING = (
    "# The long tests\n\nWritten by `make long`. Random draws are derandomised: a run draws the same again."
)


def main(junit: Path, report: Path) -> int:
    """Write one row for each test; returns 1 where one failed, so that make stops."""
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    rows = [
        f"| `{case.get('name')}` | {_outcome(case)} | {float(case.get('time', 0)):.0f} s |" for case in cases
    ]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    ).stdout.strip()
    facts = f"Commit {commit}, Python {python_version()}."
    table = "\n".join(["| test | outcome | time |", "|---|---|---|", *rows])
    report.write_text(f"{HEADING}\n\n{facts}\n\n{table}\n", encoding="utf-8")
    print(report.read_text(encoding="utf-8"))
    return int(not cases or any(_outcome(case) != "passed" for case in cases))


def _row(case: ElementTree.Element) -> str:
    return f"| `{case.get('name')}` | {_outcome(case)} | {float(case.get('time', 0)):.0f} s |"


def _outcome(case: ElementTree.Element) -> str:
    found = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
    return found[0] if found else "passed"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
