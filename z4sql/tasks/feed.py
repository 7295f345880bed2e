"""The wire between a peer and a follower copy of its state, over a local socket.

A frame is a length (u32, little-endian), a type byte and a body. The copy speaks first::

    copy -> peer   HELLO       JSON, see `Hello`
    peer -> copy   TAIL        JSON: cluster, replica; entries from the copy's next one on follow
                   CHECKPOINT  JSON: cluster, replica, path, index; the copy starts anew from there
                   ENTRIES     u64 the peer's applied index, then applied entries, one behind the other, as
                               they lie in the log
    copy -> peer   READ        u64: asks for an index that makes a read linearizable
    peer -> copy   READ_INDEX  u64 of the request, u64 index (0: no leader confirmed one)
    copy -> peer   ASK         u64, then the name of a table that lives outside the state, as text
    peer -> copy   ROWS        u64 of the request, then a JSON array of objects; empty: not known now
                   CONTACT     u64: for how many ms the peer has been out of touch with the cluster; often
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, Final

FEED_VERSION: Final = 4
FRAME_BYTES_MAX: Final = 64 << 20
HEAD = struct.Struct("<IB")
APPLIED = struct.Struct("<Q")
READ = struct.Struct("<Q")
READ_INDEX = struct.Struct("<QQ")
CONTACT = struct.Struct("<Q")
CONTACT_INTERVAL_S: Final = 0.2


class FrameType(IntEnum):
    HELLO = 1
    TAIL = 2
    CHECKPOINT = 3
    ENTRIES = 4
    READ = 5
    READ_INDEX = 6
    ASK = 7
    ROWS = 8
    CONTACT = 9


class FeedBroken(Exception):
    """The other side spoke wrongly; the connection is of no use."""


@dataclass(slots=True, frozen=True)
class Hello:
    """Who the copy is and where it stands: all zeros when it has no state, or none that it trusts.

    ``copy`` names it from its start to its end, ``process`` is its process id, and ``holds`` are the
    checkpoints that it still uses: the peer removes what nobody holds.
    """

    copy: str
    process: int
    holds: list[str]
    cluster: str = ""
    replica: int = 0
    index: int = 0
    term: int = 0
    version: int = FEED_VERSION

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, body: bytes) -> Hello:
        """:raises FeedBroken: when it is no hello of this version."""
        said = decode_object(body)
        if said.get("version") != FEED_VERSION:
            raise FeedBroken(f"copy of version {said.get('version')}; this peer speaks {FEED_VERSION}")
        try:
            return cls(**{field.name: said[field.name] for field in fields(cls)})
        except KeyError as missing:
            raise FeedBroken(f"hello without {missing}") from None


def frame(kind: FrameType, *parts: bytes) -> bytes:
    """One frame whose body is the parts."""
    length = sum(map(len, parts))
    return b"".join((HEAD.pack(length, kind), *parts))


async def read_frame(reader: asyncio.StreamReader) -> tuple[FrameType, bytes]:
    """The next frame. :raises FeedBroken: :raises EOFError: when the other side is gone."""
    length, number = HEAD.unpack(await reader.readexactly(HEAD.size))
    if length > FRAME_BYTES_MAX:
        raise FeedBroken(f"frame of {length} bytes")
    try:
        kind = FrameType(number)
    except ValueError:
        raise FeedBroken(f"frame of unknown type {number}") from None
    return kind, await reader.readexactly(length)


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object. :raises FeedBroken:"""
    try:
        said = json.loads(body)
    except ValueError as error:
        raise FeedBroken(str(error)) from None
    if not isinstance(said, dict):
        raise FeedBroken("not an object")
    return said


def decode_numbers(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    """The numbers of a body of fixed length. :raises FeedBroken:"""
    if len(body) != layout.size:
        raise FeedBroken(f"body of {len(body)} bytes; expected {layout.size}")
    return layout.unpack(body)
