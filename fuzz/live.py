"""The whole front end over a store of a few tasks, in this process: what a connection's statement passes."""

from __future__ import annotations

import logging
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from tests.planner_tables import NOW_US, us
from tests.sql_service import service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import Limits
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.query import QuerySettings
from z4sql.sql.result import Ok, Parameter, Result
from z4sql.sql.scan.segments import SegmentCache
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.tasks.model import NewTask

BOUND: Final = "namespace = 'n' AND deliver_at >= '2022-04-16' AND deliver_at < '2022-04-18'"
"""Holds of all tasks of one namespace."""

_DAY_US: Final = us("2022-04-16")
_HOUR_US: Final = 3_600_000_000
_TIME_MS: Final = 2_000
_INTERNAL: Final = 1105
_TOOK_MAX_S: Final = 4.0
_GROWN_MAX_MB: Final = 200
_METADATA: Final[tuple[dict[str, str], ...]] = (
    {"user": "ann", "n": "1", "ok": "true"},
    {"user": "bob@example.com", "n": "-2.5e3", "list": "[1, {\"a\": null}]"},
    {"user": "", "n": "", "day": "2022-02-30", "a.b": "é\U0001f980"},
    {},
)  # fmt: skip


class LiveFront:
    """Statements against it, one after the other, each in a session of its own."""

    def __init__(self) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._folder = tempfile.TemporaryDirectory(prefix="z4-fuzz-")
        machine = open_machine(Path(self._folder.name) / "state")
        machine.observer = SegmentCache()
        for namespace in ("n", "Other"):
            add_tasks(
                machine,
                [
                    NewTask(
                        namespace, _METADATA[at % len(_METADATA)], b"\0p" * (at % 3), _DAY_US + at * _HOUR_US
                    )
                    for at in range(48)
                ],
            )
        self.service, _ = service_over(machine, QuerySettings(running_max=2))
        limits = Limits(execution_time_ms=_TIME_MS, result_bytes_max=64 << 20)
        self._front = Front(self.service, Z4Catalog(), ConnectionRegistry(), lambda: NOW_US, limits=limits)

    async def run(self, *statements: str) -> SqlError | None:
        """Run all of them in one session; the error of the last."""
        session = self._front.open_session(1, "root", "localhost", "z4", {})
        error: SqlError | None = None
        for sql in statements:
            error = None
            try:
                await _drained(await self._front.execute(session, sql))
            except SqlError as raised:
                error = raised
        self._front.close_session(session)
        return error

    async def run_prepared(self, sql: str, values: Sequence[Parameter]) -> SqlError | None:
        """Prepare, run twice with as many of ``values`` as there are places; the second is a repetition."""
        session = self._front.open_session(1, "root", "localhost", "z4", {})
        with suppress(SqlError):
            prepared = await self._front.prepare(session, sql)
            given = [values[at % len(values)] for at in range(prepared.parameter_count)] if values else []
            try:
                for _ in range(2):
                    await _drained(await self._front.execute_prepared(session, prepared, given))
            except SqlError as error:
                return error
        return None


async def _drained(result: Result) -> None:
    if isinstance(result, Ok):
        return
    try:
        async for _ in result.batches:
            continue
    finally:
        close = getattr(result.batches, "aclose", None)
        if close is not None:
            await close()


def require_sound(error: SqlError | None, sql: str) -> None:
    """:raises AssertionError: an internal error."""
    if error is not None and error.code == _INTERNAL:
        raise AssertionError(f"{error.message}: {sql}")


class Budget:
    """What one statement may take: time, and memory that stays."""

    def __enter__(self) -> Budget:
        self._began_s = time.process_time()
        self._before_mb = _peak_mb()
        return self

    def __exit__(self, *_: object) -> None:
        took_s, grown_mb = time.process_time() - self._began_s, _peak_mb() - self._before_mb
        if took_s > _TOOK_MAX_S:
            raise AssertionError(f"{took_s:.1f} s of processor time")
        if grown_mb > _GROWN_MAX_MB:
            raise AssertionError(f"{grown_mb} MB more")


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
