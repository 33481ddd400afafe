"""The oracles: each clears for itself, checks the proposer's certificate, and signs the same digest.

One signer proposes bytes; every other one checks the certificate, clears the same inputs with a
solver of its own and compares integer prices within ±1 unit, and only then signs.

Each clears by the market's method. Where that reaches no answer, or one whose certificate does not hold,
it clears centrally and says so in the proposal; where that proves nothing either there are no prices.
Both steps depend on the inputs alone, never on earlier slots, so all signers take the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

import numpy as np

from ledger import eip712
from ledger.exchange import OracleSignature
from ledger.keys import Key
from ledger.vectors import values_hash
from market.feeder.model import Feeder
from market.messages import ChargesHeader, PricesHeader
from market.pricing.admission import PricingError
from market.pricing.certificate import certificate, check, encode_inputs
from market.pricing.conditions import Clearing, Conditions, SlotPrices, Solution
from market.pricing.quantise import quantise

AGREEMENT_UNITS = 1
"""µ€/kWh by which a signer's own price may differ from the proposed one."""


class OracleError(RuntimeError):
    """No prices can be published.

    OracleError
    ├── NotClearedError     neither the method nor the central clearing gives prices that can be proven
    └── NoQuorumError       too few signers agree with the proposal
    """


class NotClearedError(OracleError):
    """No clearing gives prices with a certificate that holds; the message says why of each."""


class NoQuorumError(OracleError):
    """Fewer signers than the quorum found the proposal right; the message lists why."""


@dataclass(frozen=True, eq=False)
class Proven:
    """A solution whose certificate holds. `fallback` says why it is not the method's own; else empty."""

    solution: Solution
    certificate: bytes
    fallback: str = ""


@dataclass(frozen=True, eq=False)
class Brought:
    """What a clearing brings before the oracles: integer prices and the bytes that prove them.

    `rounds` is what the others ask again, where agents elsewhere were asked; only oracles see it.
    """

    prices: SlotPrices
    inputs: bytes
    certificate: bytes
    rounds: bytes = b""

    @property
    def input_hash(self) -> bytes:
        """SHA-256 of the inputs: conditions, or signed responses."""
        return sha256(self.inputs).digest()

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate."""
        return sha256(self.certificate).digest()


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposal(Brought):
    """What one signer puts before the others, with the solution behind it.

    `fallback` says why the prices are the central clearing's and not the method's; empty where they are.
    Of a solution of several slots, `prices` are those of one: its first, or that of `period`.
    """

    solution: Solution
    fallback: str = ""
    period: int = 0

    def of_period(self, feeder: Feeder, period: int, *, hours: float) -> Proposal:
        """The same proof for another slot of those that were cleared together."""
        return replace(self, prices=quantise(self.solution, feeder, period, hours=hours), period=period)


def clearing_factory(method: str) -> Callable[[Feeder], Clearing]:
    """The clearing of a scenario's `oracle.method`, imported only now since solvers load slowly."""
    if method == "atc":
        from market.atc.clearing import AtcClearing  # noqa: PLC0415

        return AtcClearing
    if method == "newton":
        from market.pricing.newton import NewtonClearing  # noqa: PLC0415

        return NewtonClearing
    if method == "direct":
        from market.pricing.direct import clear  # noqa: PLC0415

        return lambda feeder: clear
    from market.pricing.socp import SocpClearing  # noqa: PLC0415

    return SocpClearing


def clear_and_prove(feeder: Feeder, conditions: Conditions, clearing: Clearing) -> Proven:
    """Clear by the method, else centrally, to prices whose certificate holds. Raises NotClearedError.

    No earlier solution is taken to start from: the answer would depend, within the stopping rule, on
    which slots a signer saw before, and integer prices must not.
    """
    from market.pricing.direct import clear as central  # noqa: PLC0415 - loads slowly

    doubts: list[str] = []
    for attempt in (clearing, central):
        try:
            solution = attempt(feeder, conditions)
        except PricingError as failure:
            doubts.append(str(failure))
            continue
        proof = certificate(solution, feeder, conditions)
        findings = check(proof, feeder, conditions)
        if not findings:
            return Proven(solution, proof, fallback="; ".join(doubts))
        first = findings[0]
        doubts.append(
            f"{solution.method}: the certificate does not hold: {first.check} of {first.where}"
            f" is off by {first.difference}"
        )
    raise NotClearedError("; ".join(doubts))


