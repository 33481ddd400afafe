"""An audit that shares nothing with Wattbook: `python independent.py BUNDLE` says what is wrong, if anything.

It needs Python, NumPy, and eth-account with what that brings (eth_abi, rlp). Done again, from pages of the
formats: orders' signatures, fills by price and time, certificates by their optimality conditions, payments by
rule `dlmp`. Which orders were good is believed; vetoes, estimates, storages and classes are not judged.
"""

import json
import sys
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from struct import unpack_from

import numpy as np
import rlp
from eth_abi import decode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector

FOLDER, WRONG, ACCOUNTS = Path(sys.argv[1]), [], {}
CHAIN, HERE = (json.loads((FOLDER / "manifest.json").read_text())[e] for e in ("chain_id", "exchange"))
ABI = json.loads((FOLDER / "artifacts/Exchange.json").read_text())["abi"]
EVENTS = {event_abi_to_log_topic(e): e for e in ABI if e["type"] == "event"}
CALLS = {function_abi_to_4byte_selector(e): e for e in ABI if e["type"] == "function"}
ORDER = next(e for e in ABI if e.get("name") == "placeOrder")["inputs"][0]["components"]
DOMAIN = {"name": "Wattbook", "version": "1", "chainId": CHAIN, "verifyingContract": HERE}
UNJUDGED, VISITS = ("FillVetoed", "ReadingEstimated"), 5  # VISITS: an order met too many, the rest is void
DUE = ["penalty", "contracted", "metered", "delivered", "trades", "charge", "closeout", "imbalance"]


def read(entries, data):
    values = decode([collapse_if_tuple(e) for e in entries], data)
    return {e["name"]: value for e, value in zip(entries, values, strict=True)}


def told(topics, data):
    """Name and fields of an event."""
    event = EVENTS[topics[0]]
    fields = read([e for e in event["inputs"] if not e["indexed"]], data)
    return event["name"], fields | read([e for e in event["inputs"] if e["indexed"]], b"".join(topics[1:]))


def signer(order, r, vs):
    """Who signed an order (EIP-712, EIP-2098)."""
    s, fields = int.from_bytes(vs, "big"), dict(zip([e["name"] for e in ORDER], order, strict=True))
    signature = r + (s % 2**255).to_bytes(32, "big") + bytes([27 + (s >> 255)])
    message = encode_typed_data(DOMAIN, {"Order": ORDER}, fields)
    return Account.recover_message(message, signature=signature).lower()


def same(where, expected, found):
    if expected != found:
        WRONG.append(f"{where}: expected {expected}, found {found}")


