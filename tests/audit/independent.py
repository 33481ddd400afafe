"""An audit that shares nothing with Wattbook: `python independent.py BUNDLE` says what is wrong, if anything.

It needs Python, NumPy, and eth-account with what that brings (eth_abi, rlp). Done again, from pages of the
formats: orders' signatures, matching by price and time, certificates by their optimality conditions, payments
by rule `dlmp`. Which orders were good is believed; vetoes, estimates, storages and classes are not judged.
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
from eth_account.messages import encode_typed_data, keccak

FOLDER, WRONG, ACCOUNTS = Path(sys.argv[1]), [], {}
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
ABI = json.loads((FOLDER / "artifacts/Exchange.json").read_text())["abi"]
HERE = MANIFEST["exchange"][2:].lower()
DOMAIN = {"name": "Wattbook", "version": "1", "chainId": MANIFEST["chain_id"]}
DOMAIN["verifyingContract"] = MANIFEST["exchange"]
CANCELLED, EXPIRED, OWN, AT_ONCE, VISITS, GATE = range(1, 7)
BOOK = {
    "OrderPlaced": ("trader", "nonce", "tick"),
    "OrderVoided": ("trader", "nonce", "quantity", "reason"),
    "OrdersFilled": ("taker", "takerNonce", "tick", "makers"),
}
DUE = (
    *("rule", "basis", "penalty", "contracted", "metered", "delivered"),
    *("trades", "charge", "closeout", "imbalance"),
)


def kind(entry):
    return entry["type"].replace("tuple", "(" + ",".join(map(kind, entry.get("components", ()))) + ")")


def read(entries, data):
    return dict(zip([e["name"] for e in entries], decode([kind(e) for e in entries], data), strict=True))


KNOWN = {
    keccak(text=e["name"] + kind({"type": "tuple", "components": e["inputs"]})): e for e in ABI if "name" in e
}
CALLS = {topic[:4]: entry for topic, entry in KNOWN.items() if entry["type"] == "function"}
ORDER = next(e for e in ABI if e.get("name") == "placeOrder")["inputs"][0]["components"]
TYPES = {"Order": [{"name": e["name"], "type": e["type"]} for e in ORDER]}


def same(where, expected, found):
    if expected != found:
        WRONG.append(f"{where}: expected {expected}, found {found}")


def told(topics, data):
    """Name and fields of an event."""
    inputs = KNOWN[topics[0]]["inputs"]
    fields = read([e for e in inputs if not e["indexed"]], data)
    return KNOWN[topics[0]]["name"], fields | read([e for e in inputs if e["indexed"]], b"".join(topics[1:]))


def signer(order, r, vs):
    """Who signed an order (EIP-712, EIP-2098)."""
    s = int.from_bytes(vs, "big")
    signature = r + (s % 2**255).to_bytes(32, "big") + bytes([27 + (s >> 255)])
    return Account.recover_message(encode_typed_data(DOMAIN, TYPES, order), signature=signature).lower()


class Slot:
    """Levels {(side, tick): [entries, head]}, entries [trader, nonce, Wh, expiry]; Wh and n€ by account."""

    def __init__(self):
        self.levels, self.events, self.passed = {}, defaultdict(list), 0
        self.net, self.paid = defaultdict(int), defaultdict(int)

    def values(self, name):
        words = [w for f in sorted(self.events[f"{name}Chunk"], key=lambda f: f["index"]) for w in f["words"]]
        return [(w >> 32 * i & 0xFFFFFFFF ^ 2**31) - 2**31 for w in words for i in range(8)]

    def place(self, order, time):
        """Tick, fills and voids of an order that is good."""
        trader, nonce, side, left, visits = *(order[n] for n in ("trader", "nonce", "side", "quantity")), 0
        beyond = order["limitPrice"] - self.values("Charges")[ACCOUNTS[trader][1]]
        tick = max(-32767, min(32767, -(-beyond // 100) if side else beyond // 100))
        answer = [("OrderPlaced", trader, nonce, tick)]
        while left and visits < 128:
            ticks = [
                t for (s, t), (entries, head) in self.levels.items() if s != side and head < len(entries)
            ]
            best = (max if side else min)(ticks, default=None)
            if best is None or (best - tick) * (1 - 2 * side) > 0:
                break
            level, makers = self.levels[1 - side, best], ()
            while left and visits < 128 and level[1] < len(level[0]):
                entry, visits = level[0][level[1]], visits + 1
                if entry[2] and (0 < entry[3] <= time or entry[0] == trader):
                    answer.append(("OrderVoided", *entry[:3], EXPIRED if 0 < entry[3] <= time else OWN))
                    entry[2] = 0
                elif entry[2]:
                    filled = min(left, entry[2])
                    left, entry[2] = left - filled, entry[2] - filled
                    makers += (ACCOUNTS[entry[0]][0] << 40 | entry[1] << 32 | filled,)
                    for who, bought in (
                        (trader, (1 - 2 * side) * filled),
                        (entry[0], (2 * side - 1) * filled),
                    ):
                        self.net[who] += bought
                        self.paid[who] += bought * best * 100
                level[1] += entry[2] == 0
            answer += [
                ("OrdersFilled", trader, nonce, best, makers[i : i + 16]) for i in range(0, len(makers), 16)
            ]
        if left and (visits == 128 or order["flags"]):
            answer.append(("OrderVoided", trader, nonce, left, VISITS if visits == 128 else AT_ONCE))
        elif left:
            self.levels.setdefault((side, tick), [[], 0])[0].append([trader, nonce, left, order["expiry"]])
        return answer

    def cancel(self, trader, _, nonce):
        """A cancel voids what rests, and moves the level past entries that are gone."""
        for level in self.levels.values():
            for entry in level[0]:
                if entry[:2] == [trader, nonce] and entry[2]:
                    voided, entry[2] = entry[2], 0
                    while level[1] < len(level[0]) and not level[0][level[1]][2]:
                        level[1] += 1
                    return [("OrderVoided", trader, nonce, voided, CANCELLED)]
        return []

    def close(self, limit):
        """What rests is void, the level opened last first."""
        entries = [entry for level in reversed(self.levels.values()) for entry in level[0]]
        first, self.passed = self.passed, self.passed + min(limit, 512)
        return [("OrderVoided", *entry[:3], GATE) for entry in entries[first : self.passed] if entry[2]]

    def pay(self, f):
        """An account's payment, by rule `dlmp`."""
        account, (number, bus) = f["account"], ACCOUNTS[f["account"]]
        nu, price = self.values("Charges")[bus], self.values("Prices")
        c, paid = self.net[account], self.paid[account]
        m = next((e["netEnergy"] for e in self.events["ReadingPosted"] if e["account"] == account), 0)
        d = max(0, min(c, m)) if c > 0 else min(0, max(c, m))
        due = [c, m, d, paid, nu * d, (price[bus] - price[0]) * (c - d), price[bus] * (m - c)]
        return [0, 0, 0, *(due if number else [c, 0, 0, paid, 0, 0, 0])]


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
    (p, q), (cost, slope, g_max, worth, fall, least, d_max) = (
        rest[: 2 * n].reshape(2, n),
        rest[2 * n :].reshape(7, k),
    )
    point = np.frombuffer(proof, "<f8", offset=56)
    P, Q, l, xi, s, m_low, m_high, eta, v, lam, mu, shed, tie = point[: 13 * n].reshape(13, n)  # noqa: E741
    (gen, load), imported = point[13 * n : -1].reshape(2, k), point[-1]

    def below(a):
        return np.bincount(up[1:], a[1:], n)

    def best(y, benefit, price, low, high):
        return y, np.clip(
            y + (benefit - price) / np.maximum(1, np.maximum(abs(price), abs(benefit))), low, high
        )

    line, zz, value, at_dev = np.sign(np.arange(n)), r * r + x * x, max(1, abs(lam).max()), lam[dev]
    for what, unit, (found, expected) in (
        (
            "P",
            1,
            (
                P - r * l + np.bincount(dev, gen - load, n) + tie + imported * (1 - line),
                p * (1 - shed) + below(P),
            ),
        ),
        ("Q", 1, (line * (Q - x * l), line * (q * (1 - shed) + below(Q)))),
        ("v", 1, (v, np.where(line > 0, v[up] - 2 * (r * P + x * Q) + zz * l, v0**2))),
        ("l", 1, (l * v[up], P * P + Q * Q)),
        ("price of P", value, (line * lam, line * (lam[up] - 2 * r * xi - 2 * P * s))),
        ("price of Q", value, (mu, line * (mu[up] - 2 * x * xi - 2 * Q * s))),
        ("price of l", value, (-line * v[up] * s, line * (r * lam + x * mu + zz * xi + eta))),
        ("price of v", value, (line * xi, line * (below(xi + l * s) - m_low + m_high))),
        ("low v", 1, (np.minimum(v - low**2, m_low / value), 0)),
        ("high v", 1, (np.minimum(high**2 - v, m_high / value), 0)),
        ("rating", 1, (np.minimum(most**2 - l, eta / value), 0)),
        ("convexity", value, (np.maximum(s, 0), 0)),
        ("generation", 1, best(gen, at_dev, cost + slope * gen, 0, g_max)),
        ("load", 1, best(load, worth - fall * load, at_dev, least, d_max)),
        ("shedding", 1, best(shed, lam * p + mu * q, voll * np.hypot(p, q), 0, np.hypot(p, q) > 0)),
        ("tie-break", 1, (tie, 1e-6 / n * (lam - (dear + cheap) / 2))),
        ("hub", value, (lam[0], np.clip(lam[0] + 10 * max(1, abs(lam[0])) * imported, cheap, dear))),
    ):
        off, allowed = abs(found - expected), (5e-5 if proof[7] else 1e-10) * np.maximum(unit, abs(expected))
        if not np.all(off <= allowed):
            WRONG.append(f"{where} certificate: {what} is off by {off.max():.1e}")
    return [int(each) for each in np.rint(lam * 1000)], int(np.rint(imported * base * 1e6 * hours))


