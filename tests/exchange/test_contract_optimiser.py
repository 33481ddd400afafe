"""The contract does the same whatever the compiler's optimiser makes of it.

One small market lives through everything (trading, cancels, vetoes, estimates, resettlement, new oracles,
new holders of roles) on the contract as it is shipped and on the sources compiled in another mode: every
transaction succeeds or fails alike, its logs are the same bytes, and so is the storage in the end. Gas
differs. Without optimiser the Exchange takes 26 000 bytes, more than EIP-170 allows, so in that run alone
the chain's limit is raised; mode `codesize` fits the chain as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from eth.vm.forks.spurious_dragon import computation

import contracts
from contracts import build
from ledger.chain.protocol import Log
from market.slots import Rule
from tests.audit.small_market import UTILITY, SmallMarket

RAISED_LIMIT = 32_768
"""Bytes of code that the chain allows where nothing was optimised."""


@cache
def compiled(mode: str) -> dict[str, contracts.Artifact]:
    """The sources compiled in a mode of the optimiser; `build` is left as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(build.SETTINGS, "optimize", mode)
        patch.setattr(build, "RUNTIME_LIMIT", RAISED_LIMIT)
        made = build.compile_contracts()
    return {
        name: contracts.Artifact(
            name,
            tuple(fields["abi"]),
            bytes.fromhex(fields["bytecode"].removeprefix("0x")),
            fields["runtime_size"],
            fields["compiler"],
            dict(fields["settings"]),
            fields["source_sha256"],
        )
        for name, fields in made.items()
    }


def lived(rule: Rule) -> SmallMarket:
    market = SmallMarket(rule)
    market.trade()
    return market


@cache
def shipped(rule: Rule) -> SmallMarket:
    return lived(rule)


def outcomes(market: SmallMarket) -> Iterator[tuple[int, list[tuple[str, tuple[bytes, ...], bytes]]]]:
    """Status and logs of every transaction, in their order."""
    for number in range(market.chain.head() + 1):
        for receipt in market.chain.receipts(number):
            yield receipt.status, [said(log) for log in receipt.logs]


def said(log: Log) -> tuple[str, tuple[bytes, ...], bytes]:
    return log.address, log.topics, log.data


def storage_root(market: SmallMarket) -> bytes:
    """Merkle root of all that the exchange has stored."""
    accounts = market.chain._machine._state._account_db
    root: bytes = accounts._get_storage_root(bytes.fromhex(market.exchange.address[2:]))
    return root


@pytest.mark.parametrize(
    ("mode", "fits", "rules"),
    [
        ("none", False, [Rule.DLMP]),
        pytest.param("none", False, [Rule.TARIFF], marks=pytest.mark.long),
        pytest.param("codesize", True, list(Rule), marks=pytest.mark.long),
    ],
)
def test_another_optimiser_makes_the_same_contract(monkeypatch, mode, fits, rules):
    artifacts = compiled(mode)
    largest = max(artifact.runtime_size for artifact in artifacts.values())
    assert (largest <= build.RUNTIME_LIMIT) is fits
    for rule in rules:
        known = shipped(rule)
        with monkeypatch.context() as patch:
            patch.setattr(contracts, "load", artifacts.__getitem__)
            if not fits:
                patch.setattr(computation, "EIP170_CODE_SIZE_LIMIT", RAISED_LIMIT)
            other = lived(rule)
            code = other.chain.code(other.exchange.address)
        assert other.exchange.address == known.exchange.address
        assert code != known.chain.code(known.exchange.address)
        assert list(outcomes(other)) == list(outcomes(known))
        assert storage_root(other) == storage_root(known)


def test_the_comparison_sees_what_differs():
    """One deposit of a thousandth cent more, and logs and storage are others."""
    one, other = SmallMarket(Rule.DLMP), SmallMarket(Rule.DLMP)
    assert list(outcomes(one)) == list(outcomes(other)) and storage_root(one) == storage_root(other)
    other.confirm(other.exchange.deposit(UTILITY.address, 10_000, sender=UTILITY))
    assert one.exchange.address == other.exchange.address
    assert list(outcomes(one)) != list(outcomes(other))
    assert storage_root(one) != storage_root(other)
    # What is refused is in the life that is compared, beside what works.
    assert {status for status, _ in outcomes(shipped(Rule.DLMP))} == {0, 1}
