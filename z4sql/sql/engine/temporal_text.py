"""Texts and numbers as MySQL reads dates and times: leniently, NULL for what is none.

MySQL manual: Date and Time Literals; String and Numeric Literals in Date and Time Context.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_DELIMITED = re.compile(
    rf"(\d{{1,4}}){_PUNCTUATION}+(\d{{1,2}}){_PUNCTUATION}+(\d{{1,2}})"
    rf"(?:(?:T|\s+|{_PUNCTUATION}+)(\d{{1,2}})(?:{_PUNCTUATION}+(\d{{1,2}})(?:{_PUNCTUATION}+(\d{{1,2}})"
    r"(?:\.(\d*))?)?)?)?(Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_POINTED = re.compile(rf"\d{{1,4}}\.{_PUNCTUATION}*\d{{1,2}}{_PUNCTUATION}+\d", re.ASCII)
_PLAIN = re.compile(r"([\dT]+)(?:\.(\d*))?", re.ASCII)
_FULL = re.compile(r"\s*\d{2,4}\D\d{1,2}\D\d{1,2}[T ]+\d", re.ASCII)
_DAYS = re.compile(r"(\d+) +(\d+)(?::(\d+)(?::(\d+))?)?(?:\.(\d*))?", re.ASCII)
_CLOCK = re.compile(r"(\d+):(\d+)(?::(\d+))?(?:\.(\d*))?", re.ASCII)
_DIGITS = re.compile(r"(\d+)(?:\.(\d*))?", re.ASCII)
_FULL_DIGITS = 12
TIME_MAX_US = (838 * 3600 + 59 * 60 + 59) * 1_000_000


class _Written(NamedTuple):
    """``fields``: year, month, day, hour, minute, second. ``ignored``: what the text is if more follows."""

    fields: tuple[int, ...]
    fraction: str
    zone: str | None
    ignored: str


def datetime_of(text: str) -> datetime | None:
    """A text as a datetime (UTC where it names an offset); what stands behind the last part is ignored."""
    return read_datetime(text)[0]


def read_datetime(text: str) -> tuple[datetime | None, str]:
    """As `datetime_of`, and what the text was (``date`` or ``datetime``) if something was ignored."""
    written = _written(text)
    if written is None:
        return None, ""
    moment, zone = _moment(written.fields, written.fraction), written.zone
    if moment is None or zone in (None, "Z"):
        return moment, written.ignored
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return moment - timedelta(minutes=-minutes if zone[0] == "-" else minutes), written.ignored


def read_fields(text: str) -> tuple[int, ...] | None:
    """Year, month, day, hour, minute, second and microseconds; month or day, but not all, may be zero."""
    written = _written(text)
    return None if written is None else _fuzzy(written)


def fields_of_number(text: str) -> tuple[int, ...] | None:
    """As `read_fields` of a number, printed plainly; of zero all are zero but the year."""
    digits = _number_digits(text)
    fields = None if digits is None else _digit_fields(digits)
    fraction = text.partition(".")[2]
    return None if fields is None else _fuzzy(_Written(fields, fraction, None, ""), zero=True)


def _fuzzy(written: _Written, *, zero: bool = False) -> tuple[int, ...] | None:
    year, month, day, hour, minute, second = written.fields
    if (
        not (zero or year or month or day)
        or month > 12
        or day > 31
        or hour > 23
        or minute > 59
        or second > 59
    ):
        return None
    if month and day and _moment(written.fields, "") is None and year:
        return None
    return (*written.fields, min(_micros(written.fraction), 999_999))


def _written(text: str) -> _Written | None:
    stripped = text.lstrip()
    plain = _PLAIN.match(stripped)
    if plain is not None and _ends(stripped, plain.end(1)) and not _POINTED.match(stripped):
        digits = plain[1].replace("T", "")
        fields = _digit_fields(digits)
        if fields is None:
            return None
        timed = len(digits) >= _FULL_DIGITS
        ignored = _ignored(stripped, plain, timed=timed)
        return _Written(fields, (plain[2] or "") if timed else "", None, ignored)
    match = _DELIMITED.match(stripped)
    if match is None:
        return None
    year, *parts, fraction, zone = match.groups()
    fields = (_full_year(year), *(int(part or 0) for part in parts))
    return _Written(fields, fraction or "", zone, _ignored(stripped, match, timed=match[4] is not None))


def _ignored(text: str, match: re.Match[str], *, timed: bool) -> str:
    if not text[match.end() :].strip():
        return ""
    return "datetime" if timed else "date"


def _ends(text: str, at: int) -> bool:
    return at == len(text) or text[at] == "." or text[at].isspace()


def _digit_fields(digits: str) -> tuple[int, ...] | None:
    """YYYYMMDD[HHMMSS] and YYMMDD[HHMMSS]."""
    year_length = 4 if len(digits) in (4, 8) or len(digits) >= 14 else 2
    parts = [int(digits[at : at + 2]) for at in range(year_length, len(digits), 2)]
    if len(parts) < 2:
        return None
    return (_full_year(digits[:year_length]), *[*parts, 0, 0, 0][:5])


def _full_year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) > 2 else year + (2000 if year < 70 else 1900)


def _moment(fields: tuple[int, ...], fraction: str) -> datetime | None:
    year, month, day, hour, minute, second = fields
    try:
        moment = datetime(year, month, day, hour, minute, second)
        return moment + timedelta(microseconds=_micros(fraction))
    except (ValueError, OverflowError):
        return None


def _micros(fraction: str) -> int:
    """Six digits of a fraction, rounded by the seventh."""
    return (int(fraction[:7].ljust(7, "0")) + 5) // 10 if fraction else 0


def datetime_of_number(text: str) -> datetime | None:
    """A number, printed plainly, as YYYYMMDD[HHMMSS] or YYMMDD[HHMMSS]."""
    digits = _number_digits(text)
    fields = None if digits is None else _digit_fields(digits)
    if digits is None or fields is None:
        return None
    return _moment(fields, text.partition(".")[2] if len(digits) >= _FULL_DIGITS else "")


def _number_digits(text: str) -> str | None:
    """The digits before the point, with zeros in front of them as far as they are missing."""
    whole = text.partition(".")[0]
    if not whole.isdecimal() or len(whole) > 14:
        return None
    return whole.rjust(next(size for size in (6, 8, 12, 14) if len(whole) <= size), "0")


def time_of(text: str) -> int | None:
    """A text as TIME in microseconds; of a datetime its time part."""
    return read_time(text)[0]


def read_time(text: str) -> tuple[int | None, bool]:
    """As `time_of`, and whether the whole text was read and fits."""
    stripped = text.strip()
    if _FULL.match(stripped) or (len(stripped) >= 14 and stripped[:14].isdecimal()):
        written = _written(stripped)
        if written is not None and not written.ignored and written.zone != "Z":
            moment, _ = read_datetime(stripped)
            if moment is None:
                return None, False
            return _clock(0, moment.hour, moment.minute, moment.second, moment.microsecond), True
    negative = stripped.startswith("-")
    stripped = stripped.removeprefix("-").lstrip()
    total, end = _unsigned_time(stripped)
    if total is None:
        return None, False
    whole = end == len(stripped) and total <= TIME_MAX_US
    total = min(total, TIME_MAX_US)
    return -total if negative else total, whole


def _unsigned_time(text: str) -> tuple[int | None, int]:
    """The time, and where what was read ends."""
    if match := _DAYS.match(text):
        days, hours, minutes, seconds, fraction = match.groups()
        micros = _micros(fraction or "")
        return _clock(int(days), int(hours), int(minutes or 0), int(seconds or 0), micros), match.end()
    if match := _CLOCK.match(text):
        hours, minutes, seconds, fraction = match.groups()
        return _clock(0, int(hours), int(minutes), int(seconds or 0), _micros(fraction or "")), match.end()
    if match := _DIGITS.match(text):
        return _packed(int(match[1][:18]), _micros(match[2] or "")), match.end()
    return None, 0


def _packed(number: int, micros: int) -> int | None:
    """HHMMSS."""
    return _clock(0, number // 10_000, number // 100 % 100, number % 100, micros)


def _clock(days: int, hours: int, minutes: int, seconds: int, micros: int) -> int | None:
    if minutes > 59 or seconds > 59:
        return None
    return ((days * 24 + hours) * 3600 + minutes * 60 + seconds) * 1_000_000 + micros


def time_of_number(text: str) -> int | None:
    """A number, printed plainly, as HHMMSS; one that is long enough as a datetime."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not whole.isdecimal():
        return None
    if len(whole) > 10:
        moment = datetime_of_number(text)
        if moment is None:
            return None
        return _clock(0, moment.hour, moment.minute, moment.second, moment.microsecond)
    total = _packed(int(whole), _micros(fraction))
    if total is None or total > TIME_MAX_US:
        return None
    return -total if text.startswith("-") else total


