from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.feeder import load
from market.feeder.model import FeederError
from market.findings import Finding
from market.pricing import direct
from market.pricing.certificate import (
    Claim,
    certificate,
    certificate_hash,
    check,
    decode,
    decode_inputs,
    encode_inputs,
    gap,
    input_hash,
    prices,
)
from market.pricing.conclude import conclude
from market.pricing.conditions import Solution
from market.pricing.optimality import PRICE_TOLERANCE, measure
from market.pricing.quantise import quantise
from market.pricing.socp import SocpClearing
from market.pricing.wire import FormatError
from tests.market.pricing_cases import CASES, bare, case, draw

PAGE = Path(__file__).parents[2] / "market" / "pricing" / "CERTIFICATE.md"


@pytest.fixture(scope="module")
def cleared() -> dict[str, Solution]:
    return {name: direct.clear(*case(name)) for name in CASES}


def checks(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.check for finding in findings}


# honest certificates


@pytest.mark.parametrize("name", CASES)
def test_a_right_clearing_is_accepted(cleared, name):
    feeder, conditions = case(name)
    data = certificate(cleared[name], feeder, conditions)
    assert check(data, feeder, conditions) == ()
    assert gap(decode(data), feeder, conditions).max() < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_an_interior_points_answer_is_accepted_without_polish(name):
    feeder, conditions = case(name)
    for solve in (SocpClearing(feeder).solve, direct.solve):
        primal, duals, rounds = solve(feeder, conditions)
        raw = conclude(feeder, conditions, primal, duals, method="raw", iterations=rounds, polished=False)
        assert check(certificate(raw, feeder, conditions), feeder, conditions) == ()


def test_random_clearings_are_accepted():
    for seed in range(100, 130):
        feeder, conditions = draw(seed=seed, scale=0.1 * (seed - 99), rated=bool(seed % 2))
        solution = direct.clear(feeder, conditions)
        assert check(certificate(solution, feeder, conditions), feeder, conditions) == (), f"seed {seed}"


def test_prices_met_to_the_stop_of_atc_are_accepted(cleared):
    # ATC ends with marginal costs within 1e-5 of the price and balances within 1e-6 pu
    feeder, conditions = case("plenty")
    solution = cleared["plenty"]
    devices = conditions.devices
    gen = solution.primal.gen.copy()
    inside = (gen > 1e-3) & (gen < devices.gen_max - 1e-3) & (devices.gen_slope > 0)
    column = int(np.flatnonzero(inside[0])[0])
    price = solution.duals.price[0, devices.bus[column]]
    gen[0, column] += min(1e-5 * price / devices.gen_slope[0, column], 1e-6)
    loose = replace(solution, primal=replace(solution.primal, gen=gen))
    assert check(certificate(loose, feeder, conditions), feeder, conditions) == ()


# lies


LIES = [
    *(("primal", name) for name in ("p", "q", "l", "v", "shed", "gen", "load", "net_import")),
    *(("duals", name) for name in ("price", "reactive", "voltage", "cone", "v_low", "v_high", "current")),
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("group", "array"), LIES)
def test_one_value_wrong_by_a_thousandth_is_found(cleared, name, group, array):
    feeder, conditions = case(name)
    solution = cleared[name]
    values = getattr(getattr(solution, group), array)
    if values.size == 0:
        assert conditions.devices.count == 0
        return
    at = np.unravel_index(np.abs(values).argmax(), values.shape)
    # below this a thousandth of it is less than the unit in which prices are posted, or a watt
    smallest = 2.0 if group == "duals" else 5e-3
    if abs(values[at]) < smallest:
        assert np.abs(values).max() < smallest
        return
    wrong = values.copy()
    wrong[at] *= 1.001
    lie = replace(solution, **{group: replace(getattr(solution, group), **{array: wrong})})
    assert check(certificate(lie, feeder, conditions), feeder, conditions)


def test_every_lie_was_told_somewhere(cleared):
    told = {
        (group, array)
        for group, array in LIES
        for solution in cleared.values()
        if np.abs(getattr(getattr(solution, group), array)).max(initial=0.0)
        >= (2.0 if group == "duals" else 5e-3)
    }
    assert told == set(LIES)


def test_a_wrong_price_is_found_at_its_bus(cleared):
    feeder, conditions = case("plenty")
    solution = cleared["plenty"]
    price = solution.duals.price.copy()
    price[0, 20] += 0.05
    lie = replace(solution, duals=replace(solution.duals, price=price))
    findings = check(certificate(lie, feeder, conditions), feeder, conditions)
    tie = next(finding for finding in findings if finding.check == "tie-break")
    assert tie.where == "period 0 bus 21"
    # the tie-break's marginal benefit over the price, in pu
    assert float(tie.expected) - float(tie.found) == pytest.approx(0.05 / price[0, 20], rel=1e-5)
    assert "stationarity-p" in checks(findings)
    assert str(tie).startswith("error[tie-break] period 0 bus 21\n  expected ")


