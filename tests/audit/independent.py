"""An audit that shares nothing with Wattbook: `python independent.py BUNDLE` says what is wrong, if anything.

By pages of the formats: traders' and meters' signatures, fills, certificates by every condition, prices by
these, everybody's payment once by `dlmp`. It stops at veto, estimate, storage, class or new meter. Believed:
times, blocks, funds, tokens, early clearing, good orders, quorums, inputs, the utility's result.
"""

import json
import sys
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import rlp
from eth_abi import decode
from eth_account import Account, messages
from eth_utils.abi import event_abi_to_log_topic, get_abi_input_names, get_abi_input_types

FOLDER, COMPARED, ACCOUNTS, LEFT = Path(sys.argv[1]), [], {}, {}  # LEFT: Wh, by trader, slot, nonce
SLOTS = defaultdict(lambda: defaultdict(list))  # events by name; orders by side; trades (trader, Wh, tick)
AT, CODE = (json.loads((FOLDER / e).read_text()) for e in ("manifest.json", "artifacts/Exchange.json"))
FORMS = {event_abi_to_log_topic(e)[:4]: e for e in CODE["abi"] if "name" in e}
DOMAIN = {"name": "Wattbook", "version": "1", "chainId": AT["chain_id"], "verifyingContract": AT["exchange"]}
BOTH, UNJUDGED = ("Charges", "Prices"), ("FillVetoed", "ReadingEstimated", "AccountResettled", "MeterChanged")


def read(key, topics, data):
    """Name and fields of an event, or of a call, which has no topics; those in topics come first."""
    types, first = get_abi_input_types(FORMS[key]), len(topics)
    values = decode(types[:first], b"".join(topics)) + decode(types[first:], data)
    return FORMS[key]["name"], dict(zip(get_abi_input_names(FORMS[key]), values, strict=True))


def signer(kind, values, r, vs):
    """Who signed an order or a reading (EIP-712, EIP-2098)."""
    fields = next(i["components"] for e in FORMS.values() for i in e["inputs"][:1] if i["name"] == kind)
    named = dict(zip([e["name"] for e in fields], json.loads(json.dumps(values)), strict=True))
    message = messages.encode_typed_data(DOMAIN, {kind.title(): fields}, named)
    return Account.recover_message(message, vrs=(27 + (vs[0] >> 7), r, bytes([vs[0] & 127]) + vs[1:])).lower()


