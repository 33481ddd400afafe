"""A testnet as people meet it: servers on real ports, a visitor's script, a simulation, jumps in time."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from web3 import HTTPProvider, Web3

from ledger.audit import audit
from ledger.chain.protocol import TRANSACTION_GAS_MAX, LogFilter
from ledger.chain.rpc import RpcChain
from ledger.events import topic
from ledger.exchange import Exchange
from ledger.keys import TEST_MNEMONIC
from ledger.record import Record, RecordError
from ledger.state import SlotState
from market.events import OraclesRotated, SlotSettled
from market.orders import Fill, OrdersFilled, Side
from market.slots import Terms
from market.units import hub_price
from node.client.joining import join
from node.scenario.loading import load
from node.simulate.run import simulate
from node.testnet.deployment import public
from node.testnet.market import cast_of, payers, paying_keys_of_simulations
from node.testnet.operator import Phase, due, passed_over
from node.testnet.running import Running, running
from node.testnet.settings import Settings
from tests.patience import PATIENCE_SECONDS, eventually

FIRST_ORDER = Path(__file__).with_name("first_order.py")


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def net(told: list[str], complaints: list[str]) -> Iterator[Running]:
    with running(Settings(port=0, api_port=0), told.append, complaints.append) as started:
        yield started


def get(net: Running, path: str) -> Any:
    answer = httpx.get(net.document["api_url"] + path)
    answer.raise_for_status()
    return answer.json()


def rpc(net: Running, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(net.document["rpc_url"], json=body).json()["result"]


def open_slots(net: Running) -> list[dict[str, Any]]:
    """Open slots in which the utility quotes already: that takes it a moment after an opening."""
    return [slot for slot in get(net, "/v1/slots?state=open")["items"] if slot["orders"] >= 2]


def now(net: Running) -> int:
    """The market's time."""
    return int(get(net, "/v1/market")["now_unix_seconds"])


