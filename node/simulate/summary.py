"""A session in figures: for programs as JSON, for people as a page of text."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

from market.feeder.powerflow import Violation
from market.units import WH_PER_MWH
from node.simulate.bills import accounts
from node.simulate.result import DayResult, SlotResult
from node.simulate.tables import iso
from node.simulate.utility import day_utility_result
from node.simulate.wording import NBSP, energy, euros, money, power

WELFARE_EPSILON_EUR = 1e-9
"""Below this, nothing was to be gained from the market and a gap says nothing."""
BEYOND_BEST = 1e-3
"""A gap further below 0 than this is more than the clearings' tolerance."""
WIDTH = 96
"""Columns of the text."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a session; the fields are the keys of `simulate --json`.

    `volume_wh` counts every fill, `volume_peer_wh` those without the utility. Gaps are
    Σ(W* − W)/|Σ(W* − W_0)|, None where the market had nothing to gain. `worse_off` counts prosumers whose day
    cost more than FiT/retail, `worse_off_slots` single slots. `payments_sum_neur` sums every account's
    postings, the utility's computed on its own. `atc_error_max` is relative; `fallback_slots` counts slots
    whose charges or prices were cleared centrally because the method's own could not be certified,
    `uncharged_slots` those with no charges, hence no trading, and `unpriced_slots` those with no prices,
    settled by the tariff rule. `shed_slots` counts slots whose charges or prices come from a clearing that
    plans to shed firm load, which nobody carries out; `shed_mw_max` is the most in one of them.
    `worst_violation` names the limit that is broken by the largest part of it, in delivery if any is there.
    `late_readings` came after their account was settled by an estimate; `corrections` of these changed
    that settlement, by `corrected_neur` in all, whichever way. `seconds` is wall time.
    """

    scenario: str
    seed: int
    rule: str
    feeder: str
    slots: int
    participants: int
    orders: int
    orders_rejected: int
    fills: int
    volume_wh: int
    volume_peer_wh: int
    consumed_wh: int
    injected_wh: int
    passive_wh: int
    import_wh: int
    loss_wh: int
    welfare_eur: float
    welfare_central_eur: float
    welfare_alone_eur: float
    welfare_wholesale_eur: float
    welfare_gap: float | None
    book_welfare_gap: float | None
    violations: int
    violations_delivered: int
    worse_off: int
    worse_off_slots: int
    bills_neur: int
    tariff_bills_neur: int
    saving_neur: int
    utility_result_neur: int
    utility_without_market_neur: int
    utility_unexplained_neur: int
    payments_sum_neur: int
    gas_used: int
    atc_iterations_max: int
    atc_error_max: float
    fallback_slots: int
    uncharged_slots: int
    unpriced_slots: int
    shed_slots: int
    shed_mw_max: float
    worst_violation: str
    late_readings: int
    corrections: int
    corrected_neur: int
    head_number: int
    head_hash: str
    exchange: str
    seconds: float

    @property
    def on_chain(self) -> bool:
        """Whether it was traded on a chain, with signatures and a bundle, and not on the twin alone."""
        return bool(self.head_hash)

    def to_json(self) -> dict[str, object]:
        """The fields as JSON types."""
        return asdict(self)

    def render(self, out: Path | None = None) -> str:
        """The session in words; names the next commands where a result folder was written."""
        sections = [_trading(self), _money(self), _network(self), _trust(self)]
        if out is not None:
            sections.append(_next_steps(self, out))
        return "\n\n".join(sections) + "\n"


