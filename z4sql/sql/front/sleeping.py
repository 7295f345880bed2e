"""SELECT SLEEP(n): waiting that can be cancelled, without the engine.

MySQL manual: Miscellaneous Functions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlglot import exp

from z4sql.sql.context import Limits
from z4sql.sql.errors import SqlError, TimedOut
from z4sql.sql.front.scalar import Names, evaluate, number


@dataclass(slots=True, frozen=True)
class Asleep:
    """A query that sleeps: ``query`` is it with 0 in the place of every SLEEP that it selects."""

    query: exp.Expression
    calls: tuple[exp.Anonymous, ...]

    def seconds(self, names: Names) -> float:
        """:raises SqlError: SLEEP of NULL or of negative seconds (1210)"""
        return sum(_seconds(call, names) for call in self.calls)


def asleep(query: exp.Expression) -> Asleep | None:
    """None when ``query`` selects no SLEEP, or reads tables, so that data would tell how often it sleeps."""
    if not isinstance(query, exp.Select) or query.args.get("from_") is not None:
        return None
    calls = tuple(call for call in map(_call, query.expressions) if call is not None)
    if not calls:
        return None
    awake = query.copy()
    for call in map(_call, awake.expressions):
        if call is not None:
            call.replace(exp.Literal.number(0))
    return Asleep(awake, calls)


def _call(projection: exp.Expression) -> exp.Anonymous | None:
    inner = projection.this if isinstance(projection, exp.Alias) else projection
    if not isinstance(inner, exp.Anonymous) or str(inner.this).upper() != "SLEEP":
        return None
    return inner if len(inner.expressions) == 1 else None


def _seconds(call: exp.Anonymous, names: Names) -> float:
    value = evaluate(call.expressions[0], names)
    seconds = -1.0 if value is None else float(number(value))
    if seconds < 0:
        raise SqlError("Incorrect arguments to sleep.", code=1210, state="HY000")
    return seconds


async def sleep(seconds: float, limits: Limits) -> None:
    """:raises TimedOut: longer than the statement may take (3024)"""
    longest_s = limits.execution_time_ms / 1000
    if longest_s and seconds > longest_s:
        await asyncio.sleep(longest_s)
        raise TimedOut()
    await asyncio.sleep(seconds)
