"""`wattbook replace …` on a market of the embedded chain: what it sends, and what it refuses to send."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from ledger.keys import Key, derive
from market.orders import NOBODY
from node.cli.app import app
from node.client import joining
from tests.exchange.conftest import Market, meter_of

NEW, OTHER = derive(7, "new"), derive(7, "other")
Replace = Callable[..., Result]
Stored = Callable[[Key], str]


@pytest.fixture
def replace(market: Market, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """The command on this market, whichever it names."""
    monkeypatch.setattr(joining, "join", lambda *_: SimpleNamespace(exchange=market.exchange))
    return lambda *words: CliRunner().invoke(app, ("replace", *words), prog_name="wattbook")


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """Key files under one password."""
    (tmp_path / "password").write_text("open sesame\n")

    def store(key: Key) -> str:
        path = tmp_path / f"{key.address}.json"
        path.write_text(json.dumps(Account.encrypt(key.secret, "open sesame", iterations=2)))
        return str(path)

    return store


@pytest.fixture
def by(stored: Stored, tmp_path: Path) -> Callable[[Key], tuple[str, ...]]:
    """The options of who sends."""
    return lambda key: ("--keystore", stored(key), "--password-file", str(tmp_path / "password"))


def events(done: Result) -> list[dict[str, Any]]:
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return found


def refusal(done: Result) -> tuple[int, str]:
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done.output
    return done.exit_code, done.stderr


def test_a_meter_has_its_next_key(market: Market, replace: Replace, by):
    whose = market.buyer.address
    words = ("meter", whose, "--meter-key", NEW.address, *by(market.utility))
    assert events(replace(*words, "--json")) == [
        {"event": "MeterChanged", "account": whose, "meter_key": NEW.address, "epoch": 2}
    ]
    found = market.exchange.account_of(whose)
    assert (found.meter_key, found.meter_epoch) == (NEW.address, 2)
    assert refusal(replace(*words)) == (
        2,
        f"error: --meter-key {NEW.address}: is the account's meter key already\n",
    )


@pytest.mark.parametrize("role", ["utility", "guardian"])
def test_a_role_is_handed_over_in_two_steps(market: Market, replace: Replace, by, role: str):
    holder = getattr(market.exchange, role)
    proposed = replace("role", role, "--successor", market.newcomer.address, *by(getattr(market, role)))
    assert proposed.stdout.startswith("event RoleProposed  role ") and holder() != market.newcomer.address
    status, said = refusal(replace("role", role, "--accept", *by(market.relayer)))
    assert (status, "accounts: not the successor" in said) == (1, True)
    (accepted,) = events(replace("role", role, "--accept", *by(market.newcomer), "--json"))
    assert accepted["event"] == "RoleAccepted" and holder() == market.newcomer.address


def test_a_proposal_is_taken_back(market: Market, replace: Replace, by):
    for successor in (market.newcomer.address, NOBODY):
        replace("role", "guardian", "--successor", successor, *by(market.guardian))
    assert "not the successor" in refusal(replace("role", "guardian", "--accept", *by(market.newcomer)))[1]


def test_an_account_has_a_successor_and_is_closed(market: Market, replace: Replace, by):
    old = market.exchange.account_of(market.seller.address)
    words = ("account", market.seller.address, "--successor", market.newcomer.address, "--close")
    registered, changed = events(replace(*words, *by(market.utility), "--json"))
    assert (changed["event"], registered["event"]) == ("AccountChanged", "AccountRegistered")
    new, closed = (market.exchange.account_of(each) for each in (market.newcomer.address, words[1]))
    assert (new.bus, new.meter_key, new.classes) == (old.bus, meter_of(market.seller).address, old.classes)
    assert (new.import_capacity, new.export_capacity) == (old.import_capacity, old.export_capacity)
    assert (closed.import_capacity, closed.export_capacity, closed.classes) == (0, 0, 0)
    assert (closed.balance, new.balance) == (old.balance, 0)


def test_oracles_are_rotated_by_signatures_of_several_operators(
    market: Market, replace: Replace, stored: Stored, by, tmp_path: Path
):
    members = ("--oracle", NEW.address, "--oracle", OTHER.address, "--quorum", "2")
    password = ("--password-file", str(tmp_path / "password"))
    first = ("--signer", stored(market.oracles[2]), *password)
    others = ("--signer", stored(market.oracles[4]), "--signer", stored(market.oracles[0]))
    (signature,) = replace("oracles", *members, *first).stdout.split()
    unsent = refusal(replace("oracles", *members, "--signature", signature, *first))
    assert unsent == (2, "error: --signature: is for who sends, so it needs --keystore\n")
    alone = refusal(replace("oracles", *members, "--signature", signature, *by(market.relayer)))
    assert alone[0] == 2 and "1 of the present oracles signed, and a quorum is 3" in alone[1]
    swapped = ("--oracle", OTHER.address, "--oracle", NEW.address, "--quorum", "2")
    wrong = refusal(replace("oracles", *swapped, "--signature", signature, *others, *by(market.relayer)))
    assert wrong[0] == 2 and "none of the present oracles signed this set" in wrong[1]
    (rotated,) = events(
        replace("oracles", *members, "--signature", signature, *others, *by(market.relayer), "--json")
    )
    assert rotated == {
        "event": "OraclesRotated", "epoch": 2, "quorum": 2, "oracles": [NEW.address, OTHER.address]
    }  # fmt: skip
    former = refusal(replace("oracles", *members, *first))
    assert former[0] == 2 and f"{market.oracles[2].address} is none of the oracles" in former[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("meter", "{buyer}", "--meter-key", NEW.address), "is not the utility, 0x"),
        (("meter", NEW.address, "--meter-key", OTHER.address), "has no account in this market"),
        (("meter", "{utility}", "--meter-key", NEW.address), "is the utility, whose role is handed over"),
        (("meter", "0x12", "--meter-key", NEW.address), "ACCOUNT 0x12: is no address"),
        (("meter", "{buyer}", "--meter-key", NEW.address[:-1] + "g"), "is no address"),
        (("meter", "{buyer}", "--meter-key", NEW.address.swapcase().replace("X", "x")), "no checksum"),
        (("account", "{buyer}"), "--successor, --close: give one of them, or both"),
        (("account", "{buyer}", "--close", "--meter-key", NEW.address), "so it needs --successor"),
        (("role", "oracle", "--accept"), "oracle: no such role; there are utility, guardian"),
        (("role", "utility"), "--successor or --accept: give exactly one of them"),
        (("role", "guardian", "--successor", NEW.address), "is not the guardian, 0x"),
        (("oracles", "--oracle", NEW.address, "--quorum", "2"), "--quorum 2: of 1 oracles"),
        (("oracles", *("--oracle", NEW.address) * 2, "--quorum", "1"), "each of its oracles once"),
        (("oracles", "--oracle", NEW.address, "--quorum", "1", "--signature", "0x12"), "is no signature"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_sent(
    market: Market, replace: Replace, by, words: tuple[str, ...], says: str
):
    head = market.chain.head()
    named = (each.format(buyer=market.buyer.address, utility=market.utility.address) for each in words)
    status, said = refusal(replace(*named, *by(market.relayer)))
    assert (status, says in said, market.chain.head()) == (2, True, head), said


def test_without_a_key_nothing_is_sent(replace: Replace, market: Market):
    done = refusal(replace("meter", market.buyer.address, "--meter-key", NEW.address))
    assert done == (2, "error: --keystore: needed, with the key of who sends\n")
