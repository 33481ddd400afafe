"""The lower level of batteries and vehicles: proximal steps over all periods, exact, in batches.

With charge c, discharge d, n = d − c its injection, and e its state (`market.pricing.conditions.Storages`):

    min Σ_t ω(c + d) + ½s(c² + d²) + ½ρ(n − z)² − v·e_T     within its power limits and least ≤ e_t ≤ most

A marginal value θ of stored energy decides a period: d = clip((ρz − ω − θ/η_d)/(ρ + s)) and c = clip((η_c·θ −
ω − ρz)/(ρ + s)), so what is stored rises with θ along a polyline. θ stays the same from one period to the
next unless the state is at a bound in between; past the last such bound it is v. So a storage's days are cut
at the states that are bounds, and each cut-out piece has one θ, the root of one rising polyline: its periods
store what leads from bound to bound. Where a whole range of values does, since nobody moves between what
discharging must earn and what charging may cost, any of it will do that is in order with its neighbours: θ
may only rise across a state that is full, only fall across an empty one. Which states those are is found by
an active set: the worst state beyond its bounds of each piece is bound, and a bound across which θ moves the
wrong way is let go. It starts from the last answer's.

Where burning energy would pay (`market.pricing.storages.overlap_price`), a storage does not discharge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from market.atc.prosumers import Response
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Storages
from market.units import Floats, Ints

Flags = npt.NDArray[np.bool_]

SWEEPS = 200
"""Changes of the active set at most; a day of 24 periods takes a handful."""
BEYOND_EUR_PER_MWH = 1e9
"""Stands for a value of stored energy above, or below, all at which a storage moves."""
STATE_TOLERANCE = 1e-12
"""pu·h beyond a bound, or besides what a piece has to store, that rounding makes."""
VALUE_TOLERANCE = 1e-9
"""€/MWh that θ may move the wrong way across a bound."""


class StorageLevel:
    """All storages over all periods; arrays are periods × storages."""

    def __init__(self, storages: Storages, hours: float) -> None:
        self._of = storages
        self._hours = hours
        self.shape = storages.charge_max.shape
        # +1 at a state that is at its most, −1 at its least, 0 else
        self._held: Ints = np.zeros(self.shape, dtype=np.int64)
        self.value: Floats = np.tile(storages.final_value, (self.shape[0], 1))

    def elasticity(self, window: float) -> Floats:
        """Range of the injection over the prices that move it, at least a window: pu per €/MWh."""
        span = self._of.charge_max + self._of.discharge_max
        return np.asarray(span / np.maximum(self._of.wear_slope * span, window))

    def range(self) -> tuple[Floats, Floats]:
        """Injections between full charging and full discharging."""
        return -self._of.charge_max, self._of.discharge_max

    def respond(self, target: Floats, weight: Floats) -> Response:
        """The proximal step. Raises ClearingFailed where no active set is found."""
        question = _Question(self._of, self._hours, weight * target, weight + self._of.wear_slope)
        self._held, self.value = _solved(question, self._held)
        charge, discharge = question.moved(self.value)
        power, nothing = discharge - charge, np.zeros(self.shape)
        price = weight * (target - power)
        return Response(power, price, nothing, nothing, nothing, gen=discharge, load=charge)


@dataclass(frozen=True, eq=False)
class _Question:
    """A proximal step's data: pull ρz and curve ρ + s, periods × storages."""

    of: Storages
    hours: float
    pull: Floats
    curve: Floats

    def only(self, columns: Ints) -> _Question:
        """The same question to some of the storages."""
        arrays = {field.name: getattr(self.of, field.name)[..., columns] for field in fields(self.of)}
        return _Question(Storages(**arrays), self.hours, self.pull[:, columns], self.curve[:, columns])

    def moved(self, value: Floats) -> tuple[Floats, Floats]:
        """Charge and discharge at values θ of stored energy."""
        of = self.of
        charge = np.clip(
            (of.charge_efficiency * value - of.wear - self.pull) / self.curve, 0.0, of.charge_max
        )
        given = (self.pull - of.wear - value / of.discharge_efficiency) / self.curve
        return charge, np.clip(given, 0.0, self._discharge_max)

    def stored(self, value: Floats) -> Floats:
        """What the periods add to the state before drains, pu·h; rises with θ."""
        charge, discharge = self.moved(value)
        of = self.of
        return np.asarray(self.hours * (of.charge_efficiency * charge - discharge / of.discharge_efficiency))

    def turns(self) -> tuple[Floats, Floats]:
        """θ where discharge is no longer full, ends, charge begins, is full; how the slope changes there."""
        of = self.of
        stops = of.discharge_efficiency * (self.pull - of.wear)
        starts = (self.pull + of.wear) / of.charge_efficiency
        full = stops - of.discharge_efficiency * self.curve * self._discharge_max
        filled = starts + self.curve * of.charge_max / of.charge_efficiency
        given = self.hours / (of.discharge_efficiency**2 * self.curve)
        taken = self.hours * of.charge_efficiency**2 / self.curve
        return np.stack([full, stops, starts, filled]), np.stack([given, -given, taken, -taken])

    @property
    def _discharge_max(self) -> Floats:
        """No discharge where it would pay to charge at the same time, and burn energy."""
        of = self.of
        burns = of.discharge_efficiency * (self.pull - of.wear) > (self.pull + of.wear) / of.charge_efficiency
        return np.where(burns, 0.0, of.discharge_max)


