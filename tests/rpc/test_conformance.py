"""Third-party requests and responses (ethereum/execution-apis, CC0) against the chain that they are about.

The folder is `$WATTBOOK_RPC_COMPAT`, or `../shared/rpc-compat` beside the checkout; see its README. Answers
must be equal, with these exceptions, which hold for all cases:

- An error's code and data count, not its message: JSON-RPC 2.0 §5.1 leaves the words to the server, and
  the expected ones quote Go's types.
- Storage keys in an access list may come in any order: the client that wrote the cases lists them in the
  order of a hash map, and the two cases of one call differ in nothing else.
- A log may have `blockTimestamp`, which later versions of the same specification require.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rlp

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.evm import Interpreter
from ledger.chain.genesis import GenesisError, read_genesis
from ledger.chain.imported import BlockRefused, split_blocks
from ledger.chain.protocol import ChainError
from node.rpc.dispatch import answer
from node.rpc.engine import Engine
from tests.programs import NOT_INSTALLED, ROOT

FOLDER = Path(os.environ.get("WATTBOOK_RPC_COMPAT", ROOT.parent / "shared" / "rpc-compat"))
CASES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*.io"))

OTHER_CODES = {
    "eth_getStorageAt/get-storage-invalid-key",
    "eth_getStorageAt/get-storage-invalid-key-too-large",
}
"""Expected is -32000, Geth's code for errors without one. Here it is -32602, which EIP-1474 has for them."""
LESS_GAS = "eth_estimateGas/estimate-successful-call"
"""Expected is where Geth's search ends, 1.5 % above the least gas that suffices; here it is the least."""
SEARCH_ENDS = 0.015

pytestmark = pytest.mark.skipif(
    not CASES, reason=f"{NOT_INSTALLED}: the folder rpc-compat (set WATTBOOK_RPC_COMPAT)"
)


def imported(interpreter: Interpreter = "fast") -> EmbeddedChain:
    genesis = read_genesis(json.loads((FOLDER / "genesis.json").read_text()))
    chain = EmbeddedChain(genesis=genesis, interpreter=interpreter)
    for encoded in split_blocks((FOLDER / "chain.rlp").read_bytes()):
        chain.import_block(encoded)
    return chain


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine(imported())
    engine.automine = False
    return engine


def exchanges(case: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Requests of a case with their responses."""
    lines = [line for line in (FOLDER / f"{case}.io").read_text().splitlines() if not line.startswith("//")]
    for request, response in zip(lines[::2], lines[1::2], strict=True):
        assert (request[:3], response[:3]) == (">> ", "<< ")
        yield request[3:].encode(), json.loads(response[3:])


def comparable(value: Any) -> Any:
    """A response without what may differ."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: comparable(each) for name, each in value.items() if name != "blockTimestamp"}
    if "storageKeys" in kept:
        kept["storageKeys"] = sorted(kept["storageKeys"])
    if isinstance(kept.get("error"), dict):
        kept["error"].pop("message")
    return kept


@pytest.mark.parametrize("case", CASES or ["none"])
def test_case(engine: Engine, case: str) -> None:
    for request, expected in exchanges(case):
        given = json.loads(answer(engine, request) or b"null")
        if case == LESS_GAS:
            least, published = (int(each["result"], 16) for each in (given, expected))
            assert published * (1 - SEARCH_ENDS) <= least < published
        elif case in OTHER_CODES:
            assert given["error"]["code"] == -32_602 != expected["error"]["code"]
        else:
            assert comparable(given) == comparable(expected)


def test_there_are_as_many_cases_as_the_folder_says() -> None:
    assert len(CASES) == 88
    assert {*OTHER_CODES, LESS_GAS} <= set(CASES)


def test_the_least_gas_is_enough_and_less_is_not(engine: Engine) -> None:
    """The one case with another number: the gas is what the call needs, to the last unit."""
    ((request, _),) = exchanges(LESS_GAS)
    (call,) = json.loads(request)["params"]
    least = int(json.loads(answer(engine, request) or b"")["result"], 16)

    def outcome(gas: int) -> dict[str, Any]:
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call | {"gas": hex(gas)}]}
        given: dict[str, Any] = json.loads(answer(engine, json.dumps(question).encode()) or b"")
        return given

    assert outcome(least)["result"] == "0xffee"
    assert "out of gas" in outcome(least - 1)["error"]["message"]


