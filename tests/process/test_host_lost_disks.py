"""Hosts whose disk is gone while they are members: they never become a cluster of their own."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest

from tests.process.host_peers import CallFailed, Peer, assert_same_state, form, leader_of, propose
from z4sql.testing.ports import free_address

# What the processes of other tests take from these must not look like a dead leader.
PATIENT = {"HOST_ELECTION_TIMEOUT_US": "1000000"}
LISTENING = {**PATIENT, "HOST_CONFIG": json.dumps({"formation_wait_s": 1.0})}


async def wiped(peer: Peer) -> None:
    """kill -9, and nothing is left of what it had."""
    await peer.kill()
    shutil.rmtree(peer.directory)


async def said(peer: Peer, words: str, timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while words not in peer.log_text():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("bootstrap", "was_leader"),
    [
        (True, True),
        pytest.param(True, False, marks=pytest.mark.long),
        (False, False),
        pytest.param(False, True, marks=pytest.mark.long),
    ],
)
async def test_a_member_whose_disk_is_gone_forms_no_cluster_and_comes_back_by_remove_and_add(
    peers: list[Peer], bootstrap: bool, was_leader: bool
) -> None:
    leader = await form(peers, **PATIENT)
    await propose(leader, 0, 300)
    victim = leader if was_leader else peers[2]
    others = [peer for peer in peers if peer is not victim]
    await wiped(victim)
    leader = await leader_of(others)
    await leader.call("barrier", 10)
    await propose(leader, 300, 500)
    await victim.start(bootstrap=bootstrap, **LISTENING)
    await said(victim, "name_claimed")
    assert "remove" in victim.log_text() and victim.name in victim.log_text()
    assert await victim.call("status") is None
    assert await victim.call("propose", [["add", "key1", 1]]) == ["NotLeader"]
    await leader.call("remove", victim.name, 10)
    await leader.call("add", victim.name, victim.address, 20)
    await assert_same_state(peers)
    assert sum((await victim.call("values")).values()) == sum(range(500))


async def test_a_cluster_of_one_ends_when_another_cluster_counts_on_its_name(peers: list[Peer]) -> None:
    leader = await form(peers, **PATIENT)
    victim = peers[2]
    await wiped(victim)
    address = victim.address
    victim.address = free_address()
    # Nobody reaches it: it cannot know better.
    await victim.start(bootstrap=True, **PATIENT)
    await victim.until(lambda status: status["role"] == "LEADER")
    await propose(victim, 0, 10)
    await victim.kill()
    victim.address = address
    await victim.start(**LISTENING)
    cluster = (await leader.call("status"))["cluster"]
    assert await asyncio.wait_for(victim.process.wait(), 15) != 0
    assert f"peer3 is a member of cluster {cluster}" in victim.log_text()
    await propose(leader, 0, 10)


async def test_a_newcomer_that_may_form_a_cluster_takes_an_invitation_instead(peers: list[Peer]) -> None:
    one, two, _ = peers
    await one.start(bootstrap=True)
    await one.until(lambda status: status["role"] == "LEADER")
    waiting = {"HOST_CONFIG": json.dumps({"formation_wait_s": 30.0})}
    await two.start(bootstrap=True, **waiting)
    await one.call("add", "peer2", two.address, 20)
    await assert_same_state([one, two])
    assert "name_claimed" not in two.log_text()


async def test_a_host_that_formed_its_own_cluster_is_not_taken_into_another(peers: list[Peer]) -> None:
    one, two, _ = peers
    await asyncio.gather(one.start(bootstrap=True), two.start(bootstrap=True))
    await one.until(lambda status: status["role"] == "LEADER")
    await two.until(lambda status: status["role"] == "LEADER")
    with pytest.raises(CallFailed, match="belongs to cluster .* delete"):
        await one.call("add", "peer2", two.address, 5)
