"""The replicated machine: the same log makes the same keys, versions and results on every replica.

Nothing here asks a clock or a random number. Time is the newest stamp that a leader put into a command: a key
whose time is over by that clock is gone for every reader and every later command, wherever it still lies;
`Sweep` removes such keys, some at a time.

Rows of the table, by their first byte::

    k key                 an `Item`
    x expiry key          nothing: keys in the order in which they expire
    c version             a `Change`: what watches read; the oldest are dropped
    r request id          the `WriteResult` of a write
    q number              request ids in the order in which they came; the oldest are dropped
    p                     the `Position`
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import islice

from raftcore.application import Index, RocksTable, TableMachine
from raftcore.kv._pb import kv_pb2 as pb

ANSWER_BYTES_MAX = 8 << 20
"""How many bytes of keys and values one answer holds, to one item or entry."""
_LATEST_US = (1 << 64) - 1


@dataclass(frozen=True)
class Bounds:
    """How much is remembered. It decides what commands do: it must be the same on every replica."""

    requests: int = 100_000
    """A write is recognised as a retry while fewer writes than this came between."""
    changes: int = 100_000
    changes_bytes: int = 64 << 20
    """How far back a watch can begin: so many changes, and no more bytes."""


class KvMachine(TableMachine):
    """Keys in a table; reads are of the applied index."""

    def __init__(self, table: RocksTable, bounds: Bounds = Bounds()) -> None:
        super().__init__(table)
        self._bounds = bounds
        self._at = pb.Position()

    # -- what raftcore calls

    def load(self) -> Index:
        self._at = pb.Position.FromString(self.table.get(b"p") or b"")
        return Index(self._at.applied)

    def save(self) -> None:
        self._at.applied = self.applied
        self.table.put(b"p", self._at.SerializeToString())

    def command(self, data: bytes) -> bytes:
        """An encoded `Command`'s encoded `WriteResult`. :raises DecodeError: the log is damaged: halt."""
        command = pb.Command.FromString(data)
        self._at.clock_us = max(self._at.clock_us, command.stamp_us)
        if not command.request_id:
            return self._operate(command).SerializeToString()
        result = self.table.get(b"r" + command.request_id)
        if result is None:
            result = self._operate(command).SerializeToString()
            self._remember(command.request_id, result)
        return result

    # -- what readers call

    @property
    def clock_us(self) -> int:
        """The newest stamp applied."""
        return self._at.clock_us

    @property
    def first_index(self) -> int:
        """The least index from which no change is dropped."""
        return self._at.dropped_index + 1

    def get(self, key: bytes) -> pb.Item | None:
        """The key as it is by the replicated clock."""
        item = self._stored(key)
        return item if item is not None and self._is_alive(item) else None

    def scan(self, prefix: bytes, limit: int, after: bytes = b"") -> pb.Items:
        """Up to ``limit`` items of keys that begin with ``prefix`` and come after ``after``.

        Fewer, with ``more``, when they reach `ANSWER_BYTES_MAX`.
        """
        lo = b"k" + max(prefix, after + b"\0" if after else b"")
        found = pb.Items()
        size_bytes = 0
        for _, row in self.table.scan(lo, _behind(b"k" + prefix)):
            item = pb.Item.FromString(row)
            if not self._is_alive(item):
                continue
            if len(found.items) == limit or size_bytes >= ANSWER_BYTES_MAX:
                found.more = True
                break
            found.items.append(item)
            size_bytes += len(row)
        return found

    def changes(self, from_index: int, limit: int) -> pb.Changes | None:
        """Changes of whole entries from ``from_index`` on.

        They end with the entry in which they reach ``limit`` or `ANSWER_BYTES_MAX`.
        None when some of them are dropped: `first_index` tells where changes begin.
        """
        if from_index < self.first_index:
            return None
        kept = range(self._at.dropped_version + 1, self._at.version + 1)
        lo = kept.start + bisect_left(kept, from_index, key=lambda version: self._change(version).index)
        found = pb.Changes(index=max(self.applied, from_index - 1))
        size_bytes = 0
        for version in range(lo, kept.stop):
            change = self._change(version)
            is_full = len(found.changes) >= limit or size_bytes >= ANSWER_BYTES_MAX
            if is_full and change.index != found.changes[-1].index:
                found.index = found.changes[-1].index
                break
            found.changes.append(change)
            size_bytes += len(change.key) + len(change.value)
        return found

    def next_expiry_us(self) -> int | None:
        """When the next key is or was to expire that is still to be removed."""
        row = next(self.table.scan(b"x", b"y"), None)
        return None if row is None else int.from_bytes(row[0][1:9], "big")

    # -- commands

    def _operate(self, command: pb.Command) -> pb.WriteResult:
        done, version = True, 0
        match command.WhichOneof("operation"):
            case "set":
                done, version = self._set(command.set)
            case "delete":
                # An expired key is removed by the sweep alone, and was not there for whoever deletes it.
                item = self.get(command.delete.key)
                done = item is not None
                if item is not None:
                    self._remove(item, "delete")
            case "sweep":
                expired = self.table.scan(b"x", _numbered(b"x", min(self.clock_us + 1, _LATEST_US)))
                for key, _ in list(islice(expired, command.sweep.limit)):
                    self._remove(pb.Item(key=key[9:], expiry_us=int.from_bytes(key[1:9], "big")), "expire")
            case unknown:
                raise ValueError(f"the log is of a newer version: {unknown}")
        return pb.WriteResult(done=done, version=version, index=self.applied)

    def _set(self, wanted: pb.Set) -> tuple[bool, int]:
        former = self._stored(wanted.key)
        living = former if former is not None and self._is_alive(former) else None
        version = 0 if living is None else living.version
        if wanted.HasField("expected_version") and version != wanted.expected_version:
            return False, version
        if wanted.HasField("expected_value") and (living is None or living.value != wanted.expected_value):
            return False, version
        self._forget_expiry(former)
        item = pb.Item(
            key=wanted.key, value=wanted.value, version=self._note("set", wanted.key, wanted.value)
        )
        if wanted.ttl_ms:
            item.expiry_us = min(self.clock_us + wanted.ttl_ms * 1000, _LATEST_US)
            self.table.put(_numbered(b"x", item.expiry_us) + item.key, b"")
        self.table.put(b"k" + item.key, item.SerializeToString())
        return True, item.version

    def _remove(self, item: pb.Item, kind: str) -> None:
        self._forget_expiry(item)
        self.table.delete(b"k" + item.key)
        self._note(kind, item.key, b"")

    def _forget_expiry(self, item: pb.Item | None) -> None:
        if item is not None and item.expiry_us:
            self.table.delete(_numbered(b"x", item.expiry_us) + item.key)

    def _stored(self, key: bytes) -> pb.Item | None:
        """The key, expired or not."""
        row = self.table.get(b"k" + key)
        return None if row is None else pb.Item.FromString(row)

    def _is_alive(self, item: pb.Item) -> bool:
        return not item.expiry_us or item.expiry_us > self._at.clock_us

    # -- what is remembered for a while

    def _remember(self, request_id: bytes, result: bytes) -> None:
        at, table = self._at, self.table
        table.put(b"r" + request_id, result)
        table.put(_numbered(b"q", at.requests), request_id)
        at.requests += 1
        if at.requests > self._bounds.requests:
            oldest = _numbered(b"q", at.requests - 1 - self._bounds.requests)
            table.delete(b"r" + (table.get(oldest) or b""))
            table.delete(oldest)

    def _note(self, kind: str, key: bytes, value: bytes) -> int:
        """Remember a change, and drop the oldest; its version."""
        at = self._at
        at.version += 1
        change = pb.Change(index=self.applied, version=at.version, kind=kind, key=key, value=value)
        row = change.SerializeToString()
        self.table.put(_numbered(b"c", at.version), row)
        at.changes_bytes += len(row)
        while (kept := at.version - at.dropped_version) > 1 and (
            kept > self._bounds.changes or at.changes_bytes > self._bounds.changes_bytes
        ):
            at.dropped_version += 1
            oldest = self._change(at.dropped_version)
            at.dropped_index = oldest.index
            at.changes_bytes -= oldest.ByteSize()
            self.table.delete(_numbered(b"c", at.dropped_version))
        return at.version

    def _change(self, version: int) -> pb.Change:
        return pb.Change.FromString(self.table.get(_numbered(b"c", version)) or b"")


def _numbered(kind: bytes, number: int) -> bytes:
    """A row's key, in the order of the numbers."""
    return kind + number.to_bytes(8, "big")


def _behind(prefix: bytes) -> bytes:
    """The least key behind all that begin with ``prefix``, which does not begin with 0xff."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))
