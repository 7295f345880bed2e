"""What the planner folds is what the engine computes: else a range would miss rows that the engine wants."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from tests.sql_service import answer
from z4sql.sql.context import StatementContext
from z4sql.sql.planner.constants import Moment, Null, Number, Text
from z4sql.sql.planner.fold import Folder
from z4sql.sql.query import QueryService
from z4sql.sql.temporal import EPOCH

EXPRESSIONS = [
    "NOW()",
    "NOW(3)",
    "CURRENT_TIMESTAMP(6)",
    "UTC_TIMESTAMP()",
    "SYSDATE()",
    "LOCALTIME()",
    "CURDATE()",
    "CURRENT_DATE",
    "UTC_DATE()",
    "NOW() - INTERVAL 1 DAY",
    "NOW(6) + INTERVAL 90 MINUTE",
    "NOW() - INTERVAL 3 MONTH",
    "DATE_SUB(NOW(), INTERVAL 1 WEEK)",
    "DATE_ADD('2024-01-31', INTERVAL 1 MONTH)",
    "DATE_ADD('2024-02-29', INTERVAL -1 YEAR)",
    "DATE_ADD('2024-01-31 10:00:00', INTERVAL 1 QUARTER)",
    "DATE_ADD('2024-01-31', INTERVAL 36 HOUR)",
    "DATE_ADD('2024-01-31 10:00:00', INTERVAL '1:30' HOUR_MINUTE)",
    "DATE_ADD('2024-01-31 10:00:00', INTERVAL '1 2:3:4' DAY_SECOND)",
    "DATE_SUB('2024-01-31 10:00:00', INTERVAL '1-2' YEAR_MONTH)",
    "DATE_ADD('2024-01-31 10:00:00', INTERVAL 1.5 SECOND)",
    "DATE_ADD('2024-01-31 10:00:00', INTERVAL 10 MICROSECOND)",
    "CURDATE() + INTERVAL 1 DAY",
    "CURDATE() - INTERVAL 1 SECOND",
    "ADDDATE('2024-01-31', 5)",
    "SUBDATE('2024-01-31 01:02:03', INTERVAL 5 DAY)",
    "TIMESTAMPADD(HOUR, 5, '2024-01-31 01:02:03')",
    "DATE('2024-01-31 01:02:03')",
    "DATE(NOW())",
    "TIMESTAMP('2024-01-31')",
    "TIMESTAMP'2024-01-31 01:02:03.5'",
    "DATE'2024-01-31'",
    "CAST('2024-01-31 01:02:03' AS DATETIME)",
    "CAST('2024-01-31 01:02:03.123' AS DATETIME(3))",
    "CAST('2024-01-31 01:02:03' AS DATE)",
    "CONVERT('2024-01-31', DATETIME(6))",
    "FROM_UNIXTIME(1650067200)",
    "FROM_UNIXTIME(1650067200.25)",
    "STR_TO_DATE('31.01.2024', '%d.%m.%Y')",
    "STR_TO_DATE('2024-01-31 13:14:15', '%Y-%m-%d %H:%i:%s')",
    "LAST_DAY('2024-02-03 10:00:00')",
    "DATE_FORMAT(NOW(), '%Y-%m-01')",
    "DATE_FORMAT('2024-01-31 01:02:03', '%Y-01-01 %H:%i:%s')",
    "UNIX_TIMESTAMP()",
    "UNIX_TIMESTAMP() - 3600",
    "UNIX_TIMESTAMP('2024-01-31 01:02:03')",
    "20240131",
    "3 * 24 * 60",
]


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York")], ids=["utc", "new york"])
async def test_folded_constants_equal_the_engines(service: QueryService, zone: tzinfo) -> None:
    wrong = []
    context = StatementContext(NOW_US, zone)
    for expression in EXPRESSIONS:
        select = sqlglot.parse_one(f"SELECT {expression}", read="mysql")
        assert isinstance(select, exp.Select)
        folder = Folder(context)
        folded = folder.fold(select.expressions[0])
        assert folded is not None and not isinstance(folded, Null), expression
        moment = isinstance(folded, (Moment, Text))
        shown = f"CAST({expression} AS DATETIME(6))" if moment else expression
        ((computed,),) = await answer(service, f"SELECT {shown}", context)
        if moment:
            assert isinstance(computed, datetime), expression
            value = folder.naive(folded)
            assert value is not None
            same = (computed - EPOCH).total_seconds() * 1_000_000 == value.naive_us
        else:
            assert isinstance(folded, Number)
            same = computed == folded.value
        if not same:
            wrong.append((expression, folded, computed))
    assert wrong == []
