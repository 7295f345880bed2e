"""Counts what clients ask: statements by their first word and how they ended, how long they took, and rows.

The peer shows these as metrics: it reads them, as they grow, from this process's standard output.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import pyarrow as pa

from z4sql.sql.errors import Interrupted, ReadOnly, SqlError, TimedOut, Unbounded
from z4sql.sql.result import FrontEnd, Parameter, Prepared, Result, ResultSet, SessionView
from z4sql.sql.types import ResultColumn

_FIRST_WORD: Final = re.compile(r"(?:\s+|/\*.{0,500}?\*/)*([a-zA-Z]{2,8})", re.DOTALL)
_WORDS: Final = frozenset({"select", "with", "show", "set", "explain", "describe", "use", "kill", "values"})


class Meter:
    """What was counted since it was last taken."""

    def __init__(self) -> None:
        self._statements: Counter[tuple[str, str]] = Counter()
        self._took_ms: Counter[float] = Counter()
        self._rows = 0
        self._scanned_rows = 0

    def ended(self, verb: str, outcome: str, took_s: float, rows: int, scanned_rows: int) -> None:
        """A statement ended."""
        self._statements[verb, outcome] += 1
        self._rows += rows
        self._scanned_rows += scanned_rows
        # Two digits: the report stays short, however much was asked.
        self._took_ms[float(f"{took_s * 1e3:.2g}")] += 1

    def take(self) -> dict[str, object] | None:
        """As JSON has it: ``statements`` (verb, outcome, count), ``took_ms`` (time to two digits, count),
        ``rows`` and ``scanned_rows``; None when nothing was.
        """
        if not self._statements:
            return None
        taken: dict[str, object] = {
            "statements": [[*key, count] for key, count in self._statements.items()],
            "took_ms": [*self._took_ms.items()],
            "rows": self._rows,
            "scanned_rows": self._scanned_rows,
        }
        self._statements, self._took_ms, self._rows, self._scanned_rows = Counter(), Counter(), 0, 0
        return taken


class Metered:
    """A `FrontEnd` that tells ``meter`` of every statement."""

    def __init__(self, front: FrontEnd, meter: Meter) -> None:
        self._front = front
        self._meter = meter

    def open_session(
        self, connection_id: int, user: str, host: str, database: str | None, attributes: dict[str, str]
    ) -> SessionView:
        return self._front.open_session(connection_id, user, host, database, attributes)

    def reset_session(self, session: SessionView) -> None:
        self._front.reset_session(session)

    def close_session(self, session: SessionView) -> None:
        self._front.close_session(session)

    def use_database(self, session: SessionView, name: str) -> None:
        self._front.use_database(session, name)

    async def prepare(self, session: SessionView, sql: str) -> Prepared:
        return await self._front.prepare(session, sql)

    def field_list(self, session: SessionView, table: str) -> tuple[ResultColumn, ...]:
        return self._front.field_list(session, table)

    def statistics(self) -> str:
        return self._front.statistics()

    async def execute(self, session: SessionView, sql: str) -> Result:
        statement = _Statement(self._meter, sql)
        try:
            return statement.watched(await self._front.execute(session, sql))
        except BaseException as error:
            statement.ended(error)
            raise

    async def execute_prepared(
        self, session: SessionView, statement: Prepared, parameters: Sequence[Parameter]
    ) -> Result:
        begun = _Statement(self._meter, statement.sql)
        try:
            return begun.watched(await self._front.execute_prepared(session, statement, parameters))
        except BaseException as error:
            begun.ended(error)
            raise


class _Statement:
    """One statement under way; its end is told once."""

    def __init__(self, meter: Meter, sql: str) -> None:
        self._meter = meter
        self._verb = _verb(sql)
        self._begun_s = time.perf_counter()
        self._over = False
        self.rows = 0
        self._scanned_rows: Callable[[], int] = lambda: 0

    def watched(self, result: Result) -> Result:
        if isinstance(result, ResultSet):
            result.batches = _Batches(result.batches, self)
            self._scanned_rows = result.scanned_rows
        else:
            self.ended(None)
        return result

    def ended(self, error: BaseException | None) -> None:
        if not self._over:
            self._over = True
            took_s = time.perf_counter() - self._begun_s
            self._meter.ended(self._verb, _outcome(error), took_s, self.rows, self._scanned_rows())


class _Batches:
    """Batches on their way, counted."""

    def __init__(self, batches: AsyncIterator[pa.RecordBatch], statement: _Statement) -> None:
        self._batches = batches
        self._statement = statement

    def __aiter__(self) -> AsyncIterator[pa.RecordBatch]:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await self._batches.__anext__()
        except StopAsyncIteration:
            self._statement.ended(None)
            raise
        except BaseException as error:
            self._statement.ended(error)
            raise
        self._statement.rows += batch.num_rows
        return batch

    async def aclose(self) -> None:
        self._statement.ended(Interrupted())
        close = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()


def _verb(sql: str) -> str:
    found = _FIRST_WORD.match(sql)
    word = found[1].lower() if found else ""
    return word if word in _WORDS else "other"


def _outcome(error: BaseException | None) -> str:
    match error:
        case None:
            return "ok"
        case TimedOut():
            return "timeout"
        case Interrupted() | asyncio.CancelledError() | GeneratorExit():
            return "killed"
        case ReadOnly() | Unbounded():
            return "refused"
        case SqlError():
            return "error"
        case _:
            return "failed"
