"""`wattbook audit journal`: every movement of money of a market, added up, and as a file for accountants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.options import Json
from node.cli.records import ExchangeAddress, Source, read_record, refuse_inside, verified_amounts
from node.cli.sheet import sheet

if TYPE_CHECKING:
    from ledger.journal import Entry, KindTotal
    from ledger.record import Record

ENDINGS = (".sqlite", ".csv", ".parquet", ".beancount")


def journal(
    source: Source,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.sqlite is brought up to the head; FILE.csv, FILE.parquet and FILE.beancount are"
            " written anew."
        ),
    ] = None,
    exchange: ExchangeAddress = None,
    as_json: Json = False,
) -> None:
    """Add up every movement of money as double entries, and write them by the ending of the file's name.

    Exit status 1 where the audit's checks settlement and conservation find amounts wrong.

    Example: wattbook audit journal out/demo/bundle --out market.beancount
    """
    from ledger.journal import balances, entries, trial_balance  # noqa: PLC0415 - loads slowly

    if out is not None:
        _refuse(out, source)
    record = read_record(source, exchange)
    right, remark = verified_amounts(record, source)
    booked = list(entries(record))
    if out is not None:
        _write(out, record, booked, remark)
    total, by_kind = balances(booked), trial_balance(booked)
    if as_json:
        told = {
            "entries": len(booked),
            "accounts": len(total),
            "balances_neur": {str(a): total[a] for a in sorted(total)},
            "trial_balance": [asdict(each) | {"difference_neur": each.difference_neur} for each in by_kind],
            "difference_neur": sum(each.difference_neur for each in by_kind),
        }
        typer.echo(json.dumps(told))
    else:
        place = "" if out is None else f": {out}"
        typer.echo(f"{len(booked):,} entries of {len(total):,} accounts{place}\n")
        typer.echo("\n".join(_trial_balance(by_kind)))
    if not right:
        raise typer.Exit(FAILED)


def _refuse(out: Path, source: str) -> None:
    """Leave with 2 where no journal can be written there."""
    if out.suffix not in ENDINGS:
        stop(f"--out {out}: a journal's file ends in {', '.join(ENDINGS)}", USAGE)
    refuse_inside(source, "--out", out)


def _write(out: Path, record: Record, booked: Sequence[Entry], remark: str) -> None:
    """Write the entries as the file's name says; leaves with 2 or 3 where it cannot be."""
    from ledger import bookkeeping  # noqa: PLC0415 - loads slowly
    from ledger.journal import Journal, JournalError, holders  # noqa: PLC0415

    try:
        if out.suffix == ".sqlite":
            Journal(out).update(record)
        elif out.suffix == ".csv":
            out.write_text(bookkeeping.to_csv(booked))
        elif out.suffix == ".parquet":
            bookkeeping.write_parquet(booked, out)
        else:
            addresses = {number: address for number, (address, _) in holders(record).items()}
            title = f"market {record.exchange}"
            out.write_text(bookkeeping.to_beancount(booked, title, remark, addresses))
    except bookkeeping.NotInstalledError as missing:
        stop(f"--out {out}: {missing}", USAGE)
    except JournalError as failure:
        stop(failure, UNVERIFIABLE)
    except OSError as refusal:
        stop(f"--out {refusal}", USAGE)


def _trial_balance(by_kind: Sequence[KindTotal]) -> list[str]:
    """A row for each kind of account, and one for all of them."""
    rows = [(each.kind, each.debits_neur, each.credits_neur) for each in by_kind]
    rows.append(
        ("in all", sum(each.debits_neur for each in by_kind), sum(each.credits_neur for each in by_kind))
    )
    shown = [(kind, f"{debits:,}", f"{credits:,}", f"{debits - credits:,}") for kind, debits, credits in rows]
    return sheet(("n€", "debits", "credits", "difference"), shown, get_terminal_size().columns)
