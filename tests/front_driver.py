"""A front end whose runner only records what reaches it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from sqlglot import exp

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.front.query_runner import SystemRows
from z4sql.sql.front.session import Session
from z4sql.sql.result import Ok, Parameter, Result, ResultSet
from z4sql.sql.scan.basis import Basis
from z4sql.sql.shapes import Shaped
from z4sql.sql.types import Kind, ResultColumn, SqlType
from z4sql.sql.wire.connections import ConnectionInfo
from z4sql.sql.wire.errors import NotOwnerOfThread, UnknownThread

NOW_US = 1_700_000_000_000_000
COLUMN = ResultColumn("n", SqlType(Kind.INT))


async def _batches() -> AsyncIterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict({"n": [1]})


@dataclass
class RecordingRunner:
    texts: list[str] = field(default_factory=list)
    queries: list[exp.Expression] = field(default_factory=list)
    contexts: list[StatementContext] = field(default_factory=list)
    error: SqlError | None = None
    system_rows: SystemRows | None = None

    def _record(self, query: exp.Expression, text: str, context: StatementContext) -> None:
        self.texts.append(text)
        self.queries.append(query)
        self.contexts.append(context)
        if self.error is not None:
            raise self.error

    async def run(
        self, query: exp.Expression, text: str, context: StatementContext, system_rows: SystemRows
    ) -> ResultSet:
        self.system_rows = system_rows
        self._record(query, text, context)
        return ResultSet((COLUMN,), _batches())

    async def run_again(self, shaped: Shaped, context: StatementContext) -> ResultSet | None:
        return None

    async def stands(self, basis: Basis, context: StatementContext) -> bool:
        return False

    async def describe(
        self, query: exp.Expression, text: str, context: StatementContext
    ) -> tuple[ResultColumn, ...]:
        self._record(query, text, context)
        return (COLUMN,)

    async def explain(
        self, query: exp.Expression, text: str, context: StatementContext, analyze: bool
    ) -> list[tuple[str, str]]:
        self._record(query, text, context)
        return [("scan tasks", f"analyze={analyze}")]


class FixedConnections:
    """Connection 1 of root, 2 of ann."""

    def __init__(self) -> None:
        self.killed: list[tuple[int, bool]] = []

    def list(self) -> list[ConnectionInfo]:
        return [
            ConnectionInfo(1, "root", "localhost:1", "z4", "Query", 0.0, "SELECT 1", {}),
            ConnectionInfo(2, "ann", "localhost:2", None, "Sleep", 9.5, None, {}),
        ]

    def kill(self, connection_id: int, *, query_only: bool, by_user: str | None) -> None:
        users = {one.connection_id: one.user for one in self.list()}
        if connection_id not in users:
            raise UnknownThread(connection_id)
        if by_user not in (None, users[connection_id]):
            raise NotOwnerOfThread(connection_id)
        self.killed.append((connection_id, query_only))


class FrontDriver:
    def __init__(self, user: str = "root", database: str | None = "z4") -> None:
        self.runner = RecordingRunner()
        self.connections = FixedConnections()
        self.front = Front(self.runner, Z4Catalog(), self.connections, lambda: NOW_US)
        self.session: Session = self.front.open_session(1, user, "localhost", database, {})

    async def run(self, sql: str) -> Result:
        return await self.front.execute(self.session, sql)

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        result = await self.run(sql)
        assert isinstance(result, ResultSet), sql
        return await rows_of(result)

    async def prepared_text(self, sql: str, *parameters: Parameter) -> str:
        """The text that reaches the runner."""
        statement = await self.front.prepare(self.session, sql)
        await self.front.execute_prepared(self.session, statement, parameters)
        return self.runner.texts[-1]

    async def error(self, sql: str) -> SqlError:
        with pytest.raises(SqlError) as caught:
            await self.run(sql)
        return caught.value

    async def outcome(self, sql: str) -> str:
        """``ok``, ``rows``, ``runner`` or ``error <code>``."""
        ran = len(self.runner.texts)
        try:
            result = await self.run(sql)
        except SqlError as error:
            return f"error {error.code}"
        if len(self.runner.texts) > ran:
            return "runner"
        return "ok" if isinstance(result, Ok) else "rows"


async def rows_of(result: ResultSet) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    async for batch in result.batches:
        values: Sequence[list[object]] = [column.to_pylist() for column in batch.columns]
        found += list(zip(*values, strict=True))
    return found
