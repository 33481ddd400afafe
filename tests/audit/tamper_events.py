"""Consistent forgeries of events: calldata stays what was signed, the chain is said to have told another."""

from __future__ import annotations

from dataclasses import replace

from ledger import vectors
from market.events import (
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    Deposited,
    Event,
    ForecastsPosted,
    OraclesRotated,
    PricesChunk,
    PricesPosted,
    ReadingEstimated,
    ReadingPosted,
    RoleAccepted,
    SlotSettled,
    SlotsScheduled,
    SubstationPosted,
    TradesCleared,
    Unpaused,
    Withdrawn,
)
from market.orders import (
    FillVetoed,
    GateClosed,
    NonceCancelled,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Reject,
    VoidReason,
)
from tests.audit.forge import found, scale_tokens
from tests.audit.small_market import BUYER, NEIGHBOUR, NEW_UTILITY, SELLER, SILENT, SLOT, TRADERS, UTILITY
from tests.audit.tampering import (
    Edit,
    Ground,
    Kind,
    Tampered,
    add,
    consistent,
    drop,
    lie,
    put,
    told_again,
    told_at,
)

STRANGER = "0x" + "22" * 20


def of_bus(bus: int, change: int = 1) -> Edit:
    """Another value of one bus in a chunk."""

    def edit(event: Event) -> Event:
        assert isinstance(event, PricesChunk | ChargesChunk)
        values = list(vectors.unpack(event.words, 3))
        values[bus] += change
        return replace(event, words=vectors.pack(values))

    return edit


def fill_more(event: Event) -> Event:
    """10 Wh more of the first maker."""
    assert isinstance(event, OrdersFilled)
    return replace(event, makers=(event.makers[0] + 10, *event.makers[1:]))


def fill_from_account_3(event: Event) -> Event:
    """Another maker."""
    assert isinstance(event, OrdersFilled)
    return replace(event, makers=(3 << 40 | event.makers[0] & (2**40 - 1), *event.makers[1:]))


def forecast_more(event: Event) -> Event:
    """1 Wh more forecast of account 1."""
    assert isinstance(event, ForecastsPosted)
    return replace(event, words=(event.words[0] + (1 << 32), *event.words[1:]))


def unreadable(event: Event) -> Event:
    """A vector with a word that no vector has."""
    assert isinstance(event, SubstationPosted)
    return replace(event, passive=(*event.passive, 1))


def _slot(slot: int) -> str:
    return f"slot {slot} "


SIGNATURES = (
    lie("order-quantity", "signatures", OrderPlaced, 1, add("quantity", 10)),
    lie("order-limit", "signatures", OrderPlaced, 0, add("limit_price", -100)),
    told_again("order-of-nobody", "signatures", OrderPlaced, 0, (OrderPlaced, 0), put(nonce=77)),
    lie("cancel-of-another-order", "signatures", OrderVoided, 1, add("nonce", 1)),
    lie("cancel-of-another-nonce", "signatures", NonceCancelled, 0, add("nonce", 40)),
    told_again(
        "cancel-of-nobody", "signatures", OrderVoided, 0, (OrderPlaced, 9), put(reason=VoidReason.CANCELLED)
    ),
    lie("reading-energy", "signatures", ReadingPosted, 0, add("net_energy", 1)),
    lie("reading-certified", "signatures", ReadingPosted, 1, put(certified=(151,))),
    lie("reading-epoch", "signatures", ReadingPosted, 2, add("epoch", 1)),
    lie("charges-signers", "signatures", ChargesPosted, 0, add("signers", 2)),
    lie("charges-epoch", "signatures", ChargesPosted, 0, add("epoch", 1)),
    lie("charges-values-hash", "signatures", ChargesPosted, 1, put(values_hash=bytes(32))),
    lie("prices-signers", "signatures", PricesPosted, 1, add("signers", -1)),
    lie("prices-certificate-hash", "signatures", PricesPosted, 0, put(certificate_hash=bytes(32))),
    lie("prices-input-hash", "signatures", PricesPosted, 0, put(input_hash=bytes(32))),
    lie("prices-values-hash", "signatures", PricesPosted, 0, put(values_hash=bytes(32))),
    lie("forecast-words", "signatures", ForecastsPosted, 0, forecast_more),
    lie("forecast-signers", "signatures", ForecastsPosted, 0, add("signers", 2)),
    lie("oracles-first-set", "signatures", OraclesRotated, 0, add("quorum", -1)),
    lie("oracles-other-set", "signatures", OraclesRotated, 1, put(oracles=tuple(t.address for t in TRADERS))),
    lie("oracles-epoch", "signatures", OraclesRotated, 1, add("epoch", 1)),
)

