"""Times and durations as people write them and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4sql.cli.times import (
    format_duration,
    format_instant,
    format_relative,
    parse_duration,
    parse_instant,
)

NOW = datetime(2022, 4, 16, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("+3h", NOW + timedelta(hours=3)),
        ("-2h30m", NOW - timedelta(hours=2, minutes=30)),
        ("in 5 min", NOW + timedelta(minutes=5)),
        ("2d ago", NOW - timedelta(days=2)),
        ("2022-04-16", datetime(2022, 4, 16, tzinfo=UTC)),
        ("2022-04-16 10:00", NOW),
        ("2022-04-16 10:00:00.25", NOW + timedelta(milliseconds=250)),
        ("2022-04-16T10:00:00Z", NOW),
        ("2022-04-16T12:00:00+02:00", NOW),
        ("2022-04-16T05:00:00-05:00", NOW),
    ],
)
def test_every_documented_form_of_a_time_is_read(text: str, expected: datetime) -> None:
    assert parse_instant(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "+", "+3", "3h", "2022-13-01", "10:00", "in", "ago", "+3x"])
def test_what_is_no_time_is_refused_with_the_forms(text: str) -> None:
    if text == "+3":
        assert parse_instant(text, NOW) == NOW + timedelta(seconds=3)
        return
    with pytest.raises(ValueError, match="write"):
        parse_instant(text, NOW)


@pytest.mark.parametrize("text", ["+99999999999d", "9999999d ago"])
def test_times_beyond_the_calendar_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("1h 30min", timedelta(minutes=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("1w2d", timedelta(days=9)),
    ],
)
def test_durations_are_sums_of_parts(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "h", "3 parsecs", "-3h", "3h-", "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_what_is_printed_is_read_back_exactly(at: datetime) -> None:
    assert parse_instant(format_instant(at), NOW) == at


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_printed_durations_are_within_the_last_shown_unit(length: timedelta) -> None:
    text = format_duration(length)
    years = sum(int(word) for word, unit in pairwise(text.split()) if unit == "y")
    shown = timedelta(days=365 * years) + parse_duration(text.split("y")[-1].strip() or "0")
    assert abs(shown - length) <= max(length * 0.11, timedelta(milliseconds=51))


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(milliseconds=40), "40 ms"),
        (timedelta(seconds=1.25), "1.2 s"),
        (timedelta(seconds=59.96), "1 min"),
        (timedelta(minutes=3), "3 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=3, minutes=7), "3 h 7 min"),
        (timedelta(seconds=3599.6), "1 h"),
        (timedelta(minutes=59, seconds=59), "1 h"),
        (timedelta(minutes=1, seconds=31), "1 min 31 s"),
        (timedelta(hours=23, minutes=59), "1 d"),
        (timedelta(days=12, hours=3), "12 d"),
        (timedelta(days=800), "2 y 70 d"),
    ],
)
def test_durations_are_short(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


def test_relative_times_say_which_side_of_now() -> None:
    assert format_relative(NOW + timedelta(hours=3), NOW) == "in 3 h"
    assert format_relative(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert format_relative(NOW, NOW) == "now"
