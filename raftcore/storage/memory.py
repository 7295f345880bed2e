"""A log store in memory, which knows what a disk would still hold after a crash.

Writes are kept as batches: those synced make the *durable* image of each log, the others only the *current*
one. ``crash`` drops a suffix of the unsynced batches, as a disk may: what remains is a prefix of what was
written and holds everything synced.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from raftcore.core.errors import Corrupt, StorageError, require
from raftcore.core.membership import encode_membership
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

_ENTRY_OVERHEAD_BYTES = 25


@dataclass(slots=True)
class LogImage:
    """One replica's log as it stands on some disk."""

    hard_state: HardState
    first_index: Index
    previous_term: Term
    entries: list[Entry]
    configs: list[tuple[Index, Membership]]
    pending: SnapshotMeta | None = None
    """The snapshot whose installation has begun."""

    @classmethod
    def empty(cls) -> LogImage:
        return cls(HardState(Term(0), NO_NODE, Index(0)), Index(1), Term(0), [], [])

    @property
    def last_index(self) -> Index:
        return Index(self.first_index + len(self.entries) - 1)

    def term_at(self, index: int) -> Term | None:
        """The term of entry ``index``; None when it is not known here."""
        at = index - self.first_index
        if 0 <= at < len(self.entries):
            return self.entries[at].term
        return self.previous_term if at == -1 else None

    def membership_at(self, index: int) -> tuple[Index, Membership] | None:
        """The membership in force at ``index``, and the index that made it."""
        at = bisect_right(self.configs, index, key=lambda config: config[0])
        return self.configs[at - 1] if at else None

    def write(self, write: WriteSet) -> None:
        if write.truncate_from:
            self.truncate(write.truncate_from)
        if write.entries:
            require(
                write.entries[0].index == self.last_index + 1,
                "a log is written without gaps",
                last_index=self.last_index,
                first_written=write.entries[0].index,
            )
            self.entries.extend(write.entries)
        self.configs.extend(write.configs)
        if write.hard_state is not None:
            self.hard_state = write.hard_state

    def truncate(self, index: Index) -> None:
        require(
            index >= self.first_index,
            "what is compacted is never truncated",
            truncate_from=index,
            first_index=self.first_index,
        )
        del self.entries[index - self.first_index :]
        del self.configs[bisect_left(self.configs, index, key=lambda config: config[0]) :]

    def compact(self, first_index: Index) -> None:
        """Drop entries below ``first_index``; the membership in force before it stays known."""
        if first_index <= self.first_index:
            return
        require(
            first_index <= self.last_index + 1,
            "compaction stays within the log",
            first_index=first_index,
            last_index=self.last_index,
        )
        term = self.term_at(first_index - 1)
        require(term is not None, "the entry before the log is known", first_index=first_index)
        self.previous_term = Term(term or 0)
        del self.entries[: first_index - self.first_index]
        in_force = bisect_left(self.configs, first_index, key=lambda config: config[0]) - 1
        del self.configs[: max(0, in_force)]
        self.first_index = first_index

    def install(self, meta: SnapshotMeta) -> None:
        """Begin behind a snapshot; entries behind it stay when the log matched it. Thesis §5.3."""
        if self.term_at(meta.index) == meta.term:
            self.compact(Index(meta.index + 1))
        else:
            self.entries.clear()
            self.configs.clear()
            self.first_index = Index(meta.index + 1)
            self.previous_term = meta.term
        later = [config for config in self.configs if config[0] > meta.index]
        self.configs[:] = [(meta.membership_index, meta.membership), *later]
        state = self.hard_state
        self.hard_state = HardState(
            Term(max(state.term, meta.term)),
            state.vote if state.term >= meta.term else NO_NODE,
            Index(max(state.commit, meta.index)),
        )
        self.pending = None

    def copy(self) -> LogImage:
        return LogImage(
            self.hard_state,
            self.first_index,
            self.previous_term,
            self.entries[:],
            self.configs[:],
            self.pending,
        )


@dataclass(slots=True, frozen=True)
class _Pending:
    """An installation that begins, or with None ends."""

    meta: SnapshotMeta | None


_Change = WriteSet | Index | SnapshotMeta | _Pending
_Batch = list[tuple[tuple[ShardId, NodeId], _Change]]
"""What one batch does to each log: a write, a compaction to a first index, a (pending) installation."""


