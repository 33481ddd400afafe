"""Study `utility`: peers trade, the utility runs its feeder and charges for it; against FiT/retail alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market.comparison import Kind
from market.feeder.powerflow import power_flow
from market.pricing.conditions import Primal, Solution
from market.settlement import Sources
from market.slots import Tariff
from market.units import NEUR_PER_EUR
from node.price.clearing import METHODS
from node.scenario import load
from node.scenario.world import World, build
from node.simulate.bills import Account, Bill, accounts, in_words
from node.simulate.result import DayResult
from node.simulate.run import traded_without_ledger
from node.simulate.utility import UtilityResult, day_utility_result, utility_result
from node.studies.community import ALONE, Day, alone, settled_day, spending
from node.studies.curtailment import curtailed
from node.studies.half_half import Compared, compared
from node.studies.owners import CUT, TRADED, UNBOUND, Case, claims, paper, table, under
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

SCENARIO = "ieee33-day"
WIDE = {"slots.seconds": "7200", "slots.count": "12", "forecast.error": "0"}
"""A day of two-hour slots, foreseen exactly, under limits that never bind."""
RATING_MVA, V_MIN_PU = 1.9, 0.97
"""Limits that bind: a rating at noon, and the lower voltage in the evening; lower where the day needs it."""
RULES = ("dlmp", "tariff")
CONTRACT = (Kind.BOUGHT, Kind.SOLD, Kind.NETWORK_IMPORT, Kind.NETWORK_EXPORT)
"""What the delivered part of a contract adds to a bill."""
GAP_MAX, ERROR_MAX = 1e-5, 1e-4
SAME_EUR = 1e-6
"""Of bills that are sums of floats."""


@dataclass(frozen=True, eq=False)
class Cleared:
    """One slot's prices by ATC, and how far they are from the central optimum's, relatively."""

    by_atc: Solution
    error: float
    gap: float


@dataclass(frozen=True, eq=False)
class Compare:
    """A day alone and under both rules, what it leaves by case, and the clearings behind its charges.

    `spend_more` has by rule who is worse off than on FiT/retail alone by bills and the worth of flexible
    energy together: beside bills of the same readings that counts what limits keep from being sold.
    """

    world: World
    alone: Day
    days: Mapping[str, DayResult]
    bills: Mapping[str, tuple[Account, ...]]
    results: Mapping[str, UtilityResult]
    spend_more: Mapping[str, tuple[str, ...]]
    cases: Mapping[str, Case]
    cleared: tuple[Cleared, ...]
    half_half: Compared

    @property
    def error(self) -> float:
        """Largest relative error of a DLMP by ATC."""
        return max(each.error for each in self.cleared)

    @property
    def gap(self) -> float:
        """Largest gap of the relaxation."""
        return max(each.gap for each in self.cleared)

    @property
    def rounds(self) -> tuple[int, ...]:
        """ATC's rounds by slot."""
        return tuple(each.by_atc.iterations for each in self.cleared)


def run(seed: int) -> Findings:
    """The day under FiT/retail, under both settlement rules, and under the half-half rule."""
    return over(seed, {})


