"""The names of every feeder that comes by a name: all rows of the table in market/feeder/README.md."""

from __future__ import annotations

from market.feeder import BUILT_IN
from market.feeder.shipped import NETWORKS

PARTS = {"oberrhein": (1, 2), "oberrhein-substations": (1, 2), "schutterwald": (*range(1, 13), 14)}
"""Radial parts of the networks that hold several feeders."""
SIMBENCH_LV = ("rural1", "rural2", "rural3", "semiurb4", "semiurb5", "urban6")
SIMBENCH_MV = ("rural", "semiurb", "urban", "comm")


def _shipped() -> tuple[str, ...]:
    whole = [name for name in NETWORKS if name not in PARTS]
    parts = [f"{name}#{part}" for name, numbers in PARTS.items() for part in numbers]
    return tuple(f"pandapower:{name}" for name in (*whole, *parts))


EVERY: dict[str, tuple[str, ...]] = {
    "published feeders": BUILT_IN,
    "networks of pandapower": _shipped(),
    "grids of SimBench": (
        *(f"simbench:1-LV-{name}--0-sw" for name in SIMBENCH_LV),
        *(f"simbench:1-MV-{name}--0-sw" for name in SIMBENCH_MV),
        *(f"simbench:1-MVLV-{name}-all-0-sw" for name in SIMBENCH_MV),
    ),
}
"""Names by where they are from."""