def summarise(day: DayResult) -> Summary:
    """Add up a session. Raises FillsMismatchError."""
    slots, everybody = day.slots, accounts(day)
    utility = day_utility_result(day)
    delivered = sum(slot.welfare.delivered for slot in slots)
    central = sum(slot.welfare.central for slot in slots)
    alone = sum(slot.welfare.alone for slot in slots)
    metered = sum(int(slot.metered_wh.sum()) for slot in slots)
    passive = sum(int(slot.passive_wh.sum()) for slot in slots)
    imported = sum(slot.import_wh for slot in slots)
    fills = [fill for slot in slots for fill in slot.fills]
    corrections_neur = [each.beside_trades_neur for slot in slots for each in slot.resettled]
    shed_wh = [max(int(slot.charges_shed_wh.sum()), int(slot.prices_shed_wh.sum())) for slot in slots]
    return Summary(
        scenario=day.scenario_name,
        seed=day.seed,
        rule=day.rule,
        feeder=day.feeder_name,
        slots=len(slots),
        participants=len(day.participants),
        orders=sum(len(slot.placed) for slot in slots),
        orders_rejected=day.orders_rejected,
        fills=len(fills),
        volume_wh=sum(fill.quantity for fill in fills),
        volume_peer_wh=sum(
            fill.quantity for fill in fills if day.utility_address not in (fill.maker, fill.taker)
        ),
        consumed_wh=sum(account.day.consumed_wh for account in everybody),
        injected_wh=sum(account.day.injected_wh for account in everybody),
        passive_wh=passive,
        import_wh=imported,
        loss_wh=imported - metered - passive,
        welfare_eur=delivered,
        welfare_central_eur=central,
        welfare_alone_eur=alone,
        welfare_wholesale_eur=sum(slot.welfare.delivered_wholesale for slot in slots),
        welfare_gap=gap(delivered, central, alone),
        book_welfare_gap=gap(
            sum(slot.welfare.booked for slot in slots),
            sum(slot.welfare.booked_central for slot in slots),
            sum(slot.welfare.booked_alone for slot in slots),
        ),
        violations=sum(len(slot.scheduled.violations) for slot in slots),
        violations_delivered=sum(len(slot.delivered.violations) for slot in slots),
        worse_off=sum(account.day.worse_off for account in everybody),
        worse_off_slots=sum(bill.worse_off for account in everybody for bill in account.slots),
        bills_neur=sum(account.day.total_neur for account in everybody),
        tariff_bills_neur=sum(account.day.tariff_neur for account in everybody),
        saving_neur=sum(account.day.saving_neur for account in everybody),
        utility_result_neur=utility.result,
        utility_without_market_neur=utility.without_market,
        utility_unexplained_neur=utility.unexplained,
        payments_sum_neur=utility.payments,
        gas_used=day.ledger.gas_used,
        atc_iterations_max=max((slot.atc_rounds for slot in slots), default=0),
        atc_error_max=max((slot.atc_error for slot in slots), default=0.0),
        fallback_slots=sum(bool(slot.fallback) for slot in slots),
        uncharged_slots=sum(bool(slot.uncharged) for slot in slots),
        unpriced_slots=sum(bool(slot.unpriced) for slot in slots),
        shed_slots=sum(wh > 0 for wh in shed_wh),
        shed_mw_max=max(shed_wh, default=0) / (day.slot_seconds / 3_600 * WH_PER_MWH),
        worst_violation=_worst_violation(day),
        late_readings=sum(slot.late for slot in slots),
        corrections=sum(bool(neur) for neur in corrections_neur),
        corrected_neur=sum(abs(neur) for neur in corrections_neur),
        head_number=day.ledger.head_number,
        head_hash=day.ledger.head_hash,
        exchange=day.ledger.exchange_address,
        seconds=day.seconds,
    )


def _worst_violation(day: DayResult) -> str:
    """The limit broken by the largest part of it, in delivery if any is there; empty where none is."""
    for states in ([slot.delivered for slot in day.slots], [slot.scheduled for slot in day.slots]):
        broken = [
            (each.beyond, -slot.index, broken_limit(day, slot, each))
            for slot, state in zip(day.slots, states, strict=True)
            for each in state.violations
        ]
        if broken:
            return max(broken)[-1]
    return ""


def broken_limit(day: DayResult, slot: SlotResult, violation: Violation) -> str:
    """A broken limit in words, with its time."""
    return f"{iso(slot.start)}: {violation.told(day.bus_names)}"


