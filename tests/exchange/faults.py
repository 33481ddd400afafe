"""Deliberate faults of the contract, each with the test that must catch it.

A fault is one replacement in one source, compiled into one of the three codes. It is the kind of slip that a
change could bring in unnoticed: the contract still deploys, trades and settles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`wrong` for `right`, which stands once in `source`, in one code; and the test that catches it."""

    name: str
    code: str
    source: str
    right: str
    wrong: str
    caught_by: str


QUICK = (
    Fault(
        name="a bid is rounded up",
        code="Exchange",
        source="book.vy",
        right="return min(self._floor(limit), TICK_MAX)",
        wrong="return min(-self._floor(-limit), TICK_MAX)",
        caught_by="tests/exchange/test_contract_orders.py::test_bid_ticks_are_rounded_down_at_the_hub",
    ),
    Fault(
        name="a nonce is not looked up",
        code="Exchange",
        source="book.vy",
        right="if positions._is_used(key, ticket.position, convert(order.nonce, uint256)):",
        wrong="if ticket.position == max_value(uint256):",
        caught_by="tests/exchange/test_contract_orders.py::test_nonces_come_in_any_order_and_once",
    ),
    Fault(
        name="the second order of a level goes before the first",
        code="Exchange",
        source="levels.vy",
        right="        word |= entry << self._shift(place)\n",
        wrong="        older: uint256 = word >> ENTRIES_AT << (ENTRIES_AT + ENTRY_WIDTH)\n"
        "        word = (word & ((1 << ENTRIES_AT) - 1)) | older | (entry << ENTRIES_AT)\n",
        caught_by="tests/exchange/test_contract_matching.py::test_best_price_first_then_oldest_at_the_makers_price",
    ),
    Fault(
        name="one Wh beyond the capacity is allowed",
        code="Exchange",
        source="book.vy",
        right="over: bool = unsafe_add(net, convert(wanted, int256)) > convert(",
        wrong="over: bool = unsafe_add(net, convert(wanted, int256)) - 1 > convert(",
        caught_by="tests/exchange/test_contract_corners.py::test_a_lot_that_does_not_fit_whole_is_refused",
    ),
    Fault(
        name="the reserve forgets what is not delivered",
        code="Exchange",
        source="resting.vy",
        right="most: int256 = max(delivered, undelivered)",
        wrong="most: int256 = delivered",
        caught_by="tests/exchange/test_contract_matching.py::test_reserve_of_one_wh_under_dlmp",
    ),
    Fault(
        name="any fill may be vetoed first",
        code="Clearinghouse",
        source="veto.vy",
        right="rules._require(named == self.fills[number],",
        wrong="rules._require(self.fills[number] != empty(bytes32),",
        caught_by="tests/exchange/test_contract_veto.py::test_fills_are_taken_back_from_the_last_on",
    ),
    Fault(
        name="a bill is paid to the account and not by it",
        code="Clearinghouse",
        source="settlement.vy",
        right="accounts._credit(account, -cleared - to_utility, positions._reserve(position))",
        wrong="accounts._credit(account, -cleared + to_utility, positions._reserve(position))",
        caught_by="tests/exchange/test_contract_settlement.py::test_bills_under_dlmp",
    ),
    Fault(
        name="a quorum is one signature short",
        code="Registry",
        source="oracle.vy",
        right="rules._require(self.quorum != 0 and len(proofs) >= self.quorum,",
        wrong="rules._require(self.quorum != 0 and len(proofs) + 1 >= self.quorum,",
        caught_by="tests/exchange/test_contract_oracle.py::test_a_quorum_is_enough_distinct_oracles_in_order",
    ),
    Fault(
        name="signatures are for any contract of the chain",
        code="Exchange",
        source="signatures.vy",
        right="NAME, VERSION, chain.id, self)",
        wrong="NAME, VERSION, chain.id, empty(address))",
        caught_by="tests/exchange/test_contract_signatures.py::test_the_domain_is_the_contracts",
    ),
    Fault(
        name="a settlement does not ask for backing",
        code="Clearinghouse",
        source="Clearinghouse.vy",
        right="    settlement._check_clearing(number)\n"
        '    rules._require(accounts._backing() >= 0, "settlement: utility unfunded")\n',
        wrong="    settlement._check_clearing(number)\n",
        caught_by="tests/exchange/test_contract_settlement.py::test_the_utility_must_be_able_to_cover_a_batch",
    ),
)
"""Faults that every run tries."""

