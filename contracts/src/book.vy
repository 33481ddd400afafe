# pragma version 0.4.3
"""
@title Book
@license Apache-2.0
@notice Order entry, matching in price-time priority, and cancels.

        Whoever takes resting orders writes to their levels and to its own position, not to the makers'. Makers
        are credited when the gate closes; until then what they have at rest counts as it was placed.
"""

import accounts
import levels
import oracle
import orders
import packing
import positions
import resting
import rules
import slots
import veto

uses: accounts
uses: levels
uses: oracle
uses: positions
uses: resting
uses: slots
uses: veto


# ---- events ----------------------------------------------------------------------------------------

event OrderPlaced:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8
    side: uint8
    energyClass: uint8
    tick: int16
    limitPrice: int32
    quantity: uint32
    flags: uint8
    expiry: uint32

# What one order takes at one tick, at most 16 makers a log. A maker is trader's id << 40 | nonce << 32 | Wh.
event OrdersFilled:
    slot: indexed(uint32)
    taker: indexed(address)
    takerNonce: uint8
    takerSide: uint8
    energyClass: uint8
    tick: int16
    makers: DynArray[uint256, MAKERS_PER_LOG]


# ---- structs ---------------------------------------------------------------------------------------

# What entry has found out about an order, and what matching makes of it.
struct Ticket:
    code: uint256
    slot: uint256
    id: uint256
    side: uint256
    tick: int256
    charge: int256
    state: uint256
    account: uint256
    position: uint256
    unit: uint256
    left: uint256
    visits: uint256


# ---- constants -------------------------------------------------------------------------------------

TICK_MAX: constant(int256) = 32767
VISITS_MAX: constant(uint256) = 128
MAKERS_PER_LOG: constant(uint256) = 16
RESTING_MAX: constant(uint256) = 16


# ---- internal functions: entry ---------------------------------------------------------------------


@internal
def _place(order: orders.Order, r: bytes32, vs: bytes32) -> (uint256, uint256):
    """
    @notice Takes an order: checks it, matches it, and lets the rest rest.
    @return The reject code, and how many entries it visited; nothing has changed unless the code is 0.
    """
    ticket: Ticket = self._admit(order, r, vs)
    if ticket.code != orders.ACCEPTED:
        return ticket.code, 0
    nonce: uint256 = convert(order.nonce, uint256)
    key: uint256 = (ticket.slot << 24) | ticket.id
    reserve: uint256 = positions._reserve(ticket.position)
    ticket.position = positions._use(key, ticket.position, nonce)
    log OrderPlaced(
        slot=order.slot,
        trader=order.trader,
        nonce=order.nonce,
        side=order.side,
        energyClass=order.energyClass,
        tick=convert(ticket.tick, int16),
        limitPrice=order.limitPrice,
        quantity=order.quantity,
        flags=order.flags,
        expiry=order.expiry,
    )
    before: uint256 = ticket.state
    opposite: uint256 = unsafe_sub(1, ticket.side)
    shelf: uint256 = levels._shelf(ticket.slot, convert(order.energyClass, uint256), opposite)
    worst: uint256 = levels._rank(ticket.tick, opposite)
    if levels._best(ticket.state, shelf) >= worst:
        ticket = self._match(order, ticket, shelf, worst)
    if ticket.left != 0:
        ticket = self._rest(order, ticket)
    if ticket.state != before:
        slots.states[ticket.slot] = ticket.state
    positions.words[key] = ticket.position
    reserved: uint256 = positions._reserve(ticket.position) << accounts.RESERVED_AT
    # What was reserved goes first: the field has no room for both.
    account: uint256 = ticket.account - (reserve << accounts.RESERVED_AT) + reserved
    if account != ticket.account:
        accounts._store(order.trader, ticket.account, account)
    return orders.ACCEPTED, ticket.visits