def over(seed: int, more: Mapping[str, str]) -> Findings:
    """The same over other slots, by further settings of the scenario."""
    found = _compare(seed, more)
    breaking = {
        ALONE: found.cases[ALONE].broken,
        **{rule: _violations(day) for rule, day in found.days.items()},
    }
    unexplained = [abs(utility_result(slot, day.participants).unexplained)
                   for day in found.days.values() for slot in day.slots]  # fmt: skip
    payments = [result.payments for result in found.results.values()]
    between = _between(found)
    traded_limits = max(breaking[rule] for rule in RULES)
    lost = found.half_half
    kept = Claim("limits hold, at gate closure and in delivery", traded_limits == 0,
                 f"{traded_limits} broken; {breaking[ALONE]} on FiT/retail alone",
                 basis=Basis.SOURCE)  # fmt: skip
    settled = Claim("ATC's DLMPs are within 1e-4 of the central optimum's, relatively",
                    found.error < ERROR_MAX,
                    f"{found.error:.1e} of a DLMP after {min(found.rounds)} to {max(found.rounds)} rounds",
                    basis=Basis.SOURCE)  # fmt: skip
    said = (kept, settled, *claims(found.cases))
    return Findings(
        figures=_figures(found, seed, breaking),
        tables=(paper(said), table(found.cases), _summary_table(found, breaking), _identity_table(found),
                _bills_table(found), _causes_table(found), _prices_table(found), lost.table()),
        claims=(
            *said,
            Claim("the relaxation is exact: gap of l·v = P² + Q² below 1e-5", found.gap < GAP_MAX,
                  f"{found.gap:.1e} pu²"),
            Claim("the utility's result is explained to the last n€", max(unexplained) == 0,
                  f"{max(unexplained)} n€ in {found.world.periods} slots under each rule"),
            Claim("payments sum to 0", not any(payments), ", ".join(f"{each} n€" for each in payments)),
            Claim("no delivered position priced between feed-in tariff and retail costs more than these",
                  between.worse == 0, f"{between.worse} of {between.positions}", basis=Basis.CONSTRUCTION),
            Claim("half of the price difference for each side, prices after trades: the loop does not always"
                  " settle, firm charges need no loop", lost.unsettled > 0 and traded_limits == 0,
                  f"{lost.unsettled} of {len(lost.slots)} slots do not settle in {lost.rounds_max} rounds"),
        ),
        draw=_draw(found),
        notes=_notes(found),
    )  # fmt: skip


def _compare(seed: int, more: Mapping[str, str]) -> Compare:
    wide = build(load(SCENARIO, {**WIDE, **more}, seed))
    tight = {**WIDE, **more, **_limits(wide)}
    worlds = {rule: build(load(SCENARIO, {**tight, "market.rule": rule}, seed)) for rule in RULES}
    world = worlds["dlmp"]
    days = {rule: traded_without_ledger(each) for rule, each in worlds.items()}
    without, settled = alone(world), {rule: settled_day(world, day) for rule, day in days.items()}
    return Compare(
        world=world,
        alone=without,
        days=days,
        bills={rule: accounts(day) for rule, day in days.items()},
        results={rule: day_utility_result(day) for rule, day in days.items()},
        spend_more={rule: _spend_more(world, day, without) for rule, day in settled.items()},
        cases=_cases(world, without, settled, wide),
        cleared=_cleared(world),
        half_half=compared(world, days["dlmp"]),
    )


def _spend_more(world: World, traded: Day, without: Day) -> tuple[str, ...]:
    """Whose spending is higher with trade than without, by name."""
    more = spending(world, traded) - spending(world, without) > SAME_EUR
    return tuple(name for name, each in zip(world.names, more, strict=True) if each)


def _cases(world: World, without: Day, settled: Mapping[str, Day], wide: World) -> dict[str, Case]:
    """Without trade, as it is and cut to the limits; with it, and where no limit binds."""
    return {
        ALONE: Case.of(world, without),
        CUT: Case.of(world, curtailed(world)),
        **{under(rule): Case.of(world, day) for rule, day in settled.items()},
        UNBOUND: Case.of(wide, settled_day(wide, traded_without_ledger(wide))),
    }


def _limits(world: World) -> dict[str, str]:
    """A rating, and a lowest voltage that FiT/retail breaks on most days and trade can keep without shedding.

    It lies between the day's lowest voltage on FiT/retail and that of the least load with all sun.
    """
    actual = world.actual
    own = actual.firm_p + actual.devices.load_min - actual.devices.gen_max
    least = np.array([world.by_bus(row) for row in own])
    reactive = np.array([world.by_bus(row) for row in actual.firm_q]) + actual.passive_q
    spared = power_flow(world.feeder, actual.passive_p + least, reactive)
    lowest = [float(np.sqrt(flow.v.min())) for flow in (alone(world).flow, spared)]
    v_min = min(sum(lowest) / 2, V_MIN_PU)
    return {"feeder.v_min_pu": f"{v_min:.4f}", "feeder.line_rating_mva": str(RATING_MVA)}


