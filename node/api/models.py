"""The API's resources, version 1, as their OpenAPI description tells them.

Whole numbers throughout, the unit last in the name: energies Wh, prices µ€/kWh, money n€, times Unix seconds.
Energy that is bought or consumed is positive; money is positive when the account pays.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from node.api.projection import State

SideName = Literal["bid", "ask"]
BasisName = Literal["reading", "contract", "forecast"]
PaymentKind = Literal["clearing", "settlement", "resettlement"]


class Resource(BaseModel):
    """A thing of the market, as it is now."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class MarketResource(Resource):
    """The market itself: where it is, its time, and what was fixed at its deployment."""

    chain_id: int
    exchange: str
    """Address of the contract."""
    now_unix_seconds: int
    """The chain's time, by which slots open and close."""
    head_block: int
    head_hash: str
    live: bool
    """False where the record is finished and nothing will be added."""
    rule: Literal["dlmp", "tariff"]
    """The rule of settlement."""
    slot_seconds: int
    open_lead_seconds: int
    gate_lead_seconds: int
    price_grace_seconds: int
    meter_grace_seconds: int
    resettle_grace_seconds: int
    veto_grace_seconds: int
    lot_wh: int
    """The smallest energy that can be traded."""
    buses: int
    """Priced buses, the substation (bus 0) included."""
    penalties_ueur_per_kwh: list[int]
    """Of energy that is not certified, by class from 1."""


class SlotResource(Resource):
    """A delivery slot: `scheduled → open → closed → priced → metered → settled`."""

    slot: int
    """Its number: Unix seconds at delivery divided by the slot's length."""
    state: State
    opens_unix_seconds: int
    gate_unix_seconds: int
    """The first second at which no order is taken any more."""
    start_unix_seconds: int
    """First second of delivery."""
    end_unix_seconds: int
    best_bid_ueur_per_kwh: int | None
    """At the hub, class 0; null where nothing rests."""
    best_ask_ueur_per_kwh: int | None
    orders: int
    """Orders that were placed so far."""
    fills: int
    volume_wh: int
    """Energy that changed hands, without what was vetoed."""
    hub_price_ueur_per_kwh: int | None
    """λ₀; null until prices are posted."""


class LevelResource(Resource):
    """What rests at one price."""

    price_ueur_per_kwh: int
    """At the hub."""
    quantity_wh: int


class BookResource(Resource):
    """Ladder of one energy class of a slot, best prices first."""

    slot: int
    state: State
    energy_class: int
    bids: list[LevelResource]
    asks: list[LevelResource]


class BusPriceResource(Resource):
    """What a bus is charged and priced."""

    bus: int
    charge_ueur_per_kwh: int | None
    """ν: the network charge of energy bought here and delivered; null until it is posted."""
    price_ueur_per_kwh: int | None
    """λ: the distribution locational marginal price; null until it is posted."""


class PricesResource(Resource):
    """Charges and prices of a slot by bus; bus 0 is the substation."""

    slot: int
    state: State
    buses: list[BusPriceResource]


class BusFlowResource(Resource):
    """A bus in a clearing, and the line that feeds it."""

    bus: int
    name: str
    parent: int | None
    """The bus that the line comes from; null for the substation, as is all of its line."""
    voltage_pu: float
    voltage_min_pu: float
    voltage_max_pu: float
    flow_mw: float | None
    """Active power of the line at its beginning; negative towards the substation."""
    loading: float | None
    """Its current as a share of its rating; null where it has none."""


class FlowsResource(Resource):
    """What the feeder carries, as the slot's newest clearing expects it."""

    slot: int
    state: State
    clearing: Literal["charges", "prices"]
    """Which clearing: that of the firm charges, or that of the prices."""
    feeder: str
    buses: list[BusFlowResource]


class OrderResource(Resource):
    """An order that the contract took. Its energy is filled, rests, was voided, or taken back by a veto."""

    slot: int
    trader: str
    nonce: int
    side: SideName
    energy_class: int
    limit_ueur_per_kwh: int
    """All-in at the trader's own bus, as it was signed."""
    price_ueur_per_kwh: int
    """At the hub, where it stands in the book."""
    quantity_wh: int
    filled_wh: int
    resting_wh: int
    voided_wh: int
    vetoed_wh: int
    void_reasons: list[str]
    """Why energy of it was voided, in the contract's words."""
    expiry_unix_seconds: int | None
    """Null where it has none."""
    immediate_or_cancel: bool


class DraftResource(Resource):
    """An order that is not signed yet, with what it means."""

    trader: str
    slot: int
    nonce: int
    """The lowest that the trader has neither placed nor cancelled in the slot."""
    side: SideName
    energy_class: int
    limit_ueur_per_kwh: int
    """All-in at the trader's own bus."""
    quantity_wh: int
    immediate_or_cancel: bool
    expiry_unix_seconds: int
    """0 for none."""
    relayer: str
    """Who may submit it; the zero address is anyone."""
    charge_ueur_per_kwh: int | None
    """Of the trader's bus; null until it is posted."""
    price_ueur_per_kwh: int | None
    """At the hub, where it would stand in the book."""
    amount_at_limit_neur: int
    """What all of it costs, or brings, at the limit."""
    typed_data: dict[str, Any]
    """For `eth_signTypedData_v4` (EIP-712)."""


