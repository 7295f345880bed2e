"""Messages are what they were, and bytes that are none are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftcore.core.errors import OutcomeUnknown
from raftcore.kv import messages
from raftcore.kv.codec import encode
from raftcore.kv.errors import BadMessage, BadRequest, Compacted, NotTheLeader
from raftcore.kv.messages import (
    AddNode,
    CompareAndSet,
    Get,
    Scan,
    Set,
    Write,
    check,
    decode,
    decode_request,
)
from raftcore.kv.server import error_of, failure

# Hypothesis finds the values of every field from its annotation; integers are never negative.
st.register_type_strategy(int, st.integers(0, (1 << 64) - 1))
KINDS = [kind for kind in vars(messages).values() if dataclasses.is_dataclass(kind)]
MESSAGES = st.sampled_from(KINDS).flatmap(st.from_type)
NAMES = st.sampled_from([kind.__name__ for kind in KINDS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=6),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES)
def test_a_message_is_read_back_as_it_was(message) -> None:
    assert decode(encode(message), type(message)) == message


def bytes_of(header: bytes, rest: bytes = b"") -> bytes:
    """A message of this list and these bytes."""
    return len(header).to_bytes(4, "big") + header + rest


@given(st.binary(max_size=40) | JSON, st.binary(max_size=9), st.sampled_from(KINDS))
def test_bytes_are_a_message_or_refused(plain, rest: bytes, kind) -> None:
    if not isinstance(plain, bytes):
        fields = plain if isinstance(plain, list) else [plain]
        plain = bytes_of(json.dumps([kind.__name__, *fields]).encode(), rest)
    try:
        message = decode(plain, kind)
    except BadMessage:
        return
    assert type(message) is kind
    assert decode(encode(message), kind) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes_of(b"[" * 100_000),
        bytes_of(b"NaN"),
        bytes_of(b'["Get",-1]', b"k"),
        bytes_of(b'["Get",2]', b"k"),
        bytes_of(b'["Get",1]', b"kk"),
        bytes_of(b'["Get",true]', b"k"),
        bytes_of(b'["Get",1,0]', b"k"),
        bytes_of(b'["Get",1,false,1]', b"k"),
        bytes_of(b'["Get"]'),
        bytes_of(b'["G\xff"]'),
    ],
)
def test_what_no_message_holds_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data, Get)


def test_a_message_of_an_older_version_is_read_with_what_came_since() -> None:
    assert decode(bytes_of(b'["Get",1]', b"k"), Get) == Get(b"k", False)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES, st.data())
def test_a_cut_or_longer_message_is_refused(message, data) -> None:
    encoded = encode(message)
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"\0"):
        with pytest.raises(BadMessage):
            decode(wrong, type(message))


def test_what_is_no_request_is_refused_and_says_what_is() -> None:
    with pytest.raises(BadMessage, match="where Write or Get"):
        decode_request(encode(Set(b"k", b"v")))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (Write(b"", Set(b"k", b"v")), "request_id"),
        (Write(b"id", Set(b"", b"v")), "key"),
        (Write(b"id", Set(b"k", b"v" * (messages.VALUE_BYTES_MAX + 1))), "value"),
        (Write(b"id", CompareAndSet(b"k", b"v")), "expected_value"),
        (Write(b"id", CompareAndSet(b"k", b"v", b"v", 1)), "expected_version"),
        (Get(b"k" * (messages.KEY_BYTES_MAX + 1)), "key"),
        (Scan(b"", 0), "limit"),
        (AddNode("n", "nowhere"), "host:port"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_field_out_of_range_is_named(request_, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        check(request_)


@pytest.mark.parametrize(
    "error",
    [BadRequest("no"), NotTheLeader("h:1"), NotTheLeader(""), Compacted(7), OutcomeUnknown("who knows")],
    ids=repr,
)
def test_an_error_arrives_as_it_was_raised(error) -> None:
    sent = failure(error)
    arrived = error_of(sent)
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))


def test_an_error_of_no_kind_leaves_the_outcome_unknown() -> None:
    from raftcore.core.errors import DiskFull

    assert isinstance(error_of(failure(DiskFull("full"))), OutcomeUnknown)
