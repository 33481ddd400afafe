"""The journal: balances are the contract's, a reorganisation is followed, accountants' programs agree."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.bookkeeping import NotInstalledError, to_beancount, to_csv, write_parquet
from ledger.bundle import Bundle
from ledger.journal import (
    CLEARING,
    COLUMN_MAX_NEUR,
    TOKENS,
    Journal,
    JournalError,
    balances,
    entries,
    trial_balance,
)
from ledger.record import Record
from market.events import AccountSettled, Deposited
from market.slots import Rule
from node.cli.app import app
from tests.audit.forge import change_event, cut_short, found, same_second
from tests.audit.small_market import NEW_UTILITY, TRADERS, SmallMarket, written
from tests.programs import find


@pytest.mark.parametrize("rule", list(Rule))
def test_balances_are_the_contracts(rule: Rule, tmp_path: Path) -> None:
    market = SmallMarket(rule)
    market.trade()
    record = Record.of(market.bundle(), proves_itself=False)
    journal = Journal(tmp_path / "journal.sqlite")
    journal.update(record)
    kept = journal.balances()
    for number, key in enumerate((NEW_UTILITY, *TRADERS)):
        assert kept[number] == market.exchange.account_of(key.address).balance
    assert kept[CLEARING] == 0
    token = market.exchange.token()
    held = token.balance_of(market.exchange.address)
    assert -kept[TOKENS] == held * 10 ** (9 - token.decimals)
    assert sum(kept.values()) == 0
    assert kept == balances(list(entries(record)))


def test_every_entry_sums_to_nothing(record: Record) -> None:
    booked = list(entries(record))
    kinds = [entry.kind for entry in booked]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "deposit": 4,
        "settlement": 12,
        "resettlement": 1,
        "clearing": 1,
        "withdrawal": 2,
    }
    assert all(sum(booking.amount_neur for booking in entry.bookings) == 0 for entry in booked)
    causes = {booking.cause for entry in booked for booking in entry.bookings}
    assert causes == {"deposit", "withdrawal", "trades", "charge", "closeout", "imbalance", "penalty"}


def test_trial_balance_is_that_of_the_balances(record: Record) -> None:
    booked = list(entries(record))
    kept = balances(booked)
    found = {each.kind: each for each in trial_balance(booked)}
    assert list(found) == ["tokens", "clearing", "utility", "prosumers"]
    assert [found[kind].difference_neur for kind in ("tokens", "clearing", "utility")] == [
        -kept[TOKENS],
        -kept[CLEARING],
        -kept[0],
    ]
    assert found["prosumers"].accounts == len(TRADERS) == len(kept) - 3
    assert found["prosumers"].difference_neur == -sum(kept[number] for number in kept if number > 0)
    deposited = sum(each.bookings[0].amount_neur for each in booked if each.kind == "deposit")
    assert found["tokens"].debits_neur == deposited, "what comes in is a debit"
    assert sum(each.debits_neur for each in found.values()) == sum(
        each.credits_neur for each in found.values()
    )


def test_command_without_a_file_tells_the_trial_balance(bundle: Bundle, tmp_path: Path) -> None:
    folder = str(written(bundle, tmp_path / "bundle"))
    text = CliRunner().invoke(app, ["audit", "journal", folder])
    assert (text.exit_code, text.stderr) == (0, "")
    last = text.stdout.splitlines()[-1].split()
    assert last[:2] == ["in", "all"] and last[2] == last[3] and last[4] == "0"
    told = json.loads(CliRunner().invoke(app, ["audit", "journal", folder, "--json"]).stdout)
    assert told["difference_neur"] == 0
    assert sum(each["debits_neur"] for each in told["trial_balance"]) == int(last[2].replace(",", ""))
    assert sum(each["accounts"] for each in told["trial_balance"]) == told["accounts"]


def test_update_takes_in_what_is_new_and_nothing_twice(bundle: Bundle, tmp_path: Path) -> None:
    whole = Record.of(bundle, proves_itself=False)
    journal = Journal(tmp_path / "journal.sqlite")
    first = journal.update(Record.of(cut_short(bundle, 4), proves_itself=False))
    assert (first.kept, first.blocks_dropped) == (None, 0)
    second = journal.update(whole)
    assert (second.kept, second.blocks_dropped) == (38, 0)
    assert first.entries_added + second.entries_added == len(list(entries(whole)))
    again = journal.update(whole)
    assert (again.kept, again.blocks_dropped, again.entries_added) == (42, 0, 0)


def test_reorganisation_is_followed(bundle: Bundle, tmp_path: Path) -> None:
    """Blocks from 14 on are others, then the first ones again: what is left is as if made anew."""
    honest = Record.of(bundle, proves_itself=False)
    other = Record.of(same_second(bundle), proves_itself=False)
    journal, fresh = Journal(tmp_path / "journal.sqlite"), Journal(tmp_path / "fresh.sqlite")
    journal.update(honest)
    step = journal.update(other)
    assert (step.kept, step.blocks_dropped) == (13, 29)
    back = journal.update(honest)
    assert (back.kept, back.blocks_dropped) == (13, 29)
    fresh.update(honest)
    tables = {
        "blocks": "SELECT * FROM blocks ORDER BY number",
        "entries": "SELECT block, log, kind, slot FROM entries ORDER BY block, log",
        "postings": "SELECT block, log, account, cause, amount_neur FROM postings JOIN entries"
        " ON entry = id ORDER BY block, log, account, cause, amount_neur",
    }
    for query in tables.values():
        assert journal.ask(query) == fresh.ask(query)


def test_chain_that_became_shorter(bundle: Bundle, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.update(Record.of(bundle, proves_itself=False))
    short = Record.of(cut_short(bundle, 4), proves_itself=False)
    assert journal.update(short).blocks_dropped == 4
    assert journal.balances() == balances(list(entries(short)))


def test_files_that_are_no_journal_of_this_market(bundle: Bundle, record: Record, tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but long enough to be asked for one" * 10)
    with pytest.raises(JournalError, match=r"text\.sqlite: file is not a database"):
        Journal(text).update(record)
    journal = Journal(tmp_path / "journal.sqlite")
    journal.update(record)
    elsewhere = replace(bundle, manifest=replace(bundle.manifest, chain_id=1))
    with pytest.raises(JournalError, match="a journal of"):
        journal.update(Record.of(elsewhere, proves_itself=False))


def test_amount_beyond_a_column_is_refused_whole(bundle: Bundle, record: Record, tmp_path: Path) -> None:
    logged, event = found(record, Deposited)
    assert isinstance(event, Deposited)
    forged = change_event(bundle, record, logged, replace(event, amount=COLUMN_MAX_NEUR + 1))
    journal = Journal(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError, match=r"6:0: .* are more than a column holds"):
        journal.update(Record.of(forged, proves_itself=False))
    with pytest.raises(JournalError, match="no such table"):
        journal.balances()


# --- for others ---------------------------------------------------------------------------------


def test_csv_has_every_booking(record: Record) -> None:
    rows = list(csv.DictReader(to_csv(list(entries(record))).splitlines()))
    assert sum(int(row["amount_neur"]) for row in rows) == 0
    total: dict[str, int] = {}
    for row in rows:
        total[row["account"]] = total.get(row["account"], 0) + int(row["amount_neur"])
    expected = balances(list(entries(record)))
    assert total == {
        {TOKENS: "tokens", CLEARING: "clearing", 0: "utility"}.get(account, str(account)): amount
        for account, amount in expected.items()
    }


def test_parquet_has_the_rows_of_the_csv(record: Record, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    booked, path = list(entries(record)), tmp_path / "market.parquet"
    write_parquet(booked, path)
    table = parquet.read_table(path)
    assert str(table.schema.field("amount_neur").type) == "int64"
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"
    expected = list(csv.DictReader(to_csv(booked).splitlines()))
    shown = {
        "time": lambda time: time.isoformat(),
        "slot": lambda slot: "" if slot is None else str(slot),
        "amount_neur": str,
    }
    found = [{name: shown.get(name, str)(each[name]) for name in each} for each in table.to_pylist()]
    assert found == expected


def test_parquet_refuses_what_no_column_holds(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    first, *rest = entries(record)
    too_much = replace(first, bookings=(replace(first.bookings[0], amount_neur=COLUMN_MAX_NEUR + 1),))
    with pytest.raises(JournalError, match="more than a column holds"):
        write_parquet([too_much, *rest], tmp_path / "market.parquet")


def test_without_pyarrow_it_says_what_to_install(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'wattbook\[parquet\]'"):
        write_parquet(list(entries(record)), tmp_path / "market.parquet")


def bean_check(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "market.beancount"
    path.write_text(text)
    program = find("bean-check")
    assert program is not None
    return subprocess.run([program, path], capture_output=True, text=True, check=False)


@pytest.mark.needs("bean-check")
def test_beancount_agrees_to_the_last_unit(record: Record, tmp_path: Path) -> None:
    text = to_beancount(list(entries(record)), "small market", "of a test", {2: TRADERS[1].address})
    done = bean_check(text, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.needs("bean-check")
@pytest.mark.parametrize("line", ["  Assets:Tokens  ", "balance Liabilities:Account1  "])
def test_beancount_finds_one_unit(record: Record, tmp_path: Path, line: str) -> None:
    """A booking, or a balance, that is one n€ off."""
    text = to_beancount(list(entries(record)), "small market", "of a test", {2: TRADERS[1].address})
    before, _, after = text.partition(line)
    amount, _, rest = after.partition(" ")
    exact = Decimal(amount)
    other = str(exact + Decimal((0, (1,), int(exact.as_tuple().exponent))))
    done = bean_check(before + line + other + " " + rest, tmp_path)
    assert done.returncode == 1
    assert "balance" in done.stderr.lower()


# --- what was verified of it --------------------------------------------------------------------


def test_commands_say_whether_amounts_were_verified(bundle: Bundle, record: Record, tmp_path: Path) -> None:
    """A payment that is 1 n€ more is told, with status 1, a word on stderr, and one above the journal."""
    logged, event = found(record, AccountSettled, 1)
    assert isinstance(event, AccountSettled)
    forged = change_event(bundle, record, logged, replace(event, imbalance=event.imbalance + 1))
    wrong = "nothing was verified: 2 findings of settlement and conservation"
    for name, market, status, head in (
        ("honest", bundle, 0, "verified: settlement and conservation, nothing else"),
        ("forged", forged, 1, wrong),
    ):
        folder, out = written(market, tmp_path / name), tmp_path / f"{name}.beancount"
        for words in (["journal", folder, "--out", out], ["explain", folder, logged.where]):
            done = CliRunner().invoke(app, ["audit", *map(str, words)])
            assert done.exit_code == status
            assert (wrong in done.stderr) == bool(status)
            assert done.stdout
        assert out.read_text().startswith(f"; {head}")
        assert f'open Liabilities:Account1 EUR\n  address: "{TRADERS[0].address}"' in out.read_text()
