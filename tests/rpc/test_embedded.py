"""The embedded chain: what a block does, what is refused, what time and state are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rlp
from eth_abi import decode, encode

from ledger.chain.calls import Call
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header, ordered_root, raw_receipt
from ledger.chain.protocol import LogFilter, Reverted, TransactionRefused
from ledger.chain.reverts import decode_revert
from ledger.keccak import keccak
from ledger.keys import Key, derive
from ledger.transactions import LEGACY, Transaction, sign_transaction
from market.orders import NOBODY

COUNTED = keccak(b"Counted(address,uint256)")
GENESIS = 1_700_000_000
START = 5
"""What the contract is created with."""

Send = Callable[..., bytes]


def calldata(signature: str, *arguments: Any) -> bytes:
    """Selector and arguments of a call such as `add(uint256)`."""
    inside = signature[signature.index("(") + 1 : -1]
    return keccak(signature.encode())[:4] + encode(inside.split(",") if inside else [], arguments)


def count(chain: EmbeddedChain, contract: str, block: int | None = None) -> int:
    return int.from_bytes(chain.call(contract, calldata("count()"), block=block), "big")


# --- blocks -------------------------------------------------------------------------------------


def every_kind(key: Key, other: Key, probe: Any, contract: str) -> list[list[bytes]]:
    """Raw transactions by block: creation, calls, a revert, refunds, transfers, every type."""
    fees = {"max_fee_per_gas": 5 * 10**9, "max_priority_fee_per_gas": 10**9}
    flat = {"max_fee_per_gas": 3 * 10**9, "max_priority_fee_per_gas": 3 * 10**9}
    common: dict[str, Any] = {"chain_id": 31_337, "gas": 500_000}
    new = derive(9, "new").address
    access = ((contract, (bytes(32),)),)
    mark, mark_more = (calldata("mark(uint256,uint256)", first, 10) for first in (0, 100))
    blocks = [
        [(None, probe.creation, {"value": 7, "gas": 2_000_000, **fees})],
        [
            (contract, calldata("add(uint256)", 3), fees),
            (contract, calldata("add(uint256)", 0), fees),
            (contract, calldata("clear()"), {**flat, "type": LEGACY}),
            (contract, mark, {**flat, "type": 1, "access_list": access}),
            (new, b"", {"value": 10**18, "gas": 21_000, **fees}),
        ],
        [],
        [
            (contract, mark_more, {"gas": 60_000, **fees}),  # out of gas
            (contract, bytes(400) + b"\1" * 400, {"gas": 60_000, **fees}),  # pays the calldata floor
            (other.address, b"\1" * 2_000, fees),  # a transfer that pays the calldata floor
        ],
    ]
    nonce = 0
    signed: list[list[bytes]] = []
    for block in blocks:
        signed.append([])
        for to, data, fields in block:
            transaction = Transaction(to=to, data=data, nonce=nonce, **{**common, **fields})
            signed[-1].append(sign_transaction(key, transaction))
            nonce += 1
    return signed


def test_blocks_are_those_of_the_stock_machine(
    chain: EmbeddedChain, owner: Key, stranger: Key, probe: Any
) -> None:
    """Header for header equal to py-evm's own chain class, which shares none of our block building."""
    from eth.chains.base import MiningChain
    from eth.consensus.noproof import NoProofConsensus
    from eth.db.atomic import AtomicDB
    from eth.vm.forks.prague import PragueVM
    from eth_utils import to_canonical_address

    stock_class = MiningChain.configure(
        vm_configuration=((0, PragueVM.configure(consensus_class=NoProofConsensus)),), chain_id=31_337
    )
    account = {"balance": 10_000 * 10**18, "nonce": 0, "code": b"", "storage": {}}
    stock = stock_class.from_genesis(
        AtomicDB(),
        {
            "gas_limit": 30_000_000,
            "timestamp": GENESIS,
            "parent_beacon_block_root": bytes(32),
            "difficulty": 0,
        },
        {to_canonical_address(key.address): account for key in (owner, stranger)},
    )
    genesis = stock.get_canonical_head()
    assert chain.block(0).hash == genesis.hash

    contract = "0x" + keccak(rlp.encode([to_canonical_address(owner.address), b""]))[12:].hex()
    for number, raws in enumerate(every_kind(owner, stranger, probe, contract), 1):
        parent = stock.get_canonical_head()
        stock.header = stock.create_header_from_parent(
            parent,
            gas_limit=parent.gas_limit,
            timestamp=GENESIS + 60 * number,
            parent_beacon_block_root=bytes(32),
        )
        builder = stock.get_vm().get_transaction_builder()
        result, receipts, _ = stock.mine_all([builder.decode(raw) for raw in raws])

        chain.advance_to(GENESIS + 60 * number)
        for raw in raws:
            chain.send(raw)
        assert chain.mine() == number
        ours, theirs = decode_header(chain.block().header_rlp), result.imported_block.header
        assert tuple(chain.raw_receipts(number)) == tuple(receipt.encode() for receipt in receipts)
        assert ours.state_root == theirs.state_root
        assert chain.block().hash == theirs.hash
    assert [receipt.status for receipt in chain.receipts(2)] == [1, 0, 1, 1, 1]
    assert [receipt.status for receipt in chain.receipts(4)] == [0, 0, 1]


