"""Comparing rows: ``(a, b) > (1, 2)``. MySQL manual: Row Subqueries; Comparison Functions and Operators."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from z4sql.sql.lowering.comparison import compare, converted, other_column_count
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.query import lower_query
from z4sql.sql.lowering.typed import BOOL, Typed
from z4sql.sql.planner.shape import bare, row

_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}

_Pair = tuple[Typed, Typed]


def compare_rows(
    lowering: Lowering, operator: str, left: exp.Expression, right: exp.Expression
) -> Typed | None:
    """Compare two rows, or one with the row of a query; None where neither side is a row.

    :raises SqlError: they have different numbers of columns (1241)
    """
    left, right = bare(left), bare(right)
    one, other = row(left), row(right)
    if one is None and other is not None:
        one, other, right, operator = other, None, left, _FLIPPED.get(operator, operator)
    if one is None:
        return None
    values = [(lowering.expression(each), each) for each in one]
    if other is None and isinstance(right, exp.Query):
        return _with_query(lowering, operator, [value for value, _ in values], right)
    if other is None or len(other) != len(one):
        raise other_column_count(len(one))
    return _compared(
        lowering,
        operator,
        [
            converted(lowering, value, (lowering.expression(each), each))
            for value, each in zip(values, other, strict=True)
        ],
    )


def _with_query(lowering: Lowering, operator: str, values: list[Typed], query: exp.Expression) -> Typed:
    """NULL where the query has no row; more than one are the engine's to refuse."""
    inner = lower_query(lowering, query)
    if len(inner.columns) != len(values):
        raise other_column_count(len(values))
    pairs = [
        (value, Typed(f"row_.c{position}", type_))
        for position, (value, (_, type_)) in enumerate(zip(values, inner.columns, strict=True))
    ]
    holds = _compared(lowering, operator, pairs).sql
    names = ", ".join(f"c{position}" for position in range(len(values)))
    return Typed(f"(select {holds} from ({inner.sql}) as row_({names}))", BOOL)


def _compared(lowering: Lowering, operator: str, pairs: list[_Pair]) -> Typed:
    """From left to right: the first columns that differ decide."""
    if operator in ("=", "<=>", "<>"):
        parts = [compare(lowering, operator, one, other).sql for one, other in pairs]
        return Typed("(" + (" or " if operator == "<>" else " and ").join(parts) + ")", BOOL)
    holds = compare(lowering, operator, *pairs[-1]).sql
    for pair in reversed(pairs[:-1]):
        differ, equal = compare(lowering, operator[0], *pair).sql, compare(lowering, "=", *pair).sql
        holds = f"({differ} or ({equal} and {holds}))"
    return Typed(holds, BOOL)
