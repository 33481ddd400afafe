"""What vetoes take back of trades that the book's events tell of, maker by maker."""

from __future__ import annotations

from dataclasses import replace

from market.orders import Fill, FillVetoed


def take_back(standing: list[Fill], veto: FillVetoed) -> list[Fill]:
    """Take the vetoed energy out of a slot's last fills, in place; returns the parts, the last first.

    A veto goes back over the fills in the order in which they happened. Whether they were the vetoed
    order's is not looked at: a contract takes back nothing else, and the audit replays what it did.
    """
    parts: list[Fill] = []
    left_wh = veto.quantity
    while left_wh > 0 and standing:
        last = standing.pop()
        part_wh = min(left_wh, last.quantity)
        parts.append(replace(last, quantity=part_wh))
        if part_wh < last.quantity:
            standing.append(replace(last, quantity=last.quantity - part_wh))
        left_wh -= part_wh
    return parts
