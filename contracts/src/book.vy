# pragma version 0.4.3
"""
@title Book
@license Apache-2.0
@notice Order entry, matching in price-time priority, cancel, veto and gate closure.

        Whoever takes resting orders writes to their levels and to its own position, not to the makers'. Makers
        are credited when the gate closes; until then what they have at rest counts as it was placed.
"""

import accounts
import levels
import oracle
import orders
import packing
import positions
import rules
import slots

uses: accounts
uses: levels
uses: oracle
uses: positions
uses: slots


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

event OrderVoided:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8
    quantity: uint32
    reason: uint8

event FillVetoed:
    slot: indexed(uint32)
    taker: indexed(address)
    takerNonce: uint8
    takerSide: uint8
    energyClass: uint8
    tick: int16
    quantity: uint32
    reason: uint8
    element: uint16

# Vetoes of a call end here: the level's head went back to `place`, over gaps alone, and the next call goes on.
event VetoPaused:
    slot: indexed(uint32)
    energyClass: uint8
    side: uint8
    tick: int16
    place: uint16

event GateClosed:
    slot: indexed(uint32)
    accounts: uint32


# ---- structs ---------------------------------------------------------------------------------------

# Where an order rests: its level, and its place in the queue.
struct Berth:
    energyClass: uint8
    side: uint8
    tick: int16
    place: uint16

# What an order took of a level, and how much of it the utility takes back.
struct Veto:
    taker: address
    takerNonce: uint8
    energyClass: uint8
    takerSide: uint8
    tick: int16
    quantity: uint32
    before: bytes32
    cut: uint32
    reason: uint8
    element: uint16

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
# Closing an entry takes 45 000 gas at most.
ENTRIES_PER_CALL: constant(uint256) = 512
WALK_MAX: constant(uint256) = 1048576

CANCELLED: constant(uint8) = 1
VOID_EXPIRED: constant(uint8) = 2
OWN_ORDER: constant(uint8) = 3
VOID_IMMEDIATE: constant(uint8) = 4
VISITS: constant(uint8) = 5
CLOSED: constant(uint8) = 6
LEVEL_FULL: constant(uint8) = 7


# ---- storage ---------------------------------------------------------------------------------------

# Hash over the fills of a slot, in markets with a veto: keccak256(hash before, level, taker's id << 8 | nonce, Wh).
fills: HashMap[uint256, bytes32]


# ---- internal functions: reserves ------------------------------------------------------------------


@internal
@view
def _unit_reserve(
    state: uint256, energy_class: uint256, side: uint256, tick: int256, charge: int256
) -> uint256:
    """
    @notice The most that one Wh at a tick can cost a prosumer under any reading, µ€/kWh: delivered or not, and
            sold in a class with nothing certified.
    """
    price: int256 = unsafe_mul(tick, slots.TICK)
    delivered: int256 = unsafe_add(price, charge)
    undelivered: int256 = 0
    fit: int256 = packing._signed(state, 64, 32)
    if slots.RULE == slots.DLMP:
        if side == 0:
            undelivered = unsafe_sub(price, fit)
        else:
            undelivered = unsafe_sub(slots._hub_import(state), price)
    elif side == 0:
        undelivered = price + max(charge, 0) - fit - min(charge, 0)
    else:
        retail: int256 = packing._signed(state, 0, 32)
        undelivered = max(retail, slots._hub_import(state) + charge) + max(-charge, 0) - price
    if side == 1:
        delivered = unsafe_sub(0, delivered)
    most: int256 = max(delivered, undelivered)
    if side == 1 and energy_class != 0:
        most = unsafe_add(most, convert(slots.PENALTIES[energy_class - 1], int256))
    return convert(max(0, most), uint256)


@internal
@view
def _level_reserve(state: uint256, level: uint256, charge: int256) -> uint256:
    """
    @notice The same of what rests on a level.
    """
    return self._unit_reserve(state, (level >> 17) & 3, (level >> 16) & 1, levels._tick(level), charge)


