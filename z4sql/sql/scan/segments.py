"""Decoded columns of tasks, kept in memory for as long as the tasks do not change.

A *segment* is a stretch of one namespace in key order that was read by one scan, as of one moment, with the
columns that queries asked for. Whatever is written to a place inside it drops it (`SegmentCache.changing`),
so that what is here is always what the store holds. The least recently used segments make room for others.
"""

from __future__ import annotations

import threading
import time
import weakref
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa

from raftcore.core.errors import require
from z4sql.sql.scan.asked import Asked
from z4sql.tasks.keys import BIAS, SUFFIX_BYTES, TIME_BYTES

_SCAN_SHARE: Final = 2
"""One scan may fill the budget only divided by this, so that it does not drop what it kept itself."""
_SPARE_SHARE: Final = 4
"""Of the budget, what may be spent on guesses: one part of so many."""
_AHEAD_SHARE: Final = 2
"""Of the budget, what may be read ahead of queries: one part of so many."""
_SEGMENT_BYTES: Final = 1_000
"""About what a segment costs besides its rows."""
_BUCKET_BYTES: Final = 4
"""Of a place's time: those of one bucket, of 2**32 us (71 minutes), are alike in them."""
_CHANGED_MAX: Final = 4_096
_LOOKED_AT_MAX: Final = 64
"""Of the buckets that were written to last: answers are worth no longer search than their rows are."""


@dataclass(slots=True, frozen=True)
class SegmentSettings:
    """``bytes_max``: for all segments of one copy. ``rows_max``: of one segment.

    ``small_rows``: a segment of fewer is read again together with what is next to it, so that there are
    never many. ``kept_rows_min``: a range of fewer rows is read as fast as it is looked up.
    ``picked_rows_max``: so many rows are picked one by one, or a 32nd of all; more are read in a row.
    """

    bytes_max: int = 256 << 20
    rows_max: int = 16_384
    small_rows: int = 4_096
    kept_rows_min: int = 1_024
    picked_rows_max: int = 1_024


@dataclass(slots=True, eq=False)
class Segment:
    """Tasks of ``space`` (a namespace as in keys) whose places lie in ``[lo, hi)``: all of them.

    Bounds are compared with the last 16 bytes of keys, and may be shorter or longer. ``places``: those
    16 bytes of every task, joined. ``columns``: by name; rows in the order of keys.
    """

    space: bytes
    lo: bytes
    hi: bytes
    places: bytes
    columns: dict[str, pa.Array]
    held_bytes: int = 0

    @property
    def rows(self) -> int:
        return len(self.places) // SUFFIX_BYTES

    def place(self, row: int) -> bytes:
        """The last 16 bytes of the key of a row."""
        return self.places[row * SUFFIX_BYTES : (row + 1) * SUFFIX_BYTES]

    def position(self, bound: bytes) -> int:
        """How many rows lie before ``bound``."""
        if bound <= self.lo:
            return 0
        if bound >= self.hi:
            return self.rows
        return bisect_left(range(self.rows), bound, key=self.place)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Filling:
    """A scan that may keep what it reads of ``[lo, hi)``; ``touched``: what changed there meanwhile."""

    space: bytes
    lo: bytes
    hi: bytes
    touched: list[bytes] = field(default_factory=list)
    kept_bytes: int = 0


class _Change(NamedTuple):
    """When it was made, and how many `SegmentCache.changes` there were with it."""

    at_s: float
    number: int


