"""An agent's devices, from a TOML file that nobody else reads (README.md has one).

Every value is a number, or a list of one a slot of the day, gone round again and again: powers in kW, what
they are worth in €/MWh. They become a column of `market.atc.prosumers`, in MW.

DeviceError   the file cannot be read, or breaks a rule; names file, key and value
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from market.atc.prosumers import Prosumers
from market.pricing.conditions import Devices

KW_PER_MW = 1_000.0
Power = Annotated[float, Field(ge=0, le=1e6)]
Price = Annotated[float, Field(ge=-1e5, le=1e5)]
Powers = Power | Annotated[list[Power], Field(min_length=1, max_length=1_440)]
Prices = Price | Annotated[list[Price], Field(min_length=1, max_length=1_440)]


class DeviceError(ValueError):
    """The file describes no devices."""


class Table(BaseModel):
    """A table of the file: no unknown keys, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Firm(Table):
    """`[firm]`: load that is served at any price."""

    kw: Powers = 0.0


class Generator(Table):
    """`[generator]`: what it may give, and what the first and the last kW of it cost."""

    max_kw: Powers = 0.0
    cost_eur_per_mwh: Prices = 0.0
    cost_at_max_eur_per_mwh: Prices = 0.0


class Flexible(Table):
    """`[flexible]`: load that follows the price, and what its first and last kW are worth."""

    min_kw: Powers = 0.0
    max_kw: Powers = 0.0
    value_at_min_eur_per_mwh: Prices = 0.0
    value_at_max_eur_per_mwh: Prices = 0.0


class DeviceFile(Table):
    """The whole file."""

    firm: Firm = Firm()
    generator: Generator = Generator()
    flexible: Flexible = Flexible()

    @model_validator(mode="after")
    def _ordered(self) -> DeviceFile:
        rules = (
            (self.flexible, "min_kw", "max_kw"),
            (self.flexible, "value_at_max_eur_per_mwh", "value_at_min_eur_per_mwh"),
            (self.generator, "cost_eur_per_mwh", "cost_at_max_eur_per_mwh"),
        )
        for table, low, high in rules:
            pair = getattr(table, low), getattr(table, high)
            for slot in range(max(_length(each) for each in pair)):
                if _at(pair[0], slot) > _at(pair[1], slot):
                    raise ValueError(f"{low} = {_at(pair[0], slot)} is above {high} = {_at(pair[1], slot)}")
        return self


@dataclass(frozen=True, eq=False)
class Own:
    """An agent's devices in one slot: one column in MW, and its firm load, MW."""

    devices: Devices
    firm_mw: float

    def power_mw(self, target_mw: float, weight: float) -> float:
        """What it injects for a target and a weight, €/MWh per MW: the proximal step."""
        step = Prosumers(self.devices).respond(np.array([target_mw + self.firm_mw]), np.array([weight]))
        return float(step.power[0]) - self.firm_mw

    def best_mw(self, price: float) -> float:
        """What it injects at a price, €/MWh."""
        return float(Prosumers(self.devices).at_price(np.array([price])).power[0]) - self.firm_mw


def load(path: Path) -> DeviceFile:
    """The devices of a file. Raises DeviceError."""
    try:
        return DeviceFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as failure:
        raise DeviceError(f"{path}: cannot be read: {failure.strerror}") from None
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise DeviceError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    except (ValueError, RecursionError) as failure:
        raise DeviceError(f"{path}: not TOML: {failure}") from None


def of_slot(file: DeviceFile, slot: int) -> Own:
    """The devices in a slot."""
    generator, flexible = file.generator, file.flexible
    gen_max, low, high = (
        _at(each, slot) / KW_PER_MW for each in (generator.max_kw, flexible.min_kw, flexible.max_kw)
    )
    cost, cost_at_max = _at(generator.cost_eur_per_mwh, slot), _at(generator.cost_at_max_eur_per_mwh, slot)
    first, last = _at(flexible.value_at_min_eur_per_mwh, slot), _at(flexible.value_at_max_eur_per_mwh, slot)
    slope = (first - last) / (high - low) if high > low else 0.0

    def one(value: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return np.array([[value]])

    return Own(
        Devices(
            bus=np.zeros(1, dtype=np.int64),
            gen_cost=one(cost),
            gen_slope=one((cost_at_max - cost) / gen_max if gen_max > 0 else 0.0),
            gen_max=one(gen_max),
            load_value=one(first + slope * low),
            load_slope=one(slope),
            load_min=one(low),
            load_max=one(high),
        ),
        _at(file.firm.kw, slot) / KW_PER_MW,
    )


def _length(value: float | list[float]) -> int:
    return len(value) if isinstance(value, list) else 1


def _at(value: float | list[float], slot: int) -> float:
    return value[slot % len(value)] if isinstance(value, list) else value
