"""The typed store: ranges, batches, snapshots, and errors that never pass for an end of data."""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from raftcore.core.errors import Corrupt, DiskFull, Stalled, StorageError
from raftcore.storage.kv import Batch, Store, StoreOptions, storage_error


@pytest.fixture
def store(tmp_path: Path):
    store = Store.open(tmp_path / "store", wal=True)
    yield store
    store.close()


def put(store: Store, *keys: bytes) -> None:
    batch = Batch()
    for key in keys:
        batch.put(key, b"value of " + key)
    store.write(batch)


def test_a_batch_is_applied_in_its_order(store: Store) -> None:
    put(store, b"a", b"b", b"c", b"d")
    batch = Batch()
    batch.delete_range(b"a", b"c")
    batch.put(b"b", b"again")
    batch.delete(b"d")
    assert len(batch) == 3
    assert batch.size_bytes > 0
    store.write(batch)
    assert list(store.scan(b"", b"z")) == [(b"b", b"again"), (b"c", b"value of c")]
    assert store.get(b"a") is None
    assert store.get_many([b"b", b"a"]) == [b"again", None]


def test_a_written_batch_cannot_be_written_again(store: Store) -> None:
    batch = Batch()
    batch.put(b"a", b"1")
    store.write(batch)
    with pytest.raises(StorageError):
        store.write(batch)


def test_scans_are_half_open_in_both_directions(store: Store) -> None:
    put(store, b"a", b"b", b"c", b"d")
    assert [key for key, _ in store.scan(b"b", b"d")] == [b"b", b"c"]
    assert [key for key, _ in store.scan(b"b", b"d", backwards=True)] == [b"c", b"b"]
    assert list(store.keys(b"b", b"d")) == [b"b", b"c"]
    assert list(store.keys(b"b", b"d", backwards=True)) == [b"c", b"b"]
    assert list(store.scan(b"x", b"y")) == []
    assert list(store.keys(b"x", b"y", backwards=True)) == []


def test_a_scan_can_be_taken_item_by_item_and_closed(store: Store) -> None:
    put(store, b"a", b"b", b"c")
    scan = store.scan(b"a", b"z")
    assert next(scan)[0] == b"a"
    assert [key for key, _ in scan] == [b"b", b"c"]
    keys = store.keys(b"a", b"z")
    assert next(keys) == b"a"
    keys.close()
    assert list(keys) == []


def test_a_snapshot_and_an_open_scan_do_not_see_later_writes(store: Store) -> None:
    put(store, b"a")
    view = store.snapshot()
    scan = store.scan(b"", b"z")
    put(store, b"b")
    assert view.get(b"a") == b"value of a"
    assert view.get(b"b") is None
    assert list(scan) == [(b"a", b"value of a")]


def test_long_scans_see_every_row_while_memory_is_allocated(store: Store) -> None:
    rows = 100_000
    batch = Batch()
    for number in range(rows):
        batch.put(b"%08d" % number, b"x" * 40)
    store.write(batch)
    store.flush()
    held = []
    seen = 0
    for key, _ in store.scan(b"0", b"9"):
        seen += 1
        if seen % 100 == 0:
            held.append(bytearray(len(key) + seen % 64))
            if seen % 10_000 == 0:
                held.clear()
                gc.collect()
    assert seen == rows
    assert sum(1 for _ in store.keys(b"0", b"9", backwards=True)) == rows


@pytest.mark.parametrize("backwards", [False, True])
def test_a_damaged_block_is_an_error_and_not_the_end_of_a_scan(tmp_path: Path, backwards: bool) -> None:
    path = tmp_path / "damaged"
    store = Store.open(path, wal=False)
    batch = Batch()
    for number in range(20_000):
        batch.put(b"%08d" % number, os.urandom(50))
    store.write(batch)
    store.flush()
    store.close()
    (table,) = path.glob("*.sst")
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 2)
        file.write(b"\xff" * 64)
    store = Store.open(path, wal=False)
    with pytest.raises(Corrupt):
        list(store.scan(b"0", b"9", backwards=backwards))
    with pytest.raises(Corrupt):
        list(store.keys(b"0", b"9", backwards=backwards))
    store.close()


def test_a_checkpoint_opens_read_only_and_read_write(store: Store, tmp_path: Path) -> None:
    put(store, b"a", b"b")
    store.checkpoint(tmp_path / "copy")
    put(store, b"c")
    copy = Store.open(tmp_path / "copy", wal=False, read_only=True)
    assert list(copy.keys(b"", b"z")) == [b"a", b"b"]
    copy.close()
    copy = Store.open(tmp_path / "copy", wal=False)
    put(copy, b"d")
    assert list(copy.keys(b"", b"z")) == [b"a", b"b", b"d"]
    copy.close()


