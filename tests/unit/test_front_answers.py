"""Answers that depend on the session: modes, counted rows, character sets, the server's own facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.front_driver import NOW_US, FixedConnections, rows_of
from tests.planner_tables import us
from tests.sql_service import service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.front.session import Session
from z4sql.sql.result import Ok
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

DAY = us("2022-04-16")
BOUND = "namespace = 'mail' AND deliver_at >= '2022-04-16' AND deliver_at < '2022-04-17'"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskMachine]:
    opened = open_machine(tmp_path_factory.mktemp("answers") / "state")
    add_tasks(opened, [NewTask("mail", {"k": f"é{at % 3}"}, b"p", DAY + at * 1_000_000) for at in range(9)])
    yield opened
    opened.close()


@pytest.fixture
async def front(machine: TaskMachine) -> AsyncIterator[Front]:
    service, _ = service_over(machine)
    facts: dict[str, str | int | float | None] = {"port": 4711, "hostname": "peer-1"}
    yield Front(service, Z4Catalog(), FixedConnections(), lambda: NOW_US, facts=facts)
    service.close()


@pytest.fixture
def session(front: Front) -> Session:
    return front.open_session(1, "root", "localhost", "z4", {})


async def ask(front: Front, session: Session, sql: str) -> list[tuple[object, ...]]:
    result = await front.execute(session, sql)
    assert not isinstance(result, Ok)
    return await rows_of(result)


async def code(front: Front, session: Session, sql: str) -> int:
    with pytest.raises(SqlError) as caught:
        await ask(front, session, sql)
    return caught.value.code


async def test_ungrouped_columns_are_refused_unless_the_mode_allows_them(
    front: Front, session: Session
) -> None:
    listed = "metadata->>'$.k' AS k, namespace, id, COUNT(*)"
    sql = f"SELECT {listed} FROM tasks WHERE {BOUND} GROUP BY k ORDER BY k"
    assert await code(front, session, sql) == 1055
    assert await code(front, session, f"SELECT id, COUNT(*) FROM tasks WHERE {BOUND}") == 1140
    await front.execute(session, "SET sql_mode = ''")
    assert [(row[0], row[1], row[3]) for row in await ask(front, session, sql)] == [
        (f"é{at}", "mail", 3) for at in range(3)
    ]
    (row,) = await ask(front, session, f"SELECT namespace, COUNT(*) FROM tasks WHERE {BOUND}")
    assert row == ("mail", 9)


async def test_a_grouped_primary_key_determines_the_other_columns(front: Front, session: Session) -> None:
    sql = f"SELECT id, deliver_at, COUNT(*) FROM tasks WHERE {BOUND} GROUP BY namespace, id"
    assert [row[2] for row in await ask(front, session, sql)] == [1] * 9


async def test_order_by_means_the_alias_but_expressions_and_having_follow_their_own_rules(
    front: Front, session: Session
) -> None:
    values = "(SELECT 1 AS x UNION ALL SELECT 2) t"
    assert await ask(front, session, f"SELECT -x AS x FROM {values} ORDER BY x") == [(-2,), (-1,)]
    assert await ask(front, session, f"SELECT -x AS x FROM {values} ORDER BY x + 0") == [(-1,), (-2,)]
    assert await ask(front, session, f"SELECT -x AS x FROM {values} HAVING x > -2") == [(-1,)]
    assert await code(front, session, f"SELECT -x AS y FROM {values} HAVING x > 1") == 1054


async def test_found_rows_counts_what_the_last_query_gave_or_would_have_given(
    front: Front, session: Session
) -> None:
    await ask(front, session, f"SELECT id FROM tasks WHERE {BOUND} LIMIT 4")
    assert await ask(front, session, "SELECT FOUND_ROWS()") == [(4,)]
    shown = await ask(
        front, session, f"SELECT SQL_CALC_FOUND_ROWS id FROM tasks WHERE {BOUND} LIMIT 2 OFFSET 8"
    )
    assert len(shown) == 1
    assert await ask(front, session, "SELECT FOUND_ROWS() + 0, UPPER('a')") == [(9, "A")]


async def test_texts_come_in_the_character_set_that_was_asked_for(front: Front, session: Session) -> None:
    sql = f"SELECT metadata->>'$.k' FROM tasks WHERE {BOUND} LIMIT 1"
    await front.execute(session, "SET NAMES latin1")
    assert await ask(front, session, sql) == [("é0".encode("latin-1"),)]
    await front.execute(session, "SET character_set_results = ascii")
    assert await ask(front, session, sql) == [(b"?0",)]
    await front.execute(session, "SET NAMES utf8mb4")
    assert await ask(front, session, sql) == [("é0",)]


async def test_the_server_tells_its_own_port_and_host(front: Front, session: Session) -> None:
    assert await ask(front, session, "SELECT @@port, @@hostname") == [(4711, "peer-1")]
    assert await ask(front, session, "SELECT @@global.port, UPPER(@@hostname)") == [(4711, "PEER-1")]
    assert await ask(front, session, "SHOW GLOBAL VARIABLES LIKE 'port'") == [("port", "4711")]


async def test_global_variables_beside_computed_values_are_not_the_sessions(
    front: Front, session: Session
) -> None:
    await front.execute(session, "SET time_zone = '+05:00'")
    assert await ask(front, session, "SELECT @@GLOBAL.time_zone, @@time_zone, UPPER('a')") == [
        ("+00:00", "+05:00", "A")
    ]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT 1,,2", 1064),
        ("SELECT 1, FROM namespaces", 1064),
        ("SELECT name FROM namespaces WHERE name IN ('a',)", 1064),
        ("SELECT name FROM namespaces ORDER BY name,", 1064),
        ("SELECT * FROM information_schema.nothing", 1109),
        ("SELECT CAST('{' AS JSON)", 3141),
        ("SELECT JSON_EXTRACT(1, '$.a')", 3146),
        ("SELECT 9223372036854775807 + 1", 1690),
        ("SELECT CAST(1 AS UNSIGNED) - 2", 1690),
    ],
)
async def test_what_is_wrong_gets_mysqls_error(front: Front, session: Session, sql: str, error: int) -> None:
    assert await code(front, session, sql) == error


async def test_a_very_long_statement_does_not_stall_the_others(front: Front, session: Session) -> None:
    ids = ",".join(f"'{at:026d}'" for at in range(12_000))
    running = asyncio.create_task(
        ask(front, session, f"SELECT id FROM tasks WHERE {BOUND} AND id IN ({ids})")
    )
    # Of the process's own time: on a busy machine nothing runs for seconds, and nobody is to blame.
    longest_s, before_s = 0.0, time.process_time()
    while not running.done():
        await asyncio.sleep(0)
        now_s = time.process_time()
        longest_s, before_s = max(longest_s, now_s - before_s), now_s
    assert await running == []
    assert longest_s < 1.0, f"the loop stood still while the process worked for {longest_s:.2f} s"


async def test_conditions_in_a_long_row_are_not_nested(front: Front, session: Session) -> None:
    many = " OR ".join(f"id = '{at}'" for at in range(600))
    assert await ask(front, session, f"SELECT id FROM tasks WHERE {BOUND} AND ({many})") == []
