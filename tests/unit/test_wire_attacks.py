"""What strangers and bad clients try on the SQL port, where no other test of the wire has it."""

from __future__ import annotations

import asyncio
import resource
import struct
import time
from pathlib import Path

import pytest

from tests.front_driver import FrontDriver, rows_of
from tests.planner_tables import NOW_US
from tests.sql_service import answer, service_over
from tests.task_stores import open_machine
from tests.wire_peer import FixedFront, serving
from tests.wire_raw import Raw, error_code, login, raw
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import Limits, StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front
from z4sql.sql.query import QueryService
from z4sql.sql.result import ResultSet
from z4sql.sql.wire.codec import ColumnType, PacketReader
from z4sql.sql.wire.errors import BadArguments
from z4sql.sql.wire.parameters import ParameterType, read_parameters


async def alive(port: int) -> None:
    async with raw(port) as client:
        await client.log_in()
        assert (await client.query("select 1"))[0] == 1


async def test_nothing_but_a_login_is_taken_before_the_login() -> None:
    """A query in the place of the login, and one pipelined behind a login that is refused."""
    async with serving() as (port, front):
        async with raw(port) as client:
            await client.greeting()
            client.send(b"\x03select 1", 1)
            assert error_code(await client.payload()) == 1043
            assert await client.closed()
        async with raw(port) as client:
            await client.greeting()
            client.send(login(database=b"nosuch", capabilities=0x80000 | 0x8000 | 0x208), 1)
            client.send(b"\x03select 1")
            assert error_code(await client.payload()) == 1049
            assert await client.closed()
        assert front.executed == [] and front.sessions == {}
        await alive(port)


async def test_pieces_of_a_statement_are_refused_once_they_are_too_many() -> None:
    """Not only the first header counts: 16 MiB pieces that say "more follows" add up."""
    async with serving(FixedFront(max_allowed_packet=20 << 20)) as (port, front):
        async with raw(port) as client:
            await client.log_in()
            piece = b"\x03" + b" " * 0xFFFFFE
            client.writer.write(struct.pack("<I", 0xFFFFFF) + piece)
            client.writer.write(struct.pack("<I", 0xFFFFFF | 1 << 24))
            assert error_code(await client.payload()) == 1153
            client.writer.write(bytes(1000))
            assert await client.closed()
        assert front.executed == []
        await alive(port)


async def test_three_hundred_half_open_strangers_leave_room_for_a_client_that_logs_in() -> None:
    """Each has sent nothing, half a header or half a login; none holds a session."""
    async with serving() as (port, front):
        strangers: list[Raw] = []
        try:
            for number in range(300):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write((b"", b"\x20", b"\x20\0\0\1root")[number % 3])
                strangers.append(Raw(reader, writer))
            await alive(port)
            assert len(front.sessions) <= 1
        finally:
            for stranger in strangers:
                stranger.writer.close()


@pytest.mark.parametrize("rows", ["rows 100000", "every kind"])
async def test_a_client_that_resets_amid_its_rows_leaves_nothing_behind(rows: str) -> None:
    async with serving() as (port, front):
        for _ in range(20):
            async with raw(port) as client:
                await client.log_in()
                client.send(b"\x03" + rows.encode())
                await client.payload()
                client.writer.transport.abort()
        async with asyncio.timeout(5):
            while front.sessions or front.open_results:
                await asyncio.sleep(0.01)
        await alive(port)


async def test_long_data_for_statements_and_parameters_that_are_not_there_is_swallowed() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        for body in (
            b"",
            b"\1",
            struct.pack("<IH", 99, 0) + b"x",
            struct.pack("<IH", 1, 65_535) + b"x" * 70_000,
        ):
            client.send(b"\x18" + body)
        assert (await client.ask(b"\x0e"))[0] == 0


async def test_a_thousand_commands_in_one_segment_are_answered_in_order() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        client.writer.write(b"".join(struct.pack("<I", 1) + b"\x0e" for _ in range(1000)))
        for _ in range(1000):
            assert (await client.payload())[0] == 0
        assert len(front.sessions) == 1


