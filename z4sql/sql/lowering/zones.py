"""Instants between UTC and the session's time zone, inside the engine. MySQL manual: Time Zone Support."""

from __future__ import annotations

from datetime import tzinfo

from z4sql.sql.errors import SqlError
from z4sql.sql.temporal import fixed_offset_us, naive_text, transitions

_REPEATED_MAX = 20_000
"""Characters of an expression that stands behind each of a zone's transitions."""


def to_local(sql: str, zone: tzinfo) -> str:
    """A UTC timestamp as a clock in ``zone`` shows it."""
    offset = fixed_offset_us(zone)
    if offset is not None:
        return _moved(sql, offset)
    return _by_transition(sql, [(start, offset) for start, offset in transitions(zone)], 1)


def to_utc(sql: str, zone: tzinfo) -> str:
    """The UTC timestamp at which a clock in ``zone`` shows ``sql``."""
    offset = fixed_offset_us(zone)
    if offset is not None:
        return _moved(sql, -offset)
    return _by_transition(sql, [(start + offset, offset) for start, offset in transitions(zone)], -1)


def _moved(sql: str, offset_us: int) -> str:
    if offset_us == 0:
        return sql
    return f"({sql} + interval ({offset_us // 1_000_000}) second)"


def _by_transition(sql: str, steps: list[tuple[int, int]], sign: int) -> str:
    """Newest first: most rows are recent. :raises SqlError: (1436) too long to be repeated so often"""
    if len(sql) > _REPEATED_MAX:
        raise SqlError("The statement is too complex: convert between time zones only once", code=1436)
    branches = " ".join(
        f"when {sql} >= timestamp '{naive_text(start)}' then {offset // 1_000_000}"
        for start, offset in reversed(steps[1:])
    )
    offset = f"(case {branches} else {steps[0][1] // 1_000_000} end)"
    return f"({sql} {'+' if sign > 0 else '-'} to_seconds({offset}))"
