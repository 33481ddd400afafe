"""Two hundred random certificates, each of their numbers told wrong by a millionth."""

from __future__ import annotations

import pytest

from market.pricing.certificate import Accuracy, check, decode
from tests.market.certificate_cases import random_case, unfound, wrong_end

pytestmark = pytest.mark.long

CERTIFICATES = 200
BATCH = 40
SMALLEST = 1e-7
"""Of its unit, as CERTIFICATE.md says."""


@pytest.mark.parametrize("first", range(0, CERTIFICATES, BATCH))
def test_the_checker_finds_a_millionth_more_in_any_one_number(first):
    lies = 0
    for seed in range(first, first + BATCH):
        case = random_case(seed)
        assert check(case.data, case.feeder, case.conditions) == (), f"seed {seed} {case.kind}"
        assert decode(case.data).accuracy is Accuracy.FINISHED, f"seed {seed} {case.kind}"
        told, passed = unfound(case, SMALLEST)
        assert passed == []
        lies += told
        assert all(check(data, case.feeder, case.conditions) for data in wrong_end(case))
    assert lies > 200 * BATCH
