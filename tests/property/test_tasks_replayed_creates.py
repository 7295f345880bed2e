"""A create that is sent again under its request id, later and put together anew, has the first outcome."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.task_log import START_US, TaskLog, opened
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.commands import Created
from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import TTS_SECONDS_MAX, NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.requests import WINDOW_US

_S = 1_000_000
_times = st.sampled_from([START_US + offset * _S for offset in (-60, -1, 0, 1, 5, 60, 1200)])
tasks = st.builds(
    NewTask,
    namespace=st.sampled_from(["a", "b", "", "bad\x07"]),
    metadata=st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=3),
    payload=st.sampled_from([b"", b"p", b"q" * 5000]),
    deliver_at_us=st.none() | _times,
    tts_seconds=st.sampled_from([0, 0, -1, 1, 30, TTS_SECONDS_MAX, TTS_SECONDS_MAX + 1]),
    tts_ms=st.sampled_from([0, 0, 1, 1500]),
    expire_at_us=st.none() | _times,
)
moves = st.sampled_from([0, 1, _S - 1, 3 * _S, 90 * _S, WINDOW_US - 1])


def again(task: NewTask) -> NewTask:
    """Equal, its metadata in another order."""
    return replace(task, metadata=dict(reversed(list(task.metadata.items()))))


def create(machine: TaskMachine, log: TaskLog, asked: list[NewTask], request_id: str) -> Created:
    command = log.builder.create_tasks(asked, request_id)
    return command.outcome(None if command.data is None else log.apply(machine, command))


@settings(max_examples=60, deadline=None)
@given(st.lists(tasks, min_size=1, max_size=9), moves, st.booleans())
def test_a_replay_with_a_moved_clock_has_the_first_outcome(
    asked: list[NewTask], move_us: int, each: bool
) -> None:
    """``each``: the tasks carry a request id of their own, not the batch."""
    if each:
        asked = [replace(task, request_id=f"r{at}") for at, task in enumerate(asked)]
    request_id = "" if each else "batch"
    with tempfile.TemporaryDirectory() as directory:
        machine, log = opened(Path(directory) / "state"), TaskLog()
        first = create(machine, log, asked, request_id)
        log.now_us += move_us
        second = create(machine, log, [again(task) for task in asked], request_id)
        assert second.ids == first.ids
        assert {at: str(problem) for at, problem in second.problems.items()} == {
            at: str(problem) for at, problem in first.problems.items()
        }
        reader = TaskReader(machine.store)
        for at, (task, task_id) in enumerate(zip(asked, first.ids, strict=True)):
            if not task_id:
                assert isinstance(first.problems[at], InvalidTask)
                continue
            stored = reader.get(task.namespace, task_id)
            assert stored is not None, "an id that was answered is a task's"
            assert (stored.payload, stored.metadata) == (task.payload, task.metadata)
        made = sum(1 for task_id in first.ids if task_id)
        assert reader.count("a") + reader.count("b") == made
        machine.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(tasks, min_size=1, max_size=5), st.lists(tasks, min_size=1, max_size=5))
def test_only_equal_batches_are_known_again(one: list[NewTask], other: list[NewTask]) -> None:
    builder = TaskLog().builder

    def valid(asked: list[NewTask]) -> list[NewTask]:
        bad = builder.create_tasks(asked, "r").invalid
        return [task for at, task in enumerate(asked) if at not in bad]

    def content(task: NewTask) -> tuple[object, ...]:
        delay_ms = task.tts_seconds * 1000 + task.tts_ms
        time = ("in", delay_ms) if delay_ms else ("at", task.deliver_at_us)
        return (task.namespace, task.metadata, task.payload, time, task.expire_at_us)

    same = [*map(content, valid(one))] == [*map(content, valid(other))]
    prints = [
        pb.Command.FromString(builder.create_tasks(asked, "r").data or b"").fingerprint
        for asked in (one, other)
    ]
    assert (prints[0] == prints[1]) == same