class Slot:
    """Entries [trader, nonce, Wh left, tick, side, expiry] in order of arrival; trades (trader, Wh, tick)."""

    def __init__(self):
        self.book, self.trades, self.events = [], [], defaultdict(list)

    def values(self, name):
        words = [w for f in sorted(self.events[f"{name}Chunk"], key=lambda f: f["index"]) for w in f["words"]]
        return [(w >> 32 * i & 0xFFFFFFFF ^ 2**31) - 2**31 for w in words for i in range(8)]

    def place(self, order, time):
        """What an order takes, the best price first, then the oldest: fills (taker, nonce, tick, maker)."""
        trader, _, nonce, side, _, limit, left, at_once, expiry, _ = order
        beyond, sign = limit - self.values("Charges")[ACCOUNTS[trader][1]], 1 - 2 * side
        tick, fills = max(-32767, min(32767, sign * (sign * beyond // 100))), []
        for entry in sorted(self.book, key=lambda entry: sign * entry[3]):
            maker, number, rests, at, other, until = entry
            if not left or not rests or other == side or sign * (at - tick) > 0:
                continue
            if maker == trader or 0 < until <= time:  # who meets itself is out, as who is late
                entry[2] = 0
                continue
            filled = min(left, rests)
            left, entry[2] = left - filled, rests - filled
            fills.append((trader, nonce, at, ACCOUNTS[maker][0] << 40 | number << 32 | filled))
            self.trades += [(trader, sign * filled, at), (maker, -sign * filled, at)]
        self.book.append([trader, nonce, 0 if at_once else left, tick, side, expiry])
        return fills

    def pay(self, account):
        """An account's payment, by rule `dlmp`."""
        (number, bus), mine = ACCOUNTS[account], [trade[1:] for trade in self.trades if trade[0] == account]
        c, paid = sum(wh for wh, _ in mine), sum(100 * wh * tick for wh, tick in mine)
        nu, price = self.values("Charges")[bus], self.values("Prices")
        m = next((e["netEnergy"] for e in self.events["ReadingPosted"] if e["account"] == account), 0)
        d = max(0, min(c, m)) if c > 0 else min(0, max(c, m))
        due = [c, m, d, paid, nu * d, (price[bus] - price[0]) * (c - d), price[bus] * (m - c)]
        return [0, *(due if number else [c, 0, 0, paid, 0, 0, 0])]


def proved(where, posted):
    """λ by bus (µ€/kWh) and import (Wh) of a certificate, which must meet every optimality condition."""
    proof = (FOLDER / "certificates" / f"{posted['certificateHash'].hex()}.bin").read_bytes()
    data = (FOLDER / "inputs" / f"{posted['inputHash'].hex()}.bin").read_bytes()
    hashes = [sha256(each).digest() for each in (proof, data, data)]
    same(f"{where} hashes", hashes, [posted["certificateHash"], posted["inputHash"], proof[8:40]])
    at = 10 + unpack_from("<I", data, 6)[0]
    (n,), at = unpack_from("<I", data, at), at + 4
    for _ in range(n):
        at += 4 + unpack_from("<I", data, at)[0]
    number, whole = np.frombuffer(data, "<f8", offset=at), np.frombuffer(data, "<i8", offset=at)
    periods, k, storages, _ = unpack_from("<4I", data, at + 64 * n + 16)
    if periods != 1 or storages:
        sys.exit("slots that storages couple are not judged here")
    up, dev = np.maximum(whole[:n], 0), whole[8 * n + 4 : 8 * n + 4 + k]
    (r, x, low, high, most), (base, v0) = number[n : 6 * n].reshape(5, n), number[8 * n : 8 * n + 2]
    (hours, voll, dear, cheap), rest = number[8 * n + 4 + k : 8 * n + 8 + k], number[8 * n + 8 + k :]
    (p, q), of_devices = rest[: 2 * n].reshape(2, n), rest[2 * n :].reshape(7, k)
    cost, slope, g_max, worth, fall, least, d_max = of_devices
    point = np.frombuffer(proof, "<f8", offset=56)
    P, Q, l, xi, s, m_low, m_high, eta, v, lam, mu, shed, tie = point[: 13 * n].reshape(13, n)  # noqa: E741
    (gen, load), imported = point[13 * n : -1].reshape(2, k), point[-1]
    below, line, value = np.zeros((n, n)), np.sign(np.arange(n)), max(1, abs(lam).max())
    below[up[1:], np.arange(1, n)], z = 1, r * r + x * x

    def meets(what, found, expected, unit=1):
        off, allowed = abs(found - expected), (5e-5 if proof[7] else 1e-10) * np.maximum(unit, abs(expected))
        if not np.all(off <= allowed):
            WRONG.append(f"{where} certificate: {what} is off by {off.max():.1e}")

    def best(what, y, gain, price, bounds):
        step = (gain - price) / np.maximum(1, np.maximum(abs(price), abs(gain)))
        meets(what, y, np.clip(y + step, *bounds))

    net = np.bincount(dev, gen - load, n) + tie + imported * (1 - line)
    meets("P", P - r * l + net, p * (1 - shed) + below @ P)
    meets("Q", line * (Q - x * l), line * (q * (1 - shed) + below @ Q))
    meets("v", v, np.where(line > 0, v[up] - 2 * (r * P + x * Q) + z * l, v0**2))
    meets("l", l * v[up], P * P + Q * Q)
    meets("price of P", line * lam, line * (lam[up] - 2 * r * xi - 2 * P * s), value)
    meets("price of Q", mu, line * (mu[up] - 2 * x * xi - 2 * Q * s), value)
    meets("price of l", -line * v[up] * s, line * (r * lam + x * mu + z * xi + eta), value)
    meets("price of v", line * xi, line * (below @ (xi + l * s) - m_low + m_high), value)
    meets("low v", np.minimum(v - low**2, m_low / value), 0)
    meets("high v", np.minimum(high**2 - v, m_high / value), 0)
    meets("rating", np.minimum(most**2 - l, eta / value), 0)
    meets("convexity", np.maximum(s, 0), 0, value)
    best("generation", gen, lam[dev], cost + slope * gen, (0, g_max))
    best("load", load, worth - fall * load, lam[dev], (least, d_max))
    best("shedding", shed, lam * p + mu * q, voll * np.hypot(p, q), (0, np.hypot(p, q) > 0))
    meets("tie-break", tie, 1e-6 / n * (lam - (dear + cheap) / 2))
    meets("hub", lam[0], np.clip(lam[0] + 10 * max(1, abs(lam[0])) * imported, cheap, dear), value)
    return [int(each) for each in np.rint(lam * 1000)], int(np.rint(imported * base * 1e6 * hours))


SLOTS = defaultdict(Slot)
FILES = (rlp.decode((FOLDER / f"{e}.rlp").read_bytes()) for e in ("headers", "transactions", "receipts"))
for header, transactions, receipts in zip(*FILES, strict=True):
    block, time = (int.from_bytes(rlp.decode(header)[i], "big") for i in (8, 11))
    for index, (raw, receipt) in enumerate(zip(transactions, receipts, strict=True)):
        logs = [log for log in rlp.decode(receipt[1:])[3] if log[0].hex() == HERE[2:].lower()]
        where, data = f"block {block} transaction {index}", rlp.decode(raw[1:])[7]
        call = CALLS.get(data[:4] if logs else b"", {"name": "none", "inputs": []})
        asked, signed, expected, found = [*read(call["inputs"], data[4:]).values()], {}, [], []
        if call["name"] in ("placeOrder", "placeOrders"):
            signed = {each[0][:3]: each for each in (asked[0] if len(asked) == 1 else [asked])}
        elif call["name"] == "cancelOrder":
            for entry in SLOTS[asked[0][1]].book:
                entry[2] *= (entry[0], entry[1]) != (asked[0][0], asked[0][2])
        for name, f in (told(*log[1:]) for log in logs):
            slot = SLOTS[f["slot"]] if "slot" in f else Slot()
            slot.events[name].append(f)
            if name in UNJUDGED or f.get("energyClass") or f.get("reason") == VISITS:
                sys.exit(f"{where}: {name} is not judged here")
            if name in ("AccountRegistered", "RoleAccepted") and not f.get("role"):
                ACCOUNTS[f.get("account") or f["holder"]] = f.get("id", 0), f.get("bus", 0)
            elif name == "OrderPlaced":
                order, *signature = signed[f["trader"], f["slot"], f["nonce"]]
                same(f"{where} signer", f["trader"], signer(order, *signature))
                expected += slot.place(order, time)
            elif name == "OrdersFilled":
                found += [(f["taker"], f["takerNonce"], f["tick"], maker) for maker in f["makers"]]
            elif name == "AccountSettled":
                same(f"{where} payment of {f['account']}", slot.pay(f["account"]), [f[each] for each in DUE])
        same(where, expected, found)
for number, slot in SLOTS.items():
    for name, posted in [(e, f) for e in ("Charges", "Prices") for f in slot.events[f"{e}Posted"]]:
        where = f"slot {number} {name.lower()}"
        prices, imported = proved(where, posted)
        values = [each - (name == "Charges") * prices[0] for each in prices]
        found = slot.values(name)[: len(values)], posted.get("forecastImport", imported)
        same(f"{where} and import", (values, imported), found)
print(*WRONG, f"{len(SLOTS)} slots, {len(ACCOUNTS)} accounts: {len(WRONG)} wrong", sep="\n")
sys.exit(bool(WRONG))
