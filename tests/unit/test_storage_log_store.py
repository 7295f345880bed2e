"""The RocksDB log store: conformance, damage, and what is left after kill -9."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from raftcore.core.errors import Corrupt, DiskFull, InvariantViolation, StorageError
from raftcore.core.types import HardState, Index, NodeId, ShardId
from raftcore.storage.base import LogStore
from raftcore.storage.conformance import CHECKS, NODE, SHARD, Check, entries_of, membership_of, write_of
from raftcore.storage.kv import Batch, Store
from raftcore.storage.log_store import RocksLogStore


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rocksdb_store_conforms(check: Check, tmp_path: Path) -> None:
    def reopen(store: LogStore | None) -> LogStore:
        if store is not None:
            store.close()
        return RocksLogStore(tmp_path / "log")

    check(reopen)


@pytest.mark.skipif(importlib.util.find_spec("raftcore.storage.memory") is None, reason="no memory store")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_memory_store_conforms(check: Check) -> None:
    from raftcore.storage.memory import MemoryLogStore

    check(lambda store: MemoryLogStore() if store is None else store)


def filled(path: Path) -> RocksLogStore:
    store = RocksLogStore(path)
    store.bootstrap(SHARD, NODE, membership_of(1))
    store.write([(SHARD, NODE, write_of(entries_of(2, 20, 2), hard_state=HardState(2, NODE, 10)))])
    store.sync()
    return store


def damage(path: Path, prefix: bytes) -> None:
    """Change one byte of the last value under ``prefix``, below RocksDB's own checksums."""
    raw = Store.open(path, wal=True)
    key, value = next(raw.scan(prefix, prefix + b"\xff" * 30, backwards=True))
    batch = Batch()
    batch.put(key, value[:-1] + bytes([value[-1] ^ 1]))
    raw.write(batch)
    raw.close()


def test_a_damaged_entry_is_found_when_recovering_and_when_reading(tmp_path: Path) -> None:
    filled(tmp_path / "log").close()
    damage(tmp_path / "log", b"L")
    store = RocksLogStore(tmp_path / "log")
    with pytest.raises(Corrupt, match="19"):
        store.recover(SHARD, NODE, Index(0), 1 << 20)
    with pytest.raises(Corrupt, match="19"):
        store.entries(SHARD, NODE, Index(1), Index(20), 1 << 20)
    store.close()


@pytest.mark.parametrize("prefix", [b"H", b"B", b"C", b"I"])
def test_damaged_promises_are_found(tmp_path: Path, prefix: bytes) -> None:
    from raftcore.storage.base import HostIdentity

    store = filled(tmp_path / "log")
    store.set_identity(HostIdentity("cluster", "peer1", ((SHARD, NODE),)))
    store.close()
    damage(tmp_path / "log", prefix)
    store = RocksLogStore(tmp_path / "log")
    with pytest.raises(Corrupt):
        store.identity()
        store.recover(SHARD, NODE, Index(0), 1 << 20)
    store.close()


def test_a_missing_entry_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "log").close()
    raw = Store.open(tmp_path / "log", wal=True)
    keys = list(raw.keys(b"L", b"M"))
    batch = Batch()
    batch.delete(keys[5])
    raw.write(batch)
    raw.close()
    store = RocksLogStore(tmp_path / "log")
    with pytest.raises(Corrupt):
        store.recover(SHARD, NODE, Index(0), 1 << 20)
    with pytest.raises(Corrupt):
        store.entries(SHARD, NODE, Index(1), Index(20), 1 << 20)
    store.close()


def test_a_state_that_is_not_within_the_log_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "log")
    with pytest.raises(Corrupt, match="applied 20"):
        store.recover(SHARD, NODE, Index(20), 1 << 20)
    store.compact(SHARD, NODE, Index(10))
    with pytest.raises(Corrupt, match="applied 3"):
        store.recover(SHARD, NODE, Index(3), 1 << 20)
    store.close()


