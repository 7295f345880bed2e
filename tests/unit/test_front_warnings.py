"""Warnings as a driver sees them: counted behind the rows, listed by SHOW WARNINGS, then gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from tests.front_driver import NOW_US
from tests.sql_service import service_over
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.front.front import Front
from z4sql.sql.wire.auth import NoAccounts
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.server import WireServer
from z4sql.tasks.machine import TaskMachine

Cursor = pymysql.cursors.Cursor


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[int]:
    """The port of a server without tasks."""
    machine = TaskMachine(directory)
    machine.open()
    service, _ = service_over(machine)
    connections = ConnectionRegistry()
    server = WireServer(
        Front(service, Z4Catalog(), connections, lambda: NOW_US), NoAccounts(), connections=connections
    )
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.stop(1)
        service.close()
        machine.close()


Seen = Callable[[Callable[[Cursor], Any]], Awaitable[Any]]


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    """What a use of a cursor gives, in a thread while the server runs."""

    async def in_thread(use: Callable[[Cursor], Any]) -> Any:
        def connected(port: int) -> Any:
            with (
                pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4") as connection,
                connection.cursor() as cursor,
            ):
                return use(cursor)

        async with served(tmp_path) as port:
            return await asyncio.wait_for(asyncio.to_thread(connected, port), 20)

    return in_thread


def asked(cursor: Cursor, sql: str) -> tuple[int, list[tuple[Any, ...]]]:
    """Warnings that were counted behind the rows, and what SHOW WARNINGS lists."""
    cursor.execute(sql)
    cursor.fetchall()
    counted = cursor.warning_count
    cursor.execute("SHOW WARNINGS")
    return counted, list(cursor.fetchall())


@pytest.mark.parametrize(
    ("sql", "warnings"),
    [
        ("SELECT 1", []),
        ("SELECT 1 + '1'", []),
        ("SELECT 1 + 'x'", [(1292, "Truncated incorrect DOUBLE value: 'x'")]),
        ("SELECT 1 / 0, 5 % 0", [(1365, "Division by 0"), (1365, "Division by 0")]),
        ("DO 1 / 0", [(1365, "Division by 0")]),
        (
            "SELECT GROUP_CONCAT(w) FROM (SELECT REPEAT('a', 1000) AS w UNION SELECT REPEAT('b', 1000)) AS d",
            [(1260, "Row 2 was cut by GROUP_CONCAT()")],
        ),
        (
            "SELECT SQL_CALC_FOUND_ROWS 1 || 0",
            [
                (
                    1287,
                    "SQL_CALC_FOUND_ROWS is deprecated and will be removed in a future release."
                    " Consider using two separate queries instead.",
                ),
                (
                    1287,
                    "'|| as a synonym for OR' is deprecated and will be removed in a future release."
                    " Please use OR instead",
                ),
            ],
        ),
        (
            "SELECT CONVERT('utf8' USING utf8mb4), CONVERT('a' USING utf8) AS _utf8, 'CHARSET utf8' AS b",
            [
                (
                    3719,
                    "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for"
                    " UTF8MB4 in a future release. Please consider using UTF8MB4 in order to be unambiguous.",
                )
            ],
        ),
        (
            "SELECT _utf8'a', CAST('b' AS CHAR CHARACTER SET utf8mb3)",
            [
                (
                    3719,
                    "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for"
                    " UTF8MB4 in a future release. Please consider using UTF8MB4 in order to be unambiguous.",
                ),
                (
                    1287,
                    "'utf8mb3' is deprecated and will be removed in a future release."
                    " Please use utf8mb4 instead",
                ),
            ],
        ),
        (
            "SET NAMES utf8",
            [
                (
                    3719,
                    "'utf8' is currently an alias for the character set UTF8MB3, but will be an alias for"
                    " UTF8MB4 in a future release. Please consider using UTF8MB4 in order to be unambiguous.",
                )
            ],
        ),
        ("SET NAMES utf8mb4", []),
    ],
)
async def test_warnings_are_counted_and_listed(seen: Seen, sql: str, warnings: list[tuple[int, str]]) -> None:
    counted, listed = await seen(lambda cursor: asked(cursor, sql))
    assert counted == len(warnings)
    assert sorted(listed) == sorted(("Warning", code, message) for code, message in warnings)


async def test_the_next_statement_starts_without_warnings(seen: Seen) -> None:
    def use(cursor: Cursor) -> list[Any]:
        found: list[Any] = [asked(cursor, "SELECT 1 / 0")[0]]
        for sql in ("SHOW COUNT(*) WARNINGS", "SELECT @@warning_count, @@error_count"):
            cursor.execute(sql)
            found.append(cursor.fetchall()[0])
        found.append(asked(cursor, "SELECT 2"))
        return found

    assert await seen(use) == [1, (1,), (1, 0), (0, [])]


async def test_max_error_count_bounds_what_is_listed_but_not_what_is_counted(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        cursor.execute("SET max_error_count = 2")
        rows = " UNION ALL ".join(["SELECT '1x' AS w"] * 5)
        return asked(cursor, f"SELECT w + 1 FROM ({rows}) AS d")

    counted, listed = await seen(use)
    assert counted == 5
    assert listed == [("Warning", 1292, "Truncated incorrect DOUBLE value: '1x'")] * 2


async def test_group_concat_max_len_of_the_session_is_what_cuts(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        query = "SELECT GROUP_CONCAT(w) FROM (SELECT 'abc' AS w UNION ALL SELECT 'déf') AS d"
        found = []
        for most in (1024, 6, 5):
            cursor.execute(f"SET group_concat_max_len = {most}")
            cursor.execute(query)
            found.append((cursor.fetchall()[0][0], cursor.warning_count))
        return found

    assert await seen(use) == [("abc,déf", 0), ("abc,d", 1), ("abc,d", 1)]


async def test_division_by_zero_is_silent_when_the_mode_says_so(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        cursor.execute("SET sql_mode = ''")
        return asked(cursor, "SELECT 1 / 0")

    assert await seen(use) == (0, [])


@pytest.mark.parametrize("sql", ["SELECT 1e308 * 10", "SELECT POW(10, 400)", "SELECT -EXP(1000)"])
async def test_a_double_out_of_range_is_an_error(seen: Seen, sql: str) -> None:
    def use(cursor: Cursor) -> int:
        with pytest.raises(pymysql.err.MySQLError) as caught:
            cursor.execute(sql)
        return int(caught.value.args[0])

    assert await seen(use) == 1690


async def test_a_text_with_too_large_a_number_counts_as_the_largest(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        cursor.execute("SELECT '1e999' + 0, '-1e999x' + 0")
        return cursor.fetchall()

    assert await seen(use) == ((1.7976931348623157e308, -1.7976931348623157e308),)


async def test_an_error_behind_warnings_is_listed_after_them(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute("SELECT EXP(1000)")
        cursor.execute("SHOW WARNINGS")
        listed = cursor.fetchall()
        cursor.execute("SHOW ERRORS")
        return listed, cursor.fetchall()

    listed, errors = await seen(use)
    assert listed == errors == (("Error", 1690, "DOUBLE value is out of range in 'exp(1000)'"),)


async def test_explain_notes_the_statement_as_it_was_understood(seen: Seen) -> None:
    def use(cursor: Cursor) -> Any:
        bound = "namespace = 'a' AND deliver_at > '2022-04-16'"
        found = asked(cursor, f"EXPLAIN select id from tasks /* here */ where {bound}")
        cursor.execute("EXPLAIN FORMAT=TREE SELECT 1")
        return *found, cursor.warning_count

    counted, ((level, code, message),), of_tree = await seen(use)
    assert (counted, level, code, of_tree) == (1, "Note", 1003, 0)
    assert message == (
        "/* select#1 */ SELECT `id` FROM `tasks` WHERE `namespace` = 'a' AND `deliver_at` > '2022-04-16'"
    )
