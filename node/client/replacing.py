"""Keys put in force in the place of others: the calls that a contract has for it, and who may send them.

ReplacementError   the call would be refused; the message names option, key and what was allowed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.address import address_bytes, checksummed
from ledger.calls import OracleSignature
from ledger.chain.protocol import Reverted
from ledger.eip712 import digest
from ledger.exchange import Exchange
from ledger.keys import Key, Signature, recover
from ledger.state import Account
from market.accounts import UTILITY_ID, Role
from market.events import Event
from market.messages import ORACLES_MAX, OracleSet
from market.orders import NOBODY, Address
from node.client.schemas import signature_of

SIGNATURE_BYTES = 64
"""r and vs of EIP-2098."""


class ReplacementError(ValueError):
    """A key that cannot be put in force so, or not by this sender."""


def address_of(option: str, text: str) -> Address:
    """An address as people give it; mixed capitals are a checksum (EIP-55). Raises ReplacementError."""
    try:
        found = checksummed(address_bytes(text))
    except ValueError:
        raise ReplacementError(f"{option} {text}: is no address, 0x and 40 hexadecimal digits") from None
    digits = text[2:]
    if text != found and digits not in (digits.lower(), digits.upper()):
        raise ReplacementError(f"{option} {text}: its capitals are no checksum (EIP-55): a digit is wrong")
    return found


def signature_in(option: str, text: str) -> Signature:
    """A signature as `replace oracles` prints it. Raises ReplacementError."""
    try:
        both = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        both = b""
    if len(both) != SIGNATURE_BYTES:
        raise ReplacementError(
            f"{option} {text}: is no signature, 0x and {2 * SIGNATURE_BYTES} hexadecimal digits"
        )
    return signature_of(text)


# --- accounts and meters ------------------------------------------------------------------------


def succeed_account(
    exchange: Exchange, account: Address, successor: Address, meter_key: Address | None, sender: Key
) -> tuple[Event, ...]:
    """Register an account like another: bus, capacities, credit, classes, and meter if none is given.

    Raises ReplacementError, ChainError.
    """
    old = _standing(exchange, account)
    _require_holder(exchange, Role.UTILITY, sender)
    return exchange.confirm(
        exchange.register_account(
            successor,
            old.bus,
            meter_key or old.meter_key,
            old.import_capacity,
            old.export_capacity,
            old.credit_limit,
            old.classes,
            sender=sender,
        )
    )


def close_account(exchange: Exchange, account: Address, sender: Key) -> tuple[Event, ...]:
    """Leave an account without capacity, credit and classes. Raises ReplacementError, ChainError."""
    _standing(exchange, account)
    _require_holder(exchange, Role.UTILITY, sender)
    return exchange.confirm(exchange.set_account(account, 0, 0, 0, 0, sender=sender))


def change_meter(exchange: Exchange, account: Address, meter_key: Address, sender: Key) -> tuple[Event, ...]:
    """Put an account's next meter key in force. Raises ReplacementError, ChainError."""
    if _standing(exchange, account).meter_key == meter_key:
        raise ReplacementError(f"--meter-key {meter_key}: is the account's meter key already")
    _require_holder(exchange, Role.UTILITY, sender)
    return exchange.confirm(exchange.set_meter(account, meter_key, sender=sender))


def _standing(exchange: Exchange, account: Address) -> Account:
    """An account that is not the utility's."""
    try:
        found = exchange.account_of(account)
    except Reverted:
        raise ReplacementError(f"{account}: has no account in this market") from None
    if found.id == UTILITY_ID:
        raise ReplacementError(f"{account}: is the utility, whose role is handed over: replace role utility")
    return found


# --- roles --------------------------------------------------------------------------------------


def propose(exchange: Exchange, role: Role, successor: Address, sender: Key) -> tuple[Event, ...]:
    """First step of handing over a role. Raises ReplacementError, ChainError."""
    _require_holder(exchange, role, sender)
    return exchange.confirm(exchange.propose_role(role, successor, sender=sender))


def accept(exchange: Exchange, role: Role, sender: Key) -> tuple[Event, ...]:
    """Second step, by the successor. Raises ChainError, as Reverted where somebody else was proposed."""
    return exchange.confirm(exchange.accept_role(role, sender=sender))


def _require_holder(exchange: Exchange, role: Role, sender: Key) -> None:
    holder = exchange.utility() if role is Role.UTILITY else exchange.guardian()
    if sender.address != holder:
        raise ReplacementError(f"--keystore: {sender.address} is not the {role.name.lower()}, {holder} is")


# --- oracles ------------------------------------------------------------------------------------


def set_to_come(exchange: Exchange, oracles: Sequence[Address], quorum: int) -> OracleSet:
    """What a quorum of the present set has to sign. Raises ReplacementError, ChainError."""
    if NOBODY in oracles or len(set(oracles)) < len(oracles):
        raise ReplacementError("--oracle: a set has each of its oracles once, and nobody is none")
    if len(oracles) > ORACLES_MAX:
        raise ReplacementError(f"--oracle: given {len(oracles)} times, at most {ORACLES_MAX} are a set")
    if not 1 <= quorum <= len(oracles):
        raise ReplacementError(
            f"--quorum {quorum}: of {len(oracles)} oracles a quorum is 1 to {len(oracles)}"
        )
    return OracleSet(exchange.oracle_set().epoch, quorum, tuple(oracles))


def signed_by(exchange: Exchange, to_come: OracleSet, signers: Iterable[Key]) -> tuple[Signature, ...]:
    """Signatures of a set to come. Raises ReplacementError for a key that is none of the present set's."""
    members = exchange.oracle_set().oracles
    found = []
    for key in signers:
        if key.address not in members:
            raise ReplacementError(f"--signer: {key.address} is none of the oracles, {', '.join(members)}")
        found.append(key.sign(digest(exchange.domain, to_come)))
    return tuple(found)


def rotate(
    exchange: Exchange, to_come: OracleSet, signatures: Iterable[Signature], sender: Key
) -> tuple[Event, ...]:
    """Install a set that a quorum of the present one signed; anybody may send it.

    Raises ReplacementError, ChainError.
    """
    present = exchange.oracle_set()
    signers: dict[int, Signature] = {}
    for signature in signatures:
        by = recover(digest(exchange.domain, to_come), signature)
        if by not in present.oracles:
            raise ReplacementError(
                "--signature: none of the present oracles signed this set: these oracles in this order,"
                f" this quorum, over epoch {present.epoch}"
            )
        signers[present.oracles.index(by)] = signature
    if len(signers) < present.quorum:
        raise ReplacementError(
            f"--signer, --signature: {len(signers)} of the present oracles signed, and a quorum is"
            f" {present.quorum}"
        )
    proofs = [OracleSignature(index, *signers[index]) for index in sorted(signers)]
    return exchange.confirm(exchange.rotate_oracles(to_come.oracles, to_come.quorum, proofs, sender=sender))
