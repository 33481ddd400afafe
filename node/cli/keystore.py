"""`wattbook keystore`: a new key for an account, a meter or an oracle, in a file under a password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from node.cli.errors import USAGE, stop

OWNER_ONLY = 0o600


def keystore(
    out: Annotated[
        Path, typer.Option(help="New key file (Web3 Secret Storage, version 3), its owner's alone.")
    ],
    password_file: Annotated[Path, typer.Option(help="File with the password to come.", metavar="FILE")],
) -> None:
    """Make a key for an account, a meter or an oracle, and print its address.

    Example: wattbook keystore --out meter.json --password-file meter.password
    """
    from eth_account import Account  # noqa: PLC0415 - loads slowly

    try:
        password = password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as refusal:
        stop(f"--password-file {refusal}", USAGE)
    if not password:
        stop(f"--password-file {password_file}: holds no password", USAGE)
    made = Account.create()
    try:
        out.touch(mode=OWNER_ONLY, exist_ok=False)
        out.write_text(json.dumps(Account.encrypt(made.key, password)) + "\n", "utf-8")
    except FileExistsError:
        stop(f"--out {out}: is there already, and a key is never written over", USAGE)
    except OSError as refusal:
        stop(f"--out {refusal}", USAGE)
    typer.echo(made.address)
