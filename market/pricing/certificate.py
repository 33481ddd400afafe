"""The certificate: what was cleared, and the proof that the prices are right, in bytes (CERTIFICATE.md).

`check` needs NumPy and nothing else: no solver is asked, the optimality conditions are measured.
What a certificate cannot show: that the inputs are true, in particular that prosumers told the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from hashlib import sha256
from typing import TypeVar

import numpy as np

from market.feeder.model import Feeder, FeederError, Limits
from market.findings import Finding
from market.pricing.admission import PricingError, admit
from market.pricing.conditions import (
    Conditions,
    Devices,
    Duals,
    Hub,
    Primal,
    SlotPrices,
    Solution,
    Storages,
)
from market.pricing.given import given
from market.pricing.network import Network
from market.pricing.optimality import Comparison, Flags, Measured, measure_point, unexcused
from market.pricing.point import BUSES, DEVICES, LINES, STORAGES, Point, point
from market.pricing.quantise import quantise
from market.pricing.storages import BY_PERIOD, BY_STORAGE
from market.pricing.wire import FormatError, Reader, Writer
from market.units import Floats

INPUTS_MAGIC, CERTIFICATE_MAGIC = b"WBIN", b"WBCT"
VERSION = 2
PER_CHECK = 3
"""Findings listed for one check and period: the worst places; a wrong flow shows at several."""
LARGEST = 1e50
"""No power or price is so large; the products of three such numbers are still numbers."""

DEVICE_ARRAYS = tuple(field.name for field in fields(Devices) if field.name != "bus")


class Claim(IntEnum):
    """What a certificate says its schedule is: the global optimum, or a stationary point and no more."""

    GLOBAL = 0
    LOCAL = 1


class Accuracy(IntEnum):
    """To what a certificate says that its conditions hold: the arithmetic's last digits, or ATC's stop."""

    FINISHED = 0
    STOPPED = 1


Claims = TypeVar("Claims", Claim, Accuracy)


@dataclass(frozen=True, eq=False)
class Certified:
    """A certificate that was read: what it claims, for whose inputs, and the point it does so of."""

    claim: Claim
    accuracy: Accuracy
    input_hash: bytes
    point: Point

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Periods, buses, devices, storages."""
        at = self.point
        periods, buses = at.lines.shape[1:]
        return periods, buses, at.devices.shape[2], at.storages.shape[2]

    @property
    def primal(self) -> Primal:
        """The schedule."""
        return self.point.primal

    @property
    def duals(self) -> Duals:
        """Its prices."""
        return self.point.duals


# --- inputs -------------------------------------------------------------------------------------


def encode_inputs(feeder: Feeder, conditions: Conditions) -> bytes:
    """Everything a clearing was given, in canonical bytes. Raises FormatError on NaN."""
    return _encode_feeder(feeder) + _encode_conditions(conditions)


def _encode_feeder(feeder: Feeder) -> bytes:
    writer = Writer(INPUTS_MAGIC, VERSION)
    writer.text(feeder.name)
    writer.counts(feeder.buses)
    for name in feeder.bus_names:
        writer.text(name)
    writer.ints(feeder.parent)
    limits = feeder.limits
    by_bus = (feeder.r_pu, feeder.x_pu, limits.v_min, limits.v_max, limits.i_max)
    writer.floats(*by_bus, feeder.nominal_p_mw, feeder.nominal_q_mvar, feeder.base_mw, feeder.v0)
    return writer.bytes()


def _encode_conditions(conditions: Conditions) -> bytes:
    devices, storages, hub = conditions.devices, conditions.storages, conditions.hub
    writer = Writer()
    writer.counts(conditions.periods, devices.count, storages.count, conditions.first_slot)
    writer.ints(devices.bus)
    writer.ints(storages.bus)
    writer.floats(
        *(conditions.hours, conditions.voll, hub.import_price, hub.export_price),
        *(conditions.fixed_p, conditions.fixed_q),
        *(getattr(devices, name) for name in DEVICE_ARRAYS),
        *(getattr(storages, name) for name in (*BY_PERIOD, *BY_STORAGE) if storages.count),
    )
    return writer.bytes()


def decode_inputs(data: bytes) -> tuple[Feeder, Conditions]:
    """The inverse of `encode_inputs`. Raises FormatError, or FeederError for a feeder that is none."""
    reader = Reader(data, INPUTS_MAGIC, VERSION)
    feeder = _decode_feeder(reader)
    conditions = _decode_conditions(reader, feeder.buses)
    reader.end()
    return feeder, conditions


