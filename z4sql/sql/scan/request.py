"""What the planner asks of the scan, and where scans read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

INSTANT_MIN = -(1 << 63) + 1
INSTANT_MAX = (1 << 63) - 1


@dataclass(slots=True, frozen=True, order=True)
class TimeRange:
    """deliver_at of one namespace in ``[from_us, to_us)``, UTC microseconds."""

    namespace: str
    from_us: int
    to_us: int


@dataclass(slots=True, frozen=True)
class ScanRequest:
    """Rows of a bounded table. ``ranges`` are disjoint and ordered.

    ``columns``: names that the query reads, in the order wanted; the scan builds no others.
    ``needles``: each must occur in the stored metadata bytes: a superset filter, one evaluator decides later.
    ``ids``: only these ids, when given. ``descending``: newest first.
    ``batch_rows``: size of the first batch; it grows up to the scan's usual size (early stop for LIMIT).
    ``tallied``: whoever asks tells rows apart by namespace and state only. Then their order means nothing,
    and ``deliver_at`` may be any instant of their range.
    """

    ranges: tuple[TimeRange, ...]
    columns: tuple[str, ...]
    needles: tuple[bytes, ...] = ()
    ids: frozenset[str] | None = None
    descending: bool = False
    batch_rows: int = 16_384
    tallied: bool = False

    def of(self, columns: tuple[str, ...]) -> ScanRequest:
        """The same rows with other columns."""
        return replace(self, columns=columns)


class TableSource(Protocol):
    """Streams the rows of one table for one query."""

    def schema(self, columns: tuple[str, ...]) -> pa.Schema: ...

    def scan(self, request: ScanRequest) -> Iterator[pa.RecordBatch]:
        """Batches in bounded memory; a storage error raises, never ends the iteration short."""
        ...

    def count(self, request: ScanRequest) -> int:
        """Rows in the ranges, from keys alone; only for requests without needles and ids."""
        ...

    def first_and_last(self, request: ScanRequest) -> tuple[int, int] | None:
        """Least and greatest deliver_at (us) in the ranges, from keys alone; None when empty."""
        ...