class SegmentCache:
    """Segments of one store. Used from any thread; `reading` and `changing` exclude each other."""

    def __init__(self, settings: SegmentSettings | None = None, asked: Asked | None = None) -> None:
        self.settings = settings or SegmentSettings()
        self.asked = asked or Asked()
        self._bytes_max = self.settings.bytes_max
        self._lock = threading.RLock()
        self._spaces: dict[bytes, _Space] = {}
        self._used: OrderedDict[Segment, None] = OrderedDict()
        self._fillings: weakref.WeakSet[Filling] = weakref.WeakSet()
        self.held_bytes = 0
        self.rows_found = 0
        """Rows that segments gave instead of the store, or were spared by them."""
        self.changes = 0
        """Tasks that were written since this was made."""
        self.retired = False
        self._changed: dict[bytes, _Change] = {}
        """When the tasks of a bucket were written last, by namespace and bucket; the latest comes last."""
        self._forgotten = 0
        """What was written before this many ``changes`` is not in ``_changed`` any more."""

    def __len__(self) -> int:
        return len(self._used)

    @property
    def has_room(self) -> bool:
        """Whether there is place for columns that may never be asked for."""
        return self.held_bytes < self._bytes_max // _SPARE_SHARE

    @property
    def has_room_ahead(self) -> bool:
        """Whether there is place for what no query has read yet, without dropping anything."""
        return self.held_bytes < self._bytes_max // _AHEAD_SHARE

    @property
    def segments(self) -> list[Segment]:
        """All of them, the least recently used first."""
        with self._lock:
            return list(self._used)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing is written inside: what is found here and iterators opened here are of one moment."""
        with self._lock:
            yield

    @contextmanager
    def changing(self, places: Collection[bytes]) -> Iterator[None]:
        """Write these tasks inside (an `Observer` of the machine)."""
        with self._lock:
            if self._spaces or self._fillings:
                self._touch(places)
            self.changes += len(places)
            change = _Change(time.monotonic(), self.changes)
            for bucket in {place[: _BUCKET_BYTES - SUFFIX_BYTES] for place in places}:
                self._changed.pop(bucket, None)
                self._changed[bucket] = change
            if len(self._changed) > _CHANGED_MAX:
                former = list(self._changed.items())
                self._changed = dict(former[_CHANGED_MAX // 2 :])
                self._forgotten = former[_CHANGED_MAX // 2 - 1][1].number
            yield

    def changed_since(self, space: bytes, since_s: float) -> dict[tuple[int, int], float]:
        """Buckets of time ``[from, to)`` (us) that were written to since, and when (`time.monotonic`)."""
        with self._lock:
            found = [
                (bucket, change.at_s)
                for bucket, change in self._changed.items()
                if change.at_s >= since_s and bucket[:-_BUCKET_BYTES] == space
            ]
        return {_bucket_times(bucket): changed_s for bucket, changed_s in sorted(found)}

    def unchanged(self, ranges: Collection[tuple[bytes, int, int]], since: int) -> bool:
        """Whether nothing was written to these spaces' times (us) since there were ``since`` `changes`.

        False also where that would take long to find out.
        """
        with self._lock:
            if self.retired or since < self._forgotten:
                return False
            for looked_at, (bucket, change) in enumerate(reversed(self._changed.items())):
                if change.number <= since:
                    return True
                if looked_at == _LOOKED_AT_MAX:
                    return False
                from_us, to_us = _bucket_times(bucket)
                space = bucket[:-_BUCKET_BYTES]
                if any(space == one and lo < to_us and from_us < hi for one, lo, hi in ranges):
                    return False
            return True

    def find(self, space: bytes, lo: bytes, hi: bytes, *, used: bool = True) -> list[Segment]:
        """The segments that have a part in ``[lo, hi)``, in order; inside `reading`."""
        found = self._spaces.get(space)
        if found is None or lo >= hi:
            return []
        segments = found.overlapping(lo, hi)
        for segment in segments if used else ():
            self._used.move_to_end(segment)
        return segments

    def fill(self, space: bytes, lo: bytes, hi: bytes) -> Filling:
        """Begin to read ``[lo, hi)``, inside `reading`; the reader holds the result as long as it reads."""
        filling = Filling(space, lo, hi)
        self._fillings.add(filling)
        return filling

    def keep(
        self, filling: Filling, lo: bytes, hi: bytes, places: bytes, columns: Mapping[str, pa.Array]
    ) -> None:
        """Keep what a scan read of ``[lo, hi)``, unless it is not what the store holds any more."""
        require(filling.lo <= lo < hi <= filling.hi, "what is kept was watched while it was read")
        columns = {name: _own(column) for name, column in columns.items()}
        with self._lock:
            if self.retired or any(lo <= place < hi for place in filling.touched):
                return
            if filling.kept_bytes > self._bytes_max // _SCAN_SHARE:
                return
            space = self._spaces.get(filling.space) or _Space()
            former = space.overlapping(lo, hi)
            for segment in former:
                if segment.lo == lo and segment.hi == hi:
                    require(segment.places == places, "a segment that was not changed holds what is stored")
                    columns = segment.columns | columns
                self._drop(segment)
            segment = Segment(filling.space, lo, hi, places, dict(columns))
            segment.held_bytes = _SEGMENT_BYTES + len(places) + sum(map(_held_bytes, columns.values()))
            # The namespace may have gone with its only segment.
            self._spaces[filling.space] = space
            space.add(segment)
            self._used[segment] = None
            self.held_bytes += segment.held_bytes
            filling.kept_bytes += segment.held_bytes
            while self.held_bytes > self._bytes_max:
                self._drop(next(iter(self._used)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._spaces.clear()
            self._used.clear()
            self.held_bytes = 0

    def retire(self) -> None:
        """Forget everything for good: another store takes the place of this one."""
        with self._lock:
            self.retired = True
            self.clear()

    def _touch(self, places: Collection[bytes]) -> None:
        fillings = list(self._fillings)
        for place in places:
            name, suffix = place[:-SUFFIX_BYTES], place[-SUFFIX_BYTES:]
            space = self._spaces.get(name)
            if space is not None:
                segment = space.holding(suffix)
                if segment is not None:
                    self._drop(segment)
            for filling in fillings:
                if filling.space == name and filling.lo <= suffix < filling.hi:
                    filling.touched.append(suffix)

    def _drop(self, segment: Segment) -> None:
        space = self._spaces[segment.space]
        space.remove(segment)
        if not space.segments:
            del self._spaces[segment.space]
        del self._used[segment]
        self.held_bytes -= segment.held_bytes


class _Space:
    """The segments of one namespace: disjoint, ordered; ``ends`` are their upper bounds."""

    __slots__ = ("ends", "segments")

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.ends: list[bytes] = []

    def holding(self, suffix: bytes) -> Segment | None:
        at = bisect_right(self.ends, suffix)
        if at < len(self.segments) and self.segments[at].lo <= suffix:
            return self.segments[at]
        return None

    def overlapping(self, lo: bytes, hi: bytes) -> list[Segment]:
        first = bisect_right(self.ends, lo)
        last = first
        while last < len(self.segments) and self.segments[last].lo < hi:
            last += 1
        return self.segments[first:last]

    def add(self, segment: Segment) -> None:
        at = bisect_left(self.ends, segment.hi)
        self.segments.insert(at, segment)
        self.ends.insert(at, segment.hi)

    def remove(self, segment: Segment) -> None:
        at = bisect_left(self.ends, segment.hi)
        require(self.segments[at] is segment, "a segment is found by its end")
        del self.segments[at], self.ends[at]


def _bucket_times(bucket: bytes) -> tuple[int, int]:
    """The time ``[from, to)`` (us) of a bucket."""
    shift = 8 * (TIME_BYTES - _BUCKET_BYTES)
    number = int.from_bytes(bucket[-_BUCKET_BYTES:], "big")
    return (number << shift) - BIAS, (number + 1 << shift) - BIAS


def _own(column: pa.Array) -> pa.Array:
    """The column without the records that its views point into."""
    if column.type == pa.string_view():
        return column.cast(pa.string()).cast(pa.string_view())
    return column


def _held_bytes(column: pa.Array) -> int:
    return int(column.get_total_buffer_size())
