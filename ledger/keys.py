"""Private keys, their addresses, and signatures as EIP-2098 pairs with s in the lower half.

InvalidKeyError   the secret is no secp256k1 private key
"""

from __future__ import annotations

from typing import NamedTuple

from coincurve import PrivateKey, PublicKey

from ledger.address import checksummed
from ledger.keccak import keccak
from market.orders import Address

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order n of the secp256k1 group (SEC 2, §2.4.1)."""
HALF_CURVE_ORDER = CURVE_ORDER // 2
"""Highest s of a canonical signature (EIP-2)."""

TEST_MNEMONIC = "test test test test test test test test test test test junk"
"""The mnemonic every local testnet uses. Everybody knows its keys: never fund them elsewhere."""

_PARITY_BIT = 1 << 255


class InvalidKeyError(ValueError):
    """The secret is not 32 bytes, or not between 1 and the curve's order."""


class Signature(NamedTuple):
    """EIP-2098 compact signature: r, and s with the parity of the point's y in its highest bit."""

    r: bytes
    vs: bytes

    @property
    def y_parity(self) -> int:
        """Parity of the y coordinate, 0 or 1."""
        return self.vs[0] >> 7

    @property
    def s(self) -> int:
        """The scalar s."""
        return int.from_bytes(self.vs, "big") & ~_PARITY_BIT

    @property
    def rsv(self) -> bytes:
        """The 65 bytes r ‖ s ‖ v with v of 27 or 28, as wallets return it."""
        return self.r + self.s.to_bytes(32, "big") + bytes([27 + self.y_parity])

    @classmethod
    def from_rsv(cls, signature: bytes) -> Signature:
        """The pair of a wallet's 65 bytes r ‖ s ‖ v. Raises ValueError where it has no such form."""
        if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
            raise ValueError("not a signature of 65 bytes r ‖ s ‖ v")
        if int.from_bytes(signature[32:64], "big") > HALF_CURVE_ORDER:
            raise ValueError("s is not in the lower half")
        parity = signature[64] % 27
        return cls(signature[:32], bytes([signature[32] | parity << 7]) + signature[33:64])


class Key:
    """A private key and the address it controls. Its text form never shows the secret."""

    __slots__ = ("_private", "address")

    def __init__(self, secret: bytes) -> None:
        """Take a secret of 32 bytes. Raises InvalidKeyError."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
            raise InvalidKeyError("a private key is 32 bytes between 1 and the curve's order")
        self._private = PrivateKey(secret)
        self.address: Address = _address_of(self._private.public_key)

    @classmethod
    def from_hex(cls, secret: str) -> Key:
        """Take a secret of 64 hexadecimal digits, `0x` in front or not. Raises InvalidKeyError."""
        try:
            return cls(bytes.fromhex(secret.removeprefix("0x")))
        except ValueError:
            raise InvalidKeyError("a private key is 64 hexadecimal digits") from None

    @property
    def secret(self) -> bytes:
        """The 32 bytes that must stay private."""
        secret: bytes = self._private.secret
        return secret

    def sign(self, digest: bytes) -> Signature:
        """Sign a 32-byte digest, deterministically (RFC 6979), with s in the lower half (EIP-2)."""
        compact = self._private.sign_recoverable(digest, hasher=None)
        return Signature(compact[:32], bytes([compact[32] | compact[64] << 7]) + compact[33:64])

    def __repr__(self) -> str:
        return f"Key({self.address})"


def recover(digest: bytes, signature: Signature) -> Address | None:
    """Who signed the 32-byte digest; None where the signature is invalid or its s is in the upper half."""
    r, s = int.from_bytes(signature.r, "big"), signature.s
    if len(signature.r) != 32 or len(signature.vs) != 32:
        return None
    if not 0 < r < CURVE_ORDER or not 0 < s <= HALF_CURVE_ORDER:
        return None
    compact = signature.r + s.to_bytes(32, "big") + bytes([signature.y_parity])
    try:
        return _address_of(PublicKey.from_signature_and_message(compact, digest, hasher=None))
    except ValueError:  # r is no coordinate of a point, or the key would be the point at infinity
        return None


def derive(seed: int, *stream: str | int) -> Key:
    """Key of a named seed stream, such as `derive(seed, "meter", 3)`: for simulations, never for value."""
    name = "\0".join(["wattbook key", str(seed), *(f"{type(part).__name__} {part}" for part in stream)])
    return Key(keccak(name.encode()))


def mnemonic_keys(count: int, mnemonic: str = TEST_MNEMONIC) -> tuple[Key, ...]:
    """First `count` BIP-44 accounts (m/44'/60'/0'/0/i) of a BIP-39 mnemonic.

    Raises ValueError on a mnemonic whose words or checksum are wrong.
    """
    from eth_account.hdaccount import key_from_seed, seed_from_mnemonic  # noqa: PLC0415 (loads slowly)
    from eth_utils.exceptions import ValidationError  # noqa: PLC0415

    try:
        seed = seed_from_mnemonic(mnemonic, "")
    except ValidationError as refusal:
        raise ValueError(f"mnemonic: {refusal}") from None
    return tuple(Key(key_from_seed(seed, f"m/44'/60'/0'/0/{index}")) for index in range(count))


def _address_of(public_key: PublicKey) -> Address:
    """Last 20 bytes of the hash of the uncompressed point."""
    return checksummed(keccak(public_key.format(compressed=False)[1:])[12:])
