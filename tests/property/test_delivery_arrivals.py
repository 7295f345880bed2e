"""A feed is told of all that comes to stand in the due index, by a cursor in front of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.task_life_history import History
from tests.task_log import opened
from z4sql.delivery.arrivals import arrivals
from z4sql.tasks.events import EventKind
from z4sql.tasks.keys import DUE, SUFFIX_BYTES, TIME_BYTES, split_index_key
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import State

ENTRIES = 80


def due_keys(machine: TaskMachine) -> set[bytes]:
    return set(machine.store.keys(DUE, bytes([DUE[0] + 1])))


@pytest.mark.parametrize("seed", range(12))
def test_what_comes_to_stand_in_the_due_index_is_behind_the_cursor_told(tmp_path: Path, seed: int) -> None:
    """Replay one: pytest tests/property/test_delivery_arrivals.py -k 'told[SEED]'"""
    witness, machine = opened(tmp_path / "witness"), opened(tmp_path / "machine")
    history = History(seed, witness)
    history.grow(ENTRIES)
    reader = TaskReader(machine.store)
    known: set[bytes] = set()
    checked = 0
    for entry in history.log.entries:
        machine.apply([entry])
        found = arrivals([entry])
        now = due_keys(machine)
        for key in now - known:
            task = reader.task_at(split_index_key(key)[0])
            assert task is not None
            # Delivery itself says where a task stands that it gives back; leases end in the future.
            if task.state is State.LEASED or task.events[-1].kind is EventKind.RELEASED:
                continue
            part = key[1 : -SUFFIX_BYTES - TIME_BYTES]
            assert found.found[part].cursor + b"\0" <= key[1:], (seed, entry.index, task)
            time = key[-SUFFIX_BYTES - TIME_BYTES : -SUFFIX_BYTES]
            assert time in found.found[part].times, (seed, entry.index, task)
            checked += 1
        known = now
    assert checked > ENTRIES / 2
    machine.close()
    witness.close()
