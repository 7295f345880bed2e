"""User variables that queries set: before they begin, and by the last row that they give.

MySQL manual: User-Defined Variables.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from sqlglot import exp

from z4sql.sql.front.scalar import evaluate
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.user_variables import UserValue
from z4sql.sql.lowering.assignments import FIXED, variable_name
from z4sql.sql.render import render_text
from z4sql.sql.types import ResultColumn

_INITIAL = frozenset({"expressions", "limit"})


def begun(query: exp.Expression, session: Session | None) -> exp.Expression:
    """``query`` without the assignments of its derived tables that read no rows: ``(SELECT @n := 0) v``.

    Those are made here and now, or not at all without a ``session``. The query itself is not changed.

    :raises Unsupported: they are no small expressions (1235).
    """
    if not isinstance(query, exp.Select) or not any(_initial(table) for table in _tables(query)):
        return query
    query = query.copy()
    for table in filter(_initial, _tables(query)):
        for node in list(table.this.find_all(exp.PropertyEQ)):
            if session is not None:
                value = evaluate(node.expression, SessionNames(session))
                session.user_variables[variable_name(node.this)] = value
            parameter = node.this
            parameter.meta[FIXED] = True
            shown = node.sql("mysql")
            aliased = isinstance(node.parent, exp.Alias)
            node.replace(parameter if aliased else exp.alias_(parameter, shown, quoted=True, copy=False))
    return query


def user_value(column: pa.Array, shown: ResultColumn) -> UserValue:
    """The last cell of a column as a variable keeps it: a number, or text."""
    cell = column[-1].as_py()
    match cell:
        case bool():
            return int(cell)
        case None | int() | float() | Decimal() | str():
            return cell
        case date() | datetime() | timedelta():
            written = render_text(column.slice(len(column) - 1), shown.type)[0].as_py()
            return bytes(written).decode()
        case _:
            return bytes(cell).decode(errors="replace")


def _tables(query: exp.Select) -> list[exp.Expression]:
    from_ = query.args.get("from_")
    tables = [] if from_ is None else [from_.this]
    return [*tables, *(join.this for join in query.args.get("joins") or [])]


def _initial(table: exp.Expression) -> bool:
    if not isinstance(table, exp.Subquery) or not isinstance(table.this, exp.Select):
        return False
    select = table.this
    if any(value for name, value in select.args.items() if name not in _INITIAL):
        return False
    items = [item.this if isinstance(item, exp.Alias) else item for item in select.expressions]
    assigns = [isinstance(item, exp.PropertyEQ) for item in items]
    return any(assigns) and all(
        not assigned or item.expression.find(exp.PropertyEQ, exp.Query) is None
        for item, assigned in zip(items, assigns, strict=True)
    )
