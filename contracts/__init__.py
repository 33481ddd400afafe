"""The compiled contracts of Wattbook, so that nobody needs the compiler to run it.

ArtifactError   an artifact is missing or is not one; the message names it
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

NAMES = ("Clearinghouse", "Exchange", "Registry", "Token")
"""Contracts that are shipped."""


class ArtifactError(Exception):
    """An artifact is missing or unreadable."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `bytecode` deploys it (constructor arguments follow); `runtime_size` is what it then occupies in
    bytes, immutables not counted; `settings` and `compiler` reproduce it; `source_sha256` is the
    SHA-256 over the sources as `contracts.build.source_hash` orders them.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    runtime_size: int
    compiler: str
    settings: dict[str, str]
    source_sha256: str


BLUEPRINT = bytes.fromhex("fe7100")
"""What a blueprint's code begins with (EIP-5202, version 0): it cannot be called."""


def blueprint(creation_code: bytes) -> bytes:
    """Code of a contract that only holds another's creation code (EIP-5202)."""
    return BLUEPRINT + creation_code


def deploying(code: bytes) -> bytes:
    """Creation code of a contract that has `code`, shorter than 64 kB, as its code."""
    # PUSH2 length, RETURNDATASIZE (0), DUP2, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURN
    return b"\x61" + len(code).to_bytes(2, "big") + bytes.fromhex("3d81600a3d39f3") + code


@cache
def load(name: str) -> Artifact:
    """Artifact of a contract by name, one of `NAMES`. Raises ArtifactError."""
    try:
        text = files(__name__).joinpath("artifacts", f"{name}.json").read_text("utf-8")
        fields = json.loads(text)
        return Artifact(
            name=fields["name"],
            abi=tuple(fields["abi"]),
            bytecode=bytes.fromhex(fields["bytecode"].removeprefix("0x")),
            runtime_size=fields["runtime_size"],
            compiler=fields["compiler"],
            settings=fields["settings"],
            source_sha256=fields["source_sha256"],
        )
    except FileNotFoundError:
        raise ArtifactError(f"no artifact of contract {name!r}; there are {', '.join(NAMES)}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"artifact of contract {name!r} is not readable: {error}") from None
