"""`wattbook replace …`: another key in the place of an account's, a meter's, an oracle's or a role's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.errors import USAGE, stop
from node.cli.joining import (
    DEFAULT_MARKET,
    Keystore,
    MarketUrl,
    PasswordFile,
    RpcUrl,
    one_of,
    refusals,
    say,
)
from node.cli.options import Json

if TYPE_CHECKING:
    from ledger.exchange import Exchange
    from ledger.keys import Key
    from market.events import Event

Account = Annotated[str, typer.Argument(help="Address of the account.", metavar="ACCOUNT")]
ROLES = ("utility", "guardian")


def account(
    address: Account,
    successor: Annotated[
        str | None,
        typer.Option(help="New address, which gets what the utility gave the old one.", metavar="ADDRESS"),
    ] = None,
    meter_key: Annotated[
        str | None,
        typer.Option(help="The new account's meter key.", metavar="ADDRESS", show_default="the old one's"),
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Leave the old one no capacity, credit or classes.")
    ] = False,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    as_json: Json = False,
) -> None:
    """Register a new account like another whose key is lost or stolen, or close that; by the utility.

    Money and open positions stay with the old address. Readings of a closed account are refused.

    Example: wattbook replace account $OLD --successor $NEW --keystore utility.json --password-file password
    """
    if successor is None and not close:
        stop("--successor, --close: give one of them, or both", USAGE)
    if successor is None and meter_key is not None:
        stop("--meter-key: is the new account's, so it needs --successor", USAGE)
    with refusals():
        from node.client import replacing  # noqa: PLC0415 - loads slowly

        old = replacing.address_of("ACCOUNT", address)
        new = None if successor is None else replacing.address_of("--successor", successor)
        meter = None if meter_key is None else replacing.address_of("--meter-key", meter_key)
        exchange, sender = _joined(market, rpc_url, keystore, password_file)
        happened: tuple[Event, ...] = ()
        if new is not None:
            happened += replacing.succeed_account(exchange, old, new, meter, sender)
        if close:
            happened += replacing.close_account(exchange, old, sender)
        _tell(happened, as_json)


def meter(
    address: Account,
    meter_key: Annotated[str, typer.Option(help="Address of the next meter key.", metavar="ADDRESS")],
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    as_json: Json = False,
) -> None:
    """Put an account's next meter key in force; by the utility.

    Readings signed by the key before are refused from then on, those that are posted stay.

    Example: wattbook replace meter $ACCOUNT --meter-key $NEW --keystore utility.json --password-file password
    """
    with refusals():
        from node.client import replacing  # noqa: PLC0415 - loads slowly

        whose = replacing.address_of("ACCOUNT", address)
        new = replacing.address_of("--meter-key", meter_key)
        exchange, sender = _joined(market, rpc_url, keystore, password_file)
        _tell(replacing.change_meter(exchange, whose, new, sender), as_json)


def role(
    name: Annotated[str, typer.Argument(help=f"{' or '.join(ROLES)}.", metavar="ROLE")],
    successor: Annotated[
        str | None,
        typer.Option(help="Propose who may take over; the zero address takes it back.", metavar="ADDRESS"),
    ] = None,
    accept: Annotated[
        bool | None, typer.Option("--accept", help="Take over, by the successor's key.", show_default=False)
    ] = None,
    keystore: Keystore = None,
    password_file: PasswordFile = None,
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    as_json: Json = False,
) -> None:
    """Hand over a role in two steps: its holder proposes a successor, who accepts.

    Example: wattbook replace role utility --successor $NEW --keystore utility.json --password-file password
    """
    if name not in ROLES:
        stop(f"{name}: no such role; there are {', '.join(ROLES)}", USAGE)
    one_of(successor=successor, accept=accept)
    with refusals():
        from market.accounts import Role  # noqa: PLC0415 - loads slowly
        from node.client import replacing  # noqa: PLC0415

        which = Role[name.upper()]
        proposed = None if successor is None else replacing.address_of("--successor", successor)
        exchange, sender = _joined(market, rpc_url, keystore, password_file)
        if proposed is None:
            _tell(replacing.accept(exchange, which, sender), as_json)
        else:
            _tell(replacing.propose(exchange, which, proposed, sender), as_json)


def oracles(
    oracle: Annotated[
        list[str],
        typer.Option(help="An oracle of the set to come, in its order; repeated.", metavar="ADDRESS"),
    ],
    quorum: Annotated[int, typer.Option(help="How many of them will have to sign.", metavar="K")],
    signer: Annotated[
        list[Path] | None,
        typer.Option(help="Key file of an oracle of the present set; may be repeated.", metavar="FILE"),
    ] = None,
    signature: Annotated[
        list[str] | None,
        typer.Option(
            help="A signature that another oracle's operator printed; may be repeated.", metavar="HEX"
        ),
    ] = None,
    keystore: Annotated[
        Path | None,
        typer.Option(
            help="Key file of who sends and pays gas, anybody.", metavar="FILE", show_default="sign only"
        ),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password of all these key files.", metavar="FILE")
    ] = None,
    market: MarketUrl = DEFAULT_MARKET,
    rpc_url: RpcUrl = None,
    as_json: Json = False,
) -> None:
    """Install another set of oracles that a quorum of the present one signs.

    Without --keystore it prints the signatures of --signer, for whoever sends them with --signature.

    Example: wattbook replace oracles --oracle $A --oracle $B --quorum 2 --signer a.json --password-file pw
    """
    with refusals():
        from node.client import replacing  # noqa: PLC0415 - loads slowly
        from node.client.joining import join, keystore_key  # noqa: PLC0415
        from node.client.schemas import signature_text  # noqa: PLC0415

        members = [replacing.address_of("--oracle", each) for each in oracle]
        given = [replacing.signature_in("--signature", each) for each in signature or ()]
        signers = [keystore_key(each, password_file, "--signer") for each in signer or ()]
        sender = None if keystore is None else keystore_key(keystore, password_file)
        if sender is None and not signers:
            stop("--signer, --keystore: give one of them, to sign or to send", USAGE)
        if sender is None and given:
            stop("--signature: is for who sends, so it needs --keystore", USAGE)
        exchange = join(market, rpc_url).exchange
        to_come = replacing.set_to_come(exchange, members, quorum)
        signed = replacing.signed_by(exchange, to_come, signers)
        if sender is not None:
            _tell(replacing.rotate(exchange, to_come, [*signed, *given], sender), as_json)
        elif as_json:
            say(json.dumps({"signatures": [signature_text(each) for each in signed]}))
        else:
            for each in signed:
                say(signature_text(each))


def _joined(
    market: str, rpc_url: str | None, keystore: Path | None, password_file: Path | None
) -> tuple[Exchange, Key]:
    """The market's exchange and the key that sends."""
    from node.client.joining import JoinError, join, keystore_key  # noqa: PLC0415 - loads slowly

    if keystore is None:
        raise JoinError("--keystore: needed, with the key of who sends")
    sender = keystore_key(keystore, password_file)
    return join(market, rpc_url).exchange, sender


def _tell(happened: Sequence[Event], as_json: bool) -> None:
    """What the contract recorded, an event a line."""
    told: list[dict[str, Any]] = [{"event": type(each).__name__, **asdict(each)} for each in happened]
    if as_json:
        say(json.dumps({"events": told}))
        return
    for each in told:
        say("  ".join(f"{name} {value}" for name, value in each.items()))