@pytest.mark.parametrize(("name", "wrong_end"), [("no devices", 40.0), ("export", 120.0)])
def test_wrong_end_of_the_hub_rule_is_found(cleared, name, wrong_end):
    feeder, conditions = case(name)
    solution = cleared[name]
    # every price moved along, so that differences between buses stay as they were
    moved = solution.duals.price + (wrong_end - solution.duals.price[:, :1])
    lie = replace(solution, duals=replace(solution.duals, price=moved))
    assert "hub-rule" in checks(check(certificate(lie, feeder, conditions), feeder, conditions))


def test_balanced_hub_may_be_anywhere_between_but_not_beyond(cleared):
    feeder, conditions = case("balanced")
    solution = cleared["balanced"]
    for hub_price, holds in ((40.0, True), (120.0, True), (120.1, False), (39.9, False)):
        price = solution.duals.price.copy()
        price[0, 0] = hub_price
        lie = replace(solution, duals=replace(solution.duals, price=price))
        found = checks(check(certificate(lie, feeder, conditions), feeder, conditions))
        # the price itself is wrong in all four, the hub rule in two
        assert "stationarity-p" in found
        assert ("hub-rule" in found) is not holds


def test_a_schedule_that_is_feasible_but_not_best_is_found(cleared):
    feeder, conditions = case("plenty")
    idle = replace(conditions, devices=replace(conditions.devices, gen_max=0 * conditions.devices.gen_max))
    other = direct.clear(feeder, idle)
    # nothing is out of balance and prices fit together, yet the devices' answers are not theirs
    found = checks(check(certificate(other, feeder, conditions), feeder, conditions))
    assert found == {"response-generation", "regret", "gap"}


def test_nothing_hides_in_entries_without_a_line(cleared):
    feeder, conditions = case("plenty")
    cone = cleared["plenty"].duals.cone.copy()
    cone[0, 0] = 1e-300
    lie = replace(cleared["plenty"], duals=replace(cleared["plenty"].duals, cone=cone))
    assert checks(check(certificate(lie, feeder, conditions), feeder, conditions)) == {"unused-cone"}


def reverse_flow():
    feeder, conditions = draw(seed=4, scale=0.2, generation=1.0, v_max=1.01, linear=0.3)
    devices = conditions.devices
    more = replace(devices, gen_cost=0.2 * devices.gen_cost, gen_max=5 * devices.gen_max)
    return feeder, replace(conditions, devices=more)


def test_a_local_optimum_is_claimed_as_one_and_as_no_more():
    feeder, conditions = reverse_flow()
    solution = direct.clear(feeder, conditions)
    assert solution.status == "local"
    data = certificate(solution, feeder, conditions)
    assert decode(data).claim is Claim.LOCAL
    assert check(data, feeder, conditions) == ()
    # whoever takes it for more: the writer measures, and so does the checker
    assert certificate(replace(solution, status="optimal"), feeder, conditions) == data
    boast = data[:6] + bytes([Claim.GLOBAL]) + data[7:]
    assert "sign-cone" in checks(check(boast, feeder, conditions))
    # a local claim excuses nothing else
    price = solution.duals.price.copy()
    price[0, 20] *= 1.001
    lie = replace(solution, duals=replace(solution.duals, price=price))
    assert "stationarity-p" in checks(check(certificate(lie, feeder, conditions), feeder, conditions))


def test_a_relaxed_answer_that_burns_power_has_no_certificate():
    feeder, conditions = reverse_flow()
    primal, duals, rounds = SocpClearing(feeder).solve(feeder, conditions)
    relaxed = conclude(feeder, conditions, primal, duals, method="relaxed", iterations=rounds)
    assert relaxed.status == "local"
    assert "cone" in checks(check(certificate(relaxed, feeder, conditions), feeder, conditions))


# inputs and bytes


def test_other_inputs_are_another_certificate(cleared):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    voll = replace(conditions, voll=2_999.0)
    (finding,) = check(data, feeder, voll)
    assert (finding.check, finding.expected) == ("input-hash", input_hash(feeder, voll).hex())
    (finding,) = check(data, load("ieee33", 0.94, 1.05), conditions)
    assert finding.check == "input-hash"


@pytest.mark.parametrize("name", CASES)
def test_inputs_survive_the_way_to_bytes_and_back(name):
    feeder, conditions = case(name)
    data = encode_inputs(feeder, conditions)
    again_feeder, again = decode_inputs(data)
    assert encode_inputs(again_feeder, again) == data
    assert again_feeder.hash == feeder.hash
    assert input_hash(feeder, conditions) == sha256(data).digest()
    np.testing.assert_array_equal(again.devices.load_slope, conditions.devices.load_slope)