def test_both_interpreters_import_the_same_chain() -> None:
    fast, stock = imported("fast"), imported("stock")
    assert fast.head() == stock.head() == 20
    assert [fast.block(number) for number in range(21)] == [stock.block(number) for number in range(21)]
    assert [fast.raw_receipts(number) for number in range(21)] == [
        stock.raw_receipts(number) for number in range(21)
    ]


# --- what must be refused -------------------------------------------------------------------------


def blocks() -> list[bytes]:
    return list(split_blocks((FOLDER / "chain.rlp").read_bytes()))


def edited(encoded: bytes, **fields: Any) -> bytes:
    """A block with other fields in its header."""
    header, *body = rlp.decode(encoded)
    changed = replace(decode_header(rlp.encode(header)), **fields)
    return bytes(rlp.encode([rlp.decode(changed.encode()), *body]))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"state_root": bytes(32)}, "block 1: state_root is 0x000"),
        ({"receipts_root": bytes(32)}, "block 1: receipts_root is"),
        ({"gas_used": 1}, "block 1: gas_used is 1, not 323167"),
        ({"logs_bloom": bytes([1]) * 256}, "block 1: logs_bloom is"),
        ({"parent_hash": bytes(32)}, "block 1: parent_hash is"),
        ({"number": 2}, "block 2: number is 2, not 1"),
        ({"base_fee": 7}, "block 1: base_fee is 7, not 875000000"),
        ({"timestamp": 0}, "block 1: timestamp 0 is not after its parent's"),
        ({"gas_limit": 30_000_000}, "block 1: the gas limit changes by"),
        ({"withdrawals_root": bytes(32)}, "block 1: withdrawals_root is"),
        ({"requests_hash": bytes(32)}, "block 1: requests_hash does not go with cancun"),
        ({"excess_blob_gas": 1}, "block 1: excess_blob_gas is 1, not 0"),
        ({"extra_data": bytes(33)}, "block 1: 33 bytes of extra data"),
    ],
)
def test_a_block_that_says_something_else_is_refused(fields: dict[str, Any], rule: str) -> None:
    genesis = read_genesis(json.loads((FOLDER / "genesis.json").read_text()))
    chain, block = EmbeddedChain(genesis=genesis), blocks()[0]
    with pytest.raises(BlockRefused, match=f"^{rule}"):
        chain.import_block(edited(block, **fields))
    chain.import_block(block)  # nothing of the refused one stayed
    assert chain.head() == 1


def test_blocks_out_of_order_or_cut_off_are_refused() -> None:
    genesis = read_genesis(json.loads((FOLDER / "genesis.json").read_text()))
    chain, exported = EmbeddedChain(genesis=genesis), (FOLDER / "chain.rlp").read_bytes()
    with pytest.raises(BlockRefused, match="block 2: parent_hash is"):
        chain.import_block(blocks()[1])
    with pytest.raises(BlockRefused, match="cut off in the block at byte"):
        list(split_blocks(exported[:-1]))
    for malformed in (b"", b"\xc0", b"\xff\xff", exported[:100]):
        with pytest.raises(BlockRefused):
            chain.import_block(malformed)


def test_an_imported_chain_is_kept(tmp_path: Path) -> None:
    genesis = read_genesis(json.loads((FOLDER / "genesis.json").read_text()))
    chain = EmbeddedChain(genesis=genesis, data=tmp_path)
    for block in blocks():
        chain.import_block(block)
    head = chain.block()
    chain.close()
    chain = EmbeddedChain(genesis=genesis, data=tmp_path)
    assert chain.block() == head
    assert [len(chain.block(number).withdrawals) for number in (4, 5)] == [1, 0]
    chain.mine()  # a block of our own after them
    assert chain.head() == 21
    chain.close()
    other = json.loads((FOLDER / "genesis.json").read_text()) | {"gasLimit": "0x1000000"}
    with pytest.raises(ChainError, match="another first block"):
        EmbeddedChain(genesis=read_genesis(other), data=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"londonBlock": 5}, "londonBlock is 5; only chains with 0"),
        ({"terminalTotalDifficulty": 10**18}, "the merge must be done"),
        ({"osakaTime": 0}, "knows the forks up to Prague"),
        ({"chainId": "many"}, "chainId: 'many' is no number"),
    ],
)
def test_a_genesis_that_cannot_be_run_is_refused(change: dict[str, Any], message: str) -> None:
    document = json.loads((FOLDER / "genesis.json").read_text())
    document["config"] |= change
    with pytest.raises(GenesisError, match=message):
        read_genesis(document)
