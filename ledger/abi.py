"""The contract ABI as functions: records of ours to calldata and logs, and back.

A codec is compiled once from two descriptions of the same thing, the ABI's (types) and ours (the
annotations of a record), and refuses at once where they disagree:

    uintN, intN      int, or an IntEnum (values outside the enumeration stay plain ints)
    address          str, EIP-55 checksummed
    bool, string     bool, str
    bytesN, bytes    bytes
    T[]              tuple[T, ...]
    tuple            a dataclass, by position; a NamedTuple field spreads over consecutive members

Decoding is strict: padding that the contract itself would refuse is refused.

AbiError
├── AbiMismatchError   record and ABI describe different things; the message names the member
└── AbiDecodeError   the bytes are no encoding of the type
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from typing import Any, get_args, get_origin, get_type_hints

from ledger.address import address_bytes, checksummed
from ledger.keccak import keccak

WORD = 32

Parameter = Mapping[str, Any]
"""One input, output or component of the ABI's JSON: name, type, components, indexed."""


class AbiError(ValueError):
    """Something does not fit the contract's interface."""


class AbiMismatchError(AbiError):
    """A record of ours does not describe what the ABI describes."""


class AbiDecodeError(AbiError):
    """The bytes are not an encoding of the type."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one ABI type is written and read. `size` is its bytes in place, None where it is dynamic.

    `decode(data, offset)` reads the value whose encoding starts at `offset`; offsets inside it count
    from there.
    """

    type: str
    size: int | None
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], Any]


# --- single words -------------------------------------------------------------------------------


def word_at(data: bytes, offset: int) -> bytes:
    """The 32 bytes at `offset`. Raises AbiDecodeError past the end."""
    word = data[offset : offset + WORD]
    if len(word) != WORD:
        raise AbiDecodeError(f"{len(data)} bytes end before offset {offset + WORD}")
    return word


def _integer(name: str, enumeration: type[IntEnum] | None) -> Codec:
    signed = name.startswith("int")
    bits = int(name.removeprefix("int" if signed else "uint"))
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    members = {int(member): member for member in enumeration or ()}

    def encode(value: int) -> bytes:
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise AbiError(f"{value!r} is not of type {name}")
        return int(value).to_bytes(WORD, "big", signed=signed)

    def decode(data: bytes, offset: int) -> int:
        value = int.from_bytes(word_at(data, offset), "big", signed=signed)
        if not lowest <= value <= highest:
            raise AbiDecodeError(f"{value} at offset {offset} is not of type {name}")
        return members.get(value, value)

    return Codec(name, WORD, encode, decode)


def _decode_bool(data: bytes, offset: int) -> bool:
    value = int.from_bytes(word_at(data, offset), "big")
    if value > 1:
        raise AbiDecodeError(f"{value} at offset {offset} is not of type bool")
    return value == 1


def _encode_address(value: str) -> bytes:
    try:
        return bytes(12) + address_bytes(value)
    except (ValueError, TypeError):
        raise AbiError(f"{value!r} is not of type address") from None


def _decode_address(data: bytes, offset: int) -> str:
    word = word_at(data, offset)
    if any(word[:12]):
        raise AbiDecodeError(f"address at offset {offset} is longer than 20 bytes")
    return checksummed(word[12:])


def _fixed_bytes(name: str) -> Codec:
    length = int(name.removeprefix("bytes"))

    def encode(value: bytes) -> bytes:
        if not isinstance(value, bytes) or len(value) != length:
            raise AbiError(f"{value!r} is not of type {name}")
        return value.ljust(WORD, b"\0")

    def decode(data: bytes, offset: int) -> bytes:
        word = word_at(data, offset)
        if any(word[length:]):
            raise AbiDecodeError(f"{name} at offset {offset} has bytes beyond its length")
        return word[:length]

    return Codec(name, WORD, encode, decode)


