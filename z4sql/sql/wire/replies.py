"""Packets that answer a command, and results as a stream of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import pyarrow as pa

from z4sql.sql.errors import SqlError
from z4sql.sql.result import Ok, Packets, Result, ResultSet, SessionView, size_bytes
from z4sql.sql.types import ResultColumn, SqlType
from z4sql.sql.wire.codec import Capabilities, ServerStatus, eof_packet, error_packet, ok_packet
from z4sql.sql.wire.columns import column_count, column_definition
from z4sql.sql.wire.framing import Frames
from z4sql.sql.wire.rows import RowEncoder
from z4sql.sql.wire.stream import PacketStream

CURSOR_EXISTS: Final = int(ServerStatus.SERVER_STATUS_CURSOR_EXISTS)
LAST_ROW_SENT: Final = int(ServerStatus.SERVER_STATUS_LAST_ROW_SENT)
_MANNERS_MAX: Final = 4
"""In so many manners a reply is kept: protocols and capabilities of clients."""
_AUTOCOMMIT: Final = int(ServerStatus.SERVER_STATUS_AUTOCOMMIT)

_SLICE_ROWS_MAX: Final = 16_384
_SLICE_BYTES: Final = 4 << 20
_INLINE_BYTES_MAX: Final = 64 * 1024
"""Smaller slices are encoded on the loop: a thread would cost more than the work."""

# Not the loop's own executor: queries that wait there for their rows to be taken would leave no thread to
# encode them.
_ENCODERS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sql-encode")


class Replies:
    """Writes replies in the manner that the client's capabilities ask for."""

    def __init__(self, stream: PacketStream, capabilities: Capabilities, session: SessionView) -> None:
        self._stream = stream
        self._capabilities = capabilities
        self._session = session
        self._eof_deprecated = bool(capabilities & Capabilities.CLIENT_DEPRECATE_EOF)
        # MariaDB's connector library does not know the type; MariaDB servers send JSON as text too.
        self._former: tuple[Sequence[ResultColumn], list[bytes]] = ((), [])
        self._json_as_text = session.attributes.get("_client_name") == "libmariadb"

    def ok(self, *, warnings: int = 0) -> None:
        self._stream.put(ok_packet(self._capabilities, self._status(), warnings=warnings))

    def end(self, *, warnings: int = 0, status: int = 0) -> None:
        """The packet behind the last row or definition."""
        status |= self._status()
        if self._eof_deprecated:
            self._stream.put(ok_packet(self._capabilities, status, warnings=warnings, as_eof=True))
        else:
            self._stream.put(eof_packet(self._capabilities, status, warnings=warnings))

    def error(self, error: SqlError) -> None:
        self._stream.put(error_packet(error))

    def raw(self, payload: bytes) -> None:
        self._stream.put(payload)

    def definitions(self, columns: Sequence[ResultColumn]) -> None:
        """Definitions and, for clients that expect it, the EOF behind them; nothing when there are none."""
        for definition in self._defined(columns):
            self._stream.put(definition)
        if columns and not self._eof_deprecated:
            self._stream.put(eof_packet(self._capabilities, self._status()))

    def listed_definitions(self, columns: Sequence[ResultColumn]) -> None:
        """For COM_FIELD_LIST: each with a default value, which is NULL, in a packet of its own."""
        for column in columns:
            self._stream.put(column_definition(column, json_as_text=self._json_as_text) + b"\xfb")
        self.end()

    def open_cursor(self, columns: Sequence[ResultColumn]) -> None:
        """Columns of a result whose rows are fetched later."""
        self._stream.put(column_count(len(columns)))
        for column in columns:
            self._stream.put(column_definition(column, json_as_text=self._json_as_text))
        self.end(status=CURSOR_EXISTS)

    async def result(self, result: Result, encode: RowEncoder) -> None:
        """A whole result; the last packets stay in the stream's buffer.

        The first batch is awaited before the columns are sent, so that a query that fails early is a plain
        error, and a small result is one write.

        :raises SqlError: what the query raised; an ERR packet may follow whatever was written.
        """
        if isinstance(result, Ok):
            self.ok(warnings=result.warnings)
            return
        async with closing_batches(result):
            if result.packets is not None and self._stream.sequence == 1:
                await self._repeated(result, result.packets, encode)
            else:
                await self._rows_of(result, encode)

    async def _repeated(self, result: ResultSet, packets: Packets, encode: RowEncoder) -> None:
        """A result that is given more than once: the bytes that it was written as before, if it was."""
        manner = (encode, self._capabilities, self._json_as_text, self._status())
        known = packets.get(manner)
        if known is not None:
            # Whoever counts rows on their way counts these too.
            async for _ in result.batches:
                continue
            self._stream.put_frames(Frames(*known))
            return
        await self._rows_of(result, encode)
        written = self._stream.reply
        if written is not None and len(packets) < _MANNERS_MAX:
            packets[manner] = written, self._stream.sequence - 1 & 0xFF

    async def _rows_of(self, result: ResultSet, encode: RowEncoder) -> None:
        batch = await anext(result.batches, None)
        self._stream.put(column_count(len(result.columns)))
        self.definitions(result.columns)
        types = [column.type for column in result.columns]
        while batch is not None:
            await self.rows(batch, types, encode)
            batch = await anext(result.batches, None)
        # Nothing is awaited from here on: a KILL that came now would put its error behind the end.
        self.end(warnings=result.warnings.count)

    async def rows(self, batch: pa.RecordBatch, types: Sequence[SqlType], encode: RowEncoder) -> None:
        """The rows of one batch, in slices of bounded size; waits while the client does not read."""
        for piece, piece_bytes in _slices(batch):
            if piece_bytes <= _INLINE_BYTES_MAX:
                encoded = encode(piece, types, self._stream.sequence)
            else:
                loop = asyncio.get_running_loop()
                sequence = self._stream.sequence
                encoded = await loop.run_in_executor(_ENCODERS, encode, piece, types, sequence)
            for frames in encoded:
                await self._stream.write_frames(frames)
        self._stream.release_soon()

    def _defined(self, columns: Sequence[ResultColumn]) -> list[bytes]:
        """Dashboards ask for the same columns again."""
        if columns != self._former[0]:
            found = [column_definition(column, json_as_text=self._json_as_text) for column in columns]
            self._former = (columns, found)
        return self._former[1]

    def _status(self) -> int:
        return _AUTOCOMMIT if self._session.autocommit else 0


@asynccontextmanager
async def closing_batches(result: ResultSet) -> AsyncIterator[None]:
    """Closes the iterator of batches, which cancels the query, however the block ends."""
    try:
        yield
    finally:
        close = getattr(result.batches, "aclose", None)  # not every async iterator has one
        if close is not None:
            await close()


def _slices(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Parts of bounded size, and about how many bytes each has."""
    rows, total_bytes = batch.num_rows, size_bytes(batch)
    if rows <= _SLICE_ROWS_MAX and total_bytes <= _SLICE_BYTES:
        yield batch, total_bytes
        return
    step = max(1, min(_SLICE_ROWS_MAX, rows * _SLICE_BYTES // max(total_bytes, 1)))
    for start in range(0, rows, step):
        part = batch.slice(start, step)
        yield part, size_bytes(part)
