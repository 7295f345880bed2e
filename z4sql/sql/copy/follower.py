"""The SQL process's copy of its peer's state: a checkpoint, then every applied entry, by the same machine.

The copy always stands at a known applied index. When it cannot go on (another replica, a compacted log, a
broken connection that does not fit any more) it starts again from a new checkpoint; queries that hold the
old one read it to their end.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import structlog

from raftcore.core.errors import RaftError
from raftcore.core.types import Entry
from raftcore.storage.codec import ENTRY_HEADER_BYTES, decode_entries
from raftcore.storage.kv import Store
from z4sql.tasks.errors import TaskError
from z4sql.tasks.feed import (
    FEED_VERSION,
    READ,
    READ_INDEX,
    FeedBroken,
    FrameType,
    frame,
    read_frame,
)
from z4sql.tasks.machine import TaskMachine

_PAUSE_FIRST_S = 0.05
_PAUSE_MAX_S = 1.0

_log = structlog.get_logger()


class CopyUnavailable(Exception):
    """There is no copy to read, or it did not get far enough in time: retry."""


@dataclass(slots=True, eq=False)
class _Generation:
    """One checkpoint and what was applied to it, held open by the queries that read it."""

    machine: TaskMachine
    path: Path
    cluster: str
    replica: int
    readers: int = 0
    replaced: bool = field(default=False)

    def release(self) -> None:
        """Close and delete it once nobody needs it."""
        if self.replaced and self.readers == 0:
            self.machine.close()
            shutil.rmtree(self.path, ignore_errors=True)


@dataclass(slots=True, frozen=True)
class CopyView:
    """What one query reads. ``store`` goes on being applied to: a scan is fixed at its first step."""

    store: Store
    applied_index: int


class FollowerCopy:
    """Runs on one event loop; ``acquire`` may be called from any thread."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._generation: _Generation | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reads: dict[int, asyncio.Future[int]] = {}
        self._numbers = count(1)
        self._moved = asyncio.Event()

    @property
    def applied_index(self) -> int:
        """0 while there is no copy."""
        generation = self._generation
        return generation.machine.applied_index if generation else 0

    @contextmanager
    def acquire(self) -> Iterator[CopyView]:
        """Hold the present copy open. :raises CopyUnavailable: while there is none."""
        generation = self._generation
        if generation is None:
            raise CopyUnavailable("the copy of the store is not ready yet")
        generation.readers += 1
        try:
            yield CopyView(generation.machine.store, generation.machine.applied_index)
        finally:
            generation.readers -= 1
            generation.release()

    async def run(self) -> None:
        """Follow the peer until cancelled."""
        pause_s = _PAUSE_FIRST_S
        try:
            while True:
                try:
                    await self._follow()
                    pause_s = _PAUSE_FIRST_S
                except (EOFError, OSError, FeedBroken, RaftError, TaskError, ValueError) as error:
                    _log.info("copy_disconnected", reason=f"{type(error).__name__}: {error}")
                self._disconnected()
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _PAUSE_MAX_S)
        finally:
            self._disconnected()
            self._replace(None)

    async def wait_ready(self) -> None:
        """Wait until there is a copy."""
        while self._generation is None:
            self._moved.clear()
            await self._moved.wait()

    async def wait_for(self, index: int, timeout_s: float) -> None:
        """Wait until ``index`` is applied here. :raises CopyUnavailable: when it is not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.applied_index < index:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise CopyUnavailable(
                f"the copy stands at {self.applied_index} and did not reach {index} in {timeout_s} s"
            ) from None

    async def read_index(self, timeout_s: float) -> int:
        """An index that includes all acknowledged before this call. :raises CopyUnavailable:"""
        writer = self._writer
        if writer is None:
            raise CopyUnavailable("the copy is not connected to its peer")
        number = next(self._numbers)
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reads[number] = future
        writer.write(frame(FrameType.READ, READ.pack(number)))
        try:
            index = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise CopyUnavailable(f"no leader confirmed the read in {timeout_s} s") from None
        finally:
            self._reads.pop(number, None)
        if index == 0:
            raise CopyUnavailable("no leader confirmed the read")
        return index

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket_path)
        try:
            generation = self._generation
            hello: dict[str, object] = {
                "version": FEED_VERSION,
                "cluster": "",
                "replica": 0,
                "index": 0,
                "term": 0,
            }
            if generation is not None:
                machine = generation.machine
                hello |= {
                    "cluster": generation.cluster,
                    "replica": generation.replica,
                    "index": machine.applied_index,
                    "term": machine.applied_term,
                }
            writer.write(frame(FrameType.HELLO, json.dumps(hello).encode()))
            kind, body = await read_frame(reader)
            if kind is FrameType.CHECKPOINT:
                self._start_anew(json.loads(body))
            elif kind is not FrameType.TAIL:
                raise FeedBroken(f"unexpected {kind.name}")
            self._writer = writer
            while True:
                kind, body = await read_frame(reader)
                if kind is FrameType.ENTRIES:
                    self._apply(body)
                elif kind is FrameType.READ_INDEX:
                    number, index = READ_INDEX.unpack(body)
                    future = self._reads.get(number)
                    if future is not None and not future.done():
                        future.set_result(index)
                else:
                    raise FeedBroken(f"unexpected {kind.name}")
        finally:
            writer.close()

    def _start_anew(self, answer: dict[str, object]) -> None:
        path = Path(str(answer["path"]))
        machine = TaskMachine(path, with_due_index=False)
        index = machine.open()
        self._replace(_Generation(machine, path, str(answer["cluster"]), int(str(answer["replica"]))))
        _log.info("copy_started", index=index)

    def _replace(self, generation: _Generation | None) -> None:
        former, self._generation = self._generation, generation
        if former is not None:
            former.replaced = True
            former.release()
        self._moved.set()

    def _apply(self, body: bytes) -> None:
        generation = self._generation
        if generation is None:
            raise FeedBroken("entries without a state")
        entries = decode_all(body)
        # A peer that was behind this copy when it reconnected sends some entries again.
        machine = generation.machine
        machine.apply([entry for entry in entries if entry.index > machine.applied_index])
        self._moved.set()

    def _disconnected(self) -> None:
        self._writer = None
        for future in self._reads.values():
            if not future.done():
                future.set_result(0)


def decode_all(body: bytes) -> list[Entry]:
    """The entries of an ENTRIES frame. :raises BadFrame:"""
    view = memoryview(body)
    entries: list[Entry] = []
    at = 0
    while at + ENTRY_HEADER_BYTES <= len(view):
        found, at = decode_entries(view, at, 1)
        entries += found
    if at != len(view):
        raise FeedBroken(f"entries end at {at}, data at {len(view)}")
    return entries
