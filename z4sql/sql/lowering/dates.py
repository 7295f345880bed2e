"""Dates, times and intervals. MySQL manual: Date and Time Functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sqlglot import exp

from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.conversion import as_text, clock_time, instant, integer, number, number_of_seconds
from z4sql.sql.lowering.date_format import formatted, mysql_format
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.intervals import COMPOUND, UNITS
from z4sql.sql.lowering.json_values import unquoted
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    DATE,
    INT,
    NUMBERS,
    TEXT,
    Typed,
    constant_text,
    datetime,
    decimal,
    time,
)
from z4sql.sql.lowering.zones import to_local, to_utc
from z4sql.sql.temporal import naive_text
from z4sql.sql.types import Kind

Arguments = Sequence[exp.Expression]

_UNIX_TIME_MAX = 32_536_771_199
_OFFSET_MIN, _OFFSET_MAX = -(13 * 60 + 59), 14 * 60
"""Minutes. MySQL manual: MySQL Server Time Zone Support."""
_DAYS_TO_EPOCH = 719_528


def moment(lowering: Lowering, node: exp.Expression, *, day: bool = False) -> Typed:
    """A function's argument as a datetime, without the wrappers that the parser puts around it.

    ``day``: the function reads its date only.
    """
    is_day = False
    while isinstance(node, (exp.TsOrDsToDate, exp.TsOrDsToTimestamp)):
        # DATE(x) too reads as such a wrapper.
        is_day = is_day or isinstance(node, exp.TsOrDsToDate)
        node = node.this
    operand = lowering.expression(node)
    value = instant(operand, lowering.day_of(operand), day=day or is_day)
    return Typed(f"({value.sql})::date::timestamp", datetime(0)) if is_day else value


def clock(lowering: Lowering, node: exp.Expression) -> Typed:
    """A function's argument as a TIME."""
    while isinstance(node, (exp.TsOrDsToTimestamp, exp.TsOrDsToTime)):
        node = node.this
    return clock_time(lowering.expression(node))


def _now(lowering: Lowering, fsp: int = 0) -> Typed:
    local = lowering.now_local_us
    unit = 10 ** (6 - fsp)
    return Typed(f"timestamp '{naive_text(local // unit * unit)}'", datetime(fsp))


def _fsp(name: str, node: exp.Expression | None) -> int:
    """Digits behind the point. :raises SqlError: more than 6 (1426), or no number as it is written (1064)"""
    if node is None:
        return 0
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdecimal():
        raise SyntaxProblem(f"{name} takes a number of digits from 0 to 6, as a constant")
    digits = int(node.name[:9])
    if digits > 6:
        message = f"Too-big precision {digits} specified for '{name.lower()}'. Maximum is 6."
        raise SqlError(message, code=1426, state="42000")
    return digits


@lowers(exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp, reads="this sysdate")
def _current_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    return _now(lowering, _fsp("NOW", node.args.get("this")))


@function("NOW", "SYSDATE", "LOCALTIME", "LOCALTIMESTAMP", least=0, most=1)
def _now_function(lowering: Lowering, arguments: Arguments) -> Typed:
    return _now(lowering, _fsp("NOW", arguments[0] if arguments else None))


@lowers(exp.UtcTimestamp, reads="this")
def _utc_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    fsp = _fsp("UTC_TIMESTAMP", node.args.get("this"))
    unit = 10 ** (6 - fsp)
    return Typed(f"timestamp '{naive_text(lowering.context.now_us // unit * unit)}'", datetime(fsp))


