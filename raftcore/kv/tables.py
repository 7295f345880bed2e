"""Where the state lies: an ordered map from bytes to bytes, in memory or in RocksDB.

What is put is read back at once, and kept by ``commit`` all or nothing. Ranges are half-open ``[lo, hi)``.
"""

from __future__ import annotations

import os
import shutil
import struct
from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from zlib import crc32

from raftcore.core.errors import Corrupt, require
from raftcore.storage.kv import Batch, Store

Row = tuple[bytes, bytes]


class Table(Protocol):
    """One writer; reads see what was put."""

    def open(self) -> None:
        """:raises StorageError: when the state cannot be read."""
        ...

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        """Rows in the order of their keys. Nothing may be put or deleted until it is done."""
        ...

    def commit(self) -> None:
        """Keep what was put and deleted since the last time; durable after `sync`."""
        ...

    def sync(self) -> None: ...

    def checkpoint(self, path: Path) -> None:
        """Write a copy to the new directory ``path``."""
        ...

    def install(self, path: Path) -> None:
        """Become the checkpoint at ``path``, of a table of either kind, durably; may take its files over.

        A crash leaves the old state or the new one.
        """
        ...

    def close(self) -> None: ...


class MemoryTable:
    """A dict and its sorted keys; durable as one file in ``directory``, written whole.

    The file is the count of its rows, the rows, and the crc32 of all before it, little-endian.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / _FILE
        self._rows = _read_rows(file) if file.exists() else {}
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
        for at in range(bisect_left(self._keys, lo), bisect_left(self._keys, hi)):
            key = self._keys[at]
            yield key, self._rows[key]

    def commit(self) -> None:
        pass

    def sync(self) -> None:
        _write_rows(self._directory, self._rows)

    def checkpoint(self, path: Path) -> None:
        path.mkdir()
        _write_rows(path, self._rows)

    def install(self, path: Path) -> None:
        self._rows = _checkpoint_rows(path)
        self._keys = sorted(self._rows)
        self.sync()

    def close(self) -> None:
        self._rows, self._keys = {}, []


class RocksTable:
    """A store without a write-ahead log: a crash leaves a prefix of the commits, and raft has the rest.

    It lies in ``store`` of its directory; while another is installed, the old one waits in ``former``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place = directory / "store"
        self._former = directory / "former"
        self._opened: Store | None = None
        self._changed: dict[bytes, bytes | None] = {}

    @property
    def _store(self) -> Store:
        require(self._opened is not None, "the table is open")
        assert self._opened is not None
        return self._opened

    def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._former.exists() and not self._place.exists():
            self._former.rename(self._place)
        self._opened = Store.open(self._place, wal=False)
        shutil.rmtree(self._former, ignore_errors=True)

    def get(self, key: bytes) -> bytes | None:
        if key in self._changed:
            return self._changed[key]
        return self._store.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._changed[key] = value

    def delete(self, key: bytes) -> None:
        self._changed[key] = None

    def scan(self, lo: bytes, hi: bytes) -> Iterator[Row]:
        stored = self._store.scan(lo, hi)
        try:
            # A batch cannot be read before it is written: its rows are merged in.
            changed = sorted(key for key in self._changed if lo <= key < hi)
            at = 0
            for key, value in stored:
                while at < len(changed) and changed[at] < key:
                    yield from self._present(changed[at])
                    at += 1
                if at < len(changed) and changed[at] == key:
                    yield from self._present(key)
                    at += 1
                else:
                    yield key, value
            for key in changed[at:]:
                yield from self._present(key)
        finally:
            stored.close()

    def _present(self, key: bytes) -> Iterator[Row]:
        value = self._changed[key]
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
        if (path / _FILE).exists():
            _make_store(path / "store", _read_rows(path / _FILE))
            path /= "store"
        self.close()
        self._place.rename(self._former)
        path.rename(self._place)
        _sync_directory(path.parent)
        _sync_directory(self._directory)
        self.open()

    def close(self) -> None:
        self._changed.clear()
        if self._opened is not None:
            self._opened.close()
            self._opened = None


_FILE = "rows"
_BATCH_BYTES_MAX = 4 << 20
_COUNT = struct.Struct("<Q")
_LENGTHS = struct.Struct("<II")
_CRC = struct.Struct("<I")


def _write_rows(directory: Path, rows: dict[bytes, bytes]) -> None:
    new = directory / f"{_FILE}.new"
    with new.open("wb") as file:
        crc = 0
        for part in _parts(rows):
            crc = crc32(part, crc)
            file.write(part)
        file.write(_CRC.pack(crc))
        file.flush()
        os.fsync(file.fileno())
    new.replace(directory / _FILE)
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(rows: dict[bytes, bytes]) -> Iterator[bytes]:
    yield _COUNT.pack(len(rows))
    for key, value in rows.items():
        yield _LENGTHS.pack(len(key), len(value)) + key + value


def _read_rows(path: Path) -> dict[bytes, bytes]:
    """:raises Corrupt: when the file is not what was written."""
    data = path.read_bytes()
    body = memoryview(data)[: -_CRC.size]
    if len(data) < _COUNT.size + _CRC.size or _CRC.pack(crc32(body)) != data[-_CRC.size :]:
        raise Corrupt(f"{path} fails its checksum")
    rows = {}
    at = _COUNT.size
    for _ in range(*_COUNT.unpack_from(data)):
        key_length, value_length = _LENGTHS.unpack_from(data, at)
        middle = at + _LENGTHS.size + key_length
        rows[data[at + _LENGTHS.size : middle]] = data[middle : middle + value_length]
        at = middle + value_length
    return rows


def _checkpoint_rows(path: Path) -> dict[bytes, bytes]:
    """The rows of a checkpoint of either kind."""
    if (path / _FILE).exists():
        return _read_rows(path / _FILE)
    store = Store.open(path, wal=False, read_only=True)
    try:
        return dict(store.scan(b"", b"\xff"))
    finally:
        store.close()


def _make_store(path: Path, rows: dict[bytes, bytes]) -> None:
    """Write a store of ``rows`` to ``path``, durably; what a crash left there is lost."""
    shutil.rmtree(path, ignore_errors=True)
    store = Store.open(path, wal=False)
    try:
        batch = Batch()
        for key, value in rows.items():
            batch.put(key, value)
            if batch.size_bytes >= _BATCH_BYTES_MAX:
                store.write(batch)
                batch = Batch()
        store.write(batch)
        store.flush()
    finally:
        store.close()
