"""What a client call can end with, and what the caller may assume then.

::

    Z4Error
    ├── InvalidTask         refused for good: correct the named field
    ├── NotFound            no such task or namespace
    ├── Conflict            the request id was used before for another content
    ├── AccessDenied        the cluster does not know the token, or it lacks the role or the namespace
    ├── PreconditionFailed  the task's state or etag does not allow the change: read it again
    ├── Unavailable         nothing was done within the timeout: safe to retry
    ├── Overloaded          nothing was done, the cluster is busy: retry after a pause
    ├── Closed              the client was closed; what was under way then may have been done
    └── OutcomeUnknown      may or may not have been done: retry with the same request_id

    Verdict             raised by a worker's handler, to say how its task goes on
    ├── Retry               try again, after a pause of the handler's choice
    └── Dead                no further attempt
"""

from __future__ import annotations

from typing import Final

from grpc import StatusCode

AFTER_S_MAX: Final = 366 * 86_400
"""How long a task may be put off when it is given back."""
_TEXT_CHARACTERS_MAX: Final = 2_000


class Z4Error(Exception):
    """Any failure that the client reports."""


class InvalidTask(Z4Error):
    pass


class NotFound(Z4Error):
    pass


class Conflict(Z4Error):
    pass


class AccessDenied(Z4Error):
    pass


class PreconditionFailed(Z4Error):
    pass


class Unavailable(Z4Error):
    pass


class Overloaded(Z4Error):
    pass


class Closed(Z4Error):
    def __init__(self) -> None:
        super().__init__("the client is closed")


class OutcomeUnknown(Z4Error):
    pass


class Verdict(Exception):
    """What a handler says of its task by raising it."""


class Retry(Verdict):
    """Try again: after ``after_s`` seconds, or by the namespace's backoff when None is given."""

    def __init__(self, error: str = "", *, after_s: float | None = None) -> None:
        if after_s is not None and not 0 <= after_s <= AFTER_S_MAX:
            raise ValueError(f"after_s must lie between 0 and {AFTER_S_MAX} s, is {after_s}")
        super().__init__(error or "the handler asked for another attempt")
        self.after_s = after_s


class Dead(Verdict):
    """The task cannot succeed; it is kept as dead, with ``error``."""

    def __init__(self, error: str) -> None:
        super().__init__(error)


_BY_CODE: dict[int, type[Z4Error]] = {
    StatusCode.INVALID_ARGUMENT.value[0]: InvalidTask,
    StatusCode.NOT_FOUND.value[0]: NotFound,
    StatusCode.ALREADY_EXISTS.value[0]: Conflict,
    StatusCode.UNAUTHENTICATED.value[0]: AccessDenied,
    StatusCode.PERMISSION_DENIED.value[0]: AccessDenied,
    StatusCode.FAILED_PRECONDITION.value[0]: PreconditionFailed,
    StatusCode.UNAVAILABLE.value[0]: Unavailable,
    StatusCode.RESOURCE_EXHAUSTED.value[0]: Overloaded,
    StatusCode.DEADLINE_EXCEEDED.value[0]: OutcomeUnknown,
}


def error_of(code: int, message: str) -> Z4Error:
    """The error for a gRPC status code."""
    return _BY_CODE.get(code, Z4Error)(message)


def error_text(error: object) -> str:
    """An error's text, fit to be sent: what is wrong with the text is not what was wrong with the task."""
    try:
        text = str(error)
    except Exception:
        text = f"{type(error).__name__} without a text"
    return text[:_TEXT_CHARACTERS_MAX].encode(errors="replace").decode()
