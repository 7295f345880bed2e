"""Where the state lies: an ordered map from bytes to bytes, in memory or in RocksDB.

What is put is read back at once, and kept by ``commit`` all or nothing. Ranges are half-open ``[lo, hi)``. On
the disk both are a store, so that a checkpoint of one can be installed in the other.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import closing
from heapq import merge
from pathlib import Path

from raftcore.core.errors import require
from raftcore.storage.directory import replace_directory, settle_directory, sync_tree
from raftcore.storage.kv import Batch, Store

Row = tuple[bytes, bytes]

_BATCH_BYTES_MAX = 4 << 20


class MemoryTable:
    """A dict and its sorted keys. ``sync`` writes all of it: for states that are small."""

    def __init__(self, directory: Path) -> None:
        self._place = directory / "store"
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def open(self) -> None:
        """:raises StorageError: when the state cannot be read."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        settle_directory(self._place)
        self._rows = _rows(self._place) if self._place.exists() else {}
        self._keys = sorted(self._rows)

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self._rows:
            insort(self._keys, key)
        self._rows[key] = value

    def delete(self, key: bytes) -> None:
        if self._rows.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        """Rows in the order of their keys. Nothing may be put or deleted until it is done."""
        for at in range(bisect_left(self._keys, lo), bisect_left(self._keys, hi)):
            key = self._keys[at]
            yield key, self._rows[key]

    def commit(self) -> None:
        """Keep what was put and deleted since the last time; durable after `sync`."""

    def sync(self) -> None:
        new = self._place.with_name("new")
        shutil.rmtree(new, ignore_errors=True)
        self.checkpoint(new)
        replace_directory(new, self._place)

    def checkpoint(self, path: Path) -> None:
        """Write a copy to the new directory ``path``."""
        with closing(Store.open(path, wal=False)) as store:
            batch = Batch()
            for key in self._keys:
                batch.put(key, self._rows[key])
                if batch.size_bytes >= _BATCH_BYTES_MAX:
                    store.write(batch)
                    batch = Batch()
            store.write(batch)
            store.flush()
        sync_tree(path)

    def install(self, path: Path) -> None:
        """Become the checkpoint at ``path``, whose files go. A crash leaves the old state or the new."""
        replace_directory(path, self._place)
        self.open()

    def close(self) -> None:
        self._rows, self._keys = {}, []


class RocksTable:
    """The same in a store without a log: a crash leaves a prefix of the commits, and raft has the rest."""

    def __init__(self, directory: Path) -> None:
        self._place = directory / "store"
        self._opened: Store | None = None
        self._changed: dict[bytes, bytes | None] = {}

    @property
    def _store(self) -> Store:
        require(self._opened is not None, "the table is open")
        assert self._opened is not None
        return self._opened

    def open(self) -> None:
        self._place.parent.mkdir(parents=True, exist_ok=True)
        settle_directory(self._place)
        self._opened = Store.open(self._place, wal=False)

    def get(self, key: bytes) -> bytes | None:
        return self._changed[key] if key in self._changed else self._store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._changed[key] = value

    def delete(self, key: bytes) -> None:
        self._changed[key] = None

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        # A batch cannot be read before it is written: its rows are merged in.
        changed = sorted((key, value) for key, value in self._changed.items() if lo <= key < hi)
        with closing(self._store.scan(lo, hi)) as stored:
            kept = (row for row in stored if row[0] not in self._changed)
            for key, value in merge(changed, kept):
                if value is not None:
                    yield key, value

    def commit(self) -> None:
        batch = Batch()
        for key, value in self._changed.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._changed.clear()
        self._store.write(batch)

    def sync(self) -> None:
        self._store.flush()

    def checkpoint(self, path: Path) -> None:
        self._store.checkpoint(path)

    def install(self, path: Path) -> None:
        self.close()
        replace_directory(path, self._place)
        self.open()

    def close(self) -> None:
        self._changed.clear()
        if self._opened is not None:
            self._opened.close()
            self._opened = None


Table = MemoryTable | RocksTable


def _rows(path: Path) -> dict[bytes, bytes]:
    with closing(Store.open(path, wal=False, read_only=True)) as store:
        return dict(store.scan(b"", b"\xff"))
