"""Newton on a single period: three ways to a point that meets the exact first-order conditions.

1. An active set (`activeset`) from an earlier solution (`guess`);
2. the same from what everyone would do at one bus, without lines: in about four steps at the optimum where no
   limit of the network holds;
3. an interior point on the true power flow (`interior`), until it is clear who is at a bound, and an active
   set from there to machine precision.

Where every σ ≤ 0 the point is the global optimum; else it is a stationary point of the true power flow, and
nothing is said of the second order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing import interior
from market.pricing.activeset import EXACT, Settled, settle
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.guess import Guess, as_before, without_lines
from market.pricing.kkt import Currents, FlowEquations, Kkt, SingularStep
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
class Answer:
    """One period's answer: rows of Primal, Duals and Components; its status, residual and steps."""

    primal: dict[str, Floats]
    duals: dict[str, Floats]
    components: dict[str, Floats]
    status: str
    residual: float
    steps: int


class SinglePeriod:
    """Newton's ways to a period's answer on one feeder, compiled once.

    `exact`: residual, in pu and shares of the largest price, at which steps end; with 0 they go on as long
    as each makes it less.
    """

    def __init__(self, feeder: Feeder, exact: float = EXACT) -> None:
        self.feeder = feeder
        self._exact = exact
        self._network = FlowEquations(feeder)
        self._kkt = Kkt(self._network)

    def quantities(self, conditions: Conditions, period: int = 0) -> Quantities:
        """Everything of a period that has bounds."""
        return Quantities(self._network, self.feeder, conditions, period)

    def from_before(self, quantities: Quantities, earlier: Solution, period: int) -> Settled | None:
        """From an earlier solution's period; None where that leads nowhere."""
        return self._settled(quantities, as_before(quantities, earlier, period))

    def from_one_bus(self, quantities: Quantities) -> Settled | None:
        """From what everyone would do without lines; None where that does not lead to the global optimum."""
        settled = self._settled(quantities, without_lines(quantities))
        return None if settled is None or burns(settled) else settled

    def from_nothing(self, quantities: Quantities, voll: float) -> Settled | None:
        """From where an interior point has come near enough, which starts with nothing flowing."""
        at = interior.start(quantities, voll)
        blur = FIRST_BLUR * quantities.price_scale
        for _ in range(TRIES):
            try:
                arrived = interior.approach(quantities, self._kkt, at, blur)
            except SingularStep:
                return None
            if not arrived:
                return None
            settled = self._settled(quantities, interior.guess(quantities, at))
            if settled is not None:
                return replace(settled, steps=settled.steps + at.steps)
            blur = NEXT_BLUR * at.blur
        return None

    def ends(self, quantities: Quantities, voll: float) -> Iterator[Settled]:
        """Where the interior point alone ends, at one μ after the other as far as it gets there."""
        at = interior.start(quantities, voll)
        for blur in LAST_BLURS:
            try:
                arrived = interior.approach(quantities, self._kkt, at, blur * quantities.price_scale)
            except SingularStep:
                return
            yield _ended(quantities, at)
            if not arrived:
                return

    def _settled(self, quantities: Quantities, guess: Guess) -> Settled | None:
        """Newton from a guess."""
        try:
            return settle(quantities, self._kkt, guess, self._exact)
        except SingularStep:
            return None

    def read(self, quantities: Quantities, conditions: Conditions, settled: Settled) -> Answer:
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
        return Answer(
            primal=primal,
            duals=duals,
            components=self._price_parts(currents, duals),
            status="local" if burns(settled) else "optimal",
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


def burns(settled: Settled) -> bool:
    """Some line's σ is above 0: to lose more there would pay, and the point is a stationary one."""
    top = max(1.0, float(np.abs(settled.point.prices[0]).max()))
    return bool((settled.currents.price * settled.currents.per_v < -ROUNDING * top).any())


def _lines(of_lines: Floats) -> Floats:
    """Put the unused entry 0 before a line array."""
    return np.concatenate([[0.0], of_lines])


def columns_of(records: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Periods' rows one below the other, by name."""
    return {name: np.array([record[name] for record in records]) for name in records[0]}


def rows_of(periods: Sequence[Answer]) -> tuple[Primal, Duals]:
    """Schedule and prices of answers, a period each."""
    primal, duals = ([getattr(period, part) for period in periods] for part in ("primal", "duals"))
    return Primal(**columns_of(primal)), Duals(**columns_of(duals))
