"""Anderson acceleration of a fixed-point iteration z ← z + F(z).

D. G. Anderson, "Iterative procedures for nonlinear integral equations", Journal of the ACM 12(4), 1965,
in the difference form of H. Walker and P. Ni, SIAM Journal on Numerical Analysis 49(4), 2011, eq. (2.2).
The coefficients are a handful of numbers for everybody: each prosumer applies them to its own state.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from market.units import Floats

FIRST_RESIDUAL = 3
"""Steps are plain until the iteration has seen this many residuals: the first ones say little."""
RESTART_GROWTH = 3.0
"""A residual this many times the best one means that the model of the past is wrong there: forget it."""
RETREAT = 0.25
"""What is left of a step that led there: behind a corner it was right in direction, and too far."""
RETREATS_MAX = 8
"""A step that fails so often is given up: 4⁸ times shorter it is no more than a plain one."""
PATIENCE = 8
"""After so many rounds without a new best residual the iteration goes round in circles."""
CONDITION_LIMIT = 1e-12
"""Relative cut-off of the least-squares problem, so that nearly parallel differences are dropped."""


class Anderson:
    """The memory of the last residuals; `metric` weighs them, one positive entry a prosumer."""

    def __init__(self, memory: int, metric: Floats) -> None:
        self._root = np.sqrt(metric)
        self._steps: deque[Floats] = deque(maxlen=memory)
        self._changes: deque[Floats] = deque(maxlen=memory)
        self._last: tuple[Floats, Floats] | None = None
        self._seen = 0
        self._best = np.inf
        self._best_successor: Floats = np.zeros(0)
        self._since_best = 0
        self._retreats = 0

    def advance(self, state: Floats, residual: Floats) -> Floats:
        """The next state after `state`, whose residual is F(state)."""
        norm = float(np.linalg.norm(self._root * residual))
        if norm < self._best:
            self._best, self._best_successor = norm, state + residual
            self._since_best = self._retreats = 0
        elif norm > RESTART_GROWTH * self._best:
            return self._retreat(state) if self._retreats < RETREATS_MAX else self._restart()
        else:
            self._since_best += 1
            if self._since_best > PATIENCE:
                return self._restart()
        if self._last is not None:
            self._steps.append(state - self._last[0])
            self._changes.append(residual - self._last[1])
        self._last = (state, residual)
        self._seen += 1
        if self._seen < FIRST_RESIDUAL or not self._changes:
            return state + residual
        changes, steps = np.stack(self._changes, axis=1), np.stack(self._steps, axis=1)
        weighted = self._root[:, None] * changes
        mix = np.linalg.lstsq(weighted, self._root * residual, rcond=CONDITION_LIMIT)[0]
        return np.asarray(state + residual - (steps + changes) @ mix)

    def _retreat(self, state: Floats) -> Floats:
        """Forget the past, and go a part of the way from the best state to one that was too far.

        Where hardly anybody flexes, balances tell of a price that is far away by next to nothing: plain steps
        creep, and an extrapolated one passes the corner at which somebody begins to flex.
        """
        self._forget()
        self._retreats += 1
        return self._best_successor + RETREAT * (state - self._best_successor)

    def _restart(self) -> Floats:
        """Forget the past and go on, plainly, from the best state: from there residuals cannot grow."""
        self._forget()
        self._retreats = 0
        return self._best_successor

    def _forget(self) -> None:
        self._steps.clear()
        self._changes.clear()
        self._last = None
        self._seen = self._since_best = 0
