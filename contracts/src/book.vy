# pragma version 0.4.3
"""
@title Book
@license Apache-2.0
@notice Order entry, matching in price-time priority, cancel and gate closure.

        A shelf is one side of one class's book in one slot. Prices on it are ranks, the higher the better
        for whoever meets it: 32 768 + tick for bids, 32 768 − tick for asks. A level is the queue of the
        orders of one rank, doubly linked. Which levels hold orders is marked by one bit a rank in 256 words,
        and which words are not empty by one bit each in the shelf's summary.

        A seat names an order inside its slot: (trader's id << 8 | nonce) + 1, so that 0 is no order.
"""

import accounts
import oracle
import orders
import packing
import rules
import slots

uses: accounts
uses: oracle
uses: orders
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

event OrderFilled:
    slot: indexed(uint32)
    energyClass: uint8
    tick: int16
    quantity: uint32
    maker: indexed(address)
    makerNonce: uint8
    taker: indexed(address)
    takerNonce: uint8
    takerSide: uint8

event OrderVoided:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8
    quantity: uint32
    reason: uint8

event GateClosed:
    slot: indexed(uint32)
    accounts: uint32


# ---- structs ---------------------------------------------------------------------------------------

struct Position:
    net: int64
    restingBids: uint64
    restingAsks: uint64
    bids: uint8
    asks: uint8
    reserve: uint128
    trades: int256
    settled: bool

# The same in memory. Arrays are by side; trades are in ticks × Wh.
struct Standing:
    net: int256
    trades: int256
    reserve: uint256
    resting: uint256[2]
    count: uint256[2]
    settled: uint256

# What entry has found out about an order.
struct Ticket:
    code: uint256
    id: uint256
    slot: uint256
    side: uint256
    tick: int256
    charge: int256
    state: uint256
    standing: Standing

struct Resting:
    quantity: uint256
    side: uint256
    energy_class: uint256
    tick: int256
    expiry: uint256
    before: uint256
    behind: uint256


# ---- constants -------------------------------------------------------------------------------------

TICK: constant(int256) = 100
TICK_MAX: constant(int256) = 32767
VISITS_MAX: constant(uint256) = 128
RESTING_MAX: constant(uint256) = 16
VOIDS_PER_CALL: constant(uint256) = 4096
WALK_MAX: constant(uint256) = 1048576

CANCELLED: constant(uint8) = 1
VOID_EXPIRED: constant(uint8) = 2
OWN_ORDER: constant(uint8) = 3
VOID_IMMEDIATE: constant(uint8) = 4
VISITS: constant(uint8) = 5
CLOSED: constant(uint8) = 6

SEAT_MASK: constant(uint256) = (1 << 40) - 1
SEATS_PER_WORD: constant(uint256) = 6
ZERO_RANK: constant(int256) = 32768


# ---- storage ---------------------------------------------------------------------------------------

# By slot << 32 | id.
standings: HashMap[uint256, uint256]
# Net Wh in a class, bought positive: by (slot << 32 | id) << 8 | class.
class_nets: HashMap[uint256, int256]
# Resting orders: by slot << 40 | seat.
resting: HashMap[uint256, uint256]
# Queues: by shelf << 16 | rank; the first seat in the low 40 bits, the last in the 40 above.
levels: HashMap[uint256, uint256]
# By shelf << 8 | high byte of the rank, and by shelf; a shelf is slot << 4 | class << 1 | side.
ranks: HashMap[uint256, uint256]
summaries: HashMap[uint256, uint256]
# Placing list: six seats a word, by slot << 32 | index of the word.
placings: HashMap[uint256, uint256]


# ---- internal functions: standings -----------------------------------------------------------------


@internal
@view
def _standing(slot: uint256, id: uint256) -> Standing:
    """
    @notice What an account has in a slot.
    """
    word: uint256 = self.standings[(slot << 32) | id]
    return Standing(
        net=packing._signed(word, 215, 41),
        trades=packing._signed(word, 158, 57),
        reserve=(word >> 84) & packing.UINT74,
        resting=[word & packing.UINT36, (word >> 36) & packing.UINT36],
        count=[(word >> 72) & packing.UINT5, (word >> 77) & packing.UINT5],
        settled=(word >> 82) & packing.UINT1,
    )


