"""What people run beside programs: the command line, mysqldump, SQLAlchemy, pandas."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client_terminal import Terminal
from tests.matrix_peer import EVERY_BYTE, MANY, USERS, MatrixPeer, matrix_peer

pytestmark = pytest.mark.client
PLUGINS = ("caching_sha2_password", "mysql_native_password")
_TIMEOUT_S = 30


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixPeer]:
    with matrix_peer(tmp_path_factory.mktemp("tools")) as served:
        yield served


def _tool(*names: str) -> str:
    """The first of the programs that is installed."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed: run tests/clients/install")


def _address(peer: MatrixPeer, *, tls: bool = True) -> list[str]:
    words = ["--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{peer.sql_port}", f"-u{peer.user}"]
    return [
        *words,
        f"-p{peer.password}",
        *((f"--ssl-ca={peer.ca_file}", "--ssl-verify-server-cert") if tls else ("--skip-ssl",)),
    ]


def _run(program: str, *arguments: str, text: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [program, *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_the_command_line_logs_in_with_either_plugin(peer: MatrixPeer, plugin: str, tls: bool) -> None:
    status = _run(
        _tool("mariadb", "mysql"), *_address(peer, tls=tls), f"--default-auth={plugin}", "z4", text="\\s\n"
    )
    assert ("Cipher in use is" in status) == tls
    assert re.search(r"Current database:\s+z4", status) and re.search(r"Current user:\s+reader@", status)
    assert "Server characterset:\tutf8mb4" in status and "8.0.36-z4" in status


def test_the_command_line_answers_in_each_of_its_formats(peer: MatrixPeer) -> None:
    program, address = _tool("mariadb", "mysql"), _address(peer)
    query = (
        "SELECT namespace, metadata, lease_until FROM tasks WHERE namespace = 'welcome_emails'"
        " AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17' ORDER BY id LIMIT 1"
    )
    batch = _run(program, *address, "--batch", "z4", "-e", query)
    assert batch.splitlines() == [
        "namespace\tmetadata\tlease_until",
        'welcome_emails\t{"user_id": "newuser@example.com"}\tNULL',
    ]
    vertical = _run(program, *address, "z4", "-e", query + "\\G")
    assert "1. row" in vertical and 'metadata: {"user_id": "newuser@example.com"}' in vertical
    table = _run(program, *address, "--table", "--column-type-info", "z4", "-e", query)
    assert "| welcome_emails |" in table and "Org_table:  `tasks`" in table
    assert '<field name="namespace">welcome_emails</field>' in _run(
        program, *address, "--xml", "z4", "-e", query
    )
    refused = _run(program, *address, "z4", "-e", "SELECT * FROM tasks WHERE namespace = 'x'", code=1)
    assert "ERROR 1104" in refused and "deliver_at" in refused
    forced = _run(
        program, *address, "--force", "--batch", "-N", "z4", text="SELECT * FROM nosuch;\nSELECT 'on';\n"
    )
    assert "ERROR 1146" in forced and "on" in forced.splitlines()
    counted = _run(
        program, *address, "--quick", "--batch", "-N", "z4",
        "-e", "SELECT id FROM tasks WHERE namespace = 'many' AND deliver_at > '2022-01-01'",
    )  # fmt: skip
    assert len(counted.splitlines()) == MANY
    assert _run(program, *address, "--safe-updates", "--batch", "-N", "-e", "SELECT 1").strip() == "1"


def test_the_command_line_changes_database_and_reconnects(peer: MatrixPeer) -> None:
    said = _run(
        _tool("mariadb", "mysql"),
        *_address(peer),
        text="\\u information_schema\nSELECT DATABASE();\n\\u z4\nSELECT DATABASE();\n\\r\nSELECT 'again';\n"
        "\\u nosuch\n",
        code=1,
    )
    assert "information_schema" in said and "\nz4\n" in said and "again" in said and "ERROR 1049" in said


def test_the_command_line_completes_tables_and_columns(peer: MatrixPeer) -> None:
    """Without -A it asks for all tables and their columns, one COM_FIELD_LIST each."""
    with Terminal([_tool("mariadb", "mysql"), *_address(peer), "z4"]) as terminal:
        terminal.wait_for("[z4]> ")
        terminal.say("SELECT deliver_a\t", "deliver_at")
        terminal.say(" FROM memb\t", "members")
        terminal.say("\n\\c\n\\q\n")
        terminal.wait_for_end()


@pytest.mark.parametrize(
    "options",
    [(), ("--single-transaction",), ("--lock-tables=false",), ("--no-data",), ("--hex-blob",), ("--xml",)],
    ids=["plain", "single transaction", "no locks", "no data", "hex", "xml"],
)
def test_mysqldump_writes_the_namespaces(peer: MatrixPeer, options: tuple[str, ...]) -> None:
    dump = _run(_tool("mariadb-dump", "mysqldump"), *_address(peer), *options, "z4", "namespaces")
    if options == ("--xml",):
        assert '<field name="name">welcome_emails</field>' in dump
        return
    assert "CREATE TABLE `namespaces`" in dump
    if options != ("--no-data",):
        assert "INSERT INTO `namespaces` VALUES" in dump and "'welcome_emails'" in dump
    assert "-- Dump completed" in dump


def test_mysqldump_writes_a_range_of_tasks_byte_for_byte(peer: MatrixPeer) -> None:
    dump = _run(
        _tool("mariadb-dump", "mysqldump"), *_address(peer), "--hex-blob", "z4", "tasks",
        "--where=namespace = 'welcome_emails' AND deliver_at >= '2022-04-16'",
    )  # fmt: skip
    assert "CREATE TABLE `tasks`" in dump and dump.count("0x" + EVERY_BYTE.hex().upper()) == len(USERS)


@pytest.mark.parametrize(
    "words", [("status",), ("ping",), ("processlist",), ("extended-status",), ("variables",), ("version",)]
)
def test_mysqladmin_asks(peer: MatrixPeer, words: tuple[str, ...]) -> None:
    assert _run(_tool("mariadb-admin", "mysqladmin"), *_address(peer), *words)


def test_mysqlshow_lists(peer: MatrixPeer) -> None:
    program = _tool("mariadb-show", "mysqlshow")
    assert "z4" in _run(program, *_address(peer))
    assert "namespaces" in _run(program, *_address(peer), "z4")
    assert "deliver_at" in _run(program, *_address(peer), "z4", "tasks")
    assert "deliver" in _run(program, *_address(peer), "--keys", "z4", "tasks")


SQLALCHEMY_DRIVERS = {"pymysql": "pymysql", "mysqldb": "MySQLdb", "mysqlconnector": "mysql.connector"}


def _needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"Python has no {module}: run tests/clients/install")


def _address_of_driver(peer: MatrixPeer, driver: str) -> dict[str, object]:
    password = peer.password.encode() if driver == "pymysql" else peer.password  # a str is sent as latin-1
    address = {"host": "127.0.0.1", "port": peer.sql_port, "user": peer.user, "password": password}
    return address | {"database": "z4"}


@pytest.mark.parametrize("driver", SQLALCHEMY_DRIVERS)
def test_sqlalchemy_reflects_and_queries(peer: MatrixPeer, driver: str) -> None:
    _needs("sqlalchemy", SQLALCHEMY_DRIVERS[driver])
    import sqlalchemy as sa

    engine = sa.create_engine(
        f"mysql+{driver}://", connect_args=_address_of_driver(peer, driver), pool_size=2, pool_pre_ping=True
    )
    try:
        inspector = sa.inspect(engine)
        assert "z4" in inspector.get_schema_names()
        assert {"tasks", "namespaces", "members"} <= set(
            inspector.get_table_names() + inspector.get_view_names()
        )
        assert inspector.get_pk_constraint("tasks")["constrained_columns"] == ["namespace", "id"]
        assert {index["name"] for index in inspector.get_indexes("tasks")} == {"deliver"}
        assert inspector.get_foreign_keys("tasks") == [] and inspector.has_table("tasks")
        tasks = sa.Table("tasks", sa.MetaData(), autoload_with=engine)
        kinds = {column.name: type(column.type).__name__ for column in tasks.columns}
        assert kinds["deliver_at"] == "TIMESTAMP" and kinds["metadata"] == "JSON"
        assert kinds["payload"] == "LONGBLOB" and kinds["namespace"] == "VARCHAR"
        query = (
            sa.select(tasks.c.metadata["user_id"].as_string(), tasks.c.payload)
            .where(tasks.c.namespace == "welcome_emails", tasks.c.deliver_at >= "2022-04-16")
            .order_by(tasks.c.id)
        )
        with engine.connect() as connection:
            rows = connection.execute(query).all()
            assert [user for user, _ in rows] == USERS and {payload for _, payload in rows} == {EVERY_BYTE}
            with pytest.raises(sa.exc.DBAPIError) as refused:
                connection.execute(sa.select(tasks))
            assert "1104" in str(refused.value)
            connection.rollback()
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
            streamed = connection.execution_options(stream_results=True, yield_per=500).execute(
                sa.select(tasks.c.id).where(tasks.c.namespace == "many", tasks.c.deliver_at >= "2022-04-16")
            )
            assert sum(1 for _ in streamed) == MANY
    finally:
        engine.dispose()


def test_pandas_reads_rows_with_their_types(peer: MatrixPeer) -> None:
    _needs("pandas", "sqlalchemy")
    import pandas
    import sqlalchemy as sa

    engine = sa.create_engine("mysql+pymysql://", connect_args=_address_of_driver(peer, "pymysql"))
    try:
        frame = pandas.read_sql(
            sa.text(
                "SELECT deliver_at, CAST(metadata->>'$.n' AS SIGNED) AS n, lease_until FROM tasks"
                " WHERE namespace = :namespace AND deliver_at >= '2022-01-01'"
            ),
            engine,
            params={"namespace": "many"},
        )
        assert len(frame) == MANY and frame["n"].sum() == sum(range(MANY))
        assert frame["deliver_at"].dtype.kind == "M" and frame["lease_until"].isna().all()
        pieces = pandas.read_sql(
            "SELECT id FROM tasks WHERE namespace = 'many' AND deliver_at >= '2022-01-01'",
            engine,
            chunksize=3000,
        )
        assert [len(piece) for piece in pieces] == [3000, 3000, 3000, 1000]
        described = pandas.read_sql_table("namespaces", engine)
        assert set(described["name"]) == {"welcome_emails", "many"}
    finally:
        engine.dispose()


def test_isql_connects_through_odbc(peer: MatrixPeer, tmp_path: Path) -> None:
    program = _tool("isql")
    source = tmp_path / "odbc.ini"
    source.write_text(
        f"[z4]\nDriver=MariaDB Unicode\nSERVER=127.0.0.1\nPORT={peer.sql_port}\nDATABASE=z4\n"
        f"SSLCA={peer.ca_file}\nSSLVERIFY=1\n"
    )
    done = subprocess.run(
        [program, "z4", peer.user, peer.password, "-b", "-d,"],
        input="SELECT name FROM namespaces ORDER BY name\n",
        env=os.environ | {"ODBCINI": str(source)},
        capture_output=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
    )
    assert done.stdout.split() == ["many", "welcome_emails"], done.stdout + done.stderr
