"""The SQL process under way: what ends a query ends it soon, and no statement makes others wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pymysql
import pymysql.cursors
import pytest

from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import Client, NewTask

TASKS = 1_000
WITHIN_S = 0.5
ATTEMPTS = 5
BUSY_S = 2.0
"""What a busy machine may add."""

_BOTH = " AND ".join(f"{one}.namespace = 'many' AND {one}.deliver_at > '2022-01-01'" for one in "ab")
MILLION = f"SELECT a.id, b.id, a.metadata, b.deliver_at FROM tasks a, tasks b WHERE {_BOTH}"

_ONE = "namespace = 'many' AND deliver_at > '2022-01-01'"
SLOW = {
    "planning": f"SELECT COUNT(*) FROM tasks WHERE {_ONE} AND id NOT IN ("
    + ", ".join(f"'{number:026}'" for number in range(24_000))
    + ")",
    "aggregating": MILLION.replace(
        "a.id, b.id, a.metadata, b.deliver_at", "COUNT(DISTINCT CONCAT(a.id, b.id))"
    ),
}
"""Statements that take long before they give a row."""

Connection: TypeAlias = "pymysql.Connection[pymysql.cursors.SSCursor]"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with LocalCluster(tmp_path_factory.mktemp("peer"), free_ports(1)) as cluster:
        cluster.form()
        (peer,) = cluster.peers
        start = datetime(2023, 1, 1, tzinfo=UTC)
        with Client(peer.service_address, timeout_s=60) as client:
            client.create_many(
                NewTask("many", deliver_at=start + timedelta(seconds=number), metadata={"n": str(number)})
                for number in range(TASKS)
            )
        with connected(peer.ports.sql) as connection:
            one(connection, "SET SESSION z4_consistency = 'linearizable'")
            bound = "namespace = 'many' AND deliver_at > '2022-01-01'"
            assert one(connection, f"SELECT COUNT(*) FROM tasks WHERE {bound}") == TASKS
        yield peer.ports.sql


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    connection = pymysql.connect(
        host="127.0.0.1",
        port=port,
        user="root",
        database="z4",
        read_timeout=30,
        cursorclass=pymysql.cursors.SSCursor,
    )
    try:
        yield connection
    finally:
        connection.close()


def one(connection: Connection, sql: str) -> object:
    """The first cell of the answer."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = list(cursor.fetchall())
    return rows[0][0] if rows else None


def still_runs(watcher: Connection, connection_id: object) -> bool:
    sql = (
        f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection_id} AND info IS NOT NULL"
    )
    return bool(one(watcher, sql))


def until_gone(watcher: Connection, connection_id: object) -> float:
    """How long it takes until the query of that connection is over."""
    left_s = time.monotonic()
    while still_runs(watcher, connection_id):
        assert time.monotonic() - left_s < WITHIN_S + BUSY_S
        time.sleep(0.01)
    return time.monotonic() - left_s


def ends_soon(attempt: Callable[[], float]) -> None:
    """The best of a few attempts is within the promise, and every one within what a busy machine may add."""
    took_s = []
    for _ in range(ATTEMPTS):
        took_s.append(attempt())
        assert took_s[-1] < WITHIN_S + BUSY_S
        if took_s[-1] < WITHIN_S:
            return
    raise AssertionError(f"never within {WITHIN_S} s: {took_s}")


@dataclass
class Sent:
    """A statement on its way in a thread; ``code`` of the error that ended it."""

    connection: Connection
    connection_id: object
    ended: threading.Event
    code: int = 0
    ended_s: float = 0.0


@contextmanager
def sent(port: int, sql: str) -> Iterator[Sent]:
    """``sql`` under way: the server has begun with it."""
    with connected(port) as connection, connected(port) as watcher:
        running = Sent(connection, one(connection, "SELECT CONNECTION_ID()"), threading.Event())

        def run() -> None:
            try:
                one(connection, sql)
            except pymysql.err.MySQLError as error:
                running.code = error.args[0]
            except (OSError, AttributeError):
                # The driver trips over a socket that was taken from it.
                running.code = 2013
            running.ended_s = time.monotonic()
            running.ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        while not still_runs(watcher, running.connection_id):
            assert not running.ended.is_set()
            time.sleep(0.002)
        try:
            yield running
        finally:
            thread.join(30)


def rest_of(cursor: pymysql.cursors.SSCursor) -> int:
    """Rows until the end, or until the error that ends them, which is raised."""
    rows = 0
    while cursor.fetchone() is not None:
        rows += 1
    return rows


def test_a_query_killed_amid_a_million_rows_ends_with_an_error_and_its_connection_goes_on(port: int) -> None:
    def attempt() -> float:
        with connected(port) as connection, connected(port) as killer:
            connection_id = one(connection, "SELECT CONNECTION_ID()")
            with connection.cursor() as cursor:
                cursor.execute(MILLION)
                assert cursor.fetchone() is not None
                one(killer, f"KILL QUERY {connection_id}")
                killed_s = time.monotonic()
                with pytest.raises(pymysql.err.OperationalError) as ended:
                    rest_of(cursor)
                took_s = time.monotonic() - killed_s
                assert ended.value.args[0] == 1317
            assert one(connection, "SELECT 1") == 1
        return took_s

    ends_soon(attempt)