def _cleared(world: World) -> tuple[Cleared, ...]:
    """Every slot by ATC beside the central conic program."""
    atc, central = METHODS["atc"](world.feeder), METHODS["socp"](world.feeder)
    found = []
    for slot in range(world.periods):
        conditions = world.conditions(slot)
        ours, best = atc(world.feeder, conditions), central(world.feeder, conditions)
        apart = np.abs(ours.duals.price - best.duals.price) / np.maximum(np.abs(best.duals.price), 1.0)
        gap = max(_cone_gap(world, each.primal) for each in (ours, best))
        found.append(Cleared(ours, float(apart.max()), gap))
    return tuple(found)


def _cone_gap(world: World, primal: Primal) -> float:
    """Largest |l·v_π − P² − Q²| of any line, pu²."""
    above = primal.v[:, world.feeder.parent[1:]]
    gap = primal.l[:, 1:] * above - primal.p[:, 1:] ** 2 - primal.q[:, 1:] ** 2
    return float(np.abs(gap).max())


def _violations(day: DayResult) -> int:
    return sum(len(slot.scheduled.violations) + len(slot.delivered.violations) for slot in day.slots)


def _tariff_bills(found: Compare) -> list[float]:
    """What each pays on FiT/retail alone, doing what is then best, €."""
    return [float(each) / NEUR_PER_EUR for each in found.alone.bills_neur.sum(axis=0)]


@dataclass(frozen=True, slots=True)
class Between:
    """Positions at all-in prices between feed-in tariff and retail; those that cost more than these."""

    positions: int
    worse: int


def _between(found: Compare) -> Between:
    """Count over all slots, prosumers and rules."""
    positions = worse = 0
    tariff = found.world.tariff
    for rule in RULES:
        for account in found.bills[rule]:
            for bill, slot in zip(account.slots, found.days[rule].slots, strict=True):
                if _priced_between(tariff, bill, slot.charges.charges[account.participant.bus]):
                    positions += 1
                    worse += sum(bill.term(kind) for kind in CONTRACT) > 0
    return Between(positions, worse)


def _priced_between(tariff: Tariff, bill: Bill, charge: int) -> bool:
    """Whether something is contracted, at an all-in price from feed-in tariff to retail."""
    contracted = bill.contracted_wh
    paid = bill.trades_neur + charge * contracted
    money = paid if contracted > 0 else -paid
    return contracted != 0 and tariff.fit * abs(contracted) <= money <= tariff.retail * abs(contracted)


# --- what people see --------------------------------------------------------------------------------


def _summary_table(found: Compare, breaking: Mapping[str, int]) -> Table:
    base = found.world.feeder.base_mw * found.world.hours
    voltage = np.sqrt(found.alone.flow.v)
    bills = _tariff_bills(found)
    rows = [
        (ALONE, f"{sum(bills):.2f}", "", "", f"{found.cases[ALONE].utility_eur:.2f}",
         f"{float(found.alone.flow.loss.sum()) * base:.3f}", f"{voltage.min():.4f} to {voltage.max():.4f}",
         str(breaking[ALONE]), ""),
        *(_summary_row(found, rule, breaking[rule]) for rule in RULES),
    ]  # fmt: skip
    head = (
        "",
        "all bills €",
        "pay more for same readings",
        "spend more all told",
        "utility €",
        "losses MWh",
        "voltage pu",
        "limits broken",
        "ATC rounds",
    )
    limit = f"{found.world.feeder.limits.v_min[1]:g} pu at least, lines of {RATING_MVA:g} MVA"
    return Table(f"{SCENARIO} in two-hour slots, foreseen exactly; {limit}", head, tuple(rows))


