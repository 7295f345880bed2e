"""A host that makes a snapshot while everything else goes on: writes, compaction, invitations, its end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dict_machine import DictMachine
from led_host import config_of, led, until

from raftcore.core.errors import Stalled
from raftcore.core.types import Index, NodeId, ShardId
from raftcore.host import outgoing
from raftcore.host.host import Host
from raftcore.host.manifest import Manifest
from raftcore.host.runner import ReplicaRunner
from raftcore.storage.kv import Store
from raftcore.storage.log_store import RocksLogStore
from raftcore.transport.base import Invitation

PEER = NodeId(99)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """It keeps next to no log: what it has made durable is compacted away."""
    config = config_of(
        tmp_path,
        state_sync_interval_s=0.05,
        trailing_entries=5,
        trailing_bytes=0,
        held_bytes_max=0,
    )
    host = Host(config, lambda shard, node: DictMachine(tmp_path / f"state-{node}"))
    await host.start(bootstrap=True)
    yield await led(host)
    await host.stop()


async def write(host: Host, key: str, size: int = 10) -> None:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    host.propose(json.dumps(["set", key, "x" * size]).encode(), future.set_result)
    assert isinstance(await asyncio.wait_for(future, 10), bytes)


async def test_a_log_that_is_compacted_while_files_are_summed_up_ends_nobody(host: Host, monkeypatch) -> None:
    summing, go_on = threading.Event(), threading.Event()
    of = Manifest.of

    def slow(directory: Path) -> Manifest:
        summing.set()
        assert go_on.wait(20)
        return of(directory)

    monkeypatch.setattr(Manifest, "of", slow)
    monkeypatch.setattr(outgoing, "_MAKING_BYTES", 1 << 20)
    await write(host, "first")
    runner = host.member_runner()
    host.snapshots.outgoing.wanted(runner, PEER)
    await until(summing.is_set)
    index = runner.applied
    async with asyncio.timeout(20):
        while runner.replica.core.first_index <= index + 1:
            await write(host, "much", 300_000)
    go_on.set()
    await until(lambda: not host.snapshots.outgoing.being_made(runner.shard))
    assert not host.fatal.done()
    assert [each.index for each in host.snapshots.progress()] == [index]
    await write(host, "last")


async def test_a_host_that_is_told_to_end_makes_no_snapshot_and_does_not_fail(host: Host) -> None:
    await write(host, "first")
    host.snapshots.outgoing.wanted(host.member_runner(), PEER)
    await host.stop()
    assert not host.fatal.done()


def knows_that_it_is_removed(runner: ReplicaRunner) -> None:
    """As if its cluster had told it so."""
    core = runner.replica.core
    core.is_removed = True
    core.become_follower(core.term, NodeId(0))


async def test_a_replica_that_is_replaced_is_gone_for_good(host: Host, monkeypatch) -> None:
    calls: list[object] = []
    discard, sync = RocksLogStore.discard, Store.sync_wal

    def noted_discard(store: RocksLogStore, shard: ShardId, node: NodeId) -> None:
        calls.append(node)
        discard(store, shard, node)

    def noted_sync(store: Store) -> None:
        calls.append("sync")
        sync(store)

    monkeypatch.setattr(RocksLogStore, "discard", noted_discard)
    monkeypatch.setattr(Store, "sync_wal", noted_sync)
    former = host.member_runner()
    knows_that_it_is_removed(former)
    await host.invited(Invitation(host.cluster_id, former.shard, NodeId(1000), "peer1"))
    assert "sync" in calls[calls.index(former.node) :]


async def test_a_replica_that_is_replaced_makes_no_snapshot_and_its_successor_can(host: Host) -> None:
    await write(host, "first")
    former = host.member_runner()
    knows_that_it_is_removed(former)
    host.snapshots.outgoing.wanted(former, PEER)
    await host.invited(Invitation(host.cluster_id, former.shard, NodeId(1000), "peer1"))
    assert former.stopped and not host.fatal.done()
    successor = host.member_runner()
    assert successor is not former
    assert not host.snapshots.outgoing.being_made(successor.shard)


async def test_what_a_replica_left_whose_host_died_while_it_was_replaced_is_removed(
    host: Host, tmp_path: Path, monkeypatch
) -> None:
    await write(host, "first")
    former = host.member_runner()
    knows_that_it_is_removed(former)
    discard = RocksLogStore.discard

    def dying_discard(store: RocksLogStore, shard: ShardId, node: NodeId) -> None:
        if node == former.node:
            raise OSError("the power is cut")
        discard(store, shard, node)

    with monkeypatch.context() as patched:
        patched.setattr(RocksLogStore, "discard", dying_discard)
        with pytest.raises(OSError, match="power"):
            await host.invited(Invitation(host.cluster_id, former.shard, NodeId(1000), "peer1"))
        await host.stop()
    again = Host(host.config, lambda shard, node: DictMachine(tmp_path / f"state-{node}"))
    await again.start()
    try:
        assert again.member_runner().node == 1000
        assert again.store.recover(former.shard, former.node, Index(0), 1 << 20).last_index == 0
    finally:
        await again.stop()


async def test_a_state_whose_store_takes_nothing_for_now_is_synced_later(
    host: Host, tmp_path: Path, monkeypatch
) -> None:
    sync, refused = DictMachine.sync, 0

    def stalling_sync(machine: DictMachine) -> Index:
        nonlocal refused
        refused += 1
        if refused <= 3:
            raise Stalled("not now")
        return sync(machine)

    monkeypatch.setattr(DictMachine, "sync", stalling_sync)
    await write(host, "first")
    state = tmp_path / f"state-{host.member_runner().node}" / "state.json"
    await until(lambda: host.fatal.done() or (state.exists() and "first" in state.read_text()))
    assert not host.fatal.done()
    assert refused > 3
