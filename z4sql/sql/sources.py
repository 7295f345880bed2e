"""What a query's relations are made of, in the form in which the engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from z4sql.sql.errors import SqlError
from z4sql.sql.scan.request import ScanRequest, TableSource


class ScannedRelation:
    """One reference to a table, read anew whenever the engine asks for its stream.

    The first reading begins when this object is made: relations made together see one state of the store.
    ``failed`` is told what ended a reading, because the engine only repeats its text.
    """

    def __init__(self, source: TableSource, request: ScanRequest, failed: Callable[[SqlError], None]) -> None:
        self._source = source
        self._request = request
        self._failed = failed
        self._schema = source.schema(request.columns)
        self._first: Iterator[pa.RecordBatch] | None = source.scan(request)

    def close(self) -> None:
        """Let go of a first reading that the engine did not want."""
        self._first = None

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self._schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        # Here and not above: a stream that is asked for its schema only does not use up the first reading.
        first, self._first = self._first, None
        try:
            yield from first if first is not None else self._source.scan(self._request)
        except SqlError as error:
            self._failed(error)
            raise
