"""What an oracle does with another's proposal: takes it apart, checks each part, and clears for itself.

The bytes hold the responses of every account and a certificate. An oracle signs where the responses are
those of all registered accounts, each signed by its key; what the utility published is what it published to
this oracle too; the rounds, asked again from the answers (`replay`), have the same questions and end with the
same responses; they had settled; the certificate holds; and its own clearing of the responses gives the same
integer prices within ±1 unit. Whoever is called silent it must itself have asked in vain (`inquiries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import clearing, eip712
from ledger.address import checksummed
from market.atc.responses import Responses, Stand, Standing
from market.feeder.model import Feeder, FeederError
from market.pricing.admission import PricingError
from market.pricing.certificate import check, decode, encode_inputs, prices
from market.pricing.conditions import SlotPrices
from market.pricing.newton import NewtonClearing
from market.pricing.wire import FormatError
from node.oracle.coordinate import Outlook, coordinate
from node.oracle.replay import Inquired, NotAskedError, Replay, SilencedError
from node.oracle.rounds import Member
from node.oracle.signers import Brought, OracleError, clear_and_prove, difference


class ObjectionError(Exception):
    """Why an oracle does not sign a proposal, or not ask what another has asked."""


class NotDueError(ObjectionError):
    """Nothing of the kind is due, or it is another oracle's turn."""


@dataclass(frozen=True, eq=False)
class Known:
    """What an oracle knows itself of a clearing that another one coordinated."""

    slot: int
    purpose: int
    oracle: int
    outlook: Outlook
    members: Sequence[Member]
    domain: eip712.Domain
    inquired: Inquired = lambda question: None
    """What we heard of a question that we asked for the coordinator."""


def bring(responses: Responses, newton: NewtonClearing) -> Brought:
    """Prices and certificate of what a clearing ended with. Raises NotClearedError, ObjectionError."""
    given = responses.given()
    proof = clear_and_prove(responses.feeder, given, newton).certificate
    _require_settled(responses, proof)
    return Brought(_prices(proof, responses.feeder, given.hours), responses.encode(), proof)


def claimed(brought: Sequence[bytes], known: Known) -> Brought:
    """Inputs, certificate and rounds with the prices the certificate has, unproven. Raises ObjectionError."""
    inputs, proof, rounds = brought
    found = _prices(proof, known.outlook.feeder, known.outlook.conditions.hours)
    return Brought(found, inputs, proof, rounds)


def verify(brought: Brought, known: Known, newton: NewtonClearing) -> Responses:
    """The responses behind what another oracle brings, all found right. Raises ObjectionError."""
    proof = brought.certificate
    try:
        responses = Responses.decode(brought.inputs, checksummed)
        _check_responses(responses, known)
        _check_rounds(brought, known, newton)
        given = responses.given()
        findings = check(proof, responses.feeder, given)
        if findings:
            raise ObjectionError(f"certificate: {findings[0]}")
        _require_settled(responses, proof)
        own = clear_and_prove(responses.feeder, given, newton).certificate
    except (FormatError, FeederError, PricingError, OracleError, NotAskedError, SilencedError) as failure:
        raise ObjectionError(str(failure)) from None
    apart = difference(prices(own, responses.feeder, hours=given.hours), brought.prices)
    if apart is not None:
        raise ObjectionError(apart)
    return responses


def _prices(proof: bytes, feeder: Feeder, hours: float) -> SlotPrices:
    """The prices of a certificate. Raises ObjectionError where it has none that can be posted."""
    try:
        return prices(proof, feeder, hours=hours)
    except FormatError as failure:
        raise ObjectionError(str(failure)) from None


def _check_rounds(brought: Brought, known: Known, newton: NewtonClearing) -> None:
    """Every question was the method's own, and the rounds ended with these responses."""
    replay = Replay(
        known.domain,
        brought.rounds,
        slot=known.slot,
        purpose=known.purpose,
        oracle=known.oracle,
        members=known.members,
        inquired=known.inquired,
    )
    if coordinate(replay, known.outlook, newton).encode() != brought.inputs:
        raise ObjectionError("the rounds end with other responses")


def _check_responses(responses: Responses, known: Known) -> None:
    """The responses are of this clearing and of all accounts, on what the utility published."""
    found, expected = ((each.slot, each.purpose, each.oracle) for each in (responses, known))
    if found != expected:
        raise ObjectionError(f"responses of slot, purpose, oracle {found}, not {expected}")
    published, ours = (encode_inputs(each.feeder, each.conditions) for each in (responses, known.outlook))
    if published != ours:
        raise ObjectionError("inputs differ from what the utility published")
    accounts = [(each.agent, each.bus) for each in responses.standings]
    if accounts != [(member.agent, member.bus) for member in known.members]:
        raise ObjectionError("the accounts are not those that are registered")
    for standing, member in zip(responses.standings, known.members, strict=True):
        _check_standing(standing, member, responses, known.domain)


def _check_standing(standing: Standing, member: Member, responses: Responses, domain: eip712.Domain) -> None:
    """One account: its forecast is the published one, its answer is signed, of this round, and possible."""
    question, agent = standing.question, standing.agent
    if question is None:
        if standing.powers != member.forecast:
            raise ObjectionError(f"{agent}: not the forecast that the utility published")
        return
    if clearing.signer(domain, question, standing) != agent:
        raise ObjectionError(f"{agent}: its answer is not signed by its key")
    last = standing.stand is Stand.ANSWERED
    if last != (question.round == responses.round):
        raise ObjectionError(f"{agent}: an answer of round {question.round}, the last was {responses.round}")
    if not all(member.least <= power <= member.most for power in standing.powers):
        raise ObjectionError(f"{agent}: beyond its registered capacity")


def _require_settled(responses: Responses, proof: bytes) -> None:
    """The answers and the certificate are of one mind. Raises ObjectionError."""
    at = decode(proof)
    if not responses.settled(at.primal, at.duals):
        raise ObjectionError(f"not settled: {responses.measure(at.primal, at.duals).apart}")
