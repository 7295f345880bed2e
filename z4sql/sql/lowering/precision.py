"""Exact decimals: what MySQL computes with, and what it shows. MySQL manual: Precision Math.

A quotient is shown with four digits more than its dividend has, but goes into further arithmetic with whole
words of nine digits: 1/3 shows 0.3333, and 1/3*3 is 1.0000.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from z4sql.sql.lowering.typed import SCALE_MAX, Type, Typed, decimal
from z4sql.sql.types import Kind

DIVISION_DIGITS = 4
"""The default of div_precision_increment."""
_WORD_DIGITS = 9
_SHORT = 500
_CONSTANT = re.compile(r"\(*([0-9.]+)(?:::u?bigint|::decimal\(\d+,\d+\)|::double)?\)*")
_DIGITS_MAX = 18
"""Of a quotient: the engine's decimals have 38 digits in all."""


def shown(sql: str, digits: int, scale: int) -> Typed:
    """``sql``, which has ``digits`` after the point, shown with ``scale`` of them."""
    if digits <= scale:
        return Typed(f"({sql})::decimal(38,{scale})", decimal(scale))
    return Typed(f"({sql})::decimal(38,{scale})", decimal(scale), sql, digits)


def unrounded(value: Typed) -> Typed:
    """A number with all the digits that it has behind those shown."""
    return Typed(value.exact, decimal(value.digits)) if value.exact else value


def quotient(left: Typed, right: Typed, *, warns: bool = False) -> Typed:
    """``left`` / ``right`` of exact numbers; NULL where ``right`` is zero, which may be worth a warning."""
    scale = min(left.type.scale + DIVISION_DIGITS, SCALE_MAX)
    one, other = unrounded(left), unrounded(right)
    one_digits, other_digits = _whole_words(one.type.scale), _whole_words(other.type.scale)
    added = DIVISION_DIGITS - (one_digits - one.type.scale) - (other_digits - other.type.scale)
    digits = _whole_words(one_digits + other_digits + max(added, 0))
    digits = max(min(digits, _DIGITS_MAX), scale)
    places = digits - one.type.scale + other.type.scale
    if places < 0:
        digits, places = digits - places, 0
    whole = f"({_unscaled(one)}*{10**places}::hugeint//{divisor(left, right, _unscaled(other), warns=warns)})"
    sql = f"({whole}::decimal(38,0)*{_fraction(digits)})"
    return shown(sql, digits, scale)


def divisor(left: Typed, right: Typed, sql: str, *, warns: bool) -> str:
    """``right``, which the engine knows as ``sql``, to divide by: NULL where it is zero."""
    constant = _CONSTANT.fullmatch(right.sql)
    if constant is not None and constant[1].strip("0."):
        return f"({sql})"
    if not warns:
        return f"nullif({sql},0)"
    # What is divided is worked out once more; what is long, or may warn itself, counts as a number.
    simple = len(left.sql) < _SHORT and "my_" not in left.sql
    divided = left.sql if simple else "1"
    if "my_" in sql:
        # The macro repeats it, and what may warn is worked out once.
        return f"list_transform([{sql}], lambda divisor: my_divisor({divided},divisor))[1]"
    return f"my_divisor({divided},{sql})"


def carried(rounded: Typed, parts: Sequence[Typed], sql: str) -> Typed:
    """``rounded``, and behind it ``sql``, in which every one of ``parts`` stands unrounded."""
    if rounded.kind is not Kind.DECIMAL or not any(part.exact for part in parts):
        return rounded
    digits = max(part.digits or part.type.scale for part in parts)
    return Typed(rounded.sql, rounded.type, sql, digits)


def unrounded_type(type_: Type, parts: Sequence[Typed]) -> Type:
    """The type that holds every one of ``parts`` unrounded."""
    return decimal(max([type_.scale, *(part.digits for part in parts)]))


def _whole_words(digits: int) -> int:
    return -(-digits // _WORD_DIGITS) * _WORD_DIGITS


def _unscaled(value: Typed) -> str:
    """A number as a whole one: without its point."""
    scale = value.type.scale
    if not scale:
        return f"({value.sql})::hugeint"
    return f"(({value.sql})::decimal(38,{scale})*{10**scale}::decimal({scale + 1},0))::hugeint"


def _fraction(digits: int) -> str:
    return f"0.{'1'.rjust(digits, '0')}::decimal({digits},{digits})"
