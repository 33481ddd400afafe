"""Contract code as Python functions, a run of it at a time: py-evm's loop without the loop.

py-evm spends most of its time between opcodes: looking one up, charging its gas, checking and converting
the stack. A *run* is code with one way in. It goes on through jumps whose destination is written in the
code, and is left by a conditional jump that is taken; what it cannot do (calls, logs, changes of storage,
jumps to where the stack says) ends it, the rest being left to an opcode of the interpreter.

Its stack bounds are known beforehand and checked once; gas is charged for each *stretch* between two jumps
at the start of the stretch, and checked before the jump that ends it; in between values live in local
variables. Charging early is safe: nothing else can fail within a stretch, and a frame that runs out of gas
anywhere in it is undone with all its gas burnt (Yellow Paper §9.4.2). Where the first stretch or the stack
would not do, the interpreter goes on instead, so that the first rule to be broken is the one that is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from eth.exceptions import Halt, InvalidInstruction, InvalidJumpDestination, OutOfGas
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.logic.invalid import InvalidOpcode

from ledger.chain import interpreter
from ledger.chain.interpreter import JUMP, JUMPDEST, JUMPI, SSTORE, interpret, load_word, store_word
from ledger.chain.precompiles import ECRECOVER, recover_sender
from ledger.chain.rules import Fork
from ledger.keccak import keccak

STACK_LIMIT = 1_024
RUN_OPCODES_MAX = 400
"""Where runs meet, each has a copy of what follows: this bounds how much."""

Run = Callable[[Any, list[Any], Any], int]
"""A run of code over (computation, stack, gas meter); returns where code goes on."""

_WORD = (1 << 256) - 1
_SIGN = 1 << 255

POP, MLOAD, MSTORE, SLOAD, PC, MCOPY = 0x50, 0x51, 0x52, 0x54, 0x58, 0x5E
STOP, SHA3, CALLDATACOPY, CODECOPY = 0x00, 0x20, 0x37, 0x39
PUSH0, PUSH32, DUP1, SWAP1, SWAP16 = 0x5F, 0x7F, 0x80, 0x90, 0x9F

_EXPRESSIONS: dict[int, tuple[int, str]] = {
    0x01: (2, "({0} + {1}) & WORD"),
    0x02: (2, "({0} * {1}) & WORD"),
    0x03: (2, "({0} - {1}) & WORD"),
    0x04: (2, "{0} // {1} if {1} else 0"),
    0x05: (2, "signed_quotient({0}, {1})"),
    0x06: (2, "{0} % {1} if {1} else 0"),
    0x07: (2, "signed_remainder({0}, {1})"),
    0x08: (3, "({0} + {1}) % {2} if {2} else 0"),
    0x09: (3, "({0} * {1}) % {2} if {2} else 0"),
    0x0B: (2, "sign_extended({0}, {1})"),
    0x10: (2, "1 if {0} < {1} else 0"),
    0x11: (2, "1 if {0} > {1} else 0"),
    0x12: (2, "1 if {0} ^ SIGN < {1} ^ SIGN else 0"),
    0x13: (2, "1 if {0} ^ SIGN > {1} ^ SIGN else 0"),
    0x14: (2, "1 if {0} == {1} else 0"),
    0x15: (1, "0 if {0} else 1"),
    0x16: (2, "{0} & {1}"),
    0x17: (2, "{0} | {1}"),
    0x18: (2, "{0} ^ {1}"),
    0x19: (1, "{0} ^ WORD"),
    0x1A: (2, "{1} >> 248 - 8 * {0} & 255 if {0} < 32 else 0"),
    0x1B: (2, "{1} << {0} & WORD if {0} < 256 else 0"),
    0x1C: (2, "{1} >> {0} if {0} < 256 else 0"),
    0x1D: (2, "shifted_with_sign({0}, {1})"),
    0x30: (0, "number(frame.msg.storage_address, 'big')"),
    0x33: (0, "number(frame.msg.sender, 'big')"),
    0x34: (0, "frame.msg.value"),
    0x35: (1, "number(frame.msg.data_as_bytes[{0} : {0} + 32].ljust(32, ZERO), 'big')"),
    0x36: (0, "len(frame.msg.data)"),
    0x3D: (0, "len(frame.return_data)"),
    0x42: (0, "frame.state.timestamp"),
}
"""Opcodes that are an expression: how many operands, the top of the stack being {0}, and the result."""

_PURE = frozenset(opcode for opcode in _EXPRESSIONS if opcode < 0x30)
_COPIES = {CALLDATACOPY: "frame.msg.data_as_bytes", CODECOPY: "code", MCOPY: "memory"}
_KNOWN = re.compile(r"[0-9< ]+")
"""A condition on numbers only."""


def _as_signed(value: int) -> int:
    return (value ^ _SIGN) - _SIGN


def _signed_quotient(left: int, right: int) -> int:
    dividend, divisor = _as_signed(left), _as_signed(right)
    if divisor == 0:
        return 0
    quotient = abs(dividend) // abs(divisor)
    return (quotient if (dividend < 0) == (divisor < 0) else -quotient) & _WORD


def _signed_remainder(left: int, right: int) -> int:
    dividend, divisor = _as_signed(left), _as_signed(right)
    if divisor == 0:
        return 0
    remainder = abs(dividend) % abs(divisor)
    return (remainder if dividend >= 0 else -remainder) & _WORD


def _sign_extended(last_byte: int, value: int) -> int:
    if last_byte > 30:
        return value
    sign = 1 << 8 * last_byte + 7
    low = value & (2 * sign - 1)
    return ((low ^ sign) - sign) & _WORD


def _shifted_with_sign(places: int, value: int) -> int:
    return (_as_signed(value) >> min(places, 256)) & _WORD


def _grown(frame: Any, gas: int, start: int, size: int) -> int:
    """Gas left after memory grew to hold `size` bytes from `start` (Yellow Paper, H.1). Raises OutOfGas."""
    memory: bytearray = frame._memory._bytes
    before, after = len(memory) >> 5, start + size + 31 >> 5
    gas -= 3 * (after - before) + (after * after >> 9) - (before * before >> 9)
    if gas < 0:
        raise OutOfGas("memory")
    memory.extend(bytes(32 * (after - before)))
    return gas


def _invalid_jump(code: bytes, target: int) -> Exception:
    """The rule that a jump to no destination breaks; py-evm has another one for data of a PUSH."""
    in_push = target < len(code) and code[target] == JUMPDEST
    fault: Exception = InvalidInstruction(target) if in_push else InvalidJumpDestination(target)
    return fault


_GLOBALS: dict[str, Any] = {
    "WORD": _WORD,
    "SIGN": _SIGN,
    "ZERO": b"\0",
    "number": int.from_bytes,
    "keccak": keccak,
    "grown": _grown,
    "interpret": interpret,
    "load_word": load_word,
    "store_word": store_word,
    "signed_quotient": _signed_quotient,
    "signed_remainder": _signed_remainder,
    "sign_extended": _sign_extended,
    "shifted_with_sign": _shifted_with_sign,
    "OutOfGas": OutOfGas,
    "invalid_jump": _invalid_jump,
}


class Program:
    """The code of a contract, translated run by run as it is reached."""

    def __init__(self, code: bytes, opcodes: Mapping[int, Any]) -> None:
        self.code = code
        self.opcodes = opcodes
        self.destinations = _destinations(code)
        self.runs: dict[int, Run] = {}

    def execute(self, frame: Any) -> None:
        """Execute in a computation until it halts. Raises VMError."""
        stack, meter, runs = frame._stack.values, frame._gas_meter, self.runs
        at = 0
        try:
            while True:
                run = runs.get(at)
                if run is None:
                    run = runs[at] = _Translation(self, at).function()
                at = run(frame, stack, meter)
        except Halt:
            return


class _Translation:
    """One run on its way to Python source: operands are names of locals, or numbers."""

    def __init__(self, program: Program, start: int) -> None:
        self.program = program
        self.start = start
        self.lines: list[str] = []
        self.stack: list[str] = []  # what the run has pushed, the top last
        self.taken: list[str] = []  # what it found on the stack, from the top down
        self.height = 0  # highest the stack gets above where it was
        self.names = 0
        self.passed: set[int] = set()  # destinations the run has come through
        self.gas = 0  # of the stretch so far
        self.charge = 0  # the line that charges it
        self.has_memory = False
        self.memory_bytes = 0  # that are there for certain

    def function(self) -> Run:
        """Translate up to the end of the run, and compile."""
        self._begin_stretch()
        end = self._body()
        self._end_stretch()
        needed, room = len(self.taken), STACK_LIMIT - self.height
        first_charge, *body = self.lines
        head = [
            "gas = meter.gas_remaining",
            first_charge,
            f"if gas < 0 or not {needed} <= len(stack) <= {room}: return interpret(frame, {self.start})",
            *(f"{name} = stack[-{depth}]" for depth, name in enumerate(self.taken, 1)),
        ]
        source = "\n ".join(["def run(frame, stack, meter):", *head, *body, *end])
        names = _GLOBALS | {
            "code": self.program.code,
            "destinations": self.program.destinations,
            "opcode": self._last_opcode,
        }
        exec(compile(source, f"<run at {self.start}>", "exec"), names)
        run: Run = names["run"]
        return run

    def _begin_stretch(self) -> None:
        self.charge, self.gas = len(self.lines), 0
        self.lines.append("")

    def _end_stretch(self) -> None:
        self.lines[self.charge] = f"gas -= {self.gas}"

    # --- operands -------------------------------------------------------------------------------

    def _pop(self) -> str:
        if self.stack:
            return self.stack.pop()
        self.taken.append(f"s{len(self.taken)}")
        return self.taken[-1]

    def _push(self, operand: str) -> None:
        self.stack.append(operand)
        self.height = max(self.height, len(self.stack) - len(self.taken))

    def _reach(self, depth: int) -> None:
        """Make the top `depth` operands available."""
        below: list[str] = []
        while len(self.stack) + len(below) < depth:
            self.taken.append(f"s{len(self.taken)}")
            below.append(self.taken[-1])
        self.stack[:0] = reversed(below)

    def _new_name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def _name(self, expression: str) -> str:
        name = self._new_name()
        self.lines.append(f"{name} = {expression}")
        return name

    def _put_back(self) -> list[str]:
        """Leave the stack as the run does; what it found and left in place is not touched."""
        found = list(reversed(self.taken))
        same = 0
        while same < min(len(found), len(self.stack)) and found[same] == self.stack[same]:
            same += 1
        gone, new = len(found) - same, ", ".join(self.stack[same:])
        if gone and new:
            return [f"stack[-{gone}:] = ({new},)"]
        if gone:
            return [f"del stack[-{gone}:]"]
        return [f"stack += ({new},)"] if new else []

    # --- opcodes --------------------------------------------------------------------------------

    def _body(self) -> list[str]:
        """Translate opcodes until one ends the run; returns the lines that end it."""
        code, at = self.program.code, self.start
        self._last_opcode: Any = None
        for _ in range(RUN_OPCODES_MAX):
            opcode = code[at] if at < len(code) else STOP
            if opcode == JUMPDEST:
                if at in self.passed:  # a loop comes to its begin again
                    break
                self.passed.add(at)
            if opcode == JUMP:
                self.gas += self.program.opcodes[JUMP].gas_cost
                target = self._pop()
                if not self._is_destination(target):
                    return self._leaving(target)
                at = int(target)
                continue
            if opcode == JUMPI:
                self._branch()
                at += 1
                continue
            width = opcode - PUSH0 if PUSH0 <= opcode <= PUSH32 else 0
            if not self._inline(opcode, at, code[at + 1 : at + 1 + width].ljust(width, b"\0")):
                return self._leave_to_opcode(opcode, at)
            self.gas += self.program.opcodes[opcode].gas_cost
            at += 1 + width
        return self._ending(f"return {at}")

    def _inline(self, opcode: int, at: int, pushed: bytes) -> bool:
        """Translate an opcode inside the run; False if it has to end the run."""
        if PUSH0 <= opcode <= PUSH32:
            self._push(str(int.from_bytes(pushed, "big")))
        elif DUP1 <= opcode < SWAP1:
            self._reach(opcode - DUP1 + 1)
            self._push(self.stack[DUP1 - opcode - 1])
        elif SWAP1 <= opcode <= SWAP16:
            depth = opcode - SWAP1 + 2
            self._reach(depth)
            self.stack[-1], self.stack[-depth] = self.stack[-depth], self.stack[-1]
        elif opcode in _EXPRESSIONS:
            self._expression(opcode)
        elif opcode == POP:
            self._pop()
        elif opcode == PC:
            self._push(str(at))
        elif opcode in (MLOAD, MSTORE, SHA3):
            self._memory(opcode)
        elif opcode in _COPIES:
            self._copy(_COPIES[opcode])
        elif opcode == SLOAD:
            slot, word = self._pop(), self._new_name()
            self.lines.append(f"{word}, price = load_word(frame, {slot}); gas -= price")
            self._push(word)
        elif opcode == SSTORE:
            self._store()
        else:
            return opcode == JUMPDEST
        return True

    def _store(self) -> None:
        """Change a word; its price depends on the gas left by then, so a new stretch begins after it."""
        slot, word = self._pop(), self._pop()
        self._end_stretch()
        self.lines.append(f"gas = store_word(frame, gas, {slot}, {word})")
        self._begin_stretch()

    def _expression(self, opcode: int) -> None:
        count, template = _EXPRESSIONS[opcode]
        operands = [self._pop() for _ in range(count)]
        expression = template.format(*operands)
        if opcode in _PURE and all(operand.isdigit() for operand in operands):
            self._push(str(eval(expression, _GLOBALS)))
        else:
            self._push(self._name(_decided(expression)))

    def _memory(self, opcode: int) -> None:
        start = self._pop()
        if opcode == SHA3:
            size = self._pop()
            self.lines.append(f"gas -= 6 * ({size} + 31 >> 5)")
            self._grow(start, size)
            self._push(self._name(f"number(keccak(bytes(memory[{start} : {start} + {size}])), 'big')"))
        elif opcode == MLOAD:
            self._grow(start, "32")
            self._push(self._name(f"number(memory[{start} : {start} + 32], 'big')"))
        else:
            value = self._pop()
            self._grow(start, "32")
            word = repr(int(value).to_bytes(32, "big")) if value.isdigit() else f"{value}.to_bytes(32, 'big')"
            self.lines.append(f"memory[{start} : {start} + 32] = {word}")

    def _copy(self, origin: str) -> None:
        start, source, size = self._pop(), self._pop(), self._pop()
        self.lines.append(f"gas -= 3 * ({size} + 31 >> 5)")
        self._grow(f"max({start}, {source})" if origin == "memory" else start, size)
        copied = f"{origin}[{source} : {source} + {size}].ljust({size}, ZERO)"
        self.lines.append(f"memory[{start} : {start} + {size}] = {copied}")

    def _grow(self, start: str, size: str) -> None:
        """Make memory hold `size` bytes from `start`; where both are known, only once."""
        if not self.has_memory:
            self.lines.append("memory = frame._memory._bytes")
            self.has_memory = True
        if start.isdigit() and size.isdigit():
            if size == "0" or int(start) + int(size) <= self.memory_bytes:
                return
            self.memory_bytes = int(start) + int(size)
        self.lines.append(
            f"if {size} and {start} + {size} > len(memory): gas = grown(frame, gas, {start}, {size})"
        )

    # --- ways out of a run ----------------------------------------------------------------------

    def _ending(self, *lines: str) -> list[str]:
        """Settle gas and stack, and go on."""
        settled = ["if gas < 0: raise OutOfGas('run')", "meter.gas_remaining = gas"]
        return [*settled, *self._put_back(), *lines]

    def _is_destination(self, target: str) -> bool:
        """Whether the code says where a jump goes, and it may go there."""
        return target.isdigit() and int(target) in self.program.destinations

    def _leaving(self, target: str) -> list[str]:
        """Jump out of the run."""
        if self._is_destination(target):
            return self._ending(f"return {target}")
        check = f"if {target} not in destinations: raise invalid_jump(code, {target})"
        return self._ending(check, f"return {target}")

    def _branch(self) -> None:
        """Leave the run if a condition holds; a new stretch goes on where it does not."""
        self.gas += self.program.opcodes[JUMPI].gas_cost
        target, condition = self._pop(), self._pop()
        self._end_stretch()
        self.lines.append(f"if {condition}:")
        self.lines.extend(f" {line}" for line in self._leaving(target))
        self._begin_stretch()

    def _leave_to_opcode(self, opcode: int, at: int) -> list[str]:
        """Let the interpreter's opcode end the run, and turn the bytes it may push into a number."""
        self._last_opcode = self.program.opcodes.get(opcode) or InvalidOpcode(opcode)
        return self._ending(
            "opcode(computation=frame)",
            "if stack and type(stack[-1]) is bytes: stack[-1] = number(stack[-1], 'big')",
            f"return {at + 1}",
        )


