"""The SQL process's copy over a real socket: checkpoint, tail, catch up, reconnect, start anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from z4sql.feed import Feed
from z4sql.sql.copy.follower import CopyUnavailable, CopyView, FollowerCopy
from z4sql.sql.engine.engine import Engine
from z4sql.sql.scan.cached_source import CachedSource
from z4sql.sql.scan.request import INSTANT_MAX, INSTANT_MIN, ScanRequest, TimeRange
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader

WAIT_S = 10.0


class Peer:
    """A machine and its log, as the feed's source."""

    def __init__(self, directory: Path) -> None:
        self.machine = TaskMachine(directory / "state")
        self.machine.open()
        self.log: list[Entry] = []
        self.replica = 1
        self.reachable = True
        self.silent_ms = 0
        self.told = "[]"
        self._builder = CommandBuilder(lambda: time.time_ns() // 1000, lambda: self.machine.clock_us)
        self.feed: Feed | None = None

    def write(self, namespace: str, count: int = 1) -> None:
        command = self._builder.create_tasks([NewTask(namespace, {"n": str(n)}) for n in range(count)])
        assert command.data is not None
        index = Index(len(self.log) + 1)
        entry = Entry(Term(1), index, EntryKind.COMMANDS, encode_group([command.data]))
        self.log.append(entry)
        self.machine.apply([entry])
        if self.feed is not None:
            self.feed.applied([entry])

    def identity(self) -> tuple[str, int]:
        return "cluster", self.replica

    def applied(self) -> int:
        return self.machine.applied_index

    def entries(self, lo: Index, bytes_max: int) -> list[Entry] | None:
        return self.log[lo - 1 : lo + 3]

    async def checkpoint(self, path: Path) -> Index:
        return self.machine.checkpoint(path)

    async def rows(self, table: str) -> str:
        return self.told

    def silence_ms(self) -> int:
        return self.silent_ms

    async def barrier(self, timeout_s: float) -> Index:
        from raftcore.core.errors import ReadFailed

        if not self.reachable:
            raise ReadFailed("no leader")
        return self.machine.applied_index


@asynccontextmanager
async def following(tmp_path: Path) -> AsyncIterator[tuple[Peer, FollowerCopy, Path]]:
    peer = Peer(tmp_path)
    socket = tmp_path / "feed"
    peer.feed = Feed(peer, socket, tmp_path / "sql")
    peer.write("before", 3)
    await peer.feed.start()
    copy = FollowerCopy(socket)
    running = asyncio.create_task(copy.run())
    try:
        await asyncio.wait_for(copy.wait_ready(), WAIT_S)
        yield peer, copy, socket
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await peer.feed.stop()
        peer.machine.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.01)


async def test_the_copy_starts_from_a_checkpoint_and_follows(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, _):
        for _ in range(50):
            peer.write("after", 2)
        await copy.wait_for(51, WAIT_S)
        assert await copy.read_index(WAIT_S) == 51
        with copy.acquire() as view:
            assert TaskReader(view.store).count("before") == 3
            assert TaskReader(view.store).count("after") == 100


async def test_a_copy_is_as_late_as_its_peer_is_cut_off(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, _):
        peer.write("after")
        await copy.wait_for(2, WAIT_S)
        await until(lambda: copy.lag_ms == 0)
        peer.silent_ms = 8_000
        await until(lambda: copy.lag_ms >= 8_000)
        first = copy.lag_ms
        await until(lambda: copy.lag_ms > first)
        peer.silent_ms = 0
        await until(lambda: copy.lag_ms == 0)


async def test_rows_that_are_not_known_are_an_error_and_not_an_empty_table(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, _):
        assert await copy.ask("consumers", WAIT_S) == []
        peer.told = ""
        with pytest.raises(CopyUnavailable, match="'consumers'.*leader"):
            await copy.ask("consumers", WAIT_S)


async def test_a_copy_is_late_while_its_peer_says_nothing(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, _):
        assert peer.feed is not None and peer.feed._telling is not None
        peer.feed._telling.cancel()
        await until(lambda: copy.lag_ms >= 1_000)


