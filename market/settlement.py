"""Settlement of a slot: what each account pays and why, what the utility pays, and the slot's identity.

Pure functions in integers: energies Wh, prices µ€/kWh, money n€, and energy × price is money exactly.
Contracted net energy c, metered net energy m and delivered contract d are positive for consumption;
money is positive when the account pays. Twin of the postings in `settlement.vy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Protocol

from market.accounts import Position
from market.slots import Rule, Tariff


class Cause(StrEnum):
    """What a posting is for."""

    TRADES = "trades"
    CHARGE = "charge"
    CLOSEOUT = "closeout"
    IMBALANCE = "imbalance"
    PENALTY = "penalty"


class Basis(IntEnum):
    """What a settlement stands on: a reading, or as its estimate the contract or the forecast."""

    READING = 0
    CONTRACT = 1
    FORECAST = 2


class Metered(Protocol):
    """What an account is settled by, a reading or an estimate: net energy, certified Wh by class from 1."""

    @property
    def net_energy(self) -> int:
        """Wh, consumption positive."""

    @property
    def certified(self) -> tuple[int, ...]:
        """One entry a class."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What stands in for a reading that did not come by T1. It certifies no generation in any class."""

    net_energy: int
    basis: Basis
    certified: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Posting:
    """One payment of one account in a slot. `price` is None where fills at several prices add up.

    `energy_class` matters to penalties alone, of which there may be one a class.
    """

    cause: Cause
    energy_wh: int
    price: int | None
    amount_neur: int
    energy_class: int = 0


@dataclass(frozen=True, slots=True)
class Valuation:
    """By what a slot's energy is valued: the rule in force, the tariff, and vectors by bus, µ€/kWh.

    `charges` is the firm ν (None: none were posted, so ν = 0), `prices` is λ with λ_0 first (None: no
    quorum posted any). Raises ValueError where rule `dlmp` has no prices.
    """

    rule: Rule
    tariff: Tariff
    charges: Sequence[int] | None = None
    prices: Sequence[int] | None = None
    penalties: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.rule == Rule.DLMP and self.prices is None:
            raise ValueError("rule dlmp cannot settle a slot without prices")

    def charge(self, bus: int) -> int:
        """ν of a bus."""
        return 0 if self.charges is None else self.charges[bus]


def rule_in_force(market_rule: Rule, prices: Sequence[int] | None) -> Rule:
    """The market's rule, or `tariff` where no quorum posted prices by T_p."""
    return Rule.TARIFF if prices is None else market_rule


def delivered_wh(contracted_wh: int, metered_wh: int) -> int:
    """d = sign(c)·min(|c|, |m|) if c and m have one sign, else 0."""
    if contracted_wh > 0:
        return max(0, min(contracted_wh, metered_wh))
    return min(0, max(contracted_wh, metered_wh))


# --- one account --------------------------------------------------------------------------------


def settle(position: Position, reading: Metered, bus: int, valuation: Valuation) -> tuple[Posting, ...]:
    """Postings of an account at a bus, trades first; causes that do not apply are left out.

    Rule `dlmp`: Σ±q·π + ν·d + (λ_b − λ_0)(c − d) + λ_b(m − c): the firm charge holds for what is
    delivered, a contract not delivered closes out at λ_0, energy beyond it has the bus's price.
    Rule `tariff`: Σ±q·π + (ν·c if that is ≥ 0, else ν·d) + λ⁺(m − c)⁺ − λ⁻(c − m)⁺.
    Both: the penalty of a class for what was sold in it beyond the certified generation.
    """
    c, m = position.net_wh, reading.net_energy
    d = delivered_wh(c, m)
    by_rule = _by_dlmp if valuation.rule == Rule.DLMP else _by_tariff
    return (
        Posting(Cause.TRADES, c, None, position.trades_neur),
        *by_rule(c, m, d, bus, valuation),
        *_penalties(position, reading, valuation.penalties),
    )


