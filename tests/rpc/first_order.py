"""A first trade on a testnet: connect, deposit, sign an order, see it filled. Needs web3.py alone."""

import json
import sys
import time
from urllib.request import urlopen

from eth_account import Account
from web3 import Web3
from web3.logs import DISCARD

api = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
net = json.load(urlopen(f"{api}/deployment.json"))


def offered():  # open slots in which somebody sells
    slots = json.load(urlopen(f"{api}/v1/slots"))["items"]
    return [each["slot"] for each in slots if each["state"] == "open" and each["best_ask_ueur_per_kwh"]]


while not (slots := offered()):
    print("waiting for an open slot in which somebody sells: one opens every quarter of an hour")
    time.sleep(5)
slot = slots[-1]

web3 = Web3(Web3.HTTPProvider(net["rpc_url"]))
token = web3.eth.contract(net["token"], abi=net["abi"]["token"])
exchange = web3.eth.contract(net["exchange"], abi=net["abi"]["exchange"])
me = Account.from_key(net["accounts"][0]["private_key"])


def send(call):
    return web3.eth.wait_for_transaction_receipt(call.transact({"from": me.address}))


euros = 100
send(token.functions.approve(exchange.address, euros * 10 ** net["token_decimals"]))
send(exchange.functions.deposit(me.address, euros * 10**9))  # money is n€

nonce = next(n for n in range(256) if not exchange.functions.nonceUsed(slot, me.address, n).call())
order = {"trader": me.address, "slot": slot, "nonce": nonce, "side": 0, "energyClass": 0}  # 0: a bid
order |= {"limitPrice": 240_000, "quantity": 1_000, "flags": 0, "expiry": 0}  # µ€/kWh and Wh
order |= {"relayer": "0x" + "00" * 20}  # anyone may submit it
signed = me.sign_typed_data(net["eip712"]["domain"], net["eip712"]["types"], order)
r, vs = (value.to_bytes(32, "big") for value in (signed.r, signed.s | (signed.v - 27) << 255))

receipt = send(exchange.functions.placeOrder(tuple(order.values()), r, vs))
for fill in exchange.events.OrdersFilled().process_receipt(receipt, errors=DISCARD):
    energy = sum(maker % 2**32 for maker in fill.args.makers)  # a maker is id, nonce and Wh in one number
    print(f"bought {energy} Wh at {fill.args.tick / 10} EUR/MWh for slot {fill.args.slot}")
