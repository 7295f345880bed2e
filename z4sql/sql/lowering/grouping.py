"""What stands for ungrouped columns under GROUP BY. MySQL manual: MySQL Handling of GROUP BY."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.lowering.scope import Scope
from z4sql.sql.lowering.typed import Typed

ONLY_FULL_GROUP_BY = "ONLY_FULL_GROUP_BY"
_AGGREGATE_NAMES = frozenset({"JSON_ARRAYAGG"})


def aggregates(query: exp.Select) -> bool:
    """Whether the rows of ``query`` are groups: GROUP BY, or an aggregate of its own anywhere."""
    if query.args.get("group") is not None:
        return True
    parts = [*query.expressions, query.args.get("having"), query.args.get("order")]
    return any(_has_aggregate(part) for part in parts if part is not None)


def _has_aggregate(node: exp.Expression) -> bool:
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        # The function itself is windowed; what it is given may still be an aggregate.
        return any(
            _has_aggregate(child)
            for part in node.iter_expressions()
            for child in (part.iter_expressions() if part is node.this else (part,))
        )
    if isinstance(node, exp.AggFunc):
        return True
    if isinstance(node, exp.Anonymous) and node.name.upper() in _AGGREGATE_NAMES:
        return True
    return any(_has_aggregate(child) for child in node.iter_expressions())


def mark_determined(scope: Scope) -> None:
    """Note the relations whose primary key is grouped: it determines their other columns."""
    grouped = {each.raw for each in scope.grouped}
    for relation in scope.relations:
        keys = [relation.columns[name].sql for name in relation.keys]
        relation.determined = bool(keys) and grouped.issuperset(keys)


def one_of_group(value: Typed) -> Typed:
    """The value of some row of the group, as MySQL gives without ONLY_FULL_GROUP_BY."""
    stored = f"first({value.stored})" if value.stored else ""
    return Typed(f"first({value.sql})", value.type, stored=stored)
