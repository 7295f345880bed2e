"""An ordered key-value store on disk: the one module that sees RocksDB's binding and its untyped errors.

The binding holds the GIL in everything but `flush`, `sync_wal` and `close`; those belong in a thread.
One column family only: without a write-ahead log a flush of several families parts them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DbClosedError,
    DBCompactionStyle,
    DBCompressionType,
    DBRecoveryMode,
    Env,
    Options,
    Rdict,
    ReadOptions,
    UniversalCompactOptions,
    WriteBatch,
    WriteOptions,
)

from raftcore.core.errors import Corrupt, DiskFull, Stalled, StorageError

Item = tuple[bytes, bytes]

_LOCK_PAUSE_S = 0.01
_RUNS = 8
"""From how many sorted runs on some are merged."""
_RUNS_SLOW, _RUNS_MAX = 40, 56
"""From how many on writes are refused as stalled: more than RocksDB's 20, which one long merge brings."""
_RUN_SIZE_RATIO_PERCENT = 20
"""How much larger than all newer ones together a run may be to be merged with them."""
_GARBAGE_PERCENT_MAX = 100
"""Of the oldest run: when all newer ones together are larger, all are merged and what was deleted goes."""


@dataclass(slots=True, frozen=True)
class StoreOptions:
    """Memory and layout of one store; no option touches safety."""

    write_buffer_bytes: int = 16 << 20
    """Small: to insert into 64 MiB costs half as much again, and its memory is touched for the first time."""
    write_buffers: int = 16
    block_cache_bytes: int = 64 << 20
    block_bytes: int = 16 << 10
    compressed: bool = True
    auto_compaction: bool = True
    """False for data that is written in order and deleted in order: merging it by itself is wasted work."""
    wal_bytes_max: int = 512 << 20
    info_log_bytes_max: int = 4 << 20


class Batch:
    """Changes that `Store.write` makes atomically, in the order in which they were put here.

    Good for one write. ``put(key, value)``, ``delete(key)`` and ``delete_range(lo, hi)`` are the binding's
    own bound methods, because they are called for every row.
    """

    __slots__ = ("_batch", "delete", "delete_range", "put")

    put: Callable[[bytes, bytes], None]
    delete: Callable[[bytes], None]
    delete_range: Callable[[bytes, bytes], None]

    def __init__(self) -> None:
        batch = WriteBatch(raw_mode=True)
        self._batch = batch
        self.put = batch.put
        self.delete = batch.delete
        self.delete_range = batch.delete_range

    def __len__(self) -> int:
        return int(self._batch.len())

    @property
    def size_bytes(self) -> int:
        return int(self._batch.size_in_bytes())


class Scan(Iterator[Item]):
    """Items of a key range, as of the moment when the scan was opened.

    Owns the iterator *and* its read options: the binding lets options die first, and the iterator then
    reads freed bounds and ends early without a word. ``iter(scan)`` is the fast way to walk it.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Generator[Item, None, None]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Item]:
        return self._rows

    def __next__(self) -> Item:
        return next(self._rows)

    def close(self) -> None:
        """Let go of the files and memory that the scan pins."""
        self._rows.close()


class Keys(Iterator[bytes]):
    """Keys of a range; otherwise as `Scan`."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Generator[bytes, None, None]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[bytes]:
        return self._rows

    def __next__(self) -> bytes:
        return next(self._rows)

    def close(self) -> None:
        """Let go of the files and memory that the walk pins."""
        self._rows.close()


class View:
    """Point reads of one store at one moment, whatever is written meanwhile.

    No scans: the iterators of rocksdict 0.3.29's snapshots see later writes. A `Scan` that was opened at the
    same moment, without a write between, is as consistent.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Any) -> None:
        self._source = source

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None. :raises StorageError: when it cannot be read."""
        try:
            value: bytes | None = self._source[key]
        except Exception as error:
            if "key not found" in str(error):
                return None
            raise storage_error(error) from error
        return value


