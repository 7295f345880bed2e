"""One host in this process: what it promises about order, durability and failure of its disk."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from dict_machine import DictMachine
from led_host import config_of, led

from raftcore.core.errors import NotLeader, OutcomeUnknown, PayloadTooLarge, Stalled, StorageError
from raftcore.core.types import Entry, EntryKind, Role
from raftcore.host.host import Host
from raftcore.storage.log_store import RocksLogStore
from raftcore.transport.base import Invitation, Refused


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / f"state-{node}"))
    await host.start(bootstrap=True)
    yield await led(host)
    await host.stop()


async def command(host: Host, *words) -> object:
    future = asyncio.get_running_loop().create_future()
    host.propose(json.dumps(words).encode(), future.set_result)
    outcome = await asyncio.wait_for(future, 10)
    if isinstance(outcome, Exception):
        raise outcome
    return json.loads(outcome)


async def test_a_command_is_answered_with_its_result(host: Host) -> None:
    assert await command(host, "set", "a", 1) == 1
    assert await command(host, "add", "a", 2) == 3
    assert host.leader().name == "peer1"
    assert len(host.cluster_id) == 32


async def test_applied_entries_are_told_in_order_and_can_be_read_again(host: Host) -> None:
    told: list[Entry] = []
    host.on_apply(told.extend)
    lo = host.status().applied + 1
    for number in range(50):
        await command(host, "add", "a", number)
    assert [entry.index for entry in told] == list(range(lo, lo + len(told)))
    again = host.entries(lo, 1 << 20)
    assert again == told
    assert len(host.entries(lo, 1)) == 1
    assert host.entries(told[-1].index + 1, 1 << 20) == []


async def test_a_checkpoint_holds_all_that_was_applied(host: Host, tmp_path: Path) -> None:
    await command(host, "set", "a", 1)
    index = await host.checkpoint(tmp_path / "copy")
    copy = DictMachine(tmp_path / "copy")
    assert copy.open() == index == host.status().applied
    assert copy.values == {"a": 1}
    assert await command(host, "get", "a") == 1


async def test_a_barrier_covers_every_acknowledged_command(host: Host) -> None:
    await command(host, "set", "a", 1)
    applied = host.status().applied
    assert await host.barrier(5) >= applied


async def test_role_changes_are_told(tmp_path: Path) -> None:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    roles = []
    host.on_role_change(lambda status: roles.append(status.role))
    await host.start(bootstrap=True)
    async with asyncio.timeout(10):
        while Role.LEADER not in roles:
            await asyncio.sleep(0.01)
    await host.stop()


async def test_a_fresh_host_waits_and_refuses_calls(tmp_path: Path) -> None:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start()
    assert host.status() is None
    assert host.leader() is None
    assert host.cluster_id == ""
    with pytest.raises(NotLeader):
        host.propose(b"[]", lambda outcome: None)
    with pytest.raises(NotLeader):
        await host.add_member("peer2", "127.0.0.1:2", 1)
    await host.stop()
    await host.stop()


async def test_an_invitation_is_accepted_once_and_never_from_another_cluster(tmp_path: Path) -> None:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / f"state-{node}"))
    await host.start()
    with pytest.raises(Refused, match="is called peer1"):
        await host.invited(Invitation("c1", 1, 7, "peer2"))
    await host.invited(Invitation("c1", 1, 7, "peer1"))
    await host.invited(Invitation("c1", 1, 7, "peer1"))
    with pytest.raises(Refused, match="belongs to cluster c1"):
        await host.invited(Invitation("c2", 1, 8, "peer1"))
    with pytest.raises(Refused, match="already replica 7"):
        await host.invited(Invitation("c1", 1, 6, "peer1"))
    assert host.status().node == 7
    await host.invited(Invitation("c1", 1, 9, "peer1"))
    assert host.status().node == 9
    with pytest.raises(Refused, match="no replica has id"):
        await host.invited(Invitation("c1", 1, 2**40, "peer1"))
    await host.stop()
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / f"state-{node}"))
    await host.start(bootstrap=True)
    assert (host.status().node, host.cluster_id) == (9, "c1")
    await host.stop()


async def test_a_leader_takes_no_invitation(host: Host) -> None:
    await command(host, "set", "a", 1)
    with pytest.raises(Refused, match="peer1 still leads"):
        await host.invited(Invitation(host.cluster_id, 1, host.status().last_index + 1, "peer1"))
    assert host.status().role is Role.LEADER
    assert await command(host, "get", "a") == 1


async def test_no_answer_comes_before_the_disk_has_it(tmp_path: Path, monkeypatch) -> None:
    gate = threading.Event()
    gate.set()
    sync = RocksLogStore.sync

    def slow_sync(self: RocksLogStore) -> None:
        assert gate.wait(10)
        sync(self)

    monkeypatch.setattr(RocksLogStore, "sync", slow_sync)
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    await command(host, "set", "a", 1)
    gate.clear()
    answer = asyncio.create_task(command(host, "set", "a", 2))
    done, _ = await asyncio.wait([answer], timeout=0.3)
    assert not done
    assert host.status().role is Role.LEADER
    gate.set()
    assert await answer == 2
    await host.stop()


async def test_a_failed_sync_is_fatal_and_nothing_is_acknowledged_afterwards(
    tmp_path: Path, monkeypatch
) -> None:
    broken = threading.Event()
    calls_after = []
    sync = RocksLogStore.sync

    def failing_sync(self: RocksLogStore) -> None:
        if broken.is_set():
            calls_after.append(1)
            raise StorageError("IO error: Input/output error")
        sync(self)

    monkeypatch.setattr(RocksLogStore, "sync", failing_sync)
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    await command(host, "set", "a", 1)
    broken.set()
    with pytest.raises(OutcomeUnknown):
        await command(host, "set", "a", 2)
    with pytest.raises(StorageError):
        await asyncio.wait_for(host.fatal, 5)
    with pytest.raises(NotLeader):
        host.propose(b"[]", lambda outcome: None)
    assert calls_after == [1]
    await host.stop()


async def test_a_machine_that_fails_is_fatal(tmp_path: Path) -> None:
    host = Host(config_of(tmp_path), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    with pytest.raises(OutcomeUnknown):
        await command(host, "set")
    assert isinstance(host.fatal.exception(), TypeError)
    await host.stop()


async def test_a_stalled_log_is_written_later_and_heartbeats_go_on(tmp_path: Path, monkeypatch) -> None:
    stalled = 0
    write = RocksLogStore.write

    def stalling_write(self: RocksLogStore, writes) -> None:
        nonlocal stalled
        if stalled:
            stalled -= 1
            raise Stalled("Result incomplete: Write stall")
        write(self, writes)

    monkeypatch.setattr(RocksLogStore, "write", stalling_write)
    host = Host(config_of(tmp_path, write_retry_ms=5), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    stalled = 5
    answers = await asyncio.gather(*(command(host, "add", "a", 1) for _ in range(10)))
    assert answers == list(range(1, 11))
    assert not stalled
    await host.stop()


async def test_applying_is_sliced_so_that_the_loop_stays_free(tmp_path: Path) -> None:
    class SlowMachine(DictMachine):
        def apply(self, entries):
            deadline = asyncio.get_running_loop().time() + 0.002 * len(entries)
            while asyncio.get_running_loop().time() < deadline:
                pass
            return super().apply(entries)

    settings = {"apply_slice_ms": 4, "apply_chunk_bytes": 1}
    host = Host(config_of(tmp_path, **settings), lambda shard, node: SlowMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    applied: list[int] = []
    host.on_apply(lambda entries: applied.append(len(entries)))
    await asyncio.gather(*(command(host, "add", "a", 1) for _ in range(20)))
    for _ in range(30):
        await command(host, "add", "a", 1)
    assert max(applied) <= 4
    await host.stop()


async def test_a_machine_that_stalls_is_given_again_what_it_did_not_take(tmp_path: Path) -> None:
    class StallingMachine(DictMachine):
        stalls = 0

        def apply(self, entries):
            if self.stalls:
                self.stalls -= 1
                if self.stalls % 2 or len(entries) < 2:
                    raise Stalled("Result incomplete: Write stall")
                return super().apply(entries[: len(entries) // 2])
            return super().apply(entries)

    machine = StallingMachine(tmp_path / "state")
    host = Host(config_of(tmp_path, write_retry_ms=5), lambda shard, node: machine)
    await host.start(bootstrap=True)
    await led(host)
    machine.stalls = 9
    answers = await asyncio.gather(*(command(host, "add", "a", 1) for _ in range(50)))
    assert answers == list(range(1, 51))
    for total in range(51, 61):
        assert await command(host, "add", "a", 1) == total
    assert not machine.stalls
    assert not (await host.report()).stalled
    await host.stop()


@pytest.mark.parametrize("allows_it", [True, False])
async def test_entries_are_applied_during_a_sync_if_the_machine_allows_it(
    tmp_path: Path, allows_it: bool
) -> None:
    begun, gate = threading.Event(), threading.Event()

    class SlowlySyncedMachine(DictMachine):
        syncs_while_applying = allows_it

        def sync(self):
            begun.set()
            assert gate.wait(10)
            return super().sync()

    config = config_of(tmp_path, state_sync_interval_s=0.05)
    host = Host(config, lambda shard, node: SlowlySyncedMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    await asyncio.to_thread(begun.wait, 10)
    answer = asyncio.create_task(command(host, "add", "a", 1))
    done, _ = await asyncio.wait([answer], timeout=5 if allows_it else 0.3)
    assert bool(done) == allows_it
    gate.set()
    assert await answer == 1
    await host.stop()


async def test_a_log_is_compacted_below_what_the_state_holds_but_for_a_trailing_rest(tmp_path: Path) -> None:
    settings = {"state_sync_interval_s": 0.05, "trailing_entries": 20}
    host = Host(config_of(tmp_path, **settings), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start(bootstrap=True)
    await led(host)
    for _ in range(60):
        await command(host, "add", "a", 1)
    async with asyncio.timeout(10):
        while (report := await host.report()).first_index < report.last_index - 22:
            await asyncio.sleep(0.02)
    assert report.first_index <= report.last_index - 19
    assert host.entries(report.first_index - 1, 1 << 20) is None
    assert host.entries(report.first_index, 1 << 20)[0].index == report.first_index
    assert report.log_bytes > 0
    await host.stop()
    host = Host(config_of(tmp_path, **settings), lambda shard, node: DictMachine(tmp_path / "state"))
    await host.start()
    await led(host)
    assert await command(host, "add", "a", 0) == 60
    assert (await host.report()).first_index >= report.first_index
    await host.stop()


def test_settings_out_of_range_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reclaim_bytes.*trailing_entries"):
        config_of(tmp_path, reclaim_bytes=0, trailing_entries=-1)


async def test_a_restart_replays_only_what_the_state_lacks(tmp_path: Path) -> None:
    machines = []

    def factory(shard: int, node: int) -> DictMachine:
        machines.append(DictMachine(tmp_path / "state"))
        return machines[-1]

    for total in (10, 20, 30):
        host = Host(config_of(tmp_path), factory)
        await host.start(bootstrap=True)
        await led(host)
        for _ in range(10):
            await command(host, "add", "a", 1)
        assert machines[-1].values == {"a": total}
        await host.stop()
    kinds = {EntryKind.NOOP, EntryKind.CONFIG, EntryKind.COMMANDS}
    store = RocksLogStore(tmp_path / "log")
    entries = store.entries(1, 1, 1, 10_000, 1 << 20)
    assert {entry.kind for entry in entries} <= kinds
    assert sum(entry.kind is EntryKind.COMMANDS for entry in entries) == 30
    store.close()


async def test_a_host_that_cannot_start_leaves_nothing_open(host: Host, tmp_path: Path) -> None:
    config = config_of(tmp_path / "other")
    other = Host(replace(config, listen="256.0.0.1:1"), lambda shard, node: DictMachine(tmp_path / "other"))
    with pytest.raises(OSError, match="cannot listen"):
        await other.start(bootstrap=True)
    other = Host(config, lambda shard, node: DictMachine(tmp_path / "other"))
    await other.start(bootstrap=True)
    await led(other)
    await other.stop()
    with pytest.raises(StorageError, match="belongs to peer1"):
        await Host(replace(config, name="peer2"), lambda shard, node: DictMachine(tmp_path / "other")).start()
    other = Host(config, lambda shard, node: DictMachine(tmp_path / "other"))
    await other.start()
    await led(other)
    await other.stop()


async def test_how_busy_a_host_is_can_be_read(host: Host) -> None:
    host.shares()
    for _ in range(20):
        await command(host, "add", "a", 1)
    shares = host.shares()
    assert 0 < shares.turns < 1
    assert 0 < shares.applying < 1
    assert 0 < shares.flushing < 1
    assert shares.syncs_s and min(shares.syncs_s) > 0
    again = host.shares()
    assert len(again.syncs_s) < len(shares.syncs_s) and not again.refused
    # A machine that others use may have cost it the lead meanwhile.
    with pytest.raises((PayloadTooLarge, NotLeader)) as refused:
        host.propose(b"x" * (64 << 20), lambda _: None)
    assert host.shares().refused == {refused.typename: 1}