NONCES = (
    told_again("order-replayed", "nonces", OrderPlaced, 0, (OrderPlaced, 2)),
    told_again("order-after-its-cancel", "nonces", OrderPlaced, 7, (OrderVoided, 1)),
    told_again("cancel-twice", "nonces", NonceCancelled, 0, (NonceCancelled, 0)),
)

MATCHING = (
    lie("fill-quantity", "matching", OrdersFilled, 0, fill_more),
    lie("fill-maker", "matching", OrdersFilled, 0, fill_from_account_3),
    lie("fill-price", "matching", OrdersFilled, 1, add("tick", 1)),
    lie("fill-hidden", "matching", OrdersFilled, 2, drop),
    told_again("fill-twice", "matching", OrdersFilled, 0, (OrdersFilled, 0)),
    lie("order-hidden", "matching", OrderPlaced, 0, drop),
    lie("order-tick", "matching", OrderPlaced, 0, add("tick", -1)),
    lie("rejection-code", "matching", OrderRejected, 0, add("code", -1)),
    lie("rejection-hidden", "matching", OrderRejected, 0, drop),
    lie("void-quantity", "matching", OrderVoided, 0, add("quantity", 10)),
    lie("void-reason", "matching", OrderVoided, 0, put(reason=VoidReason.EXPIRED)),
    lie("void-hidden", "matching", OrderVoided, 2, drop),
    lie("veto-quantity", "matching", FillVetoed, 0, add("quantity", -10)),
    lie("veto-element", "matching", FillVetoed, 1, add("element", 1)),
    lie("veto-hidden", "matching", FillVetoed, 1, drop),
    lie("gate-accounts", "matching", GateClosed, 0, add("accounts", 1)),
)

RESERVES = (
    lie("withdrawal-amount", "reserves", Withdrawn, 0, add("amount", -1_000)),
    lie("withdrawal-hidden", "reserves", Withdrawn, 1, drop),
    lie("rejection-for-funds", "reserves", OrderRejected, 0, put(code=Reject.INSUFFICIENT_FUNDS)),
)

PRICING = (
    lie("charge-of-a-bus", "charges", ChargesChunk, 0, of_bus(2)),
    lie("charge-at-the-hub", "charges", ChargesChunk, 0, of_bus(0)),
    lie("charges-chunk-hidden", "lifecycle", ChargesChunk, 1, drop),
    told_again(
        "charges-chunk-too-many", "charges", ChargesChunk, 0, (ChargesChunk, 0), put(index=7), "block 7 log 0"
    ),
    lie("charges-proof-unknown", "charges", ChargesPosted, 0, put(certificate_hash=bytes(32))),
    lie("charges-inputs-unknown", "charges", ChargesPosted, 0, put(input_hash=bytes(32))),
    lie("charges-of-another-tariff", "charges", SlotsScheduled, 0, add("fit", -1), place="block 7 log 0"),
    lie("charges-of-no-slot", "charges", SlotsScheduled, 0, add("count", -1), place="block 9 log 0"),
    lie("price-of-a-bus", "prices", PricesChunk, 0, of_bus(2)),
    lie("price-of-the-hub", "prices", PricesChunk, 0, of_bus(0)),
    lie("price-of-the-hub-alone", "prices", PricesPosted, 0, add("hub_price", -1)),
    lie("prices-forecast-import", "prices", PricesPosted, 1, add("forecast_import", 1)),
    lie("prices-proof-unknown", "prices", PricesPosted, 0, put(certificate_hash=bytes(32))),
    lie("prices-inputs-unknown", "prices", PricesPosted, 0, put(input_hash=bytes(32))),
    told_again(
        "prices-chunk-too-many", "prices", PricesChunk, 0, (PricesChunk, 0), put(index=1), "block 21 log 0"
    ),
    lie("prices-of-another-tariff", "prices", SlotsScheduled, 0, add("retail", 1), place="block 21 log 0"),
)