def _decode_feeder(reader: Reader) -> Feeder:
    name = reader.text()
    (buses,) = reader.counts(1)
    bus_names = tuple(reader.text() for _ in range(buses))
    parent = reader.ints(buses)
    r_pu, x_pu = reader.floats(buses), reader.floats(buses)
    limits = Limits(*(reader.floats(buses, finite=False) for _ in range(3)))
    nominal_p_mw, nominal_q_mvar = reader.floats(buses), reader.floats(buses)
    base_mw, v0 = reader.floats(2).tolist()
    return Feeder(
        name=name,
        bus_names=bus_names,
        parent=parent,
        r_pu=r_pu,
        x_pu=x_pu,
        limits=limits,
        base_mw=base_mw,
        v0=v0,
        nominal_p_mw=nominal_p_mw,
        nominal_q_mvar=nominal_q_mvar,
    )


def _decode_conditions(reader: Reader, buses: int) -> Conditions:
    periods, count, stored, first_slot = reader.counts(4)
    device_bus, storage_bus = reader.ints(count), reader.ints(stored)
    hours, voll = reader.floats(2).tolist()
    hub = Hub(reader.floats(periods), reader.floats(periods))
    fixed_p, fixed_q = reader.floats(periods, buses), reader.floats(periods, buses)
    devices = Devices(device_bus, **{name: reader.floats(periods, count) for name in DEVICE_ARRAYS})
    shapes = dict.fromkeys(BY_PERIOD, (periods, stored)) | dict.fromkeys(BY_STORAGE, (stored,))
    storages = Storages(storage_bus, **{name: reader.floats(*shape) for name, shape in shapes.items()})
    return Conditions(fixed_p, fixed_q, hub, devices, hours, voll, storages, first_slot)


def input_hash(feeder: Feeder, conditions: Conditions) -> bytes:
    """SHA-256 of the canonical inputs, as posted with prices."""
    return sha256(encode_inputs(feeder, conditions)).digest()


# --- certificate --------------------------------------------------------------------------------


def certificate(solution: Solution, feeder: Feeder, conditions: Conditions) -> bytes:
    """The solution as a certificate, which claims as much as holds. Raises FormatError on NaN."""
    at = point(solution.primal, solution.duals)
    finished, wrong = measure_point(Network(feeder), given(feeder, conditions), at).wrong()
    accuracy = Accuracy.FINISHED if finished else Accuracy.STOPPED
    local = solution.status == "local" or (finished and wrong)
    claim = Claim.LOCAL if local else Claim.GLOBAL
    writer = Writer(CERTIFICATE_MAGIC, VERSION)
    writer.raw(bytes([claim, accuracy]) + input_hash(feeder, conditions))
    counts = conditions.devices.count, conditions.storages.count
    writer.counts(conditions.periods, feeder.buses, *counts)
    writer.floats(at.lines, at.buses, at.devices, at.storages, at.net_import)
    return writer.bytes()


def certificate_hash(data: bytes) -> bytes:
    """SHA-256 of a certificate, as posted with prices."""
    return sha256(data).digest()


def decode(data: bytes) -> Certified:
    """Read a certificate without judging it. Raises FormatError."""
    reader = Reader(data, CERTIFICATE_MAGIC, VERSION)
    claim, accuracy = reader.raw(2)
    of_inputs = reader.raw(32)
    periods, buses, count, stored = reader.counts(4)
    blocks = (len(LINES), buses), (len(BUSES), buses), (len(DEVICES), count), (len(STORAGES), stored)
    values = reader.floats(periods * (sum(rows * places for rows, places in blocks) + 1), largest=LARGEST)
    reader.end()
    arrays, end = [], 0
    for rows, places in blocks:
        start, end = end, end + rows * periods * places
        arrays.append(values[start:end].reshape(rows, periods, places))
    lines, of_buses, devices, storages = arrays
    at = Point(lines, of_buses, devices, storages, net_import=values[end:])
    return Certified(_known(Claim, claim), _known(Accuracy, accuracy), of_inputs, at)


def _known(kind: type[Claims], value: int) -> Claims:
    """What a byte stands for. Raises FormatError."""
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(str(int(each)) for each in kind)
        raise FormatError(f"{kind.__name__.lower()} {value}, known: {known}") from error


def prices(data: bytes, feeder: Feeder, period: int = 0, *, hours: float) -> SlotPrices:
    """The integer prices that a certificate proves, as they must be posted.

    Raises FormatError, also where one does not fit the contract's 32 bits.
    """
    certified = decode(data)
    try:
        return quantise(certified, feeder, period, hours=hours)
    except ValueError as failure:
        raise FormatError(str(failure)) from None


# --- the checker --------------------------------------------------------------------------------


