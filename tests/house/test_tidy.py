"""The repository polices itself: seams of clock and randomness, integers, rooms, words, sizes.

Every exception is listed with its reason, and an exception that nothing needs any more fails too.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.house.repository import PACKAGES, ROOT, Use, files, imports, modules, packages, text, tree, uses

CLOCK_AND_RANDOMNESS = re.compile(
    r"time\..*|datetime\.(datetime|date)\.(now|utcnow|today)|os\.(urandom|getrandom)"
    r"|(random|secrets|uuid)(\..*)?|numpy\.random\.(?!Generator$|BitGenerator$).*"
)

SEAMS = {
    ("ledger/chain/rpc.py", "time.sleep"): "a foreign node is asked again until a transaction is in a block",
    (
        "node/rpc/engine.py",
        "time.time",
    ): "wall_clock: the one place where a chain can follow the machine's time",
    (
        "node/testnet/operator.py",
        "time.monotonic",
    ): "an argument's default: whether somebody moves the chain's time",
    ("node/oracle/rounds.py", "time.monotonic"): "an argument's default: how long a round waits for answers",
    ("node/oracle/quorum.py", "time.monotonic"): "how long votes are waited for",
    (
        "node/oracle/inquiries.py",
        "time.monotonic",
    ): "an argument's default: how long others' questions wait for answers",
    (
        "node/client/proving.py",
        "time.monotonic",
    ): "an argument's default: how long what nobody has is not asked for",
    ("node/api/limits.py", "time.monotonic"): "an argument's default: how often a visitor may post",
    ("node/api/verification.py", "time.monotonic"): "an argument's default: how often the audit is run",
    ("node/api/watching.py", "time.monotonic"): "an argument's default: how long a look at a node holds",
    ("node/bench/nodes.py", "time.sleep"): "a node that was started is asked until it answers",
    ("node/bench/timing.py", "time.perf_counter"): "the one clock of the benchmarks; in no file",
    ("node/price/clearing.py", "time.perf_counter"): "`seconds` of the answer; in no file",
    ("node/simulate/run.py", "time.perf_counter"): "`seconds` of the summary; in no file",
    (
        "node/scenario/streams.py",
        "numpy.random.default_rng",
    ): "`stream`: every draw has a named stream of the seed",
    ("market/feeder/random.py", "numpy.random.default_rng"): "the seed is part of the feeder's name",
    **{
        ("market/feeder/shipped.py", f"random.{name}"): "a library draws networks: seeded, and put back"
        for name in ("getstate", "seed", "setstate")
    },
}

OUTSIDE_THE_MARKET = {
    *("asyncio", "ftplib", "http", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil"),
    *(
        "signal",
        "smtplib",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ),
    *("uuid", "eth", "eth_account", "fastapi", "httpx", "lmdb", "requests", "uvicorn", "web3", "websockets"),
}

REACHED = {("market/feeder/shipped.py", "random")}
"""What `SEAMS` gives the reason of."""

FLOATS = {
    ("ledger/chain/rpc.py", "milliseconds / 1000"): "how long a wait for a foreign node takes; no amount",
}
"""Floats that `ledger/` may have: (module, expression) to reason."""

PRINTS = {
    "contracts/build.py": "a command of its own, `python -m contracts.build`, that runs without node",
}

LONG_FILES = {
    "contracts/src/accounts.vy": "accounts, roles and all that moves money share storage",
}
LINES_MAX = 500

FORBIDDEN_NAMES = {"utils.py", "base.py", "helpers.py", "common.py", "misc.py"}


def exactly(found: Iterable[tuple[str, str]], allowed: dict[tuple[str, str], str]) -> list[str]:
    """What was found and is not allowed, and what is allowed and was not found."""
    seen = set(found)
    return [f"not allowed: {' '.join(one)}" for one in sorted(seen - allowed.keys())] + [
        f"allowed for nothing: {' '.join(one)}" for one in sorted(allowed.keys() - seen)
    ]


def none(found: list[str]) -> None:
    """Nothing may be found; the message shows all of it."""
    assert not found, "\n" + "\n".join(found)


# --- time, chance, numbers --------------------------------------------------------------------------


def clock_and_randomness() -> Iterator[Use]:
    for path in modules(*PACKAGES):
        yield from (use for use in uses(path) if CLOCK_AND_RANDOMNESS.fullmatch(use.name))


def test_clock_and_randomness_come_through_their_seams():
    none(exactly({(use.path, use.name) for use in clock_and_randomness()}, SEAMS))


@pytest.mark.parametrize(
    "lines",
    [
        "import time\ntime.time()",
        "from time import monotonic as now\nclock = now",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as dates\ndates.date.today()",
        "import numpy as np\nnp.random.normal()",
        "from numpy.random import default_rng\ndefault_rng(1)",
        "import random\nrandom.Random(1)",
        "from os import urandom\nurandom(32)",
        "import secrets\nsecrets.token_bytes()",
    ],
)
def test_a_clock_or_a_draw_is_seen(lines: str, monkeypatch: pytest.MonkeyPatch):
    module = ast.parse(lines)
    monkeypatch.setattr("tests.house.repository.tree", lambda _path: module)
    found = [use.name for use in uses(Path("market/invented.py")) if CLOCK_AND_RANDOMNESS.fullmatch(use.name)]
    assert len(found) == 1


def test_every_random_generator_has_a_seed():
    unseeded = [
        str(use)
        for folder in (*PACKAGES, "tests")
        for path in modules(folder)
        for use in uses(path)
        if use.name == "numpy.random.default_rng" and (use.call is None or not use.call.args)
    ]
    none(unseeded)


def test_tests_draw_nothing_from_global_randomness():
    drawn = [
        str(use)
        for path in modules("tests")
        for use in uses(path)
        if re.fullmatch(r"(random|numpy\.random)\.[a-z_]+|(secrets|uuid)\..*|os\.urandom", use.name)
        and use.name not in {"numpy.random.default_rng", "random.getstate", "random.seed"}
    ]
    none(drawn)


def test_the_market_reaches_nothing_outside_itself():
    reached = [
        f"{path}:{line}: {name}"
        for path in modules("market")
        for line, name in imports(path)
        if name.split(".")[0] in OUTSIDE_THE_MARKET and (str(path), name) not in REACHED
    ]
    opened = [
        f"{path}:{node.lineno}: open"
        for path in modules("market")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]
    none(reached + opened)


def floats(path: Path) -> Iterator[tuple[str, str]]:
    """Every expression of a module that is, makes or names a float."""
    folders = _paths(tree(path))
    for node in ast.walk(tree(path)):
        match node:
            case ast.Constant(value=float()) | ast.Name(id="float") | ast.AugAssign(op=ast.Div()):
                yield str(path), ast.unparse(node)
            case ast.BinOp(op=ast.Div()) if not _is_path(node, folders):
                yield str(path), ast.unparse(node)
    yield from ((str(path), name) for _, name in imports(path) if name.split(".")[0] in {"numpy", "cmath"})


def _paths(module: ast.Module) -> set[str]:
    """Names that a module declares to be a `Path`, or sets from one."""
    names: set[str] = set()
    for node in ast.walk(module):
        declared = getattr(node, "annotation", None)
        if declared is not None and "Path" in ast.unparse(declared).split(" | "):
            names.add(node.arg if isinstance(node, ast.arg) else ast.unparse(node.target))
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and _is_path(node.value, names):
            names.update(ast.unparse(target) for target in node.targets)
    return names


def _is_path(node: ast.expr, names: set[str]) -> bool:
    """Whether `a / b / c` starts at a folder."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        node = node.left
    return ast.unparse(node) in names or (isinstance(node, ast.Call) and ast.unparse(node.func) == "Path")


