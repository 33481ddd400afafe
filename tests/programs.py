"""Programs that some tests run beside Wattbook, and where they are."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COMMANDS = {
    "anvil": ("anvil",),
    "bean-check": ("bean-check",),
    "cast": ("cast",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "node": ("node", "nodejs"),
}
"""The names under which systems install a program."""
PACKAGES = ("axe-core", "ethers", "viem")
"""Packages for Node, which are no programs of their own."""


MODULES = ("playwright", "schemathesis")
"""Python's, from the lock for development."""


def find(program: str) -> Path | None:
    """Where a program is, or None; `make tools` puts some of them into `node_modules`."""
    if program in MODULES:
        module = find_spec(program)
        return Path(module.origin) if module is not None and module.origin is not None else None
    if program in PACKAGES:
        package = ROOT / "node_modules" / program / "package.json"
        return package if package.exists() else None
    path = os.pathsep.join([str(ROOT / "node_modules" / ".bin"), os.environ.get("PATH", os.defpath)])
    for command in COMMANDS[program]:
        if found := shutil.which(command, path=path):
            return Path(found)
    return None


NOT_INSTALLED = "data from elsewhere, which nothing installs"
"""How the reason of a skip begins that is none of this machine's fault, and never required."""
