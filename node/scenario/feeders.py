"""The feeder of a scenario: by name, or out of a pandapower file; under the scenario's limits."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from market import feeder as feeders
from market.exchange import BUSES_MAX
from market.feeder.model import Feeder, FeederError
from market.feeder.powerflow import PowerFlowError, power_flow
from node.scenario.schema import FeederSection
from node.scenario.unreadable import UNREADABLE, why

if TYPE_CHECKING:
    from market.feeder.elements import LeftOut
    from market.feeder.pandapower import Imported

LEAST_OF_V0 = 0.75
"""Part of the substation's voltage that nominal load leaves at every bus of any feeder that is built."""


def find(section: FeederSection) -> Feeder:
    """The feeder that `[feeder]` asks for. Raises FeederError, its message beginning with the key."""
    try:
        feeder = _named(section)
    except FeederError as error:
        raise FeederError(f"feeder.name: {error}") from None
    if section.rated:
        return feeder
    rating = np.inf if section.line_rating_mva is None else section.line_rating_mva / feeder.base_mw
    return replace(feeder, limits=replace(feeder.limits, i_max=np.full(feeder.buses, rating)))


def _named(section: FeederSection) -> Feeder:
    name, v_min, v_max = section.name, section.v_min_pu, section.v_max_pu
    if not section.names_file(name):
        return feeders.load(name, v_min, v_max, rated=section.rated)
    return _of_file(section).feeder


def left_out(section: FeederSection) -> tuple[LeftOut, ...]:
    """What the network has and a feeder has no place for; of a feeder built in, nothing.

    Raises FeederError as `find` does.
    """
    if section.names_file(section.name):
        return _of_file(section).left_out
    return feeders.left_out(section.name)


def _of_file(section: FeederSection) -> Imported:
    from market.feeder.pandapower import name_and_part  # noqa: PLC0415 - slow to import

    place, part = name_and_part(section.name)
    try:
        text = Path(place).read_text(encoding="utf-8")
    except UNREADABLE as error:
        raise FeederError(
            f"{place}: {why(error)}; a pandapower JSON file or a feeder's name; a scenario names it as seen"
            " from its folder, --set from where the command runs"
        ) from None
    own = Path(place).name + (f"#{part}" if part else "")  # where the file lies is no part of the feeder
    return _imported(text, own, (section.v_min_pu, section.v_max_pu), section.rated, part)


@lru_cache(maxsize=1)
def _imported(text: str, name: str, limits: tuple[float, float], rated: bool, part: int) -> Imported:
    """Kept: who asks what was left out has the feeder already."""
    from market.feeder.pandapower import from_json  # noqa: PLC0415 - slow to import

    return from_json(text, name, *limits, rated=rated, part=part)


def doubt(feeder: Feeder) -> str:
    """Why a feeder's own load is hardly meant as it stands, in words; mostly nothing.

    No feeder is built to lose a quarter of its voltage: there a unit is wrong, by a thousand as a rule.
    """
    try:
        flow = power_flow(
            feeder, feeder.nominal_p_mw / feeder.base_mw, feeder.nominal_q_mvar / feeder.base_mw
        )
    except PowerFlowError:
        found = "is more than it can carry"
    else:
        lowest = int(flow.v[0].argmin())
        v_pu = float(np.sqrt(flow.v[0, lowest]))
        if v_pu >= LEAST_OF_V0 * feeder.v0:
            return ""
        found = f"leaves {v_pu:.3f} pu of voltage at bus {feeder.bus_names[lowest]}"
    return (
        f"{feeder.name}: its nominal load of {feeder.nominal_p_mw.sum():,.3f} MW {found}:"
        " are loads in MW, lengths in km, impedances in ohm per km?"
    )


def bus_number(feeder: Feeder, name: str, key: str) -> int:
    """Number of a bus by its name, never the substation's. Raises FeederError, its message with the key."""
    if name not in feeder.bus_names[1:]:
        first, last = feeder.bus_names[1], feeder.bus_names[-1]
        raise FeederError(f"{key} = {name!r}: {feeder.name} has buses {first} to {last}")
    return feeder.bus_names.index(name)


def marketable(feeder: Feeder) -> None:
    """Refuse a feeder with more buses than the contract prices. Raises FeederError."""
    if feeder.buses > BUSES_MAX:
        raise FeederError(
            f"feeder.name: feeder {feeder.name} has {feeder.buses} buses, and a market prices at most"
            f" {BUSES_MAX}; `wattbook price` clears it without a market"
        )


def notice(section: FeederSection) -> str:
    """What has to be told of the feeder's data to whoever is given a bundle; mostly nothing."""
    if not feeders.is_simbench(section.name):
        return ""
    from market.feeder.simbench import NOTICE  # noqa: PLC0415 - imports pandapower's part

    return NOTICE
