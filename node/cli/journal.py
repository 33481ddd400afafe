"""`wattbook audit journal`: every movement of money of a market, as a database or for accountants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from node.cli.errors import FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.options import Json
from node.cli.records import ExchangeAddress, Source, read_record, refuse_inside, verified_amounts

ENDINGS = (".sqlite", ".csv", ".parquet", ".beancount")


def journal(
    source: Source,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.sqlite is brought up to the head; FILE.csv, FILE.parquet and FILE.beancount are"
            " written anew."
        ),
    ],
    exchange: ExchangeAddress = None,
    as_json: Json = False,
) -> None:
    """Write every movement of money as double entries, by the ending of the file's name.

    Exit status 1 where the audit's checks settlement and conservation find amounts wrong.

    Example: wattbook audit journal out/demo/bundle --out market.beancount
    """
    from ledger import bookkeeping  # noqa: PLC0415 - loads slowly
    from ledger.journal import Journal, JournalError, balances, entries, holders  # noqa: PLC0415

    if out.suffix not in ENDINGS:
        stop(f"--out {out}: a journal's file ends in {', '.join(ENDINGS)}", USAGE)
    refuse_inside(source, "--out", out)
    record = read_record(source, exchange)
    right, remark = verified_amounts(record, source)
    booked = list(entries(record))
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
    total = balances(booked)
    told = {
        "entries": len(booked),
        "accounts": len(total),
        "balances_neur": {str(a): total[a] for a in sorted(total)},
    }
    typer.echo(json.dumps(told) if as_json else f"{len(booked):,} entries of {len(total):,} accounts: {out}")
    if not right:
        raise typer.Exit(FAILED)
