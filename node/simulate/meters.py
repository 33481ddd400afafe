"""Readings that come too late, and what they make of settlements by estimate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from market.events import AccountResettled, AccountSettled
from market.units import Ints
from node.scenario.streams import stream
from node.scenario.world import World


def corrected(
    settled: Sequence[AccountSettled], late: Sequence[AccountResettled]
) -> tuple[AccountSettled, ...]:
    """A slot's settlements as late readings make those that stood on estimates."""
    changes = {event.account: event for event in late}
    return tuple(
        event.corrected(changes[event.account]) if event.account in changes else event for event in settled
    )


def late_readings(world: World) -> npt.NDArray[np.bool_]:
    """Whose reading of which slot comes too late: slots × prosumers."""
    share = world.scenario.meters.late
    shape = world.periods, len(world.bus)
    return np.asarray(stream(world.scenario.seed, "meters").random(shape) < share)


def readings_of(metered_wh: Sequence[int] | Ints, chosen: npt.NDArray[np.bool_]) -> list[int | None]:
    """Readings of the meters chosen, None of the others."""
    return [int(energy) if here else None for energy, here in zip(metered_wh, chosen, strict=True)]
