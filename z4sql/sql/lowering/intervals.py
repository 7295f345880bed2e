"""Dates moved by intervals. MySQL manual: Temporal Intervals; DATE_ADD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from sqlglot import exp

from z4sql.sql.lowering.conversion import as_text, clock_time, instant, integer, number
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.json_values import unquoted
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import DATE, INSTANTS, TEXT, Typed, constant_text, datetime, quoted, time
from z4sql.sql.temporal import naive_text, try_temporal
from z4sql.sql.types import Kind

Arguments = Sequence[exp.Expression]

UNITS = {
    unit: unit.lower()
    for unit in ("MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
}
COMPOUND = {
    "SECOND_MICROSECOND": ("second", "microsecond"),
    "MINUTE_MICROSECOND": ("minute", "second", "microsecond"),
    "HOUR_MICROSECOND": ("hour", "minute", "second", "microsecond"),
    "DAY_MICROSECOND": ("day", "hour", "minute", "second", "microsecond"),
    "MINUTE_SECOND": ("minute", "second"),
    "HOUR_MINUTE": ("hour", "minute"),
    "HOUR_SECOND": ("hour", "minute", "second"),
    "DAY_HOUR": ("day", "hour"),
    "DAY_MINUTE": ("day", "hour", "minute"),
    "DAY_SECOND": ("day", "hour", "minute", "second"),
    "YEAR_MONTH": ("year", "month"),
}
_AMOUNTS_MAX = {
    "microsecond": 320_000_000_000_000_000,
    "second": 320_000_000_000,
    "minute": 5_300_000_000,
    "hour": 88_000_000,
    "day": 3_700_000,
    "week": 530_000,
    "month": 120_000,
    "quarter": 40_000,
    "year": 10_000,
}
"""By unit of the engine: larger amounts leave the calendar from anywhere, and the engine's own types too."""
_EXPONENT = re.compile(r"\d[eE]")
_NARROW = frozenset({"year", "month", "quarter", "week", "day"})
"""Units that the engine counts in 32 bits."""


def _constant_number(node: exp.Expression) -> str | None:
    """A constant as text: a number as it was written, or a string."""
    sign = ""
    while isinstance(node, (exp.Neg, exp.Paren)):
        sign = ("" if sign else "-") if isinstance(node, exp.Neg) else sign
        node = node.this
    return sign + str(node.this) if isinstance(node, exp.Literal) else None


def _is_text(node: exp.Expression) -> bool:
    inner = node.unnest()
    return inner is not node and isinstance(inner, exp.Literal) and bool(inner.is_string)


def _compound(amount: str, unit: str, sign: int) -> tuple[str, int] | None:
    """(the addition, its digits of a second); None when there are more numbers than units."""
    words = COMPOUND[unit]
    numbers = re.findall(r"\d+", amount)
    if len(numbers) > len(words):
        return None
    words = words[len(words) - len(numbers) :]
    negative = amount.lstrip().startswith("-")
    mark = "+" if (sign > 0) != negative else "-"
    parts = []
    for digits, word in zip(numbers, words, strict=True):
        # A fraction of a second is written with its leading zeros.
        count = int(digits.ljust(6, "0")) if word == "microsecond" else int(digits)
        if count > _AMOUNTS_MAX[word]:
            return None
        parts.append(f"{mark} to_{word}s({count})")
    return " ".join(parts), 6 if words and words[-1] == "microsecond" else 0


def _seconds(lowering: Lowering, amount: exp.Expression, mark: str) -> tuple[str, int] | None:
    """An interval of seconds keeps its fraction; None for one that is whole."""
    written = _constant_number(amount)
    value = number(lowering.expression(amount))
    if written is not None:
        match = re.match(r"\s*[+-]?\d*\.(\d*)", written)
        if match is None and value.kind is not Kind.DOUBLE:
            return None
        fsp = 0 if match is None else min(len(match[1]), 6)
        if value.kind is Kind.DOUBLE and not isinstance(amount, exp.Literal):
            fsp = 6
    elif value.kind in (Kind.DECIMAL, Kind.DOUBLE):
        fsp = min(value.type.scale, 6) if value.kind is Kind.DECIMAL else 6
    else:
        return None
    amount_us = f"my_within(round(({value.sql})*1000000),{_AMOUNTS_MAX['microsecond']})"
    return f"{mark} to_microseconds({amount_us}::bigint)", fsp