def test_a_block_commits_to_what_is_in_it(chain: EmbeddedChain, send: Send, deployed: str) -> None:
    for amount in (1, 0, 2):
        send(deployed, calldata("add(uint256)", amount))
    chain.mine()
    block, parent = chain.block(), chain.block(1)
    header = decode_header(block.header_rlp)
    assert (block.parent_hash, block.number) == (parent.hash, 2)
    assert block.hash == keccak(block.header_rlp)
    assert header.transactions_root == ordered_root(block.transactions)
    assert header.receipts_root == ordered_root([raw_receipt(receipt) for receipt in chain.receipts(2)])
    assert tuple(keccak(raw) for raw in block.transactions) == block.transaction_hashes
    assert block.gas_used == sum(receipt.gas_used for receipt in chain.receipts(2))
    assert chain.block_number(block.hash) == 2


def test_same_calls_same_head(owner: Key, probe: Any) -> None:
    def run(amount: int) -> bytes:
        chain = EmbeddedChain(genesis_timestamp=GENESIS, funded=(owner.address,))
        for nonce, data in enumerate([probe.creation, b"" if amount == 0 else b"\1" * amount]):
            to = None if nonce == 0 else owner.address
            fields = {"gas": 2_000_000, "max_fee_per_gas": 10**10}
            chain.send(sign_transaction(owner, Transaction(31_337, nonce, to, data, **fields)))
        chain.advance_to(GENESIS + 99)
        chain.mine()
        return chain.block().hash

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_what_does_not_fit_waits_for_the_next_block(chain: EmbeddedChain, send: Send, stranger: Key) -> None:
    hashes = [send(stranger.address, value=1, gas=12_000_000) for _ in range(5)]
    assert chain.mine_block().transaction_hashes == tuple(hashes)  # the gas used counts, not the limit
    hashes = [send(stranger.address, b"\1" * 250_000, gas=12_000_000) for _ in range(4)]
    assert chain.mine() == 3
    assert [len(chain.block(number).transactions) for number in (2, 3)] == [2, 2]
    assert all(chain.receipt(transaction_hash).status == 1 for transaction_hash in hashes)


def test_mining_nothing_makes_an_empty_block(chain: EmbeddedChain) -> None:
    assert chain.mine() == 1
    assert chain.block().transactions == ()
    with pytest.raises(KeyError):
        chain.block(2)
    with pytest.raises(KeyError):
        chain.block(-1)


# --- transactions -------------------------------------------------------------------------------


