"""What stands for ungrouped columns under GROUP BY. MySQL manual: MySQL Handling of GROUP BY."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.scope import Relation, Scope
from z4sql.sql.lowering.typed import INT, Typed

if TYPE_CHECKING:
    from z4sql.sql.lowering.expressions import Lowering

ONLY_FULL_GROUP_BY = "ONLY_FULL_GROUP_BY"
_AGGREGATE_NAMES = frozenset({"JSON_ARRAYAGG", "JSON_OBJECTAGG"})


def aggregates(query: exp.Select, *, ordered: bool = True) -> bool:
    """Whether the rows of ``query`` are groups: GROUP BY, or an aggregate of its own anywhere.

    ``ordered``: whether one in ORDER BY counts.
    """
    if query.args.get("group") is not None:
        return True
    parts = [*query.expressions, query.args.get("having"), query.args.get("order") if ordered else None]
    return any(has_aggregate(part) for part in parts if part is not None)


def has_aggregate(node: exp.Expression) -> bool:
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        # The function itself is windowed; what it is given may still be an aggregate.
        return any(
            has_aggregate(child)
            for part in node.iter_expressions()
            for child in (part.iter_expressions() if part is node.this else (part,))
        )
    if isinstance(node, exp.AggFunc):
        return True
    if isinstance(node, exp.Anonymous) and node.name.upper() in _AGGREGATE_NAMES:
        return True
    return any(has_aggregate(child) for child in node.iter_expressions())


def note_equalities(scope: Scope, condition: exp.Expression, optional: Sequence[Relation] = ()) -> None:
    """Note which columns the equalities of WHERE or ON determine.

    ``optional``: the side of an outer join that may have no row; its columns are determined by the other.
    """
    bare = condition.unnest()
    if isinstance(bare, exp.And):
        note_equalities(scope, bare.this, optional)
        note_equalities(scope, bare.expression, optional)
    elif isinstance(bare, exp.EQ):
        one, other = _place(scope, bare.this), _place(scope, bare.expression)
        for left, right in ((one, other), (other, one)):
            if left is None or right is None or right[0] is None:
                continue
            if not optional or (left[0] is not None and any(right[0] is each for each in optional)):
                scope.determines.append((left[1], right[1]))


def _place(scope: Scope, node: exp.Expression) -> tuple[Relation | None, str] | None:
    """A column of this query by its text; no text, of no relation, for a constant; None for all else."""
    bare = node.unnest()
    if isinstance(bare, exp.Column):
        found = scope.find(bare.name, bare.table)
        return None if found is None else (found[0], found[1].sql)
    return None if bare.find(exp.Column, exp.Query) is not None else (None, "")


def mark_determined(scope: Scope) -> None:
    """Note the columns of which each group has one value: the grouped ones and constants determine them."""
    grouped = {each.raw for each in scope.grouped}
    known = {"", *grouped}
    while True:
        more = {right for left, right in scope.determines if left in known}
        for relation in scope.relations:
            if relation.keys and all(relation.columns[name].sql in known for name in relation.keys):
                more.update(value.sql for value in relation.columns.values())
        if more <= known:
            break
        known |= more
    scope.determined = frozenset(known - grouped)


def one_of_group(value: Typed) -> Typed:
    """The value of some row of the group, as MySQL gives without ONLY_FULL_GROUP_BY."""
    stored = f"first({value.stored})" if value.stored else ""
    return Typed(f"first({value.sql})", value.type, stored=stored)


def not_in_group(place: str, column: str, *, grouped: bool) -> SqlError:
    """``place``: what names the column that has no single value, as ``expression #1 of SELECT list``."""
    if not grouped:
        message = f"In aggregated query without GROUP BY, {place} contains nonaggregated column '{column}'"
        code = 1140
    else:
        message = (
            f"{place[0].upper()}{place[1:]} is not in GROUP BY clause and contains nonaggregated column"
            f" '{column}' which is not functionally dependent on columns in GROUP BY clause"
        )
        code = 1055
    return SqlError(
        f"{message}; this is incompatible with sql_mode=only_full_group_by", code=code, state="42000"
    )


@lowers(exp.Grouping, reads="expressions")
def _grouping(lowering: Lowering, node: exp.Expression) -> Typed:
    """Which of the keys a row of WITH ROLLUP is the total of. MySQL manual: GROUPING()."""
    if lowering.clause in ("where clause", "on clause"):
        raise SqlError("Invalid use of group function", code=1111)
    keys = []
    for at, each in enumerate(node.expressions, start=1):
        shown = lowering.expression(each).sql
        grouped = next((one for one in lowering.scopes[-1].grouped if one.shown.sql == shown), None)
        if grouped is None:
            raise SqlError(f"Argument #{at} of GROUPING function is not in GROUP BY", code=3602)
        keys.append(grouped.rolled_up)
    return Typed(f"grouping({', '.join(keys)})" if all(keys) else "0::bigint", INT)
