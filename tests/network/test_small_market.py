"""Five oracles and four agents trade two slots and settle: all well, then with whatever can go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ledger.audit import audit
from ledger.bundle import write_bundle
from ledger.history import history
from ledger.keys import Key
from ledger.record import Record
from market.atc.responses import Stand
from market.events import ReadingEstimated
from market.messages import ForecastsHeader, OracleSet
from market.oracle import value_at
from market.settlement import Basis
from node.agent.devices import DeviceFile, Firm, Flexible
from node.client.schemas import VoteBody, signature_text
from node.oracle import forecasts
from node.oracle.process import OracleProcess
from tests.network.clearing_case import DOMAIN, KEYS
from tests.network.in_process import network
from tests.network.trading_day import clearing

AGENTS = 4
KILLED, SILENT = 1, 2
DOWN, LIAR = 2, 1
LAST_ROUND = 3


def files() -> list[DeviceFile]:
    return [
        DeviceFile(
            firm=Firm(kw=20.0),
            flexible=Flexible(
                min_kw=1.0,
                max_kw=20.0 + number,
                value_at_min_eur_per_mwh=223.7,
                value_at_max_eur_per_mwh=88.2 + 7.3 * number,
            ),
        )
        for number in range(AGENTS)
    ]


def lie(oracle: OracleProcess) -> None:
    """Bring other prices than are proven, and sign something else than is asked for."""
    clear = oracle._clear

    def shifted(*of):  # type: ignore[no-untyped-def]
        brought = clear(*of)
        prices = tuple(price + 50 for price in brought.prices.bus_price)
        return replace(brought, prices=replace(brought.prices, bus_price=prices))

    def vote(body: object) -> VoteBody:
        return VoteBody(oracle=LIAR, signature=signature_text(oracle.key.sign(bytes(31) + b"\x01")))

    oracle._clear, oracle.vote = shifted, vote  # type: ignore[method-assign]


def test_two_slots_from_charges_to_settlement_and_audit(tmp_path: Path):
    """The first goes well. In the second an agent dies, one is silent, as is its meter; an oracle lies."""
    with network(files(), tmp_path, oracles=5, idle=frozenset({SILENT})) as net:
        exchange, terms = net.exchange, net.market.terms
        addresses = [key.address for key in net.market.accounts]
        first = (net.clock.chain.now() + 1_200 + terms.open_lead) // terms.slot_seconds + 1
        second = first + 1
        net.to(terms.opens(first) - 900, lambda: exchange.slot_of(first).charges_complete)
        net.to(terms.opens(first) + 1, lambda: exchange.slot_of(second).charges_complete)
        net.to(terms.opens(second) + 1, lambda: exchange.slot_of(second).ordered)
        net.to(terms.closing(first) + 1, lambda: exchange.slot_of(first).prices_complete)

        net.mute = lambda number, body: number == SILENT or (number == KILLED and body.round > LAST_ROUND)
        net.traders[SILENT]._meter = None
        net.put_down(DOWN)
        lie(net.oracles[LIAR])
        net.to(terms.closing(second) + 1, lambda: exchange.slot_of(second).prices_complete)
        net.to(terms.end(second) + 70)
        assert not exchange.slot_of(second).settled, "a reading is missing, and may still come"
        net.to(terms.readings_due(second) + 1, lambda: exchange.slot_of(second).settled)
        said = [line.partition("  waits for ")[2] for line in net.said if f"slot {second} " in line]
        assert [line.partition(" until ")[0] for line in said if line] == [
            "the oracles' charges", "the oracles' prices", "meters"
        ], "one is silent"  # fmt: skip
        write_bundle(
            net.market.chain,
            exchange,
            tmp_path / "bundle",
            certificates=[path.read_bytes() for path in sorted(tmp_path.glob("oracle-*/certificates/*"))],
            inputs=[path.read_bytes() for path in sorted(tmp_path.glob("oracle-*/inputs/*"))],
        )
    record = Record.from_bundle(tmp_path / "bundle")
    report = audit(record)
    assert report.ok, str(report)
    well, ill = clearing(record, first), clearing(record, second)
    assert well.standing(Stand.ANSWERED) == set(addresses)
    assert ill.standing(Stand.HELD) == {addresses[KILLED]}
    assert ill.standing(Stand.FORECAST) == {addresses[SILENT]}
    assert len(ill.signers) == 3 and not set(ill.signers) & {DOWN, LIAR}
    told = "\n".join(report.assumed)
    assert f"slot {second}: missing from a clearing" in told and addresses[SILENT] in told

    history_of = history(record).slots[second]
    foretold = [value_at(history_of.forecasts[0].words, number + 1) for number in range(AGENTS)]
    powers = [each.powers[0] for each in ill.responses.standings]
    assert foretold == [round(-power / 4_000) for power in powers], "Wh of a quarter of an hour, from mW"
    (estimated,) = [event for _, event in history_of.of(ReadingEstimated)]
    assert (estimated.account, estimated.basis) == (addresses[SILENT], Basis.FORECAST)
    assert estimated.net_energy == foretold[SILENT]


def test_signatures_of_other_forecasts_or_by_another_do_not_count():
    members = OracleSet(0, 2, tuple(key.address for key in KEYS[:3]))
    right = forecasts.headers(7, 0, [(1, *(0,) * 31), (2, *(0,) * 31)])
    wrong = forecasts.headers(7, 0, [(1, *(0,) * 31), (3, *(0,) * 31)])

    def counted(key: Key, what: Sequence[ForecastsHeader]) -> int:
        given = [each.signature for each in forecasts.signed(DOMAIN, key, 1, what)]
        return len(forecasts.by_oracle(DOMAIN, members, 1, right, given))

    assert counted(KEYS[1], right) == 2
    assert counted(KEYS[0], right) == counted(KEYS[1], wrong) == counted(KEYS[1], right[:1]) == 0
