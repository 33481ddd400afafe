from __future__ import annotations

import struct

import numpy as np
import pytest

from market.pricing import direct
from market.pricing.certificate import Accuracy, Checker, certificate, decode, decode_inputs, encode_inputs
from tests.market.storage_cases import case

NAMES = ("batteries", "quarter hours", "vehicles", "export")
HEADER_BYTES = 56
SMALLEST = 1e-6
"""pu, pu·h, €/MWh."""


@pytest.mark.parametrize("name", NAMES)
def test_a_millionth_more_in_any_number_of_storages_is_found(name):
    feeder, conditions = case(name)
    solution = direct.clear(feeder, conditions)
    data = bytearray(certificate(solution, feeder, conditions))
    checker, at = Checker(feeder, conditions), decode(bytes(data)).point
    assert decode(bytes(data)).accuracy is Accuracy.FINISHED
    assert checker(bytes(data)) == ()
    first = HEADER_BYTES + 8 * (at.lines.size + at.buses.size + at.devices.size)
    charge, discharge, energy, theta = at.storages
    assert np.count_nonzero(energy) > 0.9 * energy.size
    # θ of an hour in which a storage does not move, or all it can, may be anything in between
    moves = np.maximum(charge, discharge)
    most = np.where(charge > 0, conditions.storages.charge_max, conditions.storages.discharge_max)
    pinned = np.r_[np.ones(3 * theta.size, bool), ((moves > 1e-4) & (moves < most - 1e-4)).ravel()]
    assert pinned[3 * theta.size :].any()
    for index in np.flatnonzero((np.abs(at.storages).ravel() >= SMALLEST) & pinned):
        value = float(at.storages.ravel()[index])
        struct.pack_into("<d", data, first + 8 * int(index), value * (1 + 1e-6))
        assert checker(bytes(data)), f"{name}: {value} at {index}"
        struct.pack_into("<d", data, first + 8 * int(index), value)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_with_storages_survive_the_way_to_bytes_and_back(name):
    feeder, conditions = case(name)
    data = encode_inputs(feeder, conditions)
    again = decode_inputs(data)
    assert encode_inputs(*again) == data
    np.testing.assert_array_equal(again[1].storages.drain, conditions.storages.drain)
    assert again[1].first_slot == conditions.first_slot