def _summary_row(found: Compare, rule: str, broken: int) -> tuple[str, ...]:
    day, accounts_of = found.days[rule], found.bills[rule]
    voltage = np.array([slot.delivered.voltage for slot in day.slots])
    rounds = [slot.atc_rounds for slot in day.slots]
    losses = sum(slot.delivered.loss_mw for slot in day.slots) * found.world.hours
    return (
        under(rule),
        f"{sum(each.day.total_neur for each in accounts_of) / NEUR_PER_EUR:.2f}",
        str(sum(each.day.worse_off for each in accounts_of)),
        str(len(found.spend_more[rule])),
        f"{found.results[rule].result / NEUR_PER_EUR:.2f}",
        f"{losses:.3f}",
        f"{voltage.min():.4f} to {voltage.max():.4f}",
        str(broken),
        f"{min(rounds)} to {max(rounds)}",
    )


def _identity_table(found: Compare) -> Table:
    """Where the utility's result comes from."""
    rows = [
        (field.name.replace("_", " "),
         *(f"{getattr(found.results[rule].sources, field.name) / NEUR_PER_EUR:+.2f}" for rule in RULES))
        for field in fields(Sources)
    ]  # fmt: skip
    rows += [
        (what, *(f"{getattr(found.results[rule], of) / NEUR_PER_EUR:+.2f}" for rule in RULES))
        for what, of in (("result", "result"), ("not explained", "unexplained"))
    ]
    return Table("The utility's result by its sources, €", ("", *RULES), tuple(rows))


def _bills_table(found: Compare) -> Table:
    """Each peer's bill; what FiT/retail would have been for the same readings is in brackets."""
    rows = []
    for k, (name, paid) in enumerate(zip(found.world.names, _tariff_bills(found), strict=True)):
        days = [found.bills[rule][k].day for rule in RULES]
        bus = found.world.feeder.bus_names[int(found.world.bus[k])]
        own = f"{found.world.generator_peak[k] * found.world.feeder.base_mw * 1_000:.0f}"
        rows.append((name, bus, own, f"{paid:.2f}",
                     *(f"{day.total_neur / NEUR_PER_EUR:.2f} ({day.tariff_neur / NEUR_PER_EUR:.2f})"
                       for day in days)))  # fmt: skip
    head = ("peer", "bus", "PV kW", ALONE, *(f"{rule} (its readings on {ALONE})" for rule in RULES))
    return Table("Each peer's bill, €", head, tuple(rows))


def _causes_table(found: Compare) -> Table:
    """Who pays more over the day than FiT/retail for the same readings, and why; then bills of one slot."""
    rows = []
    for rule in RULES:
        whole = [each for each in found.bills[rule] if each.day.worse_off]
        rows += [(rule, each.participant.name, in_words(each.day.causes[0])) for each in whole]
        slots = [bill for each in found.bills[rule] for bill in each.slots if bill.worse_off]
        causes = Counter(bill.causes[0].kind for bill in slots)
        rows += [(rule, f"{count} bills of one slot", _in_words(kind, slots))
                 for kind, count in causes.most_common()]  # fmt: skip
    title = f"Who pays more than on {ALONE} for the same readings, and the largest cause"
    return Table(title, ("rule", "who", "cause"), tuple(rows))


def _in_words(kind: Kind, bills: Sequence[Bill]) -> str:
    """The worst of the bills with this largest cause."""
    of_kind = [bill.causes[0] for bill in bills if bill.causes[0].kind is kind]
    return "at worst " + in_words(max(of_kind, key=lambda term: term.difference_neur))


def _prices_table(found: Compare) -> Table:
    """Of the slot in which they differ most."""
    spread = [float(np.ptp(each.by_atc.duals.price[0])) for each in found.cleared]
    slot = int(np.argmax(spread))
    solution = found.cleared[slot].by_atc
    parts, price = solution.components, solution.duals.price[0]
    rows = tuple(
        (found.world.feeder.bus_names[bus],
         *(f"{each[bus]:.2f}" for each in
           (price, parts.energy[0], parts.loss[0], parts.voltage[0], parts.congestion[0], price - price[0])))
        for bus in range(found.world.feeder.buses)
    )  # fmt: skip
    head = ("bus", "DLMP", "energy", "loss", "voltage", "congestion", "NUC")
    slots = found.world.scenario.slots
    start = slots.start + timedelta(seconds=slot * slots.seconds)
    return Table(f"Prices from {start:%H:%M %Z} on (slot {slot}) by bus, €/MWh", head, rows)


