"""What a price is made of: energy, loss, voltage, congestion; and what follows from it, the NUC.

Prices solve Jᵀw = c at the optimum, J the Jacobian of the branch-flow equations and c the gradient of
cost and limits by (P, Q, l, v). c is a sum: λ_0 on the lines at the substation, η on currents, μ̄ − μ̲
on voltages. One factorisation of Jᵀ takes them apart, exactly; the part of λ_0 is split into λ_0
itself (energy) and the rest (loss).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from market.feeder.model import Feeder
from market.pricing.conditions import Components, Duals, Primal
from market.units import Floats


def components(feeder: Feeder, primal: Primal, duals: Duals, *, lossless: bool = False) -> Components:
    """Split λ into its components, periods × buses, €/MWh.

    They add up to λ as exactly as the point meets its optimality conditions. `lossless` takes the
    Jacobian of LinDistFlow, which has no loss.
    """
    lines, periods = feeder.lines, len(duals.price)
    parts = np.zeros((3, periods, feeder.buses))
    root = feeder.parent[1:] == 0
    for t in range(periods):
        causes = np.zeros((4 * lines, 3))
        causes[:lines, 0] = np.where(root, duals.price[t, 0], 0.0)
        causes[3 * lines :, 1] = (duals.v_high - duals.v_low)[t, 1:]
        causes[2 * lines : 3 * lines, 2] = duals.current[t, 1:]
        adjoint = splu(_jacobian(feeder, primal, t, lossless).T.tocsc())
        parts[:, t, 1:] = adjoint.solve(causes)[:lines].T
    energy = np.repeat(duals.price[:, :1], feeder.buses, axis=1)
    loss = parts[0] - energy
    loss[:, 0] = 0.0
    return Components(energy=energy, loss=loss, voltage=parts[1], congestion=parts[2])


def total(parts: Components) -> Floats:
    """λ again, periods × buses."""
    return parts.energy + parts.loss + parts.voltage + parts.congestion


def usage_charges(duals: Duals) -> Floats:
    """NUC by bus before rounding, ν_b = λ_b − λ_0, periods × buses, €/MWh."""
    return duals.price - duals.price[:, :1]


def trade_charge(charges: Floats, seller_bus: int, buyer_bus: int) -> Floats:
    """NUC of a trade from seller to buyer by period, ν_buyer − ν_seller, €/MWh; it telescopes."""
    return np.asarray(charges[:, buyer_bus] - charges[:, seller_bus])


def _jacobian(feeder: Feeder, primal: Primal, period: int, lossless: bool) -> sp.csr_array:
    """Rows: active and reactive balance, voltage drop, P² + Q² − l·v_π; columns P, Q, l, v of lines 1..n."""
    lines = feeder.lines
    parent, r, x = feeder.parent[1:], feeder.r_pu[1:], feeder.x_pu[1:]
    inner = np.flatnonzero(parent > 0)
    ones, shape = np.ones(len(inner)), (lines, lines)
    children = sp.csr_array((ones, (parent[inner] - 1, inner)), shape=shape)
    p, q, current = (array[period, 1:] for array in (primal.p, primal.q, primal.l))
    v_parent = np.full(lines, feeder.v0**2) if lossless else primal.v[period, parent]
    tree = sp.eye_array(lines) - children
    keep = 0.0 if lossless else 1.0
    blocks: list[list[Any]] = [
        [tree, None, sp.diags_array(-keep * r), None],
        [None, tree, sp.diags_array(-keep * x), None],
        [sp.diags_array(2 * r), sp.diags_array(2 * x), sp.diags_array(-keep * (r**2 + x**2)), tree.T],
        [
            sp.diags_array(2 * p),
            sp.diags_array(2 * q),
            sp.diags_array(-v_parent),
            -keep * (sp.diags_array(current) @ children.T),
        ],
    ]
    return sp.csr_array(sp.block_array(blocks))
