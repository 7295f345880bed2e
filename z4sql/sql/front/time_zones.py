"""Time zones as clients name them. MySQL manual: MySQL Server Time Zone Support."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from z4sql.sql.errors import SqlError

_OFFSET = re.compile(r"([+-])(\d{1,2}):([0-5]\d)")
_MINUTES_MIN, _MINUTES_MAX = -(13 * 60 + 59), 14 * 60


def time_zone(name: str) -> tzinfo:
    """The zone called ``name``: an offset, ``SYSTEM`` (which is UTC here) or a name of the zone database.

    :raises SqlError: unknown (1298).
    """
    if name.upper() in ("SYSTEM", "UTC"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        minutes = -minutes if offset[1] == "-" else minutes
        if not _MINUTES_MIN <= minutes <= _MINUTES_MAX:
            raise _unknown(name)
        return timezone(timedelta(minutes=minutes)) if minutes else UTC
    known = _names().get(name.lower())
    if known is None:
        raise _unknown(name)
    return ZoneInfo(known)


@cache
def _names() -> dict[str, str]:
    """Zone names by their lower-case form: clients may write them in either case."""
    return {name.lower(): name for name in available_timezones()}


def _unknown(name: str) -> SqlError:
    return SqlError(f"Unknown or incorrect time zone: '{name}'", code=1298, state="HY000")
