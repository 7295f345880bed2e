"""The front end: takes statements of clients, answers what it can, and hands queries to the runner."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_never

import pyarrow as pa
from sqlglot import exp

from z4sql.access.model import EVERYTHING, Grant, Role, User, without_accounts
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.rows import static_rows
from z4sql.sql.context import Limits, StatementContext
from z4sql.sql.engine.warnings import Condition
from z4sql.sql.errors import SqlError, UnknownDatabase, UnknownTable, Unsupported
from z4sql.sql.front.answers import Answers
from z4sql.sql.front.asides import help_statement, kill_statement, named_database
from z4sql.sql.front.assigning import begun, user_value
from z4sql.sql.front.check_table import check_table
from z4sql.sql.front.cursor import Cursor
from z4sql.sql.front.deprecations import deprecated_in_query, deprecated_in_set
from z4sql.sql.front.diagnostics import NO_DIAGNOSTICS, Diagnostics, asks_for_diagnostics
from z4sql.sql.front.explain import PlanFormat, read_explain, rewritten, shown_plan
from z4sql.sql.front.headers import show_as_prepared, shown_headers
from z4sql.sql.front.into_variables import assign_row, read_into
from z4sql.sql.front.named_statements import read_deallocate, read_execute, read_prepare
from z4sql.sql.front.parsing import QueryParser, too_deep
from z4sql.sql.front.prepared import bind, bound_to_nothing, placeholders
from z4sql.sql.front.probes import probe
from z4sql.sql.front.query_runner import QueryRunner
from z4sql.sql.front.reading import SHORT, in_time, read
from z4sql.sql.front.repeated import Shapes
from z4sql.sql.front.results import table_columns
from z4sql.sql.front.row_limits import counted_window, nothing_of, without_limit
from z4sql.sql.front.server_state import ServerState
from z4sql.sql.front.session import Session
from z4sql.sql.front.session_names import SessionNames
from z4sql.sql.front.set_statement import as_query, only_for, reads_tables, set_statement
from z4sql.sql.front.show import Show
from z4sql.sql.front.sleeping import asleep, sleep
from z4sql.sql.front.source import Part, Source, read_source
from z4sql.sql.front.templates import Placed, placed
from z4sql.sql.front.variables import Value
from z4sql.sql.front.verbs import Verb, verb_of
from z4sql.sql.front.watched import Watched
from z4sql.sql.lowering.assignments import assigned_columns
from z4sql.sql.result import Ok, Parameter, Prepared, Result, ResultSet, SessionView
from z4sql.sql.types import ResultColumn
from z4sql.sql.wire.connections import Connections

_TIME_HINT = re.compile(r"MAX_EXECUTION_TIME\s*\(\s*(\d{1,10})\s*\)", re.IGNORECASE)
_REFUSED_AT_PREPARE = frozenset(
    {1064, 1146, 1054, 1049, 1046, 1290, 1235, 1295, 1305, 1116, 1117, 1436, 3170}
)
"""Errors of a text that no values can heal."""


class Front:
    """Implements `FrontEnd`.

    ``now_us``: the clock, UTC. ``user`` knows everybody's rights as they are now; by default anybody
    may read. Administrators see and may end everybody's connections. ``position``: see `StatementContext`.
    ``facts``: system variables of this very server.
    """

    def __init__(
        self,
        runner: QueryRunner,
        catalog: Z4Catalog,
        connections: Connections,
        now_us: Callable[[], int],
        *,
        limits: Limits | None = None,
        user: Callable[[str], User | None] = without_accounts,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        self._runner = runner
        self._catalog = catalog
        self._connections = connections
        self._now_us = now_us
        self._limits = limits if limits is not None else Limits()
        self._user = user
        self._position = position
        self._facts = facts
        self._parser = QueryParser()
        self._shapes = Shapes()
        self._answers = Answers()
        self._started_us = now_us()
        self._statements = 0

    def open_session(
        self, connection_id: int, user: str, host: str, database: str | None, attributes: dict[str, str]
    ) -> Session:
        """:raises UnknownDatabase: (1049)"""
        known = self._known_database(database) if database else None
        return Session(connection_id, user, host, known, attributes, limits=self._limits, facts=self._facts)

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
        own = _own(session)
        own.began_s = time.monotonic()
        with _noted(own):
            repeated = await self._repeated(own, sql)
            return repeated or await self._execute(own, await self._read(own, sql))

    async def prepare(self, session: SessionView, sql: str) -> Prepared:
        """Read a statement; columns are empty when they cannot be told before the values are there."""
        own = _own(session)
        own.began_s = time.monotonic()
        with _noted(own):
            return await self._prepared(own, sql)

    async def execute_prepared(
        self, session: SessionView, statement: Prepared, parameters: Sequence[Parameter]
    ) -> Result:
        if not isinstance(statement, Placed):
            raise TypeError("a statement this front end did not prepare")
        self._statements += 1
        own = _own(session)
        own.began_s = time.monotonic()
        with _noted(own):
            return await self._shown_as_prepared(own, statement, parameters)

    def field_list(self, session: SessionView, table: str) -> tuple[ResultColumn, ...]:
        """:raises UnknownTable: (1146)"""
        database = _own(session).database or "z4"
        found = self._catalog.table(database, table)
        if found is None:
            raise UnknownTable(f"Table '{database}.{table}' doesn't exist")
        return table_columns(found)

    def statistics(self) -> str:
        uptime_s = self._uptime_s()
        rate = self._statements / max(1, uptime_s)
        return (
            f"Uptime: {uptime_s}  Threads: {len(self._connections.list())}  Questions: {self._statements}  "
            f"Slow queries: 0  Opens: 0  Flush tables: 0  Open tables: 0  Queries per second avg: {rate:.3f}"
        )

    async def _read(self, session: Session, sql: str) -> Source:
        try:
            return await in_time(session, read(sql), len(sql))
        except SqlError:
            session.diagnostics = NO_DIAGNOSTICS
            raise

    async def _execute(self, session: Session, source: Source) -> Result:
        asks = asks_for_diagnostics(session.named_statements.meant(source))
        if not asks:
            session.diagnostics = NO_DIAGNOSTICS
        try:
            return await self._dispatch(session, source)
        except SqlError:
            session.diagnostics = NO_DIAGNOSTICS if asks else session.diagnostics
            raise
        except RecursionError:
            raise too_deep() from None

    async def _prepared(self, session: Session, sql: str) -> Placed:
        source = await in_time(session, read(sql), len(sql))
        offsets = placeholders(source, self._parser)
        return placed(sql, source, offsets, await self._describe(session, source, offsets))

    async def _shown_as_prepared(
        self, session: Session, statement: Placed, parameters: Sequence[Parameter]
    ) -> Result:
        result = await self._execute_placed(session, statement, parameters)
        show_as_prepared(result, statement.headers, parameters)
        return result

    async def _execute_placed(
        self, session: Session, statement: Placed, parameters: Sequence[Parameter]
    ) -> Result:
        templates = statement.templates
        text = bind(statement.text, templates.offsets, parameters, templates.counts)
        # An empty text stands for a comment, which had no words to bind values to.
        if not text:
            return Ok()
        repeated = None if templates.source.hints else await self._repeated(session, text)
        if repeated is not None:
            return repeated
        known = templates.parsed(text, parameters)
        if known is not None:
            self._parser.remember(*known)
            return await self._execute(session, known[0])
        source = await in_time(session, read(text), len(text))
        result = await self._execute(session, replace(source, hints=templates.source.hints))
        templates.learn(text, parameters, self._parser)
        return result

    async def _prepare_named(self, session: Session, source: Source) -> None:
        """MySQL manual: PREPARE Statement; another statement of that name is gone whatever happens."""
        name, text = read_prepare(source, session.user_variables)
        statements = session.named_statements
        statements.forget(name)
        statements.require_room(text)
        statements.add(name, await self._prepared(session, text))

    async def _dispatch(self, session: Session, source: Source) -> Result:
        verb = verb_of(source)
        match verb:
            case Verb.QUERY:
                into = read_into(source)
                if into is None:
                    return await self._query(session, source)
                return await assign_row(
                    session, into.names, await self._query(session, await read(into.query))
                )
            case Verb.EXPLAIN:
                return await self._explain(session, source)
            case Verb.SHOW:
                return self._show(session, source).show()
            case Verb.CHECK:
                return check_table(source, self._show(session, source))
            case Verb.SET if source.word(1) == "STATEMENT":
                return await self._set_for_one(session, source)
            case Verb.SET:
                warned = await self._set(session, source)
                session.diagnostics = Diagnostics.of_conditions([*deprecated_in_set(source), *warned])
                return Ok(session.diagnostics.count)
            case Verb.USE:
                self.use_database(session, named_database(source))
            case Verb.KILL:
                everybody = self._is_administrator(session)
                kill_statement(source, session, self._connections, self._parser, everybody=everybody)
            case Verb.DO:
                await self._do(session, source)
                return Ok(session.diagnostics.count)
            case Verb.HELP:
                return help_statement(source)
            case Verb.PREPARE:
                await self._prepare_named(session, source)
            case Verb.EXECUTE:
                name, values = read_execute(source, session.user_variables)
                return await self._shown_as_prepared(session, session.named_statements.get(name), values)
            case Verb.DEALLOCATE:
                session.named_statements.remove(read_deallocate(source))
            case Verb.NO_OPERATION | Verb.NOTHING:
                pass
            case _:
                assert_never(verb)
        return Ok()

    async def _repeated(self, session: Session, text: str) -> ResultSet | None:
        """The answer to what came before, perhaps with other values; None where ``text`` must be parsed."""
        answered, shaped = self._answers.knows(text), self._shapes.find(text)
        if (not answered and shaped is None) or session.selects_nothing:
            return None
        context = self._context(session)
        answer = self._answers.find(text, context) if answered else None
        if answer is not None:
            if await self._runner.stands(answer.basis, context):
                session.diagnostics = NO_DIAGNOSTICS
                session.found_rows = answer.rows
                return answer.result()
            self._answers.forget(text, context)
        if shaped is None:
            return None
        session.diagnostics = NO_DIAGNOSTICS
        result = await self._runner.run_again(shaped, context)
        if result is not None:
            result.batches = self._watched(session, result)
            self._answers.watch(text, context, result)
        return result

    async def _query(self, session: Session, source: Source) -> ResultSet:
        parsed = query = await self._parsed(session, source)
        self._refuse_placeholders(source)
        deprecated = deprecated_in_query(source)
        answered = probe(query, source.text, session)
        if answered is not None:
            session.found_rows = 1
            if deprecated:
                answered.warnings.precede(deprecated)
                session.diagnostics = Diagnostics.of(answered.warnings)
            return answered
        assigns = ":=" in source.text
        if assigns:
            query = begun(query, session)
        context = self._context(session, source.hints)
        sleeper = asleep(query)
        if sleeper is not None:
            query = sleeper.query
            await sleep(sleeper.seconds(SessionNames(session)), context.limits)
            answered = probe(query, source.text, session)
            if answered is not None:
                return answered
        if session.selects_nothing:
            query = nothing_of(query)
        view = self.server_state(session)
        window = counted_window(query, source)
        asked = query if window is None else without_limit(query)
        result = await self._runner.run(asked, source.text, context, lambda table: static_rows(table, view))
        result.columns = shown_headers(query, result.columns)
        as_it_stands = asked is parsed and not source.hints and not deprecated
        if as_it_stands:
            self._shapes.seen(source, parsed)
        set_by = assigned_columns(query, len(result.columns)) if assigns else []

        def last_of(batch: pa.RecordBatch) -> None:
            for at, name in set_by:
                session.user_variables[name] = user_value(batch.column(at), result.columns[at])

        result.batches = self._watched(session, result, deprecated, window, last_of if set_by else None)
        if as_it_stands:
            self._answers.watch(source.text, context, result)
        return result

    def _watched(
        self,
        session: Session,
        result: ResultSet,
        deprecated: list[Condition] | None = None,
        window: tuple[int, int] | None = None,
        last_of: Callable[[pa.RecordBatch], None] | None = None,
    ) -> Watched:
        """The batches of ``result``, whose end the session is told."""

        def ended(rows: int, error: SqlError | None) -> None:
            session.found_rows = rows
            if deprecated:
                result.warnings.precede(deprecated)
            if result.warnings.count:
                session.diagnostics = Diagnostics.of(result.warnings)
            if error is not None:
                session.diagnostics = session.diagnostics.ended_by(error)

        shown_in = session.variable("character_set_results")
        character_set = None if shown_in is None else str(shown_in)
        return Watched(result, character_set, ended, window, last_of)

    async def _do(self, session: Session, source: Source) -> None:
        """MySQL manual: DO Statement; worked out like a query, for what it does and not for its rows."""
        await self._carry_out(session, "SELECT " + Cursor(source, 1).rest())

    async def _carry_out(self, session: Session, query: str) -> None:
        result = await self._query(session, await read(query))
        async for _ in result.batches:
            continue

    async def _set(self, session: Session, source: Source) -> list[Condition]:
        """What it warns of."""
        query = as_query(source)
        if query is not None and reads_tables(source):
            await self._carry_out(session, query)
            return []
        try:
            if len(source.text) <= SHORT:
                return set_statement(source, session, self._parser)
            return await asyncio.to_thread(set_statement, source, session, QueryParser())
        except Unsupported:
            if query is None:
                raise
            await self._carry_out(session, query)
            return []

    async def _set_for_one(self, session: Session, source: Source) -> Result:
        """SET STATEMENT ... FOR ...: variables for one statement. MariaDB manual: SET STATEMENT."""
        settings, statement = only_for(source)
        saved = session.saved()
        try:
            await self._set(session, settings)
            return await self._execute(session, statement)
        finally:
            session.restore(saved)

    async def _explain(self, session: Session, source: Source) -> ResultSet:
        explain = read_explain(source)
        if explain is None:
            return self._show(session, source).describe()
        query = await self._parsed(session, explain.query)
        self._refuse_placeholders(explain.query)
        await self._query_columns(session, explain.query)
        context = self._context(session, explain.query.hints)
        steps = await self._runner.explain(query, explain.query.text, context, explain.analyze)
        shown = shown_plan(steps, explain.format)
        if explain.format is not PlanFormat.TREE:
            shown.warnings.precede([rewritten(query)])
            session.diagnostics = Diagnostics.of(shown.warnings)
        return shown

    async def _describe(
        self, session: Session, source: Source, offsets: tuple[int, ...]
    ) -> tuple[ResultColumn, ...]:
        """:raises SqlError: errors that values cannot heal"""
        verb_of(source)
        bound = read_source(bound_to_nothing(source, offsets)) if source.pieces else source
        try:
            return await self._columns(session, bound)
        except SqlError as error:
            if error.code in _REFUSED_AT_PREPARE and (not offsets or error.code != 1235):
                raise
        except RecursionError:
            raise too_deep() from None
        return ()

    async def _columns(self, session: Session, source: Source) -> tuple[ResultColumn, ...]:
        """The columns that a statement without placeholders will give."""
        match verb_of(source):
            case Verb.QUERY:
                return await self._query_columns(session, source)
            case Verb.SHOW:
                return self._show(session, source).show().columns
            case Verb.CHECK:
                return check_table(source, self._show(session, source)).columns
            case Verb.HELP:
                return help_statement(source).columns
            case Verb.SET if source.word(1) == "STATEMENT":
                return await self._columns(session, only_for(source)[1])
            case Verb.EXPLAIN:
                explain = read_explain(source)
                if explain is not None:
                    return shown_plan([], explain.format).columns
                return self._show(session, source).describe().columns
            case Verb.PREPARE | Verb.EXECUTE | Verb.DEALLOCATE:
                message = "This command is not supported in the prepared statement protocol yet"
                raise SqlError(message, code=1295)
            case _:
                return ()

    async def _query_columns(self, session: Session, source: Source) -> tuple[ResultColumn, ...]:
        query = await self._parsed(session, source)
        sleeper = asleep(query)
        query = begun(query if sleeper is None else sleeper.query, None)
        answered = probe(query, source.text, session)
        if answered is not None:
            return answered.columns
        context = self._context(session, source.hints)
        return shown_headers(query, await self._runner.describe(query, source.text, context))

    async def _parsed(self, session: Session, source: Source) -> exp.Expression:
        """The checked query; long ones are parsed beside the event loop, which has others to serve."""
        if len(source.text) <= SHORT:
            return self._parser.parse(source)
        query = self._parser.known(source)
        if query is None:
            query = await in_time(session, asyncio.to_thread(QueryParser().parse, source), len(source.text))
            self._parser.remember(source, query)
        return query

    def _refuse_placeholders(self, source: Source) -> None:
        for index, piece in enumerate(source.pieces):
            if piece.part is Part.PARAMETER:
                raise source.problem(index)

    def _context(self, session: Session, hints: Sequence[str] = ()) -> StatementContext:
        hinted_ms = 0
        for hint in hints:
            found = _TIME_HINT.search(hint)
            hinted_ms = int(found[1]) if found is not None else hinted_ms
        context = session.context(self._now_us(), hinted_time_ms=hinted_ms, grant=self._grant(session))
        return replace(context, position=self._position)

    def _is_administrator(self, session: Session) -> bool:
        user = self._user(session.user)
        return user is not None and user.has(Role.ADMIN)

    def _grant(self, session: Session) -> Grant:
        """As the user's rights are now. :raises SqlError: they were taken away since the login."""
        user = self._user(session.user)
        if user is None or not user.has(Role.READ):
            raise SqlError(
                f"Access denied for user '{session.user}'@'{session.host}'", code=1045, state="28000"
            )
        return EVERYTHING if user.has(Role.ADMIN) else user.grant

    def _show(self, session: Session, source: Source) -> Show:
        return Show(source, session, self._catalog, self.server_state(session), self._parser, user=self._user)

    def server_state(self, session: Session) -> ServerState:
        """The server as that session may see it, for the rows of system tables."""
        return ServerState(
            session,
            self._connections,
            everything=self._is_administrator(session),
            uptime_s=self._uptime_s(),
            statements=self._statements,
        )

    def _uptime_s(self) -> int:
        return max(0, self._now_us() - self._started_us) // 1_000_000

    def _known_database(self, name: str) -> str:
        if name.lower() not in self._catalog.databases():
            raise UnknownDatabase(f"Unknown database '{name}'")
        return name.lower()


@contextmanager
def _noted(session: Session) -> Iterator[None]:
    """Leave errors to SHOW WARNINGS."""
    try:
        yield
    except SqlError as error:
        session.diagnostics = session.diagnostics.ended_by(error)
        raise


def _own(session: SessionView) -> Session:
    if not isinstance(session, Session):
        raise TypeError("a session this front end did not open")
    return session
