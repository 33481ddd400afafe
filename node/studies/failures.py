"""A failure of other people's code, or of a study, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path


def told(failure: BaseException, file: str | None = None) -> str:
    """What failed and where: the last line of `file`, or else of the file that the catcher had called."""
    frames = traceback.extract_tb(failure.__traceback__)
    if file is None and len(frames) > 1:
        file = frames[1].filename
    lines = [
        f"{Path(frame.filename).name}, line {frame.lineno}" for frame in frames if frame.filename == file
    ]
    place = f" ({lines[-1]})" if lines else ""
    said = f": {failure}" if str(failure) else ""
    return f"{type(failure).__name__}{said}{place}"
