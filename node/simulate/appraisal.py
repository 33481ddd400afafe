"""How good a slot was: welfare against the central optimum, and DLMPs against the central solve."""

from __future__ import annotations

import numpy as np

from market.agents.welfare import Schedule, alone_schedule, contracted_schedule, welfare
from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Clearing, Conditions, Hub, Solution
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from market.units import WH_PER_MWH, Floats, Ints, eur_per_mwh
from node.oracle.signers import Proposal
from node.scenario.world import Outlook, World
from node.simulate.delivery import Delivery
from node.simulate.result import Welfare


class Reference:
    """The central clearing that results are measured against, by the first way that ends.

    Clarabel through cvxpy; through our own assembly, which is quicker for days with storages, since each is
    a problem of its own; and Newton, which solves what is too large or too stiff for Clarabel.
    """

    def __init__(self, feeder: Feeder, *, storages: bool) -> None:
        self._ways: tuple[Clearing, ...] = (
            (direct.clear,) if storages else (SocpClearing(feeder), direct.clear, NewtonClearing(feeder))
        )

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear. Raises ClearingFailed with what each way said, and PricingError for what none may price."""
        failures: list[str] = []
        for clear in self._ways:
            try:
                return clear(feeder, conditions, warm)
            except ClearingFailed as failure:
                failures.append(str(failure))
        raise ClearingFailed("no central clearing to measure against: " + "; ".join(failures))


def price_error(reference: Floats, proposal: Proposal) -> float:
    """Largest relative difference of a proposal's DLMPs from the reference's, periods × buses."""
    central = reference[proposal.period]
    found = proposal.solution.duals.price[proposal.period]
    return float(np.max(np.abs(found - central) / np.maximum(np.abs(central), 1.0)))


def appraise(
    world: World, index: int, reference: Clearing, delivery: Delivery, contracted_wh: Ints
) -> Welfare:
    """Welfare of what was delivered, on actual conditions, and of the contracts, on the opening forecast."""
    contracted = contracted_wh / (world.feeder.base_mw * world.hours * WH_PER_MWH)
    known = world.conditions(index, world.forecast)
    booked = contracted_schedule(known, world.forecast.firm_p[index : index + 1], contracted[None, :])
    actual = world.conditions(index, world.actual)
    delivered = (delivery.gen[None, :], delivery.load[None, :])
    wholesale = np.atleast_1d(eur_per_mwh(world.wholesale[index]))
    return Welfare(
        delivered=_eur(world, actual, delivered),
        central=_eur(world, actual, _central(world, actual, reference)),
        alone=_eur(world, actual, _alone(world, index, actual, world.actual)),
        booked=_eur(world, known, booked),
        booked_central=_eur(world, known, _central(world, known, reference)),
        booked_alone=_eur(world, known, _alone(world, index, known, world.forecast)),
        delivered_wholesale=_eur(world, actual, delivered, Hub(wholesale, wholesale)),
    )


def _eur(world: World, conditions: Conditions, schedule: Schedule, hub: Hub | None = None) -> float:
    return float(welfare(world.feeder, conditions, schedule, hub)[0])


def _central(world: World, conditions: Conditions, reference: Clearing) -> Schedule:
    primal = reference(world.feeder, conditions).primal
    return primal.gen, primal.load


def _alone(world: World, index: int, conditions: Conditions, outlook: Outlook) -> Schedule:
    def price(ueur_per_kwh: int) -> Floats:
        return np.atleast_1d(eur_per_mwh(ueur_per_kwh))

    firm = outlook.firm_p[index : index + 1]
    return alone_schedule(conditions, firm, price(world.tariff.retail), price(world.tariff.fit))
