"""Hosts as processes on loopback: electing, replicating, dying by kill -9, joining and leaving."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from z4sql.testing.ports import free_address

HERE = Path(__file__).parent


class CallFailed(Exception):
    pass


class Peer:
    """A host process and the pipe to it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.address = free_address()
        self.directory = directory
        self.process: asyncio.subprocess.Process
        self._lock = asyncio.Lock()
        self._log_path = directory.with_name(f"{name}.log")
        self._log_path.touch()

    async def start(self, bootstrap: bool = False, **environment: str) -> None:
        log_file = self._log_file()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "host_process.py"),
            self.name,
            self.address,
            str(self.directory),
            "1" if bootstrap else "0",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file if not os.environ.get("HOST_LOGS") else None,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path]),
                **environment,
            },
            limit=1 << 26,
        )
        os.close(log_file)
        while json.loads(await self._line()) != "ready":
            pass

    def _log_file(self) -> int:
        """Of this life only; the process keeps it open."""
        return os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def log_text(self) -> str:
        """What this life has said so far."""
        return self._log_path.read_text(errors="replace")

    async def _line(self) -> bytes:
        while True:
            line = await asyncio.wait_for(self.process.stdout.readline(), 30)
            assert line, f"{self.name} ended; the end of its log: {self.log_text()[-2000:]}"
            if line[:1] in b'{"':
                return line

    async def call(self, method: str, *arguments):
        async with self._lock:
            self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
            answer = json.loads(await self._line())
        if "error" in answer:
            raise CallFailed(f"{answer['error']}: {answer['text']}")
        return answer["ok"]

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def until(self, condition, timeout_s: float = 20.0):
        """Wait until ``condition`` holds for the status; return it."""
        status = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    status = await self.call("status")
                    if status is not None and condition(status):
                        return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{self.name} stays at {status}") from None


@pytest.fixture
async def peers(tmp_path: Path):
    made = [Peer(f"peer{number}", tmp_path / f"peer{number}") for number in (1, 2, 3)]
    yield made
    for peer in made:
        if hasattr(peer, "process"):
            await peer.kill()


async def form(peers: list[Peer], **environment: str) -> Peer:
    """Make the three peers a cluster led by the first."""
    first, *others = peers
    await asyncio.gather(
        first.start(bootstrap=True, **environment), *(peer.start(**environment) for peer in others)
    )
    await first.until(lambda status: status["role"] == "LEADER")
    for peer in others:
        await first.call("add", peer.name, peer.address, 20)
    return first


async def leader_of(peers: list[Peer]) -> Peer:
    async with asyncio.timeout(20):
        while True:
            for peer in peers:
                status = await peer.call("status")
                if status and status["role"] == "LEADER":
                    return peer
            await asyncio.sleep(0.02)


async def propose(peer: Peer, lo: int, hi: int) -> None:
    outcomes = await peer.call("propose", [["add", f"key{i % 100}", i] for i in range(lo, hi)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, str)]


async def assert_same_state(peers: list[Peer]) -> None:
    applied = max([(await peer.call("status"))["applied"] for peer in peers])
    states = []
    for peer in peers:
        await peer.until(lambda status: status["applied"] >= applied)
        states.append(await peer.call("values"))
    assert states.count(states[0]) == len(states)


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