READINGS = (
    lie("reading-of-more-classes", "readings", ReadingPosted, 0, put(certified=(0, 0))),
    told_again("reading-twice", "readings", ReadingPosted, 0, (ReadingPosted, 2)),
    told_again("reading-after-settlement", "readings", ReadingPosted, 0, (SlotSettled, 0)),
    told_again("reading-too-early", "readings", ReadingPosted, 0, (PricesPosted, 0)),
    told_again("reading-too-late", "readings", ReadingPosted, 3, (Withdrawn, 1), put(slot=SLOT)),
    told_again("estimate-twice", "readings", ReadingEstimated, 0, (ReadingEstimated, 2)),
    told_again("estimate-of-the-read", "readings", ReadingEstimated, 0, (SlotSettled, 0), put(slot=SLOT)),
    told_again("estimate-too-early", "readings", ReadingEstimated, 2, (SubstationPosted, 2)),
    told_again(
        "estimate-of-the-utility",
        "readings",
        ReadingEstimated,
        0,
        (ReadingEstimated, 2),
        put(account=UTILITY.address),
    ),
    told_again("estimate-before-closing", "readings", ReadingEstimated, 0, (FillVetoed, 1)),
    lie("gate-hidden", "readings", GateClosed, 2, drop, place="block 37 log 0"),
    lie("estimate-energy", "readings", ReadingEstimated, 1, add("net_energy", 1)),
    lie("estimate-basis", "readings", ReadingEstimated, 1, add("basis", 1)),
)

SETTLEMENT = (
    lie("payment-imbalance", "settlement", AccountSettled, 1, add("imbalance", 1)),
    lie("payment-charge", "settlement", AccountSettled, 1, add("charge", -1)),
    lie("payment-closeout", "settlement", AccountSettled, 2, add("closeout", 1)),
    lie("payment-penalty", "settlement", AccountSettled, 2, add("penalty", -1_000)),
    lie("payment-trades", "settlement", AccountSettled, 1, add("trades", 5)),
    lie("payment-contracted", "settlement", AccountSettled, 1, add("contracted", 10)),
    lie("payment-metered", "settlement", AccountSettled, 1, add("metered", -1)),
    lie("payment-delivered", "settlement", AccountSettled, 1, add("delivered", -1)),
    lie("payment-rule", "settlement", AccountSettled, 1, add("rule", 1)),
    lie("payment-basis", "settlement", AccountSettled, 11, add("basis", 1)),
    lie("payment-of-the-utility", "settlement", AccountSettled, 0, add("trades", 1)),
    lie("payment-of-a-stranger", "settlement", AccountSettled, 1, put(account=STRANGER)),
    lie("payment-of-no-slot", "settlement", AccountSettled, 3, put(slot=SLOT + 40)),
    lie("payment-without-estimate", "settlement", ReadingEstimated, 2, drop, place="block 39 "),
    lie("payment-without-reading", "settlement", ReadingPosted, 0, drop, place="block 24 "),
    lie("resettlement-imbalance", "settlement", AccountResettled, 0, add("imbalance", 1)),
    lie("resettlement-metered", "settlement", AccountResettled, 0, add("metered", 1)),
    told_again(
        "resettlement-without-reading",
        "settlement",
        AccountResettled,
        0,
        (AccountResettled, 0),
        put(account=NEIGHBOUR.address),
    ),
    told_again(
        "resettlement-before-settlement",
        "settlement",
        AccountResettled,
        0,
        (ReadingPosted, 6),
        put(account=BUYER.address),
    ),
    lie("resettlement-of-a-reading", "settlement", AccountResettled, 0, put(slot=SLOT)),
)


