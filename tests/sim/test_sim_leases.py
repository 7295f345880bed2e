"""Reads by lease in worlds of skewed clocks: sound within the bound, and seen when they are not."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from raftcore.core.lease import Lease
from raftcore.sim import swarm, world
from raftcore.sim.swarm import Swarm
from raftcore.sim.trace import SimulationFailed
from raftcore.sim.world import World

SEEDS = 8
DURATION_US = 3_000_000


def leasing(rng: Random, duration_us: int, *, lease_reads: bool) -> Swarm:
    """Three voters with leases, skewed clocks and a quick network."""
    chosen = swarm.choose(rng, duration_us, lease_reads=True)
    faults = swarm.Faults(
        delay_us=200,
        sync_us=50,
        clock_skew=True,
        partition_interval_us=150_000,
        pause_interval_us=chosen.faults.pause_interval_us,
        crash_interval_us=chosen.faults.crash_interval_us and 1_000_000,
    )
    return replace(chosen, voter_count=3, faults=faults, command_interval_us=4_000)


class LeadersAreCutOff(World):
    """The leader loses the others, and finds them again: what leases have to stand."""

    def _partition(self) -> None:
        leaders = [node for node, host in self.hosts.items() if host.leads]
        if len(leaders) != 1 or self.rng.random() < 0.3:
            self.network.heal()
        else:
            self.network.isolate(leaders[0], self.hosts)


@pytest.fixture(autouse=True)
def worlds_with_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "choose", leasing)


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_leases_hold_while_clocks_keep_their_bound(seed: int) -> None:
    assert LeadersAreCutOff(seed, duration_us=DURATION_US).run().read_count > 20


def test_a_broken_lease_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted twice as long: a leader that was replaced goes on reading."""
    original = Lease.__init__

    def init(self: Lease, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self._length_us *= 2

    monkeypatch.setattr(Lease, "__init__", init)
    for seed in range(1, 5 * SEEDS):
        try:
            LeadersAreCutOff(seed, duration_us=DURATION_US).run()
        except SimulationFailed as failure:
            assert "read" in str(failure).splitlines()[0]
            print(f"seed {seed}: {str(failure).splitlines()[0]}")
            return
    pytest.fail("a lease that is twice too long was not noticed")
