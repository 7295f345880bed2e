"""The audit finds each kind of difference, and none in a sound store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftcore.storage.kv import Batch, Store
from tests.task_life_history import History
from tests.task_log import opened
from z4sql.tasks import keys
from z4sql.tasks.audit import DIFFERENCES_MAX, audit
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.record import FINISHED, HEADER, State


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[TaskMachine]:
    machine = opened(tmp_path / "state")
    history = History(5, machine)
    history.grow(200)
    yield machine
    machine.close()


def first(store: Store, kind: bytes, fits: Callable[[bytes], bool] = lambda value: True) -> bytes:
    """The first key of a kind whose value fits."""
    found = next((key for key, value in store.scan(kind, bytes([kind[0] + 1])) if fits(value)), None)
    assert found is not None, "the history has one"
    return found


def losing(kind: bytes, fits: Callable[[bytes], bool] = lambda value: True) -> Callable[[Store, Batch], None]:
    return lambda store, batch: batch.delete(first(store, kind, fits))


def changing(kind: bytes, change: Callable[[bytes], bytes]) -> Callable[[Store, Batch], None]:
    def plant(store: Store, batch: Batch) -> None:
        key = first(store, kind)
        value = store.get(key)
        assert value is not None
        batch.put(key, change(value))

    return plant


def repeating(kind: bytes) -> Callable[[Store, Batch], None]:
    """A second key for the same task, at another time."""

    def plant(store: Store, batch: Batch) -> None:
        place, time_us = keys.split_index_key(first(store, kind))
        batch.put(keys.index_key(kind, place, time_us + 1), b"")

    return plant


def of_state(number: int) -> Callable[[bytes], bytes]:
    return lambda record: record[:1] + bytes((number,)) + record[2:]


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (losing(keys.DUE), "not in the due index"),
        (losing(keys.FINISH), "not in the finish index"),
        (losing(keys.PAYLOAD), "payload"),
        (losing(keys.MOVED), "moved"),
        (losing(keys.COUNTER), "counted"),
        (losing(keys.NAMESPACE), "settings"),
        (losing(keys.TASK), "no such task"),
        (repeating(keys.DUE), "second place"),
        (repeating(keys.FINISH), "second place"),
        (changing(keys.DUE, lambda value: bytes(15) + b"\1"), "another lease"),
        (changing(keys.PAYLOAD, lambda value: value + b"x"), "payload"),
        (changing(keys.MOVED, lambda value: bytes(8)), "leads"),
        (changing(keys.COUNTER, lambda value: b"\xff" + value[1:]), "counted"),
        (changing(keys.TASK, of_state(State.LEASED)), "contradict"),
        (changing(keys.TASK, lambda record: b"\x63" + record[1:]), "cannot be read"),
        (changing(keys.TASK, lambda record: record + b"x"), "bytes"),
        (lambda store, batch: batch.put(keys.PAYLOAD + b"\1a" + bytes(16), b"x"), "without a task"),
    ],
)
def test_a_planted_difference_is_found(
    machine: TaskMachine, plant: Callable[[Store, Batch], None], word: str
) -> None:
    assert audit(machine.store) == []
    batch = Batch()
    plant(machine.store, batch)
    machine.store.write(batch)
    found = audit(machine.store)
    assert found and any(word in difference for difference in found), found


def test_a_copy_with_a_due_index_is_told(machine: TaskMachine) -> None:
    found = audit(machine.store, with_due_index=False)
    tasks = sum(1 for _ in machine.store.keys(keys.TASK, b"u"))
    assert len(found) == tasks < DIFFERENCES_MAX
    finished = sum(
        HEADER.unpack_from(record)[1] in FINISHED for _, record in machine.store.scan(keys.TASK, b"u")
    )
    assert sum("finish index" in difference for difference in found) == finished
