"""The logs and hard states of all shards of a host in one RocksDB: one write-ahead log, one fsync per round.

Keys, numbers big-endian so that they sort: ``L`` shard replica index -> entry; ``C`` shard replica index ->
membership; ``H`` shard replica -> hard state; ``B`` shard replica -> bounds of the log; ``S`` shard
replica -> snapshot being installed; ``I`` -> identity.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from raftcore.core.errors import BadFrame, Corrupt, StorageError, require
from raftcore.core.membership import decode_membership, encode_membership
from raftcore.core.ready import WriteSet
from raftcore.core.types import (
    NO_NODE,
    Entry,
    EntryKind,
    HardState,
    Index,
    Membership,
    NodeId,
    Recovered,
    ShardId,
    SnapshotMeta,
    Term,
)
from raftcore.storage.base import HostIdentity
from raftcore.storage.codec import decode_entry, encode_entry
from raftcore.storage.kv import Batch, Store, StoreOptions

_REPLICA = struct.Struct(">cQQ")
_INDEX = struct.Struct(">Q")
_HARD_STATE = struct.Struct("<QQQ")
_BOUNDS = struct.Struct("<QQ")
_SNAPSHOT = struct.Struct("<QQQH")
"""Index, term, index of the membership, length of the id; id and membership follow."""
_CRC = struct.Struct("<I")
_IDENTITY_KEY = b"I"
_INDEX_END = 2**64 - 1

_LOG_OPTIONS = StoreOptions(
    block_cache_bytes=8 << 20,
    block_bytes=64 << 10,
    compressed=False,
    # Every file holds a hard state beside its entries, so all overlap: merges would rewrite the whole log.
    auto_compaction=False,
)


@dataclass(slots=True)
class _Log:
    """What is known of one replica's log without reading it."""

    entry_prefix: bytes
    config_prefix: bytes
    hard_state_key: bytes
    bounds_key: bytes
    pending_key: bytes
    first_index: int = 1
    last_index: int = 0
    previous_term: int = 0


