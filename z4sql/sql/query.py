"""Runs a query: plan, lower, then scan and execute in a thread (`QueryRun`)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Final, ParamSpec, Protocol, TypeVar

import pyarrow as pa
from sqlglot import exp

from raftcore.storage.kv import Store
from z4sql.sql.context import Catalog, Consistency, StatementContext
from z4sql.sql.copy.follower import CopyUnavailable
from z4sql.sql.engine.engine import Engine
from z4sql.sql.engine.expansion import require_expandable
from z4sql.sql.errors import SqlError, StoreReplaced, TimedOut, Unbounded, Unsupported
from z4sql.sql.granting import granted_rows, require_granted
from z4sql.sql.lowering.statement import Lowered, lower
from z4sql.sql.planner.explanation import explained
from z4sql.sql.planner.plan import Plan, plan
from z4sql.sql.planner.pushdown import Fact, Shortcut
from z4sql.sql.plans import Key, KnownStatement, PlanCache, ReadyQuery, Watched, ready_query, statement_key
from z4sql.sql.projection import Projection, projection
from z4sql.sql.query_run import QueryRun
from z4sql.sql.repeats import Repeats
from z4sql.sql.result import ResultSet
from z4sql.sql.scan.basis import Basis
from z4sql.sql.scan.builder import SegmentBuilder
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.event_source import EventSource
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.scan.request import TableSource
from z4sql.sql.scan.segments import SegmentCache
from z4sql.sql.scan.small_tables import namespaces_table, told_table
from z4sql.sql.scan.task_source import TaskSource
from z4sql.sql.shapes import Shaped
from z4sql.sql.sources import ScannedRelation
from z4sql.sql.temporal import fixed_offset_us, from_utc_us
from z4sql.sql.turns import Turns
from z4sql.sql.types import ResultColumn, TableDefinition

_STALE_TIMEOUT_S: Final = 10.0
_ASK_TIMEOUT_S: Final = 5.0
_BASIS_RANGES_MAX: Final = 16
_SHORT: Final = 2 << 10
"""Characters of a statement that is planned and lowered in a few milliseconds."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


SystemRows = Callable[[TableDefinition], pa.Table]
"""Rows of a table that is not in the store (information_schema and its like)."""


class View(Protocol):
    @property
    def store(self) -> Store: ...

    @property
    def applied_index(self) -> int: ...

    @property
    def segments(self) -> SegmentCache | None:
        """What former queries left; None where changes of the store are not observed."""
        ...


class Copy(Protocol):
    """Where queries read: a `FollowerCopy`, or a stand-in that reads a store directly."""

    def acquire(self) -> AbstractContextManager[View]: ...

    async def wait_for(self, index: int, timeout_s: float) -> None: ...

    async def read_index(self, timeout_s: float) -> int: ...

    async def ask(self, table: str, timeout_s: float) -> list[dict[str, object]]: ...


@dataclass(slots=True, frozen=True)
class QuerySettings:
    """``running_max`` queries run at once, each in a thread; ``waiting_max`` more wait for their turn."""

    running_max: int = 8
    waiting_max: int = 64


@dataclass(slots=True)
class _Request:
    """One query on its way: what was asked, and what it may use."""

    query: exp.Expression
    text: str
    context: StatementContext
    planned: Plan
    limits: QueryLimits
    system_rows: SystemRows | None
    told: dict[str, list[dict[str, object]]]
    """Rows of the tables that live outside the store, by table."""
    watched: Watched
    key: Key
    known: KnownStatement | None
    lowered: Lowered | None = None
    """Of a long statement, lowered beforehand, with its order."""


