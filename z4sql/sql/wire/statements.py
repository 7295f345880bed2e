"""Prepared statements of one connection: types, long data and cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from z4sql.sql.result import Parameter, Prepared, ResultSet
from z4sql.sql.types import SqlType
from z4sql.sql.wire.codec import Capabilities, PacketReader
from z4sql.sql.wire.errors import (
    BadArguments,
    LongDataTooLong,
    MalformedPacket,
    NoOpenCursor,
    StatementsTooLong,
    TooManyPlaceholders,
    TooManyStatements,
    UnknownStatement,
)
from z4sql.sql.wire.parameters import ParameterType, read_parameters, read_types
from z4sql.sql.wire.replies import closing_batches

TEXTS_MAX: Final = 8 << 20
"""Of the texts of all statements of a session."""
_PLACEHOLDERS_MAX: Final = 65_535
_PARAMETER_COUNT_AVAILABLE: Final = 0x08
_CURSOR_FLAGS: Final = 0x07
_ID_MAX: Final = 0xFFFFFFFF


class Cursor:
    """The rows of a result, given out in exactly the amounts asked for."""

    def __init__(self, result: ResultSet) -> None:
        self._result = result
        self._batches: AsyncIterator[pa.RecordBatch] = result.batches
        self._rest: pa.RecordBatch | None = None
        self.types: list[SqlType] = [column.type for column in result.columns]

    @property
    def warnings(self) -> int:
        """So many as there were until now."""
        return self._result.warnings.count

    async def fetch(self, rows: int) -> AsyncIterator[pa.RecordBatch]:
        """Batches of ``rows`` rows in all; of fewer only when there are no more."""
        while rows > 0:
            batch = self._rest if self._rest is not None else await anext(self._batches, None)
            self._rest = None
            if batch is None:
                return
            if batch.num_rows > rows:
                self._rest = batch.slice(rows)
                batch = batch.slice(0, rows)
            rows -= batch.num_rows
            yield batch

    async def close(self) -> None:
        async with closing_batches(self._result):
            self._rest = None


@dataclass(slots=True)
class Statement:
    """``long_data`` by parameter; ``long_data_error`` is told at the next execution, as SEND_LONG_DATA has
    no reply."""

    statement_id: int
    prepared: Prepared
    text_bytes: int = 0
    types: tuple[ParameterType, ...] | None = None
    long_data: dict[int, bytearray] = field(default_factory=dict)
    long_data_bytes: int = 0
    long_data_error: BadArguments | LongDataTooLong | None = None
    cursor: Cursor | None = None

    @property
    def open_cursor(self) -> Cursor:
        """:raises NoOpenCursor: none is open."""
        if self.cursor is None:
            raise NoOpenCursor(self.statement_id)
        return self.cursor

    def add_long_data(self, parameter: int, data: bytes, bytes_max: int) -> None:
        """A piece of a parameter's value; ``bytes_max`` bounds all parameters together."""
        if self.long_data_error is not None:
            return
        if parameter >= self.prepared.parameter_count:
            self.long_data_error = BadArguments("mysqld_stmt_send_long_data")
        elif self.long_data_bytes + len(data) > bytes_max:
            self._drop_long_data()
            self.long_data_error = LongDataTooLong()
        else:
            self.long_data_bytes += len(data)
            self.long_data.setdefault(parameter, bytearray()).extend(data)

    async def close_cursor(self) -> None:
        cursor, self.cursor = self.cursor, None
        if cursor is not None:
            await cursor.close()

    def take_long_data(self) -> dict[int, bytes]:
        """The values that were sent ahead, once. :raises SqlError: what went wrong when they came"""
        taken, error = {place: bytes(data) for place, data in self.long_data.items()}, self.long_data_error
        self._drop_long_data()
        self.long_data_error = None
        if error is not None:
            raise error
        return taken

    async def reset(self) -> None:
        """Forget long data and cursor; types of parameters stay (MySQL manual: COM_STMT_RESET)."""
        self._drop_long_data()
        self.long_data_error = None
        await self.close_cursor()

    def _drop_long_data(self) -> None:
        self.long_data.clear()
        self.long_data_bytes = 0


