"""Random streams by name, so that one kind of draw never changes another."""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The random stream of a seed and a name, as `stream(seed, "agents", 3)`."""
    words = [crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng([seed, *words])
