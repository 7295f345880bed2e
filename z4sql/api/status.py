"""How a call ends when it does not succeed: a code, a text for people, details for programs.

===================  ======================================================================
INVALID_ARGUMENT     the request is wrong; the field and the remedy are named
NOT_FOUND            no such task or member
ALREADY_EXISTS       the request id was used for another content
UNAVAILABLE          nothing was done (no leader, shutting down): retry
RESOURCE_EXHAUSTED   a bounded queue is full; nothing was done: retry after the stated pause
DEADLINE_EXCEEDED    the outcome is unknown: retry with the same request id
FAILED_PRECONDITION  the cluster is not in a state for it; nothing was done
INTERNAL             a defect; the log has the details
===================  ======================================================================
"""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from grpc_status import rpc_status

from raftcore.core.errors import (
    Busy,
    MembershipError,
    NotAccepted,
    NotLeader,
    OutcomeUnknown,
    PayloadTooLarge,
    RaftError,
    ReadFailed,
)

DOMAIN = "z4"
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
TOO_LARGE = "TOO_LARGE"
_RETRY_PAUSE_MS = 50
_DETAILS_KEY = "grpc-status-details-bin"
_LOST = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNKNOWN,
        StatusCode.INTERNAL,
    }
)
"""How gRPC itself ends a call. What a peer ends carries details."""
_NEVER_SENT = ("failed to connect to all addresses", "errors resolving")
"""gRPC's words when there was no connection to send on. In other words, it counts as sent."""


class CallError(Exception):
    """Ends a call with ``code``. ``reason`` is part of the API; ``field`` names what is wrong."""

    def __init__(
        self, code: StatusCode, message: str, *, reason: str = "", field: str = "", retry_ms: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or code.name
        self.field = field
        self.retry_ms = retry_ms
        self.is_lost = False
        """The connection to another peer failed: what that peer did is not known."""
        self._said: Status | None = None

    @classmethod
    def as_said(cls, error: grpc.aio.AioRpcError) -> CallError:
        """Another peer's error, with the details that it gave."""
        said: Status | None = None
        for key, value in error.trailing_metadata() or ():
            if key == _DETAILS_KEY:
                said = Status.FromString(value)
        info, bad = ErrorInfo(), BadRequest()
        for detail in said.details if said is not None else ():
            if not detail.Unpack(info):
                detail.Unpack(bad)
        field = bad.field_violations[0].field if bad.field_violations else ""
        problem = cls(error.code(), error.details() or error.code().name, reason=info.reason, field=field)
        problem._said = said
        problem.is_lost = (
            said is None and problem.code in _LOST and not problem.message.startswith(_NEVER_SENT)
        )
        return problem

    def to_status(self) -> rpc_status._Status:
        """The status with its google.rpc details."""
        if self._said is not None:
            return rpc_status.to_status(self._said)
        details = [_packed(ErrorInfo(reason=self.reason, domain=DOMAIN))]
        if self.field:
            violation = BadRequest.FieldViolation(field=self.field, description=self.message)
            details.append(_packed(BadRequest(field_violations=[violation])))
        if self.retry_ms:
            delay = Duration(nanos=self.retry_ms * 1_000_000)
            details.append(_packed(RetryInfo(retry_delay=delay)))
        status = Status(code=self.code.value[0], message=self.message, details=details)
        return rpc_status.to_status(status)


def _packed(detail: ErrorInfo | BadRequest | RetryInfo) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def invalid(field: str, problem: str) -> CallError:
    return CallError(StatusCode.INVALID_ARGUMENT, f"{field}: {problem}", reason="INVALID_FIELD", field=field)


def reused() -> CallError:
    return CallError(
        StatusCode.ALREADY_EXISTS,
        "request_id: was used for another request",
        reason="REQUEST_ID_REUSED",
        field="request_id",
    )


def undecided() -> CallError:
    return CallError(
        StatusCode.DEADLINE_EXCEEDED,
        "the outcome is unknown: retry with the same request_id",
        reason=OUTCOME_UNKNOWN,
    )


def no_leader() -> CallError:
    return CallError(
        StatusCode.UNAVAILABLE,
        "the cluster has no leader now; nothing was done, retry",
        reason="NO_LEADER",
        retry_ms=_RETRY_PAUSE_MS,
    )


def from_raft(error: RaftError) -> CallError:
    """What a caller may know of an error of the replicated log."""
    match error:
        case NotLeader():
            return no_leader()
        case Busy():
            return CallError(
                StatusCode.RESOURCE_EXHAUSTED,
                "too many writes are waiting; nothing was done, retry after a pause",
                reason="BUSY",
                retry_ms=_RETRY_PAUSE_MS,
            )
        case PayloadTooLarge():
            return CallError(
                StatusCode.INVALID_ARGUMENT,
                f"the request is too large for one command: {error}; split it",
                reason=TOO_LARGE,
            )
        case NotAccepted():
            return CallError(
                StatusCode.UNAVAILABLE,
                f"{error}; nothing was done, retry",
                reason="NOT_ACCEPTED",
                retry_ms=_RETRY_PAUSE_MS,
            )
        case OutcomeUnknown():
            return CallError(
                StatusCode.DEADLINE_EXCEEDED,
                "the leader changed before the outcome was known: retry with the same request_id",
                reason=OUTCOME_UNKNOWN,
            )
        case ReadFailed():
            return CallError(StatusCode.UNAVAILABLE, f"read not confirmed: {error}", reason="READ_FAILED")
        case MembershipError():
            return CallError(
                StatusCode.FAILED_PRECONDITION, f"membership unchanged: {error}", reason="MEMBERSHIP"
            )
        case _:
            return CallError(StatusCode.UNAVAILABLE, str(error), reason="STORAGE")
