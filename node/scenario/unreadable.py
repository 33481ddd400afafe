"""Why a file of a person's cannot be read, in words."""

from __future__ import annotations

UNREADABLE = (OSError, UnicodeDecodeError)
"""What reading text raises."""


def why(error: OSError | UnicodeDecodeError) -> str:
    """The system's reason, or that the file is no text."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8 text"