def test_a_receipt_tells_what_became_of_it(
    chain: EmbeddedChain, send: Send, deployed: str, owner: Key
) -> None:
    done = chain.receipt(send(deployed, calldata("add(uint256)", 4)))
    (log,) = done.logs
    assert (done.status, done.sender, done.to, done.contract) == (1, owner.address, deployed, None)
    assert (log.address, log.topics) == (deployed, (COUNTED, encode(["address"], [owner.address])))
    assert int.from_bytes(log.data, "big") == START + 4
    refused = chain.receipt(send(deployed, calldata("add(uint256)", 0)))
    assert (refused.status, refused.logs) == (0, ())
    assert count(chain, deployed) == START + 4
    with pytest.raises(KeyError):
        chain.receipt(bytes(32))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"nonce": 65}, "nonce too high: 65, expected 0"),
        ({"chain_id": 1}, "chain id: 1 is not 31337"),
        ({"gas": 20_999}, "intrinsic gas too low: 20999, needs 21000"),
        ({"gas": 30_000_001}, "more than the block's 30000000"),
        ({"data": b"\1" * 100, "gas": 24_999}, "intrinsic gas too low: 24999, needs 25000"),
        ({"max_fee_per_gas": 1, "max_priority_fee_per_gas": 1}, "less than block base fee"),
        ({"max_fee_per_gas": 10**10, "max_priority_fee_per_gas": 10**11}, "priority fee is above"),
        ({"value": 10**23}, "insufficient funds"),
        ({"to": None, "data": bytes(49_153), "gas": 10**7}, "initcode: 49153 bytes"),
    ],
)
def test_what_breaks_a_rule_is_refused(
    chain: EmbeddedChain, send: Send, stranger: Key, fields: dict[str, Any], rule: str
) -> None:
    with pytest.raises(TransactionRefused, match=rule):
        send(**{"to": stranger.address, **fields})
    assert (chain.waiting(), chain.head()) == ((), 0)


def test_what_is_sent_twice_unsigned_or_no_transaction_is_refused(chain: EmbeddedChain, owner: Key) -> None:
    raw = sign_transaction(owner, Transaction(31_337, 0, owner.address, max_fee_per_gas=10**10))
    chain.send(raw)
    with pytest.raises(TransactionRefused, match="already known"):
        chain.send(raw)
    chain.mine()
    with pytest.raises(TransactionRefused, match="already known"):
        chain.send(raw)
    with pytest.raises(TransactionRefused, match="malformed RLP"):
        chain.send(raw[:-3])
    with pytest.raises(TransactionRefused, match="nonce too low"):
        chain.send(sign_transaction(owner, Transaction(31_337, 0, None, gas=60_000, max_fee_per_gas=10**10)))


def test_waiting_transactions_count_against_the_balance(
    chain: EmbeddedChain, send: Send, stranger: Key
) -> None:
    send(stranger.address, value=6_000 * 10**18)
    with pytest.raises(TransactionRefused, match="insufficient funds"):
        send(stranger.address, value=6_000 * 10**18)


def test_a_fee_below_the_base_fee_waits(chain: EmbeddedChain, send: Send, stranger: Key) -> None:
    base_fee = chain.next_base_fee()
    for _ in range(2):
        send(stranger.address, b"\1" * 300_000, gas=14_000_000)
    chain.mine_block()
    rising = chain.next_base_fee()
    assert rising > base_fee
    for _ in range(2):
        send(stranger.address, b"\1" * 300_000, gas=14_000_000)
    fees = {"max_fee_per_gas": rising, "max_priority_fee_per_gas": 0}
    poor = send(stranger.address, key=stranger, gas=14_000_000, **fees)  # no room in the next block
    chain.mine_block()
    chain.mine_block()
    assert [waiting.hash for waiting in chain.waiting()] == [poor]
    assert chain.receipt(poor).status == 1
    assert chain.block().base_fee <= rising


# --- time ---------------------------------------------------------------------------------------


