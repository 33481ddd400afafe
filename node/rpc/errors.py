"""What a JSON-RPC client is told: the codes of JSON-RPC 2.0, EIP-1474 and anvil.

RpcError                     code
├── ParseError               -32700  the body is not JSON
├── InvalidRequestError      -32600  the JSON is no request
├── MethodNotFoundError      -32601
├── InvalidParamsError       -32602
├── InternalError            -32603  our fault; the log has the rest
├── TransactionRejectedError -32003  the chain did not take it; the message names the rule
└── ExecutionRevertedError        3  the contract refused, with the revert data

`of_chain` says which of them an exception of the chain becomes, for all methods at once.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ledger.chain.protocol import ChainError, Halted, Reverted, TransactionRefused


class RpcError(Exception):
    """An answer that is an error object."""

    code: ClassVar[int]

    def __init__(self, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def answer(self) -> dict[str, Any]:
        """The error object."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        return error if self.data is None else error | {"data": self.data}


class ParseError(RpcError):
    """The body is not JSON."""

    code = -32_700


class InvalidRequestError(RpcError):
    """The JSON is no request, or too large."""

    code = -32_600


class MethodNotFoundError(RpcError):
    """There is no such method."""

    code = -32_601


class InvalidParamsError(RpcError):
    """A parameter is missing, one too many, or not of its type."""

    code = -32_602


class InternalError(RpcError):
    """A fault of the server."""

    code = -32_603


class TransactionRejectedError(RpcError):
    """The chain did not take the transaction or call, or its machine stopped it."""

    code = -32_003


class ExecutionRevertedError(RpcError):
    """The contract refused."""

    code = 3


def of_chain(failure: ChainError) -> RpcError:
    """What a client is told of the chain's refusal or failure.

    Code 3 is for contracts that refused, as wallets read it; what could not begin, and what the machine
    stopped, is rejected with the rule's name.
    """
    match failure:
        case Halted(reason=reason):
            return TransactionRejectedError(f"EVM error: {reason}")
        case Reverted(reason=reason, data=data):
            return ExecutionRevertedError(f"execution reverted: {reason}", "0x" + data.hex())
        case TransactionRefused():
            return TransactionRejectedError(str(failure))
        case _:
            return InternalError(str(failure))
