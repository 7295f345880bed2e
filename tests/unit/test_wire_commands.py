"""Commands of a logged-in client, packet by packet."""

from __future__ import annotations

import asyncio
import importlib
import random
import struct

import mysql_mimic.schema
import mysql_mimic.session
import pytest

from tests.wire_peer import FixedFront, serving
from tests.wire_raw import (
    ATTRIBUTES,
    DEPRECATE_EOF,
    PLAIN,
    QUERY_ATTRIBUTES,
    WITH_DATABASE,
    Raw,
    error_code,
    login,
    raw,
)
from z4sql.sql.wire.auth import NoAccounts
from z4sql.sql.wire.errors import UnknownThread
from z4sql.sql.wire.server import WireServer
from z4sql.sql.wire.settings import WireSettings
from z4sql.sql.wire.statements import TEXTS_MAX

AUTOCOMMIT, CURSOR, LAST = 2, 0x40, 0x80
NAMES = ("nothing", "leased", "attempts", "sequence", "price", "score", "name")


def test_the_executor_that_evaluates_generated_code_raises() -> None:
    executor = importlib.import_module("sqlglot.executor")
    for execute in (executor.execute, mysql_mimic.session.execute, mysql_mimic.schema.execute):
        with pytest.raises(RuntimeError):
            execute("select 1")


async def prepare(client: Raw, sql: str) -> tuple[int, int, int]:
    """(id, columns, parameters), the definitions read over."""
    head = await client.ask(b"\x16" + sql.encode())
    _, statement, columns, parameters = struct.unpack_from("<BIHH", head)
    for count in (parameters, columns):
        for _ in range(count):
            assert (await client.payload()).startswith(b"\x03def")
        if count and not client.capabilities & DEPRECATE_EOF:
            assert (await client.payload())[0] == 0xFE
    return statement, columns, parameters


def execute(statement: int, body: bytes = b"", flags: int = 0) -> bytes:
    return b"\x17" + struct.pack("<IBI", statement, flags, 1) + body


async def columns_of(client: Raw, first: bytes) -> None:
    """Read the definitions of a result behind its column count."""
    for _ in range(first[0]):
        assert (await client.payload()).startswith(b"\x03def")
    if not client.capabilities & DEPRECATE_EOF:
        assert (await client.payload())[0] == 0xFE


def status_of(end: bytes) -> int:
    """Status of an EOF packet or of an OK in its place."""
    return int.from_bytes(end[3:5], "little")


IDLE = (
    b"The client was disconnected by the server because of inactivity."
    b" See wait_timeout and interactive_timeout for configuring this behavior."
)

both_ends = pytest.mark.parametrize("end", [0, DEPRECATE_EOF], ids=["eof", "ok"])


@both_ends
@pytest.mark.parametrize("attributes", [0, QUERY_ATTRIBUTES], ids=["", "attributes"])
async def test_a_result_ends_with_autocommit_and_no_row_count(end: int, attributes: int) -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in(capabilities=PLAIN | end | attributes)
        await columns_of(client, await client.query("rows 7"))
        rows = await client.rows()
        assert len(rows) == 8
        assert rows[0] == b"\x010\x05row-0"
        assert rows[-1] == (b"\xfe\0\0\x02\0\0\0" if end else b"\xfe\0\0\x02\0")


@pytest.mark.parametrize(("client_name", "wire"), [(b"libmariadb", 252), (b"libmysqls_", 245)])
async def test_json_has_its_own_type_but_for_libmariadb(client_name: bytes, wire: int) -> None:
    pair = b"\x0c_client_name\x0a" + client_name
    async with serving() as (port, _), raw(port) as client:
        await client.greeting()
        client.send(login(capabilities=PLAIN | ATTRIBUTES, tail=bytes((len(pair),)) + pair), 1)
        await client.payload()
        count = (await client.query("every kind"))[0]
        definitions = [await client.payload() for _ in range(count)]
        (metadata,) = [packet for packet in definitions if b"metadata" in packet]
        assert metadata[-6] == wire


async def test_query_attributes_are_read_over() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in(capabilities=PLAIN | QUERY_ATTRIBUTES)
        attribute = b"\x01\x01" + b"\0" + b"\x01" + b"\xfe\0" + b"\x05trace" + b"\x03abc"
        assert (await client.ask(b"\x03" + attribute + b"do nothing"))[0] == 0
        assert front.executed == ["do nothing"]


