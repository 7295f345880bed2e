"""Rounds of the log: what is said when, against a real store whose syncs the test holds back."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from raftcore.core.errors import StorageError
from raftcore.host.log_writer import LogWriter
from raftcore.storage.conformance import NODE, SHARD, entries_of, write_of
from raftcore.storage.log_store import RocksLogStore


class GatedStore(RocksLogStore):
    """Syncs one by one, as the test lets them through."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Semaphore(0)
        self.begun = 0
        self.failure: Exception | None = None

    def sync(self) -> None:
        self.begun += 1
        assert self.gate.acquire(timeout=10)
        if self.failure is not None:
            raise self.failure
        super().sync()


class Bench:
    def __init__(self, path: Path) -> None:
        self.store = GatedStore(path)
        self.store.bootstrap(SHARD, NODE, None)
        self.said: list[str] = []
        self.failures: list[BaseException] = []
        self.runner = SimpleNamespace(shard=SHARD, node=NODE, stopped=False)
        self.writer = LogWriter(
            self.store,
            lambda runner, write, messages: self.said.extend(messages),
            lambda: None,
            self.failures.append,
            retry_s=0.01,
            name="flusher",
        )
        self.writer.start()

    def turn(self, index: int | None, said: str, *, must_sync: bool = True) -> None:
        write = None
        if index is not None:
            write = write_of(entries_of(index, index + 1, 1))
            write.must_sync = must_sync
        self.writer.add(self.runner, write, [said])
        self.writer.commit()

    async def until(self, condition) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        for _ in range(100):
            self.store.gate.release()
        await self.writer.stop()
        self.store.close()


@pytest.fixture
async def bench(tmp_path: Path):
    bench = Bench(tmp_path / "log")
    yield bench
    await bench.close()


async def test_nothing_is_said_before_the_disk_has_it_and_one_sync_covers_what_gathered(bench: Bench) -> None:
    bench.turn(1, "a")
    bench.turn(2, "b")
    bench.turn(3, "c")
    await bench.until(lambda: bench.store.begun == 1)
    assert bench.said == []
    bench.store.gate.release()
    await bench.until(lambda: bench.said == ["a"])
    await bench.until(lambda: bench.store.begun == 2)
    bench.store.gate.release()
    await bench.until(lambda: bench.said == ["a", "b", "c"])
    assert bench.store.begun == 2


async def test_what_needs_no_sync_waits_for_what_came_before_it_only(bench: Bench) -> None:
    bench.turn(1, "a", must_sync=False)
    assert bench.said == ["a"]
    bench.turn(2, "b")
    bench.turn(3, "c", must_sync=False)
    bench.turn(None, "d")
    assert bench.said == ["a"]
    bench.store.gate.release()
    await bench.until(lambda: bench.said == ["a", "b", "c", "d"])
    assert bench.store.begun == 1


async def test_after_a_failed_sync_nothing_is_said_and_no_sync_is_tried(bench: Bench) -> None:
    bench.store.failure = StorageError("IO error")
    bench.turn(1, "a")
    bench.turn(2, "b")
    bench.store.gate.release()
    await bench.until(lambda: bench.failures)
    bench.turn(3, "c")
    await asyncio.sleep(0.05)
    assert bench.said == []
    assert bench.store.begun == 1


async def test_a_replica_that_stopped_is_told_nothing(bench: Bench) -> None:
    bench.turn(1, "a")
    bench.runner.stopped = True
    bench.store.gate.release()
    await asyncio.sleep(0.05)
    assert bench.said == []


async def test_whoever_waits_for_the_disk_is_told_when_all_that_was_written_is_there(bench: Bench) -> None:
    bench.turn(1, "a")
    waiting = asyncio.create_task(bench.writer.durable())
    await bench.until(lambda: bench.store.begun == 1)
    bench.store.gate.release()
    await bench.until(lambda: bench.said == ["a"])
    assert not waiting.done(), "the first sync began before"
    bench.store.gate.release()
    await asyncio.wait_for(waiting, 10)


async def test_whoever_waits_for_a_disk_that_fails_is_told(bench: Bench) -> None:
    bench.store.failure = StorageError("IO error")
    waiting = asyncio.create_task(bench.writer.durable())
    await bench.until(lambda: bench.store.begun == 1)
    bench.store.gate.release()
    with pytest.raises(StorageError):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(StorageError):
        await bench.writer.durable()
    assert len(bench.failures) == 1


async def test_what_waits_to_be_written_is_known(bench: Bench) -> None:
    assert not bench.writer.holds(bench.runner)
    bench.writer.add(bench.runner, None, ["a"])
    assert bench.writer.holds(bench.runner)
    bench.writer.commit()
    assert not bench.writer.holds(bench.runner)
