"""Window functions, and what OVER says. MySQL manual: Window Functions; Named Windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.aggregates import argument, averaged, order_key, summed
from z4sql.sql.lowering.comparison import group_key
from z4sql.sql.lowering.conversion import integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, Type, Typed
from z4sql.sql.types import Kind

_UNNAMED = "<unnamed window>"


def _ranking(kind: type[exp.Expression], name: str, type_: Type) -> None:
    @lowers(kind, reads="")
    def handler(_lowering: Lowering, _node: exp.Expression) -> Typed:
        return Typed(f"{name}()", type_)


_ranking(exp.RowNumber, "row_number", INT)
_ranking(exp.Rank, "rank", INT)
_ranking(exp.DenseRank, "dense_rank", INT)
_ranking(exp.PercentRank, "percent_rank", DOUBLE)
_ranking(exp.CumeDist, "cume_dist", DOUBLE)


@lowers(exp.Ntile, reads="this")
def _ntile(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"ntile({integer(lowering.expression(node.this))})", INT)


def _at_edge(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = lowering.expression(node.this)
        return Typed(f"{name}({value.sql})", value.type)


_at_edge(exp.FirstValue, "first_value")
_at_edge(exp.LastValue, "last_value")


@lowers(exp.NthValue, reads="this offset")
def _nth_value(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    return Typed(f"nth_value({value.sql},{integer(lowering.expression(node.args['offset']))})", value.type)


def _neighbour(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this offset default")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = lowering.expression(node.this)
        arguments = [value.sql]
        offset, default = node.args.get("offset"), node.args.get("default")
        if offset is not None or default is not None:
            arguments.append("1" if offset is None else integer(lowering.expression(offset)))
        if default is not None:
            arguments.append(lowering.expression(default).sql)
        return Typed(f"{name}({', '.join(arguments)})", value.type)


_neighbour(exp.Lag, "lag")
_neighbour(exp.Lead, "lead")


@lowers(exp.Window, reads="this partition_by order spec alias over first")
def _window(lowering: Lowering, node: exp.Expression) -> Typed:
    function, over = node.this, f"({window_specification(lowering, node)})"
    if isinstance(function, exp.Avg) and not isinstance(function.this, exp.Distinct):
        converted = number(argument(lowering, function.this))
        if converted.kind is not Kind.DOUBLE:
            # The division stands outside: only the aggregates themselves may be windowed.
            return averaged("", converted, f" over {over}")
    if isinstance(function, exp.Sum) and not isinstance(function.this, exp.Distinct):
        converted = number(argument(lowering, function.this))
        if converted.kind is not Kind.DOUBLE:
            return summed("", converted, f" over {over}")
    value = lowering.expression(function)
    return Typed(f"({value.sql} over {over})", value.type)


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
    if window.partition:
        keys = [group_key(lowering.expression(each)) for each in window.partition]
        parts.append("partition by " + ", ".join(keys))
    if window.order is not None:
        parts.append("order by " + ", ".join(order_key(lowering, each) for each in window.order.expressions))
    if window.frame is not None:
        parts.append(_frame(window.frame))
    return " ".join(parts)


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
    name = node.name if isinstance(node.this, exp.Identifier) else _UNNAMED
    if own.partition:
        raise SqlError("A window which depends on another cannot define partitioning.", code=3581)
    if inherited.frame is not None:
        message = f"Window '{base.name}' has a frame definition, so cannot be referenced by another window."
        raise SqlError(message, code=3582)
    if own.order is not None and inherited.order is not None:
        message = f"Window '{name}' cannot inherit '{base.name}' since both contain an ORDER BY clause."
        raise SqlError(message, code=3583)
    return _Window(inherited.partition, own.order or inherited.order, own.frame)


def _frame(frame: exp.Expression) -> str:
    def bound(value: object, side: object) -> str:
        text = value if isinstance(value, str) else str(getattr(value, "this", value))
        if text not in ("UNBOUNDED", "CURRENT ROW") and not text.isdecimal():
            raise unsupported("a window frame of this kind")
        return f"{text} {side or ''}".strip()

    kind = str(frame.args.get("kind") or "").upper()
    if kind not in ("ROWS", "RANGE") or frame.args.get("exclude"):
        raise unsupported("a window frame of this kind")
    start = bound(frame.args.get("start"), frame.args.get("start_side"))
    end = frame.args.get("end")
    if end is None:
        return f"{kind} {start}"
    return f"{kind} between {start} and {bound(end, frame.args.get('end_side'))}"
