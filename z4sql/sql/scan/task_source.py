"""Reads tasks by key ranges as a stream of Arrow batches, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from raftcore.core.errors import RaftError, require
from raftcore.storage.kv import Keys, Scan, Store
from z4sql.sql.errors import SqlError
from z4sql.sql.scan.columns import KEY_COLUMNS, TYPES, Rows, joined_places
from z4sql.sql.scan.few_rows import FEW_ROWS_MAX, FewRows
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.request import ScanRequest, TimeRange
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.ids import format_id, parse_id
from z4sql.tasks.keys import MOVED, PAYLOAD, SUFFIX_BYTES, TASK, namespace_part, place, unpack_place
from z4sql.tasks.reader import task_bounds

BATCH_ROWS_MAX: Final = 16_384
_GROWTH: Final = 4
BATCH_BYTES: Final = 16 << 20
_OPENED_AT_ONCE: Final = 64
_COUNTED_AT_ONCE: Final = 65_536

_Item = tuple[bytes, bytes]


class TaskSource:
    """A `TableSource` over one store, for one query.

    Every range is read as of the moment when `scan` was called (of very many ranges, the first ones): calls
    without a write between see one state.
    """

    def __init__(self, store: Store, limits: QueryLimits | None = None) -> None:
        self._store = store
        self._limits = limits or QueryLimits()

    def schema(self, columns: tuple[str, ...]) -> pa.Schema:
        return pa.schema([(name, TYPES[name]) for name in columns])

    def scan(self, request: ScanRequest) -> Iterator[pa.RecordBatch]:
        """:raises SqlError: a limit was reached, or the store cannot be read."""
        if request.ids is not None:
            return told(self._scan_ids(request, request.ids))
        ranges = request.ranges[::-1] if request.descending else request.ranges
        keys_only = KEY_COLUMNS.issuperset(request.columns) and not request.needles
        with storage_errors_told():
            opened = [self._open(one, request, keys_only) for one in ranges[:_OPENED_AT_ONCE]]
        later = (self._open(one, request, keys_only) for one in ranges[_OPENED_AT_ONCE:])
        return told(self._scan_ranges(request, ranges, chain(opened, later)))

    def count(self, request: ScanRequest) -> int:
        """As `TableSource` says. :raises SqlError: as `scan`."""
        _require_keys_suffice(request)
        total = 0
        with storage_errors_told():
            for one in request.ranges:
                keys = iter(self._store.keys(*task_bounds(one.namespace, one.from_us, one.to_us)))
                while found := len(list(islice(keys, _COUNTED_AT_ONCE))):
                    self._limits.check(found)
                    total += found
        return total

    def first_and_last(self, request: ScanRequest) -> tuple[int, int] | None:
        _require_keys_suffice(request)
        found: list[int] = []
        with storage_errors_told():
            for one in request.ranges:
                bounds = task_bounds(one.namespace, one.from_us, one.to_us)
                for backwards in (False, True):
                    keys = self._store.keys(*bounds, backwards=backwards)
                    found += [unpack_place(key[-SUFFIX_BYTES:])[0] for key in islice(keys, 1)]
                    keys.close()
                self._limits.check(1)
        return (min(found), max(found)) if found else None

    def any_moved(self, request: ScanRequest) -> bool:
        """Whether the namespaces hold tasks whose ids do not follow from their places."""
        for namespace in dict.fromkeys(one.namespace for one in request.ranges):
            part = MOVED + namespace_part(namespace.encode())
            keys = self._store.keys(part, part + b"\xff" * 17)
            if next(keys, None) is not None:
                return True
        return False

    def _open(self, one: TimeRange, request: ScanRequest, keys_only: bool) -> Scan | Keys:
        bounds = task_bounds(one.namespace, one.from_us, one.to_us)
        walk = self._store.keys if keys_only else self._store.scan
        return walk(*bounds, backwards=request.descending)

    def _scan_ranges(
        self, request: ScanRequest, ranges: tuple[TimeRange, ...], walks: Iterator[Scan | Keys]
    ) -> Generator[pa.RecordBatch, None, None]:
        size = max(1, min(request.batch_rows, BATCH_ROWS_MAX))
        for one, walk in zip(ranges, walks, strict=False):
            try:
                if isinstance(walk, Keys):
                    read = self._read_keys(request, one.namespace, walk, size)
                else:
                    read = self._read_items(request, one.namespace, walk, size)
                size = yield from read
            finally:
                walk.close()

    def _read_keys(
        self, request: ScanRequest, namespace: str, walk: Keys, size: int
    ) -> Generator[pa.RecordBatch, None, int]:
        keys = iter(walk)
        while found := list(islice(keys, size)):
            self._limits.check(len(found))
            rows = Rows(namespace, joined_places(found), ())
            yield self._batch(request, rows)
            size = min(size * _GROWTH, BATCH_ROWS_MAX)
        return size

    def _read_items(
        self, request: ScanRequest, namespace: str, walk: Scan, size: int
    ) -> Generator[pa.RecordBatch, None, int]:
        items = iter(walk)
        while found := list(islice(items, size)):
            self._limits.check(len(found))
            read_bytes = sum([len(record) for _, record in found])
            rows = len(found)
            for needle in request.needles:
                found = [item for item in found if needle in item[1]]
            if found:
                yield from self._batches(request, namespace, found)
            size = min(rows * _GROWTH, BATCH_ROWS_MAX, max(BATCH_BYTES * rows // max(read_bytes, 1), 1))
        return size

    def _scan_ids(self, request: ScanRequest, ids: frozenset[str]) -> Generator[pa.RecordBatch, None, None]:
        for namespace in dict.fromkeys(one.namespace for one in request.ranges):
            reach = [(one.from_us, one.to_us) for one in request.ranges if one.namespace == namespace]
            found = [item for task_id in sorted(ids) for item in self._find(namespace, task_id)]
            self._limits.check(len(found))
            found = [
                item
                for item in sorted(found, reverse=request.descending)
                if any(lo <= unpack_place(item[0][-SUFFIX_BYTES:])[0] < hi for lo, hi in reach)
                and all(needle in item[1] for needle in request.needles)
            ]
            for start in range(0, len(found), BATCH_ROWS_MAX):
                yield from self._batches(request, namespace, found[start : start + BATCH_ROWS_MAX])

    def _find(self, namespace: str, task_id: str) -> list[_Item]:
        """The task of an id, where it lies now."""
        try:
            deliver_at_us, sequence = parse_id(task_id)
            where = place(deliver_at_us, sequence)
        except (InvalidTask, ValueError, OverflowError):
            return []
        if format_id(deliver_at_us, sequence) != task_id:
            return []
        part = namespace_part(namespace.encode())
        moved = self._store.get(MOVED + part + where)
        if moved is not None:
            where = moved + where[8:]
        key = TASK + part + where
        record = self._store.get(key)
        return [] if record is None else [(key, record)]

    def _batches(
        self, request: ScanRequest, namespace: str, found: list[_Item]
    ) -> Generator[pa.RecordBatch, None, None]:
        """One batch, or several where payloads of their own keys would make it too large."""
        rows = _rows(namespace, found)
        apart = rows.payloads_apart if "payload" in request.columns else np.empty(0, np.int64)
        if not len(apart):
            yield self._batch(request, rows)
            return
        sizes = np.zeros(rows.count, np.int64)
        sizes[apart] = rows.payload_lengths[apart]
        groups = np.cumsum(sizes) // BATCH_BYTES
        edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), rows.count]
        for lo, hi in pairwise(edges):
            part = found[lo:hi]
            rows = _rows(namespace, part)
            payloads = self._store.get_many(
                [
                    PAYLOAD + part[row][0][1:-SUFFIX_BYTES] + rows.payload_place(row)
                    for row in rows.payloads_apart.tolist()
                ]
            )
            require(None not in payloads, "a payload lies where its record says")
            yield self._batch(request, rows, [payload for payload in payloads if payload is not None])
            self._limits.check(0)

    def _batch(
        self, request: ScanRequest, rows: Rows | FewRows, payloads: Sequence[bytes] = ()
    ) -> pa.RecordBatch:
        if isinstance(rows, FewRows):
            return rows.batch(request.columns, payloads)
        arrays = [rows.column(name, payloads if name == "payload" else ()) for name in request.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema(request.columns))


@contextmanager
def storage_errors_told() -> Iterator[None]:
    """The store's errors as the client's: 1030."""
    try:
        yield
    except RaftError as error:
        raise SqlError(f"Got error from storage engine: {error}", code=1030) from error


def told(batches: Generator[pa.RecordBatch, None, None]) -> Generator[pa.RecordBatch, None, None]:
    """Batches with the store's errors as the client's."""
    with storage_errors_told():
        yield from batches


def _rows(namespace: str, found: list[_Item]) -> Rows | FewRows:
    if len(found) <= FEW_ROWS_MAX:
        return FewRows(namespace, found)
    return Rows(namespace, joined_places([key for key, _ in found]), [record for _, record in found])


def _require_keys_suffice(request: ScanRequest) -> None:
    require(not request.needles and request.ids is None, "keys alone answer only for whole ranges")
