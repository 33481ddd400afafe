from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.feeder import load
from market.pricing import newton
from market.pricing.certificate import Accuracy, Checker, Claim, certificate, check, decode
from market.pricing.conditions import Conditions, Devices, Hub
from market.pricing.optimality import RESPONSE_TOLERANCE
from market.pricing.rules import tie_break_centre, tie_break_share
from tests.market.certificate_cases import HEADER_BYTES, KINDS, names, random_case, unfound, wrong_end

SEEDS = range(3 * len(KINDS))
SMALLEST = 1e-7
"""Of its unit, as CERTIFICATE.md says: below, a millionth of a value is lost in the last digits of others."""


@pytest.fixture(scope="module")
def cases():
    return [random_case(seed) for seed in SEEDS]


def test_honest_certificates_are_accepted_as_finished(cases):
    for case in cases:
        assert check(case.data, case.feeder, case.conditions) == (), f"seed {case.seed} {case.kind}"
        assert decode(case.data).accuracy is Accuracy.FINISHED, f"seed {case.seed} {case.kind}"


@pytest.mark.parametrize("seed", [63, 365, 557, 610])
def test_newtons_residual_at_its_end_is_a_finished_ones(seed):
    # draws on which prices of voltage are as far off as Newton lets them
    case = random_case(seed)
    assert case.solution.residual > 5e-15
    assert decode(case.data).accuracy is Accuracy.FINISHED
    assert check(case.data, case.feeder, case.conditions) == ()


