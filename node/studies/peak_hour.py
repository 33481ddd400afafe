"""Study `peak-hour`: the game of `stackelberg` in the market, its price the utility's quote in a book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ledger.audit import audit
from market.mechanisms.stackelberg import Equilibrium, equilibrium
from market.orders import Side
from market.units import KW_PER_MW, NEUR_PER_EUR, UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH
from node.scenario.loading import load
from node.scenario.schema import ScenarioFile, TariffSection, ToldProsumer
from node.scenario.world import World, build
from node.simulate.bills import Account, accounts
from node.simulate.result import DayResult
from node.simulate.run import traded_on_chain
from node.studies.own_market import record_of
from node.studies.stackelberg import BUYERS, OTHER_PRICE, SURPLUS, leader
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

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
METERED_WH = 10.0
"""Of nine prosumers: meters show whole watt-hours, and a whole µ€/kWh moves a buyer by less than one."""
KWH_PER_MWH, WH_PER_KWH = 1e3, 1e3


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
    def by_prices_wh(self) -> float:
        """What the closed form's buyers take at the λ of their buses, less what their neighbours have."""
        price = np.array(self.day.slots[0].prices.bus_price) / (UEUR_PER_KWH_PER_EUR_PER_MWH * EUR_PER_MWH)
        buses = [account.participant.bus for account in self.bills]
        units = sum(buyer.demand(price[bus]) for buyer, bus in zip(BUYERS, buses, strict=False)) - SURPLUS
        return float(units * KWH * WH_PER_KWH)

    @property
    def dearest_bus(self) -> float:
        """The highest λ of a bus by the hub's: what a Wh less there saves at the substation."""
        prices = self.day.slots[0].prices.bus_price
        return max(prices) / prices[0]

    @property
    def coalitions(self) -> tuple[tuple[int, ...], ...]:
        """Those that formed, by numbers of prosumers."""
        return self.day.slots[0].coalitions

    @property
    def surplus_eur(self) -> list[float]:
        """By prosumer: what its energy is worth to it, less its bill."""
        worths = [_worth_eur(number, account.day.consumed_wh) for number, account in enumerate(self.bills)]
        paid = (account.day.total_neur / NEUR_PER_EUR for account in self.bills)
        return [worth - neur for worth, neur in zip(worths, paid, strict=True)]

    @property
    def traded_wh(self) -> int:
        """Energy of all fills."""
        return sum(fill.quantity for fill in self.day.slots[0].fills)

    @property
    def bought_wh(self) -> int:
        """Of it, what prosumers contracted of the utility."""
        return self._with_utility_wh(selling=True)

    @property
    def sold_wh(self) -> int:
        """Of it, what prosumers contracted to the utility."""
        return self._with_utility_wh(selling=False)

    @property
    def among_peers_wh(self) -> int:
        """The rest, from prosumer to prosumer."""
        return self.traded_wh - self.bought_wh - self.sold_wh

    def _with_utility_wh(self, *, selling: bool) -> int:
        maker_side, utility = (Side.ASK if selling else Side.BID), self.day.utility_address
        return sum(
            fill.quantity
            for fill in self.day.slots[0].fills
            if utility == (fill.taker if fill.taker_side == maker_side else fill.maker)
        )

    @property
    def bills_neur(self) -> int:
        """What all prosumers together pay."""
        return sum(account.day.total_neur for account in self.bills)

    @property
    def tariff_neur(self) -> int:
        """What they would have paid on FiT/retail for the same readings."""
        return sum(account.day.tariff_neur for account in self.bills)


def _worth_eur(number: int, taken_wh: int) -> float:
    """What the energy that a prosumer takes is worth to it: buyers come first, for others it has no worth."""
    if number >= len(BUYERS):
        return 0.0
    buyer, units = BUYERS[number], taken_wh / (WH_PER_KWH * KWH)
    eur_per_unit = KWH * EUR_PER_MWH / KWH_PER_MWH
    return (buyer.value * units - 0.5 * buyer.slope * units**2) * eur_per_unit


def game(world: World) -> Equilibrium:
    """The equilibrium where the leader's other customers are the scenario's passive load."""
    passive_mwh = float(world.actual.passive_p[0].sum()) * world.feeder.base_mw * world.hours
    return equilibrium(leader(passive_mwh * KW_PER_MW / KWH), BUYERS, SURPLUS)


