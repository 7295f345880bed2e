"""Leases that an earlier leader gave: found again by their tokens, so that a finished task is not done twice.

A token holds the index of the entry that gave the lease, and the log still holds that entry: it names the
places. Consumers that were at work when leadership moved thus settle with the new leader what they hold.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from raftcore.core.errors import RaftError, require
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from z4sql.delivery.consumer import Held
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.keys import SEQUENCE_BITS
from z4sql.tasks.reader import TaskReader

_ENTRIES_KEPT: Final = 256
_READS_MAX: Final = 500
_READS_PER_SECOND: Final = 200
"""Tokens can be invented, and each may cost a read of the log: their number is bounded."""

Entries = Callable[[Index, int], list[Entry] | None]
"""Applied entries from an index on, up to a size; None when they are compacted away."""


class Recall:
    """``applied``: the newest entry when this leadership began; later leases are known without the log."""

    def __init__(self, entries: Entries, reader: TaskReader, applied: Index) -> None:
        self._entries = entries
        self._reader = reader
        self._applied = applied
        self._loop = asyncio.get_running_loop()
        self._reads_left = float(_READS_MAX)
        self._read_s = self._loop.time()
        self._known: OrderedDict[int, dict[int, Held]] = OrderedDict()
        """By entry: its leases that lasted when it was read."""

    def lease(self, token: int) -> Held | None:
        """The lease ``token`` as it stood when its entry was first asked for; None when it has ended."""
        index = token >> SEQUENCE_BITS
        if not 0 < index <= self._applied:
            return None
        known = self._known.get(index)
        if known is None:
            if not self._may_read():
                return None
            known = self._known[index] = self._read(Index(index))
            if len(self._known) > _ENTRIES_KEPT:
                self._known.popitem(last=False)
        return known.get(token)

    def _may_read(self) -> bool:
        now_s = self._loop.time()
        self._reads_left += (now_s - self._read_s) * _READS_PER_SECOND
        self._reads_left = min(self._reads_left, _READS_MAX)
        self._read_s = now_s
        if self._reads_left < 1:
            return False
        self._reads_left -= 1
        return True

    def _read(self, index: Index) -> dict[int, Held]:
        try:
            entries = self._entries(index, 1)
        except RaftError:
            return {}
        if not entries or entries[0].index != index or entries[0].kind is not EntryKind.COMMANDS:
            return {}
        found = {}
        for data in decode_group(entries[0].data):
            command = pb.Command.FromString(bytes(data))
            for task in self._reader.tasks_at(command.lease.places):
                if task is None or task.lease_until_us is None or task.lease_token >> SEQUENCE_BITS != index:
                    continue
                due_us, begun_us = task.next_attempt_at_us, task.last_attempt_at_us
                require(due_us is not None and begun_us is not None, "a leased task was due and is attempted")
                assert due_us is not None and begun_us is not None
                found[task.lease_token] = Held(
                    task.place,
                    task.lease_token,
                    due_us,
                    task.lease_until_us,
                    max(command.lease.lease_until_us - begun_us, 1),
                    None,
                    attempts=task.attempts,
                    task_id=task.id,
                    sent=True,
                )
        return found