def _at_another_scale(ground: Ground) -> Tampered:
    """All deposits and withdrawals moved a thousandth of the tokens: as of 3 decimals, not 6."""
    first, _ = found(ground.record, Deposited)
    return consistent(scale_tokens(ground.bundle, ground.record, 1_000), told_at(first))


CONSERVATION = (
    lie("trades-do-not-sum", "conservation", AccountSettled, 1, add("trades", 5), place=_slot(SLOT)),
    lie("identity-imbalance", "conservation", AccountSettled, 2, add("imbalance", 1), place=_slot(SLOT)),
    lie("identity-resettled", "conservation", AccountResettled, 0, add("charge", -1), place=_slot(SILENT)),
    lie("identity-without-utility", "conservation", AccountSettled, 0, drop, place=_slot(SLOT)),
    lie("deposit-at-no-scale", "conservation", Deposited, 0, add("amount", 7 * 10**9)),
    lie("deposit-amount", "conservation", Deposited, 2, add("amount", 1_000)),
    lie("withdrawal-of-other-tokens", "conservation", Withdrawn, 0, add("amount", -1_000)),
    Kind("deposits-at-another-scale", "conservation", _at_another_scale),
    told_again("deposit-twice", "conservation", Deposited, 1, (Deposited, 1)),
)

BACKING = (
    lie("utility-took-too-much", "backing", Withdrawn, 1, add("amount", 10**15), place="block 42 "),
    lie(
        "payments-from-nothing", "backing", AccountSettled, 2, add("imbalance", -(10**13)), place="block 24 "
    ),
    lie("trades-from-nothing", "backing", AccountSettled, 1, add("trades", -(10**13)), place="block 24 "),
    lie(
        "resettled-from-nothing", "backing", AccountResettled, 0, add("charge", -(10**13)), place="block 41 "
    ),
    lie("backed-by-no-deposit", "backing", Deposited, 0, put(amount=1_000), place="block 42 "),
    lie("utility-is-another", "backing", RoleAccepted, 3, put(holder=SELLER.address), place="block 42 "),
)

