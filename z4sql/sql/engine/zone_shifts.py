"""Instants between UTC and a zone with summer time, many at once. MySQL manual: CONVERT_TZ()."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from z4sql.sql.temporal import transitions

_MOMENTS = pa.timestamp("us")
_Integers = npt.NDArray[np.int64]


def to_zone(moments: pa.Array, zones: pa.Array) -> pa.Array:
    """UTC as a clock in the zone shows it; ``zones``: the name of one zone, again and again."""
    if not len(moments):
        return pa.array([], _MOMENTS)
    starts, offsets = _steps(zones[0].as_py())
    us = _microseconds(moments)
    return _moments(us + offsets[np.searchsorted(starts, us, side="right")], moments)


def from_zone(moments: pa.Array, zones: pa.Array) -> pa.Array:
    """What a clock in the zone shows, in UTC; see `to_utc_us` for readings shown twice or never."""
    if not len(moments):
        return pa.array([], _MOMENTS)
    starts, offsets = _steps(zones[0].as_py())
    us = _microseconds(moments)
    ends = starts + np.maximum(offsets[:-1], offsets[1:])
    step = np.searchsorted(ends, us, side="right")
    following = np.append(starts, np.iinfo(np.int64).max)[step]
    utc = us - offsets[step]
    return _moments(np.where(utc < following, utc, following + us % 1_000_000), moments)


def _microseconds(moments: pa.Array) -> _Integers:
    found: _Integers = moments.cast(_MOMENTS).cast(pa.int64()).fill_null(0).to_numpy()
    return found


def _moments(us: _Integers, alike: pa.Array) -> pa.Array:
    """``us``, NULL where ``alike`` is."""
    nulls = alike.is_null().to_numpy(zero_copy_only=False)
    return pa.array(us, pa.int64(), mask=nulls).cast(_MOMENTS)


@lru_cache(maxsize=64)
def _steps(zone: str) -> tuple[_Integers, _Integers]:
    """Instants at which another offset begins, and the offsets, of which there is one more."""
    steps = transitions(ZoneInfo(zone))
    starts = np.array([start for start, _ in steps[1:]], np.int64)
    return starts, np.array([offset for _, offset in steps], np.int64)


ZONES = (
    ("my_to_zone", to_zone, ["TIMESTAMP", "VARCHAR"], "TIMESTAMP"),
    ("my_from_zone", from_zone, ["TIMESTAMP", "VARCHAR"], "TIMESTAMP"),
)
"""Name, implementation over columns, types of arguments, type of the result."""
