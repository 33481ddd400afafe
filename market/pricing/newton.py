"""The fast clearing: Newton on the exact optimality conditions of a feeder, compiled once and cleared often.

Each period is cleared on its own, in one of five ways, whichever ends first:

1. Newton with an active set (`activeset`) from an earlier solution (`guess`);
2. the same from what everyone would do at one bus, without lines, where that ends at the global optimum: in
   about four steps where no limit of the network holds;
3. an interior point on the true power flow (`interior`), until it is clear who is at a bound, and Newton
   from there to machine precision;
4. `direct`: the relaxation by Clarabel, polished;
5. where that is no answer either, as near as the interior point gets, polished too: lines that carry next to
   nothing, one like the other, leave no digits to tell which of them are full.

All of them end at a point that meets the exact first-order conditions; where every σ ≤ 0 that is the
global optimum. Upper voltage limits under reverse flow and negative prices can leave a σ > 0: then the
answer is a stationary point of the true power flow, its status 'local': first-order conditions hold, and
nothing is said of the second order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing import direct, interior
from market.pricing.activeset import EXACT, Settled, settle
from market.pricing.admission import ClearingFailed, ConditionsError, admit, refuse_storages
from market.pricing.conclude import conclude
from market.pricing.conditions import Components, Conditions, Duals, Primal, Solution
from market.pricing.guess import Guess, as_before, without_lines
from market.pricing.kkt import Currents, FlowEquations, Kkt, SingularStep
from market.pricing.optimality import costs
from market.pricing.periods import period_of
from market.pricing.point import STORAGES
from market.pricing.quantities import FREE, HIGH, LOW, Quantities
from market.units import Floats

FIRST_BLUR = 1e-5
"""μ as a share of the largest price at which Newton first takes over from the interior point."""
NEXT_BLUR = 1e-2
"""Share of the last μ at which it tries again."""
LAST_BLURS = 1e-7, 1e-8
"""The same where the interior point alone has to answer, and where it tries once more."""
ROUNDING = 1e-11
"""Share of the largest price by which σ may be above 0 and count as 0."""
TRIES = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Period:
    """One period's answer: rows of Primal, Duals and Components; its status, residual and steps."""

    primal: dict[str, Floats]
    duals: dict[str, Floats]
    components: dict[str, Floats]
    status: str
    residual: float
    steps: int