@internal
def _log_voided(slot: uint256, trader: address, nonce: uint256, quantity: uint256, reason: uint8):
    """
    @notice Says what will never trade.
    """
    log OrderVoided(
        slot=convert(slot, uint32),
        trader=trader,
        nonce=convert(nonce, uint8),
        quantity=convert(quantity, uint32),
        reason=reason,
    )


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
    reserved: uint256 = (positions._reserve(ticket.position) << accounts.RESERVED_AT)
    account: uint256 = ticket.account + reserved - (reserve << accounts.RESERVED_AT)
    if account != ticket.account:
        accounts.words[order.trader] = account
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
    if ticket.id != 0:
        ticket.unit = self._unit_reserve(ticket.state, energy_class, ticket.side, ticket.tick, ticket.charge)
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
        fill: uint256 = (ticket.id << 8) | convert(order.nonce, uint256)
        self.fills[ticket.slot] = keccak256(abi_encode(self.fills[ticket.slot], level, fill, quantity))
    energy_class: uint256 = convert(order.energyClass, uint256)
    if energy_class != 0:
        positions._trade_class((ticket.slot << 24) | ticket.id, energy_class, ticket.side, quantity)
    if ticket.id == 0:
        return position
    unit: uint256 = self._unit_reserve(ticket.state, energy_class, ticket.side, tick, ticket.charge)
    return position + ((quantity * unit) << positions.RESERVE_AT)


@internal
def _void_met(
    order: orders.Order, ticket: Ticket, level: uint256, entry: uint256, quantity: uint256, expired: bool
) -> Ticket:
    """
    @notice Voids an order that the taker met and does not trade with: expired, or the taker's own.
    """
    reason: uint8 = OWN_ORDER
    if expired:
        reason = VOID_EXPIRED
    if entry >> levels.TRADER_AT != ticket.id:
        self._void(accounts.holders[entry >> levels.TRADER_AT], ticket.state, level, entry, quantity, reason)
        return ticket
    after: Ticket = ticket
    after.position = positions._without_rest(ticket.position, 1 - ticket.side, quantity, 1)
    if ticket.id != 0:
        unit: uint256 = self._level_reserve(ticket.state, level, ticket.charge)
        after.position -= (quantity * unit) << positions.RESERVE_AT
    self._log_voided(ticket.slot, order.trader, (entry >> levels.NONCE_AT) & packing.UINT8, quantity, reason)
    return after


@internal
def _void(trader: address, state: uint256, level: uint256, entry: uint256, quantity: uint256, reason: uint8):
    """
    @notice Voids what rests of somebody's order: takes it out of the position and releases its reserve.
    """
    slot: uint256 = level >> 19
    side: uint256 = (level >> 16) & 1
    id: uint256 = entry >> levels.TRADER_AT
    key: uint256 = (slot << 24) | id
    # Closing counts no order down: of one that was voided before, a veto may have given back what was filled.
    counted: uint256 = 1
    if reason == CLOSED:
        counted = 0
    position: uint256 = positions._without_rest(positions.words[key], side, quantity, counted)
    if id != 0:
        account: uint256 = accounts.words[trader]
        charge: int256 = oracle._charge(state, slot, accounts._bus(account))
        released: uint256 = quantity * self._level_reserve(state, level, charge)
        position -= released << positions.RESERVE_AT
        accounts.words[trader] = account - (released << accounts.RESERVED_AT)
    positions.words[key] = position
    self._log_voided(slot, trader, (entry >> levels.NONCE_AT) & packing.UINT8, quantity, reason)


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
        reason = VISITS
    elif order.flags == orders.IMMEDIATE_OR_CANCEL:
        reason = VOID_IMMEDIATE
    else:
        entry: uint256 = (ticket.id << levels.TRADER_AT) | (nonce << levels.NONCE_AT) | ticket.left
        if order.expiry != 0:
            entry |= slots._before_gate_by(ticket.slot, order.expiry) << levels.EXPIRY_AT
        after.state = levels._append(ticket.state, level, entry)
        if after.state == 0:
            after.state = ticket.state
            reason = LEVEL_FULL
    if reason != 0:
        self._log_voided(ticket.slot, order.trader, nonce, ticket.left, reason)
    else:
        position: uint256 = positions._with_rest(ticket.position, ticket.side, ticket.left)
        after.position = position + (unsafe_mul(ticket.left, ticket.unit) << positions.RESERVE_AT)
    return after


# ---- internal functions: cancel and gate closure ---------------------------------------------------


@internal
def _cancel(cancel: orders.Cancel, r: bytes32, vs: bytes32, berth: Berth):
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
    level: uint256 = self._level_of(slot, berth)
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
    self._void(cancel.trader, state, level, entry, open, CANCELLED)


@internal
@view
def _check_veto(slot: uint256) -> uint256:
    """
    @notice Refuses vetoes of a slot that is not scheduled, or out of their time.
    @return The slot's state, which vetoes do not change.
    """
    state: uint256 = slots._scheduled(slot)
    rules._require(not slots._before_gate(slot) and not slots._may_close(slot), "veto: not now")
    return state


