"""Random gate closures, readings, estimates, settlements, and what the utility and the roles do meanwhile."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from ledger import calls, vectors
from ledger.keys import Key
from market.messages import Reading
from market.orders import NOBODY
from tests.twins.life import EUR, HEIR, LATECOMER, STRANGER, meter_of, often, price_shifts, seldom
from tests.twins.pair import Signer
from tests.twins.posting import Posting


class Delivery(Posting):
    """Everything but orders and posted vectors."""

    def close_gate(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        limit = data.draw(st.sampled_from([0, 1, 3, 5_000]))
        self.check_touched(slot, self.pair.same(self.pair.payer, calls.CloseGate(slot, limit)))

    def draw_reading(self, data: st.DataObject, trader: Key, slot: int) -> tuple[Reading, Signer]:
        account = self.account(trader)
        contracted = 0 if account is None else self.pair.twin.slot(slot).book.position(account).net_wh
        metered = st.sampled_from([contracted, 0, contracted // 2, -contracted, contracted + 7, -2_000])
        classes = len(self.terms.penalties_ueur_per_kwh)
        certified = tuple(data.draw(st.sampled_from([0, 3, 50])) for _ in range(classes))
        epoch = 1 if account is None else account.meter_epoch
        reading = Reading(trader.address, slot, data.draw(metered), certified, epoch)
        if data.draw(seldom):
            spoilt = [
                replace(reading, epoch=epoch + 1),
                replace(reading, certified=certified[1:]),
                replace(reading, net_energy=2**40),
                replace(reading, net_energy=-(2**40) - 1),
            ]
            reading = data.draw(st.sampled_from(spoilt))
        return reading, self.draw_signer(data, meter_of(trader, epoch))

    def read_one(self, data: st.DataObject) -> None:
        slot, trader = self.draw_slot(data), self.draw_person(data)
        reading, signer = self.draw_reading(data, trader, slot)
        self.check_touched(slot, self.pair.read(self.pair.payer, reading, signer))

    def read_everybody(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        people = [*self.traders, LATECOMER, *([self.utility] if data.draw(seldom) else [])]
        readings = [self.draw_reading(data, trader, slot) for trader in people]
        self.check_touched(slot, self.pair.read_all(self.pair.payer, readings))
        for trader in people:
            if (account := self.account(trader)) is not None:
                self.pair.compare_reading(slot, account)

    def post_substation(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        words = vectors.pack([0, *range(1, self.terms.buses)], signed=False)
        if data.draw(seldom):
            words = (*words[:-1], words[-1] | 1 << 255) if data.draw(st.booleans()) else words[1:]
        sender = self.utility if data.draw(often) else self.pair.payer
        call = calls.PostSubstation(slot, -123_456, data.draw(price_shifts), words)
        self.check_touched(slot, self.pair.same(sender, call))

    def settle(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        people = [self.utility, *self.traders, *([LATECOMER] if self.account(LATECOMER) else [])]
        if data.draw(seldom):
            people.append(STRANGER)
        chosen = data.draw(st.lists(st.sampled_from(people), max_size=7))
        call = calls.Settle(slot, tuple(key.address for key in chosen))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))

    def estimate(self, data: st.DataObject) -> None:
        slot, index = self.draw_slot(data), data.draw(st.sampled_from([0, 0, 0, 0, 0, 1]))
        words = self.pair.twin.slot(slot).forecasts.get(index, ())
        if data.draw(seldom):
            words = () if words else (0,) * 32
        chosen = data.draw(st.lists(self.draw_estimated(), max_size=6))
        call = calls.Estimate(slot, index, words, tuple(key.address for key in chosen))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))
        for key in chosen:
            if (account := self.account(key)) is not None:
                self.pair.compare_reading(slot, account)

    def draw_estimated(self) -> st.SearchStrategy[Key]:
        """Mostly traders; the utility, a latecomer or a stranger at times."""
        return st.sampled_from([*self.traders * 5, self.utility, LATECOMER, STRANGER])

    def resettle(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        chosen = data.draw(st.lists(self.draw_estimated(), max_size=6))
        call = calls.Resettle(slot, tuple(key.address for key in chosen))
        self.check_touched(slot, self.pair.same(self.pair.payer, call))

    # --- money, accounts, roles -----------------------------------------------------------------

    def move_money(self, data: st.DataObject) -> None:
        owner = self.draw_person(data)
        account = self.account(owner)
        free = 0 if account is None else account.balance_neur - account.reserved_neur
        amounts = st.sampled_from([0, 1, 10**7, max(0, free), max(0, free) + 1, 2**80])
        amount = data.draw(amounts)
        if data.draw(st.booleans()):
            amount -= amount % self.pair.neur_per_unit
        if data.draw(st.booleans()):
            self.pair.same(owner, calls.Withdraw(amount))
        else:
            self.pair.same(self.pair.payer, calls.Deposit(owner.address, min(amount, 2**80 - 1) % (10 * EUR)))
        self.check_touched(self.slot_seen, ())
        if account is not None:
            self.pair.compare_account(account)

    def change_account(self, data: st.DataObject) -> None:
        owner = self.draw_person(data)
        sender = self.utility if data.draw(often) else owner
        bus = data.draw(st.integers(0, self.terms.buses))
        account = self.account(owner)
        epoch = 1 if account is None else account.meter_epoch + 1
        sizes = (data.draw(st.sampled_from([0, 100, 10_000])), 300, 10**6, data.draw(st.integers(0, 3)))
        meter = meter_of(owner, epoch).address
        choices: list[calls.Call] = [
            calls.SetAccount(owner.address, *sizes),
            calls.SetMeter(owner.address, meter),
            calls.SetMeter(owner.address, NOBODY),
            calls.RegisterAccount(LATECOMER.address, bus, meter_of(LATECOMER).address, *sizes),
            calls.RegisterAccount(owner.address, 1, meter, *sizes),
        ]
        call = data.draw(st.sampled_from(choices[: 4 if owner is STRANGER else 5]))
        self.check_touched(self.slot_seen, self.pair.same(sender, call))

    def hand_over(self, data: st.DataObject) -> None:
        """Roles change hands in two steps; a heir has the utility's account, debts and orders."""
        heirs = [HEIR, self.pair.utility, self.traders[0]]
        heir, role = data.draw(st.sampled_from(heirs)), data.draw(st.sampled_from([0, 0, 1, 2]))
        holder = self.utility if role == 0 else self.pair.people[self.pair.twin.guardian]
        if data.draw(seldom):
            holder = self.traders[0]
        self.pair.same(holder, calls.ProposeRole(role, heir.address))
        taker = heir if data.draw(often) else STRANGER
        accepted = self.pair.same(taker, calls.AcceptRole(role))
        if isinstance(accepted, tuple) and role == 0:
            former, self.utility = self.utility, heir
            if former != heir:
                again = calls.RegisterAccount(former.address, 1, former.address, 40, 40, 0, 0)
                assert self.pair.same(heir, again) == "accounts: was the utility"
        assert self.pair.exchange.utility() == self.pair.twin.accounts.utility.address
        assert self.pair.exchange.guardian() == self.pair.twin.guardian

    def schedule(self, data: st.DataObject) -> None:
        first = self.slots[0] + data.draw(st.sampled_from([0, 1, 2, 30, 31, 32]))
        retail, fee, fit = self.tariff
        count = data.draw(st.sampled_from([0, 1, 2, 1_025]))
        fit += data.draw(st.sampled_from([0, 0, 0, 300_000]))
        sender = self.utility if data.draw(often) else self.pair.payer
        self.pair.same(sender, calls.ScheduleSlots(first, count, retail, fee, fit))
