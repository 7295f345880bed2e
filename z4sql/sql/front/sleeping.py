"""SELECT SLEEP(n): waiting that can be cancelled, without the engine. MySQL manual: Miscellaneous Functions."""

from __future__ import annotations

import asyncio

from sqlglot import exp

from z4sql.sql.context import Limits
from z4sql.sql.errors import SqlError, TimedOut
from z4sql.sql.front.scalar import Names, evaluate, number


def without_sleep(query: exp.Expression, names: Names) -> tuple[exp.Expression, float] | None:
    """``query`` with 0 in the place of every SLEEP it selects, and for how many seconds they sleep.

    None when it selects none, or has clauses that would make their number depend on data.

    :raises SqlError: SLEEP of NULL or of negative seconds (1210).
    """
    if not isinstance(query, exp.Select) or query.args.get("from_") is not None:
        return None
    found = [at for at, projection in enumerate(query.expressions) if _call(projection) is not None]
    if not found:
        return None
    awake = query.copy()
    seconds = 0.0
    for at in found:
        call = _call(awake.expressions[at])
        assert call is not None
        seconds += _seconds(call, names)
        call.replace(exp.Literal.number(0))
    return awake, seconds


def _call(projection: exp.Expression) -> exp.Anonymous | None:
    inner = projection.this if isinstance(projection, exp.Alias) else projection
    if (
        isinstance(inner, exp.Anonymous)
        and str(inner.this).upper() == "SLEEP"
        and len(inner.expressions) == 1
    ):
        return inner
    return None


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
