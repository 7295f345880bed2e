"""Random worlds with random faults: nothing breaks, and everything heals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raftcore.sim import world
from raftcore.sim.trace import SimulationFailed, demand
from raftcore.sim.world import Summary, World
from tests.sim.leader_worlds import CommandsPileUp, LeadersChangeMembers, LeadersStandStill

SEEDS = 300
CHUNK = 10


@pytest.mark.parametrize("first", range(1, SEEDS + 1, CHUNK))
def test_every_seed_is_safe_and_converges(first: int) -> None:
    for seed in range(first, first + CHUNK):
        World(seed).run()


def test_whoever_has_taken_many_commands_is_given_the_time_to_work_them_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by a seed: the bound on liveness has to count what is queued, and what is not applied."""
    CommandsPileUp(3, duration_us=1_400_000).run()
    monkeypatch.setattr(world, "_QUEUED_COMMAND_US", 0)
    with pytest.raises(SimulationFailed, match="the cluster works again"):
        CommandsPileUp(3, duration_us=1_400_000).run()


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_leader_that_wakes_reads_nothing_old(seed: int) -> None:
    assert LeadersStandStill(seed, duration_us=2_000_000).run().read_count > 20


@pytest.mark.parametrize("seed", range(1, 7))
def test_leaders_in_turn_change_one_membership_safely(seed: int) -> None:
    assert LeadersChangeMembers(seed, duration_us=2_000_000).run().term > 2


def test_every_world_changes_its_members_and_drops_its_log() -> None:
    """Whatever else a seed leaves out: memberships and snapshots are part of each."""
    for seed in range(1, 101):
        faults = World(seed).swarm.faults
        assert faults.membership_interval_us and faults.compaction_interval_us, f"seed {seed}: {faults}"


def test_the_worlds_are_eventful() -> None:
    """A simulator that tries nothing finds nothing."""
    summaries = [World(seed, duration_us=3_000_000).run() for seed in range(1, 31)]

    def total(name: str) -> int:
        return sum(getattr(summary, name) for summary in summaries)

    assert total("acknowledged_count") > 3_000
    assert total("read_count") > 500
    assert total("unknown_count") > 50
    assert total("refused_count") > 500
    assert total("change_count") > 20
    assert total("snapshot_count") > 5
    assert total("term") > 60


@pytest.mark.parametrize("seed", [2, 5, 11])
def test_the_same_seed_gives_the_same_trace(seed: int) -> None:
    def once() -> Summary:
        return World(seed, duration_us=2_000_000).run()

    assert once() == once()


def test_another_process_sees_the_same_world() -> None:
    """Nothing depends on the hash seed of the interpreter."""
    command = [sys.executable, "-m", "raftcore.sim", "--seed", "5", "--duration-ms", "1000"]
    outputs = []
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, timeout=60, check=True
        )
        outputs.append(run.stdout.split(" events/s")[0].rsplit(")", 1)[0])
    assert outputs[0] == outputs[1]
    assert "trace_hash" in outputs[0]


def test_a_long_run_uses_several_processes_and_says_where_to_go_on() -> None:
    command = [sys.executable, "-m", "raftcore.sim", "--first", "7", "--seeds", "4", "--jobs", "2"]
    run = subprocess.run(
        [*command, "--duration-ms", "300"], capture_output=True, text=True, timeout=120, check=True
    )
    lines = run.stdout.splitlines()
    assert [line.split(",")[0] for line in lines[:-1]] == [f"Summary(seed={seed}" for seed in range(7, 11)]
    assert lines[-1] == "4 seeds ran clean, failed: none; go on with --first 11"


def test_different_seeds_differ() -> None:
    hashes = {World(seed, duration_us=500_000).run().trace_hash for seed in range(1, 9)}
    assert len(hashes) == 8


def test_a_failure_says_how_to_replay_it() -> None:
    hurt = World(7, duration_us=1_000_000)
    hurt.schedule(900_000, lambda: demand(False, "something does not hold", fact=42))
    with pytest.raises(SimulationFailed) as failure:
        hurt.run()
    text = str(failure.value)
    assert text.startswith("seed 7 fails at 0.900000 s: Violation: something does not hold fact=42")
    assert "faults: voters=" in text
    assert "python -m raftcore.sim --seed 7 --duration-ms 1000 --trace" in text
    assert 10 < len(text.splitlines()) <= 210
