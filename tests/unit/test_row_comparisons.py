"""Rows compare from left to right, NULLs included, and bound a scan: pages of tasks by (deliver_at, id)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.compared_answers import Ours, Theirs, rows_of_corpus
from tests.compared_servers import needs_server
from tests.planner_tables import ranges
from tests.sql_service import answer, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.errors import SqlError, Unbounded
from z4sql.sql.query import QueryService
from z4sql.tasks.model import NewTask

ROWS = rows_of_corpus(50)
CELLS = ("NULL", "1", "2")
FIRST_US = 1_690_000_000_000_000
NAME = "namespace = 'mail'"


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[QueryService]:
    machine = open_machine(tmp_path / "state")
    # Three at each of four instants: a page ends among tasks of one instant.
    add_tasks(machine, [NewTask("mail", deliver_at_us=FIRST_US + at // 3 * 1_000_000) for at in range(12)])
    service, _ = service_over(machine)
    yield service
    service.close()
    machine.close()


@needs_server
@pytest.mark.parametrize("operator", ["=", "<>", "<", "<=", ">", ">=", "<=>"])
def test_rows_compare_as_in_a_server(ours: Ours, theirs: Theirs, operator: str) -> None:
    pairs = [f"({one}, {other})" for one, other in product(CELLS, CELLS)]
    for left in pairs:
        plain = ", ".join(f"{left} {operator} {right}" for right in pairs)
        negated = ", ".join(f"NOT ROW{left} {operator} ROW{right}" for right in pairs)
        queried = ", ".join(f"{left} {operator} (SELECT {right[1:-1]})" for right in pairs)
        for select in (plain, negated, queried):
            assert ours.answer(f"SELECT {select}") == theirs.answer(f"SELECT {select}")


async def test_pages_by_keyset_have_every_task_once(tasks: QueryService) -> None:
    order = "ORDER BY deliver_at, id LIMIT 5"
    whole = await answer(
        tasks, f"SELECT deliver_at, id FROM tasks WHERE {NAME} AND deliver_at > '2000-01-01'"
    )
    page = await answer(
        tasks, f"SELECT deliver_at, id FROM tasks WHERE {NAME} AND deliver_at > '2000-01-01' {order}"
    )
    seen = list(page)
    while page:
        last, id_ = page[-1]
        after = f"(deliver_at, id) > ('{last}', '{id_}')"
        page = await answer(tasks, f"SELECT deliver_at, id FROM tasks WHERE {NAME} AND {after} {order}")
        seen += page
    assert seen == sorted(whole, key=str)
    assert len(seen) == 12


@pytest.mark.parametrize(
    ("rows", "bound"),
    [
        ("(deliver_at, id) > ('2022-01-01', 'x')", "deliver_at >= '2022-01-01'"),
        ("(deliver_at, id) >= ('2022-01-01', 'x')", "deliver_at >= '2022-01-01'"),
        ("ROW(deliver_at, id) < ROW('2022-01-01', 'x')", "deliver_at <= '2022-01-01'"),
        ("('2022-01-01', 'x') > (deliver_at, id)", "deliver_at <= '2022-01-01'"),
        ("NOT (deliver_at, id) > ('2022-01-01', 'x')", "deliver_at <= '2022-01-01'"),
        ("(deliver_at, created_at, id) > ('2022-01-01', '2021-01-01', 'x')", "deliver_at >= '2022-01-01'"),
        ("NOT (deliver_at, id) <> ('2022-01-01', 'x')", "deliver_at = '2022-01-01'"),
    ],
)
def test_a_row_bounds_what_its_first_column_bounds(rows: str, bound: str) -> None:
    query = f"SELECT id FROM tasks WHERE {NAME} AND "
    assert ranges(query + rows) == ranges(query + bound)


@pytest.mark.parametrize(
    "rows", ["(id, deliver_at) > ('x', '2022-01-01')", "(deliver_at, id) <> ('2022-01-01', 'x')"]
)
def test_what_its_first_column_does_not_bound_is_open(rows: str) -> None:
    with pytest.raises(Unbounded):
        ranges(f"SELECT id FROM tasks WHERE {NAME} AND {rows}")


@pytest.mark.parametrize(
    ("compared", "code"),
    [
        ("(1, 2) = (1, 2, 3)", 1241),
        ("(1, 2) = 1", 1241),
        ("(1, 2) = (SELECT 1)", 1241),
        ("(1, 2) = (SELECT n, n FROM (SELECT 1 AS n UNION SELECT 2) two)", 1242),
    ],
)
async def test_rows_that_do_not_fit_are_refused(tasks: QueryService, compared: str, code: int) -> None:
    with pytest.raises(SqlError) as raised:
        await answer(tasks, f"SELECT {compared}")
    assert raised.value.code == code
    assert await answer(tasks, "SELECT (1, 2) = (SELECT 1, 2 FROM (SELECT 1) one WHERE FALSE)") == [(None,)]
