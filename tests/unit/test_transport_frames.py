"""Frames: what is decoded is what was encoded, and damaged or foreign bytes are refused whole."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.core.errors import BadFrame
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
from raftcore.core.types import Entry, EntryKind, Member, Membership, SnapshotMeta
from raftcore.storage.codec import decode_entries, decode_entry, encode_entry
from raftcore.transport.frames import decode_frame, decode_message, encode_frame, encode_message

numbers = st.integers(0, 2**64 - 1)
route = (numbers, numbers, numbers, numbers)
entries = st.builds(Entry, numbers, numbers, st.sampled_from(EntryKind), st.binary(max_size=200))


@st.composite
def memberships(draw: st.DrawFn) -> Membership:
    ids = sorted(draw(st.sets(numbers, min_size=1, max_size=5)))
    pick = st.frozensets(st.sampled_from(ids))
    members = tuple(Member(id, draw(st.text(max_size=8)), draw(st.text(max_size=8))) for id in ids)
    return Membership(draw(pick), draw(pick), draw(pick), draw(pick), members)


metas = st.builds(SnapshotMeta, numbers, numbers, memberships(), numbers, st.text(max_size=40))

messages = st.one_of(
    st.builds(PreVote, *route, numbers, numbers),
    st.builds(PreVoteReply, *route, st.booleans()),
    st.builds(Vote, *route, numbers, numbers, st.booleans()),
    st.builds(VoteReply, *route, st.booleans()),
    st.builds(Append, *route, numbers, numbers, numbers, numbers, st.lists(entries, max_size=4)),
    st.builds(AppendReply, *route, st.booleans(), numbers, numbers, numbers, numbers, numbers),
    st.builds(Heartbeat, *route, numbers, numbers),
    st.builds(HeartbeatReply, *route, numbers),
    st.builds(Snapshot, *route, metas),
    st.builds(TimeoutNow, *route),
    st.builds(ReadRequest, *route, numbers),
    st.builds(ReadReply, *route, numbers, numbers),
    st.builds(NotMember, *route, numbers),
)


@settings(deadline=None)
@given(messages)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@settings(deadline=None)
@given(st.lists(messages, max_size=6))
def test_a_frame_keeps_its_messages_in_order(batch: list[Message]) -> None:
    assert decode_frame(encode_frame(batch)) == batch


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_a_flipped_bit_never_passes(batch: list[Message], data: st.DataObject) -> None:
    frame = bytearray(encode_frame(batch))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadFrame):
        decode_frame(bytes(frame))


@settings(deadline=None)
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_a_cut_frame_never_passes(batch: list[Message], data: st.DataObject) -> None:
    frame = encode_frame(batch)
    with pytest.raises(BadFrame):
        decode_frame(frame[: data.draw(st.integers(0, len(frame) - 1))])
    with pytest.raises(BadFrame):
        decode_frame(frame + b"\0")


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_frame(data)


def test_an_unknown_version_and_an_unknown_type_are_refused() -> None:
    frame = bytearray(encode_message(TimeoutNow(1, 2, 3, 4)))
    frame[16] = 200
    struct.pack_into("<I", frame, 12, crc32(frame[16:]))
    with pytest.raises(BadFrame, match="unknown type 200"):
        decode_frame(bytes(frame))
    struct.pack_into("<H", frame, 0, 2)
    with pytest.raises(BadFrame, match="version 2"):
        decode_frame(bytes(frame))


def test_one_message_is_expected_where_one_is_expected() -> None:
    with pytest.raises(BadFrame, match="2 messages"):
        decode_message(encode_frame([TimeoutNow(1, 2, 3, 4)] * 2))


def test_an_entry_is_encoded_once_and_decoded_with_its_bytes() -> None:
    entry = Entry(3, 7, EntryKind.COMMANDS, b"data")
    encoded = encode_entry(entry)
    assert encode_entry(entry) is encoded
    decoded = decode_entry(encoded)
    assert decoded == entry
    assert decoded.encoded is encoded
    (received,) = decode_message(encode_message(Append(1, 2, 3, 4, 5, 6, 7, 8, [entry]))).entries
    assert received.encoded == encoded


def test_an_entry_of_an_unknown_kind_is_refused() -> None:
    class Later(int):
        pass

    encoded = encode_entry(Entry(3, 7, Later(9), b"data"))
    with pytest.raises(BadFrame, match="unknown kind 9"):
        decode_entry(encoded)


def test_entries_that_reach_beyond_the_data_are_refused() -> None:
    encoded = encode_entry(Entry(3, 7, EntryKind.NOOP, b""))
    assert decode_entries(memoryview(encoded), 0, 1)[1] == len(encoded)
    with pytest.raises(BadFrame):
        decode_entries(memoryview(encoded), 0, 2)
    with pytest.raises(BadFrame):
        decode_entry(encoded[:10])
