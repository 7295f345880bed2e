"""Variables that a select list sets: ``@name := expression``, and running numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.front_driver import FixedConnections, FrontDriver, rows_of
from tests.planner_tables import NOW_US, us
from tests.sql_service import service_over
from tests.task_stores import add_tasks, open_machine
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.front.user_variables import BYTES_MAX
from z4sql.sql.result import ResultSet
from z4sql.tasks.model import NewTask

DAY = us("2022-04-16")
HOUR = 3_600_000_000
BOUND = "namespace = 'mails' AND deliver_at >= '2022-04-16' AND deliver_at < '2022-04-18'"


class Client:
    """One session of a front end over six tasks, an hour apart, of which the last weighs nothing."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._session = front.open_session(1, "root", "localhost", "z4", {})

    async def result(self, sql: str) -> tuple[list[str], list[tuple[object, ...]]]:
        result = await self._front.execute(self._session, sql)
        if not isinstance(result, ResultSet):
            return [], []
        return [column.name for column in result.columns], await rows_of(result)

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return (await self.result(sql))[1]

    async def prepared(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        statement = await self._front.prepare(self._session, sql)
        result = await self._front.execute_prepared(self._session, statement, values)  # type: ignore[arg-type]
        assert isinstance(result, ResultSet)
        return await rows_of(result)

    async def error(self, sql: str) -> SqlError:
        with pytest.raises(SqlError) as caught:
            await self.result(sql)
        return caught.value


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    machine = open_machine(tmp_path / "state")
    weights = ("3", "1", "4", "1", "5", None)
    add_tasks(
        machine,
        [
            NewTask("mails", {} if weight is None else {"weight": weight}, b"p", DAY + at * HOUR)
            for at, weight in enumerate(weights)
        ],
    )
    service, _ = service_over(machine)
    yield Client(Front(service, Z4Catalog(), FixedConnections(), lambda: NOW_US))
    service.close()
    machine.close()


async def test_an_assignment_is_shown_as_typed_and_can_be_read_afterwards(client: Client) -> None:
    names, rows = await client.result(f"SELECT @n := COUNT(*) FROM tasks WHERE {BOUND}")
    assert (names, rows) == (["@n := COUNT(*)"], [(6,)])
    assert await client.rows("SELECT @n, @n + 1") == [(6, 7)]


async def test_the_last_row_of_the_result_decides(client: Client) -> None:
    sql = f"SELECT HOUR(deliver_at) h, @a:=HOUR(deliver_at)*2, @t := deliver_at AS t FROM tasks WHERE {BOUND}"
    names, rows = await client.result(f"{sql} ORDER BY deliver_at LIMIT 3")
    assert names == ["h", "@a:=HOUR(deliver_at)*2", "t"]
    assert [row[:2] for row in rows] == [(0, 0), (1, 2), (2, 4)]
    assert await client.rows("SELECT @a, @t, @A IS NULL") == [(4, "2022-04-16 02:00:00.000000", 0)]
    await client.rows(f"{sql} AND id = 'none'")
    assert await client.rows("SELECT @a") == [(4,)], "a result without rows sets nothing"


async def test_later_columns_see_what_earlier_ones_set(client: Client) -> None:
    assert await client.rows("SELECT @a := 2, @b := @a * 3, @a + @b") == [(2, 6, 8)]
    assert await client.rows("SELECT @c := @d := 7") == [(7,)]
    assert await client.rows("SELECT @a, @b, @c, @d") == [(2, 6, 7, 7)]
    assert await client.rows("SELECT @a, @a := 5, @a") == [(2, 5, 5)]


async def test_values_keep_their_types(client: Client) -> None:
    await client.rows(
        "SELECT @i := 5, @d := 1.50, @f := 2e0, @s := 'Aä', @z := NULL, @x := CAST('[1]' AS JSON)"
    )
    (row,) = await client.rows("SELECT @i / 2, @d, @f, @s, @z, @x")
    assert [str(cell) for cell in row] == ["2.5000", "1.50", "2.0", "Aä", "None", "[1]"]


async def test_set_takes_what_a_query_tells(client: Client) -> None:
    await client.rows(
        f"SET @n = (SELECT COUNT(*) FROM tasks WHERE {BOUND}), @m := 2 + (SELECT 3), @`o p` = 'x'"
    )
    assert await client.rows("SELECT @n, @m, @`o p`") == [(6, 5, "x")]
    await client.rows(f"SET @n = (SELECT id FROM tasks WHERE {BOUND} AND id = 'none')")
    assert await client.rows("SELECT @n") == [(None,)]
    assert (await client.error("SET @n = (SELECT 1, 2)")).code == 1241
    assert (await client.error("SET @n = (SELECT id FROM tasks)")).code == 1104
    assert (await client.error(f"SET @n = 1, @m = (SELECT id FROM tasks WHERE {BOUND})")).code == 1242
    assert await client.rows("SELECT @n, @m") == [(None, 5)], "all or nothing"


async def test_rows_are_numbered_in_the_order_of_the_result(client: Client) -> None:
    await client.rows("SET @n := 10")
    sql = f"SELECT @n := @n + 1 AS number, HOUR(deliver_at) FROM tasks WHERE {BOUND}"
    rows = await client.rows(f"{sql} ORDER BY deliver_at DESC LIMIT 3")
    assert rows == [(11, 5), (12, 4), (13, 3)]
    assert await client.rows("SELECT @n") == [(13,)]


async def test_a_derived_table_may_set_where_the_numbers_begin(client: Client) -> None:
    sql = (
        "SELECT (@row := @row + 1) AS number, t.deliver_at, id FROM tasks t, (SELECT @row := 0, @q := 'x') v"
        f" WHERE {BOUND} ORDER BY t.metadata->>'$.weight', t.deliver_at"
    )
    for _ in range(2):
        rows = await client.rows(sql)
        assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6]
        assert rows[0][1] != rows[1][1]
    assert await client.rows("SELECT @row, @q") == [(6, "x")]


