"""Whose turn it is, and that nobody is silent because a coordinator says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest
from fastapi import FastAPI

from ledger import eip712
from ledger.address import checksummed
from ledger.keys import Signature
from market.atc.messages import Answer, Purpose, Question
from market.atc.responses import Responses, Stand
from market.slots import Terms
from node.client.http import Client, RefusedError, UnreachableError
from node.client.schemas import QuestionBody, UnansweredBody, signature_of
from node.client.serving import listening, serving
from node.oracle import process
from node.oracle.duty import Turns
from node.oracle.inquiries import Inquiries
from node.oracle.peers import CALLS_AT_ONCE, Peers
from node.oracle.process import OracleProcess
from node.oracle.rounds import BadSignatureError, Given
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
            for found, _ in doors[0].questions(KEYS[number].address):
                if number == 0:
                    assert doors[0].take(*answer_of(found))

    inquiries = Inquiries(DOMAIN, 0.0, everybody)
    doors.append(inquiries)
    one, other = question(0), question(1)
    (given,) = inquiries.ask([asked(one), asked(other)], second=100, since=0)
    assert given.question == one and given.powers == tuple(honest(one).powers)
    heard, unheard = inquiries.found(one, 100), inquiries.found(other, 100)
    assert heard is not None and heard.given == given
    assert unheard is not None and unheard.given is None
    assert inquiries.found(one, 101) is None, "an inquiry of an earlier turn says nothing of this one"
    assert inquiries.found(question(2), 0) is None
    assert not inquiries.questions(KEYS[1].address) and not inquiries.take(*answer_of(other)), "it is over"


def test_who_has_the_same_asked_twice_gets_no_silence_out_of_it():
    """Both hear what comes in, and whoever asks again in the same turn what came; another turn asks anew."""
    inquiries = Inquiries(DOMAIN, 30.0, lambda: None)
    one = question(0)
    heard: list[tuple[Given, ...]] = []
    threads = [
        Thread(target=lambda now=now: heard.append(inquiries.ask([asked(one)], now, since=0)), daemon=True)
        for now in (1, 2)
    ]
    for thread in threads:
        thread.start()
    while not inquiries.questions(one.agent):
        pass
    assert inquiries.found(one, 0) is None, "what is still asked is no silence"
    assert len(inquiries.questions(one.agent)) == 1, "it is asked once"
    body = honest(one)
    with pytest.raises(BadSignatureError):
        inquiries.take(body.record(), signature_of(signed(body.record(), KEYS[1]).signature))
    inquiries.take(*answer_of(one))
    for thread in threads:
        thread.join(60)
    given = inquiries.ask([asked(one)], 3, since=0)
    assert heard == [given, given] and given[0].question == one
    assert Inquiries(DOMAIN, 0.0, lambda: None).ask([asked(one)], 3, since=0) == ()
    anew = inquiries._begun(*asked(one), 9, 4)
    assert anew.given is None and inquiries.questions(one.agent) == [asked(one)]


def test_the_oldest_inquiries_are_forgotten_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.oracle.inquiries.KEPT_MAX", 1)
    inquiries = Inquiries(DOMAIN, 0.0, lambda: None)
    inquiries.ask([asked(question(0)), asked(question(1))], second=1, since=0)
    assert inquiries.found(question(0), 0) is None
    assert inquiries.found(question(1), 0) is not None


# --- a market with an oracle that lies ------------------------------------------------------------


def charges_due(net: Network) -> tuple[int, int]:
    """A slot whose charges are due now, and the oracle whose turn it is."""
    terms, oracles = net.market.terms, len(net.oracles)
    slot = (net.clock.chain.now() + 1_200 + terms.open_lead) // terms.slot_seconds + 1
    net.clock.to(terms.opens(slot) - 900)
    net.operator.step()
    turns = Turns.of(terms, slot, Purpose.CHARGES, 60.0, oracles)
    return slot, turns.proposer(turns.number(net.clock.chain.now()))


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


def signed_by(net: Network, agent: str, oracle: OracleProcess, **changes: int) -> tuple[Question, Signature]:
    """A question to an agent that one of the market's oracles signed, whatever it asks."""
    index = net.exchange.oracle_set().oracles.index(oracle.key.address)
    about = {"slot": SLOT, "purpose": Purpose.CHARGES, "oracle": index, "round": 1} | changes
    found = Question(agent, weights=(10**8,), targets=(10**8,), **about)
    return found, oracle.key.sign(eip712.digest(net.exchange.domain, found))


def refuses(net: Network, oracle: OracleProcess, asked: list[tuple[Question, Signature]], why: str) -> None:
    """The oracle's server asks none of them."""
    (url,) = {url for each in net.oracles for url in each._peers.urls} - set(oracle._peers.urls)
    with pytest.raises(RefusedError, match=why):
        Client(url).ask_too(UnansweredBody(questions=[QuestionBody.of(*each) for each in asked]))


