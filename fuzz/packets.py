"""Packets: the login, every command's body, prepared executions. python -m fuzz.packets [libFuzzer options]

Whatever the bytes, the readers give a value or an `SqlError`, and never take more than the packet holds.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["z4sql.sql.wire"]):
    from z4sql.sql.errors import SqlError
    from z4sql.sql.result import Prepared
    from z4sql.sql.wire.codec import Capabilities, PacketReader
    from z4sql.sql.wire.requests import OFFERED, is_ssl_request, read_change_user, read_login, read_query
    from z4sql.sql.wire.statements import Statement, read_execution

_PLAIN = Capabilities(0x88200)


def one_input(data: bytes) -> None:
    """The first byte chooses the reader and the capabilities."""
    if not data:
        return
    choice, packet = data[0], data[1:]
    capabilities = OFFERED if choice & 0x80 else _PLAIN
    try:
        match choice & 3:
            case 0:
                is_ssl_request(packet)
                read_login(packet, encrypted=bool(choice & 4))
            case 1:
                read_change_user(packet, capabilities, "utf-8")
            case 2:
                read_query(packet, capabilities, "utf-8")
            case _:
                prepared = Prepared("", choice >> 2 & 15, ())
                statement = Statement(1, prepared)
                statement.add_long_data(choice & 4, packet[:10], 1 << 20)
                execution = read_execution(PacketReader(packet), statement, capabilities, "utf-8")
                if len(execution.parameters) != prepared.parameter_count:
                    raise AssertionError("as many values as placeholders")
    except SqlError:
        pass


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