@lowers(exp.CurrentDate, reads="")
def _current_date(lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed(f"date '{naive_text(lowering.now_local_us, 0)[:10]}'", DATE)


@lowers(exp.UtcDate, reads="")
def _utc_date(lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed(f"date '{naive_text(lowering.context.now_us, 0)[:10]}'", DATE)


@lowers(exp.CurrentTime, reads="this")
def _current_time(lowering: Lowering, node: exp.Expression) -> Typed:
    fsp = _fsp("CURTIME", node.args.get("this"))
    unit = 10 ** (6 - fsp)
    return Typed(f"{lowering.now_local_us // unit * unit % 86_400_000_000}::bigint", time(fsp))


@lowers(exp.UtcTime, reads="this")
def _utc_time(lowering: Lowering, node: exp.Expression) -> Typed:
    fsp = _fsp("UTC_TIME", node.args.get("this"))
    unit = 10 ** (6 - fsp)
    return Typed(f"{lowering.context.now_us // unit * unit % 86_400_000_000}::bigint", time(fsp))


@lowers(exp.TsOrDsToTimestamp, reads="this")
def _to_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    return instant(lowering.expression(node.this))


@lowers(exp.Timestamp, reads="this zone with_tz safe")
def _timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    value = moment(lowering, node.this)
    if node.args.get("zone") is None:
        return value
    added = clock(lowering, node.args["zone"])
    fsp = max(value.type.scale, added.type.scale)
    return Typed(f"my_bounded({value.sql}+to_microseconds({added.sql}))", datetime(fsp))


@lowers(exp.TsOrDsToDate, exp.Date, reads="this format safe")
def _date(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.args.get("format") is not None:
        raise unsupported("DATE with a format")
    return Typed(f"({moment(lowering, node.this, day=True).sql})::date", DATE)


@lowers(exp.Time, exp.TsOrDsToTime, reads="this")
def _time(lowering: Lowering, node: exp.Expression) -> Typed:
    return clock(lowering, node.this)


_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@lowers(exp.TimestampDiff, reads="this expression unit")
def _timestamp_diff(lowering: Lowering, node: exp.Expression) -> Typed:
    later, earlier = moment(lowering, node.this).sql, moment(lowering, node.expression).sql
    unit = node.args["unit"].name.upper().removeprefix("SQL_TSI_")
    if unit not in UNITS:
        raise unsupported(f"TIMESTAMPDIFF in {unit}")
    if unit in _MONTHS:
        return Typed(f"my_whole_months({earlier},{later})//{_MONTHS[unit]}", INT)
    return Typed(f"date_sub('{UNITS[unit]}',{earlier},{later})", INT)


@lowers(exp.DateDiff, reads="this expression unit date_part_boundary")
def _date_diff(lowering: Lowering, node: exp.Expression) -> Typed:
    base = node.expression
    while isinstance(base, (exp.TsOrDsToDate, exp.TsOrDsToTimestamp)):
        base = base.this
    later = moment(lowering, node.this, day=True).sql
    if isinstance(base, exp.Literal) and str(base.this) == "0000-01-01":
        return Typed(f"(date_diff('day',date '1970-01-01',({later})::date)+{_DAYS_TO_EPOCH - 1})", INT)
    return Typed(f"date_diff('day',({moment(lowering, base, day=True).sql})::date,({later})::date)", INT)


@function("TO_DAYS", least=1)
def _to_days(lowering: Lowering, arguments: Arguments) -> Typed:
    day = f"({moment(lowering, arguments[0], day=True).sql})::date"
    return Typed(f"(date_diff('day',date '1970-01-01',{day})+{_DAYS_TO_EPOCH})", INT)


@lowers(exp.ToDays, reads="this")
def _to_days_node(lowering: Lowering, node: exp.Expression) -> Typed:
    return _to_days(lowering, (node.this,))


_KNOWN = frozenset({Kind.DATE, Kind.DATETIME, Kind.TIMESTAMP, Kind.TIME, Kind.NULL})
"""Kinds whose parts the engine works out: of a text or a number month and day may be zero."""


def _bare(node: exp.Expression) -> exp.Expression:
    """An argument without the wrappers that the parser puts around it."""
    while isinstance(node, (exp.TsOrDsToDate, exp.TsOrDsToTimestamp, exp.TsOrDsToTime)):
        node = node.this
    return node


def _date_part(lowering: Lowering, node: exp.Expression, unit: str, name: str) -> Typed:
    """A part of a date; ``name``: the engine's function for it."""
    if isinstance(node, exp.TsOrDsToDate) and isinstance(node.this, exp.TsOrDsToDate):
        return Typed(f"{name}({moment(lowering, node).sql})::bigint", INT)
    value = lowering.expression(_bare(node))
    if value.kind in _KNOWN:
        return Typed(f"{name}({instant(value, lowering.day_of(value)).sql})::bigint", INT)
    if value.kind in NUMBERS:
        return Typed(f"my_date_part_of_number('{unit}',{as_text(number(value)).sql})", INT)
    text = _plain_text(value)
    return Typed(f"coalesce({name}(my_written_moment({text}))::bigint,my_date_part('{unit}',{text}))", INT)


def _plain_text(value: Typed) -> str:
    return unquoted(value).sql if value.kind is Kind.JSON else as_text(value).sql


def _part(kind: type[exp.Expression], unit: str, name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return _date_part(lowering, node.this, unit, name)


for _kind, _unit, _name in (
    (exp.Year, "YEAR", "year"),
    (exp.Month, "MONTH", "month"),
    (exp.Day, "DAY", "day"),
    (exp.DayOfMonth, "DAY", "day"),
    (exp.Quarter, "QUARTER", "quarter"),
):
    _part(_kind, _unit, _name)


@lowers(exp.DayOfYear, reads="this")
def _day_of_year(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"dayofyear({moment(lowering, node.this, day=True).sql})::bigint", INT)


def _clock_part(kind: type[exp.Expression], unit_us: int, most: int) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(f"(abs({clock(lowering, node.this).sql})//{unit_us}%{most})", INT)


_CLOCK_UNITS = {
    "HOUR": (3_600_000_000, 1_000),
    "MINUTE": (60_000_000, 60),
    "SECOND": (1_000_000, 60),
    "MICROSECOND": (1, 1_000_000),
}
"""Of a TIME: microseconds of the unit, and how many make the next one."""

_clock_part(exp.Hour, *_CLOCK_UNITS["HOUR"])
_clock_part(exp.Minute, *_CLOCK_UNITS["MINUTE"])
_clock_part(exp.Second, *_CLOCK_UNITS["SECOND"])


@lowers(exp.DayOfWeek, reads="this")
def _day_of_week(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"(dayofweek({moment(lowering, node.this, day=True).sql})+1)::bigint", INT)


@function("WEEKDAY", least=1)
def _weekday(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(isodow({moment(lowering, arguments[0], day=True).sql})-1)::bigint", INT)


@lowers(exp.Dayname, reads="this")
def _day_name(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"dayname({moment(lowering, node.this, day=True).sql})", TEXT)


@lowers(exp.Monthname, reads="this")
def _month_name(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"monthname({moment(lowering, node.this, day=True).sql})", TEXT)


@function("MONTHNAME", least=1)
def _month_name_function(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"monthname({moment(lowering, arguments[0], day=True).sql})", TEXT)


@lowers(exp.Week, reads="this mode")
def _week(lowering: Lowering, node: exp.Expression) -> Typed:
    day, mode = moment(lowering, node.this, day=True).sql, _week_mode(lowering, node.args.get("mode"))
    if mode == "0":
        return Typed(f"my_week_sunday({day})::bigint", INT)
    if mode == "3":
        return Typed(f"weekofyear({day})::bigint", INT)
    return Typed(f"my_week({day},{mode})", INT)


def _week_mode(lowering: Lowering, node: exp.Expression | None) -> str:
    """0 to 7: higher bits do not count, and what is negative or NULL counts as 0."""
    if node is None:
        return "0"
    if isinstance(node, exp.Literal) and node.name.isdecimal():
        return str(int(node.name) & 7)
    mode = integer(lowering.expression(node))
    return f"(case when {mode}>0 then {mode}&7 else 0 end)::int"


@lowers(exp.WeekOfYear, reads="this")
def _week_of_year(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"weekofyear({moment(lowering, node.this, day=True).sql})::bigint", INT)


@function("YEARWEEK", least=1, most=2)
def _year_week(lowering: Lowering, arguments: Arguments) -> Typed:
    day = moment(lowering, arguments[0], day=True).sql
    mode = _week_mode(lowering, arguments[1] if len(arguments) > 1 else None)
    return Typed(f"my_year_week({day})::bigint" if mode == "0" else f"my_year_week_in({day},{mode})", INT)


@lowers(exp.LastDay, reads="this")
def _last_day(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"last_day({moment(lowering, node.this, day=True).sql})", DATE)


_DATE_UNITS = {"YEAR": "year", "MONTH": "month", "DAY": "day", "QUARTER": "quarter"}


@lowers(exp.Extract, reads="this expression")
def _extract(lowering: Lowering, node: exp.Expression) -> Typed:
    unit = node.this.name.upper()
    if unit in _DATE_UNITS:
        return _date_part(lowering, node.expression, unit, _DATE_UNITS[unit])
    if unit == "WEEK":
        return Typed(f"my_week_sunday({moment(lowering, node.expression).sql})::bigint", INT)
    if unit not in _CLOCK_UNITS and unit not in COMPOUND:
        raise unsupported(f"EXTRACT({unit})")
    value = lowering.expression(node.expression)
    if unit == "YEAR_MONTH":
        if value.kind not in _KNOWN:
            function_ = "my_date_part_of_number" if value.kind in NUMBERS else "my_date_part"
            return Typed(f"{function_}('{unit}',{_plain_text(value)})", INT)
        day = instant(value, lowering.day_of(value)).sql
        return Typed(f"(year({day})*100+month({day}))::bigint", INT)
    if value.kind not in _KNOWN:
        return Typed(f"my_extracted('{unit}',{_plain_text(value)})", INT)
    if value.kind is Kind.NULL:
        return Typed("null::bigint", INT)
    units = COMPOUND.get(unit, (unit.lower(),))
    time_of_day, total = clock_time(value).sql, ""
    for each in units:
        part = f"day({value.sql})" if value.kind is not Kind.TIME and each == "day" else "0"
        if each != "day":
            unit_us, most = _CLOCK_UNITS[each.upper()]
            part = f"(abs({time_of_day})//{unit_us}%{most})"
        width = 1_000_000 if each == "microsecond" else 100
        total = f"({total}*{width}+{part})" if total else part
    signed = f"sign({time_of_day})*" if value.kind is Kind.TIME else ""
    return Typed(f"(case when ({value.sql}) is not null then {signed}{total} end)::bigint", INT)


@function("MICROSECOND", least=1)
def _microsecond(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(abs({clock(lowering, arguments[0]).sql})%1000000)", INT)


@function("TIME_TO_SEC", least=1)
def _time_to_sec(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(({clock(lowering, arguments[0]).sql})//1000000)", INT)


@function("SEC_TO_TIME", least=1)
def _sec_to_time(lowering: Lowering, arguments: Arguments) -> Typed:
    value = number_of_seconds(lowering.expression(arguments[0]))
    fsp = min(value.type.scale, 6) if value.kind is Kind.DECIMAL else 6 if value.kind is Kind.DOUBLE else 0
    seconds = f"greatest(least({value.sql},3020399),-3020399)"
    return Typed(f"(case when ({value.sql}) is not null then ({seconds}*1000000)::bigint end)", time(fsp))


@function("MAKEDATE", least=2)
def _makedate(lowering: Lowering, arguments: Arguments) -> Typed:
    year, day = (integer(lowering.expression(argument)) for argument in arguments)
    return Typed(f"my_makedate({year},{day})", DATE)


def _of_periods(name: str, implementation: str) -> None:
    @function(name, least=2)
    def handler(lowering: Lowering, arguments: Arguments) -> Typed:
        one, other = (integer(lowering.expression(argument)) for argument in arguments)
        return Typed(f"{implementation}({one},{other})", INT)


_of_periods("PERIOD_DIFF", "my_period_between")
_of_periods("PERIOD_ADD", "my_period_moved")


@function("TO_SECONDS", least=1)
def _to_seconds(lowering: Lowering, arguments: Arguments) -> Typed:
    seconds = f"(epoch_us({moment(lowering, arguments[0]).sql})//1000000)"
    return Typed(f"({seconds}+{_DAYS_TO_EPOCH * 86_400})", INT)


@function("FROM_DAYS", least=1)
def _from_days(lowering: Lowering, arguments: Arguments) -> Typed:
    days = f"my_within({integer(lowering.expression(arguments[0]))},3652424)"
    return Typed(f"my_bounded(date '1970-01-01'+to_days(({days}-{_DAYS_TO_EPOCH})::int))::date", DATE)


@lowers(exp.TimeFromParts, reads="hour min sec")
def _maketime(lowering: Lowering, node: exp.Expression) -> Typed:
    hours, minutes = (integer(lowering.expression(node.args[name])) for name in ("hour", "min"))
    seconds = number(lowering.expression(node.args["sec"]))
    fsp = min(seconds.type.scale, 6) if seconds.kind is Kind.DECIMAL else 0
    valid = f"({minutes}) between 0 and 59 and ({seconds.sql})>=0 and ({seconds.sql})<60"
    size_us = f"(least(abs({hours}),839)*3600+({minutes})*60)*1000000+(({seconds.sql})*1000000)::bigint"
    signed = f"case when ({hours})<0 then -({size_us}) else {size_us} end"
    valid = f"{valid} and ({hours}) is not null"
    return Typed(f"(case when {valid} then my_clamped_time({signed}) end)", time(fsp))


@function("UNIX_TIMESTAMP", least=0, most=1)
def _unix_timestamp(lowering: Lowering, arguments: Arguments) -> Typed:
    if not arguments:
        return Typed(f"{lowering.context.now_us // 1_000_000}::bigint", INT)
    node = arguments[0]
    while isinstance(node, exp.Paren):
        node = node.this
    given = lowering.expression(node)
    is_stored = isinstance(node, (exp.Column, exp.AggFunc))
    value = given if is_stored else moment(lowering, node)
    if not value.stored:
        value = instant(value, lowering.day_of(value))
    utc = value.stored or to_utc(value.sql, lowering.context.time_zone)
    # What is no instant, or out of range, counts as zero.
    utc_us = f"epoch_us({utc})" if is_stored else f"my_unix_us(({given.sql}) is null,{utc})"
    if value.type.scale:
        micros = f"{utc_us}::decimal(24,0)*0.000001::decimal(7,6)"
        whole = f"({utc_us}//1000000)"
        return Typed(f"({micros})::decimal(20,6)", decimal(value.type.scale), whole=whole)
    return Typed(f"({utc_us}//1000000)", INT)


@lowers(exp.UnixToTime, reads="this format scale")
def _from_unixtime(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number_of_seconds(lowering.expression(node.this))
    inside = f"case when ({value.sql}) between 0 and {_UNIX_TIME_MAX} then ({value.sql}) end"
    if value.kind is Kind.DECIMAL:
        inside = f"({inside})::decimal(24,6)"
    utc = f"make_timestamp((({inside})*1000000)::bigint)"
    local = to_local(utc, lowering.context.time_zone)
    if node.args.get("format") is not None:
        return Typed(formatted(local, mysql_format(str(node.args["format"].this))), TEXT)
    fsp = (
        0
        if value.kind in (Kind.INT, Kind.UINT)
        else 6
        if value.kind is Kind.DOUBLE
        else min(value.type.scale, 6)
    )
    return Typed(local, datetime(fsp))


def zone_of(text: str) -> tzinfo | None:
    """A named zone or an offset; None when there is no such zone."""
    match = re.fullmatch(r"([+-])(\d{1,2}):([0-5]\d)", text)
    if match:
        minutes = (int(match[2]) * 60 + int(match[3])) * (-1 if match[1] == "-" else 1)
        if not _OFFSET_MIN <= minutes <= _OFFSET_MAX:
            return None
        return timezone(timedelta(minutes=minutes)) if minutes else UTC
    if text.upper() in ("SYSTEM", "UTC"):
        return UTC
    name = _zone_names().get(text.lower())
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    """Names of zones by what they are in lower case: MySQL compares them without case."""
    return {name.lower(): name for name in available_timezones()}


@lowers(exp.ConvertTimezone, reads="source_tz target_tz timestamp")
def _convert_tz(lowering: Lowering, node: exp.Expression) -> Typed:
    value = moment(lowering, node.args["timestamp"])
    names = [lowering.expression(node.args[side]) for side in ("source_tz", "target_tz")]
    if Kind.NULL in (name.kind for name in names):
        return Typed("null::timestamp", value.type)
    texts = [constant_text(name) for name in names]
    if None in texts:
        raise unsupported("CONVERT_TZ with a zone that is no constant")
    source, target = (zone_of(text or "") for text in texts)
    if source is None or target is None:
        return Typed("null::timestamp", value.type)
    # Bound to a name what is more than a column: conversions of conversions would multiply.
    clock = "clock" if "(" in value.sql else value.sql
    utc = to_utc(clock, source)
    inside = f"epoch_us({utc}) between 0 and {_UNIX_TIME_MAX}999999"
    converted = f"(case when {inside} then {to_local(utc, target)} else {clock} end)"
    if clock != value.sql:
        converted = f"list_transform([{value.sql}], lambda clock: {converted})[1]"
    return Typed(converted, value.type)
