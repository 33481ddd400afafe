"""Bills taken apart: the lines add up, and each names where it comes from."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ledger.audit.explain import ExplainError, Explanation, Line, explain
from ledger.audit.plain import decimal, euros
from ledger.bundle import Bundle
from ledger.history import history
from ledger.keys import Key
from ledger.record import Record
from market.events import AccountSettled
from tests.audit.forge import change_event, found
from tests.audit.small_market import (
    BUYER,
    NEIGHBOUR,
    SELLER,
    SILENT,
    SLOT,
    SOLAR_PENALTY,
    TARIFF,
    UTILITY,
)
from tests.audit.sources import misplaced


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
def test_every_bill_adds_up(rule: str, request: pytest.FixtureRequest) -> None:
    record = Record.of(request.getfixturevalue(rule), proves_itself=False)
    posted = [pair for slot in history(record) for pair in (*slot.settled, *slot.resettled)]
    assert len(posted) == 13
    for logged, event in posted:
        told = explain(record, logged.where)
        trades = event.trades if isinstance(event, AccountSettled) else 0
        expected = trades + event.charge + event.closeout + event.imbalance + event.penalty
        assert told.total_neur == told.posted_neur == expected
        assert misplaced(record, told) == []


def amounts_neur(told: Explanation) -> list[int]:
    """What the sentences say is paid, in n€."""
    paid = re.findall(r": you (pay|receive) (\d+)\.(\d+) €\.", told.sentence)
    return [int(whole + part.ljust(9, "0")) * (1 if verb == "pay" else -1) for verb, whole, part in paid]


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
def test_sentences_add_up_to_every_payment(rule: str, request: pytest.FixtureRequest) -> None:
    """Told by what became of the energy, each comes to the n€ that the contract's formula gives."""
    record = Record.of(request.getfixturevalue(rule), proves_itself=False)
    for slot in history(record):
        for logged, _ in (*slot.settled, *slot.resettled, *slot.cleared):
            told = explain(record, logged.where)
            assert sum(amounts_neur(told)) == told.posted_neur
            assert not re.search(r"[λνµ_]| Wh", told.sentence), "no symbols"


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
def test_printed_factors_multiply_to_every_lines_amount(rule: str, request: pytest.FixtureRequest) -> None:
    """With the signs that are printed; of a trade and of what is taken off, the word has the sign."""
    record = Record.of(request.getfixturevalue(rule), proves_itself=False)
    negative = 0
    for slot in history(record):
        for logged, _ in (*slot.settled, *slot.resettled):
            for line in explain(record, logged.where).lines:
                energy, price = re.findall(r"(-?\d+) (?:Wh|µ€/kWh)", line.what.replace(",", ""))
                words = [word for word in ("vetoed", "sold", "less") if re.search(rf"\b{word}\b", line.what)]
                if line.what.startswith("penalty"):
                    words.remove("sold")  # of a penalty it names what was sold, the product is to pay
                assert line.amount_neur == int(energy) * int(price) * (-1) ** len(words)
                negative += energy.startswith("-")
    assert negative, "somebody fed in"


def test_a_bus_has_the_name_that_its_clearing_gives_it_where_the_record_knows_one(bundle: Bundle) -> None:
    told = [
        explain(Record.of(each, proves_itself=False), account=SELLER.address, slot=SLOT).heading
        for each in (bundle, replace(bundle, inputs={}))
    ]
    assert [heading.split(", 0x")[0] for heading in told] == [
        "Account 2 at bus farm (index 2)",
        "Account 2 at the bus of index 2",
    ]


