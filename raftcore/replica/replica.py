"""One replica of one shard, without I/O: routes what the core produces, and ends every client call once.

The host drives it in turns: ``observe`` the time, ``step`` what arrived, ``expire`` timers, then ``turn``
until there is nothing to do; between turns it reports ``persisted``, ``applied`` and ``loaded``.

Batching: queued commands become one entry as soon as fewer than ``rounds_in_flight_max`` entries of ours are
uncommitted. So a lone command goes at once, and under load a group is what arrived while the previous rounds
were in flight: there is no linger timer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from raftcore.core.errors import (
    Busy,
    NotLeader,
    PayloadTooLarge,
    RaftError,
    ReadFailed,
    TransferInProgress,
)
from raftcore.core.messages import Message
from raftcore.core.raft import RaftCore
from raftcore.core.ready import LoadEntries, Ready
from raftcore.core.types import (
    ConfigChange,
    Entry,
    Index,
    Instant,
    NodeId,
    Role,
    SnapshotMeta,
    Term,
    Token,
)
from raftcore.replica.applier import Applier
from raftcore.replica.group import encode_group
from raftcore.replica.proposals import CommandQueue, PendingEntry, PendingTable, unknown_outcome
from raftcore.replica.reads import ReadTable
from raftcore.replica.turn import ChangeDone, Done, ReadDone, ReplicaStatus, Turn

_LEADER = Role.LEADER


@dataclass(slots=True, frozen=True)
class ReplicaLimits:
    """Every queue of a replica has a bound. Times are in microseconds.

    :raises ValueError: naming every field that is out of range.
    """

    command_bytes_max: int = 8 << 20
    queued_bytes_max: int = 64 << 20
    queued_commands_max: int = 100_000
    group_bytes_max: int = 1 << 20
    group_commands_max: int = 10_000
    rounds_in_flight_max: int = 1
    unapplied_bytes_max: int = 64 << 20
    """How much of the own entries may wait to be applied before commands are held back."""
    apply_bytes_max: int = 8 << 20
    """How much may be with the state machine at once; a single larger entry may."""
    reads_max: int = 100_000
    undecided_wait_us: int = 1_800_000
    """Three election timeouts: how long a call waits for its fate once leadership is lost."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be positive, is {getattr(self, name)}"
            for name in self.__slots__
            if getattr(self, name) <= 0
        ]
        if problems:
            raise ValueError("; ".join(problems))


