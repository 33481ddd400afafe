"""Requests as strangers send them: of every method, with what is right, nearly right and absurd."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from ledger.keys import Key
from ledger.transactions import Transaction, sign_transaction
from node.rpc.dispatch import SUBSCRIBING
from node.rpc.methods import METHODS

NAMES = sorted(METHODS | SUBSCRIBING)
ODD = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.5,
        1e308,
        2**64,
        2**256,
        "",
        "0x",
        "0x0",
        "0x1",
        "0xzz",
        "0x0g",
        "latest",
    ),
    *(
        "pending",
        "earliest",
        "safe",
        "finalized",
        "0x" + "f" * 64,
        "0x" + "f" * 65,
        "0x" + "00" * 20,
        "\ud800",
    ),
    *([], {}, [[]], [None], {"": None}, {"blockHash": "0x"}, {"blockNumber": "0x0"}, "é" * 50, "\0", "0X1"),
)
"""Values that no parameter expects, beside some that one does."""


class Stranger:
    """Draws requests from a seed; `known` are hashes and addresses that mean something to the node."""

    def __init__(self, seed: int, key: Key, known: tuple[str, ...]) -> None:
        self._draw = Random(seed)
        self._key = key
        self._known = known
        self._nonce = 0

    def body(self) -> bytes:
        """A request, a batch, or a text that is neither."""
        draw = self._draw.random()
        if draw < 0.05:
            return self._mutated(json.dumps(self._request()).encode())
        if draw < 0.08:
            return json.dumps([self._request() for _ in range(self._draw.randrange(6))]).encode()
        return json.dumps(self._request()).encode()

    def _request(self) -> Any:
        draw = self._draw
        if draw.random() < 0.02:
            return self._value(2)
        request = {"jsonrpc": "2.0", "id": draw.randrange(100), "method": draw.choice(NAMES)}
        if draw.random() < 0.3:
            method, *params = draw.choice(self._sensible())
            return request | {"method": method, "params": params}
        if draw.random() < 0.15:
            request["method"] = "eth_sendRawTransaction"
            return request | {"params": [self._raw()]}
        return request | {"params": [self._value(2) for _ in range(draw.choice((0, 1, 1, 2, 2, 3)))]}

    def _sensible(self) -> tuple[tuple[Any, ...], ...]:
        """What clients ask all the time."""
        account, number = self._key.address, hex(self._draw.randrange(60))
        call = {"from": account, "to": account, "value": "0x1"}
        return (
            ("eth_blockNumber",),
            ("eth_getBlockByNumber", self._draw.choice((number, "latest", "pending")), True),
            ("eth_getBlockReceipts", number),
            ("eth_getLogs", {"fromBlock": number}),
            ("eth_getBalance", account, number),
            ("eth_getTransactionCount", account, "pending"),
            ("eth_getProof", account, ["0x0"], number),
            ("eth_call", call, "latest"),
            ("eth_estimateGas", call),
            ("eth_createAccessList", call),
            ("eth_feeHistory", "0x5", "latest", [10, 90]),
            ("eth_newFilter", {}),
            ("eth_newBlockFilter",),
            ("eth_getFilterChanges", number),
            ("eth_getFilterLogs", number),
            ("eth_subscribe", "newHeads"),
            ("eth_unsubscribe", number),
            ("evm_snapshot",),
            ("evm_mine",),
            ("anvil_setBalance", account, hex(10**24)),
            ("txpool_content",),
            ("debug_getRawBlock", number),
            ("eth_call", {"data": "0x60006000fd"}, "latest"),
        )

    def _value(self, depth: int) -> Any:
        draw = self._draw
        kind = draw.random()
        if kind < 0.3:
            return draw.choice(self._known)
        if kind < 0.45:
            return hex(draw.choice((draw.randrange(50), draw.getrandbits(64), draw.getrandbits(256))))
        if kind < 0.55:
            return "0x" + draw.randbytes(draw.choice((0, 1, 4, 20, 32, 33, 200))).hex()
        if kind < 0.8 and depth:
            return self._object(depth)
        return draw.choice(ODD)

    def _object(self, depth: int) -> Any:
        """A call, a filter, an override, or a list."""
        draw = self._draw
        names = draw.choice(
            (
                ("from", "to", "data", "input", "value", "gas", "gasPrice", "maxFeePerGas", "accessList"),
                ("fromBlock", "toBlock", "address", "topics", "blockHash"),
                ("balance", "nonce", "code", "state", "stateDiff", draw.choice(self._known)),
                (
                    "address",
                    "storageKeys",
                    "timestamp",
                    "blocks",
                    "types",
                    "domain",
                    "message",
                    "primaryType",
                ),
            )
        )
        if draw.random() < 0.2:
            return [self._value(depth - 1) for _ in range(draw.randrange(4))]
        return {name: self._value(depth - 1) for name in names if draw.random() < 0.4}

    def _raw(self) -> str:
        """A transaction that runs, or one that was damaged on its way."""
        draw = self._draw
        to = draw.choice((None, self._key.address))
        data = draw.randbytes(draw.randrange(60))
        fields = {"gas": 100_000, "max_fee_per_gas": 10**11, "type": draw.choice((0, 1, 2))}
        fields["max_priority_fee_per_gas"] = fields["max_fee_per_gas"]
        raw = sign_transaction(self._key, Transaction(31_337, self._nonce, to, data, **fields))
        if draw.random() < 0.5:
            return "0x" + self._mutated(raw).hex()
        self._nonce += 1
        return "0x" + raw.hex()

    def _mutated(self, text: bytes) -> bytes:
        """A few bytes changed, cut out or doubled."""
        draw, changed = self._draw, bytearray(text)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(changed) or 1)
            kind = draw.randrange(3)
            if kind == 0:
                changed[at : at + 1] = draw.randbytes(1)
            elif kind == 1:
                del changed[at : at + draw.randrange(1, 9)]
            else:
                changed[at:at] = changed[at : at + draw.randrange(1, 40)]
        return bytes(changed)
