"""The replicated machine: the same log makes the same keys, versions and results on every replica.

Nothing here asks a clock or a random number. Time is the newest stamp that a leader put into a command: a key
whose time is over by that clock is gone for every reader and every later command, wherever it still lies;
`Sweep` removes such keys, some at a time.

Rows of the table, by their first byte::

    k key                 version, expiry, value
    x expiry key          nothing: keys in the order in which they expire
    c version             a `Change`: what `Watch` reads; the oldest are dropped
    r request id          the result of a write
    q number              request ids in the order in which they came; the oldest are dropped
    a member name         where clients reach it
    p                     the position: applied index, clock and counters
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock
from typing import assert_never

from raftcore.core.errors import Stalled
from raftcore.core.types import Entry, EntryKind, Index
from raftcore.kv import messages as kv
from raftcore.kv.codec import encode
from raftcore.kv.errors import Unavailable
from raftcore.kv.tables import Table
from raftcore.replica.group import decode_group

REQUESTS_MAX = 100_000
"""A write is recognised as a retry while fewer writes than this came between."""
CHANGES_MAX = 100_000
CHANGES_BYTES_MAX = 64 << 20
"""How far back `Watch` can begin: this many changes, and no more bytes."""
ANSWER_BYTES_MAX = 8 << 20
"""How many bytes of keys and values one answer holds, to one item or entry."""

_RECORD = struct.Struct(">QQ")
_NUMBER = struct.Struct(">Q")
_POSITION = struct.Struct(">7Q")


@dataclass(slots=True)
class _Position:
    """What a table's rows stand for; changes by every entry."""

    applied: int = 0
    clock_us: int = 0
    version: int = 0
    first_version: int = 1
    """The oldest change that is kept."""
    dropped_index: int = 0
    changes_bytes: int = 0
    requests: int = 0


