"""The wire between a peer and a follower copy of its state, over a local socket.

A frame is a length (u32, little-endian), a type byte and a body. The copy speaks first::

    copy -> peer   HELLO       JSON: version, cluster, replica, index and term of its state (zeros: none)
    peer -> copy   TAIL        JSON: cluster, replica; entries from the copy's next one on follow
                   CHECKPOINT  JSON: cluster, replica, path, index; the copy starts anew from there
                   ENTRIES     applied entries, one behind the other, as they lie in the log
    copy -> peer   READ         u64: asks for an index that makes a read linearizable
    peer -> copy   READ_INDEX   u64 of the request, u64 index (0: no leader confirmed one)
"""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum
from typing import Final

FEED_VERSION: Final = 1
FRAME_BYTES_MAX: Final = 64 << 20
HEAD = struct.Struct("<IB")
READ = struct.Struct("<Q")
READ_INDEX = struct.Struct("<QQ")


class FrameType(IntEnum):
    HELLO = 1
    TAIL = 2
    CHECKPOINT = 3
    ENTRIES = 4
    READ = 5
    READ_INDEX = 6


class FeedBroken(Exception):
    """The other side spoke wrongly; the connection is of no use."""


def frame(kind: FrameType, *parts: bytes) -> bytes:
    """One frame whose body is the parts."""
    length = sum(map(len, parts))
    return b"".join((HEAD.pack(length, kind), *parts))


async def read_frame(reader: asyncio.StreamReader) -> tuple[FrameType, bytes]:
    """The next frame. :raises FeedBroken: :raises EOFError: when the other side is gone."""
    try:
        length, kind = HEAD.unpack(await reader.readexactly(HEAD.size))
        if length > FRAME_BYTES_MAX:
            raise FeedBroken(f"frame of {length} bytes")
        return FrameType(kind), await reader.readexactly(length)
    except ValueError as error:
        raise FeedBroken(str(error)) from error
