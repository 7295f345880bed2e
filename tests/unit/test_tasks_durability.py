"""After a kill at any moment the state is an exact prefix of the log, with all that was made durable."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from raftcore.core.types import Entry
from tests.task_log import TaskLog, opened
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 4000


def entries() -> list[Entry]:
    log = TaskLog()
    for number in range(ENTRIES):
        log.now_us += 1_000_000
        tasks = [NewTask(f"n{number % 7}", {"n": str(number)}, bytes(1000), request_id=f"{number % 50}")]
        data = log.builder.create_tasks(tasks).data
        assert data is not None
        log.add(data)
    return log.entries


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
    survivor.close()
    witness.close()


if __name__ == "__main__":
    apply_for_ever(Path(sys.argv[1]))
