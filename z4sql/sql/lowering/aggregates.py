"""Aggregates and window functions. MySQL manual: Aggregate Functions; Window Functions."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.comparison import group_key
from z4sql.sql.lowering.conversion import as_text, bits_of, integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import quotient, shown, unrounded
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, NULL, UINT, Type, Typed, decimal, named, without_literal
from z4sql.sql.types import Kind


def _argument(lowering: Lowering, node: exp.Expression) -> Typed:
    with lowering.within_aggregate():
        return lowering.expression(node)


@lowers(exp.Count, reads="this expressions big_int")
def _count(lowering: Lowering, node: exp.Expression) -> Typed:
    counted = node.this
    if isinstance(counted, exp.Distinct):
        values = [_argument(lowering, each) for each in counted.expressions]
        if len(values) == 1:
            return Typed(f"count(distinct {group_key(values[0])})", INT)
        keys = ", ".join(group_key(value) for value in values)
        present = " and ".join(f"({value.sql}) is not null" for value in values)
        return Typed(f"count(distinct ({keys})) filter (where {present})", INT)
    if counted is None or isinstance(counted, (exp.Star, exp.Literal)):
        return Typed("count(*)", INT)
    return Typed(f"count({_argument(lowering, counted).sql})", INT)


def _numeric(lowering: Lowering, node: exp.Expression) -> tuple[str, Typed]:
    """("distinct " or nothing, the number) of SUM and AVG."""
    word, value = "", node.this
    if isinstance(value, exp.Distinct):
        word, value = "distinct ", value.expressions[0]
    return word, _argument(lowering, value)


@lowers(exp.Sum, reads="this")
def _sum(lowering: Lowering, node: exp.Expression) -> Typed:
    word, value = _numeric(lowering, node)
    if value.kind is Kind.NULL:
        return Typed("sum(null::double)", DOUBLE)
    converted = number(value)
    if converted.kind is Kind.DOUBLE:
        return Typed(f"sum({word}{converted.sql})", DOUBLE)
    return _summed(word, converted)


def _summed(word: str, value: Typed, over: str = "") -> Typed:
    exact = unrounded(value)
    sql = f"sum({word}{exact.sql}){over}"
    if not value.exact:
        return Typed(sql, decimal(value.type.scale))
    return shown(sql, exact.type.scale, value.type.scale)


def _averaged(word: str, value: Typed, over: str = "") -> Typed:
    """MySQL divides the exact sum."""
    return quotient(_summed(word, value, over), Typed(f"count({word}{value.sql}){over}", INT))


@lowers(exp.Avg, reads="this")
def _avg(lowering: Lowering, node: exp.Expression) -> Typed:
    word, value = _numeric(lowering, node)
    converted = number(value)
    if converted.kind is Kind.DOUBLE or value.kind is Kind.NULL:
        return Typed(f"avg({word}({converted.sql})::double)", DOUBLE)
    return _averaged(word, converted)


def _extreme(lowering: Lowering, node: exp.Expression, word: str) -> Typed:
    if isinstance(node.this, exp.Distinct):
        node = node.copy()
        node.set("this", node.this.expressions[0])
    value = _argument(lowering, node.this)
    if value.kind is Kind.STRING:
        key = group_key(value)
        sql = f"{word}({value.sql})" if key == value.sql else f"arg_{word}({value.sql},{key})"
        return Typed(sql, without_literal(value.type))
    if value.kind is Kind.BOOL:
        return Typed(f"{word}(({value.sql})::bigint)", INT)
    if value.kind is Kind.JSON:
        if not value.type.string:
            raise unsupported("MIN and MAX of JSON")
        text = f"json_extract_string({value.sql},'$')"
        return Typed(f"to_json({word}({text}))", value.type)
    if value.kind is Kind.NULL:
        return Typed("null::varchar", NULL)
    exact = f"{word}({value.exact})" if value.exact else ""
    return Typed(f"{word}({value.sql})", value.type, exact, value.digits)


@lowers(exp.Max, reads="this")
def _max(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "max")


@lowers(exp.Min, reads="this")
def _min(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "min")


@lowers(exp.AnyValue, reads="this")
def _any_value(lowering: Lowering, node: exp.Expression) -> Typed:
    value = _argument(lowering, node.this)
    return Typed(f"any_value({value.sql})", value.type)


def _statistic(name: str, *kinds: type[exp.Expression]) -> None:
    @lowers(*kinds, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(f"{name}(({number(_argument(lowering, node.this)).sql})::double)", DOUBLE)


_statistic("stddev_pop", exp.StddevPop, exp.Stddev)
_statistic("stddev_samp", exp.StddevSamp)
_statistic("var_pop", exp.VariancePop)
_statistic("var_samp", exp.Variance)


def _bits(kind: type[exp.Expression], name: str, empty: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = bits_of(_argument(lowering, node.this))
        return Typed(f"coalesce({name}({value}),{empty})", UINT)


_bits(exp.BitwiseOrAgg, "bit_or", "0::ubigint")
_bits(exp.BitwiseXorAgg, "bit_xor", "0::ubigint")
_bits(exp.BitwiseAndAgg, "bit_and", "18446744073709551615::ubigint")


@lowers(exp.GroupConcat, reads="this separator")
def _group_concat(lowering: Lowering, node: exp.Expression) -> Typed:
    value, orders = node.this, []
    if isinstance(value, exp.Order):
        orders, value = value.expressions, value.this
    word, parts = "", [value]
    if isinstance(value, exp.Distinct):
        word, parts = "distinct ", value.expressions
    texts = [as_text(_argument(lowering, part)) for part in parts]
    sql = " || ".join(text.sql for text in texts)
    type_ = without_literal(texts[0].type)
    if word:
        sql = group_key(Typed(sql, type_)) if len(texts) == 1 else sql
    order = ""
    if orders:
        keys = [sql if word else group_key(_argument(lowering, each.this)) for each in orders]
        order = " order by " + ", ".join(
            key + direction(each) for key, each in zip(keys, orders, strict=True)
        )
    separator = node.args.get("separator")
    between = "','" if separator is None else as_text(lowering.expression(separator)).sql
    return Typed(f"string_agg({word}{sql}, {between}{order})", type_)


def direction(ordered: exp.Expression) -> str:
    """NULL comes first in ascending order, last in descending. MySQL manual: Working with NULL Values."""
    return " desc nulls last" if ordered.args.get("desc") else " asc nulls first"


def order_key(lowering: Lowering, ordered: exp.Expression) -> str:
    return group_key(lowering.expression(ordered.this)) + direction(ordered)


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
    function = node.this
    alias = node.args.get("alias")
    plain = not node.args.get("partition_by") and node.args.get("order") is None
    if alias is not None and plain and node.args.get("spec") is None:
        over = named(alias.name)
    else:
        over = f"({window_specification(lowering, node)})"
    if isinstance(function, exp.Avg) and not isinstance(function.this, exp.Distinct):
        converted = number(_argument(lowering, function.this))
        if converted.kind is not Kind.DOUBLE:
            # The division stands outside: only the aggregates themselves may be windowed.
            return _averaged("", converted, f" over {over}")
    if isinstance(function, exp.Sum) and not isinstance(function.this, exp.Distinct):
        converted = number(_argument(lowering, function.this))
        if converted.kind is not Kind.DOUBLE:
            return _summed("", converted, f" over {over}")
    value = lowering.expression(function)
    return Typed(f"({value.sql} over {over})", value.type)


def window_specification(lowering: Lowering, node: exp.Expression) -> str:
    parts = []
    if node.args.get("partition_by"):
        keys = [group_key(lowering.expression(each)) for each in node.args["partition_by"]]
        parts.append("partition by " + ", ".join(keys))
    order = node.args.get("order")
    if order is not None:
        parts.append("order by " + ", ".join(order_key(lowering, each) for each in order.expressions))
    frame = node.args.get("spec")
    if frame is not None:
        parts.append(_frame(frame))
    return " ".join(parts)


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


def misuse(name: str) -> SqlError:
    return SqlError(f"Invalid use of group function {name}", code=1111)
