"""What a client call can end with, and what the caller may assume then.

::

    Z4Error
    ├── InvalidTask     refused for good: correct the named field
    ├── NotFound        no such task
    ├── Conflict        the request id was used before for another content
    ├── Unavailable     nothing was done within the timeout: safe to retry
    ├── Overloaded      nothing was done, the cluster is busy: retry after a pause
    └── OutcomeUnknown  may or may not have been done: retry with the same request_id
"""

from __future__ import annotations

from grpc import StatusCode


class Z4Error(Exception):
    """Any failure that the client reports."""


class InvalidTask(Z4Error):
    pass


class NotFound(Z4Error):
    pass


class Conflict(Z4Error):
    pass


class Unavailable(Z4Error):
    pass


class Overloaded(Z4Error):
    pass


class OutcomeUnknown(Z4Error):
    pass


_BY_CODE: dict[int, type[Z4Error]] = {
    StatusCode.INVALID_ARGUMENT.value[0]: InvalidTask,
    StatusCode.NOT_FOUND.value[0]: NotFound,
    StatusCode.ALREADY_EXISTS.value[0]: Conflict,
    StatusCode.UNAVAILABLE.value[0]: Unavailable,
    StatusCode.RESOURCE_EXHAUSTED.value[0]: Overloaded,
    StatusCode.DEADLINE_EXCEEDED.value[0]: OutcomeUnknown,
}


def error_of(code: int, message: str) -> Z4Error:
    """The error for a gRPC status code."""
    return _BY_CODE.get(code, Z4Error)(message)