@internal
def _veto(slot: uint32, state: uint256, veto: Veto, room: uint256) -> (bool, uint256):
    """
    @notice Takes back the fill that was last of all, or a part of it: the taker's trade is undone, and what the
            makers traded rests again until closing voids it. Where more gaps than there is room for were passed
            since, the level's head alone goes back, over so many of them.
    @return Whether the fill was reached, and what room is left.
    """
    number: uint256 = convert(slot, uint256)
    side: uint256 = convert(veto.takerSide, uint256)
    quantity: uint256 = convert(veto.quantity, uint256)
    cut: uint256 = convert(veto.cut, uint256)
    sound: bool = side <= 1 and veto.energyClass <= 3 and veto.tick > min_value(int16)
    rules._require(sound, "veto: not the last fill")
    berth: Berth = Berth(energyClass=veto.energyClass, side=1 - veto.takerSide, tick=veto.tick, place=0)
    level: uint256 = self._level_of(number, berth)
    account: uint256 = accounts._word(veto.taker)
    id: uint256 = account & packing.UINT24
    fill: uint256 = (id << 8) | convert(veto.takerNonce, uint256)
    named: bytes32 = keccak256(abi_encode(veto.before, level, fill, quantity))
    rules._require(named == self.fills[number], "veto: not the last fill")
    rules._require(cut != 0 and cut <= quantity, "veto: more than was filled")
    word: uint256 = levels.heads[level]
    gaps: uint256 = 0
    word, gaps = levels._before_gaps(level, word, room)
    place: uint256 = levels._head(word)
    if levels._taken(word) == 0 and levels._behind_gap(level, word, place):
        levels.heads[level] = word
        log VetoPaused(
            slot=slot,
            energyClass=veto.energyClass,
            side=1 - veto.takerSide,
            tick=veto.tick,
            place=convert(place, uint16),
        )
        return False, 0
    levels.heads[level] = levels._returned(level, word, cut)
    self.fills[number] = veto.before
    if cut != quantity:
        self.fills[number] = keccak256(abi_encode(veto.before, level, fill, quantity - cut))
    key: uint256 = (number << 24) | id
    tick: int256 = convert(veto.tick, int256)
    energy_class: uint256 = convert(veto.energyClass, uint256)
    position: uint256 = positions._traded(positions.words[key], 1 - side, cut, convert(cut, int256) * tick)
    if id != 0:
        charge: int256 = oracle._charge(state, number, accounts._bus(account))
        released: uint256 = cut * self._unit_reserve(state, energy_class, side, tick, charge)
        position -= released << positions.RESERVE_AT
        accounts._release(veto.taker, released)
    positions.words[key] = position
    if energy_class != 0:
        positions._trade_class(key, energy_class, 1 - side, cut)
    log FillVetoed(
        slot=slot,
        taker=veto.taker,
        takerNonce=veto.takerNonce,
        takerSide=veto.takerSide,
        energyClass=veto.energyClass,
        tick=veto.tick,
        quantity=veto.cut,
        reason=veto.reason,
        element=veto.element,
    )
    return True, room - gaps


@internal
@pure
def _level_of(slot: uint256, berth: Berth) -> uint256:
    """
    @notice The level that a berth names.
    """
    sound: bool = berth.energyClass <= 3 and berth.side <= 1 and berth.tick > min_value(int16)
    rules._require(sound, "book: nothing to cancel")
    side: uint256 = convert(berth.side, uint256)
    shelf: uint256 = levels._shelf(slot, convert(berth.energyClass, uint256), side)
    return (shelf << 16) | levels._rank(convert(berth.tick, int256), side)


