"""Dates, times and intervals. MySQL manual: Date and Time Functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlglot import exp

from z4sql.sql.lowering.casts import cast_to
from z4sql.sql.lowering.conversion import instant, integer, number
from z4sql.sql.lowering.date_format import formatted, mysql_format
from z4sql.sql.lowering.expressions import Lowering, unsupported
from z4sql.sql.lowering.registry import function, lowers
from z4sql.sql.lowering.typed import (
    DATE,
    INT,
    TEXT,
    Typed,
    datetime,
    decimal,
    quoted,
    time,
)
from z4sql.sql.lowering.zones import to_local, to_utc
from z4sql.sql.temporal import naive_text, try_temporal
from z4sql.sql.types import Kind

Arguments = Sequence[exp.Expression]

_UNITS = {
    unit: unit.lower()
    for unit in ("MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
}
_COMPOUND = {
    "SECOND_MICROSECOND": ("second", "microsecond"),
    "MINUTE_SECOND": ("minute", "second"),
    "HOUR_MINUTE": ("hour", "minute"),
    "HOUR_SECOND": ("hour", "minute", "second"),
    "DAY_HOUR": ("day", "hour"),
    "DAY_MINUTE": ("day", "hour", "minute"),
    "DAY_SECOND": ("day", "hour", "minute", "second"),
    "YEAR_MONTH": ("year", "month"),
}
_DAYS_TO_EPOCH = 719_528


def moment(lowering: Lowering, node: exp.Expression) -> Typed:
    """A function's argument as a datetime, without the wrappers that the parser puts around it."""
    while isinstance(node, (exp.TsOrDsToDate, exp.TsOrDsToTimestamp)):
        node = node.this
    return instant(lowering.expression(node))


def _now(lowering: Lowering, fsp: int = 0) -> Typed:
    local = lowering.now_local_us
    unit = 10 ** (6 - fsp)
    return Typed(f"timestamp '{naive_text(local // unit * unit)}'", datetime(fsp))


def _fsp(node: exp.Expression | None) -> int:
    return 0 if node is None else int(str(node.this))


@lowers(exp.CurrentTimestamp, exp.Localtime, reads="this sysdate")
def _current_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    return _now(lowering, _fsp(node.args.get("this")))


@function("NOW", "SYSDATE", "LOCALTIME", "LOCALTIMESTAMP", least=0, most=1)
def _now_function(lowering: Lowering, arguments: Arguments) -> Typed:
    return _now(lowering, _fsp(arguments[0] if arguments else None))


@lowers(exp.UtcTimestamp, reads="this")
def _utc_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    fsp = _fsp(node.args.get("this"))
    unit = 10 ** (6 - fsp)
    return Typed(f"timestamp '{naive_text(lowering.context.now_us // unit * unit)}'", datetime(fsp))


