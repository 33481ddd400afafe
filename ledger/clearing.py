"""The signatures of a clearing between processes: who signed what a standing says."""

from __future__ import annotations

from ledger import eip712
from ledger.keys import Signature, recover
from market.atc.messages import Question, answer_to
from market.atc.responses import Standing
from market.orders import Address


def signer(domain: eip712.Domain, question: Question, standing: Standing) -> Address | None:
    """Who signed a standing's powers as the answer to its question; None where nobody did."""
    answer = answer_to(question, eip712.struct_hash(question), standing.powers)
    half = len(standing.signature) // 2
    signature = Signature(standing.signature[:half], standing.signature[half:])
    return recover(eip712.digest(domain, answer), signature)
