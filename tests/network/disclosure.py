"""Whether a number stands in what was said, in any unit, scale or form."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from node.agent.devices import DeviceFile

SAME = 1e-7
"""Relative difference within which two numbers are one: sent numbers have nine digits and more."""
SECRETS = (
    "cost_eur_per_mwh",
    "cost_at_max_eur_per_mwh",
    "value_at_min_eur_per_mwh",
    "value_at_max_eur_per_mwh",
)


def secrets(file: DeviceFile) -> dict[str, float]:
    """Every cost parameter of a file with constant values: b, a, u, β, their ends, the slopes 1/a and 1/β."""
    told = {
        f"{name} {key}": _number(value)
        for name, table in (("generator", file.generator), ("flexible", file.flexible))
        for key, value in table
        if key in SECRETS
    }
    generator, flexible = file.generator, file.flexible
    rises = {
        "a": (generator.cost_eur_per_mwh, generator.cost_at_max_eur_per_mwh, generator.max_kw),
        "beta": (
            flexible.value_at_max_eur_per_mwh,
            flexible.value_at_min_eur_per_mwh,
            _number(flexible.max_kw) - _number(flexible.min_kw),
        ),
    }
    for name, (low, high, width) in rises.items():
        if _number(width) > 0:
            slope = (_number(high) - _number(low)) / _number(width)
            told |= {name: slope, f"1/{name}": 1 / slope}
            if name == "beta":
                told["u"] = _number(high) + slope * _number(flexible.min_kw)
    return {name: float(value) for name, value in told.items() if value}


def disclosed(secret: dict[str, float], bases_mw: Iterable[float], said: bytes) -> list[str]:
    """Names of those that stand there: as a number of any scale, on any base, or as a float's bytes."""
    units = {1.0, *bases_mw}
    found = [_mantissa(number) for number in numbers(said)]
    names = []
    for name, value in secret.items():
        forms = {value * unit for unit in units} | {value / unit for unit in units}
        wanted = [_mantissa(form) for form in forms]
        stands = any(abs(one - other) <= SAME * other for one in found for other in wanted)
        if stands or any(raw.hex().encode() in said for form in forms for raw in _floats(form)):
            names.append(name)
    return names


def numbers(said: bytes) -> Iterator[float]:
    """Every number of a text that is written as one; hashes, keys and signatures are none."""
    text = re.sub(r"0x[0-9a-fA-F]*", "", said.decode())
    for word in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", text):
        if float(word):
            yield float(word)


def as_said(messages: Iterable[Any]) -> bytes:
    """Messages as lines of JSON."""
    return "\n".join(json.dumps(message) for message in messages).encode()


def _floats(value: float) -> Iterator[bytes]:
    for form in ("<d", ">d", "<f", ">f"):
        yield struct.pack(form, value)


def _mantissa(value: float) -> float:
    """The digits of a number, from 1 to 10."""
    value = abs(value)
    return value / 10.0 ** math.floor(math.log10(value))


def _number(value: float | list[float]) -> float:
    assert not isinstance(value, list)
    return value