async def test_a_copy_of_a_peer_that_is_no_member_yet_waits_and_is_served_when_it_is_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    peer = Peer(tmp_path)
    peer.replica = 0
    peer.feed = Feed(peer, tmp_path / "feed", tmp_path / "sql")
    await peer.feed.start()
    copy = FollowerCopy(tmp_path / "feed")
    running = asyncio.create_task(copy.run())
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(copy.wait_ready(), 0.5)
        peer.replica = 1
        peer.write("joined")
        await asyncio.wait_for(copy.wait_ready(), WAIT_S)
        said = "".join(capfd.readouterr())
        assert "feed_broken" not in said
        assert "copy_disconnected" not in said
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await peer.feed.stop()
        peer.machine.close()


async def test_a_copy_that_lost_its_connection_goes_on_where_it_stood(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, socket):
        assert peer.feed is not None
        with copy.acquire() as view:
            store = view.store
        await peer.feed.stop()
        for _ in range(20):
            peer.write("meanwhile")
        peer.feed = Feed(peer, socket, tmp_path / "sql-next")
        await peer.feed.start()
        await copy.wait_for(21, WAIT_S)
        with copy.acquire() as view:
            assert view.store is store, "the same state went on"
            assert TaskReader(view.store).count("meanwhile") == 20


async def test_a_read_waits_for_a_copy_that_is_about_to_be_connected_again(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, socket):
        assert peer.feed is not None
        await peer.feed.stop()
        async with asyncio.timeout(WAIT_S):
            while copy.connected:
                await asyncio.sleep(0.01)
        with pytest.raises(CopyUnavailable, match="not connected"):
            await copy.read_index(0.1)
        reading = asyncio.create_task(copy.read_index(WAIT_S))
        await asyncio.sleep(0)
        peer.feed = Feed(peer, socket, tmp_path / "sql-next")
        await peer.feed.start()
        assert await reading == 1


async def test_another_replica_means_a_new_copy_and_running_queries_keep_theirs(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, socket):
        assert peer.feed is not None
        with copy.acquire() as held:
            await peer.feed.stop()
            peer.replica = 2
            peer.write("new")
            peer.feed = Feed(peer, socket, tmp_path / "sql-next")
            await peer.feed.start()
            await copy.wait_for(2, WAIT_S)
            with copy.acquire() as view:
                assert view.store is not held.store
                assert TaskReader(view.store).count("new") == 1
            assert TaskReader(held.store).count("before") == 3
            assert held.store.path.exists()
        assert not held.store.path.exists(), "the old copy goes with its last reader"


async def test_segments_are_dropped_by_what_is_applied_and_by_a_new_copy(tmp_path: Path) -> None:
    engine = Engine()
    whole = ScanRequest((TimeRange("many", INSTANT_MIN, INSTANT_MAX),), ("state",))

    def count(view: CopyView) -> int:
        source = CachedSource(view.store, None, view.segments, engine.members())
        found = sum(batch.num_rows for batch in source.scan(whole))
        assert source.count(whole.of(("namespace",))) == found
        return found

    async with following(tmp_path) as (peer, copy, socket):
        assert peer.feed is not None
        peer.write("many", 2_000)
        await copy.wait_for(2, WAIT_S)
        with copy.acquire() as held:
            assert count(held) == count(held) == 2_000
            assert held.segments.rows_found >= 2_000
            peer.write("many", 5)
            peer.write("other", 5)
            await copy.wait_for(4, WAIT_S)
            assert count(held) == 2_005
            assert len(held.segments) > 0
            await peer.feed.stop()
            peer.replica = 2
            peer.write("many", 1)
            peer.feed = Feed(peer, socket, tmp_path / "sql-next")
            await peer.feed.start()
            await copy.wait_for(5, WAIT_S)
            with copy.acquire() as view:
                assert view.segments is not held.segments
                assert len(held.segments) == len(view.segments) == 0
                assert count(view) == 2_006
            assert count(held) == 2_005, "who began before reads the copy that it holds"
    engine.close()


async def test_waiting_is_bounded_and_says_where_the_copy_stands(tmp_path: Path) -> None:
    async with following(tmp_path) as (peer, copy, _):
        with pytest.raises(CopyUnavailable, match="stands at 1"):
            await copy.wait_for(99, 0.05)
        peer.reachable = False
        with pytest.raises(CopyUnavailable):
            await copy.read_index(WAIT_S)
