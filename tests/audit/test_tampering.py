"""Every kind of tampering is found: by the right check, at the right place, in the words that are kept."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ledger import bundle as bundles
from ledger.audit import audit, checks
from ledger.bundle import Bundle, BundleError
from ledger.record import Record
from market.slots import Rule
from tests.audit.expected import FOLDER, KINDS, told
from tests.audit.small_market import SmallMarket
from tests.audit.tampering import Ground, Kind

FLIPS = 300
MANY_FLIPS = 10_000


@pytest.fixture(scope="module")
def ground(bundle: Bundle) -> Ground:
    return Ground.of(bundle)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_tampering_is_found(ground: Ground, kind: Kind) -> None:
    tampered = kind.tamper(ground)
    report, place = tampered.report(), tampered.place
    wrong = {result.name: result.findings for result in report.checks if not result.ok}
    assert kind.check in wrong
    assert any(place in finding.where for finding in wrong[kind.check])
    assert kind.raw or "headers" not in wrong, "the forgery is consistent"
    unfinished = [each for each in report.findings if each.difference == "not finished"]
    assert kind.check == "artifacts" or not unfinished, "without the deployment, nobody knows the rules"
    assert told(report) == (FOLDER / f"{kind.name}.txt").read_text()


def test_every_check_has_its_forgers() -> None:
    found = Counter(kind.check for kind in KINDS)
    assert set(found) == {name for name, _ in checks()}
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {path.stem for path in FOLDER.iterdir()} == {kind.name for kind in KINDS}


# --- no byte without meaning --------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_slot() -> dict[str, bytes]:
    market = SmallMarket(Rule.DLMP)
    market.trade_one_slot()
    return bundles.encode(market.bundle())


def flipped(files: dict[str, bytes], place: int, bit: int) -> dict[str, bytes]:
    """All files, with one bit of one of them turned; `place` counts through them in order."""
    for name in sorted(files):
        if place < len(files[name]):
            content = bytearray(files[name])
            content[place] ^= 1 << bit
            return files | {name: bytes(content)}
        place -= len(files[name])
    raise IndexError(place)


def clean(files: dict[str, bytes]) -> bool:
    """Whether an audit finds nothing, and could read everything."""
    try:
        record = Record.of(bundles.decode(files), proves_itself=True)
    except BundleError:
        return False
    return audit(record, ["headers"]).ok and audit(record).ok


def any_flip_is_found(files: dict[str, bytes], count: int) -> None:
    """Places by size of file, and as many in the small ones, manifest and checkpoint."""
    assert clean(files)
    places = random.Random(20_260_623)
    sizes = {name: len(content) for name, content in files.items()}
    begins = {name: sum(sizes[each] for each in sorted(sizes) if each < name) for name in sizes}
    small = ("checkpoint", "manifest.json")
    for turn in range(count):
        name = small[turn % 4 // 2] if turn % 2 else None
        place = (
            places.randrange(sum(sizes.values()))
            if name is None
            else begins[name] + places.randrange(sizes[name])
        )
        bit = places.randrange(8)
        assert not clean(flipped(files, place, bit)), f"byte {place} bit {bit}"


def test_any_flipped_bit_is_found(one_slot: dict[str, bytes]) -> None:
    any_flip_is_found(one_slot, FLIPS)


@pytest.mark.long
def test_any_of_many_flipped_bits_is_found(one_slot: dict[str, bytes]) -> None:
    any_flip_is_found(one_slot, MANY_FLIPS)
