"""The optimality system of one radial feeder: one quasi-definite matrix whose pattern never changes.

Currents are eliminated: l_j = (P_j² + Q_j²)/v_π in every equation, so a point is (P, Q, v) by line with
prices (λ, λq, ξ) by bus and η by rated line, which is of l in a unit u: a small rating's own, or a line
that carries next to nothing could not be told from one that is overloaded. With the price of squared
current, a = r·λ + x·λq + (r² + x²)·ξ + η/u = −σ·v_π, F the balances and voltage drops and g the gradient of
the Lagrangian, a step solves

    | H + V   −Jᵀ    G |  dx     −g         H = Σ a_j ∇²l_j, which is positive where σ ≤ 0,
    |  −J     −S       |  dw  =   F         V, S, C: how voltages, what devices and shedding inject, and
    |  Gᵀ           −C |  dη      c         rated currents answer to their prices; diagonal by bus and line,
                                            but for shedding, which couples λ and λq of its bus.

Buses without such a line, the substation, have entries too, which are held: every block then has one entry
a bus, or one a line, and nothing needs to be picked out.

Such a matrix has an LDLᵀ in every order of elimination (R. J. Vanderbei, "Symmetric quasidefinite
matrices", SIAM Journal on Optimization 5(1):100–113, 1995), and the order for a tree fills nothing in. It is
analysed once for each feeder and refactored in every step; a small shift keeps pivots off 0: what it leaves
the next step takes, or refinement at the end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import qdldl
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.units import Floats, Ints

SHIFT = 1e-10
"""Added to the diagonal with the sign that quasi-definite matrices have there."""
SHIFTS = (1.0, 10.0, 100.0)
"""How much of it is added, one after the other, until the matrix factors; refinement takes it out again."""
HELD = 1e10
"""Stiffness, or yield, of what is held where it is."""
ABSENT = 1e30
"""Stiffness of an entry that stands for nothing: it neither moves nor gives way to others."""
REFINEMENTS = 8
REFINED = 1e-14
"""What refinement leaves at most, as a share of the right side, where it gets that far."""


class SingularStep(ArithmeticError):  # noqa: N818 - what it is, told to who may go another way
    """A step's matrix cannot be factored."""


class Point:
    """A point of one period, or a step of one, as a vector; its parts are views.

    flow: P and Q, 2 × lines; v: squared voltage by bus; prices: λ, λq, ξ, 3 × buses, entry 0 of the last
    two being 0; rating: η by rated line, of l in the line's unit.
    """

    __slots__ = ("flow", "prices", "rating", "v", "vector")

    def __init__(self, vector: Floats, lines: int) -> None:
        self.vector = vector
        self.flow = vector[: 2 * lines].reshape(2, lines)
        self.v = vector[2 * lines : 3 * lines + 1]
        self.prices = vector[3 * lines + 1 : 6 * lines + 4].reshape(3, lines + 1)
        self.rating = vector[6 * lines + 4 :]

    def moved(self, step: Point, length: float = 1.0) -> Point:
        """The point `length` of a step further."""
        return Point(self.vector + length * step.vector, self.flow.shape[1])


class Currents(NamedTuple):
    """Squared currents of a point: l, ∇l by (P, Q, v_π) as 3 × lines, 1/v_π, and a, what they cost."""

    l: Floats  # noqa: E741 - the symbol of the branch-flow model
    slope: Floats
    per_v: Floats
    price: Floats


class Residual:
    """What a point leaves of the equations, as a step has it on its right; its parts are views.

    forces: −g by P and Q of lines and v of buses; imbalance: F, 3 × buses, active and reactive balance,
    voltage drop of the line to the bus. What the substation is not asked for is 0.
    """

    __slots__ = ("forces", "imbalance", "vector")

    def __init__(self, vector: Floats, lines: int) -> None:
        self.vector = vector
        self.forces = vector[: 3 * lines + 1]
        self.imbalance = vector[3 * lines + 1 : 6 * lines + 4].reshape(3, lines + 1)


