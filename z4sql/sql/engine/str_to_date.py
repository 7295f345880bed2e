"""STR_TO_DATE, letter by letter. MySQL manual: STR_TO_DATE(); DATE_FORMAT() (its specifiers)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from z4sql.sql.engine.warnings import shown, warn

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WORD: Final = re.compile(r"[^\W\d_]+")
_DIGITS: Final = re.compile(r"[0-9]+")
_BLANKS: Final = re.compile(r"\s*")
_SKIPPED: Final = {".": re.compile(r"[^\w\s]*"), "@": re.compile(r"[^\W\d_]*"), "#": re.compile(r"[0-9]*")}
_COMBINED: Final = {"T": "%H:%i:%S", "r": "%I:%i:%S %p"}
_FIELDS: Final = {
    "m": "month",
    "c": "month",
    "d": "day",
    "e": "day",
    "D": "day",
    "i": "minute",
    "s": "second",
    "S": "second",
    "H": "hour",
    "k": "hour",
    "h": "hour",
    "I": "hour",
    "l": "hour",
}
_TIME: Final = re.compile("%[HhIiklsSTrpf]")


class _Wrong(Exception):
    """The text does not begin as the pattern says."""


@dataclass(slots=True)
class _Parts:
    year: int = 0
    month: int = 0
    day: int = 0
    hour: int = 0
    minute: int = 0
    second: int = 0
    micros: int = 0
    yearday: int = 0
    weekday: int = 0
    """1 is Monday, 7 is Sunday, 0 is not known."""
    week: int = -1
    week_year: int = -1
    week_from_sunday: bool = False
    week_is_strict: bool = False
    week_year_from_sunday: bool = False
    halved: bool = False
    """The hour is one of twelve."""
    afternoon: bool = False


def str_to_date(text: str | None, pattern: str) -> datetime | None:
    """A text that ends early leaves the rest zero; NULL where that is no date."""
    if text is None:
        return None
    try:
        parts, behind = _read(text, pattern)
        moment = _moment(parts)
    except (_Wrong, ValueError, OverflowError):
        warn(1411, f"Incorrect datetime value: '{shown(text)}' for function str_to_date")
        return None
    if behind.strip():
        kind = "datetime" if _TIME.search(pattern) else "date"
        warn(1292, f"Truncated incorrect {kind} value: '{shown(text)}'")
    return moment


def str_to_time(text: str, pattern: str) -> int | None:
    """By a pattern that has no part of a date: microseconds."""
    try:
        parts, behind = _read(text, pattern)
        _require_clock(parts)
    except _Wrong:
        warn(1411, f"Incorrect time value: '{shown(text)}' for function str_to_date")
        return None
    if behind.strip():
        warn(1292, f"Truncated incorrect time value: '{shown(text)}'")
    return ((parts.hour * 60 + parts.minute) * 60 + parts.second) * 1_000_000 + parts.micros


def _read(text: str, pattern: str) -> tuple[_Parts, str]:
    """What was read, and what stands behind it."""
    parts = _Parts()
    at = _read_into(parts, text, 0, pattern)
    if parts.halved:
        if not 1 <= parts.hour <= 12:
            raise _Wrong
        parts.hour = parts.hour % 12 + (12 if parts.afternoon else 0)
    return parts, text[at:]


def _read_into(parts: _Parts, text: str, at: int, pattern: str) -> int:
    index = 0
    while index < len(pattern) and at < len(text):
        at = _end(_BLANKS, text, at)
        if at == len(text):
            break
        letter = pattern[index]
        if letter == "%" and index + 1 < len(pattern):
            at = _specified(parts, text, at, pattern[index + 1])
            index += 2
            continue
        if not letter.isspace():
            if text[at] != letter:
                raise _Wrong
            at += 1
        index += 1
    return at


def _specified(parts: _Parts, text: str, at: int, letter: str) -> int:
    match letter:
        case "Y" | "y":
            value, end = _number(text, at, 4 if letter == "Y" else 2)
            parts.year = value + (2000 if value < 70 else 1900) if end - at <= 2 else value
            return end
        case "M" | "b":
            parts.month, end = _word(text, at, _MONTHS, shortened=letter == "b")
            return end
        case "W" | "a":
            parts.weekday, end = _word(text, at, _DAYS, shortened=letter == "a")
            return end
        case "w":
            value, end = _number(text, at, 1)
            if value > 6:
                raise _Wrong
            parts.weekday = value or 7
            return end
        case "f":
            value, end = _number(text, at, 6)
            parts.micros = value * 10 ** (6 - (end - at))
            return end
        case "p":
            half = text[at : at + 2].upper()
            if half not in ("AM", "PM") or not parts.halved:
                raise _Wrong
            parts.afternoon = half == "PM"
            return at + 2
        case "j":
            parts.yearday, end = _number(text, at, 3)
            return end
        case "U" | "u" | "V" | "v":
            return _week(parts, text, at, letter)
        case "X" | "x":
            parts.week_year_from_sunday = letter == "X"
            parts.week_year, end = _number(text, at, 4)
            return end
        case "T" | "r":
            return _read_into(parts, text, at, _COMBINED[letter])
        case "." | "@" | "#":
            return _end(_SKIPPED[letter], text, at)
        case _ if letter in _FIELDS:
            value, end = _number(text, at, 2)
            setattr(parts, _FIELDS[letter], value)
            parts.halved = parts.halved or letter in "hIl"
            # st, nd, rd, th
            return min(len(text), end + 2) if letter == "D" else end
        case _:
            raise _Wrong


def _week(parts: _Parts, text: str, at: int, letter: str) -> int:
    parts.week_from_sunday, parts.week_is_strict = letter in "UV", letter in "Vv"
    parts.week, end = _number(text, at, 2)
    if parts.week > 53 or (parts.week_is_strict and not parts.week):
        raise _Wrong
    return end


def _number(text: str, at: int, most: int) -> tuple[int, int]:
    found = _DIGITS.match(text, at, at + most)
    if found is None:
        raise _Wrong
    return int(found[0]), found.end()


def _word(text: str, at: int, words: tuple[str, ...], *, shortened: bool) -> tuple[int, int]:
    """The number of a name, from 1 on."""
    found = _WORD.match(text, at)
    names = tuple(word[:3] for word in words) if shortened else words
    if found is None or found[0].lower() not in names:
        raise _Wrong
    return names.index(found[0].lower()) + 1, found.end()


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _require_clock(parts: _Parts) -> None:
    if parts.hour > 23 or parts.minute > 59 or parts.second > 59:
        raise _Wrong


def _moment(parts: _Parts) -> datetime:
    """:raises ValueError: there is no such day."""
    _require_clock(parts)
    day = _day(parts)
    clock = timedelta(hours=parts.hour, minutes=parts.minute, seconds=parts.second, microseconds=parts.micros)
    return datetime(day.year, day.month, day.day) + clock


def _day(parts: _Parts) -> date:
    day = None
    if parts.yearday:
        day = date(parts.year, 1, 1) + timedelta(parts.yearday - 1)
    if parts.week >= 0 and parts.weekday:
        strict = parts.week_is_strict
        if strict != (parts.week_year >= 0) or (
            strict and parts.week_year_from_sunday != parts.week_from_sunday
        ):
            raise _Wrong
        day = date(parts.week_year if strict else parts.year, 1, 1)
        if parts.week_from_sunday:
            first = (day.weekday() + 1) % 7
            offset = (7 if first else 0) - first + parts.weekday % 7
        else:
            first = day.weekday()
            offset = (0 if first <= 3 else 7) - first + parts.weekday - 1
        day += timedelta(offset + (parts.week - 1) * 7)
    return date(parts.year, parts.month, parts.day) if day is None else day
