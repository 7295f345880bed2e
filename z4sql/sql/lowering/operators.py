"""Constants, arithmetic, bits and logic. MySQL manual: Operators; Precision Math."""

from __future__ import annotations

import re

from sqlglot import exp

from z4sql.sql.introducers import introduced
from z4sql.sql.lowering.conversion import bits_of, number, truth, unify
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.precision import divisor, quotient, shown, unrounded
from z4sql.sql.lowering.registry import lowers
from z4sql.sql.lowering.typed import (
    BINARY,
    BOOL,
    DOUBLE,
    INT,
    NULL,
    SCALE_MAX,
    TEXT_LITERAL,
    UINT,
    Typed,
    balanced,
    decimal,
    quoted,
)
from z4sql.sql.types import Kind

_UINT_MAX = 2**64 - 1
_INT_MAX = 2**63 - 1
_UNIX_TIME = re.compile(
    r"\(*\(epoch_us\((.*)\)::decimal\(24,0\)\*0\.000001::decimal\(7,6\)\)::decimal\(20,6\)\)*"
)
_WHOLE = re.compile(r"\(*(\d+)::bigint\)*")


@lowers(exp.Literal, reads="this is_string")
def _literal(_lowering: Lowering, node: exp.Expression) -> Typed:
    text = str(node.this)
    if node.args["is_string"]:
        return Typed(quoted(text), TEXT_LITERAL)
    if re.fullmatch(r"\d+", text):
        value = int(text)
        # Left to itself the engine takes a small constant for 32 bits, and overflows.
        if value > _UINT_MAX:
            return Typed(f"{text}::decimal(38,0)", decimal(0))
        return Typed(f"{text}::ubigint", UINT) if value > _INT_MAX else Typed(f"{text}::bigint", INT)
    if "e" in text.lower():
        return Typed(f"{text}::double", DOUBLE)
    digits = text.partition(".")[2]
    return Typed(text, decimal(len(digits)))


@lowers(exp.HexString, reads="this is_integer")
def _hex_string(_lowering: Lowering, node: exp.Expression) -> Typed:
    digits = str(node.this)
    if not re.fullmatch(r"[0-9A-Fa-f]*", digits):
        raise unsupported("hexadecimal constant")
    return _bytes(digits if len(digits) % 2 == 0 else "0" + digits)


def _bytes(digits: str) -> Typed:
    """Bytes that count as a number where one is wanted. MySQL manual: Hexadecimal Literals."""
    value = int(digits or "0", 16)
    return Typed(f"unhex('{digits}')", BINARY, exact=f"{value}::ubigint" if value <= _UINT_MAX else "")


