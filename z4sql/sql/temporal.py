"""Instants as MySQL writes them, and the session's time zone.

MySQL manual: Date and Time Literals. What MySQL refuses raises 1525; nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

from z4sql.sql.errors import BadTemporal

EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)

_LAST_US: Final = (datetime.max - EPOCH) // _MICROSECOND

_MARK: Final = r"[!-/:-@\[-`{-~]+"
"""Any punctuation may stand between the parts. MySQL manual: Date and Time Literals."""
_CLOCK_MARK: Final = r"[!-*,./:-@\[-`{-~]+"
"""Not those that begin an offset."""
_DELIMITED: Final = re.compile(
    rf"(\d{{4}}|\d{{1,2}}){_MARK}(\d{{1,2}}){_MARK}(\d{{1,2}})"
    rf"(?:(?:T|[ ]+)(\d{{1,2}})(?:{_CLOCK_MARK}(\d{{1,2}})(?:{_CLOCK_MARK}(\d{{1,2}})(?:\.(\d*))?)?)?)?"
    r"(Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_DIGITS: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(?:\.(\d*))?)?()", re.ASCII)
_SHORT_DIGITS: Final = re.compile(r"(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?()()", re.ASCII)


@dataclass(slots=True, frozen=True)
class Temporal:
    """``naive_us``: microseconds from 1970 as if the text were UTC. ``offset_us``: of the zone it names."""

    naive_us: int
    fsp: int
    is_date: bool
    offset_us: int | None = None

    def utc_us(self, zone: tzinfo) -> int:
        """The instant, for a session in ``zone``."""
        if self.offset_us is not None:
            return self.naive_us - self.offset_us
        return to_utc_us(self.naive_us, zone)

    def local_us(self, zone: tzinfo) -> int:
        """What a clock in ``zone`` shows, as naive microseconds."""
        return self.naive_us if self.offset_us is None else from_utc_us(self.naive_us - self.offset_us, zone)


def parse_temporal(text: str) -> Temporal:
    """Read a date or datetime. :raises BadTemporal: (1525) when MySQL would refuse it."""
    parsed = try_temporal(text)
    if parsed is None:
        raise BadTemporal(f"Incorrect DATETIME value: '{text}'")
    return parsed


def try_temporal(text: str) -> Temporal | None:
    """As `parse_temporal`; None when it is no date."""
    stripped = text.strip()
    match = _DIGITS.fullmatch(stripped) or _SHORT_DIGITS.fullmatch(stripped) or _DELIMITED.fullmatch(stripped)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    full_year = int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 70 else 1900)
    digits = (fraction or "")[:7].ljust(7, "0")
    try:
        naive = datetime(full_year, int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    naive_us = (naive - EPOCH) // _MICROSECOND + (int(digits) + 5) // 10
    if naive_us > _LAST_US:
        return None
    fsp = min(len(fraction or ""), 6)
    return Temporal(naive_us, fsp, hour is None, _offset_us(zone))


def _offset_us(zone: str | None) -> int | None:
    if not zone:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return (-minutes if zone[0] == "-" else minutes) * 60_000_000


def to_utc_us(naive_us: int, zone: tzinfo) -> int:
    """The instant at which a clock in ``zone`` shows ``naive_us``.

    Of two, where the clock is put back, the first. Where it is put forward, a reading that never is means the
    moment of the change, and keeps its fraction of a second (MySQL: TIME_to_gmt_sec()).
    """
    offset = fixed_offset_us(zone)
    if offset is not None:
        return naive_us - offset
    before = transitions(zone)[0][1]
    for start, after in transitions(zone)[1:]:
        if naive_us < start + max(before, after):
            return start + naive_us % 1_000_000 if naive_us >= start + before else naive_us - before
        before = after
    return naive_us - before


def from_utc_us(utc_us: int, zone: tzinfo) -> int:
    """What a clock in ``zone`` shows at ``utc_us``."""
    if zone is UTC:
        return utc_us
    try:
        local = (EPOCH + timedelta(microseconds=utc_us)).replace(tzinfo=UTC).astimezone(zone)
    except OverflowError:
        return utc_us
    return utc_us + _offset_of(local)


def _offset_of(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else offset // _MICROSECOND


def naive_text(naive_us: int, fsp: int = 6) -> str:
    """``YYYY-MM-DD HH:MM:SS[.ffffff]`` of a naive instant."""
    moment = EPOCH + timedelta(microseconds=naive_us)
    text = moment.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
    return f"{text}.{moment.microsecond:06d}"[: 20 + fsp] if fsp else text


def fixed_offset_us(zone: tzinfo) -> int | None:
    """The offset of a zone that never changes; None for one that does."""
    if zone is UTC:
        return 0
    if isinstance(zone, timezone):
        return zone.utcoffset(None) // _MICROSECOND
    return None


@lru_cache(maxsize=64)
def transitions(zone: tzinfo) -> tuple[tuple[int, int], ...]:
    """(utc_us, offset_us) from which on each offset of a zone holds, 1970 to 2037, ascending."""
    found: list[tuple[int, int]] = []
    step = 14 * 86_400_000_000
    at, end = 0, (datetime(2038, 1, 1) - EPOCH) // _MICROSECOND
    offset = from_utc_us(at, zone) - at
    found.append((-(1 << 62), offset))
    while at < end:
        after = from_utc_us(at + step, zone) - (at + step)
        if after != offset:
            low, high = at, at + step
            while high - low > 1_000_000:
                middle = (low + high) // 2
                if from_utc_us(middle, zone) - middle == offset:
                    low = middle
                else:
                    high = middle
            found.append((high // 1_000_000 * 1_000_000, after))
            offset = after
        at += step
    return tuple(found)
