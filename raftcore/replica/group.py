"""A group of client commands as one entry's data: count, lengths, bodies. Encoded once, never re-framed."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from raftcore.core.errors import BadFrame

_COUNT = struct.Struct("<I")


def encode_group(commands: Sequence[bytes]) -> bytes:
    """Join commands into one entry's data."""
    count = len(commands)
    return b"".join((struct.pack(f"<{count + 1}I", count, *map(len, commands)), *commands))


def decode_group(data: bytes) -> list[memoryview]:
    """Split an entry's data into its commands, without copying.

    :raises BadFrame: when lengths and data do not agree.
    """
    if len(data) < 4:
        raise BadFrame(f"command group of {len(data)} bytes")
    (count,) = _COUNT.unpack_from(data)
    at = 4 + 4 * count
    if len(data) < at:
        raise BadFrame(f"command group of {count} commands in {len(data)} bytes")
    view = memoryview(data)
    commands = []
    for length in struct.unpack_from(f"<{count}I", data, 4):
        commands.append(view[at : at + length])
        at += length
    if at != len(data):
        raise BadFrame(f"command group ends at {at}, data at {len(data)}")
    return commands
