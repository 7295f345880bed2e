"""Windows by name: spelled out where they are used. MySQL manual: Named Windows."""

from __future__ import annotations

import pytest

from tests.sql_service import answer
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
