"""The documents as tests read them: a page, its sections, its blocks of code, the commands in these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.repository import ROOT


def page(path: str | Path) -> str:
    return (ROOT / path).read_text("utf-8")


def sections(markdown: str) -> dict[str, str]:
    """Text under each heading of the second level."""
    parts = re.split(r"^## +(.*)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(markdown: str, language: str) -> list[str]:
    """What stands in each fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def links(markdown: str) -> Iterator[str]:
    """Targets of links that are files, code left out."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:|#", target):
            yield target.split("#")[0]


def shell_lines(markdown: str) -> Iterator[str]:
    """Every command in a `sh` block."""
    for block in blocks(markdown, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line
