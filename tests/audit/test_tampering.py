"""Every kind of tampering is found: by the right check, at the right place, in the words that are kept."""

from __future__ import annotations

import random
import re
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
    more = r"(?!\d)" if place[-1].isdigit() else ""  # log 1 is not log 12
    whole = re.compile(rf"(?<!\w){re.escape(place)}{more}")
    assert any(whole.search(finding.where) for finding in wrong[kind.check])
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


def flipped(files: dict[str, bytes], name: str, place: int, bit: int) -> dict[str, bytes]:
    """All files, with one bit of one of them turned."""
    content = bytearray(files[name])
    content[place] ^= 1 << bit
    return files | {name: bytes(content)}


def clean(files: dict[str, bytes]) -> bool:
    """Whether an audit finds nothing, and could read everything."""
    try:
        record = Record.of(bundles.decode(files), proves_itself=True)
    except BundleError:
        return False
    return audit(record, ["headers"]).ok and audit(record).ok


def any_flip_is_found(files: dict[str, bytes], count: int) -> None:
    """Half of the places by size of file, half in all files alike, so that no small one is passed over."""
    assert clean(files)
    places, names = random.Random(20_260_623), sorted(files)
    by_size = [len(files[name]) for name in names]
    for turn in range(count):
        name = names[turn // 2 % len(names)] if turn % 2 else places.choices(names, by_size)[0]
        place, bit = places.randrange(len(files[name])), places.randrange(8)
        assert not clean(flipped(files, name, place, bit)), f"{name} byte {place} bit {bit}"


def test_any_flipped_bit_is_found(one_slot: dict[str, bytes]) -> None:
    any_flip_is_found(one_slot, FLIPS)


@pytest.mark.long
def test_any_of_many_flipped_bits_is_found(one_slot: dict[str, bytes]) -> None:
    any_flip_is_found(one_slot, MANY_FLIPS)
