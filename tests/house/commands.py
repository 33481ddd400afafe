"""Commands as people run them, in this process, and the smallest scenario that they are run on."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from node.cli.app import app

TINY = """
name = "tiny"
seed = 3
[slots]
start = 2026-06-23T18:00:00Z
count = 1
[prosumers]
count = 4
"""


def wattbook(*arguments: object) -> Result:
    """Run the command in this process; an exception of ours is a failure of the test."""
    done = CliRunner().invoke(app, [str(word) for word in arguments], prog_name="wattbook")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def told(*arguments: object, status: int = 0) -> Any:
    """The one JSON object that a command prints, and nothing else."""
    done = wattbook(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (status, "")
    return json.loads(done.stdout)


def refused(*arguments: object) -> tuple[int, str]:
    """Exit status and the one line on stderr."""
    done = wattbook(*arguments)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.exit_code, done.stderr.removeprefix("error: ").rstrip("\n")