_BOOL = Codec("bool", WORD, lambda value: int(bool(value)).to_bytes(WORD, "big"), _decode_bool)
_ADDRESS = Codec("address", WORD, _encode_address, _decode_address)


# --- dynamic types ------------------------------------------------------------------------------


def _padded(value: bytes) -> bytes:
    return len(value).to_bytes(WORD, "big") + value + bytes(-len(value) % WORD)


def _decode_bytes(data: bytes, offset: int) -> bytes:
    length = int.from_bytes(word_at(data, offset), "big")
    value = data[offset + WORD : offset + WORD + length]
    if len(value) != length:
        raise AbiDecodeError(f"{len(data)} bytes end inside the {length} bytes at offset {offset}")
    return value


def _decode_string(data: bytes, offset: int) -> str:
    try:
        return _decode_bytes(data, offset).decode()
    except UnicodeDecodeError:
        raise AbiDecodeError(f"string at offset {offset} is not UTF-8") from None


_BYTES = Codec("bytes", None, _padded, _decode_bytes)
_STRING = Codec("string", None, lambda value: _padded(value.encode()), _decode_string)


def _array(item: Codec) -> Codec:
    step = item.size or WORD

    def encode(values: Sequence[Any]) -> bytes:
        return len(values).to_bytes(WORD, "big") + _join([item] * len(values), values)

    def decode(data: bytes, offset: int) -> tuple[Any, ...]:
        count = int.from_bytes(word_at(data, offset), "big")
        start = offset + WORD
        if count * step > len(data) - start:
            raise AbiDecodeError(f"{len(data)} bytes cannot hold the {count} items at offset {offset}")
        return tuple(_decode_member(item, data, start, start + step * index) for index in range(count))

    return Codec(item.type + "[]", None, encode, decode)


def _join(codecs: Sequence[Codec], values: Sequence[Any]) -> bytes:
    """Heads, then tails, as the ABI lays out members side by side."""
    heads, tails = [], []
    end = sum(codec.size or WORD for codec in codecs)
    for codec, value in zip(codecs, values, strict=True):
        encoded = codec.encode(value)
        if codec.size is None:
            heads.append(end.to_bytes(WORD, "big"))
            tails.append(encoded)
            end += len(encoded)
        else:
            heads.append(encoded)
    return b"".join(heads + tails)


def _decode_member(codec: Codec, data: bytes, base: int, offset: int) -> Any:
    """Read a member whose head is at `offset`, in an encoding that starts at `base`."""
    if codec.size is not None:
        return codec.decode(data, offset)
    return codec.decode(data, base + int.from_bytes(word_at(data, offset), "big"))


# --- compiling ----------------------------------------------------------------------------------


def canonical_type(parameter: Parameter) -> str:
    """The type as signatures spell it: structs as parenthesised members."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inside = ",".join(canonical_type(component) for component in parameter["components"])
    return f"({inside}){kind.removeprefix('tuple')}"


def codec(parameter: Parameter, annotation: Any) -> Codec:
    """Codec between the ABI's parameter and our annotation. Raises AbiMismatchError."""
    kind: str = parameter["type"]
    if kind.endswith("[]"):
        if get_origin(annotation) is not tuple or get_args(annotation)[1:] != (...,):
            raise AbiMismatchError(f"{parameter['name']}: {kind} needs tuple[…, ...], not {annotation}")
        return _array(codec({**parameter, "type": kind[:-2]}, get_args(annotation)[0]))
    if kind == "tuple":
        return record_codec(parameter["components"], annotation)
    if kind.startswith(("uint", "int")):
        if isinstance(annotation, type) and issubclass(annotation, int) and annotation is not bool:
            return _integer(kind, annotation if issubclass(annotation, IntEnum) else None)
    elif kind in _PLAIN:
        expected, plain = _PLAIN[kind]
        if annotation is expected:
            return plain
    elif kind.startswith("bytes") and annotation is bytes:
        return _fixed_bytes(kind)
    raise AbiMismatchError(f"{parameter['name']}: {kind} cannot be {annotation}")