@internal
def _store_standing(slot: uint256, id: uint256, standing: Standing):
    """
    @notice Packs it into its word.
    """
    # The widths hold: 256 nonces of at most 2^32 Wh are below 2^40 Wh, a tick is 15 bits and the reserve of
    # a Wh below 2^34, and 16 resting orders a side are at most 2^36 Wh.
    word: uint256 = (packing._bits(standing.net, 41) << 215) | (packing._bits(standing.trades, 57) << 158)
    word = word | (standing.reserve << 84) | (standing.settled << 82)
    word = word | (standing.count[1] << 77) | (standing.count[0] << 72)
    self.standings[(slot << 32) | id] = word | (standing.resting[1] << 36) | standing.resting[0]


@internal
@view
def _position(slot: uint256, id: uint256) -> Position:
    """
    @notice An account's position in a slot.
    """
    standing: Standing = self._standing(slot, id)
    return Position(
        net=convert(standing.net, int64),
        restingBids=convert(standing.resting[0], uint64),
        restingAsks=convert(standing.resting[1], uint64),
        bids=convert(standing.count[0], uint8),
        asks=convert(standing.count[1], uint8),
        reserve=convert(standing.reserve, uint128),
        trades=standing.trades * TICK,
        settled=standing.settled != 0,
    )


@internal
@view
def _unit_reserve(state: uint256, id: uint256, side: uint256, tick: int256, charge: int256) -> uint256:
    """
    @notice The most that one Wh at a tick can cost under any reading, µ€/kWh; nothing for the utility.
    """
    if id == 0:
        return 0
    tariff: slots.Tariff = slots._tariff(state)
    price: int256 = tick * TICK
    delivered: int256 = price + charge
    undelivered: int256 = 0
    if side == 0:
        if slots.RULE == slots.DLMP:
            undelivered = price - tariff.hub_export
        else:
            undelivered = price + max(charge, 0) - tariff.hub_export - min(charge, 0)
    else:
        delivered = -delivered
        if slots.RULE == slots.DLMP:
            undelivered = tariff.hub_import - price
        else:
            undelivered = max(tariff.retail, tariff.hub_import + charge) + max(-charge, 0) - price
    return convert(max(0, max(delivered, undelivered)), uint256)


@internal
@pure
def _traded(standing: Standing, side: uint256, quantity: uint256, tick: int256) -> Standing:
    """
    @notice A standing after a fill.
    """
    after: Standing = standing
    bought: int256 = convert(quantity, int256)
    if side == 1:
        bought = -bought
    after.net += bought
    after.trades += bought * tick
    return after


# ---- internal functions: shelves and levels --------------------------------------------------------


@internal
@pure
def _rank(tick: int256, side: uint256) -> uint256:
    """
    @notice Where a tick stands on a shelf of one side.
    """
    if side == 0:
        return convert(ZERO_RANK + tick, uint256)
    return convert(ZERO_RANK - tick, uint256)


@internal
@pure
def _shelf(slot: uint256, energy_class: uint256, side: uint256) -> uint256:
    """
    @notice One side of one class's book in one slot.
    """
    return (slot << 4) | (energy_class << 1) | side


@internal
@view
def _best_rank(shelf: uint256) -> uint256:
    """
    @notice The best rank that holds an order, 0 for none.
    """
    summary: uint256 = self.summaries[shelf]
    if summary == 0:
        return 0
    high: uint256 = packing._highest_bit(summary)
    return (high << 8) | packing._highest_bit(self.ranks[(shelf << 8) | high])


@internal
def _mark(shelf: uint256, rank: uint256):
    """
    @notice Notes that a level holds orders.
    """
    high: uint256 = rank >> 8
    word: uint256 = self.ranks[(shelf << 8) | high]
    self.ranks[(shelf << 8) | high] = word | (1 << (rank & 255))
    if word == 0:
        self.summaries[shelf] |= 1 << high


@internal
def _store_level(shelf: uint256, rank: uint256, first: uint256, last: uint256):
    """
    @notice Writes a level's ends; an empty level loses its mark.
    """
    if first != 0:
        self.levels[(shelf << 16) | rank] = (last << 40) | first
        return
    self.levels[(shelf << 16) | rank] = 0
    high: uint256 = rank >> 8
    word: uint256 = self.ranks[(shelf << 8) | high] ^ (1 << (rank & 255))
    self.ranks[(shelf << 8) | high] = word
    if word == 0:
        self.summaries[shelf] ^= 1 << high


# ---- internal functions: resting orders ------------------------------------------------------------


