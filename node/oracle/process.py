"""One oracle as a process: it coordinates clearings in its turn, votes on the others', and posts.

Whose turn it is follows from the slot and from the chain's time, so that an oracle that is down, or brings
nothing that the others sign, is passed over, and one that comes out of turn is refused. Nothing is believed
of a proposal (`verify`), nor that somebody was silent (`inquiries`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag
from threading import Lock

from ledger import eip712
from ledger.chain.protocol import ChainError, TimedChain
from ledger.eip712 import Domain
from ledger.exchange import Exchange
from ledger.keys import Key, Signature, recover
from ledger.state import SlotState
from market.atc.messages import Answer, Purpose, Question
from market.feeder.model import Feeder
from market.messages import ChargesHeader, OracleSet, PricesHeader
from market.orders import Address
from market.pricing.admission import PricingError
from market.pricing.newton import NewtonClearing
from node.client.complaints import Complaints
from node.client.http import Client, ServiceError
from node.client.schemas import (
    AnswerBody,
    HeardBody,
    ProposalBody,
    QuestionBody,
    UnansweredBody,
    VoteBody,
    octets,
    signature_of,
    signature_text,
)
from node.oracle import forecasts
from node.oracle.attendance import Attendance
from node.oracle.coordinate import coordinate
from node.oracle.duty import Turns, due, is_over, slots_in_question
from node.oracle.forecasts import forecasts_of
from node.oracle.inquiries import Inquiries
from node.oracle.kept import Kept
from node.oracle.known import Knowledge
from node.oracle.peers import Peers
from node.oracle.poster import Poster
from node.oracle.quorum import Ballot, Quorum
from node.oracle.replay import encode
from node.oracle.rounds import OpenClearing, WrongSlotError
from node.oracle.signers import Brought, OracleError, charges_header, prices_header
from node.oracle.verify import NotDueError, ObjectionError, bring, claimed, verify

LOOK_SECONDS = 1.0
PEER_SECONDS = 3.0
"""What the way to another oracle and back may take, beyond the time it gives the agents it asks."""

Told = Callable[[str, Question | Answer], None]
Turn = tuple[int, Purpose, int]
"""Slot, purpose, and the turn's number."""
NOBODY = -1
"""Comes before the first oracle."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an oracle waits: for an agent's answer, and for other oracles in its turn."""

    answer_seconds: float = 5.0
    turn_seconds: float = 60.0


