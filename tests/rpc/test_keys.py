"""Keys, signatures and transactions, against eth-account."""

from __future__ import annotations

import pytest
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.address import checksummed
from ledger.keys import (
    CURVE_ORDER,
    HALF_CURVE_ORDER,
    InvalidKeyError,
    Key,
    Signature,
    derive,
    mnemonic_keys,
    recover,
)
from ledger.transactions import (
    LEGACY,
    Transaction,
    TransactionFormatError,
    decode_transaction,
    sign_transaction,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=40)
keys = st.integers(1, CURVE_ORDER - 1).map(lambda secret: Key(secret.to_bytes(32, "big")))
digests = st.binary(min_size=32, max_size=32)


@deterministic
@given(keys, digests)
def test_signatures_are_those_of_eth_account(key: Key, digest: bytes) -> None:
    signature = key.sign(digest)
    expected = Account.unsafe_sign_hash(digest, key.secret)
    assert (int.from_bytes(signature.r, "big"), signature.s, signature.y_parity) == (
        expected.r,
        expected.s,
        expected.v - 27,
    )
    assert signature.rsv == bytes(expected.signature)
    assert Signature.from_rsv(signature.rsv) == signature
    assert recover(digest, signature) == key.address == Account.from_key(key.secret).address


@deterministic
@given(keys, digests, st.integers(1, 2**255 - 1 - HALF_CURVE_ORDER))
def test_s_in_the_upper_half_is_refused(key: Key, digest: bytes, excess: int) -> None:
    signature = key.sign(digest)
    highest = Signature(signature.r, HALF_CURVE_ORDER.to_bytes(32, "big"))
    beyond = Signature(signature.r, (HALF_CURVE_ORDER + excess).to_bytes(32, "big"))
    assert recover(digest, highest) is not None
    assert recover(digest, beyond) is None
    mirrored = (
        signature.r + (CURVE_ORDER - signature.s).to_bytes(32, "big") + bytes([28 - signature.y_parity])
    )
    with pytest.raises(ValueError, match="lower half"):
        Signature.from_rsv(mirrored)