def settle_trades(position: Position) -> tuple[Posting, ...]:
    """The utility's own postings: its hub trades settle at their hub price, without charge or imbalance."""
    return (Posting(Cause.TRADES, position.net_wh, None, position.trades_neur),)


def estimate(position: Position, forecast_wh: int, bus: int, valuation: Valuation) -> Estimate:
    """The estimate of an account: of its contract and its forecast, the one that costs it more.

    The contract if both cost the same. Where nothing was forecast the forecast is 0, so that accounts which
    trade among themselves and stay silent pay no less than if they delivered nothing. Penalties, which are
    the same by either, are left apart.
    """
    nothing_certified = (0,) * len(valuation.penalties)
    by_contract = Estimate(position.net_wh, Basis.CONTRACT, nothing_certified)
    by_forecast = Estimate(forecast_wh, Basis.FORECAST, nothing_certified)

    def cost_neur(estimated: Estimate) -> int:
        return amount_neur(settle(position, estimated, bus, valuation))

    return by_forecast if cost_neur(by_forecast) > cost_neur(by_contract) else by_contract


def resettle(
    position: Position, estimated: Metered, reading: Metered, bus: int, valuation: Valuation
) -> tuple[Posting, ...]:
    """What a reading changes of a settlement by estimate: for each cause but trades the difference, n€."""
    now = settle(position, reading, bus, valuation)
    was = settle(position, estimated, bus, valuation)
    return tuple(
        Posting(cause, 0, None, amount_neur(now, cause) - amount_neur(was, cause))
        for cause in Cause
        if cause != Cause.TRADES
    )


def amount_neur(postings: Iterable[Posting], *causes: Cause) -> int:
    """Sum of the postings that have one of these causes; of all where none is named."""
    return sum(p.amount_neur for p in postings if not causes or p.cause in causes)


def _posting(cause: Cause, energy_wh: int, price: int, energy_class: int = 0) -> Posting:
    return Posting(cause, energy_wh, price, energy_wh * price, energy_class)


def _by_dlmp(c: int, m: int, d: int, bus: int, valuation: Valuation) -> tuple[Posting, ...]:
    hub, price = _prices(valuation, bus)
    return (
        _posting(Cause.CHARGE, d, valuation.charge(bus)),
        _posting(Cause.CLOSEOUT, c - d, price - hub),
        _posting(Cause.IMBALANCE, m - c, price),
    )


def _by_tariff(c: int, m: int, d: int, bus: int, valuation: Valuation) -> tuple[Posting, ...]:
    charge, tariff = valuation.charge(bus), valuation.tariff
    charged_wh = c if charge * c >= 0 else d
    beyond_price = tariff.shortfall_price(charge) if m > c else tariff.surplus_price(charge)
    return (
        _posting(Cause.CHARGE, charged_wh, charge),
        _posting(Cause.IMBALANCE, m - c, beyond_price),
    )


def _penalties(position: Position, reading: Metered, penalties: Sequence[int]) -> tuple[Posting, ...]:
    excess_wh = [position.sold_wh(index + 1) - certified for index, certified in enumerate(reading.certified)]
    return tuple(
        _posting(Cause.PENALTY, excess, penalty, index + 1)
        for index, (excess, penalty) in enumerate(zip(excess_wh, penalties, strict=True))
        if excess > 0
    )


def _prices(valuation: Valuation, bus: int) -> tuple[int, int]:
    """λ_0 and λ_b."""
    if valuation.prices is None:
        raise ValueError("the slot has no prices")
    return valuation.prices[0], valuation.prices[bus]


