"""The front end behind the wire server: a real driver sees what was answered, with the right types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from tests.front_driver import NOW_US, RecordingRunner
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.front.front import Front
from z4sql.sql.wire.auth import NoAccounts
from z4sql.sql.wire.connections import ConnectionRegistry
from z4sql.sql.wire.server import WireServer


async def served(use: Callable[[int], Any]) -> Any:
    """What ``use`` of the port gives, called in a thread while the server runs."""
    connections = ConnectionRegistry()
    front = Front(RecordingRunner(), Z4Catalog(), connections, lambda: NOW_US)
    server = WireServer(front, NoAccounts(), connections=connections)
    port = await server.start("127.0.0.1", 0)
    try:
        return await asyncio.wait_for(asyncio.to_thread(use, port), 20)
    finally:
        await server.stop(1)


def connect(port: int) -> pymysql.Connection[Any]:
    return pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4")


def every_answer(*statements: str) -> Callable[[int], list[tuple[tuple[Any, ...], ...]]]:
    def use(port: int) -> list[tuple[tuple[Any, ...], ...]]:
        found = []
        with connect(port) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                found.append(tuple(cursor.fetchall()))
        return found

    return use


async def test_a_driver_reads_probes_and_listings() -> None:
    probes, limit, tables, status, described, processes, query = await served(
        every_answer(
            "SELECT DATABASE(), @@autocommit, @@version, NULL, 1.5, -1, @@secure_file_priv",
            "SELECT @@sql_select_limit",
            "SHOW FULL TABLES",
            "SHOW TABLE STATUS LIKE 'tasks'",
            "DESCRIBE tasks",
            "SHOW FULL PROCESSLIST",
            "SELECT id FROM tasks",
        )
    )
    # This driver turns autocommit off when it connects.
    assert probes == (("z4", 0, "8.0.36-z4", None, Decimal("1.5"), -1, None),)
    assert limit == ((2**64 - 1,),)
    assert [name for name, _ in tables] == [
        "consumers",
        "leases",
        "members",
        "metrics",
        "namespaces",
        "task_events",
        "tasks",
    ]
    assert status[0][11] == datetime(2025, 1, 1)
    assert len(described) == 18
    assert processes[0][1] == "root" and processes[0][7] == "SHOW FULL PROCESSLIST"
    assert query == ((1,),)


async def test_a_driver_sees_codes_and_can_go_on() -> None:
    def use(port: int) -> list[int]:
        codes = []
        with connect(port) as connection, connection.cursor() as cursor:
            for statement in (
                "DELETE FROM tasks",
                "SELEC 1",
                "SHOW TABLES FROM x",
                "SET version = 1",
                "KILL 999",
            ):
                with pytest.raises(pymysql.err.MySQLError) as caught:
                    cursor.execute(statement)
                codes.append(caught.value.args[0])
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == ((1,),)
        return codes

    assert await served(use) == [1290, 1064, 1049, 1238, 1094]


async def test_a_driver_prepares_by_name() -> None:
    def use(port: int) -> list[object]:
        found: list[object] = []
        with connect(port) as connection, connection.cursor() as cursor:
            for statement in (
                "PREPARE ask FROM 'SELECT ?, 1'",
                "SET @value = 'it''s'",
                "EXECUTE ask USING @value",
                "EXECUTE ask",
                "DEALLOCATE PREPARE ask",
                "EXECUTE ask USING @value",
            ):
                try:
                    cursor.execute(statement)
                    found.append(cursor.fetchall())
                except pymysql.err.MySQLError as error:
                    found.append(error.args[0])
        return found

    assert await served(use) == [[], [], (("it's", 1),), 1210, [], 1243]


async def test_an_unknown_database_at_login_is_refused() -> None:
    def use(port: int) -> int:
        with pytest.raises(pymysql.err.OperationalError) as caught:
            pymysql.connect(host="127.0.0.1", port=port, user="root", database="nowhere")
        return int(caught.value.args[0])

    assert await served(use) == 1049


async def test_who_ends_their_own_statement_or_connection_gets_one_error() -> None:
    def use(port: int) -> list[tuple[int, object]]:
        found: list[tuple[int, object]] = []
        for what in ("QUERY", "CONNECTION"):
            one = connect(port)
            with pytest.raises(pymysql.MySQLError) as ended:
                one.query(f"KILL {what} CONNECTION_ID()")
            try:
                found.append((ended.value.args[0], one.query("SELECT NULL")))
                one.close()
            except pymysql.OperationalError as error:
                found.append((ended.value.args[0], error.args[0]))
        return found

    assert await served(use) == [(1317, 1), (1317, 2013)]


async def test_kill_ends_another_connection() -> None:
    def use(port: int) -> bool:
        with connect(port) as one, connect(port) as other:
            other.kill(one.thread_id())
            with pytest.raises(pymysql.err.OperationalError):
                one.query("SELECT 1")
            return other.query("SELECT 1") == 1

    assert await served(use)
