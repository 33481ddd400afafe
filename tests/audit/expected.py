"""What an audit says of each kind of tampering, kept as a file each in `tests/audit/expected`.

`python -m tests.audit.expected` writes them anew after the contract or a message has changed: read the
difference before it is committed.
"""

from __future__ import annotations

import re
from pathlib import Path

from ledger.audit.report import Report
from tests.audit import tamper_calls, tamper_events, tamper_files, tamper_quorum, tamper_vetoes
from tests.audit.small_market import traded
from tests.audit.tampering import Ground, Kind

FOLDER = Path(__file__).with_name("expected")
_HASH = re.compile(r"(?:0x)?[0-9a-fA-F]{64}(?![0-9a-fA-F])")

KINDS: tuple[Kind, ...] = (
    *tamper_files.KINDS,
    *tamper_events.KINDS,
    *tamper_calls.KINDS,
    *tamper_quorum.KINDS,
    *tamper_vetoes.KINDS,
)


def told(report: Report) -> str:
    """The findings as people read them, hashes left out: they change with every byte of the contract."""
    return "".join(_HASH.sub("HASH", f"{finding}\n") for finding in report.findings)


def main() -> None:
    """Write every file, and take away those of kinds that are gone."""
    ground = Ground.of(traded())
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for kind in KINDS:
        (FOLDER / f"{kind.name}.txt").write_text(told(kind.tamper(ground).report()))


if __name__ == "__main__":
    main()
