"""Radial feeders: the record, the networks by name, and the power flow on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from market.feeder import cases
from market.feeder.model import Feeder, FeederError, Limits

if TYPE_CHECKING:
    from market.feeder.elements import LeftOut
    from market.feeder.pandapower import Imported

BUILT_IN = cases.NAMES

OTHERS = "pandapower:NET, simbench:CODE, random:BUSES:SEED"
"""Forms of the names that are not in a short list."""

__all__ = ["BUILT_IN", "Feeder", "FeederError", "Limits", "is_simbench", "left_out", "load"]


def load(name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Feeder:
    """Feeder by name, with voltage limits in pu; `rated` applies the ratings that come with it.

    Names: those of BUILT_IN; `pandapower:NET` for what pandapower ships; `simbench:CODE` or the bare code;
    `random:BUSES:SEED`. `#PART` behind NET or CODE chooses where a network has several parts. Raises
    FeederError for an unknown name, and for what is not radial.
    """
    kind, colon, rest = name.partition(":")
    found = _imported(name, v_min, v_max, rated=rated)
    if found is not None:
        return found.feeder
    if kind == "random" and colon:
        from market.feeder import random  # noqa: PLC0415 - for tests and benchmarks

        return random.named(rest, v_min, v_max)
    if name not in BUILT_IN:
        raise FeederError(
            f"feeder {name!r} is not built in; known: {', '.join(BUILT_IN)}, {OTHERS};"
            " a file is pandapower's JSON, its name ends with .json"
        )
    return cases.feeder(name, v_min, v_max, rated=rated)


def left_out(name: str) -> tuple[LeftOut, ...]:
    """What a feeder's network has and a feeder has no place for; nothing where it was made as one.

    Raises FeederError as `load` does.
    """
    found = _imported(name)
    return () if found is None else found.left_out


def _imported(name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Imported | None:
    """A feeder that is read from a network of pandapower's; None for other names."""
    kind, colon, rest = name.partition(":")
    if kind == "pandapower" and colon:
        from market.feeder.shipped import shipped  # noqa: PLC0415 - imports pandapower

        return shipped(rest, v_min, v_max, rated=rated)
    if is_simbench(name):
        from market.feeder import simbench  # noqa: PLC0415 - an extra, slow to import

        return simbench.feeder(name, v_min, v_max, rated=rated)
    return None


def is_simbench(name: str) -> bool:
    """Whether a name is a SimBench code, with `simbench:` before it and `#PART` behind it, or without."""
    return re.fullmatch(r"simbench:.*|\d-[A-Za-z_]+-.*-(no_)?sw(#.*)?", name, re.DOTALL) is not None
