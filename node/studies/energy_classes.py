"""Study `energy-classes`: prices of plain and of solar energy, and their trades in class books on a chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market.mechanisms.energy_classes import Market, Traders, clear
from market.orders import Reject
from market.units import NEUR_PER_EUR
from node.scenario.streams import stream
from node.studies.class_books import (
    BUYERS,
    LAUNDERER,
    PENALTY_UEUR_PER_KWH,
    PLAIN,
    PLAIN_SELLERS,
    PROSUMERS,
    SOLAR,
    SUNNY,
    TARIFF,
    OnChain,
    Traded,
    on_chain,
    ticked,
)
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

WORTH_EUR_PER_MWH = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
"""What solar energy is worth to each buyer beyond other energy: ω."""
RHO, TOLERANCE_KWH = 10.0, 1e-8
SAME_PRICE_EUR_PER_MWH = 1e-6
ROOM_ABOVE = 0.08
"""Of the picture's height, above the highest bar."""


def drawn(seed: int) -> Traders:
    """Buyers, three with sun, two with other sources, and the utility, which has no end of plain energy."""
    rng = stream(seed, "energy-classes")
    worth = np.zeros((PROSUMERS + 1, 2))
    worth[:BUYERS, SOLAR] = WORTH_EUR_PER_MWH
    worth[BUYERS + SUNNY :, SOLAR] = -np.inf
    unbounded, utility = np.full(BUYERS, np.inf), TARIFF.hub_import / 1_000
    return Traders(
        side=np.concatenate([np.ones(BUYERS), -np.ones(SUNNY + PLAIN_SELLERS + 1)]),
        value=np.concatenate(
            [
                rng.uniform(220.0, 280.0, BUYERS),
                -rng.uniform(40.0, 60.0, SUNNY),
                -rng.uniform(100.0, 130.0, PLAIN_SELLERS),
                [-utility],
            ]
        ),
        slope=np.concatenate(
            [rng.uniform(12.0, 18.0, BUYERS), rng.uniform(8.0, 14.0, SUNNY + PLAIN_SELLERS), [0.0]]
        ),
        limit=np.concatenate(
            [unbounded, rng.uniform(5.0, 7.0, SUNNY), np.full(PLAIN_SELLERS, 4.0), [np.inf]]
        ),
        worth=worth,
    )


def cleared(traders: Traders) -> Market:
    """Prices of both classes, from the utility's on."""
    return clear(traders, np.full(2, TARIFF.hub_import / 1_000), RHO, TOLERANCE_KWH)


@dataclass(frozen=True, eq=False)
class Ran:
    """Prices with ω = 0 and with ω, and what their orders came to on a chain, the last ones twice."""

    none: Market
    some: Market
    chain: OnChain

    @property
    def before(self) -> Traded:
        """The slot in which nobody cares about classes."""
        return self.chain.slots[0]

    @property
    def after(self) -> Traded:
        """The slot in which buyers do, and meters certify what was generated."""
        return self.chain.slots[1]

    @property
    def lied(self) -> Traded:
        """The same, with a meter that certifies all that was sold."""
        return self.chain.slots[2]

    @property
    def premium(self) -> float:
        """What solar energy costs beyond other, €/MWh."""
        return float(self.some.price[SOLAR] - self.some.price[PLAIN])

    @property
    def gained_neur(self) -> int:
        """What the launderer gains by the class."""
        return round(self.premium * 1_000) * self.chain.uncertified_wh

    @property
    def penalty_neur(self) -> int:
        """What the launderer pays for it."""
        return self.after.settled[LAUNDERER].penalty


def run(seed: int) -> Findings:
    """Prices with ω = 0 and with ω, then as orders on a chain, the last twice: settled and audited."""
    traders = drawn(seed)
    none, some = cleared(traders.indifferent()), cleared(traders)
    ran = Ran(none, some, on_chain(seed, (none, some, some)))
    return Findings(
        figures={"seed": seed, **_figures(ran)},
        tables=_tables(ran),
        claims=(*_claims_on_prices(ran), *_claims_on_the_chain(ran)),
        draw=_draw(none, some),
        notes=_notes(ran),
    )


