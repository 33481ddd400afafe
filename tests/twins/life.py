"""What every part of a market's random life needs: people, accounts, time, and how things are signed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from ledger import calls
from ledger.keys import Key
from market.accounts import Account
from market.events import Event
from market.orders import OrdersFilled
from market.slots import Terms
from tests.twins.pair import GENESIS_SECOND, Pair, Signer, key_of

EUR = 10**9
TRADERS = 4
LATECOMER, STRANGER, HEIR = (key_of("person", i) for i in (4, 5, 6))
FIRST_SLOT_START = GENESIS_SECOND + 20_000

PRICE_SHIFTS = (0, 0, 0, 1, 99, 100, -1, -250)

T = TypeVar("T")


def meter_of(trader: Key, epoch: int = 1) -> Key:
    """The key of an account's meter in an epoch."""
    return key_of("meter", trader.address, epoch)


class Life:
    """One market, twice, with two slots. `pair` says which market."""

    pair: Pair
    rng: Random
    viewer: Random
    viewing: float
    slots: list[int]
    slot_seen: int
    utility: Key
    traders: list[Key]
    tariff: tuple[int, int, int]

    @property
    def terms(self) -> Terms:
        return self.pair.terms

    # --- drawing --------------------------------------------------------------------------------

    def choose(self, among: Sequence[T]) -> T:
        """One of these; the more often it stands there, the likelier."""
        return self.rng.choice(among)

    def some(self, among: Sequence[T]) -> list[T]:
        """All of these in any order, to be cut off by the caller."""
        return self.rng.sample(among, len(among))

    def often(self) -> bool:
        """Five times of six."""
        return self.rng.random() < 5 / 6

    def sometimes(self) -> bool:
        """Once in four times."""
        return self.rng.random() < 1 / 4

    def seldom(self) -> bool:
        """Once in twelve times."""
        return self.rng.random() < 1 / 12

    # --- the beginning --------------------------------------------------------------------------

    def draw_tariff(self) -> tuple[int, int, int]:
        fit = self.rng.randint(-50_000, 80_000)
        width = self.choose([0, 700, 50_000, 200_000])
        fee = self.rng.randint(-10_000, 120_000)
        return fit + width + fee, fee, fit

    def register(self, trader: Key, bus: int) -> None:
        call = calls.RegisterAccount(
            trader.address,
            bus,
            meter_of(trader).address,
            self.choose([40, 300, 10_000]),
            self.choose([40, 300, 10_000]),
            self.choose([0, 10**7, EUR]),
            self.rng.randint(0, 3),
        )
        self.pair.same(self.utility, call)
        self.deposit(trader, self.choose([0, 10**7, EUR, EUR, EUR]))

    def deposit(self, owner: Key, amount_neur: int) -> None:
        whole = amount_neur - amount_neur % self.pair.neur_per_unit
        self.pair.same(self.pair.payer, calls.Deposit(owner.address, whole))

    def views(self) -> bool:
        """Whether to ask the contract's views this time: they take longer than all else."""
        return self.viewer.random() < self.viewing

    # --- what all rules use ---------------------------------------------------------------------

    def now(self) -> int:
        """Second of the next block."""
        return self.pair.chain.now()

    def go(self, second: int) -> None:
        """Let the next block be at `second`, if that is still to come."""
        if second >= self.now():
            self.pair.chain.set_next_timestamp(second)

    def account(self, key: Key) -> Account | None:
        return self.pair.twin.accounts.find(key.address)

    def draw_slot(self) -> int:
        """Mostly one of the two; seldom one that is not scheduled."""
        return self.choose([*self.slots * 4, self.slots[-1] + 3])

    def draw_person(self) -> Key:
        """Mostly a trader; the utility, a latecomer or a stranger at times."""
        others = [self.utility, LATECOMER, STRANGER]
        return self.choose([*self.traders * 6, *others])

    def draw_signer(self, right: Key) -> Signer:
        if not self.seldom():
            return Signer(right)
        wrong = [Signer(STRANGER), Signer(right, malleated=True), Signer(None)]
        return self.choose(wrong)

    def check_touched(self, slot: int, events: Sequence[Event] | str) -> bool:
        """By views: the slot, and every account that the events name. Whether they were asked this time."""
        pair = self.pair
        self.slot_seen = slot
        if not self.views():
            return False
        pair.compare_slot(slot)
        pair.compare_money()
        named = {getattr(event, role, None) for event in events for role in ("trader", "taker", "account")}
        touched = [None if name is None else pair.twin.accounts.find(name) for name in named]
        for event in events:
            if isinstance(event, OrdersFilled):
                touched += [pair.twin.accounts.at(maker >> 40) for maker in event.makers]
        for account in {account.id: account for account in touched if account is not None}.values():
            pair.compare_account(account)
            pair.compare_position(slot, account)
        return True
