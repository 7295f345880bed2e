"""Messages between replicas: one slots dataclass each. Every one starts with shard, src, dst, term.

Never mutated after creation. ``read_position`` counts the linearizable reads of one leader's term
(etcd-io/raft #397): a leader sends its newest position, a follower echoes it, and a quorum of echoes
confirms every read up to the position that a quorum has reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftcore.core.types import Entry, Index, NodeId, ShardId, SnapshotMeta, Term


@dataclass(slots=True)
class PreVote:
    """Would you vote for me in ``term``? (``term`` is the one after the sender's.) Thesis §9.6."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    last_index: Index
    last_term: Term


@dataclass(slots=True)
class PreVoteReply:
    """A grant echoes the request's term; a rejection carries the voter's own term."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    granted: bool


@dataclass(slots=True)
class Vote:
    """RequestVote. ``transfer`` marks an election asked for by the leader. Thesis §3.4, §3.10."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    last_index: Index
    last_term: Term
    transfer: bool


@dataclass(slots=True)
class VoteReply:
    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    granted: bool


@dataclass(slots=True)
class Append:
    """AppendEntries: entries follow (``prev_index``, ``prev_term``). Thesis §3.5."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    prev_index: Index
    prev_term: Term
    commit: Index
    read_position: int
    entries: list[Entry]


@dataclass(slots=True)
class AppendReply:
    """``match`` when accepted. When rejected, the follower's best guess where the logs meet.

    ``rejected_index`` is the refused ``prev_index``, so that stale rejections are known.
    """

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    rejected: bool
    match: Index
    rejected_index: Index
    hint_index: Index
    hint_term: Term
    read_position: int


@dataclass(slots=True)
class Heartbeat:
    """``commit`` never exceeds the receiver's match."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    commit: Index
    read_position: int


@dataclass(slots=True)
class HeartbeatReply:
    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    read_position: int


@dataclass(slots=True)
class Snapshot:
    """The entries that you need are compacted: pull this snapshot. Thesis §5."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    meta: SnapshotMeta


@dataclass(slots=True)
class TimeoutNow:
    """Campaign at once: leadership transfer. Thesis §3.10."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term


@dataclass(slots=True)
class ReadRequest:
    """A follower asks the leader for a read index. Thesis §6.4."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    id: int


@dataclass(slots=True)
class ReadReply:
    """``index`` is 0 when the leader could not confirm."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    id: int
    index: Index


@dataclass(slots=True)
class NotMember:
    """You are not in the membership committed at ``config_index``: stop campaigning."""

    shard: ShardId
    src: NodeId
    dst: NodeId
    term: Term
    config_index: Index


Message = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | Snapshot
    | TimeoutNow
    | ReadRequest
    | ReadReply
    | NotMember
)