# --- the utility --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """An account of the slot other than the utility: where it is, what it holds, what it is settled by.

    Settled by estimate and resettled, that is its reading.
    """

    bus: int
    position: Position
    reading: Metered

    @property
    def contracted_wh(self) -> int:
        """c."""
        return self.position.net_wh

    @property
    def metered_wh(self) -> int:
        """m."""
        return self.reading.net_energy

    @property
    def delivered_wh(self) -> int:
        """d."""
        return delivered_wh(self.contracted_wh, self.metered_wh)


@dataclass(slots=True)
class _BusEnergy:
    """Sums over the accounts of one bus, Wh: c, m, d, what `tariff` charges, (m − c)⁺ and (c − m)⁺."""

    contracted: int = 0
    metered: int = 0
    delivered: int = 0
    charged: int = 0
    beyond: int = 0
    short: int = 0


def _by_bus(members: Iterable[Member], valuation: Valuation) -> dict[int, _BusEnergy]:
    buses: dict[int, _BusEnergy] = {}
    for member in members:
        c, m, d = member.contracted_wh, member.metered_wh, member.delivered_wh
        bus = buses.setdefault(member.bus, _BusEnergy())
        bus.contracted += c
        bus.metered += m
        bus.delivered += d
        bus.charged += c if valuation.charge(member.bus) * c >= 0 else d
        bus.beyond += max(0, m - c)
        bus.short += max(0, c - m)
    return buses


def settle_utility(
    position: Position, members: Sequence[Member], valuation: Valuation
) -> tuple[Posting, ...]:
    """Postings of the utility, the counterparty of all but trades; from sums by bus, not from the bills.

    Its hub trades settle at their hub price. Together with `settle` of every member they sum to exactly 0.
    """
    charge = closeout = imbalance = 0
    for bus, energy in sorted(_by_bus(members, valuation).items()):
        nu = valuation.charge(bus)
        if valuation.rule == Rule.DLMP:
            hub, price = _prices(valuation, bus)
            charge -= nu * energy.delivered
            closeout -= (price - hub) * (energy.contracted - energy.delivered)
            imbalance -= price * (energy.metered - energy.contracted)
        else:
            charge -= nu * energy.charged
            imbalance -= valuation.tariff.shortfall_price(nu) * energy.beyond
            imbalance += valuation.tariff.surplus_price(nu) * energy.short
    penalty = -sum(
        price * sum(max(0, m.position.sold_wh(index + 1) - m.reading.certified[index]) for m in members)
        for index, price in enumerate(valuation.penalties)
    )
    sums = {
        Cause.CHARGE: charge,
        Cause.CLOSEOUT: closeout,
        Cause.IMBALANCE: imbalance,
        Cause.PENALTY: penalty,
    }
    return (
        *settle_trades(position),
        *(Posting(cause, 0, None, amount) for cause, amount in sums.items()),
    )


# --- the slot's identity ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Substation:
    """What the utility posts of a slot: import (Wh), wholesale price ω, passive energy D by bus (Wh)."""

    net_import_wh: int
    wholesale: int
    passive_wh: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the utility's result comes from, n€, in the terms of `slot_identity`; they add up to it."""

    surplus: int
    basis: int
    hub_margin: int
    passive_margin: int
    wholesale_margin: int
    penalties: int
    charge_margin: int
    imbalance_margin: int
    closeout_forgone: int

    @property
    def total(self) -> int:
        """Sum of all."""
        return sum(int(getattr(self, item.name)) for item in fields(self))


@dataclass(frozen=True, slots=True)
class Identity:
    """Both sides of a slot's identity, n€: the result from the postings, and its sources."""

    result: int
    sources: Sources

    @property
    def holds(self) -> bool:
        """Whether they are equal, to the unit."""
        return self.result == self.sources.total


