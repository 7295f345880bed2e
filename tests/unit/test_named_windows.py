"""Windows by name: spelled out where they are used. MySQL manual: Named Windows."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from tests.planner_tables import NOW_US
from tests.sql_service import answer
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.query import QueryService

FOUR = "FROM (SELECT 1 AS g, 1 AS n UNION ALL SELECT 1, 2 UNION ALL SELECT 2, 3 UNION ALL SELECT 2, 4) t"


@pytest.mark.parametrize(
    ("over", "windows", "sums"),
    [
        ("OVER w", "w AS (PARTITION BY g)", [3, 3, 7, 7]),
        ("OVER (w)", "w AS (PARTITION BY g)", [3, 3, 7, 7]),
        ("OVER (w ORDER BY n)", "w AS (PARTITION BY g)", [1, 3, 3, 7]),
        ("OVER (W ORDER BY n)", "`w` AS (PARTITION BY g)", [1, 3, 3, 7]),
        ("OVER (w ORDER BY n ROWS 1 PRECEDING)", "w AS ()", [1, 3, 5, 7]),
        ("OVER second", "second AS (first ORDER BY n), first AS (PARTITION BY g)", [1, 3, 3, 7]),
        ("OVER w", "w AS (ORDER BY n ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)", [3, 5, 7, 4]),
        ("OVER ()", "w AS (PARTITION BY g)", [10, 10, 10, 10]),
    ],
)
async def test_a_window_has_what_it_inherits(
    service: QueryService, over: str, windows: str, sums: list[int]
) -> None:
    rows = await answer(service, f"SELECT n, SUM(n) {over} {FOUR} WINDOW {windows} ORDER BY n")
    assert [int(str(total)) for _, total in rows] == sums


@pytest.mark.parametrize(
    ("over", "windows", "code"),
    [
        ("OVER nosuch", "w AS (PARTITION BY g)", 3579),
        ("OVER (nosuch ORDER BY n)", "w AS (PARTITION BY g)", 3579),
        ("OVER ()", "w AS (nosuch)", 3579),
        ("OVER a", "a AS (b), b AS (a)", 3580),
        ("OVER (w PARTITION BY n)", "w AS (ORDER BY g)", 3581),
        ("OVER (w ORDER BY n)", "w AS (ROWS UNBOUNDED PRECEDING)", 3582),
        ("OVER (w ORDER BY n)", "w AS (ORDER BY g)", 3583),
        ("OVER w", "w AS (), W AS ()", 3591),
        ("OVER ()", "w AS (PARTITION BY nosuch)", 1054),
    ],
)
async def test_what_a_window_may_not_say_is_refused(
    service: QueryService, over: str, windows: str, code: int
) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, f"SELECT SUM(n) {over} {FOUR} WINDOW {windows}")
    assert refused.value.code == code


async def test_a_window_is_looked_for_in_its_own_select_only(service: QueryService) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, f"SELECT (SELECT SUM(1) OVER w) {FOUR} WINDOW w AS (PARTITION BY g)")
    assert refused.value.code == 3579


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (f"SELECT 1 {FOUR} WHERE ROW_NUMBER() OVER ()", 3593),
        (f"SELECT 1 {FOUR} GROUP BY ROW_NUMBER() OVER ()", 3593),
        (f"SELECT n {FOUR} GROUP BY n HAVING NTILE(3) OVER () > 1", 3593),
        (f"SELECT 1 {FOUR} HAVING SUM(1) OVER () > 1", 3593),
        (f"SELECT 1 {FOUR} JOIN namespaces ON RANK() OVER ()", 3593),
        ("SELECT LAG(NTILE(3) OVER (), 1) OVER ()", 3593),
        ("SELECT SUM(LAST_VALUE(1) OVER ()) OVER ()", 3593),
        (f"SELECT SUM(RANK() OVER ()) {FOUR}", 3593),
        (f"SELECT MIN(1) OVER (ORDER BY SUM(RANK() OVER ())) {FOUR}", 3593),
        ("SELECT MIN(1) OVER (PARTITION BY RANK() OVER ())", 3595),
        (f"SELECT MIN(1) OVER w {FOUR} WINDOW w AS (ORDER BY RANK() OVER ())", 3595),
        ("SELECT SUM(1) OVER (RANGE BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING)", 3587),
        (f"SELECT SUM(1) OVER (ORDER BY n, g RANGE 1 PRECEDING) {FOUR}", 3587),
        ("SELECT SUM(1) OVER (ORDER BY 'a' RANGE 1 PRECEDING)", 3587),
        ("SELECT SUM(1) OVER (ORDER BY NOW() RANGE 1 PRECEDING)", 3588),
        ("SELECT NTILE(0) OVER ()", 1210),
        (f"SELECT NTILE(n) OVER () {FOUR}", 1210),
        ("SELECT NTH_VALUE(1, 0) OVER ()", 1210),
        ("SELECT NTH_VALUE(1, NULL) OVER ()", 1210),
        ("SELECT LAG(1, -1) OVER ()", 1210),
        ("SELECT GROUP_CONCAT(1) OVER ()", 1235),
        (f"SELECT COUNT(DISTINCT n) OVER () {FOUR}", 1235),
        ("SELECT ABS(1) OVER ()", 1235),
    ],
)
async def test_a_window_function_is_refused_where_it_cannot_be_worked_out(
    service: QueryService, sql: str, code: int
) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, sql)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("function", "last"),
    [
        ("JSON_ARRAYAGG(n)", "[1, 2, 3, 4]"),
        ("JSON_OBJECTAGG(n, g)", '{"1": 1, "2": 1, "3": 2, "4": 2}'),
        ("BIT_OR(n)", "7"),
        ("MAX(TIMESTAMP'2022-04-16 00:00:00')", "2022-04-16 00:00:00"),
        ("COUNT(*)", "4"),
        ("AVG(n)", "2.5000"),
        ("MAX(CONCAT('x', n))", "x4"),
        ("STD(n)", "1.118033988749895"),
        ("LAST_VALUE(SUM(n)) ", "4"),
    ],
)
async def test_an_aggregate_runs_over_a_window(service: QueryService, function: str, last: str) -> None:
    group = " GROUP BY n" if "SUM" in function else ""
    rows = await answer(service, f"SELECT n, {function} OVER (ORDER BY n) {FOUR}{group} ORDER BY n")
    assert str(rows[-1][1]) == last


async def test_instants_of_a_window_are_shown_in_the_zone_of_the_session(service: QueryService) -> None:
    bound = "namespace = 'a' AND deliver_at >= '2022-04-16'"
    sql = f"SELECT MIN(deliver_at) OVER () FROM tasks WHERE {bound} LIMIT 1"
    assert await answer(service, sql, StatementContext(NOW_US, ZoneInfo("Europe/Berlin"))) == []


@pytest.mark.parametrize(
    "sql", ["SELECT SUM((SELECT RANK() OVER ())) AS a", "SELECT LAG((SELECT RANK() OVER ())) OVER ()"]
)
async def test_a_subquery_may_have_windows_anywhere(service: QueryService, sql: str) -> None:
    assert len(await answer(service, sql)) == 1
