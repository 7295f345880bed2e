"""The copy and its feed when something is wrong: slow, dead, stalled, broken or rude sides lose nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from raftcore.core.errors import Stalled, StorageError
from raftcore.core.types import Entry, Index
from raftcore.storage.kv import Batch, Store
from tests.feeding_peer import FeedingPeer
from tests.task_log import opened
from z4sql.feed import Feed
from z4sql.sql.copy.follower import CopyUnavailable, FollowerCopy
from z4sql.tasks.feed import FRAME_BYTES_MAX, HEAD, READ, FrameType, Hello, frame, read_frame
from z4sql.tasks.model import NewTask
from z4sql.tasks.reader import TaskReader

WAIT_S = 20.0


class LoggedPeer(FeedingPeer):
    """Counts what is read from its log, a few entries at a time."""

    log_reads = 0

    def entries(self, lo: Index, bytes_max: int) -> list[Entry] | None:
        self.log_reads += 1
        return self.log[lo - 1 : lo + 9]


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[LoggedPeer]:
    peer = LoggedPeer(opened(tmp_path / "state"))
    peer.feed = Feed(peer, tmp_path / "feed", tmp_path / "sql", buffer_bytes_max=64 << 10)
    await peer.feed.start()
    peer.add([NewTask("n")])
    yield peer
    await peer.feed.stop()
    peer.machine.close()


@pytest.fixture
async def copy(peer: LoggedPeer, tmp_path: Path) -> AsyncIterator[FollowerCopy]:
    copy = FollowerCopy(tmp_path / "feed")
    running = asyncio.create_task(copy.run())
    await asyncio.wait_for(copy.wait_ready(), WAIT_S)
    await eventually(lambda: copy.connected)
    yield copy
    with copy.acquire() as view:
        path = view.store.path
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not path.exists(), "a copy that ends leaves nothing"


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.005)


def assert_same_state(peer: LoggedPeer, copy: FollowerCopy) -> None:
    with copy.acquire() as view:
        assert view.applied_index == peer.applied()
        ours = TaskReader(peer.machine.store).state_hash(with_due_index=False)
        assert TaskReader(view.store).state_hash(with_due_index=False) == ours


async def say(path: Path, *data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    for part in data:
        writer.write(part)
    return reader, writer


async def test_a_copy_that_does_not_keep_up_is_fed_from_the_log(peer: LoggedPeer, copy: FollowerCopy) -> None:
    for number in range(200):
        # The loop does not turn meanwhile: nothing is sent, and the buffer fills.
        peer.add([NewTask("n", {"n": str(number)}, bytes(4000))])
    assert peer.log_reads <= 1
    await copy.wait_for(peer.applied(), WAIT_S)
    assert peer.log_reads > 5
    assert copy.lag == 0
    assert_same_state(peer, copy)
    before = peer.log_reads
    peer.add([NewTask("n")])
    await copy.wait_for(peer.applied(), WAIT_S)
    assert peer.log_reads == before, "it is live again"


async def test_a_stalled_store_is_waited_for(
    peer: LoggedPeer, copy: FollowerCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copy.acquire() as view:
        store = view.store
    write, refused = Store.write, []

    def refusing(self: Store, batch: Batch) -> None:
        if self is store and len(refused) < 3:
            refused.append(batch)
            raise Stalled("Write stall")
        write(self, batch)

    monkeypatch.setattr(Store, "write", refusing)
    peer.add([NewTask("new", request_id="r")])
    await copy.wait_for(peer.applied(), WAIT_S)
    assert len(refused) == 3
    assert_same_state(peer, copy)
    with copy.acquire() as view:
        assert view.store is store


async def test_a_store_that_failed_is_left_for_a_new_checkpoint(
    peer: LoggedPeer, copy: FollowerCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copy.acquire() as held:
        write = Store.write

        def failing(self: Store, batch: Batch) -> None:
            if self is held.store:
                raise StorageError("IO error")
            write(self, batch)

        monkeypatch.setattr(Store, "write", failing)
        peer.add([NewTask("n")])
        await copy.wait_for(peer.applied(), WAIT_S)
        assert_same_state(peer, copy)
        assert TaskReader(held.store).count("n") == 1, "who reads the old one goes on"
    assert not held.store.path.exists()


async def test_queries_in_threads_hold_what_they_read(
    peer: LoggedPeer, copy: FollowerCopy, tmp_path: Path
) -> None:
    """Copies are replaced again and again while threads read them."""
    stop, problems, reads = threading.Event(), [], [0]

    def query() -> None:
        try:
            while not stop.is_set():
                with copy.acquire() as view:
                    assert TaskReader(view.store).count("n") >= 1
                    reads[0] += 1
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=query) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for replica in range(2, 8):
            peer.identity = lambda replica=replica: ("cluster", replica)  # type: ignore[method-assign]
            with copy.acquire() as view:
                before = view.store.path
            peer.add([NewTask("n")])
            await copy.wait_for(peer.applied(), WAIT_S)
            with copy.acquire() as view:
                assert view.store.path != before
    finally:
        stop.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert problems == [] and reads[0] > 0
    await eventually(lambda: len(list((tmp_path / "sql").iterdir())) == 1)
    assert_same_state(peer, copy)


class TestAbandonedCheckpoints:
    async def test_what_a_dead_copy_left_is_removed_when_the_next_one_comes(
        self, peer: LoggedPeer, copy: FollowerCopy, tmp_path: Path
    ) -> None:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        reader, writer = await say(
            tmp_path / "feed", frame(FrameType.HELLO, Hello("dead", dead.pid, []).encode())
        )
        assert (await read_frame(reader))[0] is FrameType.CHECKPOINT
        writer.close()
        assert len(list((tmp_path / "sql").iterdir())) == 2
        reader, writer = await say(
            tmp_path / "feed", frame(FrameType.HELLO, Hello("next", dead.pid, []).encode())
        )
        assert (await read_frame(reader))[0] is FrameType.CHECKPOINT
        with copy.acquire() as view:
            assert view.store.path.exists(), "that of a living copy stays"
        assert len(list((tmp_path / "sql").iterdir())) == 2
        writer.close()

    async def test_what_a_copy_did_not_receive_is_removed_when_it_comes_back(
        self, peer: LoggedPeer, tmp_path: Path
    ) -> None:
        for _ in range(5):
            hello = Hello("one", 1, [])
            reader, writer = await say(tmp_path / "feed", frame(FrameType.HELLO, hello.encode()))
            assert (await read_frame(reader))[0] is FrameType.CHECKPOINT
            writer.close()
        assert len(list((tmp_path / "sql").iterdir())) == 1


class TestRudeCopies:
    """Whatever is sent to the feed, it goes on serving the others."""

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0",
            HEAD.pack(FRAME_BYTES_MAX + 1, 1),
            HEAD.pack(0, 77),
            frame(FrameType.READ, READ.pack(1)),
            frame(FrameType.HELLO, b"not json"),
            frame(FrameType.HELLO, b"[]"),
            frame(FrameType.HELLO, b"{}"),
            frame(FrameType.HELLO, b'{"version": 2}'),
            frame(FrameType.HELLO, Hello("x", 1, [], version=1).encode()),
            frame(FrameType.HELLO, Hello("x", 1, []).encode()) + frame(FrameType.READ, b"short"),
            frame(FrameType.HELLO, Hello("x", 1, []).encode()) + frame(FrameType.ENTRIES, b""),
        ],
    )
    async def test_the_connection_ends_and_the_feed_goes_on(
        self, peer: LoggedPeer, tmp_path: Path, data: bytes
    ) -> None:
        reader, writer = await say(tmp_path / "feed", data)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), WAIT_S)
        writer.close()
        reader, writer = await say(tmp_path / "feed", frame(FrameType.HELLO, Hello("y", 1, []).encode()))
        assert (await asyncio.wait_for(read_frame(reader), WAIT_S))[0] is FrameType.CHECKPOINT
        writer.close()


async def test_there_is_nothing_to_read_before_the_first_checkpoint(tmp_path: Path) -> None:
    copy = FollowerCopy(tmp_path / "feed")
    with pytest.raises(CopyUnavailable), copy.acquire():
        pass
    with pytest.raises(CopyUnavailable):
        await copy.read_index(1)
    assert (copy.applied_index, copy.lag, copy.connected) == (0, 0, False)


async def test_a_read_in_flight_ends_when_the_peer_goes_away(peer: LoggedPeer, copy: FollowerCopy) -> None:
    asked = asyncio.Event()

    async def never(timeout_s: float) -> Index:
        asked.set()
        await asyncio.sleep(WAIT_S * 2)
        return Index(0)

    peer.barrier = never  # type: ignore[method-assign]
    read = asyncio.create_task(copy.read_index(WAIT_S))
    await asked.wait()
    assert peer.feed is not None
    await peer.feed.stop()
    with pytest.raises(CopyUnavailable):
        await asyncio.wait_for(read, 5)
