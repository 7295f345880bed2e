"""The SQL process's copy of its peer's state: a checkpoint, then every applied entry, by the same machine.

The copy always stands at a known applied index. When it cannot go on (another replica, a compacted log, a
broken connection that does not fit any more, a store that failed) it starts again from a new checkpoint;
queries that hold the old one read it to their end.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import structlog

from raftcore.core.errors import RaftError, Stalled, StorageError
from raftcore.core.types import Entry
from raftcore.storage.codec import decode_entries
from raftcore.storage.kv import Store
from z4sql.sql.scan.asked import Asked
from z4sql.sql.scan.segments import SegmentCache
from z4sql.tasks.errors import TaskError
from z4sql.tasks.feed import (
    APPLIED,
    CONTACT,
    CONTACT_INTERVAL_S,
    READ,
    READ_INDEX,
    FeedBroken,
    FrameType,
    Hello,
    decode_numbers,
    decode_object,
    frame,
    read_frame,
)
from z4sql.tasks.machine import TaskMachine

_PAUSE_FIRST_S: Final = 0.05
_PAUSE_MAX_S: Final = 1.0
_STALLED_PAUSE_S: Final = 0.02
_SLICE_BYTES: Final = 64 << 10
_UNTOLD_S: Final = 5 * CONTACT_INTERVAL_S
"""A peer that says nothing for longer is not taken to be in touch with its cluster."""

_log = structlog.get_logger()


class CopyUnavailable(Exception):
    """There is no copy to read, or it did not get far enough in time: retry."""


@dataclass(slots=True, eq=False)
class _Generation:
    """One checkpoint and what was applied to it, held open by the queries that read it."""

    machine: TaskMachine
    segments: SegmentCache
    path: Path
    cluster: str
    replica: int
    readers: int = 0
    replaced: bool = False
    failed: bool = False
    """Its store or its machine failed: good to read where it stands, not to be applied to."""


@dataclass(slots=True, frozen=True)
class CopyView:
    """What one query reads. ``store`` goes on being applied to: a scan is fixed at its first step."""

    store: Store
    applied_index: int
    segments: SegmentCache


@dataclass(slots=True, frozen=True)
class _Silence:
    """For how long the peer was out of touch with the cluster, as it said at ``told_at_s``; None: never."""

    told_s: float = 0.0
    told_at_s: float | None = None

    def lasts_s(self, now_s: float) -> float:
        """For how long it may have been by now."""
        if self.told_at_s is None:
            return 0.0
        passed_s = now_s - self.told_at_s
        return self.told_s + passed_s if self.told_s or passed_s > _UNTOLD_S else 0.0


class FollowerCopy:
    """Runs on one event loop; ``acquire`` may be called from any thread."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._name = secrets.token_hex(8)
        self._generation: _Generation | None = None
        self._held: set[_Generation] = set()
        self._lock = threading.Lock()  # of the two above and of the generations' counts
        self._disposals: set[asyncio.Future[None]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self._reads: dict[int, asyncio.Future[int]] = {}
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._asked_columns = Asked()
        self._behind_since_s: float | None = None
        self._silence = _Silence()
        self._numbers = count(1)
        self._moved = asyncio.Event()
        self._connected = asyncio.Event()
        self._peer_applied = 0
        self._pause_s = _PAUSE_FIRST_S

    @property
    def applied_index(self) -> int:
        """0 while there is no copy."""
        generation = self._generation
        return generation.machine.applied_index if generation else 0

    @property
    def lag(self) -> int:
        """How many entries the peer had applied, when it last spoke, that are not applied here."""
        return max(0, self._peer_applied - self.applied_index)

    @property
    def lag_ms(self) -> int:
        """What happened in the cluster so long ago may be missing here.

        It counts from when this copy was last where its peer was, or the peer in touch with the cluster (with
        its leader or, leading, with a quorum), whichever is longer ago; 0 while neither is any time ago.
        """
        since_s, now_s = self._behind_since_s, time.monotonic()
        behind_s = 0.0 if since_s is None else now_s - since_s
        return max(0, round(max(behind_s, self._silence.lasts_s(now_s)) * 1000))

    @property
    def connected(self) -> bool:
        """Whether the peer feeds this copy now."""
        return self._writer is not None

    @contextmanager
    def acquire(self) -> Iterator[CopyView]:
        """Hold the present copy open. :raises CopyUnavailable: while there is none."""
        with self._lock:
            generation = self._generation
            if generation is None:
                raise CopyUnavailable("the copy of the store is not ready yet")
            generation.readers += 1
        try:
            machine = generation.machine
            yield CopyView(machine.store, machine.applied_index, generation.segments)
        finally:
            with self._lock:
                generation.readers -= 1
                unused = generation.replaced and generation.readers == 0
            if unused:
                self._dispose(generation)

    async def run(self) -> None:
        """Follow the peer until cancelled."""
        try:
            while True:
                try:
                    await self._follow()
                except (EOFError, OSError, FeedBroken, RaftError, TaskError) as error:
                    _log.info("copy_disconnected", reason=f"{type(error).__name__}: {error}")
                self._disconnected()
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * 2, _PAUSE_MAX_S)
        finally:
            self._disconnected()
            unused = self._replace(None)
            if unused is not None:
                self._dispose(unused)
            await asyncio.gather(*self._disposals)

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
        writer = await self._connection(timeout_s)
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

    async def ask(self, table: str, timeout_s: float) -> list[dict[str, object]]:
        """Rows of a table that lives outside the state. :raises CopyUnavailable: they were not told."""
        writer = await self._connection(timeout_s)
        number = next(self._numbers)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        writer.write(frame(FrameType.ASK, READ.pack(number), table.encode()))
        try:
            told = await asyncio.wait_for(future, timeout_s)
            if not told:
                raise CopyUnavailable(
                    f"the rows of '{table}' are the leader's to tell, and it is out of reach"
                )
            rows: list[dict[str, object]] = json.loads(told)
        except (TimeoutError, ValueError):
            raise CopyUnavailable(f"the peer did not tell the rows of '{table}' in {timeout_s} s") from None
        finally:
            self._asked.pop(number, None)
        return rows

    async def _connection(self, timeout_s: float) -> asyncio.StreamWriter:
        """To the peer; a copy that just lost it, or that just started, has it again soon."""
        try:
            async with asyncio.timeout(timeout_s):
                while (writer := self._writer) is None:
                    self._connected.clear()
                    await self._connected.wait()
        except TimeoutError:
            raise CopyUnavailable(f"the copy was not connected to its peer within {timeout_s} s") from None
        return writer

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket_path)
        try:
            writer.write(frame(FrameType.HELLO, self._hello().encode()))
            kind, body = await read_frame(reader)
            if kind is FrameType.CHECKPOINT:
                self._start_anew(body)
            elif kind is not FrameType.TAIL:
                raise FeedBroken(f"unexpected {kind.name}")
            self._writer = writer
            self._connected.set()
            if self.lag == 0:
                self._behind_since_s = None
            while True:
                kind, body = await read_frame(reader)
                if kind is FrameType.ENTRIES:
                    await self._apply(body)
                elif kind is FrameType.CONTACT:
                    (silence_ms,) = decode_numbers(CONTACT, body)
                    self._silence = _Silence(silence_ms / 1000, time.monotonic())
                elif kind is FrameType.READ_INDEX:
                    number, index = decode_numbers(READ_INDEX, body)
                    future = self._reads.get(number)
                    if future is not None and not future.done():
                        future.set_result(index)
                elif kind is FrameType.ROWS:
                    (number,) = decode_numbers(READ, body[: READ.size])
                    asked = self._asked.get(number)
                    if asked is not None and not asked.done():
                        asked.set_result(body[READ.size :])
                else:
                    raise FeedBroken(f"unexpected {kind.name}")
        finally:
            writer.close()

    def _hello(self) -> Hello:
        generation = self._generation
        with self._lock:
            holds = [str(one.path) for one in self._held]
        if generation is None or generation.failed:
            return Hello(self._name, os.getpid(), holds)
        machine = generation.machine
        return Hello(
            self._name,
            os.getpid(),
            holds,
            generation.cluster,
            generation.replica,
            machine.applied_index,
            machine.applied_term,
        )

    def _start_anew(self, body: bytes) -> None:
        answer = decode_object(body)
        try:
            path, cluster, replica = Path(answer["path"]), str(answer["cluster"]), int(answer["replica"])
        except (KeyError, TypeError, ValueError) as error:
            raise FeedBroken(f"checkpoint that cannot be read: {error}") from None
        segments = SegmentCache(asked=self._asked_columns)
        machine = TaskMachine(path, with_due_index=False, observer=segments)
        index = machine.open()
        unused = self._replace(_Generation(machine, segments, path, cluster, replica))
        if unused is not None:
            # Closing flushes: a thread does it, and queries go on.
            disposal = asyncio.get_running_loop().run_in_executor(None, self._dispose, unused)
            self._disposals.add(disposal)
            disposal.add_done_callback(self._disposals.discard)
        _log.info("copy_started", index=index)

    def _replace(self, generation: _Generation | None) -> _Generation | None:
        """Returns the former generation when nobody reads it any more."""
        with self._lock:
            former, self._generation = self._generation, generation
            if generation is not None:
                self._held.add(generation)
            if former is not None:
                former.replaced = True
                former.segments.retire()
            unused = former if former is not None and former.readers == 0 else None
        self._peer_applied = self.applied_index
        self._moved.set()
        return unused

    def _dispose(self, generation: _Generation) -> None:
        """Close and delete what nobody reads any more. From any thread, once."""
        try:
            generation.machine.close()
        except StorageError as error:
            _log.warning("copy_not_closed", path=str(generation.path), reason=str(error))
        shutil.rmtree(generation.path, ignore_errors=True)
        with self._lock:
            self._held.discard(generation)

    async def _apply(self, body: bytes) -> None:
        """Apply an ENTRIES frame, slice by slice, so that the loop is never held for long."""
        generation = self._generation
        if generation is None:
            raise FeedBroken("entries without a state")
        if len(body) < APPLIED.size:
            raise FeedBroken(f"entries in {len(body)} bytes")
        (self._peer_applied,) = APPLIED.unpack_from(body)
        if self._behind_since_s is None:
            self._behind_since_s = time.monotonic()
        try:
            for entries in _slices(memoryview(body)[APPLIED.size :]):
                await _apply_slice(generation.machine, entries)
                self._moved.set()
                await asyncio.sleep(0)
        except (StorageError, TaskError):
            generation.failed = True
            raise
        self._pause_s = _PAUSE_FIRST_S
        if self.lag == 0:
            self._behind_since_s = None

    def _disconnected(self) -> None:
        self._writer = None
        if self._behind_since_s is None:
            self._behind_since_s = time.monotonic()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_result(b"")
        for future in self._reads.values():
            if not future.done():
                future.set_result(0)


async def _apply_slice(machine: TaskMachine, entries: list[Entry]) -> None:
    while True:
        try:
            # A peer that was behind this copy when it reconnected sends some entries again.
            machine.apply([entry for entry in entries if entry.index > machine.applied_index])
            if machine.applied_index >= entries[-1].index:
                return
        except Stalled:
            pass
        # The store takes no more for now; it may have taken some.
        await asyncio.sleep(_STALLED_PAUSE_S)


def _slices(body: memoryview) -> Iterator[list[Entry]]:
    """The entries that lie one behind the other in ``body``, some at a time. :raises BadFrame:"""
    at = 0
    while at < len(body):
        begin, entries = at, []
        while at < len(body) and at - begin < _SLICE_BYTES:
            found, at = decode_entries(body, at, 1)
            entries += found
        yield entries