@dataclass(slots=True, frozen=True)
class Execution:
    """A COM_STMT_EXECUTE, read."""

    parameters: list[Parameter]
    with_cursor: bool


def require_room(texts_bytes: Sequence[int], text_bytes: int, statements_max: int) -> None:
    """For one more statement of that size beside those that a session has.

    :raises TooManyStatements: (1461); :raises StatementsTooLong: (3170)
    """
    if len(texts_bytes) >= statements_max:
        raise TooManyStatements(statements_max)
    if text_bytes + sum(texts_bytes) > TEXTS_MAX:
        raise StatementsTooLong(TEXTS_MAX)


class Statements:
    """By id; never more than ``statements_max``."""

    def __init__(self, statements_max: int) -> None:
        self._statements: dict[int, Statement] = {}
        self._statements_max = statements_max
        self._last_id = 0

    def __iter__(self) -> Iterator[Statement]:
        return iter(tuple(self._statements.values()))

    def require_room(self, text_bytes: int) -> None:
        """As the function `require_room`."""
        require_room([one.text_bytes for one in self], text_bytes, self._statements_max)

    def add(self, prepared: Prepared, text_bytes: int) -> Statement:
        """:raises TooManyPlaceholders: the reply has 16 bits for their number; as `require_room`"""
        self.require_room(text_bytes)
        if prepared.parameter_count > _PLACEHOLDERS_MAX:
            raise TooManyPlaceholders
        while True:
            self._last_id = self._last_id % _ID_MAX + 1
            if self._last_id not in self._statements:
                break
        statement = Statement(self._last_id, prepared, text_bytes)
        self._statements[statement.statement_id] = statement
        return statement

    def add_long_data(self, statement: Statement, parameter: int, data: bytes, bytes_max: int) -> None:
        """As `Statement.add_long_data`; ``bytes_max`` bounds what all statements together wait with."""
        others = sum(one.long_data_bytes for one in self if one is not statement)
        statement.add_long_data(parameter, data, bytes_max - others)

    def find(self, statement_id: int) -> Statement | None:
        return self._statements.get(statement_id)

    def get(self, statement_id: int, command: str) -> Statement:
        """:raises UnknownStatement: (1243)"""
        statement = self._statements.get(statement_id)
        if statement is None:
            raise UnknownStatement(statement_id, command)
        return statement

    async def close(self, statement_id: int) -> None:
        """Unknown ids are ignored: the command has no reply."""
        statement = self._statements.pop(statement_id, None)
        if statement is not None:
            await statement.close_cursor()

    async def close_all(self) -> None:
        statements, self._statements = self._statements, {}
        for statement in statements.values():
            await statement.close_cursor()


def read_execution(
    reader: PacketReader, statement: Statement, capabilities: Capabilities, codec: str
) -> Execution:
    """The rest of COM_STMT_EXECUTE behind the statement's id; long data is used up.

    Without the new-types flag the types of the execution before hold (libmysqlclient and libmariadb send
    them once).

    :raises SqlError: malformed, arguments missing, or long data went wrong before.
    """
    long_data = statement.take_long_data()
    flags = reader.uint(1)
    reader.uint(4)
    expected = statement.prepared.parameter_count
    named = bool(capabilities & Capabilities.CLIENT_QUERY_ATTRIBUTES)
    count = expected
    if named and (expected or flags & _PARAMETER_COUNT_AVAILABLE):
        count = reader.length()
    if count < expected:
        raise BadArguments("mysqld_stmt_execute")
    values: list[Parameter] = []
    if count:
        nulls = reader.take((count + 7) // 8)
        if reader.uint(1):
            statement.types = read_types(reader, count, named=named)
        if statement.types is None or len(statement.types) != count:
            raise BadArguments("mysqld_stmt_execute")
        values = read_parameters(reader, statement.types, nulls, long_data, codec)
    if reader.remaining:
        raise MalformedPacket
    return Execution(values[:expected], bool(flags & _CURSOR_FLAGS))
