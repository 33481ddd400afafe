"""What is shipped: the four packages with their data, and nothing else; it runs where the sources are not."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.house.documents import blocks, links, page, sections
from tests.house.repository import PACKAGES, ROOT, files

DATA = {".json", ".vy", ".toml", ".html", ".md", ".css", ".csv", ".js", ".png", ".svg"}
"""What packages hold beside Python."""

ELSEWHERE = """
import importlib, sys
from pathlib import Path

unpacked, installed = sys.argv[1:]
sys.path[:0] = [unpacked]
sys.path.append(installed)  # without its .pth files, so without the editable install
for name in ("contracts", "market", "ledger", "node"):
    where = Path(importlib.import_module(name).__file__)
    assert where.is_relative_to(unpacked), where

from contracts import NAMES, load
from node.scenario import builtin_names
from node.scenario import load as load_scenario
assert all(load(name).bytecode for name in NAMES)
assert [load_scenario(name).name for name in builtin_names()] == list(builtin_names()) != []

import node.cli, node.simulate.report, node.testnet.running
assert callable(node.cli.main)
"""


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    (built,) = SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(built)


def members(wheel: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(wheel) as archive:
        return [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]


def test_the_wheel_holds_the_four_packages_whole(wheel: Path):
    shipped = {str(path) for path in members(wheel) if not path.parts[0].endswith(".dist-info")}
    assert shipped == {str(path) for path in files() if path.parts[0] in PACKAGES}
    assert {path.suffix for path in map(PurePosixPath, shipped)} <= DATA | {".py"}
    for needed in ("contracts/artifacts/Exchange.json", "contracts/src/Exchange.vy"):
        assert needed in shipped
    assert any(path.startswith("node/scenarios/") and path.endswith(".toml") for path in shipped)
    assert any(path.startswith("node/web/templates/") for path in shipped)


def test_the_wheel_says_who_it_is(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        (scripts,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert "\nLicense-Expression: Apache-2.0\n" in archive.read(metadata).decode()
        assert "wattbook = node.cli:main" in archive.read(scripts).decode()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


def test_the_registrys_page_is_the_readme_without_dead_links(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        head, _, shown = archive.read(metadata).decode().partition("\n\n")
    assert "\nDescription-Content-Type: text/markdown" in head
    assert not re.search(r"\]\((?!https?:|#)", re.sub(r"```.*?```", "", shown, flags=re.DOTALL))
    assert "operators (`node/guides/operator.md`)" in shown
    readme = page("README.md")
    assert blocks(shown, "python") == blocks(readme, "python") and blocks(shown, "sh") == blocks(readme, "sh")
    assert list(sections(shown)) == list(sections(readme))


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    rooms = {path.name for path in unpacked.iterdir() if path.is_dir()}
    assert rooms == set(PACKAGES)
    for linking in ("README.md", "CHANGELOG.md", "SCALING.md"):
        assert not [target for target in links(page(linking)) if not (unpacked / target).exists()]
    (again,) = WheelBuilder(str(unpacked)).build(directory=str(tmp_path), versions=["standard"])
    assert set(members(Path(again))) == set(members(wheel))


def test_the_wheel_runs_without_the_sources(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    # -I and -S: no environment variables, no current folder, no site packages but those named.
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        ELSEWHERE,
        str(tmp_path / "unpacked"),
        sysconfig.get_path("purelib"),
    ]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def homes(name: str) -> set[Path]:
    """Every place on the module path where a package or module of this name is."""
    entries = {Path(entry).resolve() for entry in sys.path}
    return {entry for entry in entries if (entry / name).is_dir() or (entry / f"{name}.py").is_file()}


@pytest.mark.parametrize("name", [*PACKAGES, "tests"])
def test_each_import_name_has_one_owner(name: str):
    assert homes(name) == {ROOT}
    assert set(packages_distributions().get(name, ())) <= {"wattbook"}