def _solved(question: _Question, held: Ints) -> tuple[Ints, Floats]:
    """The active set and θ of everybody, from the last answer's active set."""
    held, value = held.copy(), np.zeros(held.shape)
    columns: Ints = np.arange(held.shape[1])
    for _ in range(SWEEPS):
        asked, bound = question.only(columns), held[:, columns]
        found, wrong = _in_order(bound, *_roots(asked, bound), asked.of.final_value)
        changed = _changed(asked, bound, found, wrong)
        value[:, columns] = found
        held[:, columns] = changed
        columns = columns[(changed != bound).any(axis=0)]
        if not len(columns):
            return held, value
    raise ClearingFailed(f"storages: no schedule of {len(columns)} of them after {SWEEPS} changes")


def _changed(question: _Question, held: Ints, value: Floats, wrong: Flags) -> Ints:
    """The active set with a wrong bound let go, or the worst states bound; the same where all is right."""
    of = question.of
    state = of.energy_start + np.cumsum(question.stored(value) - of.drain, axis=0)
    over, under = state - of.energy_max, of.energy_min - state
    beyond = np.where(held == 0, np.maximum(over, under), -np.inf)
    binds = (beyond > STATE_TOLERANCE) & (beyond >= _worst_of_piece(held, beyond))
    # a bound that pulls the wrong way makes its neighbours look worse than they are: it goes first
    binds &= ~wrong.any(axis=0)
    frees = wrong & (np.cumsum(wrong, axis=0) == 1)
    return np.where(frees, 0, np.where(binds, np.where(over > under, 1, -1), held))


