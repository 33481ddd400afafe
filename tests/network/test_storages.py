"""Agents with batteries and vehicles: asked about several slots at once, priced as by who is told all."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from ledger import eip712
from ledger.keys import Signature
from market.atc.messages import Purpose, Question, answer_to
from market.atc.responses import Responses, Stand
from market.pricing import direct
from market.pricing.conditions import Conditions, Devices, Hub, Storages
from node.agent.devices import DeviceError, DeviceFile, Flexible, Storage, load, of_slot, storage_of
from node.agent.household import Household
from node.client.schemas import AnswerBody
from node.oracle.app import receive
from node.oracle.coordinate import Outlook, coordinate
from node.oracle.replay import encode
from node.oracle.rounds import Given, Member, OpenClearing, _contradict
from node.oracle.verify import Known, bring, verify
from tests.network import clearing_case
from tests.network.clearing_case import (
    BUSES,
    CAPACITY_MW,
    DOMAIN,
    FILES,
    KEYS,
    NUMBER,
    ORACLE,
    ORACLE_KEY,
    PURPOSE,
    SLOT,
    feeder_33,
    newton,
)

SLOTS = 6
HOURS = 0.25
KW_PER_MW = 1_000.0

BATTERY = Storage(
    charge_kw=60.0, discharge_kw=60.0, energy_kwh=80.0, least_kwh=8.0, start_kwh=40.0, left_eur_per_mwh=120.0
)


def from_slot_on(values: list[float]) -> list[float]:
    """Values of the six slots as a file has them: by slot of its day, here of six slots."""
    return np.roll(values, SLOT).tolist()


VEHICLE = Storage(
    charge_kw=from_slot_on([50.0, 50.0, 0.0, 0.0, 50.0, 50.0]),
    energy_kwh=60.0,
    least_kwh=from_slot_on([0.0, 30.0, 0.0, 0.0, 0.0, 35.0]),
    drain_kwh=from_slot_on([0.0, 0.0, 0.0, 12.0, 0.0, 0.0]),
    start_kwh=20.0,
)
STORED = {0: BATTERY, 2: VEHICLE, 3: BATTERY}
"""Who has what."""


@cache
def outlook() -> Outlook:
    """Six slots whose passive load rises, so that energy is worth more later."""
    one = clearing_case.outlook().conditions
    scale = np.linspace(0.6, 1.6, SLOTS)[:, None]
    none = {field.name: np.zeros((SLOTS, 0)) for field in fields(Devices) if field.name != "bus"}
    conditions = Conditions(
        fixed_p=scale * one.fixed_p,
        fixed_q=scale * one.fixed_q,
        hub=Hub(np.linspace(110.0, 210.0, SLOTS), np.full(SLOTS, 70.0)),
        devices=Devices(bus=np.zeros(0, dtype=np.int64), **none),
        hours=HOURS,
        first_slot=SLOT,
    )
    return Outlook(feeder_33(), conditions)


def files() -> list[DeviceFile]:
    """Everybody's, some with a storage."""
    return [
        file.model_copy(update={"storage": STORED[k]} if k in STORED else {}) for k, file in enumerate(FILES)
    ]


def members() -> tuple[Member, ...]:
    forecast = (-50_000_000,) * SLOTS
    return tuple(
        Member(key.address, bus, -CAPACITY_MW, CAPACITY_MW, forecast)
        for key, bus in zip(KEYS, BUSES, strict=True)
    )


def cleared(households: list[Household], purpose: int = PURPOSE) -> Responses:
    """What a clearing ends with in which everybody answers at once."""
    return run(households, purpose)[0]


def run(households: list[Household], purpose: int = PURPOSE) -> tuple[Responses, bytes]:
    """The same, with its rounds as other oracles are shown them."""

    def everybody() -> None:
        for key in KEYS:
            found = opened.question(key.address)
            assert found is not None
            question, number = found[0], NUMBER[key.address]
            powers = households[number].powers(question)
            answer = answer_to(question, eip712.struct_hash(question), powers)
            body = AnswerBody.of(answer, KEYS[number].sign(eip712.digest(DOMAIN, answer)))
            receive(opened, body.model_dump_json().encode())

    opened = OpenClearing(
        DOMAIN,
        ORACLE_KEY,
        slot=SLOT,
        purpose=purpose,
        oracle=ORACLE,
        members=members(),
        answer_seconds=0.0,
        on_round=everybody,
    )
    return coordinate(opened, outlook(), newton()), encode(opened.history, SLOTS)


