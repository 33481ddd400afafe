"""A payment in the words of its owner: one sentence a line, kWh and €/kWh, no symbols.

The exact lines (`ledger.audit.explain`) follow the contract's formula, in which a contract that was not
delivered is in two postings. A customer asks what became of the energy, so it is told by energy here:
    (λ_b − λ_0)·(c − d) + λ_b·(m − c) = −λ_0·(c − d) + λ_b·(m − d)
what was not delivered was sold back at λ_0, and what was used beyond the contract costs λ_b. Rule `tariff`
has one price for both. The amounts that the sentences name add up to those of the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from market.accounts import UTILITY_ID, Position
from market.comparison import Kind, Term
from market.settlement import Basis, Cause, Metered, Posting, delivered_wh

ESTIMATED_BY = {Basis.CONTRACT: "what you traded", Basis.FORECAST: "the forecast for you"}

CAUSES = {
    Kind.BOUGHT: "{energy} bought and used, against the utility's price at the substation",
    Kind.SOLD: "{energy} sold and fed in, against the feed-in tariff",
    Kind.NETWORK_IMPORT: "the network's charge for {energy} used, against the fee in the retail price",
    Kind.NETWORK_EXPORT: "the network's charge for {energy} fed in, of which the feed-in tariff has none",
    Kind.UNCONSUMED: "{energy} bought and not used, sold back at another price than paid",
    Kind.UNINJECTED: "{energy} sold and not fed in, bought back at another price than received",
    Kind.EXTRA_IMPORT: "{energy} used and not bought before, against retail",
    Kind.EXTRA_EXPORT: "{energy} fed in and not sold before, against the feed-in tariff",
    Kind.ROUND_TRIP: "{energy} bought and sold again",
    Kind.PENALTY: "penalties for what was not certified",
}
"""On what a bill loses, or gains, against one without the market."""

NO_PRICES = (
    "No prices were posted in time, so that what was not delivered, or not traded, counts by the tariff:"
    " retail and the feed-in tariff, with the network's charge."
)
"""Of a slot that is settled by the rule for slots without prices."""


def decimal(value: int, digits: int, least: int = 2) -> str:
    """A whole number of units of 10^-digits, exactly, with at least so many digits after the point."""
    whole, part = divmod(abs(value), 10**digits)
    after = f"{part:0{digits}}".rstrip("0").ljust(least, "0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if after else ''}{after}"


def euros(neur: int) -> str:
    """Money to the last unit: `-0.192460000 €`."""
    return f"{decimal(neur, 9, least=9)} €"


def kwh(energy_wh: int) -> str:
    """How much energy, whichever way: `4.8 kWh`."""
    return f"{decimal(abs(energy_wh), 3, least=0)} kWh"


def eur_per_kwh(price_ueur_per_kwh: int) -> str:
    """`0.24 €/kWh`, with all digits that there are."""
    return f"{decimal(price_ueur_per_kwh, 6)} €/kWh"


def account(number: int | None) -> str:
    """Whose something is, by the account's number."""
    return "the utility" if number == UTILITY_ID else f"account {number}"


def payment(neur: int) -> str:
    """`you pay 0.12 €`, or receive."""
    return f"you {'pay' if neur >= 0 else 'receive'} {decimal(abs(neur), 9)} €"


def metered(energy_wh: int) -> str:
    """`3.8 kWh used` or `0.7 kWh fed in`."""
    return f"{kwh(energy_wh)} {'used' if energy_wh >= 0 else 'fed in'}"


def comparison(neur: int, flat_neur: int, how: str) -> str:
    """What would have been paid without the market, `how` that is reckoned, and who is better off by what."""
    verb = "would have paid" if flat_neur >= 0 else "would have received"
    difference = f"{euros(abs(flat_neur - neur))} {'better' if neur < flat_neur else 'worse'} off"
    verdict = difference if neur != flat_neur else "no different"
    return f"Without the market you {verb} {euros(abs(flat_neur))} {how}: with it you are {verdict}."


def of_causes(terms: Iterable[Term]) -> Iterator[str]:
    """Why a bill is worse than one without the market: what was lost and what gained, largest first.

    The amounts add up to the difference; nothing where there is none, or where the market was the better.
    """
    parts = sorted((each for each in terms if each.difference_neur), key=lambda each: -each.difference_neur)
    if sum(each.difference_neur for each in parts) > 0:
        for each in parts:
            verb, on = ("lost" if each.difference_neur > 0 else "gained"), CAUSES[each.kind]
            yield f"You {verb} {euros(abs(each.difference_neur))} on {on.format(energy=kwh(each.energy_wh))}."


