"""The record by which a data folder is resumed: `deployment.json`, format `wattbook testnet 1`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node.testnet.settings import FolderError

FORMAT = "wattbook testnet 1"
NAME = "deployment.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What a data folder remembers of its market."""

    exchange: str
    token: str
    first_block: int
    accounts: tuple[str, ...]


def read_record(folder: Path) -> Record | None:
    """The record of a data folder, None where there is none. Raises FolderError."""
    path = folder / NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise FolderError(f"{path}: its format is not {FORMAT!r}")
        return Record(
            exchange=str(document["exchange"]),
            token=str(document["token"]),
            first_block=int(document["first_block"]),
            accounts=tuple(str(address) for address in document["accounts"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failure:
        raise FolderError(f"{path}: cannot be read: {failure.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FolderError(f"{path}: damaged; name another data folder") from None


def write_record(folder: Path, record: Record) -> None:
    """Remember the market in the data folder. Raises FolderError."""
    write_json(folder / NAME, {"format": FORMAT, **asdict(record)})


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write whole or not at all, readable by its owner only. Raises FolderError."""
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write bytes whole or not at all, readable by the file's owner only. Raises FolderError."""
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as failure:
        raise FolderError(f"{path}: cannot be written: {failure.strerror}") from None
