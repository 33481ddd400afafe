"""What participants sign besides orders: cancels, charges, prices, forecasts, readings, oracle sets.

Field for field the EIP-712 types of the contract; hashes are 32 bytes. No cryptography here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from market.orders import Address

FIRST_EPOCH = 1
"""Of the keys of a meter, and of the set of oracles."""
ORACLES_MAX = 16
"""No set has more of them."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A trader takes back an order, or kills a nonce that was never used."""

    trader: Address
    slot: int
    nonce: int


@dataclass(frozen=True, slots=True)
class ChargesHeader:
    """The firm charges of a slot as oracles sign them; `values_hash` commits to the vector by bus."""

    slot: int
    epoch: int
    values_hash: bytes
    input_hash: bytes
    certificate_hash: bytes


@dataclass(frozen=True, slots=True)
class PricesHeader:
    """The prices of a slot as oracles sign them: λ_0 (µ€/kWh), forecast import (Wh), the vector's hash."""

    slot: int
    epoch: int
    hub_price: int
    forecast_import: int
    values_hash: bytes
    input_hash: bytes
    certificate_hash: bytes


@dataclass(frozen=True, slots=True)
class ForecastsHeader:
    """Forecast net energy of accounts 256·index to 256·index + 255 as oracles sign it, by its words' hash."""

    slot: int
    epoch: int
    index: int
    values_hash: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """A slot as a meter measured it: net energy (Wh, consumption positive), certified generation by class."""

    account: Address
    slot: int
    net_energy: int
    certified: tuple[int, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class OracleSet:
    """A new set of oracles, signed by a quorum of the present one."""

    epoch: int
    quorum: int
    oracles: tuple[Address, ...]


class ReadingReject(IntEnum):
    """Why a reading was refused. Alone it reverts by `rule`; in a batch it is skipped with the code.

    The contract tests the rules in this order and answers with the first one broken.
    """

    UNKNOWN_ACCOUNT = 1
    BAD_SIGNATURE = 2
    NOT_DUE = 3
    WRONG_EPOCH = 4
    ALREADY_FINAL = 5
    WRONG_CLASSES = 6
    OUT_OF_RANGE = 7

    @property
    def rule(self) -> str:
        """The contract's revert string."""
        return "reading: " + self.name.lower().replace("_", " ")