LIFECYCLE = (
    lie("payment-hidden", "lifecycle", AccountSettled, 2, drop, place=_slot(SLOT)),
    lie("settled-slot-hidden", "lifecycle", SlotSettled, 0, drop),
    lie("settled-slot-said-too-soon", "lifecycle", AccountSettled, 3, drop, place=_slot(SLOT)),
    lie("resettlement-hidden", "lifecycle", AccountResettled, 0, drop),
    lie("clearing-of-more", "lifecycle", TradesCleared, 0, add("amount", 5)),
    lie("clearing-hidden", "lifecycle", TradesCleared, 0, drop),
    told_again("cleared-before-closing", "lifecycle", TradesCleared, 0, (OrderPlaced, 9)),
    told_again("cleared-twice", "lifecycle", TradesCleared, 0, (TradesCleared, 0), place=_slot(SILENT)),
    lie("estimate-hidden", "lifecycle", ReadingEstimated, 2, drop),
    lie("forecast-hidden", "lifecycle", ForecastsPosted, 0, drop),
    lie("reading-hidden", "lifecycle", ReadingPosted, 2, drop),
    lie("pause-hidden", "lifecycle", Unpaused, 0, drop),
    lie("role-of-another", "lifecycle", RoleAccepted, 2, put(holder=SELLER.address)),
    lie("registered-elsewhere", "lifecycle", AccountRegistered, 0, add("bus", 1)),
    lie("substation-unreadable", "lifecycle", SubstationPosted, 0, unreadable),
    lie("substation-hidden", "lifecycle", SubstationPosted, 0, drop),
    lie("substation-import", "lifecycle", SubstationPosted, 0, add("net_import", 1)),
    told_again("charges-after-opening", "lifecycle", ChargesPosted, 0, (OrderPlaced, 9)),
    told_again("charges-chunk-after-opening", "lifecycle", ChargesChunk, 0, (OrderPlaced, 9)),
    told_again("order-before-opening", "lifecycle", OrderPlaced, 0, (ChargesChunk, 2), put(nonce=88)),
    told_again("order-after-the-gate", "lifecycle", OrderPlaced, 0, (GateClosed, 0), put(nonce=88)),
    told_again("fill-after-the-gate", "lifecycle", OrdersFilled, 0, (GateClosed, 0)),
    told_again("fill-before-opening", "lifecycle", OrdersFilled, 0, (ChargesChunk, 2)),
    told_again("cancel-after-the-gate", "lifecycle", NonceCancelled, 0, (GateClosed, 2)),
    told_again("veto-before-the-gate", "lifecycle", FillVetoed, 0, (OrdersFilled, 5)),
    told_again("veto-after-closing", "lifecycle", FillVetoed, 0, (GateClosed, 2)),
    told_again("gate-too-early", "lifecycle", GateClosed, 2, (FillVetoed, 1)),
    told_again("gate-twice", "lifecycle", GateClosed, 0, (GateClosed, 0), place=_slot(SLOT)),
    told_again("prices-before-the-gate", "lifecycle", PricesPosted, 0, (OrderPlaced, 9)),
    told_again("prices-after-their-time", "lifecycle", PricesPosted, 0, (SubstationPosted, 0)),
    told_again("prices-twice", "lifecycle", PricesPosted, 0, (PricesPosted, 0), place=_slot(SLOT)),
    told_again("prices-chunk-after-its-time", "lifecycle", PricesChunk, 0, (SubstationPosted, 0)),
    told_again("charges-twice", "lifecycle", ChargesPosted, 0, (ChargesPosted, 0), place=_slot(SLOT)),
    told_again("forecast-too-early", "lifecycle", ForecastsPosted, 0, (OrderPlaced, 9)),
    told_again("forecast-too-late", "lifecycle", ForecastsPosted, 0, (ReadingEstimated, 2)),
    told_again("substation-too-early", "lifecycle", SubstationPosted, 0, (PricesPosted, 0)),
    told_again(
        "substation-twice", "lifecycle", SubstationPosted, 0, (SubstationPosted, 0), place=_slot(SLOT)
    ),
    told_again("payment-before-closing", "lifecycle", AccountSettled, 1, (OrderPlaced, 9)),
    told_again("payment-before-the-gate-is-closed", "lifecycle", AccountSettled, 9, (OrderVoided, 9)),
    told_again("payment-twice", "lifecycle", AccountSettled, 1, (AccountSettled, 1), place=_slot(SLOT)),
    told_again("resettled-too-early", "lifecycle", AccountResettled, 0, (SubstationPosted, 2)),
    told_again(
        "resettled-twice", "lifecycle", AccountResettled, 0, (AccountResettled, 0), place=_slot(SILENT)
    ),
    told_again("settled-slot-twice", "lifecycle", SlotSettled, 0, (SlotSettled, 0), place=_slot(SLOT)),
    told_again(
        "role-taken", "lifecycle", RoleAccepted, 0, (RoleAccepted, 2), put(holder=NEW_UTILITY.address)
    ),
)

KINDS: tuple[Kind, ...] = (
    *SIGNATURES,
    *NONCES,
    *MATCHING,
    *RESERVES,
    *PRICING,
    *READINGS,
    *SETTLEMENT,
    *CONSERVATION,
    *BACKING,
    *LIFECYCLE,
)
