"""Reads tasks through the segments that former queries left in memory, and leaves new ones.

Where the segments have all columns that are asked for, nothing is read from the store. Queries that pick few
whole rows by a member of the metadata find them in that member's column, and read only those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Final, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raftcore.core.errors import require
from raftcore.storage.kv import Keys, Scan, Store, View
from z4sql.sql.scan.columns import KEY_COLUMNS, TYPES, Rows, joined_places
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.members import (
    MEMBER_TYPE,
    Extractor,
    NeedleMember,
    is_member,
    leg_of,
    member_column,
    stored_column,
    trimmed,
)
from z4sql.sql.scan.request import ScanRequest, TimeRange
from z4sql.sql.scan.segments import Filling, Segment, SegmentCache, SegmentSettings
from z4sql.sql.scan.task_source import BATCH_BYTES, BATCH_ROWS_MAX, TaskSource, storage_errors_told, told
from z4sql.tasks.keys import SUFFIX_BYTES, TASK, namespace_part
from z4sql.tasks.reader import task_bounds

_GROWTH: Final = 4
_WALKS_MAX: Final = 48
"""Iterators open at once; ranges with more gaps than that are read as if nothing was cached."""
_RANGES_MAX: Final = 16
_PICKED_SHARE: Final = 32
"""Rows are picked one by one when they are fewer than all divided by this."""
_PICKED_AT_ONCE: Final = 1_024

_UNCACHED: Final = frozenset({"payload", "events"})
_NARROW: Final = frozenset(
    {
        *("namespace", "deliver_at", "state", "created_at", "attempts", "next_attempt_at", "lease_until"),
        *("last_attempt_at", "finished_at", "expire_at", "lease_token", "lateness_ms"),
    }
)
_STATE: Final = "state"
_BESIDE_MAX: Final = 4
"""So many members are kept that nobody asked for yet,"""
_REPEATED: Final = 2
"""if each of their values stands in so many rows, on average."""
_PLAIN_KEY: Final = re.compile(r"\w+")
_NAME_TYPE: Final = pa.dictionary(pa.int8(), pa.string())
_ZEROS: Final = pa.array(np.zeros(BATCH_ROWS_MAX, np.int8))

_KEY: Final = itemgetter(0)
_RECORD: Final = itemgetter(1)

_Item = tuple[bytes, bytes]
_Items = Iterator[bytes] | Iterator[_Item]


@dataclass(slots=True)
class _Known:
    """A part of a range that a segment answers: rows ``[first, last)``, of which ``picked`` are wanted."""

    segment: Segment
    first: int
    last: int
    picked: NDArray[np.int64] | None = None


@dataclass(slots=True)
class _Unknown:
    """A part of a range to be read from the store: ``segments`` that lack columns, or else a gap."""

    lo: bytes
    hi: bytes
    segments: list[Segment]
    kept: bool = True
    walk: Scan | Keys | None = None
    filling: Filling | None = None


@dataclass(slots=True)
class _Part:
    """Rows that were read together: all of ``[lo, hi)``, to be kept if there is a ``filling``."""

    lo: bytes
    hi: bytes
    filling: Filling | None


_Piece = _Known | _Unknown


@dataclass(slots=True)
class _Opened:
    """One range, with all that is needed to read it as of one moment."""

    namespace: str
    pieces: list[_Piece]
    view: View | None


class CachedSource(TaskSource):
    """A `TableSource` that also gives members of the metadata (`z4sql.sql.scan.members`) as columns."""

    def __init__(
        self, store: Store, limits: QueryLimits | None, cache: SegmentCache, extractor: Extractor
    ) -> None:
        super().__init__(store, limits)
        self._cache = cache
        self._extractor = extractor

    def schema(self, columns: tuple[str, ...]) -> pa.Schema:
        return pa.schema([(name, _type(name)) for name in columns])

    @staticmethod
    def serves(request: ScanRequest) -> bool:
        """Whether segments can be of use."""
        if request.ids is not None or len(request.ranges) > _RANGES_MAX:
            return False
        return bool(request.needles) or _UNCACHED.isdisjoint(request.columns)

    @staticmethod
    def picks(request: ScanRequest) -> bool:
        """Whether rows are wanted whole, and few of them: such a scan gives no members as columns."""
        narrow = all(name in _NARROW or is_member(name) for name in request.columns)
        return bool(request.needles) and (not narrow or request.batch_rows < BATCH_ROWS_MAX)

    def scan(self, request: ScanRequest) -> Iterator[pa.RecordBatch]:
        """As `TaskSource`. Without needles, or where narrow columns suffice, rows come unfiltered."""
        reading = _Reading(request, self._cache.settings)
        ranges = request.ranges[::-1] if request.descending else request.ranges
        with storage_errors_told(), self._cache.reading():
            opened = [self._open_range(reading, one) for one in ranges]
        return told(self._batches_of(reading, opened))

    def count(self, request: ScanRequest) -> int:
        """As `TableSource` says. :raises SqlError: as `scan`."""
        if not self.serves(request):
            return super().count(request)
        return sum(batch.num_rows for batch in self.scan(ScanRequest(request.ranges, ("namespace",))))

    def _open_range(self, reading: _Reading, one: TimeRange) -> _Opened:
        lo, hi = task_bounds(one.namespace, one.from_us, one.to_us)
        space = namespace_part(one.namespace.encode())
        skipped = len(TASK) + len(space)
        lo, hi = lo[skipped:], hi[skipped:]
        segments = self._cache.find(space, lo, hi)
        pieces = _pieces(reading, segments, lo, hi)
        if sum(isinstance(piece, _Unknown) for piece in pieces) > _WALKS_MAX:
            pieces = [_Unknown(lo, hi, [])]
        if reading.request.descending:
            pieces.reverse()
        walk = self._store.keys if reading.keys_only else self._store.scan
        prefix = TASK + space
        for piece in pieces:
            if isinstance(piece, _Unknown):
                bounds = (prefix + piece.lo, prefix + piece.hi)
                piece.walk = walk(*bounds, backwards=reading.request.descending)
                piece.filling = self._cache.fill(space, piece.lo, piece.hi) if piece.kept else None
        picks = any(
            isinstance(piece, _Known) and piece.picked is not None and len(piece.picked) for piece in pieces
        )
        return _Opened(one.namespace, pieces, self._store.snapshot() if picks else None)

    def _batches_of(self, reading: _Reading, opened: list[_Opened]) -> Generator[pa.RecordBatch, None, None]:
        for one in opened:
            found: list[_Item] = []
            for piece in one.pieces:
                if isinstance(piece, _Known) and piece.picked is not None:
                    for item in self._picked(reading, one, piece, piece.picked):
                        found.append(item)
                        if len(found) >= min(_PICKED_AT_ONCE, reading.request.batch_rows):
                            yield from self._batches(reading.request, one.namespace, found)
                            found = []
                    continue
                if found:
                    yield from self._batches(reading.request, one.namespace, found)
                    found = []
                if isinstance(piece, _Unknown):
                    yield from self._read(reading, one.namespace, piece)
                else:
                    yield from self._known(reading, one.namespace, piece)
            if found:
                yield from self._batches(reading.request, one.namespace, found)

    def _known(
        self, reading: _Reading, namespace: str, piece: _Known
    ) -> Generator[pa.RecordBatch, None, None]:
        count = piece.last - piece.first
        self._limits.check(count)
        self._cache.rows_found += count
        if not count:
            return
        arrays = []
        for name in reading.request.columns:
            if name == "namespace":
                arrays.append(_name_column(namespace, count))
            elif name == "deliver_at":
                places = piece.segment.places[piece.first * SUFFIX_BYTES : piece.last * SUFFIX_BYTES]
                arrays.append(Rows(namespace, places, ()).column("deliver_at"))
            else:
                column = piece.segment.columns[stored_column(name)].slice(piece.first, count)
                arrays.append(column if stored_column(name) == name else trimmed(column))
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema(reading.request.columns))
        yield _reversed(batch) if reading.request.descending else batch

    def _picked(
        self, reading: _Reading, opened: _Opened, piece: _Known, rows: NDArray[np.int64]
    ) -> Iterator[_Item]:
        """Whole rows, as they were when the scan was opened."""
        self._limits.check(piece.last - piece.first)
        self._cache.rows_found += piece.last - piece.first
        prefix = TASK + namespace_part(opened.namespace.encode())
        for row in (rows[::-1] if reading.request.descending else rows).tolist():
            assert opened.view is not None
            key = prefix + piece.segment.place(row)
            record = opened.view.get(key)
            require(record is not None, "a segment that was not changed holds what is stored")
            assert record is not None
            yield key, record

    def _read(
        self, reading: _Reading, namespace: str, piece: _Unknown
    ) -> Generator[pa.RecordBatch, None, None]:
        assert piece.walk is not None
        items = cast("_Items", iter(piece.walk))
        try:
            if piece.segments:
                segments = piece.segments[::-1] if reading.request.descending else piece.segments
                for segment in segments:
                    yield from self._read_again(reading, namespace, piece, items, segment)
            else:
                yield from self._read_gap(reading, namespace, piece, items)
        finally:
            piece.walk.close()

    def _read_again(
        self,
        reading: _Reading,
        namespace: str,
        piece: _Unknown,
        items: _Items,
        segment: Segment,
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a segment that lacks columns."""
        lo, hi = max(segment.lo, piece.lo), min(segment.hi, piece.hi)
        left = segment.position(hi) - segment.position(lo)
        while left:
            found = _Found(reading, items, min(left, reading.size))
            require(found.rows > 0, "a segment that was not changed holds what is stored")
            # What is known of the segment outside of the range may change unnoticed by this scan.
            whole = found.rows == segment.rows and (lo, hi) == (segment.lo, segment.hi)
            left -= found.rows
            part = _Part(segment.lo, segment.hi, piece.filling if whole else None)
            yield from self._taken(reading, namespace, found, part)

    def _read_gap(
        self,
        reading: _Reading,
        namespace: str,
        piece: _Unknown,
        items: _Items,
    ) -> Generator[pa.RecordBatch, None, None]:
        lo, hi = piece.lo, piece.hi
        descending = reading.request.descending
        ended = False
        while not ended:
            asked = reading.size
            found = _Found(reading, items, asked)
            ended = found.rows < asked
            if descending:
                part_lo, part_hi = (lo if ended else found.places[:SUFFIX_BYTES]), hi
                hi = part_lo
            else:
                part_lo, part_hi = lo, (hi if ended else found.places[-SUFFIX_BYTES:] + b"\0")
                lo = part_hi
            alone = part_lo == piece.lo and part_hi == piece.hi
            kept = found.rows >= reading.settings.kept_rows_min or (ended and not alone)
            filling = piece.filling if kept and part_lo < part_hi else None
            yield from self._taken(reading, namespace, found, _Part(part_lo, part_hi, filling))

    def _taken(
        self, reading: _Reading, namespace: str, found: _Found, part: _Part
    ) -> Generator[pa.RecordBatch, None, None]:
        """What was read of a part: kept, and given on."""
        self._limits.check(found.rows)
        reading.grow(found)
        rows = Rows(namespace, found.places, found.records)
        if reading.picks:
            if found.rows and part.filling is not None:
                columns = self._columns(rows, reading.read, kept=True)
                self._keep(part, found, columns)
                picked = reading.picked(columns, 0, found.rows)
                order = found.rows - 1 - picked[::-1] if reading.request.descending else picked
                items = [found.items[at] for at in order.tolist()]
            else:
                items = found.items
                for needle in reading.request.needles:
                    items = [item for item in items if needle in item[1]]
            if items:
                yield from self._batches(reading.request, namespace, items)
            return
        if not found.rows:
            self._keep(part, found, {name: pa.array([], _type(name)) for name in reading.read})
            return
        columns = self._columns(rows, reading.read, kept=part.filling is not None)
        self._keep(part, found, columns)
        columns["namespace"], columns["deliver_at"] = (
            _name_column(namespace, found.rows),
            rows.column("deliver_at"),
        )
        arrays = [
            columns[name] if stored_column(name) == name else trimmed(columns[stored_column(name)])
            for name in reading.request.columns
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema(reading.request.columns))
        yield _reversed(batch) if reading.request.descending else batch

    def _keep(self, part: _Part, found: _Found, columns: dict[str, pa.Array]) -> None:
        if part.filling is not None:
            self._cache.keep(part.filling, part.lo, part.hi, found.places, columns)

    def _columns(self, rows: Rows, names: Sequence[str], *, kept: bool) -> dict[str, pa.Array]:
        """The columns of ``names``; if they are to be kept, also what comes cheaply with them."""
        columns = {
            name: rows.states if name == "state" else rows.column(name)
            for name in names
            if not is_member(name)
        }
        members = [name for name in names if is_member(name)]
        if members:
            metadata = rows.column("metadata")
            beside = self._beside(metadata, members) if kept else []
            legs = [leg_of(name) for name in (*members, *beside)]
            found = dict(zip((*members, *beside), self._extractor.members(metadata, legs), strict=True))
            columns.update(
                (name, column)
                for name, column in found.items()
                if name in members or len(column.dictionary) <= rows.count // _REPEATED
            )
        return columns

    def _beside(self, metadata: pa.Array, members: Sequence[str]) -> list[str]:
        """Other members of the same documents: a dashboard's next panel asks for them, and reading is most
        of the work."""
        if len(metadata) < self._cache.settings.kept_rows_min or not self._cache.has_room:
            return []
        sample = (metadata[at].as_py() for at in (0, len(metadata) // 2, len(metadata) - 1))
        keys = dict.fromkeys(key for document in sample for key in json.loads(document))
        found = [member_column(key) for key in keys if _PLAIN_KEY.fullmatch(key)]
        return [name for name in found if name not in members][:_BESIDE_MAX]

    def _batch(self, request: ScanRequest, rows: Rows, payloads: Sequence[bytes] = ()) -> pa.RecordBatch:
        arrays = []
        for name in request.columns:
            if name == "namespace":
                arrays.append(_name_column(rows.namespace, rows.count))
            elif name == "state":
                arrays.append(rows.states)
            else:
                arrays.append(rows.column(name, payloads if name == "payload" else ()))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema(request.columns))


class _Reading:
    """One scan: its request, and what follows from it."""

    def __init__(self, request: ScanRequest, settings: SegmentSettings) -> None:
        self.request = request
        self.settings = settings
        self.size = max(1, min(request.batch_rows, settings.rows_max))
        """Rows to be read next, at once."""
        self.picks = CachedSource.picks(request)
        """Of the segments, only what the needles tell of is needed and kept."""
        self.needles = [NeedleMember.of(needle) for needle in request.needles]
        self.filters = list(dict.fromkeys(needle.column for needle in self.needles)) if self.picks else []
        stored = dict.fromkeys(map(stored_column, request.columns))
        self.kept = [name for name in stored if name not in KEY_COLUMNS]
        """Columns that a segment must have, when rows are not picked; those of keys follow from places."""
        self.keys_only = not self.picks and not self.kept
        needed = self.filters if self.picks else self.kept
        self.read = needed if self.keys_only or _STATE in needed else [*needed, _STATE]
        """Columns that are made of what is read: the state comes with every record, and takes one byte."""

    def grow(self, found: _Found) -> None:
        """Read more at once next time, as far as it fits."""
        self.size = min(max(found.rows, self.size) * _GROWTH, self.settings.rows_max)
        read_bytes = sum(map(len, found.records))
        if read_bytes > BATCH_BYTES // _GROWTH:
            self.size = max(1, min(self.size, BATCH_BYTES * found.rows // read_bytes))

    def answered_by(self, segment: Segment) -> bool:
        return all(name in segment.columns for name in (self.filters if self.picks else self.kept))

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


class _Found:
    """Items or keys that were read at once, in the order of keys."""

    __slots__ = ("items", "places", "records", "rows")

    def __init__(self, reading: _Reading, items: _Items, count: int) -> None:
        # Columns are kept in the order of keys; picked rows are given on in the order of the scan.
        descending = reading.request.descending
        self.items: list[_Item] = []
        self.records: list[bytes] = []
        if reading.keys_only:
            keys = list(islice(cast("Iterator[bytes]", items), count))
            self.rows = len(keys)
            self.places = joined_places(keys[::-1] if descending else keys)
            return
        self.items = list(islice(cast("Iterator[_Item]", items), count))
        self.rows = len(self.items)
        ordered = self.items[::-1] if descending else self.items
        self.places = joined_places(list(map(_KEY, ordered)))
        self.records = list(map(_RECORD, ordered))


def _pieces(reading: _Reading, segments: list[Segment], lo: bytes, hi: bytes) -> list[_Piece]:
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
        return [_Unknown(lo, hi, [], kept=False)]
    pieces: list[_Piece] = []
    at = lo
    for position, (segment, first, last) in enumerate(ranged):
        inside = lo <= segment.lo and segment.hi <= hi
        if inside and segment.rows < reading.settings.small_rows and _borders_gap(segments, position, lo, hi):
            continue
        if at < segment.lo:
            pieces.append(_Unknown(at, segment.lo, []))
        at = min(segment.hi, hi)
        if reading.answered_by(segment):
            pieces.append(_Known(segment, first, last, picked.get(segment)))
        elif pieces and isinstance(pieces[-1], _Unknown) and pieces[-1].segments:
            pieces[-1].segments.append(segment)
            pieces[-1].hi = at
        else:
            pieces.append(_Unknown(max(segment.lo, lo), at, [segment]))
    if at < hi:
        pieces.append(_Unknown(at, hi, []))
    return pieces


def _borders_gap(segments: list[Segment], position: int, lo: bytes, hi: bytes) -> bool:
    segment = segments[position]
    before = segments[position - 1].hi if position else lo
    behind = segments[position + 1].lo if position + 1 < len(segments) else hi
    return before < segment.lo or segment.hi < behind


def _type(name: str) -> pa.DataType:
    if name in ("namespace", "state"):
        return _NAME_TYPE
    return MEMBER_TYPE if is_member(name) else TYPES[name]


def _name_column(namespace: str, count: int) -> pa.Array:
    zeros = _ZEROS if count <= len(_ZEROS) else pa.array(np.zeros(count, np.int8))
    return pa.DictionaryArray.from_arrays(zeros.slice(0, count), pa.array([namespace], pa.string()))


def _reversed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows from last to first."""
    order = pa.array(np.arange(batch.num_rows - 1, -1, -1))
    arrays = []
    for column in batch.columns:
        viewed = column.type == pa.string_view()
        taken = (column.cast(pa.string()) if viewed else column).take(order)
        arrays.append(taken.cast(pa.string_view()) if viewed else taken)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)
