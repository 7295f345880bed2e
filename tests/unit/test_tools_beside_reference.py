"""What tools send, answered here and by a MariaDB or MySQL server: the same columns, the same number of rows.

MySQL is compared with strictly: names in their very letters, errors by their codes, and the rows of what
does not depend on the server. Differences between MariaDB and MySQL 8 are listed; here MySQL counts.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pytest

from tests.reference_server import ReferenceServer, server_program
from tests.tool_answers import TOOLS, Statement, drained, filled_machine, front_over, statements
from z4sql.sql.catalog.system_tables import SYSTEM_TABLES
from z4sql.sql.front.front import Front

PROGRAM = server_program()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no MariaDB or MySQL server is installed")

FILLED = {
    "tasks": "SELECT * FROM tasks WHERE namespace IN ('welcome_emails', 'other')"
    " AND deliver_at > '2000-01-01'",
    "namespaces": "SELECT * FROM namespaces",
}
MARIADB_ONLY = frozenset(
    [
        "max_index_length",
        "temporary",
        "is_generated",
        "ignored",
        "progress",
        "schema_comment",
        "algorithm",
        "time_ms",
        "stage",
        "max_stage",
        "memory_used",
        "max_memory_used",
        "examined_rows",
        "query_id",
        "info_binary",
        "tid",
        "password",
        "is_role",
        "default_role",
        "max_statement_time",
        "delete_history_priv",
    ]
)
MYSQL_ONLY = frozenset(
    [
        "srs_id",
        "visible",
        "is_visible",
        "expression",
        "pad_attribute",
        "partitions",
        "filtered",
        "default_encryption",
        "resource_group",
        "execution_engine",
        "controlled_memory",
        "max_controlled_memory",
        "total_memory",
        "max_total_memory",
        "telemetry_active",
        "cpu_latency",
        "statement_id",
        "cpu_time",
        "create_role_priv",
        "drop_role_priv",
        "password_reuse_history",
        "password_reuse_time",
        "password_require_current",
        "user_attributes",
        "password_last_changed",
        "password_lifetime",
        "account_locked",
    ]
)
"""Columns in lower case: MySQL names those of information_schema in upper case, MariaDB as typed."""
ANSWERED_ELSEWHERE = re.compile(
    # Writes, and what only a server with a binary log or replicas has, are refused here.
    r"(?i)\s*(lock|flush|analyze|optimize|repair|show (slave|master|replica)|help|prepare)\b"
    # MariaDB keeps these in tables that are not filled with the same, or names them otherwise.
    r"|.*\b(mysql\.(user|db|proc|help_topic)|global_status|session_status|_privileges|get_lock|"
    r"check_constraints|explain)\b|.*\{fn ",
    re.DOTALL,
)
NOT_COMPARED_WITH_MYSQL = re.compile(
    # What only a server with a binary log or replicas has, older syntax, and ours.
    r"(?i)\s*(flush|explain|help|prepare|set statement|show (binary|slave|master|replica))\b"
    r"|.*\b(mysql\.proc|show grants|get_lock|explain (extended|partitions)|tx_isolation|tx_read_only|"
    r"max_statement_time|have_partitioning|savepoint|session_track_system_variables|select \$\$)|.*\{fn ",
    re.DOTALL,
)
"""Beside that, MySQL 9.7 has no time zones unless somebody loads them (1298)."""
SINCE_MYSQL_9 = frozenset({"Language", "SECONDARY_LOAD"})
OF_THE_SERVER = re.compile(
    r"(?i).*(@@|version|user|connection_id|row_count|now\(|timestamp|convert_tz|data_length|innodb_|"
    r"\b(processlist|variables|status like|status;?$|engines|plugins|privileges|collations?|charset|"
    r"character[_ ]sets?|keywords|columns$|performance_schema|open tables|time_zone_name|explain|mysql)\b)",
    re.DOTALL,
)
"""Statements whose rows are those of one server; so are the columns below."""
COLUMNS_OF_THE_SERVER = frozenset(
    {
        *("rows", "table_rows", "avg_row_length", "data_length", "index_length", "size", "n", "cardinality"),
        *("create_time", "update_time"),
    }
)
OURS = re.compile(r"(?i)\b(from|table|oj)\s+(`?z4`?\.)?`?(tasks|namespaces)\b")


@dataclass
class Answer:
    """``outcome``: ``rows``, ``ok`` or an error code."""

    outcome: str | int
    names: list[str] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)


class Reference:
    """A server with our tables, the rows of two of them, and a session for each statement."""

    def __init__(self, server: ReferenceServer) -> None:
        self._server = server

    def run(self, sql: str) -> None:
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)

    async def fill(self, front: Front) -> None:
        session = front.open_session(1, "root", "localhost", "z4", {})
        self.run("CREATE DATABASE z4 CHARACTER SET utf8mb4")
        listed = await drained(await front.execute(session, "SHOW TABLES"))
        assert listed is not None
        for (table,) in listed[1]:
            shown = await drained(await front.execute(session, f"SHOW CREATE TABLE z4.{table}"))
            assert shown is not None
            definition = str(shown[1][0][1])
            if self._server.is_mariadb:
                definition = definition.replace("utf8mb4_0900_ai_ci", "utf8mb4_general_ci")
                definition = definition.replace("utf8mb4_0900_bin", "utf8mb4_bin")
            self.run(definition.replace("CREATE TABLE ", "CREATE TABLE z4.", 1))
        for table, query in FILLED.items():
            found = await drained(await front.execute(session, query))
            assert found is not None and found[1]
            places = ", ".join(["%s"] * len(found[0]))
            with self._server.connect() as connection, connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO z4.{table} VALUES ({places})", found[1])  # noqa: S608

    @property
    def is_mysql(self) -> bool:
        return not self._server.is_mariadb

    def answer(self, statement: Statement) -> Answer:
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("USE z4")
            for sql in statement.before:
                with suppress(pymysql.err.MySQLError):
                    cursor.execute(sql)
            try:
                cursor.execute(statement.sql)
            except pymysql.err.MySQLError as error:
                return Answer(int(error.args[0]))
            if cursor.description is None:
                return Answer("ok")
            names = [column[0] for column in cursor.description]
            return Answer("rows", names, [[_text(cell) for cell in row] for row in cursor.fetchall()])


def _text(cell: object) -> str | None:
    """As both sides are compared."""
    if cell is None:
        return None
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    assert PROGRAM is not None
    server = ReferenceServer(PROGRAM)
    filled = Reference(server)

    async def fill(directory: Path) -> None:
        with filled_machine(directory) as machine:
            async with front_over(machine) as front:
                await filled.fill(front)

    try:
        asyncio.run(fill(tmp_path_factory.mktemp("tools")))
        yield filled
    finally:
        server.close()


def difference_to_mariadb(statement: Statement, theirs: Answer) -> str | None:
    if statement.columns is None:
        return f"{statement.outcome} instead of {theirs.names}"
    own = [name.lower() for name in statement.columns if name.lower() not in MYSQL_ONLY]
    expected = [name.lower() for name in theirs.names if name.lower() not in MARIADB_ONLY | MYSQL_ONLY]
    own = [name for name in own if name not in MARIADB_ONLY]
    if own != expected:
        return f"{set(own) - set(expected)} instead of {set(expected) - set(own)}, or another order"
    shown = statement.count if statement.rows is None else len(statement.rows)
    if OURS.search(statement.sql) and shown != len(theirs.rows):
        return f"{shown} rows instead of {len(theirs.rows)}"
    return None


def difference_to_mysql(statement: Statement, theirs: Answer) -> str | None:
    if statement.outcome != theirs.outcome:
        return f"{statement.outcome} instead of {theirs.outcome}"
    if statement.columns is None:
        return None
    expected = [name for name in theirs.names if name not in SINCE_MYSQL_9]
    if statement.columns != expected:
        return f"{statement.columns} instead of {expected}"
    if OF_THE_SERVER.match(statement.sql):
        return None
    shown = statement.count if statement.rows is None else len(statement.rows)
    if shown != len(theirs.rows):
        return f"{shown} rows instead of {len(theirs.rows)}"
    if statement.rows is None or len(expected) != len(theirs.names) or OURS.search(statement.sql):
        return None  # rows of our tables: tests/property/test_sql_differential.py
    compared = [at for at, name in enumerate(expected) if name.lower() not in COLUMNS_OF_THE_SERVER]
    own, others = (
        sorted(([_text(row[at]) for at in compared] for row in rows), key=str)
        for rows in (statement.rows, theirs.rows)
    )
    return None if own == others else f"{own} instead of {others}"


def comparable(reference: Reference, statement: Statement, theirs: Answer) -> bool:
    if statement.outcome in (1104, 1290):
        return False
    if reference.is_mysql:
        return not NOT_COMPARED_WITH_MYSQL.match(statement.sql) and theirs.outcome != 1298
    return theirs.outcome == "rows" and not ANSWERED_ELSEWHERE.match(statement.sql)


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_see_the_columns_and_rows_that_the_server_shows(reference: Reference, tool: str) -> None:
    difference = difference_to_mysql if reference.is_mysql else difference_to_mariadb
    wrong, compared = [], 0
    for one in statements(tool):
        if one.outcome in (1104, 1290):
            continue
        theirs = reference.answer(one)
        if not comparable(reference, one, theirs):
            continue
        compared += 1
        told = difference(one, theirs)
        if told is not None:
            wrong.append(f"{one.sql}: {told}")
    assert wrong == []
    assert compared


_NOT_IN_MYSQL_8 = re.compile(
    r"JSON_DUALITY_\w+|(ROUTINE_)?LIBRARIES|temporary_account_locks|variables_metadata|"
    r"global_variable_attributes|ndb_binlog_index"
)
_ONLY_BEFORE_MYSQL_8 = {("mysql", "proc")}
_DEFINITIONS = """
SELECT table_schema, table_name, column_name, column_type, is_nullable FROM information_schema.columns
WHERE table_schema IN ('information_schema', 'mysql', 'performance_schema')
ORDER BY table_schema, table_name, ordinal_position
"""


def test_system_tables_are_defined_as_in_mysql(reference: Reference) -> None:
    if not reference.is_mysql:
        pytest.skip("MariaDB defines its system tables otherwise")
    theirs: dict[tuple[str, str], list[tuple[str, str, bool]]] = defaultdict(list)
    for database, table, name, column_type, nullable in reference.answer(
        Statement(_DEFINITIONS, "rows")
    ).rows:
        if not _NOT_IN_MYSQL_8.fullmatch(str(table)) and name not in SINCE_MYSQL_9:
            theirs[str(database), str(table)].append((str(name), str(column_type), nullable == "YES"))
    own = {
        (database, table.name): [
            (column.name, column.column_type, column.nullable) for column in table.columns
        ]
        for database in ("information_schema", "mysql", "performance_schema")
        for table in SYSTEM_TABLES[database]
        if (database, table.name) not in _ONLY_BEFORE_MYSQL_8
    }
    assert own == theirs
