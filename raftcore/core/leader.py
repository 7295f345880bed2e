"""What a replica does while it leads: replicate, commit, confirm reads, change the membership, hand over.

A `Leader` exists from winning an election to stepping down, and everything that it knows goes with it. Thesis
§3.5, §3.6 (log), §4.1 (membership), §5 (snapshots), §6.4 (reads), §3.10 (transfer).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raftcore.core import changes
from raftcore.core.errors import (
    Busy,
    PayloadTooLarge,
    TransferInProgress,
    UnknownMember,
    require,
)
from raftcore.core.lease import Lease
from raftcore.core.membership import Changer, encode_membership, everybody, is_voter
from raftcore.core.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    ReadReply,
    ReadRequest,
    Snapshot,
    TimeoutNow,
)
from raftcore.core.progress import Inflights, Progress, ProgressState
from raftcore.core.quorum import committed_index
from raftcore.core.reads import LOCAL, Read, ReadQueue
from raftcore.core.ready import LoadEntries, ReadConfirmed, SnapshotWanted
from raftcore.core.types import (
    NO_NODE,
    ConfigChange,
    Entry,
    EntryId,
    EntryKind,
    Index,
    Instant,
    Membership,
    NodeId,
    Promote,
    SnapshotMeta,
)

if TYPE_CHECKING:
    from raftcore.core.raft import RaftCore

_PROBE, _REPLICATE, _SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT

_COMMANDS = EntryKind.COMMANDS


def on_append_reply(core: RaftCore, message: AppendReply) -> None:
    if core.leadership is not None:
        core.leadership.append_answered(message)


def on_heartbeat_reply(core: RaftCore, message: HeartbeatReply) -> None:
    if core.leadership is not None:
        core.leadership.heartbeat_answered(message)


def on_read_request(core: RaftCore, message: ReadRequest) -> None:
    leadership = core.leadership
    if leadership is None or leadership.reads.is_full:
        core.reply(ReadReply(core.shard, core.node, message.src, core.term, message.id, Index(0)))
    else:
        leadership.read(Read(message.src, message.id))


class Leader:
    """The leadership of one term."""

    def __init__(self, core: RaftCore) -> None:
        self.progress: dict[NodeId, Progress] = {}
        self.reads = ReadQueue(core.config.pending_reads_max)
        self.transfer_target = NO_NODE
        self._core = core
        self._lease = Lease(core.config) if core.config.lease_reads else None
        self._first_own = Index(core.log.last + 1)
        self._heartbeat_deadline = Instant(core.now + core.config.heartbeat_interval_us)
        self._transfer_deadline = Instant(0)
        self._next_load = 0
        self._meet_peers()

    # Time

    def deadline(self) -> Instant:
        if self.transfer_target:
            return min(self._heartbeat_deadline, self._transfer_deadline)
        return self._heartbeat_deadline

    def expire(self) -> None:
        """Step down without a quorum (§6.2); heartbeats (§3.4); transfers that take too long (§3.10)."""
        core = self._core
        now = core.now
        if self.transfer_target and now >= self._transfer_deadline:
            self.transfer_target = NO_NODE
        if now < self._heartbeat_deadline:
            return
        if now - self.quorum_contact() >= core.config.election_timeout_us:
            # Thesis §6.2: clients of a leader that reaches no quorum must look for another one.
            core.become_follower(core.term, NO_NODE)
            return
        self._heartbeat_deadline = Instant(now + core.config.heartbeat_interval_us)
        if self._lease is not None:
            self.reads.advance()
        self._send_heartbeats()
        self._hand_over_when_ready()

    def quorum_contact(self) -> int:
        """The newest instant by which a quorum has been heard. Thesis §6.2."""
        contacts: dict[NodeId, int] = {peer: progress.contact for peer, progress in self.progress.items()}
        contacts[self._core.node] = self._core.now
        return committed_index(self._core.membership, contacts)

    # Proposals

    def propose(self, data: bytes) -> EntryId:
        """Append a group of commands. Thesis §3.5."""
        core = self._core
        if self.transfer_target:
            raise TransferInProgress(f"leadership is moving to {self.transfer_target}")
        if len(data) > core.config.entry_bytes_max:
            raise PayloadTooLarge(f"{len(data)} bytes, at most {core.config.entry_bytes_max}")
        uncommitted = self._uncommitted_bytes()
        if uncommitted and uncommitted + len(data) > core.config.uncommitted_bytes_max:
            raise Busy(f"{uncommitted} bytes are not yet committed")
        return core.append_own(_COMMANDS, data)

    def _uncommitted_bytes(self) -> int:
        """Bytes of this term's entries that are not committed; what earlier terms left does not count."""
        log = self._core.log
        return log.size(Index(max(log.commit, self._first_own) + 1), Index(log.last + 1))

    # Replication

    def finish_turn(self) -> None:
        """Send what this turn has made necessary: at most one commit notice per peer, and full Appends."""
        self._settle_membership()
        core = self._core
        if core.leadership is not self:
            return
        if self.reads.close():
            self._send_heartbeats()
            self._confirm_reads()
        self._replicate()

    def _replicate(self) -> None:
        """Each peer in its own pace. Thesis §3.5, §10.2.1."""
        log = self._core.log
        last, commit = log.last, log.commit
        for peer, progress in self.progress.items():
            state = progress.state
            if progress.loading or progress.paused or state is _SNAPSHOT:
                continue
            if progress.next < log.first:
                self._want_snapshot(peer, progress)
            elif state is _REPLICATE:
                sent_to = progress.next
                while progress.next <= last and not progress.inflights.is_full:
                    if not self._send_next(peer, progress):
                        break
                if progress.next == sent_to and progress.sent_commit < min(commit, sent_to - 1):
                    self._send(peer, progress, [])
            else:
                self._send_next(peer, progress)

    def _send_next(self, peer: NodeId, progress: Progress) -> bool:
        """Send the entries that follow, or get them from where they are; whether an Append has left."""
        core = self._core
        log, lo = core.log, progress.next
        hi = Index(log.last + 1)
        if lo == hi:
            self._send(peer, progress, [])
            return True
        bytes_max = core.config.append_bytes_max
        if lo < log.tail_first:
            self._next_load += 1
            progress.loading = self._next_load
            core.out.loads.append(LoadEntries(progress.loading, peer, lo, min(hi, log.tail_first), bytes_max))
            return False
        entries = log.slice(lo, log.reach(lo, hi, bytes_max))
        self._send(peer, progress, entries or [])
        return True

    def _send(self, peer: NodeId, progress: Progress, entries: list[Entry]) -> None:
        core = self._core
        prev_index = Index(progress.next - 1)
        commit = core.log.commit
        core.out.messages.append(
            Append(
                core.shard,
                core.node,
                peer,
                core.term,
                prev_index,
                core.log.known_term(prev_index),
                commit,
                self.reads.position,
                entries,
            )
        )
        if progress.state is _PROBE:
            progress.paused = True
            return
        progress.sent_commit = commit
        if entries:
            last = entries[-1].index
            progress.next = Index(last + 1)
            progress.inflights.add(last, sum(len(entry.data) for entry in entries))

    def entries_loaded(self, request: LoadEntries, entries: Sequence[Entry] | None) -> None:
        progress = self.progress.get(request.peer)
        if progress is None or progress.loading != request.id:
            return
        progress.loading = 0
        if entries is None:
            self._want_snapshot(request.peer, progress)
        elif entries and progress.next == request.lo and not progress.inflights.is_full:
            require(
                entries[0].index == request.lo and entries[-1].term == self._core.log.term(entries[-1].index),
                "what was loaded is what the log holds",
                lo=request.lo,
                loaded=entries[0].index,
            )
            self._send(request.peer, progress, list(entries))

    def append_answered(self, reply: AppendReply) -> None:
        """An acknowledgement moves match, a refusal next. Thesis §3.5."""
        progress = self._hear(reply.src, reply.read_position)
        if progress is None:
            return
        log = self._core.log
        if reply.rejected:
            resume_from = reply.hint_index
            if reply.hint_term:
                resume_from, _ = log.newest_at_most(reply.hint_index, reply.hint_term)
            progress.rejected(reply.rejected_index, resume_from)
            return
        match = reply.match
        require(
            match <= log.last,
            "no peer has more of a leader's log than the leader",
            match=match,
            last=log.last,
        )
        is_news = progress.accepted(match)
        if progress.state is _REPLICATE:
            progress.inflights.free_to(match)
        elif progress.state is _PROBE:
            if match == progress.match:
                progress.become_replicate()
        elif progress.match + 1 >= log.first or (
            progress.snapshot is not None and progress.match >= progress.snapshot.index
        ):
            # However it got there: the report that the snapshot arrived may be lost (etcd-io/raft #110).
            progress.become_replicate()
        if is_news:
            self.advance_commit()
            self._hand_over_when_ready()

    def heartbeat_answered(self, reply: HeartbeatReply) -> None:
        """A sign of life: what was lost is sent again. Thesis §3.5."""
        progress = self._hear(reply.src, reply.read_position)
        if progress is None:
            return
        core = self._core
        if progress.state is _PROBE:
            progress.paused = False
        elif progress.state is _SNAPSHOT:
            if (
                progress.snapshot is not None
                and core.now - progress.snapshot_offered >= core.config.election_timeout_us
            ):
                self._offer_snapshot(reply.src, progress, progress.snapshot)
        elif progress.match_at_heartbeat == progress.match < progress.next - 1 and (
            progress.next >= core.log.first
        ):
            # Nothing has arrived since the last heartbeat. If it was lost, an empty Append will be refused.
            self._send(reply.src, progress, [])
        progress.match_at_heartbeat = progress.match

    def unreachable(self, peer: NodeId) -> None:
        progress = self.progress.get(peer)
        if progress is not None and progress.state is _REPLICATE:
            progress.become_probe()

    def _hear(self, peer: NodeId, read_position: int) -> Progress | None:
        progress = self.progress.get(peer)
        if progress is not None:
            progress.contact = self._core.now
            if read_position > progress.read_position:
                progress.read_position = read_position
                self._confirm_reads()
        return progress

    def _send_heartbeats(self) -> None:
        """The commit index that goes along is none that the peer may lack. Thesis §3.5."""
        core = self._core
        commit, position = core.log.commit, self.reads.position
        if self._lease is not None:
            self._lease.sent(position, core.now)
        for peer, progress in self.progress.items():
            core.out.messages.append(
                Heartbeat(core.shard, core.node, peer, core.term, min(progress.match, commit), position)
            )

    # Commit

    def advance_commit(self) -> None:
        """Commit what a quorum has on disk, this leader's disk being one of them (thesis §10.2.1).

        Only entries of the own term are committed by counting; older ones go with them. Thesis §3.6.2.
        """
        core = self._core
        log = core.log
        matches: dict[NodeId, int] = {peer: progress.match for peer, progress in self.progress.items()}
        matches[core.node] = log.durable
        reached = Index(committed_index(core.membership, matches))
        if reached <= log.commit or log.term(reached) != core.term:
            return
        was_first = log.commit < self._first_own
        core.advance_commit(reached)
        if was_first:
            self.reads.unpark(reached)

    def _has_committed(self) -> bool:
        """Whether an entry of this term is committed, so that the commit index is known. Thesis §6.4."""
        return self._core.log.commit >= self._first_own

    # Reads

    def read(self, read: Read, *, may_use_lease: bool = True) -> None:
        """By lease, or with the next round, once the commit index is known. Thesis §6.4."""
        if not self._has_committed():
            self.reads.park(read)
        elif may_use_lease and self._holds_lease():
            self._answer(read, self._core.log.commit)
        else:
            self.reads.add(read, self._core.log.commit)

    def _holds_lease(self) -> bool:
        core = self._core
        return self._lease is not None and self._lease.holds(self._echoed(), core.now)

    def _echoed(self) -> int:
        """The read position that a quorum has echoed. Thesis §6.4."""
        positions: dict[NodeId, int] = {
            peer: progress.read_position for peer, progress in self.progress.items()
        }
        positions[self._core.node] = self.reads.position
        return committed_index(self._core.membership, positions)

    def _confirm_reads(self) -> None:
        if not len(self.reads):
            return
        for read, index in self.reads.confirm(self._echoed()):
            self._answer(read, index)

    def _answer(self, read: Read, index: Index) -> None:
        core = self._core
        if read.origin == LOCAL:
            core.out.reads.append(ReadConfirmed(read.id, index))
        else:
            core.reply(ReadReply(core.shard, core.node, read.origin, core.term, read.id, index))

    # Membership

    def change_membership(self, change: ConfigChange, based_on: Index) -> EntryId:
        """One change, effective when appended. Thesis §4.1."""
        core = self._core
        if self.transfer_target:
            raise TransferInProgress(f"leadership is moving to {self.transfer_target}")
        changes.require_settled(core, based_on, has_committed=self._has_committed())
        if isinstance(change, Promote):
            changes.require_caught_up(core, self.progress.get(change.id), change.id)
        changes.pass_all_ids(core)
        index = Index(core.log.last + 1)
        return self._append_membership(Changer(core.membership, index).simple(change))

    def _append_membership(self, membership: Membership) -> EntryId:
        core = self._core
        entry = core.append_own(EntryKind.CONFIG, encode_membership(membership))
        core.adopt_membership(entry.index, membership)
        return entry

    def _settle_membership(self) -> None:
        """Leave a committed joint membership; go if one is without us. Thesis §4.2.2, §4.3."""
        core = self._core
        if core.configs.index > core.log.commit:
            return
        if core.membership.outgoing:
            if self._has_committed():
                index = Index(core.log.last + 1)
                self._append_membership(Changer(core.membership, index).leave_joint())
        elif core.node not in core.membership.voters:
            self._leave()

    def _leave(self) -> None:
        """The removal of this leader is committed, without its own vote. Thesis §4.2.2."""
        core = self._core
        self._replicate()
        voters = sorted(core.membership.voters & self.progress.keys())
        best = max(voters, key=lambda voter: self.progress[voter].match)
        core.out.messages.append(TimeoutNow(core.shard, core.node, best, core.term))
        core.become_follower(core.term, NO_NODE)

    def _meet_peers(self) -> None:
        core = self._core
        members = everybody(core.membership) - {core.node}
        for peer in self.progress.keys() - members:
            del self.progress[peer]
        for peer in sorted(members - self.progress.keys()):
            self.progress[peer] = Progress(
                next=Index(core.log.last + 1),
                inflights=Inflights(core.config.inflight_messages_max, core.config.inflight_bytes_max),
                contact=core.now,
            )

    def membership_changed(self) -> None:
        """Follow the effective membership; a smaller quorum may have been reached already. Thesis §4.1."""
        self._meet_peers()
        if not is_voter(self._core.membership, self.transfer_target):
            self.transfer_target = NO_NODE
        self.advance_commit()
        self._confirm_reads()

    # Transfer

    def transfer(self, target: NodeId) -> None:
        """Nothing is proposed until the target leads or the time is over. Thesis §3.10."""
        core = self._core
        if not is_voter(core.membership, target):
            raise UnknownMember(f"no voter {target}")
        if target == core.node:
            self.transfer_target = NO_NODE
            return
        if self._lease is not None:
            self._lease.void()
        self.transfer_target = target
        self._transfer_deadline = Instant(core.now + core.config.election_timeout_us)
        self._hand_over_when_ready()

    def _hand_over_when_ready(self) -> None:
        """Tell the target to campaign once it has everything, and at each heartbeat. Thesis §3.10."""
        core = self._core
        progress = self.progress.get(self.transfer_target)
        if progress is not None and progress.match == core.log.last:
            core.out.messages.append(TimeoutNow(core.shard, core.node, self.transfer_target, core.term))

    # Snapshots

    def _want_snapshot(self, peer: NodeId, progress: Progress) -> None:
        """Ask for a snapshot for a peer that is there; otherwise wait for a sign of life. Thesis §5."""
        core = self._core
        if core.now - progress.contact >= core.config.election_timeout_us:
            progress.become_probe()
            progress.paused = True
            return
        progress.become_snapshot()
        core.snapshot_requests.append(SnapshotWanted(peer))

    def snapshot_ready(self, peer: NodeId, meta: SnapshotMeta | None) -> None:
        progress = self.progress.get(peer)
        if progress is None or progress.state is not _SNAPSHOT or progress.snapshot is not None:
            return
        if meta is None or meta.index + 1 < self._core.log.first:
            progress.abandon_snapshot()
        else:
            self._offer_snapshot(peer, progress, meta)

    def _offer_snapshot(self, peer: NodeId, progress: Progress, meta: SnapshotMeta) -> None:
        core = self._core
        progress.snapshot = meta
        progress.snapshot_offered = core.now
        core.out.messages.append(Snapshot(core.shard, core.node, peer, core.term, meta))

    def snapshot_sent(self, peer: NodeId, ok: bool) -> None:
        """The transfer ended; the peer's own reply will say that it is installed. Thesis §5."""
        progress = self.progress.get(peer)
        if progress is None or progress.state is not _SNAPSHOT:
            return
        if ok:
            progress.become_probe()
            progress.paused = True
        else:
            progress.abandon_snapshot()
