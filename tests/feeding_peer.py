"""A peer reduced to what its SQL process needs: a task machine, its log in memory, and the feed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.replica.group import encode_group
from tests.task_stores import CREATED_US, open_machine
from z4sql.feed import Feed
from z4sql.sql.supervisor import SqlSupervisor
from z4sql.tasks.commands import CommandBuilder
from z4sql.tasks.machine import TaskMachine
from z4sql.tasks.model import NewTask


@dataclass
class FeedingPeer:
    machine: TaskMachine
    log: list[Entry] = field(default_factory=list)
    feed: Feed | None = None

    def identity(self) -> tuple[str, int]:
        return "cluster", 1

    def applied(self) -> int:
        return self.machine.applied_index

    def entries(self, lo: Index, bytes_max: int) -> list[Entry] | None:
        return self.log[lo - 1 :]

    async def checkpoint(self, path: Path) -> Index:
        return self.machine.checkpoint(path)

    def silence_ms(self) -> int:
        return 0

    async def barrier(self, timeout_s: float) -> Index:
        return self.machine.applied_index

    def add(self, tasks: Sequence[NewTask]) -> list[str]:
        """Apply one entry and tell the feed; the tasks' ids."""
        command = CommandBuilder(lambda: CREATED_US, lambda: 0).create_tasks(tasks)
        assert command.data is not None and not command.invalid
        index = Index(self.machine.applied_index + 1)
        entry = Entry(Term(1), index, EntryKind.COMMANDS, encode_group([command.data]))
        ((result,),) = self.machine.apply([entry])
        self.log.append(entry)
        if self.feed is not None:
            self.feed.applied([entry])
        return command.outcome(result).ids


@asynccontextmanager
async def sql_process(folder: Path) -> AsyncIterator[tuple[FeedingPeer, SqlSupervisor]]:
    """A peer and its SQL process, which serves clients."""
    machine = open_machine(folder / "state")
    peer = FeedingPeer(machine)
    peer.feed = Feed(peer, folder / "feed", folder / "sql")
    await peer.feed.start()
    supervisor = SqlSupervisor(folder / "feed", "127.0.0.1", 0)
    await supervisor.start()
    try:
        await supervisor.wait_ready(30)
        yield peer, supervisor
    finally:
        await supervisor.stop()
        await peer.feed.stop()
        machine.close()
