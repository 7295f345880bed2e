"""A peer's task state replaced by a snapshot: everybody who holds it sees the new one, its SQL copy too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from raftcore.core.config import CoreConfig
from raftcore.core.errors import NotAccepted, RaftError, Stalled
from raftcore.core.types import Role
from raftcore.host.config import HostConfig
from raftcore.host.host import Host
from raftcore.storage.kv import Store
from z4sql.feed import Feed
from z4sql.peer import State, _FeedSource
from z4sql.sql.copy.follower import FollowerCopy
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader
from z4sql.testing.ports import free_address

WAIT_S = 20.0
NOW_US = 1_650_000_000_000_000


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


class NoLive:
    """Tables outside the state, of which there are none here."""

    async def rows(self, table: str) -> str:
        return ""


@dataclass
class TaskPeer:
    """A host with a task state and the feed of its SQL process, without listeners for clients."""

    name: str
    directory: Path

    def __post_init__(self) -> None:
        self.address = free_address()
        self.socket_path = self.directory / "feed"
        self.builder = CommandBuilder(lambda: NOW_US, lambda: 0)

    async def start(self, bootstrap: bool = False) -> None:
        self.directory.mkdir(exist_ok=True)
        self.state = State(self.directory / "db")
        config = HostConfig(
            name=self.name,
            address=self.address,
            listen=self.address,
            data_dir=self.directory / "log",
            snapshot_dir=self.directory / "db" / "snapshots",
            # All hosts share the loop of the test, which may stand still for a second on a busy machine.
            core=CoreConfig(election_timeout_us=3_000_000, heartbeat_interval_us=50_000),
            state_sync_interval_s=0.1,
            trailing_entries=0,
            trailing_bytes=0,
            held_bytes_max=0,
        )
        self.host = Host(config, self.state.machine_for)
        self.feed = Feed(
            _FeedSource(self.host, self.state, NoLive()), self.socket_path, self.directory / "db" / "sql"
        )
        self.host.on_apply(self.feed.applied)
        self.host.on_install(self.feed.replaced)
        await self.feed.start()
        await self.host.start(bootstrap)

    async def stop(self) -> None:
        await self.feed.stop()
        await self.host.stop()

    async def create(self, count: int, size_bytes: int = 10) -> None:
        command = self.builder.create_tasks([NewTask("n", {"a": "b"}, bytes(size_bytes))] * count)
        done = asyncio.get_running_loop().create_future()
        assert command.data is not None
        self.host.propose(command.data, done.set_result)
        outcome = await asyncio.wait_for(done, WAIT_S)
        if isinstance(outcome, RaftError):
            raise outcome

    def hash(self) -> bytes:
        reader = self.state.reader()
        assert reader is not None
        return reader.state_hash()


@asynccontextmanager
async def running(peer: TaskPeer, bootstrap: bool = False) -> AsyncIterator[TaskPeer]:
    await peer.start(bootstrap)
    try:
        yield peer
    finally:
        await peer.stop()


async def compacted(peer: TaskPeer) -> None:
    """Write until the log begins after all that is in it now."""
    last_index = (await peer.host.report()).last_index
    async with asyncio.timeout(WAIT_S):
        while (await peer.host.report()).first_index <= last_index:
            await peer.create(1, 600_000)


@pytest.fixture
async def leader(tmp_path: Path) -> AsyncIterator[TaskPeer]:
    async with running(TaskPeer("peer1", tmp_path / "peer1"), bootstrap=True) as peer:
        await eventually(lambda: (status := peer.host.status()) and status.role is Role.LEADER)
        yield peer


async def test_a_copy_follows_its_peer_over_compaction_and_over_a_replaced_state(
    leader: TaskPeer, tmp_path: Path
) -> None:
    await leader.create(50)
    await leader.create(50)
    follower = TaskPeer("peer2", tmp_path / "peer2")
    copy = FollowerCopy(follower.socket_path)
    following = asyncio.create_task(copy.run())
    # Two more votes, so that the leader goes on while the follower is away.
    async with running(follower), running(TaskPeer("peer3", tmp_path / "peer3")) as third:
        for peer in (third, follower):
            await leader.host.add_member(peer.name, peer.address, WAIT_S)
        await asyncio.wait_for(copy.wait_ready(), WAIT_S)
        await copy.wait_for(await follower.host.barrier(WAIT_S), WAIT_S)
        await follower.stop()
        stood_at = copy.applied_index
        former = follower.state
        for _ in range(5):
            await leader.create(20)
        await compacted(leader)
        with copy.acquire() as view:
            # A query that holds the old state reads it to its end.
            before = TaskReader(view.store).state_hash(with_due_index=False)
            await follower.start()
            assert follower.state is not former
            await eventually(lambda: follower.state.applied_index() > stood_at)
            index = await follower.host.barrier(WAIT_S)
            await eventually(lambda: copy.applied_index >= index)
            assert TaskReader(view.store).state_hash(with_due_index=False) == before
        assert (await follower.host.report()).first_index > stood_at + 1, "it was given a snapshot"
        assert follower.hash() == leader.hash()
        with copy.acquire() as view:
            reader = leader.state.reader()
            assert reader is not None
            theirs = reader.state_hash(with_due_index=False)
            assert TaskReader(view.store).state_hash(with_due_index=False) == theirs
        await leader.create(7)
        await copy.wait_for(await follower.host.barrier(WAIT_S), WAIT_S)
        await asyncio.gather(*(peer.host.barrier(WAIT_S) for peer in (third, follower)))
        assert follower.hash() == leader.hash() == third.hash()
        machine = follower.state.machine
        assert machine is not None and machine.counts("n") == leader.state.machine.counts("n")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_machine_whose_store_stalls_is_given_the_rest_later(
    leader: TaskPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = Store.write, []
    store = leader.state.store()

    def refusing(self: Store, batch: object) -> None:
        if self is store and len(refused) < 20:
            refused.append(batch)
            raise Stalled("Write stall")
        write(self, batch)

    monkeypatch.setattr(Store, "write", refusing)
    await asyncio.gather(*(leader.create(3) for _ in range(10)))
    assert len(refused) == 20
    assert not leader.host.fatal.done()
    assert not (await leader.host.report()).stalled
    reader = leader.state.reader()
    assert reader is not None and reader.count("n") == 30


async def test_writes_go_on_elsewhere_when_a_leader_is_about_to_stop(
    leader: TaskPeer, tmp_path: Path
) -> None:
    async with (
        running(TaskPeer("peer2", tmp_path / "peer2")) as second,
        running(TaskPeer("peer3", tmp_path / "peer3")) as third,
    ):
        others = [second, third]
        for peer in others:
            await leader.host.add_member(peer.name, peer.address, WAIT_S)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        handing = asyncio.create_task(leader.host.hand_over())
        while True:
            try:
                await next((peer for peer in others if leads(peer)), leader).create(1)
                break
            except NotAccepted:
                await asyncio.sleep(0.005)
        took_s = loop.time() - begun_s
        await handing
        assert any(leads(peer) for peer in others)
        assert took_s < 0.9, "sooner than any election would have begun"


def leads(peer: TaskPeer) -> bool:
    status = peer.host.status()
    return status is not None and status.role is Role.LEADER


async def test_a_leader_without_a_majority_knows_for_how_long(leader: TaskPeer, tmp_path: Path) -> None:
    source = _FeedSource(leader.host, leader.state, NoLive())
    assert source.silence_ms() == 0
    async with running(TaskPeer("peer2", tmp_path / "peer2")) as follower:
        await leader.host.add_member(follower.name, follower.address, WAIT_S)
        heard = _FeedSource(follower.host, follower.state, NoLive())
        await eventually(lambda: heard.silence_ms() == 0)
        await eventually(lambda: source.silence_ms() == 0)
    # Past the election timeout it leads no more, and still knows when it was last in touch.
    await eventually(lambda: (status := leader.host.status()) and status.role is not Role.LEADER)
    assert source.silence_ms() >= 2_500
