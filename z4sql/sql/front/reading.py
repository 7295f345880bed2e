"""Reading texts of clients without keeping others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import lru_cache
from typing import Final, TypeVar

from z4sql.sql.errors import TimedOut
from z4sql.sql.front.session import Session
from z4sql.sql.front.source import Source, read_source

SHORT: Final = 4 << 10
"""Characters of a text that is read in less than a few milliseconds."""
_REMEMBERED: Final = 2 << 10
"""Characters of a text that is kept with its pieces."""

T = TypeVar("T")


async def read(sql: str) -> Source:
    """The statement in ``sql``. :raises SqlError: see `read_source`"""
    if len(sql) <= _REMEMBERED:
        return _read_before(sql)
    return read_source(sql) if len(sql) <= SHORT else await asyncio.to_thread(read_source, sql)


async def in_time(session: Session, work: Coroutine[object, object, T], length: int) -> T:
    """What ``work`` on a text of that length gives. :raises TimedOut: at the end of the statement's time"""
    remaining_s = session.remaining_s if length > SHORT else None
    if remaining_s is None:
        return await work
    try:
        return await asyncio.wait_for(work, remaining_s)
    except TimeoutError:
        raise TimedOut from None


@lru_cache(maxsize=256)
def _read_before(sql: str) -> Source:
    """What was read of a statement does not depend on anything else, and dashboards repeat themselves."""
    return read_source(sql)
