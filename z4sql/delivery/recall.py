"""Leases that nobody in memory knows: found again by their tokens, so that a finished task is not done twice.

A token holds the index of the entry that gave the lease, and the log still holds that entry: it names the
places. Consumers that were at work when leadership moved thus settle with the new leader what they hold; and
whoever acknowledges once more, because the answer was lost, hears that it was done.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from raftcore.core.errors import RaftError
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.replica.group import decode_group
from z4sql.delivery.consumer import Held
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.encoding import task_id_of
from z4sql.tasks.keys import SEQUENCE_BITS
from z4sql.tasks.reader import TaskReader
from z4sql.tasks.record import Record, State, token_of

_ENTRIES_KEPT: Final = 256
_READS_MAX: Final = 500
_READS_PER_SECOND: Final = 200
"""Tokens can be invented, and each may cost a read of the log: their number is bounded."""

Entries = Callable[[Index, int], list[Entry] | None]
"""Applied entries from an index on, up to a size; None when they are compacted away."""


class _Given(NamedTuple):
    """A lease as its entry gave it: of which task, and until when."""

    place: bytes
    until_us: int


class Recall:
    """``applied_index``: that of the newest entry applied."""

    def __init__(self, entries: Entries, reader: TaskReader, applied_index: Callable[[], int]) -> None:
        self._entries = entries
        self._reader = reader
        self._applied_index = applied_index
        self._loop = asyncio.get_running_loop()
        self._reads_left = float(_READS_MAX)
        self._read_s = self._loop.time()
        self._known: OrderedDict[int, dict[int, _Given]] = OrderedDict()
        """By entry: its leases that lasted, or had been acknowledged, when it was read."""

    def lease(self, token: int) -> Held | None:
        """The lease ``token`` as it stands; None when it ended otherwise than by an acknowledgement."""
        index = token >> SEQUENCE_BITS
        if not 0 < index <= self._applied_index():
            return None
        known = self._known.get(index)
        if known is None:
            if not self._may_read():
                return None
            known = self._known[index] = self._read(Index(index))
            if len(self._known) > _ENTRIES_KEPT:
                self._known.popitem(last=False)
        given = known.get(token)
        if given is None:
            return None
        (record,) = self._reader.records_at([given.place])
        return None if record is None or token_of(record) != token else _held(given, record)

    def _may_read(self) -> bool:
        now_s = self._loop.time()
        self._reads_left += (now_s - self._read_s) * _READS_PER_SECOND
        self._reads_left = min(self._reads_left, _READS_MAX)
        self._read_s = now_s
        if self._reads_left < 1:
            return False
        self._reads_left -= 1
        return True

    def _read(self, index: Index) -> dict[int, _Given]:
        try:
            entries = self._entries(index, 1)
        except RaftError:
            return {}
        if not entries or entries[0].index != index or entries[0].kind is not EntryKind.COMMANDS:
            return {}
        found = {}
        for data in decode_group(entries[0].data):
            lease = pb.Command.FromString(bytes(data)).lease
            for place, record in zip(lease.places, self._reader.records_at(lease.places), strict=True):
                if record is not None and token_of(record) >> SEQUENCE_BITS == index:
                    found[token_of(record)] = _Given(place, lease.lease_until_us)
        return found


def _held(given: _Given, record: bytes) -> Held:
    fields = Record(record)
    return Held(
        given.place,
        fields.lease_token,
        fields.next_attempt_at_us,
        fields.lease_until_us,
        max(given.until_us - fields.last_attempt_at_us, 1),
        None,
        attempts=fields.attempts,
        task_id=task_id_of(given.place, record),
        sent=True,
        acknowledged=fields.state == State.DONE,
    )
