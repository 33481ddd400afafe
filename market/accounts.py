"""Accounts of a market: who they are, how much they may trade, their money, and what they hold in a slot.

Twin of `accounts.vy`. State changes in place, but only once every rule has been checked, so a refused
call changes nothing.

Refused                  a call broke a rule; `rule` is the contract's revert string
├── OrderRefused         (market.book) an order sent alone; `reject` is its code
└── ReadingRefused       (market.exchange) a reading sent alone; `reject` is its code
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from market.events import AccountChanged, AccountRegistered, MeterChanged
from market.orders import NOBODY, Address, Side
from market.units import hub_price

UTILITY_ID = 0
"""The utility's id, whoever holds the role."""
IDS = 2**24
"""There are no more accounts than these."""
AMOUNT_MAX_NEUR = 2**80 - 1
"""No deposit or withdrawal is larger."""
BALANCE_MAX_NEUR = 2**83 - 1
"""No balance is further from 0."""
RESERVE_MAX_NEUR = 2**64 - 1
"""An account has no larger reserve in a slot."""
RESERVED_MAX_NEUR = 2**74 - 1
"""Nor over all slots."""
UTILITY_CAPACITY_WH = 2**32 - 1
"""What the utility may trade in a slot, either way; it has no capacity that anybody gave it."""
NEUR_DIGITS = 9
"""One euro is 10⁹ n€: decimals beyond these in a token are finer than money is counted here."""


class Role(IntEnum):
    """What its holder hands over in two steps, as the contract numbers it."""

    UTILITY = 0
    GUARDIAN = 1


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A call broke `rule`, spelled as the contract's revert string; `offender` is what broke it."""

    def __init__(self, rule: str, offender: object = None) -> None:
        super().__init__(rule if offender is None else f"{rule} ({offender})")
        self.rule = rule
        self.offender = offender


def require(kept: bool, rule: str, offender: object = None) -> None:
    """Raise Refused unless the rule is kept."""
    if not kept:
        raise Refused(rule, offender)


@dataclass(slots=True, eq=False)
class Account:
    """A registered account. Capacities are Wh a slot; bit c−1 of `classes`: may sell class c.

    `balance_neur` may be negative down to the credit limit and below; `reserved_neur` is the sum of
    its reserves over slots. The utility (id 0) has no meter, capacity, credit or class.
    """

    address: Address
    id: int
    bus: int = 0
    meter_key: Address = NOBODY
    meter_epoch: int = 0
    import_capacity_wh: int = 0
    export_capacity_wh: int = 0
    credit_limit_neur: int = 0
    classes: int = 0
    balance_neur: int = 0
    reserved_neur: int = 0

    @property
    def is_utility(self) -> bool:
        """Whether this is the utility's account."""
        return self.id == UTILITY_ID

    def capacity_wh(self, side: Side) -> int:
        """Wh a slot that it may buy or sell net, and that its meter may show."""
        if self.is_utility:
            return UTILITY_CAPACITY_WH
        return self.import_capacity_wh if side == Side.BID else self.export_capacity_wh

    def carries(self, net_wh: int) -> bool:
        """Whether its connection can take (or give, where negative) so much in a slot."""
        return -self.export_capacity_wh <= net_wh <= self.import_capacity_wh

    @property
    def free_neur(self) -> int:
        """Balance − reserves: what may be withdrawn, or where negative what is uncovered."""
        return self.balance_neur - self.reserved_neur

    def may_sell(self, energy_class: int) -> bool:
        """Whether the account may ask in a class; anybody may in class 0."""
        return energy_class == 0 or bool(self.classes >> (energy_class - 1) & 1)


