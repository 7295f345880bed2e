"""What a clock shows means the same instant everywhere: in the planner, in the engine, and in a real server.

MySQL's rule: of an hour that a clock shows twice the first one counts, and a reading that never is counts as
the moment at which the clock was put forward.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast
from zoneinfo import TZPATH, ZoneInfo

import pytest
from pymysql.cursors import Cursor

from tests.compared_answers import Ours, rows_of_corpus
from tests.property.test_planner_answers import HOUR, World
from tests.reference_server import ReferenceServer, server_program
from z4sql.sql.context import StatementContext
from z4sql.sql.corpus import CorpusCatalog
from z4sql.sql.front.parsing import QueryParser
from z4sql.sql.front.source import read_source
from z4sql.sql.planner.constants import Number
from z4sql.sql.planner.fold import Folder
from z4sql.sql.temporal import EPOCH, naive_text, transitions
from z4sql.sql.types import Kind, SqlType, TableDefinition

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo")
SECOND_US = 1_000_000
STEPS_S = [900 * step for step in range(-8, 9)] + [-1, 1, 3599, 7199]
TIME_ZONES = shutil.which("mariadb-tzinfo-to-sql") or shutil.which("mysql_tzinfo_to_sql")
needs_zones = pytest.mark.skipif(
    server_program() is None or TIME_ZONES is None, reason="no MariaDB or MySQL server is installed"
)


def local_us(utc_us: int, zone: ZoneInfo) -> int:
    local = (EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=utc_us)).astimezone(zone)
    return (local.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)


def meant_us(naive_us: int, zone: ZoneInfo) -> int:
    """The instant, found by search among all that lie near."""
    near = datetime.fromisoformat(naive_text(naive_us, 0)).replace(tzinfo=zone)
    offset = near.utcoffset()
    assert offset is not None
    first = naive_us - offset // timedelta(microseconds=1)
    if local_us(first, zone) == naive_us:
        return first
    low, high = naive_us - 86_400 * SECOND_US, naive_us + 86_400 * SECOND_US
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if local_us(middle, zone) < naive_us else (low, middle)
    return high + naive_us % SECOND_US


def readings(name: str) -> list[int]:
    """What clocks show within two hours of transitions from 1990 on, and of a winter's day."""
    starts = [start for start, _ in transitions(ZoneInfo(name)) if start > 20 * 365 * 86_400 * SECOND_US]
    near = [*starts[::7], *starts[-2:], 1_650_000_000 * SECOND_US]
    shown = {local_us(at, ZoneInfo(name)) + step * SECOND_US for at in near for step in STEPS_S}
    return sorted(shown | {at + 250_000 for at in list(shown)[::10]})


def texts(shown: Sequence[int]) -> list[str]:
    return [naive_text(at, 6 if at % SECOND_US else 0) for at in shown]


@pytest.mark.parametrize("name", ZONES)
def test_the_planner_and_the_engine_read_a_clock_alike(name: str) -> None:
    zone, shown = ZoneInfo(name), readings(name)
    calls = [f"UNIX_TIMESTAMP('{text}')" for text in texts(shown)]
    context = StatementContext(1_700_000_000 * SECOND_US, zone)
    parser, folder = QueryParser(), Folder(context)
    folded = []
    for call in calls:
        constant = folder.fold(parser.parse(read_source(f"SELECT {call}")).expressions[0].unalias())
        assert isinstance(constant, Number), call
        folded.append(int(constant.value * SECOND_US))
    assert dict(zip(calls, folded, strict=True)) == {
        call: meant_us(at, zone) for call, at in zip(calls, shown, strict=True)
    }
    assert engine_us(zone, calls) == folded
    moved = [f"UNIX_TIMESTAMP(CONVERT_TZ('{text}','{name}','UTC'))" for text in texts(shown)]
    assert engine_us(ZoneInfo("UTC"), moved) == folded


