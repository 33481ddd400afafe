"""The README as a registry's page has it: files that are not beside it there are named, not linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)\s]+\)\n+", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s#]+)(?:#[^)\s]*)?\)")


class ReadmeHook(MetadataHookInterface):
    """Gives the project its long description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put README.md into the metadata, with paths in the place of its links to files."""
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": without_links(text)}


def without_links(markdown: str) -> str:
    """A page without pictures and links that are files; a link's words stay, with the file's path."""
    return LINK.sub(_named, PICTURE.sub("", markdown))


def _named(link: re.Match[str]) -> str:
    words, path = link.groups()
    return f"`{path}`" if path.startswith(words) else f"{words} (`{path}`)"