class QueryService:
    """Answers parsed SELECTs. Lives on one event loop."""

    def __init__(
        self, copy: Copy, engine: Engine, catalog: Catalog, settings: QuerySettings | None = None
    ) -> None:
        self._copy = copy
        self._engine = engine
        self._catalog = catalog
        self._settings = settings or QuerySettings()
        self._threads = ThreadPoolExecutor(self._settings.running_max, thread_name_prefix="query")
        self._turns = Turns(self._settings.running_max, self._settings.waiting_max)
        self._plans = PlanCache()
        self._repeats = Repeats()
        self._builder = SegmentBuilder(copy.acquire, engine.members)

    def start_building(self) -> None:
        """From now on read ahead while no query runs, until `close`.

        All threads are there from the beginning: later there may be no memory for them.
        """
        together = threading.Barrier(self._settings.running_max + 1)
        for _ in range(self._settings.running_max):
            self._threads.submit(together.wait)
        together.wait()
        self._builder.start()

    async def run(
        self,
        query: exp.Expression,
        text: str,
        context: StatementContext,
        system_rows: SystemRows | None = None,
    ) -> ResultSet:
        """Start the query, which was parsed from ``text``; returns with its first batch.

        :raises SqlError: anything that is known before the first row.
        """
        return _result_of(await self._begun(query, text, context, system_rows))

    async def run_again(self, shaped: Shaped, context: StatementContext) -> ResultSet | None:
        """As `run`, of a query that only picks columns of rows; None where it takes more than that.

        :raises SqlError: as `run`
        """
        repeat = self._repeats.find(shaped, self._catalog, context)
        if repeat is None:
            return None
        limits = QueryLimits(context.limits)
        require_granted(repeat.planned.ranges, context)
        with ExitStack() as held:
            held.enter_context(self._builder.turn.query())
            await self._turns.take(context.user, limits.remaining_s)
            held.callback(self._turns.release, context.user)
            await self._catch_up(context, limits)
            view = self._view(held)
            source = TaskSource(view.store, limits)
            if repeat.planned.sorted_by_id and _any_moved(source, repeat.planned):
                return None
            read = self._source_of(repeat.picked, view, limits, held) or source
            run = _picking(repeat.picked, read, repeat.lowered, limits, context)
            run.basis = _basis(repeat.planned, repeat.lowered, view)
            run.held = held.pop_all()
        return _result_of(await self._started(run))

    async def stands(self, basis: Basis, context: StatementContext) -> bool:
        """Whether an answer with that basis is what the query would give that user now.

        :raises SqlError: the user may not see it, or nobody knows how fresh it is.
        """
        require_granted(basis.ranges, context)
        await self._catch_up(context, QueryLimits(context.limits))
        return basis.holds

    async def _begun(
        self, query: exp.Expression, text: str, context: StatementContext, system_rows: SystemRows | None
    ) -> QueryRun:
        with ExitStack() as held:
            held.enter_context(self._builder.turn.query())
            run = await self._admitted(query, text, context, system_rows, held)
            run.held = held.pop_all()
        return await self._started(run)

    async def _started(self, run: QueryRun) -> QueryRun:
        run.start(self._threads)
        try:
            await run.first()
        except BaseException:
            await run.aclose()
            raise
        return run

    async def _admitted(
        self,
        query: exp.Expression,
        text: str,
        context: StatementContext,
        system_rows: SystemRows | None,
        held: ExitStack,
    ) -> QueryRun:
        """The query planned and lowered, when its turn has come."""
        limits = QueryLimits(context.limits)
        watched, key = Watched(context), statement_key(query, text, context)
        known = self._plans.find(key)
        if known is None:
            query = _limited(await _copied(query, text), context.limits.select_limit)
            planned = await self._planned(query, text, watched.as_context, limits)
        else:
            planned = known.planned
        require_granted(planned.ranges, context)
        told = await self._ask(planned)
        lowered = None
        if len(text) > _SHORT:
            planned = _unsorted(planned)
            lowered = await _beside(limits, self._lowered, query, text, context)
        request = _Request(
            query, text, context, planned, limits, system_rows, told, watched, key, known, lowered
        )
        await self._turns.take(context.user, limits.remaining_s)
        held.callback(self._turns.release, context.user)
        await self._catch_up(context, limits)
        view = self._view(held)
        run = self._prepared(request, view, held)
        remembered = self._plans.find(key)
        if remembered is not None:
            run.basis = _basis(planned, next(iter(remembered.ready.values())).lowered, view)
        return run

    async def describe(
        self, query: exp.Expression, text: str, context: StatementContext
    ) -> tuple[ResultColumn, ...]:
        """The columns that a query would give; its parameters need not be bound."""
        query = await _copied(query, text)
        if len(text) > _SHORT:
            limits = QueryLimits(context.limits)
            return (await _beside(limits, lower, query, text, self._catalog, context)).columns
        return lower(query, text, self._catalog, context).columns

    async def explain(
        self, query: exp.Expression, text: str, context: StatementContext, analyze: bool
    ) -> list[tuple[str, str]]:
        """How a query would be read, one line for each range; with ``analyze`` it is run, and counted."""
        planned = await self._planned(await _copied(query, text), text, context, QueryLimits(context.limits))
        require_granted(planned.ranges, context)
        steps = explained(planned, context)
        if analyze:
            started_s = time.perf_counter()
            run = await self._begun(query, text, context, None)
            rows = 0
            async for batch in run:
                rows += batch.num_rows
            took_ms = (time.perf_counter() - started_s) * 1000
            if planned.references:
                steps.append(("scanned", f"{run.scanned_rows} rows"))
            steps.append(("result", f"{rows} rows in {took_ms:.1f} ms"))
        return steps

    def close(self) -> None:
        """Let go of the threads; queries that run end by themselves."""
        self._builder.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _planned(
        self, query: exp.Expression, text: str, context: StatementContext, limits: QueryLimits
    ) -> Plan:
        """The plan; long statements are planned beside the event loop, which has others to serve."""
        if len(text) > _SHORT:
            return await _beside(limits, _plan, query, text, self._catalog, context)
        return _plan(query, text, self._catalog, context)

    def _lowered(self, query: exp.Expression, text: str, context: StatementContext) -> Lowered:
        lowered = lower(query, text, self._catalog, context)
        require_expandable(lowered.sql)
        return lowered

    async def _ask(self, planned: Plan) -> dict[str, list[dict[str, object]]]:
        """What only the peer knows, for the tables that the query names."""
        told = {}
        for table in sorted(planned.live):
            try:
                told[table] = await self._copy.ask(table, _ASK_TIMEOUT_S)
            except CopyUnavailable as error:
                raise StoreReplaced(f"{error}; try restarting transaction") from error
        return told

    async def _catch_up(self, context: StatementContext, limits: QueryLimits) -> None:
        """Make the copy as fresh as the session asks."""
        if context.consistency is not Consistency.LINEARIZABLE:
            return
        remaining_s = limits.remaining_s
        timeout_s = _STALE_TIMEOUT_S if remaining_s is None else min(remaining_s, _STALE_TIMEOUT_S)
        try:
            index = await self._copy.read_index(timeout_s)
            await self._copy.wait_for(index, timeout_s)
        except CopyUnavailable as error:
            raise StoreReplaced(f"Not linearizable now: {error}; try restarting transaction") from error

    def _view(self, held: ExitStack) -> View:
        try:
            return held.enter_context(self._copy.acquire())
        except CopyUnavailable as error:
            raise StoreReplaced(f"{error}; try restarting transaction") from error

    def _prepared(self, request: _Request, view: View, held: ExitStack) -> QueryRun:
        """No await between the relations: all of them see the store at one applied index."""
        context, limits = request.context, request.limits
        source = TaskSource(view.store, limits)
        ready = self._ready(request, source)
        planned, lowered = ready.planned, ready.lowered
        # Where a zone changes, the least wall clock reading is not that of the first instant.
        if planned.shortcut is not None and fixed_offset_us(context.time_zone) is not None:
            cached = self._cached(view, limits, held)
            batch = _from_keys(planned, planned.shortcut, cached or source, lowered, context)
            return QueryRun(lowered.columns, limits, context, lambda: iter([batch()]))
        if ready.picked is not None:
            read = self._source_of(ready.picked, view, limits, held) or source
            return _picking(ready.picked, read, lowered, limits, context)
        failures: list[SqlError] = []
        relations: dict[str, object] = {}
        cached = self._cached(view, limits, held)
        sql = lowered.sql if cached is None else ready.cached_sql
        scans = ready.scans if cached is None else ready.cached_scans
        for name, use in lowered.sources.items():
            if name not in scans:
                rows = _whole_table(use.table, view, request)
                relations[name] = granted_rows(use.table, rows, context)
                continue
            reads: TableSource = source
            if use.table.name != "tasks":
                reads = EventSource(source)
            elif cached is not None and cached.serves(scans[name]):
                reads = cached
            relation = ScannedRelation(reads, scans[name], failures.append)
            held.callback(relation.close)
            relations[name] = relation
        running = self._engine.run(sql, relations)
        return QueryRun(lowered.columns, limits, context, running.batches, running=running, failures=failures)

    def _source_of(
        self, picked: Projection, view: View, limits: QueryLimits, held: ExitStack
    ) -> TaskSource | None:
        """Where segments are of use; None where what is picked is read as fast from the store."""
        if picked.needles and CachedSource.serves(picked.request):
            return self._cached(view, limits, held)
        return None

    def _ready(self, request: _Request, source: TaskSource) -> ReadyQuery:
        """The query lowered for the order in which the scan gives its rows now."""
        planned, query = request.planned, request.query
        ordered = planned.sorted and not (planned.sorted_by_id and _any_moved(source, planned))
        known = request.known.ready.get(ordered) if request.known is not None else None
        if known is not None:
            return known
        context = request.watched.as_context
        if request.known is not None:
            # This tree was not planned, but another one of the same text.
            query = _limited(query.copy(), request.context.limits.select_limit)
            plan(query, request.text, self._catalog, context)
        used = planned if ordered or not planned.sorted else _unsorted(planned)
        if ordered:
            query.set("order", None)
        lowered = request.lowered or self._lowered(query, request.text, context)
        ready = ready_query(query, used, lowered, projection(query, used, lowered, context))
        if request.lowered is None:
            self._plans.remember(request.key, ready, request.watched, planned=planned, ordered=ordered)
        return ready

    def _cached(self, view: View, limits: QueryLimits, held: ExitStack) -> CachedSource | None:
        if view.segments is None:
            return None
        extractor = self._engine.members()
        held.callback(extractor.close)
        return CachedSource(view.store, limits, view.segments, extractor)


