"""Which logs somebody asks for, by the log itself and by its block's bloom filter."""

from __future__ import annotations

from ledger.address import address_bytes
from ledger.chain.archive import Archive
from ledger.chain.encoding import bloom_bits
from ledger.chain.protocol import Log, LogFilter


def search(archive: Archive, which: LogFilter) -> list[Log]:
    """Logs of kept blocks, in chain order."""
    last = archive.head if which.to_block is None else min(which.to_block, archive.head)
    return [
        log
        for number in range(which.from_block, last + 1)
        if may_have(archive.bloom(number), which)
        for receipt in archive.at(number).receipts
        for log in receipt.logs
        if matches(log, which)
    ]


def matches(log: Log, which: LogFilter) -> bool:
    """Whether a log is of the addresses and topics asked for; its block is not looked at."""
    if which.addresses and log.address not in which.addresses:
        return False
    if len(which.topics) > len(log.topics):
        return False
    return all(
        wanted is None or topic in wanted for wanted, topic in zip(which.topics, log.topics, strict=False)
    )


def may_have(bloom: bytes, which: LogFilter) -> bool:
    """Whether a block's bloom filter admits logs of the addresses and topics asked for."""
    bits = int.from_bytes(bloom, "big")
    if not bits:  # a log sets the bits of its address at least
        return False
    choices: list[tuple[bytes, ...]] = [tuple(address_bytes(address) for address in which.addresses)]
    choices += [wanted for wanted in which.topics if wanted is not None]
    return all(
        not any_of or any(bits & mark == mark for mark in map(bloom_bits, any_of)) for any_of in choices
    )