@dataclass(slots=True, eq=False)
class Position:
    """What an account holds in one slot. Bought energy is positive, money is positive when it pays.

    `net_wh` sums over classes, `class_net_wh` holds classes from 1 that were traded, `trades_neur` is
    Σ ±q·π over fills. Until closing begins a fill is in them for its taker alone; for its maker it goes
    on counting as resting. `resting_wh` and `resting_count` are by side, of orders that came to rest and
    were not voided. `reserve_neur` is Σ over resting energy at its own tick + Σ over fills at the fill's
    tick, and 0 once the account is settled. `cleared`: its trades are paid before that,
    into the slot's clearing or out of it, and no longer reserved.
    """

    net_wh: int = 0
    class_net_wh: dict[int, int] = field(default_factory=dict)
    resting_wh: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    resting_count: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))
    trades_neur: int = 0
    reserve_neur: int = 0
    settled: bool = False
    cleared: bool = False

    def in_side_wh(self, side: Side) -> int:
        """Net energy, positive where it was traded on this side."""
        return self.net_wh if side == Side.BID else -self.net_wh

    def sold_wh(self, energy_class: int) -> int:
        """Net energy sold in a class from 1, 0 if it was bought."""
        return max(0, -self.class_net_wh.get(energy_class, 0))

    def trade(self, side: Side, energy_class: int, tick: int, quantity_wh: int) -> None:
        """Book energy bought or sold at a tick; a negative quantity takes it back."""
        bought_wh = quantity_wh if side == Side.BID else -quantity_wh
        self.net_wh += bought_wh
        self.trades_neur += bought_wh * hub_price(tick)
        if energy_class != 0:
            self.class_net_wh[energy_class] = self.class_net_wh.get(energy_class, 0) + bought_wh


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one account pays: `trades_neur` into the slot's clearing, `to_utility_neur` to the utility.

    `released_neur` is what it had reserved in the slot and needs no more.
    """

    slot: int
    account: Account
    trades_neur: int
    to_utility_neur: int
    released_neur: int


class Accounts:
    """Every account by address and id, and the money that is between them.

    `clearing_neur` is by slot what buyers have paid for their trades, less what sellers got; slots where it
    is 0, as it is when all are settled, are left out. Token units are 10^`token_decimals` to a euro.
    """

    def __init__(self, utility: Address, token_decimals: int = NEUR_DIGITS) -> None:
        self._by_id = [Account(utility, UTILITY_ID)]
        self._by_address = {utility: self._by_id[UTILITY_ID]}
        self._former_utilities: set[Address] = set()
        self._neur_per_token_unit = 10 ** max(0, NEUR_DIGITS - token_decimals)
        self.clearing_neur: dict[int, int] = {}

    # --- looking up -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_id)

    @property
    def utility(self) -> Account:
        """The account with id 0."""
        return self._by_id[UTILITY_ID]

    def find(self, address: Address) -> Account | None:
        """The account of an address, None where it is not registered."""
        return self._by_address.get(address)

    def get(self, address: Address) -> Account:
        """The account of an address. Raises Refused where it is not registered."""
        account = self.find(address)
        if account is None:
            raise Refused("accounts: unknown account", address)
        return account

    def at(self, account_id: int) -> Account:
        """The account with an id. Raises IndexError."""
        return self._by_id[account_id]

    def prosumer(self, address: Address) -> Account:
        """The account of an address that is not the utility's. Raises Refused."""
        account = self.get(address)
        require(not account.is_utility, "accounts: is the utility", address)
        return account

    # --- registration ---------------------------------------------------------------------------

    def register(  # noqa: PLR0917 - the order of the ABI
        self,
        address: Address,
        bus: int,
        meter_key: Address,
        import_capacity_wh: int,
        export_capacity_wh: int,
        credit_limit_neur: int,
        classes: int,
    ) -> AccountRegistered:
        """Give an address the next id, at a bus that the caller has checked. Raises Refused."""
        require(NOBODY not in (address, meter_key), "accounts: nobody")
        require(address not in self._by_address, "accounts: already registered", address)
        # Nonces are by id: under an id of its own, what it signed for id 0 could be placed again.
        require(address not in self._former_utilities, "accounts: was the utility", address)
        require(len(self) < IDS, "accounts: too many", address)
        account = Account(
            address,
            len(self),
            bus,
            meter_key,
            1,
            import_capacity_wh,
            export_capacity_wh,
            credit_limit_neur,
            classes,
        )
        self._by_id.append(account)
        self._by_address[address] = account
        return AccountRegistered(
            address,
            account.id,
            bus,
            meter_key,
            import_capacity_wh,
            export_capacity_wh,
            credit_limit_neur,
            classes,
        )

    def change(
        self,
        address: Address,
        import_capacity_wh: int,
        export_capacity_wh: int,
        credit_limit_neur: int,
        classes: int,
    ) -> AccountChanged:
        """Change capacities, credit limit and classes. Raises Refused."""
        account = self.prosumer(address)
        account.import_capacity_wh = import_capacity_wh
        account.export_capacity_wh = export_capacity_wh
        account.credit_limit_neur = credit_limit_neur
        account.classes = classes
        return AccountChanged(address, import_capacity_wh, export_capacity_wh, credit_limit_neur, classes)

    def change_meter(self, address: Address, meter_key: Address) -> MeterChanged:
        """Put a new meter key in force, in the next epoch. Raises Refused."""
        require(meter_key != NOBODY, "accounts: nobody")
        account = self.prosumer(address)
        account.meter_key = meter_key
        account.meter_epoch += 1
        return MeterChanged(address, meter_key, account.meter_epoch)

    def hand_over_utility(self, successor: Address) -> None:
        """Give id 0, with all it has, to an address that is not registered. Raises Refused."""
        require(successor not in self._by_address, "accounts: already registered", successor)
        self._former_utilities.add(self.utility.address)
        del self._by_address[self.utility.address]
        self.utility.address = successor
        self._by_address[successor] = self.utility

    # --- money ----------------------------------------------------------------------------------

    @property
    def uncovered_neur(self) -> int:
        """What accounts other than the utility have reserved, or owe, beyond their balances."""
        return sum(-a.free_neur for a in self._by_id if a.free_neur < 0 and not a.is_utility)

    @property
    def backing_neur(self) -> int:
        """Utility's balance − reserves − uncovered: never negative after a call.

        What was paid into a slot and not credited yet is not in it: that is its sellers'.
        """
        return self.utility.free_neur - self.uncovered_neur

    @property
    def held_neur(self) -> int:
        """What the token's balance must be worth: Σ balances + Σ clearing."""
        return sum(account.balance_neur for account in self._by_id) + sum(self.clearing_neur.values())

    def deposit(self, address: Address, amount_neur: int) -> None:
        """Add to a balance. Raises Refused."""
        self._require_payable(amount_neur)
        account = self.get(address)
        require(
            account.balance_neur + amount_neur <= BALANCE_MAX_NEUR, "accounts: balance out of range", address
        )
        account.balance_neur += amount_neur

    def withdraw(self, address: Address, amount_neur: int) -> None:
        """Take what is free of reserves; for the utility, what backing leaves. Raises Refused."""
        self._require_payable(amount_neur)
        account = self.get(address)
        free = self.backing_neur if account.is_utility else account.free_neur
        require(amount_neur <= free, "accounts: insufficient funds", f"{amount_neur} of {free} n€")
        account.balance_neur -= amount_neur

    def _require_payable(self, amount_neur: int) -> None:
        require(amount_neur <= AMOUNT_MAX_NEUR, "accounts: amount too large", amount_neur)
        require(amount_neur % self._neur_per_token_unit == 0, "accounts: not whole token units", amount_neur)

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Book all transfers; or none, and raise Refused.

        Refused are those that would pay sellers of a slot more than its buyers have paid, or that the utility
        could not back.
        """
        booked: list[Transfer] = []
        try:
            for transfer in transfers:
                booked.append(transfer)
                self._move(transfer, 1)
                balances = transfer.account.balance_neur, self.utility.balance_neur
                in_range = all(abs(balance) <= BALANCE_MAX_NEUR for balance in balances)
                require(in_range, "accounts: balance out of range", transfer.account.address)
            require(min(self.clearing_neur.values(), default=0) >= 0, "settlement: clear first")
            require(self.backing_neur >= 0, "settlement: utility unfunded", f"{-self.backing_neur} n€ short")
        except Refused:
            for transfer in booked:
                self._move(transfer, -1)
            raise

    def _move(self, transfer: Transfer, sign: int) -> None:
        transfer.account.balance_neur -= sign * (transfer.trades_neur + transfer.to_utility_neur)
        transfer.account.reserved_neur -= sign * transfer.released_neur
        clearing = self.clearing_neur.pop(transfer.slot, 0) + sign * transfer.trades_neur
        if clearing != 0:
            self.clearing_neur[transfer.slot] = clearing
        self.utility.balance_neur += sign * transfer.to_utility_neur

    # --- reserves -------------------------------------------------------------------------------

    def affords(self, account: Account, amount_neur: int) -> bool:
        """Whether an account can have a further reserve.

        Balance + credit limit − reserves covers it, and the utility's backing what is taken on credit. The
        utility's own is covered by its backing.
        """
        if account.is_utility:
            return amount_neur <= self.backing_neur
        free_neur = account.free_neur - amount_neur
        if free_neur >= 0:
            return True
        lent_neur = min(account.free_neur, 0) - free_neur
        return free_neur + account.credit_limit_neur >= 0 and lent_neur <= self.backing_neur

    @staticmethod
    def reserve(account: Account, position: Position, change_neur: int) -> None:
        """Raise or lower an account's reserve in a slot, and with it the sum over its slots."""
        position.reserve_neur += change_neur
        account.reserved_neur += change_neur
