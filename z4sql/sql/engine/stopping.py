"""Whether the query that this thread runs has to end, and what its long texts may take.

The engine asks only between batches of rows, and counts no texts that functions make. A constant is worked
out in one go while the engine binds, and one row may hold megabytes: what works on values asks here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, TypeVar, cast

from z4sql.sql.engine.refusals import Refused
from z4sql.sql.errors import SqlError

LONG_BYTES: Final = 1 << 16
"""Texts of that length count."""
LONG_BYTES_MAX: Final = 192 << 20
"""Of all long texts that the functions of one query make: three packets."""

_Function = TypeVar("_Function", bound=Callable[..., object])


class _Current(threading.local):
    stopped: Callable[[], SqlError | None] | None = None
    long_bytes: int = 0


_current = _Current()


@contextmanager
def stopping(stopped: Callable[[], SqlError | None]) -> Iterator[None]:
    """What this thread works out inside ends when ``stopped`` gives a reason."""
    before, _current.stopped = _current.stopped, stopped
    _current.long_bytes = 0
    try:
        yield
    finally:
        _current.stopped = before


def require_running() -> None:
    """:raises SqlError: why the query of this thread has to end"""
    reason = None if _current.stopped is None else _current.stopped()
    if reason is not None:
        raise reason


def claim(long_bytes: int) -> None:
    """Make room for long texts of so many bytes together. :raises Refused: (1104) there is none"""
    _current.long_bytes += long_bytes
    if _current.long_bytes > LONG_BYTES_MAX:
        message = (
            f"The functions of the query make texts of more than {LONG_BYTES_MAX >> 20} MB; select fewer "
            "rows, or shorter texts"
        )
        raise Refused(1104, message, "42000")


def stoppable(function: _Function) -> _Function:
    """The same function, which is not begun any more once the query has to end."""

    @wraps(function)
    def begun(*arguments: object) -> object:
        require_running()
        return function(*arguments)

    return cast(_Function, begun)
