"""What is signed, against eth-account's independent encoder."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils import keccak as reference_keccak
from eth_utils import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import eip712, vectors
from ledger.address import address_bytes, checksummed
from ledger.eip712 import Domain, EncodingError, digest, typed_data
from market.messages import (
    CancelRequest,
    ChargesHeader,
    ForecastsHeader,
    OracleSet,
    PricesHeader,
    Reading,
)
from market.orders import Order, Side

deterministic = settings(derandomize=True, deadline=None, max_examples=40)

addresses = st.binary(min_size=20, max_size=20).map(checksummed)
hashes = st.binary(min_size=32, max_size=32)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


messages = st.one_of(
    st.builds(
        Order,
        trader=addresses,
        slot=unsigned(32),
        nonce=unsigned(8),
        side=st.sampled_from(Side),
        energy_class=unsigned(8),
        limit_ueur_per_kwh=signed(32),
        quantity_wh=unsigned(32),
        flags=unsigned(8),
        expiry=unsigned(32),
        relayer=addresses,
    ),
    st.builds(CancelRequest, addresses, unsigned(32), unsigned(8)),
    st.builds(ChargesHeader, unsigned(32), unsigned(32), hashes, hashes, hashes),
    st.builds(PricesHeader, unsigned(32), unsigned(32), signed(32), signed(64), hashes, hashes, hashes),
    st.builds(ForecastsHeader, unsigned(32), unsigned(32), unsigned(16), hashes),
    st.builds(Reading, addresses, unsigned(32), signed(64), st.lists(unsigned(32)).map(tuple), unsigned(32)),
    st.builds(OracleSet, unsigned(32), unsigned(8), st.lists(addresses).map(tuple)),
)
domains = st.builds(Domain, unsigned(64), addresses)

ORDER = Order(checksummed(b"\x11" * 20), 1_900_000, 7, Side.ASK, 0, -12_345, 2_500)
DOMAIN = Domain(31_337, checksummed(b"\x22" * 20))


@deterministic
@given(domains, messages)
def test_digest_is_what_wallets_sign(domain: Domain, message: eip712.Message) -> None:
    signable = encode_typed_data(full_message=typed_data(domain, message))
    assert digest(domain, message) == bytes(_hash_eip191_message(signable))


@deterministic
@given(st.binary(min_size=20, max_size=20))
def test_checksum_follows_eip55(address: bytes) -> None:
    assert checksummed(address) == to_checksum_address(address)
    assert address_bytes(checksummed(address)) == address


def test_each_type_has_one_member_for_each_field() -> None:
    for record, schema in eip712.SCHEMAS.items():
        assert [member.attribute for member in schema.members] == [field.name for field in fields(record)]
        assert schema.type_hash == reference_keccak(text=schema.type_string)


def test_digest_depends_on_chain_and_contract() -> None:
    other_chain, other_contract = replace(DOMAIN, chain_id=1), replace(DOMAIN, contract=ORDER.trader)
    assert len({digest(domain, ORDER) for domain in (DOMAIN, other_chain, other_contract)}) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"nonce": 256}, "Order.nonce: 256 is not of type uint8"),
        ({"slot": -1}, "Order.slot: -1 is not of type uint32"),
        ({"limit_ueur_per_kwh": 2**31}, "Order.limitPrice: 2147483648 is not of type int32"),
        ({"trader": "0x1234"}, "Order.trader: '0x1234' is not of type address"),
        ({"quantity_wh": "5"}, "Order.quantity: '5' is not of type uint32"),
    ],
)
def test_what_does_not_fit_its_type_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(EncodingError, match=named):
        digest(DOMAIN, replace(ORDER, **change))  # type: ignore[arg-type]


def test_a_hash_has_32_bytes() -> None:
    header = ChargesHeader(1, 1, bytes(31), bytes(32), bytes(32))
    with pytest.raises(EncodingError, match=r"Charges\.valuesHash"):
        digest(DOMAIN, header)


# --- vectors by bus -----------------------------------------------------------------------------


@deterministic
@given(st.lists(signed(32), min_size=1, max_size=1_024))
def test_packing_a_vector_loses_nothing(values: list[int]) -> None:
    words = vectors.pack(values)
    assert vectors.unpack(words, len(values)) == tuple(values)
    chunks = vectors.chunked(words)
    assert all(len(chunk) == vectors.WORDS_PER_CHUNK for chunk in chunks[:-1])
    assert tuple(word for chunk in chunks for word in chunk) == words


def test_bus_sits_at_the_specified_bits() -> None:
    words = vectors.pack([0, -1, 5, 0, 0, 0, 0, 0, 9])
    assert words == ((2**32 - 1) << 32 | 5 << 64, 9)
    assert vectors.unpack(vectors.pack([2**32 - 1], signed=False), 1, signed=False) == (2**32 - 1,)


def test_values_hash_commits_to_the_chunks() -> None:
    values = list(range(300))
    chunks = vectors.chunked(vectors.pack(values))
    assert [len(chunk) for chunk in chunks] == [32, 6]
    hashes_of_chunks = [
        reference_keccak(b"".join(word.to_bytes(32, "big") for word in chunk)) for chunk in chunks
    ]
    assert vectors.chunk_hashes(values) == tuple(hashes_of_chunks)
    assert vectors.values_hash(values) == reference_keccak(b"".join(hashes_of_chunks))


def test_what_does_not_fit_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="bus 1: 2147483648 does not fit int32"):
        vectors.pack([0, 2**31])
    with pytest.raises(ValueError, match="bus 0: -1 does not fit uint32"):
        vectors.pack([-1], signed=False)
    with pytest.raises(ValueError, match="1025 buses"):
        vectors.pack([0] * 1_025)
    with pytest.raises(ValueError, match="beyond bus 2"):
        vectors.unpack(vectors.pack([1, 2, 3, 4]), 3)
    with pytest.raises(ValueError, match="1 words"):
        vectors.unpack((0,), 9)