class CancelDraftResource(Resource):
    """A cancel that is not signed yet, with what it takes back."""

    trader: str
    slot: int
    nonce: int
    resting_wh: int
    """What rests of the order now; 0 where the nonce was not seen yet, or nothing is left."""
    typed_data: dict[str, Any]
    """For `eth_signTypedData_v4` (EIP-712)."""


class CancelledResource(Resource):
    """A cancel that is on the chain."""

    transaction_hash: str
    block: int
    order: OrderResource | None
    """What became of the order; null where there was none, and its nonce is used up."""


class PlacedResource(Resource):
    """An order that was handed in, and is on the chain."""

    transaction_hash: str
    block: int
    order: OrderResource
    """What became of it so far."""


class TestAccountResource(Resource):
    """An account that the testnet's server signs for."""

    address: str
    bus: int


class SignatureResource(Resource):
    """A signature."""

    signature: str
    """r ‖ vs (EIP-2098) in hexadecimal."""


class FillResource(Resource):
    """Energy that changed hands between two orders, at the maker's price. Vetoes may have taken it back."""

    block: int
    log: int
    item: int
    """Its number within the log."""
    timestamp_unix_seconds: int
    slot: int
    energy_class: int
    price_ueur_per_kwh: int
    """At the hub."""
    quantity_wh: int
    maker: str
    maker_nonce: int
    taker: str
    taker_nonce: int
    taker_side: SideName


class AccountResource(Resource):
    """A registered account."""

    address: str
    id: int
    """From 1 on; 0 is the utility."""
    bus: int
    meter_key: str
    meter_epoch: int
    import_capacity_wh: int
    """A slot."""
    export_capacity_wh: int
    credit_limit_neur: int
    energy_classes: list[int]
    """Classes that it may sell, beside class 0."""
    balance_neur: int
    reserved_neur: int | None
    """Held for orders and open slots; null in a finished record, which does not tell it."""
    wallet_token_units: int | None
    """Tokens outside the market; null in a finished record."""


class PositionResource(Resource):
    """What an account has contracted in a slot."""

    slot: int
    state: State
    contracted_wh: int
    """Net: bought positive."""
    charge_ueur_per_kwh: int | None
    """Of the account's bus."""
    price_ueur_per_kwh: int | None


class SettlementResource(Resource):
    """A payment that the contract posted; its place is what `wattbook audit explain` takes.

    A clearing moves what trades cost ahead of settlement; a settlement tells the whole slot, a
    resettlement what a late reading changed. Amounts are positive when the account pays.
    """

    block: int
    log: int
    timestamp_unix_seconds: int
    kind: PaymentKind
    slot: int
    account: str
    basis: BasisName | None
    """What a settlement stands on: a reading, or an estimate."""
    contracted_wh: int | None
    metered_wh: int | None
    delivered_wh: int | None
    """The part of the contract that was delivered."""
    trades_neur: int
    charge_neur: int
    closeout_neur: int
    imbalance_neur: int
    penalty_neur: int
    total_neur: int
    """Sum of the five; a settlement's includes what was cleared of its trades before."""


class BillLineResource(Resource):
    """A line of a bill."""

    what: str
    amount_neur: int
    source: str
    """Places on the chain that it stands on, as `184:7`."""


class BillResource(Resource):
    """A payment taken apart: its lines add up to what was posted."""

    place: str
    slot: int
    account: str
    heading: str
    sentence: str
    """What happened, in its owner's words: energy in kWh, prices in €/kWh."""
    lines: list[BillLineResource]
    total_neur: int
    """Sum of the lines."""
    posted_neur: int
    """What the contract posted; any other sum is a finding of the audit."""
    flat_neur: int | None
    """The same meter on retail and feed-in tariff alone; null where there is nothing to compare."""
    flat_sentence: str
    """The same in words."""


class FindingResource(Resource):
    """Something that is wrong with a record."""

    check: str
    where: str
    expected: str
    found: str
    difference: str
    next: str
    """What to look at next."""


class CheckResource(Resource):
    """A check of the audit."""

    name: str
    description: str
    ok: bool | None
    """Null where it looked at nothing: then it says nothing."""
    status: Literal["ok", "wrong", "nothing"]
    items: int
    """How many things it looked at."""
    findings: list[FindingResource]


class AuditResource(Resource):
    """What the audit says of the record."""

    ok: bool | None
    """Null where nothing was looked at."""
    conclusion: str
    """The verdict in one line, as the command ends with it."""
    block: int
    """The last that was looked at."""
    checks: list[CheckResource]
    verified: list[str]
    """How much was looked at."""
    assumed: list[str]
    """What had to be taken for granted."""
