"""The optimality system of one radial feeder: one quasi-definite matrix whose pattern never changes.

Currents are eliminated: l_j = (P_j² + Q_j²)/v_π in every equation, so a point is (P, Q, v) by line with
prices (λ, λq, ξ) by bus and η by rated line. With a = r·λ + x·λq + (r² + x²)·ξ + η = −σ·v_π, the price of
squared current, F the balances and voltage drops and g the gradient of the Lagrangian, a step solves

    | H + V   −Jᵀ    G |  dx     −g         H = Σ a_j ∇²l_j, which is positive where σ ≤ 0,
    |  −J     −S       |  dw  =   F         V, S, C: how voltages, what devices and shedding inject, and
    |  Gᵀ           −C |  dη      c         rated currents answer to their prices; diagonal by bus and line,
                                            but for shedding, which couples λ and λq of its bus.

Such a matrix has an LDLᵀ in every order of elimination (R. J. Vanderbei, "Symmetric quasidefinite
matrices", SIAM Journal on Optimization 5(1):100–113, 1995), and the order for a tree fills nothing in. It is
analysed once for each feeder and refactored in every step; a small shift keeps pivots off 0, and
refinement takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import qdldl
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.units import Floats, Ints

SHIFT = 1e-10
"""Added to the diagonal with the sign that quasi-definite matrices have there."""
REFINEMENTS = 8
REFINED = 1e-14
"""What refinement leaves at most, as a share of the right side, where it gets that far."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A point of one period: flow (P, Q), 2 × lines; v by bus; λ, λq, ξ, 3 × buses; η by rated line.

    Entry 0 of λq and ξ is 0.
    """

    flow: Floats
    v: Floats
    prices: Floats
    rating: Floats

    def moved(self, step: Point, length: float) -> Point:
        """The point `length` of a step further."""
        return Point(
            self.flow + length * step.flow,
            self.v + length * step.v,
            self.prices + length * step.prices,
            self.rating + length * step.rating,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Currents:
    """Squared currents of a point: l, ∇l by (P, Q, v_π) as 3 × lines, 1/v_π, and a, what they cost."""

    l: Floats  # noqa: E741 - the symbol of the branch-flow model
    slope: Floats
    per_v: Floats
    price: Floats


class Answers(NamedTuple):
    """How everything else answers to its price, as 1/curvature or curvature; see the module's matrix.

    voltage: V by line. active, mixed, reactive: S between λ and λ (by bus), λ and λq, λq and λq (by line).
    rating: C by rated line.
    """

    voltage: Floats
    active: Floats
    mixed: Floats
    reactive: Floats
    rating: Floats


GIVEN = 1e14
"""In place of S or C: so much answers that the price does not move."""


class Network:
    """A feeder's constants as the equations need them; entry j − 1 of a line array is line j."""

    def __init__(self, feeder: Feeder) -> None:
        self.lines, self.buses = feeder.lines, feeder.buses
        self.parent: Ints = np.asarray(feeder.parent[1:])
        self.inner = np.flatnonzero(self.parent > 0)
        self.v0 = feeder.v0**2
        r, x = feeder.r_pu[1:], feeder.x_pu[1:]
        self.impedance = np.array([r, x, r**2 + x**2])
        self.limits = feeder.limits
        self.v_low, self.v_high = feeder.limits.v_min[1:] ** 2, feeder.limits.v_max[1:] ** 2
        self.rated = np.flatnonzero(np.isfinite(feeder.limits.i_max[1:]))
        self.l_high = feeder.limits.i_max[1:][self.rated] ** 2
        self._twice = 2 * self.impedance[:2]
        self._parents = np.concatenate([self.parent, self.parent + self.buses])

    def flat(self, price: float) -> Point:
        """Nothing flows, and everything costs the same."""
        prices = np.zeros((3, self.buses))
        prices[0] = price
        return Point(
            np.zeros((2, self.lines)), np.full(self.buses, self.v0), prices, np.zeros(len(self.rated))
        )

    def currents(self, point: Point) -> Currents:
        """l = (P² + Q²)/v_π with its derivatives and its price."""
        per_v = 1 / point.v[self.parent]
        slope = np.empty((3, self.lines))
        np.multiply(point.flow, 2 * per_v, out=slope[:2])
        both = point.flow * slope[:2]
        current = 0.5 * (both[0] + both[1])
        np.multiply(current, -per_v, out=slope[2])
        weighted = self.impedance * point.prices[:, 1:]
        price = weighted[0] + weighted[1] + weighted[2]
        if len(self.rated):
            price[self.rated] += point.rating
        return Currents(current, slope, per_v, price)

    def imbalance(self, point: Point, at: Currents, injected: Floats) -> Floats:
        """F: active balance by bus, reactive balance and voltage drop by line, one after the other.

        `injected`: active and reactive, 2 × buses, less what is taken.
        """
        lines, buses = self.lines, self.buses
        leaving = np.bincount(self._parents, point.flow.ravel(), 2 * buses).reshape(2, buses)
        balance = injected - leaving
        balance[:, 1:] += point.flow - self.impedance[:2] * at.l
        drop = self._twice * point.flow
        imbalance = np.empty(3 * lines + 1)
        imbalance[:buses] = balance[0]
        imbalance[buses : buses + lines] = balance[1, 1:]
        imbalance[buses + lines :] = (
            point.v[1:] - point.v[self.parent] + drop[0] + drop[1] - self.impedance[2] * at.l
        )
        return imbalance

    def gradient(self, point: Point, at: Currents) -> Floats:
        """g of the Lagrangian by P, Q and v, 3 × lines, without the multipliers of voltage limits."""
        prices, drop = point.prices, point.prices[2, 1:]
        gradient = np.empty((3, self.lines))
        gradient[:2] = prices[:2, self.parent] - prices[:2, 1:] - self._twice * drop + at.slope[:2] * at.price
        along = np.bincount(self.parent, drop + at.price * at.slope[2], self.buses)
        gradient[2] = along[1:] - drop
        return gradient

    def by_parent(self, of_lines: Floats) -> Floats:
        """From (P, Q, v_π) of lines to (P, Q, v) of lines: what each line puts on v_π is summed there."""
        summed = of_lines.copy()
        summed[2] = np.bincount(self.parent, of_lines[2], self.buses)[1:]
        return summed


