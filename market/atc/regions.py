"""The lower level in regions: each holds its prosumers' devices as arrays and answers for them.

A region is some whole buses of the feeder. Where regions are held is not theirs to know: `here`, one after
the other, or in processes of their own (`node.workers`). What a prosumer answers depends on its devices and
on what it is asked alone, and answers are put together in the prosumers' own order: so neither the number
of regions nor where they are held changes a bit of any price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from market.atc.prosumers import LowerLevels, Prosumers, Response
from market.pricing.conditions import Devices
from market.units import Floats, Ints


class Held(Protocol):
    """Parts of something that are held somewhere, and asked all at once."""

    def ask(self, question: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What the method `question` of each part returns for its arguments, in order."""
        ...


class Holds(Protocol):
    """Makes parts and holds them."""

    def __call__(self, make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
        """One part `make(each)` for each entry of `of`; whoever asks them keeps nothing of it."""
        ...


@dataclass(frozen=True, eq=False)
class Here:
    """Parts in this process, asked one after the other; implements Held."""

    parts: tuple[Any, ...]

    def ask(self, question: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What each part answers."""
        return [getattr(part, question)(*each) for part, each in zip(self.parts, arguments, strict=True)]


def here(make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
    """Hold parts in this process."""
    return Here(tuple(make(each) for each in of))


class RegionalProsumers:
    """Devices of one period, held by regions; implements LowerLevel and DisclosesCost.

    `members` are the prosumers of each region, every prosumer in one of them.
    """

    def __init__(self, devices: Devices, members: Sequence[Ints], holds: Holds) -> None:
        self._members = members
        self._bus = devices.bus
        self._held = holds(Prosumers, [devices_of(devices, each) for each in members])

    @property
    def bus(self) -> Ints:
        """Bus of each prosumer."""
        return self._bus

    def elasticity(self, window: float) -> Floats:
        """1/a + 1/β; see Prosumers."""
        return self._whole(self._held.ask("elasticity", [(window,)] * len(self._members)))

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Proximal steps, of all regions at once."""
        return self._answered("respond", target, weight)

    def at_price(self, price: Floats) -> Response:
        """Best responses, of all regions at once."""
        return self._answered("at_price", price)

    def range(self) -> tuple[Floats, Floats]:
        """Power at the lowest and at the highest price."""
        low, high = zip(*self._held.ask("range", [()] * len(self._members)), strict=True)
        return self._whole(low), self._whole(high)

    def cost(self, response: Response) -> Floats:
        """What the powers of an answer cost."""
        parts = [
            (Response(**{field.name: getattr(response, field.name)[each] for field in fields(Response)}),)
            for each in self._members
        ]
        return self._whole(self._held.ask("cost", parts))

    def _answered(self, question: str, *arrays: Floats) -> Response:
        answers = self._held.ask(question, [tuple(a[each] for a in arrays) for each in self._members])
        columns = {
            field.name: self._whole([getattr(answer, field.name) for answer in answers])
            for field in fields(Response)
        }
        return Response(**columns)

    def _whole(self, parts: Sequence[Floats]) -> Floats:
        """The regions' entries in the prosumers' own order."""
        whole = np.empty(len(self._bus))
        for members, part in zip(self._members, parts, strict=True):
            whole[members] = part
        return whole


def in_regions(regions: int, buses: int, holds: Holds = here) -> LowerLevels:
    """Makes lower levels of so many regions of a feeder of so many buses, for AtcClearing."""
    return partial(_divided, regions, buses, holds)


def _divided(regions: int, buses: int, holds: Holds, devices: Devices) -> RegionalProsumers:
    # where periods are coupled, bus b of period t is number t·buses + b
    return RegionalProsumers(devices, members(devices.bus % buses, regions), holds)


def members(bus: Ints, regions: int) -> tuple[Ints, ...]:
    """Prosumers of each region, by the bus of each: whole buses in order, about equally many prosumers.

    At most `regions`, and fewer where fewer buses have prosumers; always one.
    """
    order = np.argsort(bus, kind="stable")
    begins = np.flatnonzero(np.diff(bus[order])) + 1
    shares = len(bus) * np.arange(1, regions) / regions
    nearest = np.searchsorted(begins, shares)
    cuts = np.unique(begins[np.minimum(nearest, len(begins) - 1)]) if len(begins) else begins
    return tuple(np.split(order, cuts))


def devices_of(devices: Devices, who: Ints) -> Devices:
    """Some of the devices, with all that they are."""
    arrays = {
        field.name: getattr(devices, field.name)[:, who] for field in fields(devices) if field.name != "bus"
    }
    return replace(devices, bus=devices.bus[who], **arrays)
