"""What constant expressions fold to, and their calendar arithmetic."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Final

from z4sql.sql.temporal import EPOCH, fixed_offset_us, to_utc_us, transitions

DAY_US: Final = 86_400_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST_US: Final = (datetime(1, 1, 1) - EPOCH) // _MICROSECOND
_LAST_US: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_999) - EPOCH) // _MICROSECOND
_RULES_END_US: Final = (datetime(2037, 1, 1) - EPOCH) // _MICROSECOND


@dataclass(slots=True, frozen=True)
class Null:
    """SQL's NULL."""


@dataclass(slots=True, frozen=True)
class Text:
    """``literal``: written as such; MySQL refuses a bad instant then, and takes a computed one for zero."""

    value: str
    literal: bool = True


@dataclass(slots=True, frozen=True)
class Bytes:
    """A binary string: a text to a text, a number to a number, so only what compares it can tell."""

    value: bytes


@dataclass(slots=True, frozen=True)
class Number:
    value: Decimal


@dataclass(slots=True, frozen=True)
class Moment:
    """A DATE or DATETIME: ``naive_us`` is what a clock of the session shows, reckoned as if it were UTC."""

    naive_us: int
    is_date: bool = False


Constant = Null | Text | Bytes | Number | Moment


def number_of(text: str) -> Decimal | None:
    """A number written in full; MySQL's reading of a numeric prefix is left to the engine."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def instants(naive_us: int, zone: tzinfo) -> tuple[int, int]:
    """(least, greatest) instant that a wall clock reading can mean: two where the clock is put back.

    Where it is put forward they enclose the readings that never are.
    """
    # Where datetime ends, a zone's offset is that of the day before: the reading itself stays what it is.
    near_us = min(max(naive_us, _FIRST_US + DAY_US), _LAST_US - DAY_US)
    moment = EPOCH + timedelta(microseconds=near_us)
    found = [to_utc_us(near_us, zone) + naive_us - near_us]
    for fold in (0, 1):
        offset = moment.replace(tzinfo=zone, fold=fold).utcoffset()
        found.append(naive_us - (offset or timedelta()) // _MICROSECOND)
    if naive_us >= _RULES_END_US and fixed_offset_us(zone) is None:
        # The engine knows a zone's changes up to 2037; after them it keeps the last offset.
        found.append(naive_us - transitions(zone)[-1][1])
    return min(found), max(found)


def add_months(naive_us: int, months: int) -> int | None:
    """The same day of another month, or its last day. None outside the calendar (MySQL: NULL)."""
    moment = EPOCH + timedelta(microseconds=naive_us)
    year, month0 = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return None
    day = min(moment.day, monthrange(year, month0 + 1)[1])
    return (moment.replace(year=year, month=month0 + 1, day=day) - EPOCH) // _MICROSECOND


_UNIT_US: Final = {
    "MICROSECOND": 1,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": DAY_US,
    "WEEK": 7 * DAY_US,
}
_UNIT_MONTHS: Final = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_COMPOUND: Final = {
    "MINUTE_SECOND": ("MINUTE", "SECOND"),
    "HOUR_MINUTE": ("HOUR", "MINUTE"),
    "HOUR_SECOND": ("HOUR", "MINUTE", "SECOND"),
    "DAY_HOUR": ("DAY", "HOUR"),
    "DAY_MINUTE": ("DAY", "HOUR", "MINUTE"),
    "DAY_SECOND": ("DAY", "HOUR", "MINUTE", "SECOND"),
    "YEAR_MONTH": ("YEAR", "MONTH"),
}


@dataclass(slots=True, frozen=True)
class Span:
    """An INTERVAL: calendar months and a fixed time; ``keeps_date``: added to a DATE it gives a DATE."""

    months: int
    us: int
    keeps_date: bool

    def __neg__(self) -> Span:
        return Span(-self.months, -self.us, self.keeps_date)

    def after(self, moment: Moment) -> Constant:
        """``moment`` + this. MySQL manual: DATE_ADD."""
        naive_us: int | None = moment.naive_us
        if self.months:
            naive_us = add_months(moment.naive_us, self.months)
        if naive_us is None or not _FIRST_US <= naive_us + self.us <= _LAST_US:
            return Null()
        return Moment(naive_us + self.us, moment.is_date and self.keeps_date)


def span(quantity: Constant, unit: str) -> Span | None:
    """``INTERVAL quantity unit``; None where the engine has to say what it means."""
    unit = unit.upper().removeprefix("SQL_TSI_")
    if unit in _COMPOUND and isinstance(quantity, Text):
        return _compound(quantity.value, _COMPOUND[unit])
    value = quantity.value if isinstance(quantity, Number) else None
    if isinstance(quantity, Text):
        value = number_of(quantity.value)
    if value is None or abs(value) > 10**15:
        return None
    if unit in _UNIT_MONTHS:
        return Span(int(value.to_integral_value()) * _UNIT_MONTHS[unit], 0, True)
    if unit not in _UNIT_US:
        return None
    if unit != "SECOND":
        # MySQL manual: only SECOND keeps a fraction; other units round it.
        value = value.quantize(Decimal(1), "ROUND_HALF_UP")
    return Span(0, int(value * _UNIT_US[unit]), unit in ("DAY", "WEEK"))


def _compound(text: str, units: tuple[str, ...]) -> Span | None:
    parts = re.fullmatch(r"\s*(-?)\s*(\d+(?:[^\d.]+\d+)*)\s*", text)
    if parts is None:
        return None
    numbers = [int(part) for part in re.findall(r"\d+", parts[2])]
    if len(numbers) > len(units):
        return None
    months = us = 0
    # MySQL manual: missing parts are the leftmost ones.
    for number, unit in zip(numbers, units[-len(numbers) :], strict=True):
        months += number * _UNIT_MONTHS.get(unit, 0)
        us += number * _UNIT_US.get(unit, 0)
    whole = Span(months, us, "MONTH" in units)
    return -whole if parts[1] else whole