class Store:
    """One RocksDB directory. Every method maps the binding's errors to `StorageError` and its kin."""

    __slots__ = ("_database", "_get", "_write_options", "path")

    def __init__(self, database: Any, path: Path, *, wal: bool) -> None:
        self._database = database
        self._get = database.get
        self.path = path
        self._write_options = WriteOptions()
        # A stalled write would sleep inside RocksDB with the GIL held, and heartbeats with it.
        self._write_options.no_slowdown = True
        # What one batch writes lies close together: a fifth of the cost of the memory table is saved.
        self._write_options.memtable_insert_hint_per_batch = True
        # The binding's stubs call this a method; it is a property.
        self._write_options.disable_wal = not wal  # type: ignore[method-assign,assignment,unused-ignore]

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        wal: bool,
        read_only: bool = False,
        options: StoreOptions | None = None,
        patience_s: float = 0.0,
    ) -> Store:
        """Open the store at ``path``, made when missing unless ``read_only``.

        Without ``wal`` a crash leaves a prefix of the writes, as far as the last `flush`. A `Scan` holds a
        closed store's lock until its next step fails; ``patience_s`` is how long a thread waits for that.

        :raises Corrupt: when its log is damaged anywhere but at a torn tail.
        :raises StorageError: when it cannot be opened, or is open elsewhere.
        """
        path = Path(path)
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        deadline_s = time.monotonic() + patience_s
        while True:
            opened = _open_options(options or StoreOptions(), create=not read_only)
            try:
                # Unless told per family, what exists is opened as it was before, and with a cache of 8 MiB.
                families = {"default": opened}
                return cls(Rdict(str(path), opened, families, access), path, wal=wal)
            except Exception as error:
                if "lock hold by current process" not in str(error) or time.monotonic() >= deadline_s:
                    raise storage_error(error, opening=_damaged_file(path, error)) from error
            time.sleep(_LOCK_PAUSE_S)

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""
        try:
            value: bytes | None = self._get(key)
        except Exception as error:
            raise storage_error(error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys``, in their order."""
        try:
            values: list[bytes | None] = self._get(list(keys))
        except Exception as error:
            raise storage_error(error) from error
        return values

    def write(self, batch: Batch) -> None:
        """Make the batch's changes, all or none; durable after `sync_wal` (or `flush` without a log).

        :raises Stalled: nothing was written.
        """
        try:
            self._database.write(batch._batch, self._write_options)
        except Exception as error:
            raise storage_error(error) from error

    def sync_wal(self) -> None:
        """fsync the write-ahead log: every write that ended before is durable. Releases the GIL.

        :raises StorageError: never call again: a second fsync may report success for lost pages.
        """
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise storage_error(error) from error

    def flush(self) -> None:
        """Write everything in memory to files and fsync them. Releases the GIL."""
        try:
            self._database.flush()
        except Exception as error:
            raise storage_error(error) from error

    def compact(self, lo: bytes, hi: bytes) -> None:
        """Give back the space of what was deleted in ``[lo, hi)``. Takes long; releases the GIL."""
        try:
            self._database.compact_range(lo, hi)
        except Exception as error:
            raise storage_error(error) from error

    def checkpoint(self, path: Path | str) -> None:
        """Make ``path``, which must not exist, a copy by hard links; flushes first, without the GIL."""
        self.flush()
        try:
            Checkpoint(self._database).create_checkpoint(str(path))
        except Exception as error:
            raise storage_error(error) from error

    def snapshot(self) -> View:
        """Point reads as of now."""
        try:
            return View(self._database.snapshot())
        except Exception as error:
            raise storage_error(error) from error

    def scan(self, lo: bytes, hi: bytes, *, backwards: bool = False) -> Scan:
        """Items with ``lo <= key < hi``. :raises StorageError: also at the end, when it came too early."""
        return Scan(_items(self._database, lo, hi, backwards))

    def keys(self, lo: bytes, hi: bytes, *, backwards: bool = False) -> Keys:
        """As `scan`, keys only."""
        return Keys(_keys(self._database, lo, hi, backwards))

    def property_int(self, name: str) -> int | None:
        """One of RocksDB's integer properties ("rocksdb.estimate-num-keys"), None when it has none such."""
        try:
            value: int | None = self._database.property_int_value(name)
        except Exception as error:
            raise storage_error(error) from error
        return value

    def close(self) -> None:
        """Flush and close; closing again does nothing."""
        try:
            self._database.close()
        except DbClosedError:
            return
        except Exception as error:
            raise storage_error(error) from error


def storage_error(error: Exception, *, opening: Path | None = None) -> StorageError:
    """The typed form of one of the binding's bare exceptions, told apart by RocksDB's status text."""
    text = str(error) if opening is None else f"{opening}: {error}"
    if "No space left" in text or "Space limit" in text:
        return DiskFull(text)
    if "Write stall" in text:
        return Stalled(text)
    if "Corruption" in text or "checksum mismatch" in text:
        return Corrupt(text)
    return StorageError(f"{type(error).__name__}: {text}")


def _damaged_file(path: Path, error: Exception) -> Path:
    """The log file that could not be replayed, which RocksDB names in its own log only; else ``path``."""
    if "Corruption" not in str(error):
        return path
    try:
        said = (path / "LOG").read_text(errors="replace")
    except OSError:
        return path
    named: list[str] = re.findall(r"/([0-9]+\.log): dropping ", said)
    return path / named[-1] if named else path


def _items(source: Any, lo: bytes, hi: bytes, backwards: bool) -> Generator[Item, None, None]:
    options = _up_to(hi)
    try:
        rows = source.items(backwards=backwards, from_key=None if backwards else lo, read_opt=options)
    except Exception as error:
        raise storage_error(error) from error
    return _walk_items(rows, options, source, lo, hi, backwards=backwards)


def _walk_items(
    rows: Iterator[Item], options: Any, source: Any, lo: bytes, hi: bytes, *, backwards: bool
) -> Generator[Item, None, None]:
    last: bytes | None = None
    try:
        for item in rows:
            last = item[0]
            if backwards and last < lo:
                return
            yield item
        _require_end(source, lo, hi, last, backwards)
    finally:
        # Named here so that the options outlive the rows.
        del rows, options


def _keys(source: Any, lo: bytes, hi: bytes, backwards: bool) -> Generator[bytes, None, None]:
    options = _up_to(hi)
    try:
        rows = source.keys(backwards=backwards, from_key=None if backwards else lo, read_opt=options)
    except Exception as error:
        raise storage_error(error) from error
    return _walk_keys(rows, options, source, lo, hi, backwards=backwards)


def _walk_keys(
    rows: Iterator[bytes], options: Any, source: Any, lo: bytes, hi: bytes, *, backwards: bool
) -> Generator[bytes, None, None]:
    key: bytes | None = None
    try:
        for key in rows:
            if backwards and key < lo:
                return
            yield key
        _require_end(source, lo, hi, key, backwards)
    finally:
        del rows, options


def _require_end(source: Any, lo: bytes, hi: bytes, last: bytes | None, backwards: bool) -> None:
    """Ask RocksDB why the walk ended: the binding's iterators stop at a damaged block as at an end.

    They never raise themselves.
    """
    options = _up_to(last if backwards and last is not None else hi)
    try:
        probe = source.iter(options)
        if backwards:
            probe.seek_to_last()
        else:
            probe.seek(lo if last is None else last + b"\0")
        if not probe.valid():
            probe.status()
    except Exception as error:
        raise storage_error(error) from error
    finally:
        del options


def _up_to(hi: bytes) -> Any:
    """Options of a walk that ends below ``hi``.

    Only upper bounds: ``set_iterate_lower_bound`` of rocksdict 0.3.29 sets the upper bound instead.
    """
    options = ReadOptions()
    options.set_iterate_upper_bound(hi)
    return options


def _open_options(options: StoreOptions, *, create: bool) -> Any:
    table = BlockBasedOptions()
    table.set_block_cache(Cache(options.block_cache_bytes))
    table.set_block_size(options.block_bytes)
    table.set_bloom_filter(10, False)
    opened = Options(raw_mode=True)
    opened.create_if_missing(create)
    # The default, point-in-time, silently drops the synced writes behind a damaged byte inside the log.
    opened.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    opened.set_paranoid_checks(True)
    opened.set_block_based_table_factory(table)
    opened.set_compression_type(DBCompressionType.lz4() if options.compressed else DBCompressionType.none())
    opened.set_write_buffer_size(options.write_buffer_bytes)
    opened.set_max_write_buffer_number(options.write_buffers)
    # One thread writes.
    opened.set_allow_concurrent_memtable_write(False)
    if options.auto_compaction:
        _merge_by_size(opened)
    else:
        opened.set_disable_auto_compactions(True)
        opened.set_max_background_jobs(2)
    opened.set_max_total_wal_size(options.wal_bytes_max)
    opened.set_max_log_file_size(options.info_log_bytes_max)
    opened.set_keep_log_file_num(2)
    return opened


def _merge_by_size(opened: Any) -> None:
    """Merge files with files of about their size, so that what a write costs does not grow with the store.

    Keys of several kinds lie in every file, so all overlap: merged level by level, each handful of new files,
    however small, would rewrite a whole level. RocksDB wiki: Universal Compaction.
    """
    by_size = UniversalCompactOptions()
    by_size.size_ratio = _RUN_SIZE_RATIO_PERCENT
    by_size.max_size_amplification_percent = _GARBAGE_PERCENT_MAX
    opened.set_compaction_style(DBCompactionStyle.universal())
    opened.set_universal_compaction_options(by_size)
    opened.set_level_zero_file_num_compaction_trigger(_RUNS)
    opened.set_level_zero_slowdown_writes_trigger(_RUNS_SLOW)
    opened.set_level_zero_stop_writes_trigger(_RUNS_MAX)
    # A flush, and a second merge while many runs wait; merges of everything have a thread of their own.
    opened.set_max_background_jobs(3)
    environment = Env()
    environment.set_bottom_priority_background_threads(1)
    opened.set_env(environment)
