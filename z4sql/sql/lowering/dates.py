"""Dates, times and intervals. MySQL manual: Date and Time Functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlglot import exp

from z4sql.sql.errors import SqlError, SyntaxProblem
from z4sql.sql.lowering.conversion import clock_time, instant, integer, number
from z4sql.sql.lowering.date_format import formatted, mysql_format
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.intervals import COMPOUND, UNITS
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    DATE,
    INT,
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
_DAYS_TO_EPOCH = 719_528


def moment(lowering: Lowering, node: exp.Expression) -> Typed:
    """A function's argument as a datetime, without the wrappers that the parser puts around it."""
    is_day = False
    while isinstance(node, (exp.TsOrDsToDate, exp.TsOrDsToTimestamp)):
        # DATE(x) too reads as such a wrapper.
        is_day = is_day or isinstance(node, exp.TsOrDsToDate)
        node = node.this
    operand = lowering.expression(node)
    value = instant(operand, lowering.day_of(operand))
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


@lowers(exp.CurrentTimestamp, exp.Localtime, reads="this sysdate")
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
    return Typed(f"({moment(lowering, node.this).sql})::date", DATE)


@lowers(exp.Time, exp.TsOrDsToTime, reads="this")
def _time(lowering: Lowering, node: exp.Expression) -> Typed:
    return clock(lowering, node.this)


_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


@lowers(exp.TimestampDiff, reads="this expression unit")
def _timestamp_diff(lowering: Lowering, node: exp.Expression) -> Typed:
    later, earlier = moment(lowering, node.this).sql, moment(lowering, node.expression).sql
    unit = node.args["unit"].name.upper()
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
    later = moment(lowering, node.this).sql
    if isinstance(base, exp.Literal) and str(base.this) == "0000-01-01":
        return Typed(f"(date_diff('day',date '1970-01-01',({later})::date)+{_DAYS_TO_EPOCH - 1})", INT)
    return Typed(f"date_diff('day',({moment(lowering, base).sql})::date,({later})::date)", INT)


@function("TO_DAYS", least=1)
def _to_days(lowering: Lowering, arguments: Arguments) -> Typed:
    day = f"({moment(lowering, arguments[0]).sql})::date"
    return Typed(f"(date_diff('day',date '1970-01-01',{day})+{_DAYS_TO_EPOCH})", INT)


@lowers(exp.ToDays, reads="this")
def _to_days_node(lowering: Lowering, node: exp.Expression) -> Typed:
    return _to_days(lowering, (node.this,))


def _part(kind: type[exp.Expression], name: str) -> None:
    @lowers(kind, reads="this")
    def handler(lowering: Lowering, node: exp.Expression) -> Typed:
        return Typed(f"{name}({moment(lowering, node.this).sql})::bigint", INT)


for _kind, _name in (
    (exp.Year, "year"),
    (exp.Month, "month"),
    (exp.Day, "day"),
    (exp.DayOfMonth, "day"),
    (exp.DayOfYear, "dayofyear"),
    (exp.Quarter, "quarter"),
):
    _part(_kind, _name)


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
    return Typed(f"(dayofweek({moment(lowering, node.this).sql})+1)::bigint", INT)


