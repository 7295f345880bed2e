"""Wall clocks that jump by hours: created_at never runs backwards, nobody is elected, nothing is lost."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.process.fault_clocked_server import OFFSET, OFFSET_FILE
from tests.process.fault_ledger import Ledger, Writer, tasks_of
from tests.process.fault_peers import FaultyCluster, info_of, wait_for

ROOT = Path(__file__).resolve().parents[2]
HOUR_S = 3600


class JumpingClock:
    """The wall clock of one peer."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(OFFSET.pack(0))

    @property
    def environment(self) -> dict[str, str]:
        return {OFFSET_FILE: str(self._file), "PYTHONPATH": str(ROOT)}

    def jump(self, offset_s: float) -> None:
        """From now on the clock is ``offset_s`` ahead of the true time."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(OFFSET.pack(int(offset_s * 1e9)))


def jumps(directory: Path, offsets_s: list[float]) -> None:
    """The leader's clock takes each offset under load; then another leads, by the true time."""
    ledger = Ledger()
    with FaultyCluster(directory) as cluster:
        clocks = {}
        for peer in cluster.members:
            clocks[peer.name] = JumpingClock(directory / f"clock-{peer.name}")
            peer.environment |= clocks[peer.name].environment
            peer.program = [sys.executable, "-m", "tests.process.fault_clocked_server"]
        cluster.form()
        leader = cluster.leader()
        before = wait_for(lambda: info_of(leader), 5, "an answer").term
        with Writer(ledger, cluster.members, timeout_s=1) as writer:
            writer.wait_acknowledged(10)
            for offset_s in offsets_s:
                clocks[leader.name].jump(offset_s)
                writer.wait_acknowledged(30)
            assert wait_for(lambda: info_of(leader), 5, "an answer").term == before
            clocks[leader.name].jump(max(offsets_s))
            writer.wait_acknowledged(10)
            leader.kill()
            cluster.leader(cluster.others(leader))
            writer.wait_acknowledged(10)
            leader.start()
            cluster.wait_healthy(leader)
        ledger.verify_cluster(cluster.members)
        created_at = {task.metadata["request"]: task.created_at.ToNanoseconds() for task in tasks_of(leader)}
    # One writer, one write after the other: acknowledged in the order of the log.
    moments = [created_at[request_id] for request_id in ledger.acknowledged]
    assert moments == sorted(moments), "created_at ran backwards"
    assert moments[-1] - moments[0] > 0.9 * HOUR_S * 1e9, "the clock did not jump"


def test_hours_forwards_and_backwards_change_nothing(tmp_path: Path) -> None:
    jumps(tmp_path, [HOUR_S, -2 * HOUR_S])


@pytest.mark.long
def test_a_wandering_clock_changes_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    jumps(tmp_path, [HOUR_S, *(generator.uniform(-24, 24) * HOUR_S for _ in range(40))])