def _figures(ran: Ran) -> dict[str, Value]:
    return {
        "prices_without_preference": ran.none.price.tolist(),
        "prices_with_preference": ran.some.price.tolist(),
        "premium": ran.premium,
        "rounds": [ran.none.rounds, ran.some.rounds],
        "book": [
            {
                "plain_prices_ueur_per_kwh": sorted(each.prices(PLAIN)),
                "solar_prices_ueur_per_kwh": sorted(each.prices(SOLAR)),
                "plain_wh": each.energy_wh(PLAIN),
                "solar_wh": each.energy_wh(SOLAR),
                "rejected": [Reject(code.code).rule for code in each.rejected],
            }
            for each in (ran.before, ran.after)
        ],
        "refusal": ran.chain.refusal,
        "uncertified_wh": ran.chain.uncertified_wh,
        "laundering_gain_neur": ran.gained_neur,
        "penalty_neur": ran.penalty_neur,
        "penalty_if_the_meter_lies_neur": ran.lied.settled[LAUNDERER].penalty,
        "audit_ok": ran.chain.audit_ok,
    }


def _tables(ran: Ran) -> tuple[Table, ...]:
    return (
        Table(
            "Prices, €/MWh",
            ("", "plain", "solar", "premium", "in the books", "rounds"),
            tuple(
                (
                    name,
                    f"{market.price[PLAIN]:.4f}",
                    f"{market.price[SOLAR]:.4f}",
                    f"{market.price[SOLAR] - market.price[PLAIN]:.4f}",
                    _book(slot),
                    str(market.rounds),
                )
                for name, market, slot in (("ω = 0", ran.none, ran.before), ("ω > 0", ran.some, ran.after))
            ),
        ),
        Table(
            f"Who sells {ran.chain.uncertified_wh:,} Wh as solar that is none",
            ("its meter certifies", "penalty, n€", "is it found?"),
            tuple(
                (certified, f"{slot.settled[LAUNDERER].penalty:,}", _found(slot))
                for certified, slot in (("what was generated", ran.after), ("all that was sold", ran.lied))
            ),
        ),
        Table(
            "Bill of a solar seller of whose generation half is certified",
            ("n€", "for"),
            tuple((f"{line.amount_neur:,}", line.what) for line in ran.chain.bill.lines),
        ),
    )


def _claims_on_prices(ran: Ran) -> tuple[Claim, ...]:
    """What clearing says, and that the books trade by it."""
    same = float(np.ptp(ran.none.price))
    return (
        Claim("ω = 0 collapses to one price", same < SAME_PRICE_EUR_PER_MWH, f"{same:.1e} €/MWh apart"),
        Claim("where buyers like solar energy better, it costs more", ran.premium > SAME_PRICE_EUR_PER_MWH,
              f"{ran.premium:.4f} €/MWh"),
        Claim("the books on the chain trade at these prices, each class at one",
              _as_cleared(ran.before, ran.none) and _as_cleared(ran.after, ran.some), _book(ran.after)),
    )  # fmt: skip


