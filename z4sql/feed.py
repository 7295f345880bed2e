"""What a peer's follower copies read: applied entries as they come, or a checkpoint to start from.

A subscriber that falls behind is served from the log again, so it costs the peer a bounded buffer at most.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Protocol

import structlog

from raftcore.core.errors import RaftError
from raftcore.core.types import Entry, Index
from raftcore.storage.codec import encode_entry
from z4sql.tasks.feed import (
    FEED_VERSION,
    READ,
    READ_INDEX,
    FeedBroken,
    FrameType,
    frame,
    read_frame,
)

_BUFFER_BYTES_MAX = 8 << 20
_READ_BYTES = 1 << 20
_READ_TIMEOUT_S = 5.0

_log = structlog.get_logger()


class Source(Protocol):
    """What the feed needs of its peer."""

    def identity(self) -> tuple[str, int]:
        """(cluster id, replica id); ``("", 0)`` while the peer is a member of nothing."""
        ...

    def applied(self) -> int: ...

    def entries(self, lo: Index, bytes_max: int) -> list[Entry] | None:
        """Applied entries from ``lo`` on; None when they are compacted away."""
        ...

    async def checkpoint(self, path: Path) -> Index: ...

    async def barrier(self, timeout_s: float) -> Index: ...


class Feed:
    """Serves copies on a unix socket. ``directory`` takes the checkpoints; it is emptied at start."""

    def __init__(self, source: Source, socket_path: Path, directory: Path) -> None:
        self._source = source
        self._socket_path = socket_path
        self._directory = directory
        self._subscribers: set[_Subscriber] = set()
        self._numbers = count(1)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._server = await asyncio.start_unix_server(self._serve, self._socket_path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for subscriber in list(self._subscribers):
            subscriber.close()

    def applied(self, entries: Sequence[Entry]) -> None:
        """Tell the subscribers of entries that were just applied, in order."""
        if not self._subscribers or not entries:
            return
        first, after = entries[0].index, entries[-1].index + 1
        data = frame(FrameType.ENTRIES, *[entry.encoded or encode_entry(entry) for entry in entries])
        for subscriber in self._subscribers:
            subscriber.offer(first, after, data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subscriber: _Subscriber | None = None
        reads: set[asyncio.Task[None]] = set()
        try:
            next_index = await self._greet(reader, writer)
            subscriber = _Subscriber(self._source, writer, next_index)
            self._subscribers.add(subscriber)
            while True:
                kind, body = await read_frame(reader)
                if kind is not FrameType.READ:
                    raise FeedBroken(f"unexpected {kind.name}")
                task = asyncio.create_task(self._answer_read(writer, *READ.unpack(body)))
                reads.add(task)
                task.add_done_callback(reads.discard)
        except (EOFError, OSError):
            pass
        except (FeedBroken, RaftError, ValueError) as error:
            _log.warning("feed_broken", reason=str(error))
        finally:
            if subscriber is not None:
                self._subscribers.discard(subscriber)
                subscriber.close()
            for task in reads:
                task.cancel()
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Agree on where the copy stands; returns the first index to send."""
        kind, body = await read_frame(reader)
        if kind is not FrameType.HELLO:
            raise FeedBroken(f"unexpected {kind.name}")
        hello = json.loads(body)
        if hello["version"] != FEED_VERSION:
            raise FeedBroken(f"copy of version {hello['version']}; this peer speaks {FEED_VERSION}")
        cluster, replica = self._source.identity()
        if not replica:
            raise FeedBroken("this peer is not a member of a cluster yet")
        about = {"cluster": cluster, "replica": replica}
        if (hello["cluster"], hello["replica"]) == (cluster, replica) and self._fits(hello):
            writer.write(frame(FrameType.TAIL, json.dumps(about).encode()))
            return int(hello["index"]) + 1
        path = self._directory / str(next(self._numbers))
        index = await self._source.checkpoint(path)
        about |= {"path": str(path), "index": index}
        writer.write(frame(FrameType.CHECKPOINT, json.dumps(about).encode()))
        _log.info("checkpoint_made", index=index)
        return index + 1

    def _fits(self, hello: dict[str, int]) -> bool:
        """Whether the copy's last entry is one of this peer's log."""
        index = hello["index"]
        if not 0 < index <= self._source.applied():
            return False
        found = self._source.entries(Index(index), 1)
        return bool(found) and found is not None and found[0].term == hello["term"]

    async def _answer_read(self, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            index = await self._source.barrier(_READ_TIMEOUT_S)
        except RaftError:
            index = Index(0)
        writer.write(frame(FrameType.READ_INDEX, READ_INDEX.pack(number, index)))


class _Subscriber:
    """One copy: live while it keeps up, fed from the log by a task of its own while it does not."""

    def __init__(self, source: Source, writer: asyncio.StreamWriter, next_index: int) -> None:
        self._source = source
        self._writer = writer
        self._next = next_index
        self._catching_up: asyncio.Task[None] | None = None
        if next_index <= source.applied():
            self._fall_back()

    def offer(self, first: int, after: int, data: bytes) -> None:
        if self._catching_up is not None:
            return
        if first != self._next or self._writer.transport.get_write_buffer_size() > _BUFFER_BYTES_MAX:
            self._fall_back()
            return
        self._writer.write(data)
        self._next = after

    def close(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._writer.close()

    def _fall_back(self) -> None:
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self._next <= self._source.applied():
                entries = self._source.entries(Index(self._next), _READ_BYTES)
                if not entries:
                    _log.info("feed_lost", next=self._next)
                    self._writer.close()
                    return
                encoded = [entry.encoded or encode_entry(entry) for entry in entries]
                self._writer.write(frame(FrameType.ENTRIES, *encoded))
                self._next = entries[-1].index + 1
                await self._writer.drain()
        except (OSError, RaftError) as error:
            _log.info("feed_lost", next=self._next, reason=str(error))
            self._writer.close()
            return
        self._catching_up = None
