"""What of a range segments answer, and what one scan reads of it from the store."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import itemgetter
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raftcore.core.errors import require
from raftcore.storage.kv import Keys, Scan, View
from z4sql.sql.scan.columns import KEY_COLUMNS, JoinedRecords, joined_places
from z4sql.sql.scan.members import NeedleMember, is_member, stored_column
from z4sql.sql.scan.request import ScanRequest
from z4sql.sql.scan.segments import Filling, Segment, SegmentSettings
from z4sql.sql.scan.task_source import BATCH_BYTES, BATCH_ROWS_MAX
from z4sql.tasks.keys import SUFFIX_BYTES

_GROWTH: Final = 4
_PICKED_SHARE: Final = 32
"""Rows are picked one by one when they are fewer than all divided by this."""
_READ_AT_ONCE: Final = 512
_KEYS_AT_ONCE: Final = 2_048
"""Rows between two looks at whether the scan shall go on."""
_SIFTED_SHARE: Final = 8
"""Of what is sifted, so many times as much is read at once."""
_NO_LENGTHS: Final = np.empty(0, np.int64)
_NARROW: Final = frozenset(
    {
        *("namespace", "deliver_at", "state", "created_at", "attempts", "next_attempt_at", "lease_until"),
        *("last_attempt_at", "finished_at", "expire_at", "lease_token", "lateness_ms"),
    }
)
_STATE: Final = "state"

_KEY: Final = itemgetter(0)
_RECORD: Final = itemgetter(1)

Item = tuple[bytes, bytes]
Items = Iterator[bytes] | Iterator[Item]


def is_narrow(column: str) -> bool:
    """Whether a column takes few bytes of memory in every row."""
    return column in _NARROW or is_member(column)


@dataclass(slots=True)
class Known:
    """A part of a range that a segment answers: rows ``[first, last)``, of which ``picked`` are wanted."""

    segment: Segment
    first: int
    last: int
    picked: NDArray[np.int64] | None = None


@dataclass(slots=True)
class Unknown:
    """A part of a range to be read from the store: ``segments`` that lack columns, or else a gap.

    What is not ``kept`` is sifted by the needles before it is decoded.
    """

    lo: bytes
    hi: bytes
    segments: list[Segment]
    kept: bool = True
    walk: Scan | Keys | None = None
    filling: Filling | None = None


@dataclass(slots=True)
class Part:
    """Rows that were read together: all of ``[lo, hi)``, to be kept if there is a ``filling``."""

    lo: bytes
    hi: bytes
    filling: Filling | None


Piece = Known | Unknown


@dataclass(slots=True)
class Opened:
    """One range, with all that is needed to read it as of one moment."""

    namespace: str
    pieces: list[Piece]
    view: View | None


class Reading:
    """One scan: its request, and what follows from it. ``ahead``: nobody waits for it."""

    def __init__(self, request: ScanRequest, settings: SegmentSettings, *, ahead: bool = False) -> None:
        self.request = request
        self.settings = settings
        self.ahead = ahead
        self.size = max(1, min(request.batch_rows, settings.rows_max))
        """Rows to be read next, at once."""
        narrow = all(map(is_narrow, request.columns))
        self.picks = bool(request.needles) and (not narrow or request.batch_rows < BATCH_ROWS_MAX)
        """Of the segments, only what the needles tell of is needed and kept."""
        self.needles = [NeedleMember.of(needle) for needle in request.needles]
        self.filters = list(dict.fromkeys(needle.column for needle in self.needles)) if self.picks else []
        stored = dict.fromkeys(map(stored_column, request.columns))
        self.kept = [name for name in stored if name not in KEY_COLUMNS]
        """Columns that a segment must have, when rows are not picked; those of keys follow from places."""
        self.keys_only = not self.picks and not self.kept
        self.needed = self.filters if self.picks else self.kept
        self.read = self.needed if self.keys_only or _STATE in self.needed else [*self.needed, _STATE]
        """Columns that are made of what is read: the state comes with every record, and takes one byte."""

    def grow(self, found: Found) -> None:
        """Read more at once next time, as far as it fits."""
        self.size = min(max(found.rows, self.size) * _GROWTH, self.settings.rows_max)
        if found.read_bytes > BATCH_BYTES // _GROWTH:
            self.size = max(1, min(self.size, BATCH_BYTES * found.rows // found.read_bytes))

    def asks(self, filling: Filling | None) -> int:
        """Rows to be read at once. Who wants but a few of all reads no more than it takes."""
        whole = self.request.batch_rows >= BATCH_ROWS_MAX
        return self.size * _SIFTED_SHARE if whole and self.sifts(filling) else self.size

    def sifts(self, filling: Filling | None) -> bool:
        """Whether rows without the needles are not even decoded; what is to be kept, is."""
        return bool(self.needles) and filling is None

    def answered_by(self, segment: Segment) -> bool:
        return all(name in segment.columns for name in self.needed)

    def picked(self, columns: Mapping[str, pa.Array], first: int, last: int) -> NDArray[np.int64]:
        """Rows of ``[first, last)`` in which every needle may be."""
        rows: NDArray[np.int64] | None = None
        for needle in self.needles:
            column = columns[needle.column].slice(first, last - first)
            values = column.dictionary.to_pylist() if needle.open_ended else None
            if values is not None:
                codes = [at for at, value in enumerate(values) if needle.holds(value)]
            else:
                at = column.dictionary.index(needle.text).as_py()
                codes = [at] if at >= 0 else []
            if not codes:
                return np.empty(0, np.int64)
            indices = column.indices
            numbers = (indices.fill_null(-1) if indices.null_count else indices).to_numpy()
            hits = np.flatnonzero(numbers == codes[0] if len(codes) == 1 else np.isin(numbers, codes))
            rows = hits if rows is None else np.intersect1d(rows, hits, assume_unique=True)
        require(rows is not None, "there is a needle")
        assert rows is not None
        return rows + first


class Found:
    """Rows that were read at once, in the order of keys. ``check`` may end the scan, or hold it.

    With ``sift`` only rows that have all needles, as ``items`` in the order of the scan, and not many more
    than ``reading.size`` of them; otherwise as ``places`` (the last 16 bytes of keys, joined) and, unless
    keys suffice, ``records``. ``ended``: there were no more to be read.
    """

    __slots__ = ("ended", "items", "places", "read_bytes", "records", "rows")

    def __init__(
        self, reading: Reading, items: Items, count: int, check: Callable[[int], None], *, sift: bool = False
    ) -> None:
        self.rows = self.read_bytes = 0
        self.items: list[Item] = []
        self.places = b""
        self.records: JoinedRecords | None = None
        # Small parts are joined while they lie in the processor's cache.
        at_once = _KEYS_AT_ONCE if reading.keys_only else _READ_AT_ONCE
        parts: list[tuple[bytes, bytes, NDArray[np.int64]]] = []
        self.ended = False
        while self.rows < count and not self.ended and len(self.items) < reading.size:
            asked = min(count - self.rows, at_once)
            found: list[Any] = list(islice(items, asked))
            self.ended = len(found) < asked
            self.rows += len(found)
            if sift:
                self._sift(found, reading.request.needles)
            elif found:
                ordered = found[::-1] if reading.request.descending else found
                parts.append(_part(ordered, keys_only=reading.keys_only))
            check(0)
        if reading.request.descending:
            parts.reverse()
        self.places = b"".join([places for places, _, _ in parts])
        if parts and not reading.keys_only:
            lengths = np.concatenate([lengths for _, _, lengths in parts])
            self.records = JoinedRecords([data for _, data, _ in parts], lengths)
            self.read_bytes = len(self.records.data)

    def picked(self, prefix: bytes, rows: Sequence[int]) -> list[Item]:
        """Keys, which begin with ``prefix``, and records of some rows."""
        if self.records is None:
            return []
        data, ends = self.records.data, np.cumsum(self.records.lengths)
        starts = ends - self.records.lengths
        return [
            (
                prefix + self.places[row * SUFFIX_BYTES : (row + 1) * SUFFIX_BYTES],
                data[starts[row] : ends[row]],
            )
            for row in rows
        ]

    def _sift(self, found: list[Item], needles: tuple[bytes, ...]) -> None:
        records = list(map(_RECORD, found))
        data = b"".join(records)
        self.read_bytes += len(data)
        first, *others = needles
        for row in rows_with(first, data, records):
            if all(needle in records[row] for needle in others):
                self.items.append(found[row])


def _part(found: list[Item], *, keys_only: bool) -> tuple[bytes, bytes, NDArray[np.int64]]:
    """Places and records, each joined, and the records' lengths; of keys only their places."""
    if keys_only:
        return joined_places(cast("list[bytes]", found)), b"", _NO_LENGTHS
    records = list(map(_RECORD, found))
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    return joined_places(list(map(_KEY, found))), b"".join(records), lengths


