"""Files of a bundle that cannot be read are refused by name, and the page of the format is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.bundle import Bundle, BundleError, BundleFormatError, BundleIncompleteError, BundleNotFoundError
from ledger.record import Record
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
