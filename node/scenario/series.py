"""Own loads and PV of buses, slot by slot, out of the CSV file that `profiles.file` names.

Columns: `bus` (its name), `slot` (from 0) or `time` (when delivery starts, with its offset), and `load_kw`,
`pv_kw` or both. Rows outside the session are idle, so that a year's file serves any of its days. Whatever
cannot be is refused with its line: half a profile would pass for another feeder.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder, FeederError
from market.units import KW_PER_MW, Floats
from node.scenario.feeders import bus_number
from node.scenario.schema import SlotsSection
from node.scenario.unreadable import UNREADABLE, why

LOAD, PV = "load_kw", "pv_kw"
WHEN = ("slot", "time")
KW_MAX = 50_000.0
"""More than a distribution bus carries; twice that for a day fits the contract's 32 bits of Wh."""

Row = dict[str, str]


@dataclass(frozen=True, eq=False)
class Series:
    """kW by slot and bus, periods × buses; NaN for buses that the file does not name.

    load: all load of a bus; pv: what its PV can give. None where the file has no such column.
    """

    load: Floats | None
    pv: Floats | None

    @property
    def pv_peak_mw(self) -> Floats | None:
        """The greatest of each bus's PV; 0 at buses that are not named, None where the file has no PV."""
        return None if self.pv is None else np.nan_to_num(self.pv.max(axis=0)) / KW_PER_MW

    def on(self, feeder: Feeder) -> Feeder:
        """The feeder whose nominal loads are the greatest of the file, at each bus's own power factor."""
        if self.load is None:
            return feeder
        told, old = named(self.load), feeder.nominal_p_mw
        p_mw = np.where(told, self.load.max(axis=0) / KW_PER_MW, old)
        growth = np.divide(p_mw, old, out=np.zeros(feeder.buses), where=old > 0)
        q_mvar = np.where(told, feeder.nominal_q_mvar * growth, feeder.nominal_q_mvar)
        return replace(feeder, nominal_p_mw=p_mw, nominal_q_mvar=q_mvar)


def held(series: Series, own: SlotsSection, slots: SlotsSection) -> Series:
    """The powers in shorter slots from the same start, in each those of the file's slot that it lies in.

    own: the file's slots. Raises FeederError where they are none of those, or end before the last.
    """
    if own.seconds % slots.seconds:
        raise FeederError(
            f"profiles.file: slots.seconds = {own.seconds}: must be a multiple of {slots.seconds},"
            " the seconds of a slot here"
        )
    longer = own.seconds // slots.seconds
    if own.count * longer < slots.count:
        raise FeederError(
            f"profiles.file: slots.count = {own.count}: {own.count} slots of {own.seconds} s end before the"
            f" {slots.count} of {slots.seconds} s here"
        )
    rows = np.arange(slots.count) // longer
    load, pv = (None if by_slot is None else by_slot[rows] for by_slot in (series.load, series.pv))
    return Series(load, pv)


def named(by_bus: Floats) -> npt.NDArray[np.bool_]:
    """The buses that a file has values for."""
    return np.asarray(~np.isnan(by_bus[0]))


def shares(by_bus: Floats) -> Floats:
    """Parts of each bus's greatest value; 0 where that is 0."""
    greatest = by_bus.max(axis=0)
    return np.asarray(np.divide(by_bus, greatest, out=np.zeros(by_bus.shape), where=greatest > 0))


def read(file: str, feeder: Feeder, slots: SlotsSection) -> Series:
    """What a CSV file says of a session. Raises FeederError, its message with key, file and line."""
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as lines:  # spreadsheets write a mark first
            return _series(csv.DictReader(lines), feeder, slots)
    except UNREADABLE as error:
        raise FeederError(f"profiles.file: {file}: {why(error)}; a CSV file") from None
    except (FeederError, csv.Error) as refusal:
        raise FeederError(f"profiles.file: {file}: {refusal}") from None


def _series(rows: csv.DictReader[str], feeder: Feeder, slots: SlotsSection) -> Series:
    when, powers = _columns(rows.fieldnames or ())
    slot_of = _slot_number if when == "slot" else _slot_that_starts(slots)
    found = np.full((len(powers), slots.count, feeder.buses), np.nan)
    for row in rows:
        line = f"line {rows.line_num}"
        if None in row or None in row.values():
            raise FeederError(f"{line}: has not one cell for each of the columns")
        slot = slot_of(line, row)
        bus = bus_number(feeder, row["bus"].strip(), f"{line}: bus")
        values = [_kilowatts(line, column, row[column]) for column in powers]
        if not 0 <= slot < slots.count:
            continue
        if not np.isnan(found[0, slot, bus]):
            raise FeederError(f"{line}: bus {row['bus']} has a row for {when} {row[when]} already")
        found[:, slot, bus] = values
    _require_every_slot(found[0], feeder, slots)
    by_column = dict(zip(powers, found, strict=True))
    return Series(by_column.get(LOAD), by_column.get(PV))


def _columns(heads: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The column of times, and those of powers. Raises FeederError."""
    when = [head for head in heads if head in WHEN]
    powers = tuple(head for head in heads if head in (LOAD, PV))
    known = {"bus", *WHEN, LOAD, PV}
    whole = len(set(heads)) == len(heads) and known.issuperset(heads)
    if not (whole and "bus" in heads and len(when) == 1 and powers):
        raise FeederError(
            f"columns are {', '.join(heads) or 'none'}; needed are bus, slot or time,"
            " and load_kw, pv_kw or both, separated by commas"
        )
    return when[0], powers


def _slot_number(line: str, row: Row) -> int:
    text = row["slot"].strip()
    if not text.isdecimal():
        raise FeederError(f"{line}: slot = {row['slot']!r}: must be a whole number, the first slot's is 0")
    return int(text)


def _slot_that_starts(slots: SlotsSection) -> Callable[[str, Row], int]:
    def number(line: str, row: Row) -> int:
        said = f"{line}: time = {row['time']!r}"
        try:
            time = datetime.fromisoformat(row["time"].strip())
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            raise FeederError(f"{said}: must be a time with its offset, as 2026-06-23T00:00:00Z")
        slot, past_start = divmod(time - slots.start, timedelta(seconds=slots.seconds))
        if past_start:
            raise FeederError(f"{said}: no slot starts then; each has slots.seconds = {slots.seconds}")
        return slot

    return number


def _kilowatts(line: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= KW_MAX:
        hint = "; what a bus gives is pv_kw" if column == LOAD and value < 0 else ""
        raise FeederError(f"{line}: {column} = {text!r}: must be a number from 0 to {KW_MAX:.0f} kW{hint}")
    return value


def _require_every_slot(values: Floats, feeder: Feeder, slots: SlotsSection) -> None:
    """Who is named is named in every slot. Raises FeederError."""
    missing = np.isnan(values)
    if missing.all():
        raise FeederError(f"no row for any of the {slots.count} slots from {slots.start.isoformat()} on")
    partly = missing & ~missing.all(axis=0)
    if partly.any():
        slot, bus = (int(at) for at in np.argwhere(partly)[0])
        start = slots.start + timedelta(seconds=slot * slots.seconds)
        raise FeederError(
            f"no row for bus {feeder.bus_names[bus]} in slot {slot}, {start.isoformat()}; a bus that is named"
            f" has one for each of the {slots.count} slots"
        )
