"""Methods that change: sending, signing for unlocked accounts, mining, time, snapshots."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from ledger.keccak import keccak
from ledger.transactions import decode_transaction
from node.rpc import params, untrusted
from node.rpc.engine import Engine
from node.rpc.errors import InvalidParamsError
from node.rpc.views import block_view, hexadecimal, transaction_view

Result = TypeVar("Result")
Slices = Generator[None, None, Result]
"""Work that is done a slice at a time, so that others are answered meanwhile."""

BLOCKS_MAX = 10_000
"""Blocks that one request may mine."""
LAST_SECOND = 253_402_300_799
"""The last one that calendars have a date for."""


def send_raw_transaction(engine: Engine, raw: Any) -> str:
    """Take a signed transaction."""
    return hexadecimal(engine.send_raw(params.data(raw, "transaction")))


def send_transaction(engine: Engine, transaction: Any) -> str:
    """Sign for an unlocked account, and send."""
    return hexadecimal(engine.send_unlocked(params.call_request(transaction)))


def sign_transaction(engine: Engine, transaction: Any) -> dict[str, Any]:
    """Sign for an unlocked account, without sending."""
    raw = engine.signed(params.call_request(transaction))
    return {"raw": hexadecimal(raw), "tx": transaction_view(decode_transaction(raw))}


def sign(engine: Engine, account: Any, message: Any) -> str:
    """Sign a message of an unlocked account (EIP-191)."""
    payload = params.data(message, "message")
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(payload)).encode()
    return hexadecimal(engine.key(params.address(account)).sign(keccak(prefix + payload)).rsv)


def personal_sign(engine: Engine, message: Any, account: Any, _password: Any = None) -> str:
    """Sign a message, parameters the other way round."""
    return sign(engine, account, message)


def sign_typed_data(engine: Engine, account: Any, typed: Any) -> str:
    """Sign typed data of an unlocked account (EIP-712)."""
    from eth_account.messages import encode_typed_data  # noqa: PLC0415 (loads slowly)

    key = engine.key(params.address(account))
    try:
        message = encode_typed_data(full_message=dict(params.mapping(_parsed(typed), "typed data")))
    except InvalidParamsError:
        raise
    except Exception as refusal:  # eth-account raises whatever the malformed part provokes
        raise InvalidParamsError(f"typed data: {refusal}") from None
    return hexadecimal(key.sign(keccak(b"\x19" + message.version + message.header + message.body)).rsv)


def _parsed(typed: Any) -> Any:
    """Typed data as an object; some wallets send it as a string of JSON."""
    if not isinstance(typed, str):
        return typed
    try:
        return untrusted.parse(typed)
    except ValueError:
        raise InvalidParamsError("typed data: the string is not JSON") from None


# --- driving the chain -----------------------------------------------------------------------------


def mine(engine: Engine, options: Any = None) -> Slices[str]:
    """Mine one block; `options` is its timestamp, or {timestamp, blocks}."""
    yield from mine_detailed(engine, options)
    return "0x0"


def mine_detailed(engine: Engine, options: Any = None) -> Slices[list[Any]]:
    """Mine as evm_mine does; returns the new blocks with their transactions."""
    fields = options if isinstance(options, dict) else {"timestamp": options}
    if fields.get("timestamp") is not None:
        set_next_block_timestamp(engine, fields["timestamp"])
    mined = []
    for _ in range(_blocks(fields.get("blocks", 1))):
        mined.append(engine.chain.mine_block())
        yield
    return [block_view(block, full=True) for block in mined]


def _blocks(value: Any) -> int:
    count = params.quantity(value, "blocks")
    if count > BLOCKS_MAX:
        raise InvalidParamsError(f"blocks: {count}, more than {BLOCKS_MAX} at once")
    return count


def mine_many(engine: Engine, count: Any = 1, interval: Any = None) -> Slices[None]:
    """Mine `count` blocks, `interval` seconds apart where it is given."""
    blocks = _blocks(count)
    seconds = None if interval is None else max(params.quantity(interval, "interval"), 1)
    _check_second(engine.chain.now() + blocks * (seconds or 1))
    if seconds is not None and blocks > 1:
        engine.before_jump(engine.chain.now() + seconds * (blocks - 1))
    for index in range(blocks):
        if seconds is not None and index:
            engine.chain.set_next_timestamp(engine.chain.block().timestamp + seconds)
        engine.chain.mine_block()
        yield


def set_next_block_timestamp(engine: Engine, timestamp: Any) -> None:
    """Let the next block carry exactly this second."""
    engine.set_next_timestamp(_check_second(params.quantity(timestamp, "timestamp")))


def _check_second(second: int) -> int:
    if second > LAST_SECOND:
        raise InvalidParamsError(f"timestamp: {second} is after the year 9999")
    return second


def set_time(engine: Engine, timestamp: Any) -> int:
    """Let time go on from this second; returns how many seconds that is ahead."""
    second = _check_second(params.quantity(timestamp, "timestamp"))
    ahead = second - engine.chain.now()
    engine.set_next_timestamp(second)
    return ahead


def increase_time(engine: Engine, seconds: Any) -> int:
    """Let time jump ahead; returns by how many seconds, as a number, as anvil does."""
    duration = params.quantity(seconds, "seconds")
    _check_second(engine.chain.now() + duration)
    engine.increase_time(duration)
    return duration


def snapshot(engine: Engine) -> str:
    """Remember the chain as it is."""
    return hex(engine.chain.snapshot())


def revert(engine: Engine, number: Any) -> bool:
    """Go back to a snapshot."""
    return engine.chain.revert(params.quantity(number, "snapshot"))


def set_automine(engine: Engine, enabled: Any) -> Slices[bool]:
    """Mine each transaction at once, or wait for evm_mine."""
    engine.automine = params.flag(enabled, "automine")
    if engine.automine:
        yield from engine.mine_ready()
    return True


def get_automine(engine: Engine) -> bool:
    """Whether each transaction is mined at once."""
    return engine.automine
