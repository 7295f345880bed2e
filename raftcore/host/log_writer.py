"""Rounds of the log: what one turn wrote, and what may be said once that is durable."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from raftcore.core.errors import Stalled, StorageError
from raftcore.core.messages import Message
from raftcore.core.ready import WriteSet
from raftcore.host.flusher import Flusher
from raftcore.host.runner import ReplicaRunner
from raftcore.storage.base import LogStore

log = structlog.get_logger()


@dataclass(slots=True)
class _Round:
    parts: list[tuple[ReplicaRunner, WriteSet | None, list[Message]]] = field(default_factory=list)
    must_sync: bool = False
    waiter: asyncio.Future[None] | None = None


class LogWriter:
    """Writes each turn's changes of all shards as one batch, without waiting, and syncs in one thread.

    The batching window is the fsync under way: while it runs, further rounds are written, and the next one
    covers them all. Rounds that need no fsync ride along. ``finished`` is told of each part, in order, once
    its round and all before it are durable; ``advanced`` after each sync; ``failed`` at most once.
    """

    def __init__(
        self,
        store: LogStore,
        finished: Callable[[ReplicaRunner, WriteSet | None, list[Message]], None],
        advanced: Callable[[], None],
        failed: Callable[[BaseException], None],
        *,
        retry_s: float,
        name: str,
    ) -> None:
        self._store = store
        self._finished = finished
        self._advanced = advanced
        self._failed = failed
        self._retry_s = retry_s
        self._flusher = Flusher(store.sync, self._synced, name)
        self._gathered = _Round()
        self._rounds: deque[_Round] = deque()
        self._syncing = 0
        self._retry: asyncio.TimerHandle | None = None
        self._failure: StorageError | None = None

    def start(self) -> None:
        self._flusher.start()

    async def stop(self) -> None:
        """Let the sync under way end; nothing is finished afterwards."""
        if self._retry is not None:
            self._retry.cancel()
        await self._flusher.stop()
        self._give_up(StorageError("the log is closed"))

    async def durable(self) -> None:
        """Wait until everything that is in the store by now is durable.

        :raises StorageError: a sync failed, or the writer was stopped.
        """
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rounds.append(_Round(must_sync=True, waiter=waiter))
        self._advance()
        await waiter

    def holds(self, runner: ReplicaRunner) -> bool:
        """Whether something of ``runner`` is gathered and not written yet."""
        return any(each is runner for each, _, _ in self._gathered.parts)

    def add(self, runner: ReplicaRunner, write: WriteSet | None, after_persist: list[Message]) -> None:
        """Gather what one replica asks for in this turn."""
        self._gathered.parts.append((runner, write, after_persist))
        if write is not None and write.must_sync:
            self._gathered.must_sync = True

    def commit(self) -> None:
        """Write what was gathered, as one batch.

        When the store refuses to protect itself, it is kept, gathers on, and is tried again soon.

        :raises StorageError: stop the process.
        """
        gathered = self._gathered
        if not gathered.parts:
            return
        writes = [(each.shard, each.node, write) for each, write, _ in gathered.parts if write is not None]
        try:
            if writes:
                self._store.write(writes)
        except Stalled as error:
            if self._retry is None:
                log.warning("log_write_stalled", error=str(error))
                self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._try_again)
            return
        self._gathered = _Round()
        self._rounds.append(gathered)
        self._advance()

    def _try_again(self) -> None:
        self._retry = None
        self._advanced()

    def take_syncs_s(self) -> tuple[float, ...]:
        """How long each sync took that ended since the last call."""
        took_s = self._flusher.took_s
        return tuple(took_s.popleft() for _ in range(len(took_s)))

    def _advance(self) -> None:
        """Finish the rounds that wait for no disk; let the flusher start on the others."""
        if self._syncing:
            return
        rounds = self._rounds
        while rounds and not rounds[0].must_sync:
            self._finish(rounds.popleft())
        if rounds:
            self._syncing = len(rounds)
            self._flusher.request()

    def _synced(self, error: BaseException | None) -> None:
        """On the loop: everything written before the flusher's request is durable, or nothing is known."""
        if error is not None:
            self._failed(error)
            self._give_up(StorageError(f"the log could not be synced: {error}"))
            return
        try:
            finished, self._syncing = self._syncing, 0
            for _ in range(finished):
                self._finish(self._rounds.popleft())
            self._advance()
        except Exception as failure:
            self._failed(failure)
            return
        self._advanced()

    def _give_up(self, failure: StorageError) -> None:
        self._failure = self._failure or failure
        for round_ in self._rounds:
            if round_.waiter is not None and not round_.waiter.done():
                round_.waiter.set_exception(failure)

    def _finish(self, round_: _Round) -> None:
        if round_.waiter is not None and not round_.waiter.done():
            round_.waiter.set_result(None)
        for runner, write, messages in round_.parts:
            if not runner.stopped:
                self._finished(runner, write, messages)