def _addition(lowering: Lowering, amount: exp.Expression, unit: str, sign: int) -> tuple[str, int] | None:
    """(what to add, its digits of a second); None for an interval that is none."""
    mark = "+" if sign > 0 else "-"
    if unit in COMPOUND:
        written = _constant_number(amount)
        if written is not None and not _EXPONENT.search(written):
            return _compound(written, unit, sign)
        text = _written(lowering.expression(amount))
        units, fsp = ("months", 0) if unit == "YEAR_MONTH" else ("microseconds", 6 if "MICRO" in unit else 0)
        return (
            f"{mark} to_{units}(my_amount('{unit}',{text})::{'int' if units == 'months' else 'bigint'})",
            fsp,
        )
    word = UNITS.get(unit)
    if word is None:
        raise unsupported(f"INTERVAL {unit}")
    if word == "second":
        fractional = _seconds(lowering, amount, mark)
        if fractional is not None:
            return fractional
    written = _constant_number(amount)
    fsp = 6 if word == "microsecond" else 0
    if written is not None and re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?([eE]\d{1,2})?", written):
        # The parser makes texts of the numbers here, but for what stands in parentheses.
        if _is_text(amount):
            # A text counts by the digits that it begins with.
            written = re.split("[.eE]", written)[0]
        whole = int(Decimal(written).to_integral_value(ROUND_HALF_UP))
        if abs(whole) > _AMOUNTS_MAX[word]:
            return None
        return f"{mark} interval ({whole}) {word}", fsp
    count = f"my_within({integer(lowering.expression(amount))},{_AMOUNTS_MAX[word]})"
    return f"{mark} to_{word}s(({count})::{'int' if word in _NARROW else 'bigint'})", fsp


def constant_interval(lowering: Lowering, amount: exp.Expression, unit: exp.Expression) -> str:
    """``INTERVAL amount unit`` by itself. :raises Unsupported: it leaves any calendar (1235)"""
    found = _addition(lowering, amount, str(unit.this).upper().removesuffix("S"), 1)
    if found is None:
        raise unsupported("so long an INTERVAL")
    return f"(interval 0 second {found[0]})"


def shift(
    lowering: Lowering, base: exp.Expression, amount: exp.Expression, unit: exp.Expression | None, sign: int
) -> Typed:
    """``base`` moved by an interval; NULL where that leaves the calendar."""
    name = str(unit.this if unit is not None else "DAY").upper().removesuffix("S")
    value = lowering.expression(base)
    found = _addition(lowering, amount, name, sign)
    if found is None or value.kind is Kind.NULL:
        return Typed("null::timestamp", datetime(0))
    addition, fsp = found
    whole_days = not re.search("HOUR|MINUTE|SECOND", name)
    constant = constant_text(value)
    parsed = None if constant is None else try_temporal(constant)
    if parsed is not None:
        local_us = parsed.local_us(lowering.context.time_zone)
        moved = f"my_moved(timestamp {quoted(naive_text(local_us))} {addition})"
        if parsed.is_date and whole_days:
            return Typed(f"({moved})::date", DATE)
        # A text shows no fraction, or a whole one.
        if fsp:
            return Typed(f"my_moved_text({value.sql},{moved},false)", TEXT)
        return Typed(moved, datetime(6 if local_us % 1_000_000 else 0))
    if value.kind is Kind.DATE and whole_days:
        return Typed(f"my_moved({value.sql} {addition})::date", DATE)
    if value.kind is Kind.TIME and not re.search("DAY|WEEK|MONTH|QUARTER|YEAR", name):
        # The engine moves moments only: a time counts from its first one.
        moved = f"epoch_us(make_timestamp({value.sql}) {addition})"
        return Typed(f"my_clamped_time({moved})", time(max(fsp, value.type.scale)))
    converted = instant(value, lowering.day_of(value))
    moved = f"my_moved({converted.sql} {addition})"
    if value.kind in INSTANTS or value.kind in (Kind.DATE, Kind.TIME):
        return Typed(moved, datetime(max(fsp, converted.type.scale)))
    return Typed(f"my_moved_text({_written(value)},{moved},{'true' if whole_days else 'false'})", TEXT)