_PLAIN: dict[str, tuple[type, Codec]] = {
    "bool": (bool, _BOOL),
    "address": (str, _ADDRESS),
    "bytes": (bytes, _BYTES),
    "string": (str, _STRING),
}


def record_codec(parameters: Sequence[Parameter], record: Any) -> Codec:
    """Codec between ABI members side by side and a dataclass, by position. Raises AbiMismatchError."""
    if not (isinstance(record, type) and is_dataclass(record)):
        raise AbiMismatchError(f"{record} is not a record")
    hints = get_type_hints(record)
    shape = [(field.name, hints[field.name]) for field in fields(record)]
    leaves = list(_leaves(shape))
    if len(leaves) != len(parameters):
        raise AbiMismatchError(
            f"{record.__name__} has {len(leaves)} members, the ABI"
            f" {len(parameters)}: {', '.join(p['name'] for p in parameters)}"
        )
    members = []
    for (path, annotation), parameter in zip(leaves, parameters, strict=True):
        try:
            members.append(codec(parameter, annotation))
        except AbiMismatchError as mismatch:
            raise AbiMismatchError(f"{record.__name__}.{path}: {mismatch}") from None
    size = None if any(m.size is None for m in members) else sum(m.size or 0 for m in members)
    offsets = _offsets(members)
    spread, gather = _spreading(shape)

    def encode(value: Any) -> bytes:
        return _join(members, spread(value))

    def decode(data: bytes, base: int) -> Any:
        values = [_decode_member(m, data, base, base + at) for m, at in zip(members, offsets, strict=True)]
        return record(*gather(values))

    return Codec(f"({','.join(canonical_type(p) for p in parameters)})", size, encode, decode)


def _offsets(members: Sequence[Codec]) -> list[int]:
    offsets, end = [], 0
    for member in members:
        offsets.append(end)
        end += member.size or WORD
    return offsets