async def test_running_totals_become_null_with_the_first_null(client: Client) -> None:
    await client.rows("SET @total = 0")
    sql = f"SELECT @total := @total + CAST(metadata->>'$.weight' AS SIGNED) FROM tasks WHERE {BOUND}"
    rows = await client.rows(f"{sql} ORDER BY deliver_at")
    assert [row[0] for row in rows] == [3, 4, 8, 9, 14, None]
    assert await client.rows("SELECT @total IS NULL") == [(1,)]
    await client.rows("SET @left = 100.5")
    rows = await client.rows(f"SELECT @left := @left - 0.25 FROM tasks WHERE {BOUND} LIMIT 2")
    assert [str(row[0]) for row in rows] == ["100.25", "100.00"]


async def test_a_variable_that_was_never_set_stays_null(client: Client) -> None:
    assert await client.rows(f"SELECT @never := @never + 1 FROM tasks WHERE {BOUND} LIMIT 2") == [(None,)] * 2


async def test_prepared_statements_set_variables_when_they_run(client: Client) -> None:
    sql = f"SELECT @p := COUNT(*) + ?, ? FROM tasks WHERE {BOUND}"
    assert await client.prepared(sql, 1, 2) == [(7, 2)]
    assert await client.rows("SELECT @p") == [(7,)]


async def test_do_sets_a_variable(client: Client) -> None:
    await client.result("DO @done := 40 + 2")
    assert await client.rows("SELECT @done") == [(42,)]


async def test_a_star_before_the_assignment_does_not_shift_it(client: Client) -> None:
    await client.rows(f"SELECT t.*, @h := HOUR(deliver_at), 1 FROM tasks t WHERE {BOUND} ORDER BY deliver_at")
    assert await client.rows("SELECT @h") == [(5,)]


async def test_setting_variables_in_expressions_is_deprecated(client: Client) -> None:
    await client.rows("SELECT @n := 1")
    ((level, code, message),) = await client.rows("SHOW WARNINGS")
    assert (level, code) == ("Warning", 1287)
    assert str(message).startswith("Setting user variables within expressions is deprecated")


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        (f"SELECT IF(@p = state, @r := @r + 1, @r := 1) FROM tasks WHERE {BOUND}", "ROW_NUMBER()"),
        (f"SELECT * FROM (SELECT @r := @r + 1 AS r FROM tasks WHERE {BOUND}) x", "ROW_NUMBER()"),
        (f"SELECT @p, @p := id FROM tasks WHERE {BOUND}", "LAG()"),
        (f"SELECT @r := @r * 2 FROM tasks WHERE {BOUND}", "ROW_NUMBER()"),
        (f"SELECT @r := @r + 1, @r FROM tasks WHERE {BOUND}", "ROW_NUMBER()"),
        (f"SELECT DISTINCT @r := @r + 1 FROM tasks WHERE {BOUND}", "ROW_NUMBER()"),
        (f"SELECT @r := @r + 1 AS r FROM tasks WHERE {BOUND} ORDER BY r", "ROW_NUMBER()"),
        (f"SELECT id FROM tasks WHERE {BOUND} AND (@r := 1)", "ROW_NUMBER()"),
        ("SELECT @a := 1 UNION SELECT 2", "ROW_NUMBER()"),
    ],
)
async def test_what_depends_on_the_order_of_evaluation_is_refused_with_a_remedy(
    client: Client, sql: str, remedy: str
) -> None:
    error = await client.error(sql)
    assert error.code == 1235
    assert remedy in error.message


async def test_variables_of_a_session_have_so_many_bytes_and_no_more() -> None:
    driver = FrontDriver()
    text = "x" * 500_000
    for at in range(BYTES_MAX // 500_000):
        await driver.run(f"SET @v{at} = '{text}'")
    for sql in (f"SET @w = '{text}'", f"SET @v1 = '{chr(233) * 500_000}'"):
        error = await driver.error(sql)
        assert (error.code, error.message[:34]) == (3170, "Variables of a session may have 16")
    assert "w" not in driver.session.user_variables and driver.session.user_variables["v1"] == text
    await driver.run("SET @v0 = NULL")
    await driver.run(f"SET @w = '{text}'")
    driver.front.reset_session(driver.session)
    await driver.run(f"SET @again = '{text}'")
