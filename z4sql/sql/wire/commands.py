"""Carries out one command of a logged-in client. Replies go to the stream's buffer; the caller flushes.

The caller may cancel `Commands.run` at any await: packets are put whole, so an ERR packet can follow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from z4sql.sql.result import FrontEnd, Ok, SessionView
from z4sql.sql.wire.binary_rows import encode_binary_rows
from z4sql.sql.wire.codec import Capabilities, PacketReader, decode_text
from z4sql.sql.wire.codec import Commands as Command
from z4sql.sql.wire.columns import PARAMETER
from z4sql.sql.wire.connections import Connections
from z4sql.sql.wire.errors import UnknownCommand
from z4sql.sql.wire.replies import CURSOR_EXISTS, LAST_ROW_SENT, Replies
from z4sql.sql.wire.requests import read_query
from z4sql.sql.wire.statements import Cursor, Statements, read_execution
from z4sql.sql.wire.stream import PacketStream
from z4sql.sql.wire.text_rows import encode_text_rows

_SET_OPTIONS: Final = (0, 1)  # MYSQL_OPTION_MULTI_STATEMENTS_ON and _OFF


@dataclass(slots=True)
class Client:
    """A logged-in client: its session and how it wants to be spoken to."""

    session: SessionView
    capabilities: Capabilities
    codec: str


class Commands:
    """The commands of one connection, its prepared statements among them."""

    def __init__(
        self,
        client: Client,
        stream: PacketStream,
        front: FrontEnd,
        connections: Connections,
        *,
        prepared_statements_max: int,
        on_statement: Callable[[str], None],
    ) -> None:
        self._client = client
        self._session = client.session
        self._front = front
        self._connections = connections
        self._on_statement = on_statement
        self._replies = Replies(stream, client.capabilities, client.session)
        self._statements = Statements(prepared_statements_max)

    @property
    def replies(self) -> Replies:
        return self._replies

    async def close(self) -> None:
        await self._statements.close_all()

    async def run(self, payload: bytes) -> None:
        """:raises SqlError: to be sent as the reply, or as the end of a reply already begun."""
        command, body = payload[:1], payload[1:]
        match command[0] if command else None:
            case Command.COM_QUERY:
                await self._query(read_query(body, self._client.capabilities, self._client.codec))
            case Command.COM_PING:
                self._replies.ok()
            case Command.COM_INIT_DB:
                self._front.use_database(self._session, self._text(body))
                self._replies.ok()
            case Command.COM_FIELD_LIST:
                table = self._text(PacketReader(body).bytes_null())
                self._replies.listed_definitions(self._front.field_list(self._session, table))
            case Command.COM_STATISTICS:
                self._replies.raw(self._front.statistics().encode())
            case Command.COM_PROCESS_INFO:
                await self._query("SHOW PROCESSLIST")
            case Command.COM_PROCESS_KILL:
                victim = PacketReader(body).uint(4)
                self._connections.kill(victim, query_only=False, by_user=self._session.user)
                self._replies.ok()
            case Command.COM_DEBUG:
                self._replies.end()
            case Command.COM_SET_OPTION:
                if PacketReader(body).uint(2) not in _SET_OPTIONS:
                    raise UnknownCommand
                self._replies.end()
            case Command.COM_RESET_CONNECTION:
                await self._statements.close_all()
                self._front.reset_session(self._session)
                self._replies.ok()
            case Command.COM_STMT_PREPARE:
                await self._prepare(self._text(body))
            case Command.COM_STMT_EXECUTE:
                await self._execute(PacketReader(body))
            case Command.COM_STMT_FETCH:
                await self._fetch(PacketReader(body))
            case Command.COM_STMT_SEND_LONG_DATA:
                self._send_long_data(body)
            case Command.COM_STMT_RESET:
                statement = self._statements.get(PacketReader(body).uint(4), "mysqld_stmt_reset")
                await statement.reset()
                self._replies.ok()
            case Command.COM_STMT_CLOSE:
                if len(body) >= 4:
                    await self._statements.close(PacketReader(body).uint(4))
            case _:
                raise UnknownCommand

    async def _query(self, sql: str) -> None:
        self._on_statement(sql)
        result = await self._front.execute(self._session, sql)
        await self._replies.result(result, encode_text_rows)

    async def _prepare(self, sql: str) -> None:
        self._on_statement(sql)
        self._statements.require_room(len(sql))
        prepared = await self._front.prepare(self._session, sql)
        statement = self._statements.add(prepared, len(sql))
        counts = (len(prepared.columns), prepared.parameter_count)
        self._replies.raw(struct.pack("<BIHHBH", 0, statement.statement_id, *counts, 0, 0))
        self._replies.definitions([PARAMETER] * prepared.parameter_count)
        self._replies.definitions(prepared.columns)

    async def _execute(self, reader: PacketReader) -> None:
        statement = self._statements.get(reader.uint(4), "mysqld_stmt_execute")
        await statement.close_cursor()
        execution = read_execution(reader, statement, self._client.capabilities, self._client.codec)
        self._on_statement(statement.prepared.sql)
        result = await self._front.execute_prepared(self._session, statement.prepared, execution.parameters)
        if execution.with_cursor and not isinstance(result, Ok):
            statement.cursor = Cursor(result)
            self._replies.open_cursor(result.columns)
            return
        await self._replies.result(result, encode_binary_rows)

    async def _fetch(self, reader: PacketReader) -> None:
        statement = self._statements.get(reader.uint(4), "mysqld_stmt_fetch")
        wanted = reader.uint(4)
        cursor = statement.open_cursor
        self._on_statement(statement.prepared.sql)
        sent = 0
        complete = False
        try:
            async for batch in cursor.fetch(wanted):
                await self._replies.rows(batch, cursor.types, encode_binary_rows)
                sent += batch.num_rows
            complete = True
        finally:
            if not complete or sent < wanted:
                await statement.close_cursor()
        self._replies.end(warnings=cursor.warnings, status=CURSOR_EXISTS if sent == wanted else LAST_ROW_SENT)

    def _send_long_data(self, body: bytes) -> None:
        """No reply, whatever happens (MySQL manual: COM_STMT_SEND_LONG_DATA)."""
        if len(body) < 6:
            return
        statement_id, parameter = struct.unpack_from("<IH", body)
        statement = self._statements.find(statement_id)
        if statement is not None:
            bytes_max = self._session.max_allowed_packet
            self._statements.add_long_data(statement, parameter, body[6:], bytes_max)

    def _text(self, data: bytes) -> str:
        return decode_text(data, self._client.codec)