def _figures(found: Compare, seed: int, breaking: Mapping[str, int]) -> dict[str, Value]:
    bills = _tariff_bills(found)
    return {
        "seed": seed,
        "scenario": SCENARIO,
        "v_min_pu": float(found.world.feeder.limits.v_min[1]),
        "line_rating_mva": RATING_MVA,
        "violations": dict(breaking),
        "atc_error": found.error,
        "atc_rounds": list(found.rounds),
        "cone_gap_pu2": found.gap,
        "cases": {name: case.to_json() for name, case in found.cases.items()},
        "alone": {"bills_eur": bills, "utility_eur": found.cases[ALONE].utility_eur},
        "rules": {
            rule: {
                "bills_neur": [each.day.total_neur for each in found.bills[rule]],
                "worse_off": [each.participant.name for each in found.bills[rule] if each.day.worse_off],
                "spend_more": list(found.spend_more[rule]),
                "utility_neur": found.results[rule].result,
                "unexplained_neur": found.results[rule].unexplained,
                "payments_neur": found.results[rule].payments,
            }
            for rule in RULES
        },
        "half_half": found.half_half.to_json(),
    }


def _notes(found: Compare) -> tuple[str, ...]:
    with_trade, without = found.cases[TRADED].utility_eur, found.cases[ALONE].utility_eur
    return (
        "On FiT/retail alone nobody heeds the limits. Cut to them, every export of a slot is less by one"
        " share, or flexible load is, and nobody is paid for it.",
        f"The utility earns {with_trade:.0f} € under dlmp and {without:.0f} € on FiT/retail: usage charges"
        " pay for losses and limits, the flat fee for more than that.",
        f"Who is worse off than on {ALONE} hangs on the measure: by bills for the same readings, as accounts"
        f" see it, {_counts(found, lambda rule: sum(each.day.worse_off for each in found.bills[rule]))}; by"
        " bills less the worth of flexible energy, against a day alone that heeds no limits,"
        f" {_counts(found, lambda rule: len(found.spend_more[rule]))}.",
        "The paper's bi-level problem is one optimum here, which ATC reaches, since both levels want the same"
        " welfare.",
    )


def _counts(found: Compare, of: Callable[[str], int]) -> str:
    """How many of the peers, by rule."""
    return ", ".join(f"{of(rule)} of {len(found.world.bus)} under {rule}" for rule in RULES)


def _draw(found: Compare) -> Draw:
    """What every peer pays under each rule against FiT/retail alone."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        bills = np.array(_tariff_bills(found))
        # Bills of both rules are often alike: a ring around a dot leaves both to be seen.
        for rule, mark, colour in zip(RULES, (".", "o"), (theme.market, theme.third), strict=True):
            paid = np.array([each.day.total_neur for each in found.bills[rule]]) / NEUR_PER_EUR
            axes.plot(bills, bills - paid, mark, mfc=colour if mark == "." else "none", ms=7, color=colour,
                      label=f"rule {rule}")  # fmt: skip
        axes.axhline(0, color=theme.faint)
        axes.set(xlabel="bill on FiT/retail alone, €", ylabel="less to pay with trade, €",
                 title="What trade saves each peer")  # fmt: skip
        axes.legend()

    return draw


STUDY = Study(
    name="utility",
    about="peers trade, the utility charges for its feeder, and ATC prices both",
    source=Source(
        citation="Xiao, Wang, Shahidehpour, Zhai and Zhou, Peer-to-Peer Trading in Distribution Systems"
        " with the Utility's Operation, CSEE JPES 10(2):629-638, 2024; Kim and Dvorkin, arXiv 1902.03940",
        taken="the utility's operation and its usage charge above, peers' trades below, ATC between them;"
        " IEEE 33-bus; reactive power compensated at the substation; half-half: each side pays half of the"
        " DLMPs' difference, trades first, prices after",
        added="prosumers and their day, limits and ratings, settlement of what is delivered; who trades with"
        " whom at which price under the half-half rule",
    ),
    run=run,
)