def test_gaps_and_cuts_below_the_log_are_bugs(tmp_path: Path) -> None:
    store = filled(tmp_path / "log")
    with pytest.raises(InvariantViolation):
        store.write([(SHARD, NODE, write_of(entries_of(30, 31, 2)))])
    with pytest.raises(InvariantViolation):
        store.compact(SHARD, NODE, Index(30))
    store.compact(SHARD, NODE, Index(10))
    with pytest.raises(InvariantViolation):
        store.write([(SHARD, NODE, write_of(truncate_from=9))])
    assert store.recover(SHARD, NODE, Index(10), 1 << 20).last_index == 19
    store.close()


def test_a_discarded_replica_leaves_nothing_and_its_neighbours_stay(tmp_path: Path) -> None:
    store = filled(tmp_path / "log")
    store.bootstrap(ShardId(1), NodeId(2), membership_of(2))
    store.discard(SHARD, NODE)
    assert store.recover(SHARD, NODE, Index(0), 1 << 20).last_index == 0
    assert store.recover(SHARD, NodeId(2), Index(0), 1 << 20).last_index == 1
    store.close()


def test_the_space_of_compacted_entries_is_given_back(tmp_path: Path) -> None:
    def table_bytes() -> int:
        return sum(file.stat().st_size for file in (tmp_path / "log").glob("*.sst"))

    for lo in range(2, 2_002, 500):
        store = filled(tmp_path / "log") if lo == 2 else RocksLogStore(tmp_path / "log")
        first = store.recover(SHARD, NODE, Index(0), 1 << 20).last_index + 1
        store.write([(SHARD, NODE, write_of(entries_of(first, first + 500, 2, size=10_000)))])
        store.close()
    before = table_bytes()
    store = RocksLogStore(tmp_path / "log")
    last = store.recover(SHARD, NODE, Index(0), 1 << 20).last_index
    store.compact(SHARD, NODE, Index(last - 10))
    store.close()
    store = RocksLogStore(tmp_path / "log")
    store.reclaim()
    assert store.recover(SHARD, NODE, Index(last), 1 << 20).first_index == last - 10
    store.close()
    assert table_bytes() < before / 10


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_said_and_loses_nothing_synced(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        store = RocksLogStore(small / "log")
        store.bootstrap(SHARD, NODE, membership_of(1))
        synced = 1
        with pytest.raises(DiskFull):
            while synced < 10_000:
                written = entries_of(synced + 1, synced + 11, 1, size=100_000)
                store.write([(SHARD, NODE, write_of(written))])
                store.sync()
                synced = written[-1].index
        with suppress(StorageError):
            store.close()
        del store
        subprocess.run(["mount", "-o", "remount,size=512m", str(small)], check=True)
        store = RocksLogStore(small / "log")
        assert store.recover(SHARD, NODE, Index(0), 1 << 20).last_index >= synced
        store.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_store_is_opened_by_one_process(tmp_path: Path) -> None:
    store = RocksLogStore(tmp_path / "log")
    with pytest.raises(StorageError):
        RocksLogStore(tmp_path / "log")
    store.close()


WRITER = """
import sys
from pathlib import Path
from raftcore.storage.conformance import NODE, SHARD, entries_of, membership_of, write_of
from raftcore.storage.log_store import RocksLogStore

store = RocksLogStore(Path(sys.argv[1]))
store.bootstrap(SHARD, NODE, membership_of(1))
index = 2
while True:
    for _ in range(3):
        store.write([(SHARD, NODE, write_of(entries_of(index, index + 5, 1, size=300)))])
        index += 5
    store.sync()
    print(index - 1, flush=True)
    store.write([(SHARD, NODE, write_of(entries_of(index, index + 2, 1)))])
    index += 2
"""


@pytest.mark.parametrize("lines", [1, 7, 60])
def test_kill_9_loses_nothing_synced_and_leaves_a_prefix(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        synced = 0
        for _ in range(lines):
            synced = int(writer.stdout.readline())
        writer.kill()
        for line in writer.stdout.read().splitlines():
            synced = int(line)
    store = RocksLogStore(path)
    recovered = store.recover(SHARD, NODE, Index(0), 1 << 30)
    assert recovered.last_index >= synced
    assert [entry.index for entry in recovered.tail] == list(range(1, recovered.last_index + 1))
    assert all(entry.data.startswith(b"1/%d" % entry.index) for entry in recovered.tail[1:])
    store.close()
