"""`python -m node.bench.peers [NAME …]` makes the environments of these peers, or of all, if not there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from node.bench.peers.environments import PEERS, PeerError


def main(names: Sequence[str]) -> int:
    """Install; returns 1 where some could not be, 2 for a name that is none."""
    known = {peer.name: peer for peer in PEERS}
    for name in names:
        if name not in known:
            print(f"{name}: no such peer; there are {', '.join(known)}", file=sys.stderr)
            return 2
    status = 0
    for peer in (known[name] for name in names or known):
        if peer.python is not None:
            continue
        print(f"installing {peer.title} into {peer.folder}", flush=True)
        try:
            peer.install()
        except PeerError as failure:
            print(f"not installed: {failure}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
