"""MySQL's own command-line clients; Debian carries MariaDB's, which `test_matrix_tools` runs.

``Z4_MYSQL_CLIENTS`` is a command that runs one of them where the path has none, such as ``chroot DIRECTORY``
or ``docker run --rm -i --network host mysql:9``; the name of the program and its arguments are put behind it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest

from tests.client_terminal import Terminal
from tests.matrix_peer import EVERY_BYTE, MANY, USERS, MatrixPeer, matrix_peer

pytestmark = pytest.mark.client
_TIMEOUT_S = 60
_RANGE = "namespace = 'welcome_emails' AND deliver_at BETWEEN '2022-04-16' AND '2022-04-17'"
_QUERY = f"SELECT namespace, metadata, lease_until FROM tasks WHERE {_RANGE} ORDER BY id LIMIT 1"  # noqa: S608


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixPeer]:
    with matrix_peer(tmp_path_factory.mktemp("mysql")) as served:
        yield served


@cache
def _client(name: str) -> list[str] | None:
    """The command that runs MySQL's client of that name; None where only another's is there."""
    before = shlex.split(os.environ.get("Z4_MYSQL_CLIENTS", ""))
    if not before and shutil.which(name) is None:
        return None
    told = subprocess.run([*before, name, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S)
    return [*before, name] if told.returncode == 0 and "MariaDB" not in told.stdout else None


def _command(name: str, peer: MatrixPeer, *arguments: str) -> list[str]:
    found = _client(name)
    if found is None:
        pytest.skip(f"no {name} of MySQL: see Z4_MYSQL_CLIENTS in {__name__}")
    address = ["--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{peer.sql_port}", f"-u{peer.user}"]
    return [*found, *address, f"-p{peer.password}", *arguments]


def _run(name: str, peer: MatrixPeer, *arguments: str, text: str = "", code: int = 0) -> str:
    done = subprocess.run(
        _command(name, peer, *arguments),
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


@pytest.mark.parametrize(
    ("options", "version"),
    [
        (("--ssl-mode=REQUIRED",), "TLSv1.3"),
        (("--ssl-mode=REQUIRED", "--tls-version=TLSv1.2"), "TLSv1.2"),
        (("--ssl-mode=PREFERRED",), "TLSv1.3"),
        (("--ssl-mode=DISABLED", "--get-server-public-key"), ""),
    ],
    ids=["TLS 1.3", "TLS 1.2", "preferred", "plain with the public key"],
)
def test_it_logs_in_and_sees_how(peer: MatrixPeer, options: tuple[str, ...], version: str) -> None:
    told = _run("mysql", peer, *options, "--batch", "-N", "-e", "SHOW STATUS LIKE 'Ssl_version'")
    assert told.splitlines()[-1] == f"Ssl_version\t{version}"


def test_a_wrong_password_is_refused_under_its_name(peer: MatrixPeer) -> None:
    for options in (("--ssl-mode=REQUIRED",), ("--ssl-mode=DISABLED", "--get-server-public-key")):
        said = _run("mysql", peer, *options, "-pwrong", "-e", "SELECT 1", code=1)
        assert "ERROR 1045 (28000): Access denied for user 'reader'@'localhost' (using password: YES)" in said
    assert "ERROR 1049 (42000): Unknown database 'nosuch'" in _run("mysql", peer, "nosuch", code=1)


def test_it_answers_in_each_of_its_formats(peer: MatrixPeer) -> None:
    batch = _run("mysql", peer, "--batch", "z4", "-e", _QUERY)
    assert batch.splitlines()[-2:] == [
        "namespace\tmetadata\tlease_until",
        'welcome_emails\t{"user_id": "newuser@example.com"}\tNULL',
    ]
    assert "| welcome_emails |" in _run("mysql", peer, "--table", "z4", "-e", _QUERY)
    assert "1. row" in _run("mysql", peer, "--vertical", "z4", "-e", _QUERY)
    assert '<field name="namespace">welcome_emails</field>' in _run(
        "mysql", peer, "--xml", "z4", "-e", _QUERY
    )
    assert "<TD>welcome_emails</TD>" in _run("mysql", peer, "--html", "z4", "-e", _QUERY)
    shown = _run("mysql", peer, "--show-warnings", "-e", "SELECT 1 / 0")
    assert "Warning (Code 1365): Division by 0" in shown
    refused = _run("mysql", peer, "z4", "-e", "SELECT * FROM tasks WHERE namespace = 'x'", code=1)
    assert "ERROR 1104" in refused and "deliver_at" in refused
    many = "SELECT id FROM tasks WHERE namespace = 'many' AND deliver_at > '2022-01-01'"
    assert _run("mysql", peer, "--quick", "--batch", "-N", "z4", "-e", many).count("\n") >= MANY


def test_it_converses(peer: MatrixPeer) -> None:
    """Status, completion of tables and columns, another database, a new connection."""
    with Terminal(_command("mysql", peer, "z4")) as terminal:
        terminal.wait_for("mysql> ")
        terminal.say("\\s\n", "Server version:\t\t8.0.36-z4", "Current database:\tz4", "Cipher in use is")
        terminal.say("SELECT deliver_a\t", "deliver_at")
        terminal.say(" FROM memb\t", "members")
        terminal.say("\n\\c\n")
        terminal.say("\\u information_schema\n", "Database changed")
        terminal.say("\\r z4\n", "Current database: z4")
        terminal.say("\\W\n", "Show warnings enabled")
        terminal.say("SELECT 'a' + 1;\n", "Truncated incorrect DOUBLE value: 'a'")
        terminal.say("help select\n", "Nothing found")
        terminal.say("\\q\n", "Bye")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("z4", "namespaces"), "INSERT INTO `namespaces` VALUES"),
        (("--single-transaction", "--skip-lock-tables", "z4", "namespaces"), "'welcome_emails'"),
        (("--column-statistics", "z4", "namespaces"), "'welcome_emails'"),
        (("--skip-opt", "--hex-blob", "z4", "namespaces"), "INSERT INTO `namespaces` VALUES"),
        (("--routines", "--events", "--triggers", "--no-data", "z4"), "CREATE TABLE `tasks`"),
        (("--no-data", "--databases", "z4"), "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `z4`"),
        (("--no-data", "--all-databases"), "Current Database: `mysql`"),
        (("--ignore-table=z4.tasks", "--ignore-table=z4.task_events", "z4"), "CREATE TABLE `members`"),
        (("--xml", "z4", "namespaces"), '<field name="name">welcome_emails</field>'),
        (("--order-by-primary", f"--where={_RANGE}", "z4", "tasks"), "zoë ☃"),
    ],
)
def test_it_dumps(peer: MatrixPeer, options: tuple[str, ...], expected: str) -> None:
    dump = _run("mysqldump", peer, *options)
    assert expected in dump
    assert "-- Dump completed" in dump or dump.rstrip().endswith("</mysqldump>")


def test_a_dump_of_tasks_without_a_range_is_refused_and_with_one_exact(peer: MatrixPeer) -> None:
    refused = _run("mysqldump", peer, "z4", "tasks", code=2)
    assert "1104" in refused and "deliver_at" in refused
    dump = _run("mysqldump", peer, "--hex-blob", f"--where={_RANGE}", "z4", "tasks")
    assert dump.count("0x" + EVERY_BYTE.hex().upper()) == len(USERS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ping",), "mysqld is alive"),
        (("status",), "Uptime:"),
        (("version",), "8.0.36-z4"),
        (("processlist",), "show processlist"),
        (("variables",), "| version_comment"),
        (("extended-status",), "| Threads_connected"),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
def test_mysqladmin_asks(peer: MatrixPeer, words: tuple[str, ...], expected: str) -> None:
    assert expected in _run("mysqladmin", peer, *words)


def test_what_would_change_the_server_is_refused_with_its_reason(peer: MatrixPeer) -> None:
    for name, words in {
        "mysqladmin": ("create", "nosuch"),
        "mysqlimport": ("--local", "z4", "/tasks.txt"),
        "mysqlcheck": ("--optimize", "z4"),
        "mysqlslap": ("--auto-generate-sql",),
    }.items():
        said = _run(name, peer, *words, code=2 if name == "mysqlcheck" else 1)
        assert "--read-only" in said and "z4t" in said
    assert "Access denied" in _run("mysqladmin", peer, "shutdown", code=1)


def test_mysqlshow_lists_and_mysqlcheck_finds_all_well(peer: MatrixPeer) -> None:
    assert "| z4 " in _run("mysqlshow", peer)
    assert "namespaces" in _run("mysqlshow", peer, "z4")
    assert "timestamp(6)" in _run("mysqlshow", peer, "--keys", "z4", "tasks")
    assert "InnoDB" in _run("mysqlshow", peer, "--status", "z4")
    checked = [line.split() for line in _run("mysqlcheck", peer, "z4").splitlines() if line.startswith("z4.")]
    assert ["z4.tasks", "OK"] in checked and {words[-1] for words in checked} == {"OK"}
    assert "Average number of seconds" in _run(
        "mysqlslap", peer, "--create-schema=z4", "--query=SELECT 1", "--concurrency=4", "--iterations=2"
    )