class KvMachine:
    """A `raftcore.host.machine.StateMachine` over a `Table`."""

    def __init__(
        self,
        table: Table,
        *,
        requests_max: int = REQUESTS_MAX,
        changes_max: int = CHANGES_MAX,
        changes_bytes_max: int = CHANGES_BYTES_MAX,
    ) -> None:
        """The bounds decide what commands do: they must be the same on every replica."""
        self._table = table
        self._replacing = Lock()
        self._requests_max = requests_max
        self._changes_max = changes_max
        self._changes_bytes_max = changes_bytes_max
        self._at = _Position()

    # -- what raftcore calls

    def open(self) -> Index:
        """Open the state; its applied index. :raises StorageError:"""
        self._table.open()
        self._read_position()
        return Index(self.applied)

    def apply(self, entries: Sequence[Entry]) -> list[list[bytes]]:
        """Apply entries in order; for each, one encoded `WriteResult` per command.

        :raises Stalled: the store takes nothing for now; none is applied.
        :raises BadMessage: the log is of a newer version: halt.
        """
        results = []
        for entry in entries:
            answers = []
            self._at.applied = entry.index
            if entry.kind == EntryKind.COMMANDS:
                answers = [
                    self._command(kv.decode(bytes(each), kv.Command)) for each in decode_group(entry.data)
                ]
            results.append(answers)
        self._table.put(b"p", _POSITION.pack(*astuple(self._at)))
        try:
            self._table.commit()
        except Stalled:
            self._read_position()
            raise
        return results

    def sync(self) -> Index:
        """Make the state durable; the applied index that is."""
        index = Index(self.applied)
        self._table.sync()
        return index

    def checkpoint(self, path: Path) -> Index:
        """Write a copy to the new directory ``path``; its applied index."""
        self._table.checkpoint(path)
        return Index(self.applied)

    def install(self, path: Path) -> Index:
        """Become the checkpoint at ``path``; its applied index. Runs beside the loop, where readers are."""
        with self._replacing:
            self._table.install(path)
            self._read_position()
        return Index(self.applied)

    def close(self) -> None:
        self._table.close()

    @property
    def applied(self) -> int:
        return self._at.applied

    @property
    def clock_us(self) -> int:
        """The newest stamp applied."""
        return self._at.clock_us

    # -- what readers call, within `reading`; the answers are of the applied index

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For a moment in which nothing is awaited. :raises Unavailable: the state is being replaced."""
        if not self._replacing.acquire(blocking=False):
            raise Unavailable("the state is being replaced by a snapshot")
        try:
            yield
        finally:
            self._replacing.release()

    def get(self, key: bytes) -> kv.Item | None:
        """The key as it is by the replicated clock."""
        row = self._table.get(b"k" + key)
        return None if row is None else self._living(key, row)

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> kv.Items:
        """Up to ``limit`` items of keys that begin with ``prefix`` and come after ``after``.

        Fewer, with ``more``, when they reach `ANSWER_BYTES_MAX`.
        """
        lo = b"k" + max(prefix, after + b"\0" if after else b"")
        items: list[kv.Item] = []
        size_bytes = 0
        for key, row in self._table.scan(lo, _behind(b"k" + prefix)):
            item = self._living(key[1:], row)
            if item is None:
                continue
            if len(items) == limit or size_bytes >= ANSWER_BYTES_MAX:
                return kv.Items(tuple(items), more=True)
            items.append(item)
            size_bytes += len(key) + len(row)
        return kv.Items(tuple(items))

    def next_expiry_us(self) -> int | None:
        """When the next key is or was to expire that is still to be removed."""
        row = next(self._table.scan(b"x", b"y"), None)
        return None if row is None else int(_NUMBER.unpack_from(row[0], 1)[0])

    def expiring(self, key: bytes) -> int:
        """When the key expires by the clock of leaders; 0 when it does not, or there is none."""
        row = self._table.get(b"k" + key)
        return 0 if row is None else int(_RECORD.unpack_from(row)[1])

    def address_of(self, name: str) -> str:
        """Where clients reach the member called ``name``; empty when it never led."""
        return (self._table.get(b"a" + name.encode()) or b"").decode()

    def changes(self, from_index: int, limit: int) -> kv.Changes | None:
        """Changes of whole entries from ``from_index`` on.

        They end with the entry in which they reach ``limit`` or `ANSWER_BYTES_MAX`.
        None when some of them are dropped: `first_index` tells where changes begin.
        """
        if from_index < self.first_index:
            return None
        kept = range(self._at.first_version, self._at.version + 1)
        lo = kept.start + bisect_left(kept, from_index, key=lambda version: self._change(version).index)
        found: list[kv.Change] = []
        size_bytes = 0
        for version in range(lo, kept.stop):
            change = self._change(version)
            is_full = len(found) >= limit or size_bytes >= ANSWER_BYTES_MAX
            if is_full and change.index != found[-1].index:
                return kv.Changes(found[-1].index, tuple(found))
            found.append(change)
            size_bytes += len(change.key) + len(change.value)
        return kv.Changes(max(self.applied, from_index - 1), tuple(found))

    @property
    def first_index(self) -> int:
        """The least index from which no change is dropped."""
        return self._at.dropped_index + 1

    # -- commands

    def _command(self, command: kv.Command) -> bytes:
        self._at.clock_us = max(self.clock_us, command.stamp_us)
        if not command.request_id:
            return encode(self._operate(command.operation))
        known = self._table.get(b"r" + command.request_id)
        if known is not None:
            return known
        result = encode(self._operate(command.operation))
        self._remember(command.request_id, result)
        return result

    def _operate(self, operation: kv.Operation) -> kv.WriteResult:
        match operation:
            case kv.Set(key, value, ttl_ms):
                return self._result(True, self._set(key, value, ttl_ms))
            case kv.CompareAndSet(key, value, expected_value, expected_version, ttl_ms):
                item = self.get(key)
                version = 0 if item is None else item.version
                if expected_version is not None:
                    equal = version == expected_version
                else:
                    equal = item is not None and item.value == expected_value
                return self._result(equal, self._set(key, value, ttl_ms) if equal else version)
            case kv.Delete(key):
                # An expired key is removed by the sweep alone, and was not there for whoever deletes it.
                existed = self.get(key) is not None
                if existed:
                    self._remove(key, "delete")
                return self._result(existed, 0)
            case kv.Sweep(limit):
                self._sweep(limit)
                return self._result(True, 0)
            case kv.Announce(name, address):
                self._table.put(b"a" + name.encode(), address.encode())
                return self._result(True, 0)
            case _:
                assert_never(operation)

    def _result(self, done: bool, version: int) -> kv.WriteResult:
        return kv.WriteResult(done, version, self.applied)

    def _set(self, key: bytes, value: bytes, ttl_ms: int) -> int:
        self._forget_expiry(key)
        expiry_us = min(self.clock_us + ttl_ms * 1000, (1 << 64) - 1) if ttl_ms else 0
        version = self._note("set", key, value)
        self._table.put(b"k" + key, _RECORD.pack(version, expiry_us) + value)
        if expiry_us:
            self._table.put(b"x" + _NUMBER.pack(expiry_us) + key, b"")
        return version

    def _remove(self, key: bytes, kind: str) -> None:
        self._forget_expiry(key)
        self._table.delete(b"k" + key)
        self._note(kind, key, b"")

    def _forget_expiry(self, key: bytes) -> None:
        expiry_us = self.expiring(key)
        if expiry_us:
            self._table.delete(b"x" + _NUMBER.pack(expiry_us) + key)

    def _sweep(self, limit: int) -> None:
        rows = self._table.scan(b"x", b"x" + _NUMBER.pack(min(self.clock_us + 1, (1 << 64) - 1)))
        expired = [key[1 + _NUMBER.size :] for (key, _), _ in zip(rows, range(limit), strict=False)]
        for key in expired:
            self._remove(key, "expire")

    def _living(self, key: bytes, row: bytes) -> kv.Item | None:
        version, expiry_us = _RECORD.unpack_from(row)
        if expiry_us and expiry_us <= self.clock_us:
            return None
        return kv.Item(key, row[_RECORD.size :], version)

    # -- what is remembered for a while

    def _remember(self, request_id: bytes, result: bytes) -> None:
        self._table.put(b"r" + request_id, result)
        self._table.put(b"q" + _NUMBER.pack(self._at.requests), request_id)
        self._at.requests += 1
        oldest = self._at.requests - 1 - self._requests_max
        if oldest >= 0:
            number = b"q" + _NUMBER.pack(oldest)
            dropped = self._table.get(number)
            self._table.delete(number)
            if dropped is not None:
                self._table.delete(b"r" + dropped)

    def _note(self, kind: str, key: bytes, value: bytes) -> int:
        """Remember a change, and drop the oldest; its version."""
        self._at.version += 1
        row = encode(kv.Change(self.applied, self._at.version, kind, key, value))
        self._table.put(b"c" + _NUMBER.pack(self._at.version), row)
        self._at.changes_bytes += len(row)
        while (
            self._at.version - self._at.first_version >= self._changes_max
            or self._at.changes_bytes > self._changes_bytes_max
        ) and self._at.first_version < self._at.version:
            number = b"c" + _NUMBER.pack(self._at.first_version)
            self._at.changes_bytes -= len(self._table.get(number) or b"")
            self._at.dropped_index = self._change(self._at.first_version).index
            self._table.delete(number)
            self._at.first_version += 1
        return self._at.version

    def _change(self, version: int) -> kv.Change:
        return kv.decode(self._table.get(b"c" + _NUMBER.pack(version)) or b"", kv.Change)

    def _read_position(self) -> None:
        row = self._table.get(b"p")
        self._at = _Position(*_POSITION.unpack(row)) if row else _Position()


def _behind(prefix: bytes) -> bytes:
    """The least key behind all that begin with ``prefix``, which does not begin with 0xff."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))
