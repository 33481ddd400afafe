"""The gas snapshot: what each step costs, base cost, signature, reserve and events included.

`gas.json` beside this file is committed. Where the contract's gas is another, the test writes the file anew
and fails once: the difference is there to be reviewed and committed. contracts/README.md shows the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from contracts import build
from ledger.keys import Key, derive
from market.orders import Order, Side
from tests.exchange.conftest import EUR, Market

SNAPSHOT = Path(__file__).with_name("gas.json")
CROWD = 100
"""Makers at most, and accounts in a batch of readings or settlements."""


def crowd(market: Market) -> list[Key]:
    keys = [derive(7, "crowd", number) for number in range(CROWD)]
    for key in keys:
        market.register(key, 4, deposit=EUR)
    return keys


def at_tick(market: Market, key: Key, side: Side, tick: int, quantity: int = 10) -> Order:
    charge = market.exchange.charge_of(market.slot, market.exchange.account_of(key.address).bus)
    return market.order(key, side, tick * 100 + charge, quantity)


def used(market: Market, sent: bytes) -> int:
    """Gas of a transaction, which must have succeeded."""
    market.do(sent)
    return market.chain.receipt(sent).gas_used


def total(market: Market, sent: Iterable[bytes]) -> int:
    """Gas of several."""
    return sum(used(market, each) for each in sent)


def measured(market: Market) -> dict[str, int]:
    """Gas by step, in a slot of 100 bids at one tick, and others at other ticks."""
    x, buyer, seller = market.exchange, market.buyer, market.seller
    keys = crowd(market)
    market.open()

    def place(key: Key, side: Side, tick: int, quantity: int = 10) -> int:
        return used(market, market.submit(key, at_tick(market, key, side, tick, quantity)))

    gas = {
        "rest: first order of an account, first at its tick": place(buyer, Side.BID, 500),
        "rest: another, first at its tick": place(buyer, Side.BID, 501),
        "rest: another, second at its tick": place(buyer, Side.BID, 501),
        "rest: another, third at its tick": place(buyer, Side.BID, 501),
        "rest: another, fourth at its tick": place(buyer, Side.BID, 501),
    }
    place(buyer, Side.BID, 505)
    berth = x.order_of(market.slot, buyer.address, 5).berth
    gas["cancel"] = used(market, market.cancel(buyer, 5, berth=berth))
    place(seller, Side.ASK, 1_500)
    for makers in (1, 10, 100):
        tick = 1_000 + makers
        for key in keys[:makers]:
            place(key, Side.BID, tick)
        gas[f"take: {makers} at one tick"] = place(seller, Side.ASK, tick, 10 * makers)
    signed = [market.signed(key, at_tick(market, key, Side.BID, 700)) for key in keys for _ in range(2)]
    sent = x.place_orders(signed, sender=market.relayer)
    gas["rest: in batches, 200 of 100 accounts at one tick, an order"] = total(market, sent) // len(signed)
    market.chain.advance_to(market.terms.closing(market.slot))
    entries = len(signed) + 111 + 7
    sent = [x.close_gate(market.slot, 160, sender=market.relayer) for _ in range(2)]
    gas["close: in 2 calls, an entry"] = total(market, sent) // entries
    assert x.slot_of(market.slot).gate_closed
    market.post_prices()
    market.at(market.terms.end(market.slot))
    readings = [market.signed_reading(key, 0) for key in keys]
    gas["read: in batches, a reading"] = (
        total(market, x.post_readings(readings, sender=market.relayer)) // CROWD
    )
    sent = x.settle_all(market.slot, [key.address for key in keys], sender=market.relayer)
    gas["settle: in batches, an account"] = total(market, sent) // CROWD
    return gas


def test_gas_is_what_the_snapshot_says(market):
    gas = measured(market)
    known = json.loads(SNAPSHOT.read_text("utf-8")) if SNAPSHOT.exists() else {}
    if gas != known:
        SNAPSHOT.write_text(json.dumps(gas, indent=1) + "\n", "utf-8")
    assert gas == known, "gas changed: tests/exchange/gas.json is written anew, to be reviewed and committed"


def test_the_page_shows_the_snapshot():
    page = (build.SOURCES.parent / "README.md").read_text("utf-8")
    table = page.split("\n## Layouts compared\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    shown = {row[0].strip(): int(row[2].replace(" ", "")) for row in cells if row[2].strip()[0].isdigit()}
    assert shown == json.loads(SNAPSHOT.read_text("utf-8"))
