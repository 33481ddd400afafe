"""The veto: fills taken back from the last on, and what is left of them when the gate is closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keccak import keccak
from market.accounts import Refused
from market.book import Book
from market.fills import NO_FILLS, chain
from market.orders import CloseGate, FillVetoed, Order, OrderVoided, Side, VetoFills, VoidReason
from tests.market.twin_cases import (
    OPENS,
    PENALTIES,
    SLOT,
    TARIFF,
    TRADERS,
    bus_of,
    charges,
    close_book,
    open_book,
    orders,
    picture,
    place,
    rules,
    tariffs,
    terms,
    trader,
    veto_of,
)
from tests.market.twin_cases import cancel as cancel_of

VETO_GRACE = 300
GATE = terms().gate(SLOT)
deterministic = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture
def book() -> Book:
    """Trader 2 asks for 90 000 and 95 000, 0 has bought 30 and 70 Wh there, 1 another 20."""
    book = open_book(terms(veto_grace=VETO_GRACE), TARIFF)
    send(book, order(2, 0, Side.ASK, 90_000, 30), order(2, 1, Side.ASK, 95_000, 100, energy_class=1))
    send(book, order(2, 2, Side.ASK, 95_000, 100))
    send(book, order(0, 0, Side.BID, 95_000, 100), order(1, 0, Side.BID, 95_000, 20))
    return book


def order(index: int, nonce: int, side: Side, limit: int, quantity: int, **more) -> Order:
    return Order(trader(index), SLOT, nonce, side, more.pop("energy_class", 0), limit, quantity, **more)


def send(book: Book, *placed: Order, time: int = OPENS):
    return [event for order in placed for event in book.apply(place(order, time))]


def veto(book: Book, *vetoes, time: int = GATE):
    return book.apply(VetoFills(vetoes, time))


def position(book: Book, index: int):
    return book.position(book.accounts.get(trader(index)))


def test_fills_are_chained_by_level(book):
    """The formula of contracts/README.md, written out."""
    number = SLOT << 19 | 0 << 17 | Side.ASK << 16 | 32_768 - 900
    buyer = book.accounts.get(trader(0)).id
    first = keccak(NO_FILLS + b"".join(n.to_bytes(32, "big") for n in (number, buyer << 8 | 0, 30)))
    assert [fill.quantity_wh for fill in book.fills] == [30, 70, 20]
    assert [fill.before for fill in book.fills][:2] == [NO_FILLS, first]
    assert book.fills[0].hash(SLOT, keccak) == first and book.fill_hash != first


def test_the_last_fill_is_taken_back_as_if_it_had_not_been(book):
    before = book.fills[-1].before
    assert veto(book, veto_of(book.fills[-1], reason=2, element=17)) == (
        FillVetoed(SLOT, trader(1), 0, Side.BID, 0, 950, 20, 2, 17),
    )
    taker = position(book, 1)
    assert (taker.net_wh, taker.trades_neur, taker.reserve_neur) == (0, 0, 0)
    assert book.accounts.get(trader(1)).reserved_neur == 0
    assert book.fill_hash == before and len(book.fills) == 2


def test_a_part_may_be_taken_back_and_then_more(book):
    last = book.fills[-1]
    veto(book, veto_of(last, 5))
    assert book.fills[-1] == replace(last, quantity_wh=15)
    with pytest.raises(Refused, match="veto: not the last fill"):
        veto(book, veto_of(last))
    veto(book, veto_of(book.fills[-1], 15), veto_of(book.fills[-2], 1))
    assert [fill.quantity_wh for fill in book.fills] == [30, 69]
    assert position(book, 0).net_wh == 99


def test_what_was_taken_back_is_void_at_closing_and_never_traded(book):
    veto(book, veto_of(book.fills[-1]), veto_of(book.fills[-2], 50))
    voids = [event for event in close_book(book) if isinstance(event, OrderVoided)]
    closed = VoidReason.GATE_CLOSED
    assert [(e.nonce, e.quantity, e.reason) for e in voids] == [(2, 80, closed), (1, 100, closed)]
    seller = position(book, 2)
    assert (seller.net_wh, seller.trades_neur) == (-50, -30 * 90_000 - 20 * 95_000)
    assert sum(seller.resting_wh.values()) == 0
    assert seller.reserve_neur == book.accounts.get(trader(2)).reserved_neur


def test_an_order_cancelled_after_a_fill_rests_again_to_the_part_that_was_filled(book):
    book.apply(cancel_of(book, trader(2), 2, OPENS))
    assert position(book, 2).resting_count[Side.ASK] == 2
    veto(book, veto_of(book.fills[-1]), veto_of(book.fills[-2]))
    assert book.level_wh(0, Side.ASK, 950) == 90
    # Nobody could meet it: the level stays passed.
    assert book.best(0, Side.ASK) is None
    voids = [event for event in close_book(book) if isinstance(event, OrderVoided)]
    assert [(event.nonce, event.quantity) for event in voids] == [(2, 90), (1, 100)]
    seller = position(book, 2)
    assert (seller.net_wh, seller.resting_wh[Side.ASK], seller.resting_count[Side.ASK]) == (-30, 0, 2)
    assert seller.reserve_neur == book.accounts.get(trader(2)).reserved_neur > 0


def test_many_makers_and_gaps_are_gone_back_over():
    book = open_book(terms(veto_grace=VETO_GRACE), TARIFF)
    send(book, *(order(1 + n % 3, n, Side.ASK, 90_000, 10) for n in range(9)))
    for nonce in (2, 5):
        book.apply(cancel_of(book, trader(1 + nonce % 3), nonce, OPENS))
    told = send(book, order(0, 0, Side.BID, 90_000, 65))
    assert chain(SLOT, told, lambda taker: book.accounts.get(taker).id, keccak) == book.fills
    veto(book, veto_of(book.fills[0], 40))
    (level,) = book._opened
    assert (level.head, level.taken_wh, level.resting_wh()) == (3, 5, 45)
    close_book(book)
    assert [position(book, index).net_wh for index in (1, 2, 3)] == [-15, -10, 0]
    assert position(book, 0).net_wh == 25


REFUSED = {
    "veto: not now": [lambda v: (GATE - 1, v), lambda v: (GATE + VETO_GRACE, v)],
    "accounts: unknown account": [lambda v: (GATE, replace(v, taker=trader(99)))],
    "veto: more than was filled": [
        lambda v: (GATE, replace(v, cut=0)),
        lambda v: (GATE, replace(v, cut=v.quantity + 1)),
    ],
    "veto: not the last fill": [
        lambda v: (GATE, replace(v, taker=trader(0))),
        lambda v: (GATE, replace(v, taker_nonce=1)),
        lambda v: (GATE, replace(v, energy_class=1)),
        lambda v: (GATE, replace(v, energy_class=4)),
        lambda v: (GATE, replace(v, taker_side=1)),
        lambda v: (GATE, replace(v, taker_side=2, taker=trader(99))),
        lambda v: (GATE, replace(v, tick=-(2**15))),
        lambda v: (GATE, replace(v, tick=949)),
        lambda v: (GATE, replace(v, quantity=19, cut=19)),
        lambda v: (GATE, replace(v, before=NO_FILLS)),
    ],
}


@pytest.mark.parametrize("rule", REFUSED)
def test_vetoes_that_are_refused_take_nothing_back(book, rule):
    last, one_before = veto_of(book.fills[-1]), veto_of(book.fills[-2])
    before = picture(book)
    for spoil in REFUSED[rule]:
        time, spoilt = spoil(last)
        with pytest.raises(Refused) as caught:
            veto(book, spoilt, time=time)
        assert caught.value.rule == rule
        with pytest.raises(Refused):
            veto(book, last, spoil(one_before)[1], last, time=time)
        assert picture(book) == before
    assert veto(book, time=GATE) == ()


def test_a_batch_of_no_vetoes_has_its_time_too(book):
    with pytest.raises(Refused, match="veto: not now"):
        veto(book, time=GATE - 1)
    book.tariff = None
    with pytest.raises(Refused, match="slots: not scheduled"):
        veto(book, time=GATE)


def test_a_market_without_a_veto_keeps_no_fills():
    book = open_book(terms(), TARIFF)
    send(book, order(2, 0, Side.ASK, 90_000, 30), order(0, 0, Side.BID, 95_000, 30))
    assert book.fills == [] and book.fill_hash == NO_FILLS
    assert isinstance(book.apply(CloseGate(GATE, 4_096))[-1].accounts, int)


def test_closing_waits_for_the_veto(book):
    with pytest.raises(Refused, match="book: before closing"):
        book.apply(CloseGate(GATE + VETO_GRACE - 1, 1))
    assert veto(book, veto_of(book.fills[-1]), time=GATE + VETO_GRACE - 1)
    book.apply(CloseGate(GATE + VETO_GRACE, 1))
    with pytest.raises(Refused, match="veto: not now"):
        veto(book, veto_of(book.fills[-1]), time=GATE + VETO_GRACE)


@deterministic
@given(st.data())
def test_after_any_veto_energy_money_and_reserves_are_those_of_the_fills_that_are_left(data):
    tariff, bus_charges, rule = data.draw(tariffs()), data.draw(charges), data.draw(rules)
    book = open_book(terms(rule, veto_grace=VETO_GRACE), tariff, bus_charges, TRADERS)
    events = []
    for nonce in range(data.draw(st.integers(5, 40))):
        events += send(book, data.draw(orders(TRADERS, nonce, tariff, bus_charges)), time=OPENS + nonce)
        who = trader(data.draw(st.integers(0, TRADERS - 1)))
        if data.draw(st.booleans()) and book.resting(book.accounts.get(who), nonce - 1):
            book.apply(cancel_of(book, who, nonce - 1, OPENS + nonce))
    took = dict.fromkeys(range(TRADERS), 0)
    for _ in range(data.draw(st.integers(0, len(book.fills)))):
        last = book.fills[-1]
        events += veto(book, veto_of(last, data.draw(st.integers(1, last.quantity_wh))))
    assert chain(SLOT, events, lambda taker: book.accounts.get(taker).id, keccak) == book.fills
    for fill in book.fills:
        took[fill.taker_id - 1] += fill.quantity_wh * (1 if fill.taker_side == Side.BID else -1)
    for index in range(TRADERS):
        assert position(book, index).net_wh == took[index]
    close_book(book, page=data.draw(st.integers(1, 9)))
    held = [position(book, index) for index in range(TRADERS)]
    assert sum(p.net_wh for p in held) == sum(p.trades_neur for p in held) == 0
    for energy_class in range(1, len(PENALTIES) + 1):
        assert sum(p.class_net_wh.get(energy_class, 0) for p in held) == 0
    for index, found in enumerate(held):
        account = book.accounts.get(trader(index))
        assert sum(found.resting_wh.values()) == 0
        assert found.reserve_neur == account.reserved_neur == reserve_of_fills(book, index)


def reserve_of_fills(book: Book, index: int) -> int:
    """What an account's fills reserve, of its own and of others' taking."""
    account = book.accounts.get(trader(index))
    assert account.bus == bus_of(index)
    total = sum(
        fill.quantity_wh * book._reserve_per_wh(account, fill.energy_class, Side(fill.taker_side), fill.tick)
        for fill in book.fills
        if fill.taker_id == account.id
    )
    for level in book._opened:
        mine = [place for place, entry in enumerate(level.entries) if entry.account is account]
        filled_wh = sum(level.entries[place].quantity_wh for place in mine)
        total += filled_wh * book._reserve_per_wh(account, level.energy_class, level.side, level.tick)
    return total