def _plan(query: exp.Expression, text: str, catalog: Catalog, context: StatementContext) -> Plan:
    """As `plan`; whatever else is wrong with a query that lacks bounds is told first.

    A name that is mistyped bounds nothing: the one who wrote it did not forget the bounds.
    """
    try:
        return plan(query, text, catalog, context)
    except Unbounded:
        with suppress(Unsupported):
            lower(query, text, catalog, context)
        raise


def _picking(
    picked: Projection, source: TaskSource, lowered: Lowered, limits: QueryLimits, context: StatementContext
) -> QueryRun:
    brief = picked.is_brief
    return QueryRun(lowered.columns, limits, context, lambda: picked.batches(source), brief=brief)


def _basis(planned: Plan, lowered: Lowered, view: View) -> Basis | None:
    """Of a query whose text and settings tell all that it depends on, besides its tasks.

    None also where changes of these are not observed.
    """
    tables = [use.table for use in lowered.sources.values()]
    if view.segments is None or not lowered.steady or not all(table.bounded for table in tables):
        return None
    ranges = planned.ranges
    return (
        Basis(ranges, view.segments, view.segments.changes) if 0 < len(ranges) <= _BASIS_RANGES_MAX else None
    )


def _result_of(run: QueryRun) -> ResultSet:
    return ResultSet(run.columns, run, run.warnings, lambda: run.scanned_rows, run.basis)