def engine_us(zone: ZoneInfo, calls: Sequence[str]) -> list[int]:
    ours = Ours(rows_of_corpus(1), zone)
    try:
        answer = ours.answer("SELECT " + ", ".join(calls))
        assert isinstance(answer, list), ours.error
        (row,) = answer
        return [round(float(cell or b"-1") * 100) * SECOND_US // 100 for cell in row]
    finally:
        ours.close()


@pytest.mark.parametrize("name", ZONES)
def test_the_seconds_of_a_column_are_those_of_its_instant(name: str, tmp_path: Path) -> None:
    starts = [start for start, _ in transitions(ZoneInfo(name))[1:]] or [1_650_000_000 * SECOND_US]
    world = World(tmp_path, starts[-1])
    context = StatementContext(starts[-1], ZoneInfo(name))
    where = "namespace IN ('a', 'b', 'ab') AND deliver_at > '1990-01-01'"
    try:
        for inside in ("deliver_at", "(t.deliver_at)"):
            sql = f"SELECT UNIX_TIMESTAMP({inside}) FROM tasks t WHERE {where} ORDER BY 1"
            found = world.rows(sql, planned=True, context=context)
            assert [int(cast(Decimal, row[0]) * SECOND_US) for row in found] == sorted(
                starts[-1] + at * HOUR + offset for at in range(-6, 7) for offset in range(3)
            )
            one = starts[-1] // SECOND_US + 3600
            sql = f"SELECT COUNT(*) FROM tasks t WHERE {where} AND UNIX_TIMESTAMP({inside}) = {one}"
            assert world.rows(sql, planned=True, context=context) == [(1,)]
        ordered = world.rows(
            f"SELECT id FROM tasks WHERE {where} ORDER BY deliver_at", planned=True, context=context
        )
        assert ordered == [(one,) for at in range(13) for one in world.ids[at::13]]
        for query in (
            f"SELECT DISTINCT deliver_at FROM tasks WHERE {where} ORDER BY deliver_at",
            f"SELECT DISTINCT namespace, deliver_at FROM tasks WHERE {where} ORDER BY deliver_at, 1",
            f"SELECT UNIX_TIMESTAMP(deliver_at) FROM tasks WHERE {where} GROUP BY deliver_at ORDER BY 1",
            f"SELECT ROW_NUMBER() OVER (ORDER BY deliver_at) FROM tasks WHERE {where}",
            f"SELECT MAX(deliver_at), GROUP_CONCAT(id ORDER BY deliver_at) FROM tasks WHERE {where}",
        ):
            assert world.rows(query, planned=True, context=context)
    finally:
        world.close()


@pytest.fixture(scope="module")
def cursor(reference_server: ReferenceServer) -> Iterator[Cursor]:
    """Of a server that knows the zones."""
    with reference_server.connect() as connection, connection.cursor() as opened:
        opened.execute("USE mysql")
        for name in ZONES:
            load_zone(opened, name)
        yield opened


@needs_zones
def test_a_real_server_reads_a_clock_so(cursor: Cursor) -> None:
    for name in ZONES:
        shown = readings(name)
        cursor.execute(f"SET time_zone = '{name}'")
        cursor.execute("SELECT " + ", ".join(f"UNIX_TIMESTAMP('{text}')" for text in texts(shown)))
        (row,) = cursor.fetchall()
        found = [round(float(cell) * 100) * SECOND_US // 100 for cell in row]
        expected = [meant_us(at, ZoneInfo(name)) for at in shown]
        assert dict(zip(texts(shown), found, strict=True)) == dict(zip(texts(shown), expected, strict=True))


BERLIN_BACK_US = 1_761_440_400 * SECOND_US
"""2025-10-26 03:00 in Berlin, where it becomes 02:00."""
GROUPS = (
    "SELECT deliver_at, COUNT(*), UNIX_TIMESTAMP(deliver_at) FROM tasks GROUP BY deliver_at",
    "SELECT deliver_at AS t, id, MAX(deliver_at) FROM tasks GROUP BY t, 2",
    "SELECT DISTINCT deliver_at FROM tasks",
    "SELECT DISTINCT id, deliver_at FROM tasks ORDER BY deliver_at DESC, id",
    "SELECT COUNT(DISTINCT deliver_at), COUNT(DISTINCT deliver_at, created_at) FROM tasks",
    "SELECT MIN(deliver_at), MAX(deliver_at), UNIX_TIMESTAMP(MAX(deliver_at)) FROM tasks",
    "SELECT deliver_at, COUNT(*) FROM tasks GROUP BY deliver_at WITH ROLLUP",
    "SELECT id, COUNT(*) OVER (PARTITION BY deliver_at), RANK() OVER (ORDER BY deliver_at) FROM tasks",
    "SELECT a.id, b.id FROM tasks a JOIN tasks b ON a.deliver_at = b.deliver_at",
    "SELECT a.id, b.id FROM tasks a JOIN tasks b ON a.deliver_at < b.created_at",
    "SELECT COUNT(*) FROM tasks WHERE deliver_at = created_at",
    "SELECT DATE_FORMAT(deliver_at, '%H:%i') AS h, COUNT(*) FROM tasks GROUP BY h ORDER BY h",
)
BY_THE_CLOCK = frozenset(GROUPS[at] for at in (0, 2, 4, 8, 9, 10))


class InstantCatalog(CorpusCatalog):
    """Moments are instants, as in the catalog of the server."""

    def table(self, database: str, name: str) -> TableDefinition | None:
        found = super().table(database, name)
        if found is None:
            return None
        instant = SqlType(Kind.TIMESTAMP, scale=6)
        columns = [
            replace(one, type=instant) if one.type.kind is Kind.DATETIME else one for one in found.columns
        ]
        return replace(found, columns=tuple(columns))


@pytest.fixture(scope="module")
def around_back(cursor: Cursor) -> Iterator[Ours]:
    """Tasks of the hours in which Berlin's clocks are put back, here and in the server."""
    rows = rows_of_corpus(24)
    cursor.execute("DROP DATABASE IF EXISTS instants")
    cursor.execute("CREATE DATABASE instants CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    cursor.execute("USE instants")
    cursor.execute("SET time_zone = '+00:00'")
    columns = "id TEXT, deliver_at TIMESTAMP(6) NOT NULL, created_at TIMESTAMP(6) NOT NULL"
    cursor.execute(f"CREATE TABLE tasks ({columns})")
    for at, row in enumerate(rows):
        row["deliver_at"] = BERLIN_BACK_US + (at % 7 - 4) * 1800 * SECOND_US
        row["created_at"] = BERLIN_BACK_US + (at % 5 - 2) * 1800 * SECOND_US
        moments = naive_text(row["deliver_at"]), naive_text(row["created_at"])
        cursor.execute("INSERT INTO tasks VALUES (%s, %s, %s)", (row["id"], *moments))
    cursor.execute("SET time_zone = 'Europe/Berlin'")
    ours = Ours(rows, ZoneInfo("Europe/Berlin"))
    ours.catalog = InstantCatalog()
    yield ours
    ours.close()


@needs_zones
@pytest.mark.parametrize("sql", GROUPS)
def test_instants_are_grouped_as_a_real_server_groups_them(
    reference_server: ReferenceServer, cursor: Cursor, around_back: Ours, sql: str
) -> None:
    """By the column, not by what a clock shows: that is the same at two instants when it is put back."""
    if sql in BY_THE_CLOCK and not reference_server.is_mariadb:
        pytest.skip("MySQL takes two tasks that are an hour apart for tasks of one time")
    cursor.execute(sql)
    expected = [tuple(None if cell is None else cell.encode() for cell in row) for row in cursor.fetchall()]
    found = around_back.answer(sql)
    assert not isinstance(found, str), around_back.error
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    if "ORDER BY id" in sql:
        assert found == expected


def load_zone(cursor: Cursor, name: str) -> None:
    path = next(path for folder in TZPATH if (path := Path(folder) / name).exists())
    assert TIME_ZONES is not None
    made = subprocess.run(
        [TIME_ZONES, str(path), name], check=True, capture_output=True, timeout=30, text=True
    )
    for statement in made.stdout.split(";\n"):
        if statement.startswith(("INSERT", "SET @time_zone_id")):
            cursor.execute(statement)
