"""What a command says when it cannot go on: one line on stderr, and an exit status that scripts can read.

0 clean    1 findings, or a failure while running    2 wrong usage    3 could not verify
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

CLEAN, FAILED, USAGE, UNVERIFIABLE = 0, 1, 2, 3


def complain(problem: object, kind: str = "error") -> None:
    """Say what is wrong on one line. `problem` is an exception or a sentence."""
    typer.echo(f"{kind}: {' '.join(str(problem).split())}", err=True)


def stop(problem: object, status: int) -> NoReturn:
    """Say what is wrong on one line and leave."""
    complain(problem)
    raise typer.Exit(status)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Leave as after wrong usage where what is written into the folder of `--out` cannot be."""
    try:
        yield
    except OSError as error:
        stop(f"--out {out}: {error.strerror}; name another folder", USAGE)
