"""What the exchange answers when it is read: one frozen record for each view that returns several values."""

from __future__ import annotations

from dataclasses import dataclass

from market.orders import Address, Berth


@dataclass(frozen=True, slots=True)
class Account:
    """A registered account. Capacities Wh a slot, money n€; bit c−1 of `classes`: may sell class c."""

    id: int
    bus: int
    meter_key: Address
    meter_epoch: int
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int
    balance: int
    reserved: int


@dataclass(frozen=True, slots=True)
class SlotState:
    """How far a slot has come; tariff in µ€/kWh. `ordered` once an order came to rest."""

    scheduled: bool
    retail: int
    network_fee: int
    fit: int
    charges_posted: bool
    charges_complete: bool
    prices_posted: bool
    prices_complete: bool
    gate_closed: bool
    substation_posted: bool
    settled: bool
    ordered: bool
    closing: bool
    accounts: int
    settled_accounts: int
    clearing: int


@dataclass(frozen=True, slots=True)
class Position:
    """What an account has in a slot: energies Wh (net bought positive), resting orders, money n€."""

    net: int
    resting_bids: int
    resting_asks: int
    bids: int
    asks: int
    reserve: int
    trades: int
    settled: bool
    cleared: bool = False


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """Where an order rests, and its Wh; all 0 where it does not."""

    berth: Berth
    quantity: int


@dataclass(frozen=True, slots=True)
class Best:
    """The best level of a side, if there is one."""

    found: bool
    tick: int
    quantity: int


@dataclass(frozen=True, slots=True)
class StoredReading:
    """By what an account is settled as things stand: its reading, final where `found`, or its estimate.

    `basis` is 0 for a reading, 1 or 2 for an estimate by contract or forecast, whose `epoch` is 0; without
    either everything is 0.
    """

    found: bool
    net_energy: int
    certified: tuple[int, ...]
    epoch: int
    basis: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the parts of the exchange's code are that it runs by delegation."""

    clearinghouse: Address
    registry: Address
