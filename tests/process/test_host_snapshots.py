"""Hosts as processes: logs are compacted, and whoever they do not reach any more gets a snapshot."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress
from random import Random

import pytest

from tests.process.host_peers import CallFailed, Peer, leader_of

SETTINGS = {
    "state_sync_interval_s": 0.1,
    "trailing_entries": 5,
    "trailing_bytes": 0,
    "held_bytes_max": 0,
    "reclaim_bytes": 8 << 20,
    "snapshot_idle_s": 3.0,
}
ENVIRONMENT = {
    "HOST_MACHINE": "rocks",
    "HOST_CONFIG": json.dumps(SETTINGS),
    # What the processes of other tests take from these must not look like a dead leader.
    "HOST_ELECTION_TIMEOUT_US": "1000000",
}
PADDING = "x" * 600_000


async def alone(peer: Peer) -> Peer:
    await peer.start(bootstrap=True, **ENVIRONMENT)
    await peer.until(lambda status: status["role"] == "LEADER")
    return peer


async def write(peer: Peer, lo: int, hi: int) -> None:
    outcomes = await peer.call(
        "propose", [["add", "sum", 1]] + [["set", f"key{i}", i] for i in range(lo, hi)]
    )
    assert not [outcome for outcome in outcomes if outcome in ("NotLeader", "OutcomeUnknown")], outcomes


async def compacted(peer: Peer) -> int:
    """Write until the log begins after everything that was in it; returns its first index."""
    last_index = (await peer.call("report"))["last_index"]
    async with asyncio.timeout(30):
        number = 0
        while (report := await peer.call("report"))["first_index"] <= last_index:
            number += 1
            await peer.call("propose", [["set", f"padding{number % 4}", PADDING]])
    return report["first_index"]


async def assert_same_digest(peers: list[Peer]) -> None:
    applied = max([(await peer.call("status"))["applied"] for peer in peers])
    digests = {}
    for peer in peers:
        await peer.until(lambda status: status["applied"] >= applied)
        digests[peer.name] = await peer.call("digest")
    assert len(set(digests.values())) == 1, digests


async def writing(peer: Peer, stop: asyncio.Event) -> int:
    """Write one command after the other until told to stop; how many were acknowledged."""
    count = 0
    while not stop.is_set():
        (outcome,) = await peer.call("propose", [["add", "sum", 1]])
        count += isinstance(outcome, int)
    return count


async def test_a_newcomer_joins_by_snapshot_while_writes_go_on(peers: list[Peer]) -> None:
    leader = await alone(peers[0])
    await write(leader, 0, 1_000)
    await compacted(leader)
    await peers[1].start(**ENVIRONMENT)
    stop = asyncio.Event()
    written = asyncio.create_task(writing(leader, stop))
    await leader.call("begin_add", "peer2", peers[1].address, 30)
    await leader.until(lambda status: status["voters"] == ["peer1", "peer2"])
    stop.set()
    assert await written > 0
    first = (await peers[1].call("report"))["first_index"]
    assert first > 2, "it was not given the whole log"
    await assert_same_digest(peers[:2])
    await write(leader, 1_000, 1_100)
    await assert_same_digest(peers[:2])


async def test_two_newcomers_share_a_snapshot_and_it_is_removed_afterwards(peers: list[Peer]) -> None:
    leader = await alone(peers[0])
    await write(leader, 0, 1_000)
    await compacted(leader)
    await asyncio.gather(*(peer.start(**ENVIRONMENT) for peer in peers[1:]))
    for peer in peers[1:]:
        await leader.call("add", peer.name, peer.address, 30)
    await assert_same_digest(peers)
    made = leader.directory / "log-snapshots" / "outgoing"
    assert len(list(made.iterdir())) == 1
    async with asyncio.timeout(20):
        while list(made.iterdir()):
            await asyncio.sleep(0.1)
    for peer in peers[1:]:
        assert not [path for path in (peer.directory / "log-snapshots").rglob("*") if path.is_file()]


async def form(peers: list[Peer]) -> Peer:
    leader = await alone(peers[0])
    await asyncio.gather(*(peer.start(**ENVIRONMENT) for peer in peers[1:]))
    for peer in peers[1:]:
        await leader.call("add", peer.name, peer.address, 30)
    return leader


async def test_a_follower_that_was_down_during_compaction_catches_up_by_snapshot(peers: list[Peer]) -> None:
    leader = await form(peers)
    await write(leader, 0, 100)
    await peers[2].kill()
    await write(leader, 100, 600)
    first = await compacted(leader)
    await peers[2].start(**ENVIRONMENT)
    await assert_same_digest(peers)
    assert (await peers[2].call("report"))["first_index"] >= first
    await peers[2].kill()
    await peers[2].start(**ENVIRONMENT)
    await assert_same_digest(peers)


STEPS = (
    "raftcore.host.incoming:sync_tree",
    "raftcore.host.incoming:_append:2",
    "raftcore.storage.log_store:RocksLogStore.begin_install",
    "raftcore.host.log_writer:LogWriter.durable",
    "rocks_machine:replace_directory",
    "raftcore.storage.directory:os.rename",
    "raftcore.storage.directory:os.rename:2",
    "rocks_machine:settle_directory:2",
    "raftcore.storage.log_store:RocksLogStore.install",
    "raftcore.host.log_writer:LogWriter.durable:2",
    "raftcore.host.runner:ReplicaRunner.installed",
    "raftcore.host.incoming:shutil.rmtree:2",
)
"""What is about to be done when the process dies."""


@pytest.mark.parametrize("steps", [STEPS[2::4], pytest.param(STEPS, marks=pytest.mark.long)])
async def test_a_follower_that_dies_at_any_step_of_an_installation_has_the_old_state_or_the_new(
    peers: list[Peer], steps: tuple[str, ...]
) -> None:
    await form(peers)
    victim = peers[2]
    for number, step in enumerate(steps):
        await victim.kill()
        leader = await leader_of(peers[:2])
        await write(leader, number * 100, number * 100 + 100)
        await compacted(leader)
        await victim.start(HOST_DIE_AT=step, **ENVIRONMENT)
        assert await asyncio.wait_for(victim.process.wait(), 20) == 9, step
        await victim.start(**ENVIRONMENT)
        await assert_same_digest(peers)
    leftovers = [path for path in (victim.directory / "log-snapshots").rglob("*") if path.is_file()]
    assert not leftovers


@pytest.mark.long
async def test_log_and_snapshots_take_bounded_space(peers: list[Peer]) -> None:
    leader = await alone(peers[0])
    most_bytes = 0
    for _ in range(12):
        await leader.call("propose", [["set", f"padding{n}", PADDING] for n in range(20)])
        most_bytes = max(most_bytes, (await leader.call("report"))["log_bytes"])
    await compacted(leader)
    async with asyncio.timeout(20):
        while (await leader.call("report"))["log_bytes"] > 110 << 20:
            await leader.call("propose", [["set", "padding", PADDING]])
            await asyncio.sleep(0.1)
    assert 12 * 20 * len(PADDING) > 130 << 20


@pytest.mark.parametrize("megabytes", [24, pytest.param(208, marks=pytest.mark.long)])
async def test_a_large_snapshot_is_pulled_without_an_election_while_writes_go_on(
    peers: list[Peer], megabytes: int
) -> None:
    leader, follower = peers[0], peers[1]
    await form(peers)
    await follower.kill()
    for number in range(megabytes):
        await leader.call("propose", [["fill", f"much{number}", 16, 1 << 16]])
    await compacted(leader)
    term = (await leader.call("status"))["term"]
    await follower.start(**ENVIRONMENT)
    stop = asyncio.Event()
    written = asyncio.create_task(writing(leader, stop))
    total_bytes = 0
    async with asyncio.timeout(60):
        while (await follower.call("report"))["first_index"] < 10:
            for *_, done_bytes, known_bytes in (await leader.call("report"))["snapshots"]:
                assert done_bytes <= known_bytes
                total_bytes = known_bytes
            await asyncio.sleep(0.02)
    stop.set()
    assert await written > 0
    assert total_bytes > megabytes << 20
    assert [(await peer.call("status"))["term"] for peer in peers] == [term] * 3
    await assert_same_digest(peers)


async def test_a_follower_killed_while_it_receives_goes_on_where_it_was_and_finds_damage(
    peers: list[Peer],
) -> None:
    leader, follower = peers[0], peers[1]
    slow = {**ENVIRONMENT, "HOST_CONFIG": json.dumps({**SETTINGS, "snapshot_bytes_per_s": 4 << 20})}
    await leader.start(bootstrap=True, **slow)
    await leader.until(lambda status: status["role"] == "LEADER")
    await peers[2].start(**ENVIRONMENT)
    await follower.start(**ENVIRONMENT)
    for peer in peers[1:]:
        await leader.call("add", peer.name, peer.address, 30)
    await follower.kill()
    for number in range(12):
        await leader.call("propose", [["fill", f"much{number}", 16, 1 << 16]])
    await compacted(leader)
    ids = set()
    for received_bytes in (3 << 20, 8 << 20):
        await follower.start(**ENVIRONMENT)
        await received(follower, received_bytes)
        await follower.kill()
        ids |= {path.name for path in (follower.directory / "log-snapshots" / "incoming").glob("*/*")}
    assert len(ids) == 1, "it is one snapshot all the time"
    received_files = (follower.directory / "log-snapshots" / "incoming").rglob("*.sst")
    largest = max(received_files, key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(1_000)
        (byte,) = file.read(1)
        file.seek(1_000)
        file.write(bytes([byte ^ 1]))
    await follower.start(**ENVIRONMENT)
    await assert_same_digest(peers)


async def with_a_slow_snapshot(leader: Peer, newcomer: Peer, *, bytes_per_s: int = 4 << 20) -> None:
    """The leader has 12 MiB that the log does not hold any more, and sends them slowly."""
    slow = {**ENVIRONMENT, "HOST_CONFIG": json.dumps({**SETTINGS, "snapshot_bytes_per_s": bytes_per_s})}
    await leader.start(bootstrap=True, **slow)
    await leader.until(lambda status: status["role"] == "LEADER")
    for number in range(12):
        await leader.call("propose", [["fill", f"much{number}", 16, 1 << 16]])
    await compacted(leader)
    await newcomer.start(**ENVIRONMENT)


async def test_a_newcomer_may_take_longer_than_the_timeout_but_not_stand_still(peers: list[Peer]) -> None:
    leader, newcomer = peers[:2]
    await with_a_slow_snapshot(leader, newcomer, bytes_per_s=2 << 20)
    await leader.call("begin_add", "peer2", newcomer.address, 3.0)
    await sent(leader, 1 << 20)
    assert (await leader.call("status"))["members"] == ["peer1", "peer2"]
    newcomer.process.send_signal(signal.SIGSTOP)
    await leader.until(lambda status: status["members"] == ["peer1"])
    with pytest.raises(CallFailed, match="peer2 .* came no nearer within 3.0 s"):
        await leader.call("added")
    await write(leader, 0, 10)
    newcomer.process.send_signal(signal.SIGCONT)
    started = asyncio.get_running_loop().time()
    await leader.call("add", "peer2", newcomer.address, 3.0)
    assert asyncio.get_running_loop().time() - started > 4, "the snapshot was to take six seconds"
    assert (await leader.call("status"))["voters"] == ["peer1", "peer2"]
    await assert_same_digest(peers[:2])


async def sent(leader: Peer, size_bytes: int) -> None:
    """Wait until so much of a snapshot has left."""
    async with asyncio.timeout(30):
        while not any(done >= size_bytes for *_, done, _ in (await leader.call("report"))["snapshots"]):
            await asyncio.sleep(0.02)


async def received(peer: Peer, size_bytes: int) -> None:
    """Wait until so much of a snapshot is here, or all of it is installed."""
    async with asyncio.timeout(30):
        while (report := await peer.call("report"))["first_index"] < 8:
            if any(done >= size_bytes for _, _, done, _ in report["snapshots"]):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("seed", "rounds"), [(1, 3), pytest.param(2, 30, marks=pytest.mark.long)])
async def test_peers_killed_at_random_moments_of_compaction_and_installation_agree_and_lose_nothing(
    peers: list[Peer], seed: int, rounds: int
) -> None:
    random = Random(seed)
    await form(peers)
    acknowledged = 0
    for round_ in range(rounds):
        leader = await leader_of(peers)
        victim = random.choice(peers)
        if victim is not leader and random.random() < 0.7:
            # Away while the log is cut: it needs a snapshot when it is back.
            await victim.kill()
            acknowledged += await add(leader, 20)
            await compacted(leader)
            await victim.start(**ENVIRONMENT)
        adding = asyncio.create_task(add(leader, 100))
        await asyncio.sleep(random.random() * 1.5)
        victim = random.choice(peers)
        await victim.kill()
        with suppress(AssertionError, ConnectionError):
            acknowledged += await adding
        await victim.start(**ENVIRONMENT)
        print(f"seed {seed}, round {round_}: {acknowledged} acknowledged, {victim.name} killed")
    leader = await leader_of(peers)
    await leader.call("barrier", 20)
    await assert_same_digest(peers)
    assert await add(leader, 1)
    assert await leader.call("value", "sum") >= acknowledged


async def add(leader: Peer, count: int) -> int:
    """Add one to the sum ``count`` times; how many were acknowledged."""
    outcomes = await leader.call("propose", [["add", "sum", 1]] * count)
    return sum(isinstance(outcome, int) for outcome in outcomes)
