"""Hundreds of random certificates, each of their numbers told wrong by a millionth."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from market.pricing.certificate import Accuracy, check, decode
from tests.market.certificate_cases import Case, elsewhere_case, random_case, unfound, wrong_end

pytestmark = pytest.mark.long

BATCH = 40
CASES = {f"ieee33-{first}": (random_case, range(first, first + BATCH)) for first in range(0, 200, BATCH)}
CASES |= {
    f"elsewhere-{first}": (elsewhere_case, range(first, first + BATCH)) for first in range(0, 120, BATCH)
}
SMALLEST = 1e-7
"""Of its unit, as CERTIFICATE.md says."""


@pytest.mark.parametrize(("draw", "seeds"), CASES.values(), ids=CASES)
def test_the_checker_finds_a_millionth_more_in_any_one_number(
    record_property, draw: Callable[[int], Case], seeds: range
):
    lies = 0
    for seed in seeds:
        case = draw(seed)
        assert check(case.data, case.feeder, case.conditions) == (), f"seed {seed} {case.kind}"
        assert decode(case.data).accuracy is Accuracy.FINISHED, f"seed {seed} {case.kind}"
        told, passed = unfound(case, SMALLEST)
        assert passed == []
        lies += told
        assert all(check(data, case.feeder, case.conditions) for data in wrong_end(case))
    record_property("certificates", len(seeds))
    record_property("lies told and found", lies)
    assert lies > 100 * BATCH
