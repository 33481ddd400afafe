"""An engine over a chain in memory, and its JSON-RPC asked without a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ledger.chain.embedded import EmbeddedChain
from ledger.keys import Key
from node.rpc.dispatch import answer
from node.rpc.engine import Engine

GENESIS = 1_700_000_000
SOMEBODY = "0x" + "5b" * 20

Ask = Callable[..., Any]


def engine_of(keys: Sequence[Key], **options: Any) -> Engine:
    """An engine whose accounts are funded; `options` are the chain's."""
    funded = [key.address for key in keys]
    return Engine(EmbeddedChain(genesis_timestamp=GENESIS, funded=funded, **options), tuple(keys))


def coin(key: Key, **fields: Any) -> dict[str, Any]:
    """A request that moves one wei of the key's account, with other fields where they are named."""
    return {"from": key.address, "to": SOMEBODY, "value": "0x1"} | fields


def asking(engine: Engine) -> Ask:
    """Ask an engine: the result, or the error."""

    def question(method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answered = json.loads(answer(engine, json.dumps(body).encode()) or b"")
        return answered["result"] if "result" in answered else answered["error"]

    return question
