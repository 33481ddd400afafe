"""The precompiled contract that a market of signatures calls most, without py-evm's objects on the way."""

from __future__ import annotations

from typing import Any

from coincurve import PublicKey
from eth.constants import GAS_ECRECOVER

from ledger.keccak import keccak
from ledger.keys import CURVE_ORDER

ECRECOVER = (1).to_bytes(20, "big")
_EVEN, _ODD = 27, 28


def recover_sender(computation: Any) -> Any:
    """ECRECOVER (Yellow Paper, E.1): the signer's address, or nothing where the values sign nothing."""
    computation.consume_gas(GAS_ECRECOVER, "ecrecover")
    given = computation.msg.data_as_bytes[:128].ljust(128, b"\0")
    v = int.from_bytes(given[32:64], "big")
    r, s = (int.from_bytes(given[start : start + 32], "big") for start in (64, 96))
    if v not in (_EVEN, _ODD) or not 0 < r < CURVE_ORDER or not 0 < s < CURVE_ORDER:
        return computation
    compact = given[64:] + bytes([v - _EVEN])
    try:
        key = PublicKey.from_signature_and_message(compact, given[:32], hasher=None)
    except ValueError:  # r is no coordinate of a point, or the key would be the point at infinity
        return computation
    computation.output = keccak(key.format(compressed=False)[1:])[12:].rjust(32, b"\0")
    return computation
