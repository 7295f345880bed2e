"""A Jepsen-like test: clients call real processes, a nemesis harms them, and histories stay linearizable.

The nemesis and the clients draw from a seed; a failure prints it with the command that runs it again, though
no seed decides how processes interleave. ``KV_SEED`` and ``KV_SECONDS`` replace the seed and the length.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from jepsen.cluster import Cluster, Network, NodeProcess
from jepsen.nemesis import Nemesis
from jepsen.workload import Recorder

from raftcore.kv.client import KvClient
from raftcore.sim.linearizability import Kind, Operation, check

CLIENTS = 5


@pytest.fixture
async def made(tmp_path: Path):
    """Makes clusters; ends what it made."""
    ends = []

    async def make(size: int, *, partitions: bool = False) -> Cluster:
        network = Network(size) if partitions else None
        if network is not None:
            ends.append(network.stop)
            await network.start()
        cluster = Cluster(tmp_path, size, network)
        ends.append(cluster.stop)
        await cluster.start()
        return cluster

    yield make
    for end in reversed(ends):
        await end()


async def torment(cluster: Cluster, seed: int, seconds: float, replay: str) -> None:
    """Let clients and nemesis loose, heal, and check. :raises AssertionError: with the seed."""
    recorder, nemesis = Recorder(), Nemesis(cluster, seed)
    clients = [
        *(asyncio.create_task(recorder.client(number, cluster.endpoints, seed)) for number in range(CLIENTS)),
        asyncio.create_task(recorder.sessions(cluster.endpoints, seed)),
    ]
    harm = asyncio.create_task(nemesis.run())
    again = f"seed {seed}; again: KV_SEED={seed} KV_SECONDS={seconds:g} .venv/bin/pytest -m '' '{replay}'"
    try:
        await asyncio.wait([harm, *clients], timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        # A trouble broken off halfway would leave nobody to end it.
        nemesis.running = False
        await harm
        await cluster.heal()
        recorder.running = False
        await asyncio.gather(*clients)
        await read_everything(cluster, recorder)
        await assert_same_state(cluster)
        violation = check(recorder.operations)
        assert violation is None, str(violation)
        assert recorder.counts["ok"] > 20 * seconds / 2, f"hardly anything was done: {recorder.counts}"
        assert recorder.expired > 0, "no key was seen to expire"
        assert len(nemesis.done) >= 3, nemesis.done
    except BaseException as error:
        logs = cluster.nodes[0].directory.parent
        error.add_note(f"{again}\n{recorder.counts}; the nemesis: {nemesis.done}; logs in {logs}")
        raise
    finally:
        for task in (harm, *clients):
            task.cancel()
        await asyncio.gather(harm, *clients, return_exceptions=True)
    print(f"seed {seed}: {recorder.counts}; the nemesis: {nemesis.done}")


async def read_everything(cluster: Cluster, recorder: Recorder) -> None:
    """Read every key once more at every node: what was acknowledged must be there."""
    for node in cluster.nodes:
        async with KvClient([node.address], timeout_s=10) as client:
            for generation in range(recorder.generation() + 1):
                await recorder.scan(f"last at {node.name}", client, f"g{generation}/")


async def assert_same_state(cluster: Cluster) -> None:
    """All replicas hold the same keys, values and versions, and tell the same changes, each once."""
    async with KvClient(cluster.endpoints, timeout_s=10) as client:
        last = await client.set(b"last", b"")
    states, histories = [], []
    for node in cluster.nodes:
        async with KvClient([node.address], timeout_s=10) as client:
            states.append(await client.scan(b"", 10_000))
            async with asyncio.timeout(20):
                histories.append(changes := [])
                async for change in client.watch(1):
                    changes.append(change)
                    if change.version == last.version:
                        break
    assert states.count(states[0]) == len(states)
    assert [change.version for change in histories[0]] == list(range(1, last.version + 1))
    assert histories.count(histories[0]) == len(histories)


def seconds_or(default: float) -> float:
    return float(os.environ.get("KV_SECONDS", default))


def seeds_or(*defaults: int) -> list[int]:
    return [int(os.environ["KV_SEED"])] if "KV_SEED" in os.environ else list(defaults)


@pytest.mark.parametrize("seed", seeds_or(1))
async def test_histories_of_three_processes_are_linearizable_whatever_dies(made, request, seed: int) -> None:
    await torment(await made(3), seed, seconds_or(8), request.node.nodeid)


@pytest.mark.long
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", seeds_or(11, 12, 13))
async def test_histories_are_linearizable_for_minutes(made, request, seed: int, size: int) -> None:
    await torment(await made(size), seed, seconds_or(60), request.node.nodeid)


@pytest.mark.long
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2")
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", seeds_or(21, 22))
async def test_histories_are_linearizable_through_partitions(made, request, seed: int, size: int) -> None:
    await torment(await made(size, partitions=True), seed, seconds_or(60), request.node.nodeid)


async def test_a_follower_that_reads_what_it_has_is_caught_and_one_that_waits_is_not(made) -> None:
    """The checker checks: reads of what a follower has, just when it wakes up, make a history impossible."""
    cluster = await made(3)
    leader = await cluster.leader()
    follower = next(node for node in cluster.nodes if node is not leader)
    assert check(await lagging_reads(leader, follower, stale=False, rounds=10)) is None
    violation = check(await lagging_reads(leader, follower, stale=True, rounds=50))
    assert violation is not None
    assert violation.stuck[0].process == "reader"


async def lagging_reads(
    leader: NodeProcess, follower: NodeProcess, *, stale: bool, rounds: int
) -> list[Operation]:
    """Write while the follower stands still, and read there as it wakes up, until something old is read."""
    recorder = Recorder()
    key = f"stale={stale}"
    async with (
        KvClient([leader.address], timeout_s=10) as writer,
        KvClient([follower.address], timeout_s=10, attempt_s=10) as reader,
    ):
        for number in range(rounds):
            await reader.get(key.encode())
            follower.pause()
            try:
                value = b"%d" % number
                await recorder.record("writer", Kind.WRITE, key, value, writer.set(key.encode(), value))
                reading = asyncio.create_task(recorder.get("reader", reader, key, stale=stale))
                # The call is to lie in the follower's socket when it wakes up.
                await asyncio.sleep(0.02)
            finally:
                follower.resume()
            item = await reading
            if stale and (item is None or item.value != value):
                break
    return recorder.operations
