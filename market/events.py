"""Everything else the contract records: accounts, money, slots, vectors, readings, settlement.

With the order events of `market.orders` this is the whole event list of the contract, field for field
and in its order, so that the twin's events compare equal to those decoded from the chain.
Hashes are 32 bytes; words are 256-bit integers packing eight 32-bit values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from market.orders import Address, BookEvent


@dataclass(frozen=True, slots=True)
class AccountRegistered:
    """The utility registered an account; ids count up from 1, 0 is the utility."""

    account: Address
    id: int
    bus: int
    meter_key: Address
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """The utility changed capacities, credit limit or classes."""

    account: Address
    import_capacity: int
    export_capacity: int
    credit_limit: int
    classes: int


@dataclass(frozen=True, slots=True)
class MeterChanged:
    """A new meter key is in force."""

    account: Address
    meter_key: Address
    epoch: int


@dataclass(frozen=True, slots=True)
class RoleProposed:
    """First step of handing over a role."""

    role: int
    successor: Address


@dataclass(frozen=True, slots=True)
class RoleAccepted:
    """Second step: `holder` has the role now."""

    role: int
    holder: Address


@dataclass(frozen=True, slots=True)
class Paused:
    """Order entry is paused."""


@dataclass(frozen=True, slots=True)
class Unpaused:
    """Order entry goes on."""


@dataclass(frozen=True, slots=True)
class OraclesRotated:
    """The oracle set of an epoch (the first at deployment)."""

    epoch: int
    quorum: int
    oracles: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Deposited:
    """`amount` n€ came in for `account` from `payer`."""

    account: Address
    payer: Address
    amount: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """`amount` n€ left."""

    account: Address
    amount: int


@dataclass(frozen=True, slots=True)
class SlotsScheduled:
    """`count` slots from `first` have this tariff, µ€/kWh."""

    first: int
    count: int
    retail: int
    network_fee: int
    fit: int


@dataclass(frozen=True, slots=True)
class ChargesPosted:
    """A quorum signed the firm charges; bit i of `signers` is oracle i."""

    slot: int
    epoch: int
    chunks: int
    values_hash: bytes
    input_hash: bytes
    certificate_hash: bytes
    signers: int


@dataclass(frozen=True, slots=True)
class ChargesChunk:
    """One chunk of the vector of charges."""

    slot: int
    index: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PricesPosted:
    """A quorum signed the prices."""

    slot: int
    epoch: int
    hub_price: int
    forecast_import: int
    chunks: int
    values_hash: bytes
    input_hash: bytes
    certificate_hash: bytes
    signers: int


@dataclass(frozen=True, slots=True)
class PricesChunk:
    """One chunk of the vector of prices."""

    slot: int
    index: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForecastsPosted:
    """A quorum signed the forecast net energy (Wh) of accounts 256·index to 256·index + 255."""

    slot: int
    epoch: int
    index: int
    words: tuple[int, ...]
    signers: int


@dataclass(frozen=True, slots=True)
class ReadingPosted:
    """A meter's reading is final."""

    slot: int
    account: Address
    net_energy: int
    certified: tuple[int, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class ReadingRejected:
    """A reading of a batch was skipped."""

    slot: int
    account: Address
    code: int


@dataclass(frozen=True, slots=True)
class ReadingEstimated:
    """Where no reading came by T1: the account's contract (basis 1) or its forecast (basis 2) stands in."""

    slot: int
    account: Address
    net_energy: int
    basis: int


@dataclass(frozen=True, slots=True)
class SubstationPosted:
    """The utility's reading at the substation (Wh), the wholesale price, passive energy by bus (packed)."""

    slot: int
    net_import: int
    wholesale: int
    passive: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TradesCleared:
    """What an account pays for its trades, or gets where negative, n€, moved before it is settled."""

    slot: int
    account: Address
    amount: int


@dataclass(frozen=True, slots=True)
class AccountSettled:
    """One account's postings in a slot, n€, positive when the account pays.

    `trades` may have been cleared before: then it is not posted again.
    """

    slot: int
    account: Address
    rule: int
    basis: int
    contracted: int
    metered: int
    delivered: int
    trades: int
    charge: int
    closeout: int
    imbalance: int
    penalty: int

    @property
    def beside_trades_neur(self) -> int:
        """What is posted beside the trades."""
        return self.charge + self.closeout + self.imbalance + self.penalty

    @property
    def total_neur(self) -> int:
        """All of it, with the trades that were cleared before."""
        return self.trades + self.beside_trades_neur

    def corrected(self, late: AccountResettled) -> AccountSettled:
        """As it would have been by the late reading: its energies, and amounts with the differences."""
        return replace(
            self,
            metered=late.metered,
            delivered=late.delivered,
            charge=self.charge + late.charge,
            closeout=self.closeout + late.closeout,
            imbalance=self.imbalance + late.imbalance,
            penalty=self.penalty + late.penalty,
        )


@dataclass(frozen=True, slots=True)
class AccountResettled:
    """What a late reading changed of a settlement by estimate: differences, n€; energies as they are now."""

    slot: int
    account: Address
    metered: int
    delivered: int
    charge: int
    closeout: int
    imbalance: int
    penalty: int

    @property
    def beside_trades_neur(self) -> int:
        """What is posted, which leaves trades as they are."""
        return self.charge + self.closeout + self.imbalance + self.penalty


@dataclass(frozen=True, slots=True)
class SlotSettled:
    """Every account of the slot's snapshot is settled."""

    slot: int


Event = (
    BookEvent
    | AccountRegistered
    | AccountChanged
    | MeterChanged
    | RoleProposed
    | RoleAccepted
    | Paused
    | Unpaused
    | OraclesRotated
    | Deposited
    | Withdrawn
    | SlotsScheduled
    | ChargesPosted
    | ChargesChunk
    | PricesPosted
    | PricesChunk
    | ForecastsPosted
    | ReadingPosted
    | ReadingRejected
    | ReadingEstimated
    | SubstationPosted
    | TradesCleared
    | AccountSettled
    | AccountResettled
    | SlotSettled
)
