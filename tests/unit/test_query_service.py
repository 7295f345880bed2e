"""Queries over a store: answered right, refused with reason, ended on time, one state each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US, us
from tests.sql_service import DirectCopy, answer, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.context import Consistency, Limits, StatementContext
from z4sql.sql.errors import LimitExceeded, SqlError, TimedOut, Unbounded
from z4sql.sql.query import QueryService, QuerySettings
from z4sql.sql.result import ResultSet
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

DAY = us("2022-04-16")
HOUR = 3_600_000_000
MANY = 120_000


class Setting:
    def __init__(self, machine: TaskMachine, service: QueryService, copy: DirectCopy) -> None:
        self.machine, self.service, self.copy = machine, service, copy

    async def rows(self, sql: str, **context: object) -> list[tuple[object, ...]]:
        return await answer(self.service, sql, StatementContext(NOW_US, **context))  # type: ignore[arg-type]

    async def start(self, sql: str, **context: object) -> ResultSet:
        query = sqlglot.parse_one(sql, read="mysql")
        assert isinstance(query, exp.Expression)
        return await self.service.run(query, sql, StatementContext(NOW_US, **context))  # type: ignore[arg-type]


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Setting]:
    machine = open_machine(tmp_path / "state")
    for namespace in ("welcome_emails", "other"):
        add_tasks(
            machine,
            [
                NewTask(namespace, {"user_id": f"u{at % 5}@example.com"}, b"p", DAY + at * HOUR)
                for at in range(-24, 48)
            ],
        )
    add_tasks(machine, [NewTask("welcome_emails", {"user_id": "newuser@example.com"}, b"hi", DAY + HOUR)])
    service, copy = service_over(machine, QuerySettings(running_max=2, waiting_max=1))
    yield Setting(machine, service, copy)
    assert copy.readers == 0, "every query has let go of the store"
    service.close()
    machine.close()


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[Setting]:
    machine = open_machine(tmp_path / "state")
    for start in range(0, MANY, 20_000):
        tasks = [NewTask("a", {"n": str(at)}, b"x" * 100, DAY + at) for at in range(start, start + 20_000)]
        add_tasks(machine, tasks)
    service, copy = service_over(machine, QuerySettings(running_max=2, waiting_max=1))
    yield Setting(machine, service, copy)
    assert copy.readers == 0
    service.close()
    machine.close()


ALL = "namespace = 'a' AND deliver_at >= '2022-04-16'"
BOUND = "namespace = 'welcome_emails' AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17'"


async def test_the_question_of_the_product_is_answered(small: Setting) -> None:
    found = await small.rows(
        f"SELECT id, deliver_at, metadata FROM tasks WHERE {BOUND} "
        "AND JSON_EXTRACT(metadata, '$.user_id') = 'newuser@example.com'"
    )
    assert [row[1:] for row in found] == [(datetime(2022, 4, 16, 1), '{"user_id": "newuser@example.com"}')]


async def test_a_query_without_bounds_is_refused_with_the_column_and_a_correction(small: Setting) -> None:
    with pytest.raises(Unbounded, match=r"must bound deliver_at.*Corrected: SELECT \* FROM tasks WHERE "):
        await small.rows("SELECT * FROM tasks WHERE namespace = 'welcome_emails'")
    with pytest.raises(Unbounded, match="must bound namespace: "):
        await small.rows("SELECT * FROM tasks WHERE deliver_at BETWEEN '2022-04-16' AND '2022-04-17'")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT COUNT(*) FROM tasks WHERE {BOUND}", [(26,)]),
        (f"SELECT COUNT(1), MIN(deliver_at), MAX(deliver_at) FROM tasks WHERE {BOUND}",
         [(26, datetime(2022, 4, 16), datetime(2022, 4, 17))]),
        ("SELECT MIN(deliver_at), COUNT(*) FROM tasks WHERE namespace = 'none' AND deliver_at > '2022-01-01'",
         [(None, 0)]),
        (f"SELECT COUNT(*) FROM tasks WHERE {BOUND} AND namespace = 'other'", [(0,)]),
        (f"SELECT COUNT(*) FROM tasks WHERE {BOUND} AND metadata->>'$.user_id' = 'u1@example.com'", [(5,)]),
        (f"SELECT deliver_at FROM tasks WHERE {BOUND} ORDER BY deliver_at DESC LIMIT 2",
         [(datetime(2022, 4, 17),), (datetime(2022, 4, 16, 23),)]),
        (f"SELECT metadata->>'$.user_id' FROM tasks WHERE {BOUND} ORDER BY deliver_at, id LIMIT 1, 2",
         [("u1@example.com",), ("newuser@example.com",)]),
        ("SELECT namespace, COUNT(*) n FROM tasks WHERE namespace IN ('other', 'welcome_emails') "
         "AND deliver_at < '2022-04-16' GROUP BY namespace ORDER BY n, namespace",
         [("other", 24), ("welcome_emails", 24)]),
        (f"SELECT COUNT(*) FROM tasks x JOIN tasks y USING (namespace, deliver_at) WHERE x.{BOUND}",
         [(28,)]),
        (f"SELECT name, (SELECT COUNT(*) FROM tasks WHERE {BOUND}) FROM namespaces ORDER BY name",
         [("other", 26), ("welcome_emails", 26)]),
        (f"WITH c AS (SELECT * FROM tasks) SELECT COUNT(*) FROM c WHERE {BOUND}", [(26,)]),
        (f"WITH c AS (SELECT * FROM tasks WHERE {BOUND}) SELECT COUNT(*) FROM c JOIN c d USING (id)",
         [(26,)]),
        (f"SELECT COUNT(*) FROM (SELECT id FROM tasks WHERE {BOUND} UNION ALL "
         "SELECT id FROM tasks WHERE namespace = 'other' AND deliver_at = '2022-04-16') u", [(27,)]),
        (f"SELECT 1 FROM tasks WHERE {BOUND} LIMIT 1", [(1,)]),
        ("SELECT 1 + 1", [(2,)]),
    ],
)  # fmt: skip
async def test_answers(small: Setting, sql: str, expected: list[tuple[object, ...]]) -> None:
    assert await small.rows(sql) == expected


async def test_an_id_finds_its_task(small: Setting) -> None:
    ((task_id,),) = await small.rows(f"SELECT id FROM tasks WHERE {BOUND} ORDER BY deliver_at LIMIT 1")
    sql = f"SELECT deliver_at FROM tasks WHERE namespace = 'welcome_emails' AND id = '{task_id}'"
    assert await small.rows(sql) == [(datetime(2022, 4, 16),)]
    assert await small.rows(sql.replace("welcome_emails", "other")) == []


async def test_times_are_shown_and_compared_in_the_sessions_zone(small: Setting) -> None:
    for zone, hours in ((timezone(timedelta(hours=2)), 2), (ZoneInfo("Europe/Berlin"), 2)):
        sql = "SELECT MIN(deliver_at) FROM tasks WHERE namespace = 'other' AND deliver_at >= '2022-04-16'"
        assert await small.rows(sql, time_zone=zone) == [(datetime(2022, 4, 16),)]
        sql = f"SELECT MAX(deliver_at) FROM tasks WHERE {BOUND}"
        assert await small.rows(sql, time_zone=zone) == [(datetime(2022, 4, 17),)], hours


async def test_a_byte_needle_spares_no_row_that_compares_equal(small: Setting) -> None:
    values = ["v", "v ", " v", "V", "vv", 'v"', "é", "e\u0301"]
    add_tasks(small.machine, [NewTask("pad", {"k": value}, deliver_at_us=DAY) for value in values])
    sql = "SELECT metadata->>'$.k' FROM tasks WHERE namespace = 'pad' AND deliver_at = '2022-04-16' AND "
    for predicate, expected in (
        ("metadata->>'$.k' = 'v'", ["v", "v "]),
        ("metadata->>'$.k' = 'v  '", ["v", "v "]),
        ("JSON_EXTRACT(metadata, '$.k') = 'v'", ["v"]),
        ("metadata->'$.k' = 'v '", ["v "]),
        ("metadata->'$.k' = 'v\"'", ['v"']),
        ("metadata->>'$.k' = 'é'", ["é"]),
    ):
        assert await small.rows(sql + predicate) == [(value,) for value in expected], predicate


async def test_sql_select_limit_holds_without_a_limit(small: Setting) -> None:
    limits = Limits(select_limit=3)
    assert len(await small.rows(f"SELECT id FROM tasks WHERE {BOUND}", limits=limits)) == 3
    assert len(await small.rows(f"SELECT id FROM tasks WHERE {BOUND} LIMIT 5", limits=limits)) == 5


async def test_a_linearizable_query_waits_for_the_peers_index(small: Setting) -> None:
    sql = f"SELECT COUNT(*) FROM tasks WHERE {BOUND}"
    assert await small.rows(sql, consistency=Consistency.LINEARIZABLE) == [(26,)]
    assert (small.copy.read_indexes, small.copy.waited_for) == (1, small.machine.applied_index)


async def test_all_relations_of_a_query_see_one_state(small: Setting) -> None:
    result = await small.start(
        "SELECT COUNT(*) FROM tasks x JOIN tasks y USING (id) WHERE x.namespace = 'other' "
        "AND y.namespace = 'other' AND x.deliver_at < '2030-01-01' AND y.deliver_at < '2030-01-01'"
    )
    add_tasks(small.machine, [NewTask("other", deliver_at_us=DAY)])
    assert [batch.column(0).to_pylist() async for batch in result.batches] == [[72]]


async def test_a_query_over_many_rows_is_streamed(large: Setting) -> None:
    sql = f"SELECT id, metadata, payload FROM tasks WHERE {ALL}"
    result = await large.start(sql)
    sizes = [len(batch) async for batch in result.batches]
    assert sum(sizes) == MANY and max(sizes) <= 32_768


async def test_an_early_limit_reads_few_rows(large: Setting) -> None:
    sql = f"SELECT id FROM tasks WHERE {ALL} ORDER BY deliver_at LIMIT 5"
    rows = await large.rows(sql, limits=Limits(scanned_rows_max=5_000))
    assert len(rows) == 5
    with pytest.raises(LimitExceeded):
        await large.rows(sql.replace("LIMIT 5", "LIMIT 50000"), limits=Limits(scanned_rows_max=5_000))


async def test_limits_of_rows_and_bytes_are_told_as_such(large: Setting) -> None:
    sql = f"SELECT payload FROM tasks WHERE {ALL}"
    for limits, words in (
        (Limits(scanned_rows_max=20_000), "examined more than 20000 rows"),
        (Limits(result_bytes_max=200_000), "larger than 200000 bytes"),
    ):
        with pytest.raises(LimitExceeded, match=words):
            await large.rows(sql, limits=limits)


SLOW = (
    "SELECT COUNT(*) FROM tasks x JOIN tasks y ON x.payload >= y.payload AND x.metadata <> y.metadata "
    "WHERE x.namespace = 'a' AND x.deliver_at > '2022-04-15' "
    "AND y.namespace = 'a' AND y.deliver_at > '2022-04-15'"
)


async def test_a_slow_query_ends_at_its_deadline(large: Setting) -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await large.rows(SLOW, limits=Limits(execution_time_ms=400))
    assert time.monotonic() - started < 5
    assert await large.rows(
        "SELECT COUNT(*) FROM tasks WHERE namespace = 'a' AND deliver_at >= '2022-04-16'"
    ) == [(MANY,)]


async def test_cancelling_the_task_that_waits_cancels_the_query(large: Setting) -> None:
    waiting = asyncio.create_task(large.rows(SLOW))
    while large.copy.readers == 0:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    waiting.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert time.monotonic() - started < 1
    assert large.copy.readers == 0


async def test_a_reader_that_stops_holds_back_the_scan_and_lets_go_when_it_closes(large: Setting) -> None:
    sql = f"SELECT payload FROM tasks WHERE {ALL}"
    result = await large.start(sql, limits=Limits(execution_time_ms=500))
    await asyncio.sleep(1.0)
    assert large.copy.readers == 1, "waiting for the client is not execution time"
    batch = await anext(result.batches)
    assert len(batch)
    started = time.monotonic()
    await result.batches.aclose()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    assert large.copy.readers == 0


async def test_queries_wait_for_their_turn_and_too_many_are_refused(large: Setting) -> None:
    sql = f"SELECT payload FROM tasks WHERE {ALL}"
    running = [await large.start(sql) for _ in range(2)]
    waiting = asyncio.create_task(large.start(sql))
    await asyncio.sleep(0.05)
    with pytest.raises(SqlError, match="Too many queries") as caught:
        await large.start(sql)
    assert caught.value.code == 1040
    for result in running:
        await result.batches.aclose()  # type: ignore[attr-defined]
    result = await waiting
    await result.batches.aclose()  # type: ignore[attr-defined]


async def test_explain_analyze_tells_what_was_scanned_beside_what_was_returned(small: Setting) -> None:
    for column, value, returned in (("attempts", 3, 0), ("metadata->>'$.user_id'", "'u1@example.com'", 5)):
        sql = (
            "SELECT id, payload FROM tasks WHERE namespace = 'welcome_emails' AND deliver_at >= '2022-04-16' "
            f"AND deliver_at < '2022-04-17' AND {column} = {value}"
        )
        query = sqlglot.parse_one(sql, read="mysql")
        steps = dict(await small.service.explain(query, sql, StatementContext(NOW_US), True))
        assert steps["scanned"] == "25 rows"
        assert steps["result"].startswith(f"{returned} rows in ")