async def test_commands_may_be_pipelined() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        for _ in range(50):
            client.send(b"\x0e")
            client.send(b"\x03do it")
        for _ in range(100):
            sequence, payload = await client.packet()
            assert (sequence, payload[0]) == (1, 0)
        assert len(front.executed) == 50


@pytest.mark.parametrize("command", [0, 5, 8, 11, 15, 18, 29, 30, 77, 255])
async def test_unknown_commands_are_refused_and_the_connection_stays(command: int) -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        assert error_code(await client.ask(bytes((command,)) + b"xyz")) == 1047
        assert error_code(await client.ask(b"")) == 1047
        assert (await client.ask(b"\x0e"))[0] == 0


async def test_field_list_sends_one_packet_a_column() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        assert error_code(await client.ask(b"\x04nosuch\0")) == 1146
        client.send(b"\x04tasks\0%")
        rows = await client.rows()
        assert len(rows) == 14
        for name, row in zip(NAMES, rows, strict=False):
            assert bytes((len(name),)) + name.encode() in row and row.endswith(b"\xfb")


async def test_small_commands_answer() -> None:
    async with serving() as (port, front), raw(port) as client:
        greeting = await client.log_in()
        assert (await client.ask(b"\x02z4"))[0] == 0
        assert error_code(await client.ask(b"\x02nosuch")) == 1049
        assert (await client.ask(b"\x09")).startswith(b"Uptime")
        assert (await client.ask(b"\x0d"))[0] == 0xFE
        assert (await client.ask(b"\x1b\0\0"))[0] == 0xFE
        assert error_code(await client.ask(b"\x1b\x07\0")) == 1047
        await columns_of(client, await client.ask(b"\x0a"))
        assert len(await client.rows()) == 2
        assert (await client.ask(b"\x1f"))[0] == 0 and front.resets == 1
        assert error_code(await client.ask(b"\x0c" + struct.pack("<I", 12345))) == 1094
        client.send(b"\x0c" + struct.pack("<I", greeting.connection_id))
        assert await client.closed()


@both_ends
async def test_prepare_describes_parameters_and_columns(end: int) -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in(capabilities=PLAIN | end)
        assert (await prepare(client, "rows ?"))[1:] == (2, 1)
        assert (await prepare(client, "do nothing"))[1:] == (0, 0)
        assert error_code(await client.ask(b"\x16syntax")) == 1064
        assert (await client.ask(b"\x0e"))[0] == 0


@both_ends
@pytest.mark.parametrize("size", [1, 7, 100, 299, 300, 301, 1000])
async def test_a_cursor_gives_exactly_the_rows_asked_for(end: int, size: int) -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in(capabilities=PLAIN | end)
        statement, _, _ = await prepare(client, "rows 1000")
        first = await client.ask(execute(statement, flags=1))
        for _ in range(first[0]):
            await client.payload()
        assert status_of(await client.payload()) == AUTOCOMMIT | CURSOR
        numbers: list[int] = []
        while True:
            client.send(b"\x1c" + struct.pack("<II", statement, size))
            rows = []
            while (payload := await client.payload())[0] == 0:
                rows.append(payload)
            assert payload[0] == 0xFE
            numbers += [struct.unpack_from("<q", row, 2)[0] for row in rows]
            if status_of(payload) & LAST:
                assert len(rows) < size
                break
            assert len(rows) == size and status_of(payload) & CURSOR
        assert numbers == list(range(1000))
        assert error_code(await client.ask(b"\x1c" + struct.pack("<II", statement, size))) == 1421
        assert front.open_results == 0


async def test_cursors_are_closed_by_reset_close_and_new_execution() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in(capabilities=PLAIN | DEPRECATE_EOF)
        statement, _, _ = await prepare(client, "rows 1000")

        async def open_and_fetch_one() -> None:
            first = await client.ask(execute(statement, flags=1))
            for _ in range(first[0] + 1):
                await client.payload()
            client.send(b"\x1c" + struct.pack("<II", statement, 1))
            await client.payload()
            await client.payload()
            assert front.open_results == 1

        await open_and_fetch_one()
        await open_and_fetch_one()
        assert (await client.ask(b"\x1a" + struct.pack("<I", statement)))[0] == 0
        assert front.open_results == 0 and front.resets == 0
        await open_and_fetch_one()
        client.send(b"\x19" + struct.pack("<I", statement))
        assert error_code(await client.ask(execute(statement))) == 1243
        assert front.open_results == 0
        statement, _, _ = await prepare(client, "rows 1000")
        await open_and_fetch_one()
        assert (await client.ask(b"\x1f"))[0] == 0
        assert front.open_results == 0
        assert error_code(await client.ask(execute(statement))) == 1243