def _amount(node: exp.Expression) -> exp.Expression:
    return node.this if isinstance(node, exp.Interval) else node


def _unit_of(node: exp.Expression) -> exp.Expression:
    unit = node.args.get("unit") if isinstance(node, exp.Interval) else None
    return unit if unit is not None else exp.var("DAY")


@lowers(exp.DateAdd, exp.TimestampAdd, exp.TsOrDsAdd, reads="this expression unit return_type")
def _date_add(lowering: Lowering, node: exp.Expression) -> Typed:
    return shift(lowering, node.this, _amount(node.expression), node.args.get("unit"), 1)


@lowers(exp.DateSub, exp.TimestampSub, reads="this expression unit")
def _date_sub(lowering: Lowering, node: exp.Expression) -> Typed:
    return shift(lowering, node.this, _amount(node.expression), node.args.get("unit"), -1)


@function("ADDDATE", least=2)
def _adddate(lowering: Lowering, arguments: Arguments) -> Typed:
    return shift(lowering, arguments[0], _amount(arguments[1]), _unit_of(arguments[1]), 1)


@function("SUBDATE", least=2)
def _subdate(lowering: Lowering, arguments: Arguments) -> Typed:
    return shift(lowering, arguments[0], _amount(arguments[1]), _unit_of(arguments[1]), -1)


_TIMED = INSTANTS | {Kind.DATE}
_TEMPORAL = _TIMED | {Kind.TIME}


def _clock_sum(lowering: Lowering, arguments: Arguments, mark: str) -> Typed:
    """ADDTIME and SUBTIME: of a text or a number the answer is a text."""
    base, added = lowering.expression(arguments[0]), clock_time(lowering.expression(arguments[1]))
    if base.kind in _TIMED:
        moment = instant(base)
        fsp = max(moment.type.scale, added.type.scale)
        return Typed(f"my_bounded({moment.sql}{mark}to_microseconds({added.sql}))", datetime(fsp))
    if base.kind is Kind.TIME:
        fsp = max(base.type.scale, added.type.scale)
        return Typed(f"my_clamped_time({base.sql}{mark}{added.sql})", time(fsp))
    return Typed(f"my_time_added({_written(base)},{mark}({added.sql}))", TEXT)


def _written(value: Typed) -> str:
    return (unquoted(value) if value.kind is Kind.JSON else as_text(value)).sql


@function("ADDTIME", least=2)
def _addtime(lowering: Lowering, arguments: Arguments) -> Typed:
    return _clock_sum(lowering, arguments, "+")


@function("SUBTIME", least=2)
def _subtime(lowering: Lowering, arguments: Arguments) -> Typed:
    return _clock_sum(lowering, arguments, "-")


@function("TIMEDIFF", least=2)
def _timediff(lowering: Lowering, arguments: Arguments) -> Typed:
    """NULL between a time and a date or datetime."""
    sides = [lowering.expression(argument) for argument in arguments]
    kinds = {side.kind for side in sides}
    if Kind.NULL in kinds or (kinds <= _TEMPORAL and kinds & _TIMED and Kind.TIME in kinds):
        return Typed("null::bigint", time(0))
    if not kinds <= _TEMPORAL:
        fsp = max(clock_time(side).type.scale for side in sides)
        return Typed(f"my_time_between({_written(sides[0])},{_written(sides[1])})", time(fsp))
    if kinds == {Kind.TIME}:
        one, other = sides
        difference = f"{one.sql}-{other.sql}"
    else:
        one, other = (instant(side) for side in sides)
        difference = f"epoch_us({one.sql})-epoch_us({other.sql})"
    return Typed(f"my_clamped_time({difference})", time(max(one.type.scale, other.type.scale)))
