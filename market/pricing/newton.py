"""The fast clearing: Newton on the exact optimality conditions of a feeder, compiled once and cleared often.

Each period is cleared on its own, after one of three ways, whichever ends first:

1. warm: Newton with an active set from an earlier solution (`activeset`), a few steps where little changed;
2. cold: an interior point on the true power flow (`interior`), until it is clear who is at a bound, and
   Newton from there to machine precision;
3. `direct`: the relaxation by Clarabel, polished.

All of them end at a point that meets the exact first-order conditions; where every σ ≤ 0 that is the
global optimum. Upper voltage limits under reverse flow and negative prices can leave a σ > 0: then the
answer is a local optimum of the true power flow, and its status says so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.activeset import EXACT, FREE, HIGH, LOW, Settled, settle
from market.pricing.admission import ConditionsError, admit, refuse_storages
from market.pricing.conditions import Components, Conditions, Duals, Primal, Solution
from market.pricing.interior import approach, sides, start
from market.pricing.kkt import Currents, Kkt, Network, SingularStep
from market.pricing.optimality import TIE_BREAK_VOLL, costs
from market.pricing.periods import period_of
from market.pricing.point import STORAGES
from market.pricing.quantities import Quantities
from market.units import Floats

FIRST_BLUR = 1e-5
"""μ as a share of the largest price at which Newton first takes over from the interior point."""
NEXT_BLUR = 1e-2
"""Share of the last μ at which it tries again."""
ROUNDING = 1e-11
"""Share of the largest price by which σ may be above 0 and count as 0."""
TRIES = 6
INDIFFERENT = 1e-7
"""Share of the largest price within which a linear device is at its price: it goes on being marginal."""


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
        self._network = Network(feeder)
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

        def stacked(part: str, name: str) -> Floats:
            return np.array([getattr(period, part)[name] for period in periods])

        primal = Primal(**{name: stacked("primal", name) for name in periods[0].primal})
        duals = Duals(**{name: stacked("duals", name) for name in periods[0].duals})
        statuses = {period.status for period in periods}
        return Solution(
            primal=primal,
            duals=duals,
            components=Components(**{name: stacked("components", name) for name in periods[0].components}),
            status=next(status for status in ("infeasible", "local", "optimal") if status in statuses),
            residual=max(period.residual for period in periods),
            cost=float(costs(feeder, conditions, primal).sum()),
            iterations=sum(period.steps for period in periods),
            method="newton",
        )

    def _period(self, conditions: Conditions, period: int, warm: Solution | None) -> _Period:
        """One period by the first way that ends."""
        quantities = Quantities(self._network, self.feeder, conditions, period)
        try:
            settled = None if warm is None else self._warm(quantities, warm, period)
            if settled is None:
                settled = self._cold(quantities, conditions.voll)
        except SingularStep:
            settled = None
        if settled is None:
            return self._direct(conditions, period)
        return self._read(quantities, conditions, settled)

    def _warm(self, quantities: Quantities, warm: Solution, period: int) -> Settled | None:
        """Newton from an earlier solution."""
        q, primal, duals = quantities, warm.primal, warm.duals
        point = self._network.flat(0.0)
        point.flow[:] = primal.p[period, 1:], primal.q[period, 1:]
        point.v[:] = primal.v[period]
        point.prices[:] = duals.price[period], duals.reactive[period], duals.voltage[period]
        point.rating[:] = duals.current[period, 1:][self._network.rated]
        # who trades with the hub goes with its price
        imported = float(primal.net_import[period])
        hub_price = q.import_price if imported > 0 else q.export_price if imported < 0 else point.prices[0, 0]
        point.prices[0] += hub_price - point.prices[0, 0]
        amount = np.zeros(q.count)
        imports = np.clip(imported, q.low[q.hubs], q.high[q.hubs])
        gen, load = primal.gen[period][q.generators], primal.load[period][q.loads]
        amount[q.units] = np.concatenate([gen, -load, imports])
        amount[q.shares] = primal.shed[period]
        worth = q.price(point) - q.linear
        np.divide(worth, q.curve, out=amount, where=q.curve > 0)
        near = INDIFFERENT * max(1.0, float(np.abs(point.prices[0]).max())) * q.scale
        low = np.where(q.curve > 0, amount <= q.low, worth < -near)
        high = np.where(q.curve > 0, amount >= q.high, worth > near)
        low[q.voltages], high[q.voltages] = duals.v_low[period, 1:] > 0, duals.v_high[period, 1:] > 0
        low[q.currents], high[q.currents] = False, point.rating > 0
        held = np.where(low, LOW, np.where(high, HIGH, FREE)).astype(np.int8)
        return settle(q, self._kkt, point, np.clip(amount, q.low, q.high), held, self._exact)

    def _cold(self, quantities: Quantities, voll: float) -> Settled | None:
        """Newton from where an interior point has come near enough."""
        at = start(quantities, voll)
        blur = FIRST_BLUR * max(1.0, abs(quantities.import_price))
        for _ in range(TRIES):
            if not approach(quantities, self._kkt, at, blur):
                return None
            settled = settle(quantities, self._kkt, at.point, at.amount, sides(quantities, at), self._exact)
            if settled is not None:
                return replace(settled, steps=settled.steps + at.steps)
            blur = NEXT_BLUR * at.blur
        return None

    def _read(self, quantities: Quantities, conditions: Conditions, settled: Settled) -> _Period:
        """Powers, prices and what they are made of."""
        q, network = quantities, self._network
        point, amount, force = settled.point, settled.amount, settled.force
        prices = point.prices
        free_hub = np.flatnonzero(settled.sides[q.hubs] == FREE)
        if len(free_hub):
            prices[0, 0] = q.linear[q.hubs][free_hub[0]]
        currents = settled.currents
        devices = conditions.devices
        gen, load = np.zeros(devices.count), q.still_load.copy()
        units = amount[q.units]
        gen[q.generators] = units[: len(q.generators)]
        load[q.loads] = -units[len(q.generators) : q.hubs.start]
        shed = amount[q.shares]
        elastic = q.tie_share * (prices[0] - q.centre)
        held = settled.sides[q.voltages]
        v_force = force[q.voltages]
        rating = np.zeros(network.lines)
        rating[network.rated] = point.rating
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
            "net_import": amount[q.hubs].sum(),
        }
        top = max(1.0, float(np.abs(prices[0]).max()))
        unserved = np.abs(elastic).sum() > TIE_BREAK_VOLL * conditions.voll * q.tie_share * network.buses
        burns = bool((duals["cone"] > ROUNDING * top).any())
        return _Period(
            primal=primal,
            duals=duals,
            components=self._components(currents, duals),
            status="infeasible" if unserved else "local" if burns else "optimal",
            residual=settled.residual,
            steps=settled.steps,
        )

    def _components(self, currents: Currents, duals: dict[str, Floats]) -> dict[str, Floats]:
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

    def _direct(self, conditions: Conditions, period: int) -> _Period:
        """The relaxation by Clarabel, polished."""
        solution = direct.clear(self.feeder, period_of(conditions, period))

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


def _lines(of_lines: Floats) -> Floats:
    """Put the unused entry 0 before a line array."""
    return np.concatenate([[0.0], of_lines])