def test_certificate_survives_the_way_to_bytes_and_back(cleared):
    feeder, conditions = case("four periods")
    solution = cleared["four periods"]
    data = certificate(solution, feeder, conditions)
    certified = decode(data)
    for group in ("primal", "duals"):
        for field in fields(getattr(solution, group)):
            written, read = (getattr(getattr(each, group), field.name) for each in (solution, certified))
            np.testing.assert_array_equal(written, read)
    assert certificate_hash(data) == sha256(data).digest()
    for t in range(4):
        assert prices(data, feeder, t, hours=1.0) == quantise(solution, feeder, t, hours=1.0)


def test_zero_is_written_one_way():
    feeder, conditions = case("plenty")
    negative = replace(conditions, fixed_q=conditions.fixed_q + np.where(conditions.fixed_q == 0, -0.0, 0.0))
    negative.fixed_q[negative.fixed_q == 0] = -0.0
    encoded = encode_inputs(feeder, conditions)
    assert encode_inputs(feeder, negative) == encoded
    number = next(at for at in range(len(encoded) - 8, 0, -8) if encoded[at : at + 8] == bytes(8))
    other_way = bytearray(encoded)
    other_way[number + 7] = 0x80
    with pytest.raises(FormatError, match="-0"):
        decode_inputs(bytes(other_way))


def test_not_a_number_is_never_written(cleared):
    feeder, conditions = case("plenty")
    price = cleared["plenty"].duals.price.copy()
    price[0, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        certificate(
            replace(cleared["plenty"], duals=replace(cleared["plenty"].duals, price=price)),
            feeder,
            conditions,
        )


def test_broken_bytes_are_a_finding_not_a_crash(cleared):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    infinite = bytearray(data)
    infinite[56:64] = np.array([np.inf]).tobytes()
    nan = bytearray(data)
    nan[216:224] = np.array([np.nan]).tobytes()
    huge = data[:40] + b"\xff" * 16 + data[56:]
    for broken, word in (
        (b"", "ends at byte 0"),
        (data[:-1], "more expected"),
        (data + b"\0", "1 bytes too many"),
        (b"NOPE" + data[4:], "does not start"),
        (data[:4] + b"\x01\x00" + data[6:], "format version 1, known: 2"),
        (data[:6] + b"\x02" + data[7:], "claim 2, known: 0, 1"),
        (data[:7] + b"\x02" + data[8:], "accuracy 2, known: 0, 1"),
        (bytes(infinite), "NaN or infinity"),
        (bytes(nan), "NaN or infinity"),
        (huge, "more expected"),
    ):
        (finding,) = check(broken, feeder, conditions)
        assert finding.check == "certificate-format"
        assert word in finding.found


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.data())
def test_any_truncation_or_flipped_byte_of_inputs_is_refused_or_changes_the_hash(data):
    feeder, conditions = case("plenty")
    inputs = encode_inputs(feeder, conditions)
    at = data.draw(st.integers(0, len(inputs) - 1))
    with pytest.raises((FormatError, ValueError)):
        decode_inputs(inputs[:at])
    flipped = bytearray(inputs)
    flipped[at] ^= data.draw(st.integers(1, 255))
    assert sha256(bytes(flipped)).digest() != input_hash(feeder, conditions)
    try:
        again = decode_inputs(bytes(flipped))
    except ValueError:
        return
    # what still reads is other inputs, or a zero written the other way
    assert encode_inputs(*again) in (bytes(flipped), inputs)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_whatever_bytes_come_they_are_read_or_refused_by_name(data):
    feeder, conditions = case("rated")
    known = data.draw(st.sampled_from([KNOWN_CERTIFICATE, KNOWN_INPUTS]))
    broken = bytearray(known)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, min(len(known), 400) - 1))
        broken[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    start = data.draw(st.sampled_from([b"", known[:4], known[:6], known[:60], bytes(broken)]))
    anything = start + data.draw(st.binary(max_size=200))
    for read in (decode, decode_inputs):
        try:
            read(anything)
        except (FormatError, FeederError) as error:
            assert str(error)
    assert isinstance(check(anything, feeder, conditions), tuple)


def made(name: str) -> tuple[bytes, bytes]:
    feeder, conditions = case(name)
    return certificate(direct.clear(feeder, conditions), feeder, conditions), encode_inputs(
        feeder, conditions
    )


KNOWN_CERTIFICATE, KNOWN_INPUTS = made("no devices")


def test_numbers_beyond_all_bounds_are_found_not_computed_with(cleared):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    for huge, word in ((1e51, "beyond ±1e+50"), (np.inf, "NaN or infinity"), (np.nan, "NaN or infinity")):
        (finding,) = check(data[:-8] + np.array([huge]).tobytes(), feeder, conditions)
        assert finding.check == "certificate-format"
        assert word in finding.found
    # as large as may be written, everywhere: found, without a warning from the arithmetic
    all_huge = data[:56] + np.full((len(data) - 56) // 8, 1e50).tobytes()
    assert check(all_huge, feeder, conditions)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"fixed_p": np.zeros((1, 5))}, "fixed_p has shape"),
        ({"fixed_q": np.full((1, 33), np.nan)}, "fixed_q is not finite"),
        ({"hours": np.nan}, "hours is nan"),
        ({"hours": 0.0}, "hours is 0"),
        ({"voll": np.inf}, "voll is inf"),
        ({"first_slot": -1}, "not all counts"),
    ],
)
def test_inputs_that_cannot_be_are_one_finding(cleared, change, word):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    (finding,) = check(data, feeder, replace(conditions, **change))
    assert finding.check == "certificate-format"
    assert word in finding.found