def gap(reached: float, best: float, alone: float) -> float | None:
    """(W* − W)/|W* − W_0|; None where the market had nothing to gain."""
    stake = abs(best - alone)
    return None if stake < WELFARE_EPSILON_EUR else (best - reached) / stake


# --- in words -----------------------------------------------------------------------------------


def _item(label: str, *sentences: str) -> str:
    first, rest = f"  {label:<11}", " " * 13
    text = textwrap.fill(" ".join(sentences), WIDTH, initial_indent=first, subsequent_indent=rest)
    return text.replace(NBSP, " ")


def _trading(s: Summary) -> str:
    rejected = (
        f", {s.orders_rejected:,} orders refused{' by the contract' if s.on_chain else ''}"
        if s.orders_rejected
        else ""
    )
    return "\n".join(
        (
            f"{s.scenario}, seed {s.seed}: {s.participants} prosumers on {s.feeder},"
            f" {s.slots} slot{'s' * (s.slots > 1)}, rule {s.rule}",
            "",
            _item(
                "Trading",
                f"{s.orders:,} {'signed ' if s.on_chain else ''}orders, {s.fills:,} fills{rejected};",
                f"{energy(s.volume_wh)} traded,",
                f"{energy(s.volume_peer_wh)} of it between prosumers, the rest with the utility.",
            ),
            _item(
                "Delivery",
                f"Prosumers consumed {energy(s.consumed_wh)} and injected {energy(s.injected_wh)};",
                f"other load {energy(s.passive_wh)}, losses {energy(s.loss_wh)},",
                f"net import {energy(s.import_wh)}.",
            ),
        )
    )


def _money(s: Summary) -> str:
    cost = "saved" if s.saving_neur >= 0 else "COST"
    return "\n".join(
        (
            _item(
                "Bills",
                f"{money(s.bills_neur)} for all prosumers, {money(s.tariff_bills_neur)} on FiT/retail",
                f"with the same readings: the market {cost} them {money(abs(s.saving_neur))}.",
                worse_off(s),
            ),
            _item(
                "Utility",
                f"{money(s.utility_result_neur)} after buying its energy;",
                f"{money(s.utility_without_market_neur)} if everyone had paid FiT/retail",
                "for the same readings.",
            ),
            _item("Welfare", *_welfare(s)),
        )
    )


def _welfare(s: Summary) -> list[str]:
    """What the market reached of what could be, never without the limits it broke on the way."""
    reached, best = s.welfare_eur - s.welfare_alone_eur, s.welfare_central_eur - s.welfare_alone_eur
    sentences = [
        f"{euros(abs(reached))} {'above' if reached >= 0 else 'BELOW'} everyone alone on FiT/retail,",
        "with imports at the hub price;",
    ]
    if best >= 0:
        sentences.append(f"the best dispatch of all gains {euros(best)}: {share_reached(s.welfare_gap)}.")
        sentences.append(f"Contracts at gate closure: {share_reached(s.book_welfare_gap)}.")
    else:
        sentences += [
            f"alone nobody heeds the limits, and the best dispatch within them is {euros(-best)} below:",
            f"{_missed(s.welfare_gap)} in delivery,",
            f"{_missed(s.book_welfare_gap)} by contracts at gate closure.",
        ]
    if s.violations or s.violations_delivered:
        sentences.append(
            f"This with {limits(s.violations)} by the schedule at gate closure,"
            f" {limits(s.violations_delivered)} in delivery."
        )
    return sentences


def _network(s: Summary) -> str:
    return "\n".join(
        (
            _item(
                "Network",
                f"{limits(s.violations)} by the schedule at gate closure,",
                f"{limits(s.violations_delivered)} in delivery.",
                *[f"The worst: {s.worst_violation}; violations.csv has all."] * bool(s.worst_violation),
                planned_shedding(s),
            ),
            *_meters(s),
            _item(
                "Prices",
                *_agreement(s),
                *unproven(s),
            ),
        )
    )


def _meters(s: Summary) -> list[str]:
    """Late readings and what they corrected; nothing where all came in time."""
    if not s.late_readings:
        return []
    return [
        _item(
            "Meters",
            f"{s.late_readings:,} readings came too late: their accounts were settled by estimates.",
            f"{s.corrections:,} of these the reading then changed, by {money(s.corrected_neur)} in all.",
        )
    ]


