"""The fast clearing: Newton on the exact optimality conditions of a feeder, compiled once and cleared often.

Each period is cleared on its own, by what ends first at the global optimum: Newton from an earlier solution,
from one bus without lines, or from an interior point (`single`). What none of them solves `direct` does; and
where that is no answer either it is as near as the interior point gets, polished: lines that carry next to
nothing, one like the other, leave no digits to tell which of them are full.

Upper voltage limits under reverse flow and negative prices can leave a σ > 0: then there may be several
stationary points of the true power flow, of which `local` says which one is published, whatever was solved
before. Who only wants one of them, near an earlier one, asks for `near`.
"""

from __future__ import annotations

from dataclasses import fields

from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.activeset import EXACT, Settled
from market.pricing.admission import ClearingFailed, ConditionsError, admit, refuse_storages
from market.pricing.conclude import conclude
from market.pricing.conditions import Components, Conditions, Duals, Primal, Solution
from market.pricing.optimality import costs
from market.pricing.periods import period_of
from market.pricing.point import STORAGES
from market.pricing.quantities import Quantities
from market.pricing.single import Answer, SinglePeriod, burns, columns_of, rows_of
from market.units import Floats


class NewtonClearing:
    """The fast clearing of one feeder; keep it to clear often.

    `exact`: residual, in pu and shares of the largest price, at which steps end; with 0 they go on as long
    as each makes it less.
    """

    def __init__(self, feeder: Feeder, exact: float = EXACT) -> None:
        self.feeder = feeder
        self.handed_over = 0
        """Periods of the last call that `direct` solved: Newton ended nowhere, or at no global optimum."""
        self._single = SinglePeriod(feeder, exact)

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period, from the same period of `warm` where its shape fits. Raises PricingError.

        `warm` saves steps and changes no answer but in its last digits.
        """
        return self._clear(feeder, conditions, warm, near=False)

    def near(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """As a call, but where the relaxation is not exact the first stationary point that is found will do.

        For rounds and derivatives, which follow one point: from `warm` it is the one next to it.
        """
        return self._clear(feeder, conditions, warm, near=True)

    def _clear(
        self, feeder: Feeder, conditions: Conditions, warm: Solution | None, *, near: bool
    ) -> Solution:
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ConditionsError(f"compiled for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        refuse_storages(conditions, "newton")
        if warm is not None and not _fits(warm, conditions):
            warm = None
        self.handed_over = 0
        periods = [self._period(conditions, t, warm, near=near) for t in range(conditions.periods)]

        primal, duals = rows_of(periods)
        statuses = {period.status for period in periods}
        return Solution(
            primal=primal,
            duals=duals,
            components=Components(**columns_of([period.components for period in periods])),
            status="local" if "local" in statuses else "optimal",
            residual=max(period.residual for period in periods),
            cost=float(costs(feeder, conditions, primal).sum()),
            iterations=sum(period.steps for period in periods),
            method="newton",
        )

    def _period(self, conditions: Conditions, period: int, warm: Solution | None, *, near: bool) -> Answer:
        """One period: the global optimum where Newton finds it, else what `near` or `direct` says."""
        quantities = self._single.quantities(conditions, period)
        found = self._found(quantities, conditions, period, warm, near=near)
        if found is not None and (near or not burns(found)):
            return self._single.read(quantities, conditions, found)
        self.handed_over += 1
        try:
            return _only(direct.clear(self.feeder, period_of(conditions, period)))
        except ClearingFailed:
            answer = self._ended(quantities, conditions, period)
            if answer is None:
                raise
            return answer

    def _found(
        self,
        quantities: Quantities,
        conditions: Conditions,
        period: int,
        warm: Solution | None,
        *,
        near: bool,
    ) -> Settled | None:
        """By the first way that ends at the global optimum, or for `near` at any point."""
        if warm is not None:
            settled = self._single.from_before(quantities, warm, period)
            if settled is not None and (near or not burns(settled)):
                return settled
        return self._single.from_one_bus(quantities) or self._single.from_nothing(quantities, conditions.voll)

    def _ended(self, quantities: Quantities, conditions: Conditions, period: int) -> Answer | None:
        """Where the interior point ends, polished; None where it is no answer."""
        one = period_of(conditions, period)
        for settled in self._single.ends(quantities, conditions.voll):
            primal, duals = rows_of([self._single.read(quantities, conditions, settled)])
            try:
                return _only(
                    conclude(
                        self.feeder,
                        one,
                        primal,
                        duals,
                        method="newton",
                        iterations=settled.steps,
                        polished=True,
                    )
                )
            except ClearingFailed:
                continue
        return None


def _only(solution: Solution) -> Answer:
    """The rows of a solution of one period, which has no storages."""

    def row(record: Primal | Duals | Components) -> dict[str, Floats]:
        return {field.name: getattr(record, field.name)[0] for field in fields(record)}

    def without_storages(record: Primal | Duals) -> dict[str, Floats]:
        return {name: array for name, array in row(record).items() if name not in STORAGES}

    return Answer(
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
