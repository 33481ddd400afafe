"""What the feeder carries in a slot, read from the proof of its newest clearing.

UnknownFlowsError   the slot is not cleared yet, or the proof is not at hand
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from market.events import ChargesPosted, PricesPosted
from market.feeder.model import FeederError
from market.pricing.certificate import decode, decode_inputs
from market.pricing.wire import FormatError
from node.api import resources
from node.api.models import BusFlowResource, FlowsResource
from node.api.projection import Projection
from node.api.proofs import Proofs

PROOFS_READ = 64
"""Clearings that stay read: the pages ask for the same few again and again."""


class UnknownFlowsError(LookupError):
    """Nothing is known of what the feeder carries in the slot."""


class Flows:
    """Flows by slot, from the proofs that are at hand."""

    def __init__(self, projection: Projection, proofs: Proofs) -> None:
        self._projection, self._proofs = projection, proofs

    def of(self, slot: int) -> FlowsResource:
        """Voltages and flows of a slot. Raises UnknownSlotError, UnknownFlowsError."""
        facts = resources.slot_facts(self._projection, slot)
        cleared = facts.cleared
        if cleared is None:
            raise UnknownFlowsError(f"slot {slot} is not cleared yet")
        try:
            inputs = self._proofs.inputs[cleared.input_hash]
            certificate = self._proofs.certificates[cleared.certificate_hash]
            feeder, buses = _buses(inputs, certificate, slot)
        except (KeyError, IndexError, FormatError, FeederError):
            raise UnknownFlowsError(f"the proof of slot {slot}'s clearing is not at hand") from None
        state = facts.state(self._projection.terms, self._projection.now())
        return FlowsResource(
            slot=slot, state=state, clearing=_NAMES[type(cleared)], feeder=feeder, buses=buses
        )

    def find(self, slot: int) -> FlowsResource | None:
        """The same, None where nothing is known. Raises UnknownSlotError."""
        try:
            return self.of(slot)
        except UnknownFlowsError:
            return None


_NAMES: dict[type, Any] = {ChargesPosted: "charges", PricesPosted: "prices"}


@lru_cache(maxsize=PROOFS_READ)
def _buses(inputs: bytes, certificate: bytes, slot: int) -> tuple[str, list[BusFlowResource]]:
    """The feeder's name, and its buses in the slot's period of the clearing.

    Raises FormatError, FeederError, IndexError where the clearing is of other slots.
    """
    feeder, conditions = decode_inputs(inputs)
    alone = conditions.first_slot == 0 and conditions.periods == 1
    period = 0 if alone else slot - conditions.first_slot
    if not 0 <= period < conditions.periods:
        raise IndexError(period)
    primal = decode(certificate).point.primal
    voltage, flow = np.sqrt(primal.v[period]), primal.p[period] * feeder.base_mw
    loading = np.sqrt(np.maximum(primal.l[period], 0.0)) / feeder.limits.i_max
    rated = np.isfinite(feeder.limits.i_max)
    return feeder.name, [
        BusFlowResource(
            bus=bus,
            name=name,
            parent=int(feeder.parent[bus]) if bus else None,
            voltage_pu=float(voltage[bus]),
            voltage_min_pu=float(feeder.limits.v_min[bus]),
            voltage_max_pu=float(feeder.limits.v_max[bus]),
            flow_mw=float(flow[bus]) if bus else None,
            loading=float(loading[bus]) if bus and rated[bus] else None,
        )
        for bus, name in enumerate(feeder.bus_names)
    ]