class NewtonClearing:
    """The fast clearing of one feeder; keep it to clear often.

    `exact`: residual, in pu and shares of the largest price, at which steps end; with 0 they go on as long
    as each makes it less.
    """

    def __init__(self, feeder: Feeder, exact: float = EXACT) -> None:
        self.feeder = feeder
        self._exact = exact
        self._network = FlowEquations(feeder)
        self._kkt = Kkt(self._network)

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period, from the same period of `warm` where its shape fits. Raises PricingError."""
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ConditionsError(f"compiled for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        refuse_storages(conditions, "newton")
        if warm is not None and not _fits(warm, conditions):
            warm = None
        periods = [self._period(conditions, t, warm) for t in range(conditions.periods)]

        primal, duals = _stacked(periods)
        statuses = {period.status for period in periods}
        return Solution(
            primal=primal,
            duals=duals,
            components=Components(**_rows([period.components for period in periods])),
            status="local" if "local" in statuses else "optimal",
            residual=max(period.residual for period in periods),
            cost=float(costs(feeder, conditions, primal).sum()),
            iterations=sum(period.steps for period in periods),
            method="newton",
        )

    def _period(self, conditions: Conditions, period: int, warm: Solution | None) -> _Period:
        """One period by the first way that ends."""
        quantities = Quantities(self._network, self.feeder, conditions, period)
        try:
            settled = (
                (warm and self._settled(quantities, as_before(quantities, warm, period)))
                or self._flat(quantities)
                or self._cold(quantities, conditions.voll)
            )
        except SingularStep:
            settled = None
        if settled is not None:
            return self._read(quantities, conditions, settled)
        try:
            return _only(direct.clear(self.feeder, period_of(conditions, period)))
        except ClearingFailed:
            near = self._nearest(quantities, conditions, period)
            if near is None:
                raise
            return near

    def _settled(self, quantities: Quantities, guess: Guess) -> Settled | None:
        """Newton from a guess."""
        try:
            return settle(quantities, self._kkt, guess, self._exact)
        except SingularStep:
            return None

    def _flat(self, quantities: Quantities) -> Settled | None:
        """Newton from a guess without lines, if it leads to the global optimum."""
        settled = self._settled(quantities, without_lines(quantities))
        return None if settled is None or _burns(settled) else settled

    def _cold(self, quantities: Quantities, voll: float) -> Settled | None:
        """Newton from where an interior point has come near enough."""
        at = interior.start(quantities, voll)
        blur = FIRST_BLUR * quantities.price_scale
        for _ in range(TRIES):
            if not interior.approach(quantities, self._kkt, at, blur):
                return None
            settled = self._settled(quantities, interior.guess(quantities, at))
            if settled is not None:
                return replace(settled, steps=settled.steps + at.steps)
            blur = NEXT_BLUR * at.blur
        return None

    def _read(self, quantities: Quantities, conditions: Conditions, settled: Settled) -> _Period:
        """Powers, prices and what they are made of."""
        network, curved, q = self._network, quantities.curved, quantities.others
        point, amount, force = settled.point, settled.amount, settled.force
        prices = point.prices
        free_hub = np.flatnonzero(settled.sides[q.hubs] == FREE)
        if len(free_hub):
            prices[0, 0] = q.linear[q.hubs][free_hub[0]]
        currents = settled.currents
        devices = conditions.devices
        gen, load = np.zeros(devices.count), q.still_load.copy()
        gen[q.generators] = amount[q.of_generators]
        load[q.loads] = -amount[q.of_loads]
        shed = amount[curved:][q.shares]
        elastic = q.tie_share * (prices[0] - q.centre)
        held = settled.sides[q.voltages]
        v_force = force[q.voltages]
        rating = np.zeros(network.lines)
        rating[network.rated] = point.rating / network.l_unit
        duals = {
            "price": prices[0],
            "reactive": prices[1],
            "voltage": prices[2],
            "cone": _lines(-currents.price * currents.per_v),
            "v_low": _lines(np.where(held == LOW, -v_force, 0.0)),
            "v_high": _lines(np.where(held == HIGH, v_force, 0.0)),
            "current": _lines(rating),
        }
        primal = {
            "p": _lines(point.flow[0]),
            "q": _lines(point.flow[1]),
            "l": _lines(currents.l),
            "v": point.v,
            "shed": shed,
            "elastic": elastic,
            "gen": gen,
            "load": load,
            "net_import": amount[curved:][q.hubs].sum(),
        }
        return _Period(
            primal=primal,
            duals=duals,
            components=self._price_parts(currents, duals),
            status="local" if _burns(settled) else "optimal",
            residual=settled.residual,
            steps=settled.steps,
        )

    def _price_parts(self, currents: Currents, duals: dict[str, Floats]) -> dict[str, Floats]:
        """What λ is made of: one solution of Jᵀw = c for each kind of limit that binds, the rest is loss."""
        price, network = duals["price"], self._network
        parts = {"voltage": np.zeros(network.buses), "congestion": np.zeros(network.buses)}
        rent = (duals["v_high"] - duals["v_low"])[1:]
        if rent.any() or duals["current"].any():
            self._kkt.factor_jacobian(currents)
        if rent.any():
            causes = np.zeros(3 * network.lines + 1)
            causes[2 * network.lines + 1 :] = rent
            parts["voltage"] = self._kkt.prices_of(causes)
        if duals["current"].any():
            parts["congestion"] = self._kkt.prices_of(network.by_bus(currents.slope * duals["current"][1:]))
        energy = np.full(network.buses, price[0])
        return {"energy": energy, "loss": price - energy - parts["voltage"] - parts["congestion"], **parts}

    def _nearest(self, quantities: Quantities, conditions: Conditions, period: int) -> _Period | None:
        """Where the interior point ends, polished if that gains; None where it is no answer."""
        at = interior.start(quantities, conditions.voll)
        for blur in LAST_BLURS:
            try:
                arrived = interior.approach(quantities, self._kkt, at, blur * quantities.price_scale)
                near = self._read(quantities, conditions, _ended(quantities, at))
                return self._polished(near, conditions, period, at.steps)
            except SingularStep:
                return None
            except ClearingFailed:
                if not arrived:
                    return None
        return None

    def _polished(self, near: _Period, conditions: Conditions, period: int, steps: int) -> _Period:
        """The point polished and measured. Raises ClearingFailed where it is no answer."""
        one, (primal, duals) = period_of(conditions, period), _stacked([near])
        return _only(
            conclude(self.feeder, one, primal, duals, method="newton", iterations=steps, polished=True)
        )


def _ended(quantities: Quantities, at: interior.Interior) -> Settled:
    """Where an interior point has come to: every limit holds as far as its multiplier says."""
    q, found = quantities.others, interior.guess(quantities, at)
    force = (at.dual[1] - at.dual[0])[quantities.curved :]
    limits = slice(q.voltages.start, None)
    found.sides[limits] = np.sign(force[limits])
    np.maximum(at.point.rating, 0.0, out=at.point.rating)
    amount = np.clip(at.amount, quantities.low, quantities.high)
    currents = q.network.currents(at.point)
    return Settled(at.point, currents, amount, found.sides, force, at.blur, at.steps)


def _rows(records: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Periods' rows one below the other, by name."""
    return {name: np.array([record[name] for record in records]) for name in records[0]}


def _stacked(periods: Sequence[_Period]) -> tuple[Primal, Duals]:
    """Schedule and prices of all periods."""
    primal, duals = ([getattr(period, part) for period in periods] for part in ("primal", "duals"))
    return Primal(**_rows(primal)), Duals(**_rows(duals))


def _only(solution: Solution) -> _Period:
    """The rows of a solution of one period, which has no storages."""

    def row(record: Primal | Duals | Components) -> dict[str, Floats]:
        return {field.name: getattr(record, field.name)[0] for field in fields(record)}

    def without_storages(record: Primal | Duals) -> dict[str, Floats]:
        return {name: array for name, array in row(record).items() if name not in STORAGES}

    return _Period(
        without_storages(solution.primal),
        without_storages(solution.duals),
        row(solution.components),
        solution.status,
        solution.residual,
        solution.iterations,
    )


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear once; who clears often keeps a NewtonClearing. Raises PricingError."""
    return NewtonClearing(feeder)(feeder, conditions, warm)


def _fits(warm: Solution, conditions: Conditions) -> bool:
    """The earlier solution is of as many periods, buses and devices."""
    devices = (conditions.periods, conditions.devices.count)
    return warm.primal.gen.shape == devices and warm.primal.p.shape == conditions.fixed_p.shape


def _burns(settled: Settled) -> bool:
    """Some line's σ is above 0: to lose more there would pay, and the point is a stationary one."""
    top = max(1.0, float(np.abs(settled.point.prices[0]).max()))
    return bool((settled.currents.price * settled.currents.per_v < -ROUNDING * top).any())


def _lines(of_lines: Floats) -> Floats:
    """Put the unused entry 0 before a line array."""
    return np.concatenate([[0.0], of_lines])
