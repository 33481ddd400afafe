"""Whose turn it is, and that nobody is silent because a coordinator says so."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from ledger import eip712
from ledger.address import checksummed
from ledger.keys import Signature
from market.atc.messages import Answer, Purpose, Question
from market.atc.responses import Responses, Stand
from market.slots import Terms
from node.client.http import Client, RefusedError
from node.client.schemas import QuestionBody, UnansweredBody, signature_of
from node.oracle import process
from node.oracle.duty import Turns
from node.oracle.inquiries import Inquiries
from node.oracle.process import OracleProcess
from node.oracle.rounds import BadSignatureError
from node.oracle.signers import NoQuorumError
from tests.network.clearing_case import DOMAIN, KEYS, ORACLE_KEY, SLOT, honest, signed
from tests.network.in_process import Network, network
from tests.network.test_small_market import files

AGENTS, LEFT_OUT = 4, 0


def question(number: int = 0, **changes: int) -> Question:
    about = {"slot": SLOT, "purpose": 1, "oracle": 0, "round": 1} | changes
    return Question(KEYS[number].address, weights=(10**8,), targets=(10**8,), **about)


def asked(one: Question) -> tuple[Question, Signature]:
    return one, ORACLE_KEY.sign(eip712.digest(DOMAIN, one))


def answer_of(one: Question) -> tuple[Answer, Signature]:
    body = honest(one)
    return body.record(), signature_of(body.signature)


# --- whose turn it is -----------------------------------------------------------------------------


def test_turns_go_by_the_chains_time_and_overlap_by_what_clocks_and_rounds_need():
    terms, slot = Terms(), 301
    turns = Turns.of(terms, slot, Purpose.CHARGES, 60.0, 3)
    first = terms.opens(slot) - 1_800
    numbers = [turns.number(first + second) for second in (-5, 0, 59, 60, 180)]
    assert [turns.proposer(number) for number in numbers] == [1, 1, 1, 2, 1]
    begun = first + 60 - 6
    expected = {53: None, 54: begun, 120: begun, 149: begun, 150: None, 234: begun + 180}
    for second, found in expected.items():
        assert turns.begun(2, first + second) == found, second
    assert Turns.of(terms, slot, Purpose.PRICES, 60.0, 3).first_second == terms.closing(slot)


# --- what is asked for others ---------------------------------------------------------------------


def test_what_is_heard_for_another_oracle_is_handed_on_and_remembered():
    doors: list[Inquiries] = []

    def everybody() -> None:
        for number in (0, 1):
            found = doors[0].question(KEYS[number].address)
            if found is not None and number == 0:
                assert doors[0].take(*answer_of(found[0]))

    inquiries = Inquiries(DOMAIN, 0.0, everybody)
    doors.append(inquiries)
    one, other = question(0), question(1)
    (given,) = inquiries.ask([asked(one), asked(other)], second=100)
    assert given.question == one and given.powers == tuple(honest(one).powers)
    heard, unheard = inquiries.found(one, 100), inquiries.found(other, 100)
    assert heard is not None and heard.given == given
    assert unheard is not None and unheard.given is None
    assert inquiries.found(one, 101) is None, "an inquiry of an earlier turn says nothing of this one"
    assert inquiries.found(question(2), 0) is None
    assert inquiries.question(KEYS[1].address) is None and not inquiries.take(*answer_of(other)), "it is over"


def test_who_has_the_same_asked_twice_gets_no_silence_out_of_it():
    """The later inquiry counts, for all its time; what the earlier one heard is not its own."""
    inquiries = Inquiries(DOMAIN, 30.0, lambda: None)
    one = question(0)
    threads = [Thread(target=inquiries.ask, args=([asked(one)], second), daemon=True) for second in (1, 2)]
    for thread in threads:
        thread.start()
    while inquiries.question(one.agent) is None:
        pass
    assert inquiries.found(one, 0) is None, "what is still asked is no silence"
    body = honest(one)
    with pytest.raises(BadSignatureError):
        inquiries.take(body.record(), signature_of(signed(body.record(), KEYS[1]).signature))
    while any(thread.is_alive() for thread in threads):
        inquiries.take(*answer_of(one))
    found = inquiries.found(one, 0)
    assert found is not None and found.given is not None


def test_the_oldest_inquiries_are_forgotten_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.oracle.inquiries.KEPT_MAX", 1)
    inquiries = Inquiries(DOMAIN, 0.0, lambda: None)
    inquiries.ask([asked(question(0)), asked(question(1))], second=1)
    assert inquiries.found(question(0), 0) is None
    assert inquiries.found(question(1), 0) is not None


# --- a market with an oracle that lies ------------------------------------------------------------


def proposes(net: Network, oracle: OracleProcess, slot: int) -> None:
    """Clear the charges of a slot, whoever's turn it is, and put them to the vote. Raises NoQuorumError."""
    exchange = net.exchange
    members, state = exchange.oracle_set(), exchange.slot_of(slot)
    index = members.oracles.index(oracle.key.address)
    brought = oracle._clear(slot, Purpose.CHARGES, state, index)
    oracle._votes(slot, Purpose.CHARGES, brought, members, index)