_TIME_PARTS = {"H": "{0:02d}", "k": "{0:d}", "i": "{1:02d}", "s": "{2:02d}", "S": "{2:02d}", "f": "{3:06d}"}
_NO_DATE = {"Y": "0000", "y": "00", "m": "00", "d": "00", "c": "0", "e": "0", "%": "%"}


def time_format(microseconds: int, pattern: str) -> str | None:
    """TIME_FORMAT; NULL where a name of a day or month is asked for."""
    seconds, micros = divmod(abs(microseconds), 1_000_000)
    hours, minutes, second = seconds // 3600, seconds // 60 % 60, seconds % 60
    half = "AM" if hours % 24 < 12 else "PM"
    twelve = (hours % 24 + 11) % 12 + 1
    clock = f"{minutes:02d}:{second:02d}"
    named = {
        **_NO_DATE,
        **{letter: form.format(hours, minutes, second, micros) for letter, form in _TIME_PARTS.items()},
        "h": f"{twelve:02d}",
        "I": f"{twelve:02d}",
        "l": str(twelve),
        "p": half,
        "r": f"{twelve:02d}:{clock} {half}",
        "T": f"{hours:02d}:{clock}",
    }
    out, at = "-" if microseconds < 0 else "", 0
    while at < len(pattern):
        letter = pattern[at + 1 : at + 2] if pattern[at] == "%" else ""
        if not letter:
            out, at = out + pattern[at], at + 1
            continue
        if letter in "abDjMUuVvWwXx":
            return None
        out, at = out + named.get(letter, letter), at + 2
    return out


