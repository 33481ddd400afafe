"""Licences of everything that runs with Wattbook, by the lock and the installed packages' own words."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

import pytest

from tests.house.repository import ROOT

FREE = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|BSD|[0-3]?-?BSD|BSD-[23]-Clause|0BSD|Apache|PSF|PSFL|ISC|ISCL|Zlib|CC0|CNRI-Python|OLDAP|"
    r"Python Software Foundation|Public Domain)\b",
    re.IGNORECASE,
)
COPYLEFT = re.compile(
    r"\b(A?GPL|GNU (Affero )?General Public|EUPL|SSPL|CC[- ]BY[- ](SA|NC)|BUSL)", re.IGNORECASE
)
WEAK_COPYLEFT = re.compile(r"\b(LGPL|Lesser General Public|MPL|Mozilla Public)", re.IGNORECASE)

REVIEWED = {
    "certifi": "MPL-2.0: data file of root certificates, used unchanged beside us, file-level copyleft",
    "pathspec": "MPL-2.0: the build backend's, not imported at run time, used unchanged, file-level copyleft",
    "tqdm": "MPL-2.0 and MIT: used unchanged beside us by pandapower, file-level copyleft",
    "pywin32": "PSF-2.0: on Windows only, so not installed here",
}
"""Packages whose own words are not enough, each read by a person."""


def locked() -> list[str]:
    lock = (ROOT / "requirements" / "run.lock").read_text("utf-8")
    return sorted(set(re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE)))


def words(found: PackageMetadata) -> str:
    """Licence in the package's own words: expression, else classifiers and the licence field's first line."""
    if expression := found.get("License-Expression"):
        return expression
    classifiers = [line for line in found.get_all("Classifier", []) if line.startswith("License ::")]
    field = (found.get("License") or "").strip()
    return "; ".join([*classifiers, *field.splitlines()[:1]])


def verdict(licence: str) -> str:
    """`free`, `weak copyleft`, `copyleft` or `unknown`, by the most demanding word."""
    if COPYLEFT.search(licence):
        return "copyleft"
    if WEAK_COPYLEFT.search(licence):
        return "weak copyleft"
    return "free" if FREE.search(licence) else "unknown"


@pytest.mark.parametrize("name", locked())
def test_licence(name: str):
    try:
        found = metadata(name)
    except PackageNotFoundError:
        assert name in REVIEWED, f"{name}: in the lock, not installed, not reviewed"
        return
    licence = words(found)
    judged = verdict(licence)
    assert judged != "copyleft", f"{name}: {licence}"
    assert (judged == "free") != (name in REVIEWED), f"{name}: {licence or 'says nothing'}: {judged}"


def test_reviews_are_of_packages_in_the_lock():
    assert set(REVIEWED) <= set(locked())


@pytest.mark.parametrize(
    ("licence", "judged"),
    [
        ("GPL-3.0-or-later", "copyleft"),
        ("License :: OSI Approved :: GNU Affero General Public License v3", "copyleft"),
        ("MIT AND AGPL-3.0", "copyleft"),
        ("LGPL-2.1-only", "weak copyleft"),
        ("MPL-2.0 AND MIT", "weak copyleft"),
        ("BSD-3-Clause", "free"),
        ("", "unknown"),
        ("Proprietary", "unknown"),
    ],
)
def test_a_licence_is_judged_by_its_most_demanding_word(licence: str, judged: str):
    assert verdict(licence) == judged