def _trust(s: Summary) -> str:
    sums = "Sum to exactly 0" if s.payments_sum_neur == 0 else f"SUM TO {s.payments_sum_neur} neur"
    return "\n".join(
        (
            _item("Payments", f"{sums}, the utility's side computed on its own."),
            _item("Chain", _chain(s)),
            _item("Time", f"{s.seconds:.1f} s"),
        )
    )


def _chain(s: Summary) -> str:
    if not s.on_chain:
        return "None: the contract's twin kept the books, and nothing can be audited."
    return f"{s.gas_used:,} gas; head {s.head_number} {s.head_hash}"


def _next_steps(s: Summary, out: Path) -> str:
    if not s.on_chain:
        return f"Next:\n  open {out / 'report.html'}\n      every bill, price and plot on one page"
    bundle = out / "bundle"
    return "\n".join(
        (
            "Next:",
            f"  open {out / 'report.html'}",
            "      every bill, price and plot on one page",
            f"  wattbook audit {bundle}",
            "      check every signature, match, price and payment yourself",
            f"  wattbook audit explain {bundle} PAYMENT",
            "      take one payment apart, line by line",
        )
    )


def _missed(welfare_gap: float | None) -> str:
    return "no gap" if welfare_gap is None else f"gap {welfare_gap:.4f}"


def share_reached(welfare_gap: float | None) -> str:
    """A welfare gap in words; below 0 only limits broken, or a chance of the forecast, can take it."""
    if welfare_gap is None:
        return "the market had nothing to gain"
    if welfare_gap < -BEYOND_BEST:
        return f"BEYOND the best dispatch within limits (gap {welfare_gap:.4f})"
    if welfare_gap > 1:
        return f"WORSE than no market (gap {welfare_gap:.4f})"
    return f"{100 * (1 - welfare_gap):.2f} % of the possible gain reached (gap {welfare_gap:.4f})"


def _agreement(s: Summary) -> list[str]:
    if s.atc_iterations_max == 0:
        return ["Cleared centrally, each with a certificate."] if s.uncharged_slots < s.slots else []
    return [
        f"ATC agreed after at most {s.atc_iterations_max} rounds,",
        f"within {s.atc_error_max:.1e} of the central optimum.",
    ]


def unproven(s: Summary) -> list[str]:
    """Where prices are not the method's, or there are none, in words."""
    told = (
        (s.fallback_slots, "ITS ANSWER COULD NOT BE CERTIFIED: prices there are the central clearing's."),
        (s.uncharged_slots, "NO CHARGES COULD BE PROVEN: nothing was traded."),
        (s.unpriced_slots, "NO PRICES COULD BE PROVEN: settled by the tariff rule."),
    )
    return [f"IN {count} SLOT{'S' * (count > 1)} {what}" for count, what in told if count]


def planned_shedding(s: Summary) -> str:
    """Where charges or prices are those of scarcity on paper alone, in words; empty where nothing is shed."""
    if s.shed_slots == 0:
        return ""
    return (
        f"IN {s.shed_slots} SLOT{'S' * (s.shed_slots > 1)} CHARGES OR PRICES ARE SCARCITY PRICES:"
        f" their clearing plans to shed up to {power(s.shed_mw_max)} of firm load."
        " Nobody carries that out; bills, and what they save, follow the prices all the same."
    )


def limits(count: int) -> str:
    """Broken limits in words."""
    return "no limit broken" if count == 0 else f"{count} LIMIT{'S' * (count > 1)} BROKEN"


def worse_off(s: Summary) -> str:
    """Who pays more than on FiT/retail, in words."""
    if s.worse_off == 0:
        whole = "Nobody paid more over the day"
    else:
        whole = f"{s.worse_off} of {s.participants} PAID MORE over the day (causes in the report)"
    return f"{whole}; of {s.slots * s.participants:,} bills of one slot, {s.worse_off_slots:,} are higher."
