"""One short program per driver does what people do with a database; each says what it saw, line by line.

A line is a name, a tab, a value; the statements are in ``programs/statements.txt``. ``tests/clients/install``
brings the drivers; one that is missing is skipped by name.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

from tests.matrix_peer import EVERY_BYTE, MANY, USERS, MatrixPeer, matrix_peer

pytestmark = pytest.mark.client

PROGRAMS = Path(__file__).with_name("programs")
JDBC_JAR = Path("/usr/share/java/mariadb-java-client.jar")
GO_LIBRARY = Path("/usr/share/gocode/src/github.com/go-sql-driver/mysql")
_TIMEOUT_S = 120
_PARAMETER = "it's \\ ?"
Said = dict[str, list[str]]


def _odbc() -> str | None:
    if importlib.util.find_spec("pyodbc") is None:
        return "Python has no pyodbc"
    import pyodbc

    return None if "MariaDB Unicode" in pyodbc.drivers() else "no ODBC driver 'MariaDB Unicode'"


def _program(name: str, *asked: str) -> Callable[[], str | None]:
    """``asked``: a command that succeeds where the library is there."""

    def missing() -> str | None:
        if shutil.which(name) is None:
            return f"{name} is not installed"
        done = subprocess.run([name, *asked], capture_output=True, cwd=PROGRAMS, timeout=60)
        return None if done.returncode == 0 else f"{name} lacks its MySQL library"

    return missing


def _python(module: str) -> Callable[[], str | None]:
    """It may be there and lack a library of its own."""
    return _program(sys.executable, "-c", f"import {module}")


def _file(program: str, file: Path) -> Callable[[], str | None]:
    return lambda: (
        None if shutil.which(program) and file.exists() else f"{program} or {file} is not installed"
    )


@dataclass(frozen=True)
class Driver:
    """``modes``: tls and sha2 log in with caching_sha2_password, native with mysql_native_password."""

    command: tuple[str, ...]
    missing: Callable[[], str | None]
    modes: tuple[str, ...] = ("tls", "sha2")
    environment: tuple[tuple[str, str], ...] = ()


DRIVERS = {
    "PyMySQL": Driver((sys.executable, "dbapi.py", "pymysql"), _python("pymysql")),
    "mysqlclient": Driver(
        (sys.executable, "dbapi.py", "mysqlclient"), _python("MySQLdb"), ("tls", "sha2", "native")
    ),
    "mysql-connector-python, pure": Driver(
        (sys.executable, "dbapi.py", "connector-pure"), _python("mysql.connector"), ("tls", "sha2", "native")
    ),
    "mysql-connector-python, C": Driver(
        (sys.executable, "dbapi.py", "connector-c"), _python("_mysql_connector")
    ),
    "pyodbc": Driver((sys.executable, "dbapi.py", "pyodbc"), _odbc),
    "aiomysql": Driver((sys.executable, "asynchronous.py", "aiomysql"), _python("aiomysql")),
    "asyncmy": Driver((sys.executable, "asynchronous.py", "asyncmy"), _python("asyncmy")),
    "node mysql2": Driver(("node", "mysql2.js"), _program("node", "-e", "require('mysql2')")),
    "node mysql": Driver(("node", "mysql.js"), _program("node", "-e", "require('mysql')"), ("tls", "native")),
    "PHP PDO": Driver(
        ("php", "pdo.php"), _program("php", "-r", "exit(extension_loaded('pdo_mysql') ? 0 : 1);")
    ),
    "PHP mysqli": Driver(
        ("php", "mysqli.php"), _program("php", "-r", "exit(extension_loaded('mysqli') ? 0 : 1);")
    ),
    "Go": Driver(
        ("go", "run", "matrix.go"),
        _file("go", GO_LIBRARY),
        environment=(("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "-p=1")),
    ),
    "MariaDB Connector/J": Driver(
        ("java", "-Xmx256m", "-cp", str(JDBC_JAR), "Matrix.java"),
        _file("java", JDBC_JAR),
        ("tls", "sha2", "native"),
    ),
    "Ruby mysql2": Driver(
        ("ruby", "matrix.rb"), _program("ruby", "-e", "require 'mysql2'"), ("tls", "sha2", "native")
    ),
    # Debian builds DBD::mysql with a library whose TLS it does not know how to ask for.
    "Perl DBD::mysql": Driver(
        ("perl", "matrix.pl", "mysql"), _program("perl", "-MDBD::mysql", "-e", "1"), ("sha2",)
    ),
    "Perl DBD::MariaDB": Driver(
        ("perl", "matrix.pl", "MariaDB"), _program("perl", "-MDBD::MariaDB", "-e", "1")
    ),
}
RUNS = [(name, mode) for name, driver in DRIVERS.items() for mode in driver.modes]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixPeer]:
    with matrix_peer(tmp_path_factory.mktemp("matrix")) as served:
        yield served


def _kill_when_asleep(peer: MatrixPeer, connection_id: str) -> None:
    """End the statement, not the connection, once it runs."""
    deadline = time.monotonic() + 20
    with (
        pymysql.connect(
            host="127.0.0.1", port=peer.sql_port, user=peer.user, password=peer.password.encode()
        ) as connection,
        connection.cursor() as cursor,
    ):
        while time.monotonic() < deadline:
            cursor.execute("SHOW PROCESSLIST")
            if any(str(row[0]) == connection_id and "SLEEP" in (row[7] or "") for row in cursor.fetchall()):
                cursor.execute(f"KILL QUERY {connection_id}")
                return
            time.sleep(0.02)


def run_program(peer: MatrixPeer, driver: Driver, mode: str, problems: Path) -> Said:
    """What the program said. It is killed where it takes too long."""
    said: Said = defaultdict(list)
    command = [*driver.command, str(peer.sql_port), peer.user, peer.password, mode, peer.ca_file]
    killers = []
    with (
        problems.open("w+") as errors,
        subprocess.Popen(
            command,
            cwd=PROGRAMS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONUTF8": "1"} | dict(driver.environment),
            encoding="utf-8",
        ) as process,
    ):
        guard = threading.Timer(_TIMEOUT_S, process.kill)
        guard.start()
        assert process.stdout is not None
        for line in process.stdout:
            name, _, value = line.rstrip("\n").partition("\t")
            said[name].append(value)
            if name == "connection":
                killers.append(threading.Thread(target=_kill_when_asleep, args=(peer, value)))
                killers[-1].start()
        process.wait()
        guard.cancel()
        for killer in killers:
            killer.join()
        errors.seek(0)
        assert process.returncode == 0, f"{' '.join(command)}\n{dict(said)}\n{errors.read()[-4000:]}"
    return said


@pytest.mark.parametrize(("name", "mode"), RUNS, ids=[f"{name}, {mode}" for name, mode in RUNS])
def test_a_driver_browses_queries_and_survives_errors(
    peer: MatrixPeer, name: str, mode: str, tmp_path: Path
) -> None:
    driver = DRIVERS[name]
    if reason := driver.missing():
        pytest.skip(f"{reason}: run tests/clients/install")
    said = run_program(peer, driver, mode, tmp_path / "stderr")
    assert "z4" in said["databases"] and "information_schema" in said["databases"]
    assert {"tasks", "namespaces", "members"} <= set(said["tables"])
    assert said["columns"][:5] == ["namespace", "id", "deliver_at", "metadata", "payload"]
    assert said["answered"] == ["welcome_emails"]
    assert said["refused"] == ["1104", "1104"]
    assert [told.lower() for told in said["refusal"]] == ["true", "true"], "the message names the column"
    assert said["prepared"] == [cell for user in USERS for cell in (user, _PARAMETER)]
    assert said["null"] == ["NULL"]
    assert said["json"] == ['{"user_id": "newuser@example.com"}']
    assert said["payload"] == [EVERY_BYTE.hex()]
    assert said["deliver_at"] == ["2022-04-16 17:30:00.123456"]
    assert said["decimal"] == ["12.50"] and said["unsigned"] == ["18446744073709551615"]
    assert said["double"] == ["0.1"]
    assert said["streamed"] == [str(sum(range(MANY)))]
    assert said["failed"] == ["1690"], "a value out of range in the middle of the rows"
    assert said["killed"] == ["1317"] and said["timeout"] == ["3024"]
    assert said["after"] == ["1"]
    if "Connector/J" in name:
        _check_metadata(said)


def _check_metadata(said: Said) -> None:
    """`DatabaseMetaData` as DBeaver reads it; numbers of types are those of `java.sql.Types`."""
    assert set(said["primary_key"]) == {"namespace", "id"}
    assert {"PRIMARY", "deliver"} <= set(said["indexes"])
    assert {"VARCHAR", "TIMESTAMP", "LONGBLOB", "BIGINT"} <= set(said["types"])
    assert {"TABLE", "VIEW"} <= set(said["table_types"])
    assert said["product"][0].startswith("8.0.")
    assert {"namespace 12 VARCHAR NO", "deliver_at 93 TIMESTAMP NO", "payload -4 LONGBLOB YES"} <= set(
        said["column_types"]
    )