def of_hub_price(price_ueur_per_kwh: int, forecast_import_wh: int) -> str:
    """Where the price comes from at which a contract that was not delivered is closed out."""
    if forecast_import_wh == 0:
        why = "the grid here was expected to supply itself"
    else:
        expected = "draw from" if forecast_import_wh > 0 else "feed into"
        why = f"the grid here was expected to {expected} the one above it"
    return f"{eur_per_kwh(price_ueur_per_kwh)} was the price of energy at the substation, where {why}."


def sum_of_slot(neur: int) -> str:
    """That a slot's payments sum to 0 with what goes to the utility beside its trades, `neur` of it."""
    how = "received by" if neur >= 0 else "paid by"
    return (
        f"In all: {euros(0)}, with {euros(abs(neur))} {how} the utility as network charges, close-outs,"
        " imbalances and penalties; its own payment in this list is for its trades alone."
    )


def of_trades(buys: bool, energy_wh: int, neur: int) -> str:
    """What was bought, or sold, in all fills of a slot."""
    return f"You {'bought' if buys else 'sold'} {kwh(energy_wh)}: {payment(neur)}."


def of_veto(buys: bool, energy_wh: int, neur: int) -> str:
    """What the utility took out of the trades again, because the lines could not carry it."""
    traded = "bought" if buys else "sold"
    return f"The grid's operator cancelled {kwh(energy_wh)} of what you had {traded}: {payment(neur)}."


def of_meter(energy_wh: int, basis: int) -> str:
    """What the meter showed, or what stands in the place of its reading."""
    if basis == Basis.READING:
        return f"Your meter shows {metered(energy_wh)}."
    by = ESTIMATED_BY[Basis(basis)]
    return f"No reading of your meter came in time: it counts as {metered(energy_wh)}, estimated by {by}."


def of_correction(energy_wh: int, estimated_wh: int, neur: int) -> str:
    """What a late reading changes of a bill that stood on an estimate."""
    was, now = metered(estimated_wh), metered(energy_wh)
    return f"Your meter's late reading is {now}, after an estimate of {was}: {payment(neur)}."


def of_postings(position: Position, reading: Metered, postings: Sequence[Posting]) -> Iterator[str]:
    """What became of the energy: the network's charge, what was not delivered, what went beyond, penalties.

    `postings` are those of `market.settlement.settle` for this position and reading.
    """
    delivered = delivered_wh(position.net_wh, reading.net_energy)
    prices = {each.cause: each.price or 0 for each in postings}
    beyond_price = prices.get(Cause.IMBALANCE, 0)
    yield from _charges(postings)
    yield from _undelivered(position.net_wh - delivered, beyond_price - prices.get(Cause.CLOSEOUT, 0))
    yield from _beyond(reading.net_energy - delivered, beyond_price)
    yield from _penalties(postings)


def _charges(postings: Sequence[Posting]) -> Iterator[str]:
    for each in postings:
        if each.cause == Cause.CHARGE and each.amount_neur:
            at = eur_per_kwh(abs(each.price or 0))
            yield f"For the network, on {kwh(each.energy_wh)} at {at}: {payment(each.amount_neur)}."


def _undelivered(energy_wh: int, price: int) -> Iterator[str]:
    if energy_wh > 0:
        what = f"The {kwh(energy_wh)} that you bought and did not use was sold back"
    else:
        what = f"The {kwh(energy_wh)} that you sold and did not feed in was bought back"
    if energy_wh:
        yield f"{what} at {eur_per_kwh(price)}: {payment(-energy_wh * price)}."


def _beyond(energy_wh: int, price: int) -> Iterator[str]:
    what = "used and had not bought" if energy_wh > 0 else "fed in and had not sold"
    if energy_wh:
        at = eur_per_kwh(price)
        yield f"The {kwh(energy_wh)} that you {what} counts at {at}: {payment(energy_wh * price)}."


def _penalties(postings: Sequence[Posting]) -> Iterator[str]:
    for each in postings:
        if each.cause == Cause.PENALTY:
            what = f"{kwh(each.energy_wh)} that you sold as class {each.energy_class}"
            yield f"The {what} was not certified as such: {payment(each.amount_neur)}."