def _is_named_tuple(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def _leaves(shape: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Members of a record as the ABI counts them: the parts of a NamedTuple one by one."""
    for name, annotation in shape:
        if _is_named_tuple(annotation):
            hints = get_type_hints(annotation)
            yield from ((f"{name}.{part}", hints[part]) for part in annotation._fields)
        else:
            yield name, annotation


def _spreading(
    shape: Sequence[tuple[str, Any]],
) -> tuple[Callable[[Any], list[Any]], Callable[[list[Any]], list[Any]]]:
    """How a record's attributes become ABI members, and members become its attributes."""
    names = [name for name, _ in shape]
    if not any(_is_named_tuple(annotation) for _, annotation in shape):
        return (lambda record: [getattr(record, name) for name in names]), (lambda values: values)

    def spread(record: Any) -> list[Any]:
        values: list[Any] = []
        for name, annotation in shape:
            value = getattr(record, name)
            values.extend(value) if _is_named_tuple(annotation) else values.append(value)
        return values

    def gather(values: list[Any]) -> list[Any]:
        rest = iter(values)
        return [
            annotation(*(next(rest) for _ in annotation._fields))
            if _is_named_tuple(annotation)
            else next(rest)
            for _, annotation in shape
        ]

    return spread, gather


# --- entries of an interface --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventCodec:
    """An event of the ABI and the record it becomes; `topic` is the hash of its signature."""

    name: str
    topic: bytes
    indexed: tuple[Codec | None, ...]
    data: tuple[Codec, ...]
    record: Callable[..., Any]

    def decode(self, topics: Sequence[bytes], data: bytes) -> Any:
        """The record of a log. Raises AbiDecodeError, also where it is not as the contract would write it."""
        if len(topics) != 1 + sum(item is not None for item in self.indexed):
            raise AbiDecodeError(f"{self.name}: {len(topics)} topics")
        offsets = _offsets(self.data)
        unindexed = [_decode_member(item, data, 0, at) for item, at in zip(self.data, offsets, strict=True)]
        rest, keys = iter(unindexed), iter(topics[1:])
        record = self.record(
            *(next(rest) if item is None else item.decode(next(keys), 0) for item in self.indexed)
        )
        if self.encode(record) != (tuple(topics), data):
            raise AbiDecodeError(f"{self.name}: not the one encoding of its values")
        return record

    def encode(self, record: Any) -> tuple[tuple[bytes, ...], bytes]:
        """Topics and data of a log, as the contract would write them."""
        values = [getattr(record, field.name) for field in fields(record)]
        topics = [
            item.encode(value) for item, value in zip(self.indexed, values, strict=True) if item is not None
        ]
        unindexed = [value for item, value in zip(self.indexed, values, strict=True) if item is None]
        return (self.topic, *topics), _join(self.data, unindexed)


@dataclass(frozen=True, slots=True)
class FunctionCodec:
    """A function of the ABI; `arguments` is between its inputs and a record of ours."""

    name: str
    selector: bytes
    arguments: Codec

    def encode(self, record: Any) -> bytes:
        """Calldata. Raises AbiError."""
        return self.selector + self.arguments.encode(record)

    def decode(self, calldata: bytes) -> Any:
        """The record of calldata that starts with the selector. Raises AbiDecodeError."""
        return self.arguments.decode(calldata[4:], 0)


def signature(entry: Parameter) -> str:
    """`name(type,…)` of a function or event."""
    return f"{entry['name']}({','.join(canonical_type(item) for item in entry['inputs'])})"


def event_codec(entry: Parameter, record: type) -> EventCodec:
    """Codec of an event entry. Raises AbiMismatchError."""
    hints = get_type_hints(record)
    annotations = [hints[field.name] for field in fields(record)]
    inputs = entry["inputs"]
    if len(inputs) != len(annotations):
        raise AbiMismatchError(
            f"{entry['name']}: {len(inputs)} members in the ABI, {len(annotations)} in the record"
        )
    codecs = [codec(item, annotation) for item, annotation in zip(inputs, annotations, strict=True)]
    marked = [bool(item.get("indexed")) for item in inputs]
    return EventCodec(
        name=entry["name"],
        topic=keccak(signature(entry).encode()),
        indexed=tuple(c if key else None for c, key in zip(codecs, marked, strict=True)),
        data=tuple(c for c, key in zip(codecs, marked, strict=True) if not key),
        record=record,
    )


def function_codec(entry: Parameter, record: type) -> FunctionCodec:
    """Codec of a function entry's inputs. Raises AbiMismatchError."""
    selector = keccak(signature(entry).encode())[:4]
    return FunctionCodec(entry["name"], selector, record_codec(entry["inputs"], record))


def result_decoder(entry: Parameter, annotation: Any) -> Callable[[bytes], Any]:
    """Reader of a function's return data: one value, or a record of several. Raises AbiMismatchError."""
    outputs = entry["outputs"]
    if len(outputs) == 1:
        single = codec({"name": entry["name"], **outputs[0]}, annotation)
        return lambda data: _decode_member(single, data, 0, 0)
    several = record_codec(outputs, annotation)
    return lambda data: several.decode(data, 0)


def arguments_encoder(entry: Parameter) -> Callable[..., bytes]:
    """Writer of a function's calldata from plain values, selector in front; for reads."""
    selector = keccak(signature(entry).encode())[:4]
    codecs = [codec(item, _natural(item["type"])) for item in entry["inputs"]]
    return lambda *values: selector + _join(codecs, values)


def _natural(kind: str) -> Any:
    """The annotation a plain value of an ABI type has."""
    if kind in _PLAIN:
        return _PLAIN[kind][0]
    return bytes if kind.startswith("bytes") else int