def test_a_feeder_that_cannot_be_is_one_finding(cleared):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    nominal = feeder.nominal_p_mw.copy()
    nominal[3] = np.nan
    for wrong, word in (
        (replace(feeder, nominal_p_mw=nominal), "NaN"),
        (replace(feeder, v0=1.2), "substation at 1.2 pu"),
    ):
        (finding,) = check(data, wrong, conditions)
        assert finding.check == "certificate-format"
        assert word in finding.found


def test_arrays_of_other_sizes_are_one_finding(cleared):
    feeder, conditions = case("plenty")
    data = certificate(cleared["plenty"], feeder, conditions)
    # two periods of half as many buses are as many numbers
    for at, count in ((40, 2), (48, 41)):
        other = bytearray(data)
        other[at : at + 4] = count.to_bytes(4, "little")
        (finding,) = check(bytes(other), feeder, conditions)
        assert finding.check == "certificate-format"
    bare_data = KNOWN_CERTIFICATE[:8] + input_hash(feeder, conditions) + KNOWN_CERTIFICATE[40:]
    (finding,) = check(bare_data, feeder, conditions)
    assert (finding.check, finding.difference) == ("certificate-format", "other arrays")
    assert finding.expected == "1 periods, 33 buses, 40 devices, 0 storages"


def test_the_checker_needs_numpy_alone(cleared, tmp_path):
    feeder, conditions = case("rated")
    (tmp_path / "inputs").write_bytes(encode_inputs(feeder, conditions))
    (tmp_path / "certificate").write_bytes(certificate(cleared["rated"], feeder, conditions))
    program = f"""
import sys
for name in ("scipy", "cvxpy", "clarabel", "pandapower", "qdldl", "pandas"):
    sys.modules[name] = None
from pathlib import Path
from market.pricing.certificate import check, decode_inputs
folder = Path({str(tmp_path)!r})
print(len(check((folder / "certificate").read_bytes(), *decode_inputs((folder / "inputs").read_bytes()))))
"""
    root = PAGE.parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


# the page


def test_the_page_names_every_check(cleared):
    feeder, conditions = case("rated")
    measured = measure(feeder, conditions, cleared["rated"].primal, cleared["rated"].duals)
    page = PAGE.read_text()
    documented = set(re.findall(r"`([a-z-]+)(?:-…)?`", page.split("## Checks")[1]))
    stems = tuple(re.findall(r"`([a-z]+)-…`", page))
    for name in {comparison.check for comparison in measured}:
        short = name if name in documented or name.startswith(stems) else "-" + name.rsplit("-", 1)[1]
        assert short in documented or name.startswith(stems), name
    assert f"{PRICE_TOLERANCE:.0e}".replace("e-0", "e-") in page


def test_the_pages_example_is_true():
    feeder = load("ieee33")
    conditions = bare(feeder)
    solution = SocpClearing(feeder)(feeder, conditions)
    data, page = certificate(solution, feeder, conditions), PAGE.read_text()
    assert f"The inputs have {len(encode_inputs(feeder, conditions)):,}".replace(",", " ") in page
    assert input_hash(feeder, conditions).hex() in page
    assert f"The certificate has {len(data):,}".replace(",", " ") in page
    assert (data[:8].hex(), data[40:56].hex()) == ("5742435402000000", "01000000210000000000000000000000")
    assert f"{solution.duals.price[0, 17]:.4f}" in page
    assert f"{solution.components.loss[0, 17]:.4f}" in page
    assert len(data) == 56 + 8 * (13 * 33 + 1)