SLOTS = defaultdict(Slot)
files = (
    rlp.decode((FOLDER / f"{name}.rlp").read_bytes()) for name in ("headers", "transactions", "receipts")
)
for header, transactions, receipts in zip(*files, strict=True):
    number, time = (int.from_bytes(rlp.decode(header)[i], "big") for i in (8, 11))
    for index, (raw, receipt) in enumerate(zip(transactions, receipts, strict=True)):
        where, sent = f"block {number} transaction {index}", rlp.decode(raw[1:])
        status, _, _, logs = rlp.decode(receipt[1:])
        events = [told(*log[1:]) for log in logs if log[0].hex() == HERE]
        call, expected = CALLS.get(sent[7][:4], {}) if sent[5].hex() == HERE and status else {}, []
        asked = read(call["inputs"], sent[7][4:]) if call else {}
        if call.get("name") in ("placeOrder", "placeOrders"):
            good = {(f["trader"], f["slot"], f["nonce"]) for name, f in events if name == "OrderPlaced"}
            for values, r, vs in asked.get("batch") or [tuple(asked.values())]:
                order = dict(zip([e["name"] for e in ORDER], values, strict=True))
                if (order["trader"], order["slot"], order["nonce"]) in good:
                    same(f"{where} signer", order["trader"], signer(order, r, vs))
                    expected += SLOTS[order["slot"]].place(order, time)
        elif call.get("name") == "cancelOrder":
            expected = SLOTS[asked["cancel"][1]].cancel(*asked["cancel"])
        elif call.get("name") == "closeGate":
            expected = SLOTS[asked["slot"]].close(asked["limit"])
        same(
            where, expected, [(name, *(f[each] for each in BOOK[name])) for name, f in events if name in BOOK]
        )
        for name, f in events:
            if name in ("FillVetoed", "ReadingEstimated") or f.get("energyClass"):
                sys.exit(f"{where}: {name} is not judged here")
            if name in ("AccountRegistered", "RoleAccepted") and not f.get("role"):
                ACCOUNTS[f.get("account") or f["holder"]] = f.get("id", 0), f.get("bus", 0)
            if "slot" in f:
                SLOTS[f["slot"]].events[name].append(f)
            if name == "AccountSettled":
                same(f"{where} payment of {f['account']}", SLOTS[f["slot"]].pay(f), [f[each] for each in DUE])
for number, slot in SLOTS.items():
    for name in ("Charges", "Prices"):
        for posted in slot.events[f"{name}Posted"]:
            where = f"slot {number} {name.lower()}"
            prices, imported = proved(where, posted)
            values = [each - (name == "Charges") * prices[0] for each in prices]
            same(where, values, slot.values(name)[: len(values)])
            same(f"{where} import", imported, posted.get("forecastImport", imported))
print(*WRONG, f"{len(SLOTS)} slots, {len(ACCOUNTS)} accounts: {len(WRONG)} wrong", sep="\n")
sys.exit(bool(WRONG))
