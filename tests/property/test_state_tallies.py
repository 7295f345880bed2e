"""Queries that only tell states apart are answered by what the store counts, exactly, and no others are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from tests.sql_service import answer, service_over
from tests.task_life_history import SECOND_US, History
from tests.task_log import START_US, opened
from z4sql.sql.context import StatementContext
from z4sql.sql.query import QueryService
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.machine import TaskMachine

TALLIED = (
    "SELECT state, COUNT(*) FROM tasks WHERE {range} GROUP BY state",
    "SELECT COUNT(*) AS n, state FROM tasks t WHERE {range} GROUP BY t.state ORDER BY n DESC, state LIMIT 2",
    "SELECT namespace, UPPER(state), COUNT(*) FROM tasks WHERE {range} GROUP BY namespace, state",
    "SELECT COUNT(*) FROM tasks WHERE {range} AND state = 'DONE'",
    "SELECT COUNT(*) FROM tasks WHERE {range} AND state IN ('dead', 'expired') AND NOT state <=> 'x'",
    "SELECT SUM(state = 'done'), MAX(state), COUNT(DISTINCT state), AVG(LENGTH(state)) FROM tasks"
    " WHERE {range}",
    "SELECT state FROM tasks WHERE {range} GROUP BY state HAVING COUNT(*) > 3",
)
NOT_TALLIED = (
    "SELECT state, MIN(deliver_at) FROM tasks WHERE {range} GROUP BY state",
    "SELECT state, COUNT(*) FROM tasks WHERE {range} AND attempts > 0 GROUP BY state",
    "SELECT state, COUNT(*) FROM tasks WHERE {range} AND HOUR(deliver_at) > 5 GROUP BY state",
    "SELECT MAX(id) AS state, COUNT(*) FROM tasks WHERE {range} GROUP BY namespace",
    "SELECT MAX(state) AS id, COUNT(*) FROM tasks WHERE {range} GROUP BY namespace",
    "SELECT state, COUNT(id) FROM tasks WHERE {range} GROUP BY state",
    "SELECT a.state, COUNT(*) FROM tasks a JOIN tasks b ON a.id = b.id WHERE {range:a.} AND {range:b.}"
    " GROUP BY a.state",
    "SELECT state, COUNT(*) FROM tasks WHERE {range} AND state IN (SELECT state FROM tasks WHERE {range})"
    " GROUP BY state",
    "SELECT state, COUNT(*) FROM tasks WHERE {range} GROUP BY state, DATE(deliver_at)",
    "SELECT UPPER(state) FROM tasks WHERE {range}",
)


@dataclass
class Range:
    namespace: str
    from_us: int
    to_us: int

    def __format__(self, table: str) -> str:
        lo, hi = (f"FROM_UNIXTIME({us // SECOND_US})" for us in (self.from_us, self.to_us))
        at = f"{table}deliver_at"
        return f"{table}namespace = '{self.namespace}' AND {at} >= {lo} AND {at} < {hi}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TaskMachine, QueryService]]:
    directory = Path(tmp_path_factory.mktemp("states"))
    witness = opened(directory / "witness")
    history = History(3, witness)
    history.grow(400)
    machine = TaskMachine(directory / "copy", with_due_index=False, observer=SegmentCache())
    machine.open()
    machine.apply(history.log.entries)
    service, _ = service_over(machine)
    yield machine, service
    service.close()
    machine.close()
    witness.close()


def ranges(choose: random.Random) -> Iterator[Range]:
    for namespace in ("a", "é"):
        yield Range(namespace, START_US - 10**6 * SECOND_US, START_US + 10**8 * SECOND_US)
        for _ in range(2):
            lo, hi = sorted(START_US + choose.randrange(-20, 600) * SECOND_US for _ in range(2))
            yield Range(namespace, lo, hi)


async def both(world: tuple[TaskMachine, QueryService], sql: str) -> tuple[list[object], list[object]]:
    machine, service = world
    context = StatementContext(NOW_US)
    found = await answer(service, sql, context)
    cache, machine.observer = machine.observer, None
    expected = await answer(service, sql, context)
    machine.observer = cache
    return sorted(found, key=repr), sorted(expected, key=repr)


@pytest.mark.parametrize("sql", TALLIED + NOT_TALLIED)
async def test_the_answer_is_that_of_the_rows(world: tuple[TaskMachine, QueryService], sql: str) -> None:
    for one in ranges(random.Random(sql)):
        asked = sql.format(range=one)
        found, expected = await both(world, asked)
        assert found == expected, asked


@pytest.mark.parametrize("sql", TALLIED + NOT_TALLIED)
async def test_rows_are_read_where_it_takes_more_than_states(
    world: tuple[TaskMachine, QueryService], sql: str
) -> None:
    _, service = world
    everything = next(ranges(random.Random(0)))
    asked = sql.format(range=everything)
    query = sqlglot.parse_one(asked, read="mysql")
    assert isinstance(query, exp.Expression)
    steps = await service.explain(query, asked, StatementContext(NOW_US), analyze=True)
    assert (("scanned", "0 rows") in steps) == (sql in TALLIED), steps
