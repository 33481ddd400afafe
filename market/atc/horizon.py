"""Several periods that storages couple, as one coordination: every bus of every period is a bus of its own.

The utility clears each period's network (`upper`); prosumers' devices answer period by period, and each
storage for all periods at once (`storages`). Entries of the lower level are devices, period by period, then
storages, period by period; bus b of period t is number t·buses + b.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from market.atc.alternating import PRICE_WINDOW_EUR_PER_MWH
from market.atc.prosumers import LowerLevels, Prosumers, Response
from market.atc.storages import StorageLevel
from market.pricing.conditions import Conditions, Devices
from market.units import Floats, Ints

SMALLEST = 1e-9
"""pu per €/MWh: weights of storages that cannot move are finite."""


class JointProsumers:
    """Devices and storages of several periods; implements LowerLevel."""

    def __init__(self, conditions: Conditions, lower_levels: LowerLevels = Prosumers) -> None:
        periods, buses = conditions.fixed_p.shape
        self._periods = periods
        self._count = periods * conditions.devices.count
        self._devices = lower_levels(_in_a_row(conditions.devices, periods, buses))
        self._storages = StorageLevel(conditions.storages, conditions.hours)
        offset = buses * np.arange(periods)[:, None]
        stored = (offset + conditions.storages.bus).ravel()
        self.bus: Ints = np.concatenate([self._devices.bus, stored])

    def elasticity(self, window: float) -> Floats:
        """Of every entry, at least a window of prices wide."""
        return np.concatenate([self._devices.elasticity(window), self._storages.elasticity(window).ravel()])

    def range(self) -> tuple[Floats, Floats]:
        """Least and greatest power of every entry."""
        of_storages = (each.ravel() for each in self._storages.range())
        low, high = (np.concatenate(pair) for pair in zip(self._devices.range(), of_storages, strict=True))
        return low, high

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Proximal steps of devices and storages."""
        count = self._count
        devices = self._devices.respond(target[:count], weight[:count])
        stored = self._storages.respond(*(self._by_period(each[count:]) for each in (target, weight)))
        return _joined(devices, stored)

    def at_price(self, price: Floats) -> Response:
        """Best responses of the devices; of the storages a proximal step from rest, for a first answer."""
        count = self._count
        weight = 1.0 / np.maximum(self._storages.elasticity(PRICE_WINDOW_EUR_PER_MWH), SMALLEST)
        stored = self._storages.respond(self._by_period(price[count:]) / weight, weight)
        return _joined(self._devices.at_price(price[:count]), stored)

    def devices_of(self, response: Response) -> tuple[Floats, Floats]:
        """Generation and load of an answer, periods × devices."""
        count = self._count
        return response.gen[:count].reshape(self._periods, -1), response.load[:count].reshape(
            self._periods, -1
        )

    def storages_of(self, response: Response) -> tuple[Floats, Floats]:
        """Charge and discharge of an answer, periods × storages."""
        count = self._count
        return self._by_period(response.load[count:]), self._by_period(response.gen[count:])

    @property
    def stored_value(self) -> Floats:
        """θ of the last answer: what one MWh more in a storage was worth to it, periods × storages."""
        return self._storages.value

    def _by_period(self, of_storages: Floats) -> Floats:
        return of_storages.reshape(self._storages.shape)


def _in_a_row(devices: Devices, periods: int, buses: int) -> Devices:
    """All periods' devices as one period's."""
    arrays = {
        field.name: getattr(devices, field.name).reshape(1, -1)
        for field in fields(devices)
        if field.name != "bus"
    }
    bus = (buses * np.arange(periods)[:, None] + devices.bus).ravel()
    return replace(devices, bus=bus, **arrays)


def _joined(devices: Response, stored: Response) -> Response:
    """One answer after the other."""
    arrays = {
        field.name: np.concatenate([getattr(devices, field.name), getattr(stored, field.name).ravel()])
        for field in fields(devices)
    }
    return Response(**arrays)
