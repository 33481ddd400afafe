"""The session as tables: orders, fills, prices, lines, bills and the utility's identity, as CSV.

Rows name slots by their place in the scenario and by scenario time, so that a session moved to other
days on a chain gives the same bytes. Integers are exact, their unit last in the column's name; floats
have six decimals; yes and no are 1 and 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import numpy as np

from market.comparison import Kind
from market.orders import Address, Fill, Side, VoidReason
from market.settlement import Sources
from market.units import Floats, hub_price
from node.simulate.bills import accounts
from node.simulate.result import DayResult, NetworkState, SlotResult
from node.simulate.utility import utility_result

UTILITY = "utility"
"""The utility's name in tables."""

Cell = int | float | str


@dataclass(frozen=True, slots=True)
class Table:
    """A named table; every row has one cell a column."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """RFC 4180 text with LF line ends."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_text(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def tables(day: DayResult) -> tuple[Table, ...]:
    """Every table of a session, of storages only where there are some. Raises FillsMismatchError."""
    made = tuple(make(day) for make in _TABLES)
    return (*made, storages(day)) if day.storages else made


def iso(unix_seconds: int) -> str:
    """A time of the scenario's calendar, as `2026-06-23T14:00:00Z`."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def names(day: DayResult) -> dict[Address, str]:
    """Participants' names by address, the utility's too."""
    return {day.utility_address: UTILITY} | {who.address: who.name for who in day.participants}


# --- the tables ---------------------------------------------------------------------------------


def orders(day: DayResult) -> Table:
    """Accepted orders in the order the contract took them, with what became of each."""
    columns = (
        *SLOT_COLUMNS,
        "sequence",
        "trader",
        "trader_address",
        "nonce",
        "side",
        "energy_class",
        "limit_ueur_per_kwh",
        "hub_price_ueur_per_kwh",
        "quantity_wh",
        "filled_wh",
        "voided_wh",
        "void_reason",
        "immediate_or_cancel",
        "expires",
    )
    return Table("orders", columns, tuple(row for slot in day.slots for row in _order_rows(day, slot)))


def _order_rows(day: DayResult, slot: SlotResult) -> Iterator[tuple[Cell, ...]]:
    name, filled = names(day), _filled_wh(slot.fills)
    voids = {(void.trader, void.nonce): void for void in slot.voided}
    shift_seconds = slot.start - slot.slot * day.slot_seconds
    for sequence, order in enumerate(slot.placed):
        void = voids.get((order.trader, order.nonce))
        yield (
            *_slot_cells(slot),
            sequence,
            name[order.trader],
            order.trader,
            order.nonce,
            Side(order.side).name.lower(),
            order.energy_class,
            order.limit_price,
            hub_price(order.tick),
            order.quantity,
            filled.get((order.trader, order.nonce), 0),
            void.quantity if void else 0,
            VoidReason(void.reason).name.lower() if void else "",
            order.flags & 1,
            iso(order.expiry + shift_seconds) if order.expiry else "",
        )


def _filled_wh(fills: Sequence[Fill]) -> dict[tuple[Address, int], int]:
    filled: dict[tuple[Address, int], int] = {}
    for fill in fills:
        for party in ((fill.maker, fill.maker_nonce), (fill.taker, fill.taker_nonce)):
            filled[party] = filled.get(party, 0) + fill.quantity
    return filled


def fills(day: DayResult) -> Table:
    """Fills in the order they happened; all-in prices are the hub price with each side's own charge."""
    columns = (
        *SLOT_COLUMNS,
        "sequence",
        "energy_class",
        "quantity_wh",
        "hub_price_ueur_per_kwh",
        "money_neur",
        "buyer",
        "buyer_address",
        "buyer_nonce",
        "buyer_all_in_ueur_per_kwh",
        "seller",
        "seller_address",
        "seller_nonce",
        "seller_all_in_ueur_per_kwh",
        "maker",
    )
    return Table("fills", columns, tuple(row for slot in day.slots for row in _fill_rows(day, slot)))


