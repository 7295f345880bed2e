"""EXPLAIN says in words what is read: from when to when, or which ids."""

from __future__ import annotations

import pytest

from tests.planner_tables import NOW_US, planned
from z4sql.sql.context import StatementContext
from z4sql.sql.planner.explanation import explained


@pytest.mark.parametrize(
    ("where", "scanned"),
    [
        (
            "deliver_at >= '2022-04-16' AND deliver_at < '2022-04-17'",
            "deliver_at in [2022-04-16 00:00:00.000000, 2022-04-17 00:00:00.000000)",
        ),
        ("deliver_at < '2022-04-17'", "deliver_at < 2022-04-17 00:00:00.000000"),
        ("deliver_at > '2022-04-16'", "deliver_at >= 2022-04-16 00:00:00.000001"),
        ("id = 'x'", "id in ['x'] looked up one by one"),
        (
            "id IN ('y', 'x') AND deliver_at < '2022-04-17'",
            "id in ['x', 'y'] looked up one by one, deliver_at < 2022-04-17 00:00:00.000000",
        ),
        ("UNIX_TIMESTAMP(deliver_at) < 1000000000000", "any deliver_at"),
    ],
)
def test_bounds_are_told_as_they_are(where: str, scanned: str) -> None:
    sql = f"SELECT * FROM tasks WHERE namespace = 'a' AND {where}"
    made, _ = planned(sql)
    steps = explained(made, StatementContext(NOW_US))
    assert [step for step in steps if step[0] == "scan tasks"] == [
        ("scan tasks", f"namespace = 'a', {scanned}")
    ]
