"""Random gate closures, readings, estimates, settlements, and what the utility and the roles do meanwhile."""

from __future__ import annotations

from dataclasses import replace

from ledger import calls, vectors
from ledger.keys import Key
from market.messages import Reading
from market.orders import NOBODY, Address
from market.settlement import amount_neur
from tests.twins.life import EUR, HEIR, LATECOMER, PRICE_SHIFTS, STRANGER, meter_of
from tests.twins.pair import Signer
from tests.twins.posting import Posting

REFUSED_FOR_MONEY = {"settlement: utility unfunded", "settlement: clear first"}


class Delivery(Posting):
    """Everything but orders and posted vectors."""

    def close_gate(self) -> None:
        slot = self.draw_slot()
        limit = self.choose([0, 1, 3, 5_000])
        self.check_touched(slot, self.pair.same(self.pair.payer, calls.CloseGate(slot, limit)))

    def draw_reading(self, trader: Key, slot: int) -> tuple[Reading, Signer]:
        account = self.account(trader)
        contracted = 0 if account is None else self.pair.twin.slot(slot).book.position(account).net_wh
        most, least = (0, 0) if account is None else (account.import_capacity_wh, -account.export_capacity_wh)
        metered = [contracted, 0, contracted // 2, -contracted, contracted + 7, -2_000, most, least]
        classes = len(self.terms.penalties_ueur_per_kwh)
        certified = tuple(self.choose([0, 3, 50]) for _ in range(classes))
        epoch = 1 if account is None else account.meter_epoch
        reading = Reading(trader.address, slot, self.choose(metered), certified, epoch)
        if self.seldom():
            spoilt = [
                replace(reading, epoch=epoch + 1),
                replace(reading, certified=certified[1:]),
                replace(reading, net_energy=most + 1),
                replace(reading, net_energy=least - 1),
            ]
            reading = self.choose(spoilt)
        return reading, self.draw_signer(meter_of(trader, epoch))

    def read_one(self) -> None:
        slot, trader = self.draw_slot(), self.draw_person()
        reading, signer = self.draw_reading(trader, slot)
        self.check_touched(slot, self.pair.read(self.pair.payer, reading, signer))

    def read_everybody(self) -> None:
        slot = self.draw_slot()
        people = [*self.traders, LATECOMER, *([self.utility] if self.seldom() else [])]
        readings = [self.draw_reading(trader, slot) for trader in people]
        viewed = self.check_touched(slot, self.pair.read_all(self.pair.payer, readings))
        for trader in people:
            if viewed and (account := self.account(trader)) is not None:
                self.pair.compare_reading(slot, account)

    def post_substation(self) -> None:
        slot = self.draw_slot()
        words = vectors.pack([0, *range(1, self.terms.buses)], signed=False)
        if self.seldom():
            words = (*words[:-1], words[-1] | 1 << 255) if self.choose([False, True]) else words[1:]
        sender = self.utility if self.often() else self.pair.payer
        call = calls.PostSubstation(slot, -123_456, self.choose(PRICE_SHIFTS), words)
        self.check_touched(slot, self.pair.same(sender, call))

    def settle(self) -> None:
        slot = self.draw_slot()
        people = [self.utility, *self.traders, *([LATECOMER] if self.account(LATECOMER) else [])]
        if self.seldom():
            people.append(STRANGER)
        chosen = [self.choose(people) for _ in range(self.rng.randint(0, 7))]
        call = calls.Settle(slot, tuple(key.address for key in chosen))
        outcome = self.pair.same(self.pair.payer, call)
        self.check_touched(slot, outcome)
        if outcome in REFUSED_FOR_MONEY:
            self.check_refused(slot, {key.address for key in chosen}, str(outcome))

    def check_refused(self, slot: int, chosen: set[Address], rule: str) -> None:
        """Nobody is refused but for what the utility owes, or because others have not paid yet."""
        state, accounts = self.pair.twin.slot(slot), self.pair.twin.accounts
        valuation = state.valuation(self.pair.chain.block().timestamp)
        positions = {who: state.book.position(accounts.get(who)) for who in chosen}
        unsettled = {who: position for who, position in positions.items() if not position.settled}
        if rule == "settlement: clear first":
            due = sum(p.trades_neur for p in unsettled.values() if not p.cleared)
            assert accounts.clearing_neur.get(slot, 0) + due < 0
        else:
            bills = {who: amount_neur(state.bill(accounts.get(who), valuation)) for who in unsettled}
            owed = {who: bills[who] - position.trades_neur for who, position in unsettled.items()}
            assert any(amount < 0 for amount in owed.values()), "who owes the utility was refused"
        self.pair.witness.checks[f"refused, and rightly: {rule}"] += 1

    def clear_trades(self) -> None:
        """Only a slot that is still open refuses it."""
        slot = self.draw_slot()
        people = [self.utility, *self.traders, LATECOMER, STRANGER]
        chosen = [self.choose(people) for _ in range(self.rng.randint(0, 7))]
        call = calls.ClearTrades(slot, tuple(key.address for key in chosen))
        outcome = self.pair.same(self.pair.payer, call)
        self.check_touched(slot, outcome)
        if not isinstance(outcome, tuple):
            assert outcome in {"slots: not scheduled", "settlement: gate is open"}

    def estimate(self) -> None:
        slot, index = self.draw_slot(), self.choose([0, 0, 0, 0, 0, 1])
        words = self.pair.twin.slot(slot).forecasts.get(index, ())
        if self.seldom():
            words = () if words else (0,) * 32
        chosen = self.draw_estimated()
        call = calls.Estimate(slot, index, words, tuple(key.address for key in chosen))
        viewed = self.check_touched(slot, self.pair.same(self.pair.payer, call))
        for key in chosen:
            if viewed and (account := self.account(key)) is not None:
                self.pair.compare_reading(slot, account)

    def draw_estimated(self) -> list[Key]:
        """Mostly traders; the utility, a latecomer or a stranger at times."""
        people = [*self.traders * 5, self.utility, LATECOMER, STRANGER]
        return [self.choose(people) for _ in range(self.rng.randint(0, 6))]

    def resettle(self) -> None:
        slot = self.draw_slot()
        chosen = self.draw_estimated()
        call = calls.Resettle(slot, tuple(key.address for key in chosen))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))

    # --- money, accounts, roles -----------------------------------------------------------------

    def move_money(self) -> None:
        owner = self.draw_person()
        account = self.account(owner)
        free = 0 if account is None else account.balance_neur - account.reserved_neur
        amounts = [0, 1, 10**7, max(0, free), max(0, free) + 1, 2**80]
        amount = self.choose(amounts)
        if self.choose([False, True]):
            amount -= amount % self.pair.neur_per_unit
        if self.choose([False, True]):
            self.pair.same(owner, calls.Withdraw(amount))
        else:
            self.pair.same(self.pair.payer, calls.Deposit(owner.address, min(amount, 2**80 - 1) % (10 * EUR)))
        if self.check_touched(self.slot_seen, ()) and account is not None:
            self.pair.compare_account(account)

    def change_account(self) -> None:
        owner = self.draw_person()
        sender = self.utility if self.often() else owner
        bus = self.rng.randint(0, self.terms.buses)
        account = self.account(owner)
        epoch = 1 if account is None else account.meter_epoch + 1
        sizes = (self.choose([0, 100, 10_000]), 300, 10**6, self.rng.randint(0, 3))
        meter = meter_of(owner, epoch).address
        choices: list[calls.Call] = [
            calls.SetAccount(owner.address, *sizes),
            calls.SetMeter(owner.address, meter),
            calls.SetMeter(owner.address, NOBODY),
            calls.RegisterAccount(
                self.choose([LATECOMER, self.pair.utility]).address, bus, meter_of(LATECOMER).address, *sizes
            ),
            calls.RegisterAccount(owner.address, 1, meter, *sizes),
        ]
        call = self.choose(choices[: 4 if owner is STRANGER else 5])
        self.check_touched(self.slot_seen, self.pair.same(sender, call))

    def hand_over(self) -> None:
        """Roles change hands in two steps; a heir has the utility's account, debts and orders."""
        heirs = [HEIR, self.pair.utility, self.traders[0]]
        heir, role = self.choose(heirs), self.choose([0, 0, 1, 2])
        holder = self.utility if role == 0 else self.pair.people[self.pair.twin.guardian]
        if self.seldom():
            holder = self.traders[0]
        self.pair.same(holder, calls.ProposeRole(role, heir.address))
        taker = heir if self.often() else STRANGER
        accepted = self.pair.same(taker, calls.AcceptRole(role))
        if isinstance(accepted, tuple) and role == 0:
            self.utility = heir
        assert self.pair.exchange.utility() == self.pair.twin.accounts.utility.address
        assert self.pair.exchange.guardian() == self.pair.twin.guardian

    def schedule(self) -> None:
        first = self.slots[0] + self.choose([0, 1, 2, 30, 30, 31, 32, 2**32 - 1 - self.slots[0]])
        retail, fee, fit = self.tariff
        count = self.choose([0, 1, 2, 1_025])
        fit += self.choose([0, 0, 0, 300_000])
        sender = self.utility if self.often() else self.pair.payer
        self.pair.same(sender, calls.ScheduleSlots(first, count, retail, fee, fit))
