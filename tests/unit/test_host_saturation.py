"""How regularly a follower hears its leader: counted once for each silence, and told how long it was."""

from __future__ import annotations

from raftcore.core.messages import Heartbeat
from raftcore.core.types import Index, Instant, NodeId, ShardId, Term
from raftcore.host.saturation import Saturation
from tests.unit.core_cluster import CONFIG, START, core_of, recovered_of

BEAT_US = CONFIG.heartbeat_interval_us


def test_silences_of_a_leader_are_measured_and_counted_once() -> None:
    core = core_of(recovered_of(2, term=1))
    saturation = Saturation()
    now_us = START

    def turn(after_us: int, *, heard: bool) -> None:
        nonlocal now_us
        now_us += after_us
        core.observe(Instant(now_us))
        saturation.listen(core)
        if heard:
            core.step(Heartbeat(ShardId(1), NodeId(1), NodeId(2), Term(1), Index(0), 0))

    turn(5 * BEAT_US, heard=True)
    # Until a leader is known nobody is silent.
    assert (saturation.silences, saturation.silence_us) == (0, 0)
    for _ in range(5):
        turn(BEAT_US, heard=True)
    assert (saturation.silences, saturation.silence_us) == (0, BEAT_US)
    turn(2 * BEAT_US, heard=False)
    assert saturation.silences == 0
    for _ in range(3):
        turn(1, heard=False)
    turn(BEAT_US, heard=True)
    shares = saturation.shares(())
    assert (shares.silences, shares.silence_us) == (1, 3 * BEAT_US + 3)
    turn(BEAT_US, heard=True)
    assert (saturation.silences, saturation.silence_us) == (0, BEAT_US)
    turn(3 * BEAT_US, heard=True)
    assert (saturation.silences, saturation.silence_us) == (1, 3 * BEAT_US)
