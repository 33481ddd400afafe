"""The tests see what they are there for: each deliberate fault of `faults.py` is caught by the test it names.

A fault is put into a copy of the sources, and the code that it is in is compiled; the other codes stay as
they are shipped, and the Exchange is told the new hash of its part. The test named then runs on these
contracts, in a process of its own, and must fail there by one of its own claims: not because something does
not compile, deploy or import. On the contracts as they are shipped the same tests, run the same way, hold.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts import NAMES, blueprint, build
from ledger.keccak import keccak
from tests.exchange.faults import MORE, QUICK, Fault
from tests.exchange.other_artifacts import Ending
from tests.programs import ROOT

PARTS = ("Clearinghouse", "Registry")
CLAIMS = {"AssertionError", "Failed"}
"""What a test raises whose claim does not hold; `Failed` is of `pytest.raises`."""
LEAST = 10
"""Faults that every run tries at least."""

Artifacts = dict[str, build.Output]


def shipped() -> Artifacts:
    """The artifacts as they are, by name."""
    return {name: json.loads((build.ARTIFACTS / f"{name}.json").read_text("utf-8")) for name in NAMES}


def sources() -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in sorted(build.SOURCES.glob("*.vy"))}


def with_fault(fault: Fault) -> dict[str, str]:
    """The sources with the fault in them."""
    texts = sources()
    found = texts[fault.source].count(fault.right)
    assert found == 1, f"{fault.name}: {found} times in {fault.source}, and not once: {fault.right!r}"
    assert fault.wrong != fault.right
    return texts | {fault.source: texts[fault.source].replace(fault.right, fault.wrong)}


def blueprint_hash(artifact: Mapping[str, str]) -> str:
    """What the Exchange knows of a part, in hexadecimal."""
    return keccak(blueprint(bytes.fromhex(artifact["bytecode"].removeprefix("0x")))).hex()


@contextmanager
def no_collection() -> Iterator[None]:
    """The collector takes a fifth of the compiler's time, and finds next to nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def faulty(fault: Fault) -> Artifacts:
    """Artifacts of the contracts with the fault in one code."""
    artifacts, texts = shipped(), with_fault(fault)
    known = {part: blueprint_hash(artifacts[part]) for part in PARTS}
    texts["known_code.vy"] = "".join(
        f"{part.upper()}: constant(bytes32) = 0x{known_hash}\n" for part, known_hash in known.items()
    )
    with no_collection():
        output = build.compile_text(texts[f"{fault.code}.vy"], texts)
    made = build.artifact(fault.code, output)
    assert made["bytecode"] != artifacts[fault.code]["bytecode"], "the fault is in nothing that is compiled"
    # The ABI of the Exchange is that of all parts.
    artifacts[fault.code] = made | {"abi": artifacts[fault.code]["abi"]}
    if fault.code in PARTS:
        exchange = artifacts["Exchange"]["bytecode"]
        assert exchange.count(known[fault.code]) == 1
        told = exchange.replace(known[fault.code], blueprint_hash(made))
        artifacts["Exchange"] = artifacts["Exchange"] | {"bytecode": told}
    return artifacts


def endings(tests: Iterable[str], artifacts: Artifacts, folder: Path) -> list[Ending]:
    """Run tests on other artifacts, in a process of their own; how each of their phases ended."""
    (folder / "artifacts").mkdir()
    for name, artifact in artifacts.items():
        (folder / "artifacts" / f"{name}.json").write_text(build.render(artifact), "utf-8")
    told = folder / "endings"
    plugin = ["-p", "tests.exchange.other_artifacts", "--contracts", str(folder), "--endings", str(told)]
    # The plugins that are installed take a second to load, and no test here needs them.
    outer = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    outer["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *plugin, *tests],
        cwd=ROOT, env=outer, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # All passed, or some failed; anything else is no verdict on the contract.
    assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
    return [Ending(**json.loads(line)) for line in told.read_text("utf-8").splitlines()]


CASES = [
    *(pytest.param(fault, id=fault.name) for fault in QUICK),
    *(pytest.param(fault, id=fault.name, marks=pytest.mark.long) for fault in MORE),
]


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_caught_by_the_test_it_names(fault, tmp_path):
    ended = endings([fault.caught_by], faulty(fault), tmp_path)
    failed = [ending for ending in ended if ending.outcome != "passed"]
    assert failed, f"not caught by {fault.caught_by}"
    for ending in failed:
        assert (ending.phase, ending.outcome) == ("call", "failed"), ending
        assert ending.raised in CLAIMS, ending


@pytest.mark.parametrize(
    "faults", [pytest.param(QUICK, id="quick"), pytest.param(MORE, id="more", marks=pytest.mark.long)]
)
def test_the_same_tests_hold_of_the_contracts_as_they_are(faults, tmp_path):
    tests = {fault.caught_by for fault in faults}
    ended = endings(sorted(tests), shipped(), tmp_path)
    assert {ending.test.split("[")[0] for ending in ended} == tests
    assert [ending for ending in ended if ending.outcome != "passed"] == []


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in (*QUICK, *MORE)])
def test_a_fault_is_one_replacement_and_names_a_test(fault):
    assert with_fault(fault) != sources()
    assert f"{fault.code}.vy" in sources()
    file, test = fault.caught_by.split("::")
    assert f"\ndef {test}(" in (ROOT / file).read_text("utf-8")


def test_there_are_enough_faults_and_each_has_its_name():
    names = [fault.name for fault in (*QUICK, *MORE)]
    assert len(set(names)) == len(names) and len(QUICK) >= LEAST
    # All three codes are tried, whatever the run.
    assert {fault.code for fault in QUICK} == {"Exchange", *PARTS}
