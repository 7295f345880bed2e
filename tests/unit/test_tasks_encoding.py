"""Metadata text as MySQL prints it, and records that come back as they were made."""

from __future__ import annotations

import json

import pytest

from raftcore.core.errors import InvariantViolation
from z4sql.tasks import encoding
from z4sql.tasks.encoding import decode, metadata_json, new_record, payload_apart
from z4sql.tasks.events import EventKind, TaskEvent, appended
from z4sql.tasks.keys import place
from z4sql.tasks.record import FLAG_MOVED, HEADER, HEADER_BYTES, NONE, RECORD_VERSION, Record, State


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "{}"),
        ({"b": "1", "aa": "2", "a": "3"}, '{"a": "3", "b": "1", "aa": "2"}'),
        # By bytes, not characters: é has two.
        ({"é": "1", "zz": "2", "abc": "3"}, '{"zz": "2", "é": "1", "abc": "3"}'),
        ({"k": 'a"b\\c/d'}, '{"k": "a\\"b\\\\c/d"}'),
        ({"k": "\b\t\n\f\r"}, '{"k": "\\b\\t\\n\\f\\r"}'),
        ({"k": "\x00\x01\x1f\x7f"}, '{"k": "\\u0000\\u0001\\u001f\x7f"}'),
        ({"k": "日本 \U0001f600\u2028"}, '{"k": "日本 \U0001f600\u2028"}'),
        ({"": "empty"}, '{"": "empty"}'),
        ({'q"': "v"}, '{"q\\"": "v"}'),
    ],
)
def test_metadata_is_mysqls_canonical_json(metadata: dict[str, str], text: str) -> None:
    assert metadata_json(metadata).decode() == text
    assert json.loads(metadata_json(metadata)) == metadata
    reordered = dict(reversed(metadata.items()))
    assert metadata_json(reordered).decode() == text


def test_what_clients_make_the_encoder_remember_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}
    monkeypatch.setattr(encoding, "_plans", plans)
    metadata_json({"x" * 5000: "v"})
    metadata_json({str(number): "v" for number in range(100)})
    assert not plans
    for number in range(3000):
        assert metadata_json({f"name{number}": "v"}) == f'{{"name{number}": "v"}}'.encode()
    assert 0 < len(plans) <= 1024


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000])
def test_a_record_comes_back_as_it_was_made(size: int) -> None:
    payload = bytes(size)
    record = new_record(
        created_at_us=5, due_us=7, metadata_text=b'{"a": "\xc3\xa9"}', payload=payload, request_id=b"r1"
    )
    assert payload_apart(record) == (size > 4096)
    assert len(record) < 4096 + 200
    task = decode("n", place(7, 9), record, payload if payload_apart(record) else None)
    assert (task.namespace, task.deliver_at_us, task.created_at_us) == ("n", 7, 5)
    assert (task.metadata, task.payload, task.request_id) == ({"a": "é"}, payload, "r1")
    assert (task.state, task.attempts, task.next_attempt_at_us) == (State.SCHEDULED, 0, 7)
    assert (task.lease_owner, task.last_error) == ("", "")
    assert task.lease_until_us is task.finished_at_us is task.last_attempt_at_us is None


def test_every_part_of_an_attempted_and_moved_task_is_read() -> None:
    events = appended(appended(b"", EventKind.LEASED, 20, 3, b"owner"), EventKind.EXTENDED, 25, 3)
    header = HEADER.pack(
        RECORD_VERSION, State.LEASED, FLAG_MOVED, 3, 1, NONE, 30, NONE, 20, 2, 4, 5, 6, 3, len(events), 77, 90
    )
    assert len(header) == HEADER_BYTES
    record = header + b"{}" + b"owner" + b"error!" + b"req"
    record += (-8).to_bytes(8, "little", signed=True) + events + b"load"
    task = decode("n", place(100, 9), record, None)
    assert (task.lease_owner, task.last_error) == ("owner", "error!")
    assert (task.request_id, task.payload) == ("req", b"load")
    assert (task.attempts, task.lease_until_us, task.last_attempt_at_us) == (3, 30, 20)
    assert task.next_attempt_at_us is None
    assert (task.lease_token, task.expire_at_us) == (77, 90)
    assert task.events == (
        TaskEvent(EventKind.CREATED, 1, 0, ""),
        TaskEvent(EventKind.LEASED, 20, 3, "owner"),
        TaskEvent(EventKind.EXTENDED, 25, 3, ""),
    )
    assert task.deliver_at_us == 100
    assert Record(record).encode() == record
    assert task.id == encoding.format_id(-8, 9)


def test_a_lost_payload_is_not_passed_off_as_empty() -> None:
    record = new_record(created_at_us=5, due_us=7, metadata_text=b"{}", payload=bytes(5000), request_id=b"")
    with pytest.raises(InvariantViolation):
        decode("n", place(7, 9), record, None)
    with pytest.raises(InvariantViolation):
        decode("n", place(7, 9), record, bytes(4999))
