"""Constant folding: what an expression without columns is worth while its statement runs.

What is not folded here gives None: then the predicate bounds nothing, and the engine alone decides it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, assert_never

from sqlglot import exp

from z4sql.sql.context import StatementContext
from z4sql.sql.engine.temporal_text import datetime_of_number, read_datetime
from z4sql.sql.errors import BadTemporal
from z4sql.sql.planner.choices import CHOICES, makedate, timestamp_with_time
from z4sql.sql.planner.constants import (
    DAY_US,
    Bytes,
    Constant,
    Moment,
    Null,
    Number,
    Span,
    Text,
    number_of,
    span,
)
from z4sql.sql.temporal import EPOCH, from_utc_us, naive_text, to_utc_us, try_temporal

_SECOND_US: Final = 1_000_000
# The parser has put MySQL's letters into Python's already.
_PLAIN_FORMATS: Final = frozenset({"%Y", "%y", "%m", "%d", "%H", "%M", "%S", "%f", "%B", "%b"})


class Folder:
    """Folds the expressions of one statement."""

    def __init__(self, context: StatementContext) -> None:
        self._context = context
        self.zone = context.time_zone

    def fold(self, node: exp.Expression) -> Constant | None:
        """The value, or None when ``node`` is not a constant that is understood here."""
        handler = _HANDLERS.get(type(node))
        return handler(self, node) if handler is not None else None

    def naive(self, constant: Constant) -> Moment | None:
        """``constant`` as what a TIMESTAMP column is compared with; None when it is NULL or unclear.

        :raises BadTemporal: a literal that is no instant: 1525, as MySQL, never an empty answer.
        """
        match constant:
            case Moment():
                return constant
            case Null():
                return None
            case Number(value):
                return _numbered(value)
            case Text(text, literal=False):
                return _computed(text)
            case Text(text):
                temporal = try_temporal(text)
            case Bytes(data):
                text = data.decode("utf-8", "backslashreplace")
                temporal = try_temporal(text)
            case _:
                assert_never(constant)
        if temporal is None:
            raise BadTemporal(f"Incorrect TIMESTAMP value: '{text}'")
        return Moment(temporal.local_us(self.zone), temporal.is_date)

    def now(self, digits: int) -> Moment:
        """NOW(digits): the statement's instant, truncated. MySQL manual: fractional seconds are cut off."""
        unit: int = 10 ** (6 - digits)
        return Moment(from_utc_us(self._context.now_us // unit * unit, self.zone))

    def utc_now(self, digits: int) -> Moment:
        unit: int = 10 ** (6 - digits)
        return Moment(self._context.now_us // unit * unit)

    def number(self, constant: Constant | None) -> Decimal | None:
        match constant:
            case Number(value):
                return value
            case Text(value):
                return number_of(value)
            case _:
                return None

    def user_variable(self, name: str) -> Constant | None:
        value = self._context.user_variables.get(name, self._context.user_variables.get(name.lower()))
        return constant_of(value)

    def moment_of(self, node: exp.Expression) -> Moment | Null | None:
        """An argument of a date function."""
        constant = self.fold(node)
        if constant is None or isinstance(constant, Null):
            return constant
        if isinstance(constant, Bytes):
            return None
        if isinstance(constant, Text):
            constant = Text(constant.value, literal=False)
        try:
            return self.naive(constant)
        except BadTemporal:
            return None

    def span_of(self, quantity: exp.Expression | None, unit: object) -> Span | None:
        folded = self.fold(quantity) if quantity is not None else None
        name = unit.name if isinstance(unit, exp.Expression) else str(unit or "DAY")
        return None if folded is None else span(folded, name)

    def added(self, base: exp.Expression, amount: Span | None, sign: int) -> Constant | None:
        if amount is None:
            return None
        moment = self.moment_of(base)
        if moment is None or isinstance(moment, Null):
            return moment
        return (amount if sign > 0 else -amount).after(moment)


def _numbered(value: Decimal) -> Moment | None:
    """A constant number, as YYYYMMDD[HHMMSS]; None for 0, which is before every instant.

    MySQL manual: Type Conversion in Expression Evaluation (a constant becomes what the column is).

    :raises BadTemporal: it is no instant
    """
    moment = datetime_of_number(f"{value:f}")
    if moment is None and value:
        raise BadTemporal(f"Incorrect TIMESTAMP value: '{value:f}'")
    return None if moment is None else Moment((moment - EPOCH) // timedelta(microseconds=1))


def _computed(text: str) -> Moment | None:
    """A text that is no literal, as the engine reads it; None where it would ignore a part."""
    temporal = try_temporal(text)
    moment, ignored = read_datetime(text)
    if temporal is None or moment is None or ignored:
        return None
    return Moment((moment - EPOCH) // timedelta(microseconds=1), temporal.is_date)


def constant_of(value: object) -> Constant | None:
    """A Python value, as a user variable or a parameter holds it."""
    match value:
        case None:
            return Null()
        case bool() | int():
            return Number(Decimal(int(value)))
        case Decimal():
            return Number(value)
        case float():
            return Number(Decimal(repr(value)))
        case str():
            return Text(value)
        case datetime():
            return Moment((value.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1))
        case date():
            return Moment((datetime.combine(value, time()) - EPOCH) // timedelta(microseconds=1), True)
        case _:
            return None


def _literal(_: Folder, node: exp.Expression) -> Constant | None:
    if node.args["is_string"]:
        return Text(node.name)
    value = number_of(node.name)
    return None if value is None else Number(value)


def _neg(folder: Folder, node: exp.Expression) -> Constant | None:
    folded = folder.fold(node.this)
    return Number(-folded.value) if isinstance(folded, Number) else None


def _paren(folder: Folder, node: exp.Expression) -> Constant | None:
    return folder.fold(node.this)


def _parameter(folder: Folder, node: exp.Expression) -> Constant | None:
    return folder.user_variable(node.name)


def _digits(node: exp.Expression | None) -> int | None:
    """The precision of NOW(6) and its kin."""
    if node is None:
        return 0
    return int(node.name) if node.is_int and 0 <= int(node.name) <= 6 else None


def _now(folder: Folder, node: exp.Expression) -> Constant | None:
    digits = _digits(node.args.get("this"))
    return None if digits is None else folder.now(digits)


def _utc_timestamp(folder: Folder, node: exp.Expression) -> Constant | None:
    digits = _digits(node.args.get("this"))
    return None if digits is None else folder.utc_now(digits)


def _current_date(folder: Folder, _: exp.Expression) -> Constant:
    return midnight(folder.now(0))


def _utc_date(folder: Folder, _: exp.Expression) -> Constant:
    return midnight(folder.utc_now(0))


def midnight(moment: Moment) -> Moment:
    return Moment(moment.naive_us // DAY_US * DAY_US, is_date=True)


def _add(folder: Folder, node: exp.Expression) -> Constant | None:
    sign = -1 if isinstance(node, exp.Sub) else 1
    left, right = node.this, node.expression
    if isinstance(left, exp.Interval) and sign > 0:
        left, right = right, left
        if isinstance(left, exp.Interval) and left.args.get("unit") is None:
            # sqlglot 30.30 reads the text in INTERVAL 1 DAY + '...' as another interval.
            left = left.this
    if isinstance(right, exp.Interval):
        return folder.added(left, folder.span_of(right.this, right.args.get("unit")), sign)
    first, second = folder.fold(left), folder.fold(right)
    if isinstance(first, Null) or isinstance(second, Null):
        return Null()
    if isinstance(first, Number) and isinstance(second, Number):
        return Number(first.value + sign * second.value)
    return None


def _multiply(folder: Folder, node: exp.Expression) -> Constant | None:
    first, second = folder.fold(node.this), folder.fold(node.expression)
    if isinstance(first, Number) and isinstance(second, Number):
        return Number(first.value * second.value)
    return None


def _date_add(folder: Folder, node: exp.Expression) -> Constant | None:
    sign = -1 if isinstance(node, exp.DateSub) else 1
    return folder.added(node.this, folder.span_of(node.expression, node.args.get("unit")), sign)


def _date_of(folder: Folder, node: exp.Expression) -> Constant | None:
    moment = folder.moment_of(node.this)
    return midnight(moment) if isinstance(moment, Moment) else moment


def _date_trunc(folder: Folder, node: exp.Expression) -> Constant | None:
    # The parser's form of DATE(NOW()).
    return _date_of(folder, node) if node.args["unit"].name.upper() == "DAY" else None


def _cast(folder: Folder, node: exp.Expression) -> Constant | None:
    to = node.args["to"]
    kind = to.this
    if node.args.get("action") or node.args.get("format") or node.args.get("default"):
        return None
    base = folder.moment_of(node.this)
    if kind == exp.DType.TIMESTAMPTZ and isinstance(node.this, exp.Literal):
        # TIMESTAMP'...'
        return folder.naive(Text(node.this.name))
    if kind == exp.DType.DATE:
        if isinstance(base, Moment):
            return midnight(base)
        if base is None and isinstance(node.this, exp.Literal):
            raise BadTemporal(f"Incorrect DATE value: '{node.this.name}'")
        return base
    if kind not in (exp.DType.DATETIME, exp.DType.TIMESTAMP) or base is None or isinstance(base, Null):
        return None
    digits = _digits(to.expressions[0].this) if to.expressions else 0
    if digits is None:
        return None
    unit: int = 10 ** (6 - digits)
    return Moment((base.naive_us + unit // 2) // unit * unit)


def _timestamp(folder: Folder, node: exp.Expression) -> Constant | None:
    if node.args.get("expression"):
        return None
    if node.args.get("zone"):
        return timestamp_with_time(folder, node)
    moment = folder.moment_of(node.this)
    return Moment(moment.naive_us) if isinstance(moment, Moment) else moment


def _unwrapped(folder: Folder, node: exp.Expression) -> Constant | None:
    moment = folder.moment_of(node.this)
    return moment if isinstance(moment, Moment) else None


def _from_unixtime(folder: Folder, node: exp.Expression) -> Constant | None:
    seconds = folder.number(folder.fold(node.this))
    if node.args.get("format") is not None or seconds is None or not 0 <= seconds < 32_536_771_200:
        return None
    utc_us = int((seconds * _SECOND_US).quantize(Decimal(1), "ROUND_HALF_UP"))
    return Moment(from_utc_us(utc_us, folder.zone))


def _str_to_date(folder: Folder, node: exp.Expression) -> Constant | None:
    text, form = folder.fold(node.this), node.args.get("format")
    if not isinstance(text, Text) or not isinstance(form, exp.Literal):
        return None
    return _strptime(text.value, form.name)


def _strptime(text: str, form: str) -> Constant | None:
    pattern = form.replace("%-", "%")
    pieces = {pattern[at : at + 2] for at in range(len(pattern)) if pattern[at] == "%"}
    if not pieces <= _PLAIN_FORMATS or not {"%d", "%Y"} <= pieces or not pieces & {"%m", "%B", "%b"}:
        return None
    try:
        moment = datetime.strptime(text.strip(), pattern)
    except ValueError:
        return None
    return Moment((moment - EPOCH) // timedelta(microseconds=1), "%H" not in pieces)


def _time_to_str(folder: Folder, node: exp.Expression) -> Constant | None:
    """DATE_FORMAT(constant, '%Y-%m-01') and the like, which begin a month or a year."""
    moment, form = folder.moment_of(node.this), node.args.get("format")
    if not isinstance(moment, Moment) or not isinstance(form, exp.Literal):
        return None
    full = naive_text(moment.naive_us)
    parts = {
        "%Y": full[:4],
        "%m": full[5:7],
        "%d": full[8:10],
        "%H": full[11:13],
        "%M": full[14:16],
        "%S": full[17:19],
        "%f": full[20:26],
    }
    text, at = "", 0
    while at < len(form.name):
        piece = form.name[at : at + 2] if form.name[at] == "%" else form.name[at]
        if piece[0] == "%" and piece not in parts:
            return None
        text += parts.get(piece, piece)
        at += len(piece)
    return Text(text, literal=False)


def _last_day(folder: Folder, node: exp.Expression) -> Constant | None:
    moment = folder.moment_of(node.this)
    if not isinstance(moment, Moment):
        return moment
    day = EPOCH + timedelta(microseconds=moment.naive_us // DAY_US * DAY_US)
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Moment((following - timedelta(days=1) - EPOCH) // timedelta(microseconds=1), is_date=True)


def _unix_timestamp(folder: Folder, arguments: Sequence[exp.Expression]) -> Constant | None:
    if not arguments:
        return Number(Decimal(folder.utc_now(0).naive_us // _SECOND_US))
    moment = folder.moment_of(arguments[0])
    if not isinstance(moment, Moment):
        return None
    return Number(Decimal(to_utc_us(moment.naive_us, folder.zone)) / _SECOND_US)


def _call(folder: Folder, node: exp.Expression) -> Constant | None:
    name, arguments = node.name.upper(), node.expressions
    match name:
        case "NOW" | "SYSDATE" | "LOCALTIME" | "LOCALTIMESTAMP":
            digits = _digits(arguments[0] if arguments else None)
            return None if digits is None else folder.now(digits)
        case "MAKEDATE" if len(arguments) == 2:
            return makedate(folder, arguments)
        case "UNIX_TIMESTAMP":
            return _unix_timestamp(folder, arguments)
        case "ADDDATE" | "SUBDATE" if len(arguments) == 2:
            sign = 1 if name == "ADDDATE" else -1
            amount = arguments[1]
            if isinstance(amount, exp.Interval):
                return folder.added(arguments[0], folder.span_of(amount.this, amount.args.get("unit")), sign)
            return folder.added(arguments[0], folder.span_of(amount, "DAY"), sign)
        case _:
            return None


_Handler = Callable[[Folder, exp.Expression], Constant | None]

_HANDLERS: Final[dict[type[exp.Expression], _Handler]] = {
    exp.Literal: _literal,
    exp.Null: lambda _folder, _node: Null(),
    exp.Boolean: lambda _folder, node: Number(Decimal(int(node.this))),
    exp.National: lambda _folder, node: Text(node.name),
    exp.Neg: _neg,
    exp.Paren: _paren,
    exp.Parameter: _parameter,
    exp.CurrentTimestamp: _now,
    exp.Localtime: _now,
    exp.Localtimestamp: _now,
    exp.UtcTimestamp: _utc_timestamp,
    exp.CurrentDate: _current_date,
    exp.UtcDate: _utc_date,
    exp.Add: _add,
    exp.Sub: _add,
    exp.Mul: _multiply,
    exp.DateAdd: _date_add,
    exp.DateSub: _date_add,
    exp.TimestampAdd: _date_add,
    exp.Date: _date_of,
    exp.TsOrDsToDate: _date_of,
    exp.DateTrunc: _date_trunc,
    exp.Cast: _cast,
    exp.Timestamp: _timestamp,
    exp.TsOrDsToTimestamp: _unwrapped,
    exp.UnixToTime: _from_unixtime,
    exp.StrToDate: _str_to_date,
    exp.StrToTime: _str_to_date,
    exp.TimeToStr: _time_to_str,
    exp.LastDay: _last_day,
    exp.Anonymous: _call,
    **CHOICES,
}
