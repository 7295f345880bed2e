"""Instants between UTC and the session's time zone, inside the engine. MySQL manual: Time Zone Support."""

from __future__ import annotations

from datetime import tzinfo
from zoneinfo import ZoneInfo

from z4sql.sql.lowering.typed import quoted
from z4sql.sql.temporal import fixed_offset_us, naive_text, transitions

_REPEATED_MAX = 120
"""Characters of a column that stands behind each of a zone's transitions; whatever is more stands once."""


def to_local(sql: str, zone: tzinfo) -> str:
    """A UTC timestamp as a clock in ``zone`` shows it."""
    offset = fixed_offset_us(zone)
    if offset is not None:
        return _moved(sql, offset)
    steps = transitions(zone)
    if len(steps) == 1:
        return _moved(sql, steps[0][1])
    if (len(sql) > _REPEATED_MAX or "(" in sql) and isinstance(zone, ZoneInfo):
        return f"my_to_zone({sql},{quoted(str(zone))})"
    return _by_transition(sql, steps)


def to_utc(sql: str, zone: tzinfo) -> str:
    """The UTC timestamp at which a clock in ``zone`` shows ``sql``; see `to_utc_us`."""
    offset = fixed_offset_us(zone)
    if offset is not None:
        return _moved(sql, -offset)
    steps = transitions(zone)
    if len(steps) == 1:
        return _moved(sql, -steps[0][1])
    return f"my_from_zone({sql},{quoted(str(zone))})"


def repeats(zone: tzinfo) -> bool:
    """Whether a clock in ``zone`` is ever set, so that what it shows does not tell the instant."""
    return fixed_offset_us(zone) is None and len(transitions(zone)) > 1


def _moved(sql: str, offset_us: int) -> str:
    if offset_us == 0:
        return sql
    return f"({sql} + interval ({offset_us // 1_000_000}) second)"


def _by_transition(sql: str, steps: tuple[tuple[int, int], ...]) -> str:
    """Newest first: most rows are recent."""
    branches = " ".join(
        f"when {sql} >= timestamp '{naive_text(start)}' then {offset // 1_000_000}"
        for start, offset in reversed(steps[1:])
    )
    return f"({sql} + to_seconds((case {branches} else {steps[0][1] // 1_000_000} end)))"
