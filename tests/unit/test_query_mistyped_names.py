"""A mistyped name is an unknown column, not a missing bound: 1054 goes before 1104."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from tests.sql_service import answer, service_over
from tests.task_stores import open_machine
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.tasks.machine import TaskMachine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    opened = open_machine(tmp_path / "state")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("sql", "code", "message"),
    [
        (
            "SELECT * FROM tasks WHERE namspace = 'JFK' AND deliver_at > NOW()",
            1054,
            "Unknown column 'namspace' in 'where clause'",
        ),
        (
            "SELECT * FROM tasks WHERE `namspace` = 'JFK' AND deliver_at > NOW()",
            1054,
            "Unknown column 'namspace' in 'where clause'",
        ),
        (
            "SELECT * FROM tasks WHERE namespace = JFK AND deliver_at > NOW()",
            1054,
            "Unknown column 'JFK' in 'where clause'",
        ),
        (
            "SELECT * FROM tasks t WHERE tasks.namespace = 'JFK' AND deliver_at > NOW()",
            1054,
            "Unknown column 'tasks.namespace' in 'where clause'",
        ),
        (
            "SELECT 1 FROM tasks t JOIN task_events e ON e.task = t.id WHERE t.namespace = 'a'",
            1054,
            "Unknown column 'e.task' in 'on clause'",
        ),
        ("SELECT 1 FROM tasks JOIN task_event", 1146, "Table 'z4.task_event' doesn't exist"),
        ("SELECT COUNT(*) FROM tasks GROUP BY stat", 1054, "Unknown column 'stat' in 'group statement'"),
    ],
)
async def test_what_is_mistyped_is_named(machine: TaskMachine, sql: str, code: int, message: str) -> None:
    service, _ = service_over(machine)
    # Long statements are planned elsewhere.
    for text in (sql, sql.replace("SELECT ", "SELECT '" + "x" * 3000 + "', ") if "*" not in sql else sql):
        with pytest.raises(SqlError) as caught:
            await answer(service, text)
        assert (caught.value.code, caught.value.message) == (code, message)
        query = sqlglot.parse_one(text, read="mysql")
        assert isinstance(query, exp.Expression)
        with pytest.raises(SqlError) as caught:
            await service.explain(query, text, StatementContext(NOW_US), analyze=False)
        assert caught.value.code == code
    service.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM tasks WHERE deliver_at > NOW()",
        "SELECT * FROM tasks t WHERE t.namespace = 'a'",
        # What is not built here is told only of queries that could be run at all.
        "SELECT JSON_EXTRACT(metadata, state) FROM tasks WHERE namespace = 'a'",
    ],
)
async def test_a_query_that_lacks_nothing_but_bounds_is_told_so(machine: TaskMachine, sql: str) -> None:
    service, _ = service_over(machine)
    with pytest.raises(SqlError, match="must bound") as caught:
        await answer(service, sql)
    assert caught.value.code == 1104
    service.close()