def week(moment: datetime, mode: int, *, with_year: bool) -> int:
    """WEEK and YEARWEEK. MySQL manual: WEEK(date[,mode])."""
    monday_first, week_year, first_weekday = bool(mode & 1), bool(mode & 2) or with_year, bool(mode & 4)
    if not monday_first:
        first_weekday = not first_weekday
    day_number = moment.toordinal()
    year = moment.year
    first = datetime(year, 1, 1).toordinal()
    weekday = _weekday(first, monday_first)
    if moment.month == 1 and moment.day <= 7 - weekday:
        if not week_year and ((first_weekday and weekday != 0) or (not first_weekday and weekday >= 4)):
            return 0
        if week_year and ((first_weekday and weekday != 0) or (not first_weekday and weekday >= 4)):
            year -= 1
            days = 366 if _is_leap(year) else 365
            first -= days
            weekday = (weekday + 53 * 7 - days) % 7
    starts_later = (first_weekday and weekday != 0) or (not first_weekday and weekday >= 4)
    passed = day_number - (first + (7 - weekday)) if starts_later else day_number - (first - weekday)
    if week_year and passed >= 52 * 7:
        next_weekday = (weekday + (366 if _is_leap(year) else 365)) % 7
        if (not first_weekday and next_weekday < 4) or (first_weekday and next_weekday == 0):
            return (year + 1) * 100 + 1 if with_year else 1
    number = passed // 7 + 1
    return year * 100 + number if with_year else number


def _weekday(ordinal: int, monday_first: bool) -> int:
    """0 for the first day of a week."""
    return (ordinal + (6 if monday_first else 7)) % 7


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def week_number(moment: datetime, mode: int) -> int:
    return week(moment, mode & 7, with_year=False)


def year_week(moment: datetime, mode: int) -> int:
    return week(moment, mode & 7, with_year=True)