@pytest.mark.parametrize("stage", ["planning", "aggregating"])
@pytest.mark.parametrize("kill", ["KILL QUERY", "KILL"])
def test_a_query_killed_before_its_first_row_ends_whatever_it_does(port: int, stage: str, kill: str) -> None:
    def attempt() -> float:
        with sent(port, SLOW[stage]) as running, connected(port) as killer:
            one(killer, f"{kill} {running.connection_id}")
            killed_s = time.monotonic()
            assert running.ended.wait(30)
            took_s = running.ended_s - killed_s
            assert running.code in ((1317,) if kill == "KILL QUERY" else (1317, 1053, 2013, 2006))
            if kill == "KILL QUERY":
                assert one(running.connection, "SELECT 1") == 1
        return took_s

    ends_soon(attempt)


@pytest.mark.parametrize("stage", ["planning", "aggregating"])
def test_a_client_that_leaves_before_its_first_row_ends_its_query(port: int, stage: str) -> None:
    with connected(port) as watcher:

        def attempt() -> float:
            with sent(port, SLOW[stage]) as running:
                running.connection._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
                return until_gone(watcher, running.connection_id)

        ends_soon(attempt)
        assert one(watcher, "SELECT 1") == 1


def test_a_client_that_leaves_amid_a_million_rows_ends_its_query(port: int) -> None:
    with connected(port) as watcher:

        def attempt() -> float:
            with connected(port) as connection:
                connection_id = one(connection, "SELECT CONNECTION_ID()")
                cursor = connection.cursor()
                cursor.execute(MILLION)
                assert cursor.fetchone() is not None
                assert still_runs(watcher, connection_id)
                # The driver has no public way to leave without reading on.
                connection._force_close()  # type: ignore[attr-defined]
                cursor._result.unbuffered_active = False  # type: ignore[attr-defined]
            return until_gone(watcher, connection_id)

        ends_soon(attempt)


def test_queries_of_clients_that_left_take_no_turns(port: int) -> None:
    """More of them than the server runs at once."""
    for _ in range(12):
        with connected(port) as connection:
            cursor = connection.cursor()
            cursor.execute(MILLION)
            assert cursor.fetchone() is not None
            connection._force_close()  # type: ignore[attr-defined]
            cursor._result.unbuffered_active = False  # type: ignore[attr-defined]
    with connected(port) as connection:
        one(connection, "SET max_execution_time = 5000")
        assert one(connection, f"SELECT COUNT(*) FROM tasks WHERE {_ONE}") == TASKS


@pytest.mark.parametrize("stage", ["planning", "aggregating"])
def test_a_query_out_of_time_ends_and_its_connection_goes_on(port: int, stage: str) -> None:
    def attempt() -> float:
        with connected(port) as connection:
            one(connection, "SET max_execution_time = 100")
            started_s = time.monotonic()
            with pytest.raises(pymysql.err.OperationalError) as ended:
                one(connection, SLOW[stage])
            took_s = time.monotonic() - started_s
            assert ended.value.args[0] == 3024
            assert one(connection, "SELECT 1") == 1
        return took_s - 0.1

    ends_soon(attempt)


_IDS = ", ".join(f"'{number:026}'" for number in range(20_000))
HOSTILE = {
    "long list": f"SELECT COUNT(*) FROM tasks WHERE {_ONE} AND id NOT IN ({_IDS})",
    "many columns": "SELECT " + ", ".join(f"{number} + 1" for number in range(4_000)),
    "chain": "SELECT " + " + ".join(["1"] * 1_000),
    "types": "SELECT " + "DATE(" * 60 + "NOW()" + ")" * 60,
    "casts": "SELECT " + "(BINARY " * 60 + "1" + ")" * 60,
    "limits": "SELECT " + "(SELECT 1 LIMIT " * 60 + "1" + ")" * 60,
    "multiplying": "SELECT " + "MAKEDATE(YEAR(" * 30 + "created_at" + "), 3)" * 30 + " FROM namespaces",
    "roots": "SELECT " + "SQRT(" * 60 + "attempts_max" + ")" * 60 + " FROM namespaces",
    "zones": "SELECT " + "CONVERT_TZ(" * 30 + "created_at" + ", 'Europe/Berlin', 'Asia/Tokyo')" * 30
    + " FROM namespaces",
    "too many words": "SELECT 1 IN (" + ", ".join(["1"] * 200_000) + ")",
}  # fmt: skip


@pytest.mark.parametrize("sql", HOSTILE.values(), ids=HOSTILE)
def test_no_statement_keeps_other_connections_waiting(port: int, sql: str) -> None:
    with connected(port) as connection, connected(port) as other:
        one(connection, "SET max_execution_time = 3000")
        ended, codes = threading.Event(), list[int]()

        def send() -> None:
            try:
                one(connection, sql)
            except pymysql.err.MySQLError as error:
                codes.append(error.args[0])
            finally:
                ended.set()

        sender = threading.Thread(target=send)
        sender.start()
        waited_s = []
        while not ended.is_set():
            started_s = time.monotonic()
            assert one(other, "SELECT 1") == 1
            waited_s.append(time.monotonic() - started_s)
            time.sleep(0.005)
        sender.join()
        assert max(waited_s, default=0) < WITHIN_S + BUSY_S
        assert sorted(waited_s)[len(waited_s) // 2 :][:1] < [WITHIN_S], "half of the time the server is free"
        assert set(codes) <= {1104, 1117, 1436, 3024, 3170}
        assert one(connection, "SELECT 1") == 1