def test_what_a_seller_reads(record: Record) -> None:
    told = explain(record, account=SELLER.address, slot=SLOT)
    assert told.sentences == (
        "You sold 1.8 kWh: you receive 0.19946 €.",
        "Your meter shows 2.3 kWh fed in.",
        "For the network, on 1.8 kWh at 0.000372 €/kWh: you receive 0.0006696 €.",
        "The 0.5 kWh that you fed in and had not sold counts at 0.221961 €/kWh: you receive 0.1109805 €.",
        "The 0.05 kWh that you sold as class 1 was not certified as such: you pay 0.0025 €.",
    )
    assert told.to_json()["sentence"] == told.sentence == " ".join(told.sentences)
    assert told.to_json()["heading"] == told.heading
    assert str(told).splitlines()[: len(told.sentences) + 1] == [told.heading, *told.sentences]


def changes_neur(sentence: str) -> list[int]:
    """What a comparison says was lost, or gained below 0, in n€."""
    told = re.findall(r"You (lost|gained) (\d+)\.(\d{9}) €", sentence)
    return [int(whole + part) * (1 if verb == "lost" else -1) for verb, whole, part in told]


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
def test_a_worse_bill_says_why_and_its_parts_add_up(rule: str, request: pytest.FixtureRequest) -> None:
    record = Record.of(request.getfixturevalue(rule), proves_itself=False)
    worse = 0
    for slot in history(record):
        for logged, event in slot.settled:
            told = explain(record, logged.where)
            if told.flat_neur is None:
                continue
            difference_neur = told.posted_neur - told.flat_neur
            assert sum(term.difference_neur for term in told.terms) == difference_neur, event.account
            assert sum(changes_neur(told.flat_sentence)) == max(0, difference_neur)
            worse += difference_neur > 0
    assert worse


def test_where_the_price_of_what_was_not_used_comes_from(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SLOT)
    assert "was the price of energy at the substation, where the grid here was expected to" in told.sentence


def test_estimate_and_correction_in_plain_words(record: Record) -> None:
    old = explain(record, account=SELLER.address, slot=SILENT)
    assert "No reading of your meter came in time: it counts as 0.8 kWh fed in, estimated by" in old.sentence
    [(logged, _)] = history(record).slots[SILENT].resettled
    assert "Your meter's late reading is 0.7 kWh fed in, after" in explain(record, logged.where).sentence


def test_veto_in_plain_words(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SILENT)
    assert told.sentences[0].startswith("You bought 1.1 kWh: you pay ")
    assert told.sentences[1].startswith(
        "The grid's operator cancelled 0.3 kWh of what you had bought: you rec"
    )


@pytest.mark.parametrize(
    ("value", "digits", "least", "text"),
    [
        (4_800, 3, 0, "4.8"),
        (4_000, 3, 0, "4"),
        (-2, 6, 2, "-0.000002"),
        (140_000, 6, 2, "0.14"),
        (0, 9, 2, "0.00"),
    ],
)
def test_decimals_are_exact(value: int, digits: int, least: int, text: str) -> None:
    assert decimal(value, digits, least) == text


def test_buyers_bill_line_by_line(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SLOT)
    _, charges = history(record).slots[SLOT].charges_chunks[0]
    nu = history(record).slots[SLOT].charge(1)
    fills = [line for line in told.lines if line.what.startswith("bought")]
    assert [line.amount_neur for line in fills] == [900 * 99_700, 500 * 109_700, 400 * 119_700, 200 * 129_700]
    assert "of class 1" in fills[-1].what
    charge = next(line for line in told.lines if line.what.startswith("network charge"))
    assert charge.amount_neur == 1_700 * nu
    assert charges.slot == SLOT
    assert told.flat_neur == 1_700 * TARIFF.retail
    assert "you would have paid 0.510000000 € for 1.7 kWh at retail (0.30 €/kWh)" in str(told)
    assert str(told).endswith("better off.")
    assert str(told).count("[") == len(told.lines) + 1


def test_sellers_bill_has_the_utilitys_fill(record: Record) -> None:
    told = explain(record, account=SELLER.address, slot=SLOT)
    assert any("sold 300 Wh to the utility" in line.what for line in told.lines)
    assert told.flat_neur == -2_300 * TARIFF.fit
    penalty = next(line for line in told.lines if line.what.startswith("penalty"))
    assert penalty.amount_neur == (200 - 150) * SOLAR_PENALTY
    assert "50 Wh sold in class 1 and not certified" in penalty.what