@lowers(exp.National, reads="this")
def _national(_lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(quoted(str(node.this)), TEXT_LITERAL)


@lowers(exp.Introducer, reads="this expression")
def _introducer(_lowering: Lowering, node: exp.Expression) -> Typed:
    constant = introduced(node)
    return _bytes(constant.hex()) if isinstance(constant, bytes) else Typed(quoted(constant), TEXT_LITERAL)


@lowers(exp.BitString, reads="this")
def _bit_string(_lowering: Lowering, node: exp.Expression) -> Typed:
    bits = str(node.this)
    if not re.fullmatch("[01]*", bits):
        raise unsupported("bit constant")
    size = (len(bits) + 7) // 8
    return _bytes(f"{int(bits, 2):0{2 * size}x}" if bits else "")


@lowers(exp.Null, reads="")
def _null(_lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed("null", NULL)


@lowers(exp.Boolean, reads="this")
def _boolean(_lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed("1::bigint" if node.this else "0::bigint", INT)


def _arithmetic(lowering: Lowering, node: exp.Expression, operator: str) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    return combined(left, right, operator)


def combined(left: Typed, right: Typed, operator: str) -> Typed:
    """Two numbers by ``+``, ``-`` or ``*``."""
    kinds = {left.kind, right.kind}
    if Kind.DOUBLE in kinds:
        return Typed(f"({left.double} {operator} {right.double})", DOUBLE)
    if Kind.DECIMAL in kinds:
        return _exact(left, right, operator)
    sql = f"(({left.sql}) {operator} ({right.sql}))"
    return Typed(f"{sql}::ubigint", UINT) if Kind.UINT in kinds else Typed(sql, INT)


def _exact(left: Typed, right: Typed, operator: str) -> Typed:
    one, other = unrounded(left), unrounded(right)
    if operator == "*":
        scale = min(left.type.scale + right.type.scale, SCALE_MAX)
        digits = one.type.scale + other.type.scale
    else:
        scale, digits = max(left.type.scale, right.type.scale), max(one.type.scale, other.type.scale)
    sql = f"(({one.sql}) {operator} ({other.sql}))"
    return shown(sql, digits, scale) if left.exact or right.exact else Typed(sql, decimal(scale))


@lowers(exp.Add, reads="this expression")
def _add(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.intervals import shift

    if isinstance(node.this, exp.Interval) and isinstance(node.expression, exp.Interval):
        # Behind one interval the parser takes a text for another.
        left, right = node.this, node.expression
        moved, by = (right, left) if right.args.get("unit") is None else (left, right)
        return shift(lowering, moved.this, by.this, by.args.get("unit"), 1)
    if isinstance(node.expression, exp.Interval):
        return shift(lowering, node.this, node.expression.this, node.expression.args.get("unit"), 1)
    if isinstance(node.this, exp.Interval):
        return shift(lowering, node.expression, node.this.this, node.this.args.get("unit"), 1)
    return _arithmetic(lowering, node, "+")


@lowers(exp.Interval, reads="this")
def _interval(lowering: Lowering, node: exp.Expression) -> Typed:
    """MySQL manual: INTERVAL(N, N1, N2, ...), how many of the bounds are not above N."""
    if not isinstance(node.this, exp.Tuple) or len(node.this.expressions) < 2:
        raise unsupported("interval in this place")
    value, *bounds = (number(lowering.expression(each)).double for each in node.this.expressions)
    below = " ".join(f"when {value} < {bound} then {at}" for at, bound in enumerate(bounds))
    return Typed(f"(case when {value} is null then -1 {below} else {len(bounds)} end)::bigint", INT)


@lowers(exp.Sub, reads="this expression")
def _subtract(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.intervals import shift

    if isinstance(node.expression, exp.Interval):
        return shift(lowering, node.this, node.expression.this, node.expression.args.get("unit"), -1)
    return _arithmetic(lowering, node, "-")


@lowers(exp.Mul, reads="this expression")
def _multiply(lowering: Lowering, node: exp.Expression) -> Typed:
    return _arithmetic(lowering, node, "*")


@lowers(exp.Neg, reads="this")
def _negate(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    if value.kind is Kind.UINT:
        if value.sql == f"{_INT_MAX + 1}::ubigint":
            return Typed(f"(-{_INT_MAX + 1})::bigint", INT)
        exact = isinstance(node.this.unnest(), exp.Literal)
        return Typed(
            f"(-({value.sql})::decimal(20,0))" + ("" if exact else "::bigint"), decimal(0) if exact else INT
        )
    return Typed(f"(-({value.sql}))", value.type, f"(-{value.exact})" if value.exact else "", value.digits)


def _warns(lowering: Lowering) -> bool:
    """Whether a division by zero is worth a warning. MySQL manual: ERROR_FOR_DIVISION_BY_ZERO."""
    return "ERROR_FOR_DIVISION_BY_ZERO" in lowering.context.sql_mode


@lowers(exp.Div, reads="this expression typed safe")
def _divide(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    warns = _warns(lowering)
    if Kind.DOUBLE in (left.kind, right.kind):
        return Typed(f"({left.double} / {divisor(left, right, right.double, warns=warns)})", DOUBLE)
    return quotient(left, right, warns=warns)


@lowers(exp.IntDiv, reads="this expression")
def _divide_whole(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    seconds = _whole_seconds(left, right)
    if seconds:
        return Typed(seconds, INT)
    warns = _warns(lowering)
    kinds = {left.kind, right.kind}
    type_ = UINT if Kind.UINT in kinds else INT
    if Kind.DOUBLE in kinds:
        sql = f"trunc({left.double}/{divisor(left, right, right.double, warns=warns)})"
    elif Kind.DECIMAL in kinds:
        sql = f"trunc({unrounded(quotient(left, right, warns=warns)).sql})"
    else:
        sql = f"({left.sql}) // {divisor(left, right, right.sql, warns=warns)}"
    return Typed(f"({sql})::{'ubigint' if type_ is UINT else 'bigint'}", type_)


def _whole_seconds(left: Typed, right: Typed) -> str:
    """UNIX_TIMESTAMP(..) DIV a number, as dashboards group by time: in whole numbers, without decimals."""
    unix, number_ = _UNIX_TIME.fullmatch(left.sql), _WHOLE.fullmatch(right.sql)
    if unix is None or number_ is None or not balanced(unix[1]):
        return ""
    size_us = int(number_[1]) * 1_000_000
    return f"(epoch_us({unix[1]})//{size_us}::bigint)" if 0 < size_us <= _INT_MAX else ""


@lowers(exp.Mod, reads="this expression")
def _remainder(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    warns = _warns(lowering)
    type_ = unify([left.type, right.type])
    if type_.kind is Kind.DOUBLE:
        return Typed(f"({left.double} % {divisor(left, right, right.double, warns=warns)})", DOUBLE)
    if type_.kind is Kind.DECIMAL:
        left, right = unrounded(left), unrounded(right)
        sql = f"(({left.sql}) % {divisor(left, right, right.sql, warns=warns)})"
        return shown(sql, max(left.type.scale, right.type.scale), type_.scale)
    if left.kind is Kind.UINT and right.kind in (Kind.INT, Kind.UINT):
        # The sign is that of the dividend, and so is the type.
        by = divisor(left, right, f"abs(({right.sql})::hugeint)", warns=warns)
        return Typed(f"(({left.sql}) % {by})::ubigint", UINT)
    return Typed(f"(({left.sql}) % {divisor(left, right, right.sql, warns=warns)})", type_)


def _bits(lowering: Lowering, node: exp.Expression) -> str:
    return bits_of(lowering.expression(node))


def _bitwise(kind: type[exp.Expression], operator: str) -> None:
    @lowers(kind, reads="this expression")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(f"({_bits(lowering, node.this)} {operator} {_bits(lowering, node.expression)})", UINT)


_bitwise(exp.BitwiseAnd, "&")
_bitwise(exp.BitwiseOr, "|")
_bitwise(exp.BitwiseRightShift, ">>")


@lowers(exp.BitwiseXor, reads="this expression")
def _bitwise_xor(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"xor({_bits(lowering, node.this)},{_bits(lowering, node.expression)})", UINT)


@lowers(exp.BitwiseNot, reads="this")
def _bitwise_not(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"(~{_bits(lowering, node.this)})", UINT)


@lowers(exp.BitwiseLeftShift, reads="this expression")
def _shift_left(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"my_shifted({_bits(lowering, node.this)},{_bits(lowering, node.expression)})", UINT)


@lowers(exp.BitwiseCount, reads="this")
def _bit_count(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"bit_count({_bits(lowering, node.this)}::hugeint)::bigint", INT)


def _chain(lowering: Lowering, node: exp.Expression, word: str) -> Typed:
    """AND and OR of any number of conditions, which the parser nests in one another."""
    kind, parts = type(node), []
    while isinstance(node, kind):
        parts.append(node.expression)
        node = node.this
    parts.append(node)
    conditions = [truth(lowering.expression(part)) for part in reversed(parts)]
    return Typed(f"({f' {word} '.join(conditions)})", BOOL)


@lowers(exp.And, reads="this expression")
def _and(lowering: Lowering, node: exp.Expression) -> Typed:
    return _chain(lowering, node, "and")


@lowers(exp.Or, reads="this expression")
def _or(lowering: Lowering, node: exp.Expression) -> Typed:
    return _chain(lowering, node, "or")


@lowers(exp.Xor, reads="this expression")
def _xor(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = (truth(lowering.expression(side)) for side in (node.this, node.expression))
    return Typed(f"(({left}) <> ({right}))", BOOL)


@lowers(exp.Not, reads="this")
def _not(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"(not {truth(lowering.expression(node.this))})", BOOL)
