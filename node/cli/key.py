"""`wattbook audit key`: a key that signs checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.errors import USAGE, stop

OWNER_ONLY = 0o600


def key(
    name: Annotated[str, typer.Argument(help="What others call the key, as utility.example/market.")],
    out: Annotated[Path, typer.Option(help="New file for the signing key, readable by its owner alone.")],
) -> None:
    """Make a key that signs checkpoints, and print the key by which others verify them.

    Example: wattbook audit key utility.example/market --out checkpoint.key
    """
    from ledger.checkpoint import NoteKeyError, SignerKey  # noqa: PLC0415 - loads slowly

    try:
        made = SignerKey.generate(name)
        out.touch(mode=OWNER_ONLY, exist_ok=False)
        out.write_text(f"{made}\n")
    except FileExistsError:
        stop(f"--out {out}: is there already, and a key is never written over", USAGE)
    except (NoteKeyError, OSError) as refusal:
        stop(refusal, USAGE)
    typer.echo(made.verifier)
