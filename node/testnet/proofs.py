"""Proofs of the market's clearings in its data folder, so that a restart takes none of them away."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from ledger.bundle import CERTIFICATES, INPUTS
from node.simulate.session import Session
from node.testnet.settings import FolderError


class KeptFiles(dict[bytes, bytes]):
    """Files of a folder by their SHA-256, which names them; what is put in is in the folder first.

    A file that a killed process left half-written is not what its name says, and is passed over. A dict,
    since its values are taken at one stroke while another thread puts some in.
    Raises FolderError.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        try:
            folder.mkdir(exist_ok=True)
            contents = [(path.stem, path.read_bytes()) for path in sorted(folder.glob("*.bin"))]
        except OSError as failure:
            raise FolderError(f"{folder}: cannot be used: {failure.strerror}") from None
        for name, content in contents:
            digest = sha256(content)
            if digest.hexdigest() == name:
                super().__setitem__(digest.digest(), content)

    def __setitem__(self, digest: bytes, content: bytes) -> None:
        """Keep a file under its SHA-256. Raises FolderError."""
        path = self._folder / f"{digest.hex()}.bin"
        try:
            path.write_bytes(content)
        except OSError as failure:
            raise FolderError(f"{path}: cannot be written: {failure.strerror}") from None
        super().__setitem__(digest, content)


def keep(session: Session, folder: Path) -> None:
    """Let a session keep its proofs in a data folder, and know those that are there. Raises FolderError."""
    session.certificates, session.inputs = (KeptFiles(folder / kind) for kind in (CERTIFICATES, INPUTS))
