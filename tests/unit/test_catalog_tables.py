"""The catalog: which tables exist, and what system tables tell of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.catalog.rows import arrow_type, static_rows
from z4sql.sql.catalog.server_view import Process
from z4sql.sql.types import Collation, TableDefinition

CATALOG = Z4Catalog()
SYSTEM = [table for database in CATALOG.databases() if database != "z4" for table in CATALOG.tables(database)]


class View:
    user = "o'neil"

    def processes(self) -> Sequence[Process]:
        return [Process(3, "root", "h:1", "z4", "Query", 2, "executing", "SELECT 1")]

    def variables(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        return [("scope", "session" if of_session else "global")]

    def status(self, *, of_session: bool) -> Sequence[tuple[str, str]]:
        return [("Uptime", "1")]

    def user_variables(self) -> Sequence[tuple[str, str | None]]:
        return [("a", None)]


def rows(database: str, name: str) -> list[dict[str, object]]:
    table = CATALOG.table(database, name)
    assert table is not None
    found: list[dict[str, object]] = static_rows(table, View()).to_pylist()
    return found


@pytest.mark.parametrize("table", SYSTEM, ids=lambda table: f"{table.database}.{table.name}")
def test_rows_have_the_defined_columns_and_types(table: TableDefinition) -> None:
    found = static_rows(table, View())
    assert found.column_names == [column.name for column in table.columns]
    assert [field.type for field in found.schema] == [arrow_type(column.type) for column in table.columns]
    required = [column.name for column in table.columns if not column.nullable]
    assert [name for name in required if found.column(name).null_count] == []


@pytest.mark.parametrize("name", ["tasks", "task_events", "namespaces", "members"])
def test_rows_of_z4_come_from_elsewhere(name: str) -> None:
    table = CATALOG.table("z4", name)
    assert table is not None
    with pytest.raises(KeyError):
        static_rows(table, View())


def test_names_compare_without_case_and_have_aliases() -> None:
    tasks = CATALOG.table("Z4", "Task")
    assert tasks is not None and tasks.name == "tasks" and tasks.bounded
    queue = tasks.column("QUEUE")
    assert queue is not None and queue.name == "namespace" and queue.type.collation is Collation.BIN_0900
    assert CATALOG.table("INFORMATION_SCHEMA", "tables") is not None
    assert CATALOG.table("z4", "nothing") is None
    assert CATALOG.tables("nowhere") == []


def test_databases() -> None:
    assert CATALOG.databases() == ["information_schema", "mysql", "performance_schema", "sys", "z4"]


def test_every_table_and_column_is_listed() -> None:
    listed = {(row["TABLE_SCHEMA"], row["TABLE_NAME"]) for row in rows("information_schema", "tables")}
    assert {("z4", "tasks"), ("mysql", "user"), ("information_schema", "TABLES")} <= listed
    assert len(listed) == len(SYSTEM) + len(CATALOG.tables("z4"))
    columns = rows("information_schema", "columns")
    assert len(columns) == sum(
        len(table.columns) for name in CATALOG.databases() for table in CATALOG.tables(name)
    )
    deliver_at = next(row for row in columns if row["COLUMN_NAME"] == "deliver_at")
    assert deliver_at["DATA_TYPE"] == "timestamp"
    assert deliver_at["COLUMN_TYPE"] == "timestamp(6)"
    assert deliver_at["DATETIME_PRECISION"] == 6
    assert deliver_at["IS_NULLABLE"] == "NO"
    assert deliver_at["ORDINAL_POSITION"] == 3
    attempts = next(row for row in columns if row["COLUMN_NAME"] == "attempts")
    assert (attempts["DATA_TYPE"], attempts["COLUMN_TYPE"]) == ("int", "int unsigned")


def test_keys_are_told_alike_everywhere() -> None:
    statistics = [
        (row["INDEX_NAME"], row["COLUMN_NAME"])
        for row in rows("information_schema", "statistics")
        if row["TABLE_NAME"] == "tasks"
    ]
    assert statistics == [
        ("PRIMARY", "namespace"),
        ("PRIMARY", "id"),
        ("deliver", "namespace"),
        ("deliver", "deliver_at"),
    ]
    columns = rows("information_schema", "columns")
    told = [(row["TABLE_NAME"], row["COLUMN_NAME"]) for row in columns if row["COLUMN_KEY"] == "PRI"]
    used = [(row["TABLE_NAME"], row["COLUMN_NAME"]) for row in rows("information_schema", "key_column_usage")]
    assert sorted(told) == sorted(used)
    constraints = [
        (row["TABLE_NAME"], row["CONSTRAINT_NAME"]) for row in rows("information_schema", "table_constraints")
    ]
    assert sorted(constraints) == sorted({(table, "PRIMARY") for table, _ in used})


def test_keywords_are_those_of_mysql() -> None:
    words = {row["WORD"]: row["RESERVED"] for row in rows("information_schema", "keywords")}
    assert [words[word] for word in ("SELECT", "INT4", "VARCHARACTER", "IO_AFTER_GTIDS")] == [1] * 4
    assert [words[word] for word in ("ACCOUNT", "MASTER_HOST", "YEAR", "XID")] == [0] * 4
    assert "COUNT" not in words, "a function's name is no keyword"


def test_lengths_of_columns_are_told_as_mysql_does() -> None:
    """Length in characters and bytes, digits, scale, digits of a fraction; as MySQL 9.7 tells them."""
    told = {
        (row["TABLE_NAME"], row["COLUMN_NAME"]): (
            *(row["CHARACTER_MAXIMUM_LENGTH"], row["CHARACTER_OCTET_LENGTH"]),
            *(row["NUMERIC_PRECISION"], row["NUMERIC_SCALE"], row["DATETIME_PRECISION"]),
        )
        for row in rows("information_schema", "columns")
    }
    assert told["tasks", "namespace"] == (255, 1020, None, None, None)
    assert told["tasks", "last_error"] == (65_535, 65_535, None, None, None)
    assert told["tasks", "payload"] == (4_294_967_295, 4_294_967_295, None, None, None)
    assert told["tasks", "metadata"] == (None, None, None, None, None)
    assert told["tasks", "attempts"] == (None, None, 10, 0, None)
    assert told["tasks", "lateness_ms"] == (None, None, 19, 0, None)
    assert told["tasks", "lease_token"] == (None, None, 20, 0, None)
    assert told["namespaces", "backoff_multiplier"] == (None, None, 22, None, None)
    assert told["tasks", "deliver_at"] == (None, None, None, None, 6)
    assert told["TABLES", "TABLE_NAME"] == (64, 192, None, None, None)
    assert told["TABLES", "TABLE_TYPE"] == (11, 33, None, None, None)


def test_the_server_shows_in_its_tables() -> None:
    assert rows("information_schema", "processlist")[0]["INFO"] == "SELECT 1"
    assert rows("sys", "processlist")[0]["conn_id"] == 3
    assert rows("performance_schema", "session_variables") == [
        {"VARIABLE_NAME": "scope", "VARIABLE_VALUE": "session"}
    ]
    assert rows("performance_schema", "global_variables")[0]["VARIABLE_VALUE"] == "global"
    assert rows("information_schema", "user_privileges")[0]["GRANTEE"] == "'o''neil'@'%'"
