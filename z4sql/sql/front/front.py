"""The front end: takes statements of clients, answers what it can, and hands queries to the runner."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from sqlglot import exp

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.rows import static_rows
from z4sql.sql.context import Limits, StatementContext
from z4sql.sql.errors import SqlError, TimedOut, UnknownDatabase, UnknownTable
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.explain import read_explain, shown_plan
from z4sql.sql.front.parsing import QueryParser, too_deep
from z4sql.sql.front.prepared import bind, placeholders
from z4sql.sql.front.probes import probe
from z4sql.sql.front.query_runner import QueryRunner
from z4sql.sql.front.results import INT, TEXT, result_set, text_columns
from z4sql.sql.front.scalar import evaluate, number
from z4sql.sql.front.server_state import ServerState
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.set_statement import set_statement
from z4sql.sql.front.show import Show
from z4sql.sql.front.source import Part, Source, read_source
from z4sql.sql.front.verbs import Verb, verb_of
from z4sql.sql.lowering.names import typed_names
from z4sql.sql.result import Ok, Parameter, Prepared, Result, ResultSet, SessionView
from z4sql.sql.types import ResultColumn, TableDefinition
from z4sql.sql.wire.connections import Connections

_TIME_HINT = re.compile(r"MAX_EXECUTION_TIME\s*\(\s*(\d{1,10})\s*\)", re.IGNORECASE)
_SHORT = 32 << 10
"""Characters of a text that is read in less than a few milliseconds."""
_REFUSED_AT_PREPARE = frozenset({1064, 1146, 1054, 1049, 1046, 1290, 1235, 1305})
"""Errors of a text that no values can heal."""


@dataclass(slots=True)
class _Placed(Prepared):
    """A prepared statement with its text read and its placeholders found."""

    text: str
    offsets: tuple[int, ...]


class Front:
    """Implements `FrontEnd`.

    ``now_us``: the clock, UTC. ``administrators``: users who see and may end everybody's connections.
    """

    def __init__(
        self,
        runner: QueryRunner,
        catalog: Z4Catalog,
        connections: Connections,
        now_us: Callable[[], int],
        *,
        limits: Limits | None = None,
        administrators: frozenset[str] = frozenset({"root"}),
    ) -> None:
        self._runner = runner
        self._catalog = catalog
        self._connections = connections
        self._now_us = now_us
        self._limits = limits if limits is not None else Limits()
        self._administrators = administrators
        self._parser = QueryParser()
        self._started_us = now_us()
        self._statements = 0

    def open_session(
        self, connection_id: int, user: str, host: str, database: str | None, attributes: dict[str, str]
    ) -> Session:
        """:raises UnknownDatabase: (1049)"""
        known = self._known_database(database) if database else None
        return Session(connection_id, user, host, known, attributes, limits=self._limits)

    def reset_session(self, session: SessionView) -> None:
        _own(session).reset()

    def close_session(self, session: SessionView) -> None:
        _own(session).reset()

    def use_database(self, session: SessionView, name: str) -> None:
        """:raises UnknownDatabase: (1049)"""
        _own(session).database = self._known_database(name)

    async def execute(self, session: SessionView, sql: str) -> Result:
        """Run one statement. :raises SqlError: whatever is wrong with it."""
        self._statements += 1
        return await self._execute(_own(session), await _read(sql))

    async def prepare(self, session: SessionView, sql: str) -> Prepared:
        """Read a statement; columns are empty when they cannot be told before the values are there."""
        source = await _read(sql)
        offsets = placeholders(source, self._parser)
        columns = await self._describe(_own(session), source, offsets)
        return _Placed(sql, len(offsets), columns, source.text, offsets)

    async def execute_prepared(
        self, session: SessionView, statement: Prepared, parameters: Sequence[Parameter]
    ) -> Result:
        if not isinstance(statement, _Placed):
            raise TypeError("a statement this front end did not prepare")
        self._statements += 1
        text = bind(statement.text, statement.offsets, parameters)
        # An empty text stands for a comment, which had no words to bind values to.
        return await self._execute(_own(session), await _read(text)) if text else Ok()

    def field_list(self, session: SessionView, table: str) -> tuple[ResultColumn, ...]:
        """:raises UnknownTable: (1146)"""
        database = _own(session).database or "z4"
        found = self._catalog.table(database, table)
        if found is None:
            raise UnknownTable(f"Table '{database}.{table}' doesn't exist")
        return _columns(found)

    def statistics(self) -> str:
        uptime_s = self._uptime_s()
        rate = self._statements / max(1, uptime_s)
        return (
            f"Uptime: {uptime_s}  Threads: {len(self._connections.list())}  Questions: {self._statements}  "
            f"Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0  Queries per second avg: {rate:.3f}"
        )

    async def _execute(self, session: Session, source: Source) -> Result:
        try:
            return await self._dispatch(session, source)
        except RecursionError:
            raise too_deep() from None

    async def _dispatch(self, session: Session, source: Source) -> Result:
        verb = verb_of(source)
        match verb:
            case Verb.QUERY:
                return await self._query(session, source)
            case Verb.EXPLAIN:
                return await self._explain(session, source)
            case Verb.SHOW:
                return self._show(session, source).show()
            case Verb.CHECK:
                return self._check_table(session, source)
            case Verb.SET:
                set_statement(source, session, self._parser)
            case Verb.USE:
                cursor = Cursor(source, 1)
                name = cursor.name()
                cursor.end()
                self.use_database(session, name)
            case Verb.KILL:
                self._kill(session, source)
            case Verb.DO:
                await self._parsed(read_source("SELECT " + Cursor(source, 1).rest()))
            case Verb.NO_OPERATION | Verb.NOTHING:
                pass
            case _:
                assert_never(verb)
        return Ok()

    async def _query(self, session: Session, source: Source) -> ResultSet:
        query = await self._parsed(source)
        self._refuse_placeholders(source)
        answered = probe(query, source.text, session)
        if answered is not None:
            return answered
        context = self._context(session, source)
        asleep = _sleep_s(query)
        if asleep is not None:
            return await _sleep(asleep, source.text, context.limits)
        view = self.server_state(session)
        return await self._runner.run(
            query.copy(), source.text, context, lambda table: static_rows(table, view)
        )

    async def _explain(self, session: Session, source: Source) -> ResultSet:
        explain = read_explain(source)
        if explain is None:
            return self._show(session, source).describe()
        query = await self._parsed(explain.query)
        self._refuse_placeholders(explain.query)
        context = self._context(session, explain.query)
        steps = await self._runner.explain(query.copy(), explain.query.text, context, explain.analyze)
        return shown_plan(steps, explain.format)

    async def _describe(
        self, session: Session, source: Source, offsets: tuple[int, ...]
    ) -> tuple[ResultColumn, ...]:
        """:raises SqlError: errors that values cannot heal"""
        verb = verb_of(source)
        bound = read_source(_bound_to_nothing(source, offsets)) if source.pieces else source
        try:
            if verb is Verb.QUERY:
                return await self._query_columns(session, bound)
            if verb is Verb.SHOW:
                return self._show(session, bound).show().columns
            if verb is Verb.EXPLAIN:
                explain = read_explain(bound)
                if explain is not None:
                    return shown_plan([], explain.format).columns
                return self._show(session, bound).describe().columns
        except SqlError as error:
            if error.code in _REFUSED_AT_PREPARE and (not offsets or error.code != 1235):
                raise
        except RecursionError:
            raise too_deep() from None
        return ()

    async def _query_columns(self, session: Session, source: Source) -> tuple[ResultColumn, ...]:
        query = await self._parsed(source)
        answered = probe(query, source.text, session)
        if answered is not None:
            return answered.columns
        if _sleep_s(query) is not None:
            return _sleep_columns(source.text)
        return await self._runner.describe(query.copy(), source.text, self._context(session, source))

    async def _parsed(self, source: Source) -> exp.Expression:
        """The checked query; long ones are parsed beside the event loop, which has others to serve."""
        if len(source.text) <= _SHORT:
            return self._parser.parse(source)
        return await asyncio.to_thread(QueryParser().parse, source)

    def _refuse_placeholders(self, source: Source) -> None:
        for index, piece in enumerate(source.pieces):
            if piece.part is Part.PARAMETER:
                raise source.problem(index)

    def _context(self, session: Session, source: Source) -> StatementContext:
        hinted_ms = 0
        for hint in source.hints:
            found = _TIME_HINT.search(hint)
            hinted_ms = int(found[1]) if found is not None else hinted_ms
        return session.context(self._now_us(), hinted_time_ms=hinted_ms)

    def _show(self, session: Session, source: Source) -> Show:
        return Show(source, session, self._catalog, self.server_state(session), self._parser)

    def server_state(self, session: Session) -> ServerState:
        """The server as that session may see it, for the rows of system tables."""
        return ServerState(
            session,
            self._connections,
            everything=session.user in self._administrators,
            uptime_s=self._uptime_s(),
            statements=self._statements,
        )

    def _uptime_s(self) -> int:
        return max(0, self._now_us() - self._started_us) // 1_000_000

    def _known_database(self, name: str) -> str:
        if name.lower() not in self._catalog.databases():
            raise UnknownDatabase(f"Unknown database '{name}'")
        return name.lower()

    def _kill(self, session: Session, source: Source) -> None:
        """:raises UnknownThread: (1094); :raises NotOwnerOfThread: (1095)"""
        cursor = Cursor(source, 1)
        query_only = cursor.accept_any("QUERY", "CONNECTION") == "QUERY"
        at = len(source.text) if cursor.finished else source.pieces[cursor.at].start
        parsed = self._parser.expression(cursor.rest(), source, at)
        connection_id = int(number(evaluate(parsed, SessionNames(session))))
        by_user = None if session.user in self._administrators else session.user
        self._connections.kill(connection_id, query_only=query_only, by_user=by_user)

    def _check_table(self, session: Session, source: Source) -> ResultSet:
        """MySQL manual: CHECK TABLE Statement; tables are always well here."""
        cursor = Cursor(source, 1)
        if not cursor.accept_any("TABLE", "TABLES"):
            raise source.problem(1)
        show = self._show(session, source)
        names = []
        while True:
            table = show.table(*cursor.table_name())
            names.append(f"{table.database}.{table.name}")
            if not cursor.symbol(","):
                break
        while cursor.accept_any("QUICK", "FAST", "MEDIUM", "EXTENDED", "CHANGED", "FOR", "UPGRADE"):
            pass
        cursor.end()
        if source.word(0) == "CHECKSUM":
            sums = (ResultColumn("Table", TEXT), ResultColumn("Checksum", INT))
            return result_set(sums, [(name, None) for name in names])
        columns = text_columns("Table", "Op", "Msg_type", "Msg_text")
        return result_set(columns, [(name, "check", "status", "OK") for name in names])


async def _read(sql: str) -> Source:
    return read_source(sql) if len(sql) <= _SHORT else await asyncio.to_thread(read_source, sql)


def _own(session: SessionView) -> Session:
    if not isinstance(session, Session):
        raise TypeError("a session this front end did not open")
    return session


def _columns(table: TableDefinition) -> tuple[ResultColumn, ...]:
    return tuple(
        ResultColumn(
            column.name,
            column.type,
            column.nullable,
            table=table.name,
            original_table=table.name,
            original_name=column.name,
            database=table.database,
            key=column.key,
        )
        for column in table.columns
    )


def _bound_to_nothing(source: Source, offsets: tuple[int, ...]) -> str:
    """NULL for every placeholder; 1 where only a number may stand."""
    parts: list[str] = []
    after = 0
    pieces = [index for index, piece in enumerate(source.pieces) if piece.part is Part.PARAMETER]
    for index, offset in zip(pieces, offsets, strict=True):
        counted = source.word(index - 1) in ("LIMIT", "OFFSET") or (
            source.pieces[index - 1].value == "," and source.word(index - 3) == "LIMIT"
        )
        parts += [source.text[after:offset], " 1 " if counted else " NULL "]
        after = offset + 1
    return "".join(parts) + source.text[after:]


def _sleep_s(query: exp.Expression) -> float | None:
    """The seconds of a ``SELECT SLEEP(n)`` alone."""
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        return None
    if any(value for key, value in query.args.items() if key not in ("expressions", "kind")):
        return None
    call = query.expressions[0]
    if not isinstance(call, exp.Anonymous) or str(call.this).upper() != "SLEEP" or len(call.expressions) != 1:
        return None
    seconds = call.expressions[0]
    return float(seconds.this) if isinstance(seconds, exp.Literal) and not seconds.is_string else None


def _sleep_columns(text: str) -> tuple[ResultColumn, ...]:
    return (ResultColumn((typed_names(text) or ["sleep"])[0], INT, nullable=False),)


async def _sleep(seconds: float, text: str, limits: Limits) -> ResultSet:
    """:raises TimedOut: (3024)"""
    longest_s = limits.execution_time_ms / 1000
    if longest_s and seconds > longest_s:
        await asyncio.sleep(longest_s)
        raise TimedOut()
    await asyncio.sleep(seconds)
    return result_set(_sleep_columns(text), [(0,)])
