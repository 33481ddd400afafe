"""Oracles that rotate out, reach nobody, or sign only half of what they are asked for."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import eip712
from ledger.exchange import Exchange
from market.messages import OracleSet, PricesHeader
from node.client.http import Client, RefusedError
from node.client.schemas import ProposalBody, VoteBody, signature_text
from node.oracle import forecasts, rounds
from node.oracle.quorum import Ballot
from node.oracle.signers import NoQuorumError
from node.oracle.verify import ObjectionError
from tests.network.clearing_case import DOMAIN, KEYS, STRANGER
from tests.network.in_process import network
from tests.network.test_small_market import files

MEMBERS = OracleSet(0, 2, tuple(key.address for key in KEYS[:3]))
SIGNED = PricesHeader(7, 0, 1, 2, bytes(32), bytes(32), bytes(32))
FORETOLD = ((1, *(0,) * 31),)


def vote(number: int, *, prices: bool = True, forecast: int = 1) -> VoteBody:
    """What oracle `number` sends: the right signatures, or of other prices and another forecast."""
    signed = SIGNED if prices else replace(SIGNED, slot=8)
    (header,) = forecasts.headers(7, 0, [(forecast, *(0,) * 31)])
    return VoteBody(
        oracle=number,
        signature=signature_text(KEYS[number].sign(eip712.digest(DOMAIN, signed))),
        forecasts=[signature_text(KEYS[number].sign(eip712.digest(DOMAIN, header)))],
    )


def gathered(*votes: VoteBody) -> Ballot:
    """The ballot of oracle 0 after these votes."""
    ballot = Ballot(DOMAIN, MEMBERS, KEYS[0], SIGNED, FORETOLD)
    answers: list[Future[VoteBody]] = [Future() for _ in votes]
    for answer, each in zip(answers, votes, strict=True):
        answer.set_result(each)
    ballot.gather(answers, seconds=60.0)
    return ballot


def test_a_wrong_forecast_of_one_does_not_cost_everybody_theirs():
    for votes in ((vote(1, forecast=9), vote(2)), (vote(2), vote(1, forecast=9))):
        quorum = gathered(*votes).quorum()
        assert len(quorum.signatures) == 2
        ((words, signatures),) = quorum.forecasts
        assert (words, [each.oracle for each in signatures]) == (FORETOLD[0], [0, 2])


def test_prices_go_without_forecasts_where_no_quorum_signed_those():
    quorum = gathered(vote(1, forecast=9)).quorum()
    assert ([each.oracle for each in quorum.signatures], quorum.forecasts) == ([0, 1], ())


def test_votes_on_something_else_are_none():
    with pytest.raises(NoQuorumError, match="1 of 2 needed agree; oracle 1: signed something else"):
        gathered(vote(1, prices=False)).quorum()


def test_rounds_that_do_not_settle_bring_nothing_and_the_turn_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No oracle clears centrally for it: without charges by opening the slot is not traded."""
    with network(files()[:2], tmp_path, oracles=3) as net:
        exchange, terms = net.exchange, net.market.terms
        slot = (net.clock.chain.now() + 1_200 + terms.open_lead) // terms.slot_seconds + 1
        monkeypatch.setattr(rounds, "ROUNDS_MAX", 2)
        with pytest.raises(AssertionError, match="never"):
            net.to(terms.opens(slot) - 900, lambda: exchange.slot_of(slot).charges_complete)
        ends = [line for line in net.said if f"slot {slot} charges: not posted in turn" in line]
        assert len(ends) > 3, "each oracle had its turns"
        assert all("not settled after 2 rounds" in line for line in ends)
        net.to(terms.opens(slot) + 1)
        assert not exchange.slot_of(slot).charges_posted
        assert not any(event["event"] == "order" and event["slot"] == slot for _, event in net.events)


def test_an_oracle_that_was_rotated_out_says_so_and_an_oracle_without_agents_brings_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with network(files()[:2], tmp_path, oracles=3) as net:
        exchange, terms = net.exchange, net.market.terms
        slot = (net.clock.chain.now() + 1_200 + terms.open_lead) // terms.slot_seconds + 1
        net.mute = lambda number, body: True
        with pytest.raises(AssertionError, match="never"):
            net.to(terms.opens(slot) - 1_500, lambda: exchange.slot_of(slot).charges_complete)
        assert any("0 accounts answered the last round of 2" in line for line in net.said)
        net.mute = lambda number, body: False
        net.to(net.clock.chain.now() + 60, lambda: exchange.slot_of(slot).charges_complete)

        signer = next(each for each in net.oracles if each._kept._proofs)
        kept = dict(signer._kept._proofs)
        signer._kept._proofs.clear()  # as after a restart
        assert all(signer.proof(*name) == content for name, content in kept.items())
        assert signer.proof("..", bytes(32)) is None and signer.proof("inputs", bytes(32)) is None

        present = exchange.oracle_set()
        others = replace(present, oracles=(*present.oracles[1:], STRANGER.address))
        monkeypatch.setattr(Exchange, "oracle_set", lambda self: others)
        net.clock.to(terms.opens(slot + 1) - 900)
        net.operator.step()
        with pytest.raises(ObjectionError, match="none of the market's oracles any more"):
            net.oracles[0].step()
        body = ProposalBody(
            slot=slot + 1,
            purpose=0,
            oracle=1,
            inputs="0x",
            certificate="0x",
            rounds="0x",
            signature="0x" + "00" * 64,
        )
        with pytest.raises(RefusedError, match="not-an-oracle"):
            Client(net.oracles[1]._peers.urls[0]).vote(body)
        with pytest.raises(ObjectionError):
            net.oracles[0].vote(body)
