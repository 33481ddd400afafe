"""Is this installation sound? Each question with its answer and, where the answer is no, what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from typing import Any

PACKAGES = ("contracts", "ledger", "market", "node")
SUPPORTED = ((3, 11), (3, 13))
BACKENDS = (("coincurve", "signatures 100 times faster"), ("safe-pysha3", "hashes 8 times faster"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One question: what was found, whether it is as it should be, and what to do if not."""

    question: str
    ok: bool
    found: str
    remedy: str = ""

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
        yield Answer(name, False, f"{type(failure).__name__}: {failure}", "make setup")


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
    """Import names that are common words: another distribution may claim one."""
    owners = packages_distributions()
    for name in PACKAGES:
        found = sorted(set(owners.get(name, ())))
        yield Answer(
            f"import name {name} is Wattbook's alone",
            found in (["wattbook"], []) and _is_ours(name),
            ", ".join(found) or "run from a checkout",
            f"uninstall what else owns {name}: {', '.join(o for o in found if o != 'wattbook')}",
        )


def _is_ours(name: str) -> bool:
    module = __import__(name)
    return any(f"/{name}" in path.replace("\\", "/") for path in module.__path__)


def _speed() -> Iterator[Answer]:
    for package, use in (
        ("coincurve", "signatures 100 times faster"),
        ("safe-pysha3", "hashes 8 times faster"),
    ):
        if package == "safe-pysha3" and sys.platform != "linux":
            continue
        try:
            yield Answer(f"{package}, {use}", True, distribution(package).version)
        except PackageNotFoundError:
            yield Answer(f"{package}, {use}", False, "missing", f"pip install {package}")


def _hashing() -> Iterator[Answer]:
    from ledger.keccak import keccak  # noqa: PLC0415

    known = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    yield Answer("Keccak-256 is right", keccak(b"").hex() == known, keccak(b"").hex()[:16] + "…")


def _solver() -> Iterator[Answer]:
    from market.feeder import load  # noqa: PLC0415
    from market.feeder.powerflow import power_flow  # noqa: PLC0415
    from node.price import price  # noqa: PLC0415
    from node.scenario import load as load_scenario  # noqa: PLC0415

    feeder = load("ieee33")
    loss = power_flow(
        feeder, feeder.nominal_p_mw / feeder.base_mw, feeder.nominal_q_mvar / feeder.base_mw
    ).loss
    loss_kw = float(loss[0]) * feeder.base_mw * 1e3
    yield Answer("IEEE 33-bus loses 202.7 kW", abs(loss_kw - 202.7) < 0.05, f"{loss_kw:.2f} kW")  # as printed
    table = price(load_scenario("ieee33-day"), 0, "direct")
    yield Answer("Clarabel clears a slot, and the certificate holds", table.certified, table.status)


def _artifacts() -> Iterator[Answer]:
    import contracts  # noqa: PLC0415

    for name in contracts.NAMES:
        artifact = contracts.load(name)
        yield Answer(
            f"contract {name} loads", artifact.runtime_size <= 24_576, f"{artifact.runtime_size} bytes"
        )


QUESTIONS: tuple[Callable[[], Iterator[Answer]], ...] = (
    _python,
    _owners,
    _speed,
    _hashing,
    _artifacts,
    _solver,
)
