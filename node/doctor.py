"""Is this installation sound? Each question with its answer and, where the answer is no, what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("contracts", "ledger", "market", "node")
OURS = "wattbook"
SUPPORTED = ((3, 11), (3, 13))
REINSTALL = "reinstall Wattbook; in a checkout that is `make setup`"
EMPTY_KECCAK = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
LOSS_KW, LOSS_ROUNDING_KW = 202.7, 0.05
"""Loss of the IEEE 33-bus feeder at nominal load as its paper prints it (Baran and Wu 1989), kW."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question: what was found, whether it is as it should be, and what to do if not."""

    question: str
    ok: bool
    found: str
    remedy: str = REINSTALL

    def to_json(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)


def examine() -> tuple[Answer, ...]:
    """Ask everything. A question that cannot be asked counts as a no."""
    return tuple(answer for question in QUESTIONS for answer in _ask(question))


def _ask(question: Callable[[], Iterator[Answer]]) -> Iterator[Answer]:
    try:
        yield from question()
    except Exception as failure:  # whatever is broken here is the answer
        name = question.__name__.strip("_").replace("_", " ")
        yield Answer(name, False, f"{type(failure).__name__}: {failure}")


# --- the environment ----------------------------------------------------------------------------


def _python() -> Iterator[Answer]:
    low, high = SUPPORTED
    found = sys.version_info[:2]
    yield Answer(
        "Python in range",
        low <= found <= high,
        ".".join(map(str, found)),
        f"use Python {low[0]}.{low[1]} to {high[0]}.{high[1]}",
    )


def _owners() -> Iterator[Answer]:
    """Import names that are common words: another distribution may claim one, or a stray folder hide it."""
    here = Path(__file__).resolve().parents[1]
    owners = packages_distributions()
    for name in PACKAGES:
        strangers = sorted(set(owners.get(name, ())) - {OURS})
        others = sorted(str(place) for place in places(name, sys.path) - {here / name})
        yield Answer(
            f"import name {name} is Wattbook's alone",
            not strangers and not others,
            ", ".join([*strangers, *others]) or str(here / name),
            f"uninstall or move away what else is called {name}: {', '.join([*strangers, *others])}",
        )


def places(name: str, path: list[str]) -> set[Path]:
    """Where an import of `name` could lead: what Python finds, and every package so called on `path`."""
    spec = find_spec(name)
    found = {Path(spec.origin).resolve().parent} if spec is not None and spec.origin else set()
    for entry in path:
        folder = Path(entry) / name
        if (folder / "__init__.py").is_file():
            found.add(folder.resolve())
        if folder.with_suffix(".py").is_file():
            found.add(folder.with_suffix(".py").resolve())
    return found


def _signatures() -> Iterator[Answer]:
    from eth.precompiles.ecrecover import keys  # noqa: PLC0415 - as of here, each question loads its own

    backend = type(keys.backend).__name__
    yield Answer(
        "contracts check signatures by coincurve, 100 times faster",
        backend == "CoinCurveECCBackend",
        backend,
        "`pip install coincurve`, and unset ECC_BACKEND_CLASS",
    )


def _hashing() -> Iterator[Answer]:
    from eth_hash.auto import keccak as everywhere  # noqa: PLC0415

    from ledger.keccak import keccak  # noqa: PLC0415

    known = EMPTY_KECCAK == keccak(b"").hex() == everywhere(b"").hex()
    yield Answer("Keccak-256 is right", known, keccak(b"").hex()[:16] + "…")
    if sys.platform == "linux":
        fast = everywhere.hasher is keccak  # which only the C extension's is
        yield Answer(
            "hashes by safe-pysha3, 8 times faster",
            fast,
            "in use" if fast else "not installed",
            "`pip install safe-pysha3`",
        )


# --- what Wattbook is made of -------------------------------------------------------------------


def _artifacts() -> Iterator[Answer]:
    import contracts  # noqa: PLC0415
    from contracts.build import source_hash  # noqa: PLC0415

    for name in contracts.NAMES:
        artifact = contracts.load(name)
        yield Answer(
            f"contract {name} is compiled from its source",
            artifact.source_sha256 == source_hash(name),
            f"{artifact.runtime_size} bytes, {artifact.compiler}",
            f"after a change of its source `python -m contracts.build`; else {REINSTALL}",
        )


def _feeder() -> Iterator[Answer]:
    from market.feeder import load  # noqa: PLC0415
    from market.feeder.powerflow import power_flow  # noqa: PLC0415

    feeder = load("ieee33")
    nominal_p, nominal_q = feeder.nominal_p_mw / feeder.base_mw, feeder.nominal_q_mvar / feeder.base_mw
    loss_kw = float(power_flow(feeder, nominal_p, nominal_q).loss[0]) * feeder.base_mw * 1e3
    yield Answer(
        f"IEEE 33-bus loses {LOSS_KW} kW", abs(loss_kw - LOSS_KW) < LOSS_ROUNDING_KW, f"{loss_kw:.2f} kW"
    )


def _solver() -> Iterator[Answer]:
    from node.price import price  # noqa: PLC0415
    from node.scenario import load  # noqa: PLC0415

    table = price(load("ieee33-day"), 0, "direct")
    yield Answer("Clarabel clears a slot, and the certificate holds", table.certified, table.status)


QUESTIONS: tuple[Callable[[], Iterator[Answer]], ...] = (
    _python,
    _owners,
    _signatures,
    _hashing,
    _artifacts,
    _feeder,
    _solver,
)