async def _beside(limits: QueryLimits, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """``work`` in a thread. It cannot be stopped there: whoever waits is let go, and its outcome lost.

    :raises TimedOut: at the deadline.
    """
    try:
        return await asyncio.wait_for(asyncio.to_thread(work, *arguments, **named), limits.remaining_s)
    except TimeoutError:
        raise TimedOut from None


async def _copied(query: exp.Expression, text: str) -> exp.Expression:
    """A tree to change; of a long statement made beside the event loop."""
    return query.copy() if len(text) <= _SHORT else await asyncio.to_thread(query.copy)


def _limited(query: exp.Expression, select_limit: int) -> exp.Expression:
    """``query`` with sql_select_limit. MySQL manual: it applies to SELECTs without a LIMIT of their own."""
    if select_limit and isinstance(query, exp.Query) and query.args.get("limit") is None:
        return query.limit(select_limit, copy=False)
    return query


def _whole_table(table: TableDefinition, view: View, request: _Request) -> pa.Table:
    if table.bounded:
        raise SqlError(f"'{table.name}' was not planned")
    if table.database == "z4":
        told = request.told.get(table.name)
        return namespaces_table(table, view.store) if told is None else told_table(table, told)
    if request.system_rows is None:
        raise SqlError(f"Table '{table.database}.{table.name}' has no rows here")
    return request.system_rows(table)


def _any_moved(source: TaskSource, planned: Plan) -> bool:
    return any(source.any_moved(table.request(())) for table in planned.references.values())


def _unsorted(planned: Plan) -> Plan:
    references = {
        name: replace(table, descending=False, batch_rows=16_384)
        for name, table in planned.references.items()
    }
    return replace(planned, references=references, sorted=False)


def _from_keys(
    planned: Plan, shortcut: Shortcut, source: TaskSource, lowered: Lowered, context: StatementContext
) -> Callable[[], pa.RecordBatch]:
    request = planned.references[shortcut.source].request(())

    def batch() -> pa.RecordBatch:
        arrays = []
        ends = source.first_and_last(request) if set(shortcut.facts) - {Fact.COUNT} else None
        for fact in shortcut.facts:
            if fact is Fact.COUNT:
                arrays.append(pa.array([source.count(request)], pa.int64()))
            else:
                us = None if ends is None else ends[0 if fact is Fact.FIRST else 1]
                local = None if us is None else from_utc_us(us, context.time_zone)
                arrays.append(pa.array([local], pa.timestamp("us")))
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in lowered.columns])

    return batch