def _decided(expression: str) -> str:
    """An expression without its condition, where that is known."""
    value, _, choice = expression.partition(" if ")
    condition, _, other = choice.partition(" else ")
    if not _KNOWN.fullmatch(condition):
        return expression
    return value if eval(condition, {}) else other


def _destinations(code: bytes) -> frozenset[int]:
    """Where code may jump to: each JUMPDEST that is not inside a PUSH."""
    found, at = set(), 0
    while at < len(code):
        if code[at] == JUMPDEST:
            found.add(at)
        at += 1 + (code[at] - PUSH0 if PUSH0 <= code[at] <= PUSH32 else 0)
    return frozenset(found)


@lru_cache(maxsize=64)
def _program(code: bytes, fork: Fork) -> Program:
    return Program(code, COMPUTATIONS[fork].opcodes)


class _Translated:
    """What a computation of py-evm does otherwise where code is executed as translated runs."""

    fork: Fork

    @classmethod
    def apply_computation(
        cls, state: Any, message: Any, transaction_context: Any, parent_computation: Any = None
    ) -> Any:
        """Execute a message; errors end up in the computation, as in py-evm's method of the name."""
        stock: Any = super()
        if message.code_address in stock._precompiles or not message.code:
            return stock.apply_computation(state, message, transaction_context, parent_computation)
        computation: Any = cls(state, message, transaction_context)  # type: ignore[call-arg]
        with computation:
            computation.contracts_created = _created_before(computation, parent_computation)
            if message.is_create:
                if computation.is_origin_computation:
                    computation.consume_initcode_gas_cost(computation)
                computation.contracts_created.append(message.storage_address)
            _program(bytes(message.code), cls.fork).execute(computation)
        return computation


def _created_before(computation: Any, parent: Any) -> list[bytes]:
    """Contracts created in this transaction, one list for all its computations (EIP-6780)."""
    if parent is not None:
        created: list[bytes] = parent.contracts_created
        return created
    return []


class TranslatedCancun(_Translated, CancunComputation):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's computation under Cancun, with the code executed as translated runs."""

    fork = Fork.CANCUN
    opcodes = interpreter.CANCUN
    _precompiles = CancunComputation._precompiles | {ECRECOVER: recover_sender}


class TranslatedComputation(_Translated, PragueComputation):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's computation under Prague, with the code executed as translated runs."""

    fork = Fork.PRAGUE
    opcodes = interpreter.PRAGUE
    _precompiles = PragueComputation._precompiles | {ECRECOVER: recover_sender}


COMPUTATIONS: dict[Fork, Any] = {Fork.CANCUN: TranslatedCancun, Fork.PRAGUE: TranslatedComputation}