def test_the_ledger_counts_in_integers():
    none(exactly((one for path in modules("ledger") for one in floats(path)), FLOATS))


@pytest.mark.parametrize("line", ["x = 1.5", "x = float('1')", "x = a / b", "x /= 2", "def f(a: float): ..."])
def test_a_float_is_seen(line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(f"{__name__}.tree", lambda _path: ast.parse(line))
    monkeypatch.setattr(f"{__name__}.imports", lambda _path: ())
    assert list(floats(Path("ledger/invented.py")))


# --- rooms ------------------------------------------------------------------------------------------


def test_every_room_says_what_it_holds():
    silent = [f"{room}: no README.md" for room in packages() if room / "README.md" not in files()]
    silent += [
        f"{room}: no docstring" for room in packages() if not ast.get_docstring(tree(room / "__init__.py"))
    ]
    none(silent)


def test_no_room_is_empty():
    empty = [
        str(room)
        for room in packages()
        if len(tree(room / "__init__.py").body) <= 1
        and not [
            path for path in files() if room in path.parents and path.name not in {"__init__.py", "README.md"}
        ]
    ]
    none(empty)


def test_no_file_is_named_for_what_has_no_name():
    none([str(path) for path in files() if path.name in FORBIDDEN_NAMES])


def test_tests_shadow_nothing():
    shadows = [str(path) for path in modules("tests") if path.name == "__init__.py"]
    names = Counter(path.name for path in modules("tests") if path.name.startswith("test_"))
    none(shadows + [name for name, count in names.items() if count > 1])


def test_long_files_have_their_reason():
    long = {
        str(path)
        for path in files()
        if path.parts[0] in PACKAGES
        and path.suffix in {".py", ".vy", ".js", ".css", ".html"}
        and len((text(path) or "").splitlines()) > LINES_MAX
    }
    none(sorted(long ^ set(LONG_FILES)))


def test_only_commands_print():
    printing = {
        str(path)
        for path in modules(*PACKAGES)
        if path.parts[:2] != ("node", "cli")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    none(sorted(printing ^ set(PRINTS)))


# --- words ------------------------------------------------------------------------------------------

# One letter of each word stands in brackets, so that this file does not contain what it looks for.
WORDS = {
    "work left undone": r"\b(TOD[O]|FIXM[E]|XX[X])\b",
    "a folder of somebody's machine": r"(?<![\w.~/])/(hom[e]|roo[t]|User[s]|wor[k]|op[t]|mn[t]|sr[v])/\w",
    "an address that packages come from": r"(?i)pyp[i]\.org|pythonhoste[d]|registry\.npmj[s]|npmmirro[r]"
    r"|find-link[s]|extra-inde[x]",
    "how the text came to be": r"(?i)\b(claud[e]|anthropi[c]|ll[m]s?|chatgp[t]|gp[t]-?\d\w*|opena[i]"
    r"|copilo[t]|language mode[l]s?|a[i][- ]generated|helper sessio[n]s?|sub-?agen[t]s?)\b",
}


def named(what: str, content: str) -> list[tuple[int, str]]:
    """Lines that name it, with their numbers."""
    return [
        (number, line) for number, line in enumerate(content.splitlines(), 1) if re.search(WORDS[what], line)
    ]


@pytest.mark.parametrize("what", WORDS)
def test_no_file_names(what: str):
    lines = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in files()
        if path.name != "LICENSE"
        for number, line in named(what, text(path) or "")
    ]
    none(lines)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("work left undone", "# TOD[O] later"),
        ("a folder of somebody's machine", "see /hom[e]/somebody/notes"),
        ("an address that packages come from", "from https://pyp[i].org/simple"),
        ("how the text came to be", "as Claud[e] wrote"),
    ],
)
def test_a_word_is_seen(what: str, line: str):
    assert not named(what, line)
    assert named(what, line.replace("[", "").replace("]", ""))


def test_locks_hash_everything_and_name_no_address():
    for lock in sorted((ROOT / "requirements").glob("*.lock")):
        content = lock.read_text("utf-8")
        assert "://" not in content and "--index" not in content, lock.name
        for entry in re.split(r"\n(?=\S)", content.strip()):
            assert re.match(r"[a-z0-9._-]+==\S+", entry) and "--hash=sha256:" in entry, (
                f"{lock.name}: {entry[:60]}"
            )