class RocksLogStore:
    """A `LogStore` in one directory. For one thread, but for `sync` and `reclaim`."""

    def __init__(self, path: Path) -> None:
        """Open or create the store. :raises Corrupt: when its write-ahead log is damaged before its end."""
        self._store = Store.open(path, wal=True, options=_LOG_OPTIONS)
        self._logs: dict[tuple[int, int], _Log] = {}

    def identity(self) -> HostIdentity | None:
        """Who this host is; None for a fresh one."""
        stored = self._store.get(_IDENTITY_KEY)
        if stored is None:
            return None
        fields = json.loads(_checked(stored, "host identity"))
        replicas = tuple((ShardId(shard), NodeId(node)) for shard, node in fields["replicas"])
        return HostIdentity(fields["cluster_id"], fields["name"], replicas)

    def set_identity(self, identity: HostIdentity) -> None:
        """Durable on return."""
        text = json.dumps(
            {"cluster_id": identity.cluster_id, "name": identity.name, "replicas": identity.replicas}
        )
        batch = Batch()
        batch.put(_IDENTITY_KEY, _summed(text.encode()))
        self._store.write(batch)
        self._store.sync_wal()

    def bootstrap(self, shard: ShardId, node: NodeId, membership: Membership | None) -> None:
        """Prepare an empty log; with ``membership`` its first entry, committed, is that configuration.

        :raises StorageError: when this replica has a log, or has promised anything.
        """
        log = self._log(shard, node)
        if log.last_index >= log.first_index or log.first_index > 1 or self._store.get(log.hard_state_key):
            raise StorageError(f"replica {node} of shard {shard} is not new: it cannot be bootstrapped")
        batch = Batch()
        batch.put(log.bounds_key, _summed(_BOUNDS.pack(1, 0)))
        if membership is not None:
            first = Entry(Term(1), Index(1), EntryKind.CONFIG, encode_membership(membership))
            self._put_entries(batch, log, [first], [(first.index, membership)])
            _put_hard_state(batch, log, HardState(Term(1), NO_NODE, Index(1)))
        self._store.write(batch)
        self._store.sync_wal()
        log.last_index = 0 if membership is None else 1

    def discard(self, shard: ShardId, node: NodeId) -> None:
        """Forget a replica that left the cluster for ever: replica ids are never used again."""
        log = self._log(shard, node)
        batch = Batch()
        for prefix in (log.entry_prefix, log.config_prefix):
            batch.delete_range(prefix, prefix + _INDEX.pack(_INDEX_END))
        for key in (log.hard_state_key, log.bounds_key, log.pending_key):
            batch.delete(key)
        self._store.write(batch)
        del self._logs[shard, node]

    def discard_all_but(self, replicas: Collection[tuple[ShardId, NodeId]]) -> None:
        """Forget replicas that left when the host died before it could `discard` them."""
        for key in list(self._store.keys(b"B", b"C")):
            _, shard, node = _REPLICA.unpack(key)
            if (shard, node) not in replicas:
                self.discard(ShardId(shard), NodeId(node))

    def recover(self, shard: ShardId, node: NodeId, applied: Index, tail_bytes_max: int) -> Recovered:
        """Read and check the whole log.

        :raises Corrupt: when an entry fails its checksum or is missing, or when the state machine's
            ``applied`` lies outside the log, so that one of them lost what it had stored.
        """
        log = self._log(shard, node)
        hard_state = self._hard_state(log)
        if not log.first_index - 1 <= applied <= log.last_index:
            raise Corrupt(
                f"replica {node} of shard {shard}: the state has applied {applied}, "
                f"the log holds [{log.first_index}, {log.last_index}]"
            )
        term_runs, tail = self._read_log(log, tail_bytes_max)
        configs = self._read_configs(log)
        return Recovered(
            node=node,
            hard_state=hard_state,
            first_index=Index(log.first_index),
            last_index=Index(log.last_index),
            previous_term=Term(log.previous_term),
            term_runs=term_runs,
            tail=tail,
            configs=configs,
            applied=applied,
        )

    def write(self, writes: Sequence[tuple[ShardId, NodeId, WriteSet]]) -> None:
        """Append all ``writes``, in order, as one atomic batch, without waiting for the disk.

        :raises Stalled: nothing was written. :raises StorageError: stop the process.
        """
        batch = Batch()
        last_indexes: dict[tuple[int, int], int] = {}
        for shard, node, write in writes:
            log = self._log(shard, node)
            last_index = last_indexes.get((shard, node), log.last_index)
            if write.truncate_from:
                last_index = self._truncate(batch, log, write.truncate_from, last_index)
            if write.entries:
                require(
                    write.entries[0].index == last_index + 1,
                    "a log is written without gaps",
                    last_index=last_index,
                    first_written=write.entries[0].index,
                )
                last_index = write.entries[-1].index
            self._put_entries(batch, log, write.entries, write.configs)
            if write.hard_state is not None:
                _put_hard_state(batch, log, write.hard_state)
            last_indexes[shard, node] = last_index
        self._store.write(batch)
        for replica, last_index in last_indexes.items():
            self._logs[replica].last_index = last_index

    def sync(self) -> None:
        """Make every earlier write durable. :raises StorageError: stop the process, never retry."""
        self._store.sync_wal()

    def entries(
        self, shard: ShardId, node: NodeId, lo: Index, hi: Index, bytes_max: int
    ) -> list[Entry] | None:
        """Entries from ``lo`` on, at least one, up to ``bytes_max``; None when compacted away.

        :raises Corrupt: when one fails its checksum or is missing.
        """
        log = self._log(shard, node)
        if lo < log.first_index:
            return None
        hi = Index(min(hi, log.last_index + 1))
        entries: list[Entry] = []
        size = 0
        wanted = int(lo)
        scan = self._store.scan(log.entry_prefix + _INDEX.pack(lo), log.entry_prefix + _INDEX.pack(hi))
        for _, encoded in scan:
            size += len(encoded)
            if entries and size > bytes_max:
                return entries
            entries.append(_stored_entry(encoded, wanted))
            wanted += 1
        if wanted < hi:
            raise Corrupt(f"entry {wanted} is missing from the log")
        return entries

    def compact(self, shard: ShardId, node: NodeId, first_index: Index) -> None:
        """Drop entries below ``first_index``; its predecessor's term and membership stay known."""
        log = self._log(shard, node)
        if first_index <= log.first_index:
            return
        require(
            first_index <= log.last_index + 1,
            "compaction stays within the log",
            first_index=first_index,
            last_index=log.last_index,
        )
        previous_term = self._term_at(log, Index(first_index - 1))
        if previous_term is None:
            raise Corrupt(f"entry {first_index - 1} is missing from the log")
        batch = Batch()
        batch.delete_range(
            log.entry_prefix + _INDEX.pack(log.first_index), log.entry_prefix + _INDEX.pack(first_index)
        )
        in_force = self._store.keys(
            log.config_prefix, log.config_prefix + _INDEX.pack(first_index), backwards=True
        )
        newest = next(in_force, None)
        if newest is not None:
            batch.delete_range(log.config_prefix, newest)
        batch.put(log.bounds_key, _summed(_BOUNDS.pack(first_index, previous_term)))
        self._store.write(batch)
        log.first_index = first_index
        log.previous_term = previous_term

    def begin_install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> None:
        """Note that the state is about to be replaced by a snapshot; durable after `sync`.

        :raises Stalled: nothing was written.
        """
        batch = Batch()
        batch.put(self._log(shard, node).pending_key, _summed(_encode_meta(meta)))
        self._store.write(batch)

    def pending_install(self, shard: ShardId, node: NodeId) -> SnapshotMeta | None:
        """What was begun and neither ended nor cancelled. :raises Corrupt:"""
        stored = self._store.get(self._log(shard, node).pending_key)
        return None if stored is None else _decode_meta(_checked(stored, "snapshot being installed"))

    def cancel_install(self, shard: ShardId, node: NodeId) -> None:
        """Forget what was begun; durable after `sync`. :raises Stalled: nothing was written."""
        batch = Batch()
        batch.delete(self._log(shard, node).pending_key)
        self._store.write(batch)

    def install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> bool:
        """Begin the log behind ``meta``, and end what was begun; durable after `sync`.

        Entries behind it stay when the log has its last entry. Returns whether it had. Thesis §5.

        :raises Stalled: nothing was written.
        """
        log = self._log(shard, node)
        kept = self._term_at(log, meta.index) == meta.term
        batch = Batch()
        first_index = meta.index + 1
        last_index = max(log.last_index, meta.index) if kept else meta.index
        gone = _INDEX.pack(first_index if kept else _INDEX_END)
        batch.delete_range(log.entry_prefix, log.entry_prefix + gone)
        batch.delete_range(log.config_prefix, log.config_prefix + gone)
        if meta.membership_index:
            self._put_entries(batch, log, [], [(meta.membership_index, meta.membership)])
        batch.put(log.bounds_key, _summed(_BOUNDS.pack(first_index, meta.term)))
        state = self._hard_state(log)
        vote = state.vote if state.term >= meta.term else NO_NODE
        term, commit = Term(max(state.term, meta.term)), Index(max(state.commit, meta.index))
        _put_hard_state(batch, log, HardState(term, vote, commit))
        batch.delete(log.pending_key)
        self._store.write(batch)
        log.first_index, log.last_index, log.previous_term = first_index, last_index, meta.term
        return kept

    def describe(self, shard: ShardId, node: NodeId, index: Index, id: str) -> SnapshotMeta:
        """What a snapshot of everything up to ``index`` stands for.

        :raises Corrupt: when the log does not know entry ``index``, or no membership in force there.
        """
        log = self._log(shard, node)
        term = self._term_at(log, index)
        configs = [config for config in self._read_configs(log) if config[0] <= index]
        if term is None or not configs:
            raise Corrupt(f"the log knows too little of entry {index} to name a snapshot after it")
        return SnapshotMeta(index, Term(term), configs[-1][1], configs[-1][0], id)

    def reclaim(self) -> None:
        """Give back the disk space of compacted entries; costs as much as what is left. For a thread."""
        self._store.compact(b"", b"\xff")

    def close(self) -> None:
        self._store.close()

    def _log(self, shard: ShardId, node: NodeId) -> _Log:
        log = self._logs.get((shard, node))
        if log is None:
            log = self._logs[shard, node] = self._open_log(shard, node)
        return log

    def _open_log(self, shard: ShardId, node: NodeId) -> _Log:
        log = _Log(
            entry_prefix=_REPLICA.pack(b"L", shard, node),
            config_prefix=_REPLICA.pack(b"C", shard, node),
            hard_state_key=_REPLICA.pack(b"H", shard, node),
            bounds_key=_REPLICA.pack(b"B", shard, node),
            pending_key=_REPLICA.pack(b"S", shard, node),
        )
        stored = self._store.get(log.bounds_key)
        if stored is not None:
            log.first_index, log.previous_term = _BOUNDS.unpack(_checked(stored, "bounds of the log"))
        log.last_index = log.first_index - 1
        newest = next(
            self._store.keys(
                log.entry_prefix + _INDEX.pack(log.first_index),
                log.entry_prefix + _INDEX.pack(_INDEX_END),
                backwards=True,
            ),
            None,
        )
        if newest is not None:
            (log.last_index,) = _INDEX.unpack_from(newest, len(log.entry_prefix))
        return log

    def _hard_state(self, log: _Log) -> HardState:
        stored = self._store.get(log.hard_state_key)
        if stored is None:
            return HardState(Term(0), NO_NODE, Index(0))
        term, vote, commit = _HARD_STATE.unpack(_checked(stored, "hard state"))
        return HardState(Term(term), NodeId(vote), Index(commit))

    def _term_at(self, log: _Log, index: Index) -> int | None:
        """The term of entry ``index``; None when it is not known here."""
        if index == log.first_index - 1:
            return log.previous_term
        if not log.first_index <= index <= log.last_index:
            return None
        stored = self._store.get(log.entry_prefix + _INDEX.pack(index))
        if stored is None:
            raise Corrupt(f"entry {index} is missing from the log")
        return _stored_entry(stored, index).term

    def _read_log(self, log: _Log, tail_bytes_max: int) -> tuple[list[tuple[Index, Term]], list[Entry]]:
        """Check every entry; return the runs of equal terms, and the newest entries."""
        term_runs: list[tuple[Index, Term]] = []
        tail: deque[Entry] = deque()
        tail_bytes = 0
        wanted = log.first_index
        term = log.previous_term
        scan = self._store.scan(
            log.entry_prefix + _INDEX.pack(wanted), log.entry_prefix + _INDEX.pack(_INDEX_END)
        )
        for _, encoded in scan:
            entry = _stored_entry(encoded, wanted)
            if entry.term < term:
                raise Corrupt(f"entry {wanted} has term {entry.term}, after one of term {term}")
            if entry.term > term or not term_runs:
                term_runs.append((entry.index, entry.term))
                term = entry.term
            tail.append(entry)
            tail_bytes += len(encoded)
            while tail_bytes > tail_bytes_max and len(tail) > 1:
                tail_bytes -= len(encode_entry(tail.popleft()))
            wanted += 1
        if wanted != log.last_index + 1:
            raise Corrupt(f"entry {wanted} is missing from the log")
        return term_runs, list(tail)

    def _read_configs(self, log: _Log) -> list[tuple[Index, Membership]]:
        configs = []
        prefix = log.config_prefix
        for key, value in self._store.scan(prefix, prefix + _INDEX.pack(_INDEX_END)):
            (index,) = _INDEX.unpack_from(key, len(prefix))
            encoded = _checked(value, f"membership at {index}")
            try:
                configs.append((Index(index), decode_membership(encoded)))
            except BadFrame as error:
                raise Corrupt(f"membership at {index}: {error}") from error
        return configs

    def _truncate(self, batch: Batch, log: _Log, truncate_from: Index, last_index: int) -> int:
        """Drop entries and memberships from ``truncate_from`` on; return the last index that is left."""
        require(
            truncate_from >= log.first_index,
            "what is compacted is never truncated",
            truncate_from=truncate_from,
            first_index=log.first_index,
        )
        if truncate_from <= last_index:
            lo, hi = _INDEX.pack(truncate_from), _INDEX.pack(last_index + 1)
            batch.delete_range(log.entry_prefix + lo, log.entry_prefix + hi)
            batch.delete_range(log.config_prefix + lo, log.config_prefix + hi)
        return min(last_index, truncate_from - 1)

    def _put_entries(
        self, batch: Batch, log: _Log, entries: list[Entry], configs: list[tuple[Index, Membership]]
    ) -> None:
        put = batch.put
        prefix = log.entry_prefix
        for entry in entries:
            put(prefix + _INDEX.pack(entry.index), entry.encoded or encode_entry(entry))
        for index, membership in configs:
            put(log.config_prefix + _INDEX.pack(index), _summed(encode_membership(membership)))


