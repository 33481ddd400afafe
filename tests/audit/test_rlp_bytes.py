"""The bundle's RLP: the same values as the `rlp` package, and only one encoding of each."""

from __future__ import annotations

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rlp_bytes import Item, RlpError, decode, encode

STRINGS = st.binary(max_size=70)
ITEMS = st.recursive(STRINGS, lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@given(ITEMS)
@settings(max_examples=200, deadline=None)
def test_reads_back_what_it_writes_as_others_do(item: Item) -> None:
    assert decode(encode(item)) == item
    assert encode(item) == rlp.encode(item)


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_refuses_what_others_refuse_and_has_one_encoding(data: bytes) -> None:
    try:
        expected = rlp.decode(data)
    except rlp.exceptions.RLPException:
        with pytest.raises(RlpError):
            decode(data)
    else:
        assert decode(data) == expected
        assert encode(decode(data)) == data


@pytest.mark.parametrize(
    "data",
    ["", "8100", "b80100", "b8", "b900ff", "8180c0", "f800", "c1", "bf" + "ff" * 8, "0101", "c58100"],
)
def test_other_forms(data: str) -> None:
    with pytest.raises(RlpError, match="malformed RLP"):
        decode(bytes.fromhex(data))


def test_long_lists_and_strings() -> None:
    item = [b"x" * 70_000, [b"y"] * 30_000, []]
    assert decode(encode(item)) == item