def rows_with(needle: bytes, data: bytes, records: list[bytes]) -> Iterator[int]:
    """Positions of the records, which are joined in ``data``, that have the needle."""
    at = data.find(needle)
    if at < 0:
        return
    ends = list(accumulate(map(len, records)))
    while at >= 0:
        row = bisect_right(ends, at)
        # What was found may begin in one record and end in the next.
        if at + len(needle) <= ends[row]:
            yield row
            at = data.find(needle, ends[row])
        else:
            at = data.find(needle, at + 1)


def pieces(reading: Reading, segments: list[Segment], lo: bytes, hi: bytes) -> list[Piece]:
    """``[lo, hi)`` as what is known and what is not."""
    ranged: list[tuple[Segment, int, int]] = []
    picked: dict[Segment, NDArray[np.int64]] = {}
    rows = hits = 0
    for segment in segments:
        first, last = segment.position(lo), segment.position(hi)
        ranged.append((segment, first, last))
        if reading.picks and reading.answered_by(segment):
            picked[segment] = reading.picked(segment.columns, first, last)
            rows, hits = rows + last - first, hits + len(picked[segment])
    if hits > max(rows // _PICKED_SHARE, reading.settings.picked_rows_max):
        # So many are read faster in a row, and what is known already need not be kept again.
        return [Unknown(lo, hi, [], kept=False)]
    found: list[Piece] = []
    at = lo
    for position, (segment, first, last) in enumerate(ranged):
        inside = lo <= segment.lo and segment.hi <= hi
        if inside and segment.rows < reading.settings.small_rows and _borders_gap(segments, position, lo, hi):
            continue
        if at < segment.lo:
            found.append(Unknown(at, segment.lo, []))
        at = min(segment.hi, hi)
        if reading.answered_by(segment):
            found.append(Known(segment, first, last, picked.get(segment)))
        elif found and isinstance(found[-1], Unknown) and found[-1].segments:
            found[-1].segments.append(segment)
            found[-1].hi = at
        else:
            found.append(Unknown(max(segment.lo, lo), at, [segment]))
    if at < hi:
        found.append(Unknown(at, hi, []))
    return found


def unknown_whole(reading: Reading, segments: list[Segment], lo: bytes, hi: bytes) -> list[Piece]:
    """What of ``[lo, hi)`` is not known, without segments that reach beyond: these cannot be made whole."""
    if segments and segments[0].lo < lo:
        lo = segments.pop(0).hi
    if segments and segments[-1].hi > hi:
        hi = segments.pop().lo
    if lo >= hi:
        return []
    return [piece for piece in pieces(reading, segments, lo, hi) if isinstance(piece, Unknown)]


def _borders_gap(segments: list[Segment], position: int, lo: bytes, hi: bytes) -> bool:
    segment = segments[position]
    before = segments[position - 1].hi if position else lo
    behind = segments[position + 1].lo if position + 1 < len(segments) else hi
    return before < segment.lo or segment.hi < behind
