"""SQL over what lives beside the tasks: their events, counts of namespaces, and what the peer tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from tests.sql_service import answer, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError, Unbounded
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask

DUE_US = 1_700_000_000_000_000
BOUNDS = "namespace = 'a' AND deliver_at >= '2020-01-01'"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    opened = open_machine(tmp_path / "state")
    add_tasks(opened, [NewTask("a", {"n": str(n)}, b"", DUE_US + n) for n in range(3)])
    add_tasks(opened, [NewTask("b", {}, b"", DUE_US)])
    yield opened
    opened.close()


async def test_every_task_has_at_least_the_event_of_its_creation(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    rows = await answer(service, f"SELECT task_id, kind, attempt FROM task_events WHERE {BOUNDS} ORDER BY 1")
    ids = await answer(service, f"SELECT id FROM tasks WHERE {BOUNDS} ORDER BY 1")
    assert [(task_id, kind) for task_id, kind, _ in rows] == [(task_id, "created") for (task_id,) in ids]
    assert await answer(service, f"SELECT COUNT(*) FROM task_events WHERE {BOUNDS} AND kind = 'leased'") == [
        (0,)
    ]
    joined = (
        "SELECT COUNT(*) FROM tasks t JOIN task_events e ON e.namespace = t.namespace "
        "AND e.deliver_at = t.deliver_at AND e.task_id = t.id "
        "WHERE t.namespace = 'a' AND t.deliver_at >= '2020-01-01'"
    )
    assert await answer(service, joined) == [(3,)]
    service.close()


async def test_events_are_refused_without_bounds_as_tasks_are(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    with pytest.raises(Unbounded):
        await answer(service, "SELECT * FROM task_events WHERE task_id = 'x'")
    with pytest.raises(Unbounded, match="must bound deliver_at"):
        await answer(service, "SELECT * FROM task_events WHERE namespace = 'a' AND task_id > 'x'")
    service.close()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT task_id FROM task_events WHERE namespace = 'a' AND task_id = '{0}'", [0]),
        ("SELECT id FROM task_events WHERE queue = 'a' AND id IN ('{0}', '{2}', 'none') ORDER BY 1", [0, 2]),
        ("SELECT task_id FROM task_events WHERE namespace = 'b' AND task_id = '{0}'", []),
        (
            "SELECT e.task_id FROM tasks t JOIN task_events e "
            "ON e.namespace = t.namespace AND e.task_id = t.id WHERE t.namespace = 'a' AND t.id = '{1}'",
            [1],
        ),
        (
            "SELECT t.id FROM task_events e JOIN tasks t ON e.namespace = t.namespace AND e.task_id = t.id "
            "WHERE e.namespace = 'a' AND e.task_id IN ('{1}', '{2}') ORDER BY 1",
            [1, 2],
        ),
        (
            "SELECT t.id FROM tasks t LEFT JOIN task_events e "
            "ON e.namespace = t.namespace AND e.task_id = t.id WHERE t.namespace = 'a' AND t.id = '{1}'",
            [1],
        ),
        (
            "SELECT t.id FROM tasks t WHERE t.namespace = 'a' AND t.id = '{2}' AND EXISTS (SELECT 1 FROM "
            "task_events e WHERE e.namespace = t.namespace AND e.task_id = t.id)",
            [2],
        ),
        (
            "SELECT e.id FROM (SELECT namespace, task_id AS id FROM task_events) e "
            "WHERE e.namespace = 'a' AND e.id = '{0}'",
            [0],
        ),
    ],
)
async def test_a_task_id_bounds_events_as_an_id_bounds_tasks(
    machine: TaskMachine, sql: str, found: list[int]
) -> None:
    service, _ = service_over(machine)
    rows = await answer(service, f"SELECT id FROM tasks WHERE {BOUNDS} ORDER BY 1")
    ids = [str(task_id) for (task_id,) in rows]
    assert await answer(service, sql.format(*ids)) == [(ids[one],) for one in found]
    service.close()


async def test_events_of_an_id_are_read_where_the_task_lies_and_nowhere_else(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    ((task_id,),) = await answer(service, f"SELECT MIN(id) FROM tasks WHERE {BOUNDS}")
    sql = f"SELECT kind FROM task_events WHERE namespace = 'a' AND task_id = '{task_id}'"
    query = sqlglot.parse_one(sql, read="mysql")
    assert isinstance(query, exp.Expression)
    steps = await service.explain(query, sql, StatementContext(NOW_US), analyze=True)
    assert ("scanned", "1 rows") in steps
    service.close()


async def test_namespaces_tell_how_many_tasks_they_have(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    found = await answer(
        service, "SELECT name, tasks_scheduled, tasks_dead, paused_until FROM namespaces ORDER BY 1"
    )
    assert found == [("a", 3, 0, None), ("b", 1, 0, None)]
    service.close()


async def test_what_the_peer_tells_is_asked_for_when_a_query_names_it(machine: TaskMachine) -> None:
    service, copy = service_over(machine)
    copy.told["consumers"] = [{"name": "w1", "namespace": "a", "credit": 5, "leases": 2, "draining": False}]
    assert await answer(service, "SELECT name, leases, draining FROM consumers WHERE leases > 1") == [
        ("w1", 2, 0)
    ]
    assert await answer(service, "SELECT COUNT(*) FROM members") == [(0,)]
    copy.told["members"] = [{"id": "peer1", "role": "leader", "term": 7}]
    assert await answer(service, "SELECT id, term, match_index FROM members") == [("peer1", 7, None)]
    service.close()


async def test_position_functions_tell_where_the_copy_stands(machine: TaskMachine) -> None:
    service, _ = service_over(machine)
    context = StatementContext(NOW_US, position=lambda: (41, 250))
    assert await answer(service, "SELECT z4_applied_index(), z4_lag_ms()", context) == [(41, 250)]
    with pytest.raises(SqlError):
        await answer(service, "SELECT z4_applied_index(1)", context)
    service.close()
