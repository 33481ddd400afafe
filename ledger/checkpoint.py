"""The checkpoint: which block a bundle ends with and what its manifest is, as a note that a key can sign.

A note is text, an empty line, and one line a signature (C2SP signed-note); the text has the lines of C2SP's
tlog-checkpoint: origin, number of blocks, hash, extensions. BUNDLE.md has an example.

CheckpointError       the bytes are no checkpoint in its one form
└── NoteKeyError      a text is no key for notes; the message shows the form
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.address import address_bytes, checksummed
from market.orders import Address

ORIGIN = "wattbook"
MANIFEST_LINE = "manifest sha256:"
ED25519 = b"\x01"
KEY_BYTES, KEY_ID_BYTES, SIGNATURE_BYTES = 32, 4, 64
_PRIVATE = "PRIVATE+KEY+"
_DASH = "\u2014"
_NAME = re.compile(r"[!-*,-~]+")
"""What a key may be called: printable, without space or plus."""


_DIGEST = re.compile(r"[0-9a-f]{64}")


class CheckpointError(ValueError):
    """The bytes are no checkpoint."""


class NoteKeyError(CheckpointError):
    """The text is no key for notes."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Who signs notes: a name, and 32 bytes of Ed25519 public key."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names its key: of SHA-256(name, newline, type, key)."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `NAME+ID+BASE64`. Raises NoteKeyError."""
        name, key = _key_parts(text)
        verifier = cls(name, key)
        if str(verifier) != text:
            raise NoteKeyError(f"key {text!r}: its id is {verifier.id.hex()}")
        return verifier

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether the holder of this key signed a note's text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SignerKey:
    """A verifier key with the 32 secret bytes that sign for it."""

    name: str
    secret: bytes

    @classmethod
    def generate(cls, name: str) -> SignerKey:
        """A new key. Raises NoteKeyError for a name that a note cannot hold."""
        if not _NAME.fullmatch(name):
            raise NoteKeyError(f"key name {name!r}: printable ASCII without space or plus")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """Read `PRIVATE+KEY+NAME+ID+BASE64`, as `str` writes it. Raises NoteKeyError."""
        if not text.startswith(_PRIVATE):
            raise NoteKeyError(f"not a key that signs notes, which is {_PRIVATE}NAME+ID+BASE64")
        try:
            key = cls(*_key_parts(text.removeprefix(_PRIVATE)))
        except NoteKeyError:
            raise NoteKeyError(f"not a key that signs notes, which is {_PRIVATE}NAME+ID+BASE64") from None
        if str(key) != text:
            raise NoteKeyError(f"key of {key.name}: its id is {key.verifier.id.hex()}")
        return key

    @property
    def verifier(self) -> VerifierKey:
        """Whom others verify."""
        public = Ed25519PrivateKey.from_private_bytes(self.secret).public_key()
        return VerifierKey(self.name, public.public_bytes_raw())

    def sign(self, text: bytes) -> NoteSignature:
        """Sign a note's text (RFC 8032: the same text gives the same signature)."""
        signature = Ed25519PrivateKey.from_private_bytes(self.secret).sign(text)
        return NoteSignature(self.name, self.verifier.id, signature)

    def __str__(self) -> str:
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{_base64(ED25519 + self.secret)}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature as a line of a note; whether it holds is for who knows the key."""

    name: str
    key_id: bytes
    signature: bytes

    def is_of(self, key: VerifierKey) -> bool:
        """Whether it claims to be this key's."""
        return (self.name, self.key_id) == (key.name, key.id)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The chain's head when a bundle was written, and the SHA-256 of the bundle's manifest.

    `manifest_sha256` is empty where there is no manifest yet.
    """

    chain_id: int
    exchange: Address
    number: int
    hash: bytes
    manifest_sha256: str = ""
    signatures: tuple[NoteSignature, ...] = ()

    @property
    def text(self) -> bytes:
        """What is signed: origin, number of blocks from block 0 on, hash of the last, manifest."""
        lines = (
            f"{ORIGIN}/{self.chain_id}/{self.exchange}",
            str(self.number + 1),
            _base64(self.hash),
            f"{MANIFEST_LINE}{self.manifest_sha256}",
        )
        return "".join(line + "\n" for line in lines).encode()

    def encode(self) -> bytes:
        """The note: the text alone while nobody has signed it."""
        lines = "".join(
            f"{_DASH} {each.name} {_base64(each.key_id + each.signature)}\n" for each in self.signatures
        )
        return self.text + (f"\n{lines}".encode() if lines else b"")


def decode(content: bytes) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError, also where the bytes are another form of the same."""
    try:
        text, _, signed = content.decode().partition("\n\n")
        origin, blocks, digest, manifest = text.removesuffix("\n").split("\n")
        _, chain_id, exchange = origin.split("/")
        checkpoint = Checkpoint(
            chain_id=int(chain_id),
            exchange=checksummed(address_bytes(exchange)),
            number=int(blocks) - 1,
            hash=base64.b64decode(digest, validate=True),
            manifest_sha256=manifest.removeprefix(MANIFEST_LINE),
            signatures=tuple(_signature(line) for line in signed.split("\n")[:-1]),
        )
    except (ValueError, binascii.Error):
        raise CheckpointError("not the lines of a checkpoint") from None
    signers = [(each.name, each.key_id) for each in checkpoint.signatures]
    if len(set(signers)) < len(signers):
        raise CheckpointError("a key has signed twice")
    if checkpoint.encode() != content or not _DIGEST.fullmatch(checkpoint.manifest_sha256):
        raise CheckpointError("not the one form of a checkpoint")
    return checkpoint


def _signature(line: str) -> NoteSignature:
    dash, name, encoded = line.split(" ")
    raw = base64.b64decode(encoded, validate=True)
    if dash != _DASH or not _NAME.fullmatch(name) or len(raw) != KEY_ID_BYTES + SIGNATURE_BYTES:
        raise CheckpointError("not a signature's line")
    return NoteSignature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def _key_parts(text: str) -> tuple[str, bytes]:
    """Name and key of `NAME+ID+BASE64`."""
    form = f"key {text!r}: a key is NAME+ID+BASE64"
    try:
        name, _, encoded = text.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise NoteKeyError(form) from None
    if not _NAME.fullmatch(name) or raw[:1] != ED25519 or len(raw) != 1 + KEY_BYTES:
        raise NoteKeyError(form)
    return name, raw[1:]


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
