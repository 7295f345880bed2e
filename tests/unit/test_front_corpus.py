"""What clients and tools send of their own accord, answered over a store with the real engine behind.

`tests/corpus_statements` has a file for each tool; `tests.tool_answers` tells what is in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.tool_answers import (
    TOOLS,
    Statement,
    answered,
    drained,
    filled_machine,
    front_over,
    session_for,
    statements,
)
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.result import Ok, Prepared
from z4sql.tasks.machine import TaskMachine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskMachine]:
    with filled_machine(tmp_path_factory.mktemp("corpus")) as opened:
        yield opened


@pytest.fixture
async def front(machine: TaskMachine) -> AsyncIterator[Front]:
    async with front_over(machine) as opened:
        yield opened


async def difference(front: Front, statement: Statement) -> str | None:
    """What came instead of the expected answer."""
    told = await answered(front, statement)
    if told.rows is not None and statement.count is not None:
        told.count, told.rows = len(told.rows), None
    return None if told == statement else f"{told.written()} instead of {statement.written()}"


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
        assert given is not None and prepared.columns == given[0], one.sql


async def test_a_refused_statement_leaves_the_session_usable(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for tool in TOOLS:
        for one in statements(tool):
            if isinstance(one.outcome, int):
                with pytest.raises(SqlError):
                    await drained(await front.execute(session, one.sql))
    found = await drained(await front.execute(session, "SELECT COUNT(*) FROM namespaces"))
    assert found is not None and found[1] == [[2]]


async def test_columns_of_information_schema_are_shown_in_upper_case(front: Front) -> None:
    session = front.open_session(1, "root", "localhost", "z4", {})
    for sql, names in (
        ("SELECT table_name, t.Table_Type FROM information_schema.tables t", ["TABLE_NAME", "TABLE_TYPE"]),
        ("SELECT table_name AS table_name FROM information_schema.tables", ["table_name"]),
        ("(SELECT * FROM (SELECT table_name FROM information_schema.tables) t)", ["TABLE_NAME"]),
        ("SELECT engine, Support FROM information_schema.engines", ["engine", "Support"]),
        ("SELECT collation_name FROM information_schema.collations", ["collation_name"]),
        ("SELECT ID, Namespace FROM tasks WHERE namespace = 'a' AND deliver_at > NOW()", ["ID", "Namespace"]),
    ):
        found = await drained(await front.execute(session, sql))
        assert found is not None
        assert [column.name for column in found[0]] == names


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
