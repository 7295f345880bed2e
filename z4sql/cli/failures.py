"""How a command ends when it does not succeed: one line on stderr, and an exit code."""

from __future__ import annotations

import sys

from z4sql.cli.command import DENIED, FAILED, NOT_FOUND, PRECONDITION, UNAVAILABLE, USAGE, CommandError


def report(message: str) -> None:
    """One line, whatever the message holds."""
    print(f"z4t: {' '.join(message.split())}", file=sys.stderr)


def failed(error: Exception) -> int:
    """Report ``error``; the exit code."""
    if isinstance(error, CommandError):
        report(str(error))
        return error.code
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
    report(details)
    if code is grpc.StatusCode.NOT_FOUND:
        return NOT_FOUND
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return DENIED
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return UNAVAILABLE
    return FAILED
