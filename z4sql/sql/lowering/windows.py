"""Window functions, and what OVER says. MySQL manual: Window Functions; Named Windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.aggregates import order_key
from z4sql.sql.lowering.comparison import group_key
from z4sql.sql.lowering.conversion import convert, integer, unify
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.frames import frame_text
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, Type, Typed

_UNNAMED = "<unnamed window>"


_CLAUSES = frozenset({"field list", "order clause"})
"""Where a window function may stand."""


def _ranking(kind: type[exp.Expression], name: str, type_: Type) -> None:
    @lowers(kind, reads="")
    def handler(lowering: Lowering, _node: exp.Expression) -> Typed:
        return Typed(f"{name}(){lowering.taken_over()}", type_)


_ranking(exp.RowNumber, "row_number", INT)
_ranking(exp.Rank, "rank", INT)
_ranking(exp.DenseRank, "dense_rank", INT)
_ranking(exp.PercentRank, "percent_rank", DOUBLE)
_ranking(exp.CumeDist, "cume_dist", DOUBLE)


def _count(lowering: Lowering, node: exp.Expression, name: str, least: int) -> str:
    """How many rows: a whole constant. :raises SqlError: it is none, or too small (1210)"""
    is_variable = isinstance(node, (exp.Parameter, exp.SessionParameter))
    if not is_variable and not (isinstance(node, exp.Literal) and node.is_int and int(node.this) >= least):
        raise SqlError(f"Incorrect arguments to {name}", code=1210)
    return integer(lowering.expression(node))


@lowers(exp.Ntile, reads="this")
def _ntile(lowering: Lowering, node: exp.Expression) -> Typed:
    over = lowering.taken_over()
    return Typed(f"ntile({_count(lowering, node.this, 'ntile', 1)}){over}", INT)


def _at_edge(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        over = lowering.taken_over()
        value = lowering.expression(node.this)
        return Typed(f"{name}({value.sql}){over}", value.type)


_at_edge(exp.FirstValue, "first_value")
_at_edge(exp.LastValue, "last_value")


@lowers(exp.NthValue, reads="this offset")
def _nth_value(lowering: Lowering, node: exp.Expression) -> Typed:
    over = lowering.taken_over()
    value, row = lowering.expression(node.this), _count(lowering, node.args["offset"], "nth_value", 1)
    return Typed(f"nth_value({value.sql},{row}){over}", value.type)


def _neighbour(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this offset default")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        over = lowering.taken_over()
        value = lowering.expression(node.this)
        arguments = [value.sql]
        offset, default = node.args.get("offset"), node.args.get("default")
        if offset is not None or default is not None:
            arguments.append("1" if offset is None else _count(lowering, offset, name, 0))
        type_ = value.type
        if default is not None:
            other = lowering.expression(default)
            type_ = unify([value.type, other.type])
            arguments = [convert(value, type_), arguments[1], convert(other, type_)]
        return Typed(f"{name}({', '.join(arguments)}){over}", type_)


_neighbour(exp.Lag, "lag")
_neighbour(exp.Lead, "lead")


@lowers(exp.Window, reads="this partition_by order spec alias over first")
def _window(lowering: Lowering, node: exp.Expression) -> Typed:
    function = node.this
    name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
    _require_allowed(lowering, name.lower())
    if isinstance(function.this, exp.Distinct):
        raise unsupported("<window function>(DISTINCT ..)")
    lowering.over = f" over ({window_specification(lowering, node)})"
    with lowering.within_window():
        value = lowering.expression(function)
    if lowering.taken_over():
        raise unsupported(f"{name.lower()} as window function")
    return value._replace(sql=f"({value.sql})")


def _require_allowed(lowering: Lowering, name: str) -> None:
    """:raises SqlError: no window function may stand here (3593), or none inside of a window (3595)"""
    if not lowering.in_window or lowering.in_aggregate:
        if lowering.clause in _CLAUSES and lowering.in_window is None and not lowering.in_aggregate:
            return
        raise SqlError(f"You cannot use the window function '{name}' in this context.'", code=3593)
    message = f"You cannot nest a window function in the specification of window '{lowering.in_window}'."
    raise SqlError(message, code=3595)


@dataclass(slots=True, frozen=True)
class _Window:
    partition: Sequence[exp.Expression] = ()
    order: exp.Expression | None = None
    frame: exp.Expression | None = None


def defined_windows(query: exp.Select) -> dict[str, exp.Expression]:
    """The WINDOW clause, by name in lower case. :raises SqlError: a name defined twice (3591)"""
    defined: dict[str, exp.Expression] = {}
    for each in query.args.get("windows") or []:
        if each.name.lower() in defined:
            raise SqlError(f"Window '{each.name}' is defined twice.", code=3591)
        defined[each.name.lower()] = each
    return defined


def window_specification(lowering: Lowering, node: exp.Expression) -> str:
    """The text between the parentheses of OVER.

    :raises SqlError: no such window (3579), one behind itself (3580), or one that adds too much (3581-3583).
    """
    window = _resolved(node, lowering.scopes[-1].windows if lowering.scopes else {}, ())
    parts = []
    clause = lowering.clause
    with lowering.within_window(_name(node)):
        _check_positions(_name(node), window)
        lowering.clause = "window partition by"
        if window.partition:
            parted = [group_key(lowering.expression(each)) for each in window.partition]
            parts.append("partition by " + ", ".join(parted))
        lowering.clause = "window order by"
        ordered = [] if window.order is None else window.order.expressions
        if ordered:
            parts.append("order by " + ", ".join(order_key(lowering, each) for each in ordered))
        if window.frame is not None:
            keys = [lowering.expression(each.this) for each in ordered]
            parts.append(frame_text(lowering, _name(node), window.frame, keys))
    lowering.clause = clause
    return " ".join(parts)


def _check_positions(name: str, window: _Window) -> None:
    """:raises SqlError: numbers that GROUP BY takes for places of the select list (3592)"""
    keys = [each.this for each in window.order.expressions] if window.order is not None else []
    if any(isinstance(each, exp.Literal) and each.is_int for each in (*window.partition, *keys)):
        message = f"Window '{name}': ORDER BY or PARTITION BY uses legacy position indication which is not"
        raise SqlError(f"{message} supported, use expression.", code=3592)


def _name(node: exp.Expression) -> str:
    """Of a window, as errors show it."""
    if isinstance(node.this, exp.Identifier):
        return node.name
    own = any(node.args.get(part) for part in ("partition_by", "order", "spec"))
    alias = node.args.get("alias")
    return _UNNAMED if alias is None or own else str(alias.name)


def _resolved(
    node: exp.Expression, defined: Mapping[str, exp.Expression], behind: tuple[str, ...]
) -> _Window:
    own = _Window(node.args.get("partition_by") or (), node.args.get("order"), node.args.get("spec"))
    alias = node.args.get("alias")
    if alias is None:
        return own
    base = defined.get(alias.name.lower())
    if base is None:
        raise SqlError(f"Window name '{alias.name}' is not defined.", code=3579)
    if alias.name.lower() in behind:
        raise SqlError("There is a circularity in the window dependency graph.", code=3580)
    inherited = _resolved(base, defined, (*behind, alias.name.lower()))
    if own == _Window():
        return inherited
    name = _name(node)
    if own.partition:
        raise SqlError("A window which depends on another cannot define partitioning.", code=3581)
    if inherited.frame is not None:
        message = f"Window '{base.name}' has a frame definition, so cannot be referenced by another window."
        raise SqlError(message, code=3582)
    if own.order is not None and inherited.order is not None:
        message = f"Window '{name}' cannot inherit '{base.name}' since both contain an ORDER BY clause."
        raise SqlError(message, code=3583)
    return _Window(inherited.partition, own.order or inherited.order, own.frame)