def test_vetoed_part_is_taken_off(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SILENT)
    assert [line.what for line in told.lines[:5]] == [
        "bought 600 Wh from account 2 at 99,700 µ€/kWh",
        "bought 300 Wh from account 2 at 109,700 µ€/kWh",
        "bought 200 Wh from account 3 of class 1 at 129,700 µ€/kWh",
        "vetoed for loading of the line to bus 1: bought 200 Wh from account 3 of class 1 at 129,700 µ€/kWh",
        "vetoed for loading of the line to bus 1: bought 100 Wh from account 2 at 109,700 µ€/kWh",
    ]
    assert sum(line.amount_neur for line in told.lines[2:4]) == 0
    assert "estimated" not in told.heading, "its reading came before it settled"


@pytest.mark.parametrize(("trader", "basis"), [(SELLER, "contract"), (NEIGHBOUR, "forecast")])
def test_estimate_is_named(record: Record, trader: Key, basis: str) -> None:
    told = explain(record, account=trader.address, slot=SILENT)
    assert told.heading.endswith(f"estimated by its {basis}:")


def test_resettlement_is_the_reading_less_the_estimate(record: Record) -> None:
    [(logged, _)] = history(record).slots[SILENT].resettled
    told = explain(record, logged.where)
    assert "a reading took the place of its estimate" in told.heading
    assert told.flat_neur == (800 - 700) * TARIFF.fit, "fed in less than was estimated"
    [charge, closeout, imbalance, estimated] = told.lines
    assert "-100 Wh contracted and not delivered" in closeout.what
    assert ": 100 Wh of net consumption beyond" in imbalance.what
    assert estimated.what == charge.what.replace("network charge on -700", "less network charge on -800")
    assert estimated.amount_neur * 7 == -charge.amount_neur * 8


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("", ""),
        ("55:0, 101:1", "55:0, 101:1"),
        ("55:0, 55:1, 56:2", "55:0, 55:1, 56:2"),
        ("54:9, 55:9, 55:10, 55:11, 55:13", "54:9, 55:9 to 55:11, 55:13"),
    ],
)
def test_runs_of_places_are_told_by_their_ends(source: str, places: str) -> None:
    assert Line("", 0, source).places == places


def test_utility_has_fills_only(record: Record) -> None:
    told = explain(record, account=UTILITY.address, slot=SLOT)
    assert [line.what for line in told.lines] == ["bought 300 Wh from account 2 at 119,700 µ€/kWh"]
    assert told.flat_neur is None


def test_json_has_the_promised_lines(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SLOT).to_json()
    assert all(set(line) == {"what", "amount_neur", "source"} for line in told["lines"])
    assert sum(line["amount_neur"] for line in told["lines"]) == told["posted_neur"]


def test_forged_payment_is_not_explained_away(bundle: Bundle, record: Record) -> None:
    logged, event = found(record, AccountSettled, 1)
    assert isinstance(event, AccountSettled)
    lie = change_event(bundle, record, logged, replace(event, charge=event.charge + 7))
    told = explain(Record.of(lie, proves_itself=False), logged.where)
    assert told.posted_neur - told.total_neur == 7
    assert "0.000000007 € is not explained" in str(told)
    assert told.terms == (), "no rule says why"


@pytest.mark.parametrize(("payment", "message"), [("7", "BLOCK:LOG"), ("1:1", "payment 1:1: no account")])
def test_payment_that_is_none(record: Record, payment: str, message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        explain(record, payment)


def test_stranger_has_no_payment(record: Record) -> None:
    with pytest.raises(ExplainError, match="in slot 1: no account"):
        explain(record, account=BUYER.address, slot=1)


def test_money_to_the_last_unit() -> None:
    assert [euros(n) for n in (0, 1, -1_000_000_001)] == ["0.000000000 €", "0.000000001 €", "-1.000000001 €"]
