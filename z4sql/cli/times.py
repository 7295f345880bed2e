"""Times as people write and read them. All are UTC unless they say otherwise."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

_UNITS_MS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)\s*")
_STEPS: Final = ((365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
FORMS: Final = '"now", "+3h", "2h ago", "2022-04-16 10:00" (UTC) or "2022-04-16T12:00:00+02:00"'


def parse_duration(text: str) -> timedelta:
    """``90s``, ``1h30m``, ``500ms``, ``2 d``; a bare number is seconds. :raises ValueError:"""
    given = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", given):
        given += "s"
    total_ms = 0.0
    at = 0
    while at < len(given):
        part = _PART.match(given, at)
        if part is None:
            break
        total_ms += float(part[1]) * _UNITS_MS[part[2]]
        at = part.end()
    if not given or at < len(given):
        raise ValueError(f"{text!r} is no duration: write 90s, 1h30m, 500ms or 2d")
    try:
        return timedelta(milliseconds=total_ms)
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def parse_instant(text: str, now: datetime) -> datetime:
    """A time, absolute or relative to ``now``. :raises ValueError: naming the accepted forms."""
    given = text.strip()
    lowered = given.lower()
    if lowered == "now":
        return now
    try:
        if lowered[:1] in ("+", "-"):
            by = parse_duration(lowered[1:])
            return now + by if lowered[0] == "+" else now - by
        if lowered.startswith("in "):
            return now + parse_duration(lowered[3:])
        if lowered.endswith(" ago"):
            return now - parse_duration(lowered[:-4])
        at = datetime.fromisoformat(given)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the years 1970 to 9999") from None
    except ValueError:
        raise ValueError(f"{text!r} is no time: write {FORMS}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def format_instant(at: datetime) -> str:
    """RFC 3339 in UTC, with a fraction only when there is one."""
    at = at.astimezone(UTC)
    text = at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{at.microsecond:06}".rstrip("0") + "Z" if at.microsecond else f"{text}Z"


def format_duration(length: timedelta) -> str:
    """The two greatest units that matter: ``3 h``, ``2 d 4 h``, ``1.25 s``, ``40 ms``."""
    seconds = abs(length.total_seconds())
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    for (size, unit), (size_below, unit_below) in pairwise(_STEPS):
        # Rounded before it is split: 59 min 59 s is 1 h.
        step = size_below if seconds < 9.95 * size else size
        whole = round(seconds / step) * step
        if whole >= size:
            count, rest = divmod(whole, size)
            below = rest // size_below
            return f"{count} {unit}" + (f" {below} {unit_below}" if below and count < 10 else "")
    return f"{round(seconds)} s"


def format_relative(at: datetime, now: datetime) -> str:
    """``in 3 h``, ``5 min ago``, ``now``."""
    if abs(at - now) < timedelta(milliseconds=1):
        return "now"
    length = format_duration(at - now)
    return f"in {length}" if at > now else f"{length} ago"


def format_both(at: datetime | None, now: datetime) -> str:
    """The instant and how far away it is; empty for none."""
    return "" if at is None else f"{format_instant(at)} ({format_relative(at, now)})"