class Answers(NamedTuple):
    """How everything else answers to its price, as 1/curvature or curvature; see the module's matrix.

    voltage: V by bus. active, mixed, reactive: S between λ and λ, λ and λq, λq and λq, by bus.
    rating: C by rated line.
    """

    voltage: Floats
    active: Floats
    mixed: Floats
    reactive: Floats
    rating: Floats


class FlowEquations:
    """The power flow of one feeder and its prices, as equations; entry j − 1 of a line array is line j."""

    def __init__(self, feeder: Feeder) -> None:
        self.lines, self.buses = feeder.lines, feeder.buses
        self.parent: Ints = np.asarray(feeder.parent[1:])
        self.inner = np.flatnonzero(self.parent > 0)
        self.v0 = feeder.v0**2
        r, x = feeder.r_pu[1:], feeder.x_pu[1:]
        self.impedance = np.array([r, x, r**2 + x**2])
        limits = feeder.limits
        self.v_low, self.v_high = limits.v_min[1:] ** 2, limits.v_max[1:] ** 2
        self.rated = np.flatnonzero(np.isfinite(limits.i_max[1:]))
        l_high = limits.i_max[1:][self.rated] ** 2
        self.l_unit = np.minimum(l_high, 1.0)
        """What squared currents of rated lines, and η, are measured in, pu²."""
        self.l_high = l_high / self.l_unit
        self._twice = 2 * self.impedance[:2]
        self._linear = self._without_losses()

    @property
    def size(self) -> int:
        """Length of a point's vector."""
        return 6 * self.lines + 4 + len(self.rated)

    def flat(self, price: float) -> Point:
        """Nothing flows, and everything costs the same."""
        point = Point(np.zeros(self.size), self.lines)
        point.v[:] = self.v0
        point.prices[0] = price
        return point

    def currents(self, point: Point) -> Currents:
        """l = (P² + Q²)/v_π with its derivatives and its price."""
        per_v = 1 / point.v[self.parent]
        slope = np.empty((3, self.lines))
        np.multiply(point.flow, 2 * per_v, out=slope[:2])
        both = point.flow * slope[:2]
        current = both[0] + both[1]
        current *= 0.5
        np.multiply(current, -per_v, out=slope[2])
        weighted = self.impedance * point.prices[:, 1:]
        price = weighted[0] + weighted[1]
        price += weighted[2]
        if len(self.rated):
            price[self.rated] += point.rating / self.l_unit
        return Currents(current, slope, per_v, price)

    def residual(self, point: Point, at: Currents) -> Residual:
        """−g and F of a point at which nothing is injected or taken, without voltage limits' multipliers."""
        lines, buses = self.lines, self.buses
        left = Residual(self._linear @ point.vector[: 6 * lines + 4], lines)
        costs = at.slope * at.price
        flows = left.forces[: 2 * lines].reshape(2, lines)
        flows -= costs[:2]
        voltages = left.forces[2 * lines :]
        voltages -= np.bincount(self.parent, costs[2], buses)
        voltages[0] = 0.0
        left.imbalance[:, 1:] -= self.impedance * at.l
        return left

    def _without_losses(self) -> sp.csr_array:
        """−g and F where no current flows: linear in P, Q, v and prices."""
        n, parent, inner = self.lines, self.parent, self.inner
        p, v = np.arange(n), 2 * n + 1 + np.arange(n)
        above = 2 * n + parent
        price, drop = 3 * n + 2 + np.arange(n), 5 * n + 4 + np.arange(n)
        one = np.ones(n)
        # rows F, columns P, Q, v; −g is the transposed
        blocks = [(price, p, one), (3 * n + 1 + parent, p, -one)]
        blocks += [(price + n + 1, p + n, one), (4 * n + 2 + parent[inner], (p + n)[inner], -one[inner])]
        blocks += [(drop, p, self._twice[0]), (drop, p + n, self._twice[1])]
        blocks += [(drop, v, one), (drop, above, -one)]
        rows, columns, entries = (np.concatenate(part) for part in zip(*blocks, strict=True))
        places = np.r_[rows, columns], np.r_[columns, rows]
        return sp.csr_array((np.r_[entries, entries], places), shape=(6 * n + 4, 6 * n + 4))

    def by_bus(self, of_lines: Floats) -> Floats:
        """From (P, Q, v_π) of lines to P, Q of lines and v of buses: what lines put on v_π is summed."""
        by_v = np.bincount(self.parent, of_lines[2], self.buses)
        by_v[0] = 0.0  # the substation's voltage is given
        return np.concatenate([of_lines[0], of_lines[1], by_v])