def central() -> Conditions:
    """The same slots for a solver that is told every device and storage."""
    base_mw, own = feeder_33().base_mw, files()
    steps = [[of_slot(file, SLOT + t).devices for file in own] for t in range(SLOTS)]
    per_pu = {"gen_slope": base_mw, "load_slope": base_mw, "gen_cost": 1.0, "load_value": 1.0}
    devices = {
        field.name: np.array([[getattr(each, field.name)[0, 0] for each in row] for row in steps])
        * per_pu.get(field.name, 1 / base_mw)
        for field in fields(Devices)
        if field.name != "bus"
    }
    each = [storage_of(own[k], SLOT, SLOTS, own[k].storage.start_kwh / KW_PER_MW) for k in STORED]
    scale = dict.fromkeys(("charge_efficiency", "discharge_efficiency", "wear", "final_value"), 1.0)
    scale |= {"wear_slope": base_mw}
    storages = Storages(
        bus=np.array([BUSES[k] for k in STORED]),
        **{
            field.name: np.concatenate([getattr(one, field.name) for one in each], axis=-1)
            * scale.get(field.name, 1 / base_mw)
            for field in fields(Storages)
            if field.name != "bus"
        },
    )
    return replace(outlook().conditions, devices=Devices(bus=np.array(BUSES), **devices), storages=storages)


@cache
def reference():  # type: ignore[no-untyped-def]
    return direct.clear(feeder_33(), central())


def test_prices_are_those_of_a_solver_that_is_told_everything():
    households = [Household(file, HOURS) for file in files()]
    ended = cleared(households)
    assert {each.stand for each in ended.standings} == {Stand.ANSWERED}
    solution = newton()(feeder_33(), ended.given())
    right = reference()
    moved = right.primal.discharge - right.primal.charge
    assert np.abs(moved).max(axis=0).min() > 1e-3, "every storage does something"
    # the residual stop, 1e-5, lets errors of ten times that pass
    np.testing.assert_allclose(solution.duals.price, right.duals.price, rtol=1e-4)
    planned = [households[k].own(SLOT).firm_mw - of_slot(files()[k], SLOT).firm_mw for k in STORED]
    np.testing.assert_allclose(planned, -moved[0] * feeder_33().base_mw, atol=1e-3)


def test_other_oracles_verify_it_and_sign_the_first_slot():
    ended, rounds = run([Household(file, HOURS) for file in files()])
    brought = replace(bring(ended, newton()), rounds=rounds)
    known = Known(SLOT, PURPOSE, ORACLE, outlook(), members(), DOMAIN)
    assert verify(brought, known, newton()).encode() == brought.inputs
    first = reference().duals.price[0] * 1_000
    # µ€/kWh: 1e-4 of 200 €/MWh
    np.testing.assert_allclose(brought.prices.bus_price, first, atol=20)


# --- what a household plans ---------------------------------------------------------------------


def question(slot: int, price: float, *, purpose: Purpose = Purpose.PRICES, oracle: int = 0) -> Question:
    """What the first account is asked: to follow a price, at 1 €/MWh more for each MW."""
    weights, targets = (1_000_000,) * SLOTS, (round(price * 1e9),) * SLOTS
    return Question(KEYS[0].address, slot, purpose, oracle, 1, weights, targets)


def test_the_plan_carries_what_is_stored_from_slot_to_slot():
    household = Household(files()[0], HOURS)
    idle = household.own(SLOT).firm_mw
    household.powers(question(SLOT, 20.0))  # cheap: charge
    assert household.own(SLOT).firm_mw > idle
    before = household.powers(question(SLOT + 1, 400.0))  # dear: give what there is
    assert household.own(SLOT + 1).firm_mw < 0
    anew = Household(files()[0], HOURS).powers(question(SLOT + 1, 400.0))
    assert sum(before) > sum(anew), "what was charged can be given"


def test_prices_plan_a_slot_for_good_and_charges_do_not():
    household = Household(files()[0], HOURS)
    household.powers(question(SLOT, 20.0))
    planned = household.own(SLOT).firm_mw, household.own(SLOT + 1).firm_mw
    household.powers(question(SLOT, 400.0, purpose=Purpose.CHARGES))
    assert household.own(SLOT).firm_mw == planned[0]
    assert household.own(SLOT + 1).firm_mw != planned[1]
    household.powers(question(SLOT, 400.0, oracle=1))  # the next oracle's turn
    assert household.own(SLOT).firm_mw != planned[0]


