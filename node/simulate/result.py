"""What a simulated day leaves behind: frozen records that tables, plots, report and summary read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from market.events import AccountResettled, AccountSettled
from market.feeder.powerflow import Violation
from market.orders import Fill, OrderPlaced, OrderVoided
from market.pricing.conditions import Components, SlotPrices
from market.slots import Tariff
from market.units import Floats, Ints


@dataclass(frozen=True, eq=False)
class NetworkState:
    """AC flow of one slot: entries by bus, lines by the bus they feed (entry 0 zero).

    voltage: magnitude, pu; current: magnitude, pu; flow_mw, flow_mvar: sending end; loss_mw of the
    whole feeder; violations: each limit broken.
    """

    voltage: Floats
    current: Floats
    flow_mw: Floats
    flow_mvar: Floats
    loss_mw: float
    import_mw: float
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class Welfare:
    """Welfare of one slot in € (device utility less import at the hub price).

    `delivered`, `central`, `alone` on actual conditions (what happened, W*, W_0: everyone on
    FiT/retail); `booked`, `booked_central`, `booked_alone` for the contracted positions on what the
    traders knew. `delivered_wholesale` counts the import at the wholesale price instead.
    """

    delivered: float
    central: float
    alone: float
    booked: float
    booked_central: float
    booked_alone: float
    delivered_wholesale: float


@dataclass(frozen=True, eq=False)
class StoredSlot:
    """What storages did in one slot, Wh by storage: `planned_wh` is what the day ahead has them take, net.

    `energy_wh` is what they hold afterwards. `overlap_pays` marks those at a bus whose λ is so low that
    charging and discharging at once would pay: they do not, and the prices are then a local optimum's.
    """

    planned_wh: Ints
    charge_wh: Ints
    discharge_wh: Ints
    energy_wh: Ints
    overlap_pays: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SlotResult:
    """One slot, from its charges to its settlement.

    index: in the scenario; slot: on the chain; start: Unix second in the scenario's calendar (the
    chain's own calendar may be shifted). Energies Wh, prices µ€/kWh, money n€. Arrays by prosumer in
    the scenario's order, or by bus. `atc_rounds` counts the rounds of the oracles' method, `atc_error`
    is the largest relative difference of a DLMP from the central solve. `fallback` says why charges or
    prices were cleared centrally instead; empty where they were not. `settled` has one record a
    prosumer, in their order; `utility` the utility's. `charges_shed_wh` and `prices_shed_wh` are the firm
    load by bus that the clearing behind them plans to shed: nobody carries it out, but ν and λ are then
    scarcity prices.

    Where the oracles could prove nothing, `uncharged` and `unpriced` say why. Without charges nothing was
    traded and ν = 0; without prices the contract settled by the tariff rule, and `prices` are the
    reference of the utility's identity (`market.settlement.slot_identity`): λ_0 = ω, λ_b = ω + ν_b.
    `late` counts readings that came after their account was settled by an estimate, and `resettled` is what
    they changed; `settled` has it. `stored` is None where nobody stores anything; `coalitions` are those that
    traded together, by numbers of prosumers from 1.
    """

    index: int
    slot: int
    start: int
    tariff: Tariff
    wholesale: int
    charges: SlotPrices
    prices: SlotPrices
    components: Components
    reactive_price: Floats
    atc_rounds: int
    atc_error: float
    charges_shed_wh: Ints
    prices_shed_wh: Ints
    placed: tuple[OrderPlaced, ...]
    fills: tuple[Fill, ...]
    voided: tuple[OrderVoided, ...]
    contracted_wh: Ints
    metered_wh: Ints
    passive_wh: Ints
    import_wh: int
    scheduled: NetworkState
    delivered: NetworkState
    settled: tuple[AccountSettled, ...]
    utility: AccountSettled
    welfare: Welfare
    fallback: str = ""
    uncharged: str = ""
    unpriced: str = ""
    late: int = 0
    resettled: tuple[AccountResettled, ...] = ()
    stored: StoredSlot | None = None
    coalitions: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """A battery or a vehicle as drawn: its name in tables, whose it is, kWh it holds, kW of its charging."""

    name: str
    owner: str
    bus: int
    energy_kwh: float
    power_kw: float


@dataclass(frozen=True, slots=True)
class Participant:
    """A prosumer as drawn: its name in tables, address, bus, and what stands behind its meter (kW peak)."""

    name: str
    address: str
    bus: int
    pv_kw: float
    firm_kw: float
    flexible_kw: float
    import_capacity_wh: int
    export_capacity_wh: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """The chain that a session was on: its head afterwards, the gas of its blocks, the contract's address."""

    gas_used: int
    head_number: int
    head_hash: str
    exchange_address: str


NO_LEDGER = Ledger(0, 0, "", "")
"""The contract's twin alone kept the books: no block, no proof."""


@dataclass(frozen=True, eq=False)
class DayResult:
    """A whole session. `orders_rejected` were skipped by the contract; `seconds` is wall time, in no file.

    rating: current that each line may carry, pu by the bus it feeds; inf where there is no limit.
    """

    scenario_name: str
    seed: int
    rule: str
    feeder_name: str
    bus_names: tuple[str, ...]
    parent: Ints
    rating: Floats
    slot_seconds: int
    utility_address: str
    participants: tuple[Participant, ...]
    slots: tuple[SlotResult, ...]
    orders_rejected: int
    ledger: Ledger
    seconds: float
    storages: tuple[Storage, ...] = ()
