"""Radial feeders: the record, the built-in networks by name, and the power flow on them."""

from __future__ import annotations

from market.feeder.ieee33 import ieee33
from market.feeder.model import Feeder, FeederError, Limits

BUILT_IN = {"ieee33": ieee33}

__all__ = ["BUILT_IN", "Feeder", "FeederError", "Limits", "load"]


def load(name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Feeder:
    """Built-in feeder by name, with voltage limits in pu; `rated` applies the ratings its module states.

    Raises FeederError for an unknown name.
    """
    if name not in BUILT_IN:
        raise FeederError(f"feeder {name!r} is not built in; known: {', '.join(sorted(BUILT_IN))}")
    return BUILT_IN[name](v_min, v_max, rated=rated)