def test_time_goes_on_only_as_told(chain: EmbeddedChain) -> None:
    assert chain.now() == GENESIS + 1
    chain.advance_to(GENESIS + 50)
    chain.mine()
    assert (chain.block().timestamp, chain.now()) == (GENESIS + 50, GENESIS + 51)
    chain.advance_to(GENESIS + 10)
    chain.mine()
    assert chain.block().timestamp == GENESIS + 51
    with pytest.raises(ValueError, match="not later"):
        chain.set_next_timestamp(GENESIS + 51)
    chain.set_next_timestamp(GENESIS + 60)
    assert chain.mine_block().timestamp == GENESIS + 60


def test_time_follows_a_source() -> None:
    time = [1_000]
    chain = EmbeddedChain(genesis_timestamp=900, time_source=lambda: time[0])
    assert chain.now() == 1_000
    chain.advance_to(5_000)
    time[0] += 7
    assert chain.mine_block().timestamp == 5_007
    assert chain.mine_block().timestamp == 5_008  # strictly later, though the clock stands
    chain.set_next_timestamp(6_000)
    time[0] += 30
    assert chain.mine_block().timestamp == 6_000
    assert chain.mine_block().timestamp == 6_030


def test_a_call_sees_the_next_block(chain: EmbeddedChain, deployed: str) -> None:
    chain.advance_to(GENESIS + 100)
    seen = decode(["uint256", "uint256", "bytes32"], chain.call(deployed, calldata("clock()")))
    assert seen == (GENESIS + 100, 2, chain.block(1).hash)
    chain.mine()
    past = decode(["uint256", "uint256", "bytes32"], chain.call(deployed, calldata("clock()"), block=1))
    assert past == (chain.block(1).timestamp, 1, chain.block(0).hash)


# --- state --------------------------------------------------------------------------------------


def test_state_of_past_blocks_stays(chain: EmbeddedChain, send: Send, deployed: str, owner: Key) -> None:
    send(deployed, calldata("add(uint256)", 1))
    chain.mine()
    assert [count(chain, deployed, block) for block in (1, 2, None)] == [START, START + 1, START + 1]
    assert [chain.storage(deployed, 0, block) for block in (0, 1, 2)] == [0, START, START + 1]
    assert chain.code(deployed, 0) == b"" != chain.code(deployed)
    assert chain.balance(owner.address, 0) == 10_000 * 10**18 > chain.balance(owner.address)
    assert [chain.nonce_after(owner.address, block) for block in (0, 1, 2)] == [0, 1, 2]


def test_a_call_leaves_no_trace(chain: EmbeddedChain, send: Send, deployed: str) -> None:
    chain.call(deployed, calldata("add(uint256)", 9))
    assert count(chain, deployed) == START
    head = chain.mine()
    assert (
        decode_header(chain.block(head).header_rlp).state_root
        == decode_header(chain.block(head - 1).header_rlp).state_root
    )


def test_reverts_say_why(chain: EmbeddedChain, deployed: str, owner: Key, probe: Any) -> None:
    with pytest.raises(Reverted, match=r"^probe: nothing to add$") as caught:
        chain.call(deployed, calldata("add(uint256)", 0))
    assert caught.value.data[:4].hex() == "08c379a0"
    with pytest.raises(Reverted, match="reverted without a reason"):
        chain.call(deployed, b"\xde\xad\xbe\xef")
    with pytest.raises(Reverted, match="nothing to add"):
        chain.estimate_gas(deployed, calldata("add(uint256)", 0), sender=owner.address)
    with pytest.raises(Reverted, match=r"^out of gas"):
        chain.execute(Call(deployed, calldata("mark(uint256,uint256)", 0, 10), gas=50_000))
    with pytest.raises(TransactionRefused, match="insufficient funds"):
        chain.execute(Call(owner.address, sender=deployed, value=1))
    assert chain.execute(Call(None, probe.creation)).output != b""


def test_revert_data_of_every_form() -> None:
    text = "08c379a0" + encode(["string"], ["orders: closed"]).hex()
    assert decode_revert(bytes.fromhex(text)) == "orders: closed"
    assert decode_revert(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")).startswith(
        "panic 0x11: arith"
    )
    assert decode_revert(bytes.fromhex("4e487b71") + (0x99).to_bytes(32, "big")) == "panic 0x99: unknown"
    assert decode_revert(b"") == "reverted without a reason"
    for raw in (b"\x12\x34", bytes.fromhex(text)[:70], bytes.fromhex("08c379a0") + b"\xff" * 64):
        assert decode_revert(raw) == "reverted with 0x" + raw.hex()


