"""The checkpoint: one form, one signature over chain, head and every file, and who is asked to trust it."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import bundle as bundles
from ledger.audit import audit
from ledger.bundle import Bundle
from ledger.checkpoint import CheckpointError, NoteKeyError, SignerKey, VerifierKey, decode
from ledger.record import Record

SIGNER = SignerKey("utility.example/market", bytes(range(32)))
OTHER = SignerKey("witness.example", bytes(32))


def reread(files: dict[str, bytes]) -> Record:
    return Record.of(bundles.decode(files), proves_itself=True)


def findings(record: Record, *keys: VerifierKey) -> list[tuple[str, str, str]]:
    report = audit(record, ["headers", "checkpoint"], keys=keys)
    return [(each.check, each.where, each.difference) for each in report.findings]


@pytest.fixture(scope="module")
def signed(bundle: Bundle) -> dict[str, bytes]:
    return bundles.encode(bundle, SIGNER)


def test_known_key_answers_for_the_head(signed: dict[str, bytes]) -> None:
    report = audit(reread(signed), ["headers", "checkpoint"], keys=[SIGNER.verifier])
    assert report.ok
    assert [result.items for result in report.checks if result.name == "checkpoint"] == [1]
    assert "this head is the chain's, as utility.example/market signed" in report.assumed


def test_bundle_that_nobody_signed_is_clean_until_a_key_is_asked_for(bundle: Bundle) -> None:
    record = reread(bundles.encode(bundle))
    assert findings(record) == []
    assert findings(record, SIGNER.verifier) == [("checkpoint", "checkpoint", "not by this key")]


def test_another_key_of_the_same_name_is_not_the_key(signed: dict[str, bytes]) -> None:
    stranger = SignerKey(SIGNER.name, OTHER.secret)
    assert findings(reread(signed), stranger.verifier) == [("checkpoint", "checkpoint", "not by this key")]


def test_forger_with_another_key_is_found_by_who_knows_the_key(bundle: Bundle) -> None:
    """He signs what he wrote, and is consistent; only the name of the key is not what it was."""
    record = reread(bundles.encode(bundle, OTHER))
    assert findings(record) == []
    assert findings(record, SIGNER.verifier) == [("checkpoint", "checkpoint", "not by this key")]


def test_changed_text_under_a_signature(signed: dict[str, bytes]) -> None:
    read = decode(signed["checkpoint"])
    files = signed | {"checkpoint": replace(read, number=read.number + 1).encode()}
    assert findings(reread(files), SIGNER.verifier) == [
        ("headers", "checkpoint number", "1 too much"),
        ("headers", "checkpoint signature of utility.example/market", "does not verify"),
        ("checkpoint", "checkpoint", "not by this key"),
    ]


def test_signature_taken_away_or_added(signed: dict[str, bytes]) -> None:
    read = decode(signed["checkpoint"])
    alone = signed | {"checkpoint": replace(read, signatures=()).encode()}
    assert findings(reread(alone)) == [("headers", "checkpoint signature", "not signed")]
    both = replace(read, signatures=(*read.signatures, OTHER.sign(read.text)))
    record = reread(signed | {"checkpoint": both.encode()})
    assert findings(record) == [("headers", "checkpoint signature of witness.example", "unknown")]
    assert findings(record, OTHER.verifier, SIGNER.verifier) == []


def test_signature_covers_every_file(signed: dict[str, bytes]) -> None:
    """A file and its digest changed: the manifest is no longer the one that was signed."""
    manifest = signed["manifest.json"].replace(b'"scenario": "small"', b'"scenario": "Small"')
    assert findings(reread(signed | {"manifest.json": manifest})) == [
        ("headers", "checkpoint manifest", "SHA-256 differs")
    ]


def test_form_is_that_of_the_published_notes() -> None:
    """Key ids, keys and lines as C2SP's signed-note defines them, put together here by hand."""
    key = SIGNER.verifier
    public = Ed25519PrivateKey.from_private_bytes(SIGNER.secret).public_key().public_bytes_raw()
    assert key.public == public
    assert str(key).split("+", 2)[1:] == [key.id.hex(), base64.b64encode(b"\x01" + public).decode()]
    line = SIGNER.sign(b"text\n")
    assert line.key_id == key.id
    assert key.verifies(b"text\n", line.signature)
    assert not key.verifies(b"test\n", line.signature)


def test_published_example_of_a_key_reads_back() -> None:
    """The verifier key of the Go checksum database, whose notes have the same form."""
    known = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(VerifierKey.parse(known)) == known
    with pytest.raises(NoteKeyError, match="its id is 033de0ae"):
        VerifierKey.parse(known.replace("033de0ae", "033de0af"))


def test_keys_read_back() -> None:
    made = SignerKey.generate("somebody")
    assert SignerKey.parse(str(made)) == made
    assert VerifierKey.parse(str(made.verifier)) == made.verifier
    assert "secret" not in repr(made)


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", "a b+00000000+AQ==", "n+x+" + "A" * 44])
def test_no_key(text: str) -> None:
    with pytest.raises(NoteKeyError, match="a key is NAME"):
        VerifierKey.parse(text)
    with pytest.raises(NoteKeyError, match="not a key that signs"):
        SignerKey.parse(text)


def test_name_that_a_note_cannot_hold() -> None:
    with pytest.raises(NoteKeyError, match="without space or plus"):
        SignerKey.generate("two words")


def test_a_key_signs_once(signed: dict[str, bytes]) -> None:
    *text, line = signed["checkpoint"].splitlines(keepends=True)
    with pytest.raises(CheckpointError, match="twice"):
        decode(b"".join([*text, line, line]))
