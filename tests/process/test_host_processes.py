"""Hosts as processes on loopback: electing, replicating, dying by kill -9, joining and leaving."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.process.host_peers import CallFailed, Peer, assert_same_state, form, leader_of, propose
from z4sql.testing.ports import free_address


async def test_a_cluster_of_one_keeps_its_state_through_kill_9(peers: list[Peer]) -> None:
    one = peers[0]
    await one.start(bootstrap=True)
    await one.until(lambda status: status["role"] == "LEADER")
    await propose(one, 0, 1000)
    before = await one.call("values")
    cluster = (await one.call("status"))["cluster"]
    await one.kill()
    await one.start(bootstrap=True)
    await one.until(lambda status: status["role"] == "LEADER")
    await one.call("barrier", 10)
    assert await one.call("values") == before
    assert (await one.call("status"))["cluster"] == cluster


async def test_ten_thousand_commands_reach_all_and_survive_a_killed_follower(peers: list[Peer]) -> None:
    leader = await form(peers)
    for lo in range(0, 5_000, 500):
        await propose(leader, lo, lo + 500)
    await peers[2].kill()
    for lo in range(5_000, 10_000, 500):
        await propose(leader, lo, lo + 500)
    await peers[2].start()
    await assert_same_state(peers)
    values = await leader.call("values")
    assert sum(values.values()) == sum(range(10_000))


async def test_a_killed_leader_is_replaced_and_comes_back(peers: list[Peer]) -> None:
    leader = await form(peers)
    await propose(leader, 0, 1_000)
    await leader.kill()
    others = [peer for peer in peers if peer is not leader]
    following = await leader_of(others)
    await following.call("barrier", 10)
    await propose(following, 1_000, 2_000)
    await leader.start()
    await assert_same_state(peers)
    assert sum((await leader.call("values")).values()) == sum(range(2_000))


async def test_an_unreachable_address_is_named_and_changes_nothing(peers: list[Peer]) -> None:
    one = peers[0]
    await one.start(bootstrap=True)
    await one.until(lambda status: status["role"] == "LEADER")
    nowhere = free_address()
    with pytest.raises(CallFailed, match=nowhere):
        await one.call("add", "peer9", nowhere, 0.5)
    status = await one.call("status")
    assert status["members"] == ["peer1"]
    await propose(one, 0, 10)


async def test_names_addresses_and_clusters_are_checked_before_a_member_is_added(peers: list[Peer]) -> None:
    one, two, three = peers
    await asyncio.gather(one.start(bootstrap=True), two.start(), three.start(bootstrap=True))
    await one.until(lambda status: status["role"] == "LEADER")
    with pytest.raises(CallFailed, match="already a member"):
        await one.call("add", "peer1", two.address, 2)
    with pytest.raises(CallFailed, match="already a member"):
        await one.call("add", "peer2", one.address, 2)
    with pytest.raises(CallFailed, match="is called peer2"):
        await one.call("add", "peer7", two.address, 2)
    with pytest.raises(CallFailed, match="belongs to cluster"):
        await one.call("add", "peer3", three.address, 2)
    with pytest.raises(CallFailed, match="nobody is called"):
        await one.call("remove", "peer7", 2)
    assert (await one.call("status"))["members"] == ["peer1"]


async def test_a_removed_peer_comes_back_under_its_name_with_a_new_id(peers: list[Peer]) -> None:
    leader = await form(peers)
    await propose(leader, 0, 500)
    former = (await peers[2].call("status"))["node"]
    await leader.call("remove", "peer3", 10)
    assert (await leader.call("status"))["members"] == ["peer1", "peer2"]
    await propose(leader, 500, 1_000)
    await leader.call("add", "peer3", peers[2].address, 20)
    status = await peers[2].until(lambda status: status["node"] != former)
    assert status["node"] > former
    await assert_same_state(peers)
    await peers[2].kill()
    await peers[2].start()
    await assert_same_state(peers)


async def test_a_clean_stop_hands_leadership_over(peers: list[Peer]) -> None:
    leader = await form(peers)
    await propose(leader, 0, 100)
    await leader.call("stop")
    assert await asyncio.wait_for(leader.process.wait(), 10) == 0
    following = await leader_of(peers[1:])
    await following.call("barrier", 10)
    await propose(following, 100, 200)
    await leader.start()
    await assert_same_state(peers)


async def test_a_clean_stop_hands_leadership_to_a_voter_that_is_there(peers: list[Peer]) -> None:
    leader = await form(peers)
    await propose(leader, 0, 100)
    await assert_same_state(peers)
    peers[1].process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    await leader.call("stop")
    # An election that nobody was asked for would begin an election timeout later.
    assert (await peers[2].call("status"))["role"] == "LEADER"
    peers[1].process.send_signal(signal.SIGCONT)
    await propose(peers[2], 100, 200)
    await assert_same_state(peers[1:])


async def test_leadership_moves_when_asked_to(peers: list[Peer]) -> None:
    leader = await form(peers)
    assert await leader.call("transfer", "peer2", 10) == "peer2"
    await peers[1].until(lambda status: status["role"] == "LEADER")
    await propose(peers[1], 0, 100)
    await assert_same_state(peers)
    with pytest.raises(CallFailed, match="NotLeader"):
        await leader.call("remove", "peer3", 5)


async def test_a_follower_answers_linearizable_reads(peers: list[Peer]) -> None:
    leader = await form(peers)
    await propose(leader, 0, 1_000)
    expected = await leader.call("values")
    await peers[1].call("barrier", 10)
    assert await peers[1].call("values") == expected


async def test_a_stopped_follower_holds_up_nobody_and_catches_up(peers: list[Peer]) -> None:
    leader = await form(peers)
    peers[2].process.send_signal(signal.SIGSTOP)
    for lo in range(0, 3_000, 500):
        await propose(leader, lo, lo + 500)
    await asyncio.sleep(1)
    peers[2].process.send_signal(signal.SIGCONT)
    await assert_same_state(peers)
    assert sum((await peers[2].call("values")).values()) == sum(range(3_000))


@pytest.mark.parametrize("rounds", [4])
async def test_peers_killed_at_random_agree_and_lose_nothing_acknowledged(
    peers: list[Peer], rounds: int
) -> None:
    await form(peers)
    acknowledged = 0
    for round_ in range(rounds):
        leader = await leader_of(peers)
        await leader.call("barrier", 10)
        total = sum((await leader.call("values")).values())
        assert total >= acknowledged
        answer = asyncio.create_task(leader.call("propose", [["add", "sum", 1]] * 300))
        await asyncio.sleep(0.02 * round_)
        victim = peers[round_ % 3]
        await victim.kill()
        try:
            outcomes = await answer
            acknowledged += sum(isinstance(outcome, int) for outcome in outcomes)
        except (AssertionError, ConnectionError):
            pass
        await victim.start()
    await assert_same_state(peers)
    assert sum((await peers[0].call("values")).values()) >= acknowledged
