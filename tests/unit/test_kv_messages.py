"""Messages are what they were, and bytes that are none are refused."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftcore.core.errors import OutcomeUnknown
from raftcore.kv import messages
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
    encode,
)
from raftcore.kv.server import error_of, failure

# Hypothesis finds the values of every field from its annotation; integers are never negative.
st.register_type_strategy(int, st.integers(0, (1 << 64) - 1))
MESSAGES = st.sampled_from(list(messages._NUMBERS)).flatmap(st.from_type)


@given(MESSAGES)
def test_a_message_is_read_back_as_it_was(message) -> None:
    assert decode(encode(message), type(message)) == message


@given(st.binary(max_size=40), st.sampled_from(list(messages._NUMBERS)))
def test_bytes_are_a_message_or_refused(data: bytes, kind) -> None:
    try:
        message = decode(bytes((messages._NUMBERS[kind],)) + data, kind)
    except BadMessage:
        return
    assert decode(encode(message), kind) == message


@given(MESSAGES, st.data())
def test_a_cut_or_longer_message_is_refused(message, data) -> None:
    encoded = encode(message)
    for wrong in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"\0"):
        with pytest.raises(BadMessage):
            decode(wrong, type(message))


def test_numbers_are_unique_and_every_request_is_known() -> None:
    assert len(set(messages._NUMBERS.values())) == len(messages._NUMBERS)
    for kind in typing.get_args(messages.Request):
        assert kind in messages._NUMBERS
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
