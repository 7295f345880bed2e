"""Aggregates. MySQL manual: Aggregate Functions."""

from __future__ import annotations

from sqlglot import exp

from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.comparison import group_key, order_text
from z4sql.sql.lowering.conversion import as_text, bits_of, number
from z4sql.sql.lowering.expressions import Lowering
from z4sql.sql.lowering.precision import quotient, shown, unrounded
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, NULL, UINT, Typed, decimal, without_literal
from z4sql.sql.lowering.zones import to_local
from z4sql.sql.types import Kind


def argument(lowering: Lowering, node: exp.Expression) -> Typed:
    with lowering.within_aggregate():
        return lowering.expression(node)


@lowers(exp.Count, reads="this expressions big_int")
def _count(lowering: Lowering, node: exp.Expression) -> Typed:
    counted, over = node.this, lowering.taken_over()
    if isinstance(counted, exp.Distinct):
        values = [argument(lowering, each) for each in counted.expressions]
        if len(values) == 1:
            return Typed(f"count(distinct {group_key(values[0])})", INT)
        keys = ", ".join(group_key(value) for value in values)
        present = " and ".join(f"({value.sql}) is not null" for value in values)
        return Typed(f"count(distinct ({keys})) filter (where {present})", INT)
    if counted is None or isinstance(counted, (exp.Star, exp.Literal)):
        return Typed(f"count(*){over}", INT)
    return Typed(f"count({argument(lowering, counted).sql}){over}", INT)


def _numeric(lowering: Lowering, node: exp.Expression) -> tuple[str, Typed]:
    """("distinct " or nothing, the number) of SUM and AVG."""
    word, value = "", node.this
    if isinstance(value, exp.Distinct):
        word, value = "distinct ", value.expressions[0]
    return word, argument(lowering, value)


@lowers(exp.Sum, reads="this")
def _sum(lowering: Lowering, node: exp.Expression) -> Typed:
    over = lowering.taken_over()
    word, value = _numeric(lowering, node)
    if value.kind is Kind.NULL:
        return Typed(f"sum(null::double){over}", DOUBLE)
    converted = number(value)
    if converted.kind is Kind.DOUBLE:
        return Typed(f"sum({word}{converted.sql}){over}", DOUBLE)
    return _summed(word, converted, over)


def _summed(word: str, value: Typed, over: str) -> Typed:
    exact = unrounded(value)
    sql = f"sum({word}{exact.sql}){over}"
    if not value.exact:
        return Typed(sql, decimal(value.type.scale))
    return shown(sql, exact.type.scale, value.type.scale)


@lowers(exp.Avg, reads="this")
def _avg(lowering: Lowering, node: exp.Expression) -> Typed:
    over = lowering.taken_over()
    word, value = _numeric(lowering, node)
    converted = number(value)
    if converted.kind is Kind.DOUBLE or value.kind is Kind.NULL:
        return Typed(f"avg({word}({converted.sql})::double){over}", DOUBLE)
    # MySQL divides the exact sum.
    return quotient(_summed(word, converted, over), Typed(f"count({word}{converted.sql}){over}", INT))


def _extreme(lowering: Lowering, node: exp.Expression, word: str) -> Typed:
    if isinstance(node.this, exp.Distinct):
        node = node.copy()
        node.set("this", node.this.expressions[0])
    over = lowering.taken_over()
    value = argument(lowering, node.this)
    if value.kind is Kind.STRING:
        key = order_text(value)
        sql = f"{word}({value.sql})" if key == value.sql else f"arg_{word}({value.sql},{key})"
        return Typed(sql + over, without_literal(value.type))
    if value.kind is Kind.BOOL:
        return Typed(f"{word}(({value.sql})::bigint){over}", INT)
    if value.kind is Kind.JSON:
        if not value.type.string:
            return Typed(f"arg_{word}({value.sql},my_json_key(({value.sql})::varchar)){over}", value.type)
        text = f"json_extract_string({value.sql},'$')"
        return Typed(f"to_json({word}({text}){over})", value.type)
    if value.kind is Kind.NULL:
        return Typed("null::varchar", NULL)
    if value.stored:
        return at_instant(lowering, value, f"{word}({value.stored}){over}")
    exact = f"{word}({value.exact}){over}" if value.exact else ""
    return Typed(f"{word}({value.sql}){over}", value.type, exact, value.digits)


@lowers(exp.Max, reads="this")
def _max(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "max")


@lowers(exp.Min, reads="this")
def _min(lowering: Lowering, node: exp.Expression) -> Typed:
    return _extreme(lowering, node, "min")


@lowers(exp.AnyValue, reads="this")
def _any_value(lowering: Lowering, node: exp.Expression) -> Typed:
    value = argument(lowering, node.this)
    if value.stored:
        return at_instant(lowering, value, f"any_value({value.stored})")
    return Typed(f"any_value({value.sql})", value.type)


def at_instant(lowering: Lowering, value: Typed, utc: str) -> Typed:
    """One of the instants of ``value``, a TIMESTAMP column."""
    return Typed(to_local(utc, lowering.context.time_zone), value.type, stored=utc)


def _statistic(name: str, *kinds: type[exp.Expression]) -> None:
    @lowers(*kinds, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        over = lowering.taken_over()
        return Typed(f"{name}(({number(argument(lowering, node.this)).sql})::double){over}", DOUBLE)


_statistic("stddev_pop", exp.StddevPop, exp.Stddev)
_statistic("stddev_samp", exp.StddevSamp)
_statistic("var_pop", exp.VariancePop)
_statistic("var_samp", exp.Variance)


def _bits(kind: type[exp.Expression], name: str, empty: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        over = lowering.taken_over()
        value = bits_of(argument(lowering, node.this))
        return Typed(f"coalesce({name}({value}){over},{empty})", UINT)


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
    texts = [as_text(argument(lowering, part)) for part in parts]
    sql = " || ".join(text.sql for text in texts)
    type_ = without_literal(texts[0].type)
    if word:
        sql = group_key(Typed(sql, type_)) if len(texts) == 1 else sql
    order = ""
    if orders:
        keys = [sql if word else order_text(argument(lowering, each.this)) for each in orders]
        order = " order by " + ", ".join(
            key + direction(each) for key, each in zip(keys, orders, strict=True)
        )
    separator = node.args.get("separator")
    between = "','" if separator is None else as_text(lowering.expression(separator)).sql
    return Typed(f"my_cut(string_agg({word}{sql}, {between}{order}),{between})", type_)


def direction(ordered: exp.Expression) -> str:
    """NULL comes first in ascending order, last in descending. MySQL manual: Working with NULL Values."""
    return " desc nulls last" if ordered.args.get("desc") else " asc nulls first"


def order_key(lowering: Lowering, ordered: exp.Expression) -> str:
    return order_text(lowering.expression(ordered.this)) + direction(ordered)


def misuse(name: str) -> SqlError:
    return SqlError(f"Invalid use of group function {name}", code=1111)