async def test_parameters_keep_their_types_between_executions() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        statement, _, _ = await prepare(client, "do ? ?")
        typed = b"\0" + b"\x01" + b"\x08\x80" + b"\xfd\0"
        assert error_code(await client.ask(execute(statement, b"\0\0" + bytes(8) + b"\x01x"))) == 1210
        values = struct.pack("<Q", 2**64 - 1) + b"\x04it's"
        assert (await client.ask(execute(statement, typed + values)))[0] == 0
        assert (await client.ask(execute(statement, b"\x02\0" + bytes(8))))[0] == 0
        assert front.bound == [[2**64 - 1, "it's"], [0, None]]


async def test_long_data_replaces_a_parameter_once_and_has_no_reply() -> None:
    front = FixedFront(max_allowed_packet=1000)
    async with serving(front) as (port, _), raw(port) as client:
        await client.log_in()
        statement, _, _ = await prepare(client, "do ? ?")
        for piece in (b"abc", b"\xff", b""):
            client.send(b"\x18" + struct.pack("<IH", statement, 0) + piece)
        client.send(b"\x18" + struct.pack("<IH", 999, 0) + b"nobody")
        types = b"\0\x01" + b"\xfc\0" + b"\x01\0"
        assert (await client.ask(execute(statement, types + b"\x07")))[0] == 0
        assert (await client.ask(execute(statement, types + b"\x01z\x07")))[0] == 0
        assert front.bound == [[b"abc\xff", 7], [b"z", 7]]
        client.send(b"\x18" + struct.pack("<IH", statement, 2) + b"x")
        assert error_code(await client.ask(execute(statement, types + b"\x01z\x07"))) == 1210
        for _ in range(3):
            client.send(b"\x18" + struct.pack("<IH", statement, 0) + bytes(500))
        assert error_code(await client.ask(execute(statement, types + b"\x07"))) == 1105
        assert (await client.ask(execute(statement, types + b"\x01z\x07")))[0] == 0


