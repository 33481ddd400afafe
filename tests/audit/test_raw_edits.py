"""Files of a bundle edited by hand: found by `headers`, or refused where they cannot be read."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import events
from ledger.audit import audit
from ledger.bundle import Bundle, BundleError, BundleFormatError, BundleIncompleteError, BundleNotFoundError
from ledger.record import Record
from market.events import AccountSettled, PricesChunk
from market.orders import OrdersFilled
from tests.audit.forge import found
from tests.audit.small_market import written


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return written(bundle, tmp_path / "bundle")


def swap(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes that stand in a file, by as many others."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


def with_last_byte_changed(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def caught_by_headers(folder: Path) -> list[str]:
    """Places where `headers` found the edit."""
    report = audit(Record.from_bundle(folder))
    places = [finding.where for finding in report.findings if finding.check == "headers"]
    assert places
    assert not report.ok
    return places


@pytest.mark.parametrize(("kind", "number"), [(AccountSettled, 2), (OrdersFilled, 1), (PricesChunk, 0)])
def test_edited_event(
    folder: Path, record: Record, kind: type[AccountSettled | OrdersFilled | PricesChunk], number: int
) -> None:
    logged, event = found(record, kind, number)
    _, data = events.encode(event)
    swap(folder / "receipts.rlp", data, with_last_byte_changed(data))
    places = caught_by_headers(folder)
    assert "receipts.rlp" in places
    assert f"block {logged.log.block_number} receipts" in places


def test_edited_signature(folder: Path, record: Record) -> None:
    sent = next(sent for sent in record.calls if type(sent.call).__name__ == "PlaceOrders")
    signature = sent.call.orders[0].signature.r  # type: ignore[union-attr]
    swap(folder / "transactions.rlp", signature, with_last_byte_changed(signature))
    assert f"block {sent.block} transactions" in caught_by_headers(folder)


def test_dropped_order(bundle: Bundle, record: Record, tmp_path: Path) -> None:
    """A transaction is taken out, and nothing else is made to fit."""
    sent = next(sent for sent in record.calls if type(sent.call).__name__ == "PlaceOrders")
    blocks = list(bundle.transactions)
    blocks[sent.block] = tuple(raw for raw in blocks[sent.block] if raw != sent.raw)
    folder = written(replace(bundle, transactions=tuple(blocks)), tmp_path / "bundle")
    assert f"block {sent.block} transactions" in caught_by_headers(folder)


def test_edited_header(folder: Path, bundle: Bundle) -> None:
    swap(folder / "headers.rlp", bundle.headers[5], with_last_byte_changed(bundle.headers[5]))
    assert "block 6 parent hash" in caught_by_headers(folder)


@pytest.mark.parametrize("place", ["certificates", "inputs"])
def test_edited_proof(folder: Path, place: str) -> None:
    path = sorted((folder / place).iterdir())[0]
    path.write_bytes(with_last_byte_changed(path.read_bytes()))
    assert f"{place}/{path.name}" in caught_by_headers(folder)


def test_edited_manifest_digest(folder: Path) -> None:
    swap(folder / "manifest.json", b'"scenario": "small"', b'"scenario": "Small"')
    assert caught_by_headers(folder) == ["checkpoint manifest"]
    swap(folder / "manifest.json", b'  "seed": 7', b'   "seed":7')
    assert "manifest.json" in caught_by_headers(folder)


def test_edited_checkpoint(folder: Path, bundle: Bundle) -> None:
    other = replace(bundle.checkpoint, hash=with_last_byte_changed(bundle.checkpoint.hash)).encode()
    known, changed = bundle.checkpoint.encode().split(b"\n")[2], other.split(b"\n")[2]
    swap(folder / "checkpoint", known, changed)
    assert "checkpoint hash" in caught_by_headers(folder)


def test_file_nobody_listed(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing")
    assert "notes.txt" in caught_by_headers(folder)


@pytest.mark.parametrize("name", ["headers.rlp", "transactions.rlp", "receipts.rlp", "checkpoint"])
def test_any_flipped_bit_is_found_or_refused(folder: Path, name: str) -> None:
    """Seeded places all over the file: never a clean report, never an exception of another kind."""
    path = folder / name
    content = path.read_bytes()
    places = random.Random(name)
    for _ in range(16):
        place, bit = places.randrange(len(content)), 1 << places.randrange(8)
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            record = Record.from_bundle(folder)
        except BundleError:
            continue
        assert not audit(record, names=["headers"]).ok, f"byte {place} bit {bit}"


# --- what cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["headers.rlp", "transactions.rlp", "receipts.rlp", "manifest.json"])
def test_truncated_file(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BundleFormatError, match=name):
        Record.from_bundle(folder)


@pytest.mark.parametrize("name", ["headers.rlp", "receipts.rlp", "manifest.json", "checkpoint"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleIncompleteError, match=name):
        Record.from_bundle(folder)


def test_missing_certificate(folder: Path) -> None:
    path = sorted((folder / "certificates").iterdir())[0]
    path.unlink()
    with pytest.raises(BundleIncompleteError, match=path.name):
        Record.from_bundle(folder)


def test_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="nowhere"):
        Record.from_bundle(tmp_path / "nowhere")


def test_header_that_is_none(folder: Path, bundle: Bundle) -> None:
    swap(folder / "headers.rlp", bundle.headers[3], b"\x01" * len(bundle.headers[3]))
    with pytest.raises(BundleError, match="block 3"):
        Record.from_bundle(folder)


def test_version_from_the_future(folder: Path) -> None:
    swap(folder / "manifest.json", b'"version": 2', b'"version": 9')
    with pytest.raises(BundleFormatError, match="version 2"):
        Record.from_bundle(folder)


def test_manifest_that_leads_out_of_the_folder(folder: Path) -> None:
    swap(folder / "manifest.json", b'"headers.rlp"', b'"../rs.rlpxx"')
    with pytest.raises(BundleFormatError, match="leads out"):
        Record.from_bundle(folder)


# --- the page of the format ---------------------------------------------------------------------


def test_page_describes_the_files(bundle: Bundle, folder: Path) -> None:
    page = (Path(__file__).parents[2] / "ledger" / "BUNDLE.md").read_text()
    example = json.loads(page.split("```json")[1].split("```")[0])
    assert set(example) == set(json.loads((folder / "manifest.json").read_text()))
    for path in folder.iterdir():
        assert f"`{path.name}" in page
    example = page.split("```\nwattbook/")[1].split("```")[0]
    lines = (folder / "checkpoint").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines[3:]] == ["manifest sha256"]
    assert example.splitlines()[3].startswith("manifest sha256:")
    assert lines[:2] == [f"wattbook/31337/{bundle.manifest.exchange}", str(bundle.checkpoint.number + 1)]