def scenarios(seed: int) -> Mapping[str, ScenarioFile]:
    """The same hour at the usual price, at the leader's, without a coalition, and with inelastic demand."""
    told = load(SCENARIO, seed=seed)
    led = _at(told, game(build(told)).price)
    bidding = told.bidding.model_copy(update={"policy": "truthful"})
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
    lost = [before - after for before, after in zip(usual.surplus_eur, led.surplus_eur, strict=True)]
    return Findings(
        figures={
            "seed": seed,
            "price": played.price,
            "threshold": played.threshold,
            "cases": {name: _to_json(hour) for name, hour in found.items()},
            "net_by_prices_wh": {name: found[name].by_prices_wh for name in (USUAL, LED)},
            "inelastic_share_left": left,
            "worse_by_eur": lost,
        },
        tables=(_table(found), _costs(usual, led, lost)),
        claims=(
            Claim("with the feeder's load the best price is the one that leaves nothing to deliver",
                  played.delivered == 0 and played.price == played.choke_price, f"{played.price:.4f} ct/kWh"),
            Claim("at that price all prosumers take nothing of the feeder in net, at the usual one they do",
                  led.net_wh <= 0 < usual.net_wh,
                  f"{led.net_wh / WH_PER_KWH:+.1f} and {usual.net_wh / WH_PER_KWH:+.1f} kWh",
                  basis=Basis.SOURCE),
            Claim("in both they take what the closed form gives at the prices of their buses",
                  max(abs(hour.net_wh - hour.by_prices_wh) for hour in (led, usual)) < METERED_WH,
                  f"{led.by_prices_wh / WH_PER_KWH:+.3f} and {usual.by_prices_wh / WH_PER_KWH:+.3f} kWh"),
            Claim("the feeder imports less with the leader's price", led.import_wh < usual.import_wh,
                  f"{led.import_wh / WH_PER_MWH:.4f} for {usual.import_wh / WH_PER_MWH:.4f} MWh,"
                  f" {(usual.import_wh - led.import_wh) / WH_PER_KWH:.1f} kWh less", basis=Basis.SOURCE),
            Claim("coalitions form, leave inside what their members have, and deliver the same",
                  led.traded_wh < alone.traded_wh and led.net_wh == alone.net_wh,
                  f"{_named(led.coalitions)}; {led.traded_wh / WH_PER_KWH:.1f} kWh in the book,"
                  f" {alone.traded_wh / WH_PER_KWH:.1f} without"),
            Claim("nobody pays more than FiT/retail at the prices of its own case, for the same readings",
                  worse == 0, f"{worse} of {sum(len(hour.bills) for hour in found.values())} bills"),
            Claim("price alone leaves two fifths of demand that knows none",
                  abs(left - (1 - LOCAL_SHARE)) < SHARE_TOLERANCE, f"{left:.4%}", basis=Basis.CONSTRUCTION),
            Claim("the audit of every case derives all of it again and finds nothing",
                  all(hour.audit_ok for hour in found.values()), f"{len(found)} records"),
        ),
        draw=_draw(found),
        notes=(
            f"The golden case of `stackelberg`, a unit being {KWH:g} kWh: its buyers and its surplus on IEEE"
            " 33-bus, the feeder's passive load as the leader's other customers.",
            "A reconstruction: of the game everything but its idea, of the market all. The usual price is the"
            f" case's price of other customers, {OTHER_PRICE * EUR_PER_MWH:g} €/MWh at the hub; the network"
            " fee comes on top at the meter.",
            "Losses make energy dearer at a bus than at the hub, so a little less is taken than in the game;"
            " what is left goes to the feeder.",
            _of_partners(alone),
            _of_losers(lost),
            "What members leave inside a coalition has no order and no price of its own: it is settled at the"
            " λ of their buses, and no auction or middle price is made between them.",
        ),
    )  # fmt: skip


def _of_partners(alone: Hour) -> str:
    """With whom the book trades, and at which price the utility does."""
    return (
        "What prosumers take together is a net of their meters: without a coalition prosumers contract"
        f" {alone.bought_wh / WH_PER_KWH:.1f} kWh of the utility, {alone.sold_wh / WH_PER_KWH:.1f} kWh to it"
        f" and {alone.among_peers_wh / WH_PER_KWH:.1f} kWh among one another. It bids for its passive load a"
        " tick below its ask, so that who sells and who buys both meet it first. Its ask is the leader's"
        " price rounded down to a tick of 0.1 €/MWh; what settles at λ has the price itself."
    )