@deterministic
@given(digests, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_any_64_bytes_recover_or_do_not(digest: bytes, r: bytes, vs: bytes) -> None:
    signer = recover(digest, Signature(r, vs))
    assert signer is None or signer == checksummed(bytes.fromhex(signer[2:]))


@pytest.mark.parametrize("r", [0, CURVE_ORDER, 5])  # 5 is the x of no point on the curve
def test_an_r_that_is_no_point_is_refused(r: int) -> None:
    assert recover(bytes(32), Signature(r.to_bytes(32, "big"), (1).to_bytes(32, "big"))) is None


def test_s_of_zero_and_wrong_lengths_are_refused() -> None:
    signature = Key(b"\1" * 32).sign(bytes(32))
    assert recover(bytes(32), Signature(signature.r, bytes(32))) is None
    assert recover(bytes(32), Signature(signature.r[:31], signature.vs)) is None
    with pytest.raises(ValueError, match="65 bytes"):
        Signature.from_rsv(signature.rsv[:64])


@pytest.mark.parametrize("secret", [b"", bytes(32), CURVE_ORDER.to_bytes(32, "big"), b"\1" * 31])
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        Key(secret)


def test_a_key_does_not_print_its_secret() -> None:
    key = Key.from_hex("0x" + "5a" * 32)
    assert "5a5a" not in repr(key)
    assert Key.from_hex("5a" * 32).address == key.address
    with pytest.raises(InvalidKeyError):
        Key.from_hex("0x12")


def test_streams_are_separate() -> None:
    streams = [(1, "meter", 1), (1, "meter", 11), (1, "meter", "1"), (2, "meter", 1), (1, "agent", 1)]
    assert len({derive(seed, *stream).address for seed, *stream in streams}) == len(streams)
    assert derive(1, "meter", 1).address == derive(1, "meter", 1).address


def test_test_mnemonic_gives_the_accounts_every_testnet_has() -> None:
    first, second = mnemonic_keys(2)
    assert first.address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert second.address == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    with pytest.raises(ValueError, match="mnemonic"):
        mnemonic_keys(1, "test test test")


# --- transactions -------------------------------------------------------------------------------

KEY = derive(7, "sender")
TO = derive(7, "recipient").address
CALL = Transaction(31_337, 5, TO, b"\1\2", 10**18, 100_000, 3_000_000_000, 1_000_000_000)


def reference(transaction: Transaction) -> bytes:
    fields: dict[str, object] = {
        "nonce": transaction.nonce,
        "gas": transaction.gas,
        "value": transaction.value,
        "data": transaction.data,
    }
    if transaction.chain_id is not None:
        fields["chainId"] = transaction.chain_id
    if transaction.to is not None:
        fields["to"] = transaction.to
    if transaction.type == LEGACY:
        fields["gasPrice"] = transaction.max_fee_per_gas
    else:
        fields["maxFeePerGas"] = transaction.max_fee_per_gas
        fields["maxPriorityFeePerGas"] = transaction.max_priority_fee_per_gas
        fields["accessList"] = [
            {"address": address, "storageKeys": ["0x" + key.hex() for key in keys_]}
            for address, keys_ in transaction.access_list
        ]
    return bytes(Account.sign_transaction(fields, KEY.secret).raw_transaction)


TRANSACTIONS = {
    "call": CALL,
    "creation": Transaction(31_337, 0, None, b"\x60\x01", gas=90_000, max_fee_per_gas=7),
    "access list": Transaction(1, 2, TO, access_list=((TO, (bytes(32), b"\1" * 32)),)),
    "legacy": Transaction(31_337, 1, TO, b"", 1, 21_000, 1_000_000_000, 1_000_000_000, type=LEGACY),
    "legacy without chain": Transaction(None, 1, TO, b"", 1, 21_000, 9, 9, type=LEGACY),
}


@pytest.mark.parametrize("transaction", TRANSACTIONS.values(), ids=TRANSACTIONS.keys())
def test_transactions_are_those_of_eth_account(transaction: Transaction) -> None:
    raw = sign_transaction(KEY, transaction)
    assert raw == reference(transaction)
    decoded = decode_transaction(raw)
    assert (decoded.transaction, decoded.sender, decoded.raw) == (transaction, KEY.address, raw)


def test_what_is_no_transaction_is_refused() -> None:
    raw = sign_transaction(KEY, CALL)
    items = rlp.decode(raw[1:])
    bad = {
        "empty": b"",
        "type 4 is not supported": b"\x04" + raw[1:],
        "type 3 does not have 12 fields": b"\x03" + raw[1:],
        "malformed RLP": raw[:-1],
        "fields": b"\x02" + rlp.encode(items[1:]),
        "nonce is not a canonical": b"\x02" + rlp.encode([items[0], b"\0\5", *items[2:]]),
        "recipient": b"\x02" + rlp.encode([*items[:5], b"\1" * 19, *items[6:]]),
        "y parity is 2": b"\x02" + rlp.encode([*items[:9], b"\2", *items[10:]]),
        "data is not bytes": b"\x02" + rlp.encode([*items[:7], [], *items[8:]]),
    }
    for named, attempt in bad.items():
        with pytest.raises(TransactionFormatError, match=named):
            decode_transaction(attempt)


def test_a_transaction_nobody_signed_has_no_sender() -> None:
    items = rlp.decode(sign_transaction(KEY, CALL)[1:])
    high = CURVE_ORDER - int.from_bytes(items[11], "big")
    forged = b"\x02" + rlp.encode([*items[:11], high.to_bytes(32, "big")])
    assert decode_transaction(forged).sender is None


@deterministic
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    try:
        decoded = decode_transaction(raw)
    except TransactionFormatError:
        return
    assert decoded.raw == raw
