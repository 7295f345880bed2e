"""How many rows a query gives, where that is not what its LIMIT says. MySQL manual: FOUND_ROWS()."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.front.source import Source


def counted_window(query: exp.Expression, source: Source) -> tuple[int, int] | None:
    """The rows that SQL_CALC_FOUND_ROWS with a LIMIT shows, of all that are counted."""
    asked = any(source.word(at) == "SQL_CALC_FOUND_ROWS" for at in range(1, 8))
    limit = query.args.get("limit")
    if not asked or limit is None:
        return None
    offset = query.args.get("offset")
    counts = [limit.expression, None if offset is None else offset.expression]
    sizes = [0 if count is None else int(str(count.this)) for count in counts]
    return sizes[1], sizes[0] + sizes[1]


def without_limit(query: exp.Expression) -> exp.Expression:
    """All rows of ``query``."""
    query = query.copy()
    query.set("limit", None)
    query.set("offset", None)
    return query


def nothing_of(query: exp.Expression) -> exp.Expression:
    """``query`` without rows, unless it has a LIMIT of its own."""
    if isinstance(query, exp.Query) and query.args.get("limit") is None:
        return query.limit(0)
    return query
