"""The chain behind JSON-RPC on networks as they are: nodes restart, fees rise, blocks are taken back."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import rlp

from ledger import sending
from ledger.chain.answers import header_of
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.following import Follower
from ledger.chain.protocol import Chain, ChainUnavailable, Log, LogFilter, TransactionRefused
from ledger.chain.rpc import RpcChain
from ledger.deployment import DeploymentError, MarketSite, read_site
from ledger.keccak import keccak
from ledger.keys import Key, derive, mnemonic_keys
from ledger.token import Token, deploy_token
from node.bench.open_slot import OpenSlot
from tests.chains.rebuilt import Anvil, anvil
from tests.programs import find

pytestmark = pytest.mark.needs("anvil")

PAYER, OTHER = mnemonic_keys(2)


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with anvil() as running:
        yield running


def send(chain: Chain, key: Key = PAYER) -> bytes:
    return sending.send(chain, key, OTHER.address, b"", 21_000)


# --- nonces -------------------------------------------------------------------------------------


def test_threads_with_one_key_get_a_nonce_each(node: Anvil) -> None:
    chain = RpcChain(node.url)
    first = chain.nonce(PAYER.address)
    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda _: send(chain), range(40)))
    receipts = [sending.confirmed(chain, each) for each in sent]
    assert len({receipt.transaction_hash for receipt in receipts}) == 40
    assert chain.nonce(PAYER.address) == first + 40


class Behind(RpcChain):
    """A chain that counts a sender's transactions too late, as where another process has the same key."""

    late = 0

    def nonce(self, address: str) -> int:
        self.late -= 1
        return super().nonce(address) - (self.late >= 0)


def test_a_nonce_that_another_process_used_is_asked_for_again(node: Anvil) -> None:
    chain = Behind(node.url)
    sending.confirmed(chain, send(chain))
    chain.late = sending.NONCE_TRIES - 1
    assert sending.confirmed(chain, send(chain)).status == 1
    chain.late = sending.NONCE_TRIES
    with pytest.raises(TransactionRefused, match="nonce too low"):
        send(chain)


def test_what_is_handed_over_twice_is_handed_over(node: Anvil) -> None:
    """The answer to the first try may have been lost; what the node never had is refused as ever."""
    chain = RpcChain(node.url)
    sent = send(chain)
    raw = chain.block(sending.confirmed(chain, sent).block_number).transactions[0]
    assert chain.send(raw) == sent
    with pytest.raises(TransactionRefused):
        chain.send(raw[:-1])


# --- nodes that are gone for a while ------------------------------------------------------------