def _of_losers(lost: Sequence[float]) -> str:
    """Who pays for the peak that is gone: by energy's worth less the bill, against the usual price."""
    worse = {number: eur for number, eur in enumerate(lost, 1) if eur > 0}
    named = ", ".join(f"{number} by {eur:.2f} €" for number, eur in worse.items()) or "nobody"
    return (
        "Against the usual price, by what energy is worth to them less their bills, worse off are"
        f" {len(worse)} of {len(lost)} prosumers: {named}. All together are {abs(sum(lost)):.2f} €"
        f" {'worse' if sum(lost) > 0 else 'better'} off."
    )


def _named(coalitions: Sequence[Sequence[int]]) -> str:
    return " ".join("{" + ", ".join(map(str, each)) + "}" for each in coalitions)


def _to_json(hour: Hour) -> dict[str, Value]:
    return {
        "prosumers_net_wh": hour.net_wh,
        "dearest_bus_over_hub": hour.dearest_bus,
        "coalitions": [list(each) for each in hour.coalitions],
        "demand_wh": hour.demand_wh,
        "import_wh": hour.import_wh,
        "traded_wh": hour.traded_wh,
        "bought_of_utility_wh": hour.bought_wh,
        "sold_to_utility_wh": hour.sold_wh,
        "among_peers_wh": hour.among_peers_wh,
        "bills_neur": hour.bills_neur,
        "tariff_bills_neur": hour.tariff_neur,
        "audit_ok": hour.audit_ok,
    }


def _table(found: Mapping[str, Hour]) -> Table:
    head = (
        "",
        "take, kWh",
        "net, kWh",
        "import, MWh",
        "of utility, kWh",
        "to it, kWh",
        "peers, kWh",
        "bills, €",
        "retail, €",
    )
    rows = tuple(
        (
            name,
            f"{hour.demand_wh / WH_PER_KWH:.1f}",
            f"{hour.net_wh / WH_PER_KWH:+.1f}",
            f"{hour.import_wh / WH_PER_MWH:.4f}",
            f"{hour.bought_wh / WH_PER_KWH:.1f}",
            f"{hour.sold_wh / WH_PER_KWH:.1f}",
            f"{hour.among_peers_wh / WH_PER_KWH:.1f}",
            f"{hour.bills_neur / NEUR_PER_EUR:.2f}",
            f"{hour.tariff_neur / NEUR_PER_EUR:.2f}",
        )
        for name, hour in found.items()
    )
    return Table("The peak hour", head, rows)


def _costs(usual: Hour, led: Hour, lost: Sequence[float]) -> Table:
    """Every prosumer at the usual price and at the leader's, each beside FiT/retail at that price."""
    head = ("", "bus", "usual, kWh", "€", "retail", "led, kWh", "€", "retail", "worse by")
    rows = tuple(
        (str(number), str(one.participant.bus + 1), *_cost(one), *_cost(other), f"{eur:+.2f}")
        for number, (one, other, eur) in enumerate(zip(usual.bills, led.bills, lost, strict=True), 1)
    )
    return Table("Each prosumer at the usual price and at the leader's", head, rows)


def _cost(account: Account) -> tuple[str, str, str]:
    bill = account.day
    return (
        f"{(bill.consumed_wh - bill.injected_wh) / WH_PER_KWH:+.1f}",
        f"{bill.total_neur / NEUR_PER_EUR:.2f}",
        f"{bill.tariff_neur / NEUR_PER_EUR:.2f}",
    )


def _draw(found: Mapping[str, Hour]) -> Draw:
    """What prosumers take of the feeder in each case, and how much less than usual all of it imports."""

    def draw(figure: Figure, theme: Theme) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        names = list(found)[::-1]
        usual_wh = found[USUAL].import_wh
        left.barh(names, [found[name].net_wh / WH_PER_KWH for name in names], color=theme.market)
        left.set(xlabel="kWh", title="Prosumers take of the feeder")
        right.barh(
            names, [(found[name].import_wh - usual_wh) / WH_PER_KWH for name in names], color=theme.worse
        )
        right.set(xlabel=f"kWh beyond the usual {usual_wh / WH_PER_KWH:,.0f}", title="The feeder imports")

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