def _put_hard_state(batch: Batch, log: _Log, state: HardState) -> None:
    batch.put(log.hard_state_key, _summed(_HARD_STATE.pack(state.term, state.vote, state.commit)))


def _encode_meta(meta: SnapshotMeta) -> bytes:
    id_bytes = meta.id.encode()
    fixed = _SNAPSHOT.pack(meta.index, meta.term, meta.membership_index, len(id_bytes))
    return fixed + id_bytes + encode_membership(meta.membership)


def _decode_meta(value: bytes) -> SnapshotMeta:
    index, term, membership_index, id_length = _SNAPSHOT.unpack_from(value)
    at = _SNAPSHOT.size + id_length
    id_text = value[_SNAPSHOT.size : at].decode()
    try:
        membership = decode_membership(value[at:])
    except BadFrame as error:
        raise Corrupt(f"snapshot being installed: {error}") from error
    return SnapshotMeta(Index(index), Term(term), membership, Index(membership_index), id_text)


def _stored_entry(encoded: bytes, index: int) -> Entry:
    try:
        entry = decode_entry(encoded)
    except BadFrame as error:
        raise Corrupt(f"log at {index}: {error}") from error
    if entry.index != index:
        raise Corrupt(f"log at {index} holds entry {entry.index}")
    return entry


def _summed(value: bytes) -> bytes:
    return _CRC.pack(crc32(value)) + value


def _checked(stored: bytes, what: str) -> bytes:
    value = stored[_CRC.size :]
    if _CRC.pack(crc32(value)) != stored[: _CRC.size]:
        raise Corrupt(f"{what} fails its checksum")
    return value
