"""What every table of a scenario file is, and the values that several of them have."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Worth = Annotated[float, Field(ge=-100_000, le=100_000)]
"""€/MWh: with room for what scarcity puts on top, still a price the contract can store."""
ShareRange = Annotated[tuple[Share, Share], Field(strict=False)]  # TOML's lists become tuples


class Section(BaseModel):
    """A table of the file: immutable, no unknown keys, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def ordered(section: Section, *keys: str) -> None:
    """Ranges are [low, high]."""
    for key in keys:
        low, high = getattr(section, key)
        if not low <= high:
            raise ValueError(f"{key} = [{low}, {high}] must be ordered")
