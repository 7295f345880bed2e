"""``@name := expression`` in the select list that names the result. MySQL manual: User-Defined Variables.

The manual leaves the order of evaluation open. What does not depend on it is worked out; running numbers and
totals (``@n := @n + 1``) follow the rows of the result; all else is refused with what to write instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.conversion import number
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.operators import combined
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.session_functions import constant
from z4sql.sql.lowering.typed import INT, Typed, named
from z4sql.sql.types import Kind

FIXED: Final = "fixed"
"""Marks a variable that was set before the statement began."""

_REMEDY: Final = (
    "number rows by ROW_NUMBER() OVER (...), add up by SUM(...) OVER (ORDER BY ...), or look at other rows"
    " by LAG() and LEAD()"
)
_SO_FAR: Final = "over (rows between unbounded preceding and current row)"


@dataclass(slots=True, frozen=True)
class Running:
    """A column that is worked out row by row: ``operator`` and the column's own value, from ``start`` on."""

    start: Typed
    operator: str
    step: Typed

    def total(self, column: str) -> Typed:
        """The value in each row, over the name of the column that holds the steps."""
        kinds = {
            Kind.INT: "bigint",
            Kind.UINT: "ubigint",
            Kind.DECIMAL: f"decimal(38,{self.step.type.scale})",
        }
        cast = f"::{kinds[self.step.kind]}" if self.step.kind in kinds else ""
        total = combined(self.start, Typed(f"(sum({column}) {_SO_FAR}){cast}", self.step.type), self.operator)
        # The engine's sum passes over NULL; a variable stays NULL from there on.
        whole = f"count(*) {_SO_FAR} = count({column}) {_SO_FAR}"
        return Typed(f"case when {whole} then {total.sql} end", total.type)


def assigned_columns(query: exp.Expression, count: int) -> list[tuple[int, str]]:
    """Columns of the result, of which there are ``count``, and the variables that they set.

    :raises SqlError: (1235) a column between two stars cannot be told.
    """
    if not isinstance(query, exp.Select):
        return []
    items = query.expressions
    stars = [at for at, item in enumerate(items) if _is_star(item)]
    found = []
    for at, item in enumerate(items):
        for name in _variables(item):
            if stars and stars[0] < at < stars[-1]:
                raise _refused("between two '*' whose columns are not named")
            found.append((at if not stars or at < stars[0] else count - len(items) + at, name))
    return found


def may_assign(lowering: Lowering, query: exp.Select) -> None:
    """Note the variables that ``query``, the outermost one, sets."""
    lowering.outermost = query
    lowering.to_assign = {name for item in query.expressions for name in _variables(item)}


def assigned(lowering: Lowering, query: exp.Select, item: exp.Expression) -> Typed | Running | None:
    """The value of an item of the outermost select list, which sets a variable; None when it sets none.

    :raises SqlError: (1235) it depends on the order in which rows are worked out.
    """
    node = _bare(item)
    if not isinstance(node, exp.PropertyEQ):
        return None
    name, value = variable_name(node.this), node.expression
    if query.args.get("from_") is not None and any(variable_name(each) == name for each in _read(value)):
        if name in lowering.assigned or query.args.get("distinct") is not None:
            raise _refused("twice, or of DISTINCT rows")
        return _running(lowering, name, value)
    inner = assigned(lowering, query, value)
    typed = lowering.expression(value) if inner is None else inner
    if isinstance(typed, Running):
        raise _refused("inside another assignment")
    if typed.kind is Kind.BOOL:
        typed = Typed(f"({typed.sql})::bigint", INT)
    lowering.assigned[name] = lowering.assigned_by[id(node)] = typed
    return typed


def with_running(sql: str, names: Sequence[str], running: dict[int, Running]) -> str:
    """The query ``sql`` with its running columns, over its rows in their order."""
    cells = [
        f"{running[at].total(named(name)).sql} as {named(name)}" if at in running else named(name)
        for at, name in enumerate(names)
    ]
    listed = ", ".join(named(name) for name in names)
    return f"select {', '.join(cells)} from ({sql}) as rows_({listed})"


def variable_name(node: exp.Expression) -> str:
    """The name of a user variable, which has no case."""
    inner = node.this
    return (inner.name if isinstance(inner, exp.Expression) else str(inner)).lower()


@lowers(exp.PropertyEQ, reads="this expression")
def _assignment(lowering: Lowering, node: exp.Expression) -> Typed:
    known = lowering.assigned_by.get(id(node))
    if known is None:
        raise _refused("in this place")
    return known


@lowers(exp.Parameter, reads="this")
def _user_variable(lowering: Lowering, node: exp.Expression) -> Typed:
    name = variable_name(node)
    if not node.meta.get(FIXED):
        if name in lowering.assigned:
            return lowering.assigned[name]
        if name in lowering.to_assign and (len(lowering.scopes) > 1 or lowering.scopes[0].relations):
            raise _refused(f"whose former value is read as well (@{name})")
    return constant(lowering.context.user_variables.get(name))


def _running(lowering: Lowering, name: str, value: exp.Expression) -> Running:
    value = _unwrapped(value)
    start, step = value.args.get("this"), value.args.get("expression")
    operator = "-" if isinstance(value, exp.Sub) else "+"
    if isinstance(value, exp.Add) and not isinstance(start, exp.Parameter):
        start, step = step, start
    if (
        not isinstance(value, (exp.Add, exp.Sub))
        or not isinstance(start, exp.Parameter)
        or not isinstance(step, exp.Expression)
        or isinstance(step, exp.Interval)
        or any(variable_name(each) == name for each in _read(step))
    ):
        raise _refused("by itself, other than by adding to it")
    added = number(lowering.expression(step))
    if added.kind in (Kind.BOOL, Kind.NULL):
        added = Typed(f"({added.sql})::bigint", INT)
    begun = number(constant(lowering.context.user_variables.get(name)))
    return Running(begun, operator, Typed(added.sql, added.type))


def _variables(item: exp.Expression) -> list[str]:
    node, names = _bare(item), []
    while isinstance(node, exp.PropertyEQ):
        names.append(variable_name(node.this))
        node = _unwrapped(node.expression)
    return names


def _bare(item: exp.Expression) -> exp.Expression:
    inner = item.this if isinstance(item, exp.Alias) else item
    assert isinstance(inner, exp.Expression)
    return _unwrapped(inner)


def _unwrapped(node: exp.Expression) -> exp.Expression:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _read(node: exp.Expression) -> list[exp.Parameter]:
    return list(node.find_all(exp.Parameter))


def _is_star(item: exp.Expression) -> bool:
    return isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star))


def _refused(where: str) -> SqlError:
    message = (
        "This version of z4 sets user variables as '@name := expression' in the outermost select list, or by"
        f" SET, and not {where}: {_REMEDY}"
    )
    return SqlError(message, code=1235, state="42000")
