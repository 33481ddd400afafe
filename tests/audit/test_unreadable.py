"""Files of a bundle that cannot be read are refused by name, and the page of the format is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rlp

from ledger import bundle as bundles
from ledger.bundle import Bundle, BundleError, BundleFormatError, BundleIncompleteError, BundleNotFoundError
from ledger.chain.encoding import decode_header
from ledger.record import Record
from tests.audit.small_market import written
from tests.audit.tamper_files import SIGNER


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return written(bundle, tmp_path / "bundle")


def swap(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes that stand in a file, by as many others."""
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


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


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("manifest.json", b'"seed": 7', b'"seed": 7.0'),
        ("manifest.json", b'"seed": 7', b'"seed": true'),
        ("manifest.json", b'"seed": 7', b'"seed": -0.0'),
        ("manifest.json", b'"scenario": "small"', b'"scenario": ["small"]'),
        ("manifest.json", b'"first_block": ', b'"first_block": 0.0e'),
        ("checkpoint", b"\n\n", b"\n\n\n"),
        ("checkpoint", b"wattbook/31337", b"wattbook/031337"),
        ("checkpoint", b"=\n", b"=\r\n"),
        ("checkpoint", b"sha256:", b"sha256: "),
        ("checkpoint", b"\xe2\x80\x94 ", b"- "),
        ("checkpoint", b"wattbook/", b"other/"),
    ],
)
def test_file_in_another_form(bundle: Bundle, name: str, old: bytes, new: bytes) -> None:
    files = bundles.encode(bundle, SIGNER)
    assert old in files[name]
    with pytest.raises(BundleFormatError, match=f"bundle/{name}: "):
        bundles.decode(files | {name: files[name].replace(old, new, 1)})


@pytest.mark.parametrize("content", [b"{}", b'{"b": 1, "a": 2}\n', b'{\n  "a": 1,\n  "a": 1\n}\n', b"[1"])
def test_genesis_in_another_form(bundle: Bundle, content: bytes) -> None:
    with pytest.raises(BundleFormatError, match=r"genesis\.json"):
        bundles.decode(bundles.encode(bundle) | {"genesis.json": content})


@pytest.mark.parametrize(
    ("field", "value"), [("coinbase", bytes(19)), ("state_root", bytes(31)), ("nonce", bytes(9))]
)
def test_header_with_a_field_of_another_length(bundle: Bundle, field: str, value: bytes) -> None:
    header = replace(decode_header(bundle.headers[3]), **{field: value}).encode()
    with pytest.raises(BundleError, match=f"block 3: header: {field} has {len(value)} bytes"):
        Record.of(replace(bundle, headers=(*bundle.headers[:3], header)), proves_itself=False)


@pytest.mark.parametrize(
    "edited",
    [
        lambda status, gas, bloom, logs: [b"\2", gas, bloom, logs],
        lambda status, gas, bloom, logs: [b"\0\1", gas, bloom, logs],
        lambda status, gas, bloom, logs: [bytes(32), gas, bloom, logs],
        lambda status, gas, bloom, logs: [status, b"\0" + gas, bloom, logs],
        lambda status, gas, bloom, logs: [status, bytes([1]) * 9, bloom, logs],
        lambda status, gas, bloom, logs: [status, gas, bloom[1:], logs],
        lambda status, gas, bloom, logs: [status, gas, bloom, [[bytes(20), [bytes(31)], b""]]],
        lambda status, gas, bloom, logs: [status, gas, bloom, [[bytes(20), [bytes(32)] * 5, b""]]],
        lambda status, gas, bloom, logs: [status, gas, bloom, logs, b""],
    ],
)
def test_receipt_in_another_form(bundle: Bundle, edited: Callable[..., list[Any]]) -> None:
    block = next(number for number, receipts in enumerate(bundle.receipts) if receipts)
    raw = bundle.receipts[block][0]
    forged = raw[:1] + rlp.encode(edited(*rlp.decode(raw[1:])))
    receipts = (
        *bundle.receipts[:block],
        (forged, *bundle.receipts[block][1:]),
        *bundle.receipts[block + 1 :],
    )
    with pytest.raises(BundleError, match=f"block {block}: receipt: "):
        Record.of(replace(bundle, receipts=receipts), proves_itself=False)


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