def _roots(question: _Question, held: Ints) -> tuple[Floats, Floats]:
    """Least and greatest θ at which each period's piece stores what it has to; v behind the last bound.

    What a piece stores is a polyline of θ that starts at full discharge and turns wherever one of its periods
    begins or ends to move; all polylines are laid one after the other and searched at once.
    """
    of = question.of
    periods, count = held.shape
    bound = np.where(held > 0, of.energy_max, of.energy_min) + np.cumsum(of.drain, axis=0)
    piece, wanted = _pieces(held, bound, of.energy_start)
    group = piece * count + np.arange(count)
    turns, gains = question.turns()
    groups = np.tile(group.ravel(), len(turns))
    turns, gains = turns.ravel(), gains.ravel()
    order = np.lexsort((turns, groups))
    turns, gains, groups = turns[order], gains[order], groups[order]
    # every turn up has its turn down, so a group ends at the slope, none, that the next one starts at
    slope = np.maximum(np.cumsum(gains), 0.0)
    first = np.concatenate([[True], groups[1:] != groups[:-1]])
    rise = np.where(first, 0.0, np.concatenate([[0.0], slope[:-1] * np.diff(turns)]))
    starts = np.flatnonzero(first)
    risen = np.cumsum(rise)
    size = (periods + 1) * count
    base = np.bincount(group.ravel(), question.stored(np.full(held.shape, -np.inf)).ravel(), size)
    place = np.cumsum(first) - 1
    stored = base[groups] + risen - risen[starts][place]
    wanted = wanted.ravel()[groups[starts]]
    ends = np.append(starts[1:], len(turns))
    found = []
    for reached in (stored < wanted[place] - STATE_TOLERANCE, stored <= wanted[place] + STATE_TOLERANCE):
        last = starts + np.add.reduceat(reached.astype(np.int64), starts) - 1
        at = np.maximum(last, 0)
        step = np.where(slope[at] > 0, (wanted - stored[at]) / np.where(slope[at] > 0, slope[at], 1.0), 0.0)
        root = turns[at] + np.maximum(step, 0.0)
        root = np.where(
            last < starts, -BEYOND_EUR_PER_MWH, np.where(last == ends - 1, BEYOND_EUR_PER_MWH, root)
        )
        by_group = np.zeros(size)
        by_group[groups[starts]] = root
        free = ~np.isfinite(wanted)
        by_group[groups[starts][free]] = np.tile(of.final_value, periods + 1)[groups[starts][free]]
        found.append(by_group[group])
    return found[0], found[1]


def _in_order(held: Ints, least: Floats, most: Floats, final: Floats) -> tuple[Floats, Flags]:
    """θ between least and most that moves the right way across every held state, and where none does.

    Across a state at its most θ may only rise, across one at its least only fall.
    """
    periods = len(held)
    low, high = np.empty_like(least), np.empty_like(most)
    wrong = np.zeros(held.shape, dtype=np.bool_)
    below = above = final
    for t in range(periods - 1, -1, -1):
        side = held[t]
        start = np.where(side < 0, np.maximum(least[t], below), least[t])
        stop = np.where(side > 0, np.minimum(most[t], above), most[t])
        wrong[t] = (side != 0) & (start > stop + VALUE_TOLERANCE)
        start, stop = (np.where(wrong[t], free, kept) for free, kept in ((least[t], start), (most[t], stop)))
        below, above = np.where(side != 0, start, below), np.where(side != 0, stop, above)
        low[t], high[t] = below, above
    value = np.empty_like(least)
    value[0] = np.clip(0.0, low[0], np.maximum(low[0], high[0]))
    for t in range(1, periods):
        value[t] = np.clip(value[t - 1], low[t], np.maximum(low[t], high[t]))
    return value, wrong


def _pieces(held: Ints, bound: Floats, start: Floats) -> tuple[Ints, Floats]:
    """The piece that each period is in, and what each piece has to store: NaN where its end is free."""
    periods, count = held.shape
    ends = held != 0
    piece = np.zeros((periods, count), dtype=np.int64)
    piece[1:] = np.cumsum(ends, axis=0)[:-1]
    at = np.full((periods + 2, count), np.nan)
    at[0] = start
    rows, columns = np.nonzero(ends)
    at[piece[rows, columns] + 1, columns] = bound[rows, columns]
    return piece, np.diff(at, axis=0)


def _worst_of_piece(held: Ints, beyond: Floats) -> Floats:
    """The largest of `beyond` in the piece that each state is inside of."""
    periods, count = held.shape
    piece = np.cumsum(held != 0, axis=0)
    worst = np.full((periods + 1, count), -np.inf)
    columns = np.broadcast_to(np.arange(count), held.shape)
    np.maximum.at(worst, (piece, columns), beyond)
    return np.take_along_axis(worst, piece, axis=0)