async def test_texts_of_statements_have_so_many_bytes_together_and_no_more() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        text = "do nothing " + " " * 999_000
        ids = [(await prepare(client, text))[0] for _ in range(TEXTS_MAX // len(text))]
        assert error_code(await client.ask(b"\x16" + text.encode())) == 3170
        client.send(b"\x19" + struct.pack("<I", ids[0]))
        await prepare(client, text)


async def test_long_data_of_all_statements_together_is_bounded() -> None:
    front = FixedFront(max_allowed_packet=1000)
    async with serving(front) as (port, _), raw(port) as client:
        await client.log_in()
        one, other = [(await prepare(client, "do ? ?"))[0] for _ in range(2)]
        types = b"\0\x01" + b"\xfc\0" + b"\x01\0"
        for statement in (one, other):
            client.send(b"\x18" + struct.pack("<IH", statement, 0) + bytes(600))
        assert error_code(await client.ask(execute(other, types + b"\x07"))) == 1105


async def test_long_data_that_was_used_leaves_room_for_more() -> None:
    front = FixedFront(max_allowed_packet=1000)
    async with serving(front) as (port, _), raw(port) as client:
        await client.log_in()
        statement, _, _ = await prepare(client, "do ?")
        for _ in range(4):
            client.send(b"\x18" + struct.pack("<IH", statement, 0) + bytes(600))
            assert (await client.ask(execute(statement, b"\0\x01\xfc\0")))[0] == 0
        assert front.bound == [[bytes(600)]] * 4


@pytest.mark.parametrize(
    "number", [b"1e999999999999", b"-1e-999999999999", b"1e82", b"0e-99999999", b"9" * 82]
)
async def test_a_decimal_that_would_be_written_with_endless_digits_is_refused(number: bytes) -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        statement, _, _ = await prepare(client, "do ?")
        value = bytes((len(number),)) + number
        assert error_code(await client.ask(execute(statement, b"\0\x01\xf6\0" + value))) == 1210
        assert front.bound == []


async def test_statements_are_counted_against_a_cap() -> None:
    async with serving(settings=WireSettings(prepared_statements_max=3)) as (port, _), raw(port) as client:
        await client.log_in()
        ids = [(await prepare(client, "do nothing"))[0] for _ in range(3)]
        assert error_code(await client.ask(b"\x16do nothing")) == 1461
        client.send(b"\x19" + struct.pack("<I", ids[0]))
        await prepare(client, "do nothing")
        assert error_code(await client.ask(execute(ids[0]))) == 1243
        assert error_code(await client.ask(b"\x1c" + struct.pack("<II", ids[0], 1))) == 1243
        assert error_code(await client.ask(b"\x1a" + struct.pack("<I", ids[0]))) == 1243


async def test_malformed_commands_are_errors_of_a_connection_that_stays() -> None:
    source = random.Random(7)
    async with serving() as (port, _), raw(port) as client:
        await client.log_in(capabilities=PLAIN | QUERY_ATTRIBUTES)
        statement, _, _ = await prepare(client, "do ? ?")
        for _ in range(2000):
            command = source.choice(b"\x03\x17\x17\x17\x1c\x1a\x0c\x1b\x04\x02")
            body = source.randbytes(source.randrange(40))
            if command == 0x17 and source.random() < 0.8:
                body = struct.pack("<IBI", statement, 0, 1) + bytes((source.randrange(5),)) + body
            answer = await client.ask(bytes((command,)) + body)
            if answer[0] not in (0, 0xFE, 0xFF):
                await columns_of(client, answer)
                await client.rows()
        assert (await client.ask(b"\x0e"))[0] == 0


async def test_packets_above_the_limit_end_the_connection() -> None:
    front = FixedFront(max_allowed_packet=20_000_000)
    async with serving(front) as (port, _), raw(port) as client:
        await client.log_in()
        client.send(b"\x03do " + b"x" * 19_999_000)
        assert (await client.payload())[0] == 0
        assert len(front.executed[0]) == 19_999_003
        client.send(b"\x03do " + b"x" * 20_000_000)
        assert error_code(await client.payload()) == 1153
        assert await client.closed()


async def test_packets_out_of_order_end_the_connection() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        client.send(b"\x0e", sequence=3)
        assert error_code(await client.payload()) == 1156
        assert await client.closed()


async def test_text_is_utf8_or_of_the_clients_own_character_set() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        assert error_code(await client.ask(b"\x03do \xff")) == 1300
    async with serving() as (port, front), raw(port) as client:
        await client.greeting()
        client.send(login(collation=8), 1)
        await client.payload()
        for text in ("żółw".encode(), "é".encode("latin1")):
            assert (await client.ask(b"\x03do " + text))[0] == 0
        assert front.executed == ["do żółw", "do é"]


async def test_an_idle_client_is_told_and_dropped() -> None:
    async with serving(FixedFront(wait_timeout_s=0.1)) as (port, front), raw(port) as client:
        await client.log_in()
        assert await client.packet() == (0, b"\xff\xbf\x0f#HY000" + IDLE)
        await wait_until(lambda: not front.sessions)
        assert await client.closed()


@pytest.mark.parametrize("close", ["close", "abort"])
async def test_a_client_that_leaves_cancels_its_command(close: str) -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in()
        client.send(b"\x03sleep")
        client.send(b"\x0e")  # bytes that wait to be read do not hide that it left
        await wait_until(front.started.is_set)
        if close == "abort":
            client.writer.transport.abort()
        else:
            client.writer.close()
        async with asyncio.timeout(0.5):
            await wait_until(front.cancelled.is_set)
            await wait_until(lambda: not front.sessions)


async def wait_until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_a_query_killed_between_rows_ends_with_an_error_in_step() -> None:
    async with serving() as (port, front), raw(port) as client:
        greeting = await client.log_in()
        client.send(b"\x03rows 1000 then hang")
        await wait_until(front.started.is_set)
        front.connections.kill(greeting.connection_id, query_only=True, by_user="root")
        packets = await packets_in_step(client)
        assert error_code(packets[-1]) == 1317 and packets[-1][3:9] == b"#70100"
        assert len(packets) == 1 + 2 + 1 + 1000 + 1
        assert (await client.ask(b"\x0e"))[0] == 0


async def packets_in_step(client: Raw) -> list[bytes]:
    """Payloads up to an error, their sequence numbers checked."""
    payloads = [b"\0"]
    while payloads[-1][0] != 0xFF:
        sequence, payload = await client.packet()
        assert sequence == len(payloads) % 256
        payloads.append(payload)
    return payloads[1:]


async def test_rows_do_not_wait_in_a_buffer_for_those_that_take_long() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.log_in()
        client.send(b"\x03rows 3 then hang")
        await columns_of(client, await client.payload())
        assert [await client.payload() for _ in range(3)][-1] == b"\x012\x05row-2"


async def test_a_client_that_never_reads_is_dropped_at_the_write_deadline() -> None:
    async with serving(settings=WireSettings(write_timeout_s=0.2)) as (port, front), raw(port) as client:
        await client.log_in()
        client.send(b"\x03rows 3000000")
        await wait_until(lambda: front.open_results == 1)
        await wait_until(lambda: front.open_results == 0 and not front.sessions)
        assert front.batches_produced < 5000


async def test_a_slow_reader_can_be_killed_and_keeps_step() -> None:
    async with serving() as (port, front), raw(port) as client:
        greeting = await client.log_in()
        client.send(b"\x03rows 2000000")
        seen = -1
        while seen != front.batches_produced:
            seen = front.batches_produced
            await asyncio.sleep(0.2)
        front.connections.kill(greeting.connection_id, query_only=True, by_user=None)
        await wait_until(lambda: front.open_results == 0)
        assert error_code((await packets_in_step(client))[-1]) == 1317
        assert (await client.ask(b"\x0e"))[0] == 0


async def test_the_registry_tells_what_runs_and_kills_only_for_owners() -> None:
    async with serving() as (port, front), raw(port) as client:
        greeting = await client.log_in("ann", PLAIN | WITH_DATABASE, b"z4")
        client.send(b"\x03sleep")
        await wait_until(front.started.is_set)
        (info,) = front.connections.list()
        assert (info.connection_id, info.user, info.database) == (greeting.connection_id, "ann", "z4")
        assert (info.command, info.info) == ("Query", "sleep")
        assert info.host == f"localhost:{client.writer.get_extra_info('sockname')[1]}"
        with pytest.raises(UnknownThread):
            front.connections.kill(0, query_only=True, by_user=None)
        front.connections.kill(greeting.connection_id, query_only=False, by_user="ann")
        assert error_code(await client.payload()) == 1317
        assert await client.closed()
    assert front.connections.list() == []


async def test_change_user_starts_a_new_session_and_its_failure_ends_the_connection() -> None:
    async with serving() as (port, front), raw(port) as client:
        await client.log_in("ann")
        statement, _, _ = await prepare(client, "do nothing")
        request = b"\x11bob\0\0z4\0" + b"\xff\0" + b"caching_sha2_password\0"
        switch = await client.ask(request)
        assert switch.startswith(b"\xfecaching_sha2_password\0")
        client.send(b"", 2)
        assert (await client.packet())[0] == 3
        assert [session.user for session in front.sessions.values()] == ["bob"]
        assert error_code(await client.ask(execute(statement))) == 1243
        await client.ask(b"\x11bob\0\0nosuch\0" + b"\xff\0" + b"caching_sha2_password\0")
        client.send(b"", 2)
        assert error_code(await client.payload()) == 1049
        assert await client.closed()
        assert front.sessions == {}


async def test_stopping_tells_the_idle_at_once_and_the_busy_after_the_grace() -> None:
    front = FixedFront()
    server = WireServer(front, NoAccounts(), WireSettings(), front.connections)
    port = await server.start("127.0.0.1", 0)
    async with raw(port) as idle, raw(port) as busy, raw(port) as stranger:
        await idle.log_in()
        await busy.log_in()
        await stranger.greeting()
        busy.send(b"\x03sleep")
        await wait_until(front.started.is_set)
        stopping = asyncio.create_task(server.stop(0.1))
        assert error_code(await idle.payload()) == 1053
        assert await stranger.closed()
        assert error_code(await busy.payload()) == 1053
        assert await busy.closed()
        await stopping
        assert front.cancelled.is_set()
        assert front.sessions == {} and len(front.connections) == 0
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_stopping_lets_a_running_command_finish_within_the_grace() -> None:
    front = FixedFront()
    server = WireServer(front, NoAccounts(), WireSettings(), front.connections)
    port = await server.start("127.0.0.1", 0)
    async with raw(port) as client:
        await client.log_in()
        await columns_of(client, await client.query("rows 500000"))
        stopping = asyncio.create_task(server.stop(60))
        rows = await client.rows()
        assert len(rows) == 500_001 and rows[-1][0] == 0xFE
        assert error_code(await client.payload()) == 1053
        await stopping
