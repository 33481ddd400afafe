"""The votes on one proposal: whose signatures count, and when there are enough of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from ledger import eip712
from ledger.exchange import OracleSignature
from ledger.keys import Key, recover
from market.messages import ChargesHeader, OracleSet, PricesHeader
from node.client.http import ServiceError
from node.client.schemas import VoteBody, signature_of
from node.oracle import forecasts
from node.oracle.forecasts import Words
from node.oracle.signers import NoQuorumError

FORECASTS_WAIT_SECONDS = 5.0
"""How long signed prices wait for more signatures of the forecasts that go with them."""

Foretold = tuple[tuple[Words, tuple[OracleSignature, ...]], ...]
"""Forecasts of accounts by index, each with its quorum."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """What a quorum signed of a clearing; forecasts only with prices, and where a quorum signed them all."""

    signatures: tuple[OracleSignature, ...]
    forecasts: Foretold


class Ballot:
    """Counts votes on what one oracle, a member, signed itself. Prices and forecasts have a quorum each."""

    def __init__(
        self,
        domain: eip712.Domain,
        members: OracleSet,
        key: Key,
        signed: ChargesHeader | PricesHeader,
        foretold: tuple[Words, ...],
    ) -> None:
        self._domain, self._members, self._foretold = domain, members, foretold
        self._digest = eip712.digest(domain, signed)
        self._expected = forecasts.headers(signed.slot, members.epoch, foretold)
        own = members.oracles.index(key.address)
        self._found = {own: OracleSignature(own, *key.sign(self._digest))}
        self._also = {own: forecasts.signed(domain, key, own, self._expected)}
        self._doubts: list[str] = []

    @property
    def enough(self) -> bool:
        """A quorum signed the prices or charges."""
        return len(self._found) >= self._members.quorum

    @property
    def complete(self) -> bool:
        """A quorum signed them, and one signed the forecasts too."""
        return self.enough and (not self._expected or len(self._also) >= self._members.quorum)

    def gather(self, votes: Iterable[Future[VoteBody]], seconds: float) -> None:
        """Count votes as they come until the ballot is complete, or so long; for forecasts not as long."""
        pending, ends = set(votes), time.monotonic() + seconds
        while pending and not self.complete:
            left = max(ends - time.monotonic(), 0.0)
            patience = min(left, FORECASTS_WAIT_SECONDS) if self.enough else left
            done, pending = wait(pending, patience, return_when=FIRST_COMPLETED)
            if not done:
                self._doubts.append(f"no vote of {len(pending)} in time")
                break
            for each in done:
                try:
                    self.count(each.result())
                except ServiceError as failure:
                    self._doubts.append(str(failure))

    def count(self, vote: VoteBody) -> None:
        """Count one vote: each of its signatures by itself, so that a wrong one costs nobody the others."""
        members, oracle = self._members, vote.oracle
        if vote.signature is None:
            self._doubts.append(f"oracle {oracle}: {vote.objection}")
            return
        signature = signature_of(vote.signature)
        if oracle >= len(members.oracles) or recover(self._digest, signature) != members.oracles[oracle]:
            self._doubts.append(f"oracle {oracle}: signed something else")
            return
        self._found[oracle] = OracleSignature(oracle, *signature)
        given = [signature_of(each) for each in vote.forecasts]
        if also := forecasts.by_oracle(self._domain, members, oracle, self._expected, given):
            self._also[oracle] = also

    def quorum(self) -> Quorum:
        """Signatures of a quorum in the set's order. Raises NoQuorumError."""
        needed = self._members.quorum
        if not self.enough:
            raise NoQuorumError(f"{len(self._found)} of {needed} needed agree; " + "; ".join(self._doubts))
        signatures = tuple(self._found[each] for each in sorted(self._found)[:needed])
        if not self.complete:
            return Quorum(signatures, ())
        also = [self._also[each] for each in sorted(self._also)[:needed]]
        by_forecast = zip(*also, strict=True)
        return Quorum(
            signatures, tuple(zip(self._foretold, by_forecast, strict=True)) if self._expected else ()
        )