def test_a_store_opens_once_and_not_where_nothing_is(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="LOCK"):
        Store.open(store.path, wal=True)
    with pytest.raises(StorageError):
        Store.open(tmp_path / "nothing", wal=False, read_only=True)


def test_a_store_is_reopened_with_the_options_given_and_not_those_it_was_made_with(tmp_path: Path) -> None:
    for block_cache_bytes in (48 << 20, 24 << 20):
        options = StoreOptions(block_cache_bytes=block_cache_bytes)
        store = Store.open(tmp_path / "store", wal=True, options=options)
        assert store.property_int("rocksdb.block-cache-capacity") == block_cache_bytes
        store.close()


def test_small_writes_all_over_the_keys_do_not_rewrite_what_is_stored(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path / "store", wal=False)) as store:
        batch = Batch()
        for number in range(40_000):
            batch.put(b"%08d" % number, os.urandom(100))
        store.write(batch)
        store.flush()
        (stored,) = (tmp_path / "store").glob("*.sst")
        for _ in range(40):
            put(store, b"%08d" % 0, b"%08d" % 20_000, b"%08d" % 39_999)
            store.flush()
            wait_for_merges(store)
        small = [path for path in (tmp_path / "store").glob("*.sst") if path != stored]
        assert stored.exists(), "no merge took it"
        assert len(small) < 10, "the others are merged with each other"
        assert store.get(b"%08d" % 20_000) == b"value of %08d" % 20_000


def test_deleted_rows_are_merged_away(tmp_path: Path) -> None:
    with closing(Store.open(tmp_path / "store", wal=False)) as store:
        for first in range(0, 40_000, 4_000):
            batch, deletion = Batch(), Batch()
            for number in range(first, first + 4_000):
                batch.put(b"%08d" % number, os.urandom(100))
                deletion.delete(b"%08d" % number)
            for changes in (batch, deletion):
                store.write(changes)
                store.flush()
                wait_for_merges(store)
        size = sum(path.stat().st_size for path in (tmp_path / "store").glob("*.sst"))
        assert size < 10 * 4_000 * 108 // 3


def wait_for_merges(store: Store) -> None:
    deadline_s = time.monotonic() + 20
    while any(map(store.property_int, ("rocksdb.compaction-pending", "rocksdb.num-running-compactions"))):
        assert time.monotonic() < deadline_s, "merges end"
        time.sleep(0.002)


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", wal=True, options=StoreOptions(compressed=False))
    store.close()
    store.close()
    with pytest.raises(StorageError):
        store.get(b"a")
    with pytest.raises(StorageError):
        store.sync_wal()
    with pytest.raises(StorageError):
        store.scan(b"a", b"b")


def _write_log(path: Path) -> Path:
    store = Store.open(path, wal=True)
    for number in range(8):
        put(store, b"key%d" % number + b"x" * 1000)
    store.sync_wal()
    copy = path.with_name("crashed")
    copy.mkdir()
    for file in path.iterdir():
        if file.name != "LOCK":
            (copy / file.name).write_bytes(file.read_bytes())
    store.close()
    return copy


def test_a_log_damaged_in_the_middle_refuses_to_open(tmp_path: Path) -> None:
    crashed = _write_log(tmp_path / "store")
    log = max(crashed.glob("*.log"), key=lambda file: file.stat().st_size)
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(Corrupt):
        Store.open(crashed, wal=True)


def test_a_torn_tail_of_the_log_is_cut_off(tmp_path: Path) -> None:
    crashed = _write_log(tmp_path / "store")
    log = max(crashed.glob("*.log"), key=lambda file: file.stat().st_size)
    log.write_bytes(log.read_bytes()[:-100])
    store = Store.open(crashed, wal=True)
    assert sum(1 for _ in store.keys(b"key", b"kez")) == 7
    store.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("IO error: No space left on device: While appending to file", DiskFull),
        ("Result incomplete: Write stall", Stalled),
        ("Corruption: block checksum mismatch", Corrupt),
        ("IO error: Input/output error", StorageError),
    ],
)
def test_rocksdb_errors_become_typed(text: str, kind: type[StorageError]) -> None:
    assert type(storage_error(Exception(text))) is kind


def test_a_store_can_be_reopened_once_those_who_walk_its_former_self_have_noticed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", wal=False)
    batch = Batch()
    for number in range(1_000):
        batch.put(b"%d" % number, b"x")
    store.write(batch)
    scan = store.scan(b"0", b":")
    next(scan)
    store.close()
    with pytest.raises(StorageError, match="lock"):
        Store.open(tmp_path / "store", wal=False)
    with ThreadPoolExecutor(1) as thread:
        opening = thread.submit(Store.open, tmp_path / "store", wal=False, patience_s=30)
        with pytest.raises(StorageError, match="closed"):
            list(scan)
        scan.close()
        del scan
        opened = opening.result(30)
    assert opened.get(b"7") == b"x"
    opened.close()
