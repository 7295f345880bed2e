"""Keeping what a restart replays small, and the log short: states are synced, then the log is cut below."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import structlog

from raftcore.core.errors import Stalled
from raftcore.core.progress import ProgressState
from raftcore.core.types import Index, ShardId
from raftcore.host.runner import ReplicaRunner

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

_TICK_S = 1.0
_MARK_BYTES = 1 << 20
_PRESENT_ELECTION_TIMEOUTS = 10
"""A follower that was heard so recently is worth keeping entries for."""


class LogSizes:
    """How many bytes of entries lie above an index, from marks at every megabyte that was applied.

    What was applied in an earlier life is not known, and counts as nothing.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[Index, int]] = deque()
        self._total_bytes = 0

    def note(self, index: Index, total_bytes: int) -> None:
        """Entries up to ``index``, ``total_bytes`` since the start, are applied."""
        if not self._marks or total_bytes - self._marks[-1][1] >= _MARK_BYTES:
            self._marks.append((index, total_bytes))
        self._total_bytes = total_bytes

    def above(self, index: Index) -> int:
        """Bytes of the entries above ``index``, to a megabyte."""
        for marked, total_bytes in self._marks:
            if marked >= index:
                return self._total_bytes - total_bytes
        return 0

    def reaching(self, size_bytes: int) -> Index:
        """The lowest index above which no more than ``size_bytes`` lie; 0 when all that is known fits."""
        floor = Index(0)
        for index, total_bytes in self._marks:
            if self._total_bytes - total_bytes <= size_bytes:
                break
            floor = index
        return floor

    def forget(self, below: Index) -> None:
        """Drop marks below an index that is compacted."""
        while len(self._marks) > 1 and self._marks[1][0] < below:
            self._marks.popleft()


class Upkeep:
    """Syncs the states, compacts the logs, gives their space back, and lets old snapshots go."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._sizes: dict[ShardId, LogSizes] = {}
        self._durable: dict[ShardId, Index] = {}
        self._dropped_bytes = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="raft upkeep")

    async def stop(self) -> None:
        """End, once the disk work under way is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def applied(self, runner: ReplicaRunner) -> None:
        """Entries were applied."""
        sizes = self._sizes.get(runner.shard)
        if sizes is None:
            sizes = self._sizes[runner.shard] = LogSizes()
        sizes.note(runner.applied, runner.total_bytes)

    def replaced(self, shard: ShardId) -> None:
        """The replica, or all that it had, was replaced."""
        self._sizes.pop(shard, None)
        self._durable.pop(shard, None)

    async def _run(self) -> None:
        config = self._host.config
        synced_s = time.monotonic()
        while True:
            await asyncio.sleep(min(config.state_sync_interval_s, _TICK_S))
            due = time.monotonic() - synced_s >= config.state_sync_interval_s
            try:
                for runner in list(self._host.runners.values()):
                    if runner.applied_bytes and (due or runner.applied_bytes >= config.state_sync_bytes):
                        await self._sync(runner)
                    self._compact(runner)
                if self._dropped_bytes >= config.reclaim_bytes:
                    await self._reclaim()
                await self._host.snapshots.expire()
            except Exception as error:
                self._host.fail(error)
                return
            if due:
                synced_s = time.monotonic()

    async def _sync(self, runner: ReplicaRunner) -> None:
        if runner.stopped:
            return
        try:
            durable = await runner.sync()
        except Stalled as error:
            log.info("state_sync_put_off", shard=runner.shard, error=str(error))
            self._host.need_apply()
            return
        if self._host.runners.get(runner.shard) is runner:
            self._durable[runner.shard] = durable
        self._host.need_apply()

    def _compact(self, runner: ReplicaRunner) -> None:
        """Cut the log below what the state holds durably and nobody needs."""
        durable = self._durable.get(runner.shard)
        if durable is None or runner.stopped or runner.frozen:
            return
        sizes = self._sizes.get(runner.shard) or LogSizes()
        store, replica = self._host.store, runner.replica
        former = replica.core.first_index
        first = self._first_needed(runner, durable, sizes)
        # Small cuts cost as much as large ones, and free nothing.
        if first - former < max(1, self._host.config.trailing_entries // 10):
            return
        dropped_bytes = sizes.above(Index(former - 1)) - sizes.above(Index(first - 1))
        try:
            store.compact(runner.shard, runner.node, first)
        except Stalled as error:
            log.info("compaction_put_off", shard=runner.shard, error=str(error))
            return
        replica.compacted(first)
        sizes.forget(first)
        self._dropped_bytes += dropped_bytes
        log.info("log_compacted", shard=runner.shard, first_index=first, dropped=first - former)

    def _first_needed(self, runner: ReplicaRunner, durable: Index, sizes: LogSizes) -> Index:
        config, core = self._host.config, runner.replica.core
        trailing = max(durable - config.trailing_entries, sizes.reaching(config.trailing_bytes))
        first = min(durable, trailing) + 1
        present_us = _PRESENT_ELECTION_TIMEOUTS * core.config.election_timeout_us
        held = self._host.snapshots.outgoing.held(runner.shard)
        for progress in core.progress().values():
            if progress.state is not ProgressState.SNAPSHOT and core.now - progress.contact < present_us:
                held.append((progress.match, 0))
        for index, worth_bytes in held:
            allowed_bytes = config.trailing_bytes + max(config.held_bytes_max, worth_bytes)
            first = min(first, max(index, sizes.reaching(allowed_bytes)) + 1)
        return Index(max(first, 1))

    async def _reclaim(self) -> None:
        """Rewrite the log's files without what was dropped, in a thread that nobody breaks off."""
        self._dropped_bytes = 0
        begun_s = time.monotonic()
        reclaiming = asyncio.ensure_future(asyncio.to_thread(self._host.store.reclaim))
        try:
            await asyncio.shield(reclaiming)
        except asyncio.CancelledError:
            await asyncio.wait([reclaiming])
            raise
        log.info("log_space_reclaimed", duration_ms=int(1000 * (time.monotonic() - begun_s)))
