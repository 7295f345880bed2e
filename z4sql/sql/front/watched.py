"""Batches on their way to the client: counted for FOUND_ROWS(), and in its character set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pyarrow as pa

from z4sql.sql.errors import SqlError
from z4sql.sql.result import ResultSet
from z4sql.sql.types import Kind, ResultColumn

_ENCODINGS = {"latin1": "cp1252", "ascii": "ascii"}
"""MySQL manual: the latin1 character set is cp1252. All others are UTF-8, or leave bytes as they are."""
_TEXTS = frozenset({Kind.STRING, Kind.JSON})


class Watched:
    """``ended`` is told the number of rows at the end, and the error. Closing it closes what it reads.

    ``window``: the half-open range of rows that is handed on, where all are counted (SQL_CALC_FOUND_ROWS).
    ``last_of`` gets the last batch that has rows, once all are read.
    """

    def __init__(
        self,
        result: ResultSet,
        character_set: str | None,
        ended: Callable[[int, SqlError | None], None],
        window: tuple[int, int] | None = None,
        last_of: Callable[[pa.RecordBatch], None] | None = None,
    ) -> None:
        self._batches = result.batches
        self._encoding = _ENCODINGS.get(character_set or "")
        self._columns: Sequence[ResultColumn] = result.columns
        self._ended = ended
        self._window = window
        self._rows = 0
        self._last_of = last_of
        self._last: pa.RecordBatch | None = None

    def __aiter__(self) -> AsyncIterator[pa.RecordBatch]:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await self._batches.__anext__()
        except StopAsyncIteration:
            if self._last_of is not None and self._last is not None:
                self._last_of(self._last)
            self._ended(self._rows, None)
            raise
        except SqlError as error:
            self._ended(self._rows, error)
            raise
        before, self._rows = self._rows, self._rows + batch.num_rows
        if self._window is not None:
            first, end = (min(max(edge - before, 0), batch.num_rows) for edge in self._window)
            batch = batch.slice(first, end - first)
        if self._last_of is not None and batch.num_rows:
            self._last = batch
        return batch if self._encoding is None else self._encoded(batch, self._encoding)

    async def aclose(self) -> None:
        close = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()

    def _encoded(self, batch: pa.RecordBatch, encoding: str) -> pa.RecordBatch:
        cells = [
            _encode(column, encoding) if shown.type.kind in _TEXTS else column
            for column, shown in zip(batch.columns, self._columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(cells, names=batch.schema.names)


def _encode(column: pa.Array, encoding: str) -> pa.Array:
    """A character that the set lacks becomes a question mark, as MySQL does."""
    values = column.cast(pa.string()).to_pylist()
    return pa.array(
        [None if value is None else value.encode(encoding, "replace") for value in values], pa.binary()
    )