class Replica:
    """Owned by one thread. Callbacks run inside the call that decides them, and may call back in."""

    def __init__(self, core: RaftCore, limits: ReplicaLimits = ReplicaLimits()) -> None:
        self.core = core
        self._limits = limits
        self._now = Instant(0)
        self._queue = CommandQueue(limits.queued_bytes_max, limits.queued_commands_max)
        self._pending = PendingTable(limits.undecided_wait_us)
        self._reads = ReadTable(limits.undecided_wait_us, limits.reads_max)
        self._applier = Applier(core, limits.apply_bytes_max)
        self._stopped = False
        self._has_untimed_read = False

    # -- time and messages

    def observe(self, now: Instant) -> None:
        """Set the time; fires nothing."""
        self._now = now
        self._has_untimed_read = False
        self.core.observe(now)

    def expire(self) -> None:
        """Fire what is due: the core's timers, and the waits of calls whose leader is gone."""
        self.core.expire()
        for entry in self._pending.give_up(self._now):
            entry.fail(unknown_outcome)
        self._reads.give_up(self._now)

    def deadline(self) -> Instant:
        """When to call ``expire`` next, at the latest."""
        deadline = self.core.deadline()
        for at in (self._pending.give_up_at(), self._reads.give_up_at()):
            if at is not None and at < deadline:
                deadline = at
        return deadline

    def step(self, message: Message) -> None:
        """:raises WrongReplica: the message is for another replica; it was dropped."""
        self.core.step(message)

    def unreachable(self, peer: NodeId) -> None:
        self.core.unreachable(peer)

    # -- client calls

    def propose(self, command: bytes, done: Done) -> None:
        """Queue a command. When this raises, ``done`` is never called; otherwise exactly once.

        :raises NotLeader: :raises Busy: :raises PayloadTooLarge: at once, where it is known at once.
        """
        if self.core.role is not _LEADER or self._stopped:
            raise NotLeader(self.core.leader)
        if len(command) > self._limits.command_bytes_max:
            raise PayloadTooLarge(f"{len(command)} bytes; the limit is {self._limits.command_bytes_max}")
        self._queue.push(command, done)

    def change_membership(self, change: ConfigChange, based_on: Index, done: ChangeDone) -> None:
        """Propose a change to the membership made by the entry at ``based_on``.

        :raises MembershipError: :raises NotAccepted: at once; the membership is as it was.
        """
        if self._stopped:
            raise NotLeader(self.core.leader)
        self._part_with_lost_leadership()
        id = self.core.change_membership(change, based_on)
        self._pending.add(PendingEntry(id.index, id.term, (), done))

    def read(self, done: ReadDone) -> None:
        """Learn an index that makes a read of the state machine linearizable. Thesis §6.4.

        Works on any replica: a follower asks the leader, and waits until it has applied that index itself.

        :raises ReadFailed: when stopped. :raises Busy: when too many reads wait.
        """
        if self._stopped:
            raise ReadFailed("the replica stopped")
        self._reads.arrive(done)
        self._has_untimed_read = True

    def transfer_leadership(self, target: NodeId) -> None:
        """Hand leadership to ``target``. :raises NotLeader: :raises MembershipError: as the core does."""
        self.core.transfer_leadership(target)

    # -- reports of the host

    def persisted(self, token: Token) -> None:
        """The write of ``token`` and all earlier ones are durable."""
        self.core.persisted(token)

    def loaded(self, request: LoadEntries, entries: Sequence[Entry] | None) -> None:
        """The log store's answer to a load; None when the entries are compacted away."""
        if request.peer == self.core.node:
            self._applier.loaded(request, entries)
        else:
            self.core.entries_loaded(request, entries)

    def applied(self, last: Index, results: Sequence[tuple[Index, Sequence[bytes]]]) -> None:
        """The state machine stands at ``last``; ``results`` are those of each entry up to it, in order.

        Entries without commands may be left out.
        """
        entries = self._applier.applied(last)
        if last > self.core.applied:
            self.core.applied_to(last)
        at = 0
        for entry in entries:
            index = entry.index
            while at < len(results) and results[at][0] < index:
                at += 1
            winner, losers = self._pending.decided(index, entry.term)
            if winner is not None:
                winner.succeed(results[at][1] if at < len(results) and results[at][0] == index else ())
            for loser in losers:
                loser.fail(self._not_leader)
        self._reads.release(self.core.applied)

    def snapshot_ready(self, peer: NodeId, meta: SnapshotMeta | None) -> None:
        """The snapshot wanted for ``peer``; None when there is none to be had now."""
        self.core.snapshot_ready(peer, meta)

    def snapshot_sent(self, peer: NodeId, ok: bool) -> None:
        self.core.snapshot_sent(peer, ok)

    def snapshot_installed(self, meta: SnapshotMeta) -> None:
        """Log and state machine stand at ``meta.index`` now. What was being applied is void."""
        self.core.snapshot_installed(meta)
        self._applier.installed(meta.index)
        for entry in self._pending.swallowed(meta.index):
            entry.fail(unknown_outcome)
        self._reads.release(self.core.applied)

    def compacted(self, first: Index) -> None:
        """The log store now begins at ``first``."""
        self.core.compacted(first)

    # -- the turn

    def turn(self) -> Turn | None:
        """Drain everything produced since the last turn; None when there is nothing to do."""
        self._part_with_lost_leadership()
        if self._queue:
            self._propose_queued()
        self._reads.ask(self._read_core, self._now)
        ready = self.core.ready()
        turn = Turn()
        if ready is not None:
            self._route(ready, turn)
        turn.apply, load = self._applier.take()
        if load is not None:
            turn.loads.append(load)
        return turn if ready is not None or turn.apply or load is not None else None

    def status(self) -> ReplicaStatus:
        core = self.core
        return ReplicaStatus(
            node=core.node,
            role=core.role,
            term=core.term,
            leader=core.leader,
            commit=core.commit,
            applied=core.applied,
            last_index=core.last_index,
            durable=core.durable,
            membership=core.membership,
            membership_index=core.membership_index,
            match={node: progress.match for node, progress in core.progress().items()},
            queued_commands=len(self._queue),
            pending_commands=self._pending.command_count(),
            pending_reads=len(self._reads),
        )

    def stop(self) -> None:
        """End every outstanding call; nothing is accepted any more."""
        self._stopped = True
        self._queue.fail_all(self._not_leader)
        for entry in self._pending.take_all():
            entry.fail(unknown_outcome)
        self._reads.fail_all()

    def _read_core(self) -> int:
        """A lease that held before a read came may be over by then. Thesis §6.4.1."""
        return self.core.read(may_use_lease=not self._has_untimed_read)

    def _part_with_lost_leadership(self) -> None:
        leading = self.core.role is _LEADER
        leading_in: Term | None = self.core.term if leading else None
        self._pending.lose_leadership(leading_in, self._now)
        if not leading and self._queue:
            self._queue.fail_all(self._not_leader)

    def _propose_queued(self) -> None:
        """Make entries of what is queued, unless enough is in flight or waits for a slow state machine."""
        limits, pending = self._limits, self._pending
        rounds = pending.uncommitted_rounds(self.core.commit)
        while (
            self._queue
            and rounds < limits.rounds_in_flight_max
            and pending.own_bytes < limits.unapplied_bytes_max
        ):
            group = self._queue.peek_group(limits.group_bytes_max, limits.group_commands_max)
            try:
                data = encode_group(group)
                id = self.core.propose(data)
            except Busy:
                # The core's bound on uncommitted bytes: the queue, bounded itself, holds them until it falls.
                return
            except PayloadTooLarge as error:
                for done in self._queue.take(len(group)):
                    done(PayloadTooLarge(*error.args))
                continue
            except NotLeader:
                self._queue.fail_all(self._not_leader)
                return
            except TransferInProgress as error:
                self._queue.fail_all(partial(TransferInProgress, *error.args))
                return
            pending.add(PendingEntry(id.index, id.term, self._queue.take(len(group)), None, len(data)))
            rounds += 1

    def _route(self, ready: Ready, turn: Turn) -> None:
        turn.messages = ready.messages
        turn.write = ready.write
        turn.after_persist = ready.messages_after_persist
        turn.loads = ready.loads
        turn.snapshot = ready.snapshot
        turn.role_changed = ready.role is not None
        turn.membership_changed = ready.membership is not None
        if ready.committed is not None:
            self._applier.committed(ready.committed)
        for read in ready.reads:
            self._reads.confirmed(read.id, read.index)
        for id in ready.failed_reads:
            self._reads.failed(id, self._read_failed())
        if ready.reads:
            self._reads.release(self.core.applied)

    def _not_leader(self) -> RaftError:
        return NotLeader(self.core.leader)

    def _read_failed(self) -> RaftError:
        return ReadFailed("leadership changed before the read was confirmed")
