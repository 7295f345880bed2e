"""What the core asks its host to do: drained by ``RaftCore.ready``."""

from __future__ import annotations

from dataclasses import dataclass, field

from raftcore.core.messages import Message
from raftcore.core.types import (
    Entry,
    HardState,
    Index,
    Membership,
    NodeId,
    Range,
    Role,
    SnapshotMeta,
    Term,
    Token,
)


@dataclass(slots=True)
class WriteSet:
    """One atomic write: the hard state is never later than the entries of its term.

    Order inside: drop every entry at or above ``truncate_from`` (0: none), then append ``entries``.
    ``configs`` are the memberships that the entries carry, (index, membership), stored with them.
    """

    token: Token
    hard_state: HardState | None
    truncate_from: Index
    entries: list[Entry]
    configs: list[tuple[Index, Membership]]
    must_sync: bool


@dataclass(slots=True, frozen=True)
class LoadEntries:
    """Entries ``[lo, hi)`` are no longer in memory: load them and call ``entries_loaded``."""

    id: int
    peer: NodeId
    lo: Index
    hi: Index
    bytes_max: int


@dataclass(slots=True, frozen=True)
class SnapshotWanted:
    """``peer`` needs a snapshot: make or find one and call ``snapshot_ready``."""

    peer: NodeId


@dataclass(slots=True, frozen=True)
class InstallSnapshot:
    """Pull and install this snapshot from ``source``, then call ``snapshot_installed``."""

    source: NodeId
    meta: SnapshotMeta


@dataclass(slots=True, frozen=True)
class ReadConfirmed:
    """Read ``id`` may be served once ``index`` is applied."""

    id: int
    index: Index


@dataclass(slots=True, frozen=True)
class RoleChange:
    role: Role
    term: Term
    leader: NodeId


@dataclass(slots=True)
class Ready:
    """Everything produced since the last call. Handle in this order:

    1. send ``messages`` now (a leader's appends go out beside its own disk write, thesis §10.2.1);
    2. hand ``write`` to the log; when it, or the last one before it, is durable, send
       ``messages_after_persist`` and call ``persisted(write.token)``;
    3. hand ``committed`` to the applier: those entries are committed *and* durable here.
    """

    messages: list[Message] = field(default_factory=list)
    write: WriteSet | None = None
    messages_after_persist: list[Message] = field(default_factory=list)
    committed: Range | None = None
    reads: list[ReadConfirmed] = field(default_factory=list)
    failed_reads: list[int] = field(default_factory=list)
    loads: list[LoadEntries] = field(default_factory=list)
    snapshot: SnapshotWanted | InstallSnapshot | None = None
    role: RoleChange | None = None
    membership: Membership | None = None
    """The effective membership, when it changed."""
