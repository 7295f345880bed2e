"""One replica on a host: its state machine, its queue of entries to apply, and where its peers are."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from raftcore.core.errors import NotLeader, Stalled
from raftcore.core.messages import Append, Message
from raftcore.core.types import Entry, Index, Membership, NodeId, ShardId, SnapshotMeta
from raftcore.host.machine import StateMachine, syncs_while_applying
from raftcore.replica.replica import Replica

log = structlog.get_logger()

_LEARNED_MAX = 256
DEFERRED_MAX = 256
"""How many messages wait for a replica that stands still; whoever sent more sends them again."""


class ReplicaRunner:
    """Holds what the host needs beside the pure `Replica`."""

    def __init__(
        self, shard: ShardId, node: NodeId, replica: Replica, machine: StateMachine, applied: Index
    ) -> None:
        self.shard = shard
        self.node = node
        self.replica = replica
        self.machine = machine
        self.applied = applied
        self.stopped = False
        self.frozen = False
        """The replica is to be left alone: its log and state are being replaced."""
        self.deferred: list[Message] = []
        """What arrived since it is."""
        self.stalled = False
        """The machine's store has refused to take more; `resume` tries again."""
        self.routes: dict[NodeId, str] = {}
        self.applied_bytes = 0
        """Since the state was last made durable."""
        self.total_bytes = 0
        """Applied in this life."""
        self._waiting: list[tuple[Index, asyncio.Future[None]]] = []
        self._learned: dict[NodeId, str] = {}
        self._queue: deque[Entry] = deque()
        self._paused = False
        self._maintenance = asyncio.Lock()
        # Of its own: nothing is applied while a sync waits for a thread that somebody else holds.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"state of shard {shard}")

    @property
    def can_apply(self) -> bool:
        return bool(self._queue) and not self._paused and not self.stalled and not self.stopped

    def enqueue(self, entries: Sequence[Entry]) -> None:
        """Queue committed entries, which are durable here."""
        self._queue.extend(entries)

    def apply(self, until_s: float, chunk_bytes: int) -> list[Entry]:
        """Apply queued entries until ``until_s`` of `time.perf_counter`, at least one; tell the replica.

        When the machine's store stalls, those that it did not take stay queued, and ``stalled`` is set.

        :raises Exception: whatever the machine raises: the state is not to be trusted further.
        """
        done: list[Entry] = []
        results: list[tuple[Index, Sequence[bytes]]] = []
        while self._queue and not self.stalled:
            for entry, answers in self._apply_chunk(self._take_chunk(chunk_bytes)):
                done.append(entry)
                results.append((entry.index, answers))
            if time.perf_counter() >= until_s:
                break
        if done:
            self.applied = done[-1].index
            self.replica.applied(self.applied, results)
            self._tell_waiting()
        return done

    async def until_applied(self, index: Index, timeout_s: float) -> bool:
        """Wait until ``index`` is applied; False after ``timeout_s``.

        :raises NotLeader: the replica was stopped.
        """
        if self.applied >= index:
            return True
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((index, reached))
        try:
            async with asyncio.timeout(timeout_s):
                await reached
        except TimeoutError:
            return False
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not reached]
        return True

    def _tell_waiting(self) -> None:
        for index, reached in self._waiting:
            if index <= self.applied and not reached.done():
                reached.set_result(None)

    def resume(self) -> None:
        """Try again after a stall."""
        self.stalled = False

    def set_membership(self, membership: Membership) -> None:
        """Remember where the members are."""
        self.routes = {member.id: member.address for member in membership.members if member.id != self.node}

    def learn(self, message: Message, source: str) -> None:
        """Remember where a replica is that no membership known here names: a newcomer knows nobody."""
        if message.src not in self.routes:
            if len(self._learned) >= _LEARNED_MAX:
                self._learned.clear()
            self._learned[message.src] = source

    def defer(self, message: Message) -> bool:
        """Keep a message while the replica stands still; whether it was.

        Entries are not: the log that they are to follow is being replaced.
        """
        kept = len(self.deferred) < DEFERRED_MAX and type(message) is not Append
        if kept:
            self.deferred.append(message)
        return kept

    def address_of(self, node: NodeId) -> str | None:
        return self.routes.get(node) or self._learned.get(node)

    async def sync(self) -> Index:
        """Make the state durable; the applied index that is.

        Nothing is applied meanwhile, unless the machine allows it: its calls are serialized.
        """
        async with self._maintenance:
            self._paused = not syncs_while_applying(self.machine)
            try:
                return await self.sync_held()
            finally:
                self._paused = False

    async def checkpoint(self, path: Path) -> Index:
        """Copy the durable state to ``path``; returns its applied index."""
        async with self._maintenance:
            if syncs_while_applying(self.machine):
                # What is left to sync while nothing is applied is then little.
                await self.sync_held()
            self._paused = True
            try:
                await self.sync_held()
                return self.machine.checkpoint(path)
            finally:
                self._paused = False

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """While this is open, the machine is left alone: nothing is applied, synced or closed."""
        async with self._maintenance:
            self._paused = True
            try:
                yield
            finally:
                self._paused = False

    async def sync_held(self) -> Index:
        """As `sync`, for whoever holds the machine."""
        applied_bytes = self.applied_bytes
        syncing = asyncio.get_running_loop().run_in_executor(self._thread, self.machine.sync)
        try:
            index = await asyncio.shield(syncing)
        except asyncio.CancelledError:
            # The thread goes on whoever lost interest, and until it is done nothing may be applied.
            await asyncio.wait([syncing])
            raise
        self.applied_bytes -= applied_bytes
        return index

    def installed(self, meta: SnapshotMeta) -> None:
        """A snapshot has replaced the machine's state and the log."""
        self._queue.clear()
        self.applied = meta.index
        self.applied_bytes = 0
        self.replica.snapshot_installed(meta)
        self._tell_waiting()

    async def stop(self, *, sync: bool) -> None:
        """End every call, and close the state, durable when ``sync``."""
        if self.stopped:
            return
        self.stopped = True
        self.replica.stop()
        for _, reached in self._waiting:
            if not reached.done():
                reached.set_exception(NotLeader())
        self._queue.clear()
        async with self._maintenance:
            try:
                if sync:
                    await self.sync_held()
            finally:
                await asyncio.to_thread(self._thread.shutdown)
                self.machine.close()

    def _take_chunk(self, chunk_bytes: int) -> list[Entry]:
        queue = self._queue
        chunk = [queue.popleft()]
        size = len(chunk[0].data)
        while queue and size + len(queue[0].data) <= chunk_bytes:
            entry = queue.popleft()
            size += len(entry.data)
            chunk.append(entry)
        return chunk

    def _apply_chunk(self, chunk: list[Entry]) -> list[tuple[Entry, Sequence[bytes]]]:
        """What of ``chunk`` the machine took; the rest goes back."""
        results: Sequence[Sequence[bytes]] = ()
        try:
            results = self.machine.apply(chunk)
        except Stalled as error:
            log.warning("apply_stalled", shard=self.shard, error=str(error))
        if len(results) < len(chunk):
            self.stalled = True
            self._queue.extendleft(reversed(chunk[len(results) :]))
        taken = list(zip(chunk, results, strict=False))
        size = sum(len(entry.data) for entry, _ in taken)
        self.applied_bytes += size
        self.total_bytes += size
        return taken