MORE = (
    Fault(
        name="an expired order is met like any other",
        code="Exchange",
        source="book.vy",
        right="if expired or entry >> levels.TRADER_AT == ticket.id:",
        wrong="if entry >> levels.TRADER_AT == ticket.id:",
        caught_by="tests/exchange/test_contract_matching.py::test_an_expired_order_is_voided_when_it_is_met",
    ),
    Fault(
        name="an ask of a class reserves no penalty",
        code="Exchange",
        source="resting.vy",
        right="if side == 1 and energy_class != 0:",
        wrong="if side == 1 and energy_class > 3:",
        caught_by="tests/exchange/test_contract_matching.py::test_an_ask_of_a_class_reserves_its_penalty",
    ),
    Fault(
        name="energy of a class needs no certificate",
        code="Clearinghouse",
        source="settlement.vy",
        right="penalty += max(0, sold - generated)",
        wrong="penalty += 0 * max(0, sold - generated)",
        caught_by="tests/exchange/test_contract_settlement.py"
        "::test_energy_sold_beyond_certified_generation_pays_the_penalty",
    ),
    Fault(
        name="a meter shows more than its connection carries",
        code="Clearinghouse",
        source="readings.vy",
        right="if abs(energy) > convert(accounts._capacity(account, side), int256):",
        wrong="if abs(energy) > convert(packing.UINT32, int256):",
        caught_by="tests/exchange/test_contract_resettlement.py"
        "::test_readings_beyond_the_connection_are_refused_and_leave_room_for_a_true_one",
    ),
    Fault(
        name="prices come while fills can be vetoed",
        code="Registry",
        source="oracle.vy",
        right='rules._require(slots._may_close(number), "prices: before closing")',
        wrong='rules._require(not slots._before_gate(number), "prices: before closing")',
        caught_by="tests/exchange/test_contract_veto_refused.py::test_prices_wait_for_the_end_of_vetoes",
    ),
    Fault(
        name="a late nonce forgets those before it",
        code="Exchange",
        source="positions.vy",
        right="self.late_nonces[key] |= 1 << nonce",
        wrong="self.late_nonces[key] = 1 << nonce",
        caught_by="tests/exchange/test_contract_orders.py::test_nonces_come_in_any_order_and_once",
    ),
    Fault(
        name="an account is resettled twice",
        code="Clearinghouse",
        source="settlement.vy",
        right="reading & (both | readings.RESETTLED) != both:",
        wrong="reading & both != both:",
        caught_by="tests/exchange/test_contract_resettlement.py"
        "::test_a_late_reading_changes_a_settlement_to_what_it_would_have_been",
    ),
    Fault(
        name="an ask is rounded down",
        code="Exchange",
        source="book.vy",
        right="return max(-self._floor(-limit), -TICK_MAX)",
        wrong="return max(self._floor(limit), -TICK_MAX)",
        caught_by="tests/exchange/test_contract_orders.py::test_ask_ticks_are_rounded_up_at_the_hub",
    ),
    Fault(
        name="an account trades with itself",
        code="Exchange",
        source="book.vy",
        right="if expired or entry >> levels.TRADER_AT == ticket.id:",
        wrong="if expired:",
        caught_by="tests/exchange/test_contract_matching.py::test_meeting_ones_own_order_cancels_that_one",
    ),
    Fault(
        name="the level opened last is met first",
        code="Exchange",
        source="levels.vy",
        right="if rank > self._best(state, shelf):",
        wrong="if rank != self._best(state, shelf):",
        caught_by="tests/exchange/test_contract_matching.py::test_asks_are_met_from_the_lowest",
    ),
    Fault(
        name="seventeen orders rest a side",
        code="Exchange",
        source="book.vy",
        right="positions._count(ticket.position, ticket.side) >= RESTING_MAX:",
        wrong="positions._count(ticket.position, ticket.side) > RESTING_MAX:",
        caught_by="tests/exchange/test_contract_orders.py"
        "::test_sixteen_rest_a_side_and_immediate_orders_do_not_count",
    ),
    Fault(
        name="what rests does not count towards the capacity",
        code="Exchange",
        source="book.vy",
        right="unsafe_add(positions._resting(ticket.position, ticket.side), ticket.left)",
        wrong="ticket.left",
        caught_by="tests/exchange/test_contract_orders.py::test_capacity_counts_fills_and_what_rests_on_that_side",
    ),
    Fault(
        name="under the tariff an ask reserves without the charge",
        code="Exchange",
        source="resting.vy",
        right="max(retail, unsafe_add(slots._hub_import(state), charge))",
        wrong="max(retail, slots._hub_import(state))",
        caught_by="tests/exchange/test_contract_corners.py"
        "::test_at_a_dear_bus_an_ask_reserves_what_the_energy_would_cost_there",
    ),
    Fault(
        name="a void releases nothing",
        code="Exchange",
        source="resting.vy",
        right="released: uint256 = quantity * self._level_reserve(state, id, level, charge)",
        wrong="released: uint256 = 0 * self._level_reserve(state, id, level, charge)",
        caught_by="tests/exchange/test_contract_matching.py::test_price_improvement_and_voids_release",
    ),
    Fault(
        name="closing skips the rest of what was filled in part",
        code="Exchange",
        source="closing.vy",
        right="    if rest != 0:\n",
        wrong="    if rest != 0 and filled == 0:\n",
        caught_by="tests/exchange/test_contract_queues.py::test_what_rests_counts_for_the_maker_until_closing",
    ),
    Fault(
        name="the gate closes a second late",
        code="Exchange",
        source="slots.vy",
        right="return unsafe_add(block.timestamp, GATE_LEAD) < unsafe_mul(slot, SLOT_SECONDS)",
        wrong="return unsafe_add(block.timestamp, GATE_LEAD) <= unsafe_mul(slot, SLOT_SECONDS)",
        caught_by="tests/exchange/test_contract_orders.py::test_entry_is_open_from_the_opening_to_the_gate",
    ),
    Fault(
        name="an order expires a second late",
        code="Exchange",
        source="slots.vy",
        right="return now >= unsafe_mul(slot, SLOT_SECONDS)",
        wrong="return now > unsafe_mul(slot, SLOT_SECONDS)",
        caught_by="tests/exchange/test_contract_edges.py::test_an_order_expires_at_any_second_of_trading",
    ),
    Fault(
        name="anybody relays what names a relayer",
        code="Exchange",
        source="book.vy",
        right="if order.relayer != empty(address) and order.relayer != msg.sender:",
        wrong="if order.relayer != empty(address) and order.relayer == order.trader:",
        caught_by="tests/exchange/test_contract_orders.py::test_a_relayer_that_is_named_is_the_only_one",
    ),
    Fault(
        name="a signature has two forms",
        code="Clearinghouse",
        source="signatures.vy",
        right="if s > S_MAX or signer == empty(address):",
        wrong="if signer == empty(address):",
        caught_by="tests/exchange/test_contract_signatures.py::test_s_lies_in_the_lower_half",
    ),
    Fault(
        name="signatures of one chain hold on every chain",
        code="Exchange",
        source="signatures.vy",
        right="NAME, VERSION, chain.id, self)",
        wrong="NAME, VERSION, min(chain.id, 31337), self)",
        caught_by="tests/exchange/test_contract_corners.py"
        "::test_a_market_on_another_chain_takes_what_was_signed_for_it_alone",
    ),
    Fault(
        name="an oracle counts twice",
        code="Registry",
        source="oracle.vy",
        right="rules._require(signers >> index == 0,",
        wrong="rules._require(signers >> (index + 1) == 0,",
        caught_by="tests/exchange/test_contract_oracle.py::test_a_quorum_is_enough_distinct_oracles_in_order",
    ),
    Fault(
        name="oracles sign for every epoch",
        code="Registry",
        source="oracle.vy",
        right="keccak256(abi_encode(CHARGES_TYPE, slot, self.epoch, values_hash",
        wrong="keccak256(abi_encode(CHARGES_TYPE, slot, self.epoch // self.epoch, values_hash",
        caught_by="tests/exchange/test_contract_oracle.py::test_a_quorum_of_the_present_set_installs_the_next",
    ),
    Fault(
        name="a vector counts before all of it is in",
        code="Registry",
        source="oracle.vy",
        right="if arrived == (1 << count) - 1:",
        wrong="if arrived != 0:",
        caught_by="tests/exchange/test_contract_oracle.py::test_a_long_vector_comes_in_chunks_in_any_order",
    ),
    Fault(
        name="who was the utility is registered under another id",
        code="Registry",
        source="accounts.vy",
        right='rules._require(not self.former_utilities[account], "accounts: was the utility")',
        wrong='rules._require(account != empty(address), "accounts: was the utility")',
        caught_by="tests/exchange/test_contract_money.py::test_who_was_the_utility_gets_no_account_of_its_own",
    ),
    Fault(
        name="a bill charges what was contracted and not what was delivered",
        code="Clearinghouse",
        source="settlement.vy",
        right="        bill.charge = charge * d\n        bill.closeout",
        wrong="        bill.charge = charge * c\n        bill.closeout",
        caught_by="tests/exchange/test_contract_settlement.py::test_what_was_delivered_of_a_contract",
    ),
    Fault(
        name="the cheaper estimate stands in",
        code="Clearinghouse",
        source="settlement.vy",
        right="if self._to_utility(by_forecast) > self._to_utility(by_contract):",
        wrong="if self._to_utility(by_forecast) < self._to_utility(by_contract):",
        caught_by="tests/exchange/test_contract_estimates.py"
        "::test_without_a_forecast_the_dearer_of_contract_and_nothing_stands_in",
    ),
    Fault(
        name="an account is settled twice",
        code="Clearinghouse",
        source="settlement.vy",
        right="if position & positions.SETTLED != 0:\n",
        wrong="if position == max_value(uint256):\n",
        caught_by="tests/exchange/test_contract_settlement.py::test_settled_accounts_are_skipped",
    ),
    Fault(
        name="a reading is replaced by the next",
        code="Clearinghouse",
        source="readings.vy",
        right="if stored & METERED != 0:",
        wrong="if stored == max_value(uint256):",
        caught_by="tests/exchange/test_contract_settlement.py::test_the_first_reading_is_final",
    ),
    Fault(
        name="a meter that was taken off still reads",
        code="Clearinghouse",
        source="readings.vy",
        right="if convert(reading.epoch, uint256) != accounts._epoch(id):",
        wrong="if convert(reading.epoch, uint256) > accounts._epoch(id):",
        caught_by="tests/exchange/test_contract_settlement.py::test_readings_that_break_a_rule",
    ),
    Fault(
        name="a veto gives back no reserve",
        code="Clearinghouse",
        source="veto.vy",
        right="released: uint256 = cut * resting._unit_reserve(state, id, energy_class, side, tick, charge)",
        wrong="released: uint256 = 0 * resting._unit_reserve(state, id, energy_class, side, tick, charge)",
        caught_by="tests/exchange/test_contract_veto.py::test_the_last_fill_is_taken_back_whole",
    ),
    Fault(
        name="what is reserved is paid out",
        code="Exchange",
        source="accounts.vy",
        right="    free: int256 = self._free(word)\n    if word",
        wrong="    free: int256 = self._balance(word)\n    if word",
        caught_by="tests/exchange/test_contract_money.py::test_withdrawals_leave_what_is_reserved",
    ),
    Fault(
        name="the utility takes what covers debts",
        code="Exchange",
        source="accounts.vy",
        right="        free = self._backing()\n",
        wrong="        free = self._backing() + convert(self.uncovered, int256)\n",
        caught_by="tests/exchange/test_contract_settlement.py::test_what_accounts_owe_limits_the_utility",
    ),
    Fault(
        name="the utility buys with what it does not have",
        code="Exchange",
        source="accounts.vy",
        right="        return self._backing() >= convert(amount, int256)\n",
        wrong="        return self._backing() >= 0 * convert(amount, int256)\n",
        caught_by="tests/exchange/test_contract_backing.py::test_the_utility_buys_with_what_it_has",
    ),
    Fault(
        name="sellers are paid what nobody has paid in",
        code="Clearinghouse",
        source="settlement.vy",
        right='    rules._require(clearing >= 0, "settlement: clear first")\n',
        wrong="    pass\n",
        caught_by="tests/exchange/test_contract_settlement.py"
        "::test_nobody_is_paid_for_trades_before_others_have_paid",
    ),
    Fault(
        name="who was cleared pays again",
        code="Clearinghouse",
        source="settlement.vy",
        right="        cleared = 0\n",
        wrong="        cleared = bill.trades\n",
        caught_by="tests/exchange/test_contract_settlement.py"
        "::test_nobody_is_paid_for_trades_before_others_have_paid",
    ),
    Fault(
        name="who owes something is paid for trades ahead",
        code="Clearinghouse",
        source="settlement.vy",
        right="position, reading)) <= 0\n",
        wrong="position, reading)) < max_value(int256)\n",
        caught_by="tests/exchange/test_contract_backing.py::test_who_may_still_owe_something_is_not_paid_ahead",
    ),
    Fault(
        name="an estimate is final from the start",
        code="Clearinghouse",
        source="readings.vy",
        right="return word & METERED != 0 or (word != 0 and ",
        wrong="return word & METERED != 0 or (word != 0 or ",
        caught_by="tests/exchange/test_contract_backing.py::test_a_silent_seller_is_paid_once_its_estimate_is_final",
    ),
    Fault(
        name="clearing forgets that it was done",
        code="Clearinghouse",
        source="settlement.vy",
        right=") | positions.CLEARED\n",
        wrong=") | (0 * positions.CLEARED)\n",
        caught_by="tests/exchange/test_contract_settlement.py::test_what_is_cleared_is_no_longer_reserved",
    ),
    Fault(
        name="a withdrawal can be entered again",
        code="Exchange",
        source="Exchange.vy",
        right="@external\n@nonreentrant\ndef withdraw(",
        wrong="@external\ndef withdraw(",
        caught_by="tests/exchange/test_contract_token.py::test_a_hostile_token_calls_back",
    ),
    Fault(
        name="a level has a place more than its word can count",
        code="Exchange",
        source="levels.vy",
        right="PLACES_MAX: constant(uint256) = 65535",
        wrong="PLACES_MAX: constant(uint256) = 65536",
        caught_by="tests/exchange/test_contract_corners.py::test_a_level_has_65_535_places",
    ),
    Fault(
        name="a call closes an entry too many",
        code="Exchange",
        source="closing.vy",
        right="ENTRIES_PER_CALL: constant(uint256) = 512",
        wrong="ENTRIES_PER_CALL: constant(uint256) = 513",
        caught_by="tests/exchange/test_contract_corners.py::test_a_call_closes_512_entries_whatever_its_limit",
    ),
    Fault(
        name="an order visits 129 entries",
        code="Exchange",
        source="book.vy",
        right="VISITS_MAX: constant(uint256) = 128",
        wrong="VISITS_MAX: constant(uint256) = 129",
        caught_by="tests/twins/test_twin_scenarios.py::test_after_128_visits_the_rest_is_void",
    ),
    Fault(
        name="a batch visits as much as it likes",
        code="Exchange",
        source="Exchange.vy",
        right="            visits += made\n",
        wrong="            visits = made\n",
        caught_by="tests/twins/test_twin_scenarios.py::test_a_batch_ends_after_256_visits",
    ),
    Fault(
        name="each veto of a call has room for gaps of its own",
        code="Clearinghouse",
        source="veto.vy",
        right="    return True, room - gaps\n",
        wrong="    return True, room + gaps - gaps\n",
        caught_by="tests/twins/test_twin_scenarios.py::test_vetoes_pause_behind_1024_gaps",
    ),
    Fault(
        name="a veto goes back over one maker too few",
        code="Clearinghouse",
        source="levels.vy",
        right="        part: uint256 = min(left, taken)\n        left -= part\n",
        wrong="        part: uint256 = min(left, taken)\n        left = 0\n",
        caught_by="tests/twins/test_twin_scenarios.py::test_a_veto_goes_back_over_many_makers_and_gaps",
    ),
    Fault(
        name="makers keep no count of what they sold of a class",
        code="Exchange",
        source="closing.vy",
        right="            positions._trade_class(key, energy_class, side, filled)\n",
        wrong="            positions._trade_class(key, energy_class, side, 0)\n",
        caught_by="tests/exchange/test_contract_settlement.py"
        "::test_energy_sold_beyond_certified_generation_pays_the_penalty",
    ),
    Fault(
        name="the utility does not back what an account comes to owe",
        code="Clearinghouse",
        source="accounts.vy",
        right="+ min(was, 0) - min(now, 0)",
        wrong="+ min(was, 0) - min(was, 0)",
        caught_by="tests/twins/test_contract_and_twin.py::test_contract_and_twin_agree",
    ),
)
"""Faults that the long run tries too."""
