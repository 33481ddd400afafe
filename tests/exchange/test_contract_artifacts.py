"""The committed artifacts are what the sources compile to, and small enough to be deployed."""

from __future__ import annotations

import re

import pytest

import contracts
from contracts import build
from ledger.keccak import keccak


@pytest.fixture(scope="module")
def compiled() -> dict:
    return build.compile_contracts()


@pytest.mark.parametrize("name", contracts.NAMES)
def test_artifacts_are_the_sources_byte_for_byte(compiled, name):
    assert (build.ARTIFACTS / f"{name}.json").read_text("utf-8") == build.render(compiled[name])


@pytest.mark.parametrize("name", contracts.NAMES)
def test_artifacts_load(name):
    artifact = contracts.load(name)
    assert artifact.name == name and artifact.runtime_size <= build.RUNTIME_LIMIT
    assert artifact.source_sha256 == build.source_hash(name)
    assert {entry["type"] for entry in artifact.abi} <= {"constructor", "function", "event", "fallback"}


def test_creation_code_with_the_longest_arguments_fits():
    assert len(contracts.load("Exchange").bytecode) + build.ARGUMENTS_RESERVE <= build.CREATION_LIMIT


def test_there_is_room_to_grow():
    for name in ("Exchange", "Clearinghouse", "Registry"):
        assert contracts.load(name).runtime_size <= 22_000


def test_an_unknown_artifact_is_named():
    with pytest.raises(contracts.ArtifactError, match="'Nothing'"):
        contracts.load("Nothing")


def test_no_source_is_without_an_artifact():
    sources = {path.name for path in build.SOURCES.glob("*.vy")}
    assert sources == {file for name in contracts.NAMES for file in build.sources_of(name)}


@pytest.mark.parametrize("name", ["Clearinghouse", "Registry"])
def test_the_exchange_knows_the_hashes_of_its_parts(name):
    code = contracts.blueprint(contracts.load(name).bytecode)
    assert len(code) <= build.RUNTIME_LIMIT
    assert keccak(code) in contracts.load("Exchange").bytecode


def test_the_exchange_shows_what_runs_in_its_parts():
    names = {entry["name"] for entry in contracts.load("Exchange").abi if entry["type"] == "function"}
    for part in ("Clearinghouse", "Registry"):
        assert {e["name"] for e in contracts.load(part).abi if e["type"] == "function"} <= names
    assert "fallback" not in {entry["type"] for entry in contracts.load("Exchange").abi}


def test_layouts_that_differ_are_refused():
    one = {"storage_layout": {"accounts": {"count": {"slot": 1}}, "book": {"a": {"slot": 2}}}}
    other = {"storage_layout": {"accounts": {"count": {"slot": 1}}, "oracle": {"a": {"slot": 2}}}}
    build.check_layouts(one, other)
    with pytest.raises(build.BuildError, match="accounts"):
        build.check_layouts(one, {"storage_layout": {"accounts": {"count": {"slot": 3}}}})


def test_sources_that_are_too_large_are_refused():
    output = {"bytecode": "0x" + "00" * 30_000, "bytecode_runtime": "0x" + "00" * 24_577, "abi": []}
    with pytest.raises(build.BuildError, match=r"1 too many \(EIP-170\)"):
        build.artifact("Token", output)


@pytest.mark.parametrize("path", sorted(build.SOURCES.glob("*.vy")), ids=lambda path: path.stem)
def test_every_function_is_documented(path):
    text = path.read_text("utf-8")
    functions = re.findall(r"^def (\w+)\(.*?(?:\)|-> .*?):\n(.*?)(?=^@|^# ----|\Z)", text, re.S | re.M)
    for name, body in functions:
        assert body.lstrip().startswith('"""\n    @notice '), f"{path.name}: {name} has no @notice"
    assert text.startswith("# pragma version 0.4.3\n") and '\n"""\n@title ' in text


def test_readme_documents_every_function_and_event():
    page = (build.SOURCES.parent / "README.md").read_text("utf-8")
    for entry in contracts.load("Exchange").abi:
        if "name" in entry:
            assert f"`{entry['name']}" in page, f"{entry['type']} {entry['name']} is not documented"


def test_readme_documents_every_rule():
    page = (build.SOURCES.parent / "README.md").read_text("utf-8")
    for path in build.SOURCES.glob("*.vy"):
        if path.stem == "Token":
            continue
        for rule in re.findall(r'"((?:[a-z]+): [a-z0-9 ]+)"', path.read_text("utf-8")):
            assert f"`{rule}`" in page or f'`"{rule}"`' in page, f"{rule} ({path.name}) is not documented"
