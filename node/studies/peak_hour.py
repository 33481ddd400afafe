"""Study `peak-hour`: the game of `stackelberg` in the market, its price the utility's quote in a book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ledger.audit import audit
from market.mechanisms.stackelberg import Equilibrium, equilibrium
from market.units import KW_PER_MW, NEUR_PER_EUR, WH_PER_MWH
from node.scenario.loading import load
from node.scenario.schema import ScenarioFile, TariffSection, ToldProsumer
from node.scenario.world import World, build
from node.simulate.bills import Account, accounts
from node.simulate.result import DayResult
from node.simulate.run import traded_on_chain
from node.studies.own_market import record_of
from node.studies.stackelberg import BUYERS, OTHER_PRICE, SURPLUS, leader
from node.studies.study import Claim, Draw, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

SCENARIO = "peak-hour"
KWH = 10.0
"""One unit of the case's energy."""
EUR_PER_MWH = 10.0
"""One unit of the case's price, a cent for a kWh."""
LOCAL_SHARE = 0.6
"""Of demand that knows no price, in the case that asks what a price can do about it."""
USUAL, LED, ALONE, INELASTIC = (
    "usual price",
    "leader's price",
    "leader's price, no coalition",
    "inelastic demand",
)
SHARE_TOLERANCE = 1e-4
"""The book's lots and the meters' watt-hours, of some hundred kWh."""


@dataclass(frozen=True, eq=False)
class Hour:
    """One case on a chain: what was traded, delivered and billed, and what its audit says."""

    day: DayResult
    bills: tuple[Account, ...]
    audit_ok: bool

    @property
    def net_wh(self) -> int:
        """What all prosumers together took of the feeder; negative: gave."""
        return int(self.day.slots[0].metered_wh.sum())

    @property
    def demand_wh(self) -> int:
        """What those took that took something."""
        return int(np.maximum(self.day.slots[0].metered_wh, 0).sum())

    @property
    def import_wh(self) -> int:
        """What came through the substation."""
        return self.day.slots[0].import_wh

    @property
    def traded_wh(self) -> int:
        """Energy of all fills."""
        return sum(fill.quantity for fill in self.day.slots[0].fills)

    @property
    def bills_neur(self) -> int:
        """What all prosumers together pay."""
        return sum(account.day.total_neur for account in self.bills)

    @property
    def tariff_neur(self) -> int:
        """What they would have paid on FiT/retail for the same readings."""
        return sum(account.day.tariff_neur for account in self.bills)


def game(world: World) -> Equilibrium:
    """The equilibrium where the leader's other customers are the scenario's passive load."""
    passive_mwh = float(world.actual.passive_p[0].sum()) * world.feeder.base_mw * world.hours
    return equilibrium(leader(passive_mwh * KW_PER_MW / KWH), BUYERS, SURPLUS)


def scenarios(seed: int) -> Mapping[str, ScenarioFile]:
    """The same hour at the usual price, at the leader's, without a coalition, and with inelastic demand."""
    told = load(SCENARIO, seed=seed)
    led = _at(told, game(build(told)).price)
    bidding = told.bidding.model_copy(update={"policy": "truthful", "coalitions": ()})
    return {
        USUAL: _at(told, OTHER_PRICE),
        LED: led,
        ALONE: led.model_copy(update={"bidding": bidding}),
        INELASTIC: led.model_copy(update={"prosumer": _inelastic(told)}),
    }


def _at(scenario: ScenarioFile, price: float) -> ScenarioFile:
    """The scenario with a price at the hub, the network fee on top at the meter."""
    old = scenario.tariff
    retail = round(EUR_PER_MWH * price, 3) + old.network_fee_eur_per_mwh
    return scenario.model_copy(
        update={"tariff": TariffSection.model_validate({**old.model_dump(), "retail_eur_per_mwh": retail})}
    )


def _inelastic(scenario: ScenarioFile) -> tuple[ToldProsumer, ...]:
    """The same people, whose demand is firm: of all of it the generators have LOCAL_SHARE."""
    given = sum(each.generator_kw for each in scenario.prosumer)
    buyers = sum(each.generator_kw == 0 for each in scenario.prosumer)
    firm = {"firm_kw": given / LOCAL_SHARE / buyers, "flexible_kw": (0.0, 0.0)}
    return tuple(each if each.generator_kw else each.model_copy(update=firm) for each in scenario.prosumer)


def traded(scenario: ScenarioFile) -> Hour:
    """The hour on a chain of its own, from the first order to the audit."""
    day, session, _ = traded_on_chain(build(scenario))
    return Hour(day, accounts(day), audit(record_of(session, scenario.name, scenario.seed)).ok)