def _claims_on_the_chain(ran: Ran) -> tuple[Claim, ...]:
    """What registration, certificates, bills and the audit make of classes."""
    chain, penalty_neur = ran.chain, ran.penalty_neur
    refused = [each for each in ran.after.rejected if each.code == Reject.NOT_REGISTERED_SELLER]
    punished = sum(each.penalty > 0 for each in ran.after.settled)
    named = [line.what for line in chain.bill.lines if "class 1" in line.what]
    bought = [line.what for line in chain.buyers_bill.lines if "class 1" in line.what]
    return (
        Claim("the contract refuses solar energy of who is not registered for it",
              len(refused) == 1 and chain.refusal == Reject.NOT_REGISTERED_SELLER.rule, chain.refusal),
        Claim("energy sold as solar that its seller's own meter does not certify costs its seller more"
              " than the class gains it: the penalty is above all that solar energy is worth beyond"
              " other",
              penalty_neur == PENALTY_UEUR_PER_KWH * chain.uncertified_wh > ran.gained_neur,
              f"{penalty_neur / NEUR_PER_EUR:.3f} € for {ran.gained_neur / NEUR_PER_EUR:.3f} €",
              basis=Basis.CONSTRUCTION),
        Claim("who certifies what it sells pays no penalty",
              punished == 1, f"{punished} of {len(ran.after.settled)} accounts pays"),
        Claim("bills name the class, of what is sold, bought and missing",
              len(named) >= 2 and "not certified" in named[-1] and bool(bought), named[-1]),
        Claim("the audit derives all of it again and finds nothing", chain.audit_ok,
              f"{chain.checks} checks"),
    )  # fmt: skip


def _notes(ran: Ran) -> tuple[str, ...]:
    return (
        "A reconstruction: preferences, costs and sources are drawn; none of the paper's figures is claimed.",
        f"Laundering loses money by any penalty above the premium, {ran.premium:.2f} €/MWh here; the market's"
        f" is {PENALTY_UEUR_PER_KWH / 1_000:g} €/MWh, and solar energy is worth at most"
        f" {WORTH_EUR_PER_MWH.max():g} €/MWh beyond other. It presumes a meter that certifies what was"
        " generated. One that certifies all that is sold is not found: the contract takes its word, and"
        " the audit finds only what the account's registration refutes.",
    )


def _found(slot: Traded) -> str:
    return "yes: the contract's penalty" if slot.settled[LAUNDERER].penalty else "no"


def _book(slot: Traded) -> str:
    """Energy and prices of both books of a slot."""
    told = []
    for kind in (PLAIN, SOLAR):
        prices = "/".join(f"{price / 1_000:.1f}" for price in sorted(slot.prices(kind)))
        told.append(f"{slot.energy_wh(kind) / 1_000:.2f} kWh at {prices}")
    return ", ".join(told)


def _as_cleared(slot: Traded, market: Market) -> bool:
    return all(slot.prices(kind) == {ticked(market.price[kind])} for kind in (PLAIN, SOLAR))


def _draw(none: Market, some: Market) -> Draw:
    """Both prices of both cases, and who buys what."""

    def draw(figure: Figure, theme: Theme) -> None:
        left, right = figure.subplots(1, 2)
        at = np.arange(2)
        for kind, label, colour in ((PLAIN, "plain", theme.market), (SOLAR, "solar", theme.worse)):
            left.bar(
                at + 0.35 * kind, [each.price[kind] for each in (none, some)], 0.35, color=colour, label=label
            )
            bottom = some.energy[:BUYERS, PLAIN] * kind
            right.bar(
                WORTH_EUR_PER_MWH, some.energy[:BUYERS, kind], 6, bottom=bottom, color=colour, label=label
            )
        left.set(ylabel="€/MWh", title="Prices", xticks=at + 0.175, xticklabels=["ω = 0", "ω > 0"])
        right.set(xlabel="ω of the buyer, €/MWh", ylabel="kWh", title="Bought with ω")
        for axes in (left, right):
            axes.set_ylim(0, (1 + ROOM_ABOVE) * axes.dataLim.y1)
            axes.legend()

    return draw


STUDY = Study(
    name="energy-classes",
    about="energy in classes: a price for each, sources registered and certified on the chain",
    source=Source(
        citation="Morstyn and McCulloch, Multi-class energy management for P2P energy trading driven by"
        " prosumer preferences, IEEE TSG 10(4), 2019",
        taken="a price and a balance for each class of energy, preferences of buyers for classes, sellers"
        " that offer a class only from sources that have it, prices that follow the imbalance",
        added="utilities, costs and preferences of the traders, the step close to the last answer, class"
        " books, registration, certificates and penalties on the chain",
    ),
    run=run,
)
