"""PyMySQL, both kinds of mysql-connector and the mariadb command line against the wire server."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pymysql.cursors
import pytest
import uvloop

from tests.wire_peer import FixedFront, server_tls, serving_in_thread
from z4sql.sql.wire.auth import Account, StaticAccounts, StoredPassword
from z4sql.sql.wire.settings import WireSettings

FIRST_ROW = (
    None,
    1,
    -(2**63),
    2**64 - 1,
    Decimal("12.50"),
    1.5,
    "it's",
    b"\x00\xff\xfe",
    '{"a": 1}',
    date(2026, 1, 31),
    datetime(2026, 1, 31, 23, 59, 59, 999999),
    datetime(2026, 1, 31, 12, 0, 1),
    -timedelta(days=1, hours=1, minutes=1, seconds=1, microseconds=1),
)

ACCOUNTS = StaticAccounts(
    {
        "ann": Account((StoredPassword.of("secret"),)),
        "few": Account((StoredPassword.of("x"),), connections_max=1),
    }
)


@pytest.fixture
def served() -> Iterator[tuple[int, FixedFront]]:
    with serving_in_thread() as running:
        yield running


@pytest.fixture
def guarded() -> Iterator[int]:
    with serving_in_thread(accounts=ACCOUNTS, settings=WireSettings(failed_login_pause_s=0)) as (port, _):
        yield port


def py(port: int, **options: Any) -> pymysql.Connection[Any]:
    return pymysql.connect(host="127.0.0.1", port=port, user=options.pop("user", "root"), **options)


def connector(port: int, pure: bool, **options: Any) -> Any:
    if not pure and not mysql.connector.HAVE_CEXT:
        pytest.skip("the C extension of mysql-connector cannot be imported here")
    return mysql.connector.connect(
        host="127.0.0.1",
        port=port,
        user=options.pop("user", "root"),
        use_pure=pure,
        ssl_disabled=True,
        **options,
    )


both_connectors = pytest.mark.parametrize("pure", [True, False], ids=["pure", "c"])


def test_pymysql_reads_every_kind(served: tuple[int, FixedFront]) -> None:
    with py(served[0]) as connection, connection.cursor() as cursor:
        cursor.execute("every kind")
        rows = cursor.fetchall()
    assert rows[0] == FIRST_ROW
    assert rows[2] == (None,) * 13
    assert connection.get_autocommit()


@both_connectors
def test_connector_reads_every_kind_as_text_and_prepared(served: tuple[int, FixedFront], pure: bool) -> None:
    connection = connector(served[0], pure)
    for options in ({}, {"prepared": True}):
        cursor = connection.cursor(**options)
        cursor.execute("every kind")
        rows = cursor.fetchall()
        got = list(rows[0])
        got[7] = bytes(got[7])
        if isinstance(got[8], bytes | bytearray):
            got[8] = got[8].decode()
        if options and pure:
            got.pop()  # its binary reader applies the sign of a TIME to the days alone
        elif options:
            got[3] %= 2**64  # its binary reader takes unsigned numbers for signed ones
        assert tuple(got) == FIRST_ROW[: len(got)]
        assert rows[2] == (None,) * 13
        cursor.close()
    connection.close()


@both_connectors
def test_connector_binds_what_it_was_given(served: tuple[int, FixedFront], pure: bool) -> None:
    port, front = served
    connection = connector(port, pure)
    cursor = connection.cursor(prepared=True)
    given = (
        "it's \\ ? '; --",
        -5,
        2.5,
        Decimal("1.10"),
        datetime(2026, 1, 2, 3, 4, 5, 600),
        date(2026, 1, 2),
        # The C extension sends other fields of its own for a timedelta.
        timedelta(hours=26, microseconds=5) if pure else None,
        b"\x00\xff'",
        None,
    )
    for _ in range(3):  # the second execution may leave the types out
        cursor.execute("echo " + ", ".join("?" * len(given)), given)
        cursor.fetchall()
    for bound in front.bound:
        assert [str(v) if isinstance(v, Decimal) else v for v in bound] == [
            str(v) if isinstance(v, Decimal) else v for v in given
        ]
    cursor.close()
    connection.close()


@both_connectors
def test_connector_changes_user_and_resets(served: tuple[int, FixedFront], pure: bool) -> None:
    port, front = served
    connection = connector(port, pure)
    connection.cmd_change_user("ann", "whatever", "z4")
    cursor = connection.cursor()
    cursor.execute("select database()")
    assert cursor.fetchall()[0][0] == "z4"
    assert [session.user for session in front.sessions.values()] == ["ann"]
    connection.cmd_reset_connection()
    assert front.resets == 1
    connection.ping()
    assert "Uptime" in str(connection.cmd_statistics())
    connection.close()


@pytest.mark.parametrize("plugin", [None, "mysql_native_password"])
@both_connectors
def test_connector_logs_in_with_either_plugin(guarded: int, pure: bool, plugin: str | None) -> None:
    options = {"auth_plugin": plugin} if plugin else {}
    if plugin and not pure:
        pytest.skip("libmysqlclient 9 has no mysql_native_password")
    connector(guarded, pure, user="ann", password="secret", **options).close()
    for user, password in (("ann", "wrong"), ("nobody", "secret"), ("ann", "")):
        with pytest.raises(mysql.connector.Error) as refused:
            connector(guarded, pure, user=user, password=password, **options)
        assert refused.value.errno == 1045


def test_pymysql_is_refused_in_the_same_words_for_every_reason(guarded: int) -> None:
    py(guarded, user="ann", password="secret").close()
    for user, password in (("ann", "wrong"), ("nobody", "secret")):
        with pytest.raises(pymysql.err.OperationalError) as refused:
            py(guarded, user=user, password=password)
        assert refused.value.args == (
            1045,
            f"Access denied for user '{user}'@'localhost' (using password: YES)",
        )


def test_a_user_has_no_more_connections_than_the_account_allows(guarded: int) -> None:
    first = py(guarded, user="few", password="x")
    with pytest.raises(pymysql.err.OperationalError) as refused:
        py(guarded, user="few", password="x")
    assert refused.value.args[0] == 1226
    first.close()


def test_unknown_database_is_refused_at_login_and_later(served: tuple[int, FixedFront]) -> None:
    with pytest.raises(pymysql.err.OperationalError) as refused:
        py(served[0], database="nosuch")
    assert refused.value.args[0] == 1049
    with py(served[0], database="z4") as connection:
        with pytest.raises(pymysql.err.OperationalError) as refused:
            connection.select_db("nosuch")
        assert refused.value.args[0] == 1049
        connection.ping(reconnect=False)


def test_rows_stream_to_an_unbuffered_cursor_and_none_is_lost(served: tuple[int, FixedFront]) -> None:
    with py(served[0], cursorclass=pymysql.cursors.SSCursor) as connection, connection.cursor() as cursor:
        cursor.execute("rows 100000")
        assert sum(n for n, _ in cursor) == sum(range(100000))


def test_a_slow_reader_holds_the_engine_back(served: tuple[int, FixedFront]) -> None:
    port, front = served
    connection = py(port)
    connection._execute_command(3, "rows 3000000")  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    seen = -1
    while seen != front.batches_produced and time.monotonic() < deadline:
        seen = front.batches_produced
        time.sleep(0.3)
    assert 0 < front.batches_produced < 5000
    connection._force_close()  # type: ignore[attr-defined]
    while front.open_results and time.monotonic() < deadline:
        time.sleep(0.01)
    assert front.open_results == 0


@pytest.mark.parametrize(
    "lengths", [(0, 250, 251, 65_535), (65_536, 1), ((1 << 24) - 6, (1 << 24) - 5, (1 << 24) - 4, 17 << 20)]
)
def test_cells_of_every_length_arrive(served: tuple[int, FixedFront], lengths: tuple[int, ...]) -> None:
    with py(served[0], max_allowed_packet=64 << 20) as connection, connection.cursor() as cursor:
        cursor.execute("text " + " ".join(map(str, lengths)))
        assert [len(text) for (text,) in cursor.fetchall()] == list(lengths)
        cursor.execute("select 1")
        assert cursor.fetchall() == ((1,),)


def test_an_error_after_rows_leaves_the_connection_usable(served: tuple[int, FixedFront]) -> None:
    with py(served[0]) as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.err.MySQLError) as failed:
            cursor.execute("rows 1000 then fail")
        assert failed.value.args == (1105, "it broke")
        cursor.execute("select 1")
        assert cursor.fetchall() == ((1,),)
        with pytest.raises(pymysql.err.MySQLError) as failed:
            cursor.execute("sleep until timeout")
        assert failed.value.args[0] == 3024


def test_a_bug_is_told_by_its_number_only(served: tuple[int, FixedFront], capsys: Any) -> None:
    with py(served[0]) as connection, connection.cursor() as cursor:
        for sql in ("crash 'literal'", "lost peer"):
            with pytest.raises(pymysql.err.MySQLError) as failed:
                cursor.execute(sql)
            assert failed.value.args[0] == 1105
            assert failed.value.args[1].startswith("internal error (request ")
        cursor.execute("select 1")
    assert "literal" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("kill", ["kill query {}", "kill {}"])
def test_kill_from_another_connection_ends_a_query(served: tuple[int, FixedFront], kill: str) -> None:
    port, front = served
    victim, killer = py(port), py(port)
    victim_id = victim.thread_id()
    outcome: list[Any] = []

    def run() -> None:
        try:
            victim.cursor().execute("sleep")
        except pymysql.err.MySQLError as error:
            outcome.append(error.args[0])

    thread = threading.Thread(target=run)
    thread.start()
    assert front.started.wait(5)
    killer.cursor().execute(kill.format(victim_id))
    thread.join(5)
    assert outcome == [1317]
    assert front.cancelled.is_set()
    if "query" in kill:
        victim.cursor().execute("select 1")
        killer.cursor().execute(kill.format(victim_id))  # idle: nothing happens
        victim.cursor().execute("select 1")
    with pytest.raises(pymysql.err.MySQLError) as unknown:
        killer.kill(99_999)
    assert unknown.value.args[0] == 1094
    killer.close()


def test_only_the_owner_may_kill() -> None:
    with serving_in_thread() as (port, _):
        ann, bob = py(port, user="ann"), py(port, user="bob")
        with pytest.raises(pymysql.err.MySQLError) as refused:
            bob.kill(ann.thread_id())
        assert refused.value.args[0] == 1095
        ann.ping(reconnect=False)


def test_a_client_that_leaves_cancels_its_query_within_half_a_second(served: tuple[int, FixedFront]) -> None:
    port, front = served
    connection = py(port)
    connection._execute_command(3, "sleep")  # type: ignore[attr-defined]
    assert front.started.wait(5)
    connection._force_close()  # type: ignore[attr-defined]
    assert front.cancelled.wait(0.5)


@both_connectors
def test_multi_packet_statements_arrive_whole(served: tuple[int, FixedFront], pure: bool) -> None:
    port, front = served
    connection = connector(port, pure)
    cursor = connection.cursor()
    sql = "do '" + "x" * (17 << 20) + "'"
    cursor.execute(sql)
    assert front.executed[-1] == sql
    connection.close()


@pytest.mark.parametrize("library", [asyncio, uvloop], ids=["asyncio", "uvloop"])
def test_tls_logins_stream_and_cancel_on_either_loop(tmp_path: Path, library: Any) -> None:
    settings = WireSettings(tls=server_tls(tmp_path), tls_required=True, failed_login_pause_s=0)
    insecure = ssl.create_default_context()
    insecure.check_hostname = False
    insecure.verify_mode = ssl.CERT_NONE
    ann = {"user": "ann", "password": "secret", "ssl": insecure}
    with serving_in_thread(None, ACCOUNTS, settings, library.new_event_loop) as (port, front):
        for _ in range(20):
            py(port, **ann).close()
        with (
            py(port, **ann) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("rows 30000")
            assert sum(n for n, _ in cursor.fetchall()) == sum(range(30000))
        with pytest.raises(pymysql.err.OperationalError) as refused:
            py(port, user="ann", password="secret", ssl_disabled=True)
        assert refused.value.args[0] == 3159
        leaving = py(port, **ann)
        leaving._execute_command(3, "sleep")  # type: ignore[attr-defined]
        assert front.started.wait(5)
        leaving._force_close()  # type: ignore[attr-defined]
        assert front.cancelled.wait(0.5)


@pytest.mark.client
def test_the_mariadb_command_line_connects_completes_and_prints(served: tuple[int, FixedFront]) -> None:
    program = shutil.which("mariadb")
    if program is None:
        pytest.skip("the mariadb command line client is not installed")
    port, front = served

    def run(*arguments: str, text: str = "") -> str:
        address = ("--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", "-uroot")
        done = subprocess.run(
            [program, *address, *arguments],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
        )
        return done.stdout

    printed = run("--batch", "-e", "every kind", "z4")
    assert "2026-01-31 23:59:59.999999" in printed and '{"a": 1}' in printed and "żółw" in printed
    assert "| n " in run("--table", "--quick", "-e", "rows 300")
    assert "Uptime" in run(text="\\s\n")
    assert "ERROR 1049" in run("-e", "select 1", "nosuch")
    assert "ERROR 1064 (42000)" in run("-e", "syntax")
    assert len(run("--quick", "--batch", "-N", "-e", "rows 20000").splitlines()) == 20000
    assert "1" in run("--default-auth=mysql_native_password", "-pwhatever", "-e", "select 1")
    assert all(session.attributes.get("program_name") == "mysql" for session in front.sessions.values())