@internal
@view
def _admit(order: orders.Order, r: bytes32, vs: bytes32) -> Ticket:
    """
    @notice Tests the rules of entry in their order.
    @return The code of the first rule broken, or 0, and what was found out on the way.
    """
    ticket: Ticket = empty(Ticket)
    ticket.account = accounts.words[order.trader]
    if ticket.account == 0:
        ticket.code = orders.UNKNOWN_TRADER
        return ticket
    if not orders._order_signed(order, r, vs):
        ticket.code = orders.BAD_SIGNATURE
        return ticket
    if order.relayer != empty(address) and order.relayer != msg.sender:
        ticket.code = orders.WRONG_RELAYER
        return ticket
    ticket.slot = convert(order.slot, uint256)
    ticket.state = slots.states[ticket.slot]
    is_open: bool = not slots._before_opening(ticket.slot) and slots._before_gate(ticket.slot)
    if ticket.state & slots.CHARGES_COMPLETE == 0 or not is_open:
        ticket.code = orders.SLOT_NOT_OPEN
        return ticket
    if order.expiry != 0 and block.timestamp >= convert(order.expiry, uint256):
        ticket.code = orders.EXPIRED
        return ticket
    ticket.id = ticket.account & packing.UINT24
    key: uint256 = (ticket.slot << 24) | ticket.id
    ticket.position = positions.words[key]
    if positions._is_used(key, ticket.position, convert(order.nonce, uint256)):
        ticket.code = orders.NONCE_USED
        return ticket
    if order.side > 1 or order.flags > 1:
        ticket.code = orders.MALFORMED
        return ticket
    ticket.side = convert(order.side, uint256)
    energy_class: uint256 = convert(order.energyClass, uint256)
    if energy_class != 0:
        if not slots._has_class(energy_class):
            ticket.code = orders.UNKNOWN_CLASS
            return ticket
        if ticket.side == 1 and (accounts.profiles[ticket.id] >> (energy_class - 1)) & 1 == 0:
            ticket.code = orders.NOT_REGISTERED_SELLER
            return ticket
    ticket.left = convert(order.quantity, uint256)
    if ticket.left == 0 or ticket.left % slots.LOT != 0:
        ticket.code = orders.NOT_WHOLE_LOTS
        return ticket
    ticket.charge = oracle._charge(ticket.state, ticket.slot, accounts._bus(ticket.account))
    ticket.tick = self._tick(ticket.side, unsafe_sub(convert(order.limitPrice, int256), ticket.charge))
    if abs(ticket.tick) > TICK_MAX:
        ticket.code = orders.PRICE_OFF_RANGE
        return ticket
    if order.flags == 0 and positions._count(ticket.position, ticket.side) >= RESTING_MAX:
        ticket.code = orders.TOO_MANY_RESTING
        return ticket
    capacity: uint256 = ticket.account >> accounts.IMPORT_AT
    net: int256 = positions._net(ticket.position)
    if ticket.side == 1:
        capacity = ticket.account >> accounts.EXPORT_AT
        net = unsafe_sub(0, net)
    wanted: uint256 = unsafe_add(positions._resting(ticket.position, ticket.side), ticket.left)
    over: bool = unsafe_add(net, convert(wanted, int256)) > convert(capacity & packing.UINT32, int256)
    # A position can tell trades up to a worth that nobody reaches within its capacity but in circles.
    if over or abs(positions._trades(ticket.position)) > positions.TRADES_MAX:
        ticket.code = orders.OVER_CAPACITY
        return ticket
    ticket.unit = resting._unit_reserve(
        ticket.state, ticket.id, energy_class, ticket.side, ticket.tick, ticket.charge
    )
    needed: uint256 = unsafe_mul(ticket.left, ticket.unit)
    affordable: bool = unsafe_add(positions._reserve(ticket.position), needed) <= packing.UINT64
    if not affordable or not accounts._affords(ticket.account, needed):
        ticket.code = orders.INSUFFICIENT_FUNDS
    return ticket


@internal
@pure
def _tick(side: uint256, limit: int256) -> int256:
    """
    @notice Hub tick of a limit at the hub: floor for a bid, ceil for an ask, clamped on the harmless side.
    """
    if side == 0:
        return min(self._floor(limit), TICK_MAX)
    return max(-self._floor(-limit), -TICK_MAX)


