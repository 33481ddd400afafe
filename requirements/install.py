"""Make `.venv` and install a hashed lock into it: `python requirements/install.py run` (or `dev`).

Runs on the standard library alone. uv installs in seconds what takes pip minutes, so the pinned uv of
`bootstrap.lock` is fetched first; where there is none for this machine, pip installs the same lock.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SUPPORTED = ((3, 11), (3, 13))


def main(lock: str) -> int:
    """Install `requirements/<lock>.lock` and Wattbook itself, editable; returns the exit status."""
    requirements = ROOT / "requirements" / f"{lock}.lock"
    if not requirements.is_file():
        return _refuse(f"requirements/{lock}.lock: no such lock")
    if not (problem := _make_venv()):
        installed = _install_with_uv(requirements) or _install_with_pip(requirements)
        problem = "" if installed else f"requirements/{lock}.lock could not be installed; see above"
    return _refuse(problem) if problem else 0


def _refuse(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return 1


def _make_venv() -> str:
    """Make `.venv` unless a working one is there; returns what is wrong, or nothing."""
    low, high = SUPPORTED
    check = f"import pip, sys; sys.exit(not {low} <= sys.version_info[:2] <= {high})"
    if PYTHON.exists() and _quietly(PYTHON, "-c", check):
        return ""
    if not _quietly(sys.executable, "-c", "import venv, ensurepip"):
        return f"{sys.executable} has no venv; on Debian and Ubuntu: apt install python3-venv"
    _say("making .venv")
    if not _run(sys.executable, "-m", "venv", "--clear", str(VENV)):
        return f"{sys.executable} could not make {VENV.name}; on Debian and Ubuntu: apt install python3-venv"
    return ""


def _install_with_uv(requirements: Path) -> bool:
    bootstrap = ROOT / "requirements" / "bootstrap.lock"
    _say("fetching the installer")
    if not _quietly(
        PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "--only-binary", ":all:", "-r", bootstrap
    ):
        _say("no uv for this machine: pip installs, which takes a few minutes")
        return False
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    uv = [PYTHON, "-m", "uv", *quiet, "pip", "install", "--python", PYTHON]
    environment = os.environ | _settings_of_pip() | {"UV_PYTHON_DOWNLOADS": "never"}
    _say(f"installing requirements/{requirements.name} into .venv, a minute or so")
    # Compiled once here: the first command should not pay for it.
    if not _run(*uv, "--compile-bytecode", "--require-hashes", "-r", requirements, environment=environment):
        return False
    _say("installing Wattbook")
    return _run(*uv, "--no-deps", "--no-build-isolation", "--editable", ROOT, environment=environment)


def _install_with_pip(requirements: Path) -> bool:
    pip = [PYTHON, "-m", "pip", "install", "-q"]
    return _run(*pip, "--require-hashes", "-r", requirements) and _run(
        *pip, "--no-deps", "--no-build-isolation", "--editable", ROOT
    )


def _settings_of_pip() -> dict[str, str]:
    """Index and certificate that pip is configured with: uv reads only its own settings."""
    listing = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    names = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
    settings = {
        variable: found[f"{source}.{name}"].strip("'\"")
        for name, variable in names.items()
        for source in ("global", "install", ":env:")  # pip's order: the last one wins
        if f"{source}.{name}" in found
    }
    return {variable: value for variable, value in settings.items() if variable not in os.environ}


def _say(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> bool:
    return subprocess.run([str(part) for part in command], check=False, env=environment).returncode == 0


def _quietly(*command: str | Path) -> bool:
    return subprocess.run([str(part) for part in command], check=False, capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 2 else _refuse("usage: install.py run|dev"))
