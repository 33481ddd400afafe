"""Charges and prices by a quorum: headers, chunks, times, rotation of the set; the tariff of slots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import calls, vectors
from ledger.chain.protocol import Reverted
from ledger.keys import derive
from market.events import (
    ChargesChunk,
    ChargesPosted,
    OraclesRotated,
    PricesChunk,
    PricesPosted,
    SlotsScheduled,
)
from market.messages import OracleSet
from tests.exchange.conftest import (
    CERTIFICATE_HASH,
    CHARGES,
    FIT,
    INPUT_HASH,
    NETWORK_FEE,
    PRICES,
    RETAIL,
    TERMS,
    found,
)

CHARGES_HASHES, PRICES_HASHES = vectors.chunk_hashes(CHARGES), vectors.chunk_hashes(PRICES)
CHARGES_WORDS, PRICES_WORDS = vectors.pack(CHARGES), vectors.pack(PRICES)


def post_charges(market, proofs, hashes=CHARGES_HASHES, **more) -> bytes:
    return market.exchange.post_charges(
        more.get("slot", market.slot), hashes, INPUT_HASH, CERTIFICATE_HASH, proofs, sender=market.relayer
    )


def post_prices(market, proofs, hub_price=PRICES[0]) -> bytes:
    return market.exchange.post_prices(
        market.slot,
        hub_price,
        -77,
        PRICES_HASHES,
        INPUT_HASH,
        CERTIFICATE_HASH,
        proofs,
        sender=market.relayer,
    )


# --- tariff -------------------------------------------------------------------------------------


def test_slots_are_scheduled_once_and_before_they_open(market):
    x, slot, utility = market.exchange, market.slot, market.utility
    assert market.do(x.schedule_slots(slot, 3, RETAIL, NETWORK_FEE, FIT, sender=utility)) == (
        SlotsScheduled(slot, 3, RETAIL, NETWORK_FEE, FIT),
    )
    assert [x.slot_of(slot + i).scheduled for i in (-1, 0, 2, 3)] == [False, True, True, False]
    market.refused(
        "slots: already scheduled", x.schedule_slots(slot + 2, 2, RETAIL, NETWORK_FEE, FIT, sender=utility)
    )
    assert not x.slot_of(slot + 3).scheduled
    market.at(market.terms.opens(slot + 5))
    market.refused(
        "slots: opening passed", x.schedule_slots(slot + 5, 1, RETAIL, NETWORK_FEE, FIT, sender=utility)
    )
    market.do(x.schedule_slots(slot + 6, 1, RETAIL, NETWORK_FEE, FIT, sender=utility))


@pytest.mark.parametrize(
    ("retail", "fee", "fit", "rule"),
    [
        (150_000, 100_000, 50_000, None),
        (149_999, 100_000, 50_000, "slots: import below export"),
        (-100, -200, -300, None),
        (2**31 - 1, -(2**31), 2**31 - 1, None),
        (-(2**31), 2**31 - 1, -(2**31), "slots: import below export"),
    ],
)
def test_the_hub_never_asks_less_than_it_bids(market, retail, fee, fit, rule):
    sent = market.exchange.schedule_slots(market.slot, 1, retail, fee, fit, sender=market.utility)
    if rule is not None:
        return market.refused(rule, sent)
    market.do(sent)
    state = market.exchange.slot_of(market.slot)
    assert (state.retail, state.network_fee, state.fit) == (retail, fee, fit)


def test_only_the_utility_schedules_and_no_more_than_1024_slots(market):
    x = market.exchange
    market.refused(
        "accounts: not the utility", x.schedule_slots(market.slot, 1, 3, 2, 1, sender=market.relayer)
    )
    market.refused("slots: too many", x.schedule_slots(market.slot, 1_025, 3, 2, 1, sender=market.utility))


# --- headers ------------------------------------------------------------------------------------


def test_charges_count_when_header_and_chunk_are_in(market):
    market.schedule()
    header = market.charges_header()
    assert market.do(post_charges(market, market.prove(header, (1, 3, 4)))) == (
        ChargesPosted(
            market.slot, 1, 1, vectors.values_hash(CHARGES), INPUT_HASH, CERTIFICATE_HASH, signers=0b11010
        ),
    )
    x = market.exchange
    assert x.charge_of(market.slot, 3) == 0 and not x.slot_of(market.slot).charges_complete
    assert market.do(x.post_charges_chunk(market.slot, 0, CHARGES_WORDS, sender=market.relayer)) == (
        ChargesChunk(market.slot, 0, CHARGES_WORDS),
    )
    assert [x.charge_of(market.slot, bus) for bus in range(12)] == list(CHARGES)
    assert x.slot_of(market.slot).charges_complete
    market.refused("charges: already posted", post_charges(market, market.prove(header)))
    market.refused(
        "oracle: chunk already posted",
        x.post_charges_chunk(market.slot, 0, CHARGES_WORDS, sender=market.relayer),
    )


def test_a_quorum_is_enough_distinct_oracles_in_order(market):
    market.schedule()
    header = market.charges_header()
    one, two, three = market.prove(header, (0, 1, 2))
    other_slot = market.prove(replace(header, slot=header.slot + 1))
    other_epoch = market.prove(replace(header, epoch=2))
    for proofs, rule in (
        ((one, two), "oracle: quorum not reached"),
        ((), "oracle: quorum not reached"),
        ((one, one, two), "oracle: signers not ascending"),
        ((one, three, two), "oracle: signers not ascending"),
        ((one, two, replace(three, oracle=3)), "oracle: bad signature"),
        ((one, two, replace(three, oracle=5)), "oracle: no such oracle"),
        (other_slot, "oracle: bad signature"),
        (other_epoch, "oracle: bad signature"),
    ):
        market.refused(rule, post_charges(market, proofs))
    market.do(post_charges(market, (one, two, three)))


def test_more_than_a_quorum_may_sign(market):
    market.schedule()
    (posted,) = market.do(post_charges(market, market.prove(market.charges_header(), range(5))))
    assert posted.signers == 0b11111


def test_what_was_signed_is_what_is_posted(market):
    market.schedule()
    proofs = market.prove(market.charges_header())
    wrong = vectors.chunk_hashes((0, 1_001, *CHARGES[2:]))
    market.refused("oracle: bad signature", post_charges(market, proofs, wrong))
    market.refused("oracle: wrong number of chunks", post_charges(market, proofs, CHARGES_HASHES * 2))
    market.refused("slots: not scheduled", post_charges(market, proofs, slot=market.slot + 1))


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ((CHARGES_WORDS[0] + 32, CHARGES_WORDS[1]), "oracle: wrong chunk"),
        (CHARGES_WORDS[:1], "oracle: wrong chunk"),
        ((*CHARGES_WORDS, 0), "oracle: wrong chunk"),
    ],
)
def test_a_chunk_must_hash_to_what_was_signed(market, words, rule):
    market.schedule()
    x = market.exchange
    market.refused(
        "oracle: header not posted",
        x.post_charges_chunk(market.slot, 0, CHARGES_WORDS, sender=market.relayer),
    )
    market.do(post_charges(market, market.prove(market.charges_header())))
    market.refused(rule, x.post_charges_chunk(market.slot, 0, words, sender=market.relayer))
    market.refused(
        "oracle: no such chunk", x.post_charges_chunk(market.slot, 1, CHARGES_WORDS, sender=market.relayer)
    )
    market.do(x.post_charges_chunk(market.slot, 0, CHARGES_WORDS, sender=market.relayer))


@pytest.mark.parametrize(
    ("charges", "rule"),
    [
        ((1, *CHARGES[1:]), "charges: substation is not zero"),
        ((*CHARGES, 5), "oracle: value beyond the last bus"),
    ],
)
def test_a_quorum_cannot_post_a_malformed_vector(market, charges, rule):
    market.schedule()
    market.do(
        post_charges(market, market.prove(market.charges_header(charges)), vectors.chunk_hashes(charges))
    )
    words = vectors.pack(charges)
    market.refused(rule, market.exchange.post_charges_chunk(market.slot, 0, words, sender=market.relayer))


def test_charges_come_before_opening(market):
    market.schedule()
    proofs = market.prove(market.charges_header())
    market.at(market.terms.opens(market.slot) - 1)
    market.do(post_charges(market, proofs))
    market.refused(
        "charges: opening passed",
        market.exchange.post_charges_chunk(market.slot, 0, CHARGES_WORDS, sender=market.relayer),
    )


def test_charges_header_after_opening_is_refused(market):
    market.schedule()
    market.at(market.terms.opens(market.slot))
    market.refused("charges: opening passed", post_charges(market, market.prove(market.charges_header())))


# --- prices -------------------------------------------------------------------------------------


def test_prices_come_after_the_gate_and_before_they_are_due(trading):
    market, x = trading, trading.exchange
    proofs = market.prove(market.prices_header())
    market.at(market.terms.closing(market.slot) - 1)
    market.refused("prices: before closing", post_prices(market, proofs))
    assert market.do(post_prices(market, proofs)) == (
        PricesPosted(
            market.slot,
            1,
            PRICES[0],
            -77,
            1,
            vectors.values_hash(PRICES),
            INPUT_HASH,
            CERTIFICATE_HASH,
            0b1101,
        ),
    )
    market.refused("prices: already posted", post_prices(market, proofs))
    assert x.price_of(market.slot, 0) == x.price_of(market.slot, 1) == 0
    market.at(market.terms.prices_due(market.slot) - 1)
    assert market.do(x.post_prices_chunk(market.slot, 0, PRICES_WORDS, sender=market.relayer)) == (
        PricesChunk(market.slot, 0, PRICES_WORDS),
    )
    assert [x.price_of(market.slot, bus) for bus in range(12)] == list(PRICES)
    assert x.slot_of(market.slot).prices_complete


def test_late_prices_are_refused(trading):
    market = trading
    market.at(market.terms.prices_due(market.slot) - 1)
    market.do(post_prices(market, market.prove(market.prices_header())))
    market.refused(
        "prices: too late",
        market.exchange.post_prices_chunk(market.slot, 0, PRICES_WORDS, sender=market.relayer),
    )
    market.refused("prices: too late", post_prices(market, market.prove(market.prices_header())))


@pytest.mark.parametrize(
    ("hub_price", "within"), [(49_999, False), (50_000, True), (200_000, True), (200_001, False)]
)
def test_the_hub_price_lies_between_what_the_hub_bids_and_asks(trading, hub_price, within):
    market = trading
    market.at(market.terms.gate(market.slot))
    header = replace(market.prices_header(), hub_price=hub_price)
    sent = post_prices(market, market.prove(header), hub_price)
    if not within:
        return market.refused("prices: hub price off range", sent)
    market.do(sent)
    market.refused(
        "prices: substation is not the hub price",
        market.exchange.post_prices_chunk(market.slot, 0, PRICES_WORDS, sender=market.relayer),
    )


# --- long vectors -------------------------------------------------------------------------------


def test_a_long_vector_comes_in_chunks_in_any_order():
    market = found(replace(TERMS, buses=520))
    charges = (0, *((-1) ** bus * bus * 1_000 for bus in range(1, 520)))
    market.schedule()
    header = market.charges_header(charges)
    x = market.exchange
    market.do(post_charges(market, market.prove(header), vectors.chunk_hashes(charges)))
    chunks = vectors.chunked(vectors.pack(charges))
    assert [len(chunk) for chunk in chunks] == [32, 32, 1]
    for index in (2, 0):
        market.do(x.post_charges_chunk(market.slot, index, chunks[index], sender=market.relayer))
        assert not x.slot_of(market.slot).charges_complete
    market.refused(
        "oracle: wrong chunk", x.post_charges_chunk(market.slot, 1, chunks[0], sender=market.relayer)
    )
    market.do(x.post_charges_chunk(market.slot, 1, chunks[1], sender=market.relayer))
    assert x.slot_of(market.slot).charges_complete
    for bus in (0, 1, 7, 8, 255, 256, 511, 512, 519):
        assert x.charge_of(market.slot, bus) == charges[bus]


# --- rotation -----------------------------------------------------------------------------------


def test_a_quorum_of_the_present_set_installs_the_next(market):
    x = market.exchange
    successors = [derive(7, "next oracle", i) for i in range(2)]
    addresses = tuple(key.address for key in successors)
    message = OracleSet(1, 2, addresses)
    market.refused(
        "oracle: quorum not reached",
        x.rotate_oracles(addresses, 2, market.prove(message, (0, 1)), sender=market.relayer),
    )
    market.refused(
        "oracle: bad signature",
        x.rotate_oracles(addresses, 1, market.prove(message), sender=market.relayer),
    )
    proofs = market.prove(message)
    assert market.do(x.rotate_oracles(addresses, 2, proofs, sender=market.relayer)) == (
        OraclesRotated(2, 2, addresses),
    )
    assert x.oracle_set() == OracleSet(2, 2, addresses)
    market.schedule()
    header = market.charges_header()
    assert header.epoch == 2
    market.refused("oracle: bad signature", post_charges(market, market.prove(header)))
    market.oracles = successors
    one, two = market.prove(header, (0, 1))
    market.refused("oracle: no such oracle", post_charges(market, (one, replace(two, oracle=2))))
    market.do(post_charges(market, (one, two)))


@pytest.mark.parametrize("case", ["no quorum", "quorum too large", "nobody", "twice"])
def test_a_set_must_be_able_to_sign(market, case):
    one, two = derive(7, "a").address, derive(7, "b").address
    nobody = "0x" + "0" * 40
    quorum, oracles = {
        "no quorum": (0, (one, two)),
        "quorum too large": (3, (one, two)),
        "nobody": (1, (one, nobody)),
        "twice": (1, (one, two, one)),
    }[case]
    proofs = market.prove(OracleSet(1, quorum, oracles))
    market.refused(
        "oracle: bad set", market.exchange.rotate_oracles(oracles, quorum, proofs, sender=market.relayer)
    )


def test_the_parts_by_themselves_have_no_quorum(market):
    """Called at their own addresses they run on storage of their own, in which nobody is an oracle."""
    chain, relayer = market.chain, market.relayer
    call = calls.RotateOracles((relayer.address,), 1, ())
    parts = market.exchange.parts()
    for part in (parts.clearinghouse, parts.registry):
        with pytest.raises(Reverted, match="oracle: quorum not reached"):
            chain.call(part, calls.encode(call), sender=relayer.address)