@internal
@view
def _resting(slot: uint256, seat: uint256) -> Resting:
    """
    @notice A resting order; quantity 0 if it does not rest.
    """
    word: uint256 = self.resting[(slot << 40) | seat]
    return Resting(
        quantity=word & packing.UINT32,
        side=(word >> 32) & packing.UINT1,
        energy_class=(word >> 33) & packing.UINT3,
        tick=packing._signed(word, 36, 16),
        expiry=(word >> 52) & packing.UINT32,
        before=(word >> 84) & packing.UINT40,
        behind=(word >> 124) & packing.UINT40,
    )


@internal
def _append(slot: uint256, seat: uint256, order: Resting):
    """
    @notice Puts an order at the end of its level, and of the slot's placing list.
    """
    shelf: uint256 = self._shelf(slot, order.energy_class, order.side)
    rank: uint256 = self._rank(order.tick, order.side)
    level: uint256 = self.levels[(shelf << 16) | rank]
    last: uint256 = level >> 40
    if last == 0:
        level = seat
        self._mark(shelf, rank)
    else:
        key: uint256 = (slot << 40) | last
        self.resting[key] = packing._put(self.resting[key], 124, 40, seat)
    self.levels[(shelf << 16) | rank] = (seat << 40) | (level & SEAT_MASK)
    word: uint256 = order.quantity | (order.side << 32) | (order.energy_class << 33)
    word = word | (packing._bits(order.tick, 16) << 36) | (order.expiry << 52)
    self.resting[(slot << 40) | seat] = word | (last << 84)
    state: uint256 = slots.states[slot]
    placed: uint256 = (state >> slots.PLACED_AT) & packing.UINT32
    key: uint256 = (slot << 32) | (placed // SEATS_PER_WORD)
    self.placings[key] |= seat << (40 * (placed % SEATS_PER_WORD))
    slots.states[slot] = packing._put(state, slots.PLACED_AT, 32, placed + 1)


@internal
def _unlink(slot: uint256, seat: uint256, order: Resting):
    """
    @notice Takes an order out of its level.
    """
    shelf: uint256 = self._shelf(slot, order.energy_class, order.side)
    rank: uint256 = self._rank(order.tick, order.side)
    level: uint256 = self.levels[(shelf << 16) | rank]
    first: uint256 = level & SEAT_MASK
    last: uint256 = level >> 40
    # `before` of the first order is stale: matching takes from the front without writing to the next.
    if seat == first:
        first = order.behind
    else:
        key: uint256 = (slot << 40) | order.before
        self.resting[key] = packing._put(self.resting[key], 124, 40, order.behind)
    if seat == last:
        last = order.before
    elif seat != level & SEAT_MASK:
        key: uint256 = (slot << 40) | order.behind
        self.resting[key] = packing._put(self.resting[key], 84, 40, order.before)
    self._store_level(shelf, rank, first, last)


@internal
def _void(state: uint256, slot: uint256, seat: uint256, order: Resting, reason: uint8):
    """
    @notice Clears an order that somebody else than the present taker has at rest, and releases its reserve.
    """
    id: uint256 = (seat - 1) >> 8
    self.resting[(slot << 40) | seat] = 0
    standing: Standing = self._standing(slot, id)
    account: address = accounts.holders[id]
    charge: int256 = oracle._charge(state, slot, (accounts.profiles[account] >> accounts.BUS_AT) & packing.UINT16)
    released: uint256 = order.quantity * self._unit_reserve(state, id, order.side, order.tick, charge)
    standing.reserve -= released
    standing.resting[order.side] -= order.quantity
    standing.count[order.side] -= 1
    self._store_standing(slot, id, standing)
    accounts._reserve(id, -convert(released, int256))
    self._log_voided(slot, account, (seat - 1) & 255, order.quantity, reason)


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
def _place(order: orders.Order, r: bytes32, vs: bytes32) -> uint256:
    """
    @notice Takes an order: checks it, matches it, and lets the rest rest.
    @return The reject code; nothing has changed unless it is 0.
    """
    ticket: Ticket = self._admit(order, r, vs)
    if ticket.code == orders.ACCEPTED:
        nonce: uint256 = convert(order.nonce, uint256)
        orders._use(ticket.slot, ticket.id, nonce)
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
        self._match(order, ticket)
    return ticket.code


@internal
@view
def _admit(order: orders.Order, r: bytes32, vs: bytes32) -> Ticket:
    """
    @notice Tests the rules of entry in their order.
    @return The code of the first rule broken, or 0, and what was found out on the way.
    """
    ticket: Ticket = empty(Ticket)
    profile: uint256 = accounts.profiles[order.trader]
    if profile == 0:
        ticket.code = orders.UNKNOWN_TRADER
        return ticket
    if not orders._order_signed(order, r, vs):
        ticket.code = orders.BAD_SIGNATURE
        return ticket
    if order.relayer != empty(address) and order.relayer != msg.sender:
        ticket.code = orders.WRONG_RELAYER
        return ticket
    ticket.id = profile & packing.UINT32
    ticket.slot = convert(order.slot, uint256)
    ticket.state = slots.states[ticket.slot]
    is_open: bool = not slots._before_opening(ticket.slot) and slots._before_gate(ticket.slot)
    if ticket.state & slots.CHARGES_COMPLETE == 0 or not is_open:
        ticket.code = orders.SLOT_NOT_OPEN
        return ticket
    if order.expiry != 0 and block.timestamp >= convert(order.expiry, uint256):
        ticket.code = orders.EXPIRED
        return ticket
    if orders._is_used(ticket.slot, ticket.id, convert(order.nonce, uint256)):
        ticket.code = orders.NONCE_USED
        return ticket
    if order.side > 1 or order.flags > 1:
        ticket.code = orders.MALFORMED
        return ticket
    energy_class: uint256 = convert(order.energyClass, uint256)
    if energy_class > len(slots.PENALTIES):
        ticket.code = orders.UNKNOWN_CLASS
        return ticket
    if order.side == orders.ASK and energy_class != 0:
        if (profile >> (accounts.CLASSES_AT + energy_class - 1)) & 1 == 0:
            ticket.code = orders.NOT_REGISTERED_SELLER
            return ticket
    quantity: uint256 = convert(order.quantity, uint256)
    if quantity == 0 or quantity % slots.LOT != 0:
        ticket.code = orders.NOT_WHOLE_LOTS
        return ticket
    ticket.side = convert(order.side, uint256)
    ticket.charge = oracle._charge(ticket.state, ticket.slot, (profile >> accounts.BUS_AT) & packing.UINT16)
    ticket.tick = self._tick(ticket.side, convert(order.limitPrice, int256) - ticket.charge)
    if abs(ticket.tick) > TICK_MAX:
        ticket.code = orders.PRICE_OFF_RANGE
        return ticket
    ticket.standing = self._standing(ticket.slot, ticket.id)
    if order.flags != orders.IMMEDIATE_OR_CANCEL and ticket.standing.count[ticket.side] >= RESTING_MAX:
        ticket.code = orders.TOO_MANY_RESTING
        return ticket
    if ticket.id != 0:
        if self._over_capacity(profile, ticket, quantity):
            ticket.code = orders.OVER_CAPACITY
            return ticket
        unit: uint256 = self._unit_reserve(ticket.state, ticket.id, ticket.side, ticket.tick, ticket.charge)
        if not accounts._affords(ticket.id, quantity * unit):
            ticket.code = orders.INSUFFICIENT_FUNDS
            return ticket
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
        return price // TICK
    return -((TICK - 1 - price) // TICK)


@internal
@pure
def _over_capacity(profile: uint256, ticket: Ticket, quantity: uint256) -> bool:
    """
    @notice Whether filled net, what rests on that side, and this order exceed the registered capacity.
    """
    net: int256 = ticket.standing.net
    capacity: uint256 = (profile >> accounts.IMPORT_AT) & packing.UINT32
    if ticket.side == 1:
        net = -net
        capacity = (profile >> accounts.EXPORT_AT) & packing.UINT32
    return net + convert(ticket.standing.resting[ticket.side] + quantity, int256) > convert(capacity, int256)


# ---- internal functions: matching ------------------------------------------------------------------


@internal
def _match(order: orders.Order, ticket: Ticket):
    """
    @notice Visits the best opposite orders while they cross, oldest first, at their price; what is left
            rests or is voided.
    """
    standing: Standing = ticket.standing
    energy_class: uint256 = convert(order.energyClass, uint256)
    left: uint256 = convert(order.quantity, uint256)
    opposite: uint256 = 1 - ticket.side
    shelf: uint256 = self._shelf(ticket.slot, energy_class, opposite)
    worst: uint256 = self._rank(ticket.tick, opposite)
    reserved_before: uint256 = standing.reserve
    visits: uint256 = 0
    rank: uint256 = 0
    first: uint256 = 0
    last: uint256 = 0
    moved: bool = False
    for _: uint256 in range(VISITS_MAX):
        if left == 0:
            break
        if first == 0:
            rank = self._best_rank(shelf)
            if rank == 0 or rank < worst:
                break
            level: uint256 = self.levels[(shelf << 16) | rank]
            first = level & SEAT_MASK
            last = level >> 40
            moved = False
        visits += 1
        seat: uint256 = first
        maker: Resting = self._resting(ticket.slot, seat)
        gone: bool = True
        if maker.expiry != 0 and block.timestamp >= maker.expiry or (seat - 1) >> 8 == ticket.id:
            reason: uint8 = OWN_ORDER
            if maker.expiry != 0 and block.timestamp >= maker.expiry:
                reason = VOID_EXPIRED
            if (seat - 1) >> 8 == ticket.id:
                unit: uint256 = self._unit_reserve(ticket.state, ticket.id, opposite, maker.tick, ticket.charge)
                standing.reserve -= maker.quantity * unit
                standing.resting[opposite] -= maker.quantity
                standing.count[opposite] -= 1
                self.resting[(ticket.slot << 40) | seat] = 0
                self._log_voided(ticket.slot, order.trader, (seat - 1) & 255, maker.quantity, reason)
            else:
                self._void(ticket.state, ticket.slot, seat, maker, reason)
        else:
            quantity: uint256 = min(left, maker.quantity)
            left -= quantity
            gone = quantity == maker.quantity
            self._fill_maker(ticket.slot, seat, maker, quantity)
            standing = self._traded(standing, ticket.side, quantity, maker.tick)
            unit: uint256 = self._unit_reserve(ticket.state, ticket.id, ticket.side, maker.tick, ticket.charge)
            standing.reserve += quantity * unit
            if energy_class != 0:
                self._class_traded(ticket.slot, ticket.id, energy_class, ticket.side, quantity)
            log OrderFilled(
                slot=order.slot,
                energyClass=order.energyClass,
                tick=convert(maker.tick, int16),
                quantity=convert(quantity, uint32),
                maker=accounts.holders[(seat - 1) >> 8],
                makerNonce=convert((seat - 1) & 255, uint8),
                taker=order.trader,
                takerNonce=order.nonce,
                takerSide=order.side,
            )
        if gone:
            first = maker.behind
            moved = True
            if first == 0:
                self._store_level(shelf, rank, 0, 0)
    if first != 0 and moved:
        self._store_level(shelf, rank, first, last)
    if left > 0:
        if visits == VISITS_MAX:
            self._log_voided(ticket.slot, order.trader, convert(order.nonce, uint256), left, VISITS)
        elif order.flags == orders.IMMEDIATE_OR_CANCEL:
            self._log_voided(ticket.slot, order.trader, convert(order.nonce, uint256), left, VOID_IMMEDIATE)
        else:
            unit: uint256 = self._unit_reserve(ticket.state, ticket.id, ticket.side, ticket.tick, ticket.charge)
            standing.reserve += left * unit
            standing.resting[ticket.side] += left
            standing.count[ticket.side] += 1
            rest: Resting = Resting(
                quantity=left,
                side=ticket.side,
                energy_class=energy_class,
                tick=ticket.tick,
                expiry=convert(order.expiry, uint256),
                before=0,
                behind=0,
            )
            self._append(ticket.slot, ((ticket.id << 8) | convert(order.nonce, uint256)) + 1, rest)
    self._store_standing(ticket.slot, ticket.id, standing)
    accounts._reserve(ticket.id, convert(standing.reserve, int256) - convert(reserved_before, int256))


@internal
def _fill_maker(slot: uint256, seat: uint256, maker: Resting, quantity: uint256):
    """
    @notice The maker's side of a fill. Its reserve stays: the fill is at its own tick.
    """
    id: uint256 = (seat - 1) >> 8
    standing: Standing = self._traded(self._standing(slot, id), maker.side, quantity, maker.tick)
    standing.resting[maker.side] -= quantity
    key: uint256 = (slot << 40) | seat
    if quantity == maker.quantity:
        standing.count[maker.side] -= 1
        self.resting[key] = 0
    else:
        self.resting[key] -= quantity
    self._store_standing(slot, id, standing)
    if maker.energy_class != 0:
        self._class_traded(slot, id, maker.energy_class, maker.side, quantity)


@internal
def _class_traded(slot: uint256, id: uint256, energy_class: uint256, side: uint256, quantity: uint256):
    """
    @notice Keeps what an account has net in a class.
    """
    bought: int256 = convert(quantity, int256)
    if side == 1:
        bought = -bought
    self.class_nets[(slot << 40) | (id << 8) | energy_class] += bought


# ---- internal functions: cancel and gate closure ---------------------------------------------------


@internal
def _cancel(cancel: orders.Cancel, r: bytes32, vs: bytes32):
    """
    @notice Voids what rests of an order, or kills a nonce not seen yet; before the gate.
    """
    slot: uint256 = convert(cancel.slot, uint256)
    nonce: uint256 = convert(cancel.nonce, uint256)
    id: uint256 = accounts._id(cancel.trader)
    rules._require(orders._cancel_signed(cancel, r, vs), "book: bad signature")
    rules._require(slots._before_gate(slot), "book: gate passed")
    if not orders._is_used(slot, id, nonce):
        orders._use(slot, id, nonce)
        log orders.NonceCancelled(slot=cancel.slot, trader=cancel.trader, nonce=cancel.nonce)
        return
    seat: uint256 = ((id << 8) | nonce) + 1
    order: Resting = self._resting(slot, seat)
    rules._require(order.quantity != 0, "book: nothing to cancel")
    log orders.NonceCancelled(slot=cancel.slot, trader=cancel.trader, nonce=cancel.nonce)
    self._unlink(slot, seat, order)
    self._void(slots.states[slot], slot, seat, order, CANCELLED)


@internal
def _close_gate(slot: uint32, limit: uint32):
    """
    @notice Voids entries of the placing list in order; past its end the gate is closed and the accounts that
            must settle are fixed.
    """
    number: uint256 = convert(slot, uint256)
    state: uint256 = slots._scheduled(number)
    rules._require(not slots._before_gate(number), "book: before the gate")
    rules._require(state & slots.GATE_CLOSED == 0, "book: gate is closed")
    placed: uint256 = (state >> slots.PLACED_AT) & packing.UINT32
    voided: uint256 = (state >> slots.VOIDED_AT) & packing.UINT32
    entries: uint256 = min(placed - voided, min(convert(limit, uint256), VOIDS_PER_CALL))
    # Levels keep their links: nothing is matched in this slot any more.
    for _: uint256 in range(entries, bound=VOIDS_PER_CALL):
        word: uint256 = self.placings[(number << 32) | (voided // SEATS_PER_WORD)]
        seat: uint256 = (word >> (40 * (voided % SEATS_PER_WORD))) & packing.UINT40
        order: Resting = self._resting(number, seat)
        if order.quantity != 0:
            self._void(state, number, seat, order, CLOSED)
        voided += 1
    state = packing._put(state, slots.VOIDED_AT, 32, voided)
    if voided == placed:
        state = packing._put(state | slots.GATE_CLOSED, slots.ACCOUNTS_AT, 32, accounts.count)
        log GateClosed(slot=slot, accounts=convert(accounts.count, uint32))
    slots.states[number] = state


# ---- internal functions: views ---------------------------------------------------------------------


@internal
@view
def _level_quantity(slot: uint256, shelf: uint256, rank: uint256) -> uint256:
    """
    @notice Wh resting on a level while the book is in force.
    """
    total: uint256 = 0
    state: uint256 = slots.states[slot]
    if state & slots.GATE_CLOSED != 0 or (state >> slots.VOIDED_AT) & packing.UINT32 != 0:
        return 0
    seat: uint256 = self.levels[(shelf << 16) | rank] & SEAT_MASK
    for _: uint256 in range(WALK_MAX):
        if seat == 0:
            break
        order: Resting = self._resting(slot, seat)
        total += order.quantity
        seat = order.behind
    return total


@internal
@view
def _best(slot: uint256, energy_class: uint256, side: uint256) -> (bool, int16, uint256):
    """
    @notice Best tick of one side and the Wh resting there.
    """
    shelf: uint256 = self._shelf(slot, energy_class, side)
    rank: uint256 = self._best_rank(shelf)
    quantity: uint256 = self._level_quantity(slot, shelf, rank)
    if quantity == 0:
        return False, 0, 0
    tick: int256 = convert(rank, int256) - ZERO_RANK
    if side == 1:
        tick = -tick
    return True, convert(tick, int16), quantity
