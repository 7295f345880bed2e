"""A delivery is on the wire what the message of its task would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.delivered import deliveries_bytes, done_bytes, task_bytes
from z4sql.api.messages import task_message
from z4sql.delivery.model import Delivery
from z4sql.tasks.encoding import decode, metadata_json, task_id_of
from z4sql.tasks.events import EventKind, appended
from z4sql.tasks.keys import SUFFIX_BYTES, namespace_part, place
from z4sql.tasks.model import DELIVER_AT_MAX_US
from z4sql.tasks.record import NONE, Record, State

INSTANTS = st.one_of(
    st.integers(0, DELIVER_AT_MAX_US), st.sampled_from([0, 1, 999_999, 1_000_000, 1_700_000_000_000_000])
)
MAYBE = st.one_of(st.just(NONE), INSTANTS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LONG = st.integers(100, 300).map(lambda length: "ü" * length)
TOKENS = st.one_of(st.integers(1, (1 << 64) - 1), st.integers(1, 1 << 22))


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    record = Record.__new__(Record)
    record.state = int(draw(st.sampled_from(State)))
    record.attempts = draw(st.integers(0, 300))
    record.created_at_us = draw(INSTANTS)
    record.next_attempt_at_us = draw(MAYBE)
    record.lease_until_us = draw(MAYBE)
    record.finished_at_us = draw(MAYBE)
    record.last_attempt_at_us = draw(MAYBE)
    record.expire_at_us = draw(MAYBE)
    record.origin_us = draw(MAYBE)
    record.metadata = metadata_json(draw(st.dictionaries(TEXTS, TEXTS | LONG, max_size=4)))
    payload = draw(st.binary(max_size=40) | st.integers(100, 20_000).map(bytes))
    record.apart = draw(st.booleans())
    record.payload, record.payload_length = b"" if record.apart else payload, len(payload)
    record.lease_owner = draw(TEXTS).encode()
    record.lease_token = draw(TOKENS)
    record.last_error = draw(TEXTS | LONG).encode()
    record.request_id = draw(TEXTS).encode()
    record.events = appended(b"", EventKind.LEASED, 1, 1, b"somebody")
    namespace = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)).encode()
    where = namespace_part(namespace) + place(draw(INSTANTS), draw(st.integers(0, (1 << 64) - 1)))
    data = record.encode()
    return Delivery(task_id_of(where, data), where, data, payload, record.lease_token)


@given(st.lists(deliveries(), max_size=4), st.lists(TOKENS, max_size=4))
def test_a_response_holds_the_messages_of_its_tasks(found: list[Delivery], done: list[int]) -> None:
    expected = pb.ConsumeResponse()
    for one in found:
        task = decode(one.namespace, one.place[-SUFFIX_BYTES:], one.record, one.payload)
        message = task_message(task, with_events=False)
        assert pb.Task.FromString(task_bytes(one)) == message
        assert one.task_id == task.id
        expected.deliveries.add(task=message, lease_token=one.token)
    for token in done:
        expected.settled.add(lease_token=token)
    data = b"".join([*deliveries_bytes(found), *map(done_bytes, done)])
    assert pb.ConsumeResponse.FromString(data) == expected
