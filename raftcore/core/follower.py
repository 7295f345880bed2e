"""What a replica does with the messages of its leader. Thesis §3.5.

`RaftCore.step` has already raised the term where the message's was higher, and turned away lower ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raftcore.core.errors import LogLost, require
from raftcore.core.membership import decode_membership
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadReply,
    ReadRequest,
    Snapshot,
)
from raftcore.core.ready import InstallSnapshot, ReadConfirmed
from raftcore.core.types import NO_NODE, Entry, EntryKind, Index, Instant, NodeId, Role, SnapshotMeta, Term

if TYPE_CHECKING:
    from raftcore.core.raft import RaftCore

_CONFIG = EntryKind.CONFIG


def on_append(core: RaftCore, message: Append) -> None:
    """Take what follows an entry that both logs have, or tell where they may meet. Thesis §3.5."""
    core.hear_leader(message.src)
    log = core.log
    prev_index, prev_term, entries = message.prev_index, message.prev_term, message.entries
    if prev_index < log.commit:
        # What is committed is the same in every leader's log: only what lies behind it can be news.
        entries = entries[log.commit - prev_index :]
        prev_index, prev_term = log.commit, log.known_term(log.commit)
    if log.term(prev_index) != prev_term:
        hint_index, hint_term = log.newest_at_most(min(prev_index, log.last), prev_term)
        core.reply(
            AppendReply(
                core.shard,
                core.node,
                message.src,
                core.term,
                rejected=True,
                match=Index(0),
                rejected_index=prev_index,
                hint_index=hint_index,
                hint_term=hint_term,
                read_position=message.read_position,
            )
        )
        return
    match = Index(prev_index + len(entries))
    if entries:
        _merge(core, entries)
    commit = min(message.commit, match)
    if commit > log.commit:
        core.advance_commit(commit)
    acknowledge(core, message.src, match, message.read_position)


def on_heartbeat(core: RaftCore, message: Heartbeat) -> None:
    """:raises LogLost: when entries that this replica had acknowledged are gone."""
    core.hear_leader(message.src)
    if message.commit > core.log.last:
        raise LogLost(
            f"replica {core.node} acknowledged entry {message.commit} but its log ends at {core.log.last} "
        )
    if message.commit > core.log.commit:
        core.advance_commit(message.commit)
    core.reply(HeartbeatReply(core.shard, core.node, message.src, core.term, message.read_position))


def answer_standing_still(core: RaftCore, message: Message) -> HeartbeatReply | None:
    """What a heartbeat gets while log and state are being replaced: what rests on the durable term alone.

    It says that this replica is there, and confirms reads; where the logs agree it does not say. Thesis §6.2.
    """
    if (
        type(message) is not Heartbeat
        or message.term != core.term
        or core.role is not Role.FOLLOWER
        or core.leader != message.src
        or core.writes.durable_vote != (core.term, core.vote)
    ):
        return None
    core.hear_leader(message.src)
    return HeartbeatReply(core.shard, core.node, message.src, core.term, message.read_position)


def on_snapshot(core: RaftCore, message: Snapshot) -> None:
    """Have the snapshot installed, unless the log shows that it is not needed. Thesis §5."""
    core.hear_leader(message.src)
    meta, log = message.meta, core.log
    if meta.index <= log.commit:
        acknowledge(core, message.src, log.commit, 0)
    elif log.term(meta.index) == meta.term:
        core.advance_commit(meta.index)
        acknowledge(core, message.src, meta.index, 0)
    elif _supersedes(core, message):
        core.installing, core.installing_from = meta, message.src
        core.snapshot_requests.append(InstallSnapshot(message.src, meta))


def _supersedes(core: RaftCore, message: Snapshot) -> bool:
    """Whether the offer takes the place of the snapshot that is being installed, if any.

    One of the same index but another id does: its source has lost the former, and nobody else will offer it.
    Thesis §5.
    """
    wanted, meta = core.installing, message.meta
    if wanted is None or core.installing_from != message.src:
        return True
    return meta.index > wanted.index or (meta.index == wanted.index and meta.id != wanted.id)


def on_read_reply(core: RaftCore, message: ReadReply) -> None:
    """The leader has confirmed what this replica asked for, or refuses. Thesis §6.4."""
    if message.src != core.leader:
        return
    ids = core.forwarded_reads.answered(message.id)
    if message.index:
        core.out.reads += [ReadConfirmed(id, message.index) for id in ids]
    else:
        core.out.failed_reads += ids


def install(core: RaftCore, meta: SnapshotMeta) -> None:
    """The snapshot has replaced the state, and the log too unless the log goes on behind it. Thesis §5."""
    log = core.log
    require(meta.index > log.applied, "a snapshot brings news", index=meta.index, applied=log.applied)
    core.installing = None
    core.acknowledgement = None
    if log.term(meta.index) == meta.term:
        log.fast_forward_applied(meta.index)
        core.compacted(Index(meta.index + 1))
    else:
        require(meta.index > log.commit, "a committed entry is never replaced", index=meta.index)
        log.restart_after(meta.index, meta.term)
        core.writes.restarted(meta.index)
        core.configs.reset(meta.membership_index, meta.membership)
        core.membership_changed()
    if core.leader not in (NO_NODE, core.node):
        acknowledge(core, core.leader, meta.index, 0)


def acknowledge(core: RaftCore, leader: NodeId, match: Index, read_position: int) -> None:
    """Tell the leader how far the logs agree: once per turn, however many Appends have come. Thesis §3.5."""
    pending = core.acknowledgement
    if pending is not None and pending.dst == leader and pending.term == core.term:
        match = max(match, pending.match)
        read_position = max(read_position, pending.read_position)
    core.acknowledgement = AppendReply(
        core.shard,
        core.node,
        leader,
        core.term,
        rejected=False,
        match=match,
        rejected_index=Index(0),
        hint_index=Index(0),
        hint_term=Term(0),
        read_position=read_position,
    )


def finish_turn(core: RaftCore) -> None:
    """Send the acknowledgement, once it is true on disk too, and ask the leader for this turn's reads.

    Thesis §3.8, §6.4.
    """
    acknowledgement, core.acknowledgement = core.acknowledgement, None
    if acknowledgement is not None and acknowledgement.term == core.term:
        if acknowledgement.match <= core.log.durable:
            core.reply(acknowledgement)
        else:
            core.out.messages_after_persist.append(acknowledgement)
    if core.leader:
        request = core.forwarded_reads.ask(Instant(core.now + core.config.election_timeout_us))
        if request is not None:
            core.reply(ReadRequest(core.shard, core.node, core.leader, core.term, request))


def _merge(core: RaftCore, entries: Sequence[Entry]) -> None:
    """Append what is new; drop a suffix only where the terms at an index differ. Thesis §3.5.

    An old Append that ends before our log does proves nothing against the rest.
    """
    log = core.log
    new = 0
    if entries[0].index <= log.last:
        for entry in entries:
            term: Term | None = log.term(entry.index)
            if term != entry.term:
                if term is not None:
                    core.truncate(entry.index)
                break
            new += 1
        entries = entries[new:]
        if not entries:
            return
    log.append(entries)
    for entry in entries:
        if entry.kind is _CONFIG:
            core.adopt_membership(entry.index, decode_membership(entry.data))
