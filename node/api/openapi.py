"""The OpenAPI description: what FastAPI tells of routes, with problems, units and words for every member."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from node.api.problems import MEDIA_TYPE, PAGE, WHY, Problem

Document = dict[str, Any]

PROBLEM_CONTENT: Document = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
PAGE_CONTENT: Document = {PAGE: {"schema": {"type": "string"}}}
ALWAYS = (421, 503)
"""How any route may refuse: to a request that names another server, or while the chain does not answer."""
UNITS = {
    "_ueur_per_kwh": "Price, µ€/kWh.",
    "_unix_seconds": "Unix seconds.",
    "_seconds": "Seconds.",
    "_neur": "Money, n€.",
    "_wh": "Energy, Wh.",
    "_pu": "Voltage, per unit.",
}
"""What a member is by the end of its name, where nothing else is said of it."""

WORDS = {
    "account": "Address of the account.",
    "accounts": "Accounts.",
    "address": "Its address.",
    "asks": "Levels on which somebody sells, the lowest price first.",
    "bids": "Levels on which somebody buys, the highest price first.",
    "block": "Block of the chain.",
    "book": "The ladder.",
    "bus": "Bus of the feeder; 0 is the substation.",
    "buses": "By bus, the substation first.",
    "chain_id": "Id of the chain.",
    "check": "The check that says so.",
    "checks": "Every check, in order.",
    "description": "What it shows.",
    "difference": "How far that is apart.",
    "energy_class": "0 plain; others are separate books.",
    "expected": "What has to be there.",
    "feeder": "Name of the feeder.",
    "fills": "Fills.",
    "findings": "What is wrong, each with its place.",
    "found": "What is there.",
    "head_block": "Number of the newest block.",
    "head_hash": "Hash of the newest block.",
    "heading": "What the payment is for.",
    "immediate_or_cancel": "Whether nothing of it may rest.",
    "kind": "What is paid.",
    "lines": "What it adds up from.",
    "log": "Number of the log in its block.",
    "maker": "Address of whose order rested.",
    "maker_nonce": "Nonce of that order.",
    "market": "The market.",
    "meter_epoch": "How many meter keys it has had.",
    "meter_key": "Address of the key that signs its meter's readings.",
    "name": "Its name.",
    "nonce": "The order's number among those of its trader in the slot.",
    "payments": "Payments.",
    "place": "Block and log of the payment, as `184:7`.",
    "positions": "Positions by slot.",
    "prices": "Charges and prices by bus.",
    "relayer": "Who may submit it; the zero address is anyone.",
    "side": "`bid` buys, `ask` sells.",
    "signature": "r ‖ vs, or r ‖ s ‖ v as wallets give it, in hexadecimal.",
    "slot": "Number of the delivery slot.",
    "state": "How far the slot has come.",
    "status": "The outcome in a word.",
    "taker": "Address of whose order met it.",
    "taker_nonce": "Nonce of that order.",
    "taker_side": "Which side that order is on.",
    "trader": "Address of the account that signs.",
    "transaction_hash": "Hash of the transaction.",
    "what": "What it is.",
    "where": "Where it is.",
}
"""What a member is wherever it occurs, where nothing else is said of it."""


def describe(app: FastAPI) -> None:
    """Let an application describe itself so, once it is asked."""
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]


def operation_id(route: APIRoute) -> str:
    """What generated clients call a route: its tag and its name here."""
    return "_".join([*map(str, route.tags[:1]), route.name])


def _described(app: FastAPI) -> Document:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        for operations in document["paths"].values():
            for operation in operations.values():
                _describe_problems(operation["responses"])
                for parameter in operation.get("parameters", ()):
                    _describe_member(parameter["name"], parameter)
        for schema in document["components"]["schemas"].values():
            for name, member in schema.get("properties", {}).items():
                _describe_member(name, member)
        app.openapi_schema = document
    return app.openapi_schema


def _describe_member(name: str, member: Document) -> None:
    """Say what it is, where nobody has."""
    if "description" not in member:
        unit = next((words for end, words in UNITS.items() if name.endswith(end)), None)
        if words := WORDS.get(name, unit):
            member["description"] = words


def _describe_problems(answers: Document) -> None:
    """Problems have their own media type; what the guard refuses, it refuses everywhere."""
    for status, answer in answers.items():
        if int(status) in WHY:
            page = PAGE_CONTENT if PAGE in answer["content"] else {}
            answer["content"] = {MEDIA_TYPE: PROBLEM_CONTENT} | page
    for always in ALWAYS:
        refused = {"description": WHY[always], "content": {MEDIA_TYPE: PROBLEM_CONTENT}}
        answers.setdefault(str(always), refused)