class MemoryLogStore:
    """See the module's docstring. ``close`` and reopening are no events: use the same object again."""

    def __init__(self) -> None:
        self._identity: HostIdentity | None = None
        self._current: dict[tuple[ShardId, NodeId], LogImage] = {}
        self._durable: dict[tuple[ShardId, NodeId], LogImage] = {}
        self._unsynced: deque[_Batch] = deque()
        self._synced_count = 0

    # -- the interface of a log store

    def identity(self) -> HostIdentity | None:
        return self._identity

    def set_identity(self, identity: HostIdentity) -> None:
        self._identity = identity

    def bootstrap(self, shard: ShardId, node: NodeId, membership: Membership | None) -> None:
        image = LogImage.empty()
        if (shard, node) in self._current and self._current[shard, node] != image:
            raise StorageError(f"replica {node} of shard {shard} has a log already")
        if membership is not None:
            first = Entry(Term(1), Index(1), EntryKind.CONFIG, encode_membership(membership))
            image.entries.append(first)
            image.configs.append((first.index, membership))
            image.hard_state = HardState(Term(1), NO_NODE, Index(1))
        self._current[shard, node] = image
        self._durable[shard, node] = image.copy()

    def recover(self, shard: ShardId, node: NodeId, applied: Index, tail_bytes_max: int) -> Recovered:
        image = self.image(shard, node)
        if not image.first_index - 1 <= applied <= image.last_index:
            raise Corrupt(
                f"replica {node} of shard {shard}: the state has applied {applied}, "
                f"the log holds [{image.first_index}, {image.last_index}]"
            )
        term_runs: list[tuple[Index, Term]] = []
        for entry in image.entries:
            if not term_runs or term_runs[-1][1] != entry.term:
                term_runs.append((entry.index, entry.term))
        return Recovered(
            node=node,
            hard_state=image.hard_state,
            first_index=image.first_index,
            last_index=image.last_index,
            previous_term=image.previous_term,
            term_runs=term_runs,
            tail=_newest(image.entries, tail_bytes_max),
            configs=list(image.configs),
            applied=applied,
        )

    def write(self, writes: Sequence[tuple[ShardId, NodeId, WriteSet]]) -> None:
        self._append([((shard, node), write) for shard, node, write in writes])

    def sync(self) -> None:
        self.sync_to(self.written_count)

    def entries(
        self, shard: ShardId, node: NodeId, lo: Index, hi: Index, bytes_max: int
    ) -> list[Entry] | None:
        image = self.image(shard, node)
        if lo < image.first_index:
            return None
        entries: list[Entry] = []
        size = 0
        for entry in image.entries[lo - image.first_index : max(0, hi - image.first_index)]:
            size += len(entry.data) + _ENTRY_OVERHEAD_BYTES
            if entries and size > bytes_max:
                break
            entries.append(entry)
        return entries

    def compact(self, shard: ShardId, node: NodeId, first_index: Index) -> None:
        self._append([((shard, node), first_index)])

    def close(self) -> None:
        pass

    def begin_install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> None:
        self._append([((shard, node), _Pending(meta))])

    def pending_install(self, shard: ShardId, node: NodeId) -> SnapshotMeta | None:
        return self.image(shard, node).pending

    def cancel_install(self, shard: ShardId, node: NodeId) -> None:
        self._append([((shard, node), _Pending(None))])

    def install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> bool:
        """Begin the log behind ``meta``. Durable on return, with everything written before."""
        kept = self.image(shard, node).term_at(meta.index) == meta.term
        self._append([((shard, node), meta)])
        self.sync()
        return kept

    # -- the disk beneath it

    @property
    def written_count(self) -> int:
        """How many batches were ever written; names the newest one for ``sync_to``."""
        return self._synced_count + len(self._unsynced)

    @property
    def synced_count(self) -> int:
        return self._synced_count

    def sync_to(self, count: int) -> None:
        """Make the first ``count`` batches durable: those written before the sync began."""
        while self._synced_count < count and self._unsynced:
            for place, change in self._unsynced.popleft():
                _change(self._image(self._durable, place), change)
            self._synced_count += 1

    def crash(self, kept_count: int) -> None:
        """Lose all but the first ``kept_count`` batches; synced ones cannot be lost."""
        self.sync_to(kept_count)
        self._unsynced.clear()
        self._current = {place: image.copy() for place, image in self._durable.items()}

    def image(self, shard: ShardId, node: NodeId) -> LogImage:
        """The log as written."""
        return self._image(self._current, (shard, node))

    def durable_image(self, shard: ShardId, node: NodeId) -> LogImage:
        """The log as a crash would leave it at least."""
        return self._image(self._durable, (shard, node))

    def _append(self, batch: _Batch) -> None:
        for place, change in batch:
            _change(self._image(self._current, place), change)
        self._unsynced.append(batch)

    @staticmethod
    def _image(images: dict[tuple[ShardId, NodeId], LogImage], place: tuple[ShardId, NodeId]) -> LogImage:
        image = images.get(place)
        if image is None:
            image = images[place] = LogImage.empty()
        return image


def _change(image: LogImage, change: _Change) -> None:
    if isinstance(change, WriteSet):
        image.write(change)
    elif isinstance(change, SnapshotMeta):
        image.install(change)
    elif isinstance(change, _Pending):
        image.pending = change.meta
    else:
        image.compact(change)


def _newest(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """The newest entries within ``bytes_max``, at least one if there is any."""
    size = 0
    for count, entry in enumerate(reversed(entries)):
        size += len(entry.data) + _ENTRY_OVERHEAD_BYTES
        if count and size > bytes_max:
            return entries[-count:]
    return list(entries)