def test_every_round_of_a_clearing_sees_the_state_it_was_begun_with():
    """Another slot's clearing that ends in between would make answers contradict each other."""
    household = Household(files()[0], HOURS)
    first = household.powers(question(SLOT + 1, 150.0))
    household.powers(question(SLOT, 20.0))
    assert household.powers(question(SLOT + 1, 150.0)) == first
    assert household.powers(question(SLOT + 1, 150.0, oracle=1)) != first


def test_a_vehicle_asked_for_more_than_it_can_reach_does_what_it_can():
    late = Storage(charge_kw=4.0, energy_kwh=60.0, least_kwh=55.0, start_kwh=1.0)
    file = FILES[0].model_copy(update={"storage": late})
    household = Household(file, HOURS)
    powers = household.powers(question(SLOT, 400.0))
    assert powers[0] < FILES[0].model_copy().flexible.min_kw * -1e6
    assert household.own(SLOT).firm_mw == pytest.approx(4.0 / KW_PER_MW)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[storage]\nenergy_kwh = 5.0\nleast_kwh = 6.0", "least_kwh = 6.0 is above energy_kwh = 5.0"),
        (
            "[flexible]\nmin_kw = [0.0, 5.0]\nmax_kw = [6.0, 4.0]",
            "flexible: value 2: min_kw = 5.0 is above max_kw = 4.0",
        ),
        (
            "[flexible]\nmin_kw = [0.0, 5.0]\nmax_kw = [6.0, 7.0, 4.0]",
            "flexible.max_kw has 3 values and flexible.min_kw 2: lists of one length are allowed",
        ),
        (
            "[firm]\nkw = true",
            "firm.kw = True: a number, or a list with one for each slot of the day is allowed",
        ),
        ("[firm]\nkw = [1.0, -2.0]", "firm.kw, value 2 = -2.0: a number at least 0 is allowed"),
        ("firm = 3", "firm = 3: a table is allowed"),
        ("[storage]\nenergy_kwh = 5.0\nstart_kwh = 6.0", "start_kwh = 6.0 is above energy_kwh = 5.0"),
        ("[storage]\nefficiency = 1.1", "storage.efficiency = 1.1: a number at most 1 is allowed"),
        ("[storage]\ncapacity = 1.0", "storage.capacity: unknown"),
    ],
)
def test_a_storage_that_is_none_is_refused(tmp_path, text: str, message: str):  # type: ignore[no-untyped-def]
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(DeviceError) as refusal:
        load(path)
    assert message in str(refusal.value)


# --- below 0, where burning would pay ---------------------------------------------------------------


def drawn_answers(seed: int) -> list[Given]:
    """What a drawn household answers to four questions about eight slots, at prices around 0 or ±50 €/MWh."""
    rng = np.random.default_rng([seed, 11])
    kw = float(rng.uniform(2, 10))
    file = DeviceFile(
        storage=Storage(
            charge_kw=kw,
            discharge_kw=kw,
            energy_kwh=2 * kw,
            start_kwh=float(rng.uniform(0, 2 * kw)),
            efficiency=float(rng.uniform(0.7, 1)),
            wear_eur_per_mwh=float(rng.choice([0, 0, 2])),
            left_eur_per_mwh=float(rng.uniform(-20, 100)),
        ),
        flexible=Flexible(
            max_kw=float(rng.uniform(0, 6)), value_at_min_eur_per_mwh=200.0, value_at_max_eur_per_mwh=50.0
        ),
    )
    household, middle = Household(file, HOURS), float(rng.choice([0, 0, -50, 50]))
    given = []
    for number in range(4):
        prices, weights = rng.uniform(middle - 60, middle + 60, 8), rng.integers(10**8, 10**10, 8)
        targets = (prices * 1e15 / weights).astype(np.int64)  # n€/kWh per MW, mW
        question = Question(
            KEYS[0].address, SLOT, PURPOSE, ORACLE, number, tuple(weights.tolist()), tuple(targets.tolist())
        )
        given.append(Given(question, household.powers(question), Signature(bytes(32), bytes(32))))
    return given


def test_no_honest_storage_contradicts_itself():
    """Three of these 200 households inject less at a higher price, which nobody holds against them."""
    falling = 0
    for seed in range(200):
        for one, other in combinations(drawn_answers(seed), 2):
            assert not _contradict(one, other), seed
            rise = [
                np.array(each.question.weights) / 1e6 * (np.array(each.question.targets) - each.powers) / 1e9
                for each in (one, other)
            ]
            falling += (rise[0] - rise[1]) @ (np.array(one.powers) - other.powers) < -1e6  # €/MWh · mW
    assert falling > 0, "the exemption is needed"
