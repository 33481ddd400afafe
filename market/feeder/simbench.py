"""Feeders by SimBench code, with their profiles: the `simbench` extra.

S. Meinecke et al., "SimBench – A benchmark dataset of electric power systems to compare innovative solutions
based on power flow analysis", Energies 13(12):3290, 2020. The package carries the whole data set; nothing is
loaded from a network. A grid takes some seconds to extract.

Profiles are those of 2016 in Germany, in quarters of an hour without a gap: their clock is Central European
Time, all year. A time is looked up by its month, day and hour there, whatever its year.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np

from market.feeder.model import FeederError
from market.feeder.pandapower import Imported, imported, name_and_part
from market.units import Floats

PROFILE_YEAR = 2016
CENTRAL_EUROPE = timezone(timedelta(hours=1))
QUARTER_SECONDS = 900
EXAMPLE = "1-LV-rural1--0-sw"
"""What a code looks like."""
NEAR_MAX = 6
"""Codes that are shown to who wrote none."""
NOTICE = """\
Contains information from SimBench (www.simbench.net), which is made available here under the Open Database
License (ODbL) v1.0, https://opendatacommons.org/licenses/odbl/1-0/. Rights in individual contents of the
database are licensed under the Database Contents License, https://opendatacommons.org/licenses/dbcl/1-0/.
"""
"""Goes with whatever is made of the data."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """How a feeder's loads and sun go over time, periods × buses.

    active, reactive: as a share of the bus's nominal load; sun: output of PV at the bus as a share of its
    peak, and where SimBench has no PV the mean of the feeder's.
    """

    active: Floats
    reactive: Floats
    sun: Floats


def feeder(name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Imported:
    """The feeder of a code, `simbench:1-LV-rural1--0-sw` or bare, with `#PART` where it has several.

    Raises FeederError as `imported` does, where the extra is not installed, and for what is no code.
    """
    code, part = _code_and_part(name)
    return imported(network(code), name, v_min, v_max, rated=rated, part=part)


def shapes(name: str, start: datetime, seconds: int, count: int) -> Shapes:
    """Profiles of a code's feeder by slot, means over each. Raises FeederError where there is no PV."""
    net, found = network(_code_and_part(name)[0]), feeder(name)
    buses = found.feeder.buses
    loads = net.load[net.load.in_service.astype(bool) & net.load.bus.isin(list(found.position))]
    roofs = net.sgen[net.sgen.in_service.astype(bool) & net.sgen.bus.isin(list(found.position))]
    roofs = roofs[roofs.profile.astype(str).str.startswith("PV")]
    if not len(roofs):
        raise FeederError(f"feeder {name}: SimBench has no PV on it")
    over_time = _Clock(start, seconds, count)

    def mean(elements: Any, weight: str, table: str, suffix: str) -> Floats:
        """Profiles of elements, weighted by their power, by bus; where there is none, of all."""
        total, top = np.zeros((count, buses)), np.zeros(buses)
        for profile, of_profile in elements.groupby("profile"):
            at = of_profile.bus.map(found.position).to_numpy(dtype=np.int64)
            power = np.bincount(
                at, (of_profile[weight] * of_profile.scaling).to_numpy(dtype=np.float64), buses
            )
            column = net.profiles[table][f"{profile}{suffix}"].to_numpy(dtype=np.float64)
            total += over_time(column)[:, None] * power
            top += power
        overall = total.sum(axis=1, keepdims=True) / top.sum()
        return np.where(top > 0, total / np.where(top > 0, top, 1.0), overall)

    return Shapes(
        active=mean(loads, "p_mw", "load", "_pload"),
        reactive=mean(loads, "q_mvar", "load", "_qload"),
        sun=mean(roofs, "p_mw", "renewables", ""),
    )


class _Clock:
    """Means over slots of a series in quarters of the profiles' year, which goes on from its start."""

    def __init__(self, start: datetime, seconds: int, count: int) -> None:
        first = datetime(PROFILE_YEAR, 1, 1, tzinfo=CENTRAL_EUROPE)
        offset = (start.astimezone(CENTRAL_EUROPE).replace(year=PROFILE_YEAR) - first).total_seconds()
        self._edges = (offset + seconds * np.arange(count + 1)) / QUARTER_SECONDS
        self._quarters = seconds / QUARTER_SECONDS

    def __call__(self, series: Floats) -> Floats:
        """Mean of the series over each slot: differences of its running sum."""
        running = np.concatenate([[0.0], np.cumsum(series)])
        years, within = np.divmod(self._edges, len(series))
        energy = years * running[-1] + np.interp(within, np.arange(len(series) + 1), running)
        return np.asarray(np.diff(energy) / self._quarters)


def _code_and_part(name: str) -> tuple[str, int]:
    """The bare code and the part's number. Raises FeederError where it is none, or the extra is missing."""
    code, part = name_and_part(name.removeprefix("simbench:"))
    if code not in codes():
        near = get_close_matches(code, codes(), NEAR_MAX) or [EXAMPLE]
        raise FeederError(
            f"feeder {name!r} is no SimBench code; of {len(codes())} the closest: {', '.join(near)}"
        )
    return code, part


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """All codes. Raises FeederError where the extra is missing."""
    return tuple(code for scenario in range(3) for code in _codes_of(scenario))


def _codes_of(scenario: int) -> Iterator[str]:
    try:
        import simbench  # noqa: PLC0415 - an extra, slow to import
    except ModuleNotFoundError:
        raise FeederError("SimBench's feeders need an extra: pip install 'wattbook[simbench]'") from None
    yield from simbench.collect_all_simbench_codes(scenario=scenario)


@lru_cache(maxsize=2)
def network(code: str) -> Any:
    """The network of a code with its profiles, not to be changed."""
    import warnings  # noqa: PLC0415

    import simbench  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' about how the package builds its tables
        return simbench.get_simbench_net(code)
