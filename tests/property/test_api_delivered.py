"""A delivery is on the wire what the message of its task would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.task_records import INSTANTS, TOKENS, records
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.delivered import deliveries_bytes, done_bytes, task_bytes
from z4sql.api.messages import task_message
from z4sql.delivery.model import Delivery
from z4sql.tasks.encoding import decode, task_id_of
from z4sql.tasks.keys import SUFFIX_BYTES, namespace_part, place

NAMESPACES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
SEQUENCES = st.integers(0, (1 << 64) - 1)


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    data, payload = draw(records())
    where = namespace_part(draw(NAMESPACES).encode()) + place(draw(INSTANTS), draw(SEQUENCES))
    return Delivery(task_id_of(where, data), where, data, payload, draw(TOKENS))


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
