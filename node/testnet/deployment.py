"""What a client needs to trade, as one JSON document of the format `wattbook deployment 1`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import contracts
from ledger.deployment import MarketSite
from ledger.eip712 import typed_data
from ledger.keys import TEST_MNEMONIC
from market.messages import CancelRequest
from market.orders import NOBODY, Order, Side
from node.agent.drawn import drawn
from node.api.sources import UnknownAccountError
from node.testnet.market import Market

WARNING = "everybody knows these keys: never send anything of value to these addresses on any network"

SECRET = ("mnemonic", "oracle_private_keys")


def describe(market: Market, *, rpc_url: str, api_url: str, mnemonic: str) -> dict[str, Any]:
    """The document: where everything is, the terms, what wallets sign, the ABIs, the accounts with keys."""
    session, world = market.session, market.world
    cast, exchange = session.cast, session.exchange
    example = typed_data(exchange.domain, Order(NOBODY, 0, 0, Side.BID, 0, 0, 0))
    cancel = typed_data(exchange.domain, CancelRequest(NOBODY, 0, 0))
    return {
        **MarketSite.of(exchange, session.token, market.first_block).to_json(),
        "rpc_url": rpc_url,
        "api_url": api_url,
        "scenario": world.scenario.name,
        "feeder": world.feeder.name,
        "token_decimals": session.token.decimals,
        "utility": cast.utility.address,
        "guardian": cast.guardian.address,
        "relayer": cast.relayer.address,
        "oracles": [key.address for key in cast.oracles],
        "terms": {
            **asdict(session.terms),
            "rule": session.terms.rule.name.lower(),
            "penalties_ueur_per_kwh": list(session.terms.penalties_ueur_per_kwh),
        },
        "tariff_ueur_per_kwh": asdict(world.tariff),
        "eip712": {
            "domain": example["domain"],
            "types": _types(example),
            "cancel_types": _types(cancel),
        },
        "accounts": [
            {
                "address": key.address,
                "private_key": "0x" + key.secret.hex(),
                "bus": int(world.bus[k]),
                "bus_name": world.feeder.bus_names[world.bus[k]],
                "import_capacity_wh": int(world.import_capacity_wh[k]),
                "export_capacity_wh": int(world.export_capacity_wh[k]),
                "meter_private_key": "0x" + cast.meters[k].secret.hex(),
            }
            for k, key in enumerate(market.accounts)
        ],
        "oracle_private_keys": ["0x" + key.secret.hex() for key in cast.oracles],
        "mnemonic": mnemonic,
        "warning": WARNING,
        "abi": {name.lower(): list(contracts.load(name).abi) for name in ("Exchange", "Token")},
    }


def _types(typed: Mapping[str, Any]) -> dict[str, Any]:
    """The types of a message, as libraries take them: the domain's they know."""
    return {name: members for name, members in typed["types"].items() if name != "EIP712Domain"}


def devices(market: Market, number: int) -> dict[str, Any]:
    """What an account has, as `wattbook agent` takes it. Raises UnknownAccountError."""
    if number >= len(market.accounts):
        raise UnknownAccountError(f"account {number}: there are {len(market.accounts)}, from 0 on")
    return drawn(market.world, number).model_dump()


def public(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it is served: keys stay out of it unless they are the well-known ones."""
    if document["mnemonic"] == TEST_MNEMONIC:
        return dict(document)
    accounts = [
        {name: value for name, value in account.items() if not name.endswith("private_key")}
        for account in document["accounts"]
    ]
    kept = {name: value for name, value in document.items() if name not in SECRET}
    return kept | {"accounts": accounts}