@function("WEEKDAY", least=1)
def _weekday(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(isodow({moment(lowering, arguments[0]).sql})-1)::bigint", INT)


@lowers(exp.Dayname, reads="this")
def _day_name(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"dayname({moment(lowering, node.this).sql})", TEXT)


@lowers(exp.Monthname, reads="this")
def _month_name(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"monthname({moment(lowering, node.this).sql})", TEXT)


@function("MONTHNAME", least=1)
def _month_name_function(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"monthname({moment(lowering, arguments[0]).sql})", TEXT)


@lowers(exp.Week, reads="this mode")
def _week(lowering: Lowering, node: exp.Expression) -> Typed:
    day = moment(lowering, node.this).sql
    mode = "0" if node.args.get("mode") is None else str(node.args["mode"].this)
    if mode == "0":
        return Typed(f"my_week_sunday({day})::bigint", INT)
    if mode == "3":
        return Typed(f"weekofyear({day})::bigint", INT)
    if not mode.isdecimal():
        raise unsupported("WEEK with a mode that is no constant")
    return Typed(f"my_week({day},{int(mode) & 7})", INT)


@lowers(exp.WeekOfYear, reads="this")
def _week_of_year(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"weekofyear({moment(lowering, node.this).sql})::bigint", INT)


@function("YEARWEEK", least=1, most=2)
def _year_week(lowering: Lowering, arguments: Arguments) -> Typed:
    mode = "0" if len(arguments) == 1 else str(arguments[1].this)
    if not mode.isdecimal():
        raise unsupported("YEARWEEK with a mode that is no constant")
    if mode != "0":
        return Typed(f"my_year_week_in({moment(lowering, arguments[0]).sql},{int(mode) & 7})", INT)
    return Typed(f"my_year_week({moment(lowering, arguments[0]).sql})::bigint", INT)


@lowers(exp.LastDay, reads="this")
def _last_day(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"last_day({moment(lowering, node.this).sql})", DATE)


@lowers(exp.Extract, reads="this expression")
def _extract(lowering: Lowering, node: exp.Expression) -> Typed:
    unit = node.this.name.upper()
    if unit in _CLOCK_UNITS:
        unit_us, most = _CLOCK_UNITS[unit]
        return Typed(f"({clock(lowering, node.expression).sql}//{unit_us}%{most})", INT)
    value = moment(lowering, node.expression).sql
    if unit in UNITS:
        if unit == "WEEK":
            return Typed(f"my_week_sunday({value})::bigint", INT)
        return Typed(f"extract({unit.lower()} from {value})::bigint", INT)
    words = COMPOUND.get(unit)
    if words is None or "microsecond" in words:
        raise unsupported(f"EXTRACT({unit})")
    parts = [f"{word}({value})*{100 ** (len(words) - 1 - at)}" for at, word in enumerate(words)]
    return Typed(f"({'+'.join(parts)})::bigint", INT)


@function("MICROSECOND", least=1)
def _microsecond(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(abs({clock(lowering, arguments[0]).sql})%1000000)", INT)


@function("TIME_TO_SEC", least=1)
def _time_to_sec(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(({clock(lowering, arguments[0]).sql})//1000000)", INT)


@function("SEC_TO_TIME", least=1)
def _sec_to_time(lowering: Lowering, arguments: Arguments) -> Typed:
    value = number(lowering.expression(arguments[0]))
    fsp = min(value.type.scale, 6) if value.kind is Kind.DECIMAL else 6 if value.kind is Kind.DOUBLE else 0
    seconds = f"greatest(least({value.sql},3020399),-3020399)"
    return Typed(f"(case when ({value.sql}) is not null then ({seconds}*1000000)::bigint end)", time(fsp))


@function("MAKEDATE", least=2)
def _makedate(lowering: Lowering, arguments: Arguments) -> Typed:
    year, day = (integer(lowering.expression(argument)) for argument in arguments)
    return Typed(f"my_makedate({year},{day})", DATE)


@function("PERIOD_DIFF", least=2)
def _period_diff(lowering: Lowering, arguments: Arguments) -> Typed:
    one, other = (integer(lowering.expression(argument)) for argument in arguments)
    return Typed(f"(my_months({one})-my_months({other}))", INT)


@function("PERIOD_ADD", least=2)
def _period_add(lowering: Lowering, arguments: Arguments) -> Typed:
    period, months = (integer(lowering.expression(argument)) for argument in arguments)
    moved = f"(my_months({period})+{months})"
    return Typed(f"({moved}//12*100+{moved}%12+1)", INT)


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
    return Typed(f"(case when {valid} then my_clamped_time({signed}) end)", time(fsp))


@function("UNIX_TIMESTAMP", least=0, most=1)
def _unix_timestamp(lowering: Lowering, arguments: Arguments) -> Typed:
    if not arguments:
        return Typed(f"{lowering.context.now_us // 1_000_000}::bigint", INT)
    node = arguments[0]
    while isinstance(node, exp.Paren):
        node = node.this
    value = (
        lowering.expression(node) if isinstance(node, (exp.Column, exp.AggFunc)) else moment(lowering, node)
    )
    if not value.stored:
        value = instant(value, lowering.day_of(value))
    utc = value.stored or to_utc(value.sql, lowering.context.time_zone)
    if value.type.scale:
        micros = f"epoch_us({utc})::decimal(24,0)*0.000001::decimal(7,6)"
        return Typed(f"({micros})::decimal(20,6)", decimal(value.type.scale))
    return Typed(f"(epoch_us({utc})//1000000)", INT)


@lowers(exp.UnixToTime, reads="this format scale")
def _from_unixtime(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
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
    match = re.fullmatch(r"([+-])(\d{1,2}):(\d\d)", text)
    if match:
        minutes = int(match.group(2)) * 60 + int(match.group(3))
        if minutes > 14 * 60:
            return None
        return timezone(timedelta(minutes=-minutes if match.group(1) == "-" else minutes)) if minutes else UTC
    if text.upper() in ("SYSTEM", "UTC"):
        return UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


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
    return Typed(to_local(to_utc(value.sql, source), target), value.type)
