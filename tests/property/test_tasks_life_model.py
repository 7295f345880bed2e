"""The life of tasks against a model made of dicts, however the log is sliced and wherever it restarts.

A seed is a history. One that fails: ``pytest "tests/property/test_tasks_life_model.py::NAME[SEED]"``.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.task_life_history import NAMESPACES, History, place_of
from tests.task_life_model import LifeModel, ModelTask
from tests.task_log import opened
from z4sql.tasks.audit import audit
from z4sql.tasks.due import Due, DueReader
from z4sql.tasks.events import EventKind
from z4sql.tasks.ids import format_id
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import DELIVER_AT_MAX_US, Task
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import FINISHED, State

LATE_US = DELIVER_AT_MAX_US + 1


@pytest.mark.parametrize("seed", range(40))
def test_the_life_of_tasks_is_the_models_however_the_log_is_cut(tmp_path: Path, seed: int) -> None:
    check_history(tmp_path, seed, entries=60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_many_long_lives_are_the_models(tmp_path: Path, seed: int) -> None:
    check_history(tmp_path, seed, entries=random.Random(seed).choice((20, 150, 400)))


def check_history(directory: Path, seed: int, entries: int) -> None:
    witness = opened(directory / "witness")
    history = History(seed, witness)
    history.grow(entries)
    check_state(witness, history.model, history.log.now_us)
    expected = TaskReader(witness.store)
    for name, indexed, unwritten_max in (("sliced", True, None), ("copy", False, None), ("small", True, 1)):
        machine = opened(directory / name, with_due_index=indexed)
        with pytest.MonkeyPatch.context() as patched:
            if unwritten_max is not None:
                patched.setattr("z4sql.tasks.machine._UNWRITTEN_BYTES_MAX", unwritten_max)
            replay(history, machine, random.Random(seed))
        found = TaskReader(machine.store)
        assert found.state_hash(with_due_index=indexed) == expected.state_hash(with_due_index=indexed)
        assert audit(machine.store, with_due_index=indexed) == []
        for namespace in NAMESPACES:
            assert machine.counts(namespace) == witness.counts(namespace)
        machine.close()
    witness.close()


def replay(history: History, machine: TaskMachine, chance: random.Random) -> None:
    """Apply the log in slices, opening the machine again here and there."""
    at, entries = 0, history.log.entries
    while at < len(entries):
        some = entries[at : at + chance.choice((1, 2, 5, 30))]
        for position, results in enumerate(machine.apply(some), start=at):
            history.check(position, results)
        at += len(some)
        if chance.random() < 0.1:
            machine.close()
            machine.open()


def check_state(machine: TaskMachine, model: LifeModel, now_us: int) -> None:
    reader, due = TaskReader(machine.store), DueReader(machine.store)
    assert audit(machine.store) == []
    for name in NAMESPACES:
        tasks = sorted(
            (task for task in model.tasks.values() if task.namespace == name), key=lambda task: task.order
        )
        assert stored(reader, name) == [described(task) for task in tasks]
        for task in tasks:
            found = reader.get(name, format_id(task.origin_us, task.sequence))
            assert found is not None and found.place == place_of(task)
        counted = Counter(task.state for task in tasks)
        assert machine.counts(name) == reader.counts(name) == {state: counted[state] for state in State}
        tasks.sort(key=lambda task: (task.stands_at_us, *task.order))
        unfinished = [task for task in tasks if task.state not in FINISHED]
        ready = [
            Due(place_of(task), task.stands_at_us, task.lease_token, task.expire_at_us)
            for task in unfinished
            if task.stands_at_us <= now_us
        ]
        assert page_of_due(due, name.encode(), now_us) == ready
        first = unfinished[0].stands_at_us if unfinished else None
        assert due.next_due_us(name.encode()) == first
        finished = [task for task in tasks if task.state in FINISHED]
        assert due.finished_before(name.encode(), now_us, 10_000) == [
            place_of(task) for task in finished if task.stands_at_us < now_us
        ]
        first = finished[0].stands_at_us if finished else None
        assert due.next_finished_us(name.encode()) == first


def page_of_due(reader: DueReader, namespace: bytes, until_us: int) -> list[Due]:
    """All that is due, read three at a time behind a cursor."""
    found: list[Due] = []
    while True:
        after = found[-1].cursor if found else None
        page = reader.due(namespace, after=after, until_us=until_us, limit=3)
        found += page
        if not page:
            return found


def stored(reader: TaskReader, name: str) -> list[tuple[object, ...]]:
    tasks: list[Task] = []
    after = None
    while True:
        page = reader.page(name, 0, LATE_US, limit=4, after=after)
        tasks += page.tasks
        after = page.after
        if after is None:
            break
    return [
        (
            *(task.id, task.namespace, task.deliver_at_us, task.created_at_us, task.metadata, task.payload),
            *(task.state, task.attempts, task.next_attempt_at_us, task.lease_owner, task.lease_until_us),
            *(task.last_error, task.finished_at_us, task.last_attempt_at_us, task.expire_at_us),
            task.lease_token,
            [
                (event.kind, event.at_us, event.attempt, detail_of(event.kind, event.detail))
                for event in task.events
            ],
        )
        for task in tasks
    ]


def described(task: ModelTask) -> tuple[object, ...]:
    return (
        *(format_id(task.origin_us, task.sequence), task.namespace, task.deliver_at_us, task.created_at_us),
        *(task.metadata, task.payload, task.state, task.attempts, task.next_attempt_at_us, task.lease_owner),
        *(task.lease_until_us, task.last_error, task.finished_at_us, task.last_attempt_at_us),
        *(task.expire_at_us, task.lease_token),
        [(EventKind.CREATED, task.created_at_us, 0, ""), *task.events],
    )


def detail_of(kind: EventKind, detail: str) -> str:
    return "*" if kind is EventKind.RESCHEDULED else detail
