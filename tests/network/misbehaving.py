"""The real commands with one thing gone wrong: `python -m tests.network.misbehaving KIND oracle|agent …`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from market.atc.messages import Purpose
from node.agent import answering
from node.client.schemas import AnswerBody, ProposalBody, QuestionBody, VoteBody, signature_text

if TYPE_CHECKING:
    from node.oracle.process import OracleProcess
    from node.oracle.verify import Brought

LAST_ROUND = 3
"""Answers of a clearing that an agent which is killed still gives."""
LIE_UEUR_PER_KWH = 50


def killed() -> None:
    """An agent that is gone in the middle of the first clearing of prices."""
    answer = answering.Answering.answer

    def dying(self: answering.Answering, body: QuestionBody) -> AnswerBody:
        if body.purpose == Purpose.PRICES and body.round > LAST_ROUND:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer(self, body)

    answering.Answering.answer = dying  # type: ignore[method-assign]


def silent() -> None:
    """An agent that asks what it is asked, and never answers."""

    def nothing(self: answering.Answering, body: QuestionBody) -> AnswerBody:
        raise answering.QuestionRefusedError("says nothing")

    answering.Answering.answer = nothing  # type: ignore[method-assign]


def lying() -> None:
    """An oracle that brings other prices than it proves, and signs other digests than it is asked for."""
    from node.oracle import process

    bring = process.bring

    def shifted(*of: object) -> Brought:
        brought = bring(*of)  # type: ignore[arg-type]
        prices = tuple(
            price + LIE_UEUR_PER_KWH * (bus > 0) for bus, price in enumerate(brought.prices.bus_price)
        )
        return replace(brought, prices=replace(brought.prices, bus_price=prices))

    def vote(self: OracleProcess, body: ProposalBody) -> VoteBody:
        index = self._exchange.oracle_set().oracles.index(self.key.address)
        return VoteBody(oracle=index, signature=signature_text(self.key.sign(bytes(31) + b"\x01")))

    process.bring = shifted
    process.OracleProcess.vote = vote  # type: ignore[method-assign]


if __name__ == "__main__":
    {"killed": killed, "silent": silent, "lying": lying}[sys.argv.pop(1)]()
    from node.cli import main

    main()
