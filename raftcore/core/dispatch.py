"""Which rule takes which message, and what a message's term means before any rule does. Thesis §3.3, §3.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Never

from raftcore.core import candidate, follower, leader
from raftcore.core.errors import WrongReplica
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    NotMember,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Snapshot,
    TimeoutNow,
    Vote,
    VoteReply,
)
from raftcore.core.types import NO_NODE, Index

if TYPE_CHECKING:
    from raftcore.core.raft import RaftCore

HANDLERS: dict[type[Message], Callable[[RaftCore, Never], None]] = {
    PreVote: candidate.on_pre_vote,
    PreVoteReply: candidate.on_pre_vote_reply,
    Vote: candidate.on_vote,
    VoteReply: candidate.on_vote_reply,
    NotMember: candidate.on_not_member,
    TimeoutNow: candidate.on_timeout_now,
    Append: follower.on_append,
    Heartbeat: follower.on_heartbeat,
    Snapshot: follower.on_snapshot,
    ReadReply: follower.on_read_reply,
    AppendReply: leader.on_append_reply,
    HeartbeatReply: leader.on_heartbeat_reply,
    ReadRequest: leader.on_read_request,
}

_TERM_BLIND = frozenset((PreVote, Vote, NotMember))
"""Their handlers look at the term themselves: an ignored election must not raise it. Thesis §4.2.3."""


def step(core: RaftCore, message: Message) -> None:
    """A higher term makes a follower, a lower one is turned away. Thesis §3.3.

    A granted pre-vote carries the term that was asked for, in which nobody is yet. Thesis §9.6.
    """
    if message.dst != core.node or message.shard != core.shard:
        raise WrongReplica(f"message for {message.shard}/{message.dst} at {core.shard}/{core.node}")
    kind = type(message)
    if message.term != core.term and kind not in _TERM_BLIND:
        if message.term < core.term:
            _answer_stale(core, message)
            return
        if not (isinstance(message, PreVoteReply) and message.granted):
            core.become_follower(message.term, NO_NODE)
    # The table's key is the message's type, so the handler takes just this one.
    HANDLERS[kind](core, message)  # type: ignore[arg-type]


def _answer_stale(core: RaftCore, message: Message) -> None:
    """Free those who are stuck at a lower term: a deposed leader, a reader of its reads. Thesis §3.3."""
    match message:
        case Append() | Heartbeat() | Snapshot():
            core.reply(HeartbeatReply(core.shard, core.node, message.src, core.term, 0))
        case ReadRequest():
            core.reply(ReadReply(core.shard, core.node, message.src, core.term, message.id, Index(0)))
        case _:
            pass
