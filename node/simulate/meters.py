"""Readings that come too late, and what they make of a settlement by estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from market.events import AccountResettled, AccountSettled
from market.units import Ints
from node.scenario.streams import stream
from node.scenario.world import World


def corrected(settled: AccountSettled, change: AccountResettled | None) -> AccountSettled:
    """A settlement by estimate as its reading makes it: its energies, and amounts with the differences."""
    if change is None:
        return settled
    return replace(
        settled,
        metered=change.metered,
        delivered=change.delivered,
        charge=settled.charge + change.charge,
        closeout=settled.closeout + change.closeout,
        imbalance=settled.imbalance + change.imbalance,
        penalty=settled.penalty + change.penalty,
    )


def late_readings(world: World) -> npt.NDArray[np.bool_]:
    """Whose reading of which slot comes too late: slots × prosumers."""
    share = world.scenario.meters.late
    shape = world.periods, len(world.bus)
    return np.asarray(stream(world.scenario.seed, "meters").random(shape) < share)


def readings_of(metered_wh: Sequence[int] | Ints, chosen: npt.NDArray[np.bool_]) -> list[int | None]:
    """Readings of the meters chosen, None of the others."""
    return [int(energy) if here else None for energy, here in zip(metered_wh, chosen, strict=True)]
