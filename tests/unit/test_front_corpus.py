"""What clients and tools send of their own accord, answered over a store with the real engine behind.

`tests/corpus_statements` has a file for each tool. ``outcome``: ``rows``, ``ok`` or an error code;
``columns``: their names, where clients read by name; ``before``: statements of the same session.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.front_driver import NOW_US, FixedConnections
from tests.planner_tables import us
from tests.sql_service import service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.front.session import Session
from z4sql.sql.result import Ok, Prepared, Result
from z4sql.sql.types import ResultColumn
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

FOLDER = Path(__file__).resolve().parents[1] / "corpus_statements"
DAY = us("2022-04-16")
HOUR = 3_600_000_000


@dataclass
class Statement:
    sql: str
    outcome: str | int
    columns: list[str] | None = None
    before: list[str] = field(default_factory=list)


def statements(tool: str) -> list[Statement]:
    lines = (FOLDER / f"{tool}.jsonl").read_text().splitlines()
    return [Statement(**json.loads(line)) for line in lines]


TOOLS = sorted(path.stem for path in FOLDER.glob("*.jsonl"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskMachine]:
    opened = open_machine(tmp_path_factory.mktemp("corpus") / "state")
    for namespace in ("welcome_emails", "other"):
        tasks = [
            NewTask(namespace, {"user_id": f"u{at % 5}@example.com"}, b"p", DAY + at * HOUR)
            for at in range(-24, 48)
        ]
        add_tasks(opened, tasks)
    yield opened
    opened.close()


@pytest.fixture
async def front(machine: TaskMachine) -> AsyncIterator[Front]:
    service, copy = service_over(machine)
    yield Front(service, Z4Catalog(), FixedConnections(), lambda: NOW_US)
    assert copy.readers == 0
    service.close()


async def session_for(front: Front, statement: Statement) -> Session:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for sql in statement.before:
        await front.execute(session, sql)
    return session


async def drained(result: Result) -> tuple[ResultColumn, ...] | None:
    """The columns of a result whose rows were all read; None when it has none."""
    if isinstance(result, Ok):
        return None
    async for batch in result.batches:
        assert batch.num_columns == len(result.columns)
    return result.columns


async def difference(front: Front, statement: Statement) -> str | None:
    """What came instead of the expected answer."""
    session = await session_for(front, statement)
    try:
        columns = await drained(await front.execute(session, statement.sql))
    except SqlError as error:
        return None if error.code == statement.outcome else f"{error.code} {error.message}: {statement.sql}"
    if ("ok" if columns is None else "rows") != statement.outcome:
        return f"no {statement.outcome}: {statement.sql}"
    names = None if columns is None else [column.name for column in columns]
    if statement.columns is not None and names != statement.columns:
        return f"{names}: {statement.sql}"
    return None


@pytest.mark.parametrize("tool", TOOLS)
async def test_every_statement_of_a_tool_gets_its_answer(front: Front, tool: str) -> None:
    wrong = [await difference(front, one) for one in statements(tool)]
    assert [one for one in wrong if one is not None] == []


@pytest.mark.parametrize("tool", TOOLS)
async def test_prepared_statements_announce_the_columns_they_give(front: Front, tool: str) -> None:
    for one in statements(tool):
        if one.outcome != "rows":
            continue
        session = await session_for(front, one)
        prepared: Prepared = await front.prepare(session, one.sql)
        given = await drained(await front.execute_prepared(session, prepared, ()))
        assert prepared.columns == given, one.sql


async def test_a_refused_statement_leaves_the_session_usable(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for tool in TOOLS:
        for one in statements(tool):
            if isinstance(one.outcome, int):
                with pytest.raises(SqlError):
                    await drained(await front.execute(session, one.sql))
    columns = await drained(await front.execute(session, "SELECT COUNT(*) FROM namespaces"))
    assert columns is not None


async def test_columns_of_information_schema_are_shown_in_upper_case(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for sql, names in (
        ("SELECT table_name, t.Table_Type FROM information_schema.tables t", ["TABLE_NAME", "TABLE_TYPE"]),
        ("SELECT table_name AS table_name FROM information_schema.tables", ["table_name"]),
        ("(SELECT * FROM (SELECT table_name FROM information_schema.tables) t)", ["TABLE_NAME"]),
        ("SELECT ID, Namespace FROM tasks WHERE namespace = 'a' AND deliver_at > NOW()", ["ID", "Namespace"]),
    ):
        columns = await drained(await front.execute(session, sql))
        assert columns is not None
        assert [column.name for column in columns] == names


async def test_a_limit_of_no_rows_is_obeyed(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})

    async def count(sql: str) -> int:
        result = await front.execute(session, sql)
        assert not isinstance(result, Ok)
        return sum([batch.num_rows async for batch in result.batches])

    await front.execute(session, "SET sql_select_limit = 0")
    assert await count("SELECT name FROM namespaces") == 0
    assert await count("SELECT name FROM namespaces LIMIT 5") == 2
    await front.execute(session, "SET sql_select_limit = DEFAULT")
    assert await count("SELECT name FROM namespaces") == 2


async def test_values_are_rows(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})
    result = await front.execute(
        session, "VALUES ROW(1, 'a'), ROW(3, 'c'), ROW(2, 'b') ORDER BY 1 DESC LIMIT 2"
    )
    assert not isinstance(result, Ok)
    assert [column.name for column in result.columns] == ["column_0", "column_1"]
    rows = [tuple(row.values()) async for batch in result.batches for row in batch.to_pylist()]
    assert rows == [(3, "c"), (2, "b")]
