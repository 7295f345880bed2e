"""A replica whose state and log are being replaced: what it answers meanwhile, what it keeps for later."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dict_machine import DictMachine
from led_host import led, until

from raftcore.core.config import CoreConfig
from raftcore.core.messages import Append, Heartbeat, PreVote
from raftcore.core.types import Entry, EntryKind, Index, Role
from raftcore.host.host import Host, HostConfig
from raftcore.host.runner import DEFERRED_MAX
from z4sql.testing.ports import free_address


class SlowMachine(DictMachine):
    """Installs when it is let."""

    installing = threading.Event()
    go_on = threading.Event()

    def install(self, path: Path) -> Index:
        self.installing.set()
        assert self.go_on.wait(30)
        return super().install(path)


def make(name: str, address: str, directory: Path) -> Host:
    config = HostConfig(
        name=name,
        address=address,
        listen=address,
        data_dir=directory / name / "log",
        core=CoreConfig(election_timeout_us=500_000, heartbeat_interval_us=50_000),
        formation_wait_s=0,
        state_sync_interval_s=0.05,
        trailing_entries=5,
        trailing_bytes=0,
        held_bytes_max=0,
    )
    return Host(config, lambda shard, node: SlowMachine(directory / name / f"state-{node}"))


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    """The first leads; the second is about to install a snapshot, and does when it is let."""
    SlowMachine.go_on.set()
    addresses = [free_address() for _ in range(3)]
    made = [make(f"peer{number}", address, tmp_path) for number, address in enumerate(addresses, start=1)]
    for host in made:
        await host.start(bootstrap=host is made[0])
    leader, follower = made[:2]
    await led(leader)
    for host, address in zip(made[1:], addresses[1:], strict=True):
        await leader.add_member(host.config.name, address, 20)
    await follower.stop()
    SlowMachine.installing.clear()
    SlowMachine.go_on.clear()
    last_index = leader.member_runner().replica.core.last_index
    async with asyncio.timeout(20):
        while leader.member_runner().replica.core.first_index <= last_index + 1:
            await write(leader, 300_000)
    made[1] = make("peer2", addresses[1], tmp_path)
    await made[1].start()
    await until(SlowMachine.installing.is_set)
    yield made
    SlowMachine.go_on.set()
    for host in made:
        await host.stop()


async def write(host: Host, size: int = 10) -> None:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    host.propose(json.dumps(["set", "a", "x" * size]).encode(), future.set_result)
    assert isinstance(await asyncio.wait_for(future, 10), bytes)


async def test_a_leader_that_needs_a_replica_that_installs_goes_on_to_lead(hosts: list[Host]) -> None:
    leader, follower, other = hosts
    term = leader.status().term
    await other.stop()
    await asyncio.sleep(3 * leader.config.core.election_timeout_us / 1e6)
    assert follower.member_runner().frozen
    assert (leader.status().role, leader.status().term) == (Role.LEADER, term)
    SlowMachine.go_on.set()
    await write(leader)
    applied = leader.status().applied
    await until(lambda: follower.status().applied >= applied)
    assert leader.status().term == term


async def test_what_arrives_meanwhile_takes_bounded_memory(hosts: list[Host]) -> None:
    leader, follower, _ = hosts
    runner = follower.member_runner()
    core = leader.member_runner().replica.core
    route = (runner.shard, core.node, runner.node, core.term)
    entries = [Entry(core.term, Index(1), EntryKind.COMMANDS, bytes(1 << 20))]
    dropped = follower.counts().messages_dropped
    for number in range(3 * DEFERRED_MAX):
        stranger = (runner.shard, 1000 + number, runner.node, core.term)
        follower.receive(
            [PreVote(*stranger, 1, 1), Heartbeat(*route, 0, 0), Append(*route, 0, 0, 0, 0, entries)], ""
        )
        follower.receive([Heartbeat(*stranger, 0, 0)], "")
        await asyncio.sleep(0)
    assert len(runner.deferred) <= DEFERRED_MAX
    assert not any(type(message) is Append for message in runner.deferred)
    assert follower.counts().messages_dropped - dropped > 5 * DEFERRED_MAX
    SlowMachine.go_on.set()
    await until(lambda: not runner.deferred and not runner.frozen)
    await write(leader)
