"""Clients that others wrote: each deploys, sends, waits, reads, filters, and learns why it is refused."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.keys import Key, mnemonic_keys
from node.rpc.engine import Engine
from tests.programs import ROOT, find
from tests.rpc.serving import serving

START = 5
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def key() -> Key:
    return mnemonic_keys(1)[0]


@pytest.fixture
def url(key: Key) -> Iterator[str]:
    chain = EmbeddedChain(genesis_timestamp=1_700_000_000, funded=[key.address])
    with serving(Engine(chain, [key])) as url:
        yield url


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=pytest.mark.needs("node", name)) for name in ("ethers", "viem")]
)
def test_javascript(client: str, url: str, key: Key, probe: Any) -> None:
    given = {
        "url": url,
        "abi": probe.abi,
        "bytecode": "0x" + probe.bytecode.hex(),
        "key": "0x" + key.secret.hex(),
        "start": START,
    }
    done = subprocess.run(
        [str(find("node")), str(ROOT / "tests/rpc/clients" / f"{client}.mjs")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "chain": 31_337,
        "deployed": True,
        "status": 1,
        "mined": True,
        "count": START + 4,
        "totals": [START + 4],
        "heard": START + 4,
        "reason": "probe: nothing to add",
        "refusal": "probe: nothing to add",
        "raised": 0,
    }


@pytest.mark.needs("cast")
def test_cast(url: str, key: Key, probe: Any) -> None:
    def cast(*arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [str(find("cast")), *arguments],
            env=os.environ | {"ETH_RPC_URL": url},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        # the package's launcher ends with 0 whatever cast itself says
        assert done.stderr.startswith("Error:") == fails, done.stderr
        return done.stderr if fails else done.stdout.strip()

    secret = ["--private-key", "0x" + key.secret.hex()]
    created = json.loads(cast("send", *secret, "--json", "--create", "0x" + probe.creation.hex()))
    contract = created["contractAddress"]
    assert cast("chain-id") == "31337"
    assert len(cast("code", contract)) > 100
    added = json.loads(cast("send", *secret, "--json", contract, "add(uint256)", "4"))
    assert (int(added["status"], 16), int(added["blockNumber"], 16)) == (1, 2)
    assert cast("call", contract, "count()(uint256)") == str(START + 4)
    assert cast("storage", contract, "0") == "0x" + (START + 4).to_bytes(32, "big").hex()
    logs = json.loads(
        cast("logs", "--json", "--from-block", "0", "--address", contract, "Counted(address,uint256)")
    )
    assert [int(log["data"], 16) for log in logs] == [START + 4]
    assert json.loads(cast("receipt", "--json", added["transactionHash"])) == added
    assert cast("balance", key.address) != "0"
    assert "probe: nothing to add" in cast("call", contract, "add(uint256)", "0", fails=True)
    assert "probe: nothing to add" in cast("send", *secret, contract, "add(uint256)", "0", fails=True)
    assert cast("nonce", key.address) == "2"
    assert cast("estimate", contract, "add(uint256)", "1").isdigit()
    assert json.loads(cast("access-list", "--json", contract, "count()"))["accessList"]
    assert cast("rpc", "anvil_setBalance", key.address, "0x1") == "true"
    assert cast("balance", key.address) == "1"
