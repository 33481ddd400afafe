"""What is imported is declared, and what loads slowly is loaded by those who need it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.house.repository import PACKAGES, ROOT, imports, modules

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

DEVELOPMENT_ONLY = {
    "contracts/build.py": {"vyper"},
}
"""Shipped modules that need the development group: nobody has to compile the contract to run it."""

ELSEWHERE = "tests/peers/adapter.py"
"""Runs in environments of other packages, and imports them."""

SLOW = ("cvxpy", "pandapower", "matplotlib", "pvlib", "demandlib", "web3", "pandas", "eth", "plotly")


def declared(requirements: list[str]) -> set[str]:
    """Distribution names of a list of requirements."""
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in requirements}


EXTRAS = PROJECT["project"]["optional-dependencies"].values()
RUN = declared([*PROJECT["project"]["dependencies"], *(each for extra in EXTRAS for each in extra)])
DEV = declared(PROJECT["dependency-groups"]["dev"])


def undeclared(folders: tuple[str, ...], allowed: set[str]) -> list[str]:
    """Imports from outside whose distribution is not declared."""
    owners = packages_distributions()
    missing = []
    for path in modules(*folders):
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in {*PACKAGES, "tests"}:
                continue
            if top in DEVELOPMENT_ONLY.get(str(path), set()):
                continue
            distributions = {owner.lower().replace("_", "-") for owner in owners.get(top, [top])}
            if not distributions & allowed:
                missing.append(f"{path}:{line}: {top} of {', '.join(sorted(distributions))}")
    return missing


def test_packages_declare_what_they_import():
    missing = undeclared(PACKAGES, RUN)
    assert not missing, "\n".join(missing)


def test_tests_declare_what_they_import():
    missing = [each for each in undeclared(("tests",), RUN | DEV) if not each.startswith(f"{ELSEWHERE}:")]
    assert not missing, "\n".join(missing)


def test_development_only_imports_are_there():
    for path, names in DEVELOPMENT_ONLY.items():
        assert {name.split(".")[0] for _, name in imports(Path(path))} >= names
        assert names <= DEV


@pytest.mark.parametrize(
    "module",
    [
        "node.cli",
        "node.scenario",
        "contracts",
        "market.exchange",
        "market.pricing.certificate",
        "ledger.audit",
    ],
)
def test_nothing_slow_is_loaded_for_others(module: str):
    """Commands start fast: what loads slowly is imported where it is used."""
    script = f"import sys, {module}; print(*sorted(set({SLOW!r}) & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []
