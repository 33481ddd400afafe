"""A missing program leaves a test out by name, and fails it where everything is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT

PROBE = """
import pytest

@pytest.mark.needs("chromium")
def test_that_needs_a_browser(): ...

def test_that_needs_nothing(): ...

@pytest.mark.skip(reason="data from elsewhere, which nothing installs: a folder")
def test_that_needs_a_folder(): ...
"""


def run(folder: Path, required: str) -> subprocess.CompletedProcess[str]:
    """The probe's outcome under the house's own plugin, on a machine without programs."""
    probe = folder / "test_probe.py"
    probe.write_text(PROBE, "utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]
    options = ["-p", "no:cacheprovider", "--rootdir", str(folder), str(probe)]
    environment = os.environ | {"PATH": "", "PYTHONPATH": str(ROOT), "WATTBOOK_REQUIRE": required}
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("required", "status", "says"),
    [
        ("", 0, "skipped: no chromium (1 test)"),
        ("", 0, "skipped: data from elsewhere, which nothing installs: a folder (1 test)"),
        ("all", 1, "1 passed, 1 skipped, 1 error"),
        ("all", 1, "WATTBOOK_REQUIRE=all, and this was skipped: no chromium"),
        ("some", 4, "WATTBOOK_REQUIRE=some: only `all` has a meaning"),
    ],
)
def test_a_missing_program(tmp_path: Path, required: str, status: int, says: str):
    outcome = run(tmp_path, required)
    assert outcome.returncode == status, outcome.stdout + outcome.stderr
    assert says in outcome.stdout + outcome.stderr
