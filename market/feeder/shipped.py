"""The networks that pandapower ships and that can be feeders, by name: `pandapower:cigre-mv`.

Several feeders in one network are told apart by a number: `pandapower:oberrhein#2`.
"""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from market.feeder.model import FeederError
from market.feeder.pandapower import Imported, imported, name_and_part

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "case33bw": ("case33bw", {}),
    "cigre-lv": ("create_cigre_network_lv", {}),
    "cigre-mv": ("create_cigre_network_mv", {}),
    "dickert-lv": ("create_dickert_lv_network", {}),
    "european-lv": ("ieee_european_lv_asymmetric", {}),
    "kerber-dorf": ("create_kerber_dorfnetz", {}),
    "kerber-landnetz-freileitung-1": ("create_kerber_landnetz_freileitung_1", {}),
    "kerber-landnetz-freileitung-2": ("create_kerber_landnetz_freileitung_2", {}),
    "kerber-landnetz-kabel-1": ("create_kerber_landnetz_kabel_1", {}),
    "kerber-landnetz-kabel-2": ("create_kerber_landnetz_kabel_2", {}),
    "kerber-vorstadt-1": ("create_kerber_vorstadtnetz_kabel_1", {}),
    "kerber-vorstadt-2": ("create_kerber_vorstadtnetz_kabel_2", {}),
    "kerber-extrem-dorf": ("kb_extrem_dorfnetz", {}),
    "kerber-extrem-dorf-trafo": ("kb_extrem_dorfnetz_trafo", {}),
    "kerber-extrem-landnetz-freileitung": ("kb_extrem_landnetz_freileitung", {}),
    "kerber-extrem-landnetz-freileitung-trafo": ("kb_extrem_landnetz_freileitung_trafo", {}),
    "kerber-extrem-landnetz-kabel": ("kb_extrem_landnetz_kabel", {}),
    "kerber-extrem-landnetz-kabel-trafo": ("kb_extrem_landnetz_kabel_trafo", {}),
    "kerber-extrem-vorstadt-1": ("kb_extrem_vorstadtnetz_1", {}),
    "kerber-extrem-vorstadt-2": ("kb_extrem_vorstadtnetz_2", {}),
    "kerber-extrem-vorstadt-trafo-1": ("kb_extrem_vorstadtnetz_trafo_1", {}),
    "kerber-extrem-vorstadt-trafo-2": ("kb_extrem_vorstadtnetz_trafo_2", {}),
    "mv-open-ring": ("simple_mv_open_ring_net", {}),
    "oberrhein": ("mv_oberrhein", {}),
    "oberrhein-substations": ("mv_oberrhein", {"include_substations": True}),
    "schutterwald": ("lv_schutterwald", {}),
    "voltage-control-rural-1": ("create_synthetic_voltage_control_lv_network", {"network_class": "rural_1"}),
    "voltage-control-rural-2": ("create_synthetic_voltage_control_lv_network", {"network_class": "rural_2"}),
    "voltage-control-village-1": (
        "create_synthetic_voltage_control_lv_network",
        {"network_class": "village_1"},
    ),
    "voltage-control-village-2": (
        "create_synthetic_voltage_control_lv_network",
        {"network_class": "village_2"},
    ),
    "voltage-control-suburb-1": (
        "create_synthetic_voltage_control_lv_network",
        {"network_class": "suburb_1"},
    ),
}
"""Name, pandapower's function, and its arguments."""
DRAWN_WITH = 1
"""Seed for the Kerber suburbs, whose house connections pandapower draws from Python's global generator."""


def shipped(name: str, v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Imported:
    """The feeder of a shipped network, `NAME` or `NAME#PART`. Raises FeederError as `imported` does."""
    known, part = name_and_part(name)
    if known not in NETWORKS:
        raise FeederError(f"feeder 'pandapower:{name}' is not shipped; known: {', '.join(sorted(NETWORKS))}")
    return imported(network(known), f"pandapower:{name}", v_min, v_max, rated=rated, part=part)


@lru_cache(maxsize=4)
def network(name: str) -> Any:
    """A shipped network by its name here, not to be changed; making one takes seconds."""
    import pandapower.networks  # noqa: PLC0415 - slow to import

    function, arguments = NETWORKS[name]
    with _quiet(), _seeded(DRAWN_WITH):
        return getattr(pandapower.networks, function)(**arguments)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's global generator starts from a seed, and is afterwards as it was."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice, on numba and on old files, that pandapower gives while it makes some networks."""
    logger = logging.getLogger("pandapower")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
