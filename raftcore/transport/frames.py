"""Messages as bytes: what one host sends to another in one loop turn is one frame.

A frame is a header (version, count of messages, length and crc32 of their heads), the heads, and then the
entries of all Appends in order. A head is a type byte and fixed fields, for a Snapshot followed by its meta.
Entries carry their own crc32 and are not summed twice. Little-endian throughout.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any
from zlib import crc32

from raftcore.core.errors import BadFrame, InvariantViolation
from raftcore.core.membership import decode_membership, encode_membership
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    NotMember,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Snapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftcore.core.types import Index, NodeId, ShardId, SnapshotMeta, Term
from raftcore.storage.codec import decode_entries, encode_entry

VERSION = 1

_HEADER = struct.Struct("<HHIII")
_HEADER_BYTES = _HEADER.size

_ROUTE = ("shard", "src", "dst", "term")

_FIXED: dict[type[Any], tuple[int, str, tuple[str, ...]]] = {
    PreVote: (1, "QQ", ("last_index", "last_term")),
    PreVoteReply: (2, "?", ("granted",)),
    Vote: (3, "QQ?", ("last_index", "last_term", "transfer")),
    VoteReply: (4, "?", ("granted",)),
    AppendReply: (
        6,
        "?QQQQQ",
        ("rejected", "match", "rejected_index", "hint_index", "hint_term", "read_position"),
    ),
    Heartbeat: (7, "QQ", ("commit", "read_position")),
    HeartbeatReply: (8, "Q", ("read_position",)),
    TimeoutNow: (10, "", ()),
    ReadRequest: (11, "Q", ("id",)),
    ReadReply: (12, "QQ", ("id", "index")),
    NotMember: (13, "Q", ("config_index",)),
}
"""Per class: its type byte, the formats and names of its own fields. A number is never used again."""

_APPEND = struct.Struct("<BQQQQQQQQI")
_APPEND_TYPE = 5
_SNAPSHOT = struct.Struct("<BQQQQQQQHI")
_SNAPSHOT_TYPE = 9

_Encoder = tuple[int, Callable[..., bytes], Callable[[Any], tuple[Any, ...]]]


def _fixed_encoder(number: int, formats: str, names: tuple[str, ...]) -> _Encoder:
    return number, struct.Struct("<BQQQQ" + formats).pack, attrgetter(*_ROUTE, *names)


_ENCODERS = {kind: _fixed_encoder(*spec) for kind, spec in _FIXED.items()}
_DECODERS = {
    number: (kind, struct.Struct("<BQQQQ" + formats)) for kind, (number, formats, _) in _FIXED.items()
}


def encode_message(message: Message) -> bytes:
    """A frame of one message."""
    return encode_frame((message,))


def decode_message(data: bytes) -> Message:
    """The message of a frame of one. :raises BadFrame: as `decode_frame`, or when it holds more or none."""
    messages = decode_frame(data)
    if len(messages) != 1:
        raise BadFrame(f"frame of {len(messages)} messages where one is expected")
    return messages[0]


def encode_frame(messages: Sequence[Message]) -> bytes:
    """One frame of all ``messages``, in their order."""
    heads: list[bytes] = []
    bodies: list[bytes] = []
    for message in messages:
        encoder = _ENCODERS.get(type(message))
        if encoder is not None:
            number, pack, fields = encoder
            heads.append(pack(number, *fields(message)))
        elif isinstance(message, Append):
            heads.append(_append_head(message))
            bodies.extend([entry.encoded or encode_entry(entry) for entry in message.entries])
        elif isinstance(message, Snapshot):
            heads.append(_snapshot_head(message))
        else:
            raise InvariantViolation(f"no encoding for {type(message).__name__}")
    head = heads[0] if len(heads) == 1 else b"".join(heads)
    return b"".join((_HEADER.pack(VERSION, 0, len(heads), len(head), crc32(head)), head, *bodies))


def decode_frame(data: bytes) -> list[Message]:
    """The messages of a frame.

    :raises BadFrame: when its version or a message's type is unknown, or its bytes are damaged. No message of
        such a frame may be used.
    """
    if len(data) < _HEADER_BYTES:
        raise BadFrame(f"frame of {len(data)} bytes")
    version, reserved, count, heads_length, crc = _HEADER.unpack_from(data)
    if version != VERSION or reserved != 0:
        raise BadFrame(f"frame of version {version}.{reserved}; this host speaks {VERSION}.0")
    view = memoryview(data)
    body_at = _HEADER_BYTES + heads_length
    heads = view[_HEADER_BYTES:body_at]
    if len(heads) != heads_length or crc32(heads) != crc:
        raise BadFrame("frame fails its checksum")
    messages: list[Message] = []
    at = 0
    try:
        for _ in range(count):
            number = heads[at]
            decoder = _DECODERS.get(number)
            if decoder is not None:
                kind, layout = decoder
                messages.append(kind(*layout.unpack_from(heads, at)[1:]))
                at += layout.size
            elif number == _APPEND_TYPE:
                *fields, entry_count = _APPEND.unpack_from(heads, at)
                at += _APPEND.size
                entries, body_at = decode_entries(view, body_at, entry_count)
                _, shard, src, dst, term, prev_index, prev_term, commit, position = fields
                messages.append(
                    Append(shard, src, dst, term, prev_index, prev_term, commit, position, entries)
                )
            elif number == _SNAPSHOT_TYPE:
                message, at = _decode_snapshot(heads, at)
                messages.append(message)
            else:
                raise BadFrame(f"message of unknown type {number}")
    except (struct.error, IndexError) as error:
        raise BadFrame(f"frame ends within a message: {error}") from error
    if at != heads_length or body_at != len(data):
        raise BadFrame(f"frame ends at {body_at}, data at {len(data)}")
    return messages


def _append_head(message: Append) -> bytes:
    return _APPEND.pack(
        _APPEND_TYPE,
        message.shard,
        message.src,
        message.dst,
        message.term,
        message.prev_index,
        message.prev_term,
        message.commit,
        message.read_position,
        len(message.entries),
    )


def _snapshot_head(message: Snapshot) -> bytes:
    meta = message.meta
    id_bytes = meta.id.encode()
    membership = encode_membership(meta.membership)
    head = _SNAPSHOT.pack(
        _SNAPSHOT_TYPE,
        message.shard,
        message.src,
        message.dst,
        message.term,
        meta.index,
        meta.term,
        meta.membership_index,
        len(id_bytes),
        len(membership),
    )
    return b"".join((head, id_bytes, membership))


def _decode_snapshot(data: memoryview, at: int) -> tuple[Snapshot, int]:
    (
        _,
        shard,
        src,
        dst,
        term,
        index,
        meta_term,
        membership_index,
        id_length,
        membership_length,
    ) = _SNAPSHOT.unpack_from(data, at)
    at += _SNAPSHOT.size
    to = at + id_length + membership_length
    if to > len(data):
        raise BadFrame(f"snapshot meta ends at {to}, data at {len(data)}")
    try:
        id_text = str(data[at : at + id_length], "utf-8")
        membership = decode_membership(bytes(data[at + id_length : to]))
    except ValueError as error:
        raise BadFrame(f"snapshot meta: {error}") from error
    meta = SnapshotMeta(Index(index), Term(meta_term), membership, Index(membership_index), id_text)
    return Snapshot(ShardId(shard), NodeId(src), NodeId(dst), Term(term), meta), to
