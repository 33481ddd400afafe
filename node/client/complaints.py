"""What goes wrong again and again, told once."""

from __future__ import annotations

from collections.abc import Callable


class Complaints:
    """Tells what is wrong when it begins and when it changes, and not with every try in between."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last = ""

    def wrong(self, line: str) -> None:
        """Something is wrong: tell it, unless it was told last."""
        if line != self._last:
            self._tell(line)
        self._last = line

    def well(self, line: str = "") -> None:
        """All is well: what comes next is told again. `line` is told where something was wrong."""
        if self._last and line:
            self._tell(line)
        self._last = ""
