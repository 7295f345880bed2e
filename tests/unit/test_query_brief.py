"""Few rows are given without a thread; many begin on the event loop and go on in one, each row once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.planner_tables import NOW_US
from tests.sql_service import DirectCopy, answer, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.context import Limits, StatementContext
from z4sql.sql.errors import LimitExceeded
from z4sql.sql.query import QueryService
from z4sql.tasks.model import NewTask

ROWS = 1_000
FIRST_US = 1_893_456_000_000_000  # 2030-01-01
RANGE = "namespace = 'shop' AND deliver_at >= '2030-01-01' AND deliver_at < '2030-01-02'"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QueryService, DirectCopy, list[str]]]:
    machine = open_machine(Path(tmp_path_factory.mktemp("store")))
    ids = add_tasks(machine, [NewTask("shop", {}, b"p", FIRST_US + n * 10**6) for n in range(ROWS)])
    service, copy = service_over(machine)
    yield service, copy, ids
    service.close()
    machine.close()


def query_threads() -> int:
    return sum(thread.name.startswith("query") for thread in threading.enumerate())


async def test_ten_rows_take_no_thread(world: tuple[QueryService, DirectCopy, list[str]]) -> None:
    service, copy, ids = world
    before = query_threads()
    assert await answer(service, f"SELECT id FROM tasks WHERE {RANGE} LIMIT 10") == [
        (one,) for one in ids[:10]
    ]
    assert query_threads() == before
    assert copy.readers == 0


@pytest.mark.parametrize("window", [(0, 0), (0, 1), (120, 20), (0, 128), (0, 129), (600, 100), (0, 5_000)])
async def test_every_row_comes_once_and_in_order(
    world: tuple[QueryService, DirectCopy, list[str]], window: tuple[int, int]
) -> None:
    service, copy, ids = world
    skipped, count = window
    sql = f"SELECT id FROM tasks WHERE {RANGE} LIMIT {count} OFFSET {skipped}"
    assert await answer(service, sql) == [(one,) for one in ids[skipped : skipped + count]]
    assert copy.readers == 0


async def test_an_error_in_the_first_rows_ends_the_query(
    world: tuple[QueryService, DirectCopy, list[str]],
) -> None:
    service, copy, _ = world
    context = StatementContext(NOW_US, limits=Limits(scanned_rows_max=5))
    with pytest.raises(LimitExceeded):
        await answer(service, f"SELECT id FROM tasks WHERE {RANGE} LIMIT 10", context)
    assert copy.readers == 0