@internal
def _close_gate(slot: uint32, limit: uint32):
    """
    @notice Goes along the levels' entries: credits makers with what was filled, voids what rests. Past the last
            entry the gate is closed and the accounts that must settle are fixed.
    """
    number: uint256 = convert(slot, uint256)
    state: uint256 = slots._scheduled(number)
    rules._require(slots._may_close(number), "book: before the gate")
    rules._require(state & slots.GATE_CLOSED == 0, "book: gate is closed")
    progress: uint256 = slots.progress[number]
    link: uint256 = (progress >> slots.LEVEL_AT) & packing.UINT19
    place: uint256 = (progress >> slots.PLACE_AT) & packing.UINT16
    if state & slots.CLOSING == 0:
        link = (state >> slots.OPENED_AT) & packing.UINT19
    for _: uint256 in range(min(convert(limit, uint256), ENTRIES_PER_CALL), bound=ENTRIES_PER_CALL):
        if link == 0:
            break
        level: uint256 = (number << 19) | link
        word: uint256 = levels.heads[level]
        self._close_entry(state, level, word, place)
        place += 1
        if place == levels._tail(word):
            link = (word >> levels.OLDER_AT) & packing.UINT19
            place = 0
    state = state | slots.CLOSING
    progress = packing._put(progress, slots.LEVEL_AT, 19, link)
    progress = packing._put(progress, slots.PLACE_AT, 16, place)
    if link == 0:
        state = state | slots.GATE_CLOSED
        progress = packing._put(progress, slots.ACCOUNTS_AT, 32, accounts.count)
        log GateClosed(slot=slot, accounts=convert(accounts.count, uint32))
    slots.states[number] = state
    slots.progress[number] = progress


@internal
def _close_entry(state: uint256, level: uint256, word: uint256, place: uint256):
    """
    @notice Credits a maker with what was filled of one entry, and voids the rest of it.
    """
    entry: uint256 = levels._entry(level, word, place)
    rest: uint256 = levels._open(word, place, entry)
    filled: uint256 = (entry & packing.UINT32) - rest
    if filled != 0:
        side: uint256 = (level >> 16) & 1
        key: uint256 = ((level >> 19) << 24) | (entry >> levels.TRADER_AT)
        worth: int256 = convert(filled, int256) * levels._tick(level)
        position: uint256 = positions._traded(positions.words[key], side, filled, worth)
        positions.words[key] = positions._without_rest(position, side, filled, 0)
        energy_class: uint256 = (level >> 17) & 3
        if energy_class != 0:
            positions._trade_class(key, energy_class, side, filled)
    if rest != 0:
        self._void(accounts.holders[entry >> levels.TRADER_AT], state, level, entry, rest, CLOSED)


# ---- internal functions: views ---------------------------------------------------------------------


@internal
@view
def _find(slot: uint256, id: uint256, nonce: uint256) -> (Berth, uint256):
    """
    @notice Where an order rests, and its Wh; zeros for one that does not rest.
    """
    state: uint256 = slots.states[slot]
    if state & slots.CLOSING != 0:
        return empty(Berth), 0
    link: uint256 = (state >> slots.OPENED_AT) & packing.UINT19
    place: uint256 = 0
    for _: uint256 in range(WALK_MAX):
        if link == 0:
            break
        level: uint256 = (slot << 19) | link
        word: uint256 = levels.heads[level]
        entry: uint256 = levels._entry(level, word, place)
        open: uint256 = levels._open(word, place, entry)
        if entry >> levels.NONCE_AT == (id << 8) | nonce and open != 0:
            side: uint256 = (level >> 16) & 1
            berth: Berth = Berth(
                energyClass=convert((level >> 17) & 3, uint8),
                side=convert(side, uint8),
                tick=convert(levels._tick(level), int16),
                place=convert(place, uint16),
            )
            return berth, open
        place += 1
        if place == levels._tail(word):
            link = (word >> levels.OLDER_AT) & packing.UINT19
            place = 0
    return empty(Berth), 0


@internal
@view
def _level_quantity(slot: uint256, level: uint256) -> uint256:
    """
    @notice Wh resting on a level while the book is in force.
    """
    total: uint256 = 0
    if slots.states[slot] & slots.CLOSING != 0:
        return 0
    word: uint256 = levels.heads[level]
    first: uint256 = levels._head(word)
    count: uint256 = levels._tail(word) - first
    for offset: uint256 in range(count, bound=65536):
        total += levels._open(word, first + offset, levels._entry(level, word, first + offset))
    return total


@internal
@view
def _best(slot: uint256, energy_class: uint256, side: uint256) -> (bool, int16, uint256):
    """
    @notice Best tick of one side and the Wh resting there (0 where more than 128 gaps were left behind).
    """
    rules._require(slots._has_class(energy_class), "book: no such class")
    state: uint256 = slots.states[slot]
    shelf: uint256 = levels._shelf(slot, energy_class, side)
    rank: uint256 = levels._best(state, shelf)
    if rank == 0 or state & slots.CLOSING != 0:
        return False, 0, 0
    level: uint256 = (shelf << 16) | rank
    return True, convert(levels._tick(level), int16), self._level_quantity(slot, level)
