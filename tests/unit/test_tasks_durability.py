"""After a kill at any moment the state is an exact prefix of the log, with all that was made durable."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from raftcore.core.types import Entry
from tests.task_log import TaskLog, opened
from z4sql.tasks.audit import audit
from z4sql.tasks.due import Due
from z4sql.tasks.keys import namespace_part, place, sequence_of
from z4sql.tasks.life import ChangeKind, LifeCommands, SettleKind, Settlement, TaskChange
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import State

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 4000


def entries() -> list[Entry]:
    """Tasks are created, leased, settled or rescheduled, and at last forgotten."""
    log = TaskLog()
    life = LifeCommands(log.builder.stamp_us)
    places: list[bytes] = []
    for number in range(ENTRIES):
        log.now_us += 1_000_000
        namespace = f"n{number % 7}"
        request_id = f"{number % 50}" if number % 2 else ""
        tasks = [NewTask(namespace, {"n": str(number)}, bytes(1000), request_id=request_id)]
        data = log.builder.create_tasks(tasks).data
        assert data is not None
        commands = [data]
        places.append(namespace_part(namespace.encode()) + place(log.now_us, sequence_of(number + 1, 0)))
        if number >= 30:
            commands += _life(life, log.now_us, number, places)
        log.add(*commands)
    return log.entries


def _life(life: LifeCommands, now_us: int, number: int, places: list[bytes]) -> list[bytes]:
    due_us = now_us - 10_000_000
    take = Due(places[number - 10], due_us, 0, None)
    # The lease of ten entries ago was the second command of its entry.
    kind = (SettleKind.ACK, SettleKind.NACK, SettleKind.DEAD)[number % 3]
    settlement = Settlement(places[number - 20], sequence_of(number - 9, 1), kind, now_us + 60_000_000, "no")
    reschedule = TaskChange(places[number - 5], ChangeKind.RESCHEDULE, deliver_at_us=now_us + number)
    return [
        life.lease("worker", now_us + 60_000_000, [take]),
        life.settle([settlement]),
        *([life.change_task(reschedule, f"c{number % 800}")] if number % 4 == 0 else []),
        life.retire([places[number - 30]], []),
    ]


def apply_for_ever(path: Path) -> None:
    """The process to be killed: applies slices and tells what is durable."""
    machine, log = opened(path), entries()
    for at in range(machine.applied_index, ENTRIES, 10):
        machine.apply(log[at : at + 10])
        if at % 200 == 0:
            print(machine.sync(), flush=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_machine_stands_at_an_exact_prefix(tmp_path: Path, seed: int) -> None:
    syncs = random.Random(seed).randint(1, 15)
    command = [sys.executable, __file__, str(tmp_path / "state")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        durable = 0
        for _ in range(syncs):
            durable = int(process.stdout.readline())
        process.kill()
        durable = max([durable, *map(int, process.stdout.read().split())])
    survivor, witness = opened(tmp_path / "state"), opened(tmp_path / "witness")
    log = entries()
    assert survivor.applied_index >= durable > 0
    witness.apply(log[: survivor.applied_index])
    assert TaskReader(survivor.store).state_hash() == TaskReader(witness.store).state_hash()
    assert survivor.clock_us == witness.clock_us
    # The log replays the rest.
    survivor.apply(log[survivor.applied_index :])
    witness.apply(log[witness.applied_index :])
    assert TaskReader(survivor.store).state_hash() == TaskReader(witness.store).state_hash()
    assert audit(survivor.store) == []
    counts = [survivor.counts(f"n{number}") for number in range(7)]
    assert counts == [witness.counts(f"n{number}") for number in range(7)]
    assert all(sum(count[state] for count in counts) for state in (State.SCHEDULED, State.LEASED, State.DONE))
    survivor.close()
    witness.close()


if __name__ == "__main__":
    apply_for_ever(Path(sys.argv[1]))
