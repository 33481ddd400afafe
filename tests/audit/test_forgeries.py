"""Consistent forgeries, every root rebuilt: found by the check of the rule they break, at their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger import vectors
from ledger.audit import audit
from ledger.audit.report import Report
from ledger.bundle import Bundle
from ledger.record import Record
from market.events import (
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    ForecastsPosted,
    PricesChunk,
    PricesPosted,
    ReadingEstimated,
    ReadingPosted,
    SlotSettled,
    Withdrawn,
)
from market.findings import Finding
from market.orders import (
    FillVetoed,
    GateClosed,
    NonceCancelled,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
)
from tests.audit.forge import (
    change_event,
    change_status,
    cut_short,
    found,
    rebuilt,
    with_unreadable,
    without_transaction,
)

Edit = Callable[[Event], Event | None]


def forged(bundle: Bundle, record: Record, kind: type[Event], number: int, edit: Edit) -> tuple[Report, str]:
    """The audit of a bundle with one event changed, and the place of that event."""
    logged, event = found(record, kind, number)
    bundle = change_event(bundle, record, logged, edit(event))
    report = audit(Record.of(bundle, proves_itself=False))
    return report, f"block {logged.log.block_number} log {logged.log.log_index}"


def by_check(report: Report) -> dict[str, list[Finding]]:
    return {result.name: list(result.findings) for result in report.checks if not result.ok}


def add(field: str, change: int) -> Edit:
    return lambda event: replace(event, **{field: getattr(event, field) + change})  # type: ignore[type-var]


def lie_about_bus_2(event: Event) -> Event:
    assert isinstance(event, PricesChunk | ChargesChunk)
    values = list(vectors.unpack(event.words, 3))
    values[2] += 1
    return replace(event, words=vectors.pack(values))


def fill_more(event: Event) -> Event:
    """10 Wh more of the first maker."""
    assert isinstance(event, OrdersFilled)
    return replace(event, makers=(event.makers[0] + 10, *event.makers[1:]))


def fill_from_account_3(event: Event) -> Event:
    assert isinstance(event, OrdersFilled)
    return replace(event, makers=(3 << 40 | event.makers[0] & (2**40 - 1), *event.makers[1:]))


def forecast_more(event: Event) -> Event:
    assert isinstance(event, ForecastsPosted)
    return replace(event, words=(event.words[0] + (1 << 32), *event.words[1:]))


def drop(_: Event) -> None:
    return None


# --- the three that matter most -----------------------------------------------------------------


def test_payment(bundle: Bundle, record: Record) -> None:
    report, where = forged(bundle, record, AccountSettled, 1, add("imbalance", 1))
    wrong = by_check(report)
    assert set(wrong) == {"settlement", "conservation"}
    [finding] = wrong["settlement"]
    assert where in finding.where
    assert "imbalance neur" in finding.where
    assert finding.difference == "1 too much"
    assert finding.next.endswith(where.removeprefix("block ").replace(" log ", ":"))


def test_fill_price(bundle: Bundle, record: Record) -> None:
    report, where = forged(bundle, record, OrdersFilled, 1, add("tick", 1))
    wrong = by_check(report)
    [finding] = wrong["matching"]
    assert where in finding.where
    assert (finding.expected, finding.found) == ("tick 1_097", "tick 1_098")
    assert set(wrong) == {"matching", "settlement"}, "who pays for the lie is found too"
    assert "headers" not in wrong


def test_dlmp(bundle: Bundle, record: Record) -> None:
    report, where = forged(bundle, record, PricesChunk, 0, lie_about_bus_2)
    wrong = by_check(report)
    assert "headers" not in wrong
    signed, by_bus = wrong["prices"]
    assert where in signed.where
    assert "not those that were signed" in signed.difference
    assert f"{where} bus 2" in by_bus.where
    assert by_bus.difference == "1 too much"


# --- every other kind ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "number", "edit", "check"),
    [
        (OrdersFilled, 0, fill_more, "matching"),
        (OrdersFilled, 0, fill_from_account_3, "matching"),
        (OrdersFilled, 0, fill_from_account_3, "settlement"),
        (OrdersFilled, 2, drop, "matching"),
        (OrderPlaced, 0, drop, "matching"),
        (OrderPlaced, 0, add("tick", -1), "matching"),
        (OrderPlaced, 1, add("quantity", 10), "signatures"),
        (OrderRejected, 0, add("code", -1), "matching"),
        (OrderRejected, 0, drop, "matching"),
        (OrderVoided, 0, add("quantity", 10), "matching"),
        (OrderVoided, 2, drop, "matching"),
        (OrderVoided, 1, add("nonce", 1), "signatures"),
        (FillVetoed, 0, add("quantity", -10), "matching"),
        (FillVetoed, 0, add("quantity", -10), "settlement"),
        (FillVetoed, 1, add("element", 1), "matching"),
        (FillVetoed, 1, drop, "matching"),
        (NonceCancelled, 0, add("nonce", 40), "signatures"),
        (GateClosed, 0, add("accounts", 1), "matching"),
        (ChargesChunk, 0, lie_about_bus_2, "charges"),
        (ChargesPosted, 0, add("signers", 2), "signatures"),
        (PricesPosted, 0, add("hub_price", -1), "prices"),
        (PricesPosted, 1, add("forecast_import", 1), "signatures"),
        (PricesPosted, 1, add("forecast_import", 1), "prices"),
        (PricesPosted, 0, lambda event: replace(event, certificate_hash=bytes(32)), "signatures"),  # type: ignore[type-var]
        (ForecastsPosted, 0, forecast_more, "signatures"),
        (ForecastsPosted, 0, add("signers", 2), "signatures"),
        (ForecastsPosted, 0, drop, "lifecycle"),
        (ReadingEstimated, 1, add("net_energy", 1), "readings"),
        (ReadingEstimated, 1, add("basis", 1), "readings"),
        (ReadingEstimated, 2, add("net_energy", 1), "settlement"),
        (ReadingEstimated, 2, drop, "settlement"),
        (ReadingEstimated, 2, drop, "lifecycle"),
        (AccountSettled, 11, add("basis", 1), "settlement"),
        (AccountResettled, 0, add("imbalance", 1), "settlement"),
        (AccountResettled, 0, add("imbalance", 1), "conservation"),
        (AccountResettled, 0, add("metered", 1), "settlement"),
        (AccountResettled, 0, drop, "lifecycle"),
        (ReadingPosted, 0, add("net_energy", 1), "signatures"),
        (ReadingPosted, 0, add("net_energy", 1), "settlement"),
        (AccountSettled, 1, add("trades", 5), "settlement"),
        (AccountSettled, 1, add("trades", 5), "conservation"),
        (AccountSettled, 2, drop, "lifecycle"),
        (SlotSettled, 0, drop, "lifecycle"),
        (Deposited, 2, add("amount", 1_000), "conservation"),
        (Withdrawn, 0, add("amount", -1_000), "conservation"),
        (Withdrawn, 0, add("amount", -1_000), "reserves"),
    ],
)
def test_lie(  # noqa: PLR0917 - a table
    bundle: Bundle, record: Record, kind: type[Event], number: int, edit: Edit, check: str
) -> None:
    report, _ = forged(bundle, record, kind, number, edit)
    wrong = by_check(report)
    assert check in wrong
    assert "headers" not in wrong, "the forgery is consistent"
    assert not any("not finished" in finding.difference for finding in report.findings)


def test_invented_deposit_leaves_the_token_short(bundle: Bundle, record: Record) -> None:
    """A deposit as big as a real one, in the place of a registration."""
    _, deposit = found(record, Deposited, 1)
    registration, _ = found(record, AccountRegistered)
    report = audit(Record.of(change_event(bundle, record, registration, deposit), proves_itself=False))
    assert any("token balance" in finding.where for finding in by_check(report)["conservation"])


def test_left_out_transaction(bundle: Bundle, record: Record) -> None:
    """The buyer's order and its fills vanish with their transaction; the relayer's next one tells."""
    logged, _ = found(record, OrdersFilled)
    lie = without_transaction(bundle, logged.log.block_number, logged.log.transaction_index)
    wrong = by_check(audit(Record.of(lie, proves_itself=False)))
    assert "headers" not in wrong
    assert "a transaction is missing" in wrong["nonces"][0].difference
    assert "settlement" in wrong


@pytest.mark.parametrize(
    ("function", "status", "shown"),
    [("Pause", 1, 'refused: "accounts: not the guardian"'), ("CancelOrder", 0, "succeeds")],
)
def test_wrong_outcome_of_a_call(
    bundle: Bundle, record: Record, function: str, status: int, shown: str
) -> None:
    sent = next(
        each for each in record.sent if type(each.call).__name__ == function and each.status != status
    )
    lie = change_status(bundle, sent.block, sent.index, status)
    wrong = by_check(audit(Record.of(lie, proves_itself=False)))
    assert "headers" not in wrong
    assert any(finding.expected == shown for finding in wrong["lifecycle"])


def test_omission_is_found_by_who_knows_the_head(bundle: Bundle) -> None:
    shorter = cut_short(bundle, 2)
    record = Record.of(shorter, proves_itself=False)
    assert audit(record).ok, "nothing in what is left shows that something is missing"
    report = audit(record, head=bundle.checkpoint.hash)
    assert set(by_check(report)) == {"checkpoint"}


def test_other_code_is_found(bundle: Bundle, record: Record) -> None:
    """The creation transaction with one word of the code changed: another sender, another contract."""
    creation = record.creation
    assert creation is not None
    at = creation.block - bundle.manifest.first_block
    raw = creation.raw.replace(b"exchange: paused", b"exchange: passed")
    block = tuple(raw if each == creation.raw else each for each in bundle.transactions[at])
    transactions = (*bundle.transactions[:at], block, *bundle.transactions[at + 1 :])
    lie = rebuilt(replace(bundle, transactions=transactions), creation.block)
    wrong = by_check(audit(Record.of(lie, proves_itself=False)))
    assert "artifacts" in wrong
    assert "headers" not in wrong


def test_a_deposit_that_is_said_to_have_failed_is_named_as_assumed(bundle: Bundle, record: Record) -> None:
    """Of tokens and gas the record knows what receipts say, so the report says where it believed them."""
    deposit = next(each for each in reversed(record.sent) if type(each.call).__name__ == "Deposit")
    lie = change_status(bundle, deposit.block, deposit.index, 0)
    assumed = audit(Record.of(lie, proves_itself=False)).assumed
    assert any("want of gas or tokens" in line and deposit.where in line for line in assumed)


def test_bytes_that_cannot_be_read_hide_no_missing_transaction(bundle: Bundle, record: Record) -> None:
    last = {each.block: each for each in record.sent}
    left_out = next(each for each in last.values() if type(each.call).__name__ == "Settle")
    lie = without_transaction(bundle, left_out.block, left_out.index)
    lie = with_unreadable(lie, left_out.block - 1)
    report = audit(Record.of(lie, proves_itself=False))
    assert "a transaction is missing" in by_check(report)["nonces"][0].difference
    assert any("kinds that are not read here" in line for line in report.assumed)