def run(seed: int) -> Findings:
    """Play the game for the feeder's load, then trade every case."""
    cases = scenarios(seed)
    found = {name: traded(scenario) for name, scenario in cases.items()}
    played = game(build(cases[LED]))
    usual, led, alone, inelastic = (found[name] for name in (USUAL, LED, ALONE, INELASTIC))
    left = inelastic.net_wh / inelastic.demand_wh
    worse = sum(account.day.worse_off for hour in found.values() for account in hour.bills)
    return Findings(
        figures={
            "seed": seed,
            "price": played.price,
            "threshold": played.threshold,
            "cases": {name: _to_json(hour) for name, hour in found.items()},
            "inelastic_share_left": left,
        },
        tables=(_table(found), _costs(usual, led)),
        claims=(
            Claim("with the feeder's load the best price is the one that leaves nothing to deliver",
                  played.delivered == 0 and played.price == played.choke_price, f"{played.price:.4f} ct/kWh"),
            Claim("at that price prosumers together take nothing of the feeder, at the usual one they do",
                  led.net_wh <= 0 < usual.net_wh,
                  f"{led.net_wh / 1e3:+.1f} and {usual.net_wh / 1e3:+.1f} kWh"),
            Claim("the feeder imports less with the leader's price", led.import_wh < usual.import_wh,
                  f"{led.import_wh / WH_PER_MWH:.4f} for {usual.import_wh / WH_PER_MWH:.4f} MWh"),
            Claim("a coalition leaves inside what its members have, and delivers the same",
                  led.traded_wh < alone.traded_wh and led.net_wh == alone.net_wh,
                  f"{led.traded_wh / 1e3:.1f} kWh in the book, {alone.traded_wh / 1e3:.1f} without"),
            Claim("nobody pays more than on FiT/retail for the same readings", worse == 0,
                  f"{worse} of {sum(len(hour.bills) for hour in found.values())} bills"),
            Claim("price alone leaves two fifths of demand that knows none",
                  abs(left - (1 - LOCAL_SHARE)) < SHARE_TOLERANCE, f"{left:.2%}"),
            Claim("the audit of every case derives all of it again and finds nothing",
                  all(hour.audit_ok for hour in found.values()), f"{len(found)} records"),
        ),
        draw=_draw(found),
        notes=(
            f"The golden case of `stackelberg`, a unit being {KWH:g} kWh: its buyers and its surplus on IEEE"
            " 33-bus, the feeder's passive load as the leader's other customers.",
            "Losses make energy dearer at a bus than at the hub, so a little less is taken than in the game;"
            " what is left goes to the feeder.",
        ),
    )  # fmt: skip


def _to_json(hour: Hour) -> dict[str, int | bool]:
    return {
        "prosumers_net_wh": hour.net_wh,
        "demand_wh": hour.demand_wh,
        "import_wh": hour.import_wh,
        "traded_wh": hour.traded_wh,
        "bills_neur": hour.bills_neur,
        "tariff_bills_neur": hour.tariff_neur,
        "audit_ok": hour.audit_ok,
    }


def _table(found: Mapping[str, Hour]) -> Table:
    head = (
        "",
        "prosumers take, kWh",
        "of the feeder, kWh",
        "import, MWh",
        "in the book, kWh",
        "bills, €",
        "FiT/retail, €",
    )
    rows = tuple(
        (
            name,
            f"{hour.demand_wh / 1e3:.1f}",
            f"{hour.net_wh / 1e3:+.1f}",
            f"{hour.import_wh / WH_PER_MWH:.4f}",
            f"{hour.traded_wh / 1e3:.1f}",
            f"{hour.bills_neur / NEUR_PER_EUR:.2f}",
            f"{hour.tariff_neur / NEUR_PER_EUR:.2f}",
        )
        for name, hour in found.items()
    )
    return Table("The peak hour", head, rows)


def _costs(usual: Hour, led: Hour) -> Table:
    """Every prosumer at the usual price and at the leader's, each beside retail at that price."""
    head = ("", "bus", "usual: kWh", "€", "FiT/retail", "led: kWh", "€", "FiT/retail")
    rows = tuple(
        (one.participant.name, str(one.participant.bus + 1), *_cost(one), *_cost(other))
        for one, other in zip(usual.bills, led.bills, strict=True)
    )
    return Table("Each prosumer", head, rows)


def _cost(account: Account) -> tuple[str, str, str]:
    bill = account.day
    return (
        f"{(bill.consumed_wh - bill.injected_wh) / 1e3:+.1f}",
        f"{bill.total_neur / NEUR_PER_EUR:.2f}",
        f"{bill.tariff_neur / NEUR_PER_EUR:.2f}",
    )


def _draw(found: Mapping[str, Hour]) -> Draw:
    """What prosumers take of the feeder in each case, and what all of it imports."""

    def draw(figure: Figure, theme: Theme) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        names = list(found)[::-1]
        left.barh(names, [found[name].net_wh / 1e3 for name in names], color=theme.market)
        left.set(xlabel="kWh", title="Prosumers take of the feeder")
        right.barh(names, [found[name].import_wh / 1e3 for name in names], color=theme.worse)
        right.set(xlabel="kWh", title="The feeder imports")

    return draw


STUDY = Study(
    name="peak-hour",
    about="the price that leaves a grid's peak alone, the utility's quote in one hour's book",
    source=Source(
        citation="Tushar et al., Grid Influenced Peer-to-Peer Energy Trading, IEEE TSG 11(2):1407-1418, 2020",
        taken="the leader's price in the peak hour; followers who trade inside a coalition first",
        added="the feeder and who lives where, the book, charges and bills, coalitions that leave to their"
        " meters what members have for one another",
    ),
    run=run,
)
