"""One replica's Raft: its state, the dispatch of messages, and the changes of role.

Deterministic, and without clock, I/O or randomness of its own. One turn of the host is: ``observe`` the
time, hand in what has come, ``expire`` what is due, and carry out what ``ready`` returns. The inbox comes
before the timers, so that a process that was paused does not campaign on stale news.

The rules of each role stand beside this module: `candidate`, `follower`, `leader`; `dispatch` finds them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raftcore.core import candidate, dispatch, follower
from raftcore.core.config import CoreConfig
from raftcore.core.errors import Busy, NotLeader, require
from raftcore.core.leader import Leader
from raftcore.core.log import RaftLog
from raftcore.core.membership import ConfigHistory
from raftcore.core.messages import AppendReply, HeartbeatReply, Message, ReadReply
from raftcore.core.progress import Progress
from raftcore.core.reads import LOCAL, ForwardedReads, Read
from raftcore.core.ready import InstallSnapshot, LoadEntries, Ready, RoleChange, SnapshotWanted
from raftcore.core.types import (
    NO_NODE,
    ConfigChange,
    Entry,
    EntryId,
    EntryKind,
    HardState,
    Index,
    Instant,
    Membership,
    NodeId,
    Range,
    Recovered,
    Role,
    ShardId,
    SnapshotMeta,
    Term,
    Token,
)
from raftcore.core.writes import WriteQueue

if TYPE_CHECKING:
    from random import Random

_FOLLOWER, _PRE_CANDIDATE, _CANDIDATE, _LEADER = (
    Role.FOLLOWER,
    Role.PRE_CANDIDATE,
    Role.CANDIDATE,
    Role.LEADER,
)


class RaftCore:
    """The consensus state of one replica. Not for several threads; every method runs to completion.

    The attributes that this package's role modules share are public. Hosts read ``node``, ``shard``,
    ``role``, ``term``, ``leader``, ``is_removed``, ``installing`` and the properties, and write none of them.
    """

    def __init__(self, config: CoreConfig, recovered: Recovered, rng: Random) -> None:
        """Start from what the log store found.

        :raises LogLost: when the state machine or the hard state knows of entries that the log lost.
        :raises Corrupt: when the state machine lacks entries that the log no longer has.
        """
        state = recovered.hard_state
        self.config = config
        self.node = recovered.node
        self.shard = ShardId(config.shard)
        self.term = state.term
        self.vote = state.vote
        self.role = _FOLLOWER
        self.leader = NO_NODE
        self.log = RaftLog(recovered, config.tail_bytes_max)
        self.configs = ConfigHistory(recovered.configs)
        self.writes = WriteQueue(state, self.log)
        require(self.term >= self.log.last_term, "the hard state is never behind the log", term=self.term)
        self.now = Instant(0)
        self.leader_contact = Instant(0)
        self.promised_at = Instant(0)
        self.promised_to = NO_NODE
        self.votes: dict[NodeId, bool] = {}
        self.leadership: Leader | None = None
        # The first ids are drawn so that a late reply to an earlier life of this replica means nothing now.
        self.forwarded_reads = ForwardedReads(rng.getrandbits(31) << 31, config.pending_reads_max)
        self.installing: SnapshotMeta | None = None
        self.installing_from = NO_NODE
        self.snapshot_requests: deque[SnapshotWanted | InstallSnapshot] = deque()
        self.is_removed = False
        self.out = Ready()
        self._rng = rng
        self._has_started = False
        self._election_wait_us = 0
        self._election_deadline = Instant(0)
        self._next_read = 0
        self.acknowledgement: AppendReply | None = None
        self._told_role = (self.role, self.term, self.leader)

    @property
    def commit(self) -> Index:
        return self.log.commit

    @property
    def applied(self) -> Index:
        return self.log.applied

    @property
    def first_index(self) -> Index:
        return self.log.first

    @property
    def last_index(self) -> Index:
        return self.log.last

    @property
    def durable(self) -> Index:
        """The last index of the log that is known to survive a crash."""
        return self.log.durable

    @property
    def membership(self) -> Membership:
        """The effective membership: the newest in the log, committed or not. Thesis §4.1."""
        return self.configs.current

    @property
    def membership_index(self) -> Index:
        return self.configs.index

    @property
    def contact(self) -> Instant:
        """When it last heard its leader or, leading, by when a quorum was heard; 0: not since its start."""
        return self.leader_contact if self.leadership is None else Instant(self.leadership.quorum_contact())

    # Time

    def observe(self, now: Instant) -> None:
        """Set the time; fires nothing."""
        if not self._has_started:
            self._has_started = True
            self.now = now
            # A replica that starts has forgotten whom it promised not to depose. Thesis §6.4.1.
            self.promised_at = now
            self.draw_election_timer()
        elif now > self.now:
            self.now = now

    def deadline(self) -> Instant:
        """When ``expire`` has something to do next, unless something comes before."""
        if not self._has_started:
            return self.now
        own = self._election_deadline if self.leadership is None else self.leadership.deadline()
        reads = self.forwarded_reads.deadline
        return own if reads is None else min(own, reads)

    def expire(self) -> None:
        """Fire the timers that are due."""
        now = self.now
        if self.leadership is not None:
            self.leadership.expire()
        elif now >= self._election_deadline:
            if candidate.may_campaign(self):
                candidate.campaign(self)
            else:
                self.become_follower(self.term, NO_NODE)
        self.out.failed_reads += self.forwarded_reads.expire(now)

    def draw_election_timer(self) -> None:
        """Draw a new wait, so that candidates do not meet again and again. Thesis §9.3."""
        least = self.config.election_timeout_us
        self._election_wait_us = least + self._rng.randrange(least)
        self.restart_election_timer()

    def restart_election_timer(self) -> None:
        self._election_deadline = Instant(self.now + self._election_wait_us)

    # Messages

    def step(self, message: Message) -> None:
        """Take in one message; a stale one changes nothing.

        With ``lease_reads``, whatever is handed in came before the last ``observe``: a promise to a leader
        counts from then. Thesis §6.4.1.

        :raises WrongReplica: when it is for another replica or shard.
        :raises LogLost: when it proves that this log lost entries; the shard must stop.
        """
        dispatch.step(self, message)

    def answer_standing_still(self, message: Message) -> HeartbeatReply | None:
        """The answer to a heartbeat while the host replaces log and state, and ``step`` has to wait."""
        return follower.answer_standing_still(self, message)

    def reply(self, message: Message) -> None:
        """Send a message that carries the term: at once, or when the term cannot be forgotten any more.

        Thesis §3.8.
        """
        if self.writes.durable_vote == (self.term, self.vote):
            self.out.messages.append(message)
        else:
            self.out.messages_after_persist.append(message)

    def hear_leader(self, src: NodeId) -> None:
        """``src`` leads this term.

        :raises InvariantViolation: when somebody else does too.
        Thesis §3.4.
        """
        require(
            self.leader in (NO_NODE, src) and self.role is not _LEADER,
            "a term has one leader",
            term=self.term,
            known=self.leader,
            other=src,
        )
        if self.role is not _FOLLOWER or self.leader != src:
            self.become_follower(self.term, src)
        self.leader_contact = self.promised_at = self.now
        self.promised_to = src
        self.restart_election_timer()

    # Requests of the host

    def propose(self, data: bytes) -> EntryId:
        """Append a group of commands.

        :raises NotLeader: this replica does not lead.
        :raises TransferInProgress: leadership is being handed over.
        :raises PayloadTooLarge: the group exceeds ``entry_bytes_max``.
        :raises Busy: too much is uncommitted.
        """
        return self._leading().propose(data)

    def change_membership(self, change: ConfigChange, based_on: Index) -> EntryId:
        """Append a membership, effective at once; ``based_on`` is the ``membership_index`` it was made for.

        :raises NotLeader: this replica does not lead.
        :raises TransferInProgress: leadership is being handed over.
        :raises ChangePending: another change, or this term's first entry, is not committed yet.
        :raises ConfigMoved: the membership is not the one the change was based on.
        :raises NotCaughtUp: the learner to promote lags too far behind.
        :raises UnknownMember: the change names nobody whom it could apply to.
        :raises WouldRemoveLastVoter: nobody would be left to vote.
        """
        return self._leading().change_membership(change, based_on)

    def read(self, *, may_use_lease: bool = True) -> int:
        """Begin a linearizable read; its id comes back in ``Ready.reads`` or ``Ready.failed_reads``.

        ``may_use_lease`` is false when the read may have come after the last ``observe``: that the lease held
        at that instant says nothing then. Thesis §6.4.1.

        :raises NotLeader: no leader is known.
        :raises Busy: too many reads are pending.
        """
        if self.leadership is not None:
            if self.leadership.reads.is_full:
                raise Busy("too many reads are pending")
            self._next_read += 1
            self.leadership.read(Read(LOCAL, self._next_read), may_use_lease=may_use_lease)
            return self._next_read
        if self.leader == NO_NODE:
            raise NotLeader
        if self.forwarded_reads.is_full:
            raise Busy("too many reads are pending")
        self._next_read += 1
        self.forwarded_reads.add(self._next_read)
        return self._next_read

    def transfer_leadership(self, target: NodeId) -> None:
        """Hand over to ``target`` as soon as it has everything; given up after an election timeout.

        A second request replaces the first; this replica itself as the target calls it off. Thesis §3.10.

        :raises NotLeader: this replica does not lead.
        :raises UnknownMember: ``target`` does not vote.
        """
        self._leading().transfer(target)

    def _leading(self) -> Leader:
        if self.leadership is None:
            raise NotLeader(self.leader)
        return self.leadership

    # Reports of the host

    def persisted(self, token: Token) -> None:
        """The write ``token`` and all before it are durable."""
        last = self.writes.persisted(token)
        if last > self.log.durable:
            self.log.advance_durable(last)
            if self.leadership is not None:
                self.leadership.advance_commit()
        candidate.own_vote_durable(self)

    def applied_to(self, index: Index) -> None:
        """The state machine has applied everything up to ``index``."""
        self.log.advance_applied(index)

    def entries(self, committed: Range) -> list[Entry] | None:
        """The entries of a range that was handed out; None when they must be loaded from the log store."""
        return self.log.slice(committed.lo, committed.hi)

    def entries_loaded(self, request: LoadEntries, entries: Sequence[Entry] | None) -> None:
        """The answer to a `LoadEntries`; None when they are compacted away."""
        if self.leadership is not None:
            self.leadership.entries_loaded(request, entries)

    def snapshot_ready(self, peer: NodeId, meta: SnapshotMeta | None) -> None:
        """The answer to a `SnapshotWanted`; None when there is none to be had now."""
        if self.leadership is not None:
            self.leadership.snapshot_ready(peer, meta)

    def snapshot_sent(self, peer: NodeId, ok: bool) -> None:
        """``peer`` has pulled the whole snapshot, or has given up."""
        if self.leadership is not None:
            self.leadership.snapshot_sent(peer, ok)

    def snapshot_installed(self, meta: SnapshotMeta) -> None:
        """State machine and log bounds were replaced, durably, by this snapshot. Thesis §5.

        A host asks ``installing`` right before the replacement, which names another snapshot, or none, when
        this one is no longer wanted; and ``keeps_log``, which says whether the log behind it stays.
        """
        follower.install(self, meta)

    def keeps_log(self, meta: SnapshotMeta) -> bool:
        """Whether the log has the snapshot's last entry, so that what follows it stays. Thesis §5."""
        return self.log.term(meta.index) == meta.term

    def compacted(self, first: Index) -> None:
        """The log store has dropped everything below ``first``."""
        self.log.compact(first)
        self.configs.compact(first)

    def unreachable(self, peer: NodeId) -> None:
        """Messages to ``peer`` were lost."""
        if self.leadership is not None:
            self.leadership.unreachable(peer)

    def progress(self) -> dict[NodeId, Progress]:
        """What the leader knows of each peer; empty elsewhere. Not to be changed."""
        return self.leadership.progress if self.leadership is not None else {}

    # Output

    def ready(self) -> Ready | None:
        """Everything produced since the last call, or None."""
        self._prepare_messages()
        out = self.out
        state = HardState(self.term, self.vote, self.log.commit)
        out.write = self.writes.take(state, self.configs, commit_may_wait=bool(out.messages_after_persist))
        out.committed = self.log.hand_out(self.config.committed_bytes_max)
        if self.snapshot_requests:
            out.snapshot = self.snapshot_requests.popleft()
        told_role = (self.role, self.term, self.leader)
        if told_role != self._told_role:
            self._told_role = told_role
            out.role = RoleChange(*told_role)
        if not (
            out.messages
            or out.write
            or out.messages_after_persist
            or out.committed
            or out.reads
            or out.failed_reads
            or out.loads
            or out.snapshot
            or out.role
            or out.membership
        ):
            return None
        self.out = Ready()
        return out

    def _prepare_messages(self) -> None:
        """Send what is sent once per turn: appends and read positions, or an acknowledgement."""
        if self.leadership is not None:
            self.leadership.finish_turn()
        else:
            follower.finish_turn(self)

    # Roles

    def become_follower(self, term: Term, leader: NodeId) -> None:
        """Step down, or follow another leader or term; reads that waited for the old one fail.

        Thesis §3.3.
        """
        require(term >= self.term, "the term never falls", term=self.term, to=term)
        leadership, self.leadership = self.leadership, None
        if term > self.term:
            self.term = term
            self.vote = NO_NODE
            self.acknowledgement = None
        if self.leader != leader or leadership is not None:
            self.out.failed_reads += self.forwarded_reads.fail()
        self.role = _FOLLOWER
        self.leader = leader
        self.votes = {}
        self.draw_election_timer()
        if leadership is not None:
            self._fail_reads(leadership.reads.fail())

    def become_pre_candidate(self) -> None:
        """Forget the leader, so that two survivors can elect each other (raft-rs #84); the term stays."""
        self.become_follower(self.term, NO_NODE)
        self.role = _PRE_CANDIDATE
        self.votes = {self.node: True}

    def become_candidate(self) -> None:
        """Vote for itself in a new term. The vote counts once it is durable. Thesis §3.4."""
        require(self.role is not _LEADER, "a leader does not campaign", term=self.term)
        self.become_follower(Term(self.term + 1), NO_NODE)
        self.role = _CANDIDATE
        self.vote = self.node

    def become_leader(self) -> None:
        """Lead the term that was won; its first entry commits what earlier terms left. Thesis §3.6.2."""
        require(
            self.role is _CANDIDATE and self.writes.durable_vote == (self.term, self.node),
            "only a candidate whose vote is durable becomes leader",
            role=self.role,
            term=self.term,
        )
        self.role = _LEADER
        self.leader = self.node
        self.votes = {}
        self.installing = None
        self.leadership = Leader(self)
        self.append_own(EntryKind.NOOP, b"")

    def _fail_reads(self, reads: list[Read]) -> None:
        for read in reads:
            if read.origin == LOCAL:
                self.out.failed_reads.append(read.id)
            else:
                self.reply(ReadReply(self.shard, self.node, read.origin, self.term, read.id, Index(0)))

    # The log

    def append_own(self, kind: EntryKind, data: bytes) -> EntryId:
        """Append an entry of this leader's own term. Thesis §3.5."""
        log = self.log
        index = Index(log.last + 1)
        log.append((Entry(self.term, index, kind, data),))
        return EntryId(self.term, index)

    def truncate(self, truncate_from: Index) -> None:
        """Drop entries that another leader overwrites, with the memberships that they brought.

        Thesis §3.5.
        """
        self.log.truncate(truncate_from)
        self.writes.truncated(truncate_from)
        if self.configs.truncate(truncate_from):
            self.membership_changed()

    def adopt_membership(self, index: Index, membership: Membership) -> None:
        """The entry at ``index`` was appended: its membership is effective. Thesis §4.1."""
        self.configs.append(index, membership)
        self.membership_changed()

    def membership_changed(self) -> None:
        self.out.membership = self.configs.current
        if self.leadership is not None:
            self.leadership.membership_changed()

    def advance_commit(self, index: Index) -> None:
        """Entries up to ``index`` are committed; a snapshot of them is no news. Thesis §3.5."""
        self.log.advance_commit(index)
        if self.installing is not None and index >= self.installing.index:
            self.installing = None
