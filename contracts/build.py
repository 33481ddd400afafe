"""Compile the contracts: `python -m contracts.build` writes the artifacts, `--check` compares them.

Exchange.vy, Clearinghouse.vy and Registry.vy are one contract to the world, at one address. The Exchange
creates the other two from blueprints whose hashes it knows (constants in a module that is made here), and
its ABI is that of all. They work on one storage: that they lay it out alike is checked here.

Vyper is a development dependency and imported only here.

BuildError   the sources compile, but to contracts that must not be deployed
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from contracts import NAMES, blueprint

SOURCES = Path(__file__).parent / "src"
ARTIFACTS = Path(__file__).parent / "artifacts"
SETTINGS = {"evm_version": "prague", "optimize": "gas"}
RUNTIME_LIMIT = 24_576
"""EIP-170: the largest code that a contract may have, bytes."""
CREATION_LIMIT = 49_152
"""EIP-3860: the largest creation code, constructor arguments included, bytes."""
ARGUMENTS_RESERVE = 1_536
"""What is kept free of it for constructor arguments: 16 oracles and 3 classes take 1 280 bytes."""

Output = dict[str, Any]


class BuildError(Exception):
    """Code too large, or storage laid out in two ways; the message says by how much, or where."""


# --- sources ------------------------------------------------------------------------------------


def sources_of(name: str) -> tuple[str, ...]:
    """File names of a contract's source and of the modules it imports from ours, sorted.

    Those of Exchange include those of the parts whose hashes it knows.
    """
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module == "known_code":
            waiting += ["Clearinghouse", "Registry"]
        elif module not in found:
            found.add(module)
            lines = (SOURCES / f"{module}.vy").read_text("utf-8").splitlines()
            waiting += [line.removeprefix("import ").strip() for line in lines if line.startswith("import ")]
    return tuple(f"{module}.vy" for module in sorted(found))


def source_hash(name: str) -> str:
    """SHA-256 over the sources in the order of `sources_of`: name, NUL, length (8 bytes), content."""
    digest = sha256(b"wattbook-sources-1\0")
    for file in sources_of(name):
        content = (SOURCES / file).read_bytes()
        digest.update(file.encode() + b"\0" + len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


# --- compilation --------------------------------------------------------------------------------


def compile_source(name: str, made: Mapping[str, str]) -> Output:
    """Compile one source; `made` holds modules that are no files, by file name."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(SOURCES.glob("*.vy"))}
    return compile_text(texts[f"{name}.vy"], {**texts, **made})


def compile_text(text: str, modules: Mapping[str, str] | None = None) -> Output:
    """Compile a source that may import `modules`, by file name; the compiler's output by format."""
    from vyper.compiler import compile_from_file_input  # noqa: PLC0415 - a development dependency
    from vyper.compiler.input_bundle import JSONInputBundle  # noqa: PLC0415
    from vyper.compiler.settings import OptimizationLevel, Settings  # noqa: PLC0415

    files = {"source": text, **(modules or {})}
    bundle = JSONInputBundle(
        {PurePath(file): {"content": content} for file, content in files.items()}, [PurePath(".")]
    )
    settings = Settings(
        evm_version=SETTINGS["evm_version"], optimize=OptimizationLevel.from_string(SETTINGS["optimize"])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the size of code, which `artifact` refuses
        output: Output = compile_from_file_input(
            bundle.load_file("source"),
            input_bundle=bundle,
            settings=settings,
            output_formats=["abi", "bytecode", "bytecode_runtime", "layout"],
        )
    return output


def compile_contracts() -> dict[str, Output]:
    """Artifacts by name, as their files hold them. Raises BuildError."""
    from vyper.utils import keccak256  # noqa: PLC0415 - a development dependency

    parts = {name: compile_source(name, {}) for name in ("Clearinghouse", "Registry")}
    known = "".join(
        f"{name.upper()}: constant(bytes32) = 0x{keccak256(code_of(name, part)).hex()}\n"
        for name, part in parts.items()
    )
    exchange = compile_source("Exchange", {"known_code.vy": known})
    for part in parts.values():
        check_layouts(exchange["layout"], part["layout"])
    exchange["abi"] = merged_abi(exchange["abi"], [entry for part in parts.values() for entry in part["abi"]])
    outputs = {**parts, "Exchange": exchange, "Token": compile_source("Token", {})}
    return {name: artifact(name, outputs[name]) for name in NAMES}


def code_of(name: str, output: Output) -> bytes:
    """Code of a part's blueprint. Raises BuildError where it is too long to be deployed."""
    code = blueprint(bytes.fromhex(output["bytecode"].removeprefix("0x")))
    if len(code) > RUNTIME_LIMIT:
        raise BuildError(f"{name}: a blueprint of {len(code)} bytes is too long (EIP-170)")
    return code


def artifact(name: str, output: Output) -> Output:
    """The fields of an artifact. Raises BuildError where the code is too large to be deployed."""
    from vyper import __version__  # noqa: PLC0415

    runtime = len(output["bytecode_runtime"]) // 2 - 1
    creation = len(output["bytecode"]) // 2 - 1
    if runtime > RUNTIME_LIMIT:
        raise BuildError(f"{name}: {runtime} bytes of code, {runtime - RUNTIME_LIMIT} too many (EIP-170)")
    if creation > CREATION_LIMIT - ARGUMENTS_RESERVE:
        excess = creation - (CREATION_LIMIT - ARGUMENTS_RESERVE)
        raise BuildError(f"{name}: {creation} bytes of creation code, {excess} too many (EIP-3860)")
    return {
        "name": name,
        "compiler": f"vyper {__version__}",
        "settings": SETTINGS,
        "source_sha256": source_hash(name),
        "runtime_size": runtime,
        "bytecode": output["bytecode"],
        "abi": output["abi"],
    }


def check_layouts(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise BuildError unless every module that both have lies in the same storage slots in both."""
    for kind in ("storage_layout", "transient_storage_layout"):
        left, right = one.get(kind, {}), other.get(kind, {})
        for module in left.keys() & right.keys():
            if left[module] != right[module]:
                raise BuildError(f"{kind} of {module} differs: {left[module]} and {right[module]}")


def merged_abi(exchange: Sequence[Output], parts: Sequence[Output]) -> list[Output]:
    """One ABI of all parts: the Exchange's constructor, every function and event once, no fallback."""
    entries = [entry for entry in exchange if entry["type"] != "fallback"]
    for entry in parts:
        if entry["type"] not in ("constructor", "fallback") and entry not in entries:
            entries.append(entry)
    return sorted(entries, key=lambda entry: (entry["type"], entry.get("name", "")))


# --- command ------------------------------------------------------------------------------------


def render(fields: Output) -> str:
    """An artifact as the text of its file."""
    return json.dumps(fields, indent=1) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the artifacts, or with `--check` return 1 if any differs from its sources."""
    differing = []
    for name, fields in compile_contracts().items():
        path = ARTIFACTS / f"{name}.json"
        print(f"{name}: {fields['runtime_size']} of {RUNTIME_LIMIT} bytes")
        if not path.exists() or path.read_text("utf-8") != render(fields):
            differing.append(name)
            if "--check" not in arguments:
                path.write_text(render(fields), "utf-8")
    if "--check" in arguments and differing:
        print(f"artifacts differ from their sources: {', '.join(differing)}; run python -m contracts.build")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
