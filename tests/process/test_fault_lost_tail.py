"""A follower's log loses synced entries behind its back, and when it is back somebody else leads.

The leader that had the follower's acknowledgement is gone, so that only the follower's own state can tell.
When that is ahead of the log the follower refuses to run. When it is behind as well, nothing tells, and
nothing is lost either: the others were a majority without it, and send the entries again.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.process.fault_disks import newest_wal, truncate
from tests.process.host_peers import Peer, form, leader_of

COMMANDS = 300


def environment(state_sync_interval_s: float) -> dict[str, str]:
    return {
        "HOST_MACHINE": "rocks",
        "HOST_CONFIG": json.dumps({"state_sync_interval_s": state_sync_interval_s}),
    }


async def write_one_by_one(peer: Peer, lo: int, hi: int) -> None:
    """Each in an entry of its own, and each acknowledged."""
    for number in range(lo, hi):
        (outcome,) = await peer.call("propose", [["set", f"key{number}", number]])
        assert outcome == number, outcome


async def reached(peer: Peer, index: int) -> None:
    await peer.until(lambda status: status["applied"] >= index)


async def without_its_tail(peers: list[Peer], state_sync_interval_s: float) -> tuple[Peer, Peer]:
    """A follower that is down and whose log has lost a third, and the leader of the others, a new one."""
    settings = environment(state_sync_interval_s)
    former = await form(peers, **settings)
    victim = peers[2]
    await write_one_by_one(former, 0, COMMANDS)
    applied = (await former.call("status"))["applied"]
    for peer in peers:
        await reached(peer, applied)
    await asyncio.sleep(3 * state_sync_interval_s if state_sync_interval_s < 1 else 0)
    await victim.kill()
    wal = newest_wal(victim.directory / "log")
    truncate(wal, wal.stat().st_size // 3)
    await former.call("transfer", "peer2", 10)
    leader = await leader_of(peers[:2])
    assert leader is not former
    return victim, leader


async def test_a_follower_whose_state_is_ahead_of_its_log_refuses_to_run(peers: list[Peer]) -> None:
    victim, leader = await without_its_tail(peers, 0.2)
    with pytest.raises(AssertionError, match="ended"):
        await victim.start(**environment(0.2))
    assert await victim.process.wait() != 0
    assert "Corrupt: replica" in victim.log_text() and "the state has applied" in victim.log_text()
    await write_one_by_one(leader, 0, 10)


async def test_a_follower_whose_state_lost_as_much_gets_the_entries_again(peers: list[Peer]) -> None:
    victim, leader = await without_its_tail(peers, 60)
    await victim.start(**environment(60))
    await write_one_by_one(leader, COMMANDS, COMMANDS + 10)
    applied = (await leader.call("status"))["applied"]
    digests = set()
    for peer in peers:
        await reached(peer, applied)
        digests.add(await peer.call("digest"))
    assert len(digests) == 1
    assert await victim.call("value", f"key{COMMANDS - 1}") == COMMANDS - 1