def visit(net: Running) -> subprocess.CompletedProcess[str]:
    """Run the visitor's script in a process of its own."""
    command = [sys.executable, str(FIRST_ORDER), net.document["api_url"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


# --- a visitor ----------------------------------------------------------------------------------


def test_slots_are_open_with_the_utility_on_both_sides(net: Running) -> None:
    slots = open_slots(net)
    assert len(slots) >= 6
    for slot in slots:
        assert slot["best_ask_ueur_per_kwh"] == 160_000, "retail less the network fee"
        assert 70_000 <= slot["best_bid_ueur_per_kwh"] < 160_000, "the feed-in tariff at least"


def test_visitor_trades_with_web3_alone(net: Running, told: list[str]) -> None:
    me = net.document["accounts"][0]
    before = get(net, f"/v1/accounts/{me['address']}")
    assert before["balance_neur"] == 1_000 * 10**9
    assert before["wallet_token_units"] == 1_000 * 10**6
    done = visit(net)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bought 1000 Wh at 160.0 EUR/MWh for slot ")
    after = get(net, f"/v1/accounts/{me['address'].lower()}")
    assert after["balance_neur"] - before["balance_neur"] == 100 * 10**9
    assert before["wallet_token_units"] - after["wallet_token_units"] == 100 * 10**6
    assert after["reserved_neur"] > 0
    positions = get(net, f"/v1/accounts/{me['address']}/positions")["items"]
    assert [position["contracted_wh"] for position in positions] == [1_000]
    slot = int(done.stdout.split()[-1])
    (fill,) = get(net, f"/v1/fills?slot={slot}&first=newest&limit=1")["items"]
    assert (fill["taker"], fill["quantity_wh"], fill["price_ueur_per_kwh"]) == (me["address"], 1_000, 160_000)
    eventually(lambda: any("exchange placeOrder" in line and line.endswith("ok") for line in told))


def test_refused_order_is_told_by_its_rule(net: Running, told: list[str]) -> None:
    document = net.document
    web3 = Web3(HTTPProvider(document["rpc_url"]))
    exchange = web3.eth.contract(document["exchange"], abi=document["abi"]["exchange"])
    thief, victim = (Account.from_key(each["private_key"]) for each in document["accounts"][1:3])
    slot = open_slots(net)[-1]["slot"]
    values = (victim.address, slot, 0, 0, 0, 240_000, 1_000, 0, 0, "0x" + "00" * 20)
    names = [member["name"] for member in document["eip712"]["types"]["Order"]]
    message = dict(zip(names, values, strict=True))
    signed = thief.sign_typed_data(document["eip712"]["domain"], document["eip712"]["types"], message)
    r, vs = (part.to_bytes(32, "big") for part in (signed.r, signed.s | (signed.v - 27) << 255))
    sent = exchange.functions.placeOrder(values, r, vs).transact({"from": thief.address, "gas": 1_000_000})
    assert web3.eth.wait_for_transaction_receipt(sent)["status"] == 0
    eventually(lambda: any(line.endswith("reverted: order: bad signature") for line in told))


# --- pages --------------------------------------------------------------------------------------


def test_page_shows_slots_book_and_fills_without_scripts(net: Running) -> None:
    page = httpx.get(net.document["api_url"] + "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http://" not in page.text and "https://" not in page.text
    slot = open_slots(net)[0]["slot"]
    assert f"Book of slot {slot}, open" in page.text
    assert '<tr class="ask"><td>ask</td><td>0.1600</td>' in page.text
    other = open_slots(net)[1]["slot"]
    assert f"Book of slot {other}, open" in httpx.get(f"{net.document['api_url']}/?slot={other}").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/slots/3/book", 404),
        ("/?slot=3", 404),
        ("/v1/slots/-1/book", 422),
        ("/v1/fills?limit=0", 422),
        ("/v1/accounts/0x12", 404),
        ("/v1/accounts/0x" + "11" * 20, 404),
        ("/nothing", 404),
    ],
)
def test_api_refuses(net: Running, path: str, status: int) -> None:
    answer = httpx.get(net.document["api_url"] + path)
    assert answer.status_code == status
    assert answer.json()


def test_served_document_has_keys_only_if_everybody_has_them(net: Running) -> None:
    served = get(net, "/deployment.json")
    assert served == net.document
    assert net.document["mnemonic"] == TEST_MNEMONIC
    private = public({**net.document, "mnemonic": "words of my own"})
    assert "mnemonic" not in private
    assert all("private_key" not in account for account in private["accounts"])
    assert all("private_key" in account for account in net.document["accounts"])


# --- a simulation on the same node --------------------------------------------------------------


def test_simulation_on_the_testnet_has_the_fills_of_the_embedded_one(net: Running, tmp_path: Path) -> None:
    scenario = load("ieee33-day", {"slots.count": "2", "prosumers.count": "12"})
    local = simulate(scenario, tmp_path / "out")
    remote = simulate(scenario, None, net.document["rpc_url"])
    own_to_a_chain = {"head_number": 0, "head_hash": "", "gas_used": 0, "exchange": "", "seconds": 0.0}
    assert replace(local, **own_to_a_chain) == replace(remote, **own_to_a_chain)
    fills = fills_on_chain(net.document["rpc_url"], remote.exchange)
    first = min(fill.slot for fill in fills)
    with (tmp_path / "out" / "fills.csv").open(newline="") as file:
        expected = sorted(fill_of_row(row) for row in csv.DictReader(file))
    assert expected == sorted(
        (fill.slot - first, hub_price(fill.tick), fill.quantity, *buyer(fill), *seller(fill))
        for fill in fills
    )
    assert len(fills) == local.fills > 20
    assert first * scenario.slots.seconds % 86_400 == 0, "moved by whole days"


def test_visitor_trades_after_a_simulation_moved_the_clock(net: Running) -> None:
    ahead = now(net) - time.time()
    assert ahead > 3_600, "the simulation above moved it"
    done = visit(net)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("bought 1000 Wh at 160.0 EUR/MWh for slot ")


def test_audit_of_a_node_with_two_markets_asks_which(net: Running) -> None:
    exchanges = [net.document["exchange"], str(newest_exchange(net))]
    with pytest.raises(
        RecordError, match=f"^2 exchanges found, the oldest first: {', '.join(exchanges)}; name one$"
    ):
        Record.from_url(net.document["rpc_url"])
    with pytest.raises(RecordError, match=f"^{'0x' + '11' * 20} is none of the 2 exchanges found"):
        Record.from_url(net.document["rpc_url"], "0x" + "11" * 20)
    assert Record.from_url(net.document["rpc_url"], exchanges[1]).exchange == exchanges[1]


def test_who_joins_asks_for_no_more_gas_than_told(net: Running) -> None:
    url = net.document["api_url"]
    assert join(url, None, 2**24).exchange.chain.transaction_gas_max == 2**24
    assert join(url, None).exchange.chain.transaction_gas_max == TRANSACTION_GAS_MAX


def newest_exchange(net: Running) -> str:
    """Where the newest exchange is: it emits its oracle set when it is created."""
    created = LogFilter(topics=((topic(OraclesRotated),),))
    return RpcChain(net.document["rpc_url"]).logs(created)[-1].address


def fills_on_chain(url: str, exchange: str) -> list[Fill]:
    gateway = Exchange(RpcChain(url), exchange)
    address_of = cache(gateway.account_at)
    events = [event for event in gateway.history() if isinstance(event, OrdersFilled)]
    return [fill for event in events for fill in event.fills(address_of)]


def fill_of_row(row: dict[str, str]) -> tuple[int | str, ...]:
    return (
        int(row["slot_index"]),
        int(row["hub_price_ueur_per_kwh"]),
        int(row["quantity_wh"]),
        row["buyer_address"],
        int(row["buyer_nonce"]),
        row["seller_address"],
        int(row["seller_nonce"]),
    )


def buyer(fill: Fill) -> tuple[str, int]:
    return (fill.taker, fill.taker_nonce) if fill.taker_side == Side.BID else (fill.maker, fill.maker_nonce)


def seller(fill: Fill) -> tuple[str, int]:
    return (fill.maker, fill.maker_nonce) if fill.taker_side == Side.BID else (fill.taker, fill.taker_nonce)


# --- time ---------------------------------------------------------------------------------------


def test_market_settles_and_goes_on_after_jumps_in_time(
    net: Running, told: list[str], complaints: list[str]
) -> None:
    def posting() -> Any:
        paid = get(net, f"/v1/settlements?account={me}&kind=settlement")["items"]
        return next((each for each in paid if each["contracted_wh"]), None)

    me = net.document["accounts"][0]["address"]
    before = now(net)
    rpc(net, "evm_increaseTime", hex(3 * 86_400))
    assert now(net) >= before + 3 * 86_400, "without waiting for a block"
    posted = eventually(posting)
    assert (posted["contracted_wh"], posted["trades_neur"]) == (1_000, 160_000 * 1_000)
    eventually(lambda: get(net, f"/v1/accounts/{me}")["reserved_neur"] == 0)
    slot = eventually(lambda: open_slots(net))[-1]
    assert slot["best_ask_ueur_per_kwh"] == 160_000
    assert visit(net).returncode == 0
    assert complaints == []


def test_market_settles_by_estimate_what_no_meter_may_read_any_more(
    net: Running, complaints: list[str]
) -> None:
    """Time jumps past T2 of a slot that was traded in: its contract stands in for every reading."""

    def paid() -> Any:
        return get(net, f"/v1/settlements?account={me}&slot={slot}")["items"]

    me = net.document["accounts"][0]["address"]
    done = visit(net)
    slot = int(done.stdout.split()[-1])
    rpc(net, "evm_increaseTime", hex(net.document["terms"]["resettle_grace"] + 86_400))
    eventually(lambda: any(each["kind"] == "settlement" for each in paid()))
    posted = next(each for each in paid() if each["kind"] == "settlement")
    contracted = posted["contracted_wh"]
    assert contracted >= 1_000
    assert (posted["basis"], posted["metered_wh"]) == ("contract", contracted)
    assert not any(each["kind"] == "resettlement" for each in paid())
    eventually(lambda: get(net, f"/v1/accounts/{me}")["reserved_neur"] == 0)


def test_slots_are_open_however_time_is_moved(net: Running, complaints: list[str]) -> None:
    for method, *params in (
        ("evm_setNextBlockTimestamp", now(net) + 20 * 86_400),
        ("anvil_mine", hex(3), hex(2 * 86_400)),
    ):
        before = now(net)
        rpc(net, method, *params)
        assert now(net) > before + 86_400
        assert eventually(lambda: open_slots(net))[-1]["best_ask_ueur_per_kwh"] == 160_000
    assert complaints == []


def test_jump_that_is_taken_back_leaves_the_market_running(net: Running, complaints: list[str]) -> None:
    def charged_ahead() -> bool:
        slots, second = get(net, "/v1/slots?limit=500")["items"], now(net)
        ahead = [each["slot"] for each in slots if each["opens_unix_seconds"] > second]
        if not ahead:
            return False
        charged = get(net, f"/v1/slots/{ahead[0]}/prices")["buses"][0]["charge_ueur_per_kwh"]
        return charged is not None

    far = now(net) + 5 * 86_400
    rpc(net, "evm_setNextBlockTimestamp", far)  # slots are scheduled there
    rpc(net, "evm_setNextBlockTimestamp", far - 3 * 3_600)
    rpc(net, "evm_mine")
    assert now(net) < far
    eventually(charged_ahead)
    assert complaints == []


def test_audit_of_the_running_testnet_is_clean(net: Running) -> None:
    document = net.document
    record = Record.from_url(document["rpc_url"], document["exchange"])
    report = audit(record)
    assert {result.name: result.findings for result in report.checks if result.findings} == {}
    settled = {each.event.slot for each in record.logged if isinstance(each.event, SlotSettled)}
    assert len(settled) >= 6, "what was open before the jumps"


# --- what is due --------------------------------------------------------------------------------

TERMS = Terms(slot_seconds=900, open_lead=7_200, gate_lead=300, price_grace=3_600, buses=33)
SLOT = 2_000_000
SCHEDULED = SlotState(
    scheduled=True,
    retail=0,
    network_fee=0,
    fit=0,
    charges_posted=False,
    charges_complete=False,
    prices_posted=False,
    prices_complete=False,
    gate_closed=False,
    substation_posted=False,
    settled=False,
    ordered=False,
    closing=False,
    accounts=0,
    settled_accounts=0,
    clearing=0,
)
CHARGED = replace(SCHEDULED, charges_posted=True, charges_complete=True)
CLOSED = replace(CHARGED, gate_closed=True)
PRICED = replace(CLOSED, prices_posted=True, prices_complete=True)
OPENS, GATE, END = TERMS.opens(SLOT), TERMS.gate(SLOT), TERMS.end(SLOT)
LATE = TERMS.prices_due(SLOT)


@pytest.mark.parametrize(
    ("state", "now", "quoted", "phase"),
    [
        (CHARGED, OPENS - 1, False, None),
        (CHARGED, OPENS, False, Phase.QUOTES),
        (CHARGED, OPENS, True, None),
        (SCHEDULED, OPENS, False, None),  # nobody can trade without charges
        (CHARGED, GATE - 1, True, None),
        (CHARGED, GATE, True, Phase.GATE),
        (replace(CHARGED, closing=True), GATE, True, Phase.GATE),  # closing goes on
        (SCHEDULED, GATE, False, None),  # nor did anybody
        (CLOSED, GATE, True, Phase.PRICES),
        (replace(CLOSED, prices_posted=True), GATE, True, None),  # a chunk is missing, and never comes
        (PRICED, END, True, None),
        (PRICED, END + 60, True, Phase.METERS),
        (replace(PRICED, substation_posted=True), END + 60, True, Phase.SETTLE),
        (PRICED, TERMS.final(SLOT), True, Phase.METERS),  # too late for readings but the substation's
        (CLOSED, LATE, True, Phase.METERS),  # too late for prices
        (replace(CLOSED, substation_posted=True), LATE, True, Phase.SETTLE),
        (replace(CLOSED, prices_posted=True, substation_posted=True), LATE - 1, True, None),
        (replace(PRICED, substation_posted=True, settled=True), LATE, True, None),
    ],
)
def test_phase_that_is_due(state: SlotState, now: int, quoted: bool, phase: Phase | None) -> None:
    assert due(TERMS, SLOT, state, now, quoted=quoted) is phase


@pytest.mark.parametrize(
    ("state", "now", "passed"),
    [
        (SCHEDULED, OPENS - 1, False),  # charges may still come
        (SCHEDULED, OPENS, True),
        (CHARGED, OPENS, False),
        (CHARGED, GATE - 1, False),
        (CHARGED, GATE, True),  # opened, and nobody came
        (replace(CHARGED, ordered=True), LATE, False),
        (replace(CLOSED, ordered=True), LATE, False),
    ],
)
def test_slot_that_is_passed_over(state: SlotState, now: int, passed: bool) -> None:
    assert passed_over(TERMS, SLOT, state, now) is passed


def test_operators_share_no_key_with_visitors_or_simulations(net: Running) -> None:
    cast = cast_of(net.market.accounts)
    keys = (cast.utility, cast.guardian, cast.relayer, *cast.oracles, *cast.meters)
    operators = {key.address for key in keys}
    assert len(operators) == len(keys)
    visitors = {account["address"] for account in net.document["accounts"]}
    assert operators.isdisjoint(visitors | paying_keys_of_simulations())
    assert paying_keys_of_simulations() <= set(payers(cast_of(())))
