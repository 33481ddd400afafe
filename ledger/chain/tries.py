"""The Merkle-Patricia trie that a state root stands for (Yellow Paper, appendix D), for many changes a block.

Changes gather in memory and each changed node is encoded and hashed once, when the root is asked for;
nodes never change, so that what a read decoded serves every later read. A path is a string of hex digits.

MissingNode   a node is not in the store; it names the hash
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import NamedTuple

from ledger.keccak import keccak
from ledger.rlp_bytes import LIST, STRING, bounds, prefix, string

EMPTY_ROOT = keccak(b"\x80")
"""Root of the empty trie."""

_NODES_CACHED = 16_384
"""Decoded nodes kept, a branch of 16 hashes taking about 1.5 kB."""
_HASH_BYTES = 32


class MissingNode(LookupError):  # noqa: N818 (it says what is wrong)
    """A node that the trie refers to is not in the store."""

    def __init__(self, node_hash: bytes) -> None:
        super().__init__(f"trie: no node 0x{node_hash.hex()}")
        self.node_hash = node_hash


class Leaf(NamedTuple):
    """The end of a path, and the value there."""

    path: str
    value: bytes


class Extension(NamedTuple):
    """A stretch of path without a fork, down to a branch."""

    path: str
    child: Child


class Branch(NamedTuple):
    """A fork: a child for each digit, and the value of the path that ends here."""

    children: tuple[Child, ...]
    value: bytes


Node = Leaf | Extension | Branch
Child = Node | bytes
"""A node, or the hash of one in the store, or nothing (b"")."""

_NOTHING = b""
_NO_CHILDREN: tuple[Child, ...] = (_NOTHING,) * 16


class Trie:
    """Values by key, over the nodes of a store that is only read. Reading and changing raise MissingNode."""

    def __init__(self, store: Mapping[bytes, bytes], root: bytes = EMPTY_ROOT) -> None:
        self._store = store
        self._top: Child = _NOTHING if root == EMPTY_ROOT else root
        self._root: bytes | None = root
        self._encoded: dict[bytes, bytes] = {}  # changed nodes by hash, once the root is known

    def get(self, key: bytes) -> bytes:
        """Value of a key, empty for none."""
        child, path = self._top, key.hex()
        while child != _NOTHING:
            node = self._loaded(child)
            if isinstance(node, Branch):
                if not path:
                    return node.value
                child, path = node.children[int(path[0], 16)], path[1:]
            elif isinstance(node, Leaf):
                return node.value if node.path == path else _NOTHING
            elif path.startswith(node.path):
                child, path = node.child, path[len(node.path) :]
            else:
                return _NOTHING
        return _NOTHING

    def set(self, key: bytes, value: bytes) -> None:
        """Set the value of a key; an empty one deletes it."""
        changed = self._with(self._top, key.hex(), value) if value else self._without(self._top, key.hex())
        self._top, self._root = changed, None

    def root(self) -> bytes:
        """Hash of the root node, 32 bytes."""
        if self._root is None:
            self._root, self._encoded = self._sealed()
        return self._root

    def write(self, store: MutableMapping[bytes, bytes]) -> None:
        """Write the nodes that changed, by hash."""
        self.root()
        for node_hash, encoded in self._encoded.items():
            store[node_hash] = encoded

    def _sealed(self) -> tuple[bytes, dict[bytes, bytes]]:
        if isinstance(self._top, bytes):
            return self._top or EMPTY_ROOT, {}
        nodes: dict[bytes, bytes] = {}
        encoded = _encoded(self._top, nodes)
        root = keccak(encoded)
        nodes[root] = encoded  # the root has a hash however short it is
        return root, nodes

    def _loaded(self, child: Child) -> Node:
        if not isinstance(child, bytes):
            return child
        try:
            encoded = self._store[child]
        except KeyError:
            raise MissingNode(child) from None
        return _decoded(encoded)

    # --- changes: each returns the node that takes the place of the one given --------------------

    def _with(self, child: Child, path: str, value: bytes) -> Node:
        if child == _NOTHING:
            return Leaf(path, value)
        node = self._loaded(child)
        if isinstance(node, Branch):
            if not path:
                return Branch(node.children, value)
            digit = int(path[0], 16)
            return _replaced(node, digit, self._with(node.children[digit], path[1:], value))
        shared = _shared(node.path, path)
        if shared == len(node.path):
            if isinstance(node, Extension):
                return Extension(node.path, self._with(node.child, path[shared:], value))
            if shared == len(path):
                return Leaf(path, value)
        fork = _below(Branch(_NO_CHILDREN, _NOTHING), _tail(node, shared))
        fork = _below(fork, Leaf(path[shared:], value))
        return Extension(path[:shared], fork) if shared else fork

    def _without(self, child: Child, path: str) -> Child:
        if child == _NOTHING:
            return child
        node = self._loaded(child)
        if isinstance(node, Leaf):
            return _NOTHING if node.path == path else node
        if isinstance(node, Extension):
            if not path.startswith(node.path):
                return node
            return self._joined(node.path, self._without(node.child, path[len(node.path) :]))
        if not path:
            return self._collapsed(Branch(node.children, _NOTHING))
        digit = int(path[0], 16)
        return self._collapsed(_replaced(node, digit, self._without(node.children[digit], path[1:])))

    def _collapsed(self, branch: Branch) -> Child:
        """The branch, or what stands for it where it forks no more."""
        used = [digit for digit, child in enumerate(branch.children) if child != _NOTHING]
        if branch.value:
            return branch if used else Leaf("", branch.value)
        if len(used) > 1:
            return branch
        return self._joined(f"{used[0]:x}", branch.children[used[0]]) if used else _NOTHING

    def _joined(self, path: str, child: Child) -> Child:
        """What stands at the start of a stretch of path that leads to a child."""
        if child == _NOTHING:
            return child
        node = self._loaded(child)
        if isinstance(node, Branch):
            return Extension(path, child)
        if isinstance(node, Leaf):
            return Leaf(path + node.path, node.value)
        return Extension(path + node.path, node.child)


def _shared(one: str, other: str) -> int:
    """Digits that two paths begin with in common."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _tail(node: Leaf | Extension, digits: int) -> Leaf | Extension:
    """A node without the first digits of its path."""
    return node._replace(path=node.path[digits:])


