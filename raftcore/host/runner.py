"""One replica on a host: its state machine, its queue of entries to apply, and where its peers are."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raftcore.core.messages import Message
from raftcore.core.types import Entry, Index, Membership, NodeId, ShardId
from raftcore.host.machine import StateMachine
from raftcore.replica.replica import Replica

_LEARNED_MAX = 256


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
        self.routes: dict[NodeId, str] = {}
        self.applied_bytes = 0
        """Since the state was last made durable."""
        self._learned: dict[NodeId, str] = {}
        self._queue: deque[Entry] = deque()
        self._paused = False
        self._maintenance = asyncio.Lock()
        # Of its own: nothing is applied while a sync waits for a thread that somebody else holds.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"state of shard {shard}")

    @property
    def can_apply(self) -> bool:
        return bool(self._queue) and not self._paused

    def enqueue(self, entries: Sequence[Entry]) -> None:
        """Queue committed entries, which are durable here."""
        self._queue.extend(entries)

    def apply(self, until_s: float, chunk_bytes: int) -> list[Entry]:
        """Apply queued entries until ``until_s`` of `time.perf_counter`, at least one; tell the replica.

        :raises Exception: whatever the machine raises: the state is not to be trusted further.
        """
        queue = self._queue
        done: list[Entry] = []
        results: list[tuple[Index, Sequence[bytes]]] = []
        while queue:
            chunk = [queue.popleft()]
            size = len(chunk[0].data)
            while queue and size + len(queue[0].data) <= chunk_bytes:
                entry = queue.popleft()
                size += len(entry.data)
                chunk.append(entry)
            for entry, answers in zip(chunk, self.machine.apply(chunk), strict=True):
                results.append((entry.index, answers))
            done += chunk
            self.applied_bytes += size
            if time.perf_counter() >= until_s:
                break
        self.applied = done[-1].index
        self.replica.applied(self.applied, results)
        return done

    def set_membership(self, membership: Membership) -> None:
        """Remember where the members are."""
        self.routes = {member.id: member.address for member in membership.members if member.id != self.node}

    def learn(self, message: Message, source: str) -> None:
        """Remember where a replica is that no membership known here names: a newcomer knows nobody."""
        if message.src not in self.routes:
            if len(self._learned) >= _LEARNED_MAX:
                self._learned.clear()
            self._learned[message.src] = source

    def address_of(self, node: NodeId) -> str | None:
        return self.routes.get(node) or self._learned.get(node)

    async def sync(self) -> None:
        """Make the state durable. Nothing is applied meanwhile: a machine's calls are serialized."""
        async with self._maintenance:
            self._paused = True
            try:
                applied_bytes = self.applied_bytes
                await self._sync_machine()
                self.applied_bytes -= applied_bytes
            finally:
                self._paused = False

    async def checkpoint(self, path: Path) -> Index:
        """Copy the durable state to ``path``; returns its applied index."""
        async with self._maintenance:
            self._paused = True
            try:
                await self._sync_machine()
                return self.machine.checkpoint(path)
            finally:
                self._paused = False

    async def stop(self, *, sync: bool) -> None:
        """End every call, and close the state, durable when ``sync``."""
        if self.stopped:
            return
        self.stopped = True
        self.replica.stop()
        self._queue.clear()
        async with self._maintenance:
            try:
                if sync:
                    await self._sync_machine()
            finally:
                await asyncio.to_thread(self._thread.shutdown)
                self.machine.close()

    async def _sync_machine(self) -> None:
        syncing = asyncio.get_running_loop().run_in_executor(self._thread, self.machine.sync)
        try:
            await asyncio.shield(syncing)
        except asyncio.CancelledError:
            # The thread goes on whoever lost interest, and until it is done nothing may be applied.
            await asyncio.wait([syncing])
            raise