def slot_identity(
    utility: Position, members: Sequence[Member], substation: Substation, valuation: Valuation
) -> Identity:
    """The utility's result of a slot, and where it comes from.

    With M_b, D_b metered and passive energy by bus, loss := import − ΣM − ΣD, c_u and h_u the energy and
    money of the utility's hub trades, P what penalties bring, ν the firm charge, ν' := λ_b − λ_0:

    Under `dlmp` an account pays, besides trades, ν·d + ν'(c − d) + λ_b(m − c)
    = (ν − ν')d + λ_b·m − λ_0·c, since ν'·c − λ_b·c = −λ_0·c. All energy bought was sold, so
    Σc = −c_u, and the utility receives R = Σ(ν − ν')d + Σλ_b·M_b + λ_0·c_u − h_u + P.
    With ΣM = import − ΣD − loss, Σλ_b·M_b = Σν'_b(M_b + D_b) − λ_0·loss + λ_0·import − Σλ_b·D_b, hence

        R + retail·ΣD − ω·import = surplus + basis + hub margin + passive margin + wholesale margin + P
        surplus = Σν'_b(M_b + D_b) − λ_0·loss          basis = Σ_k(ν − ν')d_k
        hub margin = λ_0·c_u − h_u                     passive margin = Σ(retail − λ_b)D_b
        wholesale margin = (λ_0 − ω)·import

    Under `tariff` an account pays what it would under `dlmp` plus, account by account,

        charge margin = ν(c − d) where ν·c ≥ 0, else 0
        imbalance margin = (λ⁺ − λ_b)(m − c)⁺ + (λ_b − λ⁻)(c − m)⁺
        closeout forgone = −ν'(c − d)

    and the sums of these three are added to the right. Both hold for any λ and whatever M is made of:
    an estimate counts as what was metered, so what it is wrong by is in the loss, and resettlement, which
    puts the reading in its place in every term, takes it out again. Where none was posted,
    λ_0 := ω and λ_b := ω + ν_b: then the basis and the wholesale margin are 0 and the price risk of the
    slot is all in what the tariff earns.
    """
    prices = _reference_prices(substation, valuation)
    passive, wholesale = substation.passive_wh, substation.wholesale
    retail, hub = valuation.tariff.retail, prices[0]
    result = (
        -amount_neur(settle_utility(utility, members, valuation))
        + retail * sum(passive)
        - wholesale * substation.net_import_wh
    )
    buses = _by_bus(members, valuation)
    metered = [buses[bus].metered if bus in buses else 0 for bus in range(len(passive))]
    loss_wh = substation.net_import_wh - sum(metered) - sum(passive)
    sources = Sources(
        surplus=sum((price - hub) * (m + p) for price, m, p in zip(prices, metered, passive, strict=True))
        - hub * loss_wh,
        basis=sum((valuation.charge(k.bus) - (prices[k.bus] - hub)) * k.delivered_wh for k in members),
        hub_margin=hub * utility.net_wh - utility.trades_neur,
        passive_margin=sum((retail - price) * p for price, p in zip(prices, passive, strict=True)),
        wholesale_margin=(hub - wholesale) * substation.net_import_wh,
        penalties=sum(amount_neur(_penalties(k.position, k.reading, valuation.penalties)) for k in members),
        **_tariff_sources(members, prices, valuation),
    )
    return Identity(result, sources)


def _reference_prices(substation: Substation, valuation: Valuation) -> Sequence[int]:
    """λ by bus; from the wholesale price and the firm charges where none was posted."""
    if valuation.prices is not None:
        return valuation.prices
    return [substation.wholesale + valuation.charge(bus) for bus in range(len(substation.passive_wh))]


def _tariff_sources(members: Sequence[Member], prices: Sequence[int], valuation: Valuation) -> dict[str, int]:
    """What rule `tariff` takes beyond `dlmp`; nothing under `dlmp`."""
    charge_margin = imbalance_margin = closeout_forgone = 0
    if valuation.rule == Rule.TARIFF:
        for member in members:
            c, m, d = member.contracted_wh, member.metered_wh, member.delivered_wh
            charge, price = valuation.charge(member.bus), prices[member.bus]
            charge_margin += charge * (c - d) if charge * c >= 0 else 0
            imbalance_margin += (valuation.tariff.shortfall_price(charge) - price) * max(0, m - c)
            imbalance_margin += (price - valuation.tariff.surplus_price(charge)) * max(0, c - m)
            closeout_forgone -= (price - prices[0]) * (c - d)
    return {
        "charge_margin": charge_margin,
        "imbalance_margin": imbalance_margin,
        "closeout_forgone": closeout_forgone,
    }