def _below(branch: Branch, node: Leaf | Extension) -> Branch:
    """The branch with a node under it that stood in its place."""
    if not node.path and isinstance(node, Leaf):
        return Branch(branch.children, node.value)
    digit, rest = int(node.path[0], 16), _tail(node, 1)
    # an extension without a path is the branch it leads to
    return _replaced(branch, digit, rest.child if isinstance(rest, Extension) and not rest.path else rest)


def _replaced(branch: Branch, digit: int, child: Child) -> Branch:
    children = branch.children
    return Branch((*children[:digit], child, *children[digit + 1 :]), branch.value)


# --- nodes as bytes -----------------------------------------------------------------------------


def _encoded(node: Node, nodes: dict[bytes, bytes]) -> bytes:
    """RLP of a node; the nodes below it that have a hash are added to `nodes`."""
    if isinstance(node, Branch):
        parts = [_reference(child, nodes) for child in node.children]
        payload = b"".join((*parts, string(node.value)))
    elif isinstance(node, Leaf):
        payload = string(_compact(node.path, 2)) + string(node.value)
    else:
        payload = string(_compact(node.path, 0)) + _reference(node.child, nodes)
    return prefix(LIST, len(payload)) + payload


def _reference(child: Child, nodes: dict[bytes, bytes]) -> bytes:
    """How a node refers to its child: by hash, or by the child itself if that is shorter."""
    if not isinstance(child, bytes):
        encoded = _encoded(child, nodes)
        if len(encoded) < _HASH_BYTES:
            return encoded
        child = keccak(encoded)
        nodes[child] = encoded
    return string(child)


def _compact(path: str, kind: int) -> bytes:
    """A path as bytes, behind a digit for the kind of node and whether the path's length is odd."""
    odd = len(path) % 2
    return bytes.fromhex(f"{kind + odd}{'' if odd else '0'}{path}")


@lru_cache(maxsize=_NODES_CACHED)
def _decoded(encoded: bytes) -> Node:
    node, _ = _read(encoded, 0)
    assert not isinstance(node, bytes), "a node in the store is a list"
    return node


def _read(encoded: bytes, at: int) -> tuple[Child, int]:
    """The node or string at a place in RLP, and where it ends."""
    first = encoded[at]
    if first < STRING:
        return encoded[at : at + 1], at + 1
    start, end = bounds(encoded, at, STRING if first < LIST else LIST)
    if first < LIST:
        return encoded[start:end], end
    items: list[Child] = []
    while start < end:
        item, start = _read(encoded, start)
        items.append(item)
    return _node(items), end


def _node(items: list[Child]) -> Node:
    *children, last = items
    if len(items) == 17:
        assert isinstance(last, bytes), "values are strings"
        return Branch(tuple(children), last)
    compact, target = items
    assert isinstance(compact, bytes), "paths are strings"
    digits = compact.hex()
    path = digits[1 if int(digits[0]) % 2 else 2 :]
    if digits[0] in "01":
        return Extension(path, target)
    assert isinstance(target, bytes), "values are strings"
    return Leaf(path, target)
