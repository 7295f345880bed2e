"""Constants, arithmetic, bits and logic. MySQL manual: Operators; Precision Math."""

from __future__ import annotations

import re

from sqlglot import exp

from z4sql.sql.lowering.conversion import number, truth, unify
from z4sql.sql.lowering.expressions import Lowering, unsupported
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
    decimal,
    quoted,
)
from z4sql.sql.types import Kind

_UINT_MAX = 2**64 - 1
_INT_MAX = 2**63 - 1


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
    return Typed(f"unhex('{digits if len(digits) % 2 == 0 else '0' + digits}')", BINARY)


@lowers(exp.Null, reads="")
def _null(_lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed("null", NULL)


@lowers(exp.Boolean, reads="this")
def _boolean(_lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed("1::bigint" if node.this else "0::bigint", INT)


def _arithmetic(lowering: Lowering, node: exp.Expression, operator: str) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    kinds = {left.kind, right.kind}
    if Kind.DOUBLE in kinds:
        return Typed(f"({left.double} {operator} {right.double})", DOUBLE)
    sql = f"(({left.sql}) {operator} ({right.sql}))"
    if Kind.DECIMAL in kinds:
        scales = left.type.scale, right.type.scale
        return Typed(sql, decimal(sum(scales) if operator == "*" else max(scales)))
    return Typed(sql, UINT if Kind.UINT in kinds else INT)


@lowers(exp.Add, reads="this expression")
def _add(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.dates import shift

    if isinstance(node.expression, exp.Interval):
        return shift(lowering, node.this, node.expression.this, node.expression.args.get("unit"), 1)
    if isinstance(node.this, exp.Interval):
        return shift(lowering, node.expression, node.this.this, node.this.args.get("unit"), 1)
    return _arithmetic(lowering, node, "+")


@lowers(exp.Sub, reads="this expression")
def _subtract(lowering: Lowering, node: exp.Expression) -> Typed:
    from z4sql.sql.lowering.dates import shift

    if isinstance(node.expression, exp.Interval):
        return shift(lowering, node.this, node.expression.this, node.expression.args.get("unit"), -1)
    return _arithmetic(lowering, node, "-")


@lowers(exp.Mul, reads="this expression")
def _multiply(lowering: Lowering, node: exp.Expression) -> Typed:
    return _arithmetic(lowering, node, "*")


@lowers(exp.Neg, reads="this")
def _negate(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    return Typed(f"(-({value.sql}))", INT if value.kind is Kind.UINT else value.type)


@lowers(exp.Div, reads="this expression typed safe")
def _divide(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    if Kind.DOUBLE in (left.kind, right.kind):
        return Typed(f"({left.double} / nullif({right.double},0))", DOUBLE)
    quotient = f"({left.sql})::double / nullif(({right.sql})::double,0)"
    scale = min(left.type.scale + 4, SCALE_MAX)
    return Typed(f"(round({quotient},{scale})::decimal(38,{scale}))", decimal(scale))


@lowers(exp.IntDiv, reads="this expression")
def _divide_whole(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    if {left.kind, right.kind} <= {Kind.INT, Kind.UINT}:
        return Typed(f"(({left.sql}) // nullif({right.sql},0))", INT)
    return Typed(f"(trunc(({left.sql})::double/nullif(({right.sql})::double,0))::bigint)", INT)


@lowers(exp.Mod, reads="this expression")
def _remainder(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = number(lowering.expression(node.this)), number(lowering.expression(node.expression))
    return Typed(f"(({left.sql}) % nullif(({right.sql}),0))", unify([left.type, right.type]))


def _bits(lowering: Lowering, node: exp.Expression) -> str:
    return f"my_wrap_unsigned(({number(lowering.expression(node)).sql})::hugeint)"


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
    places = number(lowering.expression(node.expression)).sql
    return Typed(
        f"(({_bits(lowering, node.this)}::hugeint << ({places})::int)"
        " % 18446744073709551616::hugeint)::ubigint",
        UINT,
    )


@lowers(exp.BitwiseCount, reads="this")
def _bit_count(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"bit_count(({number(lowering.expression(node.this)).sql})::bigint)::bigint", INT)


@lowers(exp.And, reads="this expression")
def _and(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = (truth(lowering.expression(side)) for side in (node.this, node.expression))
    return Typed(f"({left} and {right})", BOOL)


@lowers(exp.Or, reads="this expression")
def _or(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = (truth(lowering.expression(side)) for side in (node.this, node.expression))
    return Typed(f"({left} or {right})", BOOL)


@lowers(exp.Xor, reads="this expression")
def _xor(lowering: Lowering, node: exp.Expression) -> Typed:
    left, right = (truth(lowering.expression(side)) for side in (node.this, node.expression))
    return Typed(f"(({left}) <> ({right}))", BOOL)


@lowers(exp.Not, reads="this")
def _not(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"(not {truth(lowering.expression(node.this))})", BOOL)
