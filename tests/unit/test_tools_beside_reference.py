"""What tools send, answered here and by a MariaDB or MySQL server: the same columns, the same number of rows.

Differences between MariaDB and MySQL 8 are listed; here it is MySQL's manual that counts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest

from tests.reference_server import ReferenceServer, server_program
from tests.tool_answers import TOOLS, Statement, drained, filled_machine, front_over, statements
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
OURS = re.compile(r"(?i)\bfrom\s+(`?z4`?\.)?`?(tasks|namespaces)\b")


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
            definition = str(shown[1][0][1]).replace("utf8mb4_0900_ai_ci", "utf8mb4_general_ci")
            definition = definition.replace("utf8mb4_0900_bin", "utf8mb4_bin")
            self.run(definition.replace("CREATE TABLE ", "CREATE TABLE z4.", 1))
        for table, query in FILLED.items():
            found = await drained(await front.execute(session, query))
            assert found is not None and found[1]
            places = ", ".join(["%s"] * len(found[0]))
            with self._server.connect() as connection, connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO z4.{table} VALUES ({places})", found[1])  # noqa: S608

    def answer(self, statement: Statement) -> tuple[list[str], int] | None:
        """The columns and the number of rows; None where it has none, or does not know the statement."""
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("USE z4")
            for sql in statement.before:
                with suppress(pymysql.err.MySQLError):
                    cursor.execute(sql)
            try:
                cursor.execute(statement.sql)
            except pymysql.err.MySQLError:
                return None
            if cursor.description is None:
                return None
            return [column[0] for column in cursor.description], len(cursor.fetchall())


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


def difference(statement: Statement, theirs: tuple[list[str], int]) -> str | None:
    names, count = theirs
    if statement.columns is None:
        return f"{statement.outcome} instead of {names}"
    own = [name.lower() for name in statement.columns if name.lower() not in MYSQL_ONLY]
    expected = [name.lower() for name in names if name.lower() not in MARIADB_ONLY | MYSQL_ONLY]
    own = [name for name in own if name not in MARIADB_ONLY]
    if own != expected:
        return f"{set(own) - set(expected)} instead of {set(expected) - set(own)}, or another order"
    shown = statement.count if statement.rows is None else len(statement.rows)
    if OURS.search(statement.sql) and shown != count:
        return f"{shown} rows instead of {count}"
    return None


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_see_the_columns_and_rows_that_the_server_shows(reference: Reference, tool: str) -> None:
    wrong, compared = [], 0
    for one in statements(tool):
        if one.outcome == 1104 or one.outcome == 1290 or ANSWERED_ELSEWHERE.match(one.sql):
            continue
        theirs = reference.answer(one)
        if theirs is None:
            continue
        compared += 1
        told = difference(one, theirs)
        if told is not None:
            wrong.append(f"{one.sql}: {told}")
    assert wrong == []
    assert compared
