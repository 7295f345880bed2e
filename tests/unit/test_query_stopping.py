"""Whoever is killed or out of time is let go at once, whatever stage their statement is in."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from tests.planner_tables import NOW_US
from tests.sql_service import DirectCopy, answer, service_over
from tests.task_stores import open_machine
from z4sql.sql import query as query_module
from z4sql.sql.context import Limits, StatementContext
from z4sql.sql.engine.engine import RunningQuery
from z4sql.sql.engine.expansion import SIZE_MAX, expanded_size
from z4sql.sql.errors import SqlError
from z4sql.sql.query import QueryService, QuerySettings
from z4sql.sql.supervisor import GIVING_BACK

P = ParamSpec("P")
T = TypeVar("T")

LONG = "SELECT 1 AS n WHERE 'x' <> '" + "y" * 5_000 + "'"
BOTH = " AND ".join(f"{one}.namespace = 'n' AND {one}.deliver_at >= '2022-04-16'" for one in "ab")
WITHIN_S = 0.5


class Stage:
    """Holds up a stage of every statement until it is let go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def before(self, work: Callable[P, T]) -> Callable[P, T]:
        def held(*arguments: P.args, **named: P.kwargs) -> T:
            self.reached.set()
            self.let_go.wait(30)
            return work(*arguments, **named)

        return held


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[QueryService, DirectCopy]]:
    machine = open_machine(tmp_path / "state")
    service, copy = service_over(machine)
    yield service, copy
    service.close()
    machine.close()


@pytest.fixture(params=["plan", "lower", "bind"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    held = Stage()
    if request.param == "bind":
        monkeypatch.setattr(RunningQuery, "batches", held.before(RunningQuery.batches))
    else:
        monkeypatch.setattr(query_module, request.param, held.before(getattr(query_module, request.param)))
    yield held
    held.let_go.set()


async def _reached(stage: Stage) -> None:
    async with asyncio.timeout(10):
        while not stage.reached.is_set():
            await asyncio.sleep(0.001)


async def _usable_again(served: tuple[QueryService, DirectCopy], stage: Stage) -> None:
    service, copy = served
    stage.let_go.set()
    assert await answer(service, "SELECT 2") == [(2,)]
    async with asyncio.timeout(10):
        while copy.readers:
            await asyncio.sleep(0.001)


async def test_a_killed_statement_lets_its_client_go(
    served: tuple[QueryService, DirectCopy], stage: Stage
) -> None:
    waiting = asyncio.create_task(answer(served[0], LONG))
    await _reached(stage)
    started = time.perf_counter()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.perf_counter() - started < WITHIN_S
    await _usable_again(served, stage)


async def test_a_statement_out_of_time_lets_its_client_go(
    served: tuple[QueryService, DirectCopy], stage: Stage
) -> None:
    context = StatementContext(NOW_US, limits=Limits(execution_time_ms=200))
    started = time.perf_counter()
    with pytest.raises(SqlError) as refused:
        await answer(served[0], LONG, context)
    assert refused.value.code == 3024
    assert time.perf_counter() - started < 0.2 + WITHIN_S
    await _usable_again(served, stage)


@pytest.mark.parametrize(
    "nested",
    [
        "MAKEDATE({}, 3)",
        "REPLACE({}, 'a', 'b')",
        "DATE_ADD({}, INTERVAL 1 DAY)",
        "LEFT(REPEAT({}, 2), 5)",
        "({} << 1)",
        "ROUND({}, 2)",
        "UNHEX({})",
    ],
)
async def test_functions_of_functions_are_refused_before_they_multiply(
    served: tuple[QueryService, DirectCopy], nested: str
) -> None:
    """The engine would copy the innermost argument for each use, again at every level."""

    def sql(depth: int) -> str:
        expression = "name"
        for _ in range(depth):
            expression = nested.format(expression)
        return f"SELECT {expression} FROM namespaces"

    assert await answer(served[0], sql(2)) == []
    with pytest.raises(SqlError) as refused:
        await answer(served[0], sql(60))
    assert refused.value.code == 1436


def test_the_size_of_expanded_text_counts_every_use_of_an_argument() -> None:
    """`my_bounded` uses its argument twice, `my_moved` three times."""
    once = expanded_size("select my_bounded(t)") - expanded_size("select my_bounded()")
    assert expanded_size("select plain(t, 'it''s, (', \"a(,\")") == 5
    assert expanded_size("select my_bounded(my_bounded(t))") > 2 * once
    deep = "t"
    for _ in range(20):
        deep = f"my_moved({deep})"
    assert expanded_size(deep) > 3**20 > SIZE_MAX


async def test_queries_that_get_no_thread_keep_no_turn(served: tuple[QueryService, DirectCopy]) -> None:
    """A process at the limit of its memory cannot start threads; what waits for one holds nothing."""
    service, copy = served
    service.close()
    for _ in range(QuerySettings().running_max + 1):
        async with asyncio.timeout(10):
            with pytest.raises(SqlError) as refused:
                await answer(service, f"SELECT COUNT(*) FROM tasks a, tasks b WHERE {BOTH}")
        assert refused.value.code == 1135
    assert copy.readers == 0


def test_the_engine_gives_memory_back_that_a_query_took() -> None:
    """What it kept, more than a gigabyte, would count against the process's limits for ever."""
    program = """
import re
from pathlib import Path
from z4sql.sql.engine.engine import Engine

def taken_mb():
    return int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10

engine = Engine()
before_mb = taken_mb()
for _ in range(3):
    running = engine.run("select sum(length(repeat('x'||range::varchar, 100000))) from range(2000)", {})
    list(running.batches())
    running.close()
print(taken_mb() - before_mb)
"""
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, env=os.environ | GIVING_BACK, capture_output=True, timeout=60)
    assert int(ran.stdout) < 700, ran.stderr.decode()