class Restarted:
    """anvil on one port, with a state that it keeps; `pause` brings it back after so many pauses."""

    def __init__(self, folder: Path, pauses_down: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.state, self.pauses_down = folder / "state.json", pauses_down
        self.pauses: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = ["--port", str(self.port), "--state", str(self.state), "--silent"]
        self.process = subprocess.Popen([str(find("anvil")), *words])
        asked = Anvil(self.port)
        asked.wait()
        asked.close()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def pause(self, milliseconds: int) -> None:
        self.pauses.append(milliseconds)
        if len(self.pauses) == self.pauses_down:
            self.start()
        time.sleep(0.01)


def test_a_restarted_node_is_waited_for(tmp_path: Path) -> None:
    server = Restarted(tmp_path, pauses_down=5)
    try:
        chain = RpcChain(f"http://127.0.0.1:{server.port}", pause_ms=server.pause)
        receipt = sending.confirmed(chain, send(chain))
        server.stop()
        server.pauses.clear()  # of waiting for the receipt, which a busy machine may need
        assert chain.receipt(receipt.transaction_hash) == receipt
        assert server.pauses == [15, 30, 60, 120, 240]
        assert sending.confirmed(chain, send(chain)).status == 1
    finally:
        server.stop()


def test_a_node_that_stays_away_is_given_up_and_a_wrong_url_at_once(tmp_path: Path) -> None:
    server = Restarted(tmp_path, pauses_down=0)
    url = f"http://127.0.0.1:{server.port}"
    chain = RpcChain(url, outage_ms=100, pause_ms=server.pause)
    server.stop()
    with pytest.raises(ChainUnavailable, match="does not answer"):
        chain.head()
    assert server.pauses == [15, 30, 60]
    with pytest.raises(ChainUnavailable, match="does not answer"):
        RpcChain(url, pause_ms=server.pause)
    assert server.pauses == [15, 30, 60]
    with pytest.raises(ChainUnavailable):
        chain._ask("evm_mine")  # it might be heard twice
    assert server.pauses == [15, 30, 60]


# --- transactions that get stuck ----------------------------------------------------------------


@pytest.fixture
def idle() -> Iterator[Anvil]:
    """A node that builds blocks only when asked."""
    with anvil("--no-mining") as running:
        yield running


def mining(node: Anvil, base_fee: int | None = None) -> Callable[[int], None]:
    """Waiting that lets a block pass, of a base fee that stays where it is."""

    def pause(_: int) -> None:
        if base_fee is not None:
            node.ask("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        node.ask("evm_mine")

    return pause


def test_a_fee_that_fell_below_the_base_fee_is_raised(idle: Anvil) -> None:
    dear = 40 * 10**9
    chain = RpcChain(idle.url, stuck_ms=30, pause_ms=mining(idle, dear))
    nonce, sent = chain.nonce(PAYER.address), send(chain)
    receipt = sending.confirmed(chain, sent)
    assert receipt.transaction_hash != sent
    replaced = sending.transaction_of(chain, receipt)
    assert replaced.nonce == nonce and replaced.to == OTHER.address
    assert replaced.max_fee_per_gas >= 2 * dear
    assert replaced.max_priority_fee_per_gas == sending.raised(sending.PRIORITY_FEE_WEI)
    assert chain.nonce(PAYER.address) == nonce + 1


def test_a_dropped_transaction_is_sent_again(idle: Anvil) -> None:
    chain = RpcChain(idle.url, stuck_ms=30, pause_ms=mining(idle))
    sent = send(chain)
    idle.ask("anvil_dropTransaction", "0x" + sent.hex())
    assert sending.confirmed(chain, sent).status == 1


def test_what_nobody_replaces_is_waited_for_and_given_up(idle: Anvil) -> None:
    chain = RpcChain(idle.url, stuck_ms=30, patience_ms=200, pause_ms=lambda _: None)
    with pytest.raises(ChainUnavailable, match="in no block after"):
        chain.receipt(send(chain))


def test_under_interval_mining_many_wait_at_once() -> None:
    with anvil("--block-time", "1") as running:
        chain = RpcChain(running.url)
        with ThreadPoolExecutor(4) as threads:
            receipts = list(threads.map(lambda _: sending.confirmed(chain, send(chain)), range(12)))
    assert all(receipt.status == 1 for receipt in receipts)
    assert len({receipt.block_number for receipt in receipts}) < 12


# --- networks of one's own ----------------------------------------------------------------------


def test_where_gas_is_free_nobody_needs_coins() -> None:
    with anvil("--base-fee", 0, "--gas-price", 0) as running:
        chain, poor = RpcChain(running.url), derive(1, "without coins")
        assert chain.block().base_fee == chain.balance(poor.address) == 0
        assert sending.confirmed(chain, send(chain, poor)).status == 1
        assert chain.balance(poor.address) == 0


class Sealed(RpcChain):
    """A node whose blocks carry a round and seals as under QBFT, and hash without them."""

    def _ask(self, method: str, *params: Any) -> Any:
        answer = super()._ask(method, *params)
        if method != "eth_getBlockByNumber":
            return answer
        vanity, validators = bytes(32), [bytes([place]) * 20 for place in range(4)]
        header = replace(header_of(answer), extra_data=rlp.encode([vanity, validators, [], b"", []]))
        sealed = rlp.encode([vanity, validators, [], b"\3", [bytes([place]) * 65 for place in range(3)]])
        return answer | {"extraData": "0x" + sealed.hex(), "hash": "0x" + keccak(header.encode()).hex()}


def test_seals_of_qbft_are_no_part_of_what_hashes(node: Anvil) -> None:
    chain, plain = Sealed(node.url), RpcChain(node.url)
    block = chain.block()
    assert keccak(block.header_rlp) == block.hash != plain.block().hash
    assert block.transactions == plain.block().transactions


# --- blocks that are taken back -----------------------------------------------------------------


class Reader:
    """What an honest client holds after each step of a follower."""

    def __init__(self, chain: Chain, token: Token, confirmations: int) -> None:
        self.chain, self.confirmations = chain, confirmations
        self.which = LogFilter(addresses=(token.address,))
        self.follower = Follower(chain, self.which, confirmations)
        self.logs: list[Log] = []
        self.rewinds = 0

    def poll(self) -> None:
        step = self.follower.poll()
        if step.rewound_to is not None:
            self.rewinds += 1
            self.logs = [log for log in self.logs if log.block_number <= step.rewound_to]
        self.logs += step.logs
        assert self.chain.head() - self.confirmations <= step.through <= self.chain.head()
        assert self.logs == [log for log in self.chain.logs(self.which) if log.block_number <= step.through]


def act(chain: Chain, token: Token, rng: Random, snapshots: list[Any], node: Anvil | None) -> None:
    """A mint, an empty block, a moment to go back to, or going back."""
    kind = rng.random()
    if kind < 0.5:
        chain.receipt(token.mint(OTHER.address, rng.randint(1, 10**6), sender=PAYER))
    elif kind < 0.6:
        node.ask("evm_mine") if node else chain.mine()
    elif kind < 0.75:
        snapshots.append(node.ask("evm_snapshot") if node else chain.snapshot())  # type: ignore[attr-defined]
    elif kind < 0.85 and snapshots:
        taken = snapshots.pop()
        node.ask("evm_revert", taken) if node else chain.revert(taken)  # type: ignore[attr-defined]


@pytest.mark.parametrize("confirmations", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_events_follow_the_chain_wherever_it_goes(seed: int, confirmations: int) -> None:
    rng, snapshots = Random(f"follower {seed}"), []
    chain = EmbeddedChain(funded=(PAYER.address,))
    token = deploy_token(chain, PAYER, "Test euro", "TEUR", 9)
    reader = Reader(chain, token, confirmations)
    for _ in range(150):
        act(chain, token, rng, snapshots, None)
        if rng.random() < 0.5:
            reader.poll()
    assert reader.rewinds > 3 and len(reader.logs) > 5


def test_events_follow_anvil(node: Anvil) -> None:
    """Also through its own reorganisation, which puts empty blocks in the place of others."""
    rng, snapshots, chain = Random("follower"), [], RpcChain(node.url)
    token = deploy_token(chain, PAYER, "Test euro", "TEUR", 9)
    reader = Reader(chain, token, 0)
    for _ in range(60):
        act(chain, token, rng, snapshots, node)
        reader.poll()
    for _ in range(3):
        chain.receipt(token.mint(OTHER.address, 5, sender=PAYER))
    reader.poll()
    before = reader.rewinds, len(reader.logs)
    node.ask("anvil_reorg", 2, [])
    reader.poll()
    assert reader.rewinds == before[0] + 1 and len(reader.logs) == before[1] - 2


def test_with_confirmations_a_short_reorganisation_takes_nothing_back(node: Anvil) -> None:
    chain = RpcChain(node.url)
    token = deploy_token(chain, PAYER, "Test euro", "TEUR", 9)
    reader = Reader(chain, token, 3)
    for _ in range(6):
        chain.receipt(token.mint(OTHER.address, 5, sender=PAYER))
    reader.poll()
    assert len(reader.logs) == 3
    node.ask("anvil_reorg", 3, [])
    reader.poll()
    assert (reader.rewinds, len(reader.logs)) == (0, 3)
    node.ask("anvil_reorg", 4, [])
    reader.poll()
    assert (reader.rewinds, len(reader.logs)) == (1, 2)


# --- where the market lives ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> tuple[OpenSlot, MarketSite]:
    market = OpenSlot.create(2)
    return market, MarketSite.of(market.exchange, Token(market.chain, market.exchange.address), 1)


def test_a_market_is_found_again(site: tuple[OpenSlot, MarketSite], tmp_path: Path) -> None:
    market, place = site
    place.write(tmp_path / "market.json")
    assert read_site(tmp_path / "market.json") == place
    found = place.open(market.chain)
    assert found.account_of(market.traders[0].address) == market.exchange.account_of(
        market.traders[0].address
    )


def test_another_chain_is_not_taken_for_it(site: tuple[OpenSlot, MarketSite], node: Anvil) -> None:
    place = site[1]
    with pytest.raises(DeploymentError, match=r"^genesis: the market is where it is 0x"):
        place.open(RpcChain(node.url))
    with pytest.raises(DeploymentError, match=r"^chain_id: the market is where it is 31337; .* it is 5"):
        place.open(EmbeddedChain(chain_id=5))
    again = EmbeddedChain(genesis_timestamp=1_700_000_100, funded=[site[0].relayer.address])
    with pytest.raises(DeploymentError, match=r"^exchange_code: "):
        place.open(again)  # the same first block, and nothing deployed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "wattbook deployment 2"}, "its format is not"),
        ({"exchange": "0x12"}, "exchange: missing or malformed"),
        ({"genesis": "0x12"}, "genesis: missing or malformed"),
        ({"chain_id": "31337"}, "chain_id: missing or malformed"),
        ({"first_block": -1}, "first_block: missing or malformed"),
        ({"token": None}, "token: missing or malformed"),
    ],
)
def test_a_file_that_is_none_is_refused(
    site: tuple[OpenSlot, MarketSite], tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = tmp_path / "market.json"
    path.write_text(json.dumps(site[1].to_json() | change))
    with pytest.raises(DeploymentError, match=named):
        read_site(path)
    for text in ("[]", "nonsense"):
        path.write_text(text)
        with pytest.raises(DeploymentError):
            read_site(path)
    with pytest.raises(DeploymentError, match="cannot be read"):
        read_site(tmp_path)
