"""What a peer's follower copies read: applied entries as they come, or a checkpoint to start from.

A subscriber that falls behind is served from the log again, so it costs the peer a bounded buffer at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Protocol

import structlog

from raftcore.core.errors import RaftError
from raftcore.core.types import Entry, Index
from raftcore.storage.codec import encode_entry
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
    frame,
    read_frame,
)

_BUFFER_BYTES_MAX: Final = 8 << 20
_READ_BYTES: Final = 1 << 20
_READ_TIMEOUT_S: Final = 5.0
_READS_MAX: Final = 1024
_HELLO_TIMEOUT_S: Final = 5.0
_MEMBERSHIP_LOOK_S: Final = 0.05

_ANSWERS: Final = {FrameType.READ: FrameType.READ_INDEX, FrameType.ASK: FrameType.ROWS}

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

    def silence_ms(self) -> int:
        """For how long the peer has been out of touch with the cluster."""
        ...

    async def rows(self, table: str) -> str:
        """Rows of a table that lives outside the state, as a JSON array of objects; empty when unknown."""
        ...


class Feed:
    """Serves copies on a unix socket. ``directory`` takes the checkpoints; it is emptied at start."""

    def __init__(
        self, source: Source, socket_path: Path, directory: Path, *, buffer_bytes_max: int = _BUFFER_BYTES_MAX
    ) -> None:
        """A subscriber with more than ``buffer_bytes_max`` unsent is read from the log until it is not."""
        self._source = source
        self._socket_path = socket_path
        self._buffer_bytes_max = buffer_bytes_max
        self._checkpoints = _Checkpoints(directory)
        self._subscribers: set[_Subscriber] = set()
        self._server: asyncio.Server | None = None
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._checkpoints.start()
        self._server = await asyncio.start_unix_server(self._serve, self._socket_path)
        self._telling = asyncio.create_task(self._tell_contact(), name="feed contact")

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        if self._server is not None:
            self._server.close()
        for subscriber in list(self._subscribers):
            subscriber.close()

    def applied(self, entries: Sequence[Entry]) -> None:
        """Tell the subscribers of entries that were just applied, in order."""
        if not self._subscribers or not entries:
            return
        first, last = entries[0].index, entries[-1].index
        data = _entries_frame(last, entries)
        identity = self._source.identity()
        for subscriber in self._subscribers:
            subscriber.offer(identity, first, last + 1, data)

    def replaced(self, _index: Index) -> None:
        """Send the subscribers away: a snapshot took the place of the state that they follow.

        They come again, and are given a checkpoint, for the log does not reach back to where they stand.
        """
        for subscriber in list(self._subscribers):
            subscriber.close()

    async def _tell_contact(self) -> None:
        while True:
            silence_ms = self._source.silence_ms()
            for subscriber in self._subscribers:
                subscriber.tell_contact(silence_ms)
            await asyncio.sleep(CONTACT_INTERVAL_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subscriber: _Subscriber | None = None
        reads: set[asyncio.Task[None]] = set()
        try:
            subscriber = await self._greet(reader, writer)
            self._subscribers.add(subscriber)
            subscriber.tell_contact(self._source.silence_ms())
            subscriber.start()
            while True:
                kind, body = await read_frame(reader)
                if kind is FrameType.READ:
                    (number,) = decode_numbers(READ, body)
                    refusal, answer = READ_INDEX.pack(number, 0), self._answer_read(writer, number)
                elif kind is FrameType.ASK:
                    (number,) = decode_numbers(READ, body[: READ.size])
                    refusal, answer = READ.pack(number), self._answer_rows(writer, number, body)
                else:
                    raise FeedBroken(f"unexpected {kind.name}")
                if len(reads) >= _READS_MAX:
                    answer.close()
                    writer.write(frame(_ANSWERS[kind], refusal))
                    continue
                task = asyncio.create_task(answer)
                reads.add(task)
                task.add_done_callback(reads.discard)
        except (EOFError, ConnectionError):
            pass
        except (FeedBroken, RaftError, OSError) as error:
            _log.warning("feed_broken", reason=f"{type(error).__name__}: {error}")
        finally:
            if subscriber is not None:
                self._subscribers.discard(subscriber)
                subscriber.close()
            for task in reads:
                task.cancel()
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Subscriber:
        """Agree on where the copy stands."""
        async with asyncio.timeout(_HELLO_TIMEOUT_S):
            kind, body = await read_frame(reader)
        if kind is not FrameType.HELLO:
            raise FeedBroken(f"unexpected {kind.name}")
        hello = Hello.decode(body)
        while not self._source.identity()[1]:
            # Not a member yet: the copy waits here, rather than knock and be turned away every second.
            if reader.at_eof():
                raise EOFError
            await asyncio.sleep(_MEMBERSHIP_LOOK_S)
        identity = cluster, replica = self._source.identity()
        await self._checkpoints.remove_abandoned(hello)
        about = {"cluster": cluster, "replica": replica}
        if (hello.cluster, hello.replica) == identity and self._fits(hello):
            index = hello.index
            writer.write(frame(FrameType.TAIL, json.dumps(about).encode()))
        else:
            path, index = await self._checkpoints.make(self._source, hello)
            about |= {"path": str(path), "index": index}
            writer.write(frame(FrameType.CHECKPOINT, json.dumps(about).encode()))
            _log.info("checkpoint_made", index=index)
        return _Subscriber(self._source, identity, writer, index + 1, self._buffer_bytes_max)

    def _fits(self, hello: Hello) -> bool:
        """Whether the copy's last entry is one of this peer's log."""
        if not 0 < hello.index <= self._source.applied():
            return False
        found = self._source.entries(Index(hello.index), 1)
        return bool(found) and found is not None and found[0].term == hello.term

    async def _answer_read(self, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            index = await self._source.barrier(_READ_TIMEOUT_S)
        except RaftError:
            index = Index(0)
        writer.write(frame(FrameType.READ_INDEX, READ_INDEX.pack(number, index)))

    async def _answer_rows(self, writer: asyncio.StreamWriter, number: int, body: bytes) -> None:
        rows = await self._source.rows(body[READ.size :].decode(errors="replace"))
        writer.write(frame(FrameType.ROWS, READ.pack(number), rows.encode()))


@dataclass(slots=True, frozen=True)
class _Owner:
    copy: str
    process: int


class _Checkpoints:
    """The checkpoints handed out and not known to be gone. A copy removes its own; a dead one cannot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._owners: dict[Path, _Owner] = {}
        self._numbers = count(1)

    def start(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)

    async def make(self, source: Source, hello: Hello) -> tuple[Path, int]:
        path = self._directory / str(next(self._numbers))
        try:
            index = await source.checkpoint(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        self._owners[path] = _Owner(hello.copy, hello.process)
        return path, index

    async def remove_abandoned(self, hello: Hello) -> None:
        """Remove what its copy does not use any more: hard links keep all that they name on the disk."""
        held = set(hello.holds)
        abandoned = [
            path
            for path, owner in self._owners.items()
            if not (str(path) in held if owner.copy == hello.copy else _lives(owner.process))
        ]
        for path in abandoned:
            del self._owners[path]
        for path in abandoned:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Subscriber:
    """One copy: live while it keeps up, fed from the log by a task of its own while it does not."""

    def __init__(
        self,
        source: Source,
        identity: tuple[str, int],
        writer: asyncio.StreamWriter,
        next_index: int,
        buffer_bytes_max: int,
    ) -> None:
        self._source = source
        self._identity = identity
        self._writer = writer
        self._next = next_index
        self._buffer_bytes_max = buffer_bytes_max
        self._catching_up: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._next <= self._source.applied():
            self._fall_back()

    def offer(self, identity: tuple[str, int], first: int, after: int, data: bytes) -> None:
        """Send entries ``[first, after)`` of the replica ``identity``, unless they have to wait."""
        if identity != self._identity:
            # The peer's replica was replaced: what it applies now may continue another history.
            self._writer.close()
        elif self._catching_up is not None:
            return
        elif first != self._next or self._writer.transport.get_write_buffer_size() > self._buffer_bytes_max:
            self._fall_back()
        else:
            self._writer.write(data)
            self._next = after

    def tell_contact(self, silence_ms: int) -> None:
        """A copy that does not read need not be told."""
        if self._writer.transport.get_write_buffer_size() <= self._buffer_bytes_max:
            self._writer.write(frame(FrameType.CONTACT, CONTACT.pack(silence_ms)))

    def close(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._writer.close()

    def _fall_back(self) -> None:
        self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            # What is unsent goes first, so that buffer and slice never add up.
            await self._writer.drain()
            while self._next <= (applied := self._source.applied()):
                if self._source.identity() != self._identity:
                    raise FeedBroken("the replica was replaced")
                entries = self._source.entries(Index(self._next), _READ_BYTES)
                if not entries:
                    raise FeedBroken("the log does not reach back")
                self._writer.write(_entries_frame(applied, entries))
                self._next = entries[-1].index + 1
                await self._writer.drain()
        except (FeedBroken, OSError, RaftError) as error:
            _log.info("feed_lost", next=self._next, reason=str(error))
            self._writer.close()
            return
        self._catching_up = None


def _entries_frame(applied: int, entries: Iterable[Entry]) -> bytes:
    encoded = [entry.encoded or encode_entry(entry) for entry in entries]
    return frame(FrameType.ENTRIES, APPLIED.pack(applied), *encoded)
