"""Reads by lease in worlds of skewed clocks: sound within the bound, and seen when they are not."""

from __future__ import annotations

import pytest

from raftcore.core.lease import Lease
from raftcore.sim.trace import SimulationFailed
from tests.sim.leader_worlds import LeadersAreCutOff

SEEDS = 8
DURATION_US = 3_000_000


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
