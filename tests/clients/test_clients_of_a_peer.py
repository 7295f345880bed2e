"""Stock MySQL clients against a real peer: browse, query, prepared statements, refusals."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import mysql.connector
import pymysql
import pytest

from z4sql.cli.local_cluster import LocalCluster, free_ports
from z4sql.client import Client, NewTask

ANSWERED = (
    "SELECT * FROM tasks WHERE namespace = 'welcome_emails'"
    " AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17'"
    " AND JSON_EXTRACT(metadata, '$.user_id') = 'newuser@example.com'"
)
REFUSED = {
    "deliver_at": "SELECT * FROM tasks WHERE namespace = 'welcome_emails'",
    "namespace": "SELECT * FROM tasks WHERE deliver_at BETWEEN '2022-04-16' AND '2022-04-17'",
}
PREPARED = (
    "SELECT id, metadata->>'$.user_id' FROM tasks WHERE namespace = %s AND deliver_at >= %s ORDER BY id"
)
USERS = ["newuser@example.com", 'it\'s \\ "quoted"', "zoë ☃"]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with LocalCluster(tmp_path_factory.mktemp("peer"), free_ports(1)) as cluster:
        cluster.form()
        with Client(cluster.peers[0].service_address) as client:
            client.create_many(
                NewTask(
                    "welcome_emails",
                    deliver_at=datetime(2022, 4, 16, 12, minute, tzinfo=UTC),
                    metadata={"user_id": user},
                    payload=b"\x00\xff",
                )
                for minute, user in enumerate(USERS)
            )
        with connect(cluster.peers[0].ports.sql) as connection, connection.cursor() as cursor:
            # Further statements need not wait: the copy has what was acknowledged above.
            cursor.execute("SET SESSION z4_consistency = 'linearizable'")
            cursor.execute(ANSWERED)
        yield cluster.peers[0].ports.sql


def connect(port: int) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(host="127.0.0.1", port=port, user="root", database="z4")


def test_pymysql_browses_and_queries(port: int) -> None:
    with connect(port) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        assert ("z4",) in cursor.fetchall()
        cursor.execute("SHOW TABLES")
        assert {name for (name,) in cursor.fetchall()} >= {"tasks", "task_events", "namespaces", "members"}
        cursor.execute("DESCRIBE tasks")
        described = cursor.fetchall()
        assert [row[0] for row in described][:5] == ["namespace", "id", "deliver_at", "metadata", "payload"]
        cursor.execute(ANSWERED)
        (row,) = cursor.fetchall()
        assert row[0] == "welcome_emails" and row[2] == datetime(2022, 4, 16, 12, 0)
        assert row[3] == '{"user_id": "newuser@example.com"}' and row[4] == b"\x00\xff"
        cursor.execute(PREPARED, ("welcome_emails", datetime(2022, 4, 16)))
        assert [user for _, user in cursor.fetchall()] == USERS
        cursor.execute("SELECT name FROM namespaces")
        assert cursor.fetchall() == (("welcome_emails",),)


@pytest.mark.parametrize("missing", REFUSED)
def test_an_unbounded_query_is_refused_with_the_missing_column_and_a_corrected_query(
    port: int, missing: str
) -> None:
    with connect(port) as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError) as refused:
            cursor.execute(REFUSED[missing])
        code, message = refused.value.args
        assert code == 1104 and missing in message
        corrected = message.partition("Corrected: ")[2]
        cursor.execute(corrected)
        cursor.execute(ANSWERED)
        assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO tasks VALUES (1)",
        "UPDATE tasks SET state = 'done'",
        "DELETE FROM tasks WHERE namespace = 'welcome_emails'",
        "DROP TABLE tasks",
        "/*!50000 DELETE FROM tasks */",
    ],
)
def test_writes_are_refused(port: int, write: str) -> None:
    with connect(port) as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError) as refused:
            cursor.execute(write)
        assert refused.value.args[0] == 1290


@pytest.mark.parametrize("prepared", [False, True])
def test_mysql_connector_queries_by_text_and_by_prepared_statement(port: int, prepared: bool) -> None:
    connection = mysql.connector.connect(
        host="127.0.0.1", port=port, user="root", database="z4", use_pure=True, ssl_disabled=True
    )
    try:
        cursor = connection.cursor(prepared=prepared)
        for since in (datetime(2022, 4, 16), datetime(2022, 4, 17)):
            cursor.execute(PREPARED, ("welcome_emails", since))
            users = [user for _, user in cursor.fetchall()]
            assert users == (USERS if since.day == 16 else [])
        cursor.execute(
            "SELECT * FROM tasks WHERE namespace = %s AND deliver_at > '2022-01-01'", ("welcome_emails",)
        )
        assert len(cursor.fetchall()) == 3
        cursor.execute(
            "SELECT * FROM tasks WHERE namespace = %s AND deliver_at > '2022-01-01'", ("x' OR '1'='1",)
        )
        assert cursor.fetchall() == []
    finally:
        connection.close()


@pytest.mark.client
@pytest.mark.skipif(shutil.which("mariadb") is None, reason="the mariadb command line is not installed")
def test_the_mariadb_command_line_browses_and_queries(port: int) -> None:
    def run(*statements: str) -> str:
        arguments = ["mariadb", "-h", "127.0.0.1", "-P", str(port), "-u", "root", "z4", "--batch"]
        for statement in statements:
            arguments += ["-e", statement]
        done = subprocess.run(arguments, capture_output=True, encoding="utf-8", errors="replace", timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "z4" in run("SHOW DATABASES") and "tasks" in run("SHOW TABLES")
    assert run("DESCRIBE tasks").splitlines()[1].split("\t")[0] == "namespace"
    assert "CREATE TABLE `tasks`" in run("SHOW CREATE TABLE tasks")
    assert run(ANSWERED).count("welcome_emails") == 1
    assert "deliver_at in [2022-04-16" in run("EXPLAIN ANALYZE " + ANSWERED)