def _fill_rows(day: DayResult, slot: SlotResult) -> Iterator[tuple[Cell, ...]]:
    name = names(day)
    charge = {who.address: slot.charges.charges[who.bus] for who in day.participants}
    charge[day.utility_address] = 0
    for sequence, fill in enumerate(slot.fills):
        maker, taker = (fill.maker, fill.maker_nonce), (fill.taker, fill.taker_nonce)
        taker_buys = fill.taker_side == Side.BID
        buyer, seller = (taker, maker) if taker_buys else (maker, taker)
        price = hub_price(fill.tick)
        yield (
            *_slot_cells(slot),
            sequence,
            fill.energy_class,
            fill.quantity,
            price,
            price * fill.quantity,
            name[buyer[0]],
            *buyer,
            price + charge[buyer[0]],
            name[seller[0]],
            *seller,
            price + charge[seller[0]],
            "seller" if taker_buys else "buyer",
        )


def prices(day: DayResult) -> Table:
    """Prices by slot and bus: integers as posted; components and reactive price as computed.

    Cells of a slot for which none were posted are empty.
    """
    columns = (
        *SLOT_COLUMNS,
        "bus",
        "bus_name",
        "charge_ueur_per_kwh",
        "dlmp_ueur_per_kwh",
        "nuc_ueur_per_kwh",
        "energy_eur_per_mwh",
        "loss_eur_per_mwh",
        "voltage_eur_per_mwh",
        "congestion_eur_per_mwh",
        "dlmp_q_eur_per_mvarh",
        "charge_shed_wh",
        "dlmp_shed_wh",
        "passive_wh",
        "voltage_scheduled_pu",
        "voltage_delivered_pu",
    )
    return Table(
        "prices",
        columns,
        tuple(
            (
                *_slot_cells(slot),
                bus,
                day.bus_names[bus],
                "" if slot.uncharged else slot.charges.charges[bus],
                *_price_cells(slot, bus),
                int(slot.charges_shed_wh[bus]),
                int(slot.prices_shed_wh[bus]),
                int(slot.passive_wh[bus]),
                float(slot.scheduled.voltage[bus]),
                float(slot.delivered.voltage[bus]),
            )
            for slot in day.slots
            for bus in range(len(day.bus_names))
        ),
    )


def _price_cells(slot: SlotResult, bus: int) -> tuple[Cell, ...]:
    if slot.unpriced:
        return ("",) * 7
    parts = slot.components
    return (
        slot.prices.bus_price[bus],
        slot.prices.charges[bus],
        float(parts.energy[0, bus]),
        float(parts.loss[0, bus]),
        float(parts.voltage[0, bus]),
        float(parts.congestion[0, bus]),
        float(slot.reactive_price[bus]),
    )


def lines(day: DayResult) -> Table:
    """AC flows by slot and line, at the sending end: of the schedule at gate closure, and delivered.

    Loading is current over rating, empty for lines without one.
    """
    columns = (
        *SLOT_COLUMNS,
        "line",
        "from_bus_name",
        "to_bus_name",
        *(f"scheduled_{what}" for what in FLOW_COLUMNS),
        *(f"delivered_{what}" for what in FLOW_COLUMNS),
    )
    return Table(
        "lines",
        columns,
        tuple(
            (
                *_slot_cells(slot),
                line,
                day.bus_names[int(day.parent[line])],
                day.bus_names[line],
                *_flow_cells(slot.scheduled, day.rating, line),
                *_flow_cells(slot.delivered, day.rating, line),
            )
            for slot in day.slots
            for line in range(1, len(day.bus_names))
        ),
    )


FLOW_COLUMNS = ("p_mw", "q_mvar", "current_pu", "loading")


def _flow_cells(state: NetworkState, rating: Floats, line: int) -> tuple[Cell, ...]:
    current = float(state.current[line])
    loading = current / float(rating[line]) if np.isfinite(rating[line]) else ""
    return float(state.flow_mw[line]), float(state.flow_mvar[line]), current, loading


def violations(day: DayResult) -> Table:
    """Limits that the AC flow breaks, of the schedule at gate closure or of what was delivered."""
    columns = (*SLOT_COLUMNS, "flow", "what", "bus", "bus_name", "value_pu", "limit_pu")
    return Table(
        "violations",
        columns,
        tuple(
            (
                *_slot_cells(slot),
                flow,
                broken.what,
                broken.bus,
                day.bus_names[broken.bus],
                broken.value,
                broken.limit,
            )
            for slot in day.slots
            for flow, state in (("scheduled", slot.scheduled), ("delivered", slot.delivered))
            for broken in state.violations
        ),
    )


