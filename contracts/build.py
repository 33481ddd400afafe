"""Compile the contracts: `python -m contracts.build` writes the artifacts, `--check` compares them.

Vyper is a development dependency and imported only here.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from contracts import NAMES

HERE = Path(__file__).parent
SOURCES = HERE / "src"
ARTIFACTS = HERE / "artifacts"
SETTINGS = {"evm_version": "prague", "optimize": "codesize"}
RUNTIME_LIMIT = 24_576
"""EIP-170: the largest code that a contract may have, bytes."""


def imported_sources(name: str) -> tuple[str, ...]:
    """A contract's source file and the modules it imports from ours, directly or not, sorted by name."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        lines = (SOURCES / f"{module}.vy").read_text("utf-8").splitlines()
        waiting += [line.removeprefix("import ").strip() for line in lines if line.startswith("import ")]
    return tuple(f"{module}.vy" for module in sorted(found))


def source_hash(name: str) -> str:
    """SHA-256 over the sources of a contract, in order of file names: name, NUL, length (8 bytes), content."""
    digest = sha256(b"wattbook-sources-1\0")
    for file in imported_sources(name):
        content = (SOURCES / file).read_bytes()
        digest.update(file.encode() + b"\0" + len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def compile_contract(name: str) -> dict[str, Any]:
    """Compile one contract into the fields of its artifact."""
    from vyper import __version__  # noqa: PLC0415 - a development dependency
    from vyper.compiler import compile_from_file_input  # noqa: PLC0415
    from vyper.compiler.input_bundle import FilesystemInputBundle  # noqa: PLC0415
    from vyper.compiler.settings import OptimizationLevel, Settings  # noqa: PLC0415

    bundle = FilesystemInputBundle([SOURCES])
    settings = Settings(
        evm_version=SETTINGS["evm_version"], optimize=OptimizationLevel.from_string(SETTINGS["optimize"])
    )
    with warnings.catch_warnings():
        # The compiler warns about the size limit; the test that reads `runtime_size` is what enforces it.
        warnings.simplefilter("ignore")
        output = compile_from_file_input(
            bundle.load_file(f"{name}.vy"),
            input_bundle=bundle,
            settings=settings,
            output_formats=["abi", "bytecode", "bytecode_runtime"],
        )
    return {
        "name": name,
        "compiler": f"vyper {__version__}",
        "settings": SETTINGS,
        "source_sha256": source_hash(name),
        "runtime_size": len(output["bytecode_runtime"]) // 2 - 1,
        "bytecode": output["bytecode"],
        "abi": output["abi"],
    }


def render(artifact: dict[str, Any]) -> str:
    """An artifact as the text of its file."""
    return json.dumps(artifact, indent=1) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the artifacts, or with `--check` return 1 if any differs from its sources."""
    differing = []
    for name in NAMES:
        path = ARTIFACTS / f"{name}.json"
        artifact = compile_contract(name)
        text = render(artifact)
        if not path.exists() or path.read_text("utf-8") != text:
            differing.append(name)
            if "--check" not in arguments:
                path.write_text(text, "utf-8")
        print(f"{name}: {artifact['runtime_size']} of {RUNTIME_LIMIT} bytes")
    if "--check" in arguments and differing:
        print(f"artifacts differ from their sources: {', '.join(differing)}; run python -m contracts.build")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
