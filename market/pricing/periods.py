"""Records of several periods cut into single ones, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from market.pricing.conditions import NO_STORAGES, Conditions, Devices, Duals, Hub, Primal

Record = TypeVar("Record", Primal, Duals)


def period_of(conditions: Conditions, t: int) -> Conditions:
    """One period's conditions on their own, without the storages that couple them."""
    devices, hub, one = conditions.devices, conditions.hub, slice(t, t + 1)
    arrays = {
        field.name: getattr(devices, field.name)[one] for field in fields(devices) if field.name != "bus"
    }
    return replace(
        conditions,
        fixed_p=conditions.fixed_p[one],
        fixed_q=conditions.fixed_q[one],
        hub=Hub(hub.import_price[one], hub.export_price[one]),
        devices=Devices(bus=devices.bus, **arrays),
        storages=NO_STORAGES,
    )


def row(record: Record, t: int) -> Record:
    """One period of a record of arrays."""
    return replace(record, **{field.name: getattr(record, field.name)[t : t + 1] for field in fields(record)})


def with_row(record: Record, t: int, one: Record) -> Record:
    """The record with one period replaced."""
    changed = {}
    for field in fields(record):
        changed[field.name] = getattr(record, field.name).copy()
        changed[field.name][t] = getattr(one, field.name)[0]
    return replace(record, **changed)


def stacked(rows: Sequence[Record]) -> Record:
    """Single periods one below the other."""
    arrays = {
        field.name: np.concatenate([getattr(one, field.name) for one in rows]) for field in fields(rows[0])
    }
    return replace(rows[0], **arrays)
