"""The ends of the calendar are as good as any other day: bounds on the last one lose no row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from z4sql.sql.planner.constants import instants

EPOCH = datetime(1970, 1, 1)


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")], ids=str)
@pytest.mark.parametrize(
    "reading",
    [datetime(9999, 12, 30, 12), datetime(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59, 999_999)],
)
def test_a_reading_means_the_same_on_the_last_day_as_before(zone: tzinfo, reading: datetime) -> None:
    week_us = timedelta(days=7) // timedelta(microseconds=1)
    naive_us = (reading - EPOCH) // timedelta(microseconds=1)
    least, greatest = instants(naive_us, zone)
    before = instants(naive_us - week_us, zone)
    assert (least - week_us, greatest - week_us) == before
