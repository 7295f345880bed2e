"""Reads tasks through the segments that former queries left in memory, and leaves new ones.

Where the segments have all columns that are asked for, nothing is read from the store. Queries that pick few
whole rows by a member of the metadata find them in that member's column, and read only those. Who asks for
rows by a member for the first time gets them from the records, of which only those are decoded that have it;
to keep columns pays when they are asked for again (or `read_ahead`).

Who only tells states apart, in nearly all of a namespace, needs no rows: the store counts them (`_tally`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Final, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raftcore.core.errors import require
from raftcore.storage.kv import Store
from z4sql.sql.scan.columns import TYPES, Rows, joined_places
from z4sql.sql.scan.few_rows import FewRows
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.members import (
    MEMBER_TYPE,
    Extractor,
    is_member,
    leg_of,
    member_column,
    stored_column,
    trimmed,
)
from z4sql.sql.scan.pieces import (
    Found,
    Item,
    Items,
    Known,
    Opened,
    Part,
    Piece,
    Reading,
    Unknown,
    is_narrow,
    pieces,
    unknown_whole,
)
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.sql.scan.segments import Segment, SegmentCache
from z4sql.sql.scan.task_source import BATCH_ROWS_MAX, TaskSource, storage_errors_told, told
from z4sql.tasks.counters import decoded_counts
from z4sql.tasks.keys import COUNTER, SUFFIX_BYTES, TASK, namespace_part
from z4sql.tasks.reader import task_bounds
from z4sql.tasks.record import STATE_AT, STATE_NAMES, State

_WALKS_MAX: Final = 48
"""Iterators open at once; ranges with more gaps than that are read as if nothing was cached."""
_RANGES_MAX: Final = 16
_PICKED_AT_ONCE: Final = 1_024
_OUTSIDE_MAX: Final = 1_024
_OUTSIDE_FEW: Final = 32

_UNCACHED: Final = frozenset({"payload", "events"})
_BESIDE_MAX: Final = 4
"""So many members are kept that nobody asked for yet,"""
_REPEATED: Final = 2
"""if each of their values stands in so many rows, on average."""
_PLAIN_KEY: Final = re.compile(r"\w+")
_TALLIED: Final = frozenset({"namespace", "deliver_at", "state"})
_NAME_TYPE: Final = pa.dictionary(pa.int8(), pa.string())
_ZEROS: Final = pa.array(np.zeros(BATCH_ROWS_MAX, np.int8))


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
        narrow = all(map(is_narrow, request.columns))
        return bool(request.needles) and (not narrow or request.batch_rows < BATCH_ROWS_MAX)

    def scan(self, request: ScanRequest) -> Iterator[pa.RecordBatch]:
        """As `TaskSource`. Where narrow columns suffice, rows may come unfiltered."""
        reading = Reading(request, self._cache.settings)
        ranges = request.ranges[::-1] if request.descending else request.ranges
        tallied = []
        with storage_errors_told(), self._cache.reading():
            if request.tallied and not request.needles and _TALLIED.issuperset(request.columns):
                tallies = [(one, self._tally(one)) for one in ranges]
                ranges = tuple(one for one, tally in tallies if tally is None)
                tallied = [self._of_tally(request, one, tally) for one, tally in tallies if tally is not None]
            opened = [self._open_range(reading, one) for one in ranges]
        return told(self._batches_of(reading, opened, tallied))

    def count(self, request: ScanRequest) -> int:
        """As `TableSource` says. :raises SqlError: as `scan`."""
        if not self.serves(request):
            return super().count(request)
        total: int = 0
        walked = []
        with storage_errors_told(), self._cache.reading():
            for one in request.ranges:
                tally = self._tally(one)
                if tally is None:
                    walked.append(one)
                else:
                    total += sum(tally.values())
            batches = self.scan(ScanRequest(tuple(walked), ("namespace",)))
        for batch in batches:
            total += batch.num_rows
        return total

    def _tally(self, one: TimeRange) -> dict[State, int] | None:
        """How many tasks of a range are in each state, if it has nearly all of its namespace: the store
        counts these. Else None."""
        lo, hi = task_bounds(one.namespace, one.from_us, one.to_us)
        first, last = task_bounds(one.namespace, INSTANT_MIN, INSTANT_MAX + 1)
        space = namespace_part(one.namespace.encode())
        states = bytearray()
        for bounds in ((first, lo), (hi, last)):
            outside = iter(self._store.scan(*bounds))
            found = [record[STATE_AT] for _, record in islice(outside, _OUTSIDE_FEW)]
            if len(found) == _OUTSIDE_FEW and self._has_many(lo, hi):
                found += [record[STATE_AT] for _, record in islice(outside, _OUTSIDE_MAX)]
            states += bytes(found)
            if len(found) == _OUTSIDE_FEW or len(states) > _OUTSIDE_MAX:
                # There is more outside than was looked at.
                return None
        self._limits.check(len(states))
        self._cache.asked.note(space, ())
        counts = decoded_counts(self._store.get(COUNTER + space))
        return {state: count - states.count(state) for state, count in counts.items()}

    def _has_many(self, lo: bytes, hi: bytes) -> bool:
        """Whether to count what lies outside may be less work than to read what lies inside."""
        keys = self._store.keys(lo, hi)
        return len(list(islice(keys, _OUTSIDE_MAX))) == _OUTSIDE_MAX

    def _of_tally(
        self, request: ScanRequest, one: TimeRange, tally: dict[State, int]
    ) -> Iterator[pa.RecordBatch]:
        """As many rows of each state."""
        bounds = (one.from_us, one.to_us - 1)
        at_us = next((us for us in bounds if INSTANT_MIN < us < INSTANT_MAX - 1), 0)
        for state, count in tally.items():
            for first in range(0, count, BATCH_ROWS_MAX):
                rows = min(count - first, BATCH_ROWS_MAX)
                self._limits.check(0)
                columns = {
                    "namespace": _name_column(one.namespace, rows),
                    "deliver_at": pa.array(np.full(rows, at_us)).view(TYPES["deliver_at"]),
                    "state": _name_column(STATE_NAMES[state], rows),
                }
                arrays = [columns[name] for name in request.columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=self.schema(request.columns))

    def read_ahead(
        self, ranges: tuple[TimeRange, ...], columns: tuple[str, ...]
    ) -> Generator[int, None, None]:
        """Keep these columns of what is not kept yet, the latest tasks first; rows read, by and by.

        With members of metadata beside them that may be asked for.
        """
        request = ScanRequest(ranges, columns, descending=True)
        reading = Reading(request, self._cache.settings, ahead=True)
        with storage_errors_told(), self._cache.reading():
            opened = [self._open_range(reading, one) for one in ranges[::-1]]
        for batch in told(self._batches_of(reading, opened)):
            yield batch.num_rows

    def _open_range(self, reading: Reading, one: TimeRange) -> Opened:
        lo, hi = task_bounds(one.namespace, one.from_us, one.to_us)
        space = namespace_part(one.namespace.encode())
        skipped = len(TASK) + len(space)
        lo, hi = lo[skipped:], hi[skipped:]
        found = self._pieces(reading, space, lo, hi)
        walk = self._store.keys if reading.keys_only else self._store.scan
        prefix = TASK + space
        for piece in found:
            if isinstance(piece, Unknown):
                bounds = (prefix + piece.lo, prefix + piece.hi)
                piece.walk = walk(*bounds, backwards=reading.request.descending)
                piece.filling = self._cache.fill(space, piece.lo, piece.hi) if piece.kept else None
        picks = any(
            isinstance(piece, Known) and piece.picked is not None and len(piece.picked) for piece in found
        )
        return Opened(one.namespace, found, self._store.snapshot() if picks else None)

    def _pieces(self, reading: Reading, space: bytes, lo: bytes, hi: bytes) -> list[Piece]:
        """Parts of a range in the order of the scan."""
        segments = self._cache.find(space, lo, hi, used=not reading.ahead)
        if reading.ahead:
            return unknown_whole(reading, segments, lo, hi)[: -_WALKS_MAX - 1 : -1]
        asked_before = self._cache.asked.note(space, reading.needed)
        found = pieces(reading, segments, lo, hi)
        if sum(isinstance(piece, Unknown) for piece in found) > _WALKS_MAX:
            found = [Unknown(lo, hi, [])]
        if reading.needles and not asked_before:
            for piece in found:
                if isinstance(piece, Unknown):
                    piece.kept = False
        return found[::-1] if reading.request.descending else found

    def _batches_of(
        self, reading: Reading, opened: list[Opened], tallied: Sequence[Iterator[pa.RecordBatch]] = ()
    ) -> Generator[pa.RecordBatch, None, None]:
        for batches in tallied:
            yield from batches
        for one in opened:
            found: list[Item] = []
            for piece in one.pieces:
                if isinstance(piece, Known) and piece.picked is not None:
                    for item in self._picked(reading, one, piece, piece.picked):
                        found.append(item)
                        if len(found) >= min(_PICKED_AT_ONCE, reading.request.batch_rows):
                            yield from self._batches(reading.request, one.namespace, found)
                            found = []
                    continue
                if found:
                    yield from self._batches(reading.request, one.namespace, found)
                    found = []
                if isinstance(piece, Unknown):
                    yield from self._read(reading, one.namespace, piece)
                else:
                    yield from self._known(reading, one.namespace, piece)
            if found:
                yield from self._batches(reading.request, one.namespace, found)

    def _known(self, reading: Reading, namespace: str, piece: Known) -> Generator[pa.RecordBatch, None, None]:
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
        self, reading: Reading, opened: Opened, piece: Known, rows: NDArray[np.int64]
    ) -> Iterator[Item]:
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
        self, reading: Reading, namespace: str, piece: Unknown
    ) -> Generator[pa.RecordBatch, None, None]:
        assert piece.walk is not None
        items = cast("Items", iter(piece.walk))
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
        reading: Reading,
        namespace: str,
        piece: Unknown,
        items: Items,
        segment: Segment,
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a segment that lacks columns."""
        lo, hi = max(segment.lo, piece.lo), min(segment.hi, piece.hi)
        left = segment.position(hi) - segment.position(lo)
        while left:
            asked = min(left, reading.asks(piece.filling))
            found = Found(reading, items, asked, self._limits.check, sift=reading.sifts(piece.filling))
            require(found.rows > 0, "a segment that was not changed holds what is stored")
            # What is known of the segment outside of the range may change unnoticed by this scan.
            whole = found.rows == segment.rows and (lo, hi) == (segment.lo, segment.hi)
            left -= found.rows
            part = Part(segment.lo, segment.hi, piece.filling if whole else None)
            yield from self._taken(reading, namespace, found, part)

    def _read_gap(
        self,
        reading: Reading,
        namespace: str,
        piece: Unknown,
        items: Items,
    ) -> Generator[pa.RecordBatch, None, None]:
        lo, hi = piece.lo, piece.hi
        descending = reading.request.descending
        ended = False
        while not ended:
            asked = reading.asks(piece.filling)
            sift = reading.sifts(piece.filling)
            found = Found(reading, items, asked, self._limits.check, sift=sift)
            ended = found.ended
            if sift:
                yield from self._taken(reading, namespace, found, Part(lo, hi, None))
                continue
            if descending:
                part_lo, part_hi = (lo if ended else found.places[:SUFFIX_BYTES]), hi
                hi = part_lo
            else:
                part_lo, part_hi = lo, (hi if ended else found.places[-SUFFIX_BYTES:] + b"\0")
                lo = part_hi
            alone = part_lo == piece.lo and part_hi == piece.hi
            kept = reading.ahead or found.rows >= reading.settings.kept_rows_min or (ended and not alone)
            filling = piece.filling if kept and part_lo < part_hi else None
            yield from self._taken(reading, namespace, found, Part(part_lo, part_hi, filling))

    def _taken(
        self, reading: Reading, namespace: str, found: Found, part: Part
    ) -> Generator[pa.RecordBatch, None, None]:
        """What was read of a part: kept, and given on."""
        self._limits.check(found.rows)
        reading.grow(found)
        if reading.sifts(part.filling):
            items = found.items
            if found.records is not None:
                # Few rows, which it turned out not to be worth to keep.
                every = found.picked(TASK + namespace_part(namespace.encode()), range(found.rows))
                items = [
                    item for item in every if all(needle in item[1] for needle in reading.request.needles)
                ]
                items = items[::-1] if reading.request.descending else items
            if items:
                yield from self._sifted(reading, namespace, items)
            return
        if found.records is None and not reading.keys_only:
            self._keep(part, found, {name: pa.array([], _type(name)) for name in reading.read})
            return
        rows = Rows(namespace, found.places, found.records or ())
        columns = self._columns(reading, rows, kept=part.filling is not None)
        self._keep(part, found, columns)
        if reading.picks:
            picked = reading.picked(columns, 0, found.rows)
            order = picked[::-1] if reading.request.descending else picked
            items = found.picked(TASK + namespace_part(namespace.encode()), order.tolist())
            if items:
                yield from self._batches(reading.request, namespace, items)
        elif found.rows:
            yield self._batch_of(reading, rows, columns)

    def _sifted(
        self, reading: Reading, namespace: str, items: list[Item]
    ) -> Generator[pa.RecordBatch, None, None]:
        """Rows that have all needles."""
        if reading.picks:
            yield from self._batches(reading.request, namespace, items)
            return
        ordered = items[::-1] if reading.request.descending else items
        keys, records = zip(*ordered, strict=True)
        rows = Rows(namespace, joined_places(keys), records)
        yield self._batch_of(reading, rows, self._columns(reading, rows, kept=False))

    def _batch_of(self, reading: Reading, rows: Rows, columns: dict[str, pa.Array]) -> pa.RecordBatch:
        """Rows in the order of the scan, with the columns that it asks for."""
        columns["namespace"] = _name_column(rows.namespace, rows.count)
        columns["deliver_at"] = rows.column("deliver_at")
        arrays = [
            columns[name] if stored_column(name) == name else trimmed(columns[stored_column(name)])
            for name in reading.request.columns
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema(reading.request.columns))
        return _reversed(batch) if reading.request.descending and not reading.ahead else batch

    def _keep(self, part: Part, found: Found, columns: dict[str, pa.Array]) -> None:
        if part.filling is not None:
            self._cache.keep(part.filling, part.lo, part.hi, found.places, columns)

    def _columns(self, reading: Reading, rows: Rows, *, kept: bool) -> dict[str, pa.Array]:
        """The columns that are wanted; if they are to be kept, also what comes cheaply with them."""
        columns = {
            name: rows.states if name == "state" else rows.column(name)
            for name in reading.read
            if not is_member(name)
        }
        members = [name for name in reading.read if is_member(name)]
        if members or (reading.ahead and self._cache.has_room):
            metadata = rows.column("metadata")
            beside = self._beside(metadata, members) if kept else []
            legs = [leg_of(name) for name in (*members, *beside)]
            extracted = self._extractor.members(metadata, legs) if legs else []
            found = dict(zip((*members, *beside), extracted, strict=True))
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

    def _batch(
        self, request: ScanRequest, rows: Rows | FewRows, payloads: Sequence[bytes] = ()
    ) -> pa.RecordBatch:
        arrays = []
        for name in request.columns:
            if name == "namespace":
                arrays.append(_name_column(rows.namespace, rows.count))
            elif name == "state":
                arrays.append(rows.states)
            else:
                arrays.append(rows.column(name, payloads if name == "payload" else ()))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema(request.columns))


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
