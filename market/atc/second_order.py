"""Second-order ATC: buses answer prices with powers and slopes, the utility keeps the curves they show.

A round: prices λ_b go down, P_b(λ_b), dP_b/dλ_b and the range of prices where that slope holds come up
(`curves`), and the utility clears its network with all it knows of every bus's curve, by Newton on the true
power flow. Slopes alone would go round in circles at the corners of the curves; the curve through all
answers does not. Where every λ_b lies on a segment that was answered, the model is exact, and so are λ
and the powers, to the last digits: no weight, no step size, no tolerance decides about them.

Who is indifferent at λ_b follows the utility's power: the answer to its price *and* target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from market.atc.alternating import first_weights
from market.atc.curves import Segment, curves, segment
from market.atc.prosumers import LowerLevel, Response
from market.atc.rounds import Agreement, Link, Round, Utility
from market.atc.upper import single
from market.pricing.conditions import Solution
from market.units import Floats

EXACT_PU = 1e-11
"""Largest |T_b − P_b| at which the model and the answer are one."""
INDIFFERENT_PU = 1e-12
"""A power that jumps by less from one price to the next only rises."""
SAME_PRICE = 1e-12
"""Relative difference of two prices that rounding makes."""
POLISHING_ROUNDS = 3
"""Rounds made at most after both residuals were small."""


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """A Method."""

    name: str
    max_rounds: int = 60

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        network = single(upper, self.name)
        link = Link.between(upper, lower)
        at = link.mean(price)
        rho = first_weights(lower, 1.0)
        segments: list[Segment] = []
        # the first prices are a guess, and nothing is granted yet
        rounds = [Round(np.inf, np.inf)]
        solution: Solution | None = None
        settled = 0
        while True:
            least = lower.at_price(link.spread(at))
            most = _most(lower, link.spread(at), least)
            if solution is not None:
                granted = _granted(solution, len(upper.buses))
                grant = network.grant(solution, granted)
                response = _on_target(link, lower, rho, least, most, granted, at)
                rounds.append(link.measure(grant, response))
                settled += rounds[-1].settled
                exact = rounds[-1].balance_residual <= EXACT_PU
                if (settled and exact) or settled > POLISHING_ROUNDS or len(rounds) >= self.max_rounds:
                    asked = len(rounds) * len(price)
                    # a price down; power, slope and where it begins and ends up
                    return Agreement(grant, response, tuple(rounds), messages=2 * asked, numbers=5 * asked)
            segments.append(segment(link, at, least, most))
            known = curves(segments).devices(network.buses, network.firm)
            conditions = replace(network.conditions, devices=known)
            warm = None if solution is None else _fitted(solution, known.count)
            solution = network.newton.near(network.feeder, conditions, warm)
            at = _snapped(solution.duals.price[0, upper.buses], segments)


def _most(lower: LowerLevel, price: Floats, least: Response) -> Floats:
    """Each prosumer's highest best power, where the lowest was answered: higher for who is indifferent."""
    if (least.high > price).all():
        return least.power
    most = lower.at_price(np.nextafter(price, np.inf)).power
    return np.where(most - least.power > INDIFFERENT_PU, most, least.power)


def _snapped(price: Floats, segments: list[Segment]) -> Floats:
    """Prices to the end of a known segment where they are as good as there: a power may jump just there."""
    for end in (ends for each in segments for ends in (each.start, each.stop)):
        price = np.where(np.abs(price - end) <= SAME_PRICE * np.maximum(np.abs(end), 1.0), end, price)
    return price


def _granted(solution: Solution, buses: int) -> Floats:
    """T by injection bus: what the columns of its curve add up to."""
    primal = solution.primal
    return np.asarray((primal.gen[0] - primal.load[0]).reshape(-1, max(buses, 1)).sum(axis=0)[:buses])


def _on_target(  # noqa: PLR0917 - who answers, and what was said
    link: Link, lower: LowerLevel, rho: Floats, least: Response, most: Floats, granted: Floats, price: Floats
) -> Response:
    """The answer to prices by bus, who is indifferent sharing what the bus was granted in proportion."""
    spare = most - least.power
    if not spare.any():
        return least
    wanted, room = granted - link.total(least.power), link.total(spare)
    share = np.clip(wanted / np.where(room > 0, room, 1.0), 0.0, 1.0)
    power = least.power + link.spread(share) * spare
    return lower.respond(power + link.spread(price) / rho, rho)


def _fitted(solution: Solution, columns: int) -> Solution:
    """The last solution to start from, for other columns: prices tell what each of them gives."""
    none = np.zeros((1, columns))
    return replace(solution, primal=replace(solution.primal, gen=none, load=none))


SECOND_ORDER = SecondOrder("second-order")