@pytest.mark.parametrize(
    "call",
    [
        calldata("add(uint256)", 1),
        calldata("mark(uint256,uint256)", 0, 30),
        calldata("clear()"),  # earns a refund, but needs the gas first
        calldata("relay(address,uint256)", derive(1, "owner").address, 2),  # replaced below
    ],
    ids=["add", "mark", "clear", "relay"],
)
def test_the_estimate_suffices_and_little_less_does_not(
    chain: EmbeddedChain, send: Send, deployed: str, probe: Any, call: bytes
) -> None:
    if call.startswith(calldata("relay(address,uint256)", deployed, 2)[:4]):
        call = calldata("relay(address,uint256)", chain.receipt(send(None, probe.creation)).contract, 2)
    estimate = chain.estimate_gas(deployed, call, sender=NOBODY)
    with pytest.raises(Reverted):
        chain.execute(Call(deployed, call, gas=estimate - max(estimate // 16, 1)))
    assert chain.receipt(send(deployed, call, gas=estimate)).status == 1


def test_estimates_of_transfers_and_creations(
    chain: EmbeddedChain, send: Send, owner: Key, probe: Any
) -> None:
    assert chain.estimate_gas(owner.address, b"", sender=owner.address) == 21_000
    gas = chain.estimate_gas(None, probe.creation, sender=owner.address)
    assert chain.receipt(send(None, probe.creation, gas=gas)).status == 1
    floor = chain.estimate_gas(owner.address, b"\1" * 1_000, sender=owner.address)
    assert floor == 21_000 + 40_000


# --- logs ---------------------------------------------------------------------------------------


def test_logs_by_block_address_and_topic(
    chain: EmbeddedChain, send: Send, deployed: str, owner: Key, stranger: Key
) -> None:
    for key in (owner, stranger):
        send(deployed, calldata("add(uint256)", 1), key=key)
        send(deployed, calldata("add(uint256)", 1), key=key)
        chain.mine()
    by_owner = encode(["address"], [owner.address])
    assert [(log.block_number, log.log_index) for log in chain.logs(LogFilter())] == [
        (2, 0),
        (2, 1),
        (3, 0),
        (3, 1),
    ]
    assert [log.block_number for log in chain.logs(LogFilter(from_block=3))] == [3, 3]
    assert [log.block_number for log in chain.logs(LogFilter(to_block=2))] == [2, 2]
    assert len(chain.logs(LogFilter(topics=((COUNTED,), (by_owner,))))) == 2
    assert len(chain.logs(LogFilter(topics=(None, (by_owner, encode(["address"], [stranger.address])))))) == 4
    assert chain.logs(LogFilter(topics=(None, None, None))) == []
    assert chain.logs(LogFilter(addresses=(owner.address,))) == []
    assert chain.logs(LogFilter(from_block=4)) == []


# --- snapshots ----------------------------------------------------------------------------------


def test_going_back_to_a_snapshot(chain: EmbeddedChain, send: Send, deployed: str) -> None:
    add = calldata("add(uint256)", 1)
    first = chain.snapshot()
    head = chain.block().hash
    waiting = send(deployed, add)
    second = chain.snapshot()
    mined = chain.receipt(waiting)
    chain.advance_to(GENESIS + 1_000)
    chain.mine()

    assert chain.revert(second)
    assert chain.block().hash == head
    assert chain.find_receipt(waiting) is None
    assert chain.logs(LogFilter()) == []
    assert chain.receipt(waiting) == mined  # the same block once more

    assert chain.revert(first)
    assert (chain.waiting(), count(chain, deployed)) == ((), START)
    assert not chain.revert(second)
    assert not chain.revert(first)