def test_an_oracle_that_comes_out_of_turn_or_leaves_somebody_out_finds_no_quorum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who really is silent to everybody keeps nobody from signing, nor who reaches all oracles but one."""
    with network(files(), tmp_path, oracles=3) as net:
        exchange, (slot, whose) = net.exchange, charges_due(net)
        proposer, early = net.oracles[whose], net.oracles[(whose + 1) % 3]
        addresses = [key.address for key in net.market.accounts]

        with pytest.raises(NoQuorumError, match=r"out-of-turn: oracle [0-2] comes in the turn of"):
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

        refuses(
            net, early, [asked(question())], "not-an-oracle: a question that no oracle of this market signed"
        )
        mine = partial(signed_by, net, addresses[LEFT_OUT], slot=slot)
        refuses(
            net, proposer, [mine(early)], "not-due: out-of-turn: oracle [0-2] comes in the turn of oracle"
        )
        refuses(net, early, [mine(proposer, slot=slot - 500)], "not-due: no charges of slot")
        refuses(net, early, [mine(proposer), mine(proposer, round=2)], "not-an-oracle: not one question each")
        refuses(net, early, [mine(proposer), mine(proposer)], "not-an-oracle: not one question each")

        proposer.on_round = lambda: None  # agents reach the others alone
        net.mute = lambda number, body: number == 1
        proposer.step()
        assert exchange.slot_of(slot).charges_complete, net.said
        ended = Responses.decode(proposer._kept.of(slot, Purpose.CHARGES)[-1].inputs, checksummed)
    assert [each.agent for each in ended.of(Stand.FORECAST)] == [addresses[1]]
    assert len(ended.answered) == AGENTS - 1


@dataclass
class Asks:
    """A clearing of its own that asks one question."""

    asked: tuple[Question, Signature]

    def question(self, agent: str) -> tuple[Question, Signature]:
        return self.asked


def test_no_oracles_questions_hide_anothers(tmp_path: Path):
    """An agent that refuses all that one oracle asks through another sees what the others ask it."""
    with network(files(), tmp_path, oracles=3) as net:
        agent = net.market.accounts[0].address
        liar, honest_one, own = net.oracles
        own._inquiries = Inquiries(net.exchange.domain, 30.0, lambda: None)
        hers, his = (signed_by(net, agent, each) for each in (own, honest_one))
        junk = [signed_by(net, agent, liar, round=number) for number in range(1, 9)]
        for each in [*junk, his]:
            own._inquiries._begun(*each, 1, 0)
        own.opened = Asks(hers)  # type: ignore[assignment]
        seen = [own.question(agent) for _ in range(6)]
    assert seen == [junk[0], his, hers] * 2


@contextmanager
def dripping() -> Iterator[str]:
    """A server that says a byte now and then, and never ends."""
    over = Flag()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not over.wait(0.05):
                connection.sendall(b" ")

    def serve() -> None:
        with suppress(OSError):
            while True:
                Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()


def test_a_peer_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither in a round in which an agent is silent, nor in the votes."""
    monkeypatch.setattr(process, "PEER_SECONDS", 0.5)
    with network(files(), tmp_path, oracles=5) as net, dripping() as url:
        slot, whose = charges_due(net)
        proposer = net.oracles[whose]
        proposer._peers = Peers([url, *proposer._peers.urls[1:]])
        net.mute = lambda number, body: number == 1
        stepped = Thread(target=proposer.step, daemon=True)
        stepped.start()
        stepped.join(120)
        assert not stepped.is_alive() and net.exchange.slot_of(slot).charges_complete, net.said


def test_a_peer_that_is_away_and_there_again_is_told_once_each():
    said: list[str] = []
    with listening("127.0.0.1", 0) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    peers = Peers([url], said.append)

    def failure() -> BaseException | None:
        return peers.ask(lambda peer: peer.deployment(), 5.0)[0].exception(10)

    assert isinstance(failure(), UnreachableError) and isinstance(failure(), UnreachableError)
    assert [line.startswith(f"oracle {url}: does not answer") for line in said] == [True]
    with serving(FastAPI(), listening("127.0.0.1", int(url.rpartition(":")[2]))):
        assert isinstance(failure(), RefusedError) and isinstance(failure(), RefusedError)
    assert said[1:] == [f"oracle {url}: is there"]


def test_a_peer_gets_no_more_requests_than_it_ends():
    with dripping() as url:
        peers = Peers([url])
        calls = [peers.ask(lambda peer: peer.deployment(), 60.0)[0] for _ in range(CALLS_AT_ONCE + 1)]
        with pytest.raises(UnreachableError, match="has not ended 4 requests of before"):
            calls[-1].result(60)
        assert not any(each.done() for each in calls[:-1])
