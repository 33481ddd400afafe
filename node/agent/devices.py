"""An agent's devices, from a TOML file that nobody else reads (README.md has one).

Every value is a number, or a list of one a slot of the day, gone round again and again; all lists of a file
have the same length. Powers are in kW, what they are worth in €/MWh. They become a column of
`market.atc.prosumers`, in MW.

DeviceError   the file cannot be read, or breaks a rule; names file, key and value
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from market.atc.prosumers import Prosumers
from market.pricing.conditions import Devices, Storages
from market.units import KW_PER_MW, Floats

WEAR_RISE_EUR_PER_MWH = 1.0
"""How much more the last watt at full power wears a storage than the first: one schedule is cheapest."""
KEY_DEPTH = 2
"""Table and key: what else a location has is of the checks."""
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most"}
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


class Storage(Table):
    """`[storage]`: a battery, or a vehicle whose powers are 0 while it is away.

    least_kwh is what has to be in it at the end of a slot, drain_kwh what a trip has taken by then, start_kwh
    what is in it before anything is known; of efficiencies and wear each way has its part. What is left at
    the end of all that a clearing looks ahead is worth left_eur_per_mwh.
    """

    charge_kw: Powers = 0.0
    discharge_kw: Powers = 0.0
    energy_kwh: Powers = 0.0
    least_kwh: Powers = 0.0
    drain_kwh: Powers = 0.0
    start_kwh: Power = 0.0
    efficiency: Annotated[float, Field(gt=0, le=1)] = 0.95
    wear_eur_per_mwh: Annotated[float, Field(ge=0, le=1e5)] = 2.0
    left_eur_per_mwh: Price = 100.0


class DeviceFile(Table):
    """The whole file."""

    firm: Firm = Firm()
    generator: Generator = Generator()
    flexible: Flexible = Flexible()
    storage: Storage = Storage()

    @property
    def stores(self) -> bool:
        """Whether there is a storage."""
        return _most(self.storage.energy_kwh) > 0

    @model_validator(mode="after")
    def _ordered(self) -> DeviceFile:
        slots = self._slots()
        rules = (
            ("flexible", "min_kw", "max_kw"),
            ("flexible", "value_at_max_eur_per_mwh", "value_at_min_eur_per_mwh"),
            ("generator", "cost_eur_per_mwh", "cost_at_max_eur_per_mwh"),
            ("storage", "least_kwh", "energy_kwh"),
            ("storage", "start_kwh", "energy_kwh"),
        )
        for table, *keys in rules:
            low, high = (getattr(getattr(self, table), key) for key in keys)
            for slot in range(slots):
                less, more = _at(low, slot), _at(high, slot)
                if less > more:
                    where = f"{table}: value {slot + 1}"
                    raise ValueError(f"{where}: {keys[0]} = {less} is above {keys[1]} = {more}")
        return self

    def _slots(self) -> int:
        """How many slots the lists have, all the same. Raises ValueError."""
        lengths = {
            f"{name}.{key}": len(value)
            for name, table in self
            for key, value in table
            if isinstance(value, list)
        }
        first = next(iter(lengths), "")
        for other, length in lengths.items():
            if length != lengths[first]:
                raise ValueError(
                    f"{other} has {length} values and {first} {lengths[first]}: lists of one length"
                    " are allowed, with a value for each slot of the day"
                )
        return lengths.get(first, 1)


@dataclass(frozen=True, eq=False)
class Own:
    """An agent's devices in one slot: one column in MW, and its firm load, MW."""

    devices: Devices
    firm_mw: float

    def best_mw(self, price: float) -> float:
        """What it injects at a price, €/MWh."""
        return float(Prosumers(self.devices).at_price(np.array([price])).power[0]) - self.firm_mw

    def alone_mw(self, retail: float, fit: float) -> float:
        """What it injects without a market, at €/MWh: sells at the feed-in tariff or buys at retail."""
        return float(np.clip(0.0, self.best_mw(fit), self.best_mw(retail)))


