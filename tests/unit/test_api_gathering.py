"""How long single tasks gather, and the answers that are cut from their requests."""

from __future__ import annotations

import asyncio

import pytest

from raftcore.host.gathering import Gathering
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.creator import created_task, task_field
from z4sql.api.gathering import PIPELINED_FACTOR, Group
from z4sql.tasks.ids import format_id

DELAY_S = 0.05


class Always(Gathering):
    """As busy as can be."""

    def wait_s(self) -> float:
        return DELAY_S


@pytest.mark.parametrize(
    ("pipelined", "is_soon"),
    [
        ([True], False),
        ([True, True], False),
        ([False], True),
        ([False, True], True),
        ([True, False], True),
        ([True, True, False, False], True),
    ],
)
async def test_a_group_waits_longer_while_nobody_in_it_waits_for_an_answer(
    pipelined: list[bool], is_soon: bool
) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    group = Group(ended.set, Always())
    seen = []
    for part in (0.9, 1.5):
        loop.call_later(DELAY_S * part, lambda: seen.append(ended.is_set()))
    group.begin(pipelined=pipelined[0])
    for later in pipelined[1:]:
        if not later:
            group.hasten()
    async with asyncio.timeout(5):
        await ended.wait()
        while len(seen) < 2:
            await asyncio.sleep(0.001)
    # Timers of one loop come in their order, however late the loop is.
    assert seen == [False, is_soon]
    ended.clear()
    await asyncio.sleep(DELAY_S * PIPELINED_FACTOR)
    assert not ended.is_set(), "a group ends once"


_DUE_S = 1_893_456_000
_ID = format_id(_DUE_S * 1_000_000, 77)


def _request(**fields: object) -> pb.CreateTaskRequest:
    request = pb.CreateTaskRequest(namespace="n", metadata={"b": "2", "a": "ü"}, payload=b"\0p", **fields)
    request.deliver_at.seconds = _DUE_S
    return request


@pytest.mark.parametrize(
    "request_",
    [_request(), _request(request_id="r1"), _request(tts_seconds=3)],
    ids=["cut", "with id", "with delay"],
)
def test_the_created_task_of_an_answer_is_what_was_asked_for(request_: pb.CreateTaskRequest) -> None:
    data = request_.SerializeToString()
    answer = pb.CreateTaskResponse.FromString(task_field(created_task(data, request_, _ID)))
    task = answer.task
    assert (task.id, task.namespace, task.payload, task.state) == (_ID, "n", b"\0p", "scheduled")
    assert dict(task.metadata) == {"b": "2", "a": "ü"}
    assert task.deliver_at.seconds == _DUE_S
    assert not task.HasField("last_retry")
    assert not task.HasField("expire_at")


def test_fields_that_this_program_does_not_know_are_not_echoed() -> None:
    """Number 15 is a text in Task: echoed as it came, the answer could not be read."""
    data = _request().SerializeToString() + bytes([15 << 3 | 2, 1, 0xFF])
    request = pb.CreateTaskRequest.FromString(data)
    task = pb.Task.FromString(created_task(data, request, _ID))
    assert task.last_error == ""
