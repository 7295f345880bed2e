"""One reference to `tasks` beside other tables, or inside: such queries are more than a scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sql_service import answer, service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.errors import SqlError
from z4sql.sql.query import QueryService
from z4sql.tasks.model import NewTask

FIRST_US = 1_690_000_000_000_000
BOUND = "namespace = 'mail' AND deliver_at BETWEEN '2023-01-01' AND '2024-01-01'"
ONE_EACH = [("mail",)] * 3


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[QueryService]:
    machine = open_machine(tmp_path / "state")
    add_tasks(machine, [NewTask("mail", deliver_at_us=FIRST_US + second * 1_000_000) for second in range(3)])
    add_tasks(machine, [NewTask("sms", deliver_at_us=FIRST_US)])
    service, _ = service_over(machine)
    yield service
    service.close()
    machine.close()


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (
            "SELECT t.namespace, (SELECT n.attempts_max FROM namespaces n WHERE n.name = t.namespace)"
            f" FROM tasks t WHERE {BOUND}",
            [("mail", 20)] * 3,
        ),
        (f"SELECT count(*) FROM tasks WHERE {BOUND} AND namespace IN (SELECT name FROM namespaces)", [(3,)]),
        (f"SELECT namespace FROM tasks WHERE {BOUND} AND 'me' NOT IN (SELECT name FROM consumers)", ONE_EACH),
        (
            f"SELECT n.name FROM namespaces n WHERE EXISTS (SELECT 1 FROM tasks WHERE {BOUND})",
            [("mail",), ("sms",)],
        ),
        (
            f"SELECT count(*) FROM (namespaces n) WHERE EXISTS (SELECT 1 FROM task_events WHERE {BOUND})",
            [(2,)],
        ),
        (f"SELECT t.namespace FROM (tasks t, (namespaces n)) WHERE {BOUND} LIMIT 1", [("mail",)]),
        (f"SELECT id FROM (SELECT namespace AS id, id AS other FROM tasks WHERE {BOUND}) d", ONE_EACH),
        (f"SELECT namespace FROM (SELECT namespace FROM tasks WHERE {BOUND} LIMIT 1) d", [("mail",)]),
        (f"SELECT namespace FROM (tasks) WHERE {BOUND}", ONE_EACH),
        (
            "SELECT t.namespace FROM ((tasks t)) JOIN ((namespaces n)) ON n.name = t.namespace"
            f" WHERE {BOUND}",
            ONE_EACH,
        ),
        (f"SELECT count(*) FROM (((tasks t) JOIN namespaces n) JOIN (namespaces m)) WHERE {BOUND}", [(12,)]),
        (f"SELECT count(*) FROM ((SELECT 1) x JOIN tasks t) WHERE {BOUND}", [(3,)]),
        (f"SELECT count(*) FROM (((SELECT 1) x JOIN namespaces n) JOIN (tasks t)) WHERE {BOUND}", [(6,)]),
        ("SELECT count(*) FROM ((SELECT 1 AS n)) one JOIN (((SELECT 2 AS m))) two", [(1,)]),
    ],
)
async def test_what_stands_beside_or_around_a_scan_is_answered(
    tasks: QueryService, sql: str, rows: list[tuple[object, ...]]
) -> None:
    assert sorted(await answer(tasks, sql)) == rows


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (
            "SELECT t.namespace, l.c FROM tasks t, LATERAL (SELECT t.attempts + 1 AS c) l"
            f" WHERE {BOUND} LIMIT 1",
            [("mail", 1)],
        ),
        (
            "SELECT t.namespace, l.c FROM tasks t CROSS JOIN LATERAL (SELECT count(*) FROM tasks u"
            f" WHERE u.namespace = t.namespace AND u.deliver_at = t.deliver_at) l(c) WHERE {BOUND}",
            [("mail", 1)] * 3,
        ),
        (
            "SELECT a.name, l.c FROM namespaces a LEFT JOIN LATERAL (SELECT b.name AS c FROM namespaces b"
            " WHERE b.name > a.name ORDER BY 1 LIMIT 1) l ON TRUE",
            [("mail", "sms"), ("sms", None)],
        ),
        (
            "SELECT m.c FROM namespaces a, LATERAL (SELECT a.name) l(c), LATERAL (SELECT l.c AS c) m",
            [("mail",), ("sms",)],
        ),
        (
            "SELECT a.name FROM namespaces a, LATERAL (SELECT 1 UNION ALL SELECT 2) l",
            [("mail",)] * 2 + [("sms",)] * 2,
        ),
    ],
)
async def test_a_lateral_table_sees_what_stands_before_it(
    tasks: QueryService, sql: str, rows: list[tuple[object, ...]]
) -> None:
    assert sorted(await answer(tasks, sql), key=str) == rows


@pytest.mark.parametrize(
    ("from_", "code"),
    [
        ("namespaces a, (SELECT a.name AS c) l", 1054),
        ("LATERAL (SELECT a.name AS c) l, namespaces a", 1054),
        ("namespaces a, LATERAL (SELECT a.name AS c)", 1248),
        ("namespaces a RIGHT JOIN LATERAL (SELECT a.name AS c) l ON TRUE", 1235),
    ],
)
async def test_what_a_derived_table_does_not_see_is_refused(
    tasks: QueryService, from_: str, code: int
) -> None:
    with pytest.raises(SqlError) as raised:
        await answer(tasks, f"SELECT 1 FROM {from_}")
    assert raised.value.code == code


@pytest.mark.parametrize("table", ["tasks", "task_events"])
@pytest.mark.parametrize("length", [255, 256, 70_000])
async def test_a_namespace_longer_than_any_has_no_rows(tasks: QueryService, table: str, length: int) -> None:
    name = "x" * length
    assert (
        await answer(
            tasks, f"SELECT id FROM {table} WHERE namespace = '{name}' AND deliver_at > '2000-01-01'"
        )
        == []
    )
    both = f"SELECT count(*) FROM {table} WHERE namespace IN ('mail', '{name}') AND deliver_at > '2000-01-01'"
    assert await answer(tasks, both) == [(3,)]


@pytest.mark.parametrize(
    "bad", ["0x32303237", "b'1'", "_binary'2027'", "2027", "-1", "UNIX_TIMESTAMP('2023-07-22')"]
)
async def test_a_constant_that_is_no_instant_is_refused_wherever_a_column_meets_it(
    tasks: QueryService, bad: str
) -> None:
    for what in (
        f"count(*) FROM tasks WHERE {BOUND} AND deliver_at > {bad}",
        f"count(*) FROM tasks WHERE {BOUND} AND created_at > {bad}",
        f"sum({bad} <= deliver_at) FROM tasks WHERE {BOUND}",
        f"sum(deliver_at IN ('2027-01-01', {bad})) FROM tasks WHERE {BOUND}",
        f"sum(deliver_at NOT BETWEEN {bad} AND NOW()) FROM tasks WHERE {BOUND}",
    ):
        with pytest.raises(SqlError) as raised:
            await answer(tasks, f"SELECT {what}")
        assert raised.value.code == 1525


@pytest.mark.parametrize(
    "constant",
    [
        *("20230722042641", "TRUE + 20230721", "20230722.0", "20230722042641.5", "x'323032332d30372d3232'"),
        *("IF(1, 20230722042641, 0)", "0", "230722", "COALESCE(NULL, 20230723)"),
    ],
)
async def test_a_bound_and_the_same_condition_as_an_expression_agree(
    tasks: QueryService, constant: str
) -> None:
    for operator in ("=", "<>", "<", "<=", ">", ">="):
        condition = f"deliver_at {operator} {constant}"
        (counted,) = await answer(tasks, f"SELECT count(*) FROM tasks WHERE {BOUND} AND {condition}")
        (summed,) = await answer(tasks, f"SELECT sum({condition}) FROM tasks WHERE {BOUND}")
        assert counted == (int(str(summed[0])),), condition


@pytest.mark.parametrize(
    ("sql", "code", "message"),
    [
        ("SELECT * FROM (SELECT name, name FROM namespaces) x", 1060, "Duplicate column name 'name'"),
        ("SELECT * FROM (SELECT * FROM namespaces a, namespaces b) x", 1060, "Duplicate column name 'name'"),
        ("WITH x AS (SELECT 2 AS n, 1 AS N) SELECT * FROM x", 1060, "Duplicate column name 'N'"),
        ("SELECT * FROM (SELECT 1, 2) x (a, A)", 1060, "Duplicate column name 'A'"),
        ("SELECT * FROM (SELECT 1, 2) x (a)", 1353, "different column counts"),
        ("WITH x (a, b) AS (SELECT 1) SELECT * FROM x", 1353, "different column counts"),
        ("SELECT (SELECT name FROM namespaces)", 1242, "Subquery returns more than 1 row"),
        ("SELECT 1 FROM namespaces WHERE name = (SELECT name FROM namespaces)", 1242, "more than 1 row"),
        ("SELECT RANK() OVER (ORDER BY RAND()) FROM namespaces", 1235, "RAND"),
        ("SELECT 1 FROM namespaces a, namespaces b WHERE name = ''", 1052, "in where clause is ambiguous"),
        ("SELECT 1 FROM namespaces a, namespaces b ORDER BY name", 1052, "in order clause is ambiguous"),
        ("SELECT 1 FROM namespaces a, namespaces b GROUP BY name", 1052, "in group statement is ambiguous"),
        ("SELECT 1 FROM namespaces a JOIN namespaces b ON name = ''", 1052, "in on clause is ambiguous"),
        ("SELECT name FROM namespaces a, namespaces b", 1052, "in field list is ambiguous"),
    ],
)
async def test_errors_are_those_of_mysql(tasks: QueryService, sql: str, code: int, message: str) -> None:
    with pytest.raises(SqlError, match=message) as raised:
        await answer(tasks, sql)
    assert raised.value.code == code


async def test_every_row_has_a_uuid_of_its_own(tasks: QueryService) -> None:
    rows = await answer(tasks, f"SELECT UUID(), LENGTH(UUID()) FROM tasks WHERE {BOUND}")
    assert len({uuid for uuid, _ in rows}) == 3
    assert {length for _, length in rows} == {36}