@pytest.mark.parametrize("kind", [ColumnType.DATETIME, ColumnType.TIMESTAMP, ColumnType.TIME])
@pytest.mark.parametrize("us", [1_000_000, 2**31, 2**32 - 1])
def test_a_time_with_more_than_a_second_of_microseconds_is_refused(kind: ColumnType, us: int) -> None:
    fields = struct.pack("<HBBBBBI", 2022, 4, 16, 12, 0, 0, us)
    if kind is ColumnType.TIME:
        fields = struct.pack("<BIBBBI", 0, 1, 2, 3, 4, us)
    reader = PacketReader(bytes((len(fields),)) + fields)
    with pytest.raises(BadArguments):
        read_parameters(reader, (ParameterType(kind, False),), b"\0", {}, "utf-8")


async def _placeholders_s(count: int) -> float:
    driver = FrontDriver()
    started = time.process_time()
    prepared = await driver.front.prepare(driver.session, "SELECT 1 WHERE 1 IN (" + "?," * (count - 1) + "?)")
    assert prepared.parameter_count == count
    return time.process_time() - started


async def test_placeholders_are_counted_in_linear_time_and_not_in_comments() -> None:
    """Eight times as many may take eight times as long, with room for a busy machine; not 64 times."""
    driver = FrontDriver()
    for sql in (
        "select ? -- it's\n, ?",
        "select ? /* it's ? */, ?",
        "select ? # ?'\n, '?', ?",
        'select ?, "?", ?',
    ):
        assert (await driver.front.prepare(driver.session, sql)).parameter_count == 2
    await _placeholders_s(100)
    few = min([await _placeholders_s(3_000) for _ in range(3)])
    many = min([await _placeholders_s(24_000) for _ in range(3)])
    assert many < 30 * few


async def test_a_long_list_of_ids_is_planned_in_linear_time(service: QueryService) -> None:
    async def seconds(count: int, negated: str) -> float:
        ids = ",".join(f"'{number:026}'" for number in range(count))
        sql = (
            "SELECT COUNT(*) FROM tasks WHERE namespace = 'n' AND deliver_at > '2020-01-01'"
            f" AND id {negated} IN ({ids})"
        )
        started = time.perf_counter()
        assert await answer(service, sql, StatementContext(NOW_US)) == [(0,)]
        return time.perf_counter() - started

    for negated in ("", "NOT"):
        few, many = await seconds(1_000, negated), await seconds(8_000, negated)
        assert many < 30 * few


BOMBS = {
    "REPEAT": "SELECT LENGTH(REPEAT('a', 1000000000))",
    "REPEAT twice": "SELECT LENGTH(REPEAT(REPEAT('a', 10000000), 1000))",
    "SPACE": "SELECT LENGTH(SPACE(4000000000))",
    "LPAD": "SELECT LENGTH(LPAD('a', 2000000000, 'b'))",
    "RPAD": "SELECT LENGTH(RPAD('a', 99999999999, 'b'))",
    "REPLACE": "SELECT LENGTH(REPLACE(REPEAT('a', 100000), 'a', REPEAT('b', 100000)))",
}


@pytest.mark.parametrize("sql", BOMBS.values(), ids=BOMBS)
async def test_a_text_longer_than_a_packet_is_null_and_is_never_made(service: QueryService, sql: str) -> None:
    """MySQL manual: String Functions, on results longer than max_allowed_packet."""
    assert await answer(service, sql) == [(None,)]


LONG = {
    "CONCAT of constants": "SELECT LENGTH(CONCAT(" + ", ".join(["REPEAT('x', 16000000)"] * 100) + "))",
    "one of many": "SELECT CONCAT_WS('', " + ", ".join(["SPACE(9000000)"] * 50) + ") = 'a'",
    "HEX of HEX": "SELECT LENGTH(HEX(HEX(HEX(HEX(HEX(HEX(REPEAT('a', 4000000))))))))",
    "a list": "SELECT " + ", ".join(f"LPAD('', {50_000_000 + at}, 'x') = 'a'" for at in range(9)),
    "rows": "SELECT SUM(LENGTH(REPEAT(COLUMN_NAME, 200000))) FROM information_schema.columns",
    "recursion": "WITH RECURSIVE r AS (SELECT CAST('a' AS CHAR(99999999)) AS n"
    " UNION ALL SELECT CONCAT(n, n) FROM r) SELECT MAX(LENGTH(n)) FROM r",
}


