"""The certificate: what was cleared, and the proof that the prices are right, in bytes (CERTIFICATE.md).

`check` needs NumPy and nothing else: no solver is asked, the optimality conditions are measured.
What a certificate cannot show: that the inputs are true, in particular that prosumers told the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from hashlib import sha256

import numpy as np

from market.feeder.model import Feeder, FeederError, Limits
from market.findings import Finding
from market.pricing.admission import PricingError, admit
from market.pricing.conditions import Conditions, Devices, Duals, Hub, Primal, SlotPrices, Solution
from market.pricing.optimality import GLOBAL, Comparison, measure
from market.pricing.quantise import quantise
from market.pricing.wire import FormatError, Reader, Writer
from market.units import Floats

INPUTS_MAGIC, CERTIFICATE_MAGIC = b"WBIN", b"WBCT"
VERSION = 1
PER_CHECK = 3
"""Findings listed for one check and period: the worst places; a wrong flow shows at several."""

DEVICE_ARRAYS = tuple(field.name for field in fields(Devices) if field.name != "bus")
STORED_ARRAYS = ("charge", "discharge", "energy", "stored")
PRIMAL_ARRAYS = tuple(field.name for field in fields(Primal) if field.name not in STORED_ARRAYS)
DUAL_ARRAYS = tuple(field.name for field in fields(Duals) if field.name not in STORED_ARRAYS)


class Claim(IntEnum):
    """What a certificate says its schedule is; a local optimum is proven to be one, and no more."""

    GLOBAL = 0
    LOCAL = 1


@dataclass(frozen=True, eq=False)
class Certified:
    """A certificate that was read: what it claims, for whose inputs, which schedule, which prices."""

    claim: Claim
    input_hash: bytes
    primal: Primal
    duals: Duals


def encode_inputs(feeder: Feeder, conditions: Conditions) -> bytes:
    """Everything a clearing was given, in canonical bytes. Raises ValueError on NaN."""
    writer = Writer(INPUTS_MAGIC, VERSION)
    writer.text(feeder.name)
    writer.count(feeder.buses)
    for name in feeder.bus_names:
        writer.text(name)
    writer.ints(feeder.parent)
    limits = feeder.limits
    by_bus = (feeder.r_pu, feeder.x_pu, limits.v_min, limits.v_max, limits.i_max)
    for array in (*by_bus, feeder.nominal_p_mw, feeder.nominal_q_mvar, feeder.base_mw, feeder.v0):
        writer.floats(array)
    devices, hub = conditions.devices, conditions.hub
    writer.count(conditions.periods)
    writer.count(devices.count)
    for numbers in (conditions.hours, conditions.voll, hub.import_price, hub.export_price):
        writer.floats(numbers)
    writer.floats(conditions.fixed_p)
    writer.floats(conditions.fixed_q)
    writer.ints(devices.bus)
    for name in DEVICE_ARRAYS:
        writer.floats(getattr(devices, name))
    return writer.bytes()


def decode_inputs(data: bytes) -> tuple[Feeder, Conditions]:
    """The inverse of `encode_inputs`. Raises FormatError, or FeederError for a feeder that is none."""
    reader = Reader(data, INPUTS_MAGIC, VERSION)
    name, buses = reader.text(), reader.count()
    bus_names = tuple(reader.text() for _ in range(buses))
    parent = reader.ints(buses)
    r_pu, x_pu = reader.floats(buses), reader.floats(buses)
    limits = Limits(*(reader.floats(buses, finite=False) for _ in range(3)))
    nominal_p_mw, nominal_q_mvar = reader.floats(buses), reader.floats(buses)
    base_mw, v0 = (float(reader.floats(1)[0]) for _ in range(2))
    feeder = Feeder(
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
    periods, count = reader.count(), reader.count()
    hours, voll = (float(reader.floats(1)[0]) for _ in range(2))
    hub = Hub(reader.floats(periods), reader.floats(periods))
    fixed_p, fixed_q = reader.floats(periods, buses), reader.floats(periods, buses)
    bus = reader.ints(count)
    devices = Devices(bus=bus, **{array: reader.floats(periods, count) for array in DEVICE_ARRAYS})
    reader.end()
    return feeder, Conditions(fixed_p, fixed_q, hub, devices, hours, voll)


def input_hash(feeder: Feeder, conditions: Conditions) -> bytes:
    """SHA-256 of the canonical inputs, as posted with prices."""
    return sha256(encode_inputs(feeder, conditions)).digest()


def certificate(solution: Solution, feeder: Feeder, conditions: Conditions) -> bytes:
    """The solution as a certificate. Raises ValueError on NaN."""
    writer = Writer(CERTIFICATE_MAGIC, VERSION)
    claim = Claim.LOCAL if solution.status == "local" else Claim.GLOBAL
    writer.raw(bytes([claim]) + input_hash(feeder, conditions))
    for size in (conditions.periods, feeder.buses, conditions.devices.count):
        writer.count(size)
    for name in PRIMAL_ARRAYS:
        writer.floats(getattr(solution.primal, name))
    for name in DUAL_ARRAYS:
        writer.floats(getattr(solution.duals, name))
    return writer.bytes()


def certificate_hash(data: bytes) -> bytes:
    """SHA-256 of a certificate, as posted with prices."""
    return sha256(data).digest()


def decode(data: bytes) -> Certified:
    """Read a certificate without judging it. Raises FormatError."""
    reader = Reader(data, CERTIFICATE_MAGIC, VERSION)
    claim = reader.raw(1)[0]
    if claim not in tuple(Claim):
        raise FormatError(f"claim {claim}, known: {', '.join(str(int(each)) for each in Claim)}")
    of_inputs = reader.raw(32)
    periods, buses, count = reader.count(), reader.count(), reader.count()
    shapes = {"gen": (periods, count), "load": (periods, count), "net_import": (periods,)}
    primal = Primal(**{name: reader.floats(*shapes.get(name, (periods, buses))) for name in PRIMAL_ARRAYS})
    duals = Duals(**{name: reader.floats(periods, buses) for name in DUAL_ARRAYS})
    reader.end()
    return Certified(Claim(claim), of_inputs, primal, duals)


def prices(data: bytes, feeder: Feeder, period: int = 0, *, hours: float) -> SlotPrices:
    """The integer prices that a certificate proves, as they must be posted. Raises FormatError."""
    return quantise(decode(data), feeder, period, hours=hours)


def check(data: bytes, feeder: Feeder, conditions: Conditions) -> tuple[Finding, ...]:
    """Everything that is wrong with a certificate for these inputs; nothing found means its claim holds."""
    try:
        admit(feeder, conditions)
        certified = decode(data)
    except (FormatError, PricingError, FeederError) as error:
        return (Finding("certificate-format", "certificate", "readable bytes of version 1", str(error), ""),)
    expected = input_hash(feeder, conditions)
    if certified.input_hash != expected:
        return (
            Finding("input-hash", "certificate", expected.hex(), certified.input_hash.hex(), "other inputs"),
        )
    shape, known = certified.duals.price.shape, (conditions.periods, feeder.buses)
    if shape != known or certified.primal.gen.shape[1] != conditions.devices.count:
        return (Finding("certificate-format", "certificate", f"arrays of {known}", f"{shape}", ""),)
    return tuple(
        finding
        for comparison in (
            *_unused_entries(certified),
            *measure(feeder, conditions, certified.primal, certified.duals),
        )
        if certified.claim is Claim.GLOBAL or comparison.check not in GLOBAL
        for finding in _findings(comparison, feeder)
    )


def _unused_entries(certified: Certified) -> list[Comparison]:
    """Entry 0 of line arrays, where nothing may hide."""
    entries = {
        **{name: getattr(certified.primal, name) for name in ("p", "q", "l")},
        **{name: getattr(certified.duals, name) for name in DUAL_ARRAYS if name not in ("price", "reactive")},
    }
    one = np.ones(())
    return [
        Comparison(f"unused-{name}", "bus", array[:, :1], np.zeros_like(array[:, :1]), one, 0.0)
        for name, array in entries.items()
    ]


def _findings(comparison: Comparison, feeder: Feeder) -> list[Finding]:
    """The worst places of each period where a condition does not hold."""
    error = comparison.error
    found = np.broadcast_to(comparison.found, error.shape)
    expected = np.broadcast_to(comparison.expected, error.shape)
    # not (error <= tolerance), so that an infinity minus an infinity is found too
    broken = ~(error <= comparison.tolerance)
    findings = []
    for period in np.flatnonzero(broken.any(axis=1)):
        places = np.flatnonzero(broken[period])
        worst = places[np.argsort(-error[period, places], kind="stable")][:PER_CHECK]
        findings += [
            Finding(
                check=comparison.check,
                where=f"period {period}{_place(comparison, feeder, int(place))}",
                expected=f"{expected[period, place]:.9g}",
                found=f"{found[period, place]:.9g}",
                difference=f"{abs(found[period, place] - expected[period, place]):.3g},"
                f" {error[period, place] / comparison.tolerance:.3g} times the tolerance"
                if comparison.tolerance
                else f"{found[period, place]:.3g}",
                next="clear the posted inputs again and compare",
            )
            for place in worst
        ]
    return findings


def _place(comparison: Comparison, feeder: Feeder, index: int) -> str:
    """Where an entry of the second axis is: line arrays of comparisons start at line 1."""
    match comparison.place:
        case "bus":
            return f" bus {feeder.bus_names[index]}"
        case "line":
            return f" line to bus {feeder.bus_names[index + 1]}"
        case "device":
            return f" device {index}"
        case _:
            return ""


def gap(certified: Certified, feeder: Feeder, conditions: Conditions) -> Floats:
    """Proven distance from the optimum by period, of 1 € + turnover."""
    measured = measure(feeder, conditions, certified.primal, certified.duals)
    return next(comparison.error[:, 0] for comparison in measured if comparison.check == "gap")