def place(slot, time, order):
    """Fills of an order by price, then time, as events name them."""
    trader, when, nonce, side, _, limit, left, at_once, expiry, _ = order
    sign, taker = 1 - 2 * side, (when, trader, nonce, side, 0)
    tick = max(-32767, min(32767, sign * (sign * (limit - slot["Charges"][ACCOUNTS[trader][1]]) // 100)))
    for maker, at, until in sorted(slot[1 - side], key=lambda entry: sign * entry[1]):
        if left and sign * (at - tick) <= 0:
            filled = 0 if maker[0] == trader or 0 < until <= time else min(left, LEFT[maker])
            left, LEFT[maker] = left - filled, filled and LEFT[maker] - filled  # own and late ones are out
            yield from [(*taker, at, ACCOUNTS[maker[0]][0] << 40 | maker[2] << 32 | filled)] * (filled > 0)
            slot["trades"] += [(trader, sign * filled, at), (maker[0], -sign * filled, at)]
    slot[side], LEFT[order[:3]] = [*slot[side], (order[:3], tick, expiry)], 0 if at_once else left


def payment(slot, who):
    """An account's payment by rule `dlmp`, as events list it; the utility, number 0, has its trades alone."""
    (number, bus, _), mine = ACCOUNTS[who], [trade[1:] for trade in slot["trades"] if trade[0] == who]
    nu, price, hub = [slot["Charges"][bus], slot["Prices"][bus], slot["Prices"][0]] if number else [0, 0, 0]
    c, paid = sum(wh for wh, _ in mine), sum(100 * wh * tick for wh, tick in mine)
    m, basis = [*[(f["netEnergy"], 0) for f in slot["ReadingPosted"] if f["account"] == who], (0, -number)][0]
    d = sorted((0, c, m))[1]  # what was both contracted and metered
    return [who, 0, basis, c, m, d, paid, nu * d, (price - hub) * (c - d), price * (m - c), 0]


def prove(where, told, name, posted):
    """Hold posted numbers by bus to a certificate, and this to every optimality condition."""
    proof = (FOLDER / "certificates" / f"{told['certificateHash'].hex()}.bin").read_bytes()
    data = (FOLDER / "inputs" / f"{told['inputHash'].hex()}.bin").read_bytes()
    hashes = [sha256(each).digest() for each in (proof, data, data)]
    COMPARED.append((f"{where} hashes", hashes, [told["certificateHash"], told["inputHash"], proof[8:40]]))
    _, n, k, _ = sizes = np.frombuffer(proof, "<u4", 4, 40).tolist()
    (buses,) = np.frombuffer(data, "<u4", 1, 10 + int.from_bytes(data[6:10], "little"))
    form = [("up", "<i8", n), ("line", "<f8", (7, n)), ("scale", "<f8", 2), ("sizes", "<u4", 4)]
    form += [("at", "<i8", k), ("money", "<f8", 4), ("firm", "<f8", (2, n)), ("devices", "<f8", (7, k))]
    up, lines, scale, many, dev, money, firm, kinds = np.frombuffer(data[-np.dtype(form).itemsize :], form)[0]
    if [1, n, k, 0] != sizes or [1, n, k, 0] != [many[0], buses, many[1], many[2]]:
        sys.exit(f"{where}: more than one period, or storages, are not judged here")
    (r, x, low, high, most, *_), (base, v0), (hours, voll, dear, cheap) = lines, scale, money
    (cost, slope, g_max, worth, fall, d_min, d_max), must = kinds, np.bincount(dev, kinds[5], n)
    point = np.frombuffer(proof, "<f8", offset=56)
    P, Q, l, xi, s, m_low, m_high, eta, v, lam, mu, shed, tie = point[: 13 * n].reshape(13, n)  # noqa: E741
    (gen, load), drawn, allowed = point[13 * n : -1].reshape(2, k), point[-1], 5e-5 if proof[7] else 1e-10
    below, line, value = up == np.arange(n)[:, None], np.arange(n) > 0, max(1, abs(lam).max())
    S, Z, price, firm = P + 1j * Q, r + 1j * x, lam + 1j * mu, firm[0] + must + 1j * firm[1]
    power = S - Z * l + tie + drawn * ~line - below @ S - firm * (1 - shed) + must
    gain = np.r_[lam[dev], worth - fall * load, (firm.conj() * price).real]
    loss, does = np.r_[cost + slope * gen, lam[dev], voll * abs(firm)], np.r_[gen, load, shed]
    better = does + (gain - loss) / np.maximum(1, np.maximum(abs(gain), abs(loss)))
    best = np.clip(better, np.r_[0 * gen, d_min, 0 * shed], np.r_[g_max, d_max, abs(firm) > 0])
    for what, off in {
        "power": np.where(line, power, power.real) + np.bincount(dev, gen - load, n),
        "voltage": v - np.where(line, v[up] - 2 * (Z.conj() * S).real + abs(Z) ** 2 * l, v0**2),
        "current, convexity": np.r_[l * v[up] - abs(S) ** 2, np.maximum(s, 0) / value],
        "price of power": np.where(line, price - price[up] + 2 * Z * xi + 2 * S * s, mu) / value,
        "price of current": line * (v[up] * s + (Z.conj() * price).real + abs(Z) ** 2 * xi + eta) / value,
        "price of voltage": line * (xi - below @ (xi + l * s) + m_low - m_high) / value,
        "limits": np.minimum([v - low**2, high**2 - v, most**2 - l], np.divide([m_low, m_high, eta], value)),
        "response, tie-break": np.r_[does - best, tie - 1e-6 / n * (lam - (dear + cheap) / 2)],
        "hub price": (lam[:1] - np.clip(lam[:1] + 10 * value * drawn, cheap, dear)) / value,
    }.items():
        COMPARED.append((f"{where} certificate: {what}", [], off[~(abs(off) <= allowed)].tolist()))
    values, import_wh = np.rint(lam * 1000).astype(int), int(np.rint(drawn * base * 1e6 * hours))
    found = posted[:n], told.get("forecastImport", import_wh)
    COMPARED.append((where, ((values - values[0] * (name == "Charges")).tolist(), import_wh), found))


FILES = (rlp.decode((FOLDER / f"{e}.rlp").read_bytes()) for e in ("headers", "transactions", "receipts"))
for header, transactions, receipts in zip(*FILES, strict=True):
    block, time = (int.from_bytes(rlp.decode(header)[i], "big") for i in (8, 11))
    for index, (raw, receipt) in enumerate(zip(transactions, receipts, strict=True)):
        logs = [log for log in rlp.decode(receipt[1:])[3] if f"0x{log[0].hex()}" == AT["exchange"].lower()]
        where, data, due, found = f"block {block} transaction {index}", rlp.decode(raw[1:])[7], [], []
        _, asked = read(data[:4], (), data[4:]) if logs and data[:4] in FORMS else ("", {})
        signed = {each[0][:3]: each for each in asked.get("batch", [tuple(asked.values())] * ("vs" in asked))}
        LEFT[asked.get("cancel")] = 0
        for name, f in (read(topics[0][:4], topics[1:], words) for _, topics, words in logs):
            slot = SLOTS[f["slot"]] if "slot" in f else defaultdict(list)
            slot[name].append(f)
            if name in UNJUDGED or f.get("energyClass") or f.get("reason") == 5:  # met too many orders
                sys.exit(f"{where}: {name} is not judged here")
            if name in ("AccountRegistered", "RoleAccepted") and not f.get("role"):
                ACCOUNTS[f.get("account") or f["holder"]] = f.get("id", 0), f.get("bus", 0), f.get("meterKey")
            elif name in ("ChargesChunk", "PricesChunk"):  # eight numbers a word
                parts = sorted([*each.values()] for each in slot[name])
                words = [word.to_bytes(32, "little") for *_, words in parts for word in words]
                slot[name[:-5]] = np.frombuffer(b"".join(words), "<i4").tolist()
            elif name == "OrderPlaced":
                one = signed[f["trader"], f["slot"], f["nonce"]]
                due, found = [*due, f["trader"], *place(slot, time, one[0])], [*found, signer("order", *one)]
            elif name == "ReadingPosted":
                one = signed.get((f["account"], f["slot"], f["netEnergy"]))
                due, found = [*due, ACCOUNTS[f["account"]][2]], [*found, one and signer("reading", *one)]
            elif name == "OrdersFilled":
                found += [(*[*f.values()][:-1], each) for each in f["makers"]]
            elif name == "AccountSettled":
                COMPARED.append((f"{where} payment", payment(slot, f["account"]), [*f.values()][1:]))
        COMPARED.append((where, due, found))
for number, slot in SLOTS.items():
    told = [(name, posted) for name in BOTH for posted in slot[f"{name}Posted"]]
    due = [each for f in slot["GateClosed"] for each in range(f["accounts"])], [f["chunks"] for _, f in told]
    paid = sorted(ACCOUNTS[f["account"]][0] for f in slot["AccountSettled"])
    COMPARED.append((f"slot {number} accounts, chunks", due, (paid, [len(slot[f"{e}Chunk"]) for e in BOTH])))
    for name, posted in told:
        prove(f"slot {number} {name.lower()}", posted, name, slot[name])
wrong = ["{}: expected {}, found {}".format(*each) for each in COMPARED if each[1] != each[2]]
print(*wrong, f"{len(SLOTS)} slots, {len(ACCOUNTS)} accounts: {len(wrong)} wrong", sep="\n")
sys.exit(bool(wrong))
