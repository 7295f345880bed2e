"""Tables, contexts and ranges for the tests of the planner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo

import sqlglot
from sqlglot import exp

from z4sql.sql.context import StatementContext
from z4sql.sql.planner.plan import Plan, TablePlan, plan
from z4sql.sql.types import Collation, ColumnDefinition, Kind, SqlType, TableDefinition

NAME = SqlType(Kind.STRING, 255, collation=Collation.BIN_0900)
INSTANT = SqlType(Kind.TIMESTAMP, scale=6)

TASKS = TableDefinition(
    "z4",
    "tasks",
    (
        ColumnDefinition("namespace", NAME, "varchar(255)", nullable=False),
        ColumnDefinition("id", NAME, "char(26)", nullable=False),
        ColumnDefinition("deliver_at", INSTANT, "timestamp(6)", nullable=False),
        ColumnDefinition("created_at", INSTANT, "timestamp(6)"),
        ColumnDefinition("state", NAME, "varchar(9)"),
        ColumnDefinition("metadata", SqlType(Kind.JSON), "json"),
        ColumnDefinition("payload", SqlType(Kind.BINARY), "longblob"),
    ),
    bounded=True,
    aliases={"queue": "namespace"},
)
NAMESPACES = TableDefinition(
    "z4",
    "namespaces",
    (
        ColumnDefinition("name", NAME, "varchar(255)"),
        ColumnDefinition("paused", SqlType(Kind.BOOL), "tinyint(1)"),
    ),
)


class Tables:
    """A catalog of two tables."""

    def databases(self) -> list[str]:
        return ["z4"]

    def table(self, database: str, name: str) -> TableDefinition | None:
        tables = {"tasks": TASKS, "task": TASKS, "namespaces": NAMESPACES}
        return tables.get(name.lower()) if database.lower() == "z4" else None

    def tables(self, database: str) -> list[TableDefinition]:
        return [TASKS, NAMESPACES]


def us(text: str) -> int:
    """An instant written in UTC."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


NOW_US = us("2022-04-20 12:30:45.678901")


def planned(
    sql: str, *, zone: tzinfo = UTC, variables: Mapping[str, object] | None = None
) -> tuple[Plan, exp.Expression]:
    query = sqlglot.parse_one(sql, read="mysql")
    assert isinstance(query, exp.Expression)
    context = StatementContext(NOW_US, zone, user_variables=variables or {})
    return plan(query, sql, Tables(), context), query


def only(sql: str, **settings: object) -> TablePlan:
    """The plan of a query's one reference to tasks."""
    made, _ = planned(sql, **settings)  # type: ignore[arg-type]  # the settings of `planned`
    (table,) = made.references.values()
    return table


def ranges(sql: str, **settings: object) -> list[tuple[str, int, int]]:
    return [(one.namespace, one.from_us, one.to_us) for one in only(sql, **settings).ranges]


def every_range(sql: str) -> dict[str, list[tuple[str, int, int]]]:
    """Ranges by the alias under which the table is read."""
    made, _ = planned(sql)
    return {
        table.alias: [(one.namespace, one.from_us, one.to_us) for one in table.ranges]
        for table in made.references.values()
    }