@internal
@pure
def _floor(price: int256) -> int256:
    """
    @notice Whole ticks of a price, rounded down (the division itself rounds towards zero).
    """
    if price >= 0:
        return price // slots.TICK
    return -((slots.TICK - 1 - price) // slots.TICK)


# ---- internal functions: matching ------------------------------------------------------------------


@internal
def _match(order: orders.Order, ticket: Ticket, shelf: uint256, worst: uint256) -> Ticket:
    """
    @notice Meets the best level of the opposite shelf while it is no worse than the order's own tick.
    """
    after: Ticket = ticket
    for _: uint256 in range(VISITS_MAX):
        best: uint256 = levels._best(after.state, shelf)
        if after.left == 0 or best < worst or best == 0 or after.visits == VISITS_MAX:
            break
        after = self._meet(order, after, (shelf << 16) | best)
    return after


@internal
def _meet(order: orders.Order, ticket: Ticket, level: uint256) -> Ticket:
    """
    @notice Visits the entries of one level, oldest first: gaps are passed, expired and own orders voided, others
            filled at the level's tick.
    """
    after: Ticket = ticket
    word: uint256 = levels.heads[level]
    place: uint256 = levels._head(word)
    tail: uint256 = levels._tail(word)
    taken: uint256 = levels._taken(word)
    makers: DynArray[uint256, MAKERS_PER_LOG] = []
    filled: uint256 = 0
    # The further word that was read last.
    entries: uint256 = 0
    entries_of: uint256 = max_value(uint256)
    for _: uint256 in range(VISITS_MAX):
        if after.left == 0 or place == tail or after.visits == VISITS_MAX:
            break
        after.visits = unsafe_add(after.visits, 1)
        entry: uint256 = 0
        if place < levels.ENTRIES_INSIDE:
            entry = (word >> levels._shift(place)) & levels.ENTRY
        else:
            if levels._word_of(place) != entries_of:
                entries_of = levels._word_of(place)
                entries = levels.queues[(level << 16) | entries_of]
            entry = (entries >> levels._shift(place)) & levels.ENTRY
        open: uint256 = unsafe_sub(entry & packing.UINT32, taken)
        if open != 0:
            expired: bool = slots._expired(ticket.slot, (entry >> levels.EXPIRY_AT) & packing.UINT21)
            if expired or entry >> levels.TRADER_AT == ticket.id:
                word = levels._lessen(level, word, place, open)
                after = self._void_met(order, after, level, entry, open, expired)
            else:
                part: uint256 = min(after.left, open)
                after.left = unsafe_sub(after.left, part)
                filled = unsafe_add(filled, part)
                makers.append(((entry >> levels.NONCE_AT) << 32) | part)
                if len(makers) == MAKERS_PER_LOG:
                    self._log_filled(order, level, makers)
                    makers = []
                if part != open:
                    taken = unsafe_add(taken, part)
                    break
        place = unsafe_add(place, 1)
        taken = 0
    if place == tail:
        after.state = levels._unmark(after.state, level)
    levels.heads[level] = levels._advanced(word, place, taken)
    if len(makers) != 0:
        self._log_filled(order, level, makers)
    if filled != 0:
        after.position = self._taken(order, after, level, filled)
    return after


@internal
def _log_filled(order: orders.Order, level: uint256, makers: DynArray[uint256, MAKERS_PER_LOG]):
    """
    @notice Says what an order took of a level.
    """
    log OrdersFilled(
        slot=order.slot,
        taker=order.trader,
        takerNonce=order.nonce,
        takerSide=order.side,
        energyClass=order.energyClass,
        tick=convert(levels._tick(level), int16),
        makers=makers,
    )


@internal
def _taken(order: orders.Order, ticket: Ticket, level: uint256, quantity: uint256) -> uint256:
    """
    @notice The taker's position after it took so much of a level.
    """
    tick: int256 = levels._tick(level)
    worth: int256 = unsafe_mul(convert(quantity, int256), tick)
    position: uint256 = positions._traded(ticket.position, ticket.side, quantity, worth)
    if slots.VETO_GRACE != 0:
        veto._note(ticket.slot, level, ticket.id, convert(order.nonce, uint256), quantity)
    energy_class: uint256 = convert(order.energyClass, uint256)
    if energy_class != 0:
        positions._trade_class((ticket.slot << 24) | ticket.id, energy_class, ticket.side, quantity)
    unit: uint256 = resting._unit_reserve(
        ticket.state, ticket.id, energy_class, ticket.side, tick, ticket.charge
    )
    return position + ((quantity * unit) << positions.RESERVE_AT)


@internal
def _void_met(
    order: orders.Order, ticket: Ticket, level: uint256, entry: uint256, quantity: uint256, expired: bool
) -> Ticket:
    """
    @notice Voids an order that the taker met and does not trade with: expired, or the taker's own.
    """
    reason: uint8 = resting.OWN_ORDER
    if expired:
        reason = resting.VOID_EXPIRED
    if entry >> levels.TRADER_AT != ticket.id:
        resting._void(accounts.holders[entry >> levels.TRADER_AT], ticket.state, level, entry, quantity, reason)
        return ticket
    after: Ticket = ticket
    after.position = positions._without_rest(ticket.position, 1 - ticket.side, quantity, 1)
    unit: uint256 = resting._level_reserve(ticket.state, ticket.id, level, ticket.charge)
    after.position -= (quantity * unit) << positions.RESERVE_AT
    resting._log_voided(ticket.slot, order.trader, (entry >> levels.NONCE_AT) & packing.UINT8, quantity, reason)
    return after


@internal
def _rest(order: orders.Order, ticket: Ticket) -> Ticket:
    """
    @notice Lets what is left of an order rest, or voids it.
    """
    after: Ticket = ticket
    shelf: uint256 = levels._shelf(ticket.slot, convert(order.energyClass, uint256), ticket.side)
    level: uint256 = (shelf << 16) | levels._rank(ticket.tick, ticket.side)
    nonce: uint256 = convert(order.nonce, uint256)
    reason: uint8 = 0
    if ticket.visits == VISITS_MAX:
        reason = resting.VISITS
    elif order.flags == orders.IMMEDIATE_OR_CANCEL:
        reason = resting.VOID_IMMEDIATE
    else:
        entry: uint256 = (ticket.id << levels.TRADER_AT) | (nonce << levels.NONCE_AT) | ticket.left
        if order.expiry != 0:
            entry |= slots._before_gate_by(ticket.slot, order.expiry) << levels.EXPIRY_AT
        after.state = levels._append(ticket.state, level, entry)
        if after.state == 0:
            after.state = ticket.state
            reason = resting.LEVEL_FULL
    if reason != 0:
        resting._log_voided(ticket.slot, order.trader, nonce, ticket.left, reason)
    else:
        position: uint256 = positions._with_rest(ticket.position, ticket.side, ticket.left)
        after.position = position + (unsafe_mul(ticket.left, ticket.unit) << positions.RESERVE_AT)
    return after


# ---- internal functions: cancels --------------------------------------------------------------------


@internal
def _cancel(cancel: orders.Cancel, r: bytes32, vs: bytes32, berth: resting.Berth):
    """
    @notice Voids what rests of an order, or kills a nonce not seen yet; before the gate.
    """
    slot: uint256 = convert(cancel.slot, uint256)
    nonce: uint256 = convert(cancel.nonce, uint256)
    id: uint256 = accounts._id(cancel.trader)
    key: uint256 = (slot << 24) | id
    rules._require(orders._cancel_signed(cancel, r, vs), "book: bad signature")
    rules._require(slots._before_gate(slot), "book: gate passed")
    position: uint256 = positions.words[key]
    if not positions._is_used(key, position, nonce):
        positions.words[key] = positions._use(key, position, nonce)
        log orders.NonceCancelled(slot=cancel.slot, trader=cancel.trader, nonce=cancel.nonce)
        return
    sound: bool = berth.energyClass <= 3 and berth.side <= 1 and berth.tick > min_value(int16)
    rules._require(sound, "book: nothing to cancel")
    side: uint256 = convert(berth.side, uint256)
    level: uint256 = levels._level(slot, convert(berth.energyClass, uint256), side, convert(berth.tick, int256))
    word: uint256 = levels.heads[level]
    place: uint256 = convert(berth.place, uint256)
    entry: uint256 = levels._entry(level, word, place)
    open: uint256 = levels._open(word, place, entry)
    owned: bool = entry >> levels.NONCE_AT == (id << 8) | nonce
    rules._require(owned and open != 0, "book: nothing to cancel")
    state: uint256 = slots.states[slot]
    word = levels._lessen(level, word, place, open)
    if place == levels._head(word):
        word = levels._passed(level, word)
        if levels._head(word) == levels._tail(word):
            slots.states[slot] = levels._unmark(state, level)
    levels.heads[level] = word
    resting._void(cancel.trader, state, level, entry, open, resting.CANCELLED)
