"""Attacks on a market, each by its name, and what becomes of them.

Others stand with what they attack: a maximal `s` and nonsense signatures in `test_contract_signatures`,
tokens that return nothing or false or keep a fee in `test_contract_money`, settlement in every order and
split in `test_contract_settlement`, silent meters in `test_contract_estimates`, packed fields at their
edges in `test_contract_edges`, an utility without money in `test_contract_backing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger import vectors
from ledger.calls import OracleSignature
from ledger.eip712 import Domain, digest
from ledger.keys import CURVE_ORDER, Key, Signature, derive
from market.events import AccountSettled
from market.messages import CancelRequest, ForecastsHeader, OracleSet, Reading
from market.orders import (
    FillVetoed,
    Flag,
    OrderPlaced,
    OrderRejected,
    OrderVoided,
    Reject,
    Side,
    VetoPaused,
    VoidReason,
)
from tests.exchange.conftest import (
    CERTIFICATE_HASH,
    CHARGES,
    EUR,
    HUB_TICK,
    INPUT_HASH,
    PRICES,
    TERMS,
    Market,
    deal,
    found,
    meter_of,
    with_token,
)

BUYER, OTHER, SELLER = HUB_TICK + CHARGES[1], HUB_TICK + CHARGES[2], HUB_TICK + CHARGES[3]
GAS_OF_128_VISITS = 5_200_000
"""No order takes more, whatever was put in its way: `test_contract_bounds` builds the worst."""
GAS_OF_1024_GAPS = 1_600_000
GAS_OF_A_CANCEL = 250_000

# --- replay -------------------------------------------------------------------------------------


def another_contract() -> tuple[Market, Domain]:
    """A market, and the domain of a second exchange of the same people on its chain."""
    market = found(TERMS)
    return market, with_token(market, market.token).exchange.domain


def another_chain() -> tuple[Market, Domain]:
    """A market, and the domain of its twin at the same address of another chain."""
    market, twin = found(TERMS), found(TERMS, chain_id=1)
    assert market.exchange.address == twin.exchange.address
    assert market.exchange.domain != twin.exchange.domain
    return market, twin.exchange.domain


@pytest.mark.parametrize("elsewhere", [another_chain, another_contract])
def test_replay_of_what_was_signed_elsewhere(elsewhere):
    """Orders, cancels, readings, and whatever a quorum signs: the same message, the other domain."""
    market, domain = elsewhere()
    x, slot, relayer = market.exchange, market.slot, market.relayer

    def proofs(message) -> list[OracleSignature]:
        return [OracleSignature.by(market.oracles[i], domain, i, message) for i in (0, 2, 3)]

    market.schedule()
    hashes = vectors.chunk_hashes(CHARGES)
    charges = proofs(market.charges_header())
    market.refused(
        "oracle: bad signature",
        x.post_charges(slot, hashes, INPUT_HASH, CERTIFICATE_HASH, charges, sender=relayer),
    )
    market.post_charges()
    market.at(market.terms.opens(slot))
    order, cancel = market.bid(market.buyer, BUYER), CancelRequest(market.buyer.address, slot, 9)
    signature = market.buyer.sign(digest(domain, order))
    market.refused("order: bad signature", x.place_order(order, signature, sender=relayer))
    signature = market.buyer.sign(digest(domain, cancel))
    market.refused("book: bad signature", x.cancel_order(cancel, signature, sender=relayer))
    oracles = OracleSet(1, 1, (market.relayer.address,))
    sent = x.rotate_oracles(oracles.oracles, 1, proofs(oracles), sender=relayer)
    market.refused("oracle: bad signature", sent)
    market.close()
    sent = x.post_prices(
        slot, PRICES[0], -77, vectors.chunk_hashes(PRICES), INPUT_HASH, CERTIFICATE_HASH,
        proofs(market.prices_header()), sender=relayer,
    )  # fmt: skip
    market.refused("oracle: bad signature", sent)
    words = market.forecast_words({market.buyer.address: 500})
    forecasts = proofs(ForecastsHeader(slot, 1, 0, vectors.chunk_hash(words)))
    market.refused("oracle: bad signature", x.post_forecasts(slot, 0, words, forecasts, sender=relayer))
    market.at(market.terms.end(slot))
    reading = market.reading(market.buyer, -900)
    signature = meter_of(market.buyer).sign(digest(domain, reading))
    market.refused("reading: bad signature", x.post_reading(reading, signature, sender=relayer))


def test_replay_in_another_slot(market):
    """What was signed for one slot is worth nothing in the next, nor a second time in its own."""
    x, slot, relayer = market.exchange, market.slot, market.relayer
    market.schedule(count=2)
    market.post_charges()
    hashes, proofs = vectors.chunk_hashes(CHARGES), market.prove(market.charges_header())
    market.refused(
        "oracle: bad signature",
        x.post_charges(slot + 1, hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=relayer),
    )
    market.post_charges(slot=slot + 1)
    market.at(market.terms.opens(slot + 1))
    order = market.bid(market.buyer, BUYER)
    signature = market.buyer.sign(digest(x.domain, order))
    market.do(x.place_order(order, signature, sender=relayer))
    market.refused("order: nonce used", x.place_order(order, signature, sender=relayer))
    later = replace(order, slot=slot + 1)
    market.refused("order: bad signature", x.place_order(later, signature, sender=relayer))
    cancel = CancelRequest(market.buyer.address, slot, order.nonce)
    signature = market.buyer.sign(digest(x.domain, cancel))
    later = replace(cancel, slot=slot + 1)
    market.refused("book: bad signature", x.cancel_order(later, signature, sender=relayer))
    market.do(x.cancel_order(cancel, signature, sender=relayer))
    market.refused("book: nothing to cancel", x.cancel_order(cancel, signature, sender=relayer))
    market.at(market.terms.end(slot + 1))
    reading = market.signed_reading(market.buyer, 40)
    market.do(market.submit_reading(reading))
    market.refused("reading: already final", market.submit_reading(reading))
    moved = replace(reading, reading=replace(reading.reading, slot=slot + 1))
    market.refused("reading: bad signature", market.submit_reading(moved))


def test_a_malleable_signature(trading):
    """Of a signature nobody makes another that is good: neither by its parity nor by the other half of s."""
    market, x = trading, trading.exchange
    order = market.bid(market.buyer, BUYER)
    good = market.buyer.sign(digest(x.domain, order))
    for twisted in other_forms(good):
        market.refused("order: bad signature", x.place_order(order, twisted, sender=market.relayer))
    market.do(x.place_order(order, good, sender=market.relayer))
    # And if there were another form: the order is known by its nonce, not by its signature.
    market.refused("order: nonce used", x.place_order(order, good, sender=market.relayer))


def other_forms(signature: Signature) -> Iterator[Signature]:
    r, vs = int.from_bytes(signature.r, "big"), int.from_bytes(signature.vs, "big")
    parity, high_s = vs >> 255 << 255, CURVE_ORDER - signature.s
    forms = [(r, vs ^ 1 << 255), (r, high_s), (r, high_s ^ 1 << 255), (CURVE_ORDER - r, vs), (r, parity)]
    for r_form, vs_form in forms:
        assert (r_form, vs_form) != (r, vs)
        yield Signature(r_form.to_bytes(32, "big"), vs_form.to_bytes(32, "big"))


# --- griefing -----------------------------------------------------------------------------------


def sell(market: Market, quantity: int) -> tuple[list, int]:
    """The seller takes what it can, at any price; events and gas."""
    order = market.ask(market.seller, SELLER - 20_000, quantity, flags=Flag.IMMEDIATE_OR_CANCEL)
    sent = market.submit(market.seller, order)
    return list(market.do(sent)[1:]), market.chain.receipt(sent).gas_used


def test_griefing_by_dust(trading):
    """300 smallest orders before an honest one delay it by two orders of a taker, each of bounded gas."""
    market = trading
    market.crowd(300, HUB_TICK)
    honest = market.bid(market.buyer, BUYER - 100, 500)
    market.place(market.buyer, honest)
    below = market.signed(market.other, market.bid(market.other, OTHER, 9))
    assert [event.code for event in market.place_all(below)] == [Reject.NOT_WHOLE_LOTS]
    met = []
    for _ in range(3):
        events, gas = sell(market, 5_000)
        assert gas < GAS_OF_128_VISITS
        met.append(len(market.fills(events)))
    assert met == [128, 128, 300 - 256 + 1]
    assert market.position(market.buyer).resting_bids == 500 and market.fills(events)[-1][3] == 500


def test_a_storm_of_cancels(trading):
    """256 places and cancels, all that an account has, cost a taker one order before it meets others."""
    market, x = trading, trading.exchange
    storm = market.register(market.newcomer, 4, deposit=EUR)
    orders = [market.bid(storm, HUB_TICK, 10) for _ in range(256)]
    market.place(storm, orders[0])
    for start in range(1, 256, 15):
        batch = orders[start : start + 15]
        market.place_all(*(market.signed(storm, order) for order in batch))
        for order in batch:
            market.do(market.cancel(storm, order.nonce))
    market.place(market.buyer, market.bid(market.buyer, BUYER, 500))
    # The order at the head held 255 gaps together; its cancel passes 127 of them, the taker 128.
    market.do(sent := market.cancel(storm, 0))
    assert market.chain.receipt(sent).gas_used < GAS_OF_A_CANCEL
    assert market.reserved(storm) == 0
    again = [market.signed(storm, replace(orders[7], quantity_wh=20)), market.signed(storm, orders[255])]
    assert [event.code for event in market.place_all(*again)] == [Reject.NONCE_USED] * 2
    events, gas = sell(market, 500)
    assert events == [OrderVoided(market.slot, market.seller.address, 0, 500, VoidReason.VISITS)]
    assert gas < GAS_OF_128_VISITS
    events, _ = sell(market, 500)
    assert market.fills(events) == [(market.buyer.address, 0, 1_000, 500)]
    assert x.best_bid(market.slot, 0).found is False


def test_a_crowd_of_expired_makers(trading):
    """They are voided where they are met, 128 an order, and get back what they reserved."""
    market = trading
    keys = [derive(7, "expiring", i) for i in range(9)]
    for key in keys:
        market.register(key, 4, deposit=EUR)
    expiry = market.chain.now() + 1_000
    market.place_all(
        *(
            market.signed(keys[i // 16], market.bid(keys[i // 16], HUB_TICK, 10, expiry=expiry))
            for i in range(140)
        )
    )
    market.place(market.buyer, market.bid(market.buyer, BUYER, 500))
    market.at(expiry)
    first, gas = sell(market, 500)
    reasons = [event.reason for event in first if isinstance(event, OrderVoided)]
    assert reasons == [VoidReason.EXPIRED] * 128 + [VoidReason.VISITS] and gas < GAS_OF_128_VISITS
    second, _ = sell(market, 500)
    assert [event.reason for event in second[:12]] == [VoidReason.EXPIRED] * 12
    assert market.fills(second) == [(market.buyer.address, 0, 1_000, 500)]
    assert [market.reserved(key) for key in keys] == [0] * 9


def test_orders_after_a_batch_of_long_walks_are_sent_again(trading):
    """Two walks of 128 visits fill a batch: what comes behind is skipped, and the gateway sends it again."""
    market, slot = trading, trading.slot
    market.crowd(3 * 128, HUB_TICK)
    price, size = SELLER - 20_000, 128 * 10
    long_ones = [market.signed(market.seller, market.ask(market.seller, price, size)) for _ in range(3)]
    short = [market.signed(market.other, market.bid(market.other, OTHER - 5_000 - n, 10)) for n in range(9)]
    batch = (*long_ones, *short)
    before = market.chain.snapshot()
    (sent,) = market.exchange.place_orders(batch, sender=market.relayer)
    skipped = [event for event in market.do(sent) if isinstance(event, OrderRejected)]
    expected = [each.order for each in batch[2:]]
    assert skipped == [
        OrderRejected(slot, order.trader, order.nonce, Reject.TOO_MANY_VISITS) for order in expected
    ]
    assert not any(market.exchange.nonce_used(slot, order.trader, order.nonce) for order in expected)
    assert market.chain.revert(before)
    events = market.exchange.relay_orders(batch, sender=market.relayer)
    placed = [(event.trader, event.nonce) for event in events if isinstance(event, OrderPlaced)]
    assert placed == [(each.order.trader, each.order.nonce) for each in batch]
    assert not any(isinstance(event, OrderRejected) for event in events)


def test_a_storm_of_gaps_before_a_veto(veto_market):
    """More gaps behind the last fill than one call goes back over: it pauses, and the next one goes on."""
    market, slot = veto_market, veto_market.slot
    storm = [market.register(derive(7, "storm", i), 4, deposit=EUR) for i in range(5)]
    market.open()
    market.place(market.seller, market.ask(market.seller, SELLER, 10))
    market.place(market.buyer, market.bid(market.buyer, BUYER, 10))
    for key in storm:
        # 15 asks, and a bid that meets them: they are its own, and void.
        for _ in range(16):
            asks = [market.signed(key, market.ask(key, HUB_TICK, 10)) for _ in range(15)]
            bid = market.bid(key, HUB_TICK, 10, flags=Flag.IMMEDIATE_OR_CANCEL)
            market.place_all(*asks, market.signed(key, bid))
    market.at(market.terms.gate(slot))
    (veto,) = market.whole_vetoes()
    before = market.exchange.account_of(market.buyer.address).reserved
    (paused,) = market.do(sent := market.veto(veto))
    assert paused == VetoPaused(slot, 0, Side.ASK, 1_000, 1 + 5 * 16 * 15 - 1_024)
    assert market.chain.receipt(sent).gas_used < GAS_OF_1024_GAPS
    assert market.exchange.account_of(market.buyer.address).reserved == before > 0
    (vetoed,) = market.do(market.veto(veto))
    assert isinstance(vetoed, FillVetoed) and vetoed.quantity == 10
    assert market.reserved(market.buyer) == 0 and market.exchange.level_of(slot, 0, Side.ASK, 1_000) == 10
    market.close()
    assert market.position(market.buyer).net == market.position(market.seller).net == 0


def test_a_maker_in_debt(market):
    """Its order still fills, it places and withdraws nothing more, and its partner gets what is due."""
    x, debtor = market.exchange, market.register(market.newcomer, 4, deposit=10_000_000)
    later = replace(market, slot=market.slot + 4)
    market.open()
    later.schedule()
    later.post_charges()
    market.close()
    later.place(debtor, later.ask(debtor, HUB_TICK, 100))
    assert market.reserved(debtor) == 10_000_000
    market.post_prices()
    market.read(market.signed_reading(debtor, 1_000))
    market.settle(debtor.address)
    assert x.uncovered() == 110_000_000 + 10_000_000
    refused = later.signed(debtor, later.ask(debtor, HUB_TICK, 10))
    assert [event.code for event in later.place_all(refused)] == [Reject.INSUFFICIENT_FUNDS]
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=debtor))
    events = later.place(market.buyer, later.bid(market.buyer, BUYER, 100))
    assert later.fills(events) == [(debtor.address, 0, 1_000, 100)]
    later.close()
    later.post_prices()
    later.read(later.signed_reading(market.buyer, 100), later.signed_reading(debtor, 0))
    before = market.balance(market.buyer)
    later.settle(market.buyer.address, debtor.address, market.utility.address)
    assert before - market.balance(market.buyer) == BUYER * 100
    # It was paid for the trade, and pays the hub price for what it did not deliver.
    assert x.uncovered() == 110_000_000 - 100 * HUB_TICK + 100 * PRICES[0]
    assert x.backing() >= 0 and market.token.balance_of(x.address) == market.total()


# --- oracles ------------------------------------------------------------------------------------


def post_charges(market: Market, signers, epoch: int) -> bytes:
    proofs = market.prove(replace(market.charges_header(), epoch=epoch), signers)
    hashes = vectors.chunk_hashes(CHARGES)
    return market.exchange.post_charges(
        market.slot, hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=market.relayer
    )


def post_prices(market: Market, signers, epoch: int) -> bytes:
    proofs = market.prove(replace(market.prices_header(), epoch=epoch), signers)
    return market.exchange.post_prices(
        market.slot, PRICES[0], -77, vectors.chunk_hashes(PRICES), INPUT_HASH, CERTIFICATE_HASH, proofs,
        sender=market.relayer,
    )  # fmt: skip


def post_forecasts(market: Market, signers, epoch: int) -> bytes:
    words = market.forecast_words({market.buyer.address: 900})
    return market.submit_forecasts(words, signers=signers, wrong={"epoch": epoch})


def rotate(market: Market, signers, epoch: int) -> bytes:
    members = tuple(key.address for key in market.oracles[:3])
    proofs = market.prove(OracleSet(epoch, 3, members), signers)
    return market.exchange.rotate_oracles(members, 3, proofs, sender=market.relayer)


@pytest.mark.parametrize(
    ("post", "from_gate"),
    [(post_charges, False), (rotate, False), (post_prices, True), (post_forecasts, True)],
)
def test_oracle_signatures_that_are_no_quorum(market, post, from_gate):
    """A wrong epoch, the same oracle twice, fewer than k; and those of a set that was replaced."""
    market.schedule()
    if from_gate:
        market.at(market.terms.gate(market.slot))
    for signers, epoch, rule in (
        ((0, 1, 2), 0, "oracle: bad signature"),
        ((0, 1, 2), 2, "oracle: bad signature"),
        ((0, 1), 1, "oracle: quorum not reached"),
        ((), 1, "oracle: quorum not reached"),
        ((0, 1, 1), 1, "oracle: signers not ascending"),
        ((0, 0, 1, 2), 1, "oracle: signers not ascending"),
        ((2, 1, 0), 1, "oracle: signers not ascending"),
    ):
        market.refused(rule, post(market, signers, epoch))
    market.do(rotate(market, (2, 3, 4), 1))
    market.refused("oracle: bad signature", post(market, (0, 1, 2), 1))
    market.do(post(market, (0, 1, 2), 2))


# --- trades that are none -----------------------------------------------------------------------


def paid(market: Market, *keys: Key) -> int:
    """What these accounts pay together for the slot, n€."""
    events = market.settle(*(key.address for key in keys))
    bills = [event for event in events if isinstance(event, AccountSettled)]
    assert len(bills) == len(keys)
    return sum(b.trades + b.charge + b.closeout + b.imbalance + b.penalty for b in bills)


@pytest.mark.parametrize(("fixture", "rule"), [("market", "dlmp"), ("tariff_market", "tariff")])
def test_virtual_trades(request, fixture, rule):
    """A ring over three buses that trades at any price and delivers nothing gains nothing from anybody."""
    market = request.getfixturevalue(fixture)
    market.open()
    ring = market.traders
    for turn, (tick, quantity) in enumerate([(900, 500), (1_400, 700), (600, 200), (2_000, 900), (-300, 40)]):
        deal(market, ring[turn % 3], ring[(turn + 1) % 3], tick, quantity)
    market.close()
    market.post_prices()
    market.read(*(market.signed_reading(key, 0) for key in ring))
    together = paid(market, *ring)
    assert together == 0 if rule == "dlmp" else together > 0


@pytest.mark.parametrize(("fixture", "rule"), [("market", "dlmp"), ("tariff_market", "tariff")])
def test_a_delivered_loop(request, fixture, rule):
    """Two meters of one owner at one bus, one feeding the other, earn nothing by selling to each other."""
    market = request.getfixturevalue(fixture)
    one, two = (market.register(derive(7, "loop", i), 3) for i in range(2))
    market.open()
    deal(market, one, two, 1_500, 900)
    deal(market, two, one, 400, 300)
    market.close()
    market.post_prices()
    market.read(market.signed_reading(one, -600), market.signed_reading(two, 600))
    together = paid(market, one, two)
    assert together == 0 if rule == "dlmp" else together >= 0


def test_class_laundering(market):
    """Energy bought as plain is not sold as certified: not unregistered, and not without generation."""
    market.open()
    unregistered = market.ask(market.other, 50_000, 100, energy_class=1)
    assert market.place_all(market.signed(market.other, unregistered)) == (
        OrderRejected(market.slot, market.other.address, 0, Reject.NOT_REGISTERED_SELLER),
    )
    deal(market, market.other, market.seller, 1_000, 300)
    deal(market, market.seller, market.buyer, 1_200, 300, energy_class=1)
    market.close()
    market.post_prices()
    market.read(
        market.signed_reading(market.other, -300),
        market.signed_reading(market.seller, 0),
        market.signed_reading(market.buyer, 300),
    )
    (bill,) = [e for e in market.settle(market.seller.address) if isinstance(e, AccountSettled)]
    assert bill.trades == 300 * (1_000 - 1_200) * 100 and bill.penalty == 300 * 30_000
    assert bill.trades + bill.penalty > 0


def test_a_class_that_is_bought_and_sold_again_owes_nothing(market):
    market.open()
    second = market.register(market.newcomer, 4, classes=1)
    deal(market, second, market.seller, 1_000, 300, energy_class=1)
    deal(market, market.seller, market.buyer, 1_200, 300, energy_class=1)
    market.close()
    market.post_prices()
    market.read(market.signed_reading(market.seller, 0), market.signed_reading(second, -300, (300, 0)))
    bills = [e for e in market.settle(market.seller.address, second.address) if isinstance(e, AccountSettled)]
    assert [bill.penalty for bill in bills] == [0, 0]


# --- who may do what ----------------------------------------------------------------------------


def test_a_relayer_that_changes_what_it_relays(trading):
    """Nothing of an order, a cancel or a reading can be altered by who carries it."""
    market, x = trading, trading.exchange
    order = market.bid(market.buyer, BUYER - 1, 100, relayer=market.relayer.address, expiry=2**32 - 1)
    signature = market.buyer.sign(digest(x.domain, order))
    changes = {
        "trader": market.other.address, "nonce": 99, "side": 1, "energy_class": 1,
        "limit_ueur_per_kwh": BUYER, "quantity_wh": 110, "flags": 1, "expiry": 0,
        "relayer": market.guardian.address,
    }  # fmt: skip
    for name, value in changes.items():
        sent = x.place_order(replace(order, **{name: value}), signature, sender=market.relayer)
        market.refused("order: bad signature", sent)
    market.refused("order: wrong relayer", x.place_order(order, signature, sender=market.guardian))
    market.do(x.place_order(order, signature, sender=market.relayer))
    reading = Reading(market.buyer.address, market.slot, 100, (1, 2), 1)
    signature = meter_of(market.buyer).sign(digest(x.domain, reading))
    market.at(market.terms.end(market.slot))
    for change in (
        {"net_energy": 99}, {"certified": (2, 2)}, {"certified": (1,)}, {"epoch": 2},
        {"account": market.other.address},
    ):  # fmt: skip
        sent = x.post_reading(replace(reading, **change), signature, sender=market.relayer)
        market.refused("reading: bad signature", sent)
    market.do(x.post_reading(reading, signature, sender=market.relayer))
