"""Requests from bytes, with the API's own errors."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.status import CallError, invalid

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """Decode a request. :raises CallError: INVALID_ARGUMENT when the bytes are no such message."""
    try:
        return kind.FromString(data)
    except DecodeError:
        name = kind.DESCRIPTOR.full_name
        raise CallError(
            StatusCode.INVALID_ARGUMENT, f"the request is not a valid {name} message", reason="MALFORMED"
        ) from None


def subscription_of(data: bytes) -> tuple[str, bool]:
    """Namespace of the first message of GetTaskStream, and whether acknowledgements will come.

    Either form: only the one without acknowledgements has a field 2. Whoever asks, method or guard, must read
    the same: what is no message of the one form may be one of the other.

    :raises CallError: when neither names a namespace.
    """
    problem: CallError | None = None
    try:
        request = parse(pb.StreamTasksRequest, data)
        if request.namespace:
            return request.namespace, False
    except CallError as error:
        problem = error
    try:
        start = parse(pb.PullRequest, data).start_req
        if start.namespace:
            return start.namespace, True
    except CallError as error:
        problem = problem and error
    if problem is not None:
        raise problem
    raise invalid("namespace", "is required in the first message")
