"""Losses of an unbalanced feeder, shared among those whose currents flow through it.

A. I. Nikolaidis, C. A. Charalambous, P. Mancarella, "A Graph-Based Loss Allocation Framework for
Transactive Energy Markets in Unbalanced Radial Distribution Networks", IEEE Transactions on Power Systems
34(5), 2019, follows each node's current along its path to the substation. The functions here are a
reconstruction of it: of branch ℓ, node k below it bears on phase φ

    Re(ΔV_ℓ^φ · conj(I_k^φ)),

ΔV_ℓ the drop of the phase's voltage along the branch, I_k the current that the node takes. The currents of
all nodes below a branch are the branch's own, so shares add up to its loss, whatever phases and neutral do to
one another. Along a path drops add up to V_0 − V_k, and with I_k = conj(S_k/V_k) a node bears

    Re((V_0^φ − V_k^φ)/V_k^φ · S_k^φ) = f_k^φ·P_k^φ + g_k^φ·Q_k^φ

in all: linear in its power, at the voltages of the flow. A trade of q from i to j is an injection and a
consumption, and bears q·(f_j − f_i), so trades add up to their parties' shares. Who injects against the flow
bears less than nothing.

Powers and losses are per unit, net consumption positive; arrays are buses × 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Complexes, Feeder
from market.feeder.three_phase import PhaseFlow
from market.units import Floats, Ints


@dataclass(frozen=True, eq=False)
class Factors:
    """What a unit of power taken at a bus and phase bears: `active` of P, `reactive` of Q, buses × 3."""

    active: Floats
    reactive: Floats


def branch_shares(feeder: Feeder, flow: PhaseFlow, p: Floats, q: Floats, line: int) -> Floats:
    """What each node's current costs in one branch, the line to bus `line`; 0 where it does not pass."""
    below = np.zeros(feeder.buses, dtype=bool)
    below[line] = True
    for bus in range(line + 1, feeder.buses):
        below[bus] = below[feeder.parent[bus]]
    voltage = flow.phasor
    drop = voltage[feeder.parent[line]] - voltage[line]
    return np.asarray(np.where(below[:, None], (drop * _drawn(voltage, p, q).conj()).real, 0.0))


def factors(flow: PhaseFlow) -> Factors:
    """All branches of every path at once: (V_0 − V_k)/V_k by bus and phase."""
    ratio = (flow.phasor[0] - flow.phasor) / flow.phasor
    return Factors(active=ratio.real, reactive=-ratio.imag)


def shares(flow: PhaseFlow, p: Floats, q: Floats) -> Floats:
    """What each bus and phase bears of the losses of its whole path; they add up to the feeder's."""
    unit = factors(flow)
    return np.asarray(unit.active * p + unit.reactive * q)


def trade_losses(unit: Floats, seller: Ints, buyer: Ints, power: Floats) -> Floats:
    """What trades bear at a factor for each connection: q·(f_buyer − f_seller), pu by trade."""
    return np.asarray(power * (unit[buyer] - unit[seller]))


def pro_rata(loss: float, p: Floats) -> Floats:
    """The losses by absolute active power: the same for every unit, wherever it goes."""
    taken = np.abs(p)
    return np.asarray(loss * taken / taken.sum())


def _drawn(voltage: Complexes, p: Floats, q: Floats) -> Complexes:
    """Currents that nodes take."""
    return np.asarray(((p + 1j * q) / voltage).conj())