def test_every_kind_is_what_it_is_called(cases):
    def some(condition):
        return {case.kind for case in cases if condition(case.solution)}

    assert some(lambda one: one.primal.net_import[0] == 0.0) >= {"island"}
    assert some(lambda one: one.primal.shed.max() > 0.01) >= {"shedding"}
    assert some(lambda one: one.status == "local") >= {"negative prices"}
    assert some(lambda one: one.duals.price.min() < 0) >= {"negative prices"}
    for limit in ("v_low", "v_high", "current"):
        assert some(lambda one, limit=limit: getattr(one.duals, limit).max() > 1e-3) >= {"limits"}, limit
    assert {case.solution.status for case in cases} == {"optimal", "local"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_millionth_more_in_any_one_number_is_found(cases, seed):
    told, passed = unfound(cases[seed], SMALLEST)
    assert passed == []
    # nearly every number that is not 0 is large enough to be told wrong
    values = np.frombuffer(cases[seed].data, dtype="<f8", offset=HEADER_BYTES)
    assert told > 0.9 * np.count_nonzero(np.abs(values) > 1e-30)


def test_every_array_is_lied_about(cases):
    told = set()
    for case in cases:
        values = np.frombuffer(case.data, dtype="<f8", offset=HEADER_BYTES)
        told |= {name for name, value in zip(names(case), values, strict=True) if value}
    assert told == {name for case in cases for name in names(case)}


def test_a_number_that_should_be_nothing_is_found(cases):
    # 0 told as a millionth of a unit: of limits' multipliers, of what is not shed, of lines that are none
    for case in cases[: len(KINDS)]:
        checker, values = Checker(case.feeder, case.conditions), np.frombuffer(case.data, "<f8", offset=56)
        for index in np.flatnonzero(values == 0.0):
            wrong = values.copy()
            wrong[index] = 1e-6
            assert checker(case.data[:HEADER_BYTES] + wrong.tobytes()), names(case)[index]


def test_the_wrong_end_of_the_hub_rule_is_found(cases):
    told = 0
    for case in cases:
        for data in wrong_end(case):
            told += 1
            found = {finding.check for finding in check(data, case.feeder, case.conditions)}
            # where the feeder balances itself λ_0 may be anywhere between, but not with these prices
            assert found & {"hub-rule", "tie-break", "gap"}, f"seed {case.seed} {case.kind}"
            if np.abs(case.solution.primal.net_import).min() > 1e-3:
                assert "hub-rule" in found
    assert told == 2 * len(cases)


def small_roofs(count: int = 60_000) -> Conditions:
    """Sun at 30 €/MWh between export at 70 and import at 160, each roof below what a response is held to."""
    feeder, one = load("ieee33"), np.ones((1, count))
    roofs = Devices(np.arange(count) % 32 + 1, 30 * one, 0 * one, 0.9 / count * one, *[0 * one] * 4)
    assert roofs.gen_max.max() < RESPONSE_TOLERANCE
    firm = Conditions.firm(feeder, 0.3, Hub(np.array([160.0]), np.array([70.0])), 1.0)
    return replace(firm, devices=roofs)


@pytest.mark.parametrize("status", ["optimal", "local"])
def test_many_wrong_answers_too_small_to_see_one_by_one_are_found(status):
    feeder, conditions = load("ieee33"), small_roofs()
    honest = newton.clear(feeder, conditions)
    assert (honest.duals.price[0, 0], honest.primal.net_import[0] < 0) == (70.0, True)
    assert check(certificate(honest, feeder, conditions), feeder, conditions) == ()
    # all roofs idle, as if they had no sun: the feeder imports, and the hub's price is the other end's
    dear = replace(conditions.devices, gen_cost=np.full_like(conditions.devices.gen_cost, 500.0))
    idle = replace(newton.clear(feeder, replace(conditions, devices=dear)), status=status)
    assert (idle.duals.price[0, 0], idle.primal.gen.max()) == (160.0, 0.0)
    data = certificate(idle, feeder, conditions)
    assert decode(data).accuracy is Accuracy.STOPPED
    found = {finding.check for finding in check(data, feeder, conditions)}
    assert found == {"regret", "gap"}, "the problem is convex there, so that a local claim excuses nothing"


def test_who_claims_less_is_held_to_less_and_says_so(cases):
    case = cases[0]
    price = case.solution.duals.price.copy()
    price[0, 5] *= 1 + 1e-6
    lie = replace(case.solution, duals=replace(case.solution.duals, price=price))
    data = certificate(lie, case.feeder, case.conditions)
    # the writer claims no more than holds
    assert decode(data).accuracy is Accuracy.STOPPED
    assert check(data, case.feeder, case.conditions) == ()
    boast = data[:7] + bytes([Accuracy.FINISHED]) + data[8:]
    assert check(boast, case.feeder, case.conditions)
    # a thousandth is found of either
    lie = replace(case.solution, duals=replace(case.solution.duals, price=1.001 * case.solution.duals.price))
    assert check(certificate(lie, case.feeder, case.conditions), case.feeder, case.conditions)


def test_a_local_optimum_claimed_global_is_found(cases):
    local = [case for case in cases if case.solution.status == "local"]
    assert local
    for case in local:
        assert decode(case.data).claim is Claim.LOCAL
        boast = case.data[:6] + bytes([Claim.GLOBAL]) + case.data[7:]
        found = {finding.check for finding in check(boast, case.feeder, case.conditions)}
        assert "sign-cone" in found
        assert found <= {"sign-cone", "gap"}


@pytest.mark.parametrize("hub_price", [70.0, 100.0, 130.0, 150.0])
@pytest.mark.parametrize("status", ["optimal", "local"])
def test_another_price_of_an_island_is_found_whatever_is_claimed(hub_price: float, status: str):
    """A feeder that balances itself has one price by the tie-break alone, which takes next to no energy."""
    feeder, nothing = load("ieee33"), np.zeros((1, 1))
    alone = Conditions.firm(feeder, 0.3, Hub(np.array([160.0]), np.array([70.0])), 1.0)
    rigid = nothing + newton.clear(feeder, alone).primal.net_import[0]
    sun = Devices(np.array([0]), nothing + 10, nothing, rigid, nothing, nothing, nothing, nothing)
    conditions = replace(alone, devices=sun)
    honest = newton.clear(feeder, conditions)
    assert honest.primal.net_import[0] == 0.0
    duals, share = honest.duals, hub_price / honest.duals.price[0, 0]
    assert share < 0.95
    scaled = {name: share * getattr(duals, name) for name in ("price", "reactive", "voltage", "cone")}
    moved = replace(duals, **scaled)
    elastic = tie_break_share(feeder) * (moved.price - tie_break_centre(conditions)[:, None])
    lie = replace(honest, duals=moved, primal=replace(honest.primal, elastic=elastic), status=status)
    assert check(certificate(lie, feeder, conditions), feeder, conditions)