class Kkt:
    """The matrix of a feeder, ready to be filled, factored and solved again and again."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._solver: Any = None
        entries = self._entries()
        self._at: dict[str, slice] = {}
        start = 0
        for name, (rows, _) in entries.items():
            self._at[name] = slice(start, start + len(rows))
            start += len(rows)
        rows, columns = (np.concatenate([pair[side] for pair in entries.values()]) for side in (0, 1))
        self.size = int(rows.max()) + 1
        self._values = np.ones(start)
        # −Jᵀ where J does not depend on the point: what leaves a bus, and the voltage that a line arrives at
        self._values[self._at["drop v"]] = -1.0
        self._upper, self._to_upper = _pattern(
            np.minimum(rows, columns), np.maximum(rows, columns), self.size
        )
        mirrored = np.flatnonzero(rows != columns)
        self._full, to_full = _pattern(
            np.r_[rows, columns[mirrored]], np.r_[columns, rows[mirrored]], self.size
        )
        self._to_full = np.r_[np.arange(start), mirrored][to_full]
        lines = network.lines
        self._shift = np.where(np.arange(self.size) < 3 * lines, SHIFT, -SHIFT)
        self._linear = np.zeros((3, 3, lines))
        self._linear[0, 0] = self._linear[1, 1] = -1.0
        self._linear[2] = -2 * network.impedance[0], -2 * network.impedance[1], np.ones(lines)

    def _entries(self) -> dict[str, tuple[Ints, Ints]]:
        """Places of the upper triangle by block: columns P, Q, v of lines, then λ, λq, ξ, then η."""
        network = self.network
        n, parent, inner, rated = network.lines, network.parent, network.inner, network.rated
        line = np.arange(n)
        p, q, v = line, n + line, 2 * n + line
        price, reactive, drop = 3 * n + np.arange(n + 1), 4 * n + 1 + line, 5 * n + 1 + line
        rating = 6 * n + 1 + np.arange(len(rated))
        above = parent[inner] - 1
        rated_inner = np.flatnonzero(parent[rated] > 0)
        entries: dict[str, tuple[Ints, Ints]] = {}
        for name, row in (("active", price[1:]), ("reactive", reactive), ("drop", drop)):
            entries |= {f"{name} P": (p, row), f"{name} Q": (q, row), f"{name} v_π": (v[above], row[inner])}
        return entries | {
            "leaving P": (p, price[parent]),
            "leaving Q": (q[inner], reactive[above]),
            "drop v": (v, drop),
            "P v_π": (p[inner], v[above]),
            "Q v_π": (q[inner], v[above]),
            "mixed": (price[1:], reactive),
            "rating P": (p[rated], rating),
            "rating Q": (q[rated], rating),
            "rating v_π": (v[parent[rated[rated_inner]] - 1], rating[rated_inner]),
            "diagonal": (np.arange(6 * n + 1 + len(rated)), np.arange(6 * n + 1 + len(rated))),
        }

    def factor(self, at: Currents, answers: Answers, *, convex: bool = False) -> None:
        """Fill the matrix at a point and factor it; `convex` leaves out currents of a price below 0."""
        network, values, place = self.network, self._values, self._at
        inner, lines, rated = network.inner, network.lines, network.rated
        jacobian = self._linear + network.impedance[:, None] * at.slope  # −J, by row and by P, Q, v_π
        for row, name in enumerate(("active", "reactive", "drop")):
            values[place[f"{name} P"]] = jacobian[row, 0]
            values[place[f"{name} Q"]] = jacobian[row, 1]
            values[place[f"{name} v_π"]] = jacobian[row, 2, inner]
        curvature = (np.maximum(at.price, 0.0) if convex else at.price) * at.per_v
        bent = curvature * at.slope
        values[place["P v_π"]] = -bent[0, inner]
        values[place["Q v_π"]] = -bent[1, inner]
        values[place["mixed"]] = -answers.mixed
        if len(rated):
            values[place["rating P"]], values[place["rating Q"]] = at.slope[:2, rated]
            values[place["rating v_π"]] = at.slope[2, rated[network.parent[rated] > 0]]
        diagonal = values[place["diagonal"]]
        diagonal[:lines] = diagonal[lines : 2 * lines] = 2 * curvature
        by_v = np.bincount(network.parent, bent[2], network.buses)[1:]
        diagonal[2 * lines : 3 * lines] = answers.voltage - 2 * by_v
        diagonal[3 * lines : 4 * lines + 1] = -answers.active
        diagonal[4 * lines + 1 : 5 * lines + 1] = -answers.reactive
        diagonal[5 * lines + 1 : 6 * lines + 1] = 0.0
        diagonal[6 * lines + 1 :] = -answers.rating
        self._full.data = values[self._to_full]
        diagonal += self._shift
        self._upper.data = values[self._to_upper]
        if self._solver is None:
            self._solver = qdldl.Solver(self._upper, upper=True)
        else:
            self._solver.update(self._upper, upper=True)

    def solve(self, gradient: Floats, imbalance: Floats, rating: Floats) -> Point:
        """The step for −g, F and c on the right; 3 × lines, and as `Network.imbalance` lays them out."""
        lines, buses = self.network.lines, self.network.buses
        right = np.concatenate([-gradient.ravel(), imbalance, rating])
        found = self._refined(right)
        flow_v = found[: 3 * lines].reshape(3, lines)
        prices = np.zeros((3, buses))
        prices[0] = found[3 * lines : 4 * lines + 1]
        prices[1:, 1:] = found[4 * lines + 1 : 6 * lines + 1].reshape(2, lines)
        v = np.zeros(buses)
        v[1:] = flow_v[2]
        return Point(flow_v[:2], v, prices, found[6 * lines + 1 :])

    def factor_jacobian(self, at: Currents) -> None:
        """Factor for `prices_of`: nobody answers, and the substation's price is given."""
        network = self.network
        silent = np.zeros(network.buses)
        silent[0] = GIVEN
        # any H will do where J·dx = 0: the one with 1 on its diagonal keeps digits
        round_ = Currents(at.l, at.slope, at.per_v, 0.5 / at.per_v)
        idle = np.zeros(network.lines)
        given = np.full(len(network.rated), GIVEN)
        self.factor(round_, Answers(np.ones(network.lines), silent, idle, idle, given))

    def prices_of(self, causes: Floats) -> Floats:
        """λ by bus of Jᵀw = c, c by P, Q and v of lines; after `factor_jacobian`."""
        network = self.network
        nothing = np.zeros(3 * network.lines + 1)
        return np.asarray(self.solve(causes, nothing, np.zeros(len(network.rated))).prices[0])

    def _refined(self, right: Floats) -> Floats:
        """Solve, and repeat for what is left as long as that becomes less."""
        found = np.asarray(self._solver.solve(right))
        enough = REFINED * float(np.abs(right).max())
        best, before = found, np.inf
        for _ in range(REFINEMENTS):
            left = right - self._full @ found
            error = float(np.abs(left).max())
            if not error < before:
                break
            best, before = found, error
            if error <= enough:
                break
            found = found + self._solver.solve(left)
        return best


def _pattern(rows: Ints, columns: Ints, size: int) -> tuple[sp.csc_matrix, Ints]:
    """An empty matrix of this pattern, and which entry each of its places is."""
    numbered = sp.csc_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=(size, size))
    numbered.sort_indices()
    order = numbered.data.astype(np.int64) - 1
    numbered.data = np.ones(len(rows))
    return numbered, order
