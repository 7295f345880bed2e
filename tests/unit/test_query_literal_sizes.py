"""Sizes and precisions that MySQL takes as constants only: anything else is an error of SQL."""

from __future__ import annotations

import pytest

from tests.sql_service import answer
from z4sql.sql.errors import SqlError
from z4sql.sql.query import QueryService


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("NOW(7)", 1426),
        ("NOW(999999999999999999)", 1426),
        ("NOW(name)", 1064),
        ("NOW('3')", 1064),
        ("NOW(-1)", 1064),
        ("CURTIME(7)", 1426),
        ("UTC_TIMESTAMP(name)", 1064),
        ("CURRENT_TIMESTAMP(name)", 1064),
        ("CAST(name AS CHAR(name))", 1064),
        ("CAST(name AS CHAR('3'))", 1064),
        ("CAST(name AS CHAR(99999999999999999999))", 1439),
        ("CAST(1 AS DECIMAL(name))", 1064),
        ("CAST(1 AS DECIMAL(66))", 1426),
        ("CAST(1 AS DECIMAL(2, 3))", 1427),
        ("CAST('2022-04-16' AS DATETIME(7))", 1426),
        ("CAST('12:00' AS TIME(9))", 1426),
    ],
)
async def test_a_size_that_is_none_is_refused(service: QueryService, expression: str, code: int) -> None:
    with pytest.raises(SqlError) as refused:
        await answer(service, f"SELECT {expression} FROM namespaces")
    assert refused.value.code == code


async def test_the_clock_shows_the_digits_asked_for(service: QueryService) -> None:
    sql = "SELECT LENGTH(NOW(3)), LENGTH(CURTIME(2)), LENGTH(CURTIME()), LENGTH(CAST(NOW(6) AS DATETIME(1)))"
    assert await answer(service, sql) == [(23, 11, 8, 21)]