@pytest.mark.parametrize("sql", LONG.values(), ids=LONG)
async def test_long_texts_have_so_many_bytes_together_and_no_more(tmp_path: Path, sql: str) -> None:
    """The engine counts no texts that functions make, and works out constants without being asked to stop."""
    machine = open_machine(tmp_path / "state")
    service, copy = service_over(machine)
    driver = FrontDriver()
    front = Front(service, Z4Catalog(), driver.connections, lambda: NOW_US)
    session = front.open_session(1, "root", "localhost", "z4", {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SqlError) as refused:
        result = await front.execute(session, sql)
        assert isinstance(result, ResultSet)
        await rows_of(result)
    assert refused.value.code == 1104
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900 << 10
    assert copy.readers == 0, "it has ended, and not only been given up"
    service.close()
    machine.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CONV(REPEAT('z', 60000), 36, 2)",
        "SELECT JSON_LENGTH(JSON_EXTRACT(CONCAT('[', REPEAT('[[[1, 2, 3]]], ', 4000), '1]'), '$**[*]'))",
    ],
)
async def test_long_texts_are_read_in_linear_time(service: QueryService, sql: str) -> None:
    async with asyncio.timeout(10):
        assert len(await answer(service, sql)) == 1


async def test_functions_of_a_query_that_has_to_end_are_not_begun_any_more(tmp_path: Path) -> None:
    """They are called while the engine binds, when it does not look whether it was interrupted."""
    machine = open_machine(tmp_path / "state")
    service, copy = service_over(machine)
    sql = "SELECT " + ", ".join(f"CRC32(SOUNDEX(REPEAT('abcdefg{at}', 60)))" for at in range(4_000))
    with pytest.raises(SqlError) as ended:
        await answer(service, sql, StatementContext(NOW_US, limits=Limits(execution_time_ms=50)))
    assert ended.value.code == 3024
    async with asyncio.timeout(5):
        while copy.readers:
            await asyncio.sleep(0.01)
    service.close()
    machine.close()


async def test_texts_that_fit_are_replaced_and_padded(service: QueryService) -> None:
    sql = (
        "SELECT REPLACE('abcabc', 'b', 'xyz'), REPLACE('abc', '', 'x'), REPLACE(NULL, 'a', 'b'),"
        " LENGTH(REPLACE(CONCAT(REPEAT('a', 1000000), 'q'), 'q', REPEAT('b', 1000000))),"
        " LPAD('a', 3, 'xy'), RPAD('a', 4, 'xy'), LPAD('abc', 2, 'x'),"
        " LPAD('a', -1, 'x'), LPAD('a', NULL, 'x')"
    )
    assert await answer(service, sql) == [
        ("axyzcaxyzc", "abc", None, 2_000_000, "xya", "axyx", "ab", None, None)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT",
        "SELECT-- 1",
        "SELECT /* 1 */",
        "SELECT 1 FROM (SELECT FROM tasks) t",
        "SELECT id IN () FROM tasks",
        "SELECT id FROM tasks WHERE id NOT IN ( /* none */ )",
    ],
)
async def test_a_select_or_a_list_of_nothing_is_a_syntax_error(sql: str) -> None:
    assert await FrontDriver().outcome(sql) == "error 1064"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT REPEAT('a', 20000) LIKE CONCAT(REPEAT('%a', 12), '%b')",
        "SELECT REPEAT('a', 30000) REGEXP '(a|aa)+$b'",
        "SELECT REPEAT('a', 30000) REGEXP '(a*)*(a*)*b'",
    ],
)
async def test_patterns_do_not_backtrack_without_end(service: QueryService, sql: str) -> None:
    async with asyncio.timeout(5):
        assert await answer(service, sql) == [(0,)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r", 3636),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 500)"
            " SELECT COUNT(*) FROM r a, r b, r c, r d WHERE a.n + b.n + c.n + d.n > 5",
            3024,
        ),
    ],
)
async def test_endless_queries_end_at_their_deadline(service: QueryService, sql: str, code: int) -> None:
    context = StatementContext(NOW_US, limits=Limits(execution_time_ms=300))
    async with asyncio.timeout(10):
        with pytest.raises(SqlError) as refused:
            await answer(service, sql, context)
    assert refused.value.code == code