class Signer:
    """One oracle: an index in the set, a key, and a solver of its own."""

    def __init__(self, index: int, key: Key, feeder: Feeder, clearing: Clearing) -> None:
        self.index = index
        self.key = key
        self._feeder = feeder
        self._clearing = clearing

    def propose(self, conditions: Conditions) -> Proposal:
        """Clear, quantise and prove. Raises NotClearedError."""
        proven = clear_and_prove(self._feeder, conditions, self._clearing)
        return Proposal(
            solution=proven.solution,
            prices=quantise(proven.solution, self._feeder, hours=conditions.hours),
            inputs=encode_inputs(self._feeder, conditions),
            certificate=proven.certificate,
            fallback=proven.fallback,
        )

    def objection(self, proposal: Proposal, conditions: Conditions) -> str | None:
        """Why this signer does not sign; None where it agrees."""
        if proposal.inputs != encode_inputs(self._feeder, conditions):
            return "inputs differ"
        findings = check(proposal.certificate, self._feeder, conditions)
        if findings:
            return f"certificate: {findings[0]}"
        try:
            proven = clear_and_prove(self._feeder, conditions, self._clearing)
        except NotClearedError as failure:
            return f"no prices of its own: {failure}"
        for period in range(conditions.periods):
            own = quantise(proven.solution, self._feeder, period, hours=conditions.hours)
            other = (
                proposal if period == 0 else proposal.of_period(self._feeder, period, hours=conditions.hours)
            )
            apart = difference(own, other.prices)
            if apart is not None:
                return apart
        return None

    def sign(self, domain: eip712.Domain, header: ChargesHeader | PricesHeader) -> OracleSignature:
        """Sign the digest of a header."""
        signature = self.key.sign(eip712.digest(domain, header))
        return OracleSignature(self.index, *signature)


class Oracles:
    """The set of signers and its quorum: proposes, verifies, signs.

    `method` is a scenario's `oracle.method`, or makes the clearing of a feeder.
    """

    def __init__(
        self,
        feeder: Feeder,
        keys: Sequence[Key],
        quorum: int,
        method: str | Callable[[Feeder], Clearing],
    ) -> None:
        make = clearing_factory(method) if isinstance(method, str) else method
        self._signers = [Signer(i, key, feeder, make(feeder)) for i, key in enumerate(keys)]
        self.quorum = quorum

    @property
    def addresses(self) -> tuple[str, ...]:
        """The signers' addresses, in the order of the set."""
        return tuple(signer.key.address for signer in self._signers)

    def agree(self, conditions: Conditions) -> tuple[Proposal, tuple[Signer, ...]]:
        """Proposal of the first signer, and the quorum that found it right. Raises OracleError."""
        proposer, *others = self._signers
        proposal = proposer.propose(conditions)
        agreed, objections = [proposer], []
        for signer in others:
            if len(agreed) == self.quorum:
                break
            objection = signer.objection(proposal, conditions)
            if objection is None:
                agreed.append(signer)
            else:
                objections.append(f"oracle {signer.index}: {objection}")
        if len(agreed) < self.quorum:
            raise NoQuorumError(f"{len(agreed)} of {self.quorum} needed agree; " + "; ".join(objections))
        return proposal, tuple(agreed)


def difference(own: SlotPrices, proposed: SlotPrices) -> str | None:
    """Where a signer's own prices differ by more than a unit from the proposed ones; None for nowhere."""
    gaps = np.abs(np.subtract(own.bus_price, proposed.bus_price))
    if gaps.max() <= AGREEMENT_UNITS:
        return None
    bus = int(gaps.argmax())
    return f"bus {bus}: own price {own.bus_price[bus]}, proposed {proposed.bus_price[bus]}"


class Proved(Protocol):
    """What oracles sign: integer prices, and the hashes of what proves them."""

    @property
    def prices(self) -> SlotPrices:
        """The prices."""
        ...

    @property
    def input_hash(self) -> bytes:
        """SHA-256 of the inputs."""
        ...

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate."""
        ...


def charges_header(slot: int, epoch: int, proposal: Proved) -> ChargesHeader:
    """What is signed of a proposal as firm charges ν_b."""
    return ChargesHeader(
        slot=slot,
        epoch=epoch,
        values_hash=values_hash(proposal.prices.charges),
        input_hash=proposal.input_hash,
        certificate_hash=proposal.certificate_hash,
    )


def prices_header(slot: int, epoch: int, proposal: Proved) -> PricesHeader:
    """What is signed of a proposal as prices λ_b."""
    return PricesHeader(
        slot=slot,
        epoch=epoch,
        hub_price=proposal.prices.hub_price,
        forecast_import=proposal.prices.forecast_import_wh,
        values_hash=values_hash(proposal.prices.bus_price),
        input_hash=proposal.input_hash,
        certificate_hash=proposal.certificate_hash,
    )
