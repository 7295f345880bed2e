"""Packets: the login, every command's body, prepared executions. python -m fuzz.packets [libFuzzer options]

Whatever the bytes, the readers give a value or an `SqlError`, and never take more than the packet holds.
Whole conversations with a server: it answers or ends them, none of its errors is internal, and it goes on.
"""

from __future__ import annotations

import asyncio
import struct
import sys

import atheris

with atheris.instrument_imports(include=["z4sql.sql.wire"]):
    from fuzz.grammar import Choices
    from tests.wire_peer import serving
    from tests.wire_raw import DEPRECATE_EOF, PLAIN, QUERY_ATTRIBUTES, Raw, login, native_answer
    from z4sql.sql.errors import SqlError
    from z4sql.sql.result import Prepared
    from z4sql.sql.wire.codec import Capabilities, Commands, PacketReader
    from z4sql.sql.wire.requests import OFFERED, is_ssl_request, read_change_user, read_login, read_query
    from z4sql.sql.wire.statements import Statement, read_execution

_PLAIN = Capabilities(0x88200)
_STATEMENTS = (
    b"do ? ?",
    b"rows 700",
    b"every kind",
    b"echo ?",
    b"text 10 300",
    b"rows 10 then fail",
    b"syntax",
)
_INTERNAL = b"internal error"
_PATIENCE_S = 5.0
_loop = asyncio.new_event_loop()
_port = 0


def one_input(data: bytes) -> None:
    """The first byte chooses the reader and the capabilities, or a conversation."""
    if not data:
        return
    choice, packet = data[0], data[1:]
    capabilities = OFFERED if choice & 0x80 else _PLAIN
    try:
        match choice & 7:
            case 0 | 4:
                is_ssl_request(packet)
                read_login(packet, encrypted=bool(choice & 4))
            case 1:
                read_change_user(packet, capabilities, "utf-8")
            case 2:
                read_query(packet, capabilities, "utf-8")
            case 3 | 7:
                prepared = Prepared("", choice >> 3 & 15, ())
                statement = Statement(1, prepared)
                statement.add_long_data(choice & 4, packet[:10], 1 << 20)
                execution = read_execution(PacketReader(packet), statement, capabilities, "utf-8")
                if len(execution.parameters) != prepared.parameter_count:
                    raise AssertionError("as many values as placeholders")
            case 5:
                _loop.run_until_complete(_conversation(_commands(Choices(packet)), choice))
            case _:
                _loop.run_until_complete(_conversation(packet, choice))
    except SqlError:
        pass


def _commands(choices: Choices) -> bytes:
    """Commands in whole packets: statements are prepared, executed, fetched from, reset and closed."""
    sent = b""
    while choices.left:
        body = _command(choices)
        sent += struct.pack("<I", len(body)) + body
    return sent


def _command(choices: Choices) -> bytes:
    statement = struct.pack("<I", 1 + choices.below(3))
    match choices.below(12):
        case 0 | 1:
            return bytes((Commands.COM_STMT_PREPARE.value,)) + _STATEMENTS[choices.below(len(_STATEMENTS))]
        case 2 | 3:
            values = choices.taken(choices.below(40))
            flags = bytes((choices.below(4),)) + struct.pack("<I", 1)
            return bytes((Commands.COM_STMT_EXECUTE.value,)) + statement + flags + values
        case 4:
            rows = struct.pack("<I", (0, 1, 7, 300, 0xFFFFFFFF)[choices.below(5)])
            return bytes((Commands.COM_STMT_FETCH.value,)) + statement + rows
        case 5:
            place = struct.pack("<H", choices.below(4))
            return bytes((Commands.COM_STMT_SEND_LONG_DATA.value,)) + statement + place + choices.taken(9)
        case 6:
            return bytes((Commands.COM_STMT_RESET.value,)) + statement
        case 7:
            return bytes((Commands.COM_STMT_CLOSE.value,)) + statement
        case 8:
            return (
                bytes((Commands.COM_CHANGE_USER.value,)) + b"ann\0\0z4\0" + choices.taken(choices.below(30))
            )
        case 9:
            return bytes((Commands.COM_QUERY.value,)) + _STATEMENTS[choices.below(len(_STATEMENTS))]
        case _:
            return bytes((choices.below(256),)) + choices.taken(choices.below(20))


async def _conversation(sent: bytes, choice: int) -> None:
    """Log in, send that, read all that comes. The server ends it, or waits for the rest of a packet."""
    if b"crash" in sent or b"hang" in sent or b"sleep" in sent:
        return  # what the stand-in behind the server does when it is told to
    reader, writer = await asyncio.open_connection("127.0.0.1", _port)
    client = Raw(reader, writer)
    extra = (DEPRECATE_EOF if choice & 8 else 0) | (QUERY_ATTRIBUTES if choice & 16 else 0)
    try:
        if choice & 32:
            greeting = await client.greeting()
            answer = native_answer(b"", greeting.nonce)
            client.send(login(answer=answer, capabilities=PLAIN | extra), 1)
        else:
            await client.log_in(capabilities=PLAIN | extra)
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(_PATIENCE_S):
            told = await reader.read(-1)
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()
    if _INTERNAL in told:
        raise AssertionError(f"an internal error: {told!r}")


def main() -> None:
    global _port
    server = serving()
    _port, _ = _loop.run_until_complete(server.__aenter__())
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