def load(path: Path) -> DeviceFile:
    """The devices of a file. Raises DeviceError."""
    try:
        return DeviceFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as failure:
        raise DeviceError(f"{path}: cannot be read: {failure.strerror}") from None
    except ValidationError as failure:
        raise DeviceError(f"{path}: {_why(failure)}") from None
    except (ValueError, RecursionError) as failure:
        raise DeviceError(f"{path}: not TOML: {failure}") from None


def told(document: object, source: str) -> DeviceFile:
    """The devices that somebody tells, with the keys of a file. Raises DeviceError."""
    try:
        return DeviceFile.model_validate(document)
    except ValidationError as failure:
        raise DeviceError(f"{source}: {_why(failure)}") from None


def _why(failure: ValidationError) -> str:
    """What a file breaks first: table, key, value, and what was allowed."""
    errors = failure.errors()
    if errors[0]["type"] == "value_error":
        return errors[0]["msg"].removeprefix("Value error, ")
    place = errors[0]["loc"][:KEY_DEPTH]
    # A value that is neither a number nor a list breaks the rules of both; an entry of a list is told first.
    of_place = [each for each in errors if each["loc"][:KEY_DEPTH] == place]
    first = next((each for each in of_place if isinstance(each["loc"][-1], int)), of_place[0])
    where, last = ".".join(map(str, place)), first["loc"][-1]
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown"
    if len(place) < KEY_DEPTH:
        return f"{where} = {first['input']!r}: a table is allowed"
    entry = f", value {last + 1}" if isinstance(last, int) else ""
    may_be_list = len(first["loc"]) > KEY_DEPTH and not entry
    lists = ", or a list with one for each slot of the day" if may_be_list else ""
    bounds = [f" {BOUNDS[name]} {limit:g}" for name, limit in first.get("ctx", {}).items() if name in BOUNDS]
    return f"{where}{entry} = {first['input']!r}: a number{''.join(bounds)}{lists} is allowed"


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


def storage_of(file: DeviceFile, first: int, slots: int, energy_mwh: float) -> Storages:
    """Its storage over some slots from a state before the first; one column in MW."""
    of = file.storage
    power = max(_most(of.charge_kw), _most(of.discharge_kw)) / KW_PER_MW

    def rows(value: float | list[float]) -> Floats:
        return np.array([[_at(value, first + t) / KW_PER_MW] for t in range(slots)])

    return Storages(
        bus=np.zeros(1, dtype=np.int64),
        charge_max=rows(of.charge_kw),
        discharge_max=rows(of.discharge_kw),
        energy_min=rows(of.least_kwh),
        energy_max=rows(of.energy_kwh),
        drain=rows(of.drain_kwh),
        energy_start=np.array([min(energy_mwh, _at(of.energy_kwh, first) / KW_PER_MW)]),
        charge_efficiency=np.array([of.efficiency]),
        discharge_efficiency=np.array([of.efficiency]),
        wear=np.array([of.wear_eur_per_mwh]),
        wear_slope=np.array([WEAR_RISE_EUR_PER_MWH / power if power else 0.0]),
        final_value=np.array([of.left_eur_per_mwh]),
    )


def in_a_row(steps: Sequence[Own]) -> tuple[Devices, Floats]:
    """Devices of several slots as so many columns of one, and the firm load of each slot, MW."""
    names = [field.name for field in fields(Devices) if field.name != "bus"]
    columns = {name: np.hstack([getattr(each.devices, name) for each in steps]) for name in names}
    bus = np.zeros(len(steps), dtype=np.int64)
    return Devices(bus=bus, **columns), np.array([each.firm_mw for each in steps])


def _most(value: float | list[float]) -> float:
    return max(value) if isinstance(value, list) else value


def _at(value: float | list[float], slot: int) -> float:
    return value[slot % len(value)] if isinstance(value, list) else value
