"""One query on its way: worked out in a thread, its batches handed to the event loop as they come.

What is brief begins on the event loop: to wake a thread costs more than ten rows, and reading holds up
everybody either way, as the store's binding does not let go of the interpreter.

A slow reader holds back the engine and the scan: few batches are ever in between. Whoever stops reading,
waits too long or is killed ends both within one batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from z4sql.sql.context import StatementContext
from z4sql.sql.engine.engine import RunningQuery
from z4sql.sql.engine.stopping import stopping
from z4sql.sql.engine.warnings import Warnings, collecting
from z4sql.sql.errors import Interrupted, LimitExceeded, SqlError, TimedOut
from z4sql.sql.result import size_bytes
from z4sql.sql.scan.basis import Basis
from z4sql.sql.scan.limits import QueryLimits
from z4sql.sql.types import Kind, ResultColumn

_HANDED_OVER_MAX: Final = 2
_STOP_TIMEOUT_S: Final = 0.2
"""For a thread to end once it was told; the engine answers between batches, and not while it binds."""
_POLL_S: Final = 0.1

_log = structlog.get_logger()


class QueryRun:
    """The batches of one query, as an asynchronous iterator; ``aclose`` cancels it."""

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        limits: QueryLimits,
        context: StatementContext,
        batches: Callable[[], Iterator[pa.RecordBatch]],
        *,
        running: RunningQuery | None = None,
        failures: list[SqlError] | None = None,
        brief: bool = False,
    ) -> None:
        """``brief``: its first batches are short work, which may hold up others on the event loop."""
        self.columns = columns
        self._doubles = [at for at, column in enumerate(columns) if column.type.kind is Kind.DOUBLE]
        self.warnings = _warnings(context)
        self.held = ExitStack()
        """Let go of when the thread has ended: the turn, and the store that it reads."""
        self.basis: Basis | None = None
        """What the rows are made of; None where they may depend on more than that."""
        self._limits = limits
        self._result_bytes_max = context.limits.result_bytes_max
        self._batches = batches
        self._made: Iterator[pa.RecordBatch] | None = None
        self._sent_bytes = 0
        self._running = running
        self._brief = brief
        self._failures = failures if failures is not None else []
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[pa.RecordBatch | SqlError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_HANDED_OVER_MAX)
        self._ended = asyncio.Event()
        self._peeked: list[pa.RecordBatch | None] = []
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, threads: ThreadPoolExecutor) -> None:
        """Work in a thread; ``brief`` ones begin here, and often end before a thread would wake.

        :raises SqlError: there is no thread (1135)
        """
        if self._brief:
            ended, outcome = self._worked(at_once=True)
            if ended:
                self._finish(outcome)
                return
        try:
            self._loop.run_in_executor(threads, self._work)
        except RuntimeError as error:
            # There is no thread to be had: what is held for the query is let go of here.
            self._cancel(Interrupted())
            self._finish(None)
            raise SqlError("Can't create a new thread; try again", code=1135) from error
        self._watch_deadline()

    @property
    def scanned_rows(self) -> int:
        """Rows that all scans together have read up to now."""
        return self._limits.scanned_rows

    async def first(self) -> None:
        """Wait for the first batch, or the end. :raises SqlError:"""
        self._peeked.append(await self._next())

    def __aiter__(self) -> QueryRun:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        batch = self._peeked.pop() if self._peeked else await self._next()
        if batch is None:
            self._peeked.append(None)
            raise StopAsyncIteration
        return batch

    async def aclose(self) -> None:
        """Cancel what still runs and wait, for a bounded time, until it has ended."""
        if self._ended.is_set():
            return
        self._cancel(Interrupted())
        try:
            await asyncio.wait_for(self._ended.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            _log.warning("query_does_not_stop", timeout_s=_STOP_TIMEOUT_S)

    async def _next(self) -> pa.RecordBatch | None:
        if self._over:
            return None
        try:
            found = await self._queue.get()
        except asyncio.CancelledError:
            self._cancel(Interrupted())
            raise
        self._room.release()
        if isinstance(found, SqlError):
            self._over = True
            raise found
        self._over = found is None
        return found

    def _cancel(self, reason: SqlError) -> None:
        self._limits.stop(reason)
        if self._running is not None:
            self._running.cancel()

    def _watch_deadline(self) -> None:
        remaining_s = self._limits.remaining_s
        if remaining_s is None or self._ended.is_set():
            return
        if remaining_s <= 0:
            self._cancel(TimedOut())
            self._timer = self._loop.call_later(_STOP_TIMEOUT_S, self._queue.put_nowait, TimedOut())
            return
        self._timer = self._loop.call_later(remaining_s + 0.01, self._watch_deadline)

    def _finish(self, outcome: SqlError | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            self._running.close()
        self.held.close()
        self._ended.set()
        self._queue.put_nowait(outcome)

    def _work(self) -> None:
        """In a thread of its own: pull batches out of the engine, which pulls them out of the scan."""
        if self._ended.is_set():
            return
        _, outcome = self._worked(at_once=False)
        try:
            self._loop.call_soon_threadsafe(self._finish, outcome)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def _worked(self, *, at_once: bool) -> tuple[bool, SqlError | None]:
        """Hand over the batches that are left; whether that was all, and the error that ended it.

        ``at_once``: on the event loop, and only as many as the reader may be behind.
        """
        begun = 0
        try:
            with collecting(self.warnings), stopping(lambda: self._limits.stopped):
                if self._made is None:
                    self._made = self._batches()
                for batch in self._made:
                    self._require_sendable(batch)
                    if not at_once:
                        self._hand_over(batch)
                        continue
                    self._room.acquire(blocking=False)
                    self._queue.put_nowait(batch)
                    begun += 1
                    if begun == _HANDED_OVER_MAX:
                        return False, None
        except SqlError as error:
            return True, self._limits.stopped or (self._failures[0] if self._failures else error)
        except Exception as error:
            _log.exception("query_failed")
            return True, SqlError(f"The query failed: {type(error).__name__}")
        return True, None

    def _require_sendable(self, batch: pa.RecordBatch) -> None:
        """:raises SqlError: the result grows too large, or has numbers that MySQL does not have."""
        self._sent_bytes += size_bytes(batch)
        self._require_finite(batch)
        if self._result_bytes_max and self._sent_bytes > self._result_bytes_max:
            raise LimitExceeded(
                f"The result is larger than {self._result_bytes_max} bytes; select fewer rows or "
                "columns, or raise the limit (z4_result_bytes_max)"
            )

    def _require_finite(self, batch: pa.RecordBatch) -> None:
        """:raises SqlError: (1690) a DOUBLE that MySQL does not have."""
        for at in self._doubles:
            if pa.types.is_floating(batch.schema.types[at]) and pc.any(pc.is_inf(batch.column(at))).as_py():
                message = f"DOUBLE value is out of range in '{self.columns[at].name}'"
                raise SqlError(message, code=1690, state="22003")

    def _hand_over(self, batch: pa.RecordBatch) -> None:
        """Wait until the reader has room. That time is the client's, not the query's."""
        has_room = self._room.acquire(blocking=False)
        while not has_room:
            # Put off ahead, so that the deadline does not come while this waits.
            self._limits.extend(_POLL_S)
            began_s = time.monotonic()
            has_room = self._room.acquire(timeout=_POLL_S)
            self._limits.extend(time.monotonic() - began_s - _POLL_S)
            if self._limits.stopped is not None:
                raise self._limits.stopped
        self._loop.call_soon_threadsafe(self._queue.put_nowait, batch)


def _warnings(context: StatementContext) -> Warnings:
    if context.variable is None:
        return Warnings()
    kept, concat = (context.variable(name) for name in ("max_error_count", "group_concat_max_len"))
    return Warnings(int(str(kept)), int(str(concat)))
