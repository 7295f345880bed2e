"""Numeric functions. MySQL manual: Mathematical Functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from sqlglot import exp

from z4sql.sql.lowering.conversion import as_text, engine_type, integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import unrounded
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import DOUBLE, INT, NUMBERS, TEXT, Typed, decimal, quoted
from z4sql.sql.planner.constants import Null, Number, Text
from z4sql.sql.planner.fold import Folder
from z4sql.sql.types import Kind

DIGITS_MAX = 37
"""Of a whole number of the engine's."""


_DOUBLE_DIGITS = 400
"""More than any double has, before or behind the point."""


def _measured(value: Typed) -> Typed:
    """As a number; instants and times count as doubles where they are rounded."""
    converted = number(value)
    return converted if value.kind in NUMBERS or value.kind is Kind.NULL else Typed(converted.double, DOUBLE)


def _to_places(
    lowering: Lowering, node: exp.Expression, cut: Callable[[Typed, int], str], macro: str
) -> Typed:
    """ROUND and TRUNCATE. ``cut``: an exact number to so many digits; ``macro``: the same of doubles.

    MySQL manual: Mathematical Functions: the result has no more digits behind the point than the argument.
    """
    value, places = _measured(lowering.expression(node.this)), node.args.get("decimals")
    folder = Folder(lowering.context)
    constant = Number(Decimal(0)) if places is None else folder.fold(places)
    if isinstance(constant, Text) and (found := folder.number(constant)) is not None:
        constant = Number(found)
    if isinstance(constant, Null):
        return Typed(f"null::{engine_type(value.type)}", value.type)
    if isinstance(constant, Number):
        most = max(value.type.scale, 0) if value.kind is not Kind.DOUBLE else _DOUBLE_DIGITS
        digits = int(constant.value.to_integral_value(ROUND_HALF_UP))
        digits = max(min(digits, most), -_DOUBLE_DIGITS if value.kind is Kind.DOUBLE else -DIGITS_MAX)
        if value.kind is Kind.DOUBLE:
            return Typed(f"{macro}({value.sql},{digits})", DOUBLE)
        type_ = decimal(digits) if value.kind is Kind.DECIMAL else value.type
        return Typed(f"({cut(value, digits)})::{engine_type(type_)}", type_)
    wanted = integer(lowering.expression(places)) if places is not None else "0"
    if value.kind is Kind.DOUBLE:
        bounded = f"greatest(least({wanted},{_DOUBLE_DIGITS}),-{_DOUBLE_DIGITS})"
        return Typed(f"my_placed({wanted},{macro}({value.sql},{bounded}))", DOUBLE)
    # The engine rounds to a constant number of digits only.
    named, scale = engine_type(value.type), value.type.scale
    cases = " ".join(f"when {at} then ({cut(value, at)})::{named}" for at in range(-DIGITS_MAX, scale))
    rounded = f"case greatest(least({wanted},{scale}),-{DIGITS_MAX}) {cases} else {value.sql} end"
    return Typed(f"my_placed({wanted},{rounded})", value.type)


def _rounded(value: Typed, digits: int) -> str:
    exact = unrounded(value).sql if value.kind is Kind.DECIMAL else f"({value.sql})::decimal(20,0)"
    return f"round({exact},{digits})"


def _cut(value: Typed, digits: int) -> str:
    exact = unrounded(value)
    sql = f"({exact.sql})::decimal(38,{exact.type.scale})"
    if digits >= exact.type.scale:
        return sql
    unit = "1" if digits == 0 else f"0.{'1'.rjust(digits, '0')}"
    # The remainder has the sign of the dividend: taking it away moves towards zero.
    return f"{sql}-{sql}%{unit if digits >= 0 else f'{10**-digits}::decimal({1 - digits},0)'}"


@lowers(exp.Round, reads="this decimals casts_non_integer_decimals")
def _round(lowering: Lowering, node: exp.Expression) -> Typed:
    return _to_places(lowering, node, _rounded, "my_round")


@lowers(exp.Trunc, reads="this decimals fractions_supported")
def _truncate(lowering: Lowering, node: exp.Expression) -> Typed:
    return _to_places(lowering, node, _cut, "my_truncated")


def _to_whole(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        value = _measured(lowering.expression(node.this))
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


@lowers(exp.Exp, exp.Cot, exp.Degrees, reads="this")
def _bounded(lowering: Lowering, node: exp.Expression) -> Typed:
    sql = f"{node.key}({number(lowering.expression(node.this)).double})"
    return Typed(f"my_finite({sql},{quoted(node.sql('mysql').lower())})", DOUBLE)


def _of_double(kind: type[exp.Expression], template: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(template.format(number(lowering.expression(node.this)).double), DOUBLE)


for _kind, _name in (
    (exp.Sin, "sin"),
    (exp.Cos, "cos"),
    (exp.Tan, "tan"),
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


_LOGARITHMS = {"(2::bigint)::double": "log2", "(10::bigint)::double": "log10"}
"""LOG2 and LOG10, which the parser takes for LOG of a base."""


@lowers(exp.Log, reads="this expression")
def _log(lowering: Lowering, node: exp.Expression) -> Typed:
    value = f"({number(lowering.expression(node.this)).sql})::double"
    if node.expression is None:
        return Typed(f"my_ln({value})", DOUBLE)
    named = _LOGARITHMS.get(value)
    if named is not None:
        measured = number(lowering.expression(node.expression)).double
        return Typed(f"my_logarithm({measured},{named}({measured}))", DOUBLE)
    other = f"({number(lowering.expression(node.expression)).sql})::double"
    return Typed(f"my_log({value},{other})", DOUBLE)


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
    return Typed(f"my_conv({_digits(lowering, node)},10,{base})", TEXT)


def _digits(lowering: Lowering, node: exp.Expression) -> str:
    """As text to be read as a number; hexadecimal constants as the numbers that they are."""
    value = lowering.expression(node)
    return as_text(number(value) if value.kind is Kind.BINARY and value.exact else value).sql


@function("CONV", least=3)
def _conv(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    value = _digits(lowering, arguments[0])
    bases = (integer(lowering.expression(base)) for base in arguments[1:])
    return Typed(f"my_conv({value},{','.join(bases)})", TEXT)


@function("FORMAT_BYTES", least=1)
def _format_bytes(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"my_format_bytes({number(lowering.expression(arguments[0])).double})", TEXT)


@function("FORMAT_PICO_TIME", least=1)
def _format_pico_time(lowering: Lowering, arguments: Sequence[exp.Expression]) -> Typed:
    return Typed(f"my_format_pico_time({number(lowering.expression(arguments[0])).double})", TEXT)


@lowers(exp.Rand, reads="this")
def _random(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.this is None:
        lowering.steady = False
        return Typed("random()", DOUBLE)
    if lowering.scopes[-1].relations and Folder(lowering.context).fold(node.this) is not None:
        raise unsupported("RAND(N) of a constant over rows, each of which would be the next of a series")
    return Typed(f"my_seeded({integer(lowering.expression(node.this))})", DOUBLE)