@lowers(exp.CurrentDate, reads="")
def _current_date(lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed(f"date '{naive_text(lowering.now_local_us, 0)[:10]}'", DATE)


@lowers(exp.UtcDate, reads="")
def _utc_date(lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed(f"date '{naive_text(lowering.context.now_us, 0)[:10]}'", DATE)


@lowers(exp.CurrentTime, reads="this")
def _current_time(lowering: Lowering, _node: exp.Expression) -> Typed:
    return Typed(f"{lowering.now_local_us // 1_000_000 * 1_000_000 % 86_400_000_000}::bigint", time(0))


@lowers(exp.TsOrDsToTimestamp, reads="this")
def _to_timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    return instant(lowering.expression(node.this))


@lowers(exp.Timestamp, reads="this with_tz safe")
def _timestamp(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if isinstance(node.this, exp.Literal) and node.this.is_string:
        return cast_to(lowering, value, exp.DataType.build("datetime"))
    return instant(value)


@lowers(exp.TsOrDsToDate, exp.Date, reads="this format safe")
def _date(lowering: Lowering, node: exp.Expression) -> Typed:
    if node.args.get("format") is not None:
        raise unsupported("DATE with a format")
    return Typed(f"({moment(lowering, node.this).sql})::date", DATE)


@lowers(exp.Time, exp.TsOrDsToTime, reads="this")
def _time(lowering: Lowering, node: exp.Expression) -> Typed:
    value = lowering.expression(node.this)
    if value.kind is Kind.TIME:
        return value
    if value.kind is Kind.STRING:
        return Typed(f"my_time({value.sql})", time(6))
    converted = instant(value)
    return Typed(f"(epoch_us({converted.sql})%86400000000)", time(converted.type.scale))


def _steps(lowering: Lowering, amount: exp.Expression, unit: str, sign: int) -> tuple[str, str]:
    """(the addition, its smallest unit) for an interval."""
    mark = "+" if sign > 0 else "-"
    if unit in _COMPOUND:
        if not isinstance(amount, exp.Literal):
            raise unsupported("an interval of several units that is no constant")
        numbers = [int(digits) for digits in re.findall(r"\d+", str(amount.this))]
        words = _COMPOUND[unit][-len(numbers) :] if len(numbers) < len(_COMPOUND[unit]) else _COMPOUND[unit]
        if str(amount.this).lstrip().startswith("-"):
            mark = "-" if mark == "+" else "+"
        return " ".join(
            f"{mark} interval ({n}) {word}" for n, word in zip(numbers, words, strict=False)
        ), unit
    word = _UNITS.get(unit)
    if word is None:
        raise unsupported(f"INTERVAL {unit}")
    if isinstance(amount, exp.Literal):
        text = str(amount.this).strip()
        if "." in text and word == "second":
            return f"{mark} interval ({round(float(text) * 1e6)}) microsecond", "MICROSECOND"
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
            return f"{mark} interval ({round(float(text))}) {word}", unit
    value = number(lowering.expression(amount))
    if value.kind in (Kind.DECIMAL, Kind.DOUBLE) and word == "second":
        return f"{mark} to_microseconds(round(({value.sql})*1000000)::bigint)", "MICROSECOND"
    narrow = word in ("year", "month", "quarter", "week", "day")
    return f"{mark} to_{word}s(({integer(value)})::{'int' if narrow else 'bigint'})", unit


def shift(
    lowering: Lowering, base: exp.Expression, amount: exp.Expression, unit: exp.Expression | None, sign: int
) -> Typed:
    """``base`` moved by an interval."""
    name = str(unit.this if unit is not None else "DAY").upper().removesuffix("S")
    addition, smallest = _steps(lowering, amount, name, sign)
    value = lowering.expression(base)
    if value.kind is Kind.STRING and value.type.literal:
        parsed = try_temporal(value.sql[1:-1].replace("''", "'"))
        if parsed is None:
            return Typed("null::timestamp", datetime(0))
        local = parsed.local_us(lowering.context.time_zone)
        fsp = 6 if "MICRO" in smallest or local % 1_000_000 else 0
        return Typed(f"(timestamp {quoted(naive_text(local))} {addition})", datetime(fsp))
    if value.kind is Kind.DATE and not re.search("HOUR|MINUTE|SECOND", smallest):
        return Typed(f"(({value.sql} {addition})::date)", DATE)
    if value.kind is Kind.TIME:
        raise unsupported("an interval added to TIME")
    converted = instant(value)
    return Typed(
        f"({converted.sql} {addition})", datetime(6 if "MICRO" in smallest else converted.type.scale)
    )


def _amount(node: exp.Expression) -> exp.Expression:
    return node.this if isinstance(node, exp.Interval) else node


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


def _unit_of(node: exp.Expression) -> exp.Expression:
    unit = node.args.get("unit") if isinstance(node, exp.Interval) else None
    return unit if unit is not None else exp.var("DAY")


@lowers(exp.TimestampDiff, reads="this expression unit")
def _timestamp_diff(lowering: Lowering, node: exp.Expression) -> Typed:
    later, earlier = moment(lowering, node.this).sql, moment(lowering, node.expression).sql
    unit = node.args["unit"].name.upper()
    if unit not in _UNITS:
        raise unsupported(f"TIMESTAMPDIFF in {unit}")
    return Typed(f"date_sub('{_UNITS[unit]}',{earlier},{later})", INT)


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
    (exp.Hour, "hour"),
    (exp.Minute, "minute"),
    (exp.Second, "second"),
):
    _part(_kind, _name)


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
    raise unsupported(f"WEEK with mode {mode}")


@lowers(exp.WeekOfYear, reads="this")
def _week_of_year(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"weekofyear({moment(lowering, node.this).sql})::bigint", INT)


@function("YEARWEEK", least=1, most=2)
def _year_week(lowering: Lowering, arguments: Arguments) -> Typed:
    if len(arguments) == 2 and str(arguments[1].this) != "0":
        raise unsupported("YEARWEEK with a mode")
    return Typed(f"my_year_week({moment(lowering, arguments[0]).sql})::bigint", INT)


@lowers(exp.LastDay, reads="this")
def _last_day(lowering: Lowering, node: exp.Expression) -> Typed:
    return Typed(f"last_day({moment(lowering, node.this).sql})", DATE)


@lowers(exp.Extract, reads="this expression")
def _extract(lowering: Lowering, node: exp.Expression) -> Typed:
    unit, value = node.this.name.upper(), moment(lowering, node.expression).sql
    if unit in _UNITS and unit != "MICROSECOND":
        if unit == "WEEK":
            return Typed(f"my_week_sunday({value})::bigint", INT)
        return Typed(f"extract({unit.lower()} from {value})::bigint", INT)
    if unit == "MICROSECOND":
        return Typed(f"(epoch_us({value})%1000000)", INT)
    words = _COMPOUND.get(unit)
    if words is None or "microsecond" in words:
        raise unsupported(f"EXTRACT({unit})")
    parts = [f"{word}({value})*{100 ** (len(words) - 1 - at)}" for at, word in enumerate(words)]
    return Typed(f"({'+'.join(parts)})::bigint", INT)


@function("MICROSECOND", least=1)
def _microsecond(lowering: Lowering, arguments: Arguments) -> Typed:
    return Typed(f"(epoch_us({moment(lowering, arguments[0]).sql})%1000000)", INT)


@function("TIME_TO_SEC", least=1)
def _time_to_sec(lowering: Lowering, arguments: Arguments) -> Typed:
    value = lowering.expression(arguments[0])
    if value.kind is Kind.TIME:
        return Typed(f"(({value.sql})//1000000)", INT)
    if value.kind is Kind.STRING:
        return Typed(f"(my_time({value.sql})//1000000)", INT)
    return Typed(f"(epoch_us({instant(value).sql})%86400000000//1000000)", INT)


@function("SEC_TO_TIME", least=1)
def _sec_to_time(lowering: Lowering, arguments: Arguments) -> Typed:
    value = number(lowering.expression(arguments[0]))
    fsp = min(value.type.scale, 6) if value.kind is Kind.DECIMAL else 6 if value.kind is Kind.DOUBLE else 0
    return Typed(f"(({value.sql})*1000000)::bigint", time(fsp))


@function("TIMEDIFF", least=2)
def _timediff(lowering: Lowering, arguments: Arguments) -> Typed:
    one, other = (moment(lowering, argument) for argument in arguments)
    fsp = max(one.type.scale, other.type.scale)
    return Typed(f"(epoch_us({one.sql})-epoch_us({other.sql}))", time(fsp))


@function("MAKEDATE", least=2)
def _makedate(lowering: Lowering, arguments: Arguments) -> Typed:
    year, day = (integer(lowering.expression(argument)) for argument in arguments)
    return Typed(f"(make_date(({year})::int,1,1)+to_days((({day})-1)::int))::date", DATE)


@function("PERIOD_DIFF", least=2)
def _period_diff(lowering: Lowering, arguments: Arguments) -> Typed:
    one, other = (integer(lowering.expression(argument)) for argument in arguments)
    return Typed(f"((({one})//100*12+({one})%100)-(({other})//100*12+({other})%100))", INT)


@function("UNIX_TIMESTAMP", least=0, most=1)
def _unix_timestamp(lowering: Lowering, arguments: Arguments) -> Typed:
    if not arguments:
        return Typed(f"{lowering.context.now_us // 1_000_000}::bigint", INT)
    value = moment(lowering, arguments[0])
    utc = to_utc(value.sql, lowering.context.time_zone)
    if value.type.scale:
        micros = f"epoch_us({utc})::decimal(24,0)*0.000001::decimal(7,6)"
        return Typed(f"({micros})::decimal(20,6)", decimal(value.type.scale))
    return Typed(f"(epoch_us({utc})//1000000)", INT)


@lowers(exp.UnixToTime, reads="this format scale")
def _from_unixtime(lowering: Lowering, node: exp.Expression) -> Typed:
    value = number(lowering.expression(node.this))
    utc = f"make_timestamp((({value.sql})*1000000)::bigint)"
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
    names = [node.args["source_tz"], node.args["target_tz"]]
    if not all(isinstance(name, exp.Literal) for name in names):
        raise unsupported("CONVERT_TZ with a zone that is no constant")
    source, target = (zone_of(str(name.this)) for name in names)
    if source is None or target is None:
        return Typed("null::timestamp", value.type)
    return Typed(to_local(to_utc(value.sql, source), target), value.type)