class Kkt:
    """The matrix of a feeder, ready to be filled, factored and solved again and again."""

    def __init__(self, network: FlowEquations) -> None:
        self.network = network
        self._solver: Any = None
        self._unfilled, self._shifted = True, 0.0
        entries = self._entries()
        self._at: dict[str, slice] = {}
        start = 0
        for name, (rows, _) in entries.items():
            self._at[name] = slice(start, start + len(rows))
            start += len(rows)
        rows, columns = (np.concatenate([pair[side] for pair in entries.values()]) for side in (0, 1))
        size, lines = network.size, network.lines
        # −Jᵀ where J does not depend on the point: what leaves a bus, and the voltage that a line arrives at
        self._values = np.ones(start)
        self._values[self._at["drop v"]] = -1.0
        self._upper, self._to_upper = _pattern(np.minimum(rows, columns), np.maximum(rows, columns), size)
        mirrored = np.flatnonzero(rows != columns)
        self._full, to_full = _pattern(np.r_[rows, columns[mirrored]], np.r_[columns, rows[mirrored]], size)
        self._to_full = np.r_[np.arange(start), mirrored][to_full]
        self._shift = np.where(np.arange(size) < 3 * lines + 1, SHIFT, -SHIFT)
        self._view_values(lines)
        self._linear = np.zeros((3, 3, lines))
        self._linear[0, 0] = self._linear[1, 1] = -1.0
        self._linear[2] = -2 * network.impedance[0], -2 * network.impedance[1], np.ones(lines)
        self._weights = network.impedance[:, None]

    def _entries(self) -> dict[str, tuple[Ints, Ints]]:
        """Places of the upper triangle by block: columns P, Q, v, then λ, λq, ξ, then η."""
        network = self.network
        n, parent, rated = network.lines, network.parent, network.rated
        line = np.arange(n)
        bus = np.arange(n + 1)
        p, q, v = line, n + line, 2 * n + bus
        price, reactive, drop = 3 * n + 1 + bus, 4 * n + 2 + bus, 5 * n + 3 + bus
        rating = 6 * n + 4 + np.arange(len(rated))
        local = np.concatenate([p, q, v[parent]])
        of_rated = np.concatenate([p[rated], q[rated], v[parent[rated]]])
        diagonal = np.arange(network.size)
        return {
            # J of what happens in one line: by balance and drop, each by P, Q and v_π
            "local": (np.tile(local, 3), np.repeat([price[1:], reactive[1:], drop[1:]], 3, axis=0).ravel()),
            "leaving P": (p, price[parent]),
            "leaving Q": (q, reactive[parent]),
            "drop v": (v[1:], drop[1:]),
            "bent": (np.concatenate([p, q]), np.tile(v[parent], 2)),
            "mixed": (price, reactive),
            "rating": (of_rated, np.tile(rating, 3)),
            "diagonal": (diagonal, diagonal),
        }

    def _view_values(self, lines: int) -> None:
        """The parts of the values that are filled anew for each factorisation."""
        values, place, buses = self._values, self._at, lines + 1
        self._local = values[place["local"]].reshape(3, 3, lines)
        self._bent = values[place["bent"]].reshape(2, lines)
        self._mixed = values[place["mixed"]]
        self._rating = values[place["rating"]].reshape(3, -1)
        self._diagonal = values[place["diagonal"]]
        self._of_flows = self._diagonal[: 2 * lines].reshape(2, lines)
        self._of_voltages = self._diagonal[2 * lines : 3 * lines + 1]
        self._of_prices = self._diagonal[3 * lines + 1 : 6 * lines + 4].reshape(3, buses)
        self._of_rated = self._diagonal[6 * lines + 4 :]

    def factor(self, at: Currents, answers: Answers, *, convex: bool = False) -> None:
        """Fill the matrix at a point and factor it; `convex` leaves out currents of a price below 0."""
        network, values, rated = self.network, self._values, self.network.rated
        np.multiply(self._weights, at.slope, out=self._local)
        self._local += self._linear
        curvature = (np.maximum(at.price, 0.0) if convex else at.price) * at.per_v
        bent = curvature * at.slope
        np.negative(bent[:2], out=self._bent)
        np.negative(answers.mixed, out=self._mixed)
        if len(rated):
            np.divide(at.slope[:, rated], network.l_unit, out=self._rating)
            np.negative(answers.rating, out=self._of_rated)
        np.multiply(curvature, 2.0, out=self._of_flows)
        bent[2] *= -2
        np.add(answers.voltage, np.bincount(network.parent, bent[2], network.buses), out=self._of_voltages)
        self._of_voltages[0] = ABSENT
        prices = self._of_prices
        np.negative(answers.active, out=prices[0])
        np.negative(answers.reactive, out=prices[1])
        prices[2] = 0.0
        prices[1:, 0] = -ABSENT
        self._unfilled, self._shifted = True, 0.0
        for more in SHIFTS:
            self._diagonal += self._shift if more == 1.0 else more * self._shift
            self._shifted += more
            self._upper.data = values[self._to_upper]
            try:
                if self._solver is None:
                    self._solver = qdldl.Solver(self._upper, upper=True)
                else:
                    self._solver.update(self._upper, upper=True)
                return
            except RuntimeError:
                # a pivot that cancels to nothing; with another shift it does not
                self._solver = None
        raise SingularStep("no shift of its diagonal makes this matrix quasi-definite")

    def solve(self, right: Floats, refinements: int = REFINEMENTS) -> Point:
        """The step for −g, F and c on the right, laid out as a residual and rated lines."""
        step = Point(self._refined(right, refinements), self.network.lines)
        step.v[0] = step.prices[1, 0] = step.prices[2, 0] = 0.0
        return step

    def factor_jacobian(self, at: Currents) -> None:
        """Factor for `prices_of`: nobody answers, and the substation's price is given."""
        network = self.network
        silent = np.zeros(network.buses)
        active = silent.copy()
        active[0] = ABSENT
        # any H will do where J·dx = 0: the one with 1 on its diagonal keeps digits
        round_ = at._replace(price=0.5 / at.per_v)
        given = np.full(len(network.rated), HELD)
        self.factor(round_, Answers(np.ones(network.buses), active, silent, silent, given))

    def prices_of(self, causes: Floats) -> Floats:
        """λ by bus of Jᵀw = c, c by P, Q of lines and v of buses; after `factor_jacobian`."""
        right = np.zeros(self.network.size)
        np.negative(causes, out=right[: len(causes)])
        return np.asarray(self.solve(right).prices[0])

    def _refined(self, right: Floats, refinements: int) -> Floats:
        """Solve, and repeat for what is left as long as that becomes less."""
        found: Floats = np.asarray(self._solver.solve(right))
        if not refinements:
            return found
        if self._unfilled:
            self._full.data = self._values[self._to_full]
            self._unfilled = False
        shift = self._shifted * self._shift
        enough = REFINED * float(np.abs(right).max())
        best, before = found, np.inf
        for _ in range(refinements):
            left = right - self._full @ found
            left += shift * found
            error = float(np.abs(left).max())
            if not error < before:
                return best
            best, before = found, error
            if error <= enough:
                return best
            found = found + self._solver.solve(left)
        return found


def _pattern(rows: Ints, columns: Ints, size: int) -> tuple[sp.csc_matrix, Ints]:
    """An empty matrix of this pattern, and which entry each of its places is."""
    numbered = sp.csc_matrix((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=(size, size))
    numbered.sort_indices()
    order = numbered.data.astype(np.int64) - 1
    numbered.data = np.ones(len(rows))
    return numbered, order
