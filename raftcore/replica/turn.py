"""What one turn of a replica asks of its host, and how a client call ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from raftcore.core.errors import RaftError
from raftcore.core.messages import Message
from raftcore.core.ready import InstallSnapshot, LoadEntries, SnapshotWanted, WriteSet
from raftcore.core.types import Entry, Index, Membership, NodeId, Role, Term

Done = Callable[[bytes | RaftError], None]
"""Called exactly once per command: its result, `NotAccepted` (in no log) or `OutcomeUnknown`."""

ReadDone = Callable[[Index | RaftError], None]
"""Called exactly once per read: an index that is already applied here, or why there is none."""

ChangeDone = Callable[[Index | RaftError], None]
"""Called exactly once per membership change: the index of its committed entry, or why it failed."""


@dataclass(slots=True)
class Turn:
    """Handle in order: send ``messages``; write ``write`` (no sync); queue ``after_persist`` until the
    write's token (or, without a write, the last token before it) is durable; apply ``apply``.
    """

    messages: list[Message] = field(default_factory=list)
    write: WriteSet | None = None
    after_persist: list[Message] = field(default_factory=list)
    apply: Sequence[Entry] = ()
    loads: list[LoadEntries] = field(default_factory=list)
    snapshot: SnapshotWanted | InstallSnapshot | None = None
    role_changed: bool = False
    membership_changed: bool = False


@dataclass(slots=True, frozen=True)
class ReplicaStatus:
    """A replica seen from outside, for status calls and metrics."""

    node: NodeId
    role: Role
    term: Term
    leader: NodeId
    commit: Index
    applied: Index
    last_index: Index
    durable: Index
    membership: Membership
    membership_index: Index
    match: dict[NodeId, Index]
    """The leader's knowledge of each peer; empty elsewhere."""
    queued_commands: int
    pending_commands: int
    pending_reads: int
