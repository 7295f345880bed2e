"""Numeric functions. MySQL manual: Mathematical Functions."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from z4sql.sql.lowering.conversion import as_text, engine_type, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, SCALE_MAX, TEXT, Typed, decimal, quoted
from z4sql.sql.types import Kind

DIGITS_MAX = 37
"""Of a whole number of the engine's."""


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
    decimals = max(min(decimals, SCALE_MAX), -DIGITS_MAX)
    if value.kind is Kind.DECIMAL:
        scale = max(decimals, 0)
        return Typed(f"round({unrounded(value).sql},{decimals})::decimal(38,{scale})", decimal(scale))
    if value.kind is Kind.DOUBLE:
        return Typed(f"my_round({value.sql},{decimals})", DOUBLE)
    type_ = engine_type(value.type)
    return Typed(f"round(({value.sql})::decimal(20,0),{min(decimals, 0)})::{type_}", value.type)


@lowers(exp.Trunc, reads="this decimals fractions_supported")
def _truncate(lowering: Lowering, node: exp.Expression) -> Typed:
    value, decimals = number(lowering.expression(node.this)), _constant(node.args.get("decimals"))
    decimals = max(min(decimals, SCALE_MAX), -DIGITS_MAX)
    if value.kind is Kind.DOUBLE:
        return Typed(f"(trunc(({value.sql})*power(10,{decimals}))/power(10,{decimals}))", DOUBLE)
    exact = unrounded(value)
    sql = f"({exact.sql})::decimal(38,{exact.type.scale})"
    unit = "1" if decimals <= 0 else f"0.{'1'.rjust(decimals, '0')}"
    if decimals < exact.type.scale:
        # The remainder has the sign of the dividend: taking it away moves towards zero.
        sql = f"({sql}-{sql}%{unit if decimals >= 0 else f'{10**-decimals}::decimal({1 - decimals},0)'})"
    if value.kind is Kind.DECIMAL:
        scale = max(decimals, 0)
        return Typed(f"({sql})::decimal(38,{scale})", decimal(scale))
    return Typed(f"({sql})::{engine_type(value.type)}", value.type)


def _to_whole(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = number(lowering.expression(node.this))
        if value.kind is Kind.DOUBLE:
            return Typed(f"{name}({value.sql})", DOUBLE)
        if value.kind is Kind.DECIMAL:
            return Typed(f"{name}({unrounded(value).sql})", decimal(0))
        return value


_to_whole(exp.Ceil, "ceil")
_to_whole(exp.Floor, "floor")


@lowers(exp.Abs, reads="this")
def _abs(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    return Typed(f"abs({value.sql})", value.type, value.exact and f"abs({value.exact})", value.digits)


@lowers(exp.Sign, reads="this")
def _sign(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"sign({number(lowering.expression(node.this)).sql})::bigint", INT)


@lowers(exp.Pow, reads="this expression")
def _power(lowering: Lowering, node: exp.Expression) -> Typed:
    base, exponent = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    sql = f"pow({base.double},{exponent.double})"
    shown = f"pow({node.this.sql('mysql')},{node.expression.sql('mysql')})"
    return Typed(f"my_finite({sql},{quoted(shown)})", DOUBLE)


@lowers(exp.Exp, reads="this")
def _exponential(lowering: Lowering, node: exp.Expression) -> Typed:
    sql = f"exp({number(lowering.expression(node.this)).double})"
    return Typed(f"my_finite({sql},{quoted(node.sql('mysql').lower())})", DOUBLE)


def _of_double(kind: type[exp.Expression], template: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(template.format(number(lowering.expression(node.this)).double), DOUBLE)


for _kind, _name in (
    (exp.Sin, "sin"),
    (exp.Cos, "cos"),
    (exp.Tan, "tan"),
    (exp.Cot, "cot"),
    (exp.Degrees, "degrees"),
    (exp.Radians, "radians"),
):
    _of_double(_kind, f"{_name}({{0}})")


@lowers(exp.Atan, exp.Atan2, reads="this expression")
def _arc_tangent(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this)).double
    if node.expression is None:
        return Typed(f"atan({value})", DOUBLE)
    return Typed(f"atan2({value},{number(lowering.expression(node.expression)).double})", DOUBLE)


_of_double(exp.Acos, "(case when abs({0})<=1 then acos({0}) end)")
_of_double(exp.Asin, "(case when abs({0})<=1 then asin({0}) end)")
_of_double(exp.Sqrt, "(case when {0}>=0 then sqrt({0}) end)")
_of_double(exp.Ln, "my_ln({0})")


@lowers(exp.Log, reads="this expression")
def _log(lowering: Lowering, node: exp.Expression) -> Typed:
    value = f"({number(lowering.expression(node.this)).sql})::double"
    if node.expression is None:
        return Typed(f"my_ln({value})", DOUBLE)
    other = f"({number(lowering.expression(node.expression)).sql})::double"
    return Typed(f"(my_ln({other})/my_ln({value}))", DOUBLE)


@function("LOG2", "LOG10", least=1)
def _log_base(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    raise unsupported("LOG2 and LOG10")


@lowers(exp.Pi, reads="")
def _pi(_lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed("round(pi(),6)", DOUBLE, exact="pi()")


@function("BIN", least=1)
def _bin(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return _converted(lowering, arguments[0], 2)


@function("OCT", least=1)
def _oct(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return _converted(lowering, arguments[0], 8)


def _converted(lowering: Lowering, node: exp.Expression, base: int) -> Typed:
    return Typed(f"my_conv({as_text(lowering.expression(node)).sql},10,{base})", TEXT)


@function("CONV", least=3)
def _conv(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = as_text(lowering.expression(arguments[0])).sql
    return Typed(f"my_conv({value},{_constant(arguments[1])},{_constant(arguments[2])})", TEXT)


@lowers(exp.Rand, reads="")
def _random(lowering: Lowering, _node: exp.Expression) -> Typed:
    lowering.steady = False
    return Typed("random()", DOUBLE)
