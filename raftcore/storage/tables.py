"""Where the state lies: an ordered map from bytes to bytes, in memory or in RocksDB.

What is put is read back at once, and kept by `commit` all or nothing. Ranges are half-open ``[lo, hi)``. The
store has no log of its own: a crash leaves a prefix of the commits, and raft has the rest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import closing
from heapq import merge
from pathlib import Path

from raftcore.storage.directory import replace_directory, settle_directory
from raftcore.storage.kv import Batch, Store

Row = tuple[bytes, bytes]


class RocksTable:
    """Rows in a store below ``directory``, and on top of them what is not committed yet."""

    _store: Store

    def __init__(self, directory: Path) -> None:
        self._place = directory / "store"
        self._changed: dict[bytes, bytes | None] = {}

    def open(self) -> None:
        """:raises StorageError: when the state cannot be read."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        settle_directory(self._place)
        self._store = Store.open(self._place, wal=False)

    def get(self, key: bytes) -> bytes | None:
        return self._changed[key] if key in self._changed else self._store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._changed[key] = value

    def delete(self, key: bytes) -> None:
        self._changed[key] = None

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        """Rows in the order of their keys. Nothing may be put or deleted until it is done."""
        # A batch cannot be read before it is written: its rows are merged in.
        changed = sorted((key, value) for key, value in self._changed.items() if lo <= key < hi)
        with closing(self._store.scan(lo, hi)) as stored:
            for key, value in merge(changed, (row for row in stored if row[0] not in self._changed)):
                if value is not None:
                    yield key, value

    def commit(self) -> None:
        """Keep what was put and deleted since the last time; durable after `sync`.

        :raises Stalled: the store takes nothing for now; what was put and deleted is forgotten.
        """
        try:
            self._write()
        finally:
            self._changed.clear()

    def sync(self) -> None:
        self._store.flush()

    def _write(self) -> None:
        batch = Batch()
        for key, value in self._changed.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._store.write(batch)

    def checkpoint(self, path: Path) -> None:
        """Write a copy of what is durable to the new directory ``path``."""
        self._store.checkpoint(path)

    def install(self, path: Path) -> None:
        """Become the checkpoint at ``path``, whose files go. A crash leaves the old state or the new."""
        self.close()
        replace_directory(path, self._place)
        self.open()

    def close(self) -> None:
        self._changed.clear()
        self._store.close()


class MemoryTable(RocksTable):
    """All rows in a dict with sorted keys; the store is given them when it must be durable."""

    def open(self) -> None:
        super().open()
        self._rows = dict(self._store.scan(b"", b"\xff"))
        self._keys = sorted(self._rows)

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = value
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        if self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
            super().delete(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        for at in range(bisect_left(self._keys, lo), bisect_left(self._keys, hi)):
            yield self._keys[at], self._rows[self._keys[at]]

    def commit(self) -> None:
        """Nothing: the rows are kept, and durable after `sync`."""

    def sync(self) -> None:
        """:raises Stalled: the store takes nothing for now; the rows are kept for the next time."""
        self._write()
        self._changed.clear()
        super().sync()
