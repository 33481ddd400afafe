"""What `audit explain` tells, as one page to read or to print: a bill, a slot, or the utility's result.

The page is self-contained, has no script, and is the same for the same record: no clock, no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment

from ledger.audit.explain import Explanation, Line
from ledger.audit.plain import euros
from ledger.audit.result import DayResult, Result
from ledger.audit.statement import Statement
from ledger.record import Record
from node.simulate.wording import MINUS, NBSP
from node.web.templating import environment

LEGEND = {
    "bought": "a trade; its price is at the substation, the hub, to which the network charge is added",
    "sold": "a trade; its price is at the substation, the hub, from which the network charge is taken",
    "vetoed": "a trade that the utility cancelled because the lines could not carry it",
    "network charge": "what delivery at this bus costs or saves the network, fixed before trading",
    "delivered": "the part of what was contracted, bought or sold, that the meter shows",
    "ν": "the network charge of a bus for each kWh",
    "λ_b": "the price of energy at this bus, computed from the forecast after trading",
    "λ_0": "the price of energy at the hub, computed likewise",
    "close-out": "corrects the imbalance at λ_b: what was contracted, not delivered, counts at λ_0",
    "imbalance": "energy that the meter shows above or below what was contracted",
    "λ⁺": "what more consumption than contracted costs by the tariff",
    "λ⁻": "what less consumption than contracted earns by the tariff",
    "penalty": "what energy sold in a class costs beyond the generation that was certified for it",
}
"""Terms of the exact lines, for who meets them first; a page has those that occur on it."""

Told = Explanation | Statement | Result | DayResult


@dataclass(frozen=True, slots=True)
class Part:
    """A table of a page: lines, what they add up to, and a sentence below; `gap_neur` is not explained."""

    heading: str
    lines: tuple[Line, ...]
    total_neur: int
    total_place: str = ""
    gap_neur: int = 0
    sentence: str = ""
    words: tuple[str, ...] = ()
    """What happened, for its owner: above the lines."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the top of the page."""

    name: str
    neur: int
    remark: str = ""


def bill_page(found: Told, record: Record) -> str:
    """The page of what was found in a record.

    It names the head, which its reader must know from elsewhere too: the command it prints does not hand it
    over.
    """
    head = record.blocks[-1]
    return _rendered("bill.html", found, record, head_number=head.number, head_hash="0x" + head.hash.hex())


def bill_among_pages(found: Explanation, record: Record, *, audit: str, explain: str) -> str:
    """A payment's page as one of the market's pages, with the commands to verify it and to take it apart."""
    return _rendered("bill_among_pages.html", found, record, bill=found, audit=audit, explain=explain)


def _rendered(template: str, found: Told, record: Record, **more: Any) -> str:
    title, figures, parts = _contents(found)
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            figures=figures,
            parts=parts,
            legend=_legend(parts),
            chain_id=record.domain.chain_id,
            exchange=record.exchange,
            **more,
        )
    )


def _contents(found: Told) -> tuple[str, Sequence[Figure], Sequence[Part]]:
    match found:
        case Explanation():
            return found.heading, _figures(found.posted_neur, found.flat_neur), [_payment(found)]
        case Statement():
            figures = _figures(found.total_neur, found.flat_neur if found.compares else None, found.rest)
            return found.heading, figures, [_payment(each) for each in found.payments]
        case Result():
            return found.heading, [Figure("Result", found.result_neur)], _sides(found, "")
        case DayResult():
            parts = [*_sides(found, "In all: "), *(part for each in found.slots for part in _of_slot(each))]
            return found.heading, [Figure("Result", sum(each.result_neur for each in found.slots))], parts


def _legend(parts: Sequence[Part]) -> dict[str, str]:
    """The terms that occur in the lines of a page, with what they mean."""
    lines = [line.what for part in parts for line in part.lines]
    return {term: words for term, words in LEGEND.items() if any(term in line for line in lines)}


def _figures(total_neur: int, flat_neur: int | None, remark: str = "") -> list[Figure]:
    """What is to be paid, and beside it what the same meters would have cost without the market."""
    figures = [Figure("To pay" if total_neur >= 0 else "To receive", abs(total_neur), remark)]
    if flat_neur is not None:
        saved = flat_neur - total_neur
        named = "would have been paid" if flat_neur >= 0 else "would have been received"
        figures.append(Figure("Without the market", abs(flat_neur), f"{named} on retail and feed-in tariff"))
        figures.append(Figure("Better with it" if saved >= 0 else "Worse with it", abs(saved)))
    return figures


def _payment(each: Explanation) -> Part:
    gap = each.posted_neur - each.total_neur
    words = each.sentences
    return Part(each.heading, each.lines, each.total_neur, each.place, gap, each.flat_sentence, words)


def _of_slot(each: Result) -> Sequence[Part]:
    return _sides(each, each.heading.rstrip(":") + ": ")


def _sides(each: Result | DayResult, of: str) -> Sequence[Part]:
    posted, sources = (sum(line.amount_neur for line in side) for side in (each.posted, each.sources))
    return (
        Part(f"{of}what was posted", each.posted, posted),
        Part(f"{of}where it comes from", each.sources, sources, gap_neur=posted - sources),
    )


def _amount(neur: int) -> str:
    """Money to the last unit, with a minus sign that is one."""
    return euros(neur).replace("-", MINUS).replace(" ", NBSP)


@cache
def _environment() -> Environment:
    return environment({"amount": _amount})
