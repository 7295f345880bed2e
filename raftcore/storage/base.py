"""What the host asks of a log store. One store carries the logs of all shards of a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from raftcore.core.ready import WriteSet
from raftcore.core.types import Entry, Index, Membership, NodeId, Recovered, ShardId, SnapshotMeta


@dataclass(slots=True, frozen=True)
class HostIdentity:
    """Who this host is, durable before it takes part in anything.

    Cluster and name are for ever; a replica is until the host is invited to be another.
    """

    cluster_id: str
    name: str
    replicas: tuple[tuple[ShardId, NodeId], ...]


class LogStore(Protocol):
    """Durable logs and hard states. ``write`` never waits for the disk; ``sync`` does, in another thread.

    After a crash the log is a prefix of the written batches and holds everything synced.
    """

    def identity(self) -> HostIdentity | None: ...

    def set_identity(self, identity: HostIdentity) -> None:
        """Durable on return."""
        ...

    def bootstrap(self, shard: ShardId, node: NodeId, membership: Membership | None) -> None:
        """Prepare an empty log; with ``membership`` its first entry (index 1, term 1) is that configuration.

        Durable on return. Refused when the log is not empty.
        """
        ...

    def recover(self, shard: ShardId, node: NodeId, applied: Index, tail_bytes_max: int) -> Recovered:
        """Read back what the core starts from. :raises Corrupt: when a kept entry fails its checksum."""
        ...

    def write(self, writes: Sequence[tuple[ShardId, NodeId, WriteSet]]) -> None:
        """Append one atomic batch, without waiting for the disk.

        :raises Stalled: nothing was written. :raises StorageError: stop the process.
        """
        ...

    def sync(self) -> None:
        """Make every earlier write durable. :raises StorageError: stop the process, never retry."""
        ...

    def entries(
        self, shard: ShardId, node: NodeId, lo: Index, hi: Index, bytes_max: int
    ) -> list[Entry] | None:
        """Entries from ``lo`` on, at least one, up to ``bytes_max``; None when compacted away."""
        ...

    def compact(self, shard: ShardId, node: NodeId, first_index: Index) -> None:
        """Drop entries below ``first_index``; its predecessor's term stays known."""
        ...

    def begin_install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> None:
        """Note that the state is about to be replaced by a snapshot; durable after ``sync``."""
        ...

    def pending_install(self, shard: ShardId, node: NodeId) -> SnapshotMeta | None:
        """What was begun and neither ended nor cancelled."""
        ...

    def cancel_install(self, shard: ShardId, node: NodeId) -> None:
        """Forget what was begun; durable after ``sync``."""
        ...

    def install(self, shard: ShardId, node: NodeId, meta: SnapshotMeta) -> bool:
        """Begin the log behind ``meta``, and end what was begun; durable after ``sync``.

        Entries behind it stay when the log has its last entry. Returns whether it had. Thesis §5.
        """
        ...

    def close(self) -> None: ...
