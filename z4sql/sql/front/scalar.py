"""Values of small expressions: what SET assigns, what probes select, what SHOW ... WHERE tests.

Text compares without case; NULL is None and spreads. MySQL manual: Expressions.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from math import isfinite
from typing import Final, Protocol

from sqlglot import exp

from z4sql.sql.errors import SqlError, UnknownColumn, Unsupported
from z4sql.sql.front.like import is_like
from z4sql.sql.introducers import introduced

Scalar = str | int | float | Decimal | None

INT_MIN: Final = -(2**63)
UINT_MAX: Final = 2**64 - 1
DIGITS_MAX: Final = 38
"""Of a DECIMAL, as far as this server goes."""
_EXACT = Context(prec=2 * DIGITS_MAX)
_QUOTIENT_DIGITS: Final = 4
"""MySQL manual: div_precision_increment."""


class Names(Protocol):
    """What names in an expression stand for."""

    def column(self, name: str) -> Scalar:
        """:raises UnknownColumn: (1054)"""
        ...

    def variable(self, name: str, scope: str) -> Scalar:
        """``@@scope.name``; ``scope`` may be empty. :raises SqlError: unknown (1193)"""
        ...

    def user_variable(self, name: str) -> Scalar: ...

    def function(self, name: str) -> Scalar:
        """A function of the session without arguments. :raises KeyError: there is none"""
        ...


def evaluate(node: exp.Expression, names: Names) -> Scalar:
    """The value of ``node``.

    :raises Unsupported: what is not built here (1235); :raises UnknownColumn: (1054).
    """
    rule = _RULES.get(type(node))
    if rule is not None:
        return rule(node, names)
    if isinstance(node, exp.Func):
        return _function(node, names)
    raise not_here(node)


def not_here(node: exp.Expression) -> Unsupported:
    name = str(node.this) if isinstance(node, exp.Anonymous) else node.key
    return Unsupported(f"This version of MySQL doesn't yet support '{name.upper()}' in this place")


def number(value: Scalar) -> int | float | Decimal:
    """The number text begins with, as MySQL reads it; 0 without one."""
    if not isinstance(value, str):
        return value if value is not None else 0
    found = re.match(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", value)
    if found is None:
        return 0
    if re.fullmatch(r"[+-]?\d{1,19}", found[1]):
        return int(found[1])
    return max(-sys.float_info.max, min(sys.float_info.max, float(found[1])))


def out_of_range(kind: str) -> SqlError:
    return SqlError(f"{kind} value is out of range", code=1690, state="22003")


def _in_range(value: int | float | Decimal) -> int | float | Decimal:
    """``value`` as its type can hold it. :raises SqlError: it cannot (1690)"""
    match value:
        case float():
            if not isfinite(value):
                raise out_of_range("DOUBLE")
        case int():
            if not INT_MIN <= value <= UINT_MAX:
                raise out_of_range("BIGINT")
        case Decimal():
            if not value.is_finite() or _digits(value) > DIGITS_MAX:
                raise out_of_range("DECIMAL")
    return value


def _digits(value: Decimal) -> int:
    """Digits of a DECIMAL that holds ``value``: before and behind the point."""
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    return max(len(digits) + max(0, int(exponent)), scale)


def text(value: Scalar) -> str:
    return "" if value is None else str(value)


def _pair(left: Scalar, right: Scalar) -> tuple[str, str] | tuple[float | Decimal, float | Decimal]:
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold(), right.casefold()
    return number(left), number(right)


def _compare(test: Callable[..., object]) -> Callable[[exp.Expression, Names], Scalar]:
    def rule(node: exp.Expression, names: Names) -> Scalar:
        left, right = evaluate(node.this, names), evaluate(node.expression, names)
        if left is None or right is None:
            return None
        return int(bool(test(*_pair(left, right))))

    return rule


def _null_safe(node: exp.Expression, names: Names) -> Scalar:
    left, right = evaluate(node.this, names), evaluate(node.expression, names)
    if left is None or right is None:
        return int(left is right)
    return int(operator.eq(*_pair(left, right)))


def _arithmetic(apply: Callable[..., int | float | Decimal]) -> Callable[[exp.Expression, Names], Scalar]:
    def rule(node: exp.Expression, names: Names) -> Scalar:
        left, right = evaluate(node.this, names), evaluate(node.expression, names)
        if left is None or right is None:
            return None
        one, other = number(left), number(right)
        if isinstance(one, float) or isinstance(other, float):
            one, other = float(one), float(other)
        elif isinstance(one, Decimal) or isinstance(other, Decimal):
            one, other = Decimal(one), Decimal(other)
        try:
            return _in_range(apply(one, other))
        except (ArithmeticError, ValueError):
            return None

    return rule


def _quotient(one: int | float | Decimal, other: int | float | Decimal) -> float | Decimal:
    """MySQL manual: Arithmetic Operators; exact values have an exact quotient, of four more digits."""
    if isinstance(one, float) or isinstance(other, float):
        return float(one) / float(other)
    scale = max(0, -int(Decimal(one).as_tuple().exponent)) + _QUOTIENT_DIGITS
    quotient = _EXACT.divide(Decimal(one), Decimal(other))
    return _EXACT.quantize(quotient, Decimal(1).scaleb(-scale))


def _either(
    native: Callable[..., int | float | Decimal], exact: Callable[[Decimal, Decimal], Decimal]
) -> Callable[..., int | float | Decimal]:
    """Python's operator, but for DECIMALs, which it would round to the digits of the thread's context."""

    def apply(one: int | float | Decimal, other: int | float | Decimal) -> int | float | Decimal:
        if isinstance(one, Decimal) and isinstance(other, Decimal):
            return exact(one, other)
        return native(one, other)

    return apply


def truth(value: Scalar) -> bool | None:
    return None if value is None else bool(number(value))


def _and(node: exp.Expression, names: Names) -> Scalar:
    left, right = truth(evaluate(node.this, names)), truth(evaluate(node.expression, names))
    if left is False or right is False:
        return 0
    return None if left is None or right is None else 1


def _or(node: exp.Expression, names: Names) -> Scalar:
    left, right = truth(evaluate(node.this, names)), truth(evaluate(node.expression, names))
    if left or right:
        return 1
    return None if left is None or right is None else 0


def _not(node: exp.Expression, names: Names) -> Scalar:
    value = truth(evaluate(node.this, names))
    return None if value is None else int(not value)


def _like(node: exp.Expression, names: Names) -> Scalar:
    value, pattern = evaluate(node.this, names), evaluate(node.expression, names)
    if value is None or pattern is None:
        return None
    matches = is_like(text(value), text(pattern))
    return int(matches != bool(node.args.get("negate")))


def _regexp(node: exp.Expression, names: Names) -> Scalar:
    value, pattern = evaluate(node.this, names), evaluate(node.expression, names)
    if value is None or pattern is None:
        return None
    # Patterns of a language that backtracks could stall the server; plain ones are all that tools send.
    plain = text(pattern)
    if not re.fullmatch(r"\^?[\w \-]*\$?", plain):
        raise not_here(node)
    return int(re.search(plain, text(value), re.IGNORECASE) is not None)


def _in(node: exp.Expression, names: Names) -> Scalar:
    if not node.expressions:
        raise not_here(node)
    value = evaluate(node.this, names)
    items = [evaluate(one, names) for one in node.expressions]
    if value is None:
        return None
    if any(item is not None and operator.eq(*_pair(value, item)) for item in items):
        return 1
    return None if None in items else 0


def _between(node: exp.Expression, names: Names) -> Scalar:
    value, low, high = (evaluate(node.args[part], names) for part in ("this", "low", "high"))
    if value is None or low is None or high is None:
        return None
    return int(operator.ge(*_pair(value, low)) and operator.le(*_pair(value, high)))


def _is(node: exp.Expression, names: Names) -> Scalar:
    value, wanted = evaluate(node.this, names), evaluate(node.expression, names)
    if wanted is None:
        return int(value is None)
    return int(truth(value) is truth(wanted))


def _literal(node: exp.Expression, _names: Names) -> Scalar:
    if node.is_string:
        return str(node.this)
    return numeric_literal(str(node.this))


def numeric_literal(written: str) -> Scalar:
    """MySQL manual: Numeric Literals.

    :raises SqlError: no DOUBLE (1367); :raises Unsupported: more digits than a DECIMAL has here (1235).
    """
    if "e" in written.lower():
        value = float(written)
        if not isfinite(value):
            raise SqlError(f"Illegal double '{written}' value found during parsing", code=1367, state="22007")
        return value
    exact = Decimal(written)
    if _digits(exact) > DIGITS_MAX:
        raise Unsupported(f"This version of MySQL doesn't yet support more than {DIGITS_MAX} digits")
    return int(exact) if written.isdigit() and exact <= UINT_MAX else exact


def _negative(node: exp.Expression, names: Names) -> Scalar:
    value = evaluate(node.this, names)
    if value is None:
        return None
    negated = -number(value)
    return Decimal(negated) if isinstance(negated, int) and negated < INT_MIN else negated


def _session_variable(node: exp.Expression, names: Names) -> Scalar:
    return names.variable(parameter_name(node), str(node.args.get("kind") or "").lower())


def _user_variable(node: exp.Expression, names: Names) -> Scalar:
    return names.user_variable(parameter_name(node).lower())


def parameter_name(node: exp.Expression) -> str:
    """Of ``@@name`` and ``@name``, as written."""
    return node.this.name if isinstance(node.this, exp.Expression) else str(node.this)


def _column(node: exp.Expression, names: Names) -> Scalar:
    return names.column(node.name)


def _if(node: exp.Expression, names: Names) -> Scalar:
    if truth(evaluate(node.this, names)):
        return evaluate(node.args["true"], names)
    otherwise = node.args.get("false")
    return None if otherwise is None else evaluate(otherwise, names)


def _coalesce(node: exp.Expression, names: Names) -> Scalar:
    for one in (node.this, *node.expressions):
        value = evaluate(one, names)
        if value is not None:
            return value
    return None


def _concat(node: exp.Expression, names: Names) -> Scalar:
    return _joined([evaluate(one, names) for one in node.expressions])


def _joined(values: Sequence[Scalar]) -> Scalar:
    return None if None in values else "".join(text(value) for value in values)


def _each_text(change: Callable[[str], str]) -> Callable[[exp.Expression, Names], Scalar]:
    def rule(node: exp.Expression, names: Names) -> Scalar:
        value = evaluate(node.this, names)
        return None if value is None else change(text(value))

    return rule


def _inner(node: exp.Expression, names: Names) -> Scalar:
    return evaluate(node.this, names)


def _introduced(node: exp.Expression, _names: Names) -> Scalar:
    constant = introduced(node)
    if isinstance(constant, bytes):
        raise not_here(node)
    return constant


_SESSION_NODES = {
    "CurrentUser": "CURRENT_USER",
    "CurrentSchema": "DATABASE",
    "CurrentDatabase": "DATABASE",
    "CurrentVersion": "VERSION",
    "Version": "VERSION",
    "SessionUser": "USER",
    "CurrentRole": "CURRENT_ROLE",
}


def _function(node: exp.Expression, names: Names) -> Scalar:
    name = _SESSION_NODES.get(type(node).__name__)
    if isinstance(node, exp.Anonymous):
        name = str(node.this).upper()
    arguments = [value for value in node.args.values() if isinstance(value, exp.Expression)]
    if name is None or arguments or node.expressions:
        raise not_here(node)
    try:
        return names.function(name)
    except KeyError:
        raise not_here(node) from None


_RULES: dict[type[exp.Expression], Callable[[exp.Expression, Names], Scalar]] = {
    exp.Literal: _literal,
    exp.Null: lambda _node, _names: None,
    exp.Boolean: lambda node, _names: int(bool(node.this)),
    exp.Paren: _inner,
    exp.Collate: _inner,
    exp.Introducer: _introduced,
    exp.National: lambda node, _names: str(node.this),
    exp.Neg: _negative,
    exp.SessionParameter: _session_variable,
    exp.Parameter: _user_variable,
    exp.Column: _column,
    exp.If: _if,
    exp.Coalesce: _coalesce,
    exp.Concat: _concat,
    exp.Lower: _each_text(str.lower),
    exp.Upper: _each_text(str.upper),
    exp.EQ: _compare(operator.eq),
    exp.NEQ: _compare(operator.ne),
    exp.GT: _compare(operator.gt),
    exp.GTE: _compare(operator.ge),
    exp.LT: _compare(operator.lt),
    exp.LTE: _compare(operator.le),
    exp.NullSafeEQ: _null_safe,
    exp.Add: _arithmetic(_either(operator.add, _EXACT.add)),
    exp.Sub: _arithmetic(_either(operator.sub, _EXACT.subtract)),
    exp.Mul: _arithmetic(_either(operator.mul, _EXACT.multiply)),
    exp.Div: _arithmetic(_quotient),
    exp.And: _and,
    exp.Or: _or,
    exp.Not: _not,
    exp.Like: _like,
    exp.RegexpLike: _regexp,
    exp.In: _in,
    exp.Between: _between,
    exp.Is: _is,
}


class RowNames:
    """Columns of one row of SHOW's output, by name without case; no variables."""

    def __init__(self, row: dict[str, Scalar], session: Names) -> None:
        self._row = row
        self._session = session

    def column(self, name: str) -> Scalar:
        try:
            return self._row[name.lower()]
        except KeyError:
            raise UnknownColumn(f"Unknown column '{name}' in 'where clause'") from None

    def variable(self, name: str, scope: str) -> Scalar:
        return self._session.variable(name, scope)

    def user_variable(self, name: str) -> Scalar:
        return self._session.user_variable(name)

    def function(self, name: str) -> Scalar:
        return self._session.function(name)


def wrong_value(variable: str, value: Scalar) -> SqlError:
    """Error 1231."""
    shown = "NULL" if value is None else text(value)
    return SqlError(f"Variable '{variable}' can't be set to the value of '{shown}'", code=1231, state="42000")
