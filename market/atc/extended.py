"""The utility's conic problem with a method's own columns and rows, for those that have no pull ½w(T − Z)².

    min f(x) + injection_costᵀT + costᵀe   subject to   the network,   A T + A'e = b,   B T + B'e ≤ b'

T are the injections by injection bus, e the columns that are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.units import Floats

USABLE = frozenset({"Solved", "AlmostSolved", "InsufficientProgress"})
"""Near enough to the answer for Newton's steps; the finished solution is measured in any case."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows over (T, e) and their right-hand sides."""

    injection: sp.csr_array
    added: sp.csr_array
    bound: Floats


@dataclass(frozen=True, eq=False)
class Extension:
    """What is added: cost of T, cost of e, equalities, inequalities (≤)."""

    injection_cost: Floats
    cost: Floats
    equal: Rows
    below: Rows


def solve(problem: NetworkProblem, data: ConicData, extension: Extension) -> tuple[NetworkPoint, Floats]:
    """The network's point and e. `data` has the network's columns without a pull. Raises ClearingFailed."""
    layout, count = problem.layout, len(extension.cost)
    at = layout.injection
    linear = np.concatenate([data.linear, extension.cost])
    linear[at] += extension.injection_cost
    blocks: list[Any] = [sp.hstack([data.matrix, sp.csc_array((layout.rows, count))])]
    for rows in (extension.equal, extension.below):
        parts: list[Any] = [sp.csr_array((len(rows.bound), at.start)), rows.injection, rows.added]
        blocks.append(sp.hstack(parts))
    matrix = sp.csc_array(sp.vstack(blocks))
    hessian = sp.block_diag([data.hessian, sp.csc_array((count, count))], format="csc")
    bound = np.concatenate([data.bound, extension.equal.bound, extension.below.bound])
    cones = [
        *problem.cones(),
        clarabel.ZeroConeT(len(extension.equal.bound)),
        clarabel.NonnegativeConeT(len(extension.below.bound)),
    ]
    answer = clarabel.DefaultSolver(hessian, linear, matrix, bound, cones, problem.settings()).solve()
    if str(answer.status) not in USABLE:
        raise ClearingFailed(f"upper level: the solver ended with {answer.status}")
    return problem.point(answer), np.asarray(answer.x)[layout.columns :]


def nothing(injections: int, added: int) -> Rows:
    """No rows."""
    return Rows(sp.csr_array((0, injections)), sp.csr_array((0, added)), np.zeros(0))
