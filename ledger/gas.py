"""How much gas the exchange's calls may use, and so how many orders or accounts a transaction takes.

The contract's page has what each call needs at its bounds; budgets are above it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ledger.chain.protocol import TRANSACTION_GAS_MAX, TransactionRefused
from market.book import ENTRIES_PER_CALL
from market.exchange import SLOTS_PER_CALL

ORDERS_PER_TRANSACTION = 64
READINGS_PER_TRANSACTION = 100
ACCOUNTS_PER_TRANSACTION = 100
VETOES_PER_TRANSACTION = 64


@dataclass(frozen=True, slots=True)
class GasBudget:
    """Gas a call may use: some for the call, some for each item of its batch. Unused gas costs nothing.

    `items_max` is the most items of a batch; `few` holds instead where it asks for less, as of a few items.
    """

    call: int
    item: int = 0
    items_max: int = 1
    few: GasBudget | None = None

    def limit(self, items: int) -> int:
        """Gas limit of a transaction with so many items; no batch needs more than TRANSACTION_GAS_MAX."""
        gas = min(self.call + self.item * items, TRANSACTION_GAS_MAX)
        return gas if self.few is None else min(gas, self.few.limit(items))

    def fits(self, gas_max: int) -> int:
        """Most items of a transaction that may ask for so much gas. Raises TransactionRefused for none."""
        fits = bisect_right(range(1, self.items_max + 1), gas_max, key=self.limit)
        if not fits:
            raise TransactionRefused(
                f"gas: a call asks for {self.limit(1)}, more than the {gas_max} of --transaction-gas"
            )
        return fits


SINGLE_CALL = GasBudget(500_000)
# One order visits 128 resting ones at most, all of a batch 383: contracts/README.md has the figures.
ORDERS_APART = GasBudget(call=100_000, item=5_300_000)
ORDERS = GasBudget(15_000_000, 220_000, ORDERS_PER_TRANSACTION, few=ORDERS_APART)
READINGS = GasBudget(200_000, 120_000, READINGS_PER_TRANSACTION)
ACCOUNTS = GasBudget(500_000, 200_000, ACCOUNTS_PER_TRANSACTION)
# One fill may have had 128 makers, and 1 024 gaps may be in the way, which are gone back over.
VETOES = GasBudget(2_000_000, 300_000, VETOES_PER_TRANSACTION)
ENTRIES = GasBudget(300_000, 60_000, ENTRIES_PER_CALL)
WORDS = GasBudget(call=500_000, item=40_000)
SIGNATURES = GasBudget(call=1_000_000, item=60_000)
SLOTS = GasBudget(200_000, 40_000, SLOTS_PER_CALL)
