"""How a command ends when it does not succeed: one line on stderr, and an exit code."""

from __future__ import annotations

import sys
from typing import Final

from z4sql.cli.command import DENIED, FAILED, NOT_FOUND, PRECONDITION, UNAVAILABLE, USAGE, CommandError

_NO_LEADER: Final = ("peer has no leader", "leader not found")
"""INTERNAL, as the first generation said it."""


def report(message: str) -> None:
    """One line, whatever the message holds."""
    print(f"z4t: {' '.join(message.split())}", file=sys.stderr)


def failed(error: Exception) -> int:
    """Report ``error``; the exit code."""
    if isinstance(error, CommandError):
        report(str(error))
        return error.code
    if isinstance(error, OSError):
        report(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return FAILED
    import grpc

    if isinstance(error, grpc.RpcError):
        return _rpc_failed(error)
    from z4sql.client import Z4Error

    if isinstance(error, Z4Error):
        report(str(error))
        return code_of(error)
    report(f"{type(error).__name__}: {error}")
    return FAILED


def code_of(error: Exception) -> int:
    """The exit code for an error of the client."""
    from z4sql.client import (
        AccessDenied,
        Conflict,
        InvalidTask,
        NotFound,
        OutcomeUnknown,
        Overloaded,
        PreconditionFailed,
        Unavailable,
    )

    match error:
        case InvalidTask():
            return USAGE
        case NotFound():
            return NOT_FOUND
        case Unavailable() | Overloaded() | OutcomeUnknown():
            return UNAVAILABLE
        case AccessDenied():
            return DENIED
        case PreconditionFailed() | Conflict():
            return PRECONDITION
        case _:
            return FAILED


def _rpc_failed(error: Exception) -> int:
    """Of calls that are made without the client: those about members."""
    import grpc

    code: grpc.StatusCode = error.code()  # type: ignore[attr-defined]  # grpc's errors of calls are calls
    details: str = error.details() or code.name  # type: ignore[attr-defined]
    if details == "Deadline Exceeded":
        details = "no answer in time: is the peer well? -timeout waits longer"
    if code is grpc.StatusCode.UNIMPLEMENTED or "failed to connect" in details:
        details = f"no z4 service there: is this its service port, and does it use TLS (--ca)? ({details})"
    report(details)
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return USAGE
        case grpc.StatusCode.NOT_FOUND:
            return NOT_FOUND
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return DENIED
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.UNIMPLEMENTED:
            return UNAVAILABLE
        case _:
            return UNAVAILABLE if details.endswith(_NO_LEADER) else FAILED