def bills(day: DayResult) -> Table:
    """Bills by slot and prosumer against FiT/retail; the `over_…` terms sum to total − tariff."""
    columns = (
        *SLOT_COLUMNS,
        "prosumer",
        "address",
        "bus",
        "bus_name",
        "contracted_wh",
        "metered_wh",
        "trades_neur",
        "charge_neur",
        "closeout_neur",
        "imbalance_neur",
        "penalty_neur",
        "total_neur",
        "tariff_neur",
        "saving_neur",
        "worse_off",
        *(f"over_{kind}_neur" for kind in Kind),
    )
    everybody = accounts(day)
    return Table(
        "bills",
        columns,
        tuple(
            (
                *_slot_cells(slot),
                account.participant.name,
                account.participant.address,
                account.participant.bus,
                day.bus_names[account.participant.bus],
                bill.contracted_wh,
                bill.consumed_wh - bill.injected_wh,
                bill.trades_neur,
                bill.charge_neur,
                bill.closeout_neur,
                bill.imbalance_neur,
                bill.penalty_neur,
                bill.total_neur,
                bill.tariff_neur,
                bill.saving_neur,
                int(bill.worse_off),
                *(bill.term(kind) for kind in Kind),
            )
            for at, slot in enumerate(day.slots)
            for account in everybody
            for bill in (account.slots[at],)
        ),
    )


SOURCES = fields(Sources)[1:]
"""Terms of the identity after the surplus, which is shown as network and losses."""


def utility(day: DayResult) -> Table:
    """The utility's result by slot, and the terms of the identity that sum to it."""
    columns = (
        *SLOT_COLUMNS,
        "market_neur",
        "retail_neur",
        "wholesale_neur",
        "result_neur",
        "network_neur",
        "losses_neur",
        *(f"{field.name}_neur" for field in SOURCES),
        "unexplained_neur",
        "without_market_neur",
        "payments_sum_neur",
    )
    rows = []
    for slot in day.slots:
        found = utility_result(slot, day.participants)
        rows.append(
            (
                *_slot_cells(slot),
                found.market,
                found.retail,
                found.wholesale,
                found.result,
                found.network,
                found.losses,
                *(getattr(found.sources, field.name) for field in SOURCES),
                found.unexplained,
                found.without_market,
                found.payments,
            )
        )
    return Table("utility", columns, tuple(rows))


def storages(day: DayResult) -> Table:
    """Batteries and vehicles by slot: what the day ahead plans, what they did, what they hold afterwards."""
    columns = (
        *SLOT_COLUMNS,
        "storage",
        "prosumer",
        "bus_name",
        "planned_wh",
        "charge_wh",
        "discharge_wh",
        "energy_wh",
        "overlap_pays",
    )
    rows = [
        (
            *_slot_cells(slot),
            storage.name,
            storage.owner,
            day.bus_names[storage.bus],
            int(slot.stored.planned_wh[k]),
            int(slot.stored.charge_wh[k]),
            int(slot.stored.discharge_wh[k]),
            int(slot.stored.energy_wh[k]),
            int(slot.stored.overlap_pays[k]),
        )
        for slot in day.slots
        if slot.stored is not None
        for k, storage in enumerate(day.storages)
    ]
    return Table("storages", columns, tuple(rows))


_TABLES: tuple[Callable[[DayResult], Table], ...] = (
    orders,
    fills,
    prices,
    lines,
    violations,
    bills,
    utility,
)


# --- cells --------------------------------------------------------------------------------------

SLOT_COLUMNS = ("slot_index", "start")


def _slot_cells(slot: SlotResult) -> tuple[int, str]:
    return slot.index, iso(slot.start)


def _text(cell: Cell) -> str:
    """Fixed decimals, and no negative zero, so that equal results are equal bytes."""
    if isinstance(cell, float):
        text = f"{cell:.6f}"
        return "0.000000" if text == "-0.000000" else text
    return str(cell)
