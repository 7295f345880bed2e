"""Parts, sums and differences of texts and numbers that may be dates, datetimes or times.

MySQL manual: EXTRACT(); ADDTIME(); TIMEDIFF(). Of values of a known type the engine does the same by itself.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from z4sql.sql.engine.refusals import Refused
from z4sql.sql.engine.temporal_text import (
    TIME_MAX_US,
    fields_of_number,
    read_datetime,
    read_fields,
    read_time,
)
from z4sql.sql.engine.warnings import shown, warn
from z4sql.sql.render import time_text

_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_DATED: Final = re.compile(r"\s*(?:\d{1,4}[^\d\s:]+\d{1,2}[^\d\s]+\d|\d{8}(?!\d)|\d{12})", re.ASCII)
"""Begins as a date does, and not as a time."""
_UNITS: Final = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "MICROSECOND")
_AMOUNT_MAX: Final = 320_000_000_000_000_000
"""Microseconds: more leave the calendar from anywhere."""
_WIDTHS: Final = {"MICROSECOND": 1_000_000}


def date_part(unit: str, text: str) -> int | None:
    """YEAR, MONTH, DAY or QUARTER of a text; month and day may be zero."""
    fields = read_fields(text)
    if fields is None or read_datetime(text)[1]:
        warn(1292, f"Truncated incorrect date value: '{shown(text)}'")
    return None if fields is None else _date_part(unit, fields)


def date_part_of_number(unit: str, text: str) -> int | None:
    """As `date_part` of a number, printed plainly."""
    fields = fields_of_number(text)
    if fields is None:
        warn(1292, f"Incorrect datetime value: '{shown(text)}'")
        return None
    if unit == "YEAR_MONTH" and not fields[1]:
        # EXTRACT wants a month, but of zero.
        return None if fields[2] else 0
    return _date_part(unit, fields)


def _date_part(unit: str, fields: tuple[int, ...]) -> int:
    year, month, day = fields[:3]
    match unit:
        case "YEAR":
            return year
        case "QUARTER":
            return (month + 2) // 3
        case "YEAR_MONTH":
            return year * 100 + month
    return month if unit == "MONTH" else day


def extracted(unit: str, text: str) -> int | None:
    """EXTRACT of a unit with hours, minutes, seconds or microseconds, from a text."""
    first, _, last = unit.partition("_")
    units = _UNITS[_UNITS.index(first) : _UNITS.index(last or first) + 1]
    sign, values = 1, {}
    if _DATED.match(text):
        fields = read_fields(text)
        if fields is None:
            warn(1292, f"Incorrect datetime value: '{shown(text)}'")
            return None
        values = dict(zip(_UNITS, fields, strict=True))
    else:
        micros = _told_time(text)
        if micros is None:
            return None
        sign, micros = (-1 if micros < 0 else 1), abs(micros)
        seconds, micro = divmod(micros, 1_000_000)
        clock = {"HOUR": seconds // 3600, "MINUTE": seconds // 60 % 60, "SECOND": seconds % 60}
        values = {"DAY": 0, **clock, "MICROSECOND": micro}
    total = 0
    for each in units:
        total = total * _WIDTHS.get(each, 100) + values[each]
    return sign * total


def time_of_day(text: str) -> int | None:
    """A text as a TIME; of a date its midnight, where TIME() takes it for a time."""
    fields = read_fields(text) if _DATED.match(text) else None
    if fields is None:
        return _told_time(text)
    hour, minute, second, micros = fields[3:]
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros


def _told_time(text: str) -> int | None:
    micros, whole = read_time(text)
    if not whole:
        warn(1292, f"Truncated incorrect time value: '{shown(text)}'")
    return micros


def time_added(text: str, added_us: int) -> str | None:
    """ADDTIME to a text: a datetime stays one, and so does a time."""
    value = _moment_or_time(text)
    if value is None:
        return None
    is_moment, micros = value
    total = micros + added_us
    if not is_moment:
        total = max(-TIME_MAX_US, min(total, TIME_MAX_US))
        return time_text(total, 6 if total % 1_000_000 else 0).decode()
    try:
        moment = _EPOCH + timedelta(microseconds=total)
    except OverflowError:
        return None
    return moment.isoformat(" ")


def time_between(text: str, other: str) -> int | None:
    """TIMEDIFF of texts: NULL between a datetime and a time."""
    one, two = _moment_or_time(text), _moment_or_time(other)
    if one is None or two is None or one[0] != two[0]:
        return None
    return max(-TIME_MAX_US, min(one[1] - two[1], TIME_MAX_US))


def _moment_or_time(text: str) -> tuple[bool, int] | None:
    """(whether the text is a date or datetime, its microseconds)."""
    if _DATED.match(text):
        moment, ignored = read_datetime(text)
        if moment is None:
            warn(1292, f"Incorrect datetime value: '{shown(text)}'")
            return None
        if ignored:
            warn(1292, f"Truncated incorrect {ignored} value: '{shown(text)}'")
        return True, (moment - _EPOCH) // _MICROSECOND
    micros = _told_time(text)
    return None if micros is None else (False, micros)


_UNIT_US: Final = {
    "DAY": 86_400_000_000,
    "HOUR": 3_600_000_000,
    "MINUTE": 60_000_000,
    "SECOND": 1_000_000,
    "MICROSECOND": 1,
}


def amount(unit: str, text: str) -> int | None:
    """An interval of several units: months of YEAR_MONTH, else microseconds. NULL for too many numbers."""
    first, _, last = unit.partition("_")
    units = _UNITS[_UNITS.index(first) : _UNITS.index(last) + 1]
    numbers = re.findall(r"\d+", text)
    if len(numbers) > len(units):
        return None
    total = 0
    for digits, each in zip(numbers, units[len(units) - len(numbers) :], strict=True):
        # A fraction of a second is written with its leading zeros.
        count = int(digits.ljust(6, "0") if each == "MICROSECOND" else digits)
        total += count * (12 if each == "YEAR" else 1 if each == "MONTH" else _UNIT_US[each])
    if total > _AMOUNT_MAX:
        return None
    return -total if text.lstrip().startswith("-") else total


def period_moved(period: int, months: int) -> int:
    """PERIOD_ADD. :raises Refused: no period (1210)"""
    moved = _months(period, "period_add") + months
    year, month = divmod(moved, 12)
    # As a number of 64 bits goes around.
    return (_period_year(year) * 100 + month + 1 + 2**63) % 2**64 - 2**63


def period_between(one: int, other: int) -> int:
    """PERIOD_DIFF. :raises Refused: no period (1210)"""
    return _months(one, "period_diff") - _months(other, "period_diff")


def _months(period: int, function: str) -> int:
    year, month = divmod(period, 100)
    if period <= 0 or not 1 <= month <= 12:
        raise Refused(1210, f"Incorrect arguments to {function}")
    return _period_year(year) * 12 + month - 1


def _period_year(year: int) -> int:
    return year + 2000 if 0 <= year < 70 else year + 1900 if 70 <= year < 100 else year