class OracleProcess:
    """`step` does what is due; what else is public is for the server, from any thread."""

    def __init__(
        self,
        chain: TimedChain,
        exchange: Exchange,
        key: Key,
        market: Client,
        peers: Sequence[str],
        *,
        timing: Timing = Timing(),
        data: Path | None = None,
        tell: Callable[[str], None] = lambda line: None,
        told: Told = lambda kind, message: None,
    ) -> None:
        self.key = key
        self.opened: OpenClearing | None = None
        self.on_round: Callable[[], None] = lambda: None
        self._chain, self._exchange, self._terms = chain, exchange, exchange.terms()
        self._peers = Peers(peers, tell)
        self._timing = timing
        self._tell, self._told = tell, told
        self._poster, self._kept = Poster(exchange, key, tell), Kept(data)
        self._knowledge = Knowledge(exchange, market)
        self._attendance = Attendance()
        self._inquiries = Inquiries(exchange.domain, timing.answer_seconds, lambda: self.on_round())  # noqa: PLW0108 - set later
        self._asked_by: dict[Address, int] = {}
        self._tried: set[Turn] = set()
        self._over: set[int] = set()
        self._newtons: dict[tuple[bytes, bool], NewtonClearing] = {}
        self._voting, self._looking = Lock(), Lock()

    @property
    def domain(self) -> Domain:
        """The market in which it signs."""
        return self._exchange.domain

    # --- in its turn ----------------------------------------------------------------------------

    def run(self, stop: Flag) -> None:
        """Do what is due, until `stop` is set; what keeps it from that is told once."""
        complaints = Complaints(self._tell)
        while not stop.wait(LOOK_SECONDS):
            try:
                self.step()
                complaints.well("oracle: goes on")
            except (ChainError, ServiceError, ObjectionError) as failure:
                complaints.wrong(f"oracle: {failure}")

    def step(self) -> None:
        """Look at every slot of which something may be due, and do what is ours.

        Raises ChainError, ServiceError, and ObjectionError where something is due and we are no oracle.
        """
        now = self._chain.now()
        slots = slots_in_question(self._terms, now)
        self._over &= set(slots)
        self._tried = {turn for turn in self._tried if turn[0] in slots}
        for slot in slots:
            if slot in self._over:
                continue
            state = self._exchange.slot_of(slot)
            if is_over(self._terms, slot, state, now):
                self._over.add(slot)
            purpose = due(self._terms, slot, state, now)
            if purpose is not None:
                self._serve(slot, purpose, state, self._exchange.oracle_set(), now)

    def _serve(self, slot: int, purpose: Purpose, state: SlotState, members: OracleSet, now: int) -> None:
        """Take our turn, if it is ours and was not taken; whoever has the values completes a vector."""
        index = self._index(members)
        turns = self._turns(slot, purpose, members)
        turn = turns.number(now)
        if turns.proposer(turn) != index or (slot, purpose, turn) in self._tried:
            return
        self._tried.add((slot, purpose, turn))
        name = f"slot {slot} {purpose.name.lower()}"
        try:
            if state.charges_posted if purpose is Purpose.CHARGES else state.prices_posted:
                self._poster.complete(slot, purpose, self._kept.of(slot, purpose))
                return
            brought = self._clear(slot, purpose, state, index)
            quorum = self._votes(slot, purpose, brought, members, index)
            self._poster.post(slot, purpose, brought, quorum.signatures)
            self._poster.post_forecasts(slot, quorum.forecasts)
        except (ChainError, ServiceError, OracleError, PricingError, ObjectionError) as failure:
            self._tell(f"{name}: not posted in turn {turn}: {failure}")
        else:
            prices = brought.prices.charges if purpose is Purpose.CHARGES else brought.prices.bus_price
            self._tell(
                f"{name}: posted with oracles {[each.oracle for each in quorum.signatures]},"
                f" {min(prices)} to {max(prices)} µ€/kWh"
            )

    def _clear(self, slot: int, purpose: Purpose, state: SlotState, index: int) -> Brought:
        """Coordinate the rounds with the agents."""
        with self._looking:
            known = self._knowledge.of(slot, purpose, index, state)
        opened = OpenClearing(
            self._exchange.domain,
            self.key,
            slot=slot,
            purpose=purpose,
            oracle=index,
            members=known.members,
            answer_seconds=self._timing.answer_seconds,
            told=self._told,
            on_round=self.on_round,
            elsewhere=self._asked_elsewhere,
        )
        self.opened = opened
        try:
            newton = self._newton(known.outlook.feeder, voting=False)
            responses = coordinate(opened, known.outlook, newton)
        finally:
            self.opened = None
        silent = len(responses.standings) - len(responses.answered)
        self._tell(
            f"slot {slot} {purpose.name.lower()}: settled in {responses.round} rounds,"
            f" {len(responses.answered)} answered, {silent} held or forecast"
        )
        self._attendance.asked(responses)
        self._attendance.require(responses)
        brought = replace(
            bring(responses, newton), rounds=encode(opened.history, responses.conditions.periods)
        )
        self._kept.keep(slot, purpose, brought)
        return brought

    def _asked_elsewhere(
        self, unanswered: Sequence[tuple[Question, Signature]]
    ) -> Iterator[tuple[Answer, Signature]]:
        """What other oracles hear of who did not answer here, as it comes; who hangs is not waited for."""
        body = UnansweredBody(questions=[QuestionBody.of(*each) for each in unanswered])
        seconds = self._timing.answer_seconds + PEER_SECONDS
        asked = self._peers.ask(lambda peer: peer.ask_too(body), seconds)
        with suppress(TimeoutError):
            for each in as_completed(asked, seconds):
                with suppress(ServiceError):
                    for answer in each.result().answers:
                        yield answer.record(), signature_of(answer.signature)

    def _votes(self, slot: int, purpose: Purpose, brought: Brought, members: OracleSet, index: int) -> Quorum:
        """Signatures of a quorum, ours among them. Raises NoQuorumError."""
        domain, signed = self._exchange.domain, header(slot, purpose, members.epoch, brought)
        foretold = forecasts_of(brought.inputs) if purpose is Purpose.PRICES else ()
        ballot = Ballot(domain, members, self.key, signed, foretold)
        body = ProposalBody(
            slot=slot,
            purpose=purpose,
            oracle=index,
            inputs="0x" + brought.inputs.hex(),
            certificate="0x" + brought.certificate.hex(),
            rounds="0x" + brought.rounds.hex(),
            signature=signature_text(self.key.sign(eip712.digest(domain, signed))),
        )
        seconds = self._timing.turn_seconds
        ballot.gather(self._peers.ask(lambda peer: peer.vote(body), seconds), seconds)
        return ballot.quorum()

    # --- for agents -----------------------------------------------------------------------------

    def question(self, agent: Address) -> tuple[Question, Signature] | None:
        """What an agent is asked now, in our own clearing or for another oracle that did not hear it.

        One oracle's questions after the other's, so that none, whatever it asks, hides what another asks.
        """
        opened = self.opened
        own = None if opened is None else opened.question(agent)
        asked = [own] if own is not None else []
        asked += self._inquiries.questions(agent)
        if not asked:
            return None
        last = self._asked_by.get(agent, NOBODY)
        found = min(asked, key=lambda each: (each[0].oracle <= last, each[0].oracle))
        self._asked_by[agent] = found[0].oracle
        return found

    def take(self, answer: Answer, signature: Signature) -> None:
        """Count an answer. Raises AnswerRefusedError, and then nothing has changed."""
        if self._inquiries.take(answer, signature):
            return
        opened = self.opened
        if opened is None:
            raise WrongSlotError("no clearing is open here")
        opened.take(answer, signature)

    # --- for the others -------------------------------------------------------------------------

    def ask_too(self, body: UnansweredBody) -> HeardBody:
        """Ask who did not answer another oracle in its turn. Raises ObjectionError, ChainError."""
        domain, members = self._exchange.domain, self._exchange.oracle_set()
        questions = [(each.record(), signature_of(each.signature)) for each in body.questions]
        for question, signature in questions:
            by = recover(eip712.digest(domain, question), signature)
            if question.oracle >= len(members.oracles) or by != members.oracles[question.oracle]:
                raise ObjectionError("a question that no oracle of this market signed")
        rounds = {(each.slot, each.purpose, each.oracle, each.round) for each, _ in questions}
        if len(rounds) != 1 or len({each.agent for each, _ in questions}) < len(questions):
            raise ObjectionError("not one question each of one round's agents")
        slot, purpose, oracle, _ = rounds.pop()
        begun = self._turn_begun(slot, purpose, oracle, members)
        heard = self._inquiries.ask(questions, self._chain.now(), begun)
        return HeardBody(answers=[AnswerBody.of(each.answer, each.signature) for each in heard])

    def vote(self, body: ProposalBody) -> VoteBody:
        """Our signature of another oracle's proposal, or why not. Raises ObjectionError where we are none."""
        members = self._exchange.oracle_set()
        index = self._index(members)
        try:
            with self._voting:
                signed = self._judged(body, members)
        except (ObjectionError, ServiceError, ChainError, PricingError) as failure:
            objection = str(failure)[:2_000]
            self._tell(f"slot {body.slot}: objects to oracle {body.oracle}: {objection}")
            return VoteBody(oracle=index, objection=objection)
        domain = self._exchange.domain
        signature = self.key.sign(eip712.digest(domain, signed))
        foretold = forecasts_of(octets(body.inputs)) if isinstance(signed, PricesHeader) else ()
        of_forecasts = forecasts.headers(body.slot, members.epoch, foretold)
        return VoteBody(
            oracle=index,
            signature=signature_text(signature),
            forecasts=[
                signature_text(each.signature)
                for each in forecasts.signed(domain, self.key, index, of_forecasts)
            ],
        )

    def _judged(self, body: ProposalBody, members: OracleSet) -> ChargesHeader | PricesHeader:
        """What we sign of a proposal. Raises ObjectionError."""
        begun = self._turn_begun(body.slot, body.purpose, body.oracle, members)
        purpose, state = Purpose(body.purpose), self._exchange.slot_of(body.slot)
        with self._looking:
            known = self._knowledge.of(body.slot, purpose, body.oracle, state)
        known = replace(known, inquired=lambda question: self._inquiries.found(question, begun))
        brought = claimed([octets(each) for each in (body.inputs, body.certificate, body.rounds)], known)
        signed = header(body.slot, purpose, members.epoch, brought)
        by = recover(eip712.digest(self._exchange.domain, signed), signature_of(body.signature))
        if by != members.oracles[body.oracle]:
            raise ObjectionError(f"not signed by oracle {body.oracle}")
        responses = verify(brought, known, self._newton(known.outlook.feeder, voting=True))
        self._attendance.shown(responses)
        self._attendance.require(responses)
        self._kept.keep(body.slot, purpose, brought)
        return signed

    def proof(self, kind: str, digest: bytes) -> bytes | None:
        """A certificate or inputs that we signed, by their SHA-256, also before a restart."""
        return self._kept.proof(kind, digest)

    # --- inside ---------------------------------------------------------------------------------

    def _turns(self, slot: int, purpose: Purpose, members: OracleSet) -> Turns:
        return Turns.of(self._terms, slot, purpose, self._timing.turn_seconds, len(members.oracles))

    def _turn_begun(self, slot: int, number: int, oracle: int, members: OracleSet) -> float:
        """The second from which an oracle's turn counts.

        Raises ObjectionError where nothing is due, or the turn is another's.
        """
        purpose, now = _purpose(number), self._chain.now()
        if due(self._terms, slot, self._exchange.slot_of(slot), now) is not purpose:
            raise NotDueError(f"no {purpose.name.lower()} of slot {slot} are due")
        if oracle >= len(members.oracles):
            raise ObjectionError(f"there is no oracle {oracle}")
        turns = self._turns(slot, purpose, members)
        begun = turns.begun(oracle, now)
        if begun is None:
            whose = turns.proposer(turns.number(now))
            raise NotDueError(f"out-of-turn: oracle {oracle} comes in the turn of oracle {whose}")
        return begun

    def _index(self, members: OracleSet) -> int:
        """Our place in the set, which rotates. Raises ObjectionError."""
        if self.key.address not in members.oracles:
            raise ObjectionError(f"{self.key.address} is none of the market's oracles any more")
        return members.oracles.index(self.key.address)

    def _newton(self, feeder: Feeder, *, voting: bool) -> NewtonClearing:
        """A solver of the feeder: one for our own clearings, one for votes, which other threads give."""
        key = feeder.hash, voting
        if key not in self._newtons:
            self._newtons[key] = NewtonClearing(feeder)
        return self._newtons[key]


def header(slot: int, purpose: Purpose, epoch: int, brought: Brought) -> ChargesHeader | PricesHeader:
    """What oracles sign of what a clearing brought."""
    make = charges_header if purpose is Purpose.CHARGES else prices_header
    return make(slot, epoch, brought)


def _purpose(number: int) -> Purpose:
    try:
        return Purpose(number)
    except ValueError:
        raise ObjectionError(f"purpose {number} is unknown") from None
