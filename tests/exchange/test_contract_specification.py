"""The contract's page says what is so: its rules, codes, storage and bits are those of the sources."""

from __future__ import annotations

import re
import warnings
from functools import cache
from itertools import pairwise
from pathlib import PurePath
from typing import Any

import pytest
import vyper.ast as tree
from vyper.compiler import compile_from_file_input
from vyper.compiler.input_bundle import JSONInputBundle

from contracts import build
from ledger.keccak import keccak
from market.messages import ReadingReject
from market.orders import Reject, VoidReason
from tests.exchange.conftest import FIT, NETWORK_FEE, RETAIL, Market
from tests.exchange.vyper_sources import MODULES

PAGE = (build.SOURCES.parent / "README.md").read_text("utf-8")
RULE = r"[a-z]+: [a-z0-9 _]+"


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables in a text, headings left out."""
    lines = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines if not cells[0].startswith("---")]


# --- rules --------------------------------------------------------------------------------------


def test_every_revert_has_its_cause():
    """The table of rules, with the reject codes, is the rules of the sources; each says when it is broken."""
    in_sources = {
        rule
        for path in build.SOURCES.glob("*.vy")
        if path.stem != "Token"
        for rule in re.findall(rf'"({RULE})"', path.read_text("utf-8"))
    } - {"module: rule"}
    listed = [cells for cells in rows(section("Rules")) if cells[0] != "rule"]
    names = [cells[0].strip("`") for cells in listed]
    assert len(names) == len(set(names)) and all(len(cells) == 2 and len(cells[1]) > 9 for cells in listed)
    coded = {reject.rule for reject in (*Reject, *ReadingReject)}
    assert set(names) | coded == in_sources and not set(names) & coded


def test_reject_codes_are_those_of_the_sources():
    orders = {
        int(cells[0]): cells[1].strip("`")
        for cells in rows(section("Placing an order"))
        if cells[0].isdigit()
    }
    assert orders == {reject.value: reject.rule for reject in Reject}
    constants = numbers("orders")
    assert {constants[reject.name] for reject in Reject} == set(orders)
    for reject in Reject:
        assert constants[reject.name] == reject.value
    told = PAGE.split("Reading reject codes: ")[1].split("\n\n")[0]
    readings = {int(code): rule for code, rule in re.findall(rf"(\d) `({RULE})`", told)}
    assert readings == {reject.value: reject.rule for reject in ReadingReject}
    for reject in ReadingReject:
        assert numbers("readings")[reject.name] == reject.value


def test_void_reasons_are_those_of_the_sources():
    told = PAGE.split("Void reasons: ")[1].split(".")[0]
    assert [int(code) for code in re.findall(r"(\d) ", told)] == [reason.value for reason in VoidReason]
    names = ["CANCELLED", "VOID_EXPIRED", "OWN_ORDER", "VOID_IMMEDIATE", "VISITS", "CLOSED", "LEVEL_FULL"]
    assert [numbers("resting")[name] for name in names] == list(VoidReason)


@cache
def numbers(module: str) -> dict[str, int]:
    """Constants of a module that are whole numbers; powers of two are written as shifts."""
    found = {}
    for declaration in MODULES[module].get_children(tree.VariableDecl):
        if declaration.is_constant:
            value = declaration.value
            if isinstance(value, tree.Int):
                found[declaration.target.id] = value.value
            elif isinstance(value, tree.BinOp) and isinstance(value.left, tree.Int) and value.left.value == 1:
                found[declaration.target.id] = 1 << value.right.value
    return found


# --- storage ------------------------------------------------------------------------------------


def test_variables_are_where_the_page_says():
    texts = {path.name: path.read_text("utf-8") for path in build.SOURCES.glob("*.vy")}
    known = "".join(f"{name}: constant(bytes32) = 0x{'11' * 32}\n" for name in ("CLEARINGHOUSE", "REGISTRY"))
    listed = {cells[1].strip("`"): int(cells[0]) for cells in rows(section("Storage")) if cells[0].isdigit()}
    found: dict[str, int] = {}
    for part in ("Exchange", "Clearinghouse", "Registry"):
        for module, variables in layout(part, {**texts, "known_code.vy": known}).items():
            found |= {f"{module}.{name}": entry["slot"] for name, entry in variables.items()}
    assert listed == found


def layout(part: str, texts: dict[str, str]) -> dict[str, Any]:
    bundle = JSONInputBundle(
        {PurePath(name): {"content": text} for name, text in texts.items()}, [PurePath(".")]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = compile_from_file_input(
            bundle.load_file(f"{part}.vy"), input_bundle=bundle, output_formats=["layout"]
        )
    found: dict[str, Any] = output["layout"]["storage_layout"]
    return found


def fields() -> dict[str, list[tuple[int, int]]]:
    """First and last bit of every field by word, as the page lists them."""
    words: dict[str, list[tuple[int, int]]] = {}
    listed = [cells for cells in rows(section("Storage")) if re.fullmatch(r"[\d–, ]+", cells[1])]
    word = ""
    for cells in listed:
        word = cells[0] or word
        for bits in cells[1].split(", "):
            first, _, last = bits.partition("–")
            words.setdefault(word, []).append((int(first), int(last or first)))
    return words


STARTS = {
    "account": ("accounts", ["ID_AT", "BUS_AT", "IMPORT_AT", "EXPORT_AT", "RESERVED_AT", "BALANCE_AT"]),
    "profile": ("accounts", ["CLASSES_AT", "EPOCH_AT", "CREDIT_AT"]),
    "state": (
        "slots",
        [
            *("SCHEDULED", "CHARGES_POSTED", "CHARGES_COMPLETE", "PRICES_POSTED", "PRICES_COMPLETE"),
            *("GATE_CLOSED", "SUBSTATION_POSTED", "SETTLED", "CLOSING", "OPENED_AT", "BEST_AT"),
        ],
    ),
    "progress": ("slots", ["CHUNKS_AT", "ACCOUNTS_AT", "SETTLED_AT", "LEVEL_AT", "PLACE_AT", "CLEARING_AT"]),
    "level": ("levels", ["HEAD_AT", "TAIL_AT", "TAKEN_AT", "OLDER_AT", "ENTRIES_AT"]),
    "entry": ("levels", ["EXPIRY_AT", "NONCE_AT", "TRADER_AT"]),
    "position": (
        "positions",
        ["RESTING_AT", "COUNT_AT", "RESERVE_AT", "NET_AT", "TRADES_AT", "SETTLED", "CLEARED"],
    ),
    "reading": (
        "readings",
        ["METERED_AT", "ESTIMATED_AT", "EPOCH_AT", "BASIS_AT", "METERED", "ESTIMATED", "RESETTLED"],
    ),
}
"""Constants that say where fields begin: offsets, and masks of one bit."""
SECOND_STARTS = {
    "state": {0, 32, 64},
    "progress": {8},
    "level": {171},
    "entry": {0},
    "position": {0, 57, 95},
}
"""Where others begin: those at bit 0, and the second of a pair."""


@pytest.mark.parametrize("word", STARTS)
def test_fields_are_where_the_page_says(word):
    listed = fields()[word]
    starts = set(SECOND_STARTS.get(word, set()))
    module, constants = STARTS[word]
    for constant in constants:
        value = numbers(module)[constant]
        starts.add(value if constant.endswith("_AT") else value.bit_length() - 1)
    assert {first for first, _ in listed} == starts
    assert all(one[1] < other[0] for one, other in pairwise(listed))
    assert listed[-1][1] < 256


def test_every_constant_that_places_a_field_is_checked():
    named = {(module, constant) for module, constants in STARTS.values() for constant in constants}
    for module in MODULES:
        for constant in numbers(module):
            assert not constant.endswith("_AT") or (module, constant) in named


# --- the same, read from a chain ----------------------------------------------------------------


def stored(market: Market, variable: int, key: int) -> int:
    place = keccak(variable.to_bytes(32, "big") + key.to_bytes(32, "big"))
    return market.chain.storage(market.exchange.address, int.from_bytes(place, "big"))


def split(word: str, value: int) -> list[int]:
    """Fields of a word in the order of the page, unsigned."""
    return [value >> first & (1 << last - first + 1) - 1 for first, last in fields()[word]]


def test_words_on_the_chain_read_as_the_page_says(trading):
    """Account, state, level, entry and position of a slot in which an order was taken in part."""
    market, slot, buyer = trading, trading.slot, trading.buyer
    expiry = market.terms.gate(slot) - 77
    market.place(buyer, market.bid(buyer, 101_000, 300, nonce=5, expiry=expiry))
    market.place(market.seller, market.ask(market.seller, 97_000, 120, nonce=200))
    account = market.exchange.account_of(buyer.address)
    word = split("account", stored(market, 0, int(buyer.address, 16)))
    assert word == [1, 1, 100_000, 100_000, account.reserved, account.balance]
    profile = split("profile", stored(market, 1, market.exchange.account_of(market.seller.address).id))
    assert profile == [1, 1, 0]
    level = slot << 19 | 32_768 + 1_000
    state = split("state", stored(market, 10, slot))
    assert state[:3] == [RETAIL, NETWORK_FEE, FIT]
    # Scheduled, charges posted and complete, and nothing else yet; one level opened, of bids.
    assert state[3:12] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert state[12:] == [level & 2**19 - 1, 32_768 + 1_000]
    head = split("level", stored(market, 12, level))
    assert head[:4] == [0, 1, 120, 0] and head[5] == 0
    assert split("entry", head[4]) == [300, 77, 5, 1]
    place = slot << 24 | 1
    reserve = market.position(buyer).reserve
    assert split("position", stored(market, 16, place)) == [1 << 5, 300, 0, 1, 0, reserve, 0, 0, 0, 0]
    seller = split("position", stored(market, 16, slot << 24 | 3))
    sold = [2**34 - 120, 2**52 - 120 * 1_000]
    assert seller == [0, 0, 0, 0, 0, market.position(market.seller).reserve, *sold, 0, 0]
    assert stored(market, 17, slot << 24 | 3) == 1 << 200