class Checker:
    """Judges certificates for given inputs, of which it prepares what it needs.

    Who checks many slots of a feeder prepares its `Network` once. Raises PricingError, FormatError.
    """

    def __init__(self, feeder: Feeder | Network, conditions: Conditions) -> None:
        self._network = feeder if isinstance(feeder, Network) else Network(feeder)
        self._feeder = feeder = self._network.feeder
        admit(feeder, conditions)
        self._given = given(feeder, conditions)
        self._input_hash = input_hash(feeder, conditions)
        self._sizes = conditions.periods, feeder.buses, conditions.devices.count, conditions.storages.count

    def __call__(self, data: bytes) -> tuple[Finding, ...]:
        """Everything that is wrong with a certificate for these inputs; nothing means its claim holds."""
        try:
            certified = decode(data)
        except FormatError as error:
            return (_unreadable(error),)
        if certified.input_hash != self._input_hash:
            expected, found = self._input_hash.hex(), certified.input_hash.hex()
            return (Finding("input-hash", "certificate", expected, found, "other inputs"),)
        if certified.sizes != self._sizes:
            expected, found = (_sizes_text(each) for each in (self._sizes, certified.sizes))
            return (Finding("certificate-format", "certificate", expected, found, "other arrays"),)
        no_line = certified.point.lines[:, :, 0]
        unused = _unused(no_line) if np.count_nonzero(no_line) else ()
        measured = measure_point(self._network, self._given, certified.point)
        wrong = _broken(measured, certified.claim, certified.accuracy)
        return (*unused, *(each for one, where in wrong for each in _findings(one, where, self._feeder)))


def check(data: bytes, feeder: Feeder, conditions: Conditions) -> tuple[Finding, ...]:
    """Everything that is wrong with a certificate for these inputs; nothing found means its claim holds."""
    try:
        return Checker(feeder, conditions)(data)
    except (FormatError, PricingError, FeederError) as error:
        return (_unreadable(error),)


def _unreadable(error: ValueError) -> Finding:
    wanted = f"readable bytes of version {VERSION}, for inputs that can be priced"
    return Finding("certificate-format", "certificate", wanted, str(error), "")


def _broken(measured: Measured, claim: Claim, accuracy: Accuracy) -> list[tuple[Comparison, Flags]]:
    """Those of the conditions that are claimed to hold, and do not."""
    finished = accuracy is Accuracy.FINISHED
    if measured.hold(finished=finished):
        return []
    wrong = measured.broken(finished=finished)
    held = unexcused({each.check for each, _ in wrong})
    return [each for each in wrong if claim is Claim.GLOBAL or each[0].check in held]


def _sizes_text(sizes: tuple[int, int, int, int]) -> str:
    return "{} periods, {} buses, {} devices, {} storages".format(*sizes)


def _unused(entries: Floats) -> tuple[Finding, ...]:
    """Entry 0 of line arrays, where nothing may hide."""
    return tuple(
        Finding(f"unused-{LINES[row]}", f"period {period}, no line", "0", f"{entries[row, period]:.9g}", "")
        for row, period in np.argwhere(entries).tolist()
    )


def _findings(comparison: Comparison, where: Flags, feeder: Feeder) -> Iterator[Finding]:
    """The worst places of each period where a condition does not hold."""
    error = comparison.error
    for period in np.flatnonzero(where.any(axis=1)):
        places = np.flatnonzero(where[period])
        worst = places[np.argsort(-error[period, places], kind="stable")][:PER_CHECK]
        for place in worst:
            found, expected = comparison.found[period, place], comparison.expected[period, place]
            yield Finding(
                check=comparison.check,
                where=f"period {period}{_place(comparison.rule.place, feeder, int(place))}",
                expected=f"{expected:.9g}",
                found=f"{found:.9g}",
                difference=f"{abs(found - expected):.3g}, {error[period, place]:.3g} of its size",
                next="clear the posted inputs again and compare",
            )


def _place(kind: str, feeder: Feeder, index: int) -> str:
    """Where an entry of the second axis is."""
    match kind:
        case "bus":
            return f" bus {feeder.bus_names[index]}"
        case "line":
            return f" line to bus {feeder.bus_names[index]}"
        case "device" | "storage":
            return f" {kind} {index}"
        case _:
            return ""


def gap(certified: Certified, feeder: Feeder, conditions: Conditions) -> Floats:
    """Proven distance from the optimum by period, of 1 € + turnover."""
    measured = measure_point(Network(feeder), given(feeder, conditions), certified.point)
    return next(comparison.error[:, 0] for comparison in measured.comparisons() if comparison.check == "gap")
