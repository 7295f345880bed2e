"""Numeric functions. MySQL manual: Mathematical Functions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.lowering.conversion import as_text, integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, TEXT, Typed, decimal
from z4sql.sql.types import Kind


def _constant(node: exp.Expression | None, default: int = 0) -> int:
    if node is None:
        return default
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if not isinstance(literal, exp.Literal) or not str(literal.this).isdecimal():
        raise unsupported("a number of decimals that is no constant")
    return -int(str(literal.this)) if negative else int(str(literal.this))


@lowers(exp.Round, reads="this decimals truncate casts_non_integer_decimals")
def _round(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.args.get("truncate"):
        raise unsupported("ROUND with truncation")
    value, decimals = number(lowering.expression(node.this)), _constant(node.args.get("decimals"))
    sql = f"round({value.sql},{decimals})"
    if value.kind is Kind.DECIMAL:
        scale = min(max(decimals, 0), value.type.scale)
        return Typed(f"{sql}::decimal(38,{scale})", decimal(scale))
    return Typed(sql, DOUBLE if value.kind is Kind.DOUBLE else value.type)


@lowers(exp.Trunc, reads="this decimals fractions_supported")
def _truncate(lowering: Lowering, node: exp.Expression) -> Typed:
    value, decimals = number(lowering.expression(node.this)), _constant(node.args.get("decimals"))
    if value.kind is Kind.DOUBLE:
        return Typed(f"(trunc(({value.sql})*power(10,{decimals}))/power(10,{decimals}))", DOUBLE)
    scale = min(max(decimals, 0), value.type.scale)
    moved = f"(trunc(({value.sql})*power(10,{decimals}))/power(10,{decimals}))"
    if value.kind is Kind.DECIMAL:
        return Typed(f"{moved}::decimal(38,{scale})", decimal(scale))
    return Typed(f"{moved}::bigint", INT)


def _to_whole(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = number(lowering.expression(node.this))
        if value.kind is Kind.DOUBLE:
            return Typed(f"{name}({value.sql})", DOUBLE)
        return Typed(f"{name}({value.sql})::bigint", INT)


_to_whole(exp.Ceil, "ceil")
_to_whole(exp.Floor, "floor")


@lowers(exp.Abs, reads="this")
def _abs(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    return Typed(f"abs({value.sql})", value.type)


@lowers(exp.Sign, reads="this")
def _sign(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"sign({number(lowering.expression(node.this)).sql})::bigint", INT)


@lowers(exp.Pow, reads="this expression")
def _power(lowering: Lowering, node: exp.Expression) -> Typed:
    base, exponent = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    return Typed(f"pow(({base.sql})::double,({exponent.sql})::double)", DOUBLE)


def _of_double(kind: type[exp.Expression], template: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = f"({number(lowering.expression(node.this)).sql})::double"
        return Typed(template.format(value), DOUBLE)


_of_double(exp.Sqrt, "(case when {0}>=0 then sqrt({0}) end)")
_of_double(exp.Exp, "exp({0})")
_of_double(exp.Ln, "(case when {0}>0 then ln({0}) end)")


@lowers(exp.Log, reads="this expression")
def _log(lowering: Lowering, node: exp.Expression) -> Typed:
    value = f"({number(lowering.expression(node.this)).sql})::double"
    if node.expression is None:
        return Typed(f"(case when {value}>0 then ln({value}) end)", DOUBLE)
    other = f"({number(lowering.expression(node.expression)).sql})::double"
    return Typed(f"(case when {value}>0 and {other}>0 then ln({other})/ln({value}) end)", DOUBLE)


@function("LOG2", "LOG10", least=1)
def _log_base(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    raise unsupported("LOG2 and LOG10")


@lowers(exp.Pi, reads="")
def _pi(_lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed("round(pi(),6)", DOUBLE)


@function("BIN", least=1)
def _bin(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"bin({integer(lowering.expression(arguments[0]))})", TEXT)


@function("OCT", least=1)
def _oct(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"format('{{:o}}',({integer(lowering.expression(arguments[0]))})::bigint)", TEXT)


@function("CONV", least=3)
def _conv(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = as_text(lowering.expression(arguments[0])).sql
    return Typed(f"my_conv({value},{_constant(arguments[1])},{_constant(arguments[2])})", TEXT)
