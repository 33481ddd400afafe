"""`wattbook audit explain`: one payment, an account's day or a slot taken apart."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.options import Json
from node.cli.records import ExchangeAddress, Source, address_of, read_record, refuse_inside, verified_amounts

if TYPE_CHECKING:
    from ledger.audit.explain import Explanation
    from ledger.audit.happened import Happening
    from ledger.audit.result import DayResult, Result
    from ledger.audit.statement import Bills, Statement
    from ledger.record import Record

    Told = Explanation | Happening | Statement | Bills | Result | DayResult

SHOWN_PAYMENTS = 5
UTILITY = "utility"
"""In the place of an account: the utility's result, not its payments."""


def explain(
    source: Source,
    payment: Annotated[
        str | None,
        typer.Argument(
            help="BLOCK:LOG of a settlement, or of any event that a line names; ACCOUNT@SLOT,"
            " ACCOUNT@2026-06-23 or @SLOT;"
            " an ACCOUNT is a number or an address; @2026-06-23 is everybody's day, a line each;"
            " utility@SLOT or utility@2026-06-23 is the utility's result by where it comes from.",
            metavar="PAYMENT",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as a page to read or print, too (HTML)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of everybody's day: write every account's page into this folder."),
    ] = None,
    exchange: ExchangeAddress = None,
    as_json: Json = False,
) -> None:
    """Take a payment, an account's day, a slot or the utility's result apart, each line with its place.

    Exit status 1 where the audit's checks settlement and conservation find amounts wrong.

    Example: wattbook audit explain out/demo/bundle 103:2
    """
    from ledger.audit.explain import ExplainError  # noqa: PLC0415 - loads slowly
    from ledger.history import NoHistory  # noqa: PLC0415

    record = read_record(source, exchange)
    try:
        if payment is None:
            stop(f"audit explain: name a payment as BLOCK:LOG or ACCOUNT@SLOT; {_payments(record)}", USAGE)
        found = _asked(record, payment)
    except ExplainError as refusal:
        stop(f"{refusal}; {_payments(record)}", USAGE)
    except NoHistory as failure:
        stop(f"{source}: {failure}", UNVERIFIABLE)
    for option, path in (("--page", page), ("--out", out)):
        if path is not None:
            refuse_inside(source, option, path)
    _write_pages(found, record, page, out)
    right, remark = verified_amounts(record, source)
    typer.echo(json.dumps(found.to_json() | {"verified": remark}) if as_json else f"{found}\n\n{remark}")
    if not right:
        raise typer.Exit(FAILED)


def _write_pages(found: Told, record: Record, page: Path | None, out: Path | None) -> None:
    """One page of what was asked for, or every account's page of a day."""
    from ledger.audit.happened import Happening  # noqa: PLC0415 - loads slowly
    from ledger.audit.statement import Bills  # noqa: PLC0415
    from node.web.bill import bill_page  # noqa: PLC0415 - jinja2 loads slowly

    pages: dict[Path, str] = {}
    if isinstance(found, Bills):
        if page is not None:
            stop("--page: everybody's day has a page an account; name a folder by --out", USAGE)
        if out is not None:
            each = found.statements.items()
            pages = {out / f"account-{number}.html": bill_page(one, record) for number, one in each}
    elif isinstance(found, Happening):
        if option := "--page" if page else "--out" if out else "":
            stop(f"{option}: {found.place} is an event, no payment, and has no page", USAGE)
    else:
        if out is not None:
            stop("--out: only of everybody's day, as @2026-06-23; name a file by --page", USAGE)
        if page is not None:
            pages = {page: bill_page(found, record)}
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        for path, text in pages.items():
            path.write_text(text, "utf-8")
    except OSError as refusal:
        stop(f"{'--page' if out is None else '--out'} {refusal}", USAGE)


def _asked(record: Record, payment: str) -> Told:
    """What is asked for by its name. Raises ExplainError, NoHistory."""
    from ledger.audit import result, statement  # noqa: PLC0415 - loads slowly
    from ledger.audit.explain import ExplainError  # noqa: PLC0415
    from ledger.audit.explain import explain as one  # noqa: PLC0415
    from ledger.audit.happened import event_at  # noqa: PLC0415

    account, at, when = payment.partition("@")
    if not at:
        try:
            return one(record, payment)
        except ExplainError:
            return event_at(record, payment)
    if when.isascii() and when.isdecimal():
        slot = int(when)
        if account == UTILITY:
            return result.of_slot(record, slot)
        if not account:
            return statement.of_slot(record, slot)
        return statement.of_account(record, _account(record, account, payment), slot)
    try:
        day = date.fromisoformat(when)
    except ValueError as failure:
        wrong = f"{when} is no date ({failure})" if "-" in when else "the slot of ACCOUNT@SLOT is a number"
        stop(f"payment {payment}: {wrong}; {_payments(record)}", USAGE)
    if account == UTILITY:
        return result.of_day(record, day)
    if not account:
        return statement.of_everyone(record, day)
    return statement.of_day(record, _account(record, account, payment), day)


def _account(record: Record, account: str, payment: str) -> str:
    """The address of an account that is named by it or by its number. Raises ExplainError, NoHistory."""
    from ledger.audit.explain import ExplainError  # noqa: PLC0415 - loads slowly
    from ledger.history import history  # noqa: PLC0415

    if not (account.isascii() and account.isdecimal()):
        return address_of(account, f"payment {payment}")
    ids = history(record).ids
    addresses = [address for address, number in ids.items() if number == int(account)]
    if addresses:
        return addresses[-1]
    raise ExplainError(f"payment {payment}: accounts are 0, the utility, to {max(ids.values())}")


def _payments(record: Record) -> str:
    """Which payments a record has, the first few by their places."""
    from ledger.audit.statement import day_of, postings  # noqa: PLC0415 - loads slowly
    from ledger.audit.verdict import slots_text  # noqa: PLC0415
    from ledger.history import history  # noqa: PLC0415

    known = history(record)
    places = [place for slot in known for place, _ in postings(slot, known.ids)]
    shown = ", ".join(places[:SHOWN_PAYMENTS]) + (", ..." if len(places) > SHOWN_PAYMENTS else "")
    paid = [slot for slot in known if postings(slot, known.ids)]
    if not paid:
        return "it has no payments"
    days = " to ".join(dict.fromkeys(str(day_of(slot)) for slot in (paid[0], paid[-1])))
    which = f"it settled {slots_text(slot.slot for slot in paid)} on {days}"
    return f"{which}; its payments are {shown} ({len(places)} in all)"