def leaves_out(monkeypatch: pytest.MonkeyPatch, oracle: OracleProcess, agent: str) -> None:
    """Lose what one agent answers, whoever brings it."""
    take = process.OpenClearing.take

    def lossy(self: process.OpenClearing, answer: Answer, signature: object) -> None:
        if answer.agent != agent or self._key is not oracle.key:
            take(self, answer, signature)  # type: ignore[arg-type]

    monkeypatch.setattr(process.OpenClearing, "take", lossy)


def test_an_oracle_that_comes_out_of_turn_or_leaves_somebody_out_finds_no_quorum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who really is silent to everybody keeps nobody from signing, nor who reaches all oracles but one."""
    with network(files(), tmp_path, oracles=3) as net:
        exchange, terms = net.exchange, net.market.terms
        slot = (net.clock.chain.now() + 1_200 + terms.open_lead) // terms.slot_seconds + 1
        net.clock.to(terms.opens(slot) - 900)
        net.operator.step()
        turns = Turns.of(terms, slot, Purpose.CHARGES, 60.0, 3)
        whose = turns.proposer(turns.number(net.clock.chain.now()))
        proposer, early = net.oracles[whose], net.oracles[(whose + 1) % 3]
        addresses = [key.address for key in net.market.accounts]

        with pytest.raises(NoQuorumError, match=r"out-of-turn: oracle [0-2] proposes in the turn of"):
            proposes(net, early, slot)

        with monkeypatch.context() as lies:
            leaves_out(lies, proposer, addresses[LEFT_OUT])
            lies.setattr(proposer, "_asked_elsewhere", lambda unanswered: ())
            silenced = f"1 of 2 needed agree.*silenced: {addresses[LEFT_OUT]} is called silent in round 1"
            with pytest.raises(NoQuorumError, match=f"{silenced}, and we were not had to ask it"):
                proposes(net, proposer, slot)
        with monkeypatch.context() as lies:
            leaves_out(lies, proposer, addresses[LEFT_OUT])
            with pytest.raises(NoQuorumError, match=f"{silenced}, and answered us"):
                proposes(net, proposer, slot)

        stranger = UnansweredBody(questions=[QuestionBody.of(*asked(question()))])
        with pytest.raises(RefusedError, match="a question that no oracle of this market signed"):
            Client(early._peers[0]).ask_too(stranger)

        proposer.on_round = lambda: None  # agents reach the others alone
        net.mute = lambda number, body: number == 1
        proposer.step()
        assert exchange.slot_of(slot).charges_complete, net.said
        ended = Responses.decode(proposer._kept.of(slot, Purpose.CHARGES)[-1].inputs, checksummed)
    assert [each.agent for each in ended.of(Stand.FORECAST)] == [addresses[1]]
    assert len(ended.answered) == AGENTS - 1
